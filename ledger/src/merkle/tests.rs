// SPDX-License-Identifier: EUPL-1.2
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alloc::format;
use alloc::vec::Vec;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;

use super::*;
use crate::number::{EntryIndex, TreeSize};

/// Our tree and the oracle's over the same leaves.
struct Twins {
    ours: MemoryNodes,
    oracle: MemoryBackedTree<Sha256, Vec<u8>>,
}

fn leaf(number: u64) -> Vec<u8> {
    format!("leaf {number}").into_bytes()
}

fn twins(size: u64) -> Twins {
    let mut twins = Twins {
        ours: MemoryNodes::default(),
        oracle: MemoryBackedTree::new(),
    };
    (0..size).for_each(|number| grow(&mut twins, number));
    twins
}

fn grow(twins: &mut Twins, number: u64) {
    twins.ours.push(leaf_hash(&leaf(number)));
    twins.oracle.push(leaf(number));
}

fn joined(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// Inclusion of one leaf: same path as the oracle's, and it leads to the root.
fn compare_inclusion(twins: &Twins, index: u64) {
    let size = twins.ours.size();
    let path = prove_inclusion(EntryIndex(index), size, &twins.ours).unwrap();
    assert_eq!(
        joined(&path),
        twins.oracle.prove_inclusion(index as usize).as_bytes(),
        "size {size}, index {index}"
    );
    assert!(path.len() < PROOF_HASHES_MAX);
    assert_eq!(
        verify_inclusion(EntryIndex(index), size, leaf_hash(&leaf(index)), &path),
        Ok(twins.ours.root())
    );
}

/// Consistency with an older size: same proof as the oracle's, and it verifies.
fn compare_consistency(twins: &Twins, from: u64) {
    let size = twins.ours.size();
    let proof = prove_consistency(TreeSize(from), size, &twins.ours).unwrap();
    if from != 0 && from != size.0 {
        assert_eq!(
            joined(&proof),
            twins
                .oracle
                .prove_consistency((size.0 - from) as usize)
                .as_bytes(),
            "from {from} to {size}"
        );
    }
    let from_root = root(TreeSize(from), &twins.ours).unwrap();
    assert_eq!(
        verify_consistency(TreeSize(from), size, from_root, twins.ours.root(), &proof),
        Ok(()),
        "from {from} to {size}"
    );
}

#[test]
fn equals_the_oracle_at_all_sizes_to_600() {
    let mut twins = twins(0);
    let mut roots = Vec::new();
    for size in 0..=600u64 {
        assert_eq!(
            twins.ours.root().0,
            <[u8; 32]>::from(*twins.oracle.root().as_bytes()),
            "size {size}"
        );
        roots.push(twins.ours.root());
        assert_eq!(
            Frontier::read(TreeSize(size), &twins.ours).unwrap().root(),
            twins.ours.root()
        );
        // Every pair to 130, above that each size with all of a spread of places, the edges among them.
        let step = if size <= 130 { 1 } else { 37 };
        for at in (0..size).step_by(step).chain(size.checked_sub(1)) {
            compare_inclusion(&twins, at);
            compare_consistency(&twins, at);
        }
        grow(&mut twins, size);
    }
    for (size, expected) in roots.iter().enumerate() {
        assert_eq!(
            root(TreeSize(size as u64), &twins.ours).unwrap(),
            *expected,
            "old size {size} read from a bigger tree"
        );
    }
}

#[test]
fn old_sizes_are_proven_from_a_bigger_tree() {
    let big = twins(300);
    for size in 1..300u64 {
        let small = twins_at(&big, size);
        for index in [0, size / 3, size / 2, size - 1] {
            let path = prove_inclusion(EntryIndex(index), TreeSize(size), &big.ours).unwrap();
            assert_eq!(
                verify_inclusion(
                    EntryIndex(index),
                    TreeSize(size),
                    leaf_hash(&leaf(index)),
                    &path
                ),
                Ok(small)
            );
        }
    }
}

fn twins_at(big: &Twins, size: u64) -> Hash {
    root(TreeSize(size), &big.ours).unwrap()
}

#[test]
fn asks_only_for_complete_subtrees_and_few_of_them() {
    struct Counting<'a>(&'a MemoryNodes, core::cell::Cell<usize>);
    impl NodeReader for Counting<'_> {
        type Error = MissingNode;
        fn node(&self, level: u8, index: u64) -> Result<Hash, MissingNode> {
            self.1.set(self.1.get() + 1);
            self.0.node(level, index)
        }
    }
    let twins = twins(1023);
    let reader = Counting(&twins.ours, core::cell::Cell::new(0));
    prove_inclusion(EntryIndex(1022), TreeSize(1023), &reader).unwrap();
    assert!(reader.1.get() <= 20, "{} nodes read", reader.1.get());
}

#[test]
fn a_huge_tree_needs_no_memory_and_no_luck() {
    /// All nodes of a level are alike when all leaves are.
    struct Alike;
    impl NodeReader for Alike {
        type Error = core::convert::Infallible;
        fn node(&self, level: u8, _index: u64) -> Result<Hash, Self::Error> {
            Ok((0..level).fold(leaf_hash(b"same"), |hash, _| node_hash(&hash, &hash)))
        }
    }
    for size in [
        u64::MAX,
        u64::MAX - 1,
        1 << 63,
        (1 << 63) + 1,
        10_000_000_019,
    ] {
        let size = TreeSize(size);
        let tip = root(size, &Alike).unwrap();
        for index in [0, 1, size.0 / 2, size.0 / 2 + 1, size.0 - 2, size.0 - 1] {
            let path = prove_inclusion(EntryIndex(index), size, &Alike).unwrap();
            assert!(path.len() <= PROOF_HASHES_MAX);
            assert_eq!(
                verify_inclusion(EntryIndex(index), size, leaf_hash(b"same"), &path),
                Ok(tip)
            );
            let from = TreeSize(index);
            let proof = prove_consistency(from, size, &Alike).unwrap();
            assert!(proof.len() <= PROOF_HASHES_MAX);
            assert_eq!(
                verify_consistency(from, size, root(from, &Alike).unwrap(), tip, &proof),
                Ok(())
            );
        }
    }
}

#[test]
fn edges() {
    let tree = twins(7).ours;
    let some = leaf_hash(b"x");
    assert_eq!(
        prove_inclusion(EntryIndex(7), TreeSize(7), &tree),
        Err(ProveError::OutOfRange)
    );
    assert_eq!(
        prove_inclusion(EntryIndex(0), TreeSize(0), &tree),
        Err(ProveError::OutOfRange)
    );
    assert_eq!(
        prove_consistency(TreeSize(8), TreeSize(7), &tree),
        Err(ProveError::OutOfRange)
    );
    assert!(matches!(
        prove_inclusion(EntryIndex(0), TreeSize(9), &tree),
        Err(ProveError::Read(
            MissingNode { level: 3, .. } | MissingNode { .. }
        ))
    ));
    assert_eq!(
        verify_inclusion(EntryIndex(0), TreeSize(0), some, &[]),
        Err(ProofError::OutOfRange)
    );
    assert_eq!(
        verify_inclusion(EntryIndex(0), TreeSize(1), some, &[]),
        Ok(some)
    );
    assert_eq!(
        verify_inclusion(EntryIndex(0), TreeSize(1), some, &[some]),
        Err(ProofError::TooLong)
    );
    assert_eq!(
        verify_inclusion(EntryIndex(0), TreeSize(2), some, &[]),
        Err(ProofError::TooShort)
    );
    assert_eq!(
        verify_consistency(TreeSize(0), TreeSize(7), empty_root(), tree.root(), &[]),
        Ok(())
    );
    assert_eq!(
        verify_consistency(TreeSize(0), TreeSize(7), some, tree.root(), &[]),
        Err(ProofError::OtherRoot)
    );
    assert_eq!(
        verify_consistency(TreeSize(0), TreeSize(7), empty_root(), tree.root(), &[some]),
        Err(ProofError::TooLong)
    );
    assert_eq!(
        verify_consistency(TreeSize(7), TreeSize(7), some, tree.root(), &[]),
        Err(ProofError::OtherRoot)
    );
    assert_eq!(
        verify_consistency(TreeSize(0), TreeSize(0), some, some, &[]),
        Err(ProofError::OtherRoot)
    );
    assert_eq!(
        verify_consistency(TreeSize(3), TreeSize(7), some, some, &[]),
        Err(ProofError::TooShort)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn equals_the_oracle_at_random_sizes(size in 601u64..5000, places in prop::collection::vec(any::<prop::sample::Index>(), 16)) {
        let twins = twins(size);
        prop_assert_eq!(twins.ours.root().0, <[u8; 32]>::from(*twins.oracle.root().as_bytes()));
        for place in places {
            compare_inclusion(&twins, place.index(size as usize) as u64);
            compare_consistency(&twins, place.index(size as usize) as u64);
        }
    }

    #[test]
    fn no_changed_proof_verifies(size in 2u64..400, place in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0usize..256) {
        let tree = twins(size).ours;
        let index = place.index(size as usize) as u64;
        let mut path = prove_inclusion(EntryIndex(index), TreeSize(size), &tree).unwrap();
        let which = at.index(path.len());
        path[which].0[bit / 8] ^= 1 << (bit % 8);
        prop_assert_ne!(verify_inclusion(EntryIndex(index), TreeSize(size), leaf_hash(&leaf(index)), &path), Ok(tree.root()));
        let old = root(TreeSize(index), &tree).unwrap();
        let mut proof = prove_consistency(TreeSize(index), TreeSize(size), &tree).unwrap();
        if !proof.is_empty() {
            let which = at.index(proof.len());
            proof[which].0[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(verify_consistency(TreeSize(index), TreeSize(size), old, tree.root(), &proof), Err(ProofError::OtherRoot));
            proof.pop();
            prop_assert!(verify_consistency(TreeSize(index), TreeSize(size), old, tree.root(), &proof).is_err());
        }
    }

    #[test]
    fn verifying_never_panics(index: u64, size: u64, from: u64, hashes in prop::collection::vec(any::<[u8; 32]>(), 0..70)) {
        let path: Vec<Hash> = hashes.into_iter().map(Hash).collect();
        let _ = verify_inclusion(EntryIndex(index), TreeSize(size), Hash::ZERO, &path);
        let _ = verify_consistency(TreeSize(from), TreeSize(size), Hash::ZERO, Hash::ZERO, &path);
    }
}
