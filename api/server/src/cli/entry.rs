// SPDX-License-Identifier: EUPL-1.2
//! `visto entry`: send signed entries.

use std::{
    fs,
    io::{self, Read},
    path::PathBuf,
};

use client::{
    error::Error,
    http::{Outcome, Until},
};
use ledger::entry::SubmittedEntry;
use serde::Serialize;
use wire::{BATCH_ENTRIES_MAX, entry::Accepted};

use super::{
    Connection,
    exit::{Exit, Failure},
    output::{self, Output},
};

/// Entries: send them.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Submit signed entries, one a line; the answers come in the same order. Sending the same entries again is safe.
    Submit(Submit),
}

/// Submit signed entries, one a line.
#[derive(clap::Args)]
pub(crate) struct Submit {
    #[command(flatten)]
    connection: Connection,
    /// File of entries as they travel (`{"envelope": …, "disclosures": […]}`), one a line; `-` = stdin.
    file: PathBuf,
    /// Answer as soon as a majority of the nodes has the entry on disk, without a receipt.
    #[arg(long, conflicts_with = "receipt")]
    committed: bool,
    /// Write the receipt (tlog-proof) to this file; for a single entry.
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    line: usize,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    accepted: Option<Accepted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(crate) async fn run(command: Command, output: Output) -> Result<Exit, Failure> {
    let Command::Submit(submit) = command;
    let connection = submit.connection.resolve()?;
    let client = connection.client()?;
    let name = submit.file.display();
    let text = if submit.file.as_os_str() == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(&submit.file)
    };
    let text = text.map_err(|error| Failure::cannot_check(format!("{name}: {error}")))?;
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    // A slip is told with its line before anything is sent.
    for (place, line) in lines.iter().enumerate() {
        SubmittedEntry::from_wire(line.as_bytes()).map_err(|refused| {
            Failure::failed(format!(
                "{name}:{}: {refused}: {}",
                place + 1,
                refused.refusal.remedy()
            ))
        })?;
    }
    if submit.receipt.is_some() && lines.len() != 1 {
        return Err(Failure::usage(format!(
            "--receipt is for one entry, and {name} has {}",
            lines.len()
        )));
    }
    let until = if submit.committed {
        Until::Committed
    } else {
        Until::Published
    };
    let mut answers = Vec::with_capacity(lines.len());
    let mut exit = Exit::Ok;
    for chunk in lines.chunks(BATCH_ENTRIES_MAX) {
        for outcome in client.submit_batch(chunk, until).await {
            let line = answers.len() + 1;
            answers.push(match outcome {
                Outcome::Accepted(accepted) => Line {
                    line,
                    accepted: Some(accepted),
                    error: None,
                },
                Outcome::Refused(problem) => {
                    let failure = Failure::of_client(Error::Problem(problem));
                    exit = worse(exit, failure.exit);
                    Line {
                        line,
                        accepted: None,
                        error: Some(failure.text),
                    }
                }
                Outcome::Open(error) => {
                    let failure = Failure::of_client(error);
                    exit = worse(exit, failure.exit);
                    Line {
                        line,
                        accepted: None,
                        error: Some(failure.text),
                    }
                }
            });
        }
    }
    output::many(output, &answers, |answers| {
        answers.iter().map(describe).collect::<Vec<_>>().join("\n")
    })?;
    if let Some(file) = &submit.receipt
        && let Some(accepted) = answers.first().and_then(|answer| answer.accepted.as_ref())
    {
        let receipt = accepted.receipt.as_ref().ok_or_else(|| {
            Failure::cannot_check(format!("entry {} is committed and not published yet; submit the same file again for its receipt", accepted.index))
        })?;
        fs::write(file, receipt)
            .map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?;
    }
    Ok(exit)
}

fn describe(line: &Line) -> String {
    match (&line.accepted, &line.error) {
        (Some(accepted), _) => {
            let findings = if accepted.findings.is_empty() {
                "covered".to_owned()
            } else {
                accepted.findings.join(", ")
            };
            let again = if accepted.again { ", known before" } else { "" };
            format!(
                "line {}: entry {} at {} ({findings}{again})",
                line.line, accepted.index, accepted.accepted_at
            )
        }
        (None, Some(error)) => format!("line {}: {error}", line.line),
        (None, None) => format!("line {}", line.line),
    }
}

/// What was refused outweighs what is still open.
fn worse(one: Exit, other: Exit) -> Exit {
    match (one, other) {
        (Exit::Failed, _) | (_, Exit::Failed) => Exit::Failed,
        (Exit::Ok, other) => other,
        (one, _) => one,
    }
}
