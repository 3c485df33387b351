// SPDX-License-Identifier: EUPL-1.2
//! What the registry is read for: its readers ask for nothing that it does not hold, and what an entry asks for alone is not the registry's.

use std::{cell::RefCell, collections::BTreeSet};

use ledger::{
    admission::{self, Stamp, apply},
    entry::SubmittedEntry,
    id::NodeNumber,
    number::{EntryIndex, TreeSize},
    state::{MemoryState, State, StateError, StateKey, kind, registry},
};

use crate::{
    properties::{History, Step},
    town::{Said, institution, key, person},
};

/// A state that remembers what it was asked for.
struct Asked<'a> {
    state: &'a MemoryState,
    keys: RefCell<BTreeSet<StateKey>>,
}

impl<'a> Asked<'a> {
    fn of(state: &'a MemoryState) -> Asked<'a> {
        let keys = RefCell::default();
        Asked { state, keys }
    }

    /// The kinds of what was asked for, whether the registry holds it or not.
    fn kinds(&self, held: bool) -> BTreeSet<u8> {
        let keys = self.keys.borrow();
        keys.iter()
            .filter(|key| registry::holds(key) == held)
            .map(|key| key.kind)
            .collect()
    }
}

impl State for Asked<'_> {
    type Error = StateError;

    fn get(&self, key: &StateKey) -> Result<Option<Vec<u8>>, StateError> {
        self.keys.borrow_mut().insert(key.clone());
        self.state.get(key)
    }
}

/// A ledger with a delegation and a key that was replaced.
fn governed() -> History {
    let mut history = History::begin();
    let delegate = Step::Delegate {
        controller: 1,
        submitter: 0,
        granted: true,
        signers: 7,
        stale: false,
    };
    for step in [delegate, Step::Rotate { of: 2 }] {
        let entry = history.entry(&step).unwrap();
        assert!(matches!(history.town.submit(entry), Said::Accepted(_)));
    }
    history
}

fn access(history: &mut History) -> SubmittedEntry {
    let step = Step::Access {
        by: 0,
        speaks: 1,
        provider: false,
        subjects: 1,
        consent: true,
        exchange: 0,
        part: 1,
        n: 1,
        sealed: false,
        ago_h: 0,
    };
    history.entry(&step).unwrap()
}

#[test]
fn its_readers_ask_for_what_it_holds() -> Result<(), StateError> {
    let history = governed();
    let state = Asked::of(&history.town.state);
    let [inps, voghera, asl] = ["inps", "voghera", "asl"].map(institution);
    let (index, size) = (
        EntryIndex(history.town.size()),
        TreeSize(history.town.size()),
    );
    let rotated = key("asl.entry").key_id();
    assert!(registry::key(&state, &rotated)?.is_some());
    assert!(registry::key_terms(&state, &rotated)?.is_some());
    assert_eq!(registry::later_keys(&state, &rotated)?.len(), 1);
    assert_ne!(registry::current_key(&state, &rotated, index)?, rotated);
    assert_eq!(registry::keys_of(&state, &asl)?.len(), 6);
    assert_eq!(registry::governance_keys(&state)?.len(), 3);
    assert_eq!(registry::log_keys(&state)?.len(), 1);
    assert!(registry::log_key_at(&state, size)?.is_some());
    assert!(registry::is_participant(&state, &inps)?);
    assert_eq!(registry::institutions(&state, 0, 9)?.1, 3);
    assert_eq!(registry::roles_of(&state, &voghera)?.len(), 1);
    assert!(registry::is_delegated(&state, &voghera, &inps)?);
    assert_eq!(registry::delegates_of(&state, &voghera)?.len(), 1);
    assert!(registry::node(&state, NodeNumber(1))?.is_some());
    assert_eq!(registry::nodes_at(&state, size)?.len(), 3);
    let node = key("inps.node").key_id();
    assert!(registry::node_of_key(&state, &node, index)?.is_some());
    assert!(registry::rules(&state)?.is_some());
    assert!(registry::oprf_keys(&state)?.is_empty());
    assert!(registry::policy(&state)?.is_none());
    assert!(registry::governance(&state)?.is_some());
    for asked in state.keys.borrow().iter() {
        assert!(registry::holds(asked), "{asked:?}");
    }

    // What else it reads is written by others, too.
    let others = Asked::of(&history.town.state);
    registry::consent(&others, &person("0"), "r")?;
    registry::linked(&others, &person("0"))?;
    registry::state_root(&others)?;
    assert_eq!(others.keys.borrow().len(), 3);
    assert!(others.kinds(true).is_empty());
    Ok(())
}

#[test]
fn what_an_access_asks_for_alone_it_does_not_hold() -> Result<(), StateError> {
    let mut history = governed();
    let access = access(&mut history);
    let town = &history.town;
    let verified = town.verify(access).unwrap();
    let alone = admission::asked(&verified, town.now_ms);
    assert_eq!(alone.len(), 7);
    assert_eq!(admission::asked_at_door(&verified, town.now_ms).len(), 5);
    for key in &alone {
        assert!(!registry::holds(key), "{key:?}");
    }
    let state = Asked::of(&town.state);
    let stamp = Stamp {
        index: EntryIndex(town.size()),
        accepted_at_ms: town.now_ms,
        body_salt: [0; 32],
    };
    apply(&state, verified, stamp, &town.ledger)?;
    let registry = [kind::DELEGATION, kind::KEY, kind::RULES, kind::DETAIL];
    assert_eq!(state.kinds(true), BTreeSet::from(registry));
    let own = [
        kind::STREAM,
        kind::ENTRY_ID,
        kind::EXCHANGE,
        kind::CONSENT_FOLD,
        kind::LINK,
    ];
    assert_eq!(state.kinds(false), BTreeSet::from(own));
    Ok(())
}
