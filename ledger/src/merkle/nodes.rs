// SPDX-License-Identifier: EUPL-1.2
//! Nodes in memory: small trees (a batch of entries under one signature) and tests.

use alloc::collections::BTreeMap;
use core::fmt;

use super::{Frontier, NodeReader};
use crate::hash::Hash;
use crate::number::TreeSize;

/// A tree held in memory, of at most as many leaves as the caller pushes.
#[derive(Clone, Debug, Default)]
pub struct MemoryNodes {
    frontier: Frontier,
    nodes: BTreeMap<(u8, u64), Hash>,
}

impl MemoryNodes {
    /// The tree over these leaf hashes.
    pub fn from_leaf_hashes(leaf_hashes: impl IntoIterator<Item = Hash>) -> Self {
        let mut tree = Self::default();
        for leaf_hash in leaf_hashes {
            tree.push(leaf_hash);
        }
        tree
    }

    /// Appends a leaf.
    pub fn push(&mut self, leaf_hash: Hash) {
        let nodes = &mut self.nodes;
        self.frontier.append(leaf_hash, |level, index, hash| {
            nodes.insert((level, index), hash);
        });
    }

    /// Number of leaves.
    pub fn size(&self) -> TreeSize {
        self.frontier.size()
    }

    /// Root over all leaves.
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }
}

impl NodeReader for MemoryNodes {
    type Error = MissingNode;

    fn node(&self, level: u8, index: u64) -> Result<Hash, MissingNode> {
        self.nodes
            .get(&(level, index))
            .copied()
            .ok_or(MissingNode { level, index })
    }
}

/// A node outside the tree was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingNode {
    /// Height above the leaves.
    pub level: u8,
    /// Place within the level.
    pub index: u64,
}

impl fmt::Display for MissingNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no tree node at level {}, index {}",
            self.level, self.index
        )
    }
}

impl core::error::Error for MissingNode {}
