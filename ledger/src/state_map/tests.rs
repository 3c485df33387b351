// SPDX-License-Identifier: EUPL-1.2
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use jmt::mock::MockTreeStore;
use jmt::{KeyHash, Sha256Jmt};
use proptest::prelude::*;

use super::*;

type Nodes = BTreeMap<MapPath, MapNode>;
type Rows = BTreeMap<Hash, Vec<u8>>;

fn write(nodes: &mut Nodes, update: &Update) {
    for (path, node) in &update.writes {
        match node {
            Some(node) => nodes.insert(*path, *node),
            None => nodes.remove(path),
        };
    }
}

/// Applies changes to the nodes; answers with the root.
fn change(nodes: &mut Nodes, changes: &[(Hash, Option<Vec<u8>>)]) -> Hash {
    let changes = changes
        .iter()
        .map(|(key, value)| (*key, value.as_deref().map(value_hash)))
        .collect();
    let update = update(&changes, nodes).unwrap();
    write(nodes, &update);
    assert_eq!(root(nodes), Ok(update.root));
    update.root
}

/// The oracle, fed with the same changes version by version.
#[derive(Default)]
struct Oracle {
    store: MockTreeStore,
    version: u64,
}

impl Oracle {
    fn change(&mut self, changes: &[(Hash, Option<Vec<u8>>)]) -> Hash {
        let last: BTreeMap<_, _> = changes.iter().cloned().collect();
        let rows: Vec<_> = last
            .into_iter()
            .map(|(key, value)| (KeyHash(key.0), value))
            .collect();
        let tree = Sha256Jmt::new(&self.store);
        let (root, batch) = tree.put_value_set(rows, self.version).unwrap();
        self.store.write_tree_update_batch(batch).unwrap();
        self.version += 1;
        Hash(root.0)
    }
}

/// Every proof holds and says what the rows say; the stored nodes are exactly those of the map.
fn judge(nodes: &Nodes, rows: &Rows, strangers: &[Hash]) {
    let tip = root(nodes).unwrap();
    for (key, value) in rows {
        let proof = prove(key, nodes).unwrap();
        assert_eq!(MapProof::decode(&proof.encode()).as_ref(), Ok(&proof));
        assert_eq!(verify_presence(&tip, key, value, &proof), Ok(()));
        assert_eq!(
            verify_presence(&tip, key, b"another value", &proof),
            Err(MapProofError::OtherRoot)
        );
        assert_eq!(verify_absence(&tip, key, &proof), Err(MapProofError::Place));
    }
    for key in strangers.iter().filter(|key| !rows.contains_key(key)) {
        let proof = prove(key, nodes).unwrap();
        assert_eq!(MapProof::decode(&proof.encode()).as_ref(), Ok(&proof));
        assert_eq!(verify_absence(&tip, key, &proof), Ok(()));
        assert_eq!(
            verify_presence(&tip, key, b"", &proof),
            Err(MapProofError::Place)
        );
    }
    let leaves = nodes
        .values()
        .filter(|node| matches!(node, MapNode::Leaf { .. }))
        .count();
    assert_eq!(
        leaves,
        rows.len(),
        "no leaf is left behind, none is missing"
    );
    for (path, node) in nodes {
        assert_eq!(MapPath::decode(&path.encode()), Some(*path));
        assert_eq!(MapNode::decode(&node.encode()), Some(*node));
        if let MapNode::Inner { left, right } = node {
            for (side, hash) in [(false, left), (true, right)] {
                let child = nodes.get(&path.child(side).unwrap());
                assert_eq!(child.map_or(EMPTY, |node| node.hash()), *hash);
            }
        }
    }
    let reachable = 1 + nodes
        .values()
        .map(|node| match node {
            MapNode::Inner { left, right } => {
                usize::from(*left != EMPTY) + usize::from(*right != EMPTY)
            }
            MapNode::Leaf { .. } => 0,
        })
        .sum::<usize>();
    assert_eq!(reachable, nodes.len().max(1), "no node without a parent");
}

/// Keys that often share long prefixes.
fn keys() -> impl Strategy<Value = Hash> {
    prop_oneof![
        any::<[u8; 32]>().prop_map(Hash),
        (0usize..256, 0u8..4).prop_map(|(at, low)| {
            let mut key = [0x5a; 32];
            key[at / 8] ^= 0x80 >> (at % 8);
            key[31] ^= low;
            Hash(key)
        }),
    ]
}

fn batches() -> impl Strategy<Value = Vec<Vec<(Hash, Option<Vec<u8>>)>>> {
    // Few keys, so that later batches change and delete what earlier ones put.
    prop::collection::vec(keys(), 1..24).prop_flat_map(|pool| {
        let row = (
            prop::sample::select(pool),
            prop::option::weighted(0.6, prop::collection::vec(any::<u8>(), 0..8)),
        );
        prop::collection::vec(prop::collection::vec(row, 0..12), 1..8)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn equals_the_oracle_after_every_batch(batches in batches(), strangers in prop::collection::vec(keys(), 4)) {
        let (mut nodes, mut rows, mut oracle) = (Nodes::new(), Rows::new(), Oracle::default());
        for batch in &batches {
            let tip = change(&mut nodes, batch);
            prop_assert_eq!(tip, oracle.change(batch));
            for (key, value) in batch {
                match value {
                    Some(value) => rows.insert(*key, value.clone()),
                    None => rows.remove(key),
                };
            }
            judge(&nodes, &rows, &strangers);
            // The same rows at once give the same map, node by node.
            let mut fresh = Nodes::new();
            let all: Vec<_> = rows.iter().map(|(key, value)| (*key, Some(value.clone()))).collect();
            prop_assert_eq!(change(&mut fresh, &all), tip);
            prop_assert_eq!(&fresh, &nodes);
        }
    }

    #[test]
    fn no_changed_proof_holds(pool in prop::collection::btree_set(keys(), 1..40), at in any::<prop::sample::Index>(), byte in any::<prop::sample::Index>(), flip in 1u8..=255, stranger in keys()) {
        let rows: Rows = pool.iter().map(|key| (*key, key.0[..4].to_vec())).collect();
        let mut nodes = Nodes::new();
        let all: Vec<_> = rows.iter().map(|(key, value)| (*key, Some(value.clone()))).collect();
        let tip = change(&mut nodes, &all);
        let (key, value) = rows.iter().nth(at.index(rows.len())).unwrap();
        for (key, value) in [(key, Some(value)), (&stranger, rows.get(&stranger))] {
            let mut bytes = prove(key, &nodes).unwrap().encode();
            let which = byte.index(bytes.len());
            bytes[which] ^= flip;
            let Ok(proof) = MapProof::decode(&bytes) else { continue };
            match value {
                Some(value) => prop_assert!(verify_presence(&tip, key, value, &proof).is_err()),
                None => prop_assert!(verify_absence(&tip, key, &proof).is_err()),
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), key: [u8; 32]) {
        if let Ok(proof) = MapProof::decode(&bytes) {
            prop_assert_eq!(proof.encode(), bytes.clone());
            let _ = (verify_presence(&EMPTY, &Hash(key), b"", &proof), verify_absence(&Hash(key), &Hash(key), &proof));
        }
        if let Some(path) = MapPath::decode(&bytes) {
            prop_assert_eq!(path.encode(), bytes.clone());
        }
        if let Some(node) = MapNode::decode(&bytes) {
            prop_assert_eq!(node.encode().to_vec(), bytes);
        }
    }
}

#[test]
fn the_deepest_keys_part_at_the_last_bit() {
    let (mut one, mut two) = (Hash([0x5a; 32]), Hash([0x5a; 32]));
    (one.0[31], two.0[31]) = (0, 1);
    let mut nodes = Nodes::new();
    change(&mut nodes, &[(one, Some(vec![1]))]);
    assert_eq!(prove(&one, &nodes).unwrap().siblings.len(), 0);
    let both = change(&mut nodes, &[(two, Some(vec![2]))]);
    assert_eq!(prove(&one, &nodes).unwrap().siblings.len(), 256);
    judge(
        &nodes,
        &[(one, vec![1]), (two, vec![2])].into(),
        &[Hash::ZERO],
    );
    assert_eq!(nodes.len(), 258);
    let alone = change(&mut nodes, &[(one, None)]);
    assert_ne!(alone, both);
    assert_eq!(nodes.len(), 1, "the other leaf moved up to the root");
    assert_eq!(change(&mut nodes, &[(two, None), (one, None)]), EMPTY);
    assert!(nodes.is_empty());
}

#[test]
fn a_damaged_store_is_named() {
    let mut nodes = Nodes::new();
    let rows: Vec<_> = (0..50u8)
        .map(|n| (Hash::of(&[&[n]]), Some(vec![n])))
        .collect();
    change(&mut nodes, &rows);
    let key = rows[0].0;
    let path = *nodes
        .iter()
        .find(|(_, node)| matches!(node, MapNode::Leaf { key: met, .. } if *met == key))
        .unwrap()
        .0;
    let changes = BTreeMap::from([(key, Some(Hash::ZERO))]);
    let mut missing = nodes.clone();
    missing.remove(&path);
    assert_eq!(prove(&key, &missing), Err(MapError::Damaged(path)));
    assert_eq!(update(&changes, &missing), Err(MapError::Damaged(path)));
    let mut wrong = nodes;
    wrong.insert(
        path,
        MapNode::Leaf {
            key,
            value_hash: Hash::ZERO,
        },
    );
    assert_eq!(prove(&key, &wrong), Err(MapError::Damaged(path)));
    assert_eq!(update(&changes, &wrong), Err(MapError::Damaged(path)));
}

#[test]
fn an_update_that_changes_nothing_writes_nothing() {
    let mut nodes = Nodes::new();
    let rows: Vec<_> = (0..20u8)
        .map(|n| (Hash::of(&[&[n]]), Some(vec![n])))
        .collect();
    change(&mut nodes, &rows);
    let again = rows
        .iter()
        .map(|(key, value)| (*key, value.as_deref().map(value_hash)))
        .collect();
    assert!(update(&again, &nodes).unwrap().writes.is_empty());
    let strangers = (100..120u8).map(|n| (Hash::of(&[&[n]]), None)).collect();
    assert!(update(&strangers, &nodes).unwrap().writes.is_empty());
}
