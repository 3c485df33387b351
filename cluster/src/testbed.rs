// SPDX-License-Identifier: EUPL-1.2
//! A small ledger for this crate's tests: keys by seed, a genesis, nodes on loopback, consents to submit.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use ledger::body::consent::{Consent, ConsentEvent};
use ledger::body::governance::{Genesis, Institution, InstitutionEvent, NewKey, Node as NodeEntry};
use ledger::body::system::{Erasure, Ground, Note, NoteKind};
use ledger::body::{Body, Common, Content, Disclosed, Reference};
use ledger::bytes;
use ledger::entry::SubmittedEntry;
use ledger::hash::Hash;
use ledger::id::{EntryId, InstitutionId, NodeNumber};
use ledger::key::{KeyUse, SigningKey};
use ledger::number::EntryIndex;

use crate::{Clock, Config, Error, Node, NodeKeys, PeerTls, Tuning};

pub(crate) const LEDGER: &str = "ledger.test.example";
const INSTITUTION: &str = "ipa:comune_prova";

pub(crate) fn institution() -> InstitutionId {
    InstitutionId::parse(INSTITUTION).unwrap()
}

/// The same key for the same name, in every test.
pub(crate) fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(Hash::of(&[b"test key ", name.as_bytes()]).0)
}

pub(crate) fn new_key(name: &str, key_use: KeyUse) -> NewKey {
    let key = key(name);
    let possession = key.sign(&bytes::possession_message(LEDGER, key_use, &institution()));
    NewKey {
        public_key: key.public(),
        key_use,
        institution: institution(),
        possession,
        from: None,
    }
}

pub(crate) fn common(now_ms: u64, salt: u64) -> Common {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&salt.to_be_bytes());
    Common {
        ledger: LEDGER.into(),
        id: EntryId::from_parts(now_ms, &random),
        institution: institution(),
        occurred_at_ms: now_ms,
        refers_to: None,
        stream: None,
    }
}

/// Entry 0 of a ledger whose nodes listen there.
pub(crate) fn genesis(peers: &BTreeMap<u64, SocketAddr>) -> SubmittedEntry {
    let mut keys = vec![
        new_key("governance", KeyUse::Governance),
        new_key("log", KeyUse::Log),
        new_key("entry", KeyUse::Entry),
    ];
    let mut nodes = Vec::new();
    for (node, peer) in peers {
        keys.push(new_key(&format!("node {node}"), KeyUse::Node));
        keys.push(new_key(&format!("cosign {node}"), KeyUse::Cosign));
        nodes.push(NodeEntry {
            node: NodeNumber(*node),
            institution: institution(),
            node_key: key(&format!("node {node}")).key_id(),
            cosign_key: key(&format!("cosign {node}")).key_id(),
            peer: peer.to_string(),
            added: true,
            log_key: None,
        });
    }
    let genesis = Genesis {
        shard: 1,
        k: 1,
        rules: 1,
        institutions: vec![Institution {
            institution: institution(),
            name: "Comune di Prova".into(),
            event: InstitutionEvent::Registered,
            successor: None,
        }],
        keys,
        nodes,
        roles: vec![],
        oprf_key: None,
        test: true,
        previous: None,
    };
    let body = Body {
        common: common(Clock::system().now_ms(), 0),
        content: Content::Genesis(Box::new(genesis)),
    };
    SubmittedEntry::sign(body.to_json().as_bytes(), &[&key("governance")], vec![]).unwrap()
}

/// An entry of this content, signed by the institution.
pub(crate) fn sign(
    now_ms: u64,
    salt: u64,
    content: Content,
    disclosures: Vec<String>,
) -> SubmittedEntry {
    let body = Body {
        common: Common {
            refers_to: matches!(content, Content::Note(_)).then_some(Reference {
                index: EntryIndex(0),
                leaf: Hash::ZERO,
            }),
            ..common(now_ms, salt)
        },
        content,
    };
    SubmittedEntry::sign(body.to_json().as_bytes(), &[&key("entry")], disclosures).unwrap()
}

/// A salt of its own.
pub(crate) fn salt(number: u64) -> Hash {
    Hash::of(&[b"salt", &number.to_be_bytes()])
}

/// A person's ref.
pub(crate) fn subject(person: u64) -> Hash {
    Hash::of(&[b"person", &person.to_be_bytes()])
}

/// A note that names a person.
pub(crate) fn note_on(now_ms: u64, number: u64, person: u64) -> SubmittedEntry {
    let (subject, disclosure) = Disclosed::seal(salt(number).as_bytes(), subject(person));
    let note = Note {
        kind: NoteKind::Complete,
        text: None,
        subjects: vec![subject],
        opens: vec![],
    };
    sign(now_ms, number, Content::Note(note), vec![disclosure])
}

/// A cut of everything that is old enough before an index.
pub(crate) fn cut(now_ms: u64, number: u64, before: u64) -> SubmittedEntry {
    let cut = Erasure {
        entries: vec![],
        subject: None,
        before: Some(before),
        types: vec![],
        ground: Ground::RetentionEnded,
    };
    sign(now_ms, number, Content::Erasure(cut), vec![])
}

/// A consent event of its own record and person, so that none refers to another.
pub(crate) fn consent(number: u64) -> SubmittedEntry {
    consent_at(Clock::system().now_ms(), number)
}

/// The same, signed at another time.
pub(crate) fn consent_at(now_ms: u64, number: u64) -> SubmittedEntry {
    let salt = Hash::of(&[b"salt", &number.to_be_bytes()]);
    let (subject, disclosure) =
        Disclosed::seal(salt.as_bytes(), Hash::of(&[b"ref", &number.to_be_bytes()]));
    let consent = Consent {
        record: format!("record-{number}"),
        subject,
        event: ConsentEvent::Withdrawn,
        entity: None,
        purposes: None,
        recipients: None,
        data_categories: None,
        valid_from_ms: None,
        valid_until_ms: None,
        notice: None,
        loa: None,
        indication: None,
    };
    let body = Body {
        common: common(now_ms, number),
        content: Content::Consent(Box::new(consent)),
    };
    SubmittedEntry::sign(
        body.to_json().as_bytes(),
        &[&key("entry")],
        vec![disclosure],
    )
    .unwrap()
}

/// A free port on loopback, bound.
pub(crate) fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Small thresholds and short times.
pub(crate) fn tuning() -> Tuning {
    Tuning {
        heartbeat: Duration::from_millis(100),
        election_timeout: Duration::from_millis(500),
        cache_bytes: 8 << 20,
        write_buffer_bytes: 4 << 20,
        tail_bytes: 1 << 20,
        // Entries are counted in many tests; those of folding lower this.
        fold_interval: Duration::from_secs(3600),
        ..Tuning::default()
    }
}

/// Opens a node whose folder was closed just now: who verifies or folds beside it holds its databases a moment longer than whoever closed it.
pub(crate) async fn open(config: impl Fn() -> Config) -> Result<Node, Error> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        match Node::open(config()).await {
            Err(error) if is_still_held(&error) => {
                assert!(tokio::time::Instant::now() < deadline, "{error:?}");
                tokio::task::yield_now().await;
            }
            opened => return opened,
        }
    }
}

/// Whether a database could not be opened since this process has it open.
pub(crate) fn is_still_held(error: &Error) -> bool {
    format!("{error:?}").contains("lock hold by current process")
}

/// One node's configuration; certificates are made in `dir` when they are not there.
pub(crate) fn config(
    dir: &Path,
    node: u64,
    listen_peer: TcpListener,
    genesis: &SubmittedEntry,
    nodes: &[u64],
    tuning: Tuning,
) -> Config {
    let certs = dir.join("certs");
    if !certs.is_dir() {
        let nodes: Vec<NodeNumber> = nodes.iter().copied().map(NodeNumber).collect();
        crate::certs::write(&certs, LEDGER, &nodes).unwrap();
    }
    let own = certs.join(format!("node-{node}"));
    Config {
        data: dir.join(format!("data-{node}")),
        node: NodeNumber(node),
        ledger: LEDGER.into(),
        listen_peer,
        peers: BTreeMap::new(),
        tls: PeerTls {
            ca: own.join("peer-ca.pem"),
            cert: own.join("peer.pem"),
            key: own.join("peer.key"),
        },
        keys: NodeKeys {
            node: key(&format!("node {node}")),
            cosign: key(&format!("cosign {node}")),
            log: vec![key("log")],
        },
        genesis: genesis.clone(),
        tuning,
    }
}
