// SPDX-License-Identifier: EUPL-1.2
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
use alloc::{borrow::Cow, format, string::ToString, vec, vec::Vec};

use proptest::prelude::*;

use super::{governance::Key, system::Release, *};

mod draw;

use draw::Draw;

/// A body of each type and its disclosures.
fn bodies(seed: u64) -> impl Iterator<Item = (Body, Vec<String>)> {
    EntryType::ALL.into_iter().map(move |entry_type| {
        let mut draw = Draw {
            state: seed,
            disclosures: Vec::new(),
        };
        let body = draw.body(entry_type);
        (body, draw.disclosures)
    })
}

fn parse_value(text: &str) -> Value<'_> {
    json::parse(
        text.as_bytes(),
        Limits {
            bytes_max: BODY_BYTES_MAX,
            depth_max: BODY_DEPTH_MAX,
        },
    )
    .unwrap()
}

type Members<'a> = [(Cow<'a, str>, Value<'a>)];

/// Calls `visit` with every document that differs from `value` in one object, changed by `change`.
fn each_object<'a>(
    value: &Value<'a>,
    change: &dyn Fn(&Members<'a>) -> Vec<Value<'a>>,
    visit: &mut dyn FnMut(Value<'a>),
) {
    match value {
        Value::Object(members) => {
            change(members).into_iter().for_each(&mut *visit);
            for (at, (name, member)) in members.iter().enumerate() {
                each_object(member, change, &mut |changed| {
                    let mut members = members.clone();
                    members[at] = (name.clone(), changed);
                    visit(Value::Object(members));
                });
            }
        }
        Value::List(values) => {
            for (at, inner) in values.iter().enumerate() {
                each_object(inner, change, &mut |changed| {
                    let mut values = values.clone();
                    values[at] = changed;
                    visit(Value::List(values));
                });
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_type_reads_what_it_writes(seed in any::<u64>()) {
        for (body, disclosures) in bodies(seed) {
            let text = body.to_json();
            let read = Body::parse(text.as_bytes(), &disclosures);
            prop_assert_eq!(read.as_ref(), Ok(&body), "{}", text);
            // The order of disclosures says nothing.
            let backwards: Vec<_> = disclosures.iter().rev().cloned().collect();
            prop_assert_eq!(Body::parse(text.as_bytes(), &backwards), read);
            // What is withheld is missed, and its digest stays.
            let partial = Body::parse_partial(text.as_bytes(), &[]).unwrap();
            prop_assert_eq!(partial.to_json(), text.clone());
            if let Some((_, rest)) = disclosures.split_first() {
                prop_assert_eq!(Body::parse(text.as_bytes(), rest).unwrap_err().refusal, Refusal::DisclosureMissing);
                prop_assert!(Body::parse_partial(text.as_bytes(), rest).is_ok());
                let twice = [&disclosures[..], &disclosures[..1]].concat();
                prop_assert_eq!(Body::parse(text.as_bytes(), &twice).unwrap_err().refusal, Refusal::DisclosureSpare);
            }
        }
    }

    #[test]
    fn members_are_closed_in_every_object(seed in any::<u64>()) {
        for (body, disclosures) in bodies(seed) {
            let text = body.to_json();
            let with = |name: &'static str| {
                move |members: &Members<'_>| {
                    let mut members: Vec<(Cow<'_, str>, Value<'_>)> = members.iter().map(|(name, value)| (Cow::Owned(name.to_string()), owned(value))).collect();
                    members.push((Cow::Borrowed(name), Value::Int(1)));
                    vec![owned(&Value::Object(members))]
                }
            };
            let value = owned(&parse_value(&text));
            let mut refused = Vec::new();
            each_object(&value, &with("unknown"), &mut |changed| {
                refused.push((Refusal::Members, json::format(&changed)));
            });
            for (expected, changed) in &refused {
                let refusal = Body::parse(changed.as_bytes(), &disclosures).map_err(|refused| refused.refusal);
                prop_assert_eq!(refusal, Err(*expected), "{}", changed);
            }
            each_object(&value, &with("..."), &mut |changed| {
                let changed = json::format(&changed);
                let refusal = Body::parse(changed.as_bytes(), &disclosures).unwrap_err().refusal;
                // Beside a digest it is one name twice.
                assert!(matches!(refusal, Refusal::DigestPlace | Refusal::DuplicateKey), "{refusal} {changed}");
            });
        }
    }

    #[test]
    fn a_member_left_out_is_missed_or_was_optional(seed in any::<u64>()) {
        for (body, disclosures) in bodies(seed) {
            let text = body.to_json();
            let value = owned(&parse_value(&text));
            let without_each = |members: &Members<'static>| {
                (0..members.len()).map(|out| {
                    let mut members = members.to_vec();
                    members.remove(out);
                    Value::Object(members)
                }).collect()
            };
            each_object(&value, &without_each, &mut |changed| {
                let changed = json::format(&changed);
                match Body::parse(changed.as_bytes(), &disclosures) {
                    Ok(other) => assert_ne!(other, body, "{changed}"),
                    // A disclosed member that is left out leaves its disclosures spare.
                    Err(refused) => assert!(matches!(refused.refusal, Refusal::Members | Refusal::DisclosureSpare), "{refused} {changed}"),
                }
            });
        }
    }

    #[test]
    fn changed_bytes_never_panic(seed in any::<u64>(), place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        for (body, disclosures) in bodies(seed) {
            let mut payload = body.to_json().into_bytes();
            let place = place.index(payload.len());
            payload[place] = byte;
            if let Ok(read) = Body::parse(&payload, &disclosures) {
                prop_assert_eq!(Body::parse(read.to_json().as_bytes(), &disclosures), Ok(read));
            }
        }
    }
}

fn owned(value: &Value<'_>) -> Value<'static> {
    match value {
        Value::Null => Value::Null,
        Value::Bool(bool) => Value::Bool(*bool),
        Value::Int(number) => Value::Int(*number),
        Value::Text(text) => Value::Text(Cow::Owned(text.to_string())),
        Value::List(values) => Value::List(values.iter().map(owned).collect()),
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(name, value)| (Cow::Owned(name.to_string()), owned(value)))
                .collect(),
        ),
    }
}

/// The body of one type with one member changed.
fn refusal_of(entry_type: EntryType, from: &str, to: &str) -> Refused {
    for seed in 0..400 {
        let mut draw = Draw {
            state: seed,
            disclosures: Vec::new(),
        };
        let text = draw.body(entry_type).to_json();
        if text.matches(from).count() == 1 {
            let changed = text.replace(from, to);
            return Body::parse(changed.as_bytes(), &draw.disclosures).expect_err(&changed);
        }
    }
    panic!("no {} has {from}", entry_type.as_str())
}

#[test]
fn values_are_closed() {
    use EntryType as T;
    for (entry_type, from, to, pointer) in [
        (
            T::Genesis,
            "\"test\":true",
            "\"test\":false",
            "/genesis/test",
        ),
        (
            T::Genesis,
            "\"institutions\":[]",
            "\"institutions\":{}",
            "/genesis/institutions",
        ),
        (
            T::Institution,
            "\"event\":\"ended\"",
            "\"event\":\"Ended\"",
            "/registration/event",
        ),
        (
            T::Key,
            "\"event\":\"revoked\"",
            "\"event\":\"registered\"",
            "/key/publicKey",
        ),
        (T::Key, "\"use\":\"log\"", "\"use\":\"logs\"", "/key/use"),
        (
            T::Role,
            "\"role\":\"dpo\"",
            "\"role\":\"D.P.O.\"",
            "/role/role",
        ),
        (T::Role, "\"role\":\"dpo\"", "\"role\":\"\"", "/role/role"),
        (
            T::Delegation,
            "\"event\":\"granted\"",
            "\"event\":true",
            "/delegation/event",
        ),
        (T::Node, "127.0.0.1:7101", "127.0.0.1", "/node/peer"),
        (T::Node, "127.0.0.1:7101", "127.0.0.1:65536", "/node/peer"),
        (T::Node, "127.0.0.1:7101", "127.0.0.1:+7101", "/node/peer"),
        (T::Node, "127.0.0.1:7101", "h ost:1", "/node/peer"),
        (
            T::Note,
            "\"kind\":\"dispute\"",
            "\"kind\":\"\"",
            "/note/kind",
        ),
        (T::Erasure, "\"entries\"", "\"entry\"", "/erasure"),
        (T::StateRoot, "\"size\":", "\"size\":-", "/state-root/size"),
        (
            T::Access,
            "\"visibility\":{\"hidden\":true",
            "\"visibility\":{\"hidden\":1",
            "/access/visibility/hidden",
        ),
        (
            T::Access,
            "\"side\":\"consumer\"",
            "\"side\":\"both\"",
            "/access/side",
        ),
    ] {
        let refused = refusal_of(entry_type, from, to);
        assert_eq!(refused.refusal, Refusal::Members, "{to}");
        assert!(
            refused
                .pointer
                .starts_with(&format!("/envelope/payload{pointer}")),
            "{to}: {}",
            refused.pointer
        );
    }
    let weak = format!("\"publicKey\":\"{}\"", crate::base64::url_encode(&[0; 32]));
    let mut draw = Draw {
        state: 1,
        disclosures: Vec::new(),
    };
    let key = draw.new_key(false);
    let mut body = draw.body(EntryType::Key);
    body.content = Content::Key(Key::Registered { key });
    let good = format!(
        "\"publicKey\":\"{}\"",
        crate::base64::url_encode(key_of(&body).as_bytes())
    );
    let refused = Body::parse(body.to_json().replace(&good, &weak).as_bytes(), &[]).unwrap_err();
    assert_eq!(
        (refused.refusal, &refused.pointer[..]),
        (Refusal::KeyWeak, "/envelope/payload/key/publicKey")
    );
}

fn key_of(body: &Body) -> crate::key::PublicKey {
    match &body.content {
        Content::Key(Key::Registered { key }) => key.public_key,
        _ => panic!("a registration"),
    }
}

#[test]
fn two_hundred_subjects_and_no_more() {
    for (n, good) in [(200, true), (201, false)] {
        let mut draw = Draw {
            state: 7,
            disclosures: Vec::new(),
        };
        let mut body = draw.body(EntryType::Release);
        draw.disclosures.clear();
        body.content = Content::Release(Release {
            subjects: (0..n).map(|_| draw.person()).collect(),
        });
        let parsed = Body::parse(body.to_json().as_bytes(), &draw.disclosures);
        assert_eq!(parsed.is_ok(), good, "{n}");
    }
}

#[test]
fn debug_prints_no_disclosed_value() {
    let mut draw = Draw {
        state: 9,
        disclosures: Vec::new(),
    };
    let secret = draw.disclosed("RSSMRA80A01M109X".to_string());
    assert!(!format!("{secret:?}").contains("RSSMRA"));
}
