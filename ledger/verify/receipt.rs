// SPDX-License-Identifier: EUPL-1.2
//! An entry and its receipt: what the entry says, who signed it, and what the ledger says of it.

use ledger::body::Body;
use ledger::bytes::WIRE_BYTES_MAX;
use ledger::entry::SubmittedEntry;
use ledger::key::PublicKey;
use ledger::policy::{PolicySet, VerifyError};
use ledger::receipt::{self, Receipt, ReceiptError};
use ledger::tlog_proof::TLOG_PROOF_BYTES_MAX;

use crate::{Stop, cannot_check, proven_false, read};

pub(crate) fn verify(
    entry: &str,
    receipt: &str,
    keys: &[PublicKey],
    policies: &PolicySet,
) -> Result<(), Stop> {
    let line = read(entry, WIRE_BYTES_MAX)?;
    let receipt = read(receipt, TLOG_PROOF_BYTES_MAX)?;
    let entry = SubmittedEntry::from_wire(line.strip_suffix(b"\n").unwrap_or(&line))
        .map_err(|refused| proven_false(format!("the entry is malformed ({refused})")))?;
    let body = open_body(&entry)?;
    verify_signatures(&entry, keys)?;
    verify_receipt(&entry, &body, &receipt, policies)
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
