// SPDX-License-Identifier: EUPL-1.2
//! Takes plaintext out of this node's files.
//!
//! RocksDB never overwrites: what is replaced stays in the old table and blob files until a compaction leaves it out, in the Raft log's WAL
//! until a flush, and for as long as a db_snapshot or an iterator can still see it. So each step here ends only when the files that held the
//! plaintext are gone from the disk; where something still holds them it says so, and is tried again. Every step may be repeated.
//!
//! All this may take hours and runs on threads that nobody can take back, so it asks a [`Halt`] for each entry and before each wait: after the first
//! error of a node nothing more is written.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use ledger::admission::{Row, RowKind};
use ledger::entry::StoredEntry;
use ledger::erasure::{Carried, Order, Scope};
use ledger::merkle::NodeReader;
use ledger::number::EntryIndex;
use ledger::retention;
use ledger::state::StateKey;
use rocksdb::{Direction, IteratorMode, ReadOptions, WriteBatch};
use serde::{Deserialize, Serialize};

use super::db::{BLOB_BYTES_MIN, BLOB_FILE_BYTES, Db, encode};
use super::fold::standing;
use super::keys::{self, state_cf, state_meta};
use super::packing::Packer;
use super::rows::{self, Run};
use super::view::{DbState, db_nodes, read_entry};
use crate::error::Error;
use crate::tasks::Halt;

mod files;

pub(crate) use self::files::{alone, compact, flush};
use self::files::{renew_manifest, unseen_before};

/// How many orders, from the first on, a database holds nothing of any more. It stands in the database that it speaks of: a raft_snapshot
/// brings its own, and a copy restored from a backup that of its day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) orders: u64,
}

/// What an order came to on this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) done: u64,
    pub(crate) spared: u64,
    /// The last index looked at.
    pub(crate) through: u64,
}

/// Entries read, and written, at a time.
const CHUNK: usize = 256;
/// Up to so many rows are compacted each by itself; more of them by their kinds.
const ROWS_EACH_MAX: usize = 512;
/// A blob file holds at most so many entries: as far from an erased one may a neighbour be that keeps its file alive.
const NEIGHBOURS: u64 = BLOB_FILE_BYTES / BLOB_BYTES_MIN;
/// How far a state folder is erased.
pub(crate) fn progress(db: &Db) -> Result<Progress, Error> {
    let stored = db.get_decoded(state_cf::META, state_meta::ERASED)?;
    Ok(stored.unwrap_or_default())
}

/// Carries orders out on a state folder. Whether nothing of them is left in its files; else it is to be called again.
///
/// Rows that repeat a body go first, for they can only be found while it is there. A crash anywhere leaves the progress where it was, and a mark
/// if rows were deleted: the next call finds bodies of which some are rewritten, and carrying out an order twice changes nothing. A cut comes here once it is folded.
///
/// # Errors
/// The state cannot be read or written, an entry is not what its leaf commits to, or the node ends.
pub(crate) fn carry_out(
    db: &Db,
    orders: &[Order],
    done: Progress,
    halt: &Halt,
) -> Result<bool, Error> {
    // Before this call, which finds no row that is deleted already, but may find it in the files.
    let left = is_marked(db, state_meta::FORGETTING)?;
    let mut rows = Forgotten::default();
    for order in orders {
        forget_rows(db, order, &mut rows, halt)?;
    }
    let is_cut = orders.iter().any(|order| order.cut().is_some());
    let forgot = left || !rows.is_empty();
    if forgot && is_cut {
        // Then all rows are compacted there. A crash before this leaves the mark above.
        mark(db, state_meta::RETIRED)?;
    } else if forgot && !leave(db, state_cf::ROWS, rows.ranges(left), halt)? {
        return Ok(false);
    }
    let rewritten = match is_cut {
        true => rewrite_all(db, orders, halt)?,
        false => rewrite_named(db, orders, halt)?,
    };
    if !rewritten {
        return Ok(false);
    }
    if (is_cut || forgot) && !renew_manifest(db, halt)? {
        return Ok(false);
    }
    halt.check()?;
    let (mut batch, meta) = (WriteBatch::default(), db.cf(state_cf::META)?);
    batch.put_cf(meta, state_meta::ERASED, encode(&done)?);
    batch.delete_cf(meta, state_meta::FORGETTING);
    // On disk with the next flush only: a crash may take it back, and then all of this is done once more. What was taken out does not come
    // back with it: it was flushed above, and the Raft log is applied from there.
    db.write(batch, false)?;
    Ok(true)
}

fn is_marked(db: &Db, mark: &[u8]) -> Result<bool, Error> {
    Ok(db.get(state_cf::META, mark)?.is_some())
}

fn mark(db: &Db, mark: &[u8]) -> Result<(), Error> {
    let mut batch = WriteBatch::default();
    batch.put_cf(db.cf(state_cf::META)?, mark, b"");
    db.write(batch, false)
}

/// Makes what was just replaced under some ranges of keys leave the files.
fn leave(
    db: &Db,
    family: &str,
    ranges: Vec<(Vec<u8>, Vec<u8>)>,
    halt: &Halt,
) -> Result<bool, Error> {
    let written = db.raw().latest_sequence_number();
    if !flush(db, halt)? || !unseen_before(db, written, halt)? {
        return Ok(false);
    }
    for (from, to) in ranges {
        if !compact(db, family, Some((&from, &to)), halt)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Counts what an order came to, once it is carried out.
///
/// # Errors
/// The state cannot be read, or the node ends.
pub(crate) fn tally(db: &Db, order: &Order, halt: &Halt) -> Result<Tally, Error> {
    let mut tally = Tally {
        through: named(&order.scope).last().unwrap_or_default(),
        ..Tally::default()
    };
    each(db, order, halt, |_, carried, _| {
        match carried {
            Carried::Now(_) | Carried::Before => tally.done += 1,
            Carried::Spared => tally.spared += 1,
        }
        Ok(())
    })?;
    Ok(tally)
}

/// The indexes that an order is about, ascending.
fn named(scope: &Scope) -> Box<dyn DoubleEndedIterator<Item = u64> + '_> {
    match scope {
        Scope::Entries(entries) | Scope::Subject(entries, _) => Box::new(entries.iter().copied()),
        Scope::Before(before, _) => Box::new(0..*before),
    }
}

/// Carries an order out in memory on every entry that it is about, and hands over what came of it.
fn each(
    db: &Db,
    order: &Order,
    halt: &Halt,
    mut tell: impl FnMut(u64, Carried, &StoredEntry) -> Result<(), Error>,
) -> Result<(), Error> {
    for index in named(&order.scope) {
        halt.check()?;
        let (mut stored, ceased_ms) = read(db, index)?;
        let carried = carry(order, index, &mut stored, ceased_ms)?;
        tell(index, carried, &stored)?;
    }
    Ok(())
}

/// An entry, and since when what it says holds no more.
fn read(db: &Db, index: u64) -> Result<(StoredEntry, Option<u64>), Error> {
    let at = EntryIndex(index);
    let stored =
        read_entry(db, at)?.ok_or_else(|| Error::corrupt(format!("entry {index} is missing")))?;
    // What is damaged must not be made to look erased.
    if stored.leaf_hash() != db_nodes(db).node(0, index)? {
        return Err(Error::corrupt(format!(
            "entry {index} is not what its leaf commits to"
        )));
    }
    let ceased_ms = retention::ceased(&DbState::new(db), at, stored.meta.entry_type)?;
    Ok((stored, ceased_ms))
}

fn carry(
    order: &Order,
    index: u64,
    stored: &mut StoredEntry,
    ceased_ms: Option<u64>,
) -> Result<Carried, Error> {
    order
        .carry_out(EntryIndex(index), stored, ceased_ms)
        .map_err(|refused| Error::corrupt(format!("entry {index} in the store: {refused}")))
}

/// Deletes the rows that repeat what the bodies say. With the first of them stands a mark that they are in the files still: who comes here once
/// more does not find them.
fn forget_rows(
    db: &Db,
    order: &Order,
    forgotten: &mut Forgotten,
    halt: &Halt,
) -> Result<(), Error> {
    let (mut batch, meta) = (WriteBatch::default(), db.cf(state_cf::META)?);
    // By list, since one record may hold many of them.
    let mut gone: BTreeMap<Row, BTreeSet<u64>> = BTreeMap::new();
    let mut write = |gone: BTreeMap<Row, BTreeSet<u64>>, mut batch: WriteBatch| {
        for (row, indexes) in gone {
            rows::remove(db, &row, &indexes, &mut batch, |key| forgotten.take(key))?;
        }
        if !forgotten.is_empty() {
            batch.put_cf(meta, state_meta::FORGETTING, b"");
        }
        db.write(batch, false)
    };
    let mut count = 0;
    each(db, order, halt, |index, carried, _| {
        if let Carried::Now(told) = carried {
            if let Some(exchange) = told.exchange {
                remember_twins(db, &exchange, index, &mut batch)?;
            }
            for row in told.rows {
                gone.entry(row).or_default().insert(index);
                count += 1;
            }
        }
        if batch.len() + count >= CHUNK {
            count = 0;
            write(std::mem::take(&mut gone), std::mem::take(&mut batch))?;
        }
        Ok(())
    })?;
    write(gone, batch)
}

/// Notes what else was told of an exchange: the body of this entry is what says that they belong together.
fn remember_twins(db: &Db, of: &Row, erased: u64, batch: &mut WriteBatch) -> Result<(), Error> {
    let family = db.cf(state_cf::ROWS)?;
    let prefix = keys::row_prefix(of.kind as u8, &of.of);
    let twin = Row::twin(EntryIndex(erased));
    for item in db.raw().prefix_iterator_cf(family, prefix) {
        let (key, _) = item.map_err(|error| db.read_error(state_cf::ROWS, &prefix, error))?;
        if !key.starts_with(&prefix) {
            break;
        }
        // Rows of exchanges stand each by itself.
        let row = keys::decode_row(&key).filter(|(_, index)| *index != erased);
        if let Some((_, index)) = row {
            batch.put_cf(family, keys::row(twin.kind as u8, &twin.of, index), b"");
            metrics::counter!("visto_erasure_twins_total").increment(1);
        }
    }
    Ok(())
}

/// Writes anew what orders name, and makes the old bodies leave the files.
///
/// Each stretch is written to a table file of its own. Put in as all else is, it would be flushed together with the newest entries, and RocksDB
/// compacts such a file with everything that lies between.
fn rewrite_named(db: &Db, orders: &[Order], halt: &Halt) -> Result<bool, Error> {
    if !flush(db, halt)? {
        return Ok(false);
    }
    // An entry that several of them name is carried out on in their order.
    let mut by_index: BTreeMap<u64, Vec<&Order>> = BTreeMap::new();
    for order in orders {
        for index in named(&order.scope) {
            by_index.entry(index).or_default().push(order);
        }
    }
    let mut packer = Packer::new()?;
    for stretch in stretches(orders) {
        let there = by_index.range(stretch.clone());
        let bodies = there.filter_map(|(index, orders)| {
            let value = rewritten(db, *index, orders, &mut packer, halt).transpose()?;
            Some(value.map(|value| (keys::number(*index), value)))
        });
        db.write_apart(state_cf::BODIES, bodies)?;
        let written = db.raw().latest_sequence_number();
        let (from, to) = keys_of(&stretch);
        if !unseen_before(db, written, halt)?
            || !compact(db, state_cf::BODIES, Some((&from, &to)), halt)?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What is left of an entry that orders name; none if they leave it as it is.
fn rewritten(
    db: &Db,
    index: u64,
    orders: &[&Order],
    packer: &mut Packer,
    halt: &Halt,
) -> Result<Option<Vec<u8>>, Error> {
    halt.check()?;
    let (mut stored, ceased_ms) = read(db, index)?;
    let mut taken = false;
    for order in orders {
        let carried = carry(order, index, &mut stored, ceased_ms)?;
        taken |= matches!(carried, Carried::Now(_));
    }
    taken.then(|| packer.pack(&stored)).transpose()
}

/// The same where there is a cut among the orders, and what it takes beside the bodies: it reaches from the first entry on.
fn rewrite_all(db: &Db, orders: &[Order], halt: &Halt) -> Result<bool, Error> {
    for order in orders {
        rewrite(db, order, halt)?;
    }
    if !retire(db, halt)? {
        return Ok(false);
    }
    let ranges = stretches(orders).iter().map(keys_of).collect();
    leave(db, state_cf::BODIES, ranges, halt)
}

/// Writes the bodies anew, without what was ordered away.
pub(crate) fn rewrite(db: &Db, order: &Order, halt: &Halt) -> Result<(), Error> {
    let (mut batch, mut packer) = (WriteBatch::default(), Packer::new()?);
    let family = db.cf(state_cf::BODIES)?;
    each(db, order, halt, |index, carried, stored| {
        if matches!(carried, Carried::Now(_)) {
            batch.put_cf(family, keys::number(index), packer.pack(stored)?);
        }
        if batch.len() >= CHUNK {
            db.write(std::mem::take(&mut batch), false)?;
        }
        Ok(())
    })?;
    db.write(batch, false)
}

/// Deletes what is kept of entries that cuts took and every list has left: their changes, then the rows by which they were searched for.
/// Then it takes them out of the files, and what the fold took out of lists: where nothing was deleted since the last time, nothing is looked
/// through. Whether that is done.
///
/// The changes first: a row whose entry has none is one of these, whatever crash came between.
fn retire(db: &Db, halt: &Halt) -> Result<bool, Error> {
    // As far as any that is folded: a cut that reaches less far may free the last list of what another one took.
    let before = standing::cuts(db)?.reach_max();
    standing::forget(db, before, halt)?;
    let meta = db.cf(state_cf::META)?;
    if !is_marked(db, state_meta::RETIRED)? && !is_marked(db, state_meta::RETIRING)? {
        return Ok(true);
    }
    // A fold that goes on meanwhile marks what it deletes after this anew.
    let mut batch = WriteBatch::default();
    batch.put_cf(meta, state_meta::RETIRING, b"");
    batch.delete_cf(meta, state_meta::RETIRED);
    db.write(batch, false)?;
    delete_rows_of_gone(db, before, halt)?;
    delete_unsettled_of_gone(db, before, halt)?;
    let all_rows = (Vec::new(), vec![u8::MAX]);
    let changes = (Vec::new(), keys::number(before).to_vec());
    if !leave(db, state_cf::ROWS, vec![all_rows], halt)?
        || !leave(db, state_cf::CHANGES, vec![changes], halt)?
    {
        return Ok(false);
    }
    let mut batch = WriteBatch::default();
    batch.delete_cf(meta, state_meta::RETIRING);
    db.write(batch, false)?;
    Ok(true)
}

/// Whether the change of an entry is gone.
fn is_gone(db: &Db, index: u64) -> Result<bool, Error> {
    let index = keys::number(index);
    let change = db.raw().get_pinned_cf(db.cf(state_cf::CHANGES)?, index);
    let change = change.map_err(|error| db.read_error(state_cf::CHANGES, &index, error))?;
    Ok(change.is_none())
}

/// Deletes the rows of entries below an index whose change is gone.
fn delete_rows_of_gone(db: &Db, before: u64, halt: &Halt) -> Result<(), Error> {
    let mut batch = WriteBatch::default();
    for item in walk(db, state_cf::ROWS, b"", halt)? {
        let (key, value) = item?;
        let run = Run::read(db, &key, &value)?;
        let mut gone = BTreeSet::new();
        for index in run.indexes().take_while(|index| *index < before) {
            if is_gone(db, index)? {
                gone.insert(index);
            }
        }
        if !gone.is_empty() {
            run.keep(db, |index| !gone.contains(&index), &mut batch)?;
        }
        if batch.len() >= CHUNK {
            db.write(std::mem::take(&mut batch), false)?;
        }
    }
    db.write(batch, false)
}

/// The same of what says that its exchange is not settled, which is told of an entry for as long as it stands, however old it is.
fn delete_unsettled_of_gone(db: &Db, before: u64, halt: &Halt) -> Result<(), Error> {
    let mut batch = WriteBatch::default();
    let family = db.cf(state_cf::STATE)?;
    let first = StateKey::unsettled(EntryIndex(0)).encode();
    for item in walk(db, state_cf::STATE, &first, halt)? {
        let (key, _) = item?;
        let index = StateKey::decode(&key).and_then(|key| key.unsettled_index());
        let Some(index) = index.filter(|index| index.0 < before) else {
            break;
        };
        if is_gone(db, index.0)? {
            batch.delete_cf(family, &key);
        }
        if batch.len() >= CHUNK {
            db.write(std::mem::take(&mut batch), false)?;
        }
    }
    db.write(batch, false)
}

type Record = (Box<[u8]>, Box<[u8]>);

/// The records of a family from a key on, past the cache, until the node ends.
fn walk<'d>(
    db: &'d Db,
    family: &'d str,
    from: &'d [u8],
    halt: &'d Halt,
) -> Result<impl Iterator<Item = Result<Record, Error>> + 'd, Error> {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options.set_total_order_seek(true);
    let mode = IteratorMode::From(from, Direction::Forward);
    let records = db.raw().iterator_cf_opt(db.cf(family)?, options, mode);
    Ok(records.map(move |item| {
        halt.check()?;
        item.map_err(|error| db.read_error(family, from, error))
    }))
}

/// The stretches of indexes whose table and blob files may hold what was ordered away, apart from each other.
fn stretches(orders: &[Order]) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    let around = |index: u64| index.saturating_sub(NEIGHBOURS)..index.saturating_add(NEIGHBOURS);
    for order in orders {
        match &order.scope {
            Scope::Entries(entries) | Scope::Subject(entries, _) => {
                ranges.extend(entries.iter().map(|index| around(*index)));
            }
            Scope::Before(before, _) => ranges.push(0..around(*before).end),
        }
    }
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

fn keys_of(stretch: &Range<u64>) -> (Vec<u8>, Vec<u8>) {
    let key = |index| keys::number(index).to_vec();
    (key(stretch.start), key(stretch.end))
}

/// The keys of rows that were deleted, as far as each may be compacted by itself: a cut deletes those of millions of entries.
#[derive(Default)]
struct Forgotten(BTreeSet<Vec<u8>>);

impl Forgotten {
    fn take(&mut self, key: &[u8]) {
        // The first that is too many is kept, and says so.
        if self.0.len() <= ROWS_EACH_MAX {
            self.0.insert(key.to_vec());
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What to compact: these keys, or, where it is not known of all which they were, those of their kinds.
    fn ranges(&self, others: bool) -> Vec<(Vec<u8>, Vec<u8>)> {
        if self.0.len() <= ROWS_EACH_MAX && !others {
            let each = self.0.iter();
            return each.map(|row| (row.clone(), row.clone())).collect();
        }
        [RowKind::Operator, RowKind::ConsentUse]
            .into_iter()
            .map(|kind| (vec![kind.code()], vec![kind.code() + 1]))
            .collect()
    }
}

#[cfg(test)]
mod tests;
