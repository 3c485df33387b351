// SPDX-License-Identifier: EUPL-1.2
//! Snapshots: built, sent file by file, installed; and what a crash at each step leaves.

use std::fs;
use std::time::Duration;

use super::*;
use crate::store::snapshot::SnapshotDir;

/// Sends a snapshot as peers do: the files, then the manifest to check them against.
pub(super) async fn send(
    from: &mut Machine,
    to: &mut Machine,
) -> (crate::raft_types::RaftSnapshotMeta, SnapshotDir) {
    let snapshot = from.get_current_snapshot().await.unwrap().unwrap();
    let received = *to.begin_receiving_snapshot().await.unwrap();
    let manifest = snapshot.snapshot.manifest().unwrap();
    for file in &manifest.files {
        fs::copy(
            snapshot.snapshot.path().join(&file.name),
            received.path().join(&file.name),
        )
        .unwrap();
    }
    received.finish((*manifest).clone()).unwrap();
    (snapshot.meta, received)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sent_snapshot_becomes_the_state() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut log, mut machine) = open_in(ours.path()).unwrap();
    let mut entries = raft_entries(20);
    let later = entries.split_off(15);
    fill(&mut log, &mut machine, entries).await;
    machine.flush().unwrap();
    let at_snapshot = shown(&log, &machine).unwrap();
    // In memory alone while the snapshot is made: it is the log that brings it.
    fill(&mut log, &mut machine, later.clone()).await;
    let mut builder = machine.get_snapshot_builder().await;
    builder.build_snapshot().await.unwrap();

    let (mut their_log, mut their_machine) = open_in(theirs.path()).unwrap();
    their_log
        .save_vote(&Vote::new_committed(1, 1))
        .await
        .unwrap();
    let old_view = their_machine.view().unwrap();
    let (meta, received) = send(&mut machine, &mut their_machine).await;
    their_machine
        .install_snapshot(&meta, Box::new(received))
        .await
        .unwrap();
    their_log.purge(meta.last_log_id.unwrap()).await.unwrap();
    assert_eq!(
        old_view.size().0,
        0,
        "a view keeps the moment it was made at"
    );
    drop(old_view);
    let theirs_now = shown(&their_log, &their_machine).unwrap();
    assert!((theirs_now.size, theirs_now.root) == (at_snapshot.size, at_snapshot.root));
    assert_eq!(
        their_machine
            .get_current_snapshot()
            .await
            .unwrap()
            .unwrap()
            .meta,
        meta
    );

    // It goes on from there, here and after a restart, with its own vote and log.
    their_log.blocking_append(later.clone()).await.unwrap();
    their_machine.apply(later).await.unwrap();
    let ends = shown(&their_log, &their_machine).unwrap();
    assert!(ends == shown(&log, &machine).unwrap());
    drop((their_log, their_machine));
    let (mut their_log, mut their_machine) = open_in(theirs.path()).unwrap();
    assert!(shown(&their_log, &their_machine).unwrap() == ends);
    assert_eq!(their_log.read_vote().await.unwrap(), Some(Vote::new(1, 1)));
    assert_eq!(
        their_machine
            .get_current_snapshot()
            .await
            .unwrap()
            .unwrap()
            .meta,
        meta
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_was_overtaken_while_it_was_built_is_dropped() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut log, mut machine) = open_in(ours.path()).unwrap();
    fill(&mut log, &mut machine, raft_entries(20)).await;
    machine
        .get_snapshot_builder()
        .await
        .build_snapshot()
        .await
        .unwrap();
    let (mut their_log, mut their_machine) = open_in(theirs.path()).unwrap();
    fill(&mut their_log, &mut their_machine, raft_entries(10)).await;
    let mut slow = their_machine.get_snapshot_builder().await;
    let (meta, received) = send(&mut machine, &mut their_machine).await;
    their_machine
        .install_snapshot(&meta, Box::new(received))
        .await
        .unwrap();

    assert_eq!(slow.build_snapshot().await.unwrap().meta, meta);
    let current = their_machine.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!(current.meta, meta);
    // Its files are those of its manifest, as a peer or a restart would check.
    their_log.purge(meta.last_log_id.unwrap()).await.unwrap();
    drop((their_log, their_machine, slow));
    let (_, mut their_machine) = open_in(theirs.path()).unwrap();
    let current = their_machine.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!(current.meta, meta);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_is_not_taken() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut log, mut machine) = open_in(ours.path()).unwrap();
    fill(&mut log, &mut machine, raft_entries(10)).await;
    machine
        .get_snapshot_builder()
        .await
        .build_snapshot()
        .await
        .unwrap();
    let snapshot = machine.get_current_snapshot().await.unwrap().unwrap();
    let manifest = snapshot.snapshot.manifest().unwrap();
    let (_, mut their_machine) = open_in(theirs.path()).unwrap();
    for victim in (0..manifest.files.len()).filter(|victim| manifest.files[*victim].bytes > 0) {
        let received = *their_machine.begin_receiving_snapshot().await.unwrap();
        for (place, file) in manifest.files.iter().enumerate() {
            let mut bytes = fs::read(snapshot.snapshot.path().join(&file.name)).unwrap();
            if place == victim {
                bytes[file.bytes as usize / 2] ^= 1;
            }
            fs::write(received.path().join(&file.name), bytes).unwrap();
        }
        let error = received.finish((*manifest).clone()).unwrap_err();
        assert!(
            error.to_string().contains(&manifest.files[victim].name),
            "{error}"
        );
    }
    let received = *their_machine.begin_receiving_snapshot().await.unwrap();
    assert!(
        received.finish((*manifest).clone()).is_err(),
        "no files at all"
    );
    let path = received.path().to_owned();
    drop(received);
    assert!(!path.exists(), "nothing is left of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_on_the_way_leave_the_old_state_or_the_new_one() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut log, mut machine) = open_in(ours.path()).unwrap();
    fill(&mut log, &mut machine, raft_entries(10)).await;
    machine
        .get_snapshot_builder()
        .await
        .build_snapshot()
        .await
        .unwrap();
    let new = shown(&log, &machine).unwrap();
    let (mut their_log, mut their_machine) = open_in(theirs.path()).unwrap();
    let old = shown(&their_log, &their_machine).unwrap();
    let (meta, received) = send(&mut machine, &mut their_machine).await;

    // While it was received: a folder without a manifest.
    let crashed = tempfile::tempdir().unwrap();
    copy(theirs.path(), crashed.path());
    let (crashed_log, mut crashed_machine) = open_in(crashed.path()).unwrap();
    assert_eq!(
        shown(&crashed_log, &crashed_machine).unwrap().root,
        old.root
    );
    assert!(
        crashed_machine
            .get_current_snapshot()
            .await
            .unwrap()
            .is_none()
    );
    drop((crashed_log, crashed_machine));

    // A fresh state folder is filled, but not named yet.
    copy(received.path(), &crashed.path().join("state-1"));
    let (crashed_log, crashed_machine) = open_in(crashed.path()).unwrap();
    assert_eq!(
        shown(&crashed_log, &crashed_machine).unwrap().root,
        old.root
    );
    assert!(!crashed.path().join("state-1").exists());
    drop((crashed_log, crashed_machine));

    // It is named, but the snapshot has no manifest and the log is not purged yet.
    their_machine
        .install_snapshot(&meta, Box::new(received))
        .await
        .unwrap();
    drop((their_log.read_vote().await, their_log, their_machine));
    for item in fs::read_dir(theirs.path().join("snapshots")).unwrap() {
        let path = item.unwrap().path();
        if path.is_file() {
            fs::remove_file(path).unwrap()
        }
    }
    let (mut their_log, mut their_machine) = open_in(theirs.path()).unwrap();
    assert_eq!(their_machine.view().unwrap().root().0, new.root);
    assert!(
        their_machine
            .get_current_snapshot()
            .await
            .unwrap()
            .is_none()
    );
    // What openraft does at start with a state that is ahead of its log.
    their_log.purge(meta.last_log_id.unwrap()).await.unwrap();
    assert_eq!(
        their_log.get_log_state().await.unwrap().last_log_id,
        meta.last_log_id
    );
    their_machine
        .get_snapshot_builder()
        .await
        .build_snapshot()
        .await
        .unwrap();
    assert!(
        their_machine
            .get_current_snapshot()
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_snapshot_goes_when_nobody_holds_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, mut machine) = open_in(dir.path()).unwrap();
    let mut entries = raft_entries(10);
    let later = entries.split_off(5);
    fill(&mut log, &mut machine, entries).await;
    machine
        .get_snapshot_builder()
        .await
        .build_snapshot()
        .await
        .unwrap();
    let held = machine
        .get_current_snapshot()
        .await
        .unwrap()
        .unwrap()
        .snapshot;
    fill(&mut log, &mut machine, later).await;
    machine
        .get_snapshot_builder()
        .await
        .build_snapshot()
        .await
        .unwrap();
    let path = held.path().to_owned();
    assert!(path.is_dir(), "it is still being sent");

    // Who is killed now has two, and perhaps a manifest that is not whole.
    let killed = tempfile::tempdir().unwrap();
    copy_running((&log, &machine), dir.path(), killed.path());
    let snapshots = killed.path().join("snapshots");
    fs::write(snapshots.join("snapshot-2.fresh"), "{").unwrap();
    let newest = machine.get_current_snapshot().await.unwrap().unwrap();
    let (_, mut machine_again) = open_in(killed.path()).unwrap();
    let current = machine_again.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!(current.meta, newest.meta);
    let names = |path: &Path| {
        let items = fs::read_dir(path).unwrap();
        items
            .map(|item| item.unwrap().file_name().into_string().unwrap())
            .collect::<std::collections::BTreeSet<_>>()
    };
    let one = ["snapshot-1", "snapshot-1.manifest"].map(str::to_owned);
    assert_eq!(names(&snapshots), one.into());

    drop(held);
    assert!(!path.exists());
    assert!(
        machine
            .get_current_snapshot()
            .await
            .unwrap()
            .unwrap()
            .snapshot
            .path()
            .is_dir()
    );
}

/// openraft asks for the purge while the snapshot is still being installed: what it holds is in the log alone until then.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_purged_before_the_snapshot_that_holds_it_is_installed() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let killed = tempfile::tempdir().unwrap();
    let (mut log, mut machine) = open_in(ours.path()).unwrap();
    fill(&mut log, &mut machine, raft_entries(20)).await;
    let made = machine.get_snapshot_builder().await.build_snapshot().await;
    made.unwrap();
    let (mut their_log, mut their_machine) = open_in(theirs.path()).unwrap();
    fill(&mut their_log, &mut their_machine, raft_entries(10)).await;
    let behind = shown(&their_log, &their_machine).unwrap();
    let (meta, received) = send(&mut machine, &mut their_machine).await;

    let upto = meta.last_log_id.unwrap();
    let mut purging_log = their_log.clone();
    let mut purging = tokio::spawn(async move { purging_log.purge(upto).await });
    // It cannot end: nobody installs yet.
    let early = tokio::time::timeout(Duration::from_millis(300), &mut purging).await;
    assert!(early.is_err(), "purged: {early:?}");
    copy_running((&their_log, &their_machine), theirs.path(), killed.path());
    let installed = their_machine.install_snapshot(&meta, Box::new(received));
    installed.await.unwrap();
    purging.await.unwrap().unwrap();
    assert_eq!(their_log.purged(), Some(upto.index));

    // Who was killed before the end is where it was, and goes on.
    let (log, machine) = open_in(killed.path()).unwrap();
    assert!(shown(&log, &machine).unwrap() == behind);
}
