// SPDX-License-Identifier: EUPL-1.2
//! Every key that this crate writes into RocksDB. Integers are big-endian, so that RocksDB's byte order is number order.
//!
//! Two databases a node. `raft/` holds the Raft log and vote, its WAL fsynced before anything is acknowledged. `state/` holds what follows from
//! the log, without a WAL: after a crash it is the state of the last flush, and the log brings it forward. They are two, because installing
//! a raft_snapshot replaces the state whole and must not touch log or vote, and because one needs every byte back and the other a prefix.

use ledger::hash::Hash;

/// The family for single records, in both databases.
pub(crate) const META: &str = "meta";
/// In it, in both: written, with nothing in it, so that there is something to flush.
pub(crate) const FLUSHED: &[u8] = b"flushed";

/// Column families of `raft/`.
pub(crate) mod raft_cf {
    /// `u64 raft index` → postcard of the raft_entry.
    pub(crate) const LOG: &str = "log";
    /// [`super::raft_meta`] → postcard.
    pub(crate) use super::META;
    pub(crate) const ALL: [&str; 2] = [LOG, META];
}

/// Keys of `raft/meta`.
pub(crate) mod raft_meta {
    /// Whose data this is: ledger name and node number.
    pub(crate) const IDENTITY: &[u8] = b"identity";
    pub(crate) const VOTE: &[u8] = b"vote";
    pub(crate) const PURGED: &[u8] = b"purged";
    /// The newest checkpoint this node cosigned. Here, not in `state/`: it must survive a power cut, and no snapshot may overwrite it.
    pub(crate) const COSIGNED: &[u8] = b"cosigned";
    /// How many erasures this log holds nothing of any more.
    pub(crate) const ERASED: &[u8] = b"erased";
}

/// Column families of `state/`.
pub(crate) mod state_cf {
    /// `u64 index` → stored entry; in blob files, so that compaction does not move bodies.
    pub(crate) const BODIES: &str = "bodies";
    /// [`super::tile`] → the hashes of its nodes of the tree, one after the other: of complete subtrees; level 0 holds leaf hashes.
    pub(crate) const NODES: &str = "nodes";
    /// `u8 kind ‖ name` → value, as the ledger lays them out.
    pub(crate) const STATE: &str = "state";
    /// `u8 kind ‖ hash ‖ u64 index` → the next entries of that list: which entries concern whom ([`super::super::rows`]).
    pub(crate) const ROWS: &str = "rows";
    /// `u64 size` → signed checkpoint.
    pub(crate) const PUBLISHED: &str = "published";
    /// `u64 index` → what the entry changes under the state root, as the ledger lays it out; without the lists that it left by retention.
    pub(crate) const CHANGES: &str = "changes";
    /// Map key (32 bytes) → value, as of the last fold. Under the map's key, so that they lie in the order in which they are folded and checked.
    pub(crate) const FOLDED: &str = "folded";
    /// Path in the state map → node, as of the last fold.
    pub(crate) const MAP: &str = "map";
    /// [`super::state_meta`] → postcard.
    pub(crate) use super::META;
    pub(crate) const ALL: [&str; 9] = [
        BODIES, NODES, STATE, ROWS, PUBLISHED, CHANGES, FOLDED, MAP, META,
    ];
}

/// Keys of `state/meta`.
pub(crate) mod state_meta {
    /// The layout of all of it, a number.
    pub(crate) const FORMAT: &[u8] = b"format";
    /// How far the log is applied, and what the ledger is then.
    pub(crate) const APPLIED: &[u8] = b"applied";
    /// The last fold that is done.
    pub(crate) const FOLDED: &[u8] = b"folded";
    /// The fold under way, and how far it is.
    pub(crate) const FOLDING: &[u8] = b"folding";

    /// A fold that was ordered, by its version.
    pub(crate) fn fold_order(version: u64) -> Vec<u8> {
        format!("fold-order-{version:020}").into_bytes()
    }
    /// The cuts that stand as folded last, as the ledger lays them out.
    pub(crate) const CUTS: &[u8] = b"cuts";
    /// Retention deleted rows or changes that are still in the files.
    pub(crate) const RETIRED: &[u8] = b"retired";
    /// The same, and the eraser is taking them out of the files: it alone sets this, and begins anew where it finds it.
    pub(crate) const RETIRING: &[u8] = b"retiring";
    /// Erasures deleted rows that are still in the files.
    pub(crate) const FORGETTING: &[u8] = b"forgetting";
    /// How many erasures this state holds nothing of any more.
    pub(crate) const ERASED: &[u8] = b"erased";
}

pub(crate) const NUMBER_BYTES: usize = 8;
pub(crate) const TILE_BYTES: usize = 1 + 8;
pub(crate) const ROW_PREFIX_BYTES: usize = 1 + 32;
pub(crate) const ROW_BYTES: usize = ROW_PREFIX_BYTES + 8;

const _: () = assert!(NUMBER_BYTES == size_of::<u64>());
const _: () = assert!(ROW_BYTES == 41);

/// Key of a raft_entry, an entry or a published checkpoint.
pub(crate) fn number(n: u64) -> [u8; NUMBER_BYTES] {
    n.to_be_bytes()
}

/// The number in such a key.
pub(crate) fn decode_number(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

/// Key of a tile of the tree: `u8 group ‖ u64 index`, where a group is the levels that a tile answers for, from the leaves on.
pub(crate) fn tile(group: u8, index: u64) -> [u8; TILE_BYTES] {
    let mut key = [group; TILE_BYTES];
    let (_, tail) = key.split_at_mut(1);
    tail.copy_from_slice(&number(index));
    key
}

/// Group and index in such a key.
pub(crate) fn decode_tile(key: &[u8]) -> Option<(u8, u64)> {
    let (group, index) = key.split_first()?;
    Some((*group, decode_number(index)?))
}

/// What the rows of one subject, household, institution, … share.
pub(crate) fn row_prefix(kind: u8, of: &Hash) -> [u8; ROW_PREFIX_BYTES] {
    let mut key = [0; ROW_PREFIX_BYTES];
    let (head, tail) = key.split_at_mut(1);
    head.copy_from_slice(&[kind]);
    tail.copy_from_slice(of.as_bytes());
    key
}

/// Key of one row.
pub(crate) fn row(kind: u8, of: &Hash, index: u64) -> [u8; ROW_BYTES] {
    row_of(&row_prefix(kind, of), index)
}

/// Key of a row of the list that it begins with.
pub(crate) fn row_of(list: &[u8; ROW_PREFIX_BYTES], index: u64) -> [u8; ROW_BYTES] {
    let mut key = [0; ROW_BYTES];
    let (head, tail) = key.split_at_mut(ROW_PREFIX_BYTES);
    head.copy_from_slice(list);
    tail.copy_from_slice(&index.to_be_bytes());
    key
}

/// List and index in such a key.
pub(crate) fn decode_row(key: &[u8]) -> Option<([u8; ROW_PREFIX_BYTES], u64)> {
    let (list, index) = key.split_at_checked(ROW_PREFIX_BYTES)?;
    Some((list.try_into().ok()?, decode_number(index)?))
}

/// Whose row it is.
pub(crate) fn decode_row_of(key: &[u8]) -> Option<Hash> {
    let (list, _) = decode_row(key)?;
    list.get(1..).and_then(Hash::from_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_sort_as_what_they_name(a: (u8, [u8; 32], u64), b: (u8, [u8; 32], u64)) {
            prop_assert_eq!(number(a.2).cmp(&number(b.2)), a.2.cmp(&b.2));
            prop_assert_eq!(tile(a.0, a.2).cmp(&tile(b.0, b.2)), (a.0, a.2).cmp(&(b.0, b.2)));
            prop_assert_eq!(row(a.0, &Hash(a.1), a.2).cmp(&row(b.0, &Hash(b.1), b.2)), a.cmp(&b));
        }

        #[test]
        fn numbers_come_back(kind: u8, of: [u8; 32], n: u64) {
            prop_assert_eq!(decode_number(&number(n)), Some(n));
            prop_assert_eq!(decode_tile(&tile(kind, n)), Some((kind, n)));
            let list = row_prefix(kind, &Hash(of));
            prop_assert_eq!(decode_row(&row(kind, &Hash(of), n)), Some((list, n)));
            prop_assert_eq!(decode_row_of(&row(kind, &Hash(of), n)), Some(Hash(of)));
        }
    }

    #[test]
    fn keys_of_another_length_are_none() {
        assert_eq!(decode_number(&[0; 7]), None);
        for bytes in [0, 32, 40, 42] {
            assert_eq!(decode_row(&vec![0; bytes]), None);
            assert_eq!(decode_row_of(&vec![0; bytes]), None);
        }
        assert_eq!(decode_tile(&[0; TILE_BYTES - 1]), None);
        assert_eq!(decode_tile(&[]), None);
    }
}
