// SPDX-License-Identifier: EUPL-1.2
//! How rows of the index are kept: the one home of its records.
//!
//! A record is a run of rows of one list. Its key ends in the first index; its value says which of the [`REACH`] indexes after that are rows
//! too: a bit each, nearest first, from the lowest bit of the first byte on. No value ends in a zero byte, so a run is spelled one way alone,
//! and a row by itself has no value. Runs of a list do not overlap.
//!
//! A raft_entry with a hundred submissions of an institution would say a hundred times whose they are, and of which type. So rows of kinds whose
//! lists neighbours share are one record a list and raft_entry, on every node alike. Rows of all other kinds stand each by itself.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use ledger::admission::{Row, RowKind};
use ledger::hash::Hash;
use ledger::number::EntryIndex;
use rocksdb::{ReadOptions, WriteBatch};

use super::db::Db;
use super::keys::{self, state_cf};
use super::view::{Direction, View};
use crate::error::Error;

/// How far the last index of a run may lie past its first: as far as in a raft_entry of a proposer. The bits of a wider gap would take more than
/// a record.
pub(super) const REACH: u64 = 256;
const FURTHER_BYTES_MAX: usize = (REACH / 8) as usize;

/// Whether rows of a kind may share a record.
pub(super) fn is_shared(kind: RowKind) -> bool {
    match kind {
        RowKind::Institution | RowKind::Operator | RowKind::Type | RowKind::Finding => true,
        // Lists under the root: entries leave them one by one, and where a fold that does so is killed, rows tell how far it came.
        RowKind::Subject | RowKind::Household | RowKind::Sealed => false,
        // Few entries each, and seldom two of one raft_entry.
        RowKind::Consent
        | RowKind::Exchange
        | RowKind::ConsentUse
        | RowKind::NoteOn
        | RowKind::Twin => false,
    }
}

/// Some rows of a list, one at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    list: [u8; keys::ROW_PREFIX_BYTES],
    first: u64,
    further: Vec<u8>,
}

impl Run {
    fn new(list: [u8; keys::ROW_PREFIX_BYTES], first: u64) -> Run {
        Run {
            list,
            first,
            further: Vec::new(),
        }
    }

    /// What a record says; none if it is none.
    fn decode(key: &[u8], value: &[u8]) -> Option<Run> {
        let (list, first) = keys::decode_row(key)?;
        let mut run = Run::new(list, first);
        let Some(last) = value.last() else {
            return Some(run);
        };
        let [kind, ..] = list;
        let is_run = RowKind::from_code(kind).is_some_and(is_shared)
            && value.len() <= FURTHER_BYTES_MAX
            && *last != 0
            && first.checked_add(bits(value)).is_some();
        run.further = value.to_vec();
        is_run.then_some(run)
    }

    /// What a record says.
    ///
    /// # Errors
    /// `Corrupt`, naming it.
    pub(super) fn read(db: &Db, key: &[u8], value: &[u8]) -> Result<Run, Error> {
        Run::decode(key, value).ok_or_else(|| {
            let name = db.name_of(state_cf::ROWS, key);
            Error::corrupt(format!("{name} holds no rows"))
        })
    }

    /// Key and value of its record.
    fn record(&self) -> ([u8; keys::ROW_BYTES], &[u8]) {
        (keys::row_of(&self.list, self.first), &self.further)
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Whether it stands behind another one in the order of the store, and does not overlap with it.
    pub(super) fn is_behind(&self, before: &Run) -> bool {
        before.list < self.list || before.list == self.list && before.last() < Some(self.first)
    }

    fn holds(&self, index: u64) -> bool {
        let Some(offset) = index.checked_sub(self.first) else {
            return false;
        };
        let Some(bit) = offset.checked_sub(1) else {
            return true;
        };
        let byte = self.further.get((bit / 8) as usize);
        byte.is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
    }

    /// Its indexes, ascending.
    pub(super) fn indexes(&self) -> impl DoubleEndedIterator<Item = u64> + '_ {
        let reached = self.first..=self.first + bits(&self.further);
        reached.filter(|index| self.holds(*index))
    }

    fn last(&self) -> Option<u64> {
        self.indexes().next_back()
    }

    /// Takes in a row behind its last, if it reaches so far.
    fn take(&mut self, index: u64) -> bool {
        let offset = index.checked_sub(self.first).filter(|o| *o <= REACH);
        let Some(bit) = offset.and_then(|offset| offset.checked_sub(1)) else {
            return false;
        };
        let at = (bit / 8) as usize;
        if self.further.len() <= at {
            self.further.resize(at + 1, 0);
        }
        if let Some(byte) = self.further.get_mut(at) {
            *byte |= 1 << (bit % 8);
        }
        true
    }

    /// Puts into a write that of its rows these stay alone.
    pub(super) fn keep(
        &self,
        db: &Db,
        stays: impl Fn(u64) -> bool,
        batch: &mut WriteBatch,
    ) -> Result<(), Error> {
        let family = db.cf(state_cf::ROWS)?;
        batch.delete_cf(family, self.record().0);
        let mut stay = self.indexes().filter(|index| stays(*index));
        if let Some(first) = stay.next() {
            let mut kept = Run::new(self.list, first);
            stay.for_each(|index| {
                kept.take(index);
            });
            let (key, value) = kept.record();
            batch.put_cf(family, key, value);
        }
        Ok(())
    }
}

/// Indexes that a value reaches past the first.
fn bits(further: &[u8]) -> u64 {
    8 * further.len() as u64
}

/// Rows that are to be written, of any number of raft_entries.
#[derive(Default)]
pub(super) struct Pending {
    runs: Vec<Run>,
    /// Those that rows of the raft_entry at hand may still join.
    open: BTreeMap<Row, Run>,
}

impl Pending {
    /// Takes in a row behind all those of its list.
    pub(super) fn push(&mut self, row: Row, index: u64) {
        let run = || Run::new(keys::row_prefix(row.kind.code(), &row.of), index);
        if !is_shared(row.kind) {
            self.runs.push(run());
            return;
        }
        match self.open.entry(row) {
            Entry::Vacant(open) => {
                open.insert(run());
            }
            Entry::Occupied(mut open) => {
                if !open.get_mut().take(index) {
                    self.runs.push(open.insert(run()));
                }
            }
        }
    }

    /// The raft_entry at hand has all its rows.
    pub(super) fn end(&mut self) {
        self.runs
            .extend(std::mem::take(&mut self.open).into_values());
    }

    /// About how many bytes of memory it holds.
    pub(super) fn bytes(&self) -> usize {
        (self.runs.len() + self.open.len()) * size_of::<Run>()
    }

    /// Hands over the records in the order of the store: RocksDB finds the place of a key from that of the one before.
    pub(super) fn records(mut self, mut put: impl FnMut([u8; keys::ROW_BYTES], &[u8])) {
        self.end();
        self.runs
            .sort_unstable_by(|a, b| (&a.list, a.first).cmp(&(&b.list, b.first)));
        for run in &self.runs {
            let (key, value) = run.record();
            put(key, value);
        }
    }
}

impl View {
    /// The entries that concern `of`, within a range of indexes, at most `limit`.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn rows(
        &self,
        kind: RowKind,
        of: &Hash,
        range: Range<u64>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<EntryIndex>, Error> {
        self.sound(self.read_rows(kind, of, range, direction, limit))
    }

    fn read_rows(
        &self,
        kind: RowKind,
        of: &Hash,
        range: Range<u64>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<EntryIndex>, Error> {
        let range = range.start..range.end.min(self.size().0);
        if range.is_empty() || limit == 0 {
            return Ok(Vec::new());
        }
        let key = |index| keys::row(kind.code(), of, index);
        // The run that the range begins in may begin before it.
        let reach = if is_shared(kind) { REACH } else { 0 };
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        options.set_iterate_lower_bound(key(range.start.saturating_sub(reach)));
        options.set_iterate_upper_bound(key(range.end));
        let mut records = self.raw_iterate(state_cf::ROWS, options)?;
        match direction {
            Direction::Down => records.seek_to_last(),
            Direction::Up => {
                if reach > 0 {
                    records.seek_for_prev(key(range.start));
                }
                if !records.valid() {
                    records.seek_to_first();
                }
            }
        }
        let mut indexes = Vec::new();
        while let Some((found, value)) = records.item() {
            let run = Run::read(self.db(), found, value)?;
            let within = run.indexes().filter(|index| range.contains(index));
            let (within, room) = (within.map(EntryIndex), limit - indexes.len());
            match direction {
                Direction::Up => indexes.extend(within.take(room)),
                Direction::Down => indexes.extend(within.rev().take(room)),
            }
            let at_its_end = direction == Direction::Down && run.first() <= range.start;
            if indexes.len() == limit || at_its_end {
                return Ok(indexes);
            }
            match direction {
                Direction::Up => records.next(),
                Direction::Down => records.prev(),
            }
        }
        let status = records.status();
        status.map_err(|error| {
            self.db()
                .read_error(state_cf::ROWS, &key(range.start), error)
        })?;
        Ok(indexes)
    }
}

/// Puts into a write that rows of a list go, whichever records hold them; these are told by their keys.
///
/// # Errors
/// The index cannot be read.
pub(super) fn remove(
    db: &Db,
    row: &Row,
    gone: &BTreeSet<u64>,
    batch: &mut WriteBatch,
    mut tell: impl FnMut(&[u8]),
) -> Result<(), Error> {
    let (family, kind) = (db.cf(state_cf::ROWS)?, row.kind.code());
    let key = |index| keys::row(kind, &row.of, index);
    if !is_shared(row.kind) {
        for index in gone {
            batch.delete_cf(family, key(*index));
            tell(&key(*index));
        }
        return Ok(());
    }
    let mut options = ReadOptions::default();
    options.set_total_order_seek(true);
    options.fill_cache(false);
    options.set_iterate_lower_bound(key(0));
    let mut records = db.raw().raw_iterator_cf_opt(family, options);
    let mut through = None;
    for index in gone {
        if through >= Some(*index) {
            continue;
        }
        records.seek_for_prev(key(*index));
        let Some((found, value)) = records.item() else {
            let status = records.status();
            status.map_err(|error| db.read_error(state_cf::ROWS, &key(*index), error))?;
            continue;
        };
        let run = Run::read(db, found, value)?;
        if run.holds(*index) {
            run.keep(db, |index| !gone.contains(&index), batch)?;
            tell(found);
            through = run.last();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
