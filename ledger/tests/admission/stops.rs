// SPDX-License-Identifier: EUPL-1.2
//! Where a node must stop rather than judge, and genesis on a ledger that is no test.

use ledger::{
    admission::{Applied, Stamp, apply, precheck},
    body::{Content, governance::Rules},
    entry,
    id::KeyId,
    key::{KeyUse, SigningKey},
    number::EntryIndex,
    refusal::Refusal,
    state::{State, StateError, StateKey, registry},
};

use crate::town::{Said, Saying, Town};

fn founded(test: bool) -> (Town, Said) {
    let mut town = Town::new();
    let names = ["inps", "asl"].map(str::to_owned);
    let genesis = town.genesis(2, &names, &[], test);
    let submitted = town.sign(
        Content::Genesis(Box::new(genesis)),
        Vec::new(),
        &governed(None),
    );
    let said = town.submit(submitted);
    (town, said)
}

fn governed(refers_to: Option<ledger::body::Reference>) -> Saying {
    Saying {
        institution: "inps".to_owned(),
        signers: vec!["inps.governance".to_owned(), "asl.governance".to_owned()],
        refers_to,
        ..Saying::default()
    }
}

#[test]
fn a_build_that_does_not_carry_the_rules_stops_and_refuses_at_the_door() {
    let (mut town, _) = founded(true);
    let saying = governed(town.governed());
    let submitted = town.sign(
        Content::Rules(Rules {
            rules: 2,
            oprf_key: None,
        }),
        Vec::new(),
        &saying,
    );
    let verified = town.verify(submitted).unwrap();
    let door = precheck(
        &town.state,
        &verified,
        EntryIndex(1),
        town.now_ms,
        &town.ledger,
    )
    .unwrap();
    assert_eq!(door.unwrap_err().refusal, Refusal::RulesUnknown);
    let stamp = Stamp {
        index: EntryIndex(1),
        accepted_at_ms: town.now_ms,
        body_salt: [1; 32],
    };
    let stopped = apply(&town.state, verified, stamp, &town.ledger);
    assert_eq!(stopped.unwrap_err(), StateError::UnknownRules(2));
}

#[test]
fn a_state_that_cannot_be_read_stops_the_node_by_name() {
    let (mut town, _) = founded(true);
    let saying = governed(town.governed());
    for damaged in [StateKey::governance(), StateKey::rules()] {
        let mut state = town.state.clone();
        let mut value = state.get(&damaged).unwrap().unwrap();
        value.pop();
        state.write(&vec![(damaged.clone(), Some(value))]);
        let submitted = town.sign(
            Content::Rules(Rules {
                rules: 1,
                oprf_key: None,
            }),
            Vec::new(),
            &saying,
        );
        let verified = town.verify(submitted).unwrap();
        let stamp = Stamp {
            index: EntryIndex(1),
            accepted_at_ms: town.now_ms,
            body_salt: [1; 32],
        };
        let stopped = apply(&state, verified, stamp, &town.ledger);
        assert_eq!(stopped.unwrap_err(), StateError::Corrupt(damaged));
    }
    // A list that misses an item is no shorter list.
    let mut state = town.state.clone();
    state.write(&vec![(StateKey::list_item("nodes", 1), None)]);
    assert_eq!(
        registry::nodes(&state),
        Err(StateError::Corrupt(StateKey::list_item("nodes", 1)))
    );
}

/// Keys whose secret is published with the vectors sign nothing on a real ledger.
#[test]
fn published_keys_are_for_test_ledgers() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../data/visto-v1.json")).unwrap();
    for test in [true, false] {
        for case in vectors["keys"].as_array().unwrap() {
            let seed: [u8; 32] = hex::decode(case["secret"].as_str().unwrap())
                .unwrap()
                .try_into()
                .unwrap();
            let secret = SigningKey::from_seed(seed);
            let mut town = Town::new();
            let names = ["inps", "asl"].map(str::to_owned);
            let mut genesis = town.genesis(2, &names, &[], test);
            let owner = genesis.institutions[0].institution.clone();
            let message =
                ledger::bytes::possession_message(&town.ledger.name, KeyUse::Entry, &owner);
            genesis.keys[0].possession = secret.sign(&message);
            genesis.keys[0].public_key = secret.public();
            let submitted = town.sign(
                Content::Genesis(Box::new(genesis)),
                Vec::new(),
                &governed(None),
            );
            match town.submit(submitted) {
                Said::Accepted(0) => assert!(test),
                Said::Refused(refused) => {
                    assert!(!test && refused.refusal == Refusal::TestKey, "{refused}")
                }
                other => panic!("{other:?}"),
            }
        }
    }
    let (town, said) = founded(false);
    assert_eq!(said, Said::Accepted(0));
    assert!(!registry::governance(&town.state).unwrap().unwrap().test);
}

/// The registry gives out a key whether it is in force or not: what was signed with it stays verifiable.
#[test]
fn keys_are_found_by_id() {
    let (town, _) = founded(true);
    let keys = registry::RegisteredKeys(&town.state);
    let known = crate::town::key("asl.token");
    assert_eq!(
        entry::KeySource::public_key(&keys, &known.key_id()),
        Ok(Some(known.public()))
    );
    assert_eq!(
        entry::KeySource::public_key(&keys, &KeyId(ledger::hash::Hash::ZERO)),
        Ok(None)
    );
}

/// The genesis of another shard, or of another ledger, founds nothing here.
#[test]
fn a_genesis_is_for_its_shard() {
    let (town, _) = founded(true);
    let submitted = town.entry(0).submitted.clone();
    let verified = entry::verify(
        submitted.clone(),
        &town.ledger.name,
        &entry::genesis_keys(&submitted).unwrap(),
    )
    .unwrap();
    let fresh = Town::new();
    let shard_2 = ledger::admission::LedgerInfo {
        shard: 2,
        ..fresh.ledger.clone()
    };
    let stamp = Stamp {
        index: EntryIndex(0),
        accepted_at_ms: fresh.now_ms,
        body_salt: [1; 32],
    };
    match apply(&fresh.state, verified, stamp, &shard_2).unwrap() {
        Applied::Refused(refused) => assert_eq!(refused.refusal, Refusal::Genesis),
        other => panic!("{other:?}"),
    }
    assert!(
        entry::verify(
            submitted.clone(),
            "real.visto.example",
            &entry::genesis_keys(&submitted).unwrap()
        )
        .is_err()
    );
}
