// SPDX-License-Identifier: EUPL-1.2
//! Past one machine: a discrete-event simulation of a Raft group over links of several lengths ([`study`]), and of a federation of groups with
//! Italy's load ([`italy`]), from what `./scripts/bench` measured. Deterministic: the same figures give the same result.
//!
//! The engine ([`engine`]) is a heap and two hundred lines. NeXosim and desim were looked at: the one wants actors and an async executor, the
//! other a coroutine for each process; a million entries that pass a dozen queues are neither.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod costs;
mod engine;
mod group;
mod italy;
mod limits;
mod report;
mod study;
mod summary;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use ::tests::figures;
use costs::Costs;
use limits::Limits;
use report::Report;
use study::Length;
use summary::Summary;

const HELP: &str = include_str!("../bench/help.txt");

/// In what federation a shard is without a leader, and for how long.
const OUTAGE_SHARDS: usize = 16;
const OUTAGE_S: f64 = 3.0;

#[derive(Debug, Default, PartialEq)]
struct Arguments {
    figures: Option<PathBuf>,
    record: bool,
}

fn main() -> ExitCode {
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
    match simulate(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Arguments>, String> {
    let mut parsed = Arguments::default();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--figures" => {
                let file = arguments.next().ok_or("--figures needs a file")?;
                parsed.figures = Some(file.into());
            }
            "--record" => parsed.record = true,
            "-h" | "--help" => return Ok(None),
            other => return Err(format!("{other}: no such flag")),
        }
    }
    Ok(Some(parsed))
}

fn simulate(arguments: &Arguments) -> Result<(), String> {
    let root = figures::tree();
    let folder = root.join("scripts/figures");
    let file = match &arguments.figures {
        Some(file) => file.clone(),
        None => newest(&folder)?,
    };
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let text = std::fs::read_to_string(&file).map_err(|error| failed(&error))?;
    let json = serde_json::from_str(&text).map_err(|error| failed(&error))?;
    let summary = Summary::read(&json).map_err(|error| failed(&error))?;
    let length = Length {
        warm_up: 1.0,
        counted: 3.0,
    };
    let report = study_all(name(&file), summary, length)?;
    println!("{}", report.text());
    let beside =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let out = if arguments.record {
        folder
    } else {
        beside.join("figures")
    };
    std::fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    write(
        &out.join("simulation.json"),
        &format!("{:#}\n", report.json()),
    )?;
    for (name, svg) in report.charts() {
        write(&out.join(name), &svg)?;
    }
    println!("result and charts: {}", out.display());
    if arguments.record {
        figures::in_readme(root, "simulation", &report.markdown())?;
    }
    Ok(())
}

/// Runs all of it, and says on the way how far it is.
fn study_all(file: String, summary: Summary, length: Length) -> Result<Report, String> {
    let limits = Limits::of_the_code()?;
    let (costs, origins) = Costs::of(&summary);
    eprintln!("the measured loads, for the model to be held against …");
    let checks = study::checks(&summary, &costs, limits, length);
    let cases = study::cases(&costs, limits, length, |case| {
        eprintln!(
            "{} nodes, {} ms, {} cores: {:.0} entries/s",
            case.nodes, case.link_ms, case.cores, case.limit
        );
    });
    let by_in_order_share = study::by_in_order_share(&summary, limits, length);
    let limit = study::limit(
        italy::SHARD_NODES,
        italy::SHARD_LINK_MS,
        study::SHOWN_CORES,
        &costs,
        limits,
        length,
    );
    let federations = italy::federations(limit, &costs, limits, length, |of| {
        eprintln!(
            "{}, {} shards: {:.0} % of the limit",
            of.demand.name,
            of.shards,
            of.share * 100.0
        );
    });
    eprintln!("a shard without a leader …");
    let [_, goal, _] = italy::demands();
    // As long as an election takes where two candidates split the first vote.
    let outage = italy::outage(goal, OUTAGE_SHARDS, OUTAGE_S, &costs, limits, length);
    Ok(Report {
        file,
        summary,
        origins,
        limits,
        checks,
        cases,
        by_in_order_share,
        federations,
        outage,
    })
}

/// The summary on record: that of the last recorded run, or the newest by its date.
fn newest(folder: &Path) -> Result<PathBuf, String> {
    let recorded = folder.join("bench.json");
    if recorded.is_file() {
        return Ok(recorded);
    }
    let files = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let dated = |path: &PathBuf| {
        path.extension().is_some_and(|e| e == "json")
            && path.file_stem().is_some_and(|stem| {
                stem.to_string_lossy()
                    .starts_with(|c: char| c.is_ascii_digit())
            })
    };
    files
        .flatten()
        .map(|file| file.path())
        .filter(dated)
        .max()
        .ok_or_else(|| {
            format!(
                "{}: no summary there; run ./scripts/bench",
                folder.display()
            )
        })
}

fn name(file: &Path) -> String {
    let folder = file.parent().and_then(Path::file_name);
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    match folder {
        Some(folder) if folder == "figures" => format!("scripts/figures/{name}"),
        _ => name.into_owned(),
    }
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::tests::figures::svg::well_formed;

    fn parsed(line: &str) -> Result<Option<Arguments>, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn flags_are_read_and_each_stands_in_the_help() {
        let arguments = parsed("--record --figures f.json").unwrap().unwrap();
        assert!(arguments.record && arguments.figures == Some("f.json".into()));
        assert_eq!(parsed(""), Ok(Some(Arguments::default())));
        assert_eq!(parsed("--help"), Ok(None));
        for wrong in ["--figures", "--nodes 3"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
        for flag in ["--figures", "--record"] {
            assert!(HELP.contains(flag), "{flag}");
        }
    }

    /// A small study from the figures on record: everything that is written of it can be written, and says what was found.
    #[test]
    fn a_study_becomes_text_tables_and_charts() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/figures");
        let text = std::fs::read_to_string(newest(&folder).unwrap()).unwrap();
        let summary = Summary::read(&serde_json::from_str(&text).unwrap()).unwrap();
        let (costs, origins) = Costs::of(&summary);
        let limits = Limits::of_the_code().unwrap();
        let length = Length {
            warm_up: 0.1,
            counted: 0.3,
        };
        let [today, goal, _] = italy::demands();
        let report = Report {
            file: "scripts/figures/x.json".into(),
            origins,
            limits,
            checks: study::checks(&summary, &costs, limits, length),
            cases: vec![study::case(
                3,
                1.0,
                study::SHOWN_CORES,
                &costs,
                limits,
                length,
            )],
            by_in_order_share: vec![(0.5, 1_000.0)],
            federations: vec![
                italy::federation(today, 4, 1_000.0, &costs, limits, length),
                // Far more than a shard can bear.
                italy::federation(goal, 1, 1_000.0, &costs, limits, length),
            ],
            outage: italy::outage(today, 4, 0.5, &costs, limits, length),
            summary,
        };
        let outage = &report.outage;
        assert!((500.0..900.0).contains(&outage.longest_ms), "{outage:?}");
        assert!(outage.others.p99_ms < 400.0 && outage.touched.p50_ms > outage.others.p99_ms);
        let json = report.json();
        assert_eq!(json["groups"].as_array().unwrap().len(), 1);
        assert!(json["federation"][0]["access_on_record"].is_object());
        assert!(json["federation"][1]["access_on_record"].is_null());
        let off = &json["model_beside_the_measured_loopback"][0]["entries_per_s"]["off_percent"];
        assert!(off.is_number());
        let markdown = report.markdown();
        assert!(markdown.contains("| 3, 1 ms |") && markdown.contains("too much"));
        assert!(markdown.lines().count() <= 21, "the README has little room");
        assert!(report.text().contains("3 nodes,  1 ms"));
        for (name, svg) in report.charts() {
            well_formed(&svg).unwrap_or_else(|why| panic!("{name}: {why}"));
            assert!(markdown.contains(name), "{name}");
        }
    }
}
