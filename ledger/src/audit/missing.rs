// SPDX-License-Identifier: EUPL-1.2
//! Entries of which something is gone, and the orders that excuse it.

use super::{Audit, Evidence, Fed, unsound};
use crate::{
    admission::Effects,
    body::{Content, EntryType, system::Erasure},
    id::InstitutionId,
    retention::{self, Cut},
    state::registry,
};

/// What an order to erase an entry is held against, once its body cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) entry_type: EntryType,
    pub(super) accepted_at_ms: u64,
    /// The whole body, not some disclosures of it.
    pub(super) whole: bool,
    /// Of the first key; whose the entry is, unless it was signed by delegation or is held by an authority.
    pub(super) institution: Option<InstitutionId>,
    /// An order names it, whose signer need not be the one that may ask.
    pub(super) named: bool,
    /// It is said to have left its lists: a cut must have taken it, and a state root must hold that cut.
    pub(super) retired: bool,
}

impl Missing {
    /// Whether the order is about such an entry, whoever may ask.
    fn is_named(&self, index: u64, order: &Erasure, ordered_at_ms: u64) -> bool {
        match order.before {
            _ if self.retired => false,
            Some(before) => self.is_cut(index, before, &order.types, ordered_at_ms),
            None => order.entries.contains(&index) && !(self.whole && order.subject.is_some()),
        }
    }

    fn is_cut(&self, index: u64, before: u64, types: &[EntryType], ordered_at_ms: u64) -> bool {
        // Of what holds on, the age counts from later still.
        let since_ms = Some(self.accepted_at_ms);
        index < before && retention::is_due(self.entry_type, types, since_ms, ordered_at_ms)
    }

    /// Whether the time of its acceptance alone tells how old it is. What holds on may hold yet.
    fn is_surely_due(&self) -> bool {
        !retention::holds_on(self.entry_type)
    }
}

impl Audit {
    /// Entries said to have left their lists by a cut that no state root holds yet: nodes tell so as soon as they folded it, and state its
    /// root later. Until one does, nothing is proven of them, and nothing false.
    pub fn waiting(&self) -> u64 {
        let unordered = self.unordered.iter();
        let waiting =
            unordered.filter(|(index, missing)| !missing.named && self.waits(**index, missing));
        waiting.count() as u64
    }

    pub(super) fn waits(&self, index: u64, missing: &Missing) -> bool {
        let mut reached = self
            .pending
            .iter()
            .filter_map(|change| Some((change.reach.as_ref()?, change.accepted_at_ms)));
        missing.retired
            && reached
                .any(|(reach, at_ms)| missing.is_cut(index, reach.before, &reach.types, at_ms))
    }

    /// If it is an order to erase: entries that it names may be gone.
    pub(super) fn take_order(&mut self, fed: &Fed, effects: &Effects) -> Result<(), Evidence> {
        let body = effects.entry.entry().body();
        let Content::Erasure(order) = &body.content else {
            return Ok(());
        };
        let signer = &body.common.institution;
        let authority = registry::has_role(&self.state, signer, "authority")
            .map_err(|error| unsound(fed.index, &error))?;
        self.unordered.retain(|index, missing| {
            let named = missing.is_named(*index, order, fed.meta.accepted_at_ms);
            missing.named |= named;
            let due = order.before.is_none() || missing.is_surely_due();
            !(named && due && (authority || missing.institution.as_ref() == Some(signer)))
        });
        self.count_untold();
        Ok(())
    }

    /// A state root holds a cut: entries that it can have taken may have left their lists.
    pub(super) fn excuse_retired(&mut self, cut: &Cut) {
        let (reach, at_ms) = (&cut.reach, cut.accepted_at_ms);
        self.unordered.retain(|index, missing| {
            let taken =
                missing.retired && missing.is_cut(*index, reach.before, &reach.types, at_ms);
            missing.named |= taken;
            let asks = reach.authority || missing.institution.as_ref() == Some(&cut.institution);
            !(taken && missing.is_surely_due() && asks)
        });
        self.count_untold();
    }

    fn count_untold(&mut self) {
        let untold = self.unordered.values().filter(|missing| missing.named);
        self.report.untold = untold.count() as u64;
    }
}
