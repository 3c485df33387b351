// SPDX-License-Identifier: EUPL-1.2
//! The figures, as a table for persons and as JSON.

use std::{fmt, time::Duration};

use serde_json::{Value, json};

use crate::machine::Cpu;

/// All figures of a run.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) verify_per_s: (f64, f64),
    pub(crate) rows: Vec<Row>,
    pub(crate) cpu: Vec<(&'static str, Cpu)>,
    pub(crate) entries: u64,
    pub(crate) fill_per_s: f64,
    pub(crate) proof: Latency,
    pub(crate) household: Latency,
    pub(crate) disk_per_byte: f64,
    pub(crate) memory_mib: Vec<f64>,
}

/// One load.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) entries_per_s: f64,
    pub(crate) latency: Latency,
    pub(crate) failed: u64,
}

/// How long requests took.
#[derive(Clone, Copy, Default)]
pub(crate) struct Latency {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) count: usize,
}

impl Latency {
    pub(crate) fn of(mut latencies: Vec<Duration>) -> Latency {
        latencies.sort_unstable();
        let at = |share: f64| {
            let place = (latencies.len() as f64 * share) as usize;
            latencies
                .get(place.min(latencies.len().saturating_sub(1)))
                .map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
        };
        Latency {
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            count: latencies.len(),
        }
    }

    fn json(self) -> Value {
        json!({"p50_ms": round(self.p50_ms), "p99_ms": round(self.p99_ms), "requests": self.count})
    }
}

impl Report {
    pub(crate) fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let mut value = row.latency.json();
                value["load"] = json!(row.name);
                value["entries_per_s"] = json!(round(row.entries_per_s));
                value["entries_failed"] = json!(row.failed);
                value
            })
            .collect();
        let cpu: Vec<Value> = self
            .cpu
            .iter()
            .map(|(load, cpu)| json!({"load": load, "cpu_s": cpu}))
            .collect();
        json!({
            "cores": std::thread::available_parallelism().map_or(1, usize::from),
            "nodes": 3,
            "verify_strict_per_s": {"before": round(self.verify_per_s.0), "after": round(self.verify_per_s.1)},
            "loads": rows,
            "cpu": cpu,
            "ledger_entries": self.entries,
            "fill_entries_per_s": round(self.fill_per_s),
            "proof": self.proof.json(),
            "household_query": self.household.json(),
            "disk_bytes_per_submitted_byte": round(self.disk_per_byte),
            "resident_mib": self.memory_mib.iter().map(|mib| round(*mib)).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:<44}{:>14}{:>12}{:>12}{:>9}",
            "load, 3 nodes, 64 connections", "entries/s", "p50 ms", "p99 ms", "failed"
        )?;
        for row in &self.rows {
            let Latency { p50_ms, p99_ms, .. } = row.latency;
            writeln!(
                f,
                "{:<44}{:>14.0}{p50_ms:>12.1}{p99_ms:>12.1}{:>9}",
                row.name, row.entries_per_s, row.failed
            )?;
        }
        let (before, after) = self.verify_per_s;
        writeln!(
            f,
            "{:<44}{:>14.0}",
            "strict verification alone, before", before
        )?;
        writeln!(
            f,
            "{:<44}{:>14.0}",
            "strict verification alone, after", after
        )?;
        if self.fill_per_s > 0.0 {
            writeln!(
                f,
                "{:<44}{:>14.0}",
                "filling, 500 entries signed as a batch", self.fill_per_s
            )?;
        }
        writeln!(f, "\nat {} entries", self.entries)?;
        for (name, latency) in [
            ("inclusion proof", self.proof),
            ("household query", self.household),
        ] {
            writeln!(
                f,
                "{name:<44}{:>14}{:>12.1}{:>12.1}",
                "", latency.p50_ms, latency.p99_ms
            )?;
        }
        writeln!(
            f,
            "{:<44}{:>14.2}",
            "bytes on disk per submitted byte, a node", self.disk_per_byte
        )?;
        let memory: Vec<String> = self
            .memory_mib
            .iter()
            .map(|mib| format!("{mib:.0}"))
            .collect();
        writeln!(f, "{:<44}{:>14}", "resident memory, MiB", memory.join(" "))?;
        for (load, cpu) in &self.cpu {
            let mut cpu: Vec<(&String, &f64)> = cpu.iter().collect();
            cpu.sort_by(|a, b| b.1.total_cmp(a.1));
            let total: f64 = cpu.iter().map(|(_, seconds)| **seconds).sum();
            let parts: Vec<String> = cpu
                .iter()
                .take(7)
                .map(|(who, seconds)| format!("{who} {:.0} %", **seconds * 100.0 / total.max(0.01)))
                .collect();
            writeln!(f, "CPU, {load}: {}", parts.join(", "))?;
        }
        Ok(())
    }
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
