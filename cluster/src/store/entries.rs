// SPDX-License-Identifier: EUPL-1.2
//! Reading entries of a [`View`], one or many at once. Nothing is served that the tree does not vouch for: RocksDB's checksums guard blocks,
//! this guards the entry.

use ledger::entry::StoredEntry;
use ledger::erasure;
use ledger::hash::Hash;
use ledger::merkle::NodeReader;
use ledger::number::EntryIndex;
use ledger::retention::{self, Cuts};
use ledger::state::{State, StateKey};

use super::keys::{self, state_cf};
use super::receipts::Wanted;
use super::view::{View, decode_entry};
use crate::error::Error;

impl View {
    /// An entry, none if the view does not reach it. What an erasure in this view ordered away is gone from it, whether this node's eraser has
    /// come to it or not: `erased` names the orders.
    ///
    /// # Errors
    /// It cannot be read, or is not what its leaf commits to: the node must stop.
    pub fn entry(&self, index: EntryIndex) -> Result<Option<StoredEntry>, Error> {
        let stored = self.stored(index)?;
        let entry = stored.map(|stored| self.as_ordered(self, index, stored));
        entry.transpose()
    }

    /// Entries as [`View::entry`] gives them, in the order asked: all bodies by one read of the database, all leaves by another, and what
    /// orders name them by a third.
    ///
    /// # Errors
    /// As [`View::entry`].
    pub fn entries(&self, indexes: &[EntryIndex]) -> Result<Vec<Option<StoredEntry>>, Error> {
        let held = || indexes.iter().filter(|index| self.size().holds(**index));
        let keys: Vec<_> = held().map(|index| keys::number(index.0)).collect();
        let leaves = Wanted::default();
        held().try_for_each(|index| leaves.node(0, index.0).map(drop))?;
        let leaves = leaves.read(self)?;
        let mut bodies = self.get_all(state_cf::BODIES, &keys)?;
        let named = self.fetched(held().map(|index| StateKey::erasures_of(*index)))?;
        let mut entries = Vec::with_capacity(indexes.len());
        for &index in indexes {
            let found = if self.size().holds(index) {
                bodies.next()
            } else {
                None
            };
            let Some(body) = found else {
                entries.push(None);
                continue;
            };
            let stored = self.vouched(index, body?.as_deref(), leaves.node(0, index.0)?)?;
            entries.push(Some(self.as_ordered(&named, index, stored)?));
        }
        Ok(entries)
    }

    /// An entry as this node keeps it: for its leaf and `meta`, which no erasure touches.
    pub(super) fn stored(&self, index: EntryIndex) -> Result<Option<StoredEntry>, Error> {
        if !self.size().holds(index) {
            return Ok(None);
        }
        let body = self.get(state_cf::BODIES, &keys::number(index.0))?;
        let leaf = self.node(0, index.0)?;
        self.vouched(index, body.as_deref(), leaf).map(Some)
    }

    /// The entry that these bytes are, if the leaf in the tree is the one that it makes.
    fn vouched(
        &self,
        index: EntryIndex,
        body: Option<&[u8]>,
        leaf: Hash,
    ) -> Result<StoredEntry, Error> {
        let (db, key) = (self.db(), keys::number(index.0));
        let told = |what| {
            let name = db.name_of(state_cf::BODIES, &key);
            Error::corrupt(format!("{name} is {what}"))
        };
        let decoded = decode_entry(db, &key, body);
        self.sound(decoded.and_then(|stored| match stored {
            None => Err(told("missing")),
            Some(stored) if stored.leaf_hash() != leaf => Err(told("not what its leaf commits to")),
            Some(stored) => Ok(stored),
        }))
    }

    /// The entry without what was ordered away of it. `state` is this view's.
    fn as_ordered(
        &self,
        state: &impl State<Error = Error>,
        index: EntryIndex,
        stored: StoredEntry,
    ) -> Result<StoredEntry, Error> {
        let cuts = self.cuts()?;
        self.sound(as_ordered(state, index, stored, cuts))
    }
}

fn as_ordered(
    state: &impl State<Error = Error>,
    index: EntryIndex,
    mut stored: StoredEntry,
    cuts: &Cuts,
) -> Result<StoredEntry, Error> {
    let orders = erasure::orders_on(state, index, &stored, cuts)?;
    if orders.is_empty() {
        return Ok(stored);
    }
    let ceased_ms = retention::ceased(state, index, stored.meta.entry_type)?;
    for order in orders {
        let carried = order.carry_out(index, &mut stored, ceased_ms);
        carried
            .map_err(|refused| Error::corrupt(format!("entry {index} in the store: {refused}")))?;
    }
    Ok(stored)
}
