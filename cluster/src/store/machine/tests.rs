// SPDX-License-Identifier: EUPL-1.2
//! What a pinned snapshot is: the last flush, whole, whatever came since.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::sync::mpsc;

use ledger::state::{StateKey, kind};
use rocksdb::WriteBatch;

use super::*;
use crate::store::keys::state_cf;
use crate::store::log::Log;
use crate::store::tests::{fill, open_in, raft_entries};

/// Ten raft_entries in table files, and ten that are in memory alone.
async fn half_flushed(dir: &std::path::Path) -> (Log, Machine, Applied) {
    let (mut log, mut machine) = open_in(dir).unwrap();
    let mut entries = raft_entries(19);
    let later = entries.split_off(10);
    fill(&mut log, &mut machine, entries).await;
    machine.flush().unwrap();
    let flushed = machine.0.applied.borrow().clone();
    fill(&mut log, &mut machine, later).await;
    (log, machine, flushed)
}

/// What is known to be in table files.
fn known(machine: &Machine) -> Option<RaftLogId> {
    *machine.0.flushed.lock()
}

/// What a manifest tells, as it stands in the state.
fn told(built: &Snapshot<TypeConfig>) -> (Option<RaftLogId>, RaftMembership, u64, [u8; 32]) {
    let manifest = built.snapshot.manifest().unwrap();
    assert_eq!(manifest.meta, built.meta);
    let meta = manifest.meta.clone();
    let (id, membership) = (meta.last_log_id, meta.last_membership);
    (id, membership, manifest.tree_size, manifest.root)
}

fn in_state(applied: &Applied) -> (Option<RaftLogId>, RaftMembership, u64, [u8; 32]) {
    let membership = applied.membership.clone();
    (
        applied.raft_log_id,
        membership,
        applied.tree_size,
        applied.root,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_the_last_flush_and_leaves_in_memory_what_came_since() {
    let dir = tempfile::tempdir().unwrap();
    let (_log, machine, flushed) = half_flushed(dir.path()).await;
    let in_memory = || machine.state().records_in_memory().unwrap();
    let before = in_memory();
    assert!(before > 0);
    let mut machine = machine.clone();
    let mut builder = machine.get_snapshot_builder().await;
    assert_eq!(in_memory(), before);
    let built = builder.build_snapshot().await.unwrap();
    assert_eq!(in_memory(), before);
    assert_eq!(told(&built), in_state(&flushed));
    assert!(flushed.tree_size < machine.view().unwrap().size().0);
    // The log may be purged no further than that.
    assert_eq!(known(&machine), flushed.raft_log_id);
}

/// Nobody flushed since the start, or since the current snapshot: the next one would hold nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_holds_what_is_applied_where_nothing_was_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, mut machine) = open_in(dir.path()).unwrap();
    let mut entries = raft_entries(19);
    for upto in [1, 10, 20] {
        let later = entries.split_off(entries.len().min(upto));
        fill(
            &mut log,
            &mut machine,
            std::mem::replace(&mut entries, later),
        )
        .await;
        if upto == 1 {
            // The genesis alone, which is flushed as it is applied.
            continue;
        }
        assert!(machine.state().records_in_memory().unwrap() > 0);
        let mut builder = machine.get_snapshot_builder().await;
        let built = builder.build_snapshot().await.unwrap();
        let applied = machine.0.applied.borrow().clone();
        assert_eq!(told(&built), in_state(&applied));
        assert_eq!(known(&machine), applied.raft_log_id);
    }
}

/// RocksDB flushes by itself where memory is full, which is only read from the snapshot.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_tells_what_the_store_flushed_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, mut machine, flushed) = half_flushed(dir.path()).await;
    machine.state().flush().unwrap();
    let applied = machine.0.applied.borrow().clone();
    assert_eq!(known(&machine), flushed.raft_log_id);
    let mut builder = machine.get_snapshot_builder().await;
    // Applied beside: not in it, whenever it is finished.
    let more = raft_entries(25).split_off(20);
    fill(&mut log, &mut machine, more).await;
    let built = builder.build_snapshot().await.unwrap();
    assert_eq!(told(&built), in_state(&applied));
    assert_eq!(known(&machine), applied.raft_log_id);
}

/// It needs no lock that an apply holds. One that did would wait here for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_pinned_while_something_is_applied() {
    let dir = tempfile::tempdir().unwrap();
    let (_log, machine, flushed) = half_flushed(dir.path()).await;
    let (shared, (send, pinned)) = (machine.0.clone(), mpsc::channel());
    let applying = machine.0.core.lock();
    std::thread::spawn(move || send.send(shared.pin()));
    let pinned = pinned.recv_timeout(Duration::from_secs(30)).unwrap();
    drop(applying);
    let built = machine.0.finish(pinned.unwrap()).unwrap();
    assert_eq!(told(&built), in_state(&flushed));
}

/// The store is not believed: a folder behind the last flush, or ahead of what Raft knows to be applied, is no snapshot.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_another_moment_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_log, machine, flushed) = half_flushed(dir.path()).await;
    let applied = machine.0.applied.borrow().raft_log_id;
    for (from, to) in [(applied, applied), (None, None)] {
        let mut pinned = machine.0.pin().unwrap();
        assert_eq!(
            (pinned.flushed, pinned.applied),
            (flushed.raft_log_id, applied)
        );
        (pinned.flushed, pinned.applied) = (from, to);
        let error = machine.0.finish(pinned).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(machine.snapshot().is_none());
        assert_eq!(folders(dir.path()), 0);
    }
    assert_eq!(known(&machine), flushed.raft_log_id);
}

/// Its hard links would keep what the state lets go of, erased bodies among it, until the next start.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_never_finished_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (_log, mut machine, _) = half_flushed(dir.path()).await;
    let builder = machine.get_snapshot_builder().await;
    assert_eq!(folders(dir.path()), 1);
    drop(builder);
    assert_eq!(folders(dir.path()), 0);
    let built = machine.get_snapshot_builder().await.build_snapshot().await;
    drop(built.unwrap());
    assert_eq!(folders(dir.path()), 1, "it is the current one");
}

fn folders(dir: &Path) -> usize {
    let items = std::fs::read_dir(dir.join("snapshots")).unwrap();
    items
        .filter(|item| item.as_ref().unwrap().path().is_dir())
        .count()
}

/// What goes before a snapshot: ids that left the window, and all that is in memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_flush_beside_forgets_old_ids() {
    let dir = tempfile::tempdir().unwrap();
    let (_log, machine, _) = half_flushed(dir.path()).await;
    let (applied, db) = (machine.0.applied.borrow().clone(), machine.state());
    let of_day_1 = StateKey {
        kind: kind::ENTRY_ID,
        name: 1u32.to_be_bytes().to_vec(),
    };
    let ids = [of_day_1, StateKey::entry_ids_end(applied.accepted_at_ms)];
    let there = |id: &StateKey| db.get(state_cf::STATE, &id.encode()).unwrap().is_some();
    let mut batch = WriteBatch::default();
    for id in &ids {
        batch.put_cf(db.cf(state_cf::STATE).unwrap(), id.encode(), b"");
    }
    db.write(batch, false).unwrap();
    machine.flush().unwrap();
    assert_eq!(ids.each_ref().map(there), [true, true]);
    machine.flush_beside().await.unwrap();
    assert_eq!(ids.each_ref().map(there), [false, true]);
    assert_eq!(known(&machine), applied.raft_log_id);
    assert_eq!(db.records_in_memory().unwrap(), 0);
}
