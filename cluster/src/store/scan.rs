// SPDX-License-Identifier: EUPL-1.2
//! Reading whole tables of a view, a part at a time: for whoever hands the state on.

use ledger::{admission::RowKind, hash::Hash, state::StateKey};
use rocksdb::ReadOptions;

use super::{
    keys::{self, state_cf},
    view::View,
};
use crate::error::Error;

impl View {
    /// Keys and values of the state from a key on, of its kind alone, at most `limit`, ascending.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn values(&self, from: &StateKey, limit: usize) -> Result<Vec<(StateKey, Vec<u8>)>, Error> {
        let (first, end) = (from.encode(), vec![from.kind.saturating_add(1)]);
        let items = self.iterate(
            state_cf::STATE,
            rocksdb::IteratorMode::Start,
            Some(first.clone()..end),
        )?;
        let values = items.take(limit).map(|item| {
            let (key, value) =
                item.map_err(|error| self.db().read_error(state_cf::STATE, &first, error))?;
            let key = StateKey::decode(&key)
                .ok_or_else(|| Error::corrupt("a key of the state is none"))?;
            Ok((key, value.into_vec()))
        });
        self.sound(values.collect())
    }

    /// Whose lists of a kind there are, each once, ascending, after one of them, at most `limit`.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn lists(
        &self,
        kind: RowKind,
        after: Option<&Hash>,
        limit: usize,
    ) -> Result<Vec<Hash>, Error> {
        self.sound(self.read_lists(kind, after, limit))
    }

    fn read_lists(
        &self,
        kind: RowKind,
        after: Option<&Hash>,
        limit: usize,
    ) -> Result<Vec<Hash>, Error> {
        let mut options = ReadOptions::default();
        // From list to list, past what a prefix covers.
        options.set_total_order_seek(true);
        options.set_iterate_upper_bound(vec![kind.code().saturating_add(1)]);
        let mut rows = self.raw_iterate(state_cf::ROWS, options)?;
        let past = |of: &Hash| keys::row(kind.code(), of, u64::MAX);
        match after {
            Some(of) => rows.seek(past(of)),
            None => rows.seek(keys::row(kind.code(), &Hash::ZERO, 0)),
        }
        let mut lists = Vec::new();
        while lists.len() < limit
            && let Some(key) = rows.key()
        {
            let of = keys::decode_row_of(key).ok_or_else(|| {
                let name = self.db().name_of(state_cf::ROWS, key);
                Error::corrupt(format!("{name} is no row"))
            })?;
            lists.push(of);
            // No entry has the last index: what comes next is another list's.
            rows.seek(past(&of));
        }
        let status = rows.status();
        status.map_err(|error| self.db().read_error(state_cf::ROWS, b"", error))?;
        Ok(lists)
    }
}
