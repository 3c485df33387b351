// SPDX-License-Identifier: EUPL-1.2
//! The lists of an export and their entries, some at a time. What was read to plan is kept for the writing, where it is not too much.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use cluster::{Direction, View};
use ledger::{admission::Row, number::EntryIndex};

use crate::{present::StoredAt, problem::Fault};

/// Rows fetched at a time.
const FETCHED: usize = 1_024;
/// Entries read at a time.
pub const READ_AT_ONCE: usize = 32;
/// Stored bytes of the entries that are kept: with what is parsed of them, a few times this in memory.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Lists of one view.
pub struct Lists<'v> {
    view: &'v View,
    kept: RefCell<Kept>,
}

#[derive(Default)]
struct Kept {
    entries: BTreeMap<EntryIndex, Rc<StoredAt>>,
    bytes: usize,
}

impl<'v> Lists<'v> {
    /// Of that view.
    pub fn new(view: &'v View) -> Lists<'v> {
        Lists {
            view,
            kept: RefCell::default(),
        }
    }

    /// Hands out the entries of a list below a size, oldest first, some at a time.
    ///
    /// # Errors
    /// The store's own, or that of whom they are handed to.
    pub fn walk(
        &self,
        row: &Row,
        size: u64,
        mut some: impl FnMut(&[Rc<StoredAt>]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut from = 0;
        loop {
            let rows = self
                .view
                .rows(row.kind, &row.of, from..size, Direction::Up, FETCHED)?;
            for indexes in rows.chunks(READ_AT_ONCE) {
                some(&self.read(indexes)?)?;
            }
            match rows.last() {
                Some(last) if rows.len() == FETCHED => from = last.0 + 1,
                _ => return Ok(()),
            }
        }
    }

    fn read(&self, indexes: &[EntryIndex]) -> Result<Vec<Rc<StoredAt>>, Fault> {
        let mut kept = self.kept.borrow_mut();
        let mut entries: BTreeMap<EntryIndex, Rc<StoredAt>> = BTreeMap::new();
        let mut missing = Vec::new();
        for index in indexes {
            match kept.entries.get(index) {
                Some(entry) => {
                    entries.insert(*index, Rc::clone(entry));
                }
                None => missing.push(*index),
            }
        }
        for entry in StoredAt::read_all(self.view, &missing)? {
            let entry = entry.ok_or_else(|| Fault::internal("an entry of a list is not there"))?;
            let (index, entry) = (entry.index, Rc::new(entry));
            kept.keep(&entry);
            entries.insert(index, entry);
        }
        Ok(entries.into_values().collect())
    }
}

impl Kept {
    fn keep(&mut self, entry: &Rc<StoredAt>) {
        let bytes = self.bytes.saturating_add(entry.bytes());
        if bytes <= KEPT_BYTES_MAX {
            self.bytes = bytes;
            self.entries.insert(entry.index, Rc::clone(entry));
        }
    }
}
