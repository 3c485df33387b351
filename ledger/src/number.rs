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

/// A decimal as the C2SP formats have it: digits alone, no leading zero but in `0` itself, within 64 bits.
pub fn parse_decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    if digits && !leading_zero {
        text.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::parse_decimal;

    #[test]
    fn decimals_have_one_spelling() {
        assert_eq!(parse_decimal("0"), Some(0));
        assert_eq!(parse_decimal("18446744073709551615"), Some(u64::MAX));
        for other in [
            "",
            "00",
            "01",
            "+1",
            "-0",
            " 1",
            "1 ",
            "1_0",
            "0x1",
            "١",
            "18446744073709551616",
        ] {
            assert_eq!(parse_decimal(other), None, "{other}");
        }
    }
}
