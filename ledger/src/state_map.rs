// SPDX-License-Identifier: EUPL-1.2
//! The sparse Merkle map under the state root (byte specification, *Lists, and the state root*).
//!
//! Keys are 256 bits, most significant first, 0 = left. A subtree of exactly one leaf is that leaf at any depth; every other is split,
//! also where one side is empty. So the root depends on the keys and values alone, never on the order in which they came.
//!
//! Nodes are stored in place, under the path that leads to them: a store holds one version, and a database snapshot another. An update
//! takes a whole batch, reads each node on the way once, and returns the nodes to write; nothing holds the map in memory.

mod node;
mod proof;
mod scan;
#[cfg(test)]
mod tests;
mod update;

use core::fmt;

pub use node::{MapNode, MapPath};
pub use proof::{MapProof, MapProofError, Place, verify_absence, verify_presence};
pub use scan::leaves;
pub use update::{Update, update};

use crate::hash::Hash;

/// Hash of an empty place, and the root of the empty map: 32 ASCII bytes, the hash of nothing known.
pub const EMPTY: Hash = Hash(*b"SPARSE_MERKLE_PLACEHOLDER_HASH__");

/// Bits of a key: the deepest place.
pub const DEPTH_MAX: u16 = 256;

/// Hash of a value's bytes, as leaves hold it.
pub fn value_hash(value: &[u8]) -> Hash {
    Hash::of(&[value])
}

/// Where the nodes of a map are read.
pub trait MapReader {
    /// Why a node could not be read.
    type Error;

    /// The node at that path, or none if there is none.
    fn node(&self, path: &MapPath) -> Result<Option<MapNode>, Self::Error>;
}

impl<R: MapReader + ?Sized> MapReader for &R {
    type Error = R::Error;

    fn node(&self, path: &MapPath) -> Result<Option<MapNode>, Self::Error> {
        (**self).node(path)
    }
}

/// A map in memory, for tests and small maps.
impl MapReader for alloc::collections::BTreeMap<MapPath, MapNode> {
    type Error = core::convert::Infallible;

    fn node(&self, path: &MapPath) -> Result<Option<MapNode>, Self::Error> {
        Ok(self.get(path).copied())
    }
}

/// Root of the stored map.
///
/// # Errors
/// Those of the reader.
pub fn root<R: MapReader>(reader: &R) -> Result<Hash, R::Error> {
    Ok(reader
        .node(&MapPath::ROOT)?
        .map_or(EMPTY, |node| node.hash()))
}

/// Proves that a key is in the stored map, or that it is not.
///
/// # Errors
/// Those of the reader, and a damaged store.
pub fn prove<R: MapReader>(key: &Hash, reader: &R) -> Result<MapProof, MapError<R::Error>> {
    let mut siblings = alloc::vec::Vec::new();
    let mut path = MapPath::ROOT;
    let mut node = reader.node(&path)?;
    let place = loop {
        match node {
            None => break Place::Empty,
            Some(MapNode::Leaf { key: met, .. }) if met == *key => break Place::Present,
            Some(MapNode::Leaf { key, value_hash }) => break Place::Other { key, value_hash },
            Some(MapNode::Inner { left, right }) => {
                let bit = path.next_bit_of(key).ok_or(MapError::Damaged(path))?;
                let (sibling, child) = if bit { (left, right) } else { (right, left) };
                siblings.push(sibling);
                path = path.child(bit).ok_or(MapError::Damaged(path))?;
                node = read_expected(reader, &path, child)?;
            }
        }
    };
    siblings.reverse();
    Ok(MapProof { place, siblings })
}

/// The node at a path whose parent says what hash it has: a store that contradicts itself is named, never believed.
fn read_expected<R: MapReader>(
    reader: &R,
    path: &MapPath,
    hash: Hash,
) -> Result<Option<MapNode>, MapError<R::Error>> {
    if hash == EMPTY {
        return Ok(None);
    }
    let node = reader.node(path)?;
    if node.is_some_and(|node| node.hash() == hash) {
        Ok(node)
    } else {
        Err(MapError::Damaged(*path))
    }
}

/// Why the map could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError<E> {
    /// The store failed.
    Read(E),
    /// The node at this path is missing, or is not the one that its parent names: the store is damaged and must not be used further.
    Damaged(MapPath),
}

impl<E> From<E> for MapError<E> {
    fn from(cause: E) -> Self {
        MapError::Read(cause)
    }
}

impl<E: fmt::Display> fmt::Display for MapError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MapError::Read(cause) => {
                write!(f, "a node of the state map could not be read: {cause}")
            }
            MapError::Damaged(path) => write!(f, "the state map is damaged at {path}"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for MapError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            MapError::Read(cause) => Some(cause),
            MapError::Damaged(_) => None,
        }
    }
}
