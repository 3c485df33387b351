// SPDX-License-Identifier: EUPL-1.2
//! Index, size and count are different types: the compiler catches an off-by-one that a `u64` would hide.

use core::fmt;

/// Zero-based place of a leaf in the tree (C2SP tlog-proof `index`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EntryIndex(pub u64);

/// Number of leaves of a tree: last index + 1 (C2SP tlog-checkpoint, second line).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TreeSize(pub u64);

impl EntryIndex {
    /// The smallest tree that holds this leaf.
    pub fn size(self) -> TreeSize {
        TreeSize(self.0.saturating_add(1))
    }
}

impl TreeSize {
    /// The empty tree.
    pub const EMPTY: TreeSize = TreeSize(0);

    /// Where the next leaf will stand.
    pub fn next_index(self) -> EntryIndex {
        EntryIndex(self.0)
    }

    /// Whether a tree of this size holds the leaf.
    pub fn holds(self, index: EntryIndex) -> bool {
        index.0 < self.0
    }
}

impl fmt::Display for EntryIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TreeSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
