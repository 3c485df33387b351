// SPDX-License-Identifier: EUPL-1.2
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
use alloc::{collections::BTreeSet, string::String, vec::Vec};

use proptest::prelude::*;

use super::{
    shorthand::{self, Shorthand},
    *,
};
use crate::{
    base64,
    disclosure::{self, Disclosure},
    entry::{StoredBody, StoredEntry, SubmittedEntry},
    export::Opened,
    json::{self, Limits},
    key::SigningKey,
    number::EntryIndex,
    refusal::Refusal,
    signature::{ALG_SINGLE, Signed, Sigs, sign_batch, sign_single},
    time,
};

fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash)
}

fn meta() -> impl Strategy<Value = Meta> {
    (any::<u64>(), 0..19usize, any::<u32>(), any::<u16>(), hash()).prop_map(
        |(accepted_at_ms, place, findings, rules, key)| Meta {
            accepted_at_ms,
            entry_type: EntryType::ALL[place],
            findings: Findings(findings),
            rules,
            first_key: KeyId(key),
        },
    )
}

fn sigs() -> impl Strategy<Value = Sigs> {
    (
        prop::collection::btree_set(any::<u8>(), 1..4),
        any::<bool>(),
    )
        .prop_map(|(seeds, batch)| {
            let rows = seeds.into_iter().map(|seed| {
                let key = SigningKey::from_seed([seed; 32]);
                let signature = if batch {
                    sign_batch(&key, &[b"a", b"b", b"c"]).remove(1)
                } else {
                    sign_single(&key, b"a")
                };
                Signed {
                    key_id: key.key_id(),
                    signature,
                }
            });
            Sigs::sorted(rows.collect()).unwrap()
        })
}

fn disclosures() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(any::<String>(), 0..4)
}

fn submitted() -> impl Strategy<Value = SubmittedEntry> {
    (
        prop::collection::vec(any::<u8>(), 0..200),
        sigs(),
        disclosures(),
    )
        .prop_map(|(payload, sigs, disclosures)| {
            SubmittedEntry::new(&payload, sigs, disclosures).unwrap()
        })
}

/// A string as bodies and disclosures hold them, and one that is only like one.
fn string() -> impl Strategy<Value = String> {
    let uuid = |bytes: [u8; 16]| {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let (a, rest) = digits.split_at(8);
        format!(
            "{a}-{}-{}-{}-{}",
            &rest[..4],
            &rest[4..8],
            &rest[8..12],
            &rest[12..]
        )
    };
    prop_oneof![
        any::<[u8; 32]>().prop_map(|bytes| base64::url_encode(&bytes)),
        any::<[u8; 16]>().prop_map(|bytes| base64::url_encode(&bytes)),
        any::<[u8; 16]>().prop_map(uuid),
        any::<[u8; 16]>().prop_map(move |bytes| uuid(bytes).to_uppercase()),
        any::<u64>().prop_map(time::format_timestamp),
        "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:00:00.000Z",
        "[A-Za-z0-9_-]{43}",
        "[A-Za-z0-9_-]{22}",
        "[0-9a-f-]{36}",
        any::<String>(),
    ]
}

/// Texts as entries hold them: strings, in quotes.
fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(string(), 0..6).prop_map(|strings| strings.join("\""))
}

fn stored_disclosures() -> impl Strategy<Value = Vec<String>> {
    let disclosure = prop_oneof![
        text().prop_map(|json| base64::url_encode(json.as_bytes())),
        any::<Vec<u8>>().prop_map(|bytes| base64::url_encode(&bytes)),
        text(),
    ];
    prop::collection::vec(disclosure, 0..5)
}

/// What a sequenced entry leaves, whole or erased. Digests of its disclosures, and others, stand in its body.
fn stored() -> impl Strategy<Value = StoredEntry> {
    let payload = prop_oneof![text().prop_map(String::into_bytes), any::<Vec<u8>>()];
    (
        (meta(), any::<[u8; 32]>(), payload, sigs()),
        stored_disclosures(),
        any::<bool>(),
        prop::collection::vec(any::<u64>().prop_map(EntryIndex), 0..3),
    )
        .prop_map(
            |((mut meta, body_salt, mut payload, sigs), disclosures, is_there, erased)| {
                for text in disclosures.iter().rev() {
                    payload.extend_from_slice(
                        format!(
                            "[{{\"...\":\"{}\"}}]",
                            base64::url_encode(disclosure::digest(text).as_bytes())
                        )
                        .as_bytes(),
                    );
                }
                meta.first_key = sigs.first();
                StoredEntry {
                    meta,
                    meta_salt: meta_salt(&body_salt),
                    body_commit: body_commit(&body_salt, &pae(&payload), &sigs.encode()),
                    body: is_there.then_some(StoredBody {
                        body_salt,
                        payload,
                        sigs,
                    }),
                    disclosures: disclosures.into_iter().map(Disclosure::new).collect(),
                    erased,
                }
            },
        )
}

/// What decodes, encodes to the same bytes; cut short or longer by one it does not decode.
fn strict<T: PartialEq + core::fmt::Debug>(
    value: &T,
    data: &[u8],
    cut: prop::sample::Index,
    decode: impl Fn(&[u8]) -> Option<T>,
    encode: impl Fn(&T) -> Vec<u8>,
) {
    assert_eq!(decode(data).as_ref(), Some(value));
    assert_eq!(decode(&data[..cut.index(data.len())]), None);
    assert_eq!(decode(&[data, b"\0"].concat()), None);
    let mut changed = data.to_vec();
    changed[cut.index(data.len())] ^= 1;
    if let Some(other) = decode(&changed) {
        assert_eq!(encode(&other), changed);
    }
}

/// The wire line as a tree, by another writer of JSON.
fn wire_tree(entry: &SubmittedEntry) -> serde_json::Value {
    let signatures = entry.sigs().rows().iter().map(|row| {
        let mut signature = serde_json::json!({
            "keyid": base64::url_encode(row.key_id.0.as_bytes()),
            "sig": base64::encode(&row.signature.encode()),
        });
        if row.signature.alg() != ALG_SINGLE {
            signature["alg"] = row.signature.alg().into();
        }
        signature
    });
    serde_json::json!({
        "envelope": {
            "payloadType": PAYLOAD_TYPE,
            "payload": base64::encode(entry.payload()),
            "signatures": signatures.collect::<Vec<_>>(),
        },
        "disclosures": entry.disclosures(),
    })
}

proptest! {
    #[test]
    fn submitted_entries(entry in submitted(), cut in any::<prop::sample::Index>()) {
        strict(&entry, &entry.encode(), cut, |data| SubmittedEntry::decode(data).ok(), SubmittedEntry::encode);
        let line = entry.to_wire();
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), wire_tree(&entry));
        // Texts of noncharacters are no I-JSON; disclosures that are base64url have none.
        if let Ok(read) = SubmittedEntry::from_wire(line.as_bytes()) {
            prop_assert_eq!(read, entry);
        }
    }

    #[test]
    fn opened_entries(
        index in any::<u64>(), meta in meta(), body_salt in any::<[u8; 32]>(), path in prop::collection::vec(hash(), 0..4), entry in submitted()
    ) {
        let mut tree = wire_tree(&entry);
        tree["index"] = index.into();
        tree["meta"] = base64::url_encode(&meta_encode(&meta)).into();
        tree["bodySalt"] = base64::url_encode(&body_salt).into();
        tree["path"] = path.iter().map(|hash| base64::url_encode(hash.as_bytes())).collect();
        let line = Opened { index: EntryIndex(index), meta, body_salt, path, entry }.to_json();
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), tree);
    }

    #[test]
    fn stored_entries(entry in stored(), cut in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>()) {
        let Shorthand { text, bytes } = entry.encode();
        prop_assert!(StoredEntry::decode(&text, &bytes).as_ref() == Ok(&entry));
        prop_assert!(StoredEntry::decode(&text, &bytes[..cut.index(bytes.len())]).is_err());
        let more = [&*bytes, b"\0"].concat();
        prop_assert!(StoredEntry::decode(&text, &more).is_err());
        prop_assert_eq!(StoredEntry::decode_front(&text, &more), Ok((entry.clone(), &b"\0"[..])));
        let more = [&*text, b"\0"].concat();
        prop_assert!(StoredEntry::decode(&more, &bytes).is_err());
        if !text.is_empty() {
            prop_assert!(StoredEntry::decode(&text[..cut.index(text.len())], &bytes).is_err());
        }
        // No text of an entry that was admitted, its disclosures among them, can be damaged unseen: the leaf is computed from them.
        let mut text = text;
        let plain = entry.body.as_ref().is_some_and(|body| shorthand::is_plain(&body.payload));
        let distinct: BTreeSet<&str> = entry.disclosures.iter().map(Disclosure::text).collect();
        if plain && distinct.len() == entry.disclosures.len() {
            let at = flip.index(text.len());
            text[at] ^= 1;
            if let Ok(other) = StoredEntry::decode(&text, &bytes) {
                prop_assert!(other == entry || other.leaf_hash() != entry.leaf_hash());
            }
        }
    }

    #[test]
    fn meta_and_extra(meta in meta(), salt in any::<[u8; 32]>(), cut in any::<prop::sample::Index>()) {
        let extra = extra_encode(&meta, &salt);
        strict(&(meta, salt), &extra, cut, extra_decode, |(meta, salt)| extra_encode(meta, salt).to_vec());
    }

    #[test]
    fn list_values(count in any::<u64>(), head in hash(), base_count in any::<u64>(), base_head in hash(), cut in any::<prop::sample::Index>()) {
        let value = ListValue { count, head, base_count, base_head };
        strict(&value, &value.encode(), cut, ListValue::decode, |value| value.encode().to_vec());
    }

    #[test]
    fn nothing_panics(data in prop::collection::vec(any::<u8>(), 0..300)) {
        let versioned = [&[1], &data[..]].concat();
        for data in [&data, &versioned] {
            let _ = SubmittedEntry::decode(data);
            let _ = StoredEntry::decode(data, data);
            let _ = StoredEntry::decode(data, &[&[0x11], &data[..]].concat());
            let _ = extra_decode(data);
            let _ = ListValue::decode(data);
            let _ = SubmittedEntry::from_wire(data);
        }
    }
}

#[test]
fn layouts_have_their_lengths() {
    let meta = Meta {
        accepted_at_ms: 0x0102_0304_0506_0708,
        entry_type: EntryType::Access,
        findings: Findings(1 << 13),
        rules: 7,
        first_key: KeyId(Hash([0xaa; 32])),
    };
    let encoded = meta_encode(&meta);
    assert_eq!(
        encoded[..15],
        [1, 2, 3, 4, 5, 6, 7, 8, 2, 0, 0, 0x20, 0, 0, 7]
    );
    assert_eq!(encoded[15..], [0xaa; 32]);
    let leaf = leaf(&Hash([1; 32]), &Hash([2; 32]));
    assert_eq!(leaf[..14], *b"visto/leaf/v1\n");
    assert_eq!(
        (leaf[14..46].to_vec(), leaf[46..].to_vec()),
        ([1; 32].to_vec(), [2; 32].to_vec())
    );
    assert_eq!(batch_message(0x0102, &Hash([3; 32]))[15..17], [1, 2]);
}

#[test]
fn bounds_of_an_entry() {
    let sigs = Sigs::sign(&[&SigningKey::from_seed([1; 32])], b"").unwrap();
    let of = |payload: usize, disclosures: Vec<String>| {
        SubmittedEntry::new(&alloc::vec![b' '; payload], sigs.clone(), disclosures)
    };
    let some = |n, length| alloc::vec![String::from_utf8(alloc::vec![b'A'; length]).unwrap(); n];
    for (payload, disclosures, good) in [
        (BODY_BYTES_MAX, some(0, 0), true),
        (BODY_BYTES_MAX + 1, some(0, 0), false),
        (0, some(256, 512), true),
        (0, some(257, 0), false),
        (0, some(256, 513), false),
    ] {
        assert_eq!(of(payload, disclosures).is_ok(), good);
    }
    // The largest entry there is has a line that is read.
    let largest = of(BODY_BYTES_MAX, some(256, 512)).unwrap();
    let line = largest.to_wire();
    assert!(line.len() + 16 * 600 < WIRE_BYTES_MAX);
    assert_eq!(SubmittedEntry::from_wire(line.as_bytes()), Ok(largest));
}

#[test]
fn values_of_a_wire_line() {
    let payload = b"{}";
    let pae = pae(payload);
    let signed = |n: u8| {
        let key = SigningKey::from_seed([n; 32]);
        Signed {
            key_id: key.key_id(),
            signature: sign_batch(&key, &[&pae]).remove(0),
        }
    };
    let mut rows: Vec<Signed> = (1..=16).map(signed).collect();
    rows.sort_by_key(|row| row.key_id);
    let sigs = Sigs::new(rows).unwrap();
    let entry = |disclosures| SubmittedEntry::new(payload, sigs.clone(), disclosures);
    let most = entry(alloc::vec![String::from("A"); 256]).unwrap();
    let line = most.to_wire();
    let limits = Limits {
        bytes_max: WIRE_BYTES_MAX,
        depth_max: BODY_DEPTH_MAX,
    };
    // No entry has more values than this one, and it is far from the bound.
    assert!(json::parse_few(line.as_bytes(), limits, WIRE_VALUES_MAX / 3).is_ok());
    assert!(json::parse_few(line.as_bytes(), limits, WIRE_VALUES_MAX / 3 - 1).is_err());
    assert_eq!(SubmittedEntry::from_wire(line.as_bytes()), Ok(most));

    // Too many of something is told as that, and of a line that is nothing but values not all are read.
    let told = |line: &str| {
        let refused = SubmittedEntry::from_wire(line.as_bytes()).unwrap_err();
        (refused.refusal, refused.pointer)
    };
    let one_more = line.replace("[\"A\",", "[\"A\",\"A\",");
    assert_eq!(told(&one_more), (Refusal::Size, "/disclosures".into()));
    let values = alloc::format!("[{}{{}}]", "{},".repeat(WIRE_BYTES_MAX / 3 - 2));
    let place = alloc::format!("/{}", WIRE_VALUES_MAX - 1);
    assert_eq!(told(&values), (Refusal::Size, place));
}
