// SPDX-License-Identifier: EUPL-1.2
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use ledger::body::EntryType;
use ledger::bytes::{self, Meta};
use ledger::disclosure::Disclosure;
use ledger::entry::StoredBody;
use ledger::finding::Findings;
use ledger::number::EntryIndex;
use proptest::prelude::*;

use super::*;
use crate::testbed;

fn entry(number: u64) -> StoredEntry {
    let entry = testbed::consent(number);
    let body_salt = [number as u8; 32];
    let (pae, sigs) = (bytes::pae(entry.payload()), entry.sigs().clone());
    StoredEntry {
        meta: Meta {
            accepted_at_ms: number,
            entry_type: EntryType::Consent,
            findings: Findings(0),
            rules: 1,
            first_key: sigs.first(),
        },
        meta_salt: bytes::meta_salt(&body_salt),
        body_commit: bytes::body_commit(&body_salt, &pae, &sigs.encode()),
        body: Some(StoredBody {
            body_salt,
            payload: entry.payload().to_vec(),
            sigs,
        }),
        disclosures: entry
            .disclosures()
            .iter()
            .cloned()
            .map(Disclosure::new)
            .collect(),
        erased: Vec::new(),
    }
}

fn pack(entry: &StoredEntry) -> Vec<u8> {
    Packer::new().unwrap().pack(entry).unwrap()
}

/// A frame of a text, as a value begins with.
fn framed(text: &[u8]) -> Vec<u8> {
    let frame = Packer::new().unwrap().0.compress(text).unwrap();
    [&[NEWEST], &*frame].concat()
}

#[test]
fn entries_come_out_as_they_went_in() {
    let mut packer = Packer::new().unwrap();
    for number in 1..40 {
        let mut entry = entry(number);
        let value = packer.pack(&entry).unwrap();
        assert_eq!(unpack(&value).as_ref(), Ok(&entry));
        // The words are in the dictionary: what is left is hardly more than what nothing packs.
        let bytes = entry.encode().bytes.len();
        assert!(value.len() < bytes + 100, "{} of {bytes}", value.len());
        entry.erase();
        entry.erased.push(EntryIndex(number));
        assert_eq!(unpack(&packer.pack(&entry).unwrap()), Ok(entry));
    }
}

/// A ledger kept with it is read with it.
#[test]
fn a_dictionary_never_changes() {
    let kept = ledger::hash::Hash::of(&[&dictionary(1).unwrap()]);
    let is = "3b0231d4a1a50abae5621259a93a192953e1bdcab40925d3d613d86abab4351f";
    assert_eq!(kept.to_string(), is);
    let value = pack(&entry(1));
    for number in [0, 2, u8::MAX] {
        assert_eq!(dictionary(number), None);
        let value = [&[number], &value[1..]].concat();
        let why = unpack(&value).unwrap_err();
        assert!(why.contains(&format!("dictionary {number}")), "{why}");
    }
}

#[test]
fn no_value_asks_for_more_memory_than_an_entry_takes() {
    let bomb = framed(&vec![b' '; TEXT_BYTES_MAX + 1]);
    assert!(bomb.len() < 1000);
    let why = unpack(&bomb).unwrap_err();
    assert!(why.contains("longer"), "{why}");
    // One that says less than it holds.
    let mut lies = framed(&vec![b' '; 300]);
    assert_eq!(lies[6..8], [44, 0]);
    lies[6] -= 1;
    assert!(unpack(&lies).unwrap_err().contains("zstd"));
}

proptest! {
    #[test]
    fn what_is_damaged_is_another_entry_or_none(number in 1..9u64, at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let good = entry(number);
        let value = pack(&good);
        let mut bad = value.clone();
        bad[at.index(value.len())] ^= 1 << bit;
        // What another entry or another one's leaf is, the tree tells.
        if let Ok(read) = unpack(&bad) {
            prop_assert!(read == good || read.leaf_hash() != good.leaf_hash());
        }
        prop_assert!(unpack(&value[..at.index(value.len())]).is_err());
        prop_assert!(unpack(&[&*value, b"x"].concat()).is_err());
    }

    #[test]
    fn nothing_panics(text in prop::collection::vec(0..100u8, 0..200), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = unpack(&bytes);
        let _ = unpack(&[&framed(&text), &[0x11][..], &bytes].concat());
    }
}
