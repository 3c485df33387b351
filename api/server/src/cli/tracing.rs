// SPDX-License-Identifier: EUPL-1.2
//! `visto tracing`: a day's tracing file of the national platform (PDND) held against the ledger.

use std::{fs, path::PathBuf};

use wire::tracing::{Reconciliation, TracingKind};

use super::{
    Connection,
    exchange::Side,
    exit::{Exit, Failure},
    output::{self, Output},
};

/// Tracing files of the national platform (PDND).
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Hold a day's file (date,purpose_id,status,token_id,requests_count) against the ledger. Exit code 1 if they differ.
    Check(Box<Check>),
}

/// Hold a day's file against the ledger. Exit code 1 if they differ.
#[derive(clap::Args)]
pub(crate) struct Check {
    #[command(flatten)]
    connection: Connection,
    /// The file, CSV.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// The institution whose calls the file counts, if not the reader's.
    #[arg(long = "of-institution", value_name = "ID")]
    of: Option<String>,
    /// Count only what it told as this side.
    #[arg(long, value_enum)]
    side: Option<Side>,
}

pub(crate) async fn run(command: Command, output: Output) -> Result<Exit, Failure> {
    let Command::Check(check) = command;
    let csv = fs::read_to_string(&check.file)
        .map_err(|error| Failure::failed(format!("{}: {error}", check.file.display())))?;
    let connection = check.connection.resolve()?;
    let client = connection.client()?;
    let found = client
        .reconcile_tracing(
            &connection.token()?,
            &csv,
            check.of.as_deref(),
            check.side.map(Side::as_str),
        )
        .await
        .map_err(Failure::of_client)?;
    output::one(output, &found, describe)?;
    Ok(if found.agrees { Exit::Ok } else { Exit::Failed })
}

fn describe(found: &Reconciliation) -> String {
    let mut lines = vec![format!(
        "{} on {} ({} to {}): {} calls in the file, {} in the ledger of {} entries",
        found.institution,
        found.date,
        found.from,
        found.to,
        found.requests_in_file,
        found.requests_in_ledger,
        found.tree_size
    )];
    if !found.differences.is_empty() {
        let rows: Vec<Vec<String>> = found
            .differences
            .iter()
            .map(|difference| {
                vec![
                    match difference.kind {
                        TracingKind::MissingInLedger => "missing in ledger".to_owned(),
                        TracingKind::MissingInFile => "missing in file".to_owned(),
                        TracingKind::OtherCount => "other count".to_owned(),
                    },
                    difference.in_file.to_string(),
                    difference.in_ledger.to_string(),
                    difference.purpose_id.clone(),
                    difference.status.to_string(),
                    difference.token_id.clone(),
                    difference
                        .line
                        .map_or_else(|| "-".to_owned(), |line| line.to_string()),
                ]
            })
            .collect();
        lines.push(output::table(&COLUMNS, &rows));
    }
    if !found.not_comparable.is_empty() {
        let indexes: Vec<String> = found.not_comparable.iter().map(u64::to_string).collect();
        lines.push(format!(
            "not comparable (no purposeId, statusCode or voucher, or erased): entries {}",
            indexes.join(", ")
        ));
    }
    if found.agrees {
        lines.push("File and ledger agree.".to_owned());
    }
    lines.join("\n")
}

const COLUMNS: [&str; 7] = [
    "difference",
    "file",
    "ledger",
    "purpose",
    "status",
    "token",
    "line",
];
