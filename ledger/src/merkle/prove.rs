// SPDX-License-Identifier: EUPL-1.2
//! Roots and proofs, read from complete subtrees (RFC 6962, 2.1 to 2.1.2).

use alloc::vec::Vec;
use core::fmt;

use super::frontier::{fold_peaks, peaks_of};
use super::{NodeReader, empty_root};
use crate::hash::Hash;
use crate::number::{EntryIndex, TreeSize};

/// Root of the tree at any size up to the stored one.
///
/// # Errors
/// Those of the reader.
pub fn root<R: NodeReader>(size: TreeSize, reader: &R) -> Result<Hash, R::Error> {
    subtree_root(0, size.0, reader)
}

/// Root over the leaves `[start, end)`, where `start` is a multiple of the smallest power of two that is not below `end − start`, as every
/// subtree of a proof is.
fn subtree_root<R: NodeReader>(start: u64, end: u64, reader: &R) -> Result<Hash, R::Error> {
    let leaves = end.saturating_sub(start);
    if leaves.is_power_of_two() {
        // Complete, as all but the last of a path are: one node.
        let level = leaves.trailing_zeros();
        return reader.node(level as u8, start >> level);
    }
    let mut peaks = Vec::new();
    for (level, index) in peaks_of(start, end) {
        peaks.push(reader.node(level, index)?);
    }
    Ok(fold_peaks(peaks.into_iter()).unwrap_or_else(empty_root))
}

/// Inclusion proof of the leaf in the tree of that size, the leaf's sibling first.
///
/// # Errors
/// [`ProveError::OutOfRange`] if the tree does not hold the leaf; else those of the reader.
pub fn prove_inclusion<R: NodeReader>(
    index: EntryIndex,
    size: TreeSize,
    reader: &R,
) -> Result<Vec<Hash>, ProveError<R::Error>> {
    if !size.holds(index) {
        return Err(ProveError::OutOfRange);
    }
    let (mut start, mut end) = (0, size.0);
    let mut path = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        if index.0 < middle {
            path.push(subtree_root(middle, end, reader)?);
            end = middle;
        } else {
            path.push(subtree_root(start, middle, reader)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// Consistency proof: the tree of size `from` is a beginning of the one of size `to`. Empty if `from` is 0 or equals `to`.
///
/// # Errors
/// [`ProveError::OutOfRange`] if `from` lies above `to`; else those of the reader.
pub fn prove_consistency<R: NodeReader>(
    from: TreeSize,
    to: TreeSize,
    reader: &R,
) -> Result<Vec<Hash>, ProveError<R::Error>> {
    if from.0 > to.0 {
        return Err(ProveError::OutOfRange);
    }
    let mut proof = Vec::new();
    if from.0 == 0 || from == to {
        return Ok(proof);
    }
    let (mut start, mut end) = (0, to.0);
    while end != from.0 {
        let middle = start + split(end - start);
        if from.0 <= middle {
            proof.push(subtree_root(middle, end, reader)?);
            end = middle;
        } else {
            proof.push(subtree_root(start, middle, reader)?);
            start = middle;
        }
    }
    // The old tree's last subtree; when it is the whole old tree, the verifier holds its root already.
    if start != 0 {
        proof.push(subtree_root(start, end, reader)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The largest power of two below `count`, which is at least 2.
fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

/// Why a proof could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProveError<E> {
    /// The tree of that size does not hold what was to be proven.
    OutOfRange,
    /// A node could not be read.
    Read(E),
}

impl<E> From<E> for ProveError<E> {
    fn from(cause: E) -> Self {
        ProveError::Read(cause)
    }
}

impl<E: fmt::Display> fmt::Display for ProveError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProveError::OutOfRange => f.write_str("the tree does not reach that far"),
            ProveError::Read(cause) => write!(f, "a tree node could not be read: {cause}"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for ProveError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            ProveError::OutOfRange => None,
            ProveError::Read(cause) => Some(cause),
        }
    }
}
