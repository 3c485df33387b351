// SPDX-License-Identifier: EUPL-1.2
//! Entries that earlier builds kept: they changed what those builds say that they changed.

use super::Fed;
use crate::{admission::Effects, fold::Change};

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
