// SPDX-License-Identifier: EUPL-1.2
//! First figures of this machine: three durable nodes on loopback, and the load beside them on the same cores.
//!
//! What is measured, in this order: strict Ed25519 verification alone on all cores; accepted entries with 64 connections, one and 100
//! entries a request; then the ledger is filled, and proofs and household queries are timed; last, bytes on disk per submitted byte and
//! resident memory. CPU seconds by thread say where the time went. Figures of one machine: compare them within a run, not between machines.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod load;
mod machine;
mod report;

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode, time::Duration};

use report::{Latency, Report, Row};
use serde_json::json;
use tests::{cluster::Cluster, world};
use wire::token::Role;

const HELP: &str = "usage: ./scripts/bench [--quick] [--entries N] [--seconds N] [--summary FILE]
       ./scripts/bench --fold: how long writes wait while a million refs are folded
  --quick         a short run: 20 000 entries, 3 s for each load
  --entries N     entries in the ledger when proofs and queries are timed (1 000 000)
  --seconds N     how long each load runs (10)
  --summary FILE  write the figures as JSON";

/// Connections that send at the same time.
const CONNECTIONS: usize = 64;

struct Arguments {
    entries: u64,
    seconds: u64,
    summary: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("{message}\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let report = run(&arguments).await;
    println!("{report}");
    if let Some(file) = &arguments.summary {
        let text = format!("{:#}\n", report.json());
        if let Err(error) = std::fs::write(file, text) {
            eprintln!("{}: {error}", file.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

async fn run(arguments: &Arguments) -> Report {
    let mut report = Report::default();
    let duration = Duration::from_secs(arguments.seconds);
    eprintln!("strict verification alone, on all cores …");
    let verified_before = machine::verify_rate(duration.min(Duration::from_secs(3)));

    let town = load::Town::new(1_000);
    let cluster = Cluster::start().await;
    let mut submitted_bytes = 0;
    let families = load::fill(&cluster, town.families(), CONNECTIONS).await;
    submitted_bytes += families.bytes;

    for (name, per_request, until, batch_signed) in [
        ("1 entry a request, to receipt", 1, "published", false),
        ("1 entry a request, to commit", 1, "committed", false),
        ("100 entries a request, to receipt", 100, "published", false),
        (
            "100 entries a request, signed as a batch",
            100,
            "published",
            true,
        ),
    ] {
        eprintln!(
            "{name}, {CONNECTIONS} connections, {} s …",
            arguments.seconds
        );
        let result = load::press(
            &cluster,
            &town,
            CONNECTIONS,
            per_request,
            until,
            batch_signed,
            duration,
        )
        .await;
        submitted_bytes += result.bytes;
        report.rows.push(Row {
            name,
            entries_per_s: result.entries as f64 / result.elapsed.as_secs_f64(),
            latency: Latency::of(result.latencies),
            failed: result.failed,
        });
        report.cpu.push((name, result.cpu));
    }
    let verified_after = machine::verify_rate(duration.min(Duration::from_secs(3)));
    report.verify_per_s = (verified_before, verified_after);

    let size = cluster.checkpoint(1).await.map_or(0, |(size, _)| size);
    let missing = arguments.entries.saturating_sub(size);
    eprintln!(
        "filling the ledger from {size} to {} entries …",
        arguments.entries
    );
    let filled = load::fill(&cluster, town.accesses(missing), 8).await;
    submitted_bytes += filled.bytes;
    let (size, _) = cluster.published(1, size + filled.entries).await;
    // Questions go to all nodes.
    for number in cluster.nodes.keys() {
        cluster.published(*number, size).await;
    }
    report.entries = size;
    report.fill_per_s = filled.entries as f64 / filled.elapsed.as_secs_f64().max(0.001);

    eprintln!("proofs and household queries at {size} entries …");
    let proofs = load::ask(&cluster, 8, 2_000, async |http, url, number| {
        let index = number.wrapping_mul(2_654_435_761) % size;
        let answer = http
            .get(
                &format!("{url}/v1/entries/{index}/proof?tree_size={size}"),
                None,
            )
            .await;
        answer.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    report.proof = Latency::of(proofs);
    let token = world::token(world::GARANTE, Role::Authority);
    let households = load::ask(&cluster, 4, 400, async |http, url, number| {
        let search = json!({"household": town.household(number), "limit": 50});
        let answer = http
            .post(&format!("{url}/v1/accesses/search"), Some(&token), &search)
            .await;
        answer.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    report.household = Latency::of(households);

    let disk: BTreeMap<u64, u64> = cluster
        .nodes
        .iter()
        .map(|(number, node)| (*number, machine::bytes_on_disk(&node.data())))
        .collect();
    report.disk_per_byte =
        disk.values().sum::<u64>() as f64 / disk.len() as f64 / submitted_bytes as f64;
    report.memory_mib = cluster
        .nodes
        .values()
        .filter_map(|node| machine::resident_mib(node.pid()?))
        .collect();
    cluster.finish().await;
    report
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Arguments>, String> {
    let mut parsed = Arguments {
        entries: 1_000_000,
        seconds: 10,
        summary: None,
    };
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        let mut value = |what: &str| {
            arguments
                .next()
                .ok_or_else(|| format!("{argument} needs {what}"))
        };
        let number = |text: String| {
            text.replace(['_', ' '], "")
                .parse::<u64>()
                .map_err(|_| format!("{text}: not a number"))
        };
        match argument.as_str() {
            "--quick" => (parsed.entries, parsed.seconds) = (20_000, 3),
            "--entries" => parsed.entries = number(value("a number")?)?,
            "--seconds" => parsed.seconds = number(value("a number")?)?.max(1),
            "--summary" => parsed.summary = Some(value("a file")?.into()),
            "-h" | "--help" => return Ok(None),
            other => return Err(format!("{other}: no such flag")),
        }
    }
    Ok(Some(parsed))
}
