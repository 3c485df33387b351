// SPDX-License-Identifier: EUPL-1.2
//! Types 1 and 5 to 18, which the byte specification only describes and this crate closes: their JSON, member by member, as transcripts
//! (`tests/bodies`, rewritten with `REWRITE=1`).
//!
//! The input is the one member that the type adds; the common members are the same everywhere. A disclosed value stands in its place as
//! `{"d": value}`. `$public(k)`, `$id(k)` are a key of the vectors, `$owns(k,use,institution)` its proof of possession, `$hash(x)` is
//! SHA-256 of `x`. The output is the body as it is signed, the disclosures, and the SHA-256 of the PAE; or the refusal and its place.

use std::fmt::Write;

use datadriven::TestCase;
use ledger::{
    base64,
    body::{Body, EntryType},
    bytes, disclosure,
    hash::Hash,
    id::InstitutionId,
    json::{self, Value},
    key::KeyUse,
};

use crate::file::{ledger, signing_key};

#[test]
fn transcripts() {
    let mut met = Vec::new();
    datadriven::walk("tests/bodies", |file| file.run(|case| told(case, &mut met)));
    let described = [1].into_iter().chain(5..=18);
    for entry_type in described.filter_map(EntryType::from_code) {
        assert!(
            met.contains(&entry_type),
            "no body of type {}",
            entry_type.as_str()
        );
    }
}

/// What becomes of one body; its type is noted if it is accepted.
fn told(case: &mut TestCase, met: &mut Vec<EntryType>) -> String {
    let entry_type = EntryType::parse(&case.directive).expect("a type of entry");
    let mut common = String::new();
    if let Some(index) = case.args.get("refers").and_then(|args| args.first()) {
        let leaf = base64::url_encode(Hash::of(&[b"leaf"]).as_bytes());
        write!(
            common,
            "\"refersTo\":{{\"index\":{index},\"leaf\":\"{leaf}\"}},"
        )
        .unwrap();
    }
    let input = filled(case.input.trim());
    let member = json::parse(
        input.as_bytes(),
        json::Limits {
            bytes_max: 1 << 16,
            depth_max: 16,
        },
    )
    .expect("JSON");
    let mut disclosures = Vec::new();
    let member = json::format(&sealed(&member, &mut disclosures));
    let body = format!(
        "{{\"v\":1,\"ledger\":\"{}\",\"id\":\"019dc12c-507b-77f7-9a44-fca08938cfa4\",\"institution\":\"ipa:inps\",\"type\":\"{}\",\
         \"occurredAt\":\"2026-05-30T08:26:40.123Z\",{common}\"{}\":{member}}}",
        ledger(),
        entry_type.as_str(),
        entry_type.member()
    );
    match Body::parse(body.as_bytes(), &disclosures) {
        Err(refused) => format!("refused: {refused}\n"),
        Ok(read) => {
            met.push(entry_type);
            let again = Body::parse(read.to_json().as_bytes(), &disclosures);
            assert_eq!(again.as_ref(), Ok(&read), "what is written is read");
            let pae = Hash::of(&[&bytes::pae(body.as_bytes())]);
            disclosures
                .iter()
                .fold(format!("{body}\n"), |told, text| told + text + "\n")
                + &format!("SHA-256(PAE) {pae}\n")
        }
    }
}

/// Puts digests in the place of disclosed values; the n-th salt of a body is the first 16 bytes of SHA-256("salt n").
fn sealed(value: &Value<'_>, disclosures: &mut Vec<String>) -> Value<'static> {
    match value {
        Value::Object(members) => match members.as_slice() {
            [(name, value)] if name == "d" => {
                let salt = Hash::of(&[format!("salt {}", disclosures.len()).as_bytes()]);
                disclosures.push(disclosure::make(&salt.as_bytes()[..16], value));
                let digest = disclosure::digest(disclosures.last().unwrap());
                Value::object([("...", Value::text(base64::url_encode(digest.as_bytes())))])
            }
            members => Value::Object(
                members
                    .iter()
                    .map(|(name, value)| (name.to_string().into(), sealed(value, disclosures)))
                    .collect(),
            ),
        },
        Value::List(values) => Value::List(
            values
                .iter()
                .map(|value| sealed(value, disclosures))
                .collect(),
        ),
        Value::Text(text) => Value::text(text.to_string()),
        Value::Int(number) => Value::Int(*number),
        Value::Bool(bool) => Value::Bool(*bool),
        Value::Null => Value::Null,
    }
}

/// Fills in what stands after a `$`.
fn filled(input: &str) -> String {
    let mut pieces = input.split('$');
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once('(').expect("$name(arguments)");
        let (arguments, rest) = rest.split_once(')').expect("$name(arguments)");
        let arguments: Vec<_> = arguments.split(',').collect();
        out += &match (name, arguments.as_slice()) {
            ("public", [key]) => base64::url_encode(signing_key(key).public().as_bytes()),
            ("id", [key]) => signing_key(key).key_id().to_string(),
            ("owns", [key, key_use, institution]) => {
                let (key_use, institution) = (
                    KeyUse::parse(key_use).unwrap(),
                    InstitutionId::parse(institution).unwrap(),
                );
                base64::url_encode(&signing_key(key).sign(&bytes::possession_message(
                    ledger(),
                    key_use,
                    &institution,
                )))
            }
            ("hash", [of]) => base64::url_encode(Hash::of(&[of.as_bytes()]).as_bytes()),
            other => panic!("unknown {other:?}"),
        };
        out += rest;
    }
    out
}
