// SPDX-License-Identifier: EUPL-1.2
//! Values of the state that many entries need one each of, read in one go: one after the other, each costs a walk of its own through the
//! database, mostly to learn that nothing is there.

use std::collections::BTreeMap;

use ledger::state::{State, StateKey};

use super::view::View;
use crate::error::Error;

/// The state of a [`View`], some of it read before it is asked for.
pub struct Fetched<'v> {
    view: &'v View,
    read: BTreeMap<StateKey, Option<Vec<u8>>>,
}

impl View {
    /// The state with the values under these keys read at once. Any other is read when it is asked for.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn fetched(&self, keys: impl Iterator<Item = StateKey>) -> Result<Fetched<'_>, Error> {
        let keys: Vec<StateKey> = keys.collect();
        let values = self.values_of(&keys)?;
        let read = keys.into_iter().zip(values).collect();
        Ok(Fetched { view: self, read })
    }
}

impl State for Fetched<'_> {
    type Error = Error;

    fn get(&self, key: &StateKey) -> Result<Option<Vec<u8>>, Error> {
        match self.read.get(key) {
            Some(value) => Ok(value.clone()),
            None => State::get(self.view, key),
        }
    }
}
