// SPDX-License-Identifier: EUPL-1.2
//! Nodes of the map, the paths that lead to them, and both as bytes.

use alloc::vec::Vec;
use core::fmt;

use super::DEPTH_MAX;
use crate::hash::Hash;

/// The way to a node: the first `depth` bits of every key below it.
///
/// Invariants: `depth` is at most 256; the bits of `prefix` past it are 0. Ordered by depth, then from left to right.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MapPath {
    depth: u16,
    prefix: Hash,
}

impl MapPath {
    /// The root's.
    pub const ROOT: MapPath = MapPath {
        depth: 0,
        prefix: Hash::ZERO,
    };

    /// Bits.
    pub fn depth(&self) -> u16 {
        self.depth
    }

    /// One bit further, `true` to the right; none below the deepest place.
    #[must_use]
    pub fn child(&self, right: bool) -> Option<Self> {
        if self.depth >= DEPTH_MAX {
            return None;
        }
        let mut prefix = self.prefix;
        if right && let Some(byte) = prefix.0.get_mut(usize::from(self.depth / 8)) {
            *byte |= 0x80 >> (self.depth % 8);
        }
        Some(Self {
            depth: self.depth + 1,
            prefix,
        })
    }

    /// Which way a key goes from here; none at the deepest place.
    pub fn next_bit_of(&self, key: &Hash) -> Option<bool> {
        bit(key, self.depth)
    }

    /// Whether every key below this path comes before `key`, in the order of keys.
    pub fn is_before(&self, key: &Hash) -> bool {
        let mut start = Hash::ZERO;
        let held = (0..self.depth).filter(|at| bit(key, *at) == Some(true));
        for at in held {
            if let Some(byte) = start.0.get_mut(usize::from(at / 8)) {
                *byte |= 0x80 >> (at % 8);
            }
        }
        self.prefix < start
    }

    /// `u16(depth) ‖ the bytes that hold these bits`: ordered as the paths are.
    pub fn encode(&self) -> Vec<u8> {
        let held = usize::from(self.depth.div_ceil(8));
        let mut bytes = Vec::with_capacity(2 + held);
        bytes.extend_from_slice(&self.depth.to_be_bytes());
        bytes.extend(self.prefix.0.iter().take(held));
        bytes
    }

    /// What [`MapPath::encode`] wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (depth, held) = bytes.split_first_chunk::<2>()?;
        let depth = u16::from_be_bytes(*depth);
        if depth > DEPTH_MAX || held.len() != usize::from(depth.div_ceil(8)) {
            return None;
        }
        let mut prefix = Hash::ZERO;
        prefix
            .0
            .iter_mut()
            .zip(held)
            .for_each(|(to, from)| *to = *from);
        let spare = (depth..depth.div_ceil(8) * 8).any(|at| bit(&prefix, at) == Some(true));
        (!spare).then_some(Self { depth, prefix })
    }
}

/// Depth and prefix, such as `3:a0`.
impl fmt::Display for MapPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.depth)?;
        let held = usize::from(self.depth.div_ceil(8));
        self.prefix
            .0
            .iter()
            .take(held)
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MapPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A node of the map. An empty place has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapNode {
    /// The only key below its path.
    Leaf {
        /// The whole key.
        key: Hash,
        /// SHA-256 of its value.
        value_hash: Hash,
    },
    /// Two or more keys below its path.
    Inner {
        /// Hash of the 0 side.
        left: Hash,
        /// Hash of the 1 side.
        right: Hash,
    },
}

const LEAF: u8 = 1;
const INNER: u8 = 2;

impl MapNode {
    /// `H("JMT::LeafNode" ‖ key ‖ value hash)` or `H("JMT::IntrnalNode" ‖ left ‖ right)`.
    pub fn hash(&self) -> Hash {
        match self {
            MapNode::Leaf { key, value_hash } => {
                Hash::of(&[b"JMT::LeafNode", &key.0, &value_hash.0])
            }
            MapNode::Inner { left, right } => Hash::of(&[b"JMT::IntrnalNode", &left.0, &right.0]),
        }
    }

    /// 65 bytes for a store: `u8(1 leaf, 2 inner) ‖ key or left ‖ value hash or right`.
    pub fn encode(&self) -> [u8; 65] {
        let (kind, first, second) = match self {
            MapNode::Leaf { key, value_hash } => (LEAF, key, value_hash),
            MapNode::Inner { left, right } => (INNER, left, right),
        };
        let mut bytes = [kind; 65];
        bytes
            .iter_mut()
            .skip(1)
            .zip(first.0.iter().chain(&second.0))
            .for_each(|(to, from)| *to = *from);
        bytes
    }

    /// What [`MapNode::encode`] wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, hashes) = bytes.split_first()?;
        let (first, second) = hashes.split_at_checked(32)?;
        let (first, second) = (Hash::from_slice(first)?, Hash::from_slice(second)?);
        match *kind {
            LEAF => Some(MapNode::Leaf {
                key: first,
                value_hash: second,
            }),
            INNER => Some(MapNode::Inner {
                left: first,
                right: second,
            }),
            _ => None,
        }
    }
}

/// Bit `at` of a key, most significant first; none from 256 on.
pub(super) fn bit(key: &Hash, at: u16) -> Option<bool> {
    key.0
        .get(usize::from(at / 8))
        .map(|byte| byte & (0x80 >> (at % 8)) != 0)
}
