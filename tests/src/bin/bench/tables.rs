// SPDX-License-Identifier: EUPL-1.2
//! The figures of a run as tables: for the terminal, and as Markdown for the README.

use std::fmt::Write;

pub(crate) use ::tests::figures::thousands;
use serde_json::Value;

use crate::{
    charts::CHARTS,
    drive::Paced,
    machine::Cpu,
    ratios::{Ratio, ratios},
    report::Report,
    run::Series,
    servers::PAYLOAD_BYTES,
    stats::Spread,
};

impl Report {
    /// The run as text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let out = &mut text;
        line(out, "");
        for fact in [self.peers.join("; "), self.machine_text()] {
            line(out, &fact);
        }
        line(
            out,
            &format!(
                "\n{:<40}{:>6}{:>12}{:>20}{:>10}{:>10}{:>8}{:>8}",
                "load", "conns", "entries/s", "least–most", "p50 ms", "p99 ms", "failed", "client"
            ),
        );
        for series in &self.results.series {
            let (Some(rate), Some(p50), Some(p99)) =
                (series.entries_per_s(), series.p50_ms(), series.p99_ms())
            else {
                continue;
            };
            line(
                out,
                &format!(
                    "{:<40}{:>6}{:>12.0}{:>20}{:>10.1}{:>10.1}{:>8}{:>6.0} %",
                    series.mode.title(),
                    series.connections,
                    rate.median,
                    format!("{:.0}–{:.0}", rate.min, rate.max),
                    p50.median,
                    p99.median,
                    series.failed(),
                    client_share(series) * 100.0,
                ),
            );
        }
        line(
            out,
            &format!(
                "\npaced, one session a request, until durable on a majority\n{:<40}{:>12}{:>12}{:>10}{:>10}{:>8}{:>10}",
                "", "asked/s", "served/s", "p50 ms", "p99 ms", "failed", "not sent"
            ),
        );
        for series in &self.results.paced {
            let of =
                |figure: fn(&Paced) -> f64| series.of(figure).map_or(0.0, |spread| spread.median);
            line(
                out,
                &format!(
                    "{:<40}{:>12.0}{:>12.0}{:>10.1}{:>10.1}{:>8}{:>10}",
                    series.mode.title(),
                    of(|paced| paced.asked_per_s),
                    of(|paced| paced.served_per_s),
                    of(|paced| paced.latency.p50_ms),
                    of(|paced| paced.latency.p99_ms),
                    series.rounds.iter().map(|paced| paced.failed).sum::<u64>(),
                    series
                        .rounds
                        .iter()
                        .map(|paced| paced.unserved)
                        .sum::<u64>(),
                ),
            );
        }
        line(out, "");
        for (name, figure) in self.limits_text() {
            line(out, &format!("{name:<46}{figure}"));
        }
        line(
            out,
            &format!(
                "\nVisto at {} entries: proof p50 {:.1} ms, p99 {:.1} ms; household query p50 {:.1} ms, p99 {:.1} ms; scope of one person's accesses, nearly all of them, {:.0} ms; {:.2} bytes on disk a node per submitted byte; {} MiB resident",
                self.alone.entries,
                self.alone.proof.p50_ms,
                self.alone.proof.p99_ms,
                self.alone.household.p50_ms,
                self.alone.household.p99_ms,
                self.alone.scope.p50_ms,
                self.alone.disk_per_byte,
                self.alone
                    .memory_mib
                    .iter()
                    .map(|mib| format!("{mib:.0}"))
                    .collect::<Vec<_>>()
                    .join(", "),
            ),
        );
        line(
            out,
            &format!(
                "Tables and blobs of a node by family, bytes an entry: {}",
                self.alone.store_text()
            ),
        );
        for (mode, cpu) in &self.cpu {
            line(out, &format!("CPU, {}: {}", mode.title(), shares(cpu)));
        }
        line(
            out,
            &format!(
                "\n{:<28}{:>10}{:>10}  {:<9}{:<18}{}",
                "ratio", "value", "target", "", "least–most", "against the peer's best"
            ),
        );
        for ratio in ratios(&self.results) {
            line(
                out,
                &format!(
                    "{:<28}{:>10}{:>10}  {:<9}{:<18}{}",
                    ratio.name,
                    value_text(&ratio),
                    ratio.target_text(),
                    verdict(&ratio),
                    spread_text(&ratio),
                    ratio
                        .reason
                        .clone()
                        .or_else(|| ratio.against_best.map(|value| format!("{value:.2}")))
                        .unwrap_or_default(),
                ),
            );
            for note in &ratio.notes {
                line(out, &format!("    {note}"));
            }
        }
        text
    }

    /// What stands in the README between its marks.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        let out = &mut text;
        line(
            out,
            &format!(
                "Commit {}, {}, `{}`: {}. {} rounds; median, and least–most of the rounds.\n",
                self.commit.as_deref().unwrap_or("unknown"),
                &self.date[..self.date.len().min(10)],
                self.command,
                self.machine_text(),
                self.plan.rounds,
            ),
        );
        line(out, "| ratio | value | target | |\n|---|---|---|---|");
        for ratio in ratios(&self.results) {
            let spread = match spread_text(&ratio) {
                spread if spread.is_empty() => spread,
                spread => format!(" ({spread})"),
            };
            let best = ratio
                .against_best
                .map(|value| format!("; against etcd's best {value:.2}"))
                .unwrap_or_default();
            line(
                out,
                &format!(
                    "| `{}`: {} | {}{spread}{best} | {} | {} |",
                    ratio.name,
                    ratio.meaning,
                    value_text(&ratio),
                    ratio.target_text(),
                    ratio.notes.iter().map(String::as_str).fold(
                        ratio
                            .reason
                            .as_deref()
                            .unwrap_or(verdict(&ratio))
                            .to_owned(),
                        |text, note| format!("{text}; {note}")
                    ),
                ),
            );
        }
        line(
            out,
            "\n| load | connections | entries/s | p50 ms | p99 ms |\n|---|---|---|---|---|",
        );
        for series in &self.results.series {
            let (Some(rate), Some(p50), Some(p99)) =
                (series.entries_per_s(), series.p50_ms(), series.p99_ms())
            else {
                continue;
            };
            line(
                out,
                &format!(
                    "| {} | {} | {} ({}–{}) | {:.1} | {:.1} |",
                    series.mode.title(),
                    series.connections,
                    thousands(rate.median),
                    thousands(rate.min),
                    thousands(rate.max),
                    p50.median,
                    p99.median,
                ),
            );
        }
        for (name, figure) in self.limits_text() {
            line(out, &format!("| {name} | | {figure} | | |"));
        }
        line(out, "");
        for (name, title) in CHARTS {
            line(out, &format!("![{title}](scripts/figures/{name})"));
        }
        text
    }

    fn limits_text(&self) -> Vec<(String, String)> {
        let limits = &self.results.limits;
        let rate = |values: &[f64]| {
            Spread::of(values.iter().copied()).map_or("not measured".into(), |spread| {
                format!(
                    "{} ({}–{})",
                    thousands(spread.median),
                    thousands(spread.min),
                    thousands(spread.max)
                )
            })
        };
        let mut lines = vec![
            (
                "strict verification alone, one core".to_owned(),
                rate(&limits.verify_one_core),
            ),
            (
                "strict verification alone, all cores".to_owned(),
                rate(&limits.verify_all_cores),
            ),
        ];
        for (bytes, rounds) in &limits.fdatasync {
            let per_s: Vec<f64> = rounds.iter().map(|(per_s, _)| *per_s).collect();
            let name = format!("fdatasync alone, {} bytes", thousands(*bytes as f64));
            lines.push((name, rate(&per_s)));
        }
        lines
    }

    fn machine_text(&self) -> String {
        let fact = |name: &str| match &self.facts[name] {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        format!(
            "{} cores of {}, {} GiB, {}, Linux {}; servers and load share them. Values of {PAYLOAD_BYTES} bytes; an entry of Visto has {} as kept and {} as sent",
            fact("cores"),
            fact("cpu"),
            fact("memory_gib"),
            fact("file_system"),
            fact("kernel"),
            self.entry_bytes.0,
            self.entry_bytes.1,
        )
    }
}

fn client_share(series: &Series) -> f64 {
    Spread::of(series.rounds.iter().map(|round| round.client_share))
        .map_or(0.0, |spread| spread.median)
}

pub(crate) fn value_text(ratio: &Ratio) -> String {
    match ratio.value {
        None => "–".into(),
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) => format!("{value:.2}"),
    }
}

fn spread_text(ratio: &Ratio) -> String {
    ratio.spread.map_or_else(String::new, |spread| {
        format!("{:.2}–{:.2}", spread.min, spread.max)
    })
}

fn verdict(ratio: &Ratio) -> &'static str {
    match ratio.reached() {
        None => "–",
        Some(true) => "reached",
        Some(false) => "missed",
    }
}

fn shares(cpu: &Cpu) -> String {
    let mut cpu: Vec<(&String, &f64)> = cpu.iter().collect();
    cpu.sort_by(|a, b| b.1.total_cmp(a.1));
    let total: f64 = cpu.iter().map(|(_, seconds)| **seconds).sum();
    let parts: Vec<String> = cpu
        .iter()
        .take(7)
        .map(|(who, seconds)| format!("{who} {:.0} %", **seconds * 100.0 / total.max(0.01)))
        .collect();
    parts.join(", ")
}

fn line(out: &mut String, text: &str) {
    let _ = writeln!(out, "{text}");
}
