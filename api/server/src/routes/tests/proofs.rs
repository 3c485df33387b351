// SPDX-License-Identifier: EUPL-1.2
//! Values with their proof: where a consent stands, and whose a key is, held against the policy alone.

use ledger::{
    base64,
    body::{Body, Content, consent::ConsentEvent},
    export::Export,
    hash::Hash,
    id::KeyId,
    key::KeyUse,
    merkle,
    state::StateKey,
    state_map,
};
use serde_json::{Value, json};
use wire::token::Role;

use crate::{
    app::now_ms,
    present::{hash_text, key_text},
    testing::{
        AUTHORITY, INPS, TOWN,
        running::{Running, access, consent, policy},
        signing_key,
    },
};

const DAY: u64 = 86_400_000;

/// The proof as an export of nobody: one parser and one ground for both.
fn export(proof: &Value) -> Export {
    let nobody = hash_text(&Hash::ZERO);
    let text = json!({
        "export": 1, "origin": "ledger.visto.test/1", "audience": "reader",
        "about": {"kind": "subject", "ref": nobody},
        "checkpoint": proof["checkpoint"], "stateRoot": proof["stateRoot"],
        "lists": [], "facts": proof["facts"], "records": [], "notOpened": [], "restricted": []
    });
    Export::parse(text.to_string().as_bytes()).unwrap()
}

/// The proven values by key, from the policy upwards.
fn proven(proof: &Value) -> Vec<(StateKey, Option<Vec<u8>>)> {
    let export = export(proof);
    let checkpoint = policy().verify(&export.head.checkpoint).unwrap();
    let checkpoint = checkpoint.checkpoint().clone();
    let root = &export.head.state_root;
    let included =
        merkle::verify_inclusion(root.index, checkpoint.size, root.leaf_hash(), &root.path);
    assert_eq!(included, Ok(checkpoint.root));
    let body = Body::parse(root.entry.payload(), &[]).unwrap();
    let Content::StateRoot(stated) = body.content else {
        panic!("a state root")
    };
    export
        .facts
        .into_iter()
        .map(|fact| {
            let key = fact.key.hash();
            let held = match &fact.value {
                Some(value) => state_map::verify_presence(&stated.root, &key, value, &fact.proof),
                None => state_map::verify_absence(&stated.root, &key, &fact.proof),
            };
            assert!(held.is_ok(), "{held:?}");
            (fact.key, fact.value)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_consent_stands_is_proven() {
    let running = Running::start().await;
    let (person, now) = (Hash([1; 32]), now_ms());
    running
        .accept(&consent(person, ConsentEvent::Given, now - DAY, TOWN))
        .await;
    let ask = async |proof: bool, id: &str, role| {
        let question = json!({"subject": hash_text(&person), "record": "r-1", "proof": proof});
        running
            .post_as("/v1/consents/status", &question, id, role)
            .await
    };
    let given = ask(true, INPS, Role::Institution).await.json();
    assert_eq!(given["record"]["status"], "given");
    let key = StateKey::consent(&person, "r-1");
    let [(proven_key, value)] = proven(&given["proof"]).try_into().unwrap();
    assert_eq!(proven_key, key);
    assert!(value.unwrap().ends_with(b"given"));
    running
        .accept(&consent(person, ConsentEvent::Withdrawn, now, TOWN))
        .await;
    let withdrawn = ask(true, TOWN, Role::Dpo).await.json();
    assert_eq!(withdrawn["record"]["status"], "withdrawn");
    let [(_, value)] = proven(&withdrawn["proof"]).try_into().unwrap();
    assert!(value.unwrap().ends_with(b"withdrawn"));
    assert!(withdrawn["treeSize"].as_u64() > given["treeSize"].as_u64());
    // Without a proof nothing is folded; whoever may not see the record is not told that it is there.
    assert_eq!(
        ask(false, TOWN, Role::Dpo).await.json()["proof"],
        Value::Null
    );
    let stranger = ask(true, AUTHORITY, Role::Institution).await;
    assert_eq!(stranger.status.as_u16(), 404, "{}", stranger.text);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_a_key_is_is_proven() {
    let running = Running::start().await;
    running.accept(&access(&[Hash([1; 32])], now_ms())).await;
    running
        .node
        .fold(std::time::Duration::from_secs(20))
        .await
        .unwrap();
    let id: KeyId = signing_key(TOWN, KeyUse::Entry).key_id();
    let url = format!("/v1/keys/{}", key_text(&id));
    let key = running.get(&format!("{url}?proof=true")).await.json();
    let [(proven_key, value)] = proven(&key["proof"]).try_into().unwrap();
    assert_eq!(proven_key, StateKey::key(&id));
    let record = ledger::state::KeyRecord::decode(&value.unwrap()).unwrap();
    assert_eq!(record.institution.as_str(), TOWN);
    let public = base64::url_encode(record.public_key.as_bytes());
    assert_eq!(key["publicKey"], public);
    assert_eq!(running.get(&url).await.json()["proof"], Value::Null);
    let bad = running.get(&format!("{url}?proof=yes")).await;
    assert_eq!(bad.status.as_u16(), 400);
    running.stop().await;
}
