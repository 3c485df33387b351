// SPDX-License-Identifier: EUPL-1.2
//! `visto-verify`: checks an entry and its receipt, offline, with nothing but a policy file. Short enough to be read whole.

use std::{fs::File, io::Read, process::ExitCode};

use ledger::base64::url_decode_array;
use ledger::body::Body;
use ledger::bytes::WIRE_BYTES_MAX;
use ledger::entry::SubmittedEntry;
use ledger::key::PublicKey;
use ledger::policy::{POLICY_BYTES_MAX, PolicySet, VerifyError};
use ledger::receipt::{self, Receipt, ReceiptError};
use ledger::tlog_proof::TLOG_PROOF_BYTES_MAX;

const USAGE: &str = "\
usage: visto-verify --policy FILE [--key PUBLIC_KEY]... ENTRY.json RECEIPT.tlog-proof
  --policy FILE  which log and nodes to trust, from which tree size on
  --key KEY      public key of a signer of the entry, base64url; may be repeated
exit codes: 0 all that was checked holds, 1 proven false, 2 usage, 3 cannot check";

/// An exit code that is not 0, and why.
struct Stop(u8, String);

fn proven_false(why: String) -> Stop {
    Stop(1, format!("FALSE: {why}."))
}
fn usage(why: &str) -> Stop {
    Stop(2, format!("{why}\n{USAGE}"))
}
fn cannot_check(why: String) -> Stop {
    Stop(3, format!("Cannot check: {why}."))
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let Err(Stop(code, why)) = run(args) else {
        return ExitCode::SUCCESS;
    };
    eprintln!("{why}");
    ExitCode::from(code)
}

fn run(args: Vec<String>) -> Result<(), Stop> {
    let (mut policy, mut keys, mut files) = (None, Vec::new(), Vec::new());
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--policy" if policy.is_none() => {
                policy = Some(args.next().ok_or_else(|| usage("--policy needs a file"))?);
            }
            "--key" => {
                let key = args.next().and_then(|text| url_decode_array(&text));
                let key = key.and_then(|bytes| PublicKey::from_bytes(bytes).ok());
                let key = key.ok_or_else(|| usage("--key needs a public key"))?;
                keys.push(key);
            }
            flag if flag.starts_with('-') => return Err(usage("a flag unknown or given twice")),
            _ => files.push(arg),
        }
    }
    let (Some(policy), [entry, receipt]) = (policy, files.as_slice()) else {
        return Err(usage("a policy, an entry and a receipt are needed"));
    };
    let policies = PolicySet::parse(&read(&policy, POLICY_BYTES_MAX)?)
        .map_err(|error| cannot_check(format!("policy file {policy}, {error}")))?;
    let line = read(entry, WIRE_BYTES_MAX)?;
    let receipt = read(receipt, TLOG_PROOF_BYTES_MAX)?;
    let entry = SubmittedEntry::from_wire(line.strip_suffix(b"\n").unwrap_or(&line))
        .map_err(|refused| proven_false(format!("the entry is malformed ({refused})")))?;
    let body = open_body(&entry)?;
    verify_signatures(&entry, &keys)?;
    verify_receipt(&entry, &body, &receipt, &policies)?;
    println!("Verified: all of this follows from the files and keys given.");
    Ok(())
}

/// Reads a file; one that is longer than any valid one is cut just past that, and so refused when it is parsed.
fn read(path: &str, bytes_max: usize) -> Result<Vec<u8>, Stop> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(bytes_max as u64 + 2).read_to_end(&mut bytes))
        .map_err(|error| cannot_check(format!("{path}: {error}")))?;
    Ok(bytes)
}

/// The body, with those of its disclosed values that are given.
fn open_body(entry: &SubmittedEntry) -> Result<Body, Stop> {
    let (payload, disclosures) = (entry.payload(), entry.disclosures());
    let body = Body::parse_partial(payload, disclosures)
        .map_err(|refused| proven_false(format!("the entry's content is malformed ({refused})")))?;
    let (id, institution) = (body.common.id, body.common.institution.as_str());
    let kind = body.entry_type().as_str();
    println!("Entry {id} says that it is of type {kind}, by {institution}.");
    let rest = match Body::parse(payload, disclosures) {
        Ok(_) => "none is withheld",
        Err(_) => "others are withheld",
    };
    let count = disclosures.len();
    println!("Its {count} disclosed values are those that were signed; {rest}.");
    Ok(body)
}

/// The institutions' own signatures, as far as their keys are given.
fn verify_signatures(entry: &SubmittedEntry, keys: &[PublicKey]) -> Result<(), Stop> {
    let mut verified = 0;
    for row in entry.sigs().rows() {
        let id = row.key_id;
        let Some(key) = keys.iter().find(|key| key.key_id() == id) else {
            println!("NOT CHECKED: the institution's signature by key {id}; give it with --key.");
            continue;
        };
        let no = |_| proven_false(format!("the signature by key {id} does not hold"));
        row.signature.verify(key, entry.pae()).map_err(no)?;
        println!("The signature by key {id} holds.");
        verified += 1;
    }
    match verified {
        0 if !keys.is_empty() => Err(proven_false("no key given signed the entry".into())),
        _ => Ok(()),
    }
}

/// What the ledger says of the entry, under the policy.
fn verify_receipt(
    entry: &SubmittedEntry,
    body: &Body,
    receipt: &[u8],
    policies: &PolicySet,
) -> Result<(), Stop> {
    let stop = |error| match error {
        ReceiptError::Checkpoint(VerifyError::NoPolicy) => cannot_check(error.to_string()),
        _ => proven_false(error.to_string()),
    };
    let receipt = Receipt::parse(receipt).map_err(stop)?;
    let verified = receipt::verify(entry, &receipt, policies).map_err(stop)?;
    verified.agree_with(body).map_err(stop)?;
    verified.facts().iter().for_each(|fact| println!("{fact}"));
    Ok(())
}
