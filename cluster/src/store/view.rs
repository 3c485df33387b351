// SPDX-License-Identifier: EUPL-1.2
//! Reading the state: live ([`DbState`], [`db_nodes`]), for whoever writes it, and as [`View`], one moment of it, for everybody else.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use ledger::bytes::{self, sides::Unsettled};
use ledger::entry::StoredEntry;
use ledger::erasure;
use ledger::hash::Hash;
use ledger::id::{InstitutionId, KeyId};
use ledger::merkle::{self, NodeReader};
use ledger::number::{EntryIndex, TreeSize};
use ledger::retention::Cuts;
use ledger::state::{State, StateError, StateKey, registry};
use ledger::tile::{Bundle, Tile, encode_bundle};
use parking_lot::Mutex;
use rocksdb::{
    DB, DBPinnableSlice, DBRawIteratorWithThreadMode, Direction as DbDirection, IteratorMode,
    ReadOptions,
};
use self_cell::self_cell;

use super::applied::Applied;
use super::db::{Db, decode};
use super::fatal::Fatal;
use super::keys::{self, state_cf, state_meta};
use super::packing;
use super::tiles::Tiles;
use crate::error::Error;
use crate::face::Published;
use crate::publish::quorum::CheckpointKeys;

impl From<StateError> for Error {
    fn from(error: StateError) -> Error {
        Error::with_source(
            crate::error::ErrorKind::Corrupt,
            "the ledger's state cannot be used",
            error,
        )
    }
}

/// The state as it is at each read.
pub(crate) struct DbState<'a>(&'a Db);

/// The same for whoever alone applies entries: it does not change between two reads, and is that of a tree of this size. While some are judged that are
/// not written yet, the size is already theirs: what they change lies over it ([`super::known::Known`]), and nobody asks for checkpoint keys before
/// it is written.
pub(super) struct AppliedState<'a> {
    pub(super) db: &'a Db,
    pub(super) size: u64,
}

impl AppliedState<'_> {
    /// As [`View::checkpoint_keys`].
    pub(super) fn checkpoint_keys(&self) -> Result<Arc<CheckpointKeys>, Error> {
        let read = || CheckpointKeys::read(self);
        self.db.registry.checkpoint_keys(self.size, read)
    }
}

impl State for AppliedState<'_> {
    type Error = Error;

    fn get(&self, key: &StateKey) -> Result<Option<Vec<u8>>, Error> {
        let read = || DbState(self.db).get(key);
        self.db.registry.value(self.size, key, read)
    }
}

impl<'a> DbState<'a> {
    pub(crate) fn new(db: &'a Db) -> DbState<'a> {
        DbState(db)
    }

    /// The values under many keys, in their order.
    ///
    /// # Errors
    /// They cannot be read.
    pub(super) fn values_of(&self, keys: &[StateKey]) -> Result<Values, Error> {
        values(self.0, keys, &ReadOptions::default())
    }
}

/// Values of the state, none where there is none.
pub(crate) type Values = Vec<Option<Vec<u8>>>;

fn values(db: &Db, keys: &[StateKey], options: &ReadOptions) -> Result<Values, Error> {
    let keys: Vec<Vec<u8>> = keys.iter().map(StateKey::encode).collect();
    let found = db.get_all(state_cf::STATE, &keys, options)?;
    found
        .map(|found| Ok(found?.map(|value| value.to_vec())))
        .collect()
}

impl State for DbState<'_> {
    type Error = Error;

    fn get(&self, key: &StateKey) -> Result<Option<Vec<u8>>, Error> {
        self.0.get(state_cf::STATE, &key.encode())
    }
}

/// The tree's nodes. They never change, so no moment need be pinned.
pub(crate) fn db_nodes(db: &Db) -> impl NodeReader<Error = Error> {
    Tiles::new(db, |key| db.get(state_cf::NODES, key))
}

/// An entry as stored, live.
pub(crate) fn read_entry(db: &Db, index: EntryIndex) -> Result<Option<StoredEntry>, Error> {
    let key = keys::number(index.0);
    decode_entry(db, &key, db.get(state_cf::BODIES, &key)?.as_deref())
}

pub(super) fn decode_entry(
    db: &Db,
    key: &[u8],
    value: Option<&[u8]>,
) -> Result<Option<StoredEntry>, Error> {
    value
        .map(|bytes| {
            packing::unpack(bytes).map_err(|why| {
                let name = db.name_of(state_cf::BODIES, key);
                Error::corrupt(format!("decode {name}: {why}"))
            })
        })
        .transpose()
}

/// The published checkpoint of the greatest size, live.
pub(crate) fn newest_published(db: &Db) -> Result<Option<Published>, Error> {
    let mut stored = db
        .raw()
        .iterator_cf(db.cf(state_cf::PUBLISHED)?, IteratorMode::End);
    published_item(db, stored.next())
}

type Item = Result<(Box<[u8]>, Box<[u8]>), rocksdb::Error>;

fn published_item(db: &Db, item: Option<Item>) -> Result<Option<Published>, Error> {
    let Some(item) = item else { return Ok(None) };
    let (key, value) = item.map_err(|error| db.read_error(state_cf::PUBLISHED, b"", error))?;
    decode_published(db, &key, &value).map(Some)
}

fn decode_published(db: &Db, key: &[u8], value: &[u8]) -> Result<Published, Error> {
    Published::decode(value)
        .filter(|published| keys::decode_number(key) == Some(published.size.0))
        .ok_or_else(|| {
            Error::corrupt(format!(
                "{} is no published checkpoint",
                db.name_of(state_cf::PUBLISHED, key)
            ))
        })
}

type DbSnapshot<'a> = rocksdb::Snapshot<'a>;

self_cell!(
    struct Pinned {
        owner: Arc<Db>,
        #[covariant]
        dependent: DbSnapshot,
    }
);

/// One moment of the ledger, as this node has it: what is applied, all of it and nothing later. Cheap to clone; hold it no longer than a
/// request takes, since RocksDB keeps what it sees.
#[derive(Clone)]
pub struct View(Arc<Inner>);

struct Inner {
    pinned: Pinned,
    applied: Applied,
    /// The cuts that stand, read when the first entry is.
    cuts: OnceLock<Arc<Cuts>>,
    /// Whose the keys are that were asked for: many entries are signed with few.
    signers: Mutex<BTreeMap<KeyId, Option<InstitutionId>>>,
    /// Of the node that damage stops; none where whoever reads sees to it.
    fatal: Option<Fatal>,
}

/// Which way [`View::rows`] goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Oldest first.
    Up,
    /// Newest first.
    Down,
}

impl View {
    /// For whoever sees to what its errors come to.
    pub(crate) fn new(db: Arc<Db>) -> Result<View, Error> {
        View::of(db, None)
    }

    /// Of a node that runs: damage that a read of this finds stops it.
    pub(crate) fn guarded(db: Arc<Db>, fatal: Fatal) -> Result<View, Error> {
        View::of(db, Some(fatal))
    }

    fn of(db: Arc<Db>, fatal: Option<Fatal>) -> Result<View, Error> {
        let pinned = Pinned::new(db, |db| db.raw().snapshot());
        let applied = {
            let db = pinned.borrow_owner();
            let bytes = get(&pinned, state_cf::META, state_meta::APPLIED)?;
            let decoded = bytes.map(|bytes| {
                decode(&bytes)
                    .map_err(|error| db.decode_error(state_cf::META, state_meta::APPLIED, error))
            });
            decoded.transpose()?.unwrap_or_else(Applied::nothing)
        };
        Ok(View(Arc::new(Inner {
            pinned,
            applied,
            cuts: OnceLock::new(),
            signers: Mutex::default(),
            fatal,
        })))
    }

    /// What a read of this came to. Damage is never the error of one answer alone: it stops the node.
    pub(crate) fn sound<T>(&self, read: Result<T, Error>) -> Result<T, Error> {
        match &self.0.fatal {
            Some(fatal) => fatal.stop_if_damaged(read),
            None => read,
        }
    }

    pub(crate) fn db(&self) -> &Db {
        self.0.pinned.borrow_owner()
    }

    pub(crate) fn get(&self, family: &str, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.sound(get(&self.0.pinned, family, key))
    }

    /// The values under many keys of a family, as [`Db::get_all`] gives them.
    pub(crate) fn get_all<'a, K: AsRef<[u8]>>(
        &'a self,
        family: &'a str,
        keys: &'a [K],
    ) -> Result<impl Iterator<Item = Result<Option<DBPinnableSlice<'a>>, Error>>, Error> {
        let found = self.db().get_all(family, keys, &self.pinned_reads())?;
        Ok(found.map(move |found| self.sound(found)))
    }

    /// The values of the state under many keys, in their order.
    ///
    /// # Errors
    /// They cannot be read.
    pub(crate) fn values_of(&self, keys: &[StateKey]) -> Result<Values, Error> {
        self.sound(values(self.db(), keys, &self.pinned_reads()))
    }

    /// For reads of the database itself, as of this moment.
    fn pinned_reads(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(self.0.pinned.borrow_dependent());
        options
    }

    pub(crate) fn iterate<'a>(
        &'a self,
        family: &str,
        mode: IteratorMode<'_>,
        bounds: Option<Range<Vec<u8>>>,
    ) -> Result<impl Iterator<Item = Item> + 'a, Error> {
        let db = self.db();
        let mut options = ReadOptions::default();
        // No filter is looked into: whoever iterates asks for what is there, and a filter of a large table is megabytes, of which a walk over a
        // list would read all to save a block.
        options.set_total_order_seek(true);
        if let Some(bounds) = bounds {
            options.set_iterate_range(bounds);
        }
        Ok(self
            .0
            .pinned
            .borrow_dependent()
            .iterator_cf_opt(db.cf(family)?, options, mode))
    }

    pub(crate) fn raw_iterate<'a>(
        &'a self,
        family: &str,
        options: ReadOptions,
    ) -> Result<DBRawIteratorWithThreadMode<'a, DB>, Error> {
        let family = self.db().cf(family)?;
        let pinned = self.0.pinned.borrow_dependent();
        Ok(pinned.raw_iterator_cf_opt(family, options))
    }

    pub(crate) fn applied(&self) -> &Applied {
        &self.0.applied
    }

    /// Number of entries in it.
    pub fn size(&self) -> TreeSize {
        TreeSize(self.0.applied.tree_size)
    }

    /// Root of the whole tree in it.
    pub fn root(&self) -> Hash {
        Hash(self.0.applied.root)
    }

    /// Whose key it is, if it was ever registered.
    ///
    /// # Errors
    /// The state cannot be read, or holds what is no key.
    pub fn signer(&self, key: &KeyId) -> Result<Option<InstitutionId>, Error> {
        if let Some(known) = self.0.signers.lock().get(key) {
            return Ok(known.clone());
        }
        let terms = self.sound(registry::key_terms(self, key))?;
        let signer = terms.map(|terms| terms.institution);
        self.0.signers.lock().insert(*key, signer.clone());
        Ok(signer)
    }

    /// The keys that checkpoints are signed with. They were read before unless the registry changed.
    ///
    /// # Errors
    /// The state cannot be read, or holds what is no such key.
    pub(crate) fn checkpoint_keys(&self) -> Result<Arc<CheckpointKeys>, Error> {
        let read = || CheckpointKeys::read(self);
        self.sound(self.db().registry.checkpoint_keys(self.size().0, read))
    }

    /// The cuts that stand.
    pub(super) fn cuts(&self) -> Result<&Arc<Cuts>, Error> {
        if let Some(cuts) = self.0.cuts.get() {
            return Ok(cuts);
        }
        let listed = self.get(state_cf::STATE, &StateKey::cuts().encode())?;
        let cuts = self.sound(self.db().cuts(listed, || erasure::cuts(self)))?;
        Ok(self.0.cuts.get_or_init(|| cuts))
    }

    /// When an entry was accepted, milliseconds since 1970.
    ///
    /// # Errors
    /// As [`View::entry`].
    pub fn accepted_at(&self, index: EntryIndex) -> Result<Option<u64>, Error> {
        Ok(self.stored(index)?.map(|entry| entry.meta.accepted_at_ms))
    }

    /// The first index accepted at that time or later; the size if there is none. Times never fall, so this is a binary search.
    ///
    /// # Errors
    /// As [`View::entry`].
    pub fn index_at_time(&self, time_ms: u64) -> Result<EntryIndex, Error> {
        let (mut low, mut high) = (0, self.size().0);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.accepted_at(EntryIndex(middle))? {
                Some(accepted_at_ms) if accepted_at_ms < time_ms => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(EntryIndex(low))
    }

    /// The entries below an index whose exchange is not settled, newest first, at most `limit`.
    ///
    /// # Errors
    /// The state cannot be read, or holds what is no such value.
    pub fn unsettled(
        &self,
        before: u64,
        limit: usize,
    ) -> Result<Vec<(EntryIndex, Unsettled)>, Error> {
        let (first, last) = (
            StateKey::unsettled(EntryIndex(0)).encode(),
            StateKey::unsettled(EntryIndex(before)).encode(),
        );
        if before == 0 {
            return Ok(Vec::new());
        }
        let items = self.iterate(
            state_cf::STATE,
            IteratorMode::End,
            Some(first.clone()..last),
        )?;
        let unsettled = items.take(limit).map(|item| {
            let (key, value) =
                item.map_err(|error| self.db().read_error(state_cf::STATE, &first, error))?;
            StateKey::decode(&key)
                .and_then(|key| key.unsettled_index())
                .zip(Unsettled::decode(&value))
                .ok_or_else(|| {
                    Error::corrupt(format!(
                        "{} is no unsettled exchange",
                        self.db().name_of(state_cf::STATE, &key)
                    ))
                })
        });
        self.sound(unsettled.collect())
    }

    /// The published checkpoint of the greatest size in this view.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn newest_published(&self) -> Result<Option<Published>, Error> {
        let mut stored = self.iterate(state_cf::PUBLISHED, IteratorMode::End, None)?;
        self.sound(published_item(self.db(), stored.next()))
    }

    /// The published checkpoint of exactly this size.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn published(&self, size: TreeSize) -> Result<Option<Published>, Error> {
        let key = keys::number(size.0);
        let value = self.get(state_cf::PUBLISHED, &key)?;
        let published = value.map(|value| decode_published(self.db(), &key, &value));
        self.sound(published.transpose())
    }

    /// The first published checkpoint that holds an entry. It stays the first, so an entry's receipt stays the same.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn first_published_after(&self, index: EntryIndex) -> Result<Option<Published>, Error> {
        self.checkpoints()?.first_after(index)
    }

    /// For whoever asks for many.
    pub(super) fn checkpoints(&self) -> Result<Checkpoints<'_>, Error> {
        let published = self.raw_iterate(state_cf::PUBLISHED, ReadOptions::default())?;
        Ok(Checkpoints {
            view: self,
            published,
        })
    }

    /// Published checkpoints of a greater size than this, oldest first, at most `limit`.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn published_after(&self, size: TreeSize, limit: usize) -> Result<Vec<Published>, Error> {
        let from = keys::number(size.0.saturating_add(1));
        let items = self.iterate(
            state_cf::PUBLISHED,
            IteratorMode::From(&from, DbDirection::Forward),
            None,
        )?;
        let published = items
            .take(limit)
            .filter_map(|item| published_item(self.db(), Some(item)).transpose());
        self.sound(published.collect())
    }

    /// The bytes of a tile, none if the view does not reach it.
    ///
    /// # Errors
    /// A node of the tree cannot be read.
    pub fn tile(&self, tile: &Tile) -> Result<Option<Vec<u8>>, Error> {
        if !tile.within(self.size()) {
            return Ok(None);
        }
        self.sound(tile.read(&self.nodes()).map(Some))
    }

    /// The bytes of an entry bundle: leaves, which say nothing of what they commit to. None if the view does not reach it.
    ///
    /// # Errors
    /// An entry cannot be read.
    pub fn bundle(&self, bundle: &Bundle) -> Result<Option<Vec<u8>>, Error> {
        if !bundle.within(self.size()) {
            return Ok(None);
        }
        let first = bundle.index * u64::from(ledger::tile::WIDTH_FULL);
        let mut leaves = Vec::with_capacity(usize::from(bundle.width));
        for index in first..first + u64::from(bundle.width) {
            let Some(entry) = self.stored(EntryIndex(index))? else {
                return Ok(None);
            };
            leaves.push(entry.leaf());
        }
        let encoded = encode_bundle(leaves.iter().map(|leaf: &bytes::Leaf| leaf.as_slice()));
        encoded
            .map(Some)
            .map_err(|_| Error::corrupt("a leaf is longer than a bundle allows"))
    }

    /// Root of the tree at an earlier size; none beyond this view.
    ///
    /// # Errors
    /// A node of the tree cannot be read.
    pub fn root_at(&self, size: TreeSize) -> Result<Option<Hash>, Error> {
        if size > self.size() {
            return Ok(None);
        }
        merkle::root(size, self).map(Some)
    }

    /// For whoever reads several nodes.
    fn nodes(&self) -> impl NodeReader<Error = Error> {
        Tiles::new(self.db(), |key| self.get(state_cf::NODES, key))
    }
}

/// The published checkpoints of a view, through one iterator: to make one costs more than to move it.
pub(super) struct Checkpoints<'v> {
    view: &'v View,
    published: DBRawIteratorWithThreadMode<'v, DB>,
}

impl Checkpoints<'_> {
    /// As [`View::first_published_after`].
    pub(super) fn first_after(&mut self, index: EntryIndex) -> Result<Option<Published>, Error> {
        self.published.seek(keys::number(index.size().0));
        let db = self.view.db();
        self.view.sound(match self.published.item() {
            Some((key, value)) => decode_published(db, key, value).map(Some),
            // At its end, or broken off.
            None => match self.published.status() {
                Ok(()) => Ok(None),
                Err(error) => Err(db.read_error(state_cf::PUBLISHED, b"", error)),
            },
        })
    }
}

fn get(pinned: &Pinned, family: &str, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let db = pinned.borrow_owner();
    pinned
        .borrow_dependent()
        .get_cf(db.cf(family)?, key)
        .map_err(|error| db.read_error(family, key, error))
}

impl State for View {
    type Error = Error;

    fn get(&self, key: &StateKey) -> Result<Option<Vec<u8>>, Error> {
        let read = || View::get(self, state_cf::STATE, &key.encode());
        self.db().registry.value(self.size().0, key, read)
    }
}

impl NodeReader for View {
    type Error = Error;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Error> {
        self.sound(self.nodes().node(level, index))
    }
}
