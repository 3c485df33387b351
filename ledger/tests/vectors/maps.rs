// SPDX-License-Identifier: EUPL-1.2
//! The state map: roots and proofs.

use std::collections::BTreeMap;

use ledger::admission::RowKind;
use ledger::body::EntryType;
use ledger::fold::{Change, MemoryFold, list_key};
use ledger::hash::Hash;
use ledger::id::InstitutionId;
use ledger::number::EntryIndex;
use ledger::retention::Terms;
use ledger::state_map::{
    EMPTY, MapNode, MapPath, MapProof, MapProofError, prove, root, update, value_hash,
    verify_absence, verify_presence,
};

use crate::file::{Value, bytes, cases, hash, list, number, section, text, unhex};

type Nodes = BTreeMap<MapPath, MapNode>;

/// The map of these rows, put in one batch or in several.
fn map(rows: &[(Hash, Vec<u8>)], batch: usize) -> Nodes {
    let mut nodes = Nodes::new();
    for part in rows.chunks(batch) {
        let changes = part
            .iter()
            .map(|(key, value)| (*key, Some(value_hash(value))))
            .collect();
        for (path, node) in update(&changes, &nodes).unwrap().writes {
            match node {
                Some(node) => nodes.insert(path, node),
                None => nodes.remove(&path),
            };
        }
    }
    nodes
}

/// A row: `kind name value`, the latter two in hexadecimal.
fn row(text: &str) -> (Hash, Vec<u8>) {
    let mut words = text.splitn(3, ' ');
    let mut word = || words.next().unwrap_or_default();
    let (kind, name, value) = (word(), word(), word());
    (
        state_key(kind.parse().unwrap(), &hex::decode(name).unwrap()),
        hex::decode(value).unwrap(),
    )
}

fn state_key(kind: u8, name: &[u8]) -> Hash {
    ledger::state::StateKey {
        kind,
        name: name.to_vec(),
    }
    .hash()
}

fn presence(root: &Hash, key: &Hash, value: &[u8], proof: &[u8]) -> Result<(), MapProofError> {
    verify_presence(root, key, value, &MapProof::decode(proof)?)
}

fn absence(root: &Hash, key: &Hash, proof: &[u8]) -> Result<(), MapProofError> {
    verify_absence(root, key, &MapProof::decode(proof)?)
}

#[test]
fn maps_have_their_roots_and_proofs() {
    for case in cases("state_map") {
        let rows: Vec<_> = case["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|text| row(text.as_str().unwrap()))
            .collect();
        assert_eq!(rows.len() as u64, number(case, "count"));
        let tip = hash(case, "root");
        for batch in [1, 7, 1000] {
            assert_eq!(root(&map(&rows, batch)), Ok(tip), "{} rows", rows.len());
        }
        let nodes = map(&rows, 1000);
        for present in case["present"].as_array().unwrap() {
            let (key, value) = &rows[number(present, "row") as usize];
            let proof = bytes(present, "proof");
            assert_eq!(prove(key, &nodes).unwrap().encode(), proof);
            assert_eq!(presence(&tip, key, value, &proof), Ok(()));
        }
        for absent in case["absent"].as_array().unwrap() {
            let (key, proof) = (hash(absent, "key"), bytes(absent, "proof"));
            assert_eq!(
                state_key(number(absent, "kind") as u8, &bytes(absent, "name")),
                key
            );
            assert_eq!(u64::from(proof[0]), number(absent, "shape"));
            assert_eq!(prove(&key, &nodes).unwrap().encode(), proof);
            assert_eq!(absence(&tip, &key, &proof), Ok(()));
        }
    }
    assert_eq!(hash(&cases("state_map")[0], "root"), EMPTY);
}

#[test]
fn deep_maps_have_their_roots_and_proofs() {
    let deep = section("state_map_deep");
    let all = |name: &str| list(&deep[name]).iter().map(unhex).collect::<Vec<_>>();
    let keys: Vec<Hash> = all("keys")
        .iter()
        .map(|key| Hash::from_slice(key).unwrap())
        .collect();
    let rows: Vec<_> = keys.iter().copied().zip(all("values")).collect();
    let (nodes, tip) = (map(&rows, 1), hash(deep, "root"));
    assert_eq!(root(&nodes), Ok(tip));
    for ((key, value), proof) in rows.iter().zip(all("proofs")) {
        assert_eq!(prove(key, &nodes).unwrap().encode(), proof);
        assert_eq!(presence(&tip, key, value, &proof), Ok(()));
    }
    let (key, proof) = (hash(deep, "absent_key"), bytes(deep, "absent_proof"));
    assert_eq!(prove(&key, &nodes).unwrap().encode(), proof);
    assert_eq!(absence(&tip, &key, &proof), Ok(()));
}

#[test]
fn the_root_of_another_implementation() {
    let rows = [(Hash::of(&[b"hello"]), b"world".to_vec())];
    let expected = hash(section("interop"), "jmt_hello_world_root");
    assert_eq!(root(&map(&rows, 1)), Ok(expected));
}

#[test]
fn the_ledger_s_own_state_has_the_root_that_its_entry_states() {
    let nodes = map(&listed(), 2);
    assert_eq!(
        root(&nodes),
        Ok(hash(section("receipt"), "state_map_root_of_size_6"))
    );
}

/// What the first six entries change, folded: every list's head and the root that the seventh states.
#[test]
fn the_ledger_s_own_entries_fold_to_that_root() {
    let mut fold = MemoryFold::new();
    for entry in cases("entries").iter().take(6) {
        let mut lists: Vec<_> = entry["folds_into"]
            .as_array()
            .unwrap()
            .iter()
            .map(|list| {
                let kind = RowKind::from_code(number(list, "kind") as u8).unwrap();
                (kind, hash(list, "ref"))
            })
            .collect();
        lists.sort();
        let change = Change {
            index: EntryIndex(number(entry, "index")),
            accepted_at_ms: 0,
            meta_salt: hash(entry, "meta_salt"),
            leaf_hash: hash(entry, "leaf_hash"),
            terms: Terms {
                entry_type: EntryType::Note,
                institution: InstitutionId::parse("ipa:a").unwrap(),
                held: None,
            },
            reach: None,
            left: 0,
            lists,
            writes: vec![],
        };
        assert_eq!(Change::decode(&change.encode()), Ok(change.clone()));
        fold.apply(&change);
    }
    for list in cases("lists") {
        let kind = RowKind::from_code(number(list, "kind") as u8).unwrap();
        let key = list_key(kind, &hash(list, "ref"));
        assert_eq!(key.hash(), hash(list, "state_key"));
        assert_eq!(fold.value(&key), Some(&bytes(list, "value")[..]));
        let proof = fold.prove(&key);
        let value = bytes(list, "value");
        let proven = verify_presence(&fold.root(), &key.hash(), &value, &proof);
        assert_eq!(proven, Ok(()));
    }
    let stated = hash(section("receipt"), "state_map_root_of_size_6");
    assert_eq!(fold.root(), stated);
}

/// The lists of the vectors' first six entries, and nothing else.
fn listed() -> Vec<(Hash, Vec<u8>)> {
    let value = |case: &Value| (hash(case, "state_key"), bytes(case, "value"));
    cases("lists").iter().map(value).collect()
}

#[test]
fn refused_map_proofs() {
    let mut count = 0;
    for case in cases("refuse")
        .iter()
        .filter(|case| case["kind"] == "map-proof")
    {
        let (tip, key, proof) = (hash(case, "root"), hash(case, "key"), bytes(case, "input"));
        let result = match &case["value"] {
            Value::Null => absence(&tip, &key, &proof),
            value => presence(&tip, &key, &unhex(value), &proof),
        };
        assert!(result.is_err(), "{}", text(case, "name"));
        count += 1;
    }
    assert_eq!(count, 16);
}
