// SPDX-License-Identifier: EUPL-1.2
//! What still stands in lists: what a cut finds there, and what it takes out.

use std::ops::{ControlFlow, Range};

use ledger::admission::RowKind;
use ledger::fold::{Change, CutReader, Given, Left};
use ledger::hash::Hash;
use ledger::retention::Cuts;
use rocksdb::{IteratorMode, ReadOptions, WriteBatch};

use super::{Between, DbFold, LOOK_PERIOD, Read};
use crate::error::Error;
use crate::store::db::Db;
use crate::store::keys::{self, state_cf, state_meta};
use crate::store::view::View;
use crate::tasks::Halt;

/// Records in one write, and about how many bytes: other writes wait for it.
const CHUNK: usize = 256;
const CHUNK_BYTES: usize = 256 * 1024;
/// Rows in one write; few where it is tested what a crash between two of them leaves.
const ROWS_CHUNK: usize = if cfg!(test) { 2 } else { 4096 };

/// The cuts that stand as folded last.
pub(crate) fn cuts(from: &impl Read) -> Result<Cuts, Error> {
    let Some(bytes) = from.get(state_cf::META, state_meta::CUTS)? else {
        return Ok(Cuts::default());
    };
    Cuts::decode(&bytes).ok_or_else(|| {
        let name = from.db().name_of(state_cf::META, state_meta::CUTS);
        Error::corrupt(format!("{name} holds no cuts"))
    })
}

/// The changes below an index, ascending, as they are kept.
fn kept(db: &Db, below: u64) -> Result<impl Iterator<Item = Result<Change, Error>> + '_, Error> {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options.set_iterate_upper_bound(keys::number(below).to_vec());
    let family = db.cf(state_cf::CHANGES)?;
    let stored = db
        .raw()
        .iterator_cf_opt(family, options, IteratorMode::Start);
    Ok(stored.map(|item| {
        let (key, value) = item.map_err(|error| db.read_error(state_cf::CHANGES, &[], error))?;
        decode(db, &key, &value)
    }))
}

/// Those of them that stand in a list.
pub(super) fn stood(
    db: &Db,
    below: u64,
) -> Result<impl Iterator<Item = Result<Change, Error>> + '_, Error> {
    let stands = |change: &Result<Change, Error>| {
        let change = change.as_ref();
        change.map_or(true, |change| !change.lists.is_empty())
    };
    Ok(kept(db, below)?.filter(stands))
}

impl View {
    /// The changes of entries within a range that stand in lists, ascending, at most `limit`.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn standing(&self, range: Range<u64>, limit: usize) -> Result<Vec<Change>, Error> {
        self.sound(self.read_standing(range, limit))
    }

    fn read_standing(&self, range: Range<u64>, limit: usize) -> Result<Vec<Change>, Error> {
        let (from, to) = (keys::number(range.start), keys::number(range.end));
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let bounds = Some(from.to_vec()..to.to_vec());
        let mut found = Vec::new();
        for item in self.iterate(state_cf::CHANGES, IteratorMode::Start, bounds)? {
            let (key, value) =
                item.map_err(|error| self.db().read_error(state_cf::CHANGES, &from, error))?;
            let change = decode(self.db(), &key, &value)?;
            if change.lists.is_empty() {
                continue;
            }
            found.push(change);
            if found.len() == limit {
                break;
            }
        }
        Ok(found)
    }
}

/// Deletes the rows of what left a list. Where they are many, some of them are written before the step that they belong to.
pub(super) fn delete_rows(
    db: &Db,
    left: &Left,
    batch: &mut WriteBatch,
    between: &mut impl FnMut(Between) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Error> {
    let row = |index| keys::row(left.kind.code(), &left.of, index);
    let family = db.cf(state_cf::ROWS)?;
    if left.count == 1 {
        batch.delete_cf(family, row(left.through.0));
        return Ok(ControlFlow::Continue(()));
    }
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options.set_iterate_range(row(0).to_vec()..row(left.through.size().0).to_vec());
    let rows = db
        .raw()
        .iterator_cf_opt(family, options, IteratorMode::Start);
    let mut found = 0;
    for item in rows {
        let (key, _) =
            item.map_err(|error| db.read_error(state_cf::ROWS, &row(left.through.0), error))?;
        found += 1;
        if found > left.count {
            return Err(Error::corrupt(format!(
                "{} is in no list that it says",
                db.name_of(state_cf::ROWS, &key)
            )));
        }
        batch.delete_cf(family, &key);
        if batch.len() >= ROWS_CHUNK {
            write_retired(db, std::mem::take(batch))?;
            if between(Between::Steps).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Takes out of the changes what left their lists: whatever the cuts of a fold may take and has no row any more. A crash leaves some of them
/// done, and doing it again changes nothing of those.
pub(super) fn leave(
    db: &Db,
    given: &Given,
    cuts: &Cuts,
    between: &mut impl FnMut(Between) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Error> {
    let reader = DbFold(db);
    let family = db.cf(state_cf::CHANGES)?;
    let mut batch = WriteBatch::default();
    for (read, change) in (1..).zip(stood(db, u64::MAX)?) {
        let mut change = change?;
        if !given.reaches(&change) {
            break;
        }
        if taken(&reader, cuts, &change)? {
            let left = without_row(db, &change)?;
            left.iter().for_each(|(kind, of)| change.leave(*kind, of));
            if !left.is_empty() {
                batch.put_cf(family, keys::number(change.index.0), change.encode());
            }
        }
        let full = batch.len() >= CHUNK || batch.size_in_bytes() >= CHUNK_BYTES;
        let at = if full {
            write_retired(db, std::mem::take(&mut batch))?;
            Between::Steps
        } else {
            Between::Reading
        };
        if (full || read % LOOK_PERIOD == 0) && between(at).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    write_retired(db, batch)?;
    Ok(between(Between::Steps))
}

/// Writes what deletes rows and changes, and that it did: the files hold them until the eraser compacts.
fn write_retired(db: &Db, mut batch: WriteBatch) -> Result<(), Error> {
    if !batch.is_empty() {
        batch.put_cf(db.cf(state_cf::META)?, state_meta::RETIRED, b"");
        db.write(batch, false)?;
    }
    Ok(())
}

/// Whether cuts take the entry of a change.
fn taken(reader: &DbFold<'_, Db>, cuts: &Cuts, change: &Change) -> Result<bool, Error> {
    let terms = &change.terms;
    let ceased_ms = reader.ceased(change.index, terms)?;
    let since_ms = terms.since_ms(change.accepted_at_ms, ceased_ms);
    Ok(cuts.take(change.index, since_ms, terms))
}

/// The lists of a change in which it has no row.
fn without_row(db: &Db, change: &Change) -> Result<Vec<(RowKind, Hash)>, Error> {
    let rows = change.lists.iter();
    let rows: Vec<_> = rows
        .map(|(kind, of)| keys::row(kind.code(), of, change.index.0))
        .collect();
    let found = db
        .raw()
        .batched_multi_get_cf(db.cf(state_cf::ROWS)?, &rows, false);
    let mut left = Vec::new();
    for ((list, row), found) in change.lists.iter().zip(&rows).zip(found) {
        let found = found.map_err(|error| db.read_error(state_cf::ROWS, row, error))?;
        if found.is_none() {
            left.push(*list);
        }
    }
    Ok(left)
}

/// Deletes the changes below an index that stand in no list and that the cuts given so far take: nothing refers to them any more.
///
/// # Errors
/// They cannot be read or written, or the node ends.
pub(crate) fn forget(db: &Db, below: u64, halt: &Halt) -> Result<(), Error> {
    let cuts = cuts(db)?;
    let reader = DbFold(db);
    let family = db.cf(state_cf::CHANGES)?;
    let mut batch = WriteBatch::default();
    for change in kept(db, below)? {
        halt.check()?;
        let change = change?;
        if change.lists.is_empty() && taken(&reader, &cuts, &change)? {
            batch.delete_cf(family, keys::number(change.index.0));
        }
        if batch.len() >= CHUNK {
            write_retired(db, std::mem::take(&mut batch))?;
        }
    }
    write_retired(db, batch)
}

pub(super) fn decode(db: &Db, key: &[u8], value: &[u8]) -> Result<Change, Error> {
    let change = Change::decode(value)
        .map_err(|error| db.decode_error(state_cf::CHANGES, key, error.to_string()))?;
    if keys::decode_number(key) == Some(change.index.0) {
        return Ok(change);
    }
    let name = db.name_of(state_cf::CHANGES, key);
    Err(Error::corrupt(format!("{name} is another entry's")))
}
