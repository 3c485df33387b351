// SPDX-License-Identifier: EUPL-1.2
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use alloc::format;
use core::cell::Cell;

use proptest::prelude::*;

use super::*;
use crate::state::{MemoryState, kind};

/// Counts what is read.
struct Counted<'a> {
    state: &'a MemoryState,
    reads: Cell<usize>,
}

impl State for Counted<'_> {
    type Error = StateError;

    fn get(&self, key: &StateKey) -> Result<Option<Vec<u8>>, StateError> {
        self.reads.set(self.reads.get() + 1);
        self.state.get(key)
    }
}

fn counted(state: &MemoryState) -> Counted<'_> {
    Counted {
        state,
        reads: Cell::new(0),
    }
}

fn order(index: u64, institution: &str, authority: bool, before: u64) -> Order {
    Order {
        index: EntryIndex(index),
        institution: InstitutionId::parse(institution).unwrap(),
        authority,
        accepted_at_ms: 1_000 * index,
        ground: Ground::RetentionEnded,
        scope: Scope::Before(before, Vec::new()),
    }
}

/// Records it as an entry does. How many keys were read for it.
fn give(state: &mut MemoryState, order: &Order) -> usize {
    let reading = counted(state);
    let mut draft = Draft::over(&reading);
    draft.put(StateKey::erasure(order.index), order.encode());
    record_cut(&mut draft, &order.cut().unwrap()).unwrap();
    let (writes, reads) = (draft.into_writes(), reading.reads.get());
    state.write(&writes);
    reads
}

proptest! {
    #[test]
    fn what_is_listed_is_what_all_cuts_given_leave(drawn in prop::collection::vec((0usize..3, any::<bool>(), 0u64..4), 0..30)) {
        let (mut state, mut all) = (MemoryState::default(), Cuts::default());
        let mut last = [None; 3];
        for (index, (by, authority, before)) in (100..).zip(drawn) {
            let institutions = ["ipa:a", "ipa:b", "ipa:c"];
            let order = order(index, institutions[by], authority, before);
            give(&mut state, &order);
            all.add(order.cut().unwrap());
            last[by] = Some(order.accepted_at_ms);
            prop_assert_eq!(&cuts(&state).unwrap(), &all);
            let listed = state.iter().filter(|(key, _)| key.kind == kind::CUTS);
            prop_assert!(listed.eq(&listing(&all)));
            for (institution, last) in institutions.iter().zip(&last) {
                let institution = InstitutionId::parse(institution).unwrap();
                prop_assert_eq!(last_cut_ms(&state, &institution).unwrap(), *last);
            }
        }
    }
}

/// Ever so many institutions may cut: one more cut costs what it costs where they are few.
#[test]
fn the_cuts_of_others_are_not_read() {
    let mut state = MemoryState::default();
    let mut reads = Vec::new();
    for number in 0..200 {
        reads.push(give(
            &mut state,
            &order(100 + number, &format!("ipa:a{number}"), false, 9),
        ));
    }
    let again = order(400, "ipa:a7", false, 10);
    let reading = counted(&state);
    let last = last_cut_ms(&reading, &again.institution).unwrap();
    assert_eq!(last, Some(107_000));
    assert!(reading.reads.get() <= 2);
    reads.push(give(&mut state, &again));
    assert!(reads.iter().all(|reads| *reads <= 3), "{reads:?}");
    assert_eq!(cuts(&state).unwrap().iter().count(), 200);
}
