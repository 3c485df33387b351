// SPDX-License-Identifier: BSD-3-Clause
//! A ledger of one page: keys, a policy, and receipts as nodes would give them.

use std::{fs, path::Path, sync::Arc, time::Duration};

use ledger::{
    body::access::{AccessSubject, Action, EService, Emergency, Side, SubjectRole, Visibility},
    bytes,
    checkpoint::Checkpoint,
    cosignature::cosign,
    entry::SubmittedEntry,
    finding::Findings,
    hash::Hash,
    id::{InstitutionId, NodeNumber},
    key::SigningKey,
    merkle::{MemoryNodes, prove_inclusion},
    note::{KeyName, Note, SignatureLine, SignatureType, VerifierKey},
    number::EntryIndex,
    policy::{Policy, PolicySet},
    receipt::Receipt,
};
use wire::registry::Key;

use crate::{
    build::{Draft, Head, Plain, PlainAccess, PlainEvidence},
    gate::{
        Check, Rules,
        keys::{KeyFile, Keys},
    },
};

pub(super) const LEDGER: &str = "ledger.visto.example";
pub(super) const NOW_MS: u64 = 1_785_000_000_000;
pub(super) const ESERVICE: &str = "2303d392-6b30-462b-a9e6-6fe99498cc53";

pub(super) fn id(text: &str) -> InstitutionId {
    InstitutionId::parse(text).unwrap()
}

pub(super) fn consumer() -> InstitutionId {
    id("ipa:c_m109")
}

pub(super) fn provider() -> InstitutionId {
    id("ipa:inps")
}

pub(super) fn key(of: &InstitutionId) -> SigningKey {
    SigningKey::from_seed(Hash::of(&[of.as_bytes()]).0)
}

fn secret(name: &str) -> SigningKey {
    SigningKey::from_seed(Hash::of(&[name.as_bytes()]).0)
}

pub(super) fn person(name: &str) -> Hash {
    Hash::of(&[b"person ", name.as_bytes()])
}

fn verifier(name: &str, kind: SignatureType, key: &SigningKey) -> VerifierKey {
    VerifierKey::new(KeyName::parse(name).unwrap(), kind, key.public())
}

fn node(number: u64) -> (String, SigningKey) {
    (
        format!("{LEDGER}/node/{number}"),
        secret(&format!("node {number}")),
    )
}

pub(super) fn policies() -> PolicySet {
    let log = verifier(
        &format!("{LEDGER}/1"),
        SignatureType::Ed25519,
        &secret("log"),
    );
    let nodes: Vec<_> = (1..=3)
        .map(|number| {
            let (name, key) = node(number);
            (
                NodeNumber(number),
                verifier(&name, SignatureType::Cosignature, &key),
            )
        })
        .collect();
    PolicySet::from(Policy::majority(&log, &nodes).unwrap())
}

/// A copy of the registry with the keys of the town, read at [`NOW_MS`].
pub(super) fn keys(folder: &Path, institutions: &[InstitutionId]) -> Arc<Keys> {
    let row = |of: &InstitutionId| Key {
        key_id: ledger::base64::url_encode(key(of).key_id().0.as_bytes()),
        public_key: ledger::base64::url_encode(key(of).public().as_bytes()),
        key_use: "entry".to_owned(),
        institution: of.as_str().to_owned(),
        from: 0,
        until: None,
        in_force: true,
        proof: None,
    };
    let file = KeyFile {
        ledger: LEDGER.to_owned(),
        read_at_ms: NOW_MS,
        tree_size: 1,
        keys: institutions.iter().map(row).collect(),
    };
    let path = folder.join("keys.json");
    fs::write(&path, serde_json::to_vec(&file).unwrap()).unwrap();
    Arc::new(Keys::open(&path, LEDGER, Duration::from_secs(3600)).unwrap())
}

pub(super) fn check(folder: &Path, change: impl FnOnce(&mut Rules)) -> Check {
    let mut rules = Rules::new(LEDGER, &provider());
    change(&mut rules);
    let institutions = [consumer(), provider(), id("ipa:asl_pv")];
    Check::new(rules, Arc::new(policies()), keys(folder, &institutions))
}

/// An access of the consumer to these persons' data, for a request of this digest.
pub(super) fn access(persons: &[Hash], request_digest: Hash) -> PlainAccess {
    let subject = |person: &Hash| AccessSubject {
        person: *person,
        role: SubjectRole::Target,
        relation: None,
    };
    PlainAccess {
        side: Side::Consumer,
        exchange: [7; 16],
        consumer: consumer(),
        consumer_client_id: Some("client-1".to_owned()),
        provider: provider(),
        eservice: EService {
            eservice_id: ESERVICE.to_owned(),
            descriptor_id: None,
            name: None,
            version: None,
            operation: Some("attestazione".to_owned()),
        },
        user_id: "op-4712".to_owned(),
        user_role: "assistente-sociale".to_owned(),
        user_location: "sportello 3".to_owned(),
        loa: None,
        purpose_id: None,
        purpose: "dpv-ps:SocialBenefits".to_owned(),
        legal_basis: "dpv-gdpr:A6-1-e".to_owned(),
        legal_reference: Some("D.P.C.M. 159/2013".to_owned()),
        reason: "Verifica ISEE per la retta dell'asilo nido".to_owned(),
        case_ref: None,
        consent_refs: Vec::new(),
        action: Action::Query,
        outcome: "ok".to_owned(),
        status_code: None,
        data_categories: vec!["dpv-pd:Income".to_owned()],
        personal_data_types: Vec::new(),
        subjects: persons.iter().map(subject).collect(),
        part: None,
        result_count: None,
        emergency: None,
        visibility: Visibility::Visible,
        evidence: Some(PlainEvidence {
            request_digest: Some(request_digest),
            voucher_jti: Some("jti-1".to_owned()),
            ..PlainEvidence::default()
        }),
    }
}

pub(super) fn emergency(until_ms: u64) -> Emergency {
    Emergency {
        reason: "minore da affidare stanotte".to_owned(),
        until_ms,
    }
}

pub(super) fn sign(access: PlainAccess, at_ms: u64, by: &SigningKey) -> SubmittedEntry {
    let head = Head::new(LEDGER, &access.consumer.clone(), at_ms);
    let draft = Draft::new(head, Plain::Access(Box::new(access)), at_ms).unwrap();
    draft.sign(&[by]).unwrap()
}

/// The receipt of an entry among others, published a second after it was accepted.
pub(super) fn receipt(entry: &SubmittedEntry, accepted_at_ms: u64, findings: Findings) -> String {
    receipt_in(
        entry,
        accepted_at_ms,
        findings,
        5,
        accepted_at_ms / 1000 + 1,
    )
}

pub(super) fn receipt_in(
    entry: &SubmittedEntry,
    accepted_at_ms: u64,
    findings: Findings,
    others: u64,
    cosigned_s: u64,
) -> String {
    let body_salt = [9; 32];
    let meta = bytes::Meta {
        accepted_at_ms,
        entry_type: ledger::body::EntryType::Access,
        findings,
        rules: 1,
        first_key: entry.sigs().first(),
    };
    let meta_commit = bytes::meta_commit(&bytes::meta_salt(&body_salt), &meta);
    let body_commit = bytes::body_commit(&body_salt, entry.pae(), &entry.sigs().encode());
    let leaf = bytes::leaf_hash(&bytes::leaf(&meta_commit, &body_commit));
    let mut leaves: Vec<Hash> = (0..others).map(|n| Hash::of(&[&n.to_be_bytes()])).collect();
    let index = EntryIndex(others / 2);
    leaves.insert(usize::try_from(index.0).unwrap(), leaf);
    let tree = MemoryNodes::from_leaf_hashes(leaves);
    let origin = KeyName::parse(&format!("{LEDGER}/1")).unwrap();
    let text = Checkpoint {
        origin: origin.clone(),
        size: tree.size(),
        root: tree.root(),
    }
    .to_text();
    let mut lines = vec![SignatureLine::sign(&origin, &secret("log"), &text)];
    for number in 1..=2 {
        let (name, key) = node(number);
        lines.push(cosign(
            &KeyName::parse(&name).unwrap(),
            &key,
            &text,
            cosigned_s,
        ));
    }
    Receipt {
        index,
        meta,
        body_salt,
        path: prove_inclusion(index, tree.size(), &tree).unwrap(),
        note: Note::new(text, lines).unwrap(),
    }
    .to_string()
}
