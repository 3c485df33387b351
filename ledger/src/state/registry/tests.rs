// SPDX-License-Identifier: EUPL-1.2
#![allow(clippy::unwrap_used)]
use alloc::collections::BTreeSet;

use super::*;
use crate::{body::access::Side, id::EntryId, pair::Pair};

#[test]
fn the_registry_holds_what_governance_writes_and_of_lists_its_own() {
    let institution = InstitutionId::parse("ipa:a").unwrap();
    let (hash, index, node) = (Hash([1; 32]), EntryIndex(1), NodeNumber(1));
    let id = EntryId::from_parts(1, &[0; 10]);
    let pair = Pair {
        exchange: [0; 16],
        consumer: institution.clone(),
        provider: institution.clone(),
    };
    let registry = [
        StateKey::key(&KeyId(hash)),
        StateKey::institution(&institution),
        StateKey::role(&institution, "due"),
        StateKey::node(node),
        StateKey::rules(),
        StateKey::delegation(&institution, &institution),
        StateKey::policy(),
        StateKey::detail(&StateKey::institution(&institution)),
        StateKey::governance(),
        StateKey::successor(&KeyId(hash)),
    ];
    let lists = [INSTITUTIONS, NODES, GOVERNANCE_KEYS, LOG_KEYS, OPRF_KEYS].map(String::from);
    let of_one = [
        keys_list(&institution),
        roles_list(&institution),
        delegations_list(&institution),
    ];
    let others = [
        StateKey::subject(&hash),
        StateKey::household(&hash),
        StateKey::sealed(&hash),
        StateKey::consent(&hash, "r"),
        StateKey::stream(&institution, "s"),
        StateKey::entry_id(&institution, &id),
        StateKey::exchange(0, &pair, Side::Consumer, 0),
        StateKey::consent_fold(&hash, "r"),
        StateKey::sealed_entry(index),
        StateKey::state_root(),
        StateKey::link(&hash),
        StateKey::unsettled(index),
        StateKey::erasure(index),
        StateKey::erased(index, node),
        StateKey::erasures_of(index),
        StateKey::ceased(index),
        StateKey::composition(&hash),
        StateKey::cuts(),
        StateKey::cuts_of(&institution),
    ];
    let mut kinds = BTreeSet::from([kind::LIST]);
    for (keys, expected) in [(&registry[..], true), (&others, false)] {
        for key in keys {
            assert_eq!(holds(key), expected, "{key:?}");
            kinds.insert(key.kind);
        }
    }
    let all = (kind::SUBJECT..=kind::POLICY).chain(kind::LOCAL..=kind::CUTS);
    assert!(kinds.into_iter().eq(all), "a kind that is not among these");
    let both = |list: &str| [StateKey::list(list), StateKey::list_item(list, 0)];
    for list in lists.iter().chain(&of_one) {
        assert_eq!(both(list).map(|key| holds(&key)), [true; 2], "{list}");
    }
    for list in [crate::state::sealed::due_list(1), ORDERS.into()] {
        assert_eq!(both(&list).map(|key| holds(&key)), [false; 2], "{list}");
    }
}
