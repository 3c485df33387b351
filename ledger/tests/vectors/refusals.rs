// SPDX-License-Identifier: EUPL-1.2
//! What must be accepted, and what must be refused for one reason.

use ledger::{
    bytes,
    entry::{Stop, SubmittedEntry, verify},
    key::PublicKey,
    refusal::Refusal,
    signature::Sigs,
    time,
};

use crate::file::*;

/// A wire line as far as bytes, keys, their uses and the time of acceptance judge it. Admission asks more of the state.
fn judge(line: &str, accepted_at_ms: u64) -> Result<(), Refusal> {
    let entry = SubmittedEntry::from_wire(line.as_bytes()).map_err(|refused| refused.refusal)?;
    let entry = verify(entry, ledger(), &keys()).map_err(|stop| match stop {
        Stop::Refused(refused) => refused.refusal,
        Stop::Failed(never) => match never {},
    })?;
    let common = &entry.body().common;
    common.id.refuse_outside_window(accepted_at_ms)?;
    time::refuse_ahead(common.occurred_at_ms, accepted_at_ms)?;
    if entry.signers().all(|id| key_use(&id).signs_entries()) {
        Ok(())
    } else {
        Err(Refusal::KeyUse)
    }
}

#[test]
fn accepted() {
    let mut count = 0;
    for case in cases("accept") {
        assert_eq!(
            judge(text(case, "input"), number(case, "accepted_at_ms")),
            Ok(()),
            "{}",
            text(case, "name")
        );
        count += 1;
    }
    assert_eq!(count, 10);
}

/// Refusals of the kind, each judged.
fn refused(kind: &str, count: usize, judge: impl Fn(&Value) -> Result<(), Refusal>) {
    let mut met = 0;
    for case in cases("refuse").iter().filter(|case| case["kind"] == kind) {
        assert_eq!(
            judge(case).map_err(Refusal::code),
            Err(text(case, "reason")),
            "{}",
            text(case, "name")
        );
        met += 1;
    }
    assert_eq!(met, count);
}

#[test]
fn refused_wire_lines() {
    refused("wire", 98, |case| {
        judge(text(case, "input"), number(case, "accepted_at_ms"))
    });
}

#[test]
fn refused_signature_lists() {
    refused("sigs", 8, |case| {
        Sigs::decode(&bytes_of(case, "input")).map(|_| ())
    });
}

#[test]
fn refused_keys() {
    refused("key", 8, |case| {
        PublicKey::from_bytes(array(case, "input")).map(|_| ())
    });
}

#[test]
fn every_refusal_of_the_file_is_judged() {
    let kinds = ["wire", "sigs", "key", "map-proof", "receipt"];
    assert!(
        cases("refuse")
            .iter()
            .all(|case| kinds.contains(&text(case, "kind")))
    );
    assert_eq!(cases("refuse").len(), 145);
}

/// A single changed byte of a line is refused, or changes nothing that is signed.
#[test]
fn a_changed_byte_changes_nothing_signed() {
    let case = &cases("accept")[0];
    let (line, at) = (text(case, "input"), number(case, "accepted_at_ms"));
    let original = SubmittedEntry::from_wire(line.as_bytes()).unwrap();
    for place in 0..line.len() {
        for change in [1u8, 0x20, 0x80] {
            let mut changed = line.as_bytes().to_vec();
            changed[place] ^= change;
            let Ok(text) = std::str::from_utf8(&changed) else {
                continue;
            };
            if judge(text, at).is_ok() {
                let entry = SubmittedEntry::from_wire(&changed).unwrap();
                assert_eq!(entry, original, "byte {place} ^ {change:#x}");
                assert_eq!(bytes::pae(entry.payload()), original.pae());
            }
        }
    }
}

fn bytes_of(case: &Value, name: &str) -> Vec<u8> {
    crate::file::bytes(case, name)
}
