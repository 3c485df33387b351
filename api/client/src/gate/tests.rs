// SPDX-License-Identifier: BSD-3-Clause
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::{
    convert::Infallible,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll},
};

use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use ledger::{
    body::Body,
    finding::{Finding, Findings},
    policy::PolicySet,
};
use proptest::prelude::*;
use tower_layer::Layer;
use tower_service::Service;

use super::*;
use crate::{build::PlainAccess, outbox::Bounds};

mod order;
mod town;
use town::*;

const PATH: &str = "/isee/v1/attestazioni?anno=2026";
const BODY: &[u8] = br#"{"anno":2026}"#;

fn digest() -> Hash {
    request_digest("POST", PATH, BODY)
}

fn facts() -> Facts {
    Facts {
        request_digest: digest(),
        subjects: vec![person("anna")],
        exchange: None,
        eservice_id: Some(ESERVICE.to_owned()),
        purposes: vec!["dpv-ps:SocialBenefits".to_owned()],
        tracking_evidence: None,
    }
}

fn caller() -> Caller {
    Caller {
        institution: Some(consumer()),
        client_id: Some("client-1".to_owned()),
        voucher_jti: Some("jti-1".to_owned()),
    }
}

fn presented(entry: &ledger::entry::SubmittedEntry, receipt: Option<&str>) -> Presented {
    let mut headers = HeaderMap::new();
    transport::write(&mut headers, &entry.to_wire(), receipt).unwrap();
    Presented::read(&headers).unwrap()
}

/// What a good call shows, after `change`.
fn shown(change: impl FnOnce(&mut PlainAccess)) -> Presented {
    let mut access = access(&[person("anna"), person("bruno")], digest());
    change(&mut access);
    let entry = sign(access, NOW_MS, &key(&consumer()));
    presented(&entry, Some(&receipt(&entry, NOW_MS, Findings::COVERED)))
}

#[test]
fn a_covered_call_passes_and_every_spoiled_one_is_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let check = check(folder.path(), |_| {});
    let judge = |shown: Presented, caller: &Caller, facts: &Facts| {
        let judged = check.verify(&shown, caller, facts, NOW_MS + 2_000);
        judged.map(|covered| (covered.emergency, covered.subjects.len()))
    };
    let good = || shown(|_| {});
    assert_eq!(judge(good(), &caller(), &facts()), Ok((false, 1)));
    assert_eq!(judge(good(), &Caller::default(), &facts()), Ok((false, 1)));

    // Each change of what the entry says, of who calls, or of what is asked.
    type Spoil = fn(&mut PlainAccess);
    let entries: &[(Spoil, Reason)] = &[
        (
            |it| it.side = ledger::body::access::Side::Provider,
            Reason::EntryMalformed,
        ),
        (|it| it.provider = id("ipa:asl_pv"), Reason::OtherProvider),
        (
            |it| it.consumer_client_id = Some("client-2".to_owned()),
            Reason::OtherConsumer,
        ),
        (|it| it.eservice.eservice_id.push('x'), Reason::OtherCall),
        (
            |it| it.purpose = "dpv:LegalCompliance".to_owned(),
            Reason::OtherCall,
        ),
        (
            |it| it.evidence.as_mut().unwrap().voucher_jti = Some("x".to_owned()),
            Reason::OtherCall,
        ),
        (|it| it.evidence = None, Reason::OtherRequest),
        (
            |it| it.subjects[0].role = ledger::body::access::SubjectRole::Incidental,
            Reason::OtherSubject,
        ),
        (|it| drop(it.subjects.remove(0)), Reason::OtherSubject),
    ];
    for (place, (spoil, reason)) in entries.iter().enumerate() {
        let judged = judge(shown(spoil), &caller(), &facts());
        assert_eq!(judged, Err(*reason), "entry {place}");
    }
    let other = Caller {
        institution: Some(id("ipa:asl_pv")),
        ..caller()
    };
    assert_eq!(judge(good(), &other, &facts()), Err(Reason::OtherConsumer));
    type Ask = fn(&mut Facts);
    let asked: &[(Ask, Reason)] = &[
        (|it| it.subjects.push(person("carla")), Reason::OtherSubject),
        (|it| it.subjects.clear(), Reason::OtherSubject),
        (|it| it.exchange = Some([8; 16]), Reason::OtherCall),
        (
            |it| it.request_digest = request_digest("POST", PATH, b"{}"),
            Reason::OtherRequest,
        ),
    ];
    for (place, (change, reason)) in asked.iter().enumerate() {
        let mut facts = facts();
        change(&mut facts);
        assert_eq!(
            judge(good(), &caller(), &facts),
            Err(*reason),
            "facts {place}"
        );
    }
    let mut evidence = facts();
    evidence.tracking_evidence = Some(Hash([1; 32]));
    assert!(
        judge(good(), &caller(), &evidence).is_ok(),
        "the entry need not name it"
    );
    let named = shown(|it| {
        it.evidence.as_mut().unwrap().tracking_evidence_digest = Some(Hash([2; 32]));
    });
    assert_eq!(judge(named, &caller(), &evidence), Err(Reason::OtherCall));
}

#[test]
fn signatures_receipts_times_and_findings_decide() {
    let folder = tempfile::tempdir().unwrap();
    let check = check(folder.path(), |_| {});
    let at = |shown: Presented, now_ms| {
        let judged = check.verify(&shown, &Caller::default(), &facts(), now_ms);
        judged.map(|covered| covered.fresh_until_ms)
    };
    let access = || access(&[person("anna")], digest());
    let entry = sign(access(), NOW_MS, &key(&consumer()));
    let good = receipt(&entry, NOW_MS, Findings::COVERED);
    let until = NOW_MS + 5 * 60_000 + 10_000;
    assert_eq!(at(presented(&entry, Some(&good)), NOW_MS), Ok(until));
    // The window, to the millisecond.
    assert_eq!(at(presented(&entry, Some(&good)), until), Ok(until));
    assert_eq!(
        at(presented(&entry, Some(&good)), until + 1),
        Err(Reason::Stale)
    );
    assert_eq!(
        at(presented(&entry, Some(&good)), NOW_MS - 9_000),
        Ok(until)
    );
    assert_eq!(
        at(presented(&entry, Some(&good)), NOW_MS - 9_001),
        Err(Reason::Stale)
    );
    let early = receipt_in(&entry, NOW_MS, Findings::COVERED, 5, NOW_MS / 1000 - 12);
    assert_eq!(
        at(presented(&entry, Some(&early)), NOW_MS),
        Err(Reason::Stale)
    );

    assert_eq!(
        at(presented(&entry, None), NOW_MS),
        Err(Reason::ReceiptMissing)
    );
    // Another entry's receipt; one under a checkpoint that too few cosigned.
    let other = sign(access(), NOW_MS, &key(&consumer()));
    let foreign = receipt(&other, NOW_MS, Findings::COVERED);
    assert_eq!(
        at(presented(&entry, Some(&foreign)), NOW_MS),
        Err(Reason::ReceiptFalse)
    );
    let few = good.trim_end().rsplit_once('\n').unwrap().0.to_owned() + "\n";
    assert_eq!(
        at(presented(&entry, Some(&few)), NOW_MS),
        Err(Reason::ReceiptFalse)
    );
    // A stranger's key, and a signature that is not the key's.
    let stranger = sign(access(), NOW_MS, &key(&id("ipa:stranger")));
    let its = receipt(&stranger, NOW_MS, Findings::COVERED);
    assert_eq!(
        at(presented(&stranger, Some(&its)), NOW_MS),
        Err(Reason::KeyUnknown)
    );
    let forged = forge(&entry);
    let its = receipt(&forged, NOW_MS, Findings::COVERED);
    assert_eq!(
        at(presented(&forged, Some(&its)), NOW_MS),
        Err(Reason::SignatureFalse)
    );
    // Signed for the consumer by another institution: as the ledger found it.
    let delegate = sign(access(), NOW_MS, &key(&id("ipa:asl_pv")));
    let its = receipt(&delegate, NOW_MS, Findings::COVERED);
    assert!(at(presented(&delegate, Some(&its)), NOW_MS).is_ok());
    let found = |finding: Finding| Findings::from_iter([finding]);
    let its = receipt(&delegate, NOW_MS, found(Finding::DelegationMissing));
    assert_eq!(
        at(presented(&delegate, Some(&its)), NOW_MS),
        Err(Reason::Uncovered)
    );
    for finding in Finding::ALL {
        let its = receipt(&entry, NOW_MS, found(finding));
        assert_eq!(
            at(presented(&entry, Some(&its)), NOW_MS),
            Err(Reason::Uncovered)
        );
    }
    let reserved = receipt(&entry, NOW_MS, Findings(1 << 31));
    assert_eq!(
        at(presented(&entry, Some(&reserved)), NOW_MS),
        Err(Reason::Uncovered)
    );

    // What the provider allows passes, and nothing with it.
    let lenient = town::check(folder.path(), |rules| rules.allowed.insert(Finding::NoCase));
    let judge = |findings| {
        let its = receipt(&entry, NOW_MS, findings);
        lenient.verify(&presented(&entry, Some(&its)), &caller(), &facts(), NOW_MS)
    };
    assert!(judge(found(Finding::NoCase)).is_ok());
    let both = found(Finding::NoCase).union(found(Finding::Late));
    assert_eq!(judge(both).map(|_| ()), Err(Reason::Uncovered));
    // A copy of the registry that is too old says nothing.
    let old = lenient.verify(
        &presented(&entry, Some(&good)),
        &caller(),
        &facts(),
        NOW_MS + 3_600_001,
    );
    assert_eq!(old.map(|_| ()), Err(Reason::KeysStale));
}

/// The same entry with another signature of the same key id.
fn forge(entry: &ledger::entry::SubmittedEntry) -> ledger::entry::SubmittedEntry {
    let mut wire: serde_json::Value = serde_json::from_str(&entry.to_wire()).unwrap();
    let other = key(&consumer()).sign(b"another text");
    wire["envelope"]["signatures"][0]["sig"] = ledger::base64::encode(&other).into();
    ledger::entry::SubmittedEntry::from_wire(wire.to_string().as_bytes()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// An entry binds method, target, body and persons: it passes for exactly the request that it was made for.
    #[test]
    fn an_entry_passes_for_its_own_request_alone(
        one in "(GET|POST|PUT)", path in "/[a-z]{1,6}(\\?[a-z]=[0-9%]{1,3})?",
        body in prop::collection::vec(any::<u8>(), 0..40),
        other_method in "(GET|POST|PUT)", other_path in "/[a-z]{1,6}(\\?[a-z]=[0-9%]{1,3})?",
        other_body in prop::collection::vec(any::<u8>(), 0..40),
        change in 0_u8..6, named in 1_usize..5, asked in 0_usize..7,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let check = check(folder.path(), |_| {});
        let persons: Vec<Hash> = (0..named).map(|n| person(&n.to_string())).collect();
        let entry = sign(access(&persons, request_digest(&one, &path, &body)), NOW_MS, &key(&consumer()));
        let shown = presented(&entry, Some(&receipt(&entry, NOW_MS, Findings::COVERED)));
        let now = match change {
            0 => (other_method.as_str(), path.as_str(), body.as_slice()),
            1 => (one.as_str(), other_path.as_str(), body.as_slice()),
            2 => (one.as_str(), path.as_str(), other_body.as_slice()),
            _ => (one.as_str(), path.as_str(), body.as_slice()),
        };
        let same = now == (one.as_str(), path.as_str(), body.as_slice());
        let facts = Facts {
            request_digest: request_digest(now.0, now.1, now.2),
            subjects: vec![person(&asked.to_string())],
            ..facts()
        };
        let judged = check.verify(&shown, &caller(), &facts, NOW_MS).map(|_| ());
        prop_assert_eq!(judged, match (same, asked < named) {
            (false, _) => Err(Reason::OtherRequest),
            (true, false) => Err(Reason::OtherSubject),
            (true, true) => Ok(()),
        });
    }

    /// Whatever a head holds, it is read or refused; what was written is read again, however the lines were combined.
    #[test]
    fn headers_are_read_as_written(garbage in "[ -~]{0,60}", persons in 1_usize..200, combine in any::<bool>()) {
        let mut headers = HeaderMap::new();
        headers.append(transport::ENTRY, HeaderValue::from_str(&garbage).unwrap());
        prop_assert!(Presented::read(&headers).is_err());
        let persons: Vec<Hash> = (0..persons).map(|n| person(&n.to_string())).collect();
        let entry = sign(access(&persons, digest()), NOW_MS, &key(&consumer()));
        let receipt = receipt(&entry, NOW_MS, Findings::COVERED);
        transport::write(&mut headers, &entry.to_wire(), Some(&receipt)).unwrap();
        if combine {
            let lines: Vec<_> = headers.get_all(transport::ENTRY).iter().map(|line| line.to_str().unwrap().to_owned()).collect();
            headers.insert(transport::ENTRY, HeaderValue::from_str(&lines.join(", ")).unwrap());
        }
        let read = Presented::read(&headers).unwrap();
        prop_assert!(read.entry == entry);
        prop_assert_eq!(read.receipt.unwrap().to_string(), receipt);
    }
}

#[test]
fn an_access_of_two_hundred_persons_fits_and_no_line_is_longer_than_servers_take() {
    let persons: Vec<Hash> = (0..200).map(|n| person(&n.to_string())).collect();
    let mut full = access(&persons, digest());
    full.reason = "x".repeat(400);
    let entry = sign(full, NOW_MS, &key(&consumer()));
    let mut headers = HeaderMap::new();
    transport::write(&mut headers, &entry.to_wire(), None).unwrap();
    let lines: Vec<usize> = headers
        .get_all(transport::ENTRY)
        .iter()
        .map(HeaderValue::len)
        .collect();
    assert!(lines.iter().all(|length| *length <= 8_000), "{lines:?}");
    assert!(lines.iter().sum::<usize>() < transport::HEAD_BYTES - 16 * 1024);
    let long = "x".repeat(transport::ENTRY_BYTES_MAX + 1);
    assert_eq!(
        transport::write(&mut headers, &long, None),
        Err(Reason::EntryMalformed)
    );
}

#[test]
fn emergencies_pass_only_where_allowed_and_for_a_day_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let strict = check(folder.path(), |_| {});
    let open = check(folder.path(), |rules| rules.emergencies = true);
    let claimed = |until_ms| {
        let mut access = access(&[person("anna")], digest());
        access.emergency = Some(emergency(until_ms));
        sign(access, NOW_MS, &key(&consumer()))
    };
    let judge = |check: &Check, shown: Presented| {
        let judged = check.verify(&shown, &caller(), &facts(), NOW_MS);
        judged.map(|covered| (covered.emergency, covered.receipt.is_some()))
    };
    let good = claimed(NOW_MS + 3_600_000);
    assert_eq!(
        judge(&strict, presented(&good, None)),
        Err(Reason::ReceiptMissing)
    );
    assert_eq!(judge(&open, presented(&good, None)), Ok((true, false)));
    let found = receipt(&good, NOW_MS, Findings::from_iter([Finding::Emergency]));
    assert_eq!(
        judge(&open, presented(&good, Some(&found))),
        Ok((true, true))
    );
    assert_eq!(
        judge(&strict, presented(&good, Some(&found))),
        Err(Reason::Uncovered)
    );
    for (until_ms, passes) in [
        (NOW_MS - 1, false),
        (NOW_MS, true),
        (NOW_MS + EMERGENCY_MS, true),
        (NOW_MS + EMERGENCY_MS + 1, false),
    ] {
        let expected = if passes {
            Ok((true, false))
        } else {
            Err(Reason::EmergencyUntil)
        };
        assert_eq!(judge(&open, presented(&claimed(until_ms), None)), expected);
    }
    // Without a receipt the consumer's own signature counts, of now, and all that is needed to put it on record.
    let mut access = access(&[person("anna")], digest());
    access.emergency = Some(emergency(NOW_MS + 1_000));
    let by_other = sign(access.clone(), NOW_MS, &key(&id("ipa:asl_pv")));
    assert_eq!(
        judge(&open, presented(&by_other, None)),
        Err(Reason::EmergencyIncomplete)
    );
    let old = sign(access, NOW_MS - 6 * 60_000, &key(&consumer()));
    assert_eq!(judge(&open, presented(&old, None)), Err(Reason::Stale));
    let wire: serde_json::Value = serde_json::from_str(&good.to_wire()).unwrap();
    let mut less = wire.clone();
    less["disclosures"].as_array_mut().unwrap().remove(0);
    let less = ledger::entry::SubmittedEntry::from_wire(less.to_string().as_bytes()).unwrap();
    assert_eq!(
        judge(&open, presented(&less, None)),
        Err(Reason::EmergencyIncomplete)
    );
    let plain = shown(|_| {});
    assert_eq!(
        judge(
            &open,
            Presented {
                receipt: None,
                ..plain
            }
        ),
        Err(Reason::ReceiptMissing)
    );
}

#[tokio::test]
async fn an_exchange_is_used_once_also_over_restarts_and_clocks_put_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = used::Used::open(folder.path()).unwrap();
    let mark = |n: u64| used::mark(&consumer(), &[7; 16], n);
    assert_eq!(store.take(mark(1), NOW_MS + 10, NOW_MS).await, Ok(()));
    assert_eq!(
        store.take(mark(1), NOW_MS + 10, NOW_MS).await,
        Err(Reason::Used)
    );
    assert_eq!(store.take(mark(2), NOW_MS + 10, NOW_MS).await, Ok(()));
    drop(store);
    let store = used::Used::open(folder.path()).unwrap();
    assert_eq!(
        store.take(mark(2), NOW_MS + 10, NOW_MS).await,
        Err(Reason::Used)
    );
    // Many that end soon, one that stays: the file does not grow for ever, and the one is not forgotten.
    let lasting = mark(3);
    store
        .take(lasting, NOW_MS + (1 << 40), NOW_MS)
        .await
        .unwrap();
    for round in 0..6_u64 {
        let now_ms = NOW_MS + (round + 1) * 60_000;
        let all: Vec<_> = (0..8_000)
            .map(|n| store.take(mark(1_000 + round * 10_000 + n), now_ms + 1, now_ms))
            .collect();
        for taken in futures_of(all).await {
            taken.unwrap();
        }
    }
    let late_ms = NOW_MS + 3_600_000;
    store.take(mark(4), late_ms + 1, late_ms).await.unwrap();
    let on_disk: u64 = std::fs::read_dir(folder.path())
        .unwrap()
        // A segment may go while they are counted.
        .filter_map(|file| file.ok()?.metadata().ok())
        .map(|file| file.len())
        .sum();
    assert!(
        on_disk < 48_000 * 89,
        "nothing was forgotten: {on_disk} bytes"
    );
    drop(store);
    let store = used::Used::open(folder.path()).unwrap();
    assert_eq!(store.take(lasting, NOW_MS, NOW_MS).await, Err(Reason::Used));
    assert!(
        store.not_before_floor(NOW_MS) > NOW_MS,
        "the clock goes on from what was forgotten"
    );
}

/// All of them at once, so that they share their syncs.
async fn futures_of<T>(all: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut all: Vec<_> = all.into_iter().map(|it| (Box::pin(it), None)).collect();
    std::future::poll_fn(|context| {
        let mut open = false;
        for (future, done) in &mut all {
            if done.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(value) => *done = Some(value),
                    Poll::Pending => open = true,
                }
            }
        }
        if open { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    all.into_iter().map(|(_, done)| done.unwrap()).collect()
}

struct Fixed;

/// A path whose facts cannot be told.
const UNREADABLE: &str = "/unreadable";

impl Callers for Fixed {
    fn caller<'a>(&'a self, head: &'a Parts) -> Answering<'a, Result<Caller, Reason>> {
        let known = head.headers.contains_key("authorization");
        Box::pin(async move { known.then(caller).ok_or(Reason::CallerUnknown) })
    }
}

impl CallFacts for Fixed {
    fn facts<'a>(
        &'a self,
        head: &'a Parts,
        body: &'a Bytes,
    ) -> Answering<'a, Result<Facts, Reason>> {
        let subjects = vec![person("anna")];
        let facts = Facts {
            subjects,
            ..Facts::of_request(head, body)
        };
        let read = head.uri.path() != UNREADABLE;
        Box::pin(async move { read.then_some(facts).ok_or(Reason::FactsUnreadable) })
    }
}

/// The service behind: counts who reached it.
#[derive(Clone, Default)]
struct Upstream(Arc<AtomicUsize>);

impl Service<Request<Full<Bytes>>> for Upstream {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Answering<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            assert!(!request.headers().contains_key(transport::ENTRY));
            assert!(request.extensions().get::<Covered>().is_some());
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let mut response = Response::new(Full::from(Bytes::from(
                [b"data for ", body.as_ref()].concat(),
            )));
            let answer = Answer {
                status: 200,
                result_count: Some(3),
                incidental: vec![person("bruno")],
                ..Answer::default()
            };
            response.extensions_mut().insert(answer);
            Ok(response)
        })
    }
}

fn now_ms() -> u64 {
    u64::try_from(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_millis(),
    )
    .unwrap()
}

fn gate(folder: &Path, bounds: Bounds) -> Arc<Gate> {
    gate_of(folder, bounds, Fixed)
}

fn gate_of(folder: &Path, bounds: Bounds, facts: impl CallFacts) -> Arc<Gate> {
    let mut rules = Rules::new(LEDGER, &provider());
    rules.emergencies = true;
    let copy = keys(folder, &[consumer(), provider()]);
    // The town's copy is of another day.
    let mut file: keys::KeyFile =
        serde_json::from_slice(&std::fs::read(folder.join("keys.json")).unwrap()).unwrap();
    drop(copy);
    file.read_at_ms = now_ms();
    std::fs::write(folder.join("keys.json"), serde_json::to_vec(&file).unwrap()).unwrap();
    let copy = keys::Keys::open(
        &folder.join("keys.json"),
        LEDGER,
        std::time::Duration::from_secs(60),
    );
    let policies: Arc<PolicySet> = Arc::new(policies());
    Arc::new(Gate::new(
        Check::new(rules, policies, Arc::new(copy.unwrap())),
        Fixed,
        facts,
        used::Used::open(&folder.join("used")).unwrap(),
        Outbox::open(&folder.join("outbox"), bounds).unwrap(),
        key(&provider()),
    ))
}

fn request(shown: Option<(&ledger::entry::SubmittedEntry, Option<&str>)>) -> Request<Full<Bytes>> {
    let mut request = Request::post(PATH)
        .header("authorization", "voucher")
        .body(Full::from(Bytes::from_static(BODY)))
        .unwrap();
    if let Some((entry, receipt)) = shown {
        transport::write(request.headers_mut(), &entry.to_wire(), receipt).unwrap();
    }
    request
}

async fn code(response: Response<Full<Bytes>>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let kind = problem["type"].as_str().unwrap_or_default();
    (
        status,
        kind.rsplit('/').next().unwrap_or_default().to_owned(),
    )
}

#[tokio::test]
async fn the_layer_lets_one_call_through_and_keeps_our_side() {
    let folder = tempfile::tempdir().unwrap();
    let gate = gate(folder.path(), Bounds::default());
    let upstream = Upstream::default();
    let mut service = GateLayer::new(Arc::clone(&gate), 1000).layer(upstream.clone());
    let entry = sign(
        access(&[person("anna")], digest()),
        now_ms(),
        &key(&consumer()),
    );
    let receipt = receipt_in(&entry, now_ms(), Findings::COVERED, 5, now_ms() / 1000);

    let refused = service.call(request(None)).await.unwrap();
    assert_eq!(code(refused).await, (428, "gate-entry-missing".to_owned()));
    let long =
        request(Some((&entry, Some(&receipt)))).map(|_| Full::from(Bytes::from(vec![0; 1001])));
    let refused = service.call(long).await.unwrap();
    assert_eq!(code(refused).await, (413, "gate-body-too-long".to_owned()));
    let mut unknown = request(Some((&entry, Some(&receipt))));
    unknown.headers_mut().remove("authorization");
    let refused = service.call(unknown).await.unwrap();
    assert_eq!(code(refused).await, (401, "gate-caller-unknown".to_owned()));
    assert_eq!(upstream.0.load(Ordering::Relaxed), 0);

    let passed = service
        .call(request(Some((&entry, Some(&receipt)))))
        .await
        .unwrap();
    let told = passed
        .headers()
        .get(transport::ENTRY_ID)
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let body = passed.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, [b"data for ", BODY].concat());
    let refused = service
        .call(request(Some((&entry, Some(&receipt)))))
        .await
        .unwrap();
    assert_eq!(code(refused).await, (409, "gate-used".to_owned()));
    assert_eq!(upstream.0.load(Ordering::Relaxed), 1);

    let waiting = gate.outbox().oldest(0, 10).unwrap();
    assert_eq!(waiting.len(), 1);
    let side = ledger::entry::SubmittedEntry::from_wire(waiting[0].1.as_bytes()).unwrap();
    let body = Body::parse(side.payload(), side.disclosures()).unwrap();
    assert_eq!(body.common.id.to_string(), told);
    assert_eq!(body.common.institution, provider());
    let ledger::body::Content::Access(side) = body.content else {
        panic!("no access")
    };
    assert_eq!(
        (side.exchange, side.result_count, side.status_code),
        ([7; 16], Some(3), Some(200))
    );
    let persons: Vec<_> = side
        .subjects
        .iter()
        .map(|it| it.value.clone().unwrap())
        .collect();
    assert_eq!(
        (persons[0].person, persons[1].person),
        (person("anna"), person("bruno"))
    );
    assert_eq!(side.evidence.unwrap().request_digest, Some(digest()));
    let counts = gate.counts().clone();
    assert_eq!((counts.passed, counts.refused["gate-used"]), (1, 1));
}

#[tokio::test]
async fn facts_are_asked_only_of_a_call_that_shows_an_entry_and_its_receipt() {
    let folder = tempfile::tempdir().unwrap();
    let gate = gate(folder.path(), Bounds::default());
    let entry = sign(
        access(&[person("anna")], digest()),
        now_ms(),
        &key(&consumer()),
    );
    let receipt = receipt_in(&entry, now_ms(), Findings::COVERED, 5, now_ms() / 1000);
    for (shown, told) in [
        (None, Reason::EntryMissing),
        (Some((&entry, None)), Reason::ReceiptMissing),
        (
            Some((&entry, Some(receipt.as_str()))),
            Reason::FactsUnreadable,
        ),
    ] {
        let (mut head, _) = request(shown).into_parts();
        head.uri = UNREADABLE.parse().unwrap();
        let judged = gate.admit(&head, &Bytes::from_static(BODY)).await;
        assert_eq!(judged.map(|_| ()), Err(told));
    }
}

#[tokio::test]
async fn an_answer_with_more_persons_than_an_entry_holds_does_not_leave() {
    let folder = tempfile::tempdir().unwrap();
    let gate = gate(folder.path(), Bounds::default());
    // One is asked for; who is met twice counts once.
    for (exchange, met, told) in [(1, 199, Ok(())), (2, 200, Err(Reason::AnswerPersons))] {
        let mut plain = access(&[person("anna")], digest());
        plain.exchange = [exchange; 16];
        let entry = sign(plain, now_ms(), &key(&consumer()));
        let receipt = receipt_in(&entry, now_ms(), Findings::COVERED, 5, now_ms() / 1000);
        let (head, _) = request(Some((&entry, Some(&receipt)))).into_parts();
        let admitted = gate.admit(&head, &Bytes::from_static(BODY)).await.unwrap();
        let persons = (0..met).map(|n| person(&format!("person {n}")));
        let answer = Answer {
            status: 200,
            incidental: persons
                .chain([person("person 0"), person("anna")])
                .collect(),
            ..Answer::default()
        };
        assert_eq!(gate.answered(admitted, &answer).await.map(|_| ()), told);
    }
    assert_eq!(gate.outbox().standing(0).waiting, 1);
}

#[tokio::test]
async fn an_emergency_is_on_its_way_to_the_record_before_the_service_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let gate = gate(folder.path(), Bounds::default());
    let upstream = Upstream::default();
    let mut service = GateLayer::new(Arc::clone(&gate), 1000).layer(upstream.clone());
    let mut claimed = access(&[person("anna")], digest());
    claimed.emergency = Some(emergency(now_ms() + 60_000));
    let entry = sign(claimed, now_ms(), &key(&consumer()));
    let passed = service.call(request(Some((&entry, None)))).await.unwrap();
    assert_eq!(passed.status().as_u16(), 200);
    let waiting = gate.outbox().oldest(0, 10).unwrap();
    assert_eq!(waiting.len(), 2);
    assert_eq!(waiting[0].1, entry.to_wire(), "the consumer's own bytes");
    let standing = gate.outbox().standing(now_ms() + EMERGENCY_MS + 1_000);
    assert_eq!((standing.waiting_emergencies, standing.overdue), (1, 2));
    assert_eq!(gate.counts().emergencies, 1);
    let refused = service.call(request(Some((&entry, None)))).await.unwrap();
    assert_eq!(code(refused).await, (409, "gate-used".to_owned()));
}

#[tokio::test]
async fn without_room_for_our_side_the_service_is_not_asked() {
    let folder = tempfile::tempdir().unwrap();
    let small = Bounds {
        bytes_max: 60_000,
        segment_bytes: 30_000,
        ..Bounds::default()
    };
    let gate = gate(folder.path(), small);
    let upstream = Upstream::default();
    let mut service = GateLayer::new(Arc::clone(&gate), 1000).layer(upstream.clone());
    let mut last = (0, String::new());
    for n in 0..10_u8 {
        let mut plain = access(&[person("anna")], digest());
        plain.exchange = [n; 16];
        let entry = sign(plain, now_ms(), &key(&consumer()));
        let receipt = receipt_in(&entry, now_ms(), Findings::COVERED, 5, now_ms() / 1000);
        let asked = upstream.0.load(Ordering::Relaxed);
        last = code(
            service
                .call(request(Some((&entry, Some(&receipt)))))
                .await
                .unwrap(),
        )
        .await;
        let reached = upstream.0.load(Ordering::Relaxed) > asked;
        assert_eq!(reached, last.0 == 200, "{last:?}");
    }
    assert_eq!(last, (503, "gate-outbox-full".to_owned()));
}
