// SPDX-License-Identifier: EUPL-1.2
//! What is lost or flipped on disk is noticed at the next start, and named; it is never served.

use std::fs;
use std::path::PathBuf;

use super::folds::{change_state, fold_at, folded};
use super::*;
use crate::error::ErrorKind;
use crate::store::db::Db;
use crate::store::keys::{state_cf, state_meta};

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for item in fs::read_dir(dir).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path))
        } else {
            files.push(path)
        }
    }
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reopened_store_shows_what_it_did() {
    let dir = tempfile::tempdir().unwrap();
    let before = filled(dir.path()).await;
    let (log, machine) = open_in(dir.path()).unwrap();
    assert!(shown(&log, &machine).unwrap() == before);
}

/// A state of another build would be folded otherwise: it is named at the start, and neither read nor changed; a snapshot of one is not
/// installed.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_build_kept_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let another = |db: &Db, batch: &mut rocksdb::WriteBatch| {
        let meta = db.cf(state_cf::META).unwrap();
        batch.put_cf(meta, state_meta::FORMAT, [7]);
    };
    let none = |db: &Db, batch: &mut rocksdb::WriteBatch| {
        batch.delete_cf(db.cf(state_cf::META).unwrap(), state_meta::FORMAT);
    };
    for (name, change) in [
        (
            "format 7",
            &another as &dyn Fn(&Db, &mut rocksdb::WriteBatch),
        ),
        ("no format", &none),
    ] {
        let kept = tempfile::tempdir().unwrap();
        copy(dir.path(), kept.path());
        change_state(kept.path(), change);
        for _ in 0..2 {
            let why = open_in(kept.path()).err().unwrap();
            assert_eq!(why.kind(), ErrorKind::Config);
            let why = why.to_string();
            assert!(why.contains("state-0") && why.contains(name), "{why}");
            assert!(why.contains("begin anew"), "{why}");
        }
    }
    let (_log, mut machine) = open_in(dir.path()).unwrap();
    let batch = &mut rocksdb::WriteBatch::default();
    another(&machine.state(), batch);
    machine.state().write(std::mem::take(batch), false).unwrap();
    machine.flush().unwrap();
    let mut builder = machine.get_snapshot_builder().await;
    let snapshot = builder.build_snapshot().await.unwrap();
    let to = tempfile::tempdir().unwrap();
    let (_other_log, mut other) = open_in(to.path()).unwrap();
    let installed = other
        .install_snapshot(&snapshot.meta, snapshot.snapshot)
        .await;
    let why = installed.unwrap_err().to_string();
    assert!(why.contains("format 7"), "{why}");
}

/// Flips bytes all over every file, one at a time. Either the store does not open and says which file or key is at fault, or it shows exactly
/// what it showed before: nothing in between.
#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_is_named_or_does_no_harm() {
    let good = tempfile::tempdir().unwrap();
    let before = filled(good.path()).await;
    let folded_before = {
        let (mut log, mut machine) = open_in(good.path()).unwrap();
        fold_at(41, &mut log, &mut machine).await;
        folded(&machine).unwrap()
    };
    let mut refused = std::collections::BTreeMap::<String, u32>::new();
    for file in files_below(good.path()) {
        let name = file.strip_prefix(good.path()).unwrap();
        let kind = file
            .extension()
            .or(file.file_name())
            .unwrap()
            .to_string_lossy()
            .into_owned();
        // RocksDB's own journal and settings are not read at start, its lock is empty.
        if ["LOG", "LOCK"]
            .iter()
            .any(|skipped| kind.starts_with(skipped))
            || kind.starts_with("old")
        {
            continue;
        }
        let bytes = fs::read(&file).unwrap();
        let places = [
            0,
            bytes.len() / 3,
            bytes.len() / 2,
            bytes.len().saturating_sub(1),
        ];
        for place in places.into_iter().filter(|place| *place < bytes.len()) {
            let bad = tempfile::tempdir().unwrap();
            copy(good.path(), bad.path());
            let mut damaged = bytes.clone();
            damaged[place] ^= 0x04;
            fs::write(bad.path().join(name), damaged).unwrap();
            let served = open_in(bad.path())
                .and_then(|(log, machine)| Ok((shown(&log, &machine)?, folded(&machine)?)));
            match served {
                Ok((mut shown, folded)) => assert!(
                    {
                        // The order is one raft_entry more.
                        shown.raft_last = before.raft_last;
                        shown == before && folded == folded_before
                    },
                    "{name:?} byte {place} changed what is served"
                ),
                Err(error) => {
                    *refused.entry(kind.clone()).or_default() += 1;
                    assert!(
                        error.to_string().contains(&*bad.path().to_string_lossy()),
                        "{name:?} byte {place} is not named: {error}"
                    );
                }
            }
        }
    }
    for kind in ["sst", "log", "state-current", "manifest"] {
        assert!(
            refused.contains_key(kind),
            "no flip in any {kind} file was noticed: {refused:?}"
        );
    }
    assert!(
        refused.keys().any(|kind| kind.starts_with("MANIFEST")),
        "{refused:?}"
    );
}

/// A large store is read while it runs, and damage that no start looks at stops it then.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_in_a_large_store_is_found_beside_its_work() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let damage = |db: &Db, batch: &mut rocksdb::WriteBatch| {
        batch.put_cf(db.cf(state_cf::ROWS).unwrap(), b"no row", b"");
    };
    change_state(dir.path(), damage);
    assert!(open_in(dir.path()).is_err());
    let fatal = Fatal::new();
    let _open = open_telling(dir.path(), open, 0, &fatal).unwrap();
    let found = tokio::time::timeout(Duration::from_secs(60), fatal.wait()).await;
    let found = found.unwrap().to_string();
    assert!(found.contains("holds no rows"), "{found}");
}

/// The newest WAL of the Raft log.
fn raft_wal(dir: &Path) -> PathBuf {
    let wals = files_below(&dir.join("raft"))
        .into_iter()
        .filter(|file| file.extension().is_some_and(|kind| kind == "log"));
    wals.max_by_key(|file| file.file_name().unwrap().to_owned())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lost_its_acknowledged_end_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let wal = raft_wal(dir.path());
    let bytes = fs::read(&wal).unwrap();
    assert!(!bytes.is_empty());
    // Cut anywhere: at a record's edge RocksDB alone would notice nothing.
    for keep in [0, bytes.len() / 4, bytes.len() / 2, bytes.len() - 1] {
        let cut = tempfile::tempdir().unwrap();
        copy(dir.path(), cut.path());
        fs::write(raft_wal(cut.path()), &bytes[..keep]).unwrap();
        let error = open_in(cut.path())
            .err()
            .unwrap_or_else(|| panic!("opened with {keep} of {} bytes", bytes.len()));
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_record_that_was_never_acknowledged_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let before = filled(dir.path()).await;
    let wal = raft_wal(dir.path());
    let mut bytes = fs::read(&wal).unwrap();
    // The head of a record whose rest never reached the disk.
    bytes.extend_from_slice(&[0xa5, 0x11, 0x42, 0x07, 0x40, 0x01, 0x01]);
    fs::write(&wal, bytes).unwrap();
    let (log, machine) = open_in(dir.path()).unwrap();
    assert!(shown(&log, &machine).unwrap() == before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_without_its_log_and_a_log_without_its_mark_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let lost_log = tempfile::tempdir().unwrap();
    copy(dir.path(), lost_log.path());
    fs::remove_dir_all(lost_log.path().join("raft")).unwrap();
    assert_eq!(
        open_in(lost_log.path()).err().unwrap().kind(),
        ErrorKind::Corrupt
    );
    fs::remove_file(dir.path().join("high-water")).unwrap();
    assert!(open_in(dir.path()).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_lost_its_end_is_brought_forward_by_the_log() {
    let (running, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (log, machine, before) = fill_in(running.path()).await;
    // What is on disk while it runs is what a kill leaves.
    copy_running((&log, &machine), running.path(), dir.path());
    drop((log, machine));
    let (mut log, mut machine) = open_in(dir.path()).unwrap();
    let applied = machine.applied_state().await.unwrap().0.unwrap();
    assert_eq!(
        applied,
        log_id(29),
        "the snapshot flushed the state this far"
    );
    let rest = log.get_log_reader().await;
    let rest = {
        let mut rest = rest;
        openraft::RaftLogReader::try_get_log_entries(&mut rest, 30..)
            .await
            .unwrap()
    };
    machine.apply(rest).await.unwrap();
    assert!(shown(&log, &machine).unwrap() == before);
}

/// Raft may purge whatever a snapshot holds; the log sees to it by itself that the state that is on disk holds it too.
#[tokio::test(flavor = "multi_thread")]
async fn no_raft_entry_is_purged_before_the_state_that_it_made_is_on_disk() {
    let (running, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut log, mut machine) = open_in(running.path()).unwrap();
    let mut entries = raft_entries(12);
    let later = entries.split_off(1);
    fill(&mut log, &mut machine, entries).await;
    fill(&mut log, &mut machine, later).await;
    let before = shown(&log, &machine).unwrap();
    copy_running((&log, &machine), running.path(), dir.path());
    {
        let (_log, mut machine) = open_in(dir.path()).unwrap();
        let applied = machine.applied_state().await.unwrap().0;
        assert_eq!(
            applied,
            Some(log_id(0)),
            "only the genesis is flushed at once"
        );
    }
    log.purge(log_id(7)).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    copy_running((&log, &machine), running.path(), dir.path());
    drop((log, machine));
    let (log, mut machine) = open_in(dir.path()).unwrap();
    let applied = machine.applied_state().await.unwrap().0.unwrap();
    assert!(applied >= log_id(7), "{applied}");
    assert_eq!(log.purged(), Some(7));
    let mut reader = log.clone();
    let rest = openraft::RaftLogReader::try_get_log_entries(&mut reader, applied.index + 1..);
    machine.apply(rest.await.unwrap()).await.unwrap();
    assert!(shown(&log, &machine).unwrap() == before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raft_entry_is_not_applied_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, mut machine) = open_in(dir.path()).unwrap();
    let entries = raft_entries(2);
    fill(&mut log, &mut machine, entries.clone()).await;
    assert!(machine.apply(entries[2..].to_vec()).await.is_err());
    // The first error is the last thing the store does.
    assert!(log.blocking_append(vec![]).await.is_ok());
    assert!(log.save_vote(&Vote::new(2, 1)).await.is_err());
    assert!(machine.flush().is_err());
}
