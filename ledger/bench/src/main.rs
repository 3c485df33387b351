// SPDX-License-Identifier: EUPL-1.2
//! Counts the instructions of what is hot, under valgrind's callgrind, and holds them against the committed baseline: a count says in
//! seconds, on a busy machine, what a clock says only on a quiet one. Run by `./scripts/instructions`.

// A bench: a panic is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod baseline;
mod callgrind;

use std::{env, path::Path, process::ExitCode};

use baseline::{Baseline, Verdict};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments.as_slice() {
        [callgrind::COUNTED] => {
            callgrind::be_counted();
            ExitCode::SUCCESS
        }
        ["check", file] => check(Path::new(file)),
        ["renew", file] => {
            let counted = callgrind::count();
            std::fs::write(file, counted.to_string()).expect("the baseline's file");
            println!("{counted}");
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("usage: instructions check|renew BASELINE");
            ExitCode::from(2)
        }
    }
}

fn check(file: &Path) -> ExitCode {
    let kept = std::fs::read_to_string(file).expect("the baseline's file");
    let kept = Baseline::parse(&kept);
    match kept.judge(&callgrind::count()) {
        Verdict::Same(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Verdict::Incomparable(why) => {
            println!("not compared with the baseline: {why}");
            ExitCode::SUCCESS
        }
        Verdict::Differs(said) => {
            println!("{said}");
            ExitCode::FAILURE
        }
    }
}
