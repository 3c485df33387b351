// SPDX-License-Identifier: EUPL-1.2
//! The ledger's state: typed keys, the one way to read it, and typed readers.
//!
//! Kinds 1 to 12 stand under the state root (byte specification, *Lists, and the state root*). Kinds from 0x80 on are local tables under
//! no root, which any node rebuilds from its entries. Every reader needs [`State::get`] alone: no scans, so that a reader over pending
//! writes is a map in front of a store. Layouts are in [`crate::bytes::state`].

use alloc::{collections::BTreeMap, vec::Vec};
use core::fmt;

pub use crate::bytes::state::{KeyRecord, KeyTerms, StateKey, kind};
use crate::entry::Stop;

pub mod registry;
pub mod sealed;

/// Read access to the state as of some tree size.
pub trait State {
    /// Why the state could not be read. A [`StateError`] becomes one, and must stop the node: it would judge by a state it does not know.
    type Error: From<StateError>;

    /// The value under a key.
    ///
    /// # Errors
    /// The store's own failures.
    fn get(&self, key: &StateKey) -> Result<Option<Vec<u8>>, Self::Error>;
}

/// The state cannot be used; the node must stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateError {
    /// The value under this key is not what its kind demands: the store is damaged.
    Corrupt(StateKey),
    /// Rules of this number are in force, or come into force, and this build does not carry them: it is too old.
    UnknownRules(u16),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The name may be a person's ref: the kind alone is printed.
            StateError::Corrupt(key) => write!(
                f,
                "the state holds a value of kind {:#04x} that cannot be read",
                key.kind
            ),
            StateError::UnknownRules(rules) => write!(
                f,
                "rule set {rules} is in force and this build does not carry it"
            ),
        }
    }
}

impl core::error::Error for StateError {}

impl<E: From<StateError>> From<StateError> for Stop<E> {
    fn from(error: StateError) -> Self {
        Stop::Failed(error.into())
    }
}

/// Writes that [`crate::admission::apply`] asks for: `None` removes the key.
pub type Writes = Vec<(StateKey, Option<Vec<u8>>)>;

/// State in memory: for tests, and for auditors that rebuild it from entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryState(BTreeMap<StateKey, Vec<u8>>);

impl MemoryState {
    /// Performs writes.
    pub fn write(&mut self, writes: &Writes) {
        for (key, value) in writes {
            match value {
                Some(value) => self.0.insert(key.clone(), value.clone()),
                None => self.0.remove(key),
            };
        }
    }

    /// Every key and value, by kind and name.
    pub fn iter(&self) -> impl Iterator<Item = (&StateKey, &Vec<u8>)> {
        self.0.iter()
    }
}

impl State for MemoryState {
    type Error = StateError;

    fn get(&self, key: &StateKey) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.0.get(key).cloned())
    }
}

/// State with writes on top that are not yet performed: what an entry changes, step by step.
pub(crate) struct Draft<'a, S> {
    under: &'a S,
    writes: BTreeMap<StateKey, Option<Vec<u8>>>,
}

impl<'a, S: State> Draft<'a, S> {
    pub(crate) fn over(under: &'a S) -> Self {
        Draft {
            under,
            writes: BTreeMap::new(),
        }
    }

    pub(crate) fn put(&mut self, key: StateKey, value: Vec<u8>) {
        self.writes.insert(key, Some(value));
    }

    pub(crate) fn remove(&mut self, key: StateKey) {
        self.writes.insert(key, None);
    }

    /// Appends to a registry list.
    pub(crate) fn push(&mut self, list: &str, item: Vec<u8>) -> Result<(), Stop<S::Error>> {
        let length = registry::list_length(self, list)?;
        self.put(StateKey::list_item(list, length), item);
        self.put(
            StateKey::list(list),
            length.saturating_add(1).to_be_bytes().to_vec(),
        );
        Ok(())
    }

    /// The writes, by key: the same entry over the same state gives the same bytes.
    pub(crate) fn into_writes(self) -> Writes {
        self.writes.into_iter().collect()
    }
}

impl<S: State> State for Draft<'_, S> {
    type Error = Stop<S::Error>;

    fn get(&self, key: &StateKey) -> Result<Option<Vec<u8>>, Stop<S::Error>> {
        match self.writes.get(key) {
            Some(written) => Ok(written.clone()),
            None => self.under.get(key).map_err(Stop::Failed),
        }
    }
}

/// Reads and decodes a value; one that cannot be decoded is [`StateError::Corrupt`].
pub(crate) fn read<S: State, T>(
    state: &S,
    key: &StateKey,
    decode: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<Option<T>, S::Error> {
    match state.get(key)? {
        None => Ok(None),
        Some(value) => decode(&value)
            .map(Some)
            .ok_or_else(|| StateError::Corrupt(key.clone()).into()),
    }
}
