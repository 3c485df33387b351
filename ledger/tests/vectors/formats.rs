// SPDX-License-Identifier: EUPL-1.2
//! What is signed and hashed: keys, PAE, signature lists, batches, refs, streams, lists, names of the state map, id windows.

use ledger::{
    bytes::{self, CodeKind, ListValue, state::StateKey},
    entry::SubmittedEntry,
    hash::Hash,
    id::EntryId,
    key::PublicKey,
    refusal::Refusal,
    signature::{Signature, Signed, Sigs, sign_batch, sign_single},
};

use crate::file::*;

#[test]
fn keys_have_their_ids() {
    for case in cases("keys") {
        let key = signing_key(text(case, "name"));
        assert_eq!(key.public().as_bytes(), &array::<32>(case, "public"));
        assert_eq!(key.key_id().0, hash(case, "key_id"));
        assert_eq!(
            bytes::key_id(&array(case, "public")).0,
            hash(case, "key_id_alg_0x81")
        );
    }
}

#[test]
fn pae_of_the_specification_and_more() {
    for case in cases("pae") {
        let pae = bytes::pae(text(case, "body").as_bytes());
        assert_eq!(pae, bytes_of(case, "pae"));
        assert_eq!(Hash::of(&[&pae]), hash(case, "sha256"));
    }
    let of_the_page = bytes::pae(br#"{"v":1}"#);
    assert_eq!(
        Hash::of(&[&of_the_page]).to_string(),
        "fd4ceb3973831b89862306c3cf8534386da4699d8536db6109e4a24d8f457062"
    );
}

#[test]
fn signature_lists() {
    for case in cases("sigs") {
        let payload = text(case, "body").as_bytes();
        let pae = bytes::pae(payload);
        let keys: Vec<_> = list(&case["signers"])
            .iter()
            .map(|name| signing_key(name.as_str().unwrap()))
            .collect();
        let sigs = Sigs::sign(&keys.iter().collect::<Vec<_>>(), &pae).unwrap();
        assert_eq!(sigs.encode(), bytes_of(case, "sigs"));
        assert_eq!(Sigs::decode(&bytes_of(case, "sigs")), Ok(sigs.clone()));
        for (row, (id, sig)) in sigs
            .rows()
            .iter()
            .zip(list(&case["key_ids"]).iter().zip(list(&case["signatures"])))
        {
            assert_eq!(row.key_id.0.as_bytes(), &unhex(id)[..]);
            assert_eq!(row.signature.encode(), unhex(sig));
            let key = keys.iter().find(|key| key.key_id() == row.key_id).unwrap();
            assert_eq!(row.signature.verify(&key.public(), &pae), Ok(()));
        }
        let entry = SubmittedEntry::from_wire(text(case, "envelope").as_bytes()).unwrap();
        assert_eq!((entry.payload(), entry.sigs()), (payload, &sigs));
    }
}

#[test]
fn batches() {
    for case in cases("batches") {
        let key = signing_key(text(case, "signer"));
        let paes: Vec<_> = list(&case["bodies"])
            .iter()
            .map(|body| bytes::pae(body.as_str().unwrap().as_bytes()))
            .collect();
        let signatures = sign_batch(&key, &paes.iter().map(|pae| &pae[..]).collect::<Vec<_>>());
        assert_eq!(
            bytes::batch_message(paes.len() as u16, &hash(case, "root")).as_slice(),
            bytes_of(case, "message")
        );
        for entry in list(&case["entries"]) {
            let index = number(entry, "index") as usize;
            let signature = &signatures[index];
            assert_eq!(signature.ed25519(), &array::<64>(case, "ed25519"));
            let Signature::Batch { path, .. } = signature else {
                panic!("a batch")
            };
            let expected: Vec<_> = entry["path"]
                .as_array()
                .unwrap()
                .iter()
                .map(unhex)
                .collect();
            assert_eq!(
                path.iter()
                    .map(|hash| hash.as_bytes().to_vec())
                    .collect::<Vec<_>>(),
                expected
            );
            assert_eq!(signature.encode(), bytes_of(entry, "sig"));
            assert_eq!(
                signature.batch_message(&paes[index]).unwrap().as_slice(),
                bytes_of(case, "message")
            );
            assert_eq!(signature.verify(&key.public(), &paes[index]), Ok(()));
            let sigs = Sigs::new(vec![Signed {
                key_id: key.key_id(),
                signature: signature.clone(),
            }])
            .unwrap();
            assert_eq!(sigs.encode(), bytes_of(entry, "sigs"));
        }
    }
}

#[test]
fn refs() {
    for case in cases("refs") {
        let kind = match text(case, "kind") {
            "cf" => CodeKind::Cf,
            "idANPR" => CodeKind::IdAnpr,
            "stp" => CodeKind::Stp,
            "eni" => CodeKind::Eni,
            "anagrafica" => CodeKind::Anagrafica,
            "isee" => CodeKind::Isee,
            other => panic!("unknown kind {other}"),
        };
        assert_eq!(section("codes")[text(case, "kind")], kind as u8);
        assert_eq!(
            bytes::person_ref(kind, &array(case, "voprf_output")),
            hash(case, "ref")
        );
    }
}

#[test]
fn streams() {
    for case in cases("stream") {
        let pae = bytes_of(entry(text(case, "previous")), "pae");
        assert_eq!(Hash::of(&[&pae]), hash(case, "pae_sha256"));
        assert_eq!(
            ledger::base64::url_encode(bytes::stream_prev(&pae).as_bytes()),
            text(case, "prev_b64u")
        );
    }
}

#[test]
fn lists_fold() {
    for case in cases("lists") {
        let key = StateKey {
            kind: number(case, "kind") as u8,
            name: bytes_of(case, "ref"),
        };
        assert_eq!(key.hash(), hash(case, "state_key"));
        let heads = list(&case["heads"]);
        let mut value = ListValue::EMPTY;
        assert_eq!(value.head.as_bytes(), &unhex(&heads[0])[..]);
        for (item, head) in list(&case["exported"]).iter().zip(&heads[1..]) {
            value = value.with(&hash(item, "item"));
            assert_eq!(value.head.as_bytes(), &unhex(head)[..]);
        }
        assert_eq!(value.encode().as_slice(), bytes_of(case, "value"));
        assert_eq!(ListValue::decode(&value.encode()), Some(value));
        if let moved @ Value::Object(_) = &case["base_moved"] {
            value.base_count = number(moved, "base_count");
            value.base_head = hash(moved, "base_head");
            assert_eq!(value.encode().as_slice(), bytes_of(moved, "value"));
        }
    }
}

#[test]
fn names_of_the_state_map() {
    for case in cases("state_values") {
        let key = StateKey {
            kind: number(case, "kind") as u8,
            name: bytes_of(case, "name"),
        };
        assert_eq!(key.hash(), hash(case, "key"), "{}", text(case, "what"));
        assert_eq!(
            Hash::of(&[&bytes_of(case, "value")]),
            hash(case, "value_hash")
        );
        if text(case, "what") == "list" {
            let value = ListValue::decode(&bytes_of(case, "value")).unwrap();
            assert_eq!(value.encode().as_slice(), bytes_of(case, "value"));
        }
    }
}

#[test]
fn id_windows() {
    for case in cases("ids") {
        let judged = match EntryId::parse(text(case, "id")) {
            None => Err(Refusal::IdForm),
            Some(id) => {
                assert_eq!(id.to_string(), text(case, "id"));
                id.refuse_outside_window(number(case, "accepted_at_ms"))
            }
        };
        assert_eq!(judged.is_ok(), case["accept"] == true);
        assert_eq!(
            judged.err().map_or("", Refusal::code),
            text(case, "reason"),
            "{}",
            text(case, "id")
        );
    }
}

#[test]
fn signing_is_deterministic() {
    let key = signing_key("inps");
    let pae = bytes::pae(b"{}");
    assert_eq!(sign_single(&key, &pae), sign_single(&key, &pae));
    assert!(PublicKey::from_bytes(*key.public().as_bytes()).is_ok());
}

fn bytes_of(case: &Value, name: &str) -> Vec<u8> {
    crate::file::bytes(case, name)
}
