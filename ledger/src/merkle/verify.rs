// SPDX-License-Identifier: EUPL-1.2
//! Checking proofs (RFC 9162, 2.1.3.2 and 2.1.4.2, whose trees are RFC 6962's).

use core::fmt;

use super::{empty_root, node_hash};
use crate::hash::Hash;
use crate::number::{EntryIndex, TreeSize};

/// The root to which the leaf hash and its path lead in a tree of that size. The caller compares it with the root of a checkpoint.
///
/// # Errors
/// The index lies outside, or the path is not exactly as long as index and size ask.
pub fn verify_inclusion(
    index: EntryIndex,
    size: TreeSize,
    leaf_hash: Hash,
    path: &[Hash],
) -> Result<Hash, ProofError> {
    if !size.holds(index) {
        return Err(ProofError::OutOfRange);
    }
    let (mut node, mut last) = (index.0, size.0 - 1);
    let mut hash = leaf_hash;
    for sibling in path {
        if last == 0 {
            return Err(ProofError::TooLong);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            // A last node without a sibling rises unhashed until it is a right child.
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::TooShort);
    }
    Ok(hash)
}

/// The tree of size `from` and root `from_root` is a beginning of the one of size `to` and root `to_root`.
///
/// # Errors
/// The proof does not show it.
pub fn verify_consistency(
    from: TreeSize,
    to: TreeSize,
    from_root: Hash,
    to_root: Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if from.0 > to.0 {
        return Err(ProofError::OutOfRange);
    }
    if from == to || from.0 == 0 {
        if !proof.is_empty() {
            return Err(ProofError::TooLong);
        }
        let expected = if from == to { to_root } else { empty_root() };
        return if from_root == expected && (to.0 != 0 || to_root == empty_root()) {
            Ok(())
        } else {
            Err(ProofError::OtherRoot)
        };
    }
    let (mut node, mut last) = (from.0 - 1, to.0 - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let mut rest = proof.iter();
    // An old tree that is one complete subtree stands in the new tree as it is, and is left out of the proof.
    let first = if from.0.is_power_of_two() {
        from_root
    } else {
        *rest.next().ok_or(ProofError::TooShort)?
    };
    let (mut old, mut new) = (first, first);
    for sibling in rest {
        if last == 0 {
            return Err(ProofError::TooLong);
        }
        if node & 1 == 1 || node == last {
            old = node_hash(sibling, &old);
            new = node_hash(sibling, &new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(&new, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::TooShort);
    }
    if old == from_root && new == to_root {
        Ok(())
    } else {
        Err(ProofError::OtherRoot)
    }
}

/// Why a proof does not prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofError {
    /// The tree of that size does not hold the leaf, or the old size lies above the new one.
    OutOfRange,
    /// Fewer hashes than index and sizes ask.
    TooShort,
    /// More hashes than index and sizes ask.
    TooLong,
    /// The hashes lead to another root.
    OtherRoot,
}

impl fmt::Display for ProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProofError::OutOfRange => "the proof is about a place outside the tree",
            ProofError::TooShort => "the proof is too short",
            ProofError::TooLong => "the proof is too long",
            ProofError::OtherRoot => "the proof leads to another root",
        })
    }
}

impl core::error::Error for ProofError {}
