// SPDX-License-Identifier: EUPL-1.2
//! Folds in the store: what is ordered, how far it is, and the writing of each step.
//!
//! A fold is ordered by a raft_entry ([`Order`]), so every node folds the same entries. It reads the changes that apply wrote from the size
//! folded last to the size ordered, and writes values, map nodes and [`Progress`] a step at a time, each step in one write: a crash leaves
//! whole steps, and the fold goes on after the last of them. All of it lies in the state, so a raft_snapshot carries a fold half done and
//! whoever installs it goes on too.

use std::ops::ControlFlow;

use ledger::erasure;
use ledger::fold::{Change, CutReader, FoldError, FoldReader, Given, Pass, Step};
use ledger::hash::Hash;
use ledger::number::EntryIndex;
use ledger::retention::{self, Cuts, Terms};
use ledger::state_map::{self, MapError, MapNode, MapPath, MapReader};
use rocksdb::{Direction, IteratorMode, ReadOptions, WriteBatch};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::db::{Db, decode, encode};
use super::keys::{self, state_cf, state_meta};
use super::view::{DbState, View};
use crate::error::{Error, ErrorKind};

pub(crate) mod check;
pub(crate) mod standing;

/// How much a fold does at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Keys held in memory.
    pub(crate) pass_keys: usize,
    /// Keys in one write: other writes wait for it.
    pub(crate) step_keys: usize,
}

/// What was folded last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) version: u64,
    pub(crate) size: u64,
    pub(crate) root: [u8; 32],
}

/// How far the fold under way is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) version: u64,
    /// The last map key written.
    cursor: Option<[u8; 32]>,
    /// Root of the map with what is written.
    root: [u8; 32],
}

/// A fold that was ordered. Kept until it is done here and another one is, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Counts from 1, as state roots do.
    pub(crate) version: u64,
    /// The tree size to be folded.
    pub(crate) size: u64,
    /// Its `state-root` entry, once that is applied.
    pub(crate) stated: Option<Stated>,
}

/// A `state-root` entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stated {
    pub(crate) index: u64,
    pub(crate) root: [u8; 32],
}

/// Where folding stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Folds {
    pub(crate) done: Done,
    /// The `state-root` entry of what is done.
    pub(crate) stated: Option<Stated>,
    /// The order last given.
    pub(crate) ordered: Option<Order>,
    /// The fold after `done` has begun: values and map are those of neither.
    pub(crate) under_way: bool,
}

impl Done {
    pub(crate) const NOTHING: Done = Done {
        version: 0,
        size: 0,
        root: state_map::EMPTY.0,
    };

    pub(crate) fn read(from: &impl Read) -> Result<Done, Error> {
        Ok(read(from, state_meta::FOLDED)?.unwrap_or(Done::NOTHING))
    }
}

impl Progress {
    pub(crate) fn read(from: &impl Read) -> Result<Option<Progress>, Error> {
        read(from, state_meta::FOLDING)
    }
}

impl Order {
    pub(crate) fn read(from: &impl Read, version: u64) -> Result<Option<Order>, Error> {
        read(from, &state_meta::fold_order(version))
    }

    pub(crate) fn put(&self, db: &Db, batch: &mut WriteBatch) -> Result<(), Error> {
        let key = state_meta::fold_order(self.version);
        batch.put_cf(db.cf(state_cf::META)?, key, encode(self)?);
        Ok(())
    }

    /// Whether a tree of this size says no more than this fold: at most its own `state-root` entry came after it.
    pub(crate) fn covers(&self, size: u64) -> bool {
        let only_stated = self.stated.is_some_and(|stated| stated.index == self.size);
        size <= self.size || only_stated && size == self.size + 1
    }

    /// # Errors
    /// `Diverged` if an entry states another root than this node folded.
    pub(crate) fn judge(&self, own_root: &[u8; 32]) -> Result<(), Error> {
        match self.stated {
            Some(stated) if stated.root != *own_root => Err(Error::new(
                ErrorKind::Diverged,
                format!(
                    "state root {} of size {}: entry {} states {}, and this node folded {}",
                    self.version,
                    self.size,
                    stated.index,
                    Hash(stated.root),
                    Hash(*own_root)
                ),
            )),
            _ => Ok(()),
        }
    }
}

impl Folds {
    pub(crate) fn read(from: &impl Read) -> Result<Folds, Error> {
        let done = Done::read(from)?;
        let of_done = Order::read(from, done.version)?;
        let mut ordered = of_done;
        while let Some(next) =
            Order::read(from, ordered.map_or(done.version, |last| last.version) + 1)?
        {
            ordered = Some(next);
        }
        Ok(Folds {
            done,
            stated: of_done.and_then(|order| order.stated),
            ordered,
            under_way: Progress::read(from)?.is_some(),
        })
    }

    /// Version of the state root that was stated last; 0 before the first.
    pub(crate) fn stated_version(&self) -> u64 {
        match self.ordered {
            Some(order) if order.stated.is_some() => order.version,
            Some(order) => order.version - 1,
            None => 0,
        }
    }

    /// The last order, if its `state-root` entry is not applied yet: until it is, there is no next one.
    pub(crate) fn open(&self) -> Option<Order> {
        self.ordered.filter(|order| order.stated.is_none())
    }
}

/// The lowest index of a `state-root` entry whose fold is not done here: whether it speaks the truth this node does not know.
pub(crate) fn first_unfolded(from: &impl Read) -> Result<Option<u64>, Error> {
    let mut version = Done::read(from)?.version + 1;
    while let Some(order) = Order::read(from, version)? {
        if let Some(stated) = order.stated {
            return Ok(Some(stated.index));
        }
        version += 1;
    }
    Ok(None)
}

/// What a fold came to, all but its last record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folded {
    pub(crate) root: Hash,
    /// How many keys it wrote.
    pub(crate) keys: u64,
    /// The cuts that stand, if that changed.
    pub(crate) cuts: Option<Cuts>,
}

/// Folds on from where the store is, all but the last record. None where `between`, asked after each write and often while it reads, broke
/// it off.
///
/// What left its lists goes from the changes when all keys are written: a crash before leaves changes that name lists which they left, all
/// of them at or before the cursor, where no pass looks any more.
pub(crate) fn run(
    db: &Db,
    order: &Order,
    sizes: Sizes,
    mut between: impl FnMut(Between) -> ControlFlow<()>,
) -> Result<Option<Folded>, Error> {
    let done = Done::read(db)?;
    let mut progress = match Progress::read(db)? {
        Some(progress) if progress.version == order.version => progress,
        Some(_) => {
            return Err(Error::corrupt(format!(
                "{}: a fold of another version is under way",
                db.path().display()
            )));
        }
        None => Progress {
            version: order.version,
            cursor: None,
            root: done.root,
        },
    };
    let given = given(db, done.size, order.size)?;
    let reader = DbFold(db);
    let mut keys = 0;
    loop {
        let mut pass = Pass::new(progress.cursor.map(Hash), sizes.pass_keys, &given);
        let fold = (done.size, order.size);
        if feed(db, fold, &given, &mut pass, &mut between)?.is_break() {
            return Ok(None);
        }
        let last = pass.is_last();
        while let Some(step) = pass
            .step(sizes.step_keys, &reader)
            .map_err(|error| failed(db, error))?
        {
            keys += step.values.len() as u64;
            progress.cursor = Some(step.cursor.0);
            progress.root = step.root.0;
            if write(db, &step, &progress, &mut between)?.is_break() {
                return Ok(None);
            }
        }
        if last {
            break;
        }
    }
    let cuts = (!given.is_empty()).then(|| given.standing());
    if let Some(cuts) = &cuts
        && standing::leave(db, &given, cuts, &mut between)?.is_break()
    {
        return Ok(None);
    }
    let root = Hash(progress.root);
    Ok(Some(Folded { root, keys, cuts }))
}

/// The cuts among entries `[from, to)`, and those that stood before.
fn given(db: &Db, from: u64, to: u64) -> Result<Given, Error> {
    let state = DbState::new(db);
    let mut cuts = Vec::new();
    for place in (0..erasure::orders_count(&state)?).rev() {
        let order = erasure::order_at(&state, place)?;
        if order.index.0 < from {
            break;
        }
        cuts.extend(order.cut().filter(|cut| cut.index.0 < to));
    }
    if cuts.is_empty() {
        return Ok(Given::default());
    }
    let mut given = Given::beside(standing::cuts(db)?);
    cuts.into_iter().rev().for_each(|cut| given.add(cut));
    Ok(given)
}

/// Hands a pass all that it is to take in, of a fold of entries `[from, to)`.
fn feed(
    db: &Db,
    (from, to): (u64, u64),
    given: &Given,
    pass: &mut Pass<'_>,
    between: &mut impl FnMut(Between) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Error> {
    let reader = DbFold(db);
    let mut read = 0;
    let mut stop = move || {
        read += 1;
        read % LOOK_PERIOD == 0 && between(Between::Reading).is_break()
    };
    if !given.is_empty() {
        for change in standing::stood(db, from)? {
            let change = change?;
            if !given.reaches(&change) {
                break;
            }
            pass.stood(&change, &reader)
                .map_err(|error| failed(db, error))?;
            if stop() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    for change in changes(db, from, to)? {
        pass.add(&change?, &reader)
            .map_err(|error| failed(db, error))?;
        if stop() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Where a fold asks whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Between {
    /// Changes are read; nothing is written.
    Reading,
    /// A step was written.
    Steps,
}

/// Changes read between two looks at whether to go on.
pub(crate) const LOOK_PERIOD: u64 = 16;

/// One write: a crash leaves all of a step or nothing of it; but for rows of what left its list, where they are many. Of those some may be
/// gone before: the fold that goes on takes the same items out, whose rows are looked for no more.
fn write(
    db: &Db,
    step: &Step,
    progress: &Progress,
    between: &mut impl FnMut(Between) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Error> {
    let (folded, map) = (db.cf(state_cf::FOLDED)?, db.cf(state_cf::MAP)?);
    let mut batch = WriteBatch::default();
    for left in &step.left {
        if standing::delete_rows(db, left, &mut batch, between)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    if !step.left.is_empty() {
        batch.put_cf(db.cf(state_cf::META)?, state_meta::RETIRED, b"");
    }
    for (key, value) in &step.values {
        match value {
            Some(value) => batch.put_cf(folded, key.as_bytes(), value),
            None => batch.delete_cf(folded, key.as_bytes()),
        }
    }
    for (path, node) in &step.nodes {
        match node {
            Some(node) => batch.put_cf(map, path.encode(), node.encode()),
            None => batch.delete_cf(map, path.encode()),
        }
    }
    batch.put_cf(
        db.cf(state_cf::META)?,
        state_meta::FOLDING,
        encode(progress)?,
    );
    db.write(batch, false)?;
    Ok(between(Between::Steps))
}

/// The last record of a fold. Written under the lock of apply, so that a `state-root` entry finds it done or not done.
pub(crate) fn finish(db: &Db, order: &Order, folded: &Folded) -> Result<Done, Error> {
    let done = Done {
        version: order.version,
        size: order.size,
        root: folded.root.0,
    };
    let meta = db.cf(state_cf::META)?;
    let mut batch = WriteBatch::default();
    batch.put_cf(meta, state_meta::FOLDED, encode(&done)?);
    batch.delete_cf(meta, state_meta::FOLDING);
    if let Some(cuts) = &folded.cuts {
        batch.put_cf(meta, state_meta::CUTS, cuts.encode());
    }
    batch.delete_cf(meta, state_meta::fold_order(order.version - 1));
    db.write(batch, false)?;
    Ok(done)
}

/// The changes of entries `[from, to)`, each of them.
fn changes(
    db: &Db,
    from: u64,
    to: u64,
) -> Result<impl Iterator<Item = Result<Change, Error>> + '_, Error> {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options.set_iterate_upper_bound(keys::number(to).to_vec());
    let first = keys::number(from);
    let mode = IteratorMode::From(&first, Direction::Forward);
    let mut stored = db
        .raw()
        .iterator_cf_opt(db.cf(state_cf::CHANGES)?, options, mode);
    Ok((from..to).map(move |index| {
        let key = keys::number(index);
        match stored.next() {
            Some(Ok((found, value))) if *found == key => standing::decode(db, &key, &value),
            Some(Err(error)) => Err(db.read_error(state_cf::CHANGES, &key, error)),
            _ => {
                let name = db.name_of(state_cf::CHANGES, &key);
                Err(Error::corrupt(format!("{name} is missing")))
            }
        }
    }))
}

impl View {
    /// What an entry changed under the state root; none beyond the view, and below what retention keeps.
    ///
    /// # Errors
    /// It cannot be read: the node must stop.
    pub fn change(&self, index: EntryIndex) -> Result<Option<Change>, Error> {
        let mut changes = self.changes(&[index])?;
        Ok(changes.pop().flatten())
    }

    /// The same of many entries at once, in their order.
    ///
    /// # Errors
    /// As [`View::change`].
    pub fn changes(&self, indexes: &[EntryIndex]) -> Result<Vec<Option<Change>>, Error> {
        let db = self.db();
        let keys: Vec<_> = indexes.iter().map(|index| keys::number(index.0)).collect();
        // At this moment, as the entries are read: retention rewrites changes and deletes them.
        let found = self.get_all(state_cf::CHANGES, &keys)?;
        let read = keys.iter().zip(found).map(|(key, found)| {
            let decoded = found?.map(|bytes| standing::decode(db, key, &bytes));
            decoded.transpose()
        });
        self.sound(read.collect())
    }
}

/// What stops a fold, with the store's name.
pub(crate) fn failed(db: &Db, error: FoldError<Error>) -> Error {
    match error {
        FoldError::Read(error) => error,
        FoldError::Map(error) => damaged(db, error),
        FoldError::List(key) => Error::corrupt(format!(
            "{} is no list",
            db.name_of(state_cf::FOLDED, key.as_bytes())
        )),
    }
}

pub(crate) fn damaged(db: &Db, error: MapError<Error>) -> Error {
    match error {
        MapError::Read(error) => error,
        MapError::Damaged(path) => Error::corrupt(format!(
            "{} is not what its parent names",
            db.name_of(state_cf::MAP, &path.encode())
        )),
    }
}

/// Where records are read: the database as it is, or one moment of it.
pub(crate) trait Read {
    fn db(&self) -> &Db;
    fn get(&self, family: &str, key: &[u8]) -> Result<Option<Vec<u8>>, Error>;
}

impl Read for Db {
    fn db(&self) -> &Db {
        self
    }

    fn get(&self, family: &str, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Db::get(self, family, key)
    }
}

impl Read for View {
    fn db(&self) -> &Db {
        View::db(self)
    }

    fn get(&self, family: &str, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        View::get(self, family, key)
    }
}

fn read<T: DeserializeOwned>(from: &impl Read, key: &[u8]) -> Result<Option<T>, Error> {
    let bytes = from.get(state_cf::META, key)?;
    let decoded = bytes.map(|bytes| {
        decode(&bytes).map_err(|error| from.db().decode_error(state_cf::META, key, error))
    });
    decoded.transpose()
}

/// Values and map as they are in the store. Folding alone writes them.
pub(crate) struct DbFold<'a, R>(pub(crate) &'a R);

impl<R: Read> MapReader for DbFold<'_, R> {
    type Error = Error;

    fn node(&self, path: &MapPath) -> Result<Option<MapNode>, Error> {
        let key = path.encode();
        let node = self.0.get(state_cf::MAP, &key)?;
        let decoded = node.map(|bytes| {
            MapNode::decode(&bytes).ok_or_else(|| {
                let name = self.0.db().name_of(state_cf::MAP, &key);
                Error::corrupt(format!("{name} is no node"))
            })
        });
        decoded.transpose()
    }
}

impl<R: Read> FoldReader for DbFold<'_, R> {
    fn value(&self, key: &Hash) -> Result<Option<Vec<u8>>, Error> {
        self.0.get(state_cf::FOLDED, key.as_bytes())
    }
}

impl<R: Read> CutReader for DbFold<'_, R> {
    fn ceased(&self, index: EntryIndex, terms: &Terms) -> Result<Option<u64>, Error> {
        retention::ceased(&DbState::new(self.0.db()), index, terms.entry_type)
    }
}
