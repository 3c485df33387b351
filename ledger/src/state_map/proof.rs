// SPDX-License-Identifier: EUPL-1.2
//! Proofs that a key is in the map, or that it is not.

use alloc::vec::Vec;
use core::fmt;

use super::node::bit;
use super::{DEPTH_MAX, EMPTY, MapNode, value_hash};
use crate::hash::Hash;

/// A proof: what stands at the key's place, and the siblings on the way to the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapProof {
    /// What was found.
    pub place: Place,
    /// Siblings, the deepest first, empty ones too; 256 at most.
    pub siblings: Vec<Hash>,
}

/// What stands where a key's way ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The key (shape 1).
    Present,
    /// Nothing (shape 0).
    Empty,
    /// Another leaf, alone below a prefix that it shares with the key (shape 2).
    Other {
        /// Its key.
        key: Hash,
        /// Its value's hash.
        value_hash: Hash,
    },
}

impl MapProof {
    /// `u8(shape) ‖ u16(depth) ‖ [key ‖ value hash of another leaf] ‖ depth × sibling`.
    pub fn encode(&self) -> Vec<u8> {
        let shape = match self.place {
            Place::Empty => 0,
            Place::Present => 1,
            Place::Other { .. } => 2,
        };
        let mut bytes = Vec::with_capacity(67 + 32 * self.siblings.len());
        bytes.push(shape);
        // A map proves with 256 siblings at most.
        bytes.extend_from_slice(&(self.siblings.len() as u16).to_be_bytes());
        if let Place::Other { key, value_hash } = self.place {
            bytes.extend_from_slice(&key.0);
            bytes.extend_from_slice(&value_hash.0);
        }
        self.siblings
            .iter()
            .for_each(|sibling| bytes.extend_from_slice(&sibling.0));
        bytes
    }

    /// What [`MapProof::encode`] wrote, and nothing else.
    ///
    /// # Errors
    /// [`MapProofError::Malformed`]
    pub fn decode(bytes: &[u8]) -> Result<Self, MapProofError> {
        Self::decode_option(bytes).ok_or(MapProofError::Malformed)
    }

    fn decode_option(bytes: &[u8]) -> Option<Self> {
        let (&[shape, high, low], mut rest) = bytes.split_first_chunk::<3>()?;
        let depth = u16::from_be_bytes([high, low]);
        let place = match shape {
            0 => Place::Empty,
            1 => Place::Present,
            2 => {
                let (leaf, after) = rest.split_at_checked(64)?;
                let (key, value_hash) = leaf.split_at_checked(32)?;
                rest = after;
                Place::Other {
                    key: Hash::from_slice(key)?,
                    value_hash: Hash::from_slice(value_hash)?,
                }
            }
            _ => return None,
        };
        if depth > DEPTH_MAX || rest.len() != usize::from(depth) * 32 {
            return None;
        }
        Some(Self {
            place,
            siblings: rest.chunks_exact(32).filter_map(Hash::from_slice).collect(),
        })
    }

    /// The root to which this proof leads for a key, from the hash that stands at its place.
    fn root(&self, key: &Hash, place: Hash) -> Option<Hash> {
        let mut hash = place;
        let mut depth = u16::try_from(self.siblings.len()).ok()?;
        for sibling in &self.siblings {
            depth -= 1;
            let (left, right) = if bit(key, depth)? {
                (*sibling, hash)
            } else {
                (hash, *sibling)
            };
            hash = MapNode::Inner { left, right }.hash();
        }
        Some(hash)
    }
}

/// The map of this root holds the key with this value.
///
/// # Errors
/// The proof does not show it.
pub fn verify_presence(
    root: &Hash,
    key: &Hash,
    value: &[u8],
    proof: &MapProof,
) -> Result<(), MapProofError> {
    if proof.place != Place::Present {
        return Err(MapProofError::Place);
    }
    let leaf = MapNode::Leaf {
        key: *key,
        value_hash: value_hash(value),
    }
    .hash();
    if proof.root(key, leaf) == Some(*root) {
        Ok(())
    } else {
        Err(MapProofError::OtherRoot)
    }
}

/// The map of this root does not hold the key.
///
/// # Errors
/// The proof does not show it.
pub fn verify_absence(root: &Hash, key: &Hash, proof: &MapProof) -> Result<(), MapProofError> {
    let place = match proof.place {
        Place::Present => return Err(MapProofError::Place),
        Place::Empty => EMPTY,
        Place::Other {
            key: other,
            value_hash,
        } => {
            let depth =
                u16::try_from(proof.siblings.len()).map_err(|_| MapProofError::Malformed)?;
            let shared = (0..depth).all(|at| bit(key, at) == bit(&other, at));
            if other == *key || !shared {
                return Err(MapProofError::OtherLeaf);
            }
            MapNode::Leaf {
                key: other,
                value_hash,
            }
            .hash()
        }
    };
    if proof.root(key, place) == Some(*root) {
        Ok(())
    } else {
        Err(MapProofError::OtherRoot)
    }
}

/// Why a proof does not prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapProofError {
    /// Not a proof, or too deep.
    Malformed,
    /// A proof of presence where absence was to be shown, or the other way round.
    Place,
    /// The other leaf is the key's own, or does not stand on the key's way.
    OtherLeaf,
    /// It leads to another root: another key, value or map, or changed.
    OtherRoot,
}

impl fmt::Display for MapProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MapProofError::Malformed => "the map proof is malformed",
            MapProofError::Place => "the map proof shows the opposite",
            MapProofError::OtherLeaf => {
                "the map proof shows a leaf that does not stand on the key's way"
            }
            MapProofError::OtherRoot => "the map proof leads to another root",
        })
    }
}

impl core::error::Error for MapProofError {}
