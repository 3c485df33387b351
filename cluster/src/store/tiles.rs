// SPDX-License-Identifier: EUPL-1.2
//! The tree as it is kept: in tiles. A tile holds the hashes of [`WIDTH`] neighbouring nodes of one level, the lowest of its [`LEVELS`] levels,
//! and once it is full those of the nodes [`MIDDLE`] levels above; the others are hashed from them when they are read. It is the idea of C2SP's
//! tlog-tiles, with smaller tiles: one is read whole for one path, and the last of each level is written anew with whatever is appended to it.
//! The row in the middle is an eighth more to keep, and leaves 8 of the 57 hashes of a path.
//!
//! A full tile never changes. One that is not full yet, the last of its level, only gets longer: so whoever looks at an earlier moment, or at a
//! smaller tree, finds in it what he is looking for.

use std::cell::RefCell;

use ledger::hash::Hash;
use ledger::merkle::{NodeReader, node_hash};
use ledger::number::TreeSize;

use super::db::Db;
use super::keys::{self, state_cf};
use crate::error::Error;

/// Levels of the tree that a tile answers for.
pub(super) const LEVELS: u8 = 6;
/// Hashes of its lowest level in a full tile.
const WIDTH: u64 = 1 << LEVELS;
/// How far above its lowest level the other is that a full tile holds. Earlier builds kept none: of their tiles it is hashed like the others.
pub(super) const MIDDLE: u8 = 3;
const HASH_BYTES: usize = size_of::<Hash>();
/// Of the row in the middle.
const MIDDLE_BYTES: usize = (WIDTH as usize >> MIDDLE) * HASH_BYTES;
const FULL_BYTES: usize = WIDTH as usize * HASH_BYTES + MIDDLE_BYTES;
const _: () = assert!(LEVELS == 2 * MIDDLE);

/// Where a node is found: key of its tile, and its place in the row of its level.
pub(super) struct Place {
    pub(super) key: [u8; keys::TILE_BYTES],
    /// Levels above the lowest of the tile.
    height: usize,
    at: usize,
}

impl Place {
    pub(super) fn of(level: u8, index: u64) -> Place {
        let height = level % LEVELS;
        Place {
            key: keys::tile(level / LEVELS, index >> (LEVELS - height)),
            height: usize::from(height),
            at: (index % (WIDTH >> height)) as usize,
        }
    }
}

/// A tile that was read. What was hashed of it once is not hashed again: the paths of neighbours share most of it.
pub(super) struct Tile<B> {
    key: [u8; keys::TILE_BYTES],
    kept: B,
    /// What was hashed: the two nodes below the top at 2 and 3, those below them from 4 on, and so on. Nothing before somebody asks.
    hashed: Vec<Option<Hash>>,
}

impl<B: AsRef<[u8]>> Tile<B> {
    /// The tile out of what is kept under its key.
    ///
    /// # Errors
    /// `Corrupt`: nothing is, or it is no row of hashes.
    pub(super) fn open(
        db: &Db,
        key: [u8; keys::TILE_BYTES],
        kept: Option<B>,
    ) -> Result<Self, Error> {
        let kept = kept.ok_or_else(|| told(db, &key, "is missing"))?;
        let bytes = kept.as_ref().len();
        let is_row = bytes.is_multiple_of(HASH_BYTES) && bytes <= WIDTH as usize * HASH_BYTES;
        if !is_row && bytes != FULL_BYTES {
            return Err(told(db, &key, "is no row of hashes"));
        }
        Ok(Tile {
            key,
            kept,
            hashed: Vec::new(),
        })
    }

    /// A node of it.
    ///
    /// # Errors
    /// `Corrupt`: the tile does not reach so far.
    pub(super) fn node(&mut self, db: &Db, place: &Place) -> Result<Hash, Error> {
        self.hash(place.height, place.at)
            .ok_or_else(|| told(db, &self.key, "does not hold what the tree has there"))
    }

    /// None where the tile does not reach so far.
    fn hash(&mut self, height: usize, at: usize) -> Option<Hash> {
        let (rows, _) = self.kept.as_ref().as_chunks::<HASH_BYTES>();
        let (lowest, middle) = rows.split_at(rows.len().min(WIDTH as usize));
        let kept = match height {
            0 => return lowest.get(at).copied().map(Hash),
            height if height == usize::from(MIDDLE) => middle.get(at).copied().map(Hash),
            _ => None,
        };
        let slot = (WIDTH as usize >> height) + at;
        if let Some(hash) = kept.or_else(|| *self.hashed.get(slot)?) {
            return Some(hash);
        }
        let (left, right) = (
            self.hash(height - 1, 2 * at)?,
            self.hash(height - 1, 2 * at + 1)?,
        );
        let hash = node_hash(&left, &right);
        self.hashed.resize(WIDTH as usize, None);
        *self.hashed.get_mut(slot)? = Some(hash);
        Some(hash)
    }
}

fn told(db: &Db, key: &[u8], what: &str) -> Error {
    let name = db.name_of(state_cf::NODES, key);
    Error::corrupt(format!("{name} {what}"))
}

/// Reads nodes, out of tiles that `get` reads. The last tile is kept: whoever walks along a level, or up a path, reads each once.
pub(crate) struct Tiles<'a, G> {
    db: &'a Db,
    get: G,
    last: RefCell<Option<Tile<Vec<u8>>>>,
}

impl<'a, G: Fn(&[u8]) -> Result<Option<Vec<u8>>, Error>> Tiles<'a, G> {
    pub(super) fn new(db: &'a Db, get: G) -> Self {
        Tiles {
            db,
            get,
            last: RefCell::default(),
        }
    }
}

impl<G: Fn(&[u8]) -> Result<Option<Vec<u8>>, Error>> NodeReader for Tiles<'_, G> {
    type Error = Error;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Error> {
        let place = Place::of(level, index);
        let mut last = self.last.borrow_mut();
        // It may have grown since it was read.
        let kept = last.as_mut().filter(|tile| tile.key == place.key);
        if let Some(node) = kept.and_then(|tile| tile.hash(place.height, place.at)) {
            return Ok(node);
        }
        let mut tile = Tile::open(self.db, place.key, (self.get)(&place.key)?)?;
        let node = tile.node(self.db, &place)?;
        *last = Some(tile);
        Ok(node)
    }
}

/// The last tile of each level that tiles begin at: those which the tree grows in.
pub(super) struct Edge(Vec<Open>);

#[derive(Default)]
struct Open {
    index: u64,
    lowest: Vec<u8>,
    /// Kept once it is whole.
    middle: Vec<u8>,
    /// Since it was last written.
    grown: bool,
}

impl Edge {
    /// The edge of the tree of this size, which is all that is kept.
    ///
    /// # Errors
    /// A tile cannot be read, or is longer or shorter than the tree.
    pub(super) fn read(size: TreeSize, db: &Db) -> Result<Edge, Error> {
        let mut edge = Vec::new();
        for group in 0..=u64::BITS as u8 / LEVELS {
            let nodes = size.0 >> (group * LEVELS);
            let key = keys::tile(group, nodes / WIDTH);
            let lowest = db.get(state_cf::NODES, &key)?.unwrap_or_default();
            if lowest.len() as u64 != nodes % WIDTH * HASH_BYTES as u64 {
                let name = db.name_of(state_cf::NODES, &key);
                return Err(Error::corrupt(format!(
                    "{name} has {} bytes, which is not what a tree of size {size} has there",
                    lowest.len()
                )));
            }
            let mut tile = Tile::open(db, key, Some(&lowest))?;
            let mut middle = Vec::with_capacity(MIDDLE_BYTES);
            let whole = 0..(nodes % WIDTH) as usize >> MIDDLE;
            for hash in whole.filter_map(|at| tile.hash(MIDDLE.into(), at)) {
                middle.extend_from_slice(hash.as_bytes());
            }
            edge.push(Open {
                index: nodes / WIDTH,
                lowest,
                middle,
                grown: false,
            });
        }
        Ok(Edge(edge))
    }

    /// Takes a node that was completed, the next of its level. A tile that it fills is handed out.
    pub(super) fn push(
        &mut self,
        level: u8,
        hash: Hash,
        put: impl FnOnce([u8; keys::TILE_BYTES], &[u8]),
    ) {
        let group = level / LEVELS;
        let Some(open) = self.0.get_mut(usize::from(group)) else {
            return;
        };
        match level % LEVELS {
            0 => {
                open.lowest.extend_from_slice(hash.as_bytes());
                open.grown = true;
            }
            // Completed after the last of those below it, so it is this that fills a tile.
            MIDDLE => open.middle.extend_from_slice(hash.as_bytes()),
            _ => {}
        }
        if open.middle.len() == MIDDLE_BYTES {
            open.lowest.append(&mut open.middle);
            put(keys::tile(group, open.index), &open.lowest);
            *open = Open {
                index: open.index + 1,
                ..Open::default()
            };
        }
    }

    /// Hands out the tiles that have grown and are not full.
    pub(super) fn grown(&mut self, mut put: impl FnMut([u8; keys::TILE_BYTES], &[u8])) {
        for (group, open) in (0..).zip(&mut self.0) {
            if std::mem::take(&mut open.grown) {
                put(keys::tile(group, open.index), &open.lowest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use std::collections::BTreeMap;

    use ledger::merkle::{Frontier, MemoryNodes, prove_inclusion, root};
    use ledger::number::EntryIndex;
    use proptest::prelude::*;

    use super::*;
    use crate::store::db::Resources;

    type Kept = BTreeMap<Vec<u8>, Vec<u8>>;

    fn edge() -> Edge {
        Edge((0..11).map(|_| Open::default()).collect())
    }

    fn leaf(index: u64) -> Hash {
        Hash::of(&[&index.to_be_bytes()])
    }

    /// Appends up to a size, writing what has grown after each `step` leaves.
    fn grow(kept: &mut Kept, edge: &mut Edge, frontier: &mut Frontier, to: u64, step: u64) {
        while frontier.size().0 < to {
            let index = frontier.size().0;
            frontier.append(leaf(index), |level, _, hash| {
                edge.push(level, hash, |key, tile| {
                    kept.insert(key.to_vec(), tile.to_vec());
                });
            });
            if (index + 1).is_multiple_of(step) || index + 1 == to {
                edge.grown(|key, tile| {
                    kept.insert(key.to_vec(), tile.to_vec());
                });
            }
        }
    }

    fn db() -> (tempfile::TempDir, Db) {
        let dir = tempfile::tempdir().unwrap();
        let resources = Resources {
            cache_bytes: 1 << 20,
            write_buffer_bytes: 1 << 20,
            background_bytes_per_s: None,
        };
        let db = Db::open_state(&dir.path().join("state"), resources).unwrap();
        (dir, db)
    }

    /// At every size: roots and paths of all smaller trees are those of a tree kept in memory, and the edge read back goes on alike.
    #[test]
    fn a_tree_in_tiles_is_the_tree() {
        let (_dir, db) = db();
        let (mut kept, mut edge, mut frontier) = (Kept::new(), edge(), Frontier::default());
        let mut plain = MemoryNodes::default();
        for size in [0, 1, 2, 63, 64, 65, 127, 128, 300, 4095, 4096, 4097, 4200] {
            grow(&mut kept, &mut edge, &mut frontier, size, 7);
            while plain.size().0 < size {
                plain.push(leaf(plain.size().0));
            }
            assert_eq!(frontier.root(), plain.root());
            let tiles = Tiles::new(&db, |key| Ok(kept.get(key).cloned()));
            for smaller in (0..=size).rev().step_by(1 + size as usize / 61) {
                let at = TreeSize(smaller);
                assert_eq!(root(at, &tiles).unwrap(), root(at, &plain).unwrap());
                for index in (0..smaller).step_by(1 + smaller as usize / 13) {
                    assert_eq!(
                        prove_inclusion(EntryIndex(index), at, &tiles).unwrap(),
                        prove_inclusion(EntryIndex(index), at, &plain).unwrap()
                    );
                }
            }
            assert_eq!(Frontier::read(TreeSize(size), &tiles).unwrap(), frontier);
        }
        // All but the last tile of a level are full, and no tile is kept of what is not there.
        assert_eq!(kept.len(), 66 + 2 + 1);
        let full = kept.values().filter(|tile| tile.len() == FULL_BYTES);
        assert_eq!(full.count(), 65 + 1);
        // Without the row in the middle, as earlier builds kept them, they are the same tree.
        let tiles = Tiles::new(&db, |key| {
            let kept = kept.get(key).cloned();
            Ok(kept.map(|tile| tile.into_iter().take(64 * HASH_BYTES).collect()))
        });
        for index in [0, 64, 4031, 4199].map(EntryIndex) {
            assert_eq!(
                prove_inclusion(index, TreeSize(4200), &tiles).unwrap(),
                prove_inclusion(index, TreeSize(4200), &plain).unwrap()
            );
        }
    }

    #[test]
    fn the_row_in_the_middle_is_read_and_not_hashed_anew() {
        let (_dir, db) = db();
        let mut kept = vec![7; FULL_BYTES];
        kept.get_mut(64 * HASH_BYTES..).unwrap().fill(9);
        let mut tile = Tile::open(&db, keys::tile(0, 0), Some(kept)).unwrap();
        let middle = Hash([9; 32]);
        for (height, hash) in [
            (2, None),
            (3, Some(middle)),
            (4, Some(node_hash(&middle, &middle))),
        ] {
            let node = tile.node(&db, &Place::of(height, 1)).unwrap();
            assert!(hash.is_none_or(|hash| node == hash) && (height > 2 || node != middle));
        }
    }

    #[test]
    fn the_edge_goes_on_from_what_is_kept() {
        let (_dir, db) = db();
        let (mut kept, mut edge, mut frontier) = (Kept::new(), edge(), Frontier::default());
        grow(&mut kept, &mut edge, &mut frontier, 4170, 1);
        let nodes = db.cf(state_cf::NODES).unwrap();
        for (key, tile) in &kept {
            db.raw().put_cf(nodes, key, tile).unwrap();
        }
        let mut again = Edge::read(TreeSize(4170), &db).unwrap();
        let mut same = kept.clone();
        grow(&mut kept, &mut edge, &mut frontier.clone(), 8300, 5);
        grow(&mut same, &mut again, &mut frontier, 8300, 9);
        assert_eq!(kept, same);
        // Of another size than the tiles are: a state that does not belong together.
        for size in [4169, 4171, 4170 - 64, 4170 + 4096] {
            let error = Edge::read(TreeSize(size), &db).err().unwrap().to_string();
            assert!(
                error.contains("which is not what a tree of size"),
                "{error}"
            );
        }
    }

    #[test]
    fn damaged_tiles_are_told() {
        let (_dir, db) = db();
        let place = Place::of(8, 3);
        let (hashes, longer) = ([7; 64 * HASH_BYTES], [7; 73 * HASH_BYTES]);
        let node = |kept: Option<&[u8]>| Tile::open(&db, place.key, kept)?.node(&db, &place);
        assert!(node(Some(&hashes)).is_ok());
        // Those below: 12 to 15 of tile 0 of level 6.
        assert!(node(Some(&hashes[..16 * HASH_BYTES])).is_ok());
        for (kept, told) in [
            (None, "is missing"),
            (Some(&hashes[..15 * HASH_BYTES]), "does not hold"),
            (Some(&hashes[..16 * HASH_BYTES + 1]), "is no row"),
            (Some(&longer[..65 * HASH_BYTES]), "is no row"),
            (Some(&longer[..FULL_BYTES + HASH_BYTES]), "is no row"),
            (Some(&hashes[..0]), "does not hold"),
        ] {
            let error = node(kept).unwrap_err().to_string();
            assert!(
                error.contains("nodes, tile 0 of level 6") && error.contains(told),
                "{error}"
            );
        }
    }

    proptest! {
        #[test]
        fn siblings_lie_in_one_tile(level in 0u8..63, index: u64) {
            let index = index >> level;
            let (place, sibling) = (Place::of(level, index), Place::of(level, index ^ 1));
            prop_assert_eq!(place.key, sibling.key);
            prop_assert!(place.at < WIDTH as usize >> place.height);
            prop_assert_eq!((place.at ^ 1, place.height), (sibling.at, sibling.height));
        }
    }
}
