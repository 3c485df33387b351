// SPDX-License-Identifier: EUPL-1.2
//! Whole entries: from the wire line to the leaf and the items of the lists that show it.

use ledger::{
    base64,
    body::{Body, Content, EntryType},
    bytes::{self, Malformed},
    disclosure,
    entry::{SequencedEntry, StoredEntry, SubmittedEntry, VerifiedEntry, verify},
    finding::Findings,
    hash::Hash,
    json,
    number::EntryIndex,
    signature::Sigs,
};

use crate::file::*;

const LIMITS: json::Limits = json::Limits {
    bytes_max: 1 << 16,
    depth_max: 16,
};

fn verified(case: &Value) -> VerifiedEntry {
    let entry = SubmittedEntry::from_wire(text(case, "wire").as_bytes()).expect("a wire line");
    verify(entry, ledger(), &keys()).expect("an entry to be accepted")
}

fn sequenced(case: &Value) -> SequencedEntry {
    SequencedEntry::new(
        verified(case),
        EntryIndex(number(case, "index")),
        number(case, "accepted_at_ms"),
        Findings(number(case, "findings") as u32),
        number(case, "rules") as u16,
        array(case, "body_salt"),
    )
}

#[test]
fn wire_lines() {
    for case in cases("entries") {
        let entry = verified(case);
        assert_eq!(entry.submitted().payload(), text(case, "body").as_bytes());
        assert_eq!(entry.pae(), bytes(case, "pae"));
        assert_eq!(entry.submitted().sigs().encode(), bytes(case, "sigs"));
        assert_eq!(
            Sigs::decode(&bytes(case, "sigs")).as_ref(),
            Ok(entry.submitted().sigs())
        );
        assert_eq!(
            entry.signers().next(),
            Some(signing_key(text(case, "signer")).key_id())
        );
        assert_eq!(u64::from(entry.entry_type().code()), number(case, "type"));
        let line = entry.submitted().to_wire();
        assert_eq!(
            SubmittedEntry::from_wire(line.as_bytes()).as_ref(),
            Ok(entry.submitted())
        );
    }
}

#[test]
fn types_have_their_numbers() {
    let types = section("types").as_object().unwrap();
    assert_eq!(types.len(), EntryType::ALL.len());
    for (name, number) in types {
        assert_eq!(
            EntryType::parse(name).map(|found| u64::from(found.code())),
            number.as_u64(),
            "{name}"
        );
    }
}

#[test]
fn disclosures() {
    for case in cases("entries") {
        for disclosed in case["disclosures"].as_array().unwrap() {
            let value = json::parse(text(disclosed, "value").as_bytes(), LIMITS).unwrap();
            let salt = base64::url_decode(text(disclosed, "salt_b64u")).unwrap();
            let made = disclosure::make(&salt, &value);
            assert_eq!(made, text(disclosed, "disclosure"));
            assert_eq!(
                base64::url_encode(disclosure::digest(&made).as_bytes()),
                text(disclosed, "digest_b64u")
            );
            assert_eq!(
                disclosure::open(&base64::url_decode(&made).unwrap()),
                Ok(value)
            );
        }
    }
}

#[test]
fn leaves() {
    for case in cases("entries") {
        let entry = sequenced(case);
        let salt = array(case, "body_salt");
        assert_eq!(
            bytes::meta_encode(entry.meta()).as_slice(),
            bytes(case, "meta")
        );
        assert_eq!(
            bytes::meta_decode(&array(case, "meta")),
            Some(*entry.meta())
        );
        assert_eq!(bytes::meta_salt(&salt), hash(case, "meta_salt"));
        assert_eq!(
            bytes::meta_commit(&hash(case, "meta_salt"), entry.meta()),
            hash(case, "meta_commit")
        );
        assert_eq!(
            bytes::body_commit(&salt, &bytes(case, "pae"), &bytes(case, "sigs")),
            hash(case, "body_commit")
        );
        assert_eq!(entry.leaf().as_slice(), bytes(case, "leaf"));
        assert_eq!(entry.leaf_hash(), hash(case, "leaf_hash"));
        let extra = bytes::extra_encode(entry.meta(), &salt);
        assert_eq!(bytes::extra_decode(&extra), Some((*entry.meta(), salt)));
    }
}

/// What a node reads of what it keeps of an entry.
fn kept(stored: &StoredEntry) -> Result<StoredEntry, Malformed> {
    let kept = stored.encode();
    StoredEntry::decode(&kept.text, &kept.bytes)
}

#[test]
fn stored_entries_keep_their_leaf_through_erasure() {
    for case in cases("entries") {
        let entry = sequenced(case);
        let submitted = entry.entry().submitted().clone();
        let body = entry.entry().body().clone();
        let mut stored = entry.into_stored();
        assert_eq!(kept(&stored).as_ref(), Ok(&stored));
        assert_eq!(stored.submitted(), Some(submitted));
        assert_eq!(stored.parse_body(), Ok(Some(body)));
        for fold in case["folds_into"].as_array().unwrap() {
            assert_eq!(stored.item(&hash(fold, "ref")), hash(fold, "item"));
        }
        stored.erase();
        assert_eq!(kept(&stored).as_ref(), Ok(&stored));
        assert_eq!(stored.leaf().as_slice(), bytes(case, "leaf"));
        assert_eq!(stored.leaf_hash(), hash(case, "leaf_hash"));
        assert_eq!(stored.parse_body(), Ok(None));
    }
}

#[test]
fn bodies_read_write_and_read_again() {
    for case in cases("entries") {
        let entry = verified(case);
        let disclosures = entry.submitted().disclosures();
        let text = entry.body().to_json();
        assert_eq!(
            Body::parse(text.as_bytes(), disclosures).as_ref(),
            Ok(entry.body())
        );
        let withheld = Body::parse_partial(text.as_bytes(), &[]).unwrap();
        assert_eq!(withheld.to_json(), text);
        if !disclosures.is_empty() {
            assert_ne!(&withheld, entry.body());
        }
    }
}

#[test]
fn sealed_entries_fold_into_their_authority() {
    let case = entry("access-deferred");
    let body = verified(case);
    let Content::Access(_) = &body.body().content else {
        panic!("an access")
    };
    let sealed = bytes::sealed_ref(&body.body().common.institution);
    assert_eq!(sealed, hash(&case["folds_into"][0], "ref"));
}

#[test]
fn salts_and_refs_matter() {
    let case = entry("access-consumer");
    let mut entry = sequenced(case).into_stored();
    let other = Hash::ZERO;
    assert!(
        list(&case["folds_into"])
            .iter()
            .all(|fold| entry.item(&other) != hash(fold, "item"))
    );
    entry.meta.accepted_at_ms += 1;
    assert_ne!(entry.leaf_hash(), hash(case, "leaf_hash"));
}
