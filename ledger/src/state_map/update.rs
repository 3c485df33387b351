// SPDX-License-Identifier: EUPL-1.2
//! Inserting, changing and deleting keys, a batch at a time.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::{EMPTY, MapError, MapNode, MapPath, MapReader, read_expected};
use crate::hash::Hash;

/// What a batch of changes does to the stored map. Written in one go, or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Root afterwards.
    pub root: Hash,
    /// Nodes to write; none = to delete, whether it is there or not.
    pub writes: BTreeMap<MapPath, Option<MapNode>>,
}

/// Applies changes, each a key with its new value hash or none to delete it, to the stored map. The order of changes is without meaning,
/// and deleting what is not there changes nothing. Memory is that of the changes and the nodes above them.
///
/// # Errors
/// Those of the reader, and a damaged store.
pub fn update<R: MapReader>(
    changes: &BTreeMap<Hash, Option<Hash>>,
    reader: &R,
) -> Result<Update, MapError<R::Error>> {
    let changes: Vec<Change> = changes.iter().map(|(key, value)| (*key, *value)).collect();
    let mut writer = Writer {
        reader,
        writes: BTreeMap::new(),
    };
    let old = reader.node(&MapPath::ROOT)?;
    let new = writer.settle(MapPath::ROOT, old, &changes)?;
    Ok(Update {
        root: hash_of(new),
        writes: writer.writes,
    })
}

type Change = (Hash, Option<Hash>);

struct Writer<'r, R> {
    reader: &'r R,
    writes: BTreeMap<MapPath, Option<MapNode>>,
}

/// One side of an inner node after its changes.
struct Side {
    path: MapPath,
    hash: Hash,
    /// The node itself where it is known without reading.
    node: Option<MapNode>,
}

impl<R: MapReader> Writer<'_, R> {
    /// The node at a path after these changes, which all lie below it in ascending order; writes it and all below it that changed.
    /// Recursion is as deep as keys are long at most.
    fn settle(
        &mut self,
        path: MapPath,
        old: Option<MapNode>,
        changes: &[Change],
    ) -> Result<Option<MapNode>, MapError<R::Error>> {
        let new = match old {
            _ if changes.is_empty() => return Ok(old),
            Some(MapNode::Inner { left, right }) => {
                let (to_left, to_right) = split(path, changes);
                let left = self.side(path, false, left, to_left)?;
                let right = self.side(path, true, right, to_right)?;
                self.join(left, right)?
            }
            Some(MapNode::Leaf { key, value_hash }) => {
                let mut leaves = puts(changes);
                if let Err(at) = changes.binary_search_by_key(&key, |change| change.0) {
                    // Changes before it that put something come before it among the leaves.
                    let before = changes
                        .iter()
                        .take(at)
                        .filter(|change| change.1.is_some())
                        .count();
                    leaves.insert(before, (key, value_hash));
                }
                self.build(path, &leaves)?
            }
            None => self.build(path, &puts(changes))?,
        };
        if new != old {
            self.writes.insert(path, new);
        }
        Ok(new)
    }

    fn side(
        &mut self,
        parent: MapPath,
        right: bool,
        hash: Hash,
        changes: &[Change],
    ) -> Result<Side, MapError<R::Error>> {
        let path = parent.child(right).ok_or(MapError::Damaged(parent))?;
        if changes.is_empty() {
            return Ok(Side {
                path,
                hash,
                node: None,
            });
        }
        let old = read_expected(self.reader, &path, hash)?;
        let node = self.settle(path, old, changes)?;
        Ok(Side {
            path,
            hash: hash_of(node),
            node,
        })
    }

    /// The node over two sides: none over two empty ones, and a leaf that has become alone moves up.
    fn join(&mut self, left: Side, right: Side) -> Result<Option<MapNode>, MapError<R::Error>> {
        let alone = match (left.hash == EMPTY, right.hash == EMPTY) {
            (true, true) => return Ok(None),
            (true, false) => Some(&right),
            (false, true) => Some(&left),
            (false, false) => None,
        };
        if let Some(side) = alone {
            let node = if side.node.is_some() {
                side.node
            } else {
                read_expected(self.reader, &side.path, side.hash)?
            };
            if let Some(leaf @ MapNode::Leaf { .. }) = node {
                self.writes.insert(side.path, None);
                return Ok(Some(leaf));
            }
        }
        Ok(Some(MapNode::Inner {
            left: left.hash,
            right: right.hash,
        }))
    }

    /// The subtree of these leaves, each a key and its value hash, in ascending order, where no inner node was. Writes all below its top, the caller the top itself.
    fn build(
        &mut self,
        path: MapPath,
        leaves: &[(Hash, Hash)],
    ) -> Result<Option<MapNode>, MapError<R::Error>> {
        match leaves {
            [] => return Ok(None),
            &[(key, value_hash)] => return Ok(Some(MapNode::Leaf { key, value_hash })),
            _ => {}
        }
        let (to_left, to_right) = split(path, leaves);
        let mut hashes = [EMPTY; 2];
        for ((right, part), hash) in [(false, to_left), (true, to_right)]
            .into_iter()
            .zip(&mut hashes)
        {
            let child = path.child(right).ok_or(MapError::Damaged(path))?;
            if let Some(node) = self.build(child, part)? {
                *hash = node.hash();
                self.writes.insert(child, Some(node));
            }
        }
        let [left, right] = hashes;
        Ok(Some(MapNode::Inner { left, right }))
    }
}

fn hash_of(node: Option<MapNode>) -> Hash {
    node.map_or(EMPTY, |node| node.hash())
}

fn puts(changes: &[Change]) -> Vec<(Hash, Hash)> {
    changes
        .iter()
        .filter_map(|(key, value)| value.map(|value| (*key, value)))
        .collect()
}

type Sides<'c, T> = (&'c [(Hash, T)], &'c [(Hash, T)]);

/// What goes left of a path and what goes right, of rows in ascending order.
fn split<T>(path: MapPath, rows: &[(Hash, T)]) -> Sides<'_, T> {
    rows.split_at(rows.partition_point(|(key, _)| path.next_bit_of(key) != Some(true)))
}
