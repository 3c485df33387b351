// SPDX-License-Identifier: EUPL-1.2
//! Rows of several lists of the index as one list, newest first and each entry once. No list is held whole.

use std::collections::VecDeque;

use cluster::{Direction, View};
use ledger::{admission::Row, number::EntryIndex};

use super::PAGE_ITEMS_DEFAULT;
use crate::{halves::in_halves, present::StoredAt, problem::Fault};

/// Most rows fetched at a time of one list.
const FETCHED_MAX: usize = 128;
/// Rows fetched at a time of all lists together: a household of many lists takes fewer of each.
const FETCHED_TOGETHER: usize = 16_384;

/// Where rows come from: [`View`], or a test's lists.
pub trait Source {
    /// Up to `limit` indexes of a list below `before`, newest first.
    ///
    /// # Errors
    /// The store's own.
    fn rows_before(&self, row: &Row, before: u64, limit: usize) -> Result<Vec<EntryIndex>, Fault>;
}

impl Source for View {
    fn rows_before(&self, row: &Row, before: u64, limit: usize) -> Result<Vec<EntryIndex>, Fault> {
        Ok(self.rows(row.kind, &row.of, 0..before, Direction::Down, limit)?)
    }
}

/// Walks lists from an index downwards.
pub struct Rows<'s, S> {
    source: &'s S,
    lists: Vec<List>,
    /// Rows fetched at a time of one list.
    fetched: usize,
}

struct List {
    row: Row,
    /// What is fetched next lies below.
    before: u64,
    fetched: VecDeque<EntryIndex>,
    /// Nothing lies below what was fetched.
    ended: bool,
}

impl<'s, S: Source> Rows<'s, S> {
    /// The lists, from below `before` on.
    pub fn new(source: &'s S, rows: Vec<Row>, before: u64) -> Rows<'s, S> {
        let fetched = FETCHED_TOGETHER / rows.len().max(1);
        let lists = rows
            .into_iter()
            .map(|row| List {
                row,
                before,
                fetched: VecDeque::new(),
                ended: before == 0,
            })
            .collect();
        Rows {
            source,
            lists,
            fetched: fetched.clamp(1, FETCHED_MAX),
        }
    }

    /// The next entry, older than all before; none when every list has ended.
    ///
    /// # Errors
    /// The store's own.
    pub fn take_newest(&mut self) -> Result<Option<EntryIndex>, Fault> {
        let mut newest = None;
        for list in &mut self.lists {
            if list.fetched.is_empty() && !list.ended {
                let rows = self
                    .source
                    .rows_before(&list.row, list.before, self.fetched)?;
                list.ended = rows.len() < self.fetched;
                list.before = rows.last().map_or(0, |index| index.0);
                list.fetched = rows.into();
            }
            newest = newest.max(list.fetched.front().copied());
        }
        for list in &mut self.lists {
            if list.fetched.front().copied() == newest {
                list.fetched.pop_front();
            }
        }
        Ok(newest)
    }
}

/// Most entries read at once: a page of the usual size, and the one after it. The largest of them take some times what a page may in memory.
const READ_AT_ONCE_MAX: usize = PAGE_ITEMS_DEFAULT as usize + 1;
/// Entries read at once when those that were missing did not do, and then twice as many each time: a reader's own readings stand in a list too,
/// so that one or two more are the rule, and in a list where next to nothing fits it does not come to one walk for each.
const READ_MORE: usize = 4;

/// The entries of lists, newest first, each where the index names it. They are read some at a time: one after the other, each would cost walks
/// through the database of its own.
pub struct Entries<'s> {
    view: &'s View,
    rows: Rows<'s, View>,
    read: VecDeque<(EntryIndex, Option<StoredAt>)>,
    pace: Pace,
}

/// How many entries are read at a time.
#[derive(Default)]
struct Pace {
    /// The fewest that are read next.
    at_least: usize,
}

impl Pace {
    /// How many to read where so many are still wanted, if all fit.
    fn next(&mut self, missing: usize) -> usize {
        let at_once = missing.max(self.at_least).clamp(1, READ_AT_ONCE_MAX);
        self.at_least = READ_MORE.max(self.at_least.saturating_mul(2));
        at_once
    }
}

impl<'s> Entries<'s> {
    /// The lists, from below `before` on.
    pub fn new(view: &'s View, lists: Vec<Row>, before: u64) -> Entries<'s> {
        let mut rows = Rows::new(view, lists, before);
        // For a page of the usual size and the few that it passes over, one walk through a list does.
        rows.fetched = rows.fetched.min(READ_AT_ONCE_MAX + READ_MORE);
        Entries {
            view,
            rows,
            read: VecDeque::new(),
            pace: Pace::default(),
        }
    }

    /// The next row, older than all before, and its entry; none when every list has ended. `missing`: how many are still wanted, if all fit.
    ///
    /// # Errors
    /// The store's own.
    pub fn take_newest(
        &mut self,
        missing: usize,
    ) -> Result<Option<(EntryIndex, Option<StoredAt>)>, Fault> {
        if self.read.is_empty() {
            let at_once = self.pace.next(missing);
            let mut indexes = Vec::with_capacity(at_once);
            while indexes.len() < at_once
                && let Some(index) = self.rows.take_newest()?
            {
                indexes.push(index);
            }
            let view = self.view.clone();
            let entries = in_halves(indexes.clone(), move |some| {
                StoredAt::read_all(&view, &some)
            })?;
            self.read = indexes.into_iter().zip(entries).collect();
        }
        Ok(self.read.pop_front())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::collections::{BTreeMap, BTreeSet};

    use ledger::{admission::RowKind, hash::Hash};

    use super::*;

    struct Lists(BTreeMap<Hash, BTreeSet<u64>>);

    impl Source for Lists {
        fn rows_before(
            &self,
            row: &Row,
            before: u64,
            limit: usize,
        ) -> Result<Vec<EntryIndex>, Fault> {
            let list = self.0.get(&row.of).unwrap();
            let rows = list.range(..before).rev().take(limit);
            Ok(rows.map(|index| EntryIndex(*index)).collect())
        }
    }

    #[test]
    fn what_is_missing_is_read_and_then_a_few_more_and_twice_as_many_each_time() {
        let read = |missing: [usize; 7]| {
            let mut pace = Pace::default();
            missing.map(|missing| pace.next(missing))
        };
        assert_eq!(read([51, 1, 1, 1, 1, 1, 1]), [51, 4, 8, 16, 32, 51, 51]);
        assert_eq!(read([101, 50, 6, 0, 40, 1, 1]), [51, 50, 8, 16, 40, 51, 51]);
        assert_eq!(read([2, 1, 1, 1, 1, 1, 1]), [2, 4, 8, 16, 32, 51, 51]);
    }

    #[test]
    fn lists_merge_newest_first_and_each_entry_once() {
        let row = |n: u8| Row {
            kind: RowKind::Subject,
            of: Hash([n; 32]),
        };
        let lists = Lists(BTreeMap::from([
            (Hash([1; 32]), (0..1000).step_by(3).collect()),
            (Hash([2; 32]), (0..1000).step_by(5).collect()),
            (Hash([3; 32]), BTreeSet::new()),
            (Hash([4; 32]), BTreeSet::from([999])),
        ]));
        let expected: Vec<u64> = (0..1000)
            .rev()
            .filter(|n| n % 3 == 0 || n % 5 == 0 || *n == 999)
            .collect();
        for before in [0, 1, 128, 500, 999, 1000, u64::MAX] {
            let mut rows = Rows::new(&lists, vec![row(1), row(2), row(3), row(4)], before);
            let mut walked = Vec::new();
            while let Some(index) = rows.take_newest().unwrap() {
                walked.push(index.0);
            }
            let expected: Vec<u64> = expected.iter().copied().filter(|n| *n < before).collect();
            assert_eq!(walked, expected, "before {before}");
        }
    }
}
