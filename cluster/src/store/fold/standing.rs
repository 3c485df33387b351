// SPDX-License-Identifier: EUPL-1.2
//! What still stands in lists: what a cut finds there, and what it takes out.

use std::collections::BTreeMap;
use std::ops::Range;

use ledger::admission::RowKind;
use ledger::fold::{Change, CutReader, Each, Left};
use ledger::hash::Hash;
use ledger::number::EntryIndex;
use ledger::retention::{self, Cuts};
use rocksdb::{Direction, IteratorMode, ReadOptions, WriteBatch};

use super::{DbFold, Read};
use crate::error::Error;
use crate::store::db::Db;
use crate::store::keys::{self, state_cf, state_meta};
use crate::store::view::{DbState, View, read_entry};

/// Records in one write.
const CHUNK: usize = 256;

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

impl CutReader for DbFold<'_, Db> {
    fn cuts(&self) -> Result<Cuts, Error> {
        cuts(self.0)
    }

    fn standing(&self, below: EntryIndex, each: &mut Each<'_>) -> Result<(), Error> {
        let db = self.0;
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_iterate_upper_bound(keys::number(below.0).to_vec());
        let from = keys::number(0);
        let mode = IteratorMode::From(&from, Direction::Forward);
        let stored = db
            .raw()
            .iterator_cf_opt(db.cf(state_cf::CHANGES)?, options, mode);
        for item in stored {
            let (key, value) =
                item.map_err(|error| db.read_error(state_cf::CHANGES, &from, error))?;
            let change = decode(db, &key, &value)?;
            if change.lists.is_empty() {
                continue;
            }
            let entry_type = change.terms.entry_type;
            let ceased_ms = retention::ceased(&DbState::new(db), change.index, entry_type)?;
            if each(&change, ceased_ms).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl View {
    /// The changes of entries within a range that stand in lists, ascending, at most `limit`.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn standing(&self, range: Range<u64>, limit: usize) -> Result<Vec<Change>, Error> {
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

/// The first index below a size whose entry is not past its retention at a time; the size if there is none.
///
/// # Errors
/// The store cannot be read.
pub(crate) fn first_young(db: &Db, size: u64, now_ms: u64) -> Result<EntryIndex, Error> {
    let (mut low, mut high) = (0, size);
    // Times never fall.
    while low < high {
        let middle = low + (high - low) / 2;
        let index = EntryIndex(middle);
        let entry = read_entry(db, index)?
            .ok_or_else(|| Error::corrupt(format!("entry {index} is missing")))?;
        if retention::is_old(entry.meta.accepted_at_ms, now_ms) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(EntryIndex(low))
}

/// Takes changes out of lists, and deletes their rows.
pub(super) fn leave(db: &Db, left: &[Left], batch: &mut WriteBatch) -> Result<(), Error> {
    let mut lists: BTreeMap<EntryIndex, Vec<(RowKind, Hash)>> = BTreeMap::new();
    let rows = db.cf(state_cf::ROWS)?;
    for Left { index, kind, of } in left {
        lists.entry(*index).or_default().push((*kind, *of));
        batch.delete_cf(rows, keys::row(kind.code(), of, index.0));
    }
    let changes = db.cf(state_cf::CHANGES)?;
    for (index, lists) in lists {
        let key = keys::number(index.0);
        let stored = db.get(state_cf::CHANGES, &key)?.ok_or_else(|| {
            let name = db.name_of(state_cf::CHANGES, &key);
            Error::corrupt(format!("{name} is missing"))
        })?;
        let mut change = decode(db, &key, &stored)?;
        lists.iter().for_each(|(kind, of)| change.leave(*kind, of));
        batch.put_cf(changes, key, change.encode());
    }
    Ok(())
}

/// Deletes the changes below an index that stand in no list and that the cuts given so far take: nothing refers to them any more.
///
/// # Errors
/// They cannot be read or written.
pub(crate) fn forget(db: &Db, below: u64) -> Result<(), Error> {
    let cuts = cuts(db)?;
    let state = DbState::new(db);
    let family = db.cf(state_cf::CHANGES)?;
    let mut batch = WriteBatch::default();
    let from = keys::number(0);
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options.set_iterate_upper_bound(keys::number(below).to_vec());
    let mode = IteratorMode::From(&from, Direction::Forward);
    for item in db.raw().iterator_cf_opt(family, options, mode) {
        let (key, value) = item.map_err(|error| db.read_error(state_cf::CHANGES, &from, error))?;
        let change = decode(db, &key, &value)?;
        if !change.lists.is_empty() {
            continue;
        }
        let terms = &change.terms;
        let ceased_ms = retention::ceased(&state, change.index, terms.entry_type)?;
        let since_ms = terms.since_ms(change.accepted_at_ms, ceased_ms);
        if cuts.take(change.index, since_ms, terms) {
            batch.delete_cf(family, &key);
        }
        if batch.len() >= CHUNK {
            db.write(std::mem::take(&mut batch), false)?;
        }
    }
    db.write(batch, false)
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
