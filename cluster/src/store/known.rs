// SPDX-License-Identifier: EUPL-1.2
//! A state of which nothing is read twice, with what is to be written on top.

use std::cell::RefCell;
use std::collections::HashMap;

use ledger::state::{State, StateKey, Writes};

use super::view::Values;

/// What is known of a state by whoever read it or is about to write it.
#[derive(Default)]
pub(crate) struct Known(RefCell<HashMap<StateKey, KnownValue>>);

/// A value, or that there is none, and whether it is still to be written.
struct KnownValue {
    value: Option<Vec<u8>>,
    changed: bool,
}

impl Known {
    /// What is to be written: it hides what stands in the state.
    pub(crate) fn put(&self, key: StateKey, value: Option<Vec<u8>>) {
        let changed = true;
        self.0
            .borrow_mut()
            .insert(key, KnownValue { value, changed });
    }

    /// Reads what is not known yet of these keys in one go, as [`super::fetched`] does.
    ///
    /// # Errors
    /// Those of `read`, which gives the values under keys, in their order.
    pub(crate) fn fetch<E>(
        &self,
        keys: impl Iterator<Item = StateKey>,
        read: impl FnOnce(&[StateKey]) -> Result<Values, E>,
    ) -> Result<(), E> {
        let mut known = self.0.borrow_mut();
        let mut keys: Vec<StateKey> = keys.filter(|key| !known.contains_key(key)).collect();
        keys.sort_unstable();
        keys.dedup();
        let values = read(&keys)?;
        let changed = false;
        let read = keys.into_iter().zip(values);
        known.extend(read.map(|(key, value)| (key, KnownValue { value, changed })));
        Ok(())
    }

    /// A state with this known of it; what is read of it is known from then on, so it must not change meanwhile.
    pub(crate) fn over<'a, S>(&'a self, state: &'a S) -> ReadOnce<'a, S> {
        ReadOnce { known: self, state }
    }

    /// How many keys are known.
    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// What is to be written, each key once, in the order of the store.
    pub(crate) fn into_writes(self) -> Writes {
        let changed = self.0.into_inner().into_iter();
        let mut writes: Writes = changed
            .filter(|(_, entry)| entry.changed)
            .map(|(key, entry)| (key, entry.value))
            .collect();
        writes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        writes
    }
}

/// A state of which nothing is read twice: entries that come together mostly ask for the same signers, institutions and rules.
pub(crate) struct ReadOnce<'a, S> {
    known: &'a Known,
    state: &'a S,
}

impl<S: State> State for ReadOnce<'_, S> {
    type Error = S::Error;

    fn get(&self, key: &StateKey) -> Result<Option<Vec<u8>>, S::Error> {
        if let Some(entry) = self.known.0.borrow().get(key) {
            return Ok(entry.value.clone());
        }
        let value = self.state.get(key)?;
        let entry = KnownValue {
            value: value.clone(),
            changed: false,
        };
        self.known.0.borrow_mut().insert(key.clone(), entry);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::cell::Cell;

    use ledger::hash::Hash;
    use ledger::number::EntryIndex;
    use ledger::state::StateError;

    use super::*;

    /// Has one value under every key, and counts who asks.
    #[derive(Default)]
    struct Counted(Cell<u32>);

    impl State for Counted {
        type Error = StateError;

        fn get(&self, _: &StateKey) -> Result<Option<Vec<u8>>, StateError> {
            self.0.set(self.0.get() + 1);
            Ok(Some(vec![1]))
        }
    }

    #[test]
    fn nothing_is_read_twice_what_is_put_hides_it_and_only_that_is_written() {
        let (state, known) = (Counted::default(), Known::default());
        let (read, removed) = (
            StateKey::subject(&Hash([1; 32])),
            StateKey::subject(&Hash([2; 32])),
        );
        let put = StateKey::ceased(EntryIndex(1));
        for _ in 0..2 {
            assert_eq!(known.over(&state).get(&read).unwrap(), Some(vec![1]));
        }
        assert_eq!(state.0.get(), 1);
        known.put(put.clone(), Some(vec![2]));
        // What is known, as read or as about to be written, is not fetched.
        let other = StateKey::subject(&Hash([3; 32]));
        let keys = [&put, &other, &read, &other].map(StateKey::clone);
        let fetch = |asked: &[StateKey]| -> Result<Values, StateError> {
            assert_eq!(asked, std::slice::from_ref(&other));
            Ok(vec![None])
        };
        known.fetch(keys.into_iter(), fetch).unwrap();
        assert_eq!(known.over(&state).get(&other).unwrap(), None);
        known.put(put.clone(), Some(vec![3]));
        assert_eq!(known.over(&state).get(&removed).unwrap(), Some(vec![1]));
        known.put(removed.clone(), None);
        assert_eq!(known.over(&state).get(&removed).unwrap(), None);
        assert_eq!(known.over(&state).get(&put).unwrap(), Some(vec![3]));
        assert_eq!((state.0.get(), known.len()), (2, 4));
        assert_eq!(known.into_writes(), [(removed, None), (put, Some(vec![3]))]);
    }
}
