// SPDX-License-Identifier: BSD-3-Clause
//! Of all that is wrong with a call, what is told first; and that a forged entry is a way to nothing.

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::build::{Draft, Head, Plain};

/// A call in which all is wrong, up to what is mended: the first `mended` of [`WRONG`].
fn told(check: &Check, mended: usize) -> Result<(), Reason> {
    let wrong = |reason: Reason| {
        let place = WRONG.iter().position(|it| *it == reason).unwrap();
        place >= mended
    };
    let mut said = access(&[person("anna")], digest());
    if wrong(Reason::EntryMalformed) {
        said.side = ledger::body::access::Side::Provider;
    }
    if wrong(Reason::OtherConsumer) {
        said.consumer_client_id = Some("client-2".to_owned());
    }
    if wrong(Reason::OtherProvider) {
        said.provider = id("ipa:asl_pv");
    }
    if wrong(Reason::OtherCall) {
        said.purpose = "dpv:LegalCompliance".to_owned();
    }
    if wrong(Reason::OtherRequest) {
        said.evidence = None;
    }
    if wrong(Reason::OtherSubject) {
        said.subjects[0].person = person("carla");
    }
    let until_ms = match wrong(Reason::EmergencyUntil) {
        true => NOW_MS - 1,
        false => NOW_MS + 3_600_000,
    };
    // Without its receipt only what is no emergency is stopped.
    said.emergency = (!wrong(Reason::ReceiptMissing)).then(|| emergency(until_ms));
    let signer = match wrong(Reason::KeyUnknown) {
        true => id("ipa:stranger"),
        false => consumer(),
    };
    let mut entry = sign(said, NOW_MS, &key(&signer));
    if !wrong(Reason::KeyUnknown) && wrong(Reason::SignatureFalse) {
        entry = forge(&entry);
    }
    let findings = match wrong(Reason::Uncovered) {
        true => Findings::from_iter([Finding::Emergency, Finding::NoCase]),
        false => Findings::from_iter([Finding::Emergency]),
    };
    let receipt = match wrong(Reason::ReceiptFalse) {
        true => {
            let other = access(&[person("anna")], digest());
            receipt(&sign(other, NOW_MS, &key(&consumer())), NOW_MS, findings)
        }
        false => receipt(&entry, NOW_MS, findings),
    };
    let shown = (!wrong(Reason::ReceiptMissing)).then_some(receipt);
    let now_ms = match (wrong(Reason::KeysStale), wrong(Reason::Stale)) {
        (true, _) => NOW_MS + 3_600_001,
        (false, true) => NOW_MS + 6 * 60_000,
        (false, false) => NOW_MS,
    };
    let shown = presented(&entry, shown.as_deref());
    check
        .verify(&shown, &caller(), &facts(), now_ms)
        .map(|_| ())
}

const WRONG: [Reason; 14] = [
    Reason::EntryMalformed,
    Reason::ReceiptMissing,
    Reason::KeysStale,
    Reason::KeyUnknown,
    Reason::SignatureFalse,
    Reason::ReceiptFalse,
    Reason::OtherConsumer,
    Reason::OtherProvider,
    Reason::OtherCall,
    Reason::OtherRequest,
    Reason::OtherSubject,
    Reason::EmergencyUntil,
    Reason::Stale,
    Reason::Uncovered,
];

#[test]
fn of_all_that_is_wrong_the_first_of_the_list_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let check = check(folder.path(), |rules| rules.emergencies = true);
    for (mended, reason) in WRONG.iter().enumerate() {
        assert_eq!(told(&check, mended), Err(*reason), "{mended} mended");
    }
    assert_eq!(told(&check, WRONG.len()), Ok(()));
    // As the list of all reasons has them.
    assert!(WRONG.is_sorted());

    // No receipt of this ledger agrees with another's entry: that is told of an emergency alone.
    let mut said = access(&[person("anna")], digest());
    said.provider = id("ipa:asl_pv");
    said.emergency = Some(emergency(NOW_MS));
    let head = Head::new("ledger.other.example", &consumer(), NOW_MS);
    let draft = Draft::new(head, Plain::Access(Box::new(said)), NOW_MS).unwrap();
    let entry = draft.sign(&[&key(&consumer())]).unwrap();
    let judged = check.verify(&presented(&entry, None), &caller(), &facts(), NOW_MS);
    assert_eq!(judged.map(|_| ()), Err(Reason::OtherLedger));
}

/// What a request asks for, and how often that was looked up.
struct Counted(Arc<AtomicUsize>);

impl CallFacts for Counted {
    fn facts<'a>(&'a self, _: &'a Parts, _: &'a Bytes) -> Answering<'a, Result<Facts, Reason>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Err(Reason::FactsUnreadable) })
    }
}

#[tokio::test]
async fn nothing_is_looked_up_for_an_entry_that_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let facts = Counted(Arc::clone(&asked));
    let gate = gate_of(folder.path(), Bounds::default(), facts);
    let upstream = Upstream::default();
    let mut service = GateLayer::new(gate, 1000).layer(upstream.clone());
    let mut answer = async |entry: &ledger::entry::SubmittedEntry, receipt: &str| {
        let shown = request(Some((entry, Some(receipt))));
        code(service.call(shown).await.unwrap()).await.1
    };
    let entry = |by| sign(access(&[person("anna")], digest()), now_ms(), &key(&by));
    let fresh = |entry: &_| receipt_in(entry, now_ms(), Findings::COVERED, 5, now_ms() / 1000);
    let good = entry(consumer());
    let forged = forge(&good);
    let stranger = entry(id("ipa:stranger"));
    for (shown, receipt, reason) in [
        (&forged, fresh(&forged), Reason::SignatureFalse),
        (&stranger, fresh(&stranger), Reason::KeyUnknown),
        (&good, fresh(&forged), Reason::ReceiptFalse),
    ] {
        assert_eq!(answer(shown, &receipt).await, reason.code());
        assert_eq!(asked.load(Ordering::Relaxed), 0, "{reason}");
    }
    let told = answer(&good, &fresh(&good)).await;
    assert_eq!(told, Reason::FactsUnreadable.code());
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_eq!(upstream.0.load(Ordering::Relaxed), 0);
}
