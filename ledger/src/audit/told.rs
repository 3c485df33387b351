// SPDX-License-Identifier: EUPL-1.2
//! What an entry that is not whole any more may be said to have changed.

use alloc::vec::Vec;

use super::Fed;
use crate::{
    body::{Body, EntryType},
    fold::Change,
    retention::Terms,
    state::{StateKey, kind},
};

/// Why an entry of this type cannot have changed what it is said to have changed: a word that nobody can hold against a body must not
/// register a key, move a base or end another's consent before its time.
pub(super) fn beyond_its_type(fed: &Fed, told: &Change) -> Option<&'static str> {
    let entry_type = fed.meta.entry_type;
    if told.reach.is_some() && entry_type != EntryType::Erasure {
        return Some("no erasure, and so no cut");
    }
    let body = fed
        .body
        .as_ref()
        .and_then(|(_, submitted)| Body::parse(submitted.payload(), submitted.disclosures()).ok());
    let known = body.map(|body| Terms::of(&body));
    if told.terms.entry_type != entry_type || known.is_some_and(|known| known != told.terms) {
        return Some("of another type, controller or holder");
    }
    let ceases_later = |key: &StateKey, value: &Option<Vec<u8>>| {
        let at = value.as_deref().and_then(|value| value.try_into().ok());
        key.kind != kind::CEASED
            || at.is_some_and(|at| u64::from_be_bytes(at) >= told.accepted_at_ms)
    };
    let may = |(key, value): &(StateKey, Option<Vec<u8>>)| match (key.kind, entry_type) {
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
