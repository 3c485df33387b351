// SPDX-License-Identifier: EUPL-1.2
//! One node whose files are searched, byte by byte, for what was erased.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ledger::{
    body::{
        Body, Common, Content, Disclosed, Reference,
        system::{Erasure, Ground, Note, NoteKind},
    },
    entry::SubmittedEntry,
    erasure,
    hash::Hash,
    merkle,
    number::EntryIndex,
};

use crate::{
    Clock, Node, Outcome, Until,
    store::{db::Db, db::Memory, erase},
    testbed::{self, common, consent, genesis, key, tuning},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A ledger of one node in a folder of its own.
struct One {
    dir: tempfile::TempDir,
    address: SocketAddr,
    genesis: SubmittedEntry,
    /// How far this ledger's clock is ahead.
    ahead_ms: Arc<AtomicU64>,
}

impl One {
    fn new() -> One {
        let address = testbed::listener().local_addr().unwrap();
        One {
            dir: tempfile::tempdir().unwrap(),
            address,
            genesis: genesis(&[(1, address)].into()),
            ahead_ms: Arc::default(),
        }
    }

    async fn open(&self) -> Node {
        let listener = std::net::TcpListener::bind(self.address).unwrap();
        let (dir, genesis) = (self.dir.path(), &self.genesis);
        let clock = self.clock();
        let tuning = crate::Tuning { clock, ..tuning() };
        let node = Node::open(testbed::config(dir, 1, listener, genesis, &[1], tuning)).await;
        let node = node.unwrap();
        until(|| node.view().unwrap().size().0 > 0).await;
        node.linearizable(PATIENCE).await.unwrap();
        node
    }

    fn clock(&self) -> Clock {
        let ahead_ms = self.ahead_ms.clone();
        Clock::from_fn(move || Clock::system().now_ms() + ahead_ms.load(Ordering::Acquire))
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data-1")
    }
}

/// Looks again at each change, until it is so.
async fn until(so: impl Fn() -> bool) {
    let waited = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        while !so() {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, waited)
        .await
        .expect("in time");
}

async fn submit(node: &Node, entries: Vec<SubmittedEntry>) -> Vec<EntryIndex> {
    let verified = node.verify(entries).await.unwrap();
    let entries = verified.into_iter().map(Result::unwrap).collect();
    let outcomes = node.submit(entries, Until::Published, PATIENCE).await;
    outcomes
        .into_iter()
        .map(|outcome| match outcome {
            Outcome::Accepted(accepted) => accepted.index,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn order(entries: &[EntryIndex], salt: u64) -> SubmittedEntry {
    let erasure = Erasure {
        entries: entries.iter().map(|index| index.0).collect(),
        subject: None,
        before: None,
        types: vec![],
        ground: Ground::NotNecessary,
    };
    sign(
        Clock::system().now_ms(),
        salt,
        Content::Erasure(erasure),
        vec![],
    )
}

fn sign(now_ms: u64, salt: u64, content: Content, disclosures: Vec<String>) -> SubmittedEntry {
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

/// A note with a text of its own.
fn note(now_ms: u64, number: u64) -> SubmittedEntry {
    let random = Hash::of(&[b"text", &number.to_be_bytes()]).to_string();
    let (text, disclosure) = Disclosed::seal(&random.as_bytes()[..16], random.clone());
    let note = Note {
        kind: NoteKind::Dispute,
        text: Some(text),
        subjects: vec![],
        opens: vec![],
    };
    sign(now_ms, number, Content::Note(note), vec![disclosure])
}

/// Text of an entry that nothing compresses and nothing else holds.
fn needle(entry: &SubmittedEntry) -> String {
    entry.disclosures()[0][24..64].to_owned()
}

/// The files below a folder that hold any of the texts, as `grep` finds them.
fn holding(dir: &Path, needles: &[String]) -> Vec<PathBuf> {
    let found = Command::new("grep")
        .args(["-r", "-l", "-a", "-F", "-s"])
        .args(needles.iter().flat_map(|needle| ["-e", needle]))
        .arg(dir)
        .output()
        .unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    found.lines().map(PathBuf::from).collect()
}

fn is_done(node: &Node, order: EntryIndex) -> bool {
    let view = node.view().unwrap();
    let order = erasure::order(&view, order).unwrap();
    order.is_some_and(|order| erasure::waits_for(&view, &order).unwrap().is_empty())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_erased_is_in_no_file_and_every_proof_holds() {
    let one = One::new();
    let node = one.open().await;
    let entries: Vec<SubmittedEntry> = (1..=40).map(consent).collect();
    let indexes = submit(&node, entries.clone()).await;
    let gone = [indexes[3], indexes[20]];
    let needles = [needle(&entries[3]), needle(&entries[20])];
    let kept = needle(&entries[4]);
    // So that the plaintext lies in table and blob files too, and in a raft_snapshot.
    node.0.here.machine.flush().unwrap();
    node.0.here.raft.trigger().snapshot().await.unwrap();
    until(|| node.0.here.machine.snapshot().is_some()).await;
    let places = holding(&one.data(), &needles);
    let held = |name: &str| {
        places
            .iter()
            .any(|path| path.to_string_lossy().contains(name))
    };
    assert!(
        held("/raft/") && held("/state-") && held("/snapshots/") && held(".blob"),
        "{places:?}"
    );
    let before = node.view().unwrap();
    let (size, root) = (before.size(), before.root());
    let leaf = before.entry(gone[0]).unwrap().unwrap().leaf_hash();
    drop(before);

    let ordered = submit(&node, vec![order(&gone, 1)]).await[0];
    // From that moment on, whatever the eraser has come to.
    let view = node.view().unwrap();
    let erased = view.entry(gone[0]).unwrap().unwrap();
    assert!(erased.body.is_none() && erased.disclosures.is_empty());
    assert_eq!(erased.erased, [ordered]);
    assert_eq!(view.receipt(gone[0]).unwrap(), None);
    drop(view);

    until(|| is_done(&node, ordered)).await;
    let places = holding(&one.data(), &needles);
    assert!(places.is_empty(), "{places:?}");
    assert!(!holding(&one.data(), &[kept]).is_empty());
    let view = node.view().unwrap();
    let report = erasure::report(&view, ordered, node.number())
        .unwrap()
        .unwrap();
    assert_eq!((report.done, report.spared), (2, 0));
    for index in [gone[0], indexes[4]] {
        let path = merkle::prove_inclusion(index, size, &view).unwrap();
        let leaf = view.entry(index).unwrap().unwrap().leaf_hash();
        assert_eq!(
            merkle::verify_inclusion(index, size, leaf, &path).unwrap(),
            root
        );
    }
    assert_eq!(view.entry(gone[0]).unwrap().unwrap().leaf_hash(), leaf);
    assert!(view.receipt(indexes[4]).unwrap().is_some());
    drop(view);

    // A start reads every file through, and nothing comes back.
    node.shutdown().await;
    let node = one.open().await;
    assert!(holding(&one.data(), &needles).is_empty());
    assert_eq!(submit(&node, vec![order(&gone[..1], 2)]).await.len(), 1);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_ended_midway_finishes() {
    let one = One::new();
    let node = one.open().await;
    let entries: Vec<SubmittedEntry> = (1..=8).map(consent).collect();
    let gone = submit(&node, entries.clone()).await[5];
    let needles = [needle(&entries[5])];
    node.0.here.machine.flush().unwrap();
    // Ended before it began.
    node.0.erasing.stop().await;
    let ordered = submit(&node, vec![order(&[gone], 1)]).await[0];
    let path = node.0.here.machine.state().path().to_path_buf();
    node.shutdown().await;
    // Ended when the body was rewritten, and the old one still lay in the files.
    {
        let memory = Memory {
            cache_bytes: 1 << 20,
            write_buffer_bytes: 1 << 20,
        };
        let db = Db::open_state(&path, memory).unwrap();
        let state = crate::store::view::DbState::new(&db);
        let order = erasure::order(&state, ordered).unwrap().unwrap();
        erase::rewrite(&db, &order).unwrap();
        db.flush().unwrap();
        assert_eq!(erase::progress(&db).unwrap().orders, 0);
    }
    assert!(!holding(&one.data(), &needles).is_empty());
    let node = one.open().await;
    until(|| is_done(&node, ordered)).await;
    let places = holding(&one.data(), &needles);
    assert!(places.is_empty(), "{places:?}");
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_takes_what_is_older_than_the_time_of_retention() {
    let one = One::new();
    let node = one.open().await;
    let now_ms = Clock::system().now_ms();
    let old = [note(now_ms, 1), note(now_ms, 2), consent(3)];
    let gone = [needle(&old[0]), needle(&old[1])];
    let consented = needle(&old[2]);
    submit(&node, old.to_vec()).await;
    one.ahead_ms
        .store(erasure::RETENTION_MS + 60_000, Ordering::Release);
    let now_ms = one.clock().now_ms();
    let young = note(now_ms, 4);
    let kept = [needle(&young), consented];
    let last = submit(&node, vec![young]).await[0];
    let cut = Erasure {
        entries: vec![],
        subject: None,
        before: Some(last.0 + 1),
        types: vec![],
        ground: Ground::RetentionEnded,
    };
    let cut = sign(now_ms, 5, Content::Erasure(cut), vec![]);
    let ordered = submit(&node, vec![cut]).await[0];
    until(|| is_done(&node, ordered)).await;
    let places = holding(&one.data(), &gone);
    assert!(places.is_empty(), "{places:?}");
    for kept in kept {
        assert!(!holding(&one.data(), &[kept]).is_empty());
    }
    let view = node.view().unwrap();
    let report = erasure::report(&view, ordered, node.number())
        .unwrap()
        .unwrap();
    assert_eq!((report.done, report.spared), (2, last.0 - 1));
    node.shutdown().await;
}
