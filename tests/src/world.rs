// SPDX-License-Identifier: EUPL-1.2
//! The cast of every scenario: a small Italy of four institutions, their keys, some persons, and the genesis that binds them.
//!
//! Keys follow from names, so that any part of a test can make them again; a ledger of this name is a test ledger and its keys are refused elsewhere.

use std::time::{SystemTime, UNIX_EPOCH};

use client::token::Reader;
use ledger::{
    base64, bytes,
    hash::Hash,
    id::{InstitutionId, NodeNumber},
    key::{KeyUse, SigningKey},
    note::{KeyName, SignatureType, VerifierKey},
    policy::Policy,
};
use serde_json::{Value, json};
use wire::token::Role;

use crate::{
    oprf,
    sign::{Draft, Signed, random},
};

/// Name of the test ledger.
pub const LEDGER: &str = "ledger.test.visto.example";
/// Its first shard.
pub const ORIGIN: &str = "ledger.test.visto.example/1";
/// The social security institution: provider of ISEE, registry of its kind of household, runs node 1.
pub const INPS: &str = "ipa:inps";
/// The municipality of Voghera: consumer, registry of families, runs node 2.
pub const VOGHERA: &str = "ipa:c_m109";
/// A health authority: takes part, runs node 3.
pub const ASL: &str = "ipa:asl_pv";
/// The supervisory authority.
pub const GARANTE: &str = "ipa:garante";
/// All of them, with their names.
pub const INSTITUTIONS: [(&str, &str); 4] = [
    (INPS, "INPS"),
    (VOGHERA, "Comune di Voghera"),
    (ASL, "ASL Pavia"),
    (GARANTE, "Autorità di controllo"),
];
/// Who holds governance keys; two of them decide.
pub const FOUNDERS: [&str; 3] = [INPS, VOGHERA, GARANTE];
/// Signatures that a governance entry needs.
pub const THRESHOLD: usize = 2;
/// Roles that genesis grants.
pub const ROLES: [(&str, &str); 8] = [
    (VOGHERA, "registry-anagrafica"),
    (INPS, "registry-isee"),
    (VOGHERA, "dpo"),
    (INPS, "dpo"),
    (GARANTE, "authority"),
    (INPS, "operator"),
    (VOGHERA, "operator"),
    (ASL, "operator"),
];
/// Purpose of every good access here.
pub const PURPOSE: &str = "dpv-ps:SocialBenefits";
/// Id of the clerk at work; must never stand in a log.
pub const CLERK: &str = "op-4712-clerk";

/// The key of an institution for a use; node keys carry the node's number in the label.
pub fn key(institution: &str, label: &str) -> SigningKey {
    SigningKey::from_seed(seed(institution, label))
}

/// Its secret bytes.
pub fn seed(institution: &str, label: &str) -> [u8; 32] {
    *Hash::of(&[
        b"visto test key ",
        institution.as_bytes(),
        b" ",
        label.as_bytes(),
    ])
    .as_bytes()
}

/// Who runs a node: the first three operators in turn.
pub fn operator_of(node: u64) -> &'static str {
    match node % 3 {
        1 => INPS,
        2 => VOGHERA,
        _ => ASL,
    }
}

/// A person's ref. Refs are evaluated by the cluster (`tests/it/pseudonyms.rs`); where that does not matter they follow from a made-up name.
pub fn person(name: &str) -> String {
    base64::url_encode(Hash::of(&[b"visto test person ", name.as_bytes()]).as_bytes())
}

/// A household's ref.
pub fn household(name: &str) -> String {
    base64::url_encode(Hash::of(&[b"visto test household ", name.as_bytes()]).as_bytes())
}

/// This machine's time.
pub fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

/// The genesis of a ledger with these nodes, given each node's peer address: signed by all founders.
pub fn genesis(peers: &[(u64, String)]) -> Signed {
    let mut draft = Draft::new(INPS, "genesis");
    let mut keys: Vec<Value> = Vec::new();
    for (institution, _) in INSTITUTIONS {
        keys.push(registration(institution, "entry", KeyUse::Entry));
        keys.push(registration(institution, "token", KeyUse::Token));
        if FOUNDERS.contains(&institution) {
            keys.push(registration(institution, "governance", KeyUse::Governance));
        }
    }
    keys.push(registration(INPS, "log", KeyUse::Log));
    for (node, _) in peers {
        keys.push(registration(
            operator_of(*node),
            &format!("node {node}"),
            KeyUse::Node,
        ));
        keys.push(registration(
            operator_of(*node),
            &format!("cosign {node}"),
            KeyUse::Cosign,
        ));
    }
    let institutions: Vec<Value> = INSTITUTIONS
        .iter()
        .map(|(id, name)| json!({"institution": id, "name": name}))
        .collect();
    let nodes: Vec<Value> = peers
        .iter()
        .map(|(node, peer)| node_content(*node, peer))
        .collect();
    let roles: Vec<Value> = ROLES
        .iter()
        .map(|(institution, role)| json!({"institution": institution, "role": role}))
        .collect();
    draft.content = json!({
        "shard": 1,
        "k": THRESHOLD,
        "rules": 1,
        "institutions": institutions,
        "keys": keys,
        "nodes": nodes,
        "roles": roles,
        "oprfKey": oprf::public(1),
        "test": true,
    });
    let founders: Vec<SigningKey> = FOUNDERS
        .iter()
        .map(|founder| key(founder, "governance"))
        .collect();
    draft.sign(&founders.iter().collect::<Vec<_>>())
}

/// The policy file of a ledger with these nodes, as its founders hand it out: trust in its log key and in a majority of its nodes.
///
/// # Panics
/// If the genesis line is malformed.
pub fn policy(genesis: &Signed, nodes: u64) -> String {
    let verifier = |name: String, signature_type, key: &SigningKey| {
        VerifierKey::new(
            KeyName::parse(&name).expect("a key name"),
            signature_type,
            key.public(),
        )
    };
    let log = verifier(ORIGIN.into(), SignatureType::Ed25519, &key(INPS, "log"));
    let nodes: Vec<(NodeNumber, VerifierKey)> = (1..=nodes)
        .map(|node| {
            let cosign = key(operator_of(node), &format!("cosign {node}"));
            (
                NodeNumber(node),
                verifier(
                    format!("{LEDGER}/node/{node}"),
                    SignatureType::Cosignature,
                    &cosign,
                ),
            )
        })
        .collect();
    let policy = Policy::majority(&log, &nodes).expect("a policy").format();
    let hash: String = Hash::of(&[&genesis.pae])
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!(
        "# visto: genesis {hash}\n{}",
        String::from_utf8_lossy(&policy)
    )
}

/// A node as genesis and `node` entries name it.
pub fn node_content(node: u64, peer: &str) -> Value {
    let operator = operator_of(node);
    json!({
        "node": node,
        "institution": operator,
        "nodeKey": key_id(&key(operator, &format!("node {node}"))),
        "cosignKey": key_id(&key(operator, &format!("cosign {node}"))),
        "peer": peer,
    })
}

/// A key as genesis and `key` entries register it, with its proof of possession.
///
/// # Panics
/// If the institution's id is malformed.
pub fn registration(institution: &str, label: &str, key_use: KeyUse) -> Value {
    let key = key(institution, label);
    let id = InstitutionId::parse(institution).expect("an institution");
    json!({
        "publicKey": base64::url_encode(key.public().as_bytes()),
        "use": key_use.as_str(),
        "institution": institution,
        "possession": base64::url_encode(&key.sign(&bytes::possession_message(LEDGER, key_use, &id))),
    })
}

/// A governance entry, signed by as many founders as it needs, naming the governance entry before it.
pub fn governance(kind: &str, content: Value, previous: &(u64, String)) -> Signed {
    governance_by(
        kind,
        content,
        previous,
        FOUNDERS.get(..THRESHOLD).unwrap_or_default(),
    )
}

/// A governance entry signed by exactly these institutions.
pub fn governance_by(
    kind: &str,
    content: Value,
    previous: &(u64, String),
    signers: &[&str],
) -> Signed {
    let mut draft = Draft::new(signers.first().copied().unwrap_or(INPS), kind);
    draft.content = content;
    draft.more.push((
        "refersTo".into(),
        json!({"index": previous.0, "leaf": previous.1}),
    ));
    let keys: Vec<SigningKey> = signers
        .iter()
        .map(|signer| key(signer, "governance"))
        .collect();
    draft.sign(&keys.iter().collect::<Vec<_>>())
}

/// An access of Voghera's clerk to a person's ISEE at INPS, said by Voghera.
pub fn access(subject: &str) -> Signed {
    access_draft(subject).sign(&[&key(VOGHERA, "entry")])
}

/// The same, not yet signed.
pub fn access_draft(subject: &str) -> Draft {
    let mut draft = Draft::new(VOGHERA, "access");
    let clerk = draft.disclosed(json!(CLERK));
    let place = draft.disclosed(json!("Voghera/sportello 3"));
    let reason = draft.disclosed(json!("Verifica ISEE per la retta dell'asilo nido"));
    let target = draft.disclosed(json!({"ref": subject, "role": "target"}));
    draft.content = json!({
        "side": "consumer",
        "exchange": base64::url_encode(&random::<16>()),
        "consumer": {"institution": VOGHERA},
        "provider": {"institution": INPS},
        "eservice": {"eserviceId": "2303d392-6b30-462b-a9e6-6fe99498cc53", "operation": "attestazione"},
        "userID": [clerk],
        "userRole": "assistente-sociale",
        "userLocation": [place],
        "purpose": PURPOSE,
        "legalBasis": "dpv-gdpr:A6-1-e",
        "legalReference": "D.P.C.M. 159/2013, art. 11",
        "reason": [reason],
        "action": "query",
        "outcome": "ok",
        "statusCode": 200,
        "dataCategories": ["dpv-pd:Income"],
        "subjects": [target],
    });
    draft
}

/// An event of a consent record, taken at the health authority's desk.
pub fn consent(record: &str, subject: &str, event: &str) -> Signed {
    let mut draft = Draft::new(ASL, "consent");
    let subject = draft.disclosed(json!({"ref": subject}));
    draft.content = json!({"record": record, "subject": [subject], "event": event});
    if event == "given" || event == "renewed" {
        draft.content["purposes"] = json!([PURPOSE]);
        draft.content["recipients"] = json!([VOGHERA, INPS]);
        draft.content["dataCategories"] = json!(["dpv-pd:Income"]);
        draft.content["validFrom"] = json!(draft.occurred_at);
    }
    draft.sign(&[&key(ASL, "entry")])
}

/// A family as the municipality's registry asserts it, from a time on.
pub fn family(household: &str, members: &[&str], valid_from: &str) -> Signed {
    let mut draft = Draft::new(VOGHERA, "household");
    let family = draft.disclosed(json!({"ref": household}));
    let members: Vec<Value> = members
        .iter()
        .map(|member| draft.disclosed(json!({"ref": member})))
        .collect();
    draft.content = json!({"household": [family], "kind": "anagrafica", "members": members, "validFrom": valid_from});
    draft.sign(&[&key(VOGHERA, "entry")])
}

/// A reader's token, valid from now on.
///
/// # Panics
/// If the institution's id is malformed or the system has no randomness.
pub fn token(institution: &str, role: Role) -> String {
    token_signed_by(institution, role, &key(institution, "token"))
}

/// The same, signed with any key.
///
/// # Panics
/// As [`token`].
pub fn token_signed_by(institution: &str, role: Role, key: &SigningKey) -> String {
    let reader = Reader {
        institution: InstitutionId::parse(institution).expect("an institution"),
        person: "reader-0147".into(),
        role,
        purpose: "dpv:DataSubjectRightsManagement".into(),
        case: Some("2026/004512".into()),
    };
    client::token::make(&reader, LEDGER, key, now_ms() / 1000).expect("randomness")
}

/// A key id as text.
pub fn key_id(key: &SigningKey) -> String {
    base64::url_encode(key.key_id().0.as_bytes())
}
