// SPDX-License-Identifier: EUPL-1.2
//! `visto verify`: an export, or an entry and its receipt, against a policy. Offline, unless the receipt is to be fetched.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use client::receipt::{self, ReceiptError, VerifiedReceipt};
use ledger::{entry::SubmittedEntry, policy::PolicySet, time};
use serde::Serialize;

use super::{
    Connection,
    exit::{Exit, Failure},
    output::{self, Output},
};

/// Check an export, or that an entry stands in the ledger as its receipt says, under a policy.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// An export (export.json, or the bundle it came in), or a receipt; nothing is asked over the network.
    file: Option<PathBuf>,
    /// File with the entry as it was sent (one line), that the receipt is of.
    #[arg(long, value_name = "FILE")]
    entry: Option<PathBuf>,
    /// File with the receipt (tlog-proof).
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    receipt: Option<PathBuf>,
    /// Fetch the receipt of this index from a node; it is verified all the same.
    #[arg(long, value_name = "INDEX", conflicts_with_all = ["file", "receipt"])]
    index: Option<u64>,
    #[command(flatten)]
    asked: export::Asked,
}

mod export;

/// What a receipt proves.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Proven {
    index: u64,
    tree_size: u64,
    origin: String,
    accepted_at: String,
    findings: Vec<&'static str>,
    rules: u16,
    first_key: String,
    leaf_hash: String,
    cosigned_by: Vec<String>,
    cosigned_first: Option<String>,
    cosigned_last: Option<String>,
}

/// Where a receipt comes from.
enum Proof {
    File(PathBuf),
    Index(u64),
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let Arguments {
        connection,
        file,
        entry,
        receipt,
        index,
        asked,
    } = arguments;
    let connection = connection.resolve()?;
    let policies = PolicySet::parse(connection.policy_text()?.as_bytes())
        .map_err(|error| Failure::cannot_check(format!("policy: {error}")))?;
    let proof = match (file, receipt, index) {
        (Some(file), None, None) if is_receipt(&file)? => Proof::File(file),
        (Some(file), None, None) if entry.is_none() => {
            return export::verify(&file, &asked, &policies, output);
        }
        (None, Some(file), None) => Proof::File(file),
        (None, None, Some(index)) => Proof::Index(index),
        _ => {
            return Err(Failure::usage(
                "give an export, or --entry with a receipt or --index",
            ));
        }
    };
    let entry =
        entry.ok_or_else(|| Failure::usage("--entry is missing: a receipt is of an entry"))?;
    let line = read(&entry)?;
    let submitted = SubmittedEntry::from_wire(line.trim_end().as_bytes()).map_err(|refused| {
        Failure::cannot_check(format!(
            "{}: not an entry as it is sent: {refused}",
            entry.display()
        ))
    })?;
    let verified = match proof {
        Proof::File(file) => receipt::verify(&submitted, &read(&file)?, &policies),
        Proof::Index(index) => {
            let (client, token) = (connection.client()?, connection.token().ok());
            receipt::fetch(&client, &submitted, index, token.as_deref(), &policies).await
        }
    };
    let verified = verified.map_err(|error| match error {
        ReceiptError::Fetch(error) => Failure::of_client(error),
        ReceiptError::Entry(_) | ReceiptError::Verify(_) => Failure::failed(error),
    })?;
    output::one(output, &describe(&verified), human)?;
    Ok(Exit::Ok)
}

/// Whether a file begins as a receipt does.
fn is_receipt(file: &Path) -> Result<bool, Failure> {
    let mut start = Vec::new();
    fs::File::open(file)
        .and_then(|file| file.take(16).read_to_end(&mut start))
        .map_err(|error| Failure::cannot_check(format!("{}: {error}", file.display())))?;
    Ok(start.starts_with(b"c2sp.org/tlog-pr"))
}

fn describe(verified: &VerifiedReceipt) -> Proven {
    let (meta, checkpoint) = (verified.meta(), verified.checkpoint());
    let between = verified.cosigned_between_s();
    let time = |seconds: u64| time::format_timestamp(seconds.saturating_mul(1000));
    Proven {
        index: verified.index().0,
        tree_size: checkpoint.checkpoint().size.0,
        origin: checkpoint.checkpoint().origin.to_string(),
        accepted_at: time::format_timestamp(meta.accepted_at_ms),
        findings: meta.findings.iter().map(|finding| finding.name()).collect(),
        rules: meta.rules,
        first_key: meta.first_key.to_string(),
        leaf_hash: ledger::base64::url_encode(verified.leaf_hash().as_bytes()),
        cosigned_by: checkpoint
            .cosignatures()
            .iter()
            .map(|cosigned| cosigned.name.as_str().to_owned())
            .collect(),
        cosigned_first: between.map(|(first, _)| time(first)),
        cosigned_last: between.map(|(_, last)| time(last)),
    }
}

fn human(proven: &Proven) -> String {
    let findings = if proven.findings.is_empty() {
        "covered".to_owned()
    } else {
        proven.findings.join(", ")
    };
    let mut lines = vec![
        format!(
            "PROVEN: the entry stands at index {} of {}, in a tree of {} entries",
            proven.index, proven.origin, proven.tree_size
        ),
        format!(
            "accepted      {}, {findings} (rule set {})",
            proven.accepted_at, proven.rules
        ),
        format!("first key     {}", proven.first_key),
        format!("leaf hash     {}", proven.leaf_hash),
        format!("cosigned by   {}", proven.cosigned_by.join(", ")),
    ];
    if let (Some(first), Some(last)) = (&proven.cosigned_first, &proven.cosigned_last) {
        lines.push(format!("cosigned at   {first} to {last}"));
    }
    lines.join("\n")
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path)
        .map_err(|error| Failure::cannot_check(format!("{}: {error}", path.display())))
}
