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
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ledger::{
    admission::{Row, RowKind},
    body::{
        Content, Disclosed, EntryType,
        access::{Access, AccessSubject, Action, EService, Side, SubjectRole, Visibility},
        consent::{Consent, ConsentEvent},
        system::{Erasure, Ground, Note, NoteKind},
    },
    bytes::ListValue,
    entry::SubmittedEntry,
    erasure,
    fold::FoldReader,
    hash::Hash,
    merkle,
    number::EntryIndex,
    refusal::Refusal,
    retention::RETENTION_MS,
    state::StateKey,
};

use self::plaintext::holding;
use crate::{
    Clock, Direction, Node, Outcome, Until,
    error::{Error, ErrorKind},
    store::{db::Db, db::Resources, erase, fatal::Fatal, fold::DbFold, keys},
    tasks::{Beside, Halt},
    testbed::{self, consent, cut, genesis, note_on, salt, sign, subject, tuning},
};

// In the harness it is public.
#[allow(unreachable_pub)]
#[path = "../../../../tests/src/plaintext.rs"]
mod plaintext;

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
        self.open_with(tuning()).await
    }

    async fn open_with(&self, tuning: crate::Tuning) -> Node {
        let (dir, genesis) = (self.dir.path(), &self.genesis);
        let clock = self.clock();
        let tuning = crate::Tuning { clock, ..tuning };
        let config = || {
            let listener = std::net::TcpListener::bind(self.address).unwrap();
            testbed::config(dir, 1, listener, genesis, &[1], tuning.clone())
        };
        let node = testbed::open(config).await.unwrap();
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

/// An access whose operator has a list of its own.
fn access(number: u64) -> SubmittedEntry {
    let seal = |what: &str| {
        let salt = Hash::of(&[what.as_bytes(), &number.to_be_bytes()]);
        Disclosed::seal(&salt.as_bytes()[..16], what.to_owned())
    };
    let (user_id, of_user) = seal("operator-7");
    let (user_location, of_location) = seal("desk 3");
    let (reason, of_reason) = seal("Domanda di bonus");
    let target = AccessSubject {
        person: subject(number),
        role: SubjectRole::Target,
        relation: None,
    };
    let (target, of_target) = Disclosed::seal(&salt(number).as_bytes()[..16], target);
    let access = Access {
        side: Side::Consumer,
        exchange: *salt(number).as_bytes().first_chunk().unwrap(),
        consumer: testbed::institution(),
        consumer_client_id: None,
        provider: testbed::institution(),
        eservice: EService {
            eservice_id: "isee".into(),
            descriptor_id: None,
            name: None,
            version: None,
            operation: None,
        },
        user_id,
        user_role: "assistente sociale".into(),
        user_location,
        loa: None,
        purpose_id: None,
        purpose: "dpv:ServiceProvision".into(),
        legal_basis: "dpv-gdpr:A6-1-e".into(),
        legal_reference: Some("DPCM 159/2013".into()),
        reason,
        case_ref: None,
        consent_refs: vec![],
        action: Action::Query,
        outcome: "ok".into(),
        status_code: Some(200),
        data_categories: vec!["dpv-pd:Income".into()],
        personal_data_types: vec![],
        subjects: vec![target],
        part: None,
        result_count: None,
        emergency: None,
        visibility: Visibility::Visible,
        evidence: None,
    };
    let disclosures = vec![of_user, of_location, of_reason, of_target];
    let content = Content::Access(Box::new(access));
    sign(Clock::system().now_ms(), number, content, disclosures)
}

/// Text of an entry that nothing compresses and nothing else holds.
fn needle(entry: &SubmittedEntry) -> String {
    entry.disclosures()[0][24..64].to_owned()
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
        held("/raft/") && held("/state-") && held("/snapshots/"),
        "{places:?}"
    );
    // Packed, as bodies are.
    let blob = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "blob");
    let mut blobs = places.iter().filter(|path| blob(path));
    assert!(
        blobs.any(|path| path.to_string_lossy().contains("/state-")),
        "{places:?}"
    );
    let before = node.view().unwrap();
    let (size, root) = (before.size(), before.root());
    let leaf = before.entry(gone[0]).unwrap().unwrap().leaf_hash();
    drop(before);

    // As where it was sent to a leader who never answered.
    let verified = node.verify(vec![entries[3].clone()]).await.unwrap();
    let verifier = &node.0.here.verifier;
    for entry in verified.into_iter().map(Result::unwrap) {
        verifier.sent(entries[3].encode().into(), entry);
    }
    assert_eq!(verifier.remembered(), 1);
    let ordered = submit(&node, vec![order(&gone, 1)]).await[0];
    // From that moment on, whatever the eraser has come to.
    let view = node.view().unwrap();
    let erased = view.entry(gone[0]).unwrap().unwrap();
    assert!(erased.body.is_none() && erased.disclosures.is_empty());
    assert_eq!(erased.erased, [ordered]);
    assert_eq!(view.receipt(gone[0]).unwrap(), None);
    drop(view);

    until(|| is_done(&node, ordered)).await;
    assert_eq!(verifier.remembered(), 0);
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
async fn a_log_of_few_raft_entries_is_trimmed_by_its_bytes() {
    const KIB: u64 = 1 << 10;
    let one = One::new();
    let tuning = crate::Tuning {
        raft_snapshot_bytes: 512 * KIB,
        raft_keep_bytes: 256 * KIB,
        ..tuning()
    };
    let node = one.open_with(tuning).await;
    for first in (0..8).map(|batch| batch * 256) {
        submit(
            &node,
            (first..first + 256)
                .map(|number| consent(number + 1))
                .collect(),
        )
        .await;
    }
    until(|| node.status().raft_purged > 0).await;
    until(|| node.0.log.bytes_after(0) < 1536 * KIB).await;
    let size = node.view().unwrap().size();
    assert!(size.0 > 2048);
    node.shutdown().await;
    let node = one.open().await;
    assert_eq!(node.view().unwrap().size(), size);
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
        let resources = Resources {
            cache_bytes: 1 << 20,
            write_buffer_bytes: 1 << 20,
            background_bytes_per_s: None,
        };
        let db = Db::open_state(&path, resources).unwrap();
        let state = crate::store::view::DbState::new(&db);
        let order = erasure::order(&state, ordered).unwrap().unwrap();
        erase::rewrite(&db, &order, &Halt::never()).unwrap();
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
async fn rows_that_a_view_holds_leave_the_files_when_the_erasure_is_tried_again() {
    let one = One::new();
    let node = one.open().await;
    let entries = submit(&node, (1..=8).map(access).collect()).await;
    let machine = &node.0.here.machine;
    machine.flush().unwrap();
    // So that the test alone erases.
    node.0.erasing.stop().await;
    let ordered = submit(&node, vec![order(&entries[..1], 9)]).await[0];
    let db = machine.state();
    let order = erasure::order(&crate::store::view::DbState::new(&db), ordered);
    let orders = [order.unwrap().unwrap()];
    let done = erase::Progress { orders: 1 };
    let (row, range) = (RowKind::Operator, 0..100);
    let list = Row::operator(&testbed::institution(), "operator-7").of;
    let held = |node: &Node| {
        let view = node.view().unwrap();
        let rows = view.rows(row, &list, range.clone(), Direction::Up, 100);
        rows.unwrap()
    };
    assert_eq!(held(&node), entries);
    let files = || -> Vec<PathBuf> {
        let files = db.raw().live_files().unwrap().into_iter();
        let files = files.filter(|file| file.column_family_name == keys::state_cf::ROWS);
        let path = |name: String| db.path().join(name.trim_start_matches('/'));
        files.map(|file| path(file.name)).collect()
    };
    let (with_row, manifests) = (files(), manifests(db.path()));
    assert!(!with_row.is_empty());
    // Twice, as an export that takes long would have it; then nobody sees what was before.
    let view = node.view().unwrap();
    let is_marked = || {
        let mark = db.get(keys::state_cf::META, keys::state_meta::FORGETTING);
        mark.unwrap().is_some()
    };
    for _ in 0..2 {
        assert!(!erase::carry_out(&db, &orders, done, &Halt::never()).unwrap());
        assert_eq!(held(&node), entries[1..]);
        assert!(is_marked());
    }
    drop(view);
    assert!(erase::carry_out(&db, &orders, done, &Halt::never()).unwrap());
    assert_eq!(held(&node), entries[1..]);
    for former in with_row.iter().chain(&manifests) {
        assert!(!former.exists(), "{former:?}");
    }
    assert_eq!(erase::progress(&db).unwrap(), done);
    // Else every later erasure would look through all rows of these kinds.
    assert!(!is_marked());
    drop(db);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_erased_any_more_when_the_node_ends() {
    let one = One::new();
    let node = one.open().await;
    let entries = submit(&node, (1..=8).map(access).collect()).await;
    // So that the test alone erases.
    node.0.erasing.stop().await;
    let ordered = submit(&node, vec![order(&entries[..1], 9)]).await[0];
    let db = node.0.here.machine.state();
    let order = erasure::order(&crate::store::view::DbState::new(&db), ordered);
    let orders = [order.unwrap().unwrap()];
    let carry_out = |halt: &Halt| {
        let (db, orders, halt) = (db.clone(), orders.clone(), halt.clone());
        std::thread::spawn(move || {
            let done = erase::Progress { orders: 1 };
            erase::carry_out(&db, &orders, done, &halt)
        })
    };
    let body = || {
        let key = keys::number(entries[0].0);
        db.get(keys::state_cf::BODIES, &key).unwrap().unwrap()
    };
    let ends = |work: std::thread::JoinHandle<Result<bool, Error>>| {
        work.join().unwrap().map_err(|error| error.kind())
    };
    let whole = body();
    // It waits for a view to go when the first error of the node is found.
    let view = node.view().unwrap();
    let (beside, fatal) = (Beside::default(), Fatal::new());
    let waiting = carry_out(&beside.halt(&fatal));
    let is_marked = || {
        let mark = db.get(keys::state_cf::META, keys::state_meta::FORGETTING);
        mark.unwrap().is_some()
    };
    until(is_marked).await;
    fatal.latch(Error::corrupt("broken"));
    assert_eq!(ends(waiting), Err(ErrorKind::Corrupt));
    drop(view);
    assert_eq!(
        ends(carry_out(&beside.halt(&fatal))),
        Err(ErrorKind::Corrupt)
    );
    let stopped = beside.halt(&Fatal::new());
    beside.stop().await;
    assert_eq!(ends(carry_out(&stopped)), Err(ErrorKind::ShuttingDown));
    assert_eq!(body(), whole);
    // Nor does RocksDB write any more: who waits for a compaction there is told so.
    node.shutdown().await;
    assert!(erase::flush(&db, &Halt::never()).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_names_the_key_of_a_row_that_was_erased() {
    let one = One::new();
    let node = one.open().await;
    let entries = submit(&node, (1..=8).map(access).collect()).await;
    let list = Row::operator(&testbed::institution(), "operator-7").of;
    let key = keys::row(RowKind::Operator.code(), &list, entries[0].0);
    // As RocksDB prints it.
    let named = key.map(|byte| format!("{byte:02X}")).concat();
    let holding = || {
        let naming = files_with(&one.data(), named.as_bytes());
        [files_with(&one.data(), &key), naming].concat()
    };
    let ordered = submit(&node, vec![order(&entries[..1], 9)]).await[0];
    until(|| is_done(&node, ordered)).await;
    assert_eq!(holding(), Vec::<PathBuf>::new());
    let state = node.0.here.machine.state().path().to_path_buf();
    node.shutdown().await;
    // As an earlier build left it.
    for name in ["LOG", "LOG.old.1700000000000000"] {
        std::fs::write(state.join(name), &named).unwrap();
    }
    let node = one.open().await;
    assert_eq!(holding(), Vec::<PathBuf>::new());
    node.shutdown().await;
}

fn manifests(state: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(state).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    let is_one = |name: &str| name.starts_with("MANIFEST-");
    files.retain(|file| {
        file.file_name()
            .is_some_and(|name| is_one(&name.to_string_lossy()))
    });
    files
}

/// An event of one consent record of `number`'s person.
fn event(now_ms: u64, person: u64, number: u64, event: ConsentEvent) -> SubmittedEntry {
    let (subject, disclosure) = Disclosed::seal(salt(number).as_bytes(), subject(person));
    let given = event == ConsentEvent::Given;
    let some = |text: &str| given.then(|| vec![text.to_owned()]);
    let consent = Consent {
        record: "0197f000-0000-7000-8000-000000000001".into(),
        subject,
        event,
        entity: None,
        purposes: some("dpv:ServiceProvision"),
        recipients: some("ipa:comune_a"),
        data_categories: some("dpv-pd:Income"),
        valid_from_ms: given.then_some(now_ms),
        valid_until_ms: None,
        notice: None,
        loa: None,
        indication: None,
    };
    sign(
        now_ms,
        number,
        Content::Consent(Box::new(consent)),
        vec![disclosure],
    )
}

fn list(node: &Node, person: u64) -> (Option<ListValue>, Vec<EntryIndex>) {
    let view = node.view().unwrap();
    let value = DbFold(&view).value(&StateKey::subject(&subject(person)).hash());
    let value = value
        .unwrap()
        .map(|value| ListValue::decode(&value).unwrap());
    let size = view.size().0;
    let rows = view.rows(
        RowKind::Subject,
        &subject(person),
        0..size,
        Direction::Up,
        99,
    );
    (value, rows.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_takes_what_is_older_than_the_time_of_retention() {
    let one = One::new();
    let node = one.open().await;
    let now_ms = Clock::system().now_ms();
    // One: two notes, then a consent that holds. Two: a consent that was withdrawn, then a note. Three: a note alone.
    let old = [
        note(now_ms, 1),
        note_on(now_ms, 2, 1),
        note_on(now_ms, 3, 1),
        event(now_ms, 1, 4, ConsentEvent::Given),
        event(now_ms, 2, 5, ConsentEvent::Given),
        event(now_ms, 2, 6, ConsentEvent::Withdrawn),
        note_on(now_ms, 7, 2),
        note_on(now_ms, 8, 3),
    ];
    let places = submit(&node, old.to_vec()).await;
    // Some of it is folded before, some not.
    node.fold(PATIENCE).await.unwrap();
    one.ahead_ms.store(RETENTION_MS + 60_000, Ordering::Release);
    let now_ms = one.clock().now_ms();
    let young = submit(&node, vec![note_on(now_ms, 9, 1), note_on(now_ms, 10, 3)]).await;
    let leaf = |index: EntryIndex| {
        node.view()
            .unwrap()
            .entry(index)
            .unwrap()
            .unwrap()
            .leaf_hash()
    };
    let (size, root) = {
        let view = node.view().unwrap();
        (view.size(), view.root())
    };
    let leaves: Vec<Hash> = places.iter().map(|index| leaf(*index)).collect();
    let ordered = submit(&node, vec![cut(now_ms, 11, young[1].0 + 1)]).await[0];
    until(|| is_done(&node, ordered)).await;

    // Bodies: of all but the consent that holds.
    let gone: Vec<String> = old.iter().map(needle).collect();
    let held = gone[3].clone();
    let places_of = |needles: &[String]| holding(&one.data(), needles);
    let gone: Vec<String> = gone.into_iter().filter(|text| *text != held).collect();
    assert!(places_of(&gone).is_empty(), "{:?}", places_of(&gone));
    assert!(!places_of(&[held]).is_empty());
    // Lists: past the notes up to the consent; gone, and begun anew by what is young.
    let (one_s, rows) = list(&node, 1);
    let one_s = one_s.unwrap();
    assert_eq!((one_s.count, one_s.base_count), (4, 2));
    assert_eq!(rows, [places[3], young[0]]);
    assert_eq!(list(&node, 2), (None, vec![]));
    let (three, rows) = list(&node, 3);
    assert_eq!(
        three.map(|list| (list.count, list.base_count)),
        Some((2, 1))
    );
    assert_eq!(rows, [young[1]]);
    // No file holds a row of what left its lists, nor a change.
    let rows = [
        (1, places[1]),
        (1, places[2]),
        (2, places[4]),
        (2, places[6]),
        (3, places[7]),
    ];
    for (person, index) in rows {
        let key = keys::row(RowKind::Subject.code(), &subject(person), index.0);
        assert_eq!(files_with(&one.data(), &key), Vec::<PathBuf>::new());
        let view = node.view().unwrap();
        assert_eq!(view.change(index).unwrap(), None);
        assert_eq!(
            view.rows(
                RowKind::Type,
                &Row::entry_type(EntryType::Note).of,
                0..index.0 + 1,
                Direction::Up,
                9
            )
            .unwrap(),
            []
        );
    }
    // Nor the ref of whom nothing is said any more.
    let ref_of_two = subject(2);
    let left = files_with(&one.data(), ref_of_two.as_bytes());
    let kept = node.view().unwrap();
    let record = StateKey::consent(&ref_of_two, "0197f000-0000-7000-8000-000000000001");
    assert!(DbFold(&kept).value(&record.hash()).unwrap().is_some());
    assert!(
        left.iter()
            .all(|path| path.to_string_lossy().contains("state-")
                || path.to_string_lossy().contains("snapshots")),
        "{left:?}"
    );
    // Every leaf is still proven.
    for (index, leaf) in places.iter().zip(&leaves) {
        let path = merkle::prove_inclusion(*index, size, &kept).unwrap();
        let proven = merkle::verify_inclusion(*index, size, *leaf, &path);
        assert_eq!(proven, Ok(root));
    }
    let report = erasure::report(&kept, ordered, node.number())
        .unwrap()
        .unwrap();
    assert_eq!(report.done, 7);
    drop(kept);

    // A second cut within a day is refused; after a start everything is as it was.
    let again = node.verify(vec![cut(now_ms, 12, 1)]).await.unwrap();
    let again = again.into_iter().map(Result::unwrap).collect();
    let outcome = node.submit(again, Until::Published, PATIENCE).await;
    assert!(
        matches!(&outcome[0], Outcome::Refused(refused) if refused.refusal == Refusal::CutAgain),
        "{outcome:?}"
    );
    node.shutdown().await;
    let node = one.open().await;
    assert_eq!(list(&node, 1).0, Some(one_s));
    node.fold(PATIENCE).await.unwrap();
    node.shutdown().await;
}

/// The files below a folder that hold these bytes.
fn files_with(dir: &Path, bytes: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for item in std::fs::read_dir(dir).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, bytes));
        } else if std::fs::read(&path)
            .is_ok_and(|data| data.windows(bytes.len()).any(|part| part == bytes))
        {
            found.push(path);
        }
    }
    found
}
