// SPDX-License-Identifier: EUPL-1.2
//! Writes go on while a fold runs beside them, and while a cut takes all of it out of the lists. `./scripts/bench --fold` runs it with a million
//! refs, and prints how long writes waited.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ledger::body::system::{Note, NoteKind};
use ledger::body::{Body, Content, Disclosed, Reference};
use ledger::bytes::ListValue;
use ledger::entry::SubmittedEntry;
use ledger::hash::Hash;
use ledger::number::{EntryIndex, TreeSize};
use ledger::retention::RETENTION_MS;
use ledger::state::StateKey;
use tokio::time::Instant;

use crate::net::tests::{PATIENCE, Town};
use crate::testbed::{common, consent_at, cut, key};
use crate::{Clock, Folded, Node, Outcome, Tuning, Until};

/// Refs of one entry, the most there may be.
const REFS: u64 = 200;
/// Entries, unless `VISTO_FOLD_ENTRIES` says more.
const ENTRIES: u64 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn writes_go_on_beside_a_fold() {
    let entries = std::env::var("VISTO_FOLD_ENTRIES");
    let entries = entries.map_or(ENTRIES, |entries| entries.parse().unwrap());
    let ahead_ms = Arc::new(AtomicU64::new(0));
    let clock = {
        let ahead_ms = ahead_ms.clone();
        Clock::from_fn(move || Clock::system().now_ms() + ahead_ms.load(Ordering::Acquire))
    };
    let town = Town::new(
        1,
        Tuning {
            clock: clock.clone(),
            fold_interval: Duration::from_secs(36_000),
            fold_entries_max: u64::MAX,
            ..Tuning::default()
        },
    );
    let node = &town.open_all().await[&1];
    write(node, consent_at(clock.now_ms(), 0)).await;
    let genesis = node.view().unwrap().entry(EntryIndex(0));
    let of = Reference {
        index: EntryIndex(0),
        leaf: genesis.unwrap().unwrap().leaf_hash(),
    };
    for first in (0..entries).step_by(50) {
        let notes = (first..entries.min(first + 50)).map(|number| note(number, of));
        let verified = node.verify(notes.collect()).await.unwrap();
        let verified = verified.into_iter().map(Result::unwrap).collect();
        let outcomes = node.submit(verified, Until::Committed, PATIENCE).await;
        assert!(
            outcomes
                .iter()
                .all(|outcome| matches!(outcome, Outcome::Accepted(_)))
        );
    }
    let mut number = 1;
    let mut alone = Vec::new();
    for _ in 0..entries.min(1000) {
        alone.push(write(node, consent_at(clock.now_ms(), number)).await);
        number += 1;
    }
    print("alone", alone);
    let folded = beside(node, &clock, &mut number, "the fold").await;
    println!(
        "{} refs, {} entries",
        REFS * entries,
        folded.state_root().size
    );
    assert!(folded.covers(TreeSize(entries + 2)));
    let last = StateKey::subject(&person_noted(entries * REFS - 1));
    let (value, _) = folded.prove(&last).unwrap();
    assert_eq!(ListValue::decode(&value.unwrap()).unwrap().count, 1);
    ahead_ms.store(RETENTION_MS, Ordering::Release);
    write(node, cut(clock.now_ms(), 2_000_000_000, entries + 2)).await;
    let folded = beside(node, &clock, &mut number, "the fold that holds a cut").await;
    let (value, _) = folded.prove(&last).unwrap();
    assert_eq!(value, None);
}

/// One write after the other until all that is there is folded.
async fn beside(node: &Node, clock: &Clock, number: &mut u64, what: &str) -> Folded {
    let start = Instant::now();
    let folding = node.fold(Duration::from_secs(3600));
    tokio::pin!(folding);
    let mut beside = Vec::new();
    let folded = loop {
        tokio::select! {
            biased;
            folded = &mut folding => break folded.unwrap(),
            wait = write(node, consent_at(clock.now_ms(), *number)) => beside.push(wait),
        }
        *number += 1;
    };
    println!("{what}: {:.1} s", start.elapsed().as_secs_f64());
    print(&format!("beside {what}"), beside);
    folded
}

fn print(what: &str, mut waits: Vec<Duration>) {
    waits.sort();
    if waits.is_empty() {
        return;
    }
    let at = |part: usize| waits[(waits.len() - 1) * part / 1000].as_secs_f64() * 1000.0;
    println!(
        "one write after the other, {what}: {} writes, p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
        waits.len(),
        at(500),
        at(990),
        at(1000)
    );
}

/// How long it took to commit.
async fn write(node: &Node, entry: SubmittedEntry) -> Duration {
    let verified = node.verify(vec![entry]).await.unwrap().remove(0).unwrap();
    let start = Instant::now();
    let outcome = node
        .submit(vec![verified], Until::Committed, PATIENCE)
        .await;
    assert!(matches!(outcome[0], Outcome::Accepted(_)), "{outcome:?}");
    start.elapsed()
}

fn person_noted(number: u64) -> Hash {
    Hash::of(&[b"noted", &number.to_be_bytes()])
}

/// An entry about as many persons as an entry may be, nobody else's.
fn note(number: u64, of: Reference) -> SubmittedEntry {
    let (mut subjects, mut disclosures) = (Vec::new(), Vec::new());
    for place in 0..REFS {
        let person = person_noted(number * REFS + place);
        let (subject, disclosure) = Disclosed::seal(&person.0[..16], person);
        subjects.push(subject);
        disclosures.push(disclosure);
    }
    let mut common = common(Clock::system().now_ms(), 1_000_000_000 + number);
    common.refers_to = Some(of);
    let note = Note {
        kind: NoteKind::Complete,
        text: None,
        subjects,
        opens: vec![],
    };
    let body = Body {
        common,
        content: Content::Note(note),
    };
    SubmittedEntry::sign(body.to_json().as_bytes(), &[&key("entry")], disclosures).unwrap()
}
