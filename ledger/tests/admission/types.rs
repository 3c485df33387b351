// SPDX-License-Identifier: EUPL-1.2
//! Vectors of our own for the types that the byte specification only describes (1, 5 to 18): `tests/data/types-v1.json`, one ledger that
//! holds every type, made by the transcript `types.txt` and written anew by `REWRITE=1`. And: the members of every type are closed.

use std::collections::BTreeSet;

use ledger::{
    admission::{Applied, LedgerInfo, Stamp, apply},
    body::{Body, Content, EntryType},
    entry::{self, SubmittedEntry},
    number::EntryIndex,
    refusal::Refusal,
    state::{MemoryState, registry},
};
use serde_json::{Map, Value, json};

use crate::town::{LEDGER, Town};

const FILE: &str = "tests/data/types-v1.json";

/// Writes what a town accepted as vectors, or holds it against those that stand there.
pub(crate) fn keep(town: &Town) {
    let entries: Vec<Value> = town
        .accepted
        .iter()
        .map(|accepted| {
            let effects = &accepted.effects;
            vector(
                &accepted.submitted,
                &effects.entry,
                &effects.writes,
                &effects.rows,
            )
        })
        .collect();
    let about = "One ledger that holds every type. Bytes are hex; wire lines are text. state: writes under the state root, by key: [kind, name, value or null]; \
                 rows: [kind, of]. Made by tests/transcripts/types.txt.";
    let told = json!({ "about": about, "ledger": LEDGER, "shard": 1, "entries": entries });
    let told = format!("{}\n", serde_json::to_string_pretty(&told).unwrap());
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(FILE, told).unwrap();
    } else {
        assert!(
            std::fs::read_to_string(FILE).unwrap() == told,
            "{FILE} is not what types.txt makes; see REWRITE=1"
        );
    }
}

fn vector(
    submitted: &SubmittedEntry,
    entry: &ledger::entry::SequencedEntry,
    writes: &ledger::state::Writes,
    rows: &[ledger::admission::Row],
) -> Value {
    let meta = entry.meta();
    let state: Vec<Value> = writes
        .iter()
        .filter(|(key, _)| key.under_root())
        .map(|(key, value)| {
            json!([
                key.kind,
                hex::encode(&key.name),
                value.as_ref().map(hex::encode)
            ])
        })
        .collect();
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| json!([row.kind.code(), row.of.to_string()]))
        .collect();
    json!({
        "index": entry.index().0,
        "type": meta.entry_type.as_str(),
        "wire": submitted.to_wire(),
        "accepted_at_ms": meta.accepted_at_ms,
        "body_salt": hex::encode(entry.body_salt()),
        "findings": meta.findings.0,
        "rules": meta.rules,
        "leaf": hex::encode(entry.leaf()),
        "leaf_hash": entry.leaf_hash().to_string(),
        "state": state,
        "rows": rows,
    })
}

fn vectors() -> Value {
    serde_json::from_str(&std::fs::read_to_string(FILE).unwrap()).unwrap()
}

/// From the wire lines alone a node comes to every value of the file.
#[test]
fn the_vectors_are_reproduced_from_their_wire_lines() {
    let vectors = vectors();
    let ledger = LedgerInfo {
        name: vectors["ledger"].as_str().unwrap().to_owned(),
        shard: vectors["shard"].as_u64().unwrap(),
    };
    let mut state = MemoryState::default();
    let mut types = BTreeSet::new();
    for case in vectors["entries"].as_array().unwrap() {
        let submitted =
            SubmittedEntry::from_wire(case["wire"].as_str().unwrap().as_bytes()).unwrap();
        let index = EntryIndex(case["index"].as_u64().unwrap());
        let verified = if index.0 == 0 {
            entry::verify(
                submitted.clone(),
                &ledger.name,
                &entry::genesis_keys(&submitted).unwrap(),
            )
            .unwrap()
        } else {
            entry::verify(
                submitted.clone(),
                &ledger.name,
                &registry::RegisteredKeys(&state),
            )
            .unwrap()
        };
        // What was read is what would be written.
        let body = verified.body();
        assert_eq!(
            Body::parse(body.to_json().as_bytes(), submitted.disclosures()).as_ref(),
            Ok(body)
        );
        types.insert(verified.entry_type());
        let body_salt = hex::decode(case["body_salt"].as_str().unwrap())
            .unwrap()
            .try_into()
            .unwrap();
        let stamp = Stamp {
            index,
            accepted_at_ms: case["accepted_at_ms"].as_u64().unwrap(),
            body_salt,
        };
        let Applied::Accepted(effects) = apply(&state, verified, stamp, &ledger).unwrap() else {
            panic!("entry {index} is not accepted");
        };
        assert_eq!(
            &vector(&submitted, &effects.entry, &effects.writes, &effects.rows),
            case
        );
        state.write(&effects.writes);
    }
    assert_eq!(types, BTreeSet::from(EntryType::ALL), "a type is missing");
}

/// Members that a type's content may lack. Every other one that a vector holds is required.
const OPTIONAL: &[(EntryType, &[&str])] = &[
    (EntryType::Genesis, &["oprfKey", "test", "previous"]),
    (
        EntryType::Access,
        &[
            "loa",
            "purposeId",
            "legalReference",
            "caseRef",
            "consentRefs",
            "statusCode",
            "personalDataTypes",
            "part",
            "resultCount",
            "emergency",
            "visibility",
            "evidence",
        ],
    ),
    (
        EntryType::Consent,
        &["entity", "validUntil", "notice", "loa", "indication"],
    ),
    (EntryType::Institution, &["successor"]),
    (EntryType::Key, &["from", "until"]),
    (EntryType::Node, &["logKey"]),
    (EntryType::Note, &["text", "subjects", "opens"]),
    (EntryType::Erasure, &["subject"]),
    (
        EntryType::Read,
        &["token", "caseRef", "subjects", "exportDigest"],
    ),
];

/// Each vector's content with a member more, a member less, or a null is refused, unless that member is optional.
#[test]
fn members_are_closed() {
    for case in vectors()["entries"].as_array().unwrap() {
        let submitted =
            SubmittedEntry::from_wire(case["wire"].as_str().unwrap().as_bytes()).unwrap();
        let body: Value = serde_json::from_slice(submitted.payload()).unwrap();
        let entry_type = EntryType::parse(case["type"].as_str().unwrap()).unwrap();
        let optional = OPTIONAL
            .iter()
            .find(|(of, _)| *of == entry_type)
            .map_or(&[][..], |(_, members)| members);
        let content = body[entry_type.member()].as_object().unwrap();
        let parse = |content: Map<String, Value>| {
            let mut body = body.clone();
            body[entry_type.member()] = Value::Object(content);
            // Disclosures of members that were taken away are spare: they are left out.
            Body::parse_partial(body.to_string().as_bytes(), &[])
                .map(|_| ())
                .map_err(|refused| refused.refusal)
        };
        assert_eq!(parse(content.clone()), Ok(()), "{entry_type:?}");
        let mut more = content.clone();
        more.insert("more".to_owned(), json!(1));
        assert_eq!(
            parse(more),
            Err(Refusal::Members),
            "{entry_type:?} with a member more"
        );
        for member in content.keys() {
            let mut null = content.clone();
            null[member] = Value::Null;
            assert!(parse(null).is_err(), "{entry_type:?} with {member} null");
            let mut less = content.clone();
            less.remove(member);
            // What opens something says why and to whom.
            let needed = content.contains_key("opens") && member != "opens";
            let wanted = if optional.contains(&member.as_str()) && !needed {
                Ok(())
            } else {
                Err(Refusal::Members)
            };
            assert_eq!(parse(less), wanted, "{entry_type:?} without {member}");
        }
    }
}

/// An erasure without a ground to stand on, a key entry of an unknown event, a genesis with keys of no use.
#[test]
fn values_are_closed() {
    for case in vectors()["entries"].as_array().unwrap() {
        let submitted =
            SubmittedEntry::from_wire(case["wire"].as_str().unwrap().as_bytes()).unwrap();
        let body: Value = serde_json::from_slice(submitted.payload()).unwrap();
        let member = EntryType::parse(case["type"].as_str().unwrap())
            .unwrap()
            .member();
        for word in ["event", "kind", "side", "action", "use"] {
            if body[member].get(word).is_some() {
                let mut other = body.clone();
                other[member][word] = json!("other");
                let refused = Body::parse_partial(other.to_string().as_bytes(), &[]).unwrap_err();
                assert_eq!(
                    (refused.refusal, refused.pointer.as_str()),
                    (
                        Refusal::Members,
                        format!("/envelope/payload/{member}/{word}").as_str()
                    )
                );
            }
        }
        if let Ok(Content::Erasure(_)) =
            Body::parse(submitted.payload(), submitted.disclosures()).map(|body| body.content)
        {
            let mut nothing = body.clone();
            nothing[member].as_object_mut().unwrap().remove("entries");
            nothing[member].as_object_mut().unwrap().remove("before");
            assert_eq!(
                Body::parse_partial(nothing.to_string().as_bytes(), &[])
                    .unwrap_err()
                    .refusal,
                Refusal::Members
            );
        }
    }
}
