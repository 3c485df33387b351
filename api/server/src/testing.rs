// SPDX-License-Identifier: EUPL-1.2
//! A small ledger for tests: three institutions, their keys, and the state after genesis.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use ledger::{
    admission::{Applied, LedgerInfo, Stamp, apply},
    base64,
    body::{
        Body, Common, Content,
        governance::{Genesis, Institution, InstitutionEvent, NewKey, Node, Role},
    },
    bytes::possession_message,
    entry::{SubmittedEntry, genesis_keys, verify},
    hash::Hash,
    id::{EntryId, InstitutionId, NodeNumber},
    key::{KeyUse, SigningKey},
    number::{EntryIndex, TreeSize},
    oprf::OprfSecretKey,
    state::MemoryState,
};
use wire::token::{Claims, Role as ReaderRole};

use crate::app::now_ms;

pub(crate) const LEDGER: &str = "ledger.visto.test";
/// Provider, and registry of ISEE households.
pub(crate) const INPS: &str = "ipa:inps";
/// Municipality: consumer, registry of its households, runs the node, has a privacy officer.
pub(crate) const TOWN: &str = "ipa:c_m109";
/// Supervisory authority.
pub(crate) const AUTHORITY: &str = "ipa:gpdp";

pub(crate) fn institution(id: &str) -> InstitutionId {
    InstitutionId::parse(id).unwrap()
}

/// The one key of an institution for a use, the same in every run.
pub(crate) fn signing_key(id: &str, key_use: KeyUse) -> SigningKey {
    let seed = Hash::of(&[id.as_bytes(), key_use.as_str().as_bytes()]);
    SigningKey::from_seed(seed.0)
}

/// The key that the test ledger's pseudonyms are evaluated with.
pub(crate) fn oprf_key() -> OprfSecretKey {
    OprfSecretKey::derive(&[11; 32]).unwrap()
}

fn new_key(id: &str, key_use: KeyUse) -> NewKey {
    let key = signing_key(id, key_use);
    let message = possession_message(LEDGER, key_use, &institution(id));
    NewKey {
        public_key: key.public(),
        key_use,
        institution: institution(id),
        possession: key.sign(&message),
        from: None,
    }
}

pub(crate) fn common(id: &str, occurred_at_ms: u64) -> Common {
    let mut random = [0; 10];
    getrandom::fill(&mut random).unwrap();
    Common {
        ledger: LEDGER.to_owned(),
        id: EntryId::from_parts(occurred_at_ms, &random),
        institution: institution(id),
        occurred_at_ms,
        refers_to: None,
        stream: None,
    }
}

/// Entry 0 of the test ledger; `peer` is the node's own peer listener.
pub(crate) fn genesis(peer: &str) -> SubmittedEntry {
    let named = |id: &str, name: &str| Institution {
        institution: institution(id),
        name: name.to_owned(),
        event: InstitutionEvent::Registered,
        successor: None,
    };
    let role = |id: &str, role: &str| Role {
        institution: institution(id),
        role: role.to_owned(),
        granted: true,
    };
    let mut keys = Vec::new();
    for id in [INPS, TOWN, AUTHORITY] {
        for key_use in [KeyUse::Entry, KeyUse::Token, KeyUse::Governance] {
            keys.push(new_key(id, key_use));
        }
    }
    for key_use in [KeyUse::Node, KeyUse::Cosign, KeyUse::Log] {
        keys.push(new_key(TOWN, key_use));
    }
    let body = Body {
        common: common(TOWN, now_ms()),
        content: Content::Genesis(Box::new(Genesis {
            shard: 1,
            k: 2,
            rules: 1,
            institutions: vec![
                named(INPS, "INPS"),
                named(TOWN, "Comune di Voghera"),
                named(AUTHORITY, "Garante"),
            ],
            keys,
            nodes: vec![Node {
                node: NodeNumber(1),
                institution: institution(TOWN),
                node_key: signing_key(TOWN, KeyUse::Node).key_id(),
                cosign_key: signing_key(TOWN, KeyUse::Cosign).key_id(),
                peer: peer.to_owned(),
                added: true,
                log_key: None,
            }],
            roles: vec![
                role(INPS, "registry-isee"),
                role(TOWN, "registry-anagrafica"),
                role(TOWN, "dpo"),
                role(TOWN, "operator"),
                role(AUTHORITY, "authority"),
            ],
            oprf_key: Some(Hash(*oprf_key().public().as_bytes())),
            test: true,
            previous: None,
        })),
    };
    let governors = [
        signing_key(INPS, KeyUse::Governance),
        signing_key(TOWN, KeyUse::Governance),
    ];
    let governors: Vec<&SigningKey> = governors.iter().collect();
    SubmittedEntry::sign(body.to_json().as_bytes(), &governors, Vec::new()).unwrap()
}

/// The state after genesis, and the size of its tree.
pub(crate) fn state() -> (MemoryState, TreeSize) {
    let genesis = genesis("127.0.0.1:1");
    let keys = genesis_keys(&genesis).unwrap();
    let verified = verify(genesis, LEDGER, &keys).unwrap();
    let stamp = Stamp {
        index: EntryIndex(0),
        accepted_at_ms: verified.body().common.occurred_at_ms,
        body_salt: [7; 32],
    };
    let info = LedgerInfo {
        name: LEDGER.to_owned(),
        shard: 1,
    };
    let mut state = MemoryState::default();
    match apply(&state, verified, stamp, &info).unwrap() {
        Applied::Accepted(effects) => state.write(&effects.writes),
        other => panic!("the genesis is not accepted: {other:?}"),
    }
    (state, TreeSize(1))
}

/// Claims of a reader's token that is good now.
pub(crate) fn claims(id: &str, role: ReaderRole) -> Claims {
    let now = now_ms() / 1000;
    Claims {
        iss: id.to_owned(),
        aud: LEDGER.to_owned(),
        sub: "operator-7".to_owned(),
        role,
        purpose: "dpv:ServiceProvision".to_owned(),
        case: Some("2026/114".to_owned()),
        iat: now,
        exp: now + 300,
        jti: "0199b2c4".to_owned(),
    }
}

/// Signs any header and claims with a key, as a sender would who minds no rule.
pub(crate) fn token(
    header: &serde_json::Value,
    claims: &serde_json::Value,
    key: &SigningKey,
) -> String {
    let part = |value: &serde_json::Value| base64::url_encode(value.to_string().as_bytes());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = key.sign(message.as_bytes());
    format!("{message}.{}", base64::url_encode(&signature))
}

/// The header of a good token.
pub(crate) fn header(key: &SigningKey) -> serde_json::Value {
    let kid = base64::url_encode(key.key_id().0.as_bytes());
    serde_json::json!({"alg": "EdDSA", "typ": "JWT", "kid": kid})
}

/// A token that is good now.
pub(crate) fn good_token(id: &str, role: ReaderRole) -> String {
    let key = signing_key(id, KeyUse::Token);
    let claims = serde_json::to_value(claims(id, role)).unwrap();
    token(&header(&key), &claims, &key)
}

pub(crate) mod running;
