// SPDX-License-Identifier: EUPL-1.2
//! The right edge of a growing tree.

use alloc::vec::Vec;

use super::{NodeReader, empty_root, node_hash};
use crate::hash::Hash;
use crate::number::TreeSize;

/// The right edge of a tree: the roots of the complete subtrees that its size is made of, largest first. All that appending and the root
/// need: 64 hashes at most.
///
/// Invariant: `peaks` has one hash for each bit set in `size`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The right edge of the stored tree at this size.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn read<R: NodeReader>(size: TreeSize, reader: &R) -> Result<Self, R::Error> {
        let mut peaks = Vec::new();
        for (level, index) in peaks_of(0, size.0) {
            peaks.push(reader.node(level, index)?);
        }
        Ok(Self {
            size: size.0,
            peaks,
        })
    }

    /// The right edge of a tree of this size from its peaks, largest first; `None` if they are not as many as the size asks.
    pub fn of_peaks(size: TreeSize, peaks: Vec<Hash>) -> Option<Self> {
        let whole = u32::try_from(peaks.len()).ok()? == size.0.count_ones();
        whole.then_some(Self {
            size: size.0,
            peaks,
        })
    }

    /// The roots of the complete subtrees that the size is made of, largest first.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Number of leaves.
    pub fn size(&self) -> TreeSize {
        TreeSize(self.size)
    }

    /// Appends a leaf and hands out the nodes that it completes, the leaf itself (level 0) first. Whoever stores them all can read the tree
    /// at this and at every smaller size.
    pub fn append(&mut self, leaf_hash: Hash, mut emit: impl FnMut(u8, u64, Hash)) {
        let index = self.size;
        let mut hash = leaf_hash;
        emit(0, index, hash);
        // Each trailing one bit of the old size is a complete subtree to the left that now gets its right half.
        for level in 0..index.trailing_ones() as u8 {
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(&left, &hash);
            emit(level + 1, index >> (level + 1), hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// Root over all leaves so far.
    pub fn root(&self) -> Hash {
        fold_peaks(self.peaks.iter().copied()).unwrap_or_else(empty_root)
    }
}

/// The complete subtrees (level, index) that the leaves `[start, end)` fall into, largest first, where `start` is a multiple of the largest.
pub(super) fn peaks_of(start: u64, end: u64) -> impl Iterator<Item = (u8, u64)> {
    let count = end.saturating_sub(start);
    let mut at = start;
    (0..64u8)
        .rev()
        .filter(move |level| count >> level & 1 == 1)
        .map(move |level| {
            let index = at >> level;
            at += 1 << level;
            (level, index)
        })
}

/// Root over neighbouring complete subtrees, largest first: RFC 6962 hashes them from the right.
pub(super) fn fold_peaks(peaks: impl DoubleEndedIterator<Item = Hash>) -> Option<Hash> {
    peaks.rev().reduce(|right, left| node_hash(&left, &right))
}
