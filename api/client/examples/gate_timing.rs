// SPDX-License-Identifier: BSD-3-Clause
//! How long a gate's check of one call takes: headers, disclosures, signature, receipt. Run it with
//! `cargo run --release -p client --example gate_timing`; it makes its own ledger of a million entries' depth.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::{fs, sync::Arc, time::Duration, time::Instant};

use client::{
    build::{Draft, Head, Plain, PlainAccess, PlainEvidence},
    gate::{
        Caller, Check, Facts, Presented, Rules,
        keys::{KeyFile, Keys},
        transport,
    },
};
use ledger::{
    base64,
    body::{
        EntryType,
        access::{AccessSubject, Action, EService, Side, SubjectRole, Visibility},
    },
    bytes::{self, Meta, request_digest},
    checkpoint::Checkpoint,
    cosignature::cosign,
    entry::SubmittedEntry,
    finding::Findings,
    hash::Hash,
    id::{InstitutionId, NodeNumber},
    key::SigningKey,
    merkle::verify_inclusion,
    note::{KeyName, Note, SignatureLine, SignatureType, VerifierKey},
    number::{EntryIndex, TreeSize},
    policy::{Policy, PolicySet},
    receipt::Receipt,
};
use wire::registry::Key;

const LEDGER: &str = "ledger.visto.example";
const NOW_MS: u64 = 1_785_000_000_000;
const ROUNDS: usize = 2_000;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    println!("one call checked, {ROUNDS} times each, microseconds (p50 / p99):");
    for persons in [1_u32, 10, 200] {
        let (check, headers, facts) = town(folder.path(), persons);
        let one = |check: &Check| {
            let started = Instant::now();
            let presented = Presented::read(&headers).unwrap();
            let covered = check.verify(&presented, &Caller::default(), &facts, NOW_MS);
            covered.unwrap();
            started.elapsed()
        };
        let first = one(&check);
        let mut times: Vec<Duration> = (0..ROUNDS).map(|_| one(&check)).collect();
        times.sort_unstable();
        let micros = |at: usize| times[at].as_nanos() / 1000;
        println!(
            "{persons:>4} persons, {:>6} bytes of headers: {} / {}; with a checkpoint not met before: {}",
            headers.values().map(http::HeaderValue::len).sum::<usize>(),
            micros(ROUNDS / 2),
            micros(ROUNDS * 99 / 100),
            first.as_nanos() / 1000,
        );
    }
}

fn secret(name: &str) -> SigningKey {
    SigningKey::from_seed(Hash::of(&[name.as_bytes()]).0)
}

fn town(folder: &std::path::Path, persons: u32) -> (Check, http::HeaderMap, Facts) {
    let (consumer, provider) = (
        InstitutionId::parse("ipa:c_m109").unwrap(),
        InstitutionId::parse("ipa:inps").unwrap(),
    );
    let key = secret("consumer");
    let request_digest = request_digest("GET", "/isee/v1/attestazioni?anno=2026", b"");
    let subjects: Vec<Hash> = (0..persons)
        .map(|n| Hash::of(&[&n.to_be_bytes()]))
        .collect();
    let subject = |person: &Hash| AccessSubject {
        person: *person,
        role: SubjectRole::Target,
        relation: None,
    };
    let access = PlainAccess {
        side: Side::Consumer,
        exchange: [7; 16],
        consumer: consumer.clone(),
        consumer_client_id: None,
        provider: provider.clone(),
        eservice: EService {
            eservice_id: "2303d392-6b30-462b-a9e6-6fe99498cc53".to_owned(),
            descriptor_id: None,
            name: None,
            version: None,
            operation: None,
        },
        user_id: "op-4712".to_owned(),
        user_role: "assistente-sociale".to_owned(),
        user_location: "sportello 3".to_owned(),
        loa: None,
        purpose_id: None,
        purpose: "dpv-ps:SocialBenefits".to_owned(),
        legal_basis: "dpv-gdpr:A6-1-e".to_owned(),
        legal_reference: Some("D.P.C.M. 159/2013, art. 11".to_owned()),
        reason: "Verifica ISEE per la retta dell'asilo nido".to_owned(),
        case_ref: None,
        consent_refs: Vec::new(),
        action: Action::Query,
        outcome: "ok".to_owned(),
        status_code: None,
        data_categories: vec!["dpv-pd:Income".to_owned()],
        personal_data_types: Vec::new(),
        subjects: subjects.iter().map(subject).collect(),
        part: None,
        result_count: None,
        emergency: None,
        visibility: Visibility::Visible,
        evidence: Some(PlainEvidence {
            request_digest: Some(request_digest),
            ..PlainEvidence::default()
        }),
    };
    let head = Head::new(LEDGER, &consumer, NOW_MS);
    let draft = Draft::new(head, Plain::Access(Box::new(access)), NOW_MS).unwrap();
    let entry = draft.sign(&[&key]).unwrap();
    let (receipt, policies) = receipt(&entry);
    let mut headers = http::HeaderMap::new();
    transport::write(&mut headers, &entry.to_wire(), Some(&receipt)).unwrap();
    let row = Key {
        key_id: base64::url_encode(key.key_id().0.as_bytes()),
        public_key: base64::url_encode(key.public().as_bytes()),
        key_use: "entry".to_owned(),
        institution: consumer.as_str().to_owned(),
        from: 0,
        until: None,
        in_force: true,
        proof: None,
    };
    let file = KeyFile {
        ledger: LEDGER.to_owned(),
        read_at_ms: NOW_MS,
        tree_size: 1,
        keys: vec![row],
    };
    let path = folder.join("keys.json");
    fs::write(&path, serde_json::to_vec(&file).unwrap()).unwrap();
    let keys = Keys::open(&path, LEDGER, Duration::from_secs(60)).unwrap();
    let check = Check::new(
        Rules::new(LEDGER, &provider),
        Arc::new(policies),
        Arc::new(keys),
    );
    let facts = Facts {
        request_digest,
        subjects,
        exchange: None,
        eservice_id: None,
        purposes: Vec::new(),
        tracking_evidence: None,
    };
    (check, headers, facts)
}

/// The entry in a tree of a million leaves, cosigned by three nodes.
fn receipt(entry: &SubmittedEntry) -> (String, PolicySet) {
    let (index, size) = (EntryIndex(777_777), TreeSize(1 << 20));
    let body_salt = [9; 32];
    let meta = Meta {
        accepted_at_ms: NOW_MS,
        entry_type: EntryType::Access,
        findings: Findings::COVERED,
        rules: 1,
        first_key: entry.sigs().first(),
    };
    let meta_commit = bytes::meta_commit(&bytes::meta_salt(&body_salt), &meta);
    let body_commit = bytes::body_commit(&body_salt, entry.pae(), &entry.sigs().encode());
    let leaf = bytes::leaf_hash(&bytes::leaf(&meta_commit, &body_commit));
    let path: Vec<Hash> = (0..20_u8).map(|n| Hash([n; 32])).collect();
    let root = verify_inclusion(index, size, leaf, &path).unwrap();
    let name = |text: String| KeyName::parse(&text).unwrap();
    let origin = name(format!("{LEDGER}/1"));
    let checkpoint = Checkpoint {
        origin: origin.clone(),
        size,
        root,
    };
    let text = checkpoint.to_text();
    let log = secret("log");
    let mut lines = vec![SignatureLine::sign(&origin, &log, &text)];
    let mut nodes = Vec::new();
    for number in 1..=3 {
        let (name, key) = (
            name(format!("{LEDGER}/node/{number}")),
            secret(&format!("node {number}")),
        );
        lines.push(cosign(&name, &key, &text, NOW_MS / 1000));
        let verifier = VerifierKey::new(name, SignatureType::Cosignature, key.public());
        nodes.push((NodeNumber(number), verifier));
    }
    let log = VerifierKey::new(origin, SignatureType::Ed25519, log.public());
    let receipt = Receipt {
        index,
        meta,
        body_salt,
        path,
        note: Note::new(text, lines).unwrap(),
    };
    let policy = Policy::majority(&log, &nodes).unwrap();
    (receipt.to_string(), PolicySet::from(policy))
}
