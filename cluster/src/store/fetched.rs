// SPDX-License-Identifier: EUPL-1.2
//! Values of the state that many entries need one each of, read in one go: one after the other, each costs a walk of its own through the
//! database, mostly to learn that nothing is there.

use ledger::state::{State, StateKey};

use super::known::Known;
use super::view::View;
use crate::error::Error;

/// The state of a [`View`], some of it read before it is asked for.
pub struct Fetched<'v> {
    view: &'v View,
    known: Known,
}

impl View {
    /// The state with the values under these keys read at once. Any other is read when it is asked for.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn fetched(&self, keys: impl Iterator<Item = StateKey>) -> Result<Fetched<'_>, Error> {
        let known = Known::default();
        known.fetch(keys, |keys| self.values_of(keys))?;
        Ok(Fetched { view: self, known })
    }
}

impl State for Fetched<'_> {
    type Error = Error;

    fn get(&self, key: &StateKey) -> Result<Option<Vec<u8>>, Error> {
        self.known.over(self.view).get(key)
    }
}
