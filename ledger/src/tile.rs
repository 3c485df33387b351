// SPDX-License-Identifier: EUPL-1.2
//! C2SP tlog-tiles: paths and bytes of tiles and entry bundles.
//!
//! A full tile holds 256 hashes of one tree level in eight; a partial one, `.p/<width>`, stands at the right edge of a tree and never
//! changes either. Bundles hold the leaves' bytes in the same groups.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::hash::Hash;
use crate::merkle::NodeReader;
use crate::number::TreeSize;

/// Hashes of a full tile, leaves of a full bundle.
pub const WIDTH_FULL: u16 = 256;
/// The highest tile level that a path may name.
const LEVEL_MAX: u8 = 63;
/// The highest tile level that a tree of 2^64 − 1 leaves has: eight tree levels each.
const LEVEL_STORED_MAX: u8 = 7;
/// Longest path that is read: level, seven groups of digits and a width fit well.
const PATH_BYTES_MAX: usize = 64;

/// Names a tile or a bundle, full or partial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TilePath {
    /// `tile/<level>/<index>[.p/<width>]`
    Tile(Tile),
    /// `tile/entries/<index>[.p/<width>]`
    Bundle(Bundle),
}

/// Hashes of one level: hash `i` is the root of the leaves `[(index·256 + i)·256^level, (index·256 + i + 1)·256^level)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    /// Tile level: eight tree levels each.
    pub level: u8,
    /// Zero-based place within the level.
    pub index: u64,
    /// Hashes, 1 to 256.
    pub width: u16,
}

/// The leaves `[index·256, index·256 + width)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bundle {
    /// Zero-based place.
    pub index: u64,
    /// Leaves, 1 to 256.
    pub width: u16,
}

impl TilePath {
    /// Parses a path below the log's prefix, without a slash in front: one spelling each.
    ///
    /// # Errors
    /// [`TileError::Path`]
    pub fn parse(path: &str) -> Result<Self, TileError> {
        Self::parse_option(path).ok_or(TileError::Path)
    }

    fn parse_option(path: &str) -> Option<Self> {
        if path.len() > PATH_BYTES_MAX {
            return None;
        }
        let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let (index, width) = match rest.split_once(".p/") {
            // The full width is written without a suffix.
            Some((index, width)) => (
                index,
                small_decimal(width, WIDTH_FULL - 1).filter(|&width| width >= 1)?,
            ),
            None => (rest, WIDTH_FULL),
        };
        let index = parse_index(index)?;
        if level == "entries" {
            return Some(TilePath::Bundle(Bundle { index, width }));
        }
        let level = small_decimal(level, u16::from(LEVEL_MAX))?
            .try_into()
            .ok()?;
        Some(TilePath::Tile(Tile {
            level,
            index,
            width,
        }))
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TilePath::Tile(tile) => tile.fmt(f),
            TilePath::Bundle(bundle) => bundle.fmt(f),
        }
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "tile/{}/{}",
            self.level,
            format_place(self.index, self.width)
        )
    }
}

impl fmt::Display for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/entries/{}", format_place(self.index, self.width))
    }
}

impl Tile {
    /// The widest tile of that place in a tree of that size; none if the tree does not reach it (empty tiles are never served).
    pub fn in_tree(level: u8, index: u64, size: TreeSize) -> Option<Self> {
        if level > LEVEL_STORED_MAX {
            return None;
        }
        let width = width_at(index, size.0 >> (8 * level))?;
        Some(Self {
            level,
            index,
            width,
        })
    }

    /// Whether a tree of that size has all hashes of this tile.
    pub fn within(&self, size: TreeSize) -> bool {
        self.width >= 1
            && Self::in_tree(self.level, self.index, size)
                .is_some_and(|widest| self.width <= widest.width)
    }

    /// The tile's bytes. The caller has checked [`Tile::within`] for the stored size.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn read<R: NodeReader>(&self, reader: &R) -> Result<Vec<u8>, R::Error> {
        let mut bytes = Vec::with_capacity(usize::from(self.width) * 32);
        for place in 0..u64::from(self.width) {
            let index = self
                .index
                .wrapping_mul(u64::from(WIDTH_FULL))
                .wrapping_add(place);
            bytes.extend_from_slice(&reader.node(self.level.wrapping_mul(8), index)?.0);
        }
        Ok(bytes)
    }

    /// The hashes of a tile's bytes.
    ///
    /// # Errors
    /// [`TileError::Width`] unless there are exactly `width`.
    pub fn decode(&self, bytes: &[u8]) -> Result<Vec<Hash>, TileError> {
        if bytes.len() != usize::from(self.width) * 32 || self.width > WIDTH_FULL {
            return Err(TileError::Width);
        }
        Ok(bytes
            .chunks_exact(32)
            .filter_map(Hash::from_slice)
            .collect())
    }
}

impl Bundle {
    /// The widest bundle of that place in a tree of that size; none if the tree does not reach it.
    pub fn in_tree(index: u64, size: TreeSize) -> Option<Self> {
        Some(Self {
            index,
            width: width_at(index, size.0)?,
        })
    }

    /// Whether a tree of that size has all leaves of this bundle.
    pub fn within(&self, size: TreeSize) -> bool {
        self.width >= 1
            && Self::in_tree(self.index, size).is_some_and(|widest| self.width <= widest.width)
    }

    /// The leaves of a bundle's bytes.
    ///
    /// # Errors
    /// [`TileError::Bundle`] if bytes are missing or left, [`TileError::Width`] unless there are exactly `width` leaves.
    pub fn decode<'b>(&self, bytes: &'b [u8]) -> Result<Vec<&'b [u8]>, TileError> {
        let mut leaves = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            if leaves.len() == usize::from(self.width.min(WIDTH_FULL)) {
                return Err(TileError::Width);
            }
            let (length, after) = rest.split_first_chunk::<2>().ok_or(TileError::Bundle)?;
            let (leaf, after) = after
                .split_at_checked(usize::from(u16::from_be_bytes(*length)))
                .ok_or(TileError::Bundle)?;
            leaves.push(leaf);
            rest = after;
        }
        if leaves.len() == usize::from(self.width) {
            Ok(leaves)
        } else {
            Err(TileError::Width)
        }
    }
}

/// A bundle's bytes: each leaf behind its length, a `u16`.
///
/// # Errors
/// [`TileError::Leaf`] if a leaf is longer than 65 535 bytes (Visto's have 78), [`TileError::Width`] for more than 256.
pub fn encode_bundle<'l>(leaves: impl IntoIterator<Item = &'l [u8]>) -> Result<Vec<u8>, TileError> {
    let mut bytes = Vec::new();
    for (count, leaf) in leaves.into_iter().enumerate() {
        if count == usize::from(WIDTH_FULL) {
            return Err(TileError::Width);
        }
        let length = u16::try_from(leaf.len()).map_err(|_| TileError::Leaf)?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(leaf);
    }
    Ok(bytes)
}

/// The partial tiles and the partial bundle that a log must serve for a tree of that size.
pub fn partial(size: TreeSize) -> Vec<TilePath> {
    let mut paths = Vec::new();
    for level in 0..=LEVEL_STORED_MAX {
        let hashes = size.0 >> (8 * level);
        let width = (hashes % u64::from(WIDTH_FULL)) as u16;
        if width == 0 {
            continue;
        }
        let index = hashes / u64::from(WIDTH_FULL);
        paths.push(TilePath::Tile(Tile {
            level,
            index,
            width,
        }));
        if level == 0 {
            paths.push(TilePath::Bundle(Bundle { index, width }));
        }
    }
    paths
}

/// How many of the `hashes` of a level fall into the group `index`; none if no one does.
fn width_at(index: u64, hashes: u64) -> Option<u16> {
    let before = index.checked_mul(u64::from(WIDTH_FULL))?;
    let width = hashes.checked_sub(before)?.min(u64::from(WIDTH_FULL)) as u16;
    (width >= 1).then_some(width)
}

fn small_decimal(text: &str, most: u16) -> Option<u16> {
    crate::number::parse_decimal(text)?
        .try_into()
        .ok()
        .filter(|&number| number <= most)
}

/// `x001/x234/067` for 1 234 067: groups of three digits, all but the last marked, no group of zeroes in front.
fn parse_index(text: &str) -> Option<u64> {
    let mut index: u64 = 0;
    let mut groups = text.split('/').peekable();
    let mut first = true;
    while let Some(group) = groups.next() {
        let last = groups.peek().is_none();
        let digits = if last {
            group
        } else {
            group.strip_prefix('x')?
        };
        if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number: u64 = digits.parse().ok()?;
        if first && !last && number == 0 {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(number)?;
        first = false;
    }
    Some(index)
}

fn format_place(index: u64, width: u16) -> String {
    let mut text = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        text = format!("x{:03}/{text}", rest % 1000);
        rest /= 1000;
    }
    if width != WIDTH_FULL {
        text.push_str(&format!(".p/{width}"));
    }
    text
}

/// Why a tile or bundle is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TileError {
    /// Not a path of a tile or bundle.
    Path,
    /// Not as many hashes or leaves as its width.
    Width,
    /// A bundle with bytes missing.
    Bundle,
    /// A leaf too long for a bundle.
    Leaf,
}

impl fmt::Display for TileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TileError::Path => "not the path of a tile",
            TileError::Width => "the tile has another width",
            TileError::Bundle => "the bundle is cut short",
            TileError::Leaf => "the leaf is too long for a bundle",
        })
    }
}

impl core::error::Error for TileError {}

#[cfg(test)]
mod tests;
