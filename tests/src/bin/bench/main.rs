// SPDX-License-Identifier: EUPL-1.2
//! Visto beside its peers, in one run: three durable nodes of Visto, three members of etcd and one PostgreSQL on loopback, each as its makers
//! ship it with its own fsync on, and the load beside them on the same cores.
//!
//! In this order: a sweep over numbers of connections ([`run`]); rounds in which all systems take turns at their best, with the physical
//! limits (strict verification, `fdatasync`) in each round; paced loads for latencies; then Visto alone at a size ([`alone`]). Figures of one
//! machine: compare them within a run, not between machines. Or Visto alone at several sizes, and nothing else ([`flat`]).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod alone;
mod charts;
mod drive;
mod flat;
mod limits;
mod load;
mod machine;
mod modes;
mod ratios;
mod report;
mod run;
mod servers;
mod stats;
mod tables;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use ::tests::figures;
use drive::Window;
use report::Report;
use run::{Plan, Servers};
use servers::{etcd::Etcd, postgres::Postgres, visto::Visto};

/// Sizes that fit on most disks.
const FLAT_SIZES: &str = "0,1000000";

const HELP: &str = include_str!("help.txt");

struct Arguments {
    line: String,
    quick: bool,
    etcd: bool,
    postgres: bool,
    entries: Option<u64>,
    seconds: Option<u64>,
    rounds: Option<usize>,
    summary: Option<PathBuf>,
    charts: Option<PathBuf>,
    record: bool,
    /// Visto alone at these sizes, and nothing else.
    flat: Option<Vec<u64>>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprint!("{message}\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let run = async {
        match &arguments.flat {
            Some(sizes) => measure_flat(sizes, &arguments).await,
            None => publish(&measure(&arguments).await?, &arguments),
        }
    };
    // Told to end, it drops what it was at, and so ends every server and removes its folder.
    let done = tokio::select! {
        done = run => done,
        ended = told_to_end() => Err(ended),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

async fn told_to_end() -> String {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => "interrupted".into(),
        _ = terminate.recv() => "told to end".into(),
    }
}

/// A folder on the disk that Visto's nodes are on, and what the machine is.
fn on_disk() -> Result<(tempfile::TempDir, serde_json::Value), String> {
    let folder = tempfile::Builder::new()
        .prefix("visto-bench-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir()
        .map_err(|error| format!("a folder: {error}"))?;
    let facts = machine::facts(folder.path());
    if facts["file_system"] == "tmpfs" {
        return Err(format!(
            "{} is in memory, where fsync means nothing: set TMPDIR to a folder on a disk",
            folder.path().display()
        ));
    }
    Ok((folder, facts))
}

async fn measure_flat(sizes: &[u64], arguments: &Arguments) -> Result<(), String> {
    let (folder, _) = on_disk()?;
    let measured = flat::run(sizes, &arguments.plan(), folder.path()).await?;
    println!("{}", flat::text(&measured));
    if let Some(file) = &arguments.summary {
        write(file, &format!("{measured:#}\n"))?;
    }
    if arguments.record {
        flat::record(&measured, figures::tree())?;
    }
    Ok(())
}

async fn measure(arguments: &Arguments) -> Result<Report, String> {
    let (folder, facts) = on_disk()?;
    eprintln!("starting the servers …");
    let etcd = if arguments.etcd {
        Some(Etcd::start(folder.path()).await?)
    } else {
        None
    };
    let postgres = if arguments.postgres {
        Some(Postgres::start(folder.path()).await?)
    } else {
        None
    };
    let mut servers = Servers::new(etcd, postgres, Visto::start().await);
    let plan = arguments.plan();
    let results = run::run(&mut servers, &plan, folder.path()).await?;
    let state = servers.state();
    let entries = match (arguments.entries, arguments.quick) {
        (Some(entries), _) => entries,
        (None, true) => 20_000,
        (None, false) => 1_000_000,
    };
    let Servers {
        etcd,
        postgres,
        visto,
        cpu,
        ..
    } = servers;
    let peers = [
        etcd.as_ref().map(|etcd| format!("etcd {}", etcd.version)),
        postgres
            .as_ref()
            .map(|postgres| format!("PostgreSQL: {}", postgres.version)),
    ];
    // What follows is Visto's alone.
    drop((etcd, postgres));
    let alone = alone::at_size(&visto, entries).await;
    visto.cluster.finish().await;
    Ok(Report {
        commit: machine::commit(),
        date: ledger::time::format_timestamp(::tests::world::now_ms()),
        command: arguments.line.clone(),
        facts,
        plan,
        peers: peers.into_iter().flatten().collect(),
        entry_bytes: load::entry_bytes(),
        results,
        state,
        cpu,
        alone,
    })
}

/// Prints the figures and writes what was asked for.
fn publish(report: &Report, arguments: &Arguments) -> Result<(), String> {
    println!("{}", report.text());
    if let Some(file) = &arguments.summary {
        write(file, &format!("{:#}\n", report.json()))?;
    }
    let beside =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let charts = arguments
        .charts
        .clone()
        .unwrap_or_else(|| beside.join("figures"));
    std::fs::create_dir_all(&charts).map_err(|error| format!("{}: {error}", charts.display()))?;
    for (name, svg) in report.charts() {
        write(&charts.join(name), &svg)?;
    }
    println!("charts: {}", charts.display());
    if arguments.record {
        record(report, figures::tree())?;
    }
    Ok(())
}

/// Puts the run on record in this tree: figures, charts, and the table in the README.
fn record(report: &Report, root: &Path) -> Result<(), String> {
    let folder = root.join("scripts/figures");
    write(
        &folder.join("bench.json"),
        &format!("{:#}\n", report.json()),
    )?;
    for (name, svg) in report.charts() {
        write(&folder.join(name), &svg)?;
    }
    figures::in_readme(root, "figures", &report.markdown())
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

impl Arguments {
    fn plan(&self) -> Plan {
        let seconds = Duration::from_secs_f64;
        let window = |warm_up: f64, length: f64| Window {
            warm_up: seconds(warm_up),
            length: seconds(length),
        };
        let mut plan = if self.quick {
            Plan {
                sweep: window(0.5, 1.5),
                rounds: 3,
                round: window(0.5, 2.5),
                paced: window(1.0, 4.0),
                limit: seconds(0.5),
                quiet: seconds(2.0),
            }
        } else {
            Plan {
                sweep: window(1.0, 4.0),
                rounds: 5,
                round: window(2.0, 10.0),
                paced: window(2.0, 10.0),
                limit: seconds(2.0),
                quiet: seconds(10.0),
            }
        };
        if let Some(length) = self.seconds {
            plan.round.length = Duration::from_secs(length);
            plan.paced.length = Duration::from_secs(length);
        }
        plan.rounds = self.rounds.unwrap_or(plan.rounds);
        plan
    }
}

/// What was asked, as it goes on record: not where files go besides, which is the machine's own affair.
fn recorded_line(arguments: &[String]) -> String {
    let mut line = "./scripts/bench".to_owned();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if matches!(argument.as_str(), "--summary" | "--charts") {
            arguments.next();
        } else {
            line.push(' ');
            line.push_str(argument);
        }
    }
    line
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Arguments>, String> {
    let all: Vec<String> = arguments.collect();
    let mut parsed = Arguments {
        line: recorded_line(&all),
        quick: false,
        etcd: true,
        postgres: true,
        entries: None,
        seconds: None,
        rounds: None,
        summary: None,
        charts: None,
        record: false,
        flat: None,
    };
    let mut arguments = all.into_iter().peekable();
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
            "--quick" => parsed.quick = true,
            "--peers" => {
                let list = value("a list")?;
                (parsed.etcd, parsed.postgres) = (false, false);
                for peer in list.split(',') {
                    match peer {
                        "none" => {}
                        "etcd" => parsed.etcd = true,
                        "postgres" => parsed.postgres = true,
                        other => return Err(format!("{other}: no such peer")),
                    }
                }
            }
            "--entries" => parsed.entries = Some(number(value("a number")?)?),
            "--seconds" => parsed.seconds = Some(number(value("a number")?)?.max(1)),
            "--rounds" => {
                let rounds = number(value("a number")?)?.clamp(1, 100);
                parsed.rounds = Some(rounds as usize);
            }
            "--summary" => parsed.summary = Some(value("a file")?.into()),
            "--charts" => parsed.charts = Some(value("a folder")?.into()),
            "--record" => parsed.record = true,
            "--flat" => {
                let sizes = arguments.next_if(|next| !next.starts_with('-'));
                let sizes = sizes.unwrap_or_else(|| FLAT_SIZES.into());
                let sizes: Result<Vec<u64>, String> =
                    sizes.split(',').map(|size| number(size.into())).collect();
                parsed.flat = Some(sizes?);
            }
            "-h" | "--help" => return Ok(None),
            other => return Err(format!("{other}: no such flag")),
        }
    }
    Ok(Some(parsed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Option<Arguments>, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn flags_are_read_and_each_stands_in_the_help() {
        let arguments = parsed("--quick --peers postgres --seconds 4 --rounds 2 --summary s.json")
            .unwrap()
            .unwrap();
        assert!(arguments.quick && arguments.postgres && !arguments.etcd);
        let plan = arguments.plan();
        assert_eq!((plan.rounds, plan.round.length.as_secs()), (2, 4));
        let flat = |line| parsed(line).unwrap().unwrap().flat;
        assert_eq!(flat("--quick"), None);
        assert_eq!(flat("--flat --record"), Some(vec![0, 1_000_000]));
        assert_eq!(flat("--flat 0,10_000_000"), Some(vec![0, 10_000_000]));
        let none = parsed("--peers none").unwrap().unwrap();
        assert!(!none.etcd && !none.postgres);
        assert!(parsed("--help").unwrap().is_none());
        for wrong in [
            "--peers mysql",
            "--seconds",
            "--seconds many",
            "--flat much",
            "--slow",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
        for flag in [
            "--quick",
            "--peers",
            "--entries",
            "--seconds",
            "--rounds",
            "--summary",
            "--charts",
            "--record",
            "--flat",
            "--fold",
            "--simulate",
        ] {
            assert!(HELP.contains(flag), "{flag}");
        }
    }

    #[test]
    fn what_goes_on_record_names_no_file() {
        let line = "--quick --summary a/s.json --rounds 2 --charts c --record";
        let arguments = parsed(line).unwrap().unwrap();
        assert_eq!(
            arguments.line,
            "./scripts/bench --quick --rounds 2 --record"
        );
    }

    #[test]
    fn a_quick_run_is_short_enough() {
        let plan = parsed("--quick").unwrap().unwrap().plan();
        let of = |window: Window| window.warm_up + window.length + plan.quiet;
        let sweep: u32 = modes::Mode::ALL
            .iter()
            .map(|mode| mode.connections().len() as u32)
            .sum();
        // Each mode at its best, and two of them at 64 connections too; then three paced loads.
        let series = modes::Mode::ALL.len() as u32 + 2;
        let rounds = plan.rounds as u32;
        let limits = 4 * plan.limit;
        let all = sweep * of(plan.sweep)
            + rounds * (series * of(plan.round) + 3 * of(plan.paced) + limits);
        // The rest is for starting, signing, filling and asking.
        assert!(all < Duration::from_secs(450), "{all:?}");
    }
}
