// SPDX-License-Identifier: EUPL-1.2
//! The cuts that one fold holds.

use alloc::{collections::BTreeMap, vec::Vec};

use super::Change;
use crate::{
    id::InstitutionId,
    number::EntryIndex,
    retention::{self, Cut, Cuts, Terms},
};

/// The cuts of one fold, and those that stood before it. All passes of a fold work with the same.
#[derive(Clone, Debug, Default)]
pub struct Given {
    before: Cuts,
    /// In the order of the ledger.
    cuts: Vec<Cut>,
    /// The places of each institution's, and those of the authorities'.
    of: BTreeMap<InstitutionId, Vec<usize>>,
    authorities: Vec<usize>,
}

impl Given {
    /// None yet, beside these that stood before.
    pub fn beside(before: Cuts) -> Given {
        Given {
            before,
            ..Given::default()
        }
    }

    /// Adds the next cut of the fold.
    pub fn add(&mut self, cut: Cut) {
        let place = self.cuts.len();
        if cut.reach.authority {
            self.authorities.push(place);
        }
        let own = self.of.entry(cut.institution.clone()).or_default();
        own.push(place);
        self.cuts.push(cut);
    }

    /// Whether the fold holds none.
    pub fn is_empty(&self) -> bool {
        self.cuts.is_empty()
    }

    /// Whether any of them can take an entry, or what came before it. Times never fall: what comes after one that none can is out of reach too.
    pub fn reaches(&self, change: &Change) -> bool {
        self.cuts.last().is_some_and(|last| {
            change.index < last.index
                && retention::is_old(change.accepted_at_ms, last.accepted_at_ms)
        })
    }

    /// The cuts that stand after the fold.
    pub fn standing(&self) -> Cuts {
        let mut standing = self.before.clone();
        self.cuts.iter().cloned().for_each(|cut| standing.add(cut));
        standing
    }

    /// The place of the first of them at which an entry is taken, by it or by one given before; none if it stays.
    pub(super) fn first(
        &self,
        index: EntryIndex,
        since_ms: Option<u64>,
        terms: &Terms,
    ) -> Option<usize> {
        let next = self.cuts.partition_point(|cut| cut.index <= index);
        if next < self.cuts.len() && self.before.take(index, since_ms, terms) {
            return Some(next);
        }
        let own = self.of.get(&terms.institution).into_iter().flatten();
        let asked = own.chain(&self.authorities);
        let taking = asked.filter(|place| {
            let cut = self.cuts.get(**place);
            cut.is_some_and(|cut| cut.takes(index, since_ms, terms))
        });
        taking.min().map(|place| (*place).max(next))
    }

    /// Where a cut stands; none behind the last.
    pub(super) fn index_of(&self, place: usize) -> Option<EntryIndex> {
        self.cuts.get(place).map(|cut| cut.index)
    }
}
