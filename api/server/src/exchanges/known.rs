// SPDX-License-Identifier: EUPL-1.2
//! What stands in an exchange of many entries, as its reader may see it. An exchange is a number that anybody may name, so hundreds of pairs
//! may stand in one, and each would be looked for among the entries of all: they are read once a page.

use std::collections::HashMap;

use cluster::{Direction, View};
use ledger::{
    admission::Row, bytes::sides::Unsettled, number::EntryIndex, pair::Pair, state::StateKey,
};

use super::pair_of;
use crate::{auth::Reader, present::Seen, problem::Fault};

/// Most entries of one exchange that are looked at, beside those that admission keeps as what each side of a pair told first: anybody may write
/// any number of entries that name an exchange.
pub(super) const ENTRIES_MAX: usize = 1_000;

/// The first entries of an exchange.
pub(super) struct Known {
    pairs: HashMap<Pair, Vec<EntryIndex>>,
    /// One that was erased: of which pair it was, nobody can tell.
    erased: Option<EntryIndex>,
    /// Those that stand in the index of what is not settled, whoever may see them.
    unsettled: Vec<(EntryIndex, Unsettled)>,
    /// How many were read.
    pub(super) read: usize,
}

impl Known {
    /// Reads an exchange.
    ///
    /// # Errors
    /// The store's own.
    pub(super) fn read(view: &View, reader: &Reader, exchange: &[u8; 16]) -> Result<Known, Fault> {
        let row = Row::exchange(exchange);
        let range = 0..view.size().0;
        let indexes = view.rows(row.kind, &row.of, range, Direction::Up, ENTRIES_MAX)?;
        let mut known = Known {
            pairs: HashMap::new(),
            erased: None,
            unsettled: Vec::new(),
            read: indexes.len(),
        };
        let state = view.fetched(indexes.iter().map(|index| StateKey::unsettled(*index)))?;
        for index in indexes {
            let key = StateKey::unsettled(index);
            let why = super::value(&state, &key, Unsettled::decode)?;
            known.unsettled.extend(why.map(|why| (index, why)));
            let Some(seen) = Seen::look(view, reader, index)? else {
                continue;
            };
            match pair_of(&seen) {
                Some(pair) => known.pairs.entry(pair).or_default().push(index),
                None => known.erased = Some(index),
            }
        }
        Ok(known)
    }

    /// Entries that may be of a pair, in the order of the ledger but for one that was erased.
    pub(super) fn entries(&self, pair: &Pair) -> impl Iterator<Item = EntryIndex> {
        let entries = self.pairs.get(pair).into_iter().flatten();
        entries.copied().chain(self.erased)
    }

    /// Whether there may be more entries than were read.
    pub(super) fn is_cut(&self) -> bool {
        self.read >= ENTRIES_MAX
    }

    /// Whether a pair of which an entry is corrected is taken elsewhere than at this one.
    pub(super) fn is_elsewhere(&self, pair: &Pair, corrected: EntryIndex) -> bool {
        let of_pair = |at| {
            let entries = self.pairs.get(pair);
            entries.is_some_and(|entries| entries.binary_search(at).is_ok())
        };
        self.unsettled.iter().any(|(at, why)| match why {
            Unsettled::Pair(_, of) => of == pair,
            Unsettled::Corrected => *at < corrected && of_pair(at),
        })
    }
}
