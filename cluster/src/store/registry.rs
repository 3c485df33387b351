// SPDX-License-Identifier: EUPL-1.2
//! What was read of the registry, kept while it stands: governance changes it now and then, and each entry and each checkpoint asks for it.
//!
//! The registry follows from the entries of a tree, so the tree's size tells which one it is. Whoever applies says from which size on it is
//! another, before anybody can read that. A view of an earlier size reads for itself and leaves nothing here.

use std::collections::HashMap;
use std::sync::Arc;

use ledger::state::{StateKey, registry};
use parking_lot::RwLock;

use crate::error::Error;
use crate::publish::quorum::CheckpointKeys;

/// Values that are kept. When there are more, those that are not there are forgotten, for whoever sends an entry may ask for any; and all, where
/// half of them are there.
const VALUES_MAX: usize = 16 * 1024;

/// The registry of one database.
#[derive(Default)]
pub(super) struct Registry(RwLock<Standing>);

#[derive(Default)]
struct Standing {
    /// States of trees from this size on have this registry.
    since: u64,
    /// By key, none where there is none.
    values: HashMap<StateKey, Option<Vec<u8>>>,
    checkpoint_keys: Option<Arc<CheckpointKeys>>,
}

impl Registry {
    /// The state of the tree of this size has another registry. To be said before that state is written: a view that is made once it can be read
    /// then finds nothing of the registry before.
    pub(super) fn changes_at(&self, size: u64) {
        *self.0.write() = Standing {
            since: size,
            ..Standing::default()
        };
    }

    /// A value in the state of a tree of this size, read if it is not kept.
    pub(super) fn value(
        &self,
        size: u64,
        key: &StateKey,
        read: impl FnOnce() -> Result<Option<Vec<u8>>, Error>,
    ) -> Result<Option<Vec<u8>>, Error> {
        if !registry::holds(key) {
            return read();
        }
        let keep = |standing: &mut Standing, value| {
            if standing.values.len() >= VALUES_MAX {
                standing.values.retain(|_, value| value.is_some());
                if standing.values.len() > VALUES_MAX / 2 {
                    standing.values.clear();
                }
            }
            standing.values.insert(key.clone(), value);
        };
        self.kept(size, |standing| standing.values.get(key), read, keep)
    }

    /// The keys that sign checkpoints, in the same way.
    pub(super) fn checkpoint_keys(
        &self,
        size: u64,
        read: impl FnOnce() -> Result<CheckpointKeys, Error>,
    ) -> Result<Arc<CheckpointKeys>, Error> {
        let keep = |standing: &mut Standing, keys| standing.checkpoint_keys = Some(keys);
        let read = || read().map(Arc::new);
        self.kept(size, |kept| kept.checkpoint_keys.as_ref(), read, keep)
    }

    fn kept<T: Clone>(
        &self,
        size: u64,
        find: impl FnOnce(&Standing) -> Option<&T>,
        read: impl FnOnce() -> Result<T, Error>,
        keep: impl FnOnce(&mut Standing, T),
    ) -> Result<T, Error> {
        let since = {
            let standing = self.0.read();
            match find(&standing) {
                Some(found) if size >= standing.since => return Ok(found.clone()),
                _ => standing.since,
            }
        };
        let found = read()?;
        if size >= since {
            let mut standing = self.0.write();
            // It may have changed while it was read.
            if standing.since == since {
                keep(&mut standing, found.clone());
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ledger::hash::Hash;

    use super::*;

    fn value(registry: &Registry, size: u64, of: u8) -> Option<Vec<u8>> {
        let read = || Ok(Some(vec![of]));
        registry.value(size, &StateKey::rules(), read).unwrap()
    }

    #[test]
    fn a_value_is_kept_for_the_trees_that_have_its_registry() {
        let registry = Registry::default();
        assert_eq!(value(&registry, 3, 1), Some(vec![1]));
        assert_eq!(value(&registry, 4, 2), Some(vec![1]));
        registry.changes_at(6);
        for (size, read, expected) in [(5, 3, 3), (6, 4, 4), (5, 5, 5), (7, 6, 4)] {
            assert_eq!(value(&registry, size, read), Some(vec![expected]));
        }
    }

    #[test]
    fn what_was_read_of_the_registry_before_is_not_kept() {
        let registry = Registry::default();
        let read = || {
            registry.changes_at(6);
            Ok(None)
        };
        assert_eq!(registry.value(5, &StateKey::rules(), read).unwrap(), None);
        assert_eq!(value(&registry, 6, 1), Some(vec![1]));
    }

    #[test]
    fn what_each_entry_changes_is_not_kept_and_what_is_kept_is_bounded() {
        let registry = Registry::default();
        let subject = StateKey::subject(&Hash([1; 32]));
        for of in [1, 2] {
            let read = || Ok(Some(vec![of]));
            assert_eq!(registry.value(1, &subject, read).unwrap(), Some(vec![of]));
        }
        for number in 0..=VALUES_MAX as u64 {
            let key = StateKey::list_item("names", number);
            registry.value(1, &key, || Ok(Some(vec![1]))).unwrap();
        }
        assert_eq!(registry.0.read().values.len(), 1);
    }

    #[test]
    fn asking_for_what_is_not_there_drives_out_nothing_that_is() {
        let registry = Registry::default();
        assert_eq!(value(&registry, 1, 1), Some(vec![1]));
        for number in 0..2 * VALUES_MAX as u64 {
            let key = StateKey::list_item("unknown", number);
            registry.value(1, &key, || Ok(None)).unwrap();
            assert!(registry.0.read().values.len() <= VALUES_MAX);
        }
        assert_eq!(value(&registry, 1, 2), Some(vec![1]));
        let last = StateKey::list_item("unknown", 2 * VALUES_MAX as u64 - 1);
        let kept = registry.value(1, &last, || Ok(Some(vec![1])));
        assert_eq!(kept.unwrap(), None);
    }
}
