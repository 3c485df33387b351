// SPDX-License-Identifier: EUPL-1.2
//! Folds over crashes, snapshots and damage.

use std::ops::ControlFlow;

use ledger::admission::RowKind;
use ledger::body::{Body, Content, system::StateRoot};
use ledger::fold::{Change, MemoryFold};
use ledger::key::SigningKey;
use ledger::state::{StateKey, kind};
use ledger::state_map::{self, MapNode, MapPath};
use rocksdb::WriteBatch;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::error::ErrorKind;
use crate::store::db::Db;
use crate::store::fold::{self, Between, DbFold, Done, Folds, Order, Sizes};
use crate::store::keys::{self, state_cf, state_meta};
use crate::testbed::{common, key};

pub(super) const SIZES: Sizes = Sizes {
    pass_keys: 50,
    step_keys: 7,
};

/// raft_entries from this raft_index on.
pub(super) fn later(index: u64, payload: Batch) -> RaftEntry {
    RaftEntry {
        log_id: log_id(index),
        payload: EntryPayload::Normal(payload),
    }
}

pub(super) fn order(index: u64) -> RaftEntry {
    later(index, Batch::of_fold())
}

/// The state root that this machine folded, as node 1 states it.
pub(super) fn statement(index: u64, machine: &Machine, key: &SigningKey) -> RaftEntry {
    let db = machine.state();
    let done = Done::read(&*db).unwrap();
    let root = StateRoot {
        size: done.size,
        version: done.version,
        root: Hash(done.root),
        previous: state_map::EMPTY,
    };
    let now_ms = Clock::system().now_ms();
    let body = Body {
        common: common(now_ms, index),
        content: Content::StateRoot(root),
    };
    let entry = SubmittedEntry::sign(body.to_json().as_bytes(), &[key], vec![]).unwrap();
    let item = BatchItem::new(entry.encode().into(), [9; 32], None);
    later(index, Batch::new(now_ms, vec![item]))
}

/// A store with entries and the order to fold them, closed.
async fn ordered(dir: &Path) {
    let (mut log, mut machine) = open_in(dir).unwrap();
    let mut entries = raft_entries(20);
    entries.push(order(21));
    fill(&mut log, &mut machine, entries).await;
    // On disk as after a kill and a replay.
    machine.flush().unwrap();
}

/// Folded in memory by nothing of this crate.
fn expected(machine: &Machine) -> Hash {
    let db = machine.state();
    let mut memory = MemoryFold::new();
    for index in 0..81 {
        let change = db.get(state_cf::CHANGES, &keys::number(index)).unwrap();
        memory.apply(&Change::decode(&change.unwrap()).unwrap());
    }
    memory.root()
}

/// The leaves of the state map and the root that was folded.
pub(super) fn folded(machine: &Machine) -> Result<(Hash, Vec<(Hash, Hash)>), Error> {
    let view = machine.view()?;
    let leaves = state_map::leaves(None, usize::MAX, &DbFold(&view));
    let leaves = leaves.map_err(|error| fold::damaged(view.db(), error))?;
    Ok((Hash(Done::read(&view)?.root), leaves))
}

/// Orders a fold at this raft_index and does it.
pub(super) async fn fold_at(index: u64, log: &mut Log, machine: &mut Machine) {
    fill(log, machine, vec![order(index)]).await;
    fold_to_the_end(machine).await;
    machine.flush().unwrap();
}

/// Folds so many steps and stops; whether it came to the end.
pub(super) fn fold_steps(machine: &Machine, steps: usize) -> bool {
    let db = machine.state();
    let next = Done::read(&*db).unwrap().version + 1;
    let order = Order::read(&*db, next).unwrap().unwrap();
    let mut left = steps;
    let done = fold::run(&db, &order, SIZES, |between| match (between, left) {
        (_, 0) => ControlFlow::Break(()),
        (Between::Reading, _) => ControlFlow::Continue(()),
        (Between::Steps, _) => {
            left -= 1;
            if left == 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        }
    });
    done.unwrap().is_some()
}

pub(super) async fn fold_to_the_end(machine: &Machine) -> Folds {
    machine.fold(SIZES, CancellationToken::new()).await.unwrap();
    *machine.folds().borrow()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fold_that_is_killed_after_any_step_goes_on_and_comes_to_the_same_root() {
    let start = tempfile::tempdir().unwrap();
    ordered(start.path()).await;
    let mut tried = 0;
    for steps in 1.. {
        let dir = tempfile::tempdir().unwrap();
        copy(start.path(), dir.path());
        let ended = {
            let (_log, machine) = open_in(dir.path()).unwrap();
            let ended = fold_steps(&machine, steps);
            machine.flush().unwrap();
            ended
        };
        // Opened again, with every check there is on a map that is half folded.
        let (_log, machine) = open_in(dir.path()).unwrap();
        assert!(machine.folds().borrow().under_way);
        let folds = fold_to_the_end(&machine).await;
        assert_eq!((folds.done.version, folds.done.size), (1, 81));
        assert_eq!(
            Hash(folds.done.root),
            expected(&machine),
            "after {steps} steps"
        );
        assert!(!folds.under_way);
        tried = steps;
        if ended {
            break;
        }
    }
    assert!(tried > 10, "only {tried} steps");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_a_fold_half_done_is_gone_on_with() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    ordered(from.path()).await;
    let (_log, mut machine) = open_in(from.path()).unwrap();
    assert!(!fold_steps(&machine, 5));
    machine.flush().unwrap();
    let snapshot = machine
        .get_snapshot_builder()
        .await
        .build_snapshot()
        .await
        .unwrap();
    let root = Hash(fold_to_the_end(&machine).await.done.root);
    let (_other_log, mut other) = open_in(to.path()).unwrap();
    other
        .install_snapshot(&snapshot.meta, snapshot.snapshot)
        .await
        .unwrap();
    assert!(other.folds().borrow().under_way);
    let folds = fold_to_the_end(&other).await;
    assert_eq!((Hash(folds.done.root), folds.done.size), (root, 81));
}

/// A store that folded, whose root an entry states, and in which more was written since; closed.
async fn stated(dir: &Path) {
    let (mut log, mut machine) = open_in(dir).unwrap();
    let mut entries = raft_entries(30);
    let more = entries.split_off(21);
    entries.push(order(21));
    fill(&mut log, &mut machine, entries).await;
    fold_to_the_end(&machine).await;
    let state_root = statement(22, &machine, &key("node 1"));
    fill(&mut log, &mut machine, vec![state_root]).await;
    let more = more.into_iter().map(|mut entry| {
        entry.log_id.index += 2;
        entry
    });
    fill(&mut log, &mut machine, more.collect()).await;
    assert_eq!(machine.folds().borrow().stated_version(), 1);
    machine.flush().unwrap();
}

/// The tables that are handed on come whole, in parts of any size.
#[tokio::test(flavor = "multi_thread")]
async fn lists_and_values_are_read_in_parts() {
    let dir = tempfile::tempdir().unwrap();
    ordered(dir.path()).await;
    let (_log, machine) = open_in(dir.path()).unwrap();
    let view = machine.view().unwrap();
    let mut expected: std::collections::BTreeSet<Hash> = Default::default();
    let (mut consents, mut seen) = (0, 0);
    for index in 0..view.size().0 {
        let change = view.change(EntryIndex(index)).unwrap().unwrap();
        expected.extend(change.lists.iter().map(|(_, of)| *of));
        let writes = change.writes.iter();
        consents += writes.filter(|(key, _)| key.kind == kind::CONSENT).count();
    }
    let lists = |limit: usize| {
        let (mut all, mut after) = (Vec::new(), None);
        while let some = view.lists(RowKind::Subject, after.as_ref(), limit).unwrap()
            && let Some(last) = some.last()
        {
            after = Some(*last);
            all.extend(some);
        }
        all
    };
    assert!(expected.len() > 3);
    for limit in [1, 3, 1_000] {
        assert_eq!(lists(limit), Vec::from_iter(expected.clone()), "{limit}");
    }
    assert_eq!(view.lists(RowKind::Household, None, 9).unwrap(), []);
    let mut from = StateKey {
        kind: kind::CONSENT,
        name: Vec::new(),
    };
    while let [(key, _)] = &view.values(&from, 1).unwrap()[..] {
        assert!(*key >= from && key.kind == kind::CONSENT);
        (from, seen) = (key.clone(), seen + 1);
        from.name.push(0);
    }
    assert_eq!(seen, consents);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fold_of_a_state_that_was_replaced_does_not_begin() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    stated(from.path()).await;
    let (_log, mut machine) = open_in(from.path()).unwrap();
    let snapshot = machine
        .get_snapshot_builder()
        .await
        .build_snapshot()
        .await
        .unwrap();
    let (_other_log, mut other) = open_in(to.path()).unwrap();
    let replaced = other.state();
    other
        .install_snapshot(&snapshot.meta, snapshot.snapshot)
        .await
        .unwrap();
    assert!(!other.begin_fold(&replaced));
    assert!(!other.folds().borrow().under_way);
    assert!(other.begin_fold(&other.state()));
    assert!(other.folds().borrow().under_way);
}

pub(super) fn change_state(dir: &Path, change: impl Fn(&Db, &mut WriteBatch)) {
    let resources = Resources {
        cache_bytes: 1 << 20,
        write_buffer_bytes: 1 << 20,
        background_bytes_per_s: None,
    };
    let db = Db::open_state(&dir.join("state-0"), resources).unwrap();
    let mut batch = WriteBatch::default();
    change(&db, &mut batch);
    assert!(!batch.is_empty());
    db.write(batch, false).unwrap();
    db.flush().unwrap();
}

fn first(db: &Db, family: &str, skip: usize) -> (Box<[u8]>, Box<[u8]>) {
    let mut all = db
        .raw()
        .iterator_cf(db.cf(family).unwrap(), rocksdb::IteratorMode::Start);
    all.nth(skip).unwrap().unwrap()
}

fn put(db: &Db, batch: &mut WriteBatch, family: &str, key: &[u8], value: &[u8]) {
    batch.put_cf(db.cf(family).unwrap(), key, value);
}

/// Damage that no checksum shows: written by RocksDB itself. Each is found at start, and named.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_folded_agrees_with_the_map_the_state_and_the_entry_or_is_refused() {
    type Damage = (&'static str, &'static str, fn(&Db, &mut WriteBatch));
    let table: [Damage; 9] = [
        ("a value", "folded", |db, batch| {
            let (key, mut value) = first(db, state_cf::FOLDED, 7);
            value[0] ^= 1;
            put(db, batch, state_cf::FOLDED, &key, &value);
        }),
        ("a value gone", "folded", |db, batch| {
            let (key, _) = first(db, state_cf::FOLDED, 7);
            batch.delete_cf(db.cf(state_cf::FOLDED).unwrap(), key);
        }),
        ("a value more", "folded", |db, batch| {
            put(db, batch, state_cf::FOLDED, &[0xff; 32], b"value");
        }),
        ("a map node gone", "map", |db, batch| {
            let (key, _) = first(db, state_cf::MAP, 9);
            batch.delete_cf(db.cf(state_cf::MAP).unwrap(), key);
        }),
        ("a map node", "map", |db, batch| {
            let (key, mut value) = first(db, state_cf::MAP, 9);
            value[40] ^= 1;
            put(db, batch, state_cf::MAP, &key, &value);
        }),
        ("the map's root", "state map", |db, batch| {
            let (key, mut value) = first(db, state_cf::MAP, 0);
            value[40] ^= 1;
            put(db, batch, state_cf::MAP, &key, &value);
        }),
        ("a fact", "state, a key of kind 3", |db, batch| {
            let facts = db.raw().iterator_cf(
                db.cf(state_cf::STATE).unwrap(),
                rocksdb::IteratorMode::From(&[3], rocksdb::Direction::Forward),
            );
            let (key, mut value) = facts.map(Result::unwrap).next().unwrap();
            // The end of the time in which a key is in force.
            value[48] ^= 1;
            put(db, batch, state_cf::STATE, &key, &value);
        }),
        (
            "another root, recorded too",
            "entry 81 states",
            |db, batch| {
                // A map of one leaf, consistent in itself: only the entry tells.
                for (key, _) in db
                    .raw()
                    .iterator_cf(db.cf(state_cf::MAP).unwrap(), rocksdb::IteratorMode::Start)
                    .map(Result::unwrap)
                {
                    batch.delete_cf(db.cf(state_cf::MAP).unwrap(), key);
                }
                let leaf = MapNode::Leaf {
                    key: Hash([1; 32]),
                    value_hash: Hash([2; 32]),
                };
                let root = MapPath::ROOT.encode();
                put(db, batch, state_cf::MAP, &root, &leaf.encode());
                let done = Done {
                    root: leaf.hash().0,
                    ..Done::read(db).unwrap()
                };
                let done = crate::store::db::encode(&done).unwrap();
                put(db, batch, state_cf::META, state_meta::FOLDED, &done);
            },
        ),
        ("no root", "was stated", |db, batch| {
            let order = Order {
                stated: None,
                ..Order::read(db, 1).unwrap().unwrap()
            };
            order.put(db, batch).unwrap();
        }),
    ];
    let good = tempfile::tempdir().unwrap();
    stated(good.path()).await;
    drop(open_in(good.path()).unwrap());
    for (what, named, damage) in table {
        let bad = tempfile::tempdir().unwrap();
        copy(good.path(), bad.path());
        change_state(bad.path(), damage);
        let error = open_in(bad.path()).err();
        let error = error.unwrap_or_else(|| panic!("opened in spite of {what}"));
        assert!(
            matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Diverged),
            "{what}: {error:?}"
        );
        assert!(error.to_string().contains(named), "{what}: {error}");
    }
}

/// The state a node takes over from a peer is held against the entries in it, whatever the peer's manifest says.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_whose_map_is_not_what_its_entry_states_is_not_installed() {
    let (good, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    stated(good.path()).await;
    let (_log, mut machine) = open_in(good.path()).unwrap();
    let db = machine.state();
    let (key, mut value) = first(&db, state_cf::FOLDED, 7);
    value[0] ^= 1;
    let mut batch = WriteBatch::default();
    put(&db, &mut batch, state_cf::FOLDED, &key, &value);
    db.write(batch, false).unwrap();
    db.flush().unwrap();
    let snapshot = machine
        .get_snapshot_builder()
        .await
        .build_snapshot()
        .await
        .unwrap();
    let (_other_log, mut other) = open_in(to.path()).unwrap();
    let refused = other
        .install_snapshot(&snapshot.meta, snapshot.snapshot)
        .await;
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("not what the state map says")
    );
    assert!(!to.path().join("state-1").exists());
    assert_eq!(
        std::fs::read_to_string(to.path().join("state-current")).unwrap(),
        "state-0\n"
    );
}

/// A change that is missing is named, and nothing is folded past it.
#[tokio::test(flavor = "multi_thread")]
async fn a_fold_without_its_changes_stops() {
    let dir = tempfile::tempdir().unwrap();
    ordered(dir.path()).await;
    change_state(dir.path(), |db, batch| {
        batch.delete_cf(db.cf(state_cf::CHANGES).unwrap(), keys::number(33));
    });
    let (_log, machine) = open_in(dir.path()).unwrap();
    let error = machine
        .fold(SIZES, CancellationToken::new())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(
        error.to_string().contains("changes 33 is missing"),
        "{error}"
    );
}
