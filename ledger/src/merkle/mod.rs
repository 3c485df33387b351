// SPDX-License-Identifier: EUPL-1.2
//! RFC 6962 tree over a node reader: nothing needs the whole tree in memory.
//!
//! Stored are complete subtrees only: node (level `l`, index `i`) is the root of the leaves `[i·2^l, (i+1)·2^l)`; level 0 holds the leaf
//! hashes. Such a node never changes once it is there, so a tree of any size up to the stored one can be read from the same nodes.
//!
//! [`Frontier`] grows a tree and hands out each node that a new leaf completes; [`root`], [`prove_inclusion`] and [`prove_consistency`]
//! read nodes; [`verify_inclusion`] and [`verify_consistency`] need nothing but their arguments.

mod frontier;
mod nodes;
mod prove;
mod verify;

#[cfg(test)]
mod tests;

pub use frontier::Frontier;
pub use nodes::{MemoryNodes, MissingNode};
pub use prove::{ProveError, prove_consistency, prove_inclusion, root};
pub use verify::{ProofError, verify_consistency, verify_inclusion};

use crate::hash::Hash;

/// The most hashes a proof can hold: a path has one for each bit of the tree size at most, a consistency proof one more.
pub const PROOF_HASHES_MAX: usize = 65;

/// Root of the tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    Hash::of(&[])
}

/// Leaf hash `H(0x00 ‖ leaf)` (RFC 6962, 2.1).
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Hash::of(&[&[0x00], leaf])
}

/// Node hash `H(0x01 ‖ left ‖ right)` (RFC 6962, 2.1).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash::of(&[&[0x01], left.as_bytes(), right.as_bytes()])
}

/// Where the nodes of complete subtrees are read.
pub trait NodeReader {
    /// Why a node could not be read.
    type Error;

    /// Root of the leaves `[index·2^level, (index+1)·2^level)`. Only nodes that lie wholly within the stored tree are asked for, so a node
    /// that is not there is an error of the store, never a normal answer.
    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

impl<R: NodeReader + ?Sized> NodeReader for &R {
    type Error = R::Error;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error> {
        (**self).node(level, index)
    }
}
