// SPDX-License-Identifier: EUPL-1.2
//! Names and values of the state, laid out again from what they mean.

use ledger::{
    body::{Reference, consent::ConsentEvent},
    bytes::{
        ListValue,
        state::{self, KeyRecord, StateKey},
    },
    hash::Hash,
    id::{InstitutionId, NodeNumber},
    key::KeyUse,
};

use crate::file::{Value, bytes, cases, hash, number, signing_key, text};

fn institution(text: &str) -> InstitutionId {
    InstitutionId::parse(text).unwrap()
}

/// `at` of an entry of the vectors.
fn at(value: &[u8]) -> Reference {
    let reference = state::decode_at(value).unwrap();
    let entry = cases("entries")
        .iter()
        .find(|entry| number(entry, "index") == reference.index.0);
    if let Some(entry) = entry {
        assert_eq!(reference.leaf, hash(entry, "leaf_hash"));
    }
    assert_eq!(state::at(&reference), value[..40]);
    reference
}

/// Key and value of a case, made from what it says.
fn laid_out(case: &Value, name: &[u8], value: &[u8]) -> (StateKey, Vec<u8>) {
    let person = || Hash::from_slice(&name[..32]).unwrap();
    let inps = institution("ipa:inps");
    match text(case, "what") {
        "key" => {
            let key = signing_key("inps");
            let record = KeyRecord {
                public_key: key.public(),
                key_use: KeyUse::Entry,
                first: 0,
                until: u64::MAX,
                institution: inps,
            };
            assert_eq!(KeyRecord::decode(value), Some(record.clone()));
            (StateKey::key(&key.key_id()), record.encode())
        }
        "institution" => (StateKey::institution(&inps), state::at(&at(value))),
        "role" => (
            StateKey::role(&institution("ipa:c_m109"), "dpo"),
            state::at(&at(value)),
        ),
        "node" => (StateKey::node(NodeNumber(1)), state::at(&at(value))),
        "delegation" => {
            let text = core::str::from_utf8(name).unwrap();
            let (controller, submitter) = text.split_once('\n').unwrap();
            (
                StateKey::delegation(&institution(controller), &institution(submitter)),
                state::at(&at(value)),
            )
        }
        "consent record" => {
            let record = core::str::from_utf8(&name[32..]).unwrap();
            let value = state::consent(&at(value), ConsentEvent::Withdrawn);
            (StateKey::consent(&person(), record), value)
        }
        "stream" => {
            let (n, prev) = state::decode_stream(value).unwrap();
            assert_eq!(n, 2);
            (StateKey::stream(&inps, "isee"), state::stream(n, &prev))
        }
        "rules" => {
            assert_eq!(state::decode_rules(value), Some(7));
            (StateKey::rules(), state::rules(&at(value), 7))
        }
        "list" => {
            let key = match number(case, "kind") {
                1 => StateKey::subject(&person()),
                2 => StateKey::household(&person()),
                _ => StateKey::sealed(&person()),
            };
            (key, ListValue::decode(value).unwrap().encode().to_vec())
        }
        other => panic!("nothing lays out {other}"),
    }
}

#[test]
fn names_and_values_are_laid_out_alike() {
    for case in cases("state_values") {
        let (name, value) = (bytes(case, "name"), bytes(case, "value"));
        let (key, again) = laid_out(case, &name, &value);
        assert_eq!(
            (u64::from(key.kind), &key.name),
            (number(case, "kind"), &name),
            "{}",
            text(case, "what")
        );
        assert_eq!(key.hash(), hash(case, "key"));
        assert_eq!(again, value, "{}", text(case, "what"));
    }
}

/// What a node finds on its disk is what it wrote, or nothing at all.
#[test]
fn values_of_other_lengths_are_not_read() {
    for case in cases("state_values") {
        let value = bytes(case, "value");
        let (short, long) = (&value[..value.len() - 1], [&value[..], b"\0"].concat());
        for damaged in [short, &long] {
            match text(case, "what") {
                "key" => assert!(
                    KeyRecord::decode(damaged).is_none_or(|record| record.encode() == damaged)
                ),
                "stream" => assert_eq!(state::decode_stream(damaged), None),
                "rules" => assert_eq!(state::decode_rules(damaged), None),
                "list" => assert_eq!(ListValue::decode(damaged), None),
                _ => {}
            }
        }
    }
    assert_eq!(state::decode_at(&[0; 39]), None);
    assert_eq!(state::decode_entry_id(&[0; 41]), None);
}

/// The day stands first, so that what left the window is one range.
#[test]
fn ids_that_left_the_window_are_one_range() {
    use ledger::id::{EntryId, WINDOW_MS};
    let accepted_at_ms = 1_780_086_400_123;
    let key = |ms, name| {
        StateKey::entry_id(&institution(name), &EntryId::from_parts(ms, &[7; 10])).encode()
    };
    let (start, end) = (
        StateKey::entry_ids_start().encode(),
        StateKey::entry_ids_end(accepted_at_ms).encode(),
    );
    for name in ["ipa:a", "ipa:zzz", "cf:99999999999"] {
        // Still in the window, by a millisecond.
        assert!(key(accepted_at_ms - WINDOW_MS, name) >= end);
        // Of the day before.
        let gone = key(accepted_at_ms - WINDOW_MS - 86_400_000, name);
        assert!(start < gone && gone < end);
    }
    assert!(StateKey::exchanges_start().encode() > end);
}
