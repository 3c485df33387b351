// SPDX-License-Identifier: EUPL-1.2
//! Whether what a start tells fits together, once all of it was told.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::ToString,
    vec::Vec,
};

use super::{Beginning, described, index_of, of_registry};
use crate::{
    audit::Evidence,
    bytes::{
        ListValue,
        state::{self, StateKey, kind},
    },
    consent::ConsentState,
    erasure,
    fold::Change,
    hash::Hash,
    number::EntryIndex,
    retention::Cuts,
    state::MemoryState,
};

impl Beginning {
    /// No entry was accepted before the one before it.
    pub(super) fn compare_times(&self) -> Result<(), Evidence> {
        let mut last_ms = 0;
        for (index, at_ms) in &self.times {
            if *at_ms < last_ms {
                let said = format!("{at_ms} of entry {index}");
                let computed = format!("{last_ms} or later, as one before it");
                return Err(self.lie("a time of acceptance", said, computed));
            }
            last_ms = *at_ms;
        }
        Ok(())
    }

    /// The cuts that stand, at the state root and at the start, are those among the orders that no later one supersedes.
    pub(super) fn compare_cuts(&self) -> Result<(), Evidence> {
        let (mut folded, mut all) = (Cuts::default(), Cuts::default());
        let mut ordered = BTreeMap::new();
        for (key, value) in self.state.iter() {
            let at = index_of(key).filter(|_| key.kind == kind::ERASURE);
            let order = at.and_then(|at| erasure::Order::decode(at, value));
            let Some(cut) = order.and_then(|order| order.cut()) else {
                continue;
            };
            if self.folded().holds(cut.index) {
                folded.add(cut.clone());
            }
            ordered.insert(cut.index, cut.clone());
            all.add(cut);
        }
        let listed = self.state.iter();
        let listed = listed.filter(|(key, _)| key.kind == kind::CUTS);
        if folded != self.cuts || !listed.eq(&erasure::listing(&all)) {
            let said = "others than the orders come to".to_string();
            return Err(self.lie("the cuts that stand", said, "those".into()));
        }
        let since = |index: &EntryIndex| !self.folded().holds(*index);
        let told = self.changes.iter().filter_map(Change::cut);
        let due = ordered.into_values().filter(|cut| since(&cut.index));
        if !told.eq(due) {
            let said = "cuts that no order gives, or fewer".to_string();
            return Err(self.lie("what changed after the state root", said, "those".into()));
        }
        Ok(())
    }

    /// Each list's items lead from its base to its head.
    pub(super) fn compare_lists(&mut self) -> Result<(), Evidence> {
        let lists = core::mem::take(&mut self.lists);
        let count = lists.len();
        for (key, items) in lists {
            let value = self
                .values
                .get(&key)
                .and_then(|value| ListValue::decode(value));
            let leads = value.is_some_and(|value| {
                let base = ListValue {
                    count: value.base_count,
                    head: value.base_head,
                    ..value
                };
                items.iter().fold(base, |list, item| list.with(item)) == value
            });
            if !leads {
                let said = format!("{} items under map key {key}", items.len());
                return Err(self.lie("what stands in lists", said, "leads to another head".into()));
            }
        }
        if count != self.list_values {
            let (said, computed) = (count.to_string(), self.list_values.to_string());
            return Err(self.lie("the number of lists", said, computed));
        }
        Ok(())
    }

    /// What governance comes to is what stands under the root, no more and no less.
    pub(super) fn compare_registry(&self) -> Result<(), Evidence> {
        let of = |state: &MemoryState| -> BTreeMap<StateKey, Vec<u8>> {
            let values = state.iter().filter(|(key, _)| of_registry(key));
            values
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        };
        let (told, replayed) = (of(&self.state), of(&self.registry.state));
        let keys: BTreeSet<&StateKey> = told.keys().chain(replayed.keys()).collect();
        for key in keys {
            if told.get(key) != replayed.get(key) {
                let there = |state: &BTreeMap<StateKey, Vec<u8>>| {
                    let value = state.get(key).map(|value| Hash::of(&[value]));
                    value.map_or("absent".to_string(), |digest| format!("SHA-256 {digest}"))
                };
                let said = format!("{} {}", described(key), there(&told));
                return Err(self.lie("the registry", said, there(&replayed)));
            }
        }
        Ok(())
    }

    /// Each consent under the root has a scope, and no other has; event and place are the same.
    pub(super) fn compare_consents(&self) -> Result<(), Evidence> {
        let names = |wanted: u8| {
            let state = self.state.iter();
            state.filter(move |(key, _)| key.kind == wanted)
        };
        let mut scopes = names(kind::CONSENT_FOLD);
        for (key, value) in names(kind::CONSENT) {
            let scope = scopes.next().filter(|(scope, _)| scope.name == key.name);
            let told = scope.and_then(|(_, scope)| ConsentState::decode(scope));
            let fits = told.as_ref().is_some_and(|told| {
                let at = state::decode_at(value);
                let event = at.map(|at| state::consent(&at, told.event));
                at.is_some_and(|at| at.index == told.index) && event.as_ref() == Some(value)
            });
            if !fits {
                let said = "of another event, or missing".to_string();
                return Err(self.lie("the scope of a consent", said, described(key)));
            }
        }
        match scopes.next() {
            Some((key, _)) => {
                let said = described(key);
                Err(self.lie("the scope of a consent", said, "of none".into()))
            }
            None => Ok(()),
        }
    }
}
