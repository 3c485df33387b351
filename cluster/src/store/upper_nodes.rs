// SPDX-License-Identifier: EUPL-1.2
//! Nodes of the tree that many proofs share, kept in memory once they were read. A node is the hash of a complete subtree and never changes.

use std::collections::HashMap;

use ledger::hash::Hash;
use parking_lot::RwLock;

use super::tiles::LEVELS;

/// Nodes that are kept, some 32 MiB of memory; when there are more, all are forgotten and read again. Those of ten million entries are fewer.
const NODES_MAX: usize = 512 * 1024;

/// Level and index of a node.
pub(super) type Place = (u8, u64);

/// Nodes above those that the lowest tiles answer for: of what lies below, hardly two proofs ask for the same.
#[derive(Default)]
pub(super) struct UpperNodes(RwLock<HashMap<Place, Hash>>);

impl UpperNodes {
    /// What is kept of these places, in their order.
    pub(super) fn of(&self, places: &[Place]) -> Vec<Option<Hash>> {
        let kept = self.0.read();
        places
            .iter()
            .map(|place| is_kept(place).then(|| kept.get(place).copied())?)
            .collect()
    }

    /// Keeps nodes that were read.
    pub(super) fn keep(&self, read: impl Iterator<Item = (Place, Hash)>) {
        let mut read = read.filter(|(place, _)| is_kept(place)).peekable();
        if read.peek().is_none() {
            return;
        }
        let mut kept = self.0.write();
        if kept.len() >= NODES_MAX {
            kept.clear();
        }
        kept.extend(read);
    }
}

fn is_kept((level, _): &Place) -> bool {
    *level >= LEVELS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_nodes_are_kept_and_bounded() {
        let nodes = UpperNodes::default();
        let hash = |number: u64| Hash::of(&[&number.to_be_bytes()]);
        nodes.keep([((5, 1), hash(1)), ((6, 1), hash(2)), ((7, 0), hash(3))].into_iter());
        let places = [(7, 0), (5, 1), (6, 1), (6, 0)];
        assert_eq!(
            nodes.of(&places),
            [Some(hash(3)), None, Some(hash(2)), None]
        );
        let more = |from: u64| (from..).map(|index| ((8, index), hash(index)));
        nodes.keep(more(0).take(NODES_MAX));
        nodes.keep(more(7_000_000).take(1));
        assert_eq!(nodes.0.read().len(), 1);
    }
}
