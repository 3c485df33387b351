// SPDX-License-Identifier: EUPL-1.2
//! Entries that earlier builds kept: they changed what those builds say that they changed. And what an entry that is not whole any more may
//! be said to have changed.

use super::Fed;
use crate::{
    admission::Effects,
    body::{Body, EntryType},
    fold::Change,
    retention::Terms,
    state::{StateKey, kind},
};

/// Whether an entry was kept by a build that moved no list's base: what it wrote then is what counts.
pub(super) fn is_without_terms(fed: &Fed) -> bool {
    let told = fed.change.as_ref();
    told.is_some_and(|change| change.terms.is_none())
}

/// The effects that the build had which kept the entry.
pub(super) fn of_its_build(fed: &Fed, mut effects: Effects) -> Effects {
    if is_without_terms(fed) {
        effects.writes.retain(|(key, _)| !key.for_retention());
    }
    effects
}

/// Whether what is told is what was computed, as far as its build told it.
pub(super) fn agrees(told: &Change, computed: &Change) -> bool {
    if told.terms.is_some() {
        return told == computed;
    }
    let without = Change {
        terms: None,
        ..computed.clone()
    };
    *told == without
}

/// Why an entry of this type cannot have changed what it is said to have changed: a word that nobody can hold against a body must not
/// register a key, move a base or end another's consent before its time.
pub(super) fn beyond_its_type(fed: &Fed, told: &Change) -> Option<&'static str> {
    let entry_type = fed.meta.entry_type;
    if told.reach.is_some() && entry_type != EntryType::Erasure {
        return Some("no erasure, and so no cut");
    }
    if let Some(terms) = &told.terms {
        let body = fed.body.as_ref().and_then(|(_, submitted)| {
            Body::parse(submitted.payload(), submitted.disclosures()).ok()
        });
        let known = body.map(|body| Terms::of(&body));
        if terms.entry_type != entry_type || known.is_some_and(|known| known != *terms) {
            return Some("of another type, controller or holder");
        }
    }
    let ceases_later = |key: &StateKey, value: &Option<alloc::vec::Vec<u8>>| {
        let at = value.as_deref().and_then(|value| value.try_into().ok());
        key.kind != kind::CEASED
            || at.is_some_and(|at| u64::from_be_bytes(at) >= told.accepted_at_ms)
    };
    let may = |(key, value): &(StateKey, Option<alloc::vec::Vec<u8>>)| match (key.kind, entry_type)
    {
        (kind::STREAM, _) => true,
        (kind::CONSENT | kind::CEASED, EntryType::Consent)
        | (kind::CEASED | kind::COMPOSITION, EntryType::Household) => ceases_later(key, value),
        _ => false,
    };
    if told.writes.iter().all(may) {
        None
    } else {
        Some("of a type that writes no such thing")
    }
}
