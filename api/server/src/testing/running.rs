// SPDX-License-Identifier: EUPL-1.2
//! A real single node in a temporary folder behind the real router, called in process.

use std::{net::TcpListener, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use client::build::{Draft, Head, Plain, PlainAccess, PlainConsent, PlainHousehold};
use cluster::{Node, NodeKeys, PeerTls, Tuning};
use http_body_util::BodyExt;
use ledger::{
    body::{
        Disclosed, Reference,
        access::{AccessSubject, Action, EService, Side, SubjectRole, Visibility},
        consent::ConsentEvent,
        household::{HouseholdKind, Member},
        system::{Erasure, Ground, Link, Release},
    },
    bytes::CodeKind,
    checkpoint::Checkpoint,
    note::{KeyName, SignatureType, VerifierKey},
    number::TreeSize,
    oprf::{Blinding, Evaluated, LinkProof},
    policy::{Policy, PolicySet},
};
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::{
    app::App,
    config::{Limits, Timeouts},
    pseudonyms::Pseudonyms,
};

pub(crate) struct Running {
    pub(crate) router: Router,
    pub(crate) node: Node,
    folder: tempfile::TempDir,
}

/// An answer, read whole.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    /// The body as it came.
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{error} in {} {:?}", self.status, self.text))
    }

    /// The code of the problem, which must be a proper problem document.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem: wire::Problem = serde_json::from_str(&self.text).unwrap();
        assert_eq!(problem.status, self.status.as_u16());
        assert!(problem.instance.is_some());
        problem.code().unwrap().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map(|value| value.to_str().unwrap())
            .unwrap_or_default()
    }
}

impl Running {
    pub(crate) async fn start() -> Running {
        Running::start_with(Limits::default()).await
    }

    pub(crate) async fn start_with(limits: Limits) -> Running {
        Running::start_tuned(limits, Tuning::default()).await
    }

    pub(crate) async fn start_tuned(limits: Limits, tuning: Tuning) -> Running {
        let folder = tempfile::tempdir().unwrap();
        let certificates = folder.path().join("certificates");
        cluster::certs::write(&certificates, LEDGER, &[NodeNumber(1)]).unwrap();
        let files = certificates.join("node-1");
        let listen_peer = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = listen_peer.local_addr().unwrap().to_string();
        let node = Node::open(cluster::Config {
            data: folder.path().join("data"),
            node: NodeNumber(1),
            ledger: LEDGER.to_owned(),
            listen_peer,
            peers: Default::default(),
            tls: PeerTls {
                ca: files.join("peer-ca.pem"),
                cert: files.join("peer.pem"),
                key: files.join("peer.key"),
            },
            keys: NodeKeys {
                node: signing_key(TOWN, KeyUse::Node),
                cosign: signing_key(TOWN, KeyUse::Cosign),
                log: vec![signing_key(TOWN, KeyUse::Log)],
            },
            genesis: genesis(&peer),
            tuning,
        })
        .await
        .unwrap();
        node.published_at_least(TreeSize(1), Duration::from_secs(60))
            .await
            .unwrap();
        let mut app = App::new(
            node.clone(),
            node.info().clone(),
            limits,
            Timeouts::default(),
            None,
        );
        app.pseudonyms = Pseudonyms::new(vec![oprf_key()], &limits);
        Running {
            router: crate::routes::router(Arc::new(app)).unwrap(),
            node,
            folder,
        }
    }

    pub(crate) async fn stop(self) {
        drop(self.router);
        self.node.shutdown().await;
        drop(self.folder);
    }

    pub(crate) fn size(&self) -> u64 {
        self.node.view().unwrap().size().0
    }

    pub(crate) async fn call(
        &self,
        method: Method,
        uri: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        for name in [
            "x-ratelimit-limit",
            "x-ratelimit-remaining",
            "x-ratelimit-reset",
            "request-id",
        ] {
            assert!(parts.headers.contains_key(name), "{uri} without {name}");
        }
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
            bytes: bytes.to_vec(),
        }
    }

    pub(crate) async fn get(&self, uri: &str) -> Answer {
        self.call(Method::GET, uri, &[], Body::empty()).await
    }

    pub(crate) async fn get_as(&self, uri: &str, id: &str, role: ReaderRole) -> Answer {
        let bearer = format!("Bearer {}", good_token(id, role));
        let headers = [(header::AUTHORIZATION.as_str(), bearer.as_str())];
        self.call(Method::GET, uri, &headers, Body::empty()).await
    }

    pub(crate) async fn post_as(
        &self,
        uri: &str,
        body: &Value,
        id: &str,
        role: ReaderRole,
    ) -> Answer {
        let bearer = format!("Bearer {}", good_token(id, role));
        let headers = [
            (header::AUTHORIZATION.as_str(), bearer.as_str()),
            ("content-type", "application/json"),
        ];
        self.call(Method::POST, uri, &headers, body.to_string())
            .await
    }

    pub(crate) async fn submit(&self, line: impl Into<Body>) -> Answer {
        let headers = [("content-type", "application/json")];
        self.call(Method::POST, "/v1/entries", &headers, line).await
    }

    /// Submits what must be accepted; its index.
    pub(crate) async fn accept(&self, entry: &SubmittedEntry) -> u64 {
        let answer = self.submit(entry.to_wire()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        answer.json()["index"].as_u64().unwrap()
    }
}

/// What a verifier of the test ledger trusts.
pub(crate) fn policy() -> PolicySet {
    let name = |name: &str| KeyName::parse(name).unwrap();
    let log = VerifierKey::new(
        name(&format!("{LEDGER}/1")),
        SignatureType::Ed25519,
        signing_key(TOWN, KeyUse::Log).public(),
    );
    let node = VerifierKey::new(
        name(&format!("{LEDGER}/node/1")),
        SignatureType::Cosignature,
        signing_key(TOWN, KeyUse::Cosign).public(),
    );
    PolicySet::from(Policy::majority(&log, &[(NodeNumber(1), node)]).unwrap())
}

/// Size and root in the text of a signed note.
pub(crate) fn checkpoint(note: &str) -> Checkpoint {
    let (text, _) = note.rsplit_once("\n\n").unwrap();
    Checkpoint::parse(&format!("{text}\n")).unwrap()
}

pub(crate) fn sign(id: &str, occurred_at_ms: u64, plain: Plain) -> SubmittedEntry {
    sign_about(id, occurred_at_ms, None, plain)
}

/// Signs an entry about another.
pub(crate) fn sign_about(
    id: &str,
    occurred_at_ms: u64,
    about: Option<Reference>,
    plain: Plain,
) -> SubmittedEntry {
    let head = Head {
        refers_to: about,
        ..Head::new(LEDGER, &institution(id), occurred_at_ms)
    };
    let draft = Draft::new(head, plain, now_ms()).unwrap();
    draft.sign(&[&signing_key(id, KeyUse::Entry)]).unwrap()
}

/// The town asked INPS for these persons at that time.
pub(crate) fn access(persons: &[Hash], occurred_at_ms: u64) -> SubmittedEntry {
    sign(TOWN, occurred_at_ms, plain_access(persons))
}

pub(crate) fn plain_access(persons: &[Hash]) -> Plain {
    Plain::Access(Box::new(access_of(persons)))
}

/// The same in plain values.
pub(crate) fn access_of(persons: &[Hash]) -> PlainAccess {
    PlainAccess {
        side: Side::Consumer,
        exchange: client::build::random().unwrap(),
        consumer: institution(TOWN),
        consumer_client_id: None,
        provider: institution(INPS),
        eservice: EService {
            eservice_id: "isee".to_owned(),
            descriptor_id: None,
            name: None,
            version: None,
            operation: None,
        },
        user_id: "user-secret-7".to_owned(),
        user_role: "assistente sociale".to_owned(),
        user_location: "desk-secret-3".to_owned(),
        loa: None,
        purpose_id: None,
        purpose: "dpv:ServiceProvision".to_owned(),
        legal_basis: "dpv-gdpr:A6-1-e".to_owned(),
        legal_reference: Some("DPCM 159/2013".to_owned()),
        reason: "Domanda di bonus".to_owned(),
        case_ref: None,
        consent_refs: Vec::new(),
        action: Action::Query,
        outcome: "ok".to_owned(),
        status_code: Some(200),
        data_categories: vec!["dpv-pd:Income".to_owned()],
        personal_data_types: Vec::new(),
        subjects: persons
            .iter()
            .map(|person| AccessSubject {
                person: *person,
                role: SubjectRole::Target,
                relation: None,
            })
            .collect(),
        part: None,
        result_count: None,
        emergency: None,
        visibility: Visibility::Visible,
        evidence: None,
    }
}

/// A code's evaluation with the ledger's key.
fn evaluated(code: &str) -> Evaluated {
    let random = client::build::random().unwrap();
    let blinded = Blinding::new(CodeKind::Cf, code, &random)
        .unwrap()
        .blinded();
    let answer = oprf_key().evaluate(&[blinded], &random).unwrap();
    Evaluated {
        blinded,
        evaluated: answer.evaluated[0],
        proof: answer.proof,
    }
}

/// The town's registry joins two refs of one person.
pub(crate) fn link(old: Hash, new: Hash) -> SubmittedEntry {
    let (old, old_told) = Disclosed::seal(&[1; 16], old);
    let (new, new_told) = Disclosed::seal(&[2; 16], new);
    let proof = LinkProof {
        old: evaluated("RSSMRA85T10A562S"),
        new: evaluated("RSSMRA85T50A562W"),
    };
    let link = Link {
        old,
        new,
        proof: proof.to_text(),
    };
    say(TOWN, None, Content::Link(link), vec![old_told, new_told])
}

/// An institution orders entries erased, or one person's part of them.
pub(crate) fn erasure(id: &str, entries: &[u64], person: Option<Hash>) -> SubmittedEntry {
    let sealed = person.map(|person| Disclosed::seal(&[3; 16], person));
    let (subject, told) = sealed.unzip();
    let order = Erasure {
        entries: entries.to_vec(),
        subject,
        before: None,
        types: Vec::new(),
        ground: Ground::Objection,
    };
    say(
        id,
        None,
        Content::Erasure(order),
        told.into_iter().collect(),
    )
}

/// An institution releases a sealed entry to a person.
pub(crate) fn release(id: &str, about: Reference, person: Hash) -> SubmittedEntry {
    let (person, told) = Disclosed::seal(&[4; 16], person);
    let release = Release {
        subjects: vec![person],
    };
    say(id, Some(about), Content::Release(release), vec![told])
}

fn say(
    id: &str,
    about: Option<Reference>,
    content: Content,
    disclosures: Vec<String>,
) -> SubmittedEntry {
    let mut common = common(id, now_ms());
    common.refers_to = about;
    let body = ledger::body::Body { common, content };
    let keys = [&signing_key(id, KeyUse::Entry)];
    SubmittedEntry::sign(body.to_json().as_bytes(), &keys, disclosures).unwrap()
}

pub(crate) fn consent(
    person: Hash,
    event: ConsentEvent,
    occurred_at_ms: u64,
    by: &str,
) -> SubmittedEntry {
    consent_for("r-1", INPS, person, event, occurred_at_ms, by)
}

/// The town takes a consent of this name for INPS.
pub(crate) fn consent_named(record: &str, person: Hash, occurred_at_ms: u64) -> SubmittedEntry {
    consent_for(
        record,
        INPS,
        person,
        ConsentEvent::Given,
        occurred_at_ms,
        TOWN,
    )
}

/// An institution renews the consent at its own desk, for itself.
pub(crate) fn renewed_for(id: &str, person: Hash, occurred_at_ms: u64) -> SubmittedEntry {
    consent_for("r-1", id, person, ConsentEvent::Renewed, occurred_at_ms, id)
}

fn consent_for(
    record: &str,
    recipient: &str,
    person: Hash,
    event: ConsentEvent,
    occurred_at_ms: u64,
    by: &str,
) -> SubmittedEntry {
    let scoped = matches!(event, ConsentEvent::Given | ConsentEvent::Renewed);
    sign(
        by,
        occurred_at_ms,
        Plain::Consent(Box::new(PlainConsent {
            record: record.to_owned(),
            subject: person,
            event,
            entity: None,
            purposes: scoped.then(|| vec!["dpv:ServiceProvision".to_owned()]),
            recipients: scoped.then(|| vec![recipient.to_owned()]),
            data_categories: scoped.then(|| vec!["dpv-pd:Income".to_owned()]),
            valid_from_ms: scoped.then_some(occurred_at_ms),
            valid_until_ms: None,
            notice: None,
            loa: None,
            indication: None,
        })),
    )
}

pub(crate) fn household(household: Hash, members: &[Hash], valid_from_ms: u64) -> SubmittedEntry {
    let members = members.iter().map(|person| Member {
        person: *person,
        relation: None,
    });
    sign(
        TOWN,
        now_ms(),
        Plain::Household(PlainHousehold {
            household,
            kind: HouseholdKind::Anagrafica,
            members: members.collect(),
            valid_from_ms,
        }),
    )
}
