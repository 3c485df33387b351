// SPDX-License-Identifier: EUPL-1.2
//! The Raft log against a list in memory, over appends, truncations, purges and restarts in any order.

use std::collections::VecDeque;
use std::time::Duration;

use openraft::RaftLogReader;
use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;
use crate::store::log::Identity;

#[derive(Clone, Debug)]
enum Step {
    /// Entries of a new term, each with so many bytes.
    Append {
        count: u64,
        bytes: usize,
    },
    /// Removes the last ones.
    Truncate {
        count: u64,
    },
    /// Removes the first ones.
    Purge {
        count: u64,
    },
    Vote,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..6u64, 0..40_000usize).prop_map(|(count, bytes)| Step::Append { count, bytes }),
        2 => (1..5u64).prop_map(|count| Step::Truncate { count }),
        2 => (1..5u64).prop_map(|count| Step::Purge { count }),
        1 => Just(Step::Vote),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..24)
}

fn entry(term: u64, index: u64, bytes: usize) -> RaftEntry {
    let item = BatchItem::new(vec![index as u8; bytes].into(), [0; 32], None);
    RaftEntry {
        log_id: RaftLogId::new(CommittedLeaderId::new(term, 1), index),
        payload: EntryPayload::Normal(Batch::new(index, vec![item])),
    }
}

/// What the log should be.
#[derive(Default)]
struct Model {
    term: u64,
    purged: Option<RaftLogId>,
    entries: VecDeque<(RaftLogId, usize)>,
}

impl Model {
    fn end(&self) -> Option<RaftLogId> {
        self.entries.back().map(|(id, _)| *id).max(self.purged)
    }
}

async fn agrees(log: &mut Log, model: &Model) {
    let state = log.get_log_state().await.unwrap();
    assert_eq!(
        (state.last_purged_log_id, state.last_log_id),
        (model.purged, model.end())
    );
    assert_eq!(log.fsynced(), model.end());
    let read = log.try_get_log_entries(..).await.unwrap();
    let bytes_of = |entry: &RaftEntry| match &entry.payload {
        EntryPayload::Normal(batch) => batch.items[0].entry.len(),
        other => panic!("{other:?}"),
    };
    let read: Vec<_> = read
        .iter()
        .map(|entry| (entry.log_id, bytes_of(entry)))
        .collect();
    assert_eq!(read, Vec::from(model.entries.clone()));
}

async fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open_apart_in(dir.path()).unwrap();
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Append { count, bytes } => {
                model.term += 1;
                let first = model.end().map_or(0, |id| id.index + 1);
                let entries: Vec<_> = (first..first + count)
                    .map(|index| entry(model.term, index, bytes))
                    .collect();
                model
                    .entries
                    .extend(entries.iter().map(|entry| (entry.log_id, bytes)));
                log.blocking_append(entries).await.unwrap();
            }
            Step::Truncate { count } => {
                let keep = model.entries.len().saturating_sub(count as usize);
                if let Some((since, _)) = model.entries.get(keep).copied() {
                    model.entries.truncate(keep);
                    log.truncate(since).await.unwrap();
                }
            }
            Step::Purge { count } => {
                let count = model.entries.len().min(count as usize);
                if let Some((upto, _)) = model.entries.drain(..count).next_back() {
                    model.purged = Some(upto);
                    log.purge(upto).await.unwrap();
                }
            }
            Step::Vote => {
                model.term += 1;
                log.save_vote(&Vote::new(model.term, 1)).await.unwrap();
                assert_eq!(
                    log.read_vote().await.unwrap(),
                    Some(Vote::new(model.term, 1))
                );
            }
            Step::Reopen => {
                drop(log);
                log = open_apart_in(dir.path()).unwrap().0;
            }
        }
        agrees(&mut log, &model).await;
    }
    drop(log);
    agrees(&mut open_apart_in(dir.path()).unwrap().0, &model).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_the_list_that_was_asked_for(steps in steps()) {
        tokio::runtime::Runtime::new().unwrap().block_on(run(steps));
    }
}

/// Bytes that the files right in a folder have.
fn bytes_in(dir: &Path) -> u64 {
    // One that goes meanwhile has none.
    let bytes =
        |file: std::io::Result<std::fs::DirEntry>| file.unwrap().metadata().map(|file| file.len());
    let files = std::fs::read_dir(dir).unwrap();
    files.map(|file| bytes(file).unwrap_or_default()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn purged_raft_entries_give_their_bytes_back() {
    const MIB: u64 = 1 << 20;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft");
    let (mut log, _machine) = open_apart_in(dir.path()).unwrap();
    for first in (0..).step_by(32).take(40) {
        let entries: Vec<_> = (first..first + 32)
            .map(|index| entry(1, index, 32 * 1024))
            .collect();
        log.blocking_append(entries).await.unwrap();
        if let Some(purged) = first.checked_sub(1) {
            log.purge(log_id(purged)).await.unwrap();
        }
        assert!(log.bytes_after(0) <= 3 * MIB, "{}", log.bytes_after(0));
        // Up to 2 MiB are left at any time: in memory and WAL, or in blob files when a flush has just been.
        let given_back = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            while bytes_in(&path) > 4 * MIB {
                ticks.tick().await;
            }
        };
        let given_back = tokio::time::timeout(Duration::from_secs(30), given_back).await;
        assert!(given_back.is_ok(), "{} bytes left", bytes_in(&path));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_nodes_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let other = Identity {
        ledger: format!("{LEDGER}/1"),
        node: 2,
    };
    let resources = Resources {
        cache_bytes: 1 << 20,
        write_buffer_bytes: 1 << 20,
        background_bytes_per_s: None,
    };
    let opened = Log::open(
        dir.path(),
        &other,
        resources,
        1 << 16,
        Fatal::new(),
        VerifyPool::new(LEDGER),
    );
    assert_eq!(opened.err().unwrap().kind(), ErrorKind::Config);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_older_than_the_one_promised_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, machine) = open_apart_in(dir.path()).unwrap();
    log.save_vote(&Vote::new(3, 1)).await.unwrap();
    drop((log, machine));
    let before = tempfile::tempdir().unwrap();
    copy(dir.path(), before.path());
    let (mut log, machine) = open_apart_in(dir.path()).unwrap();
    log.save_vote(&Vote::new(9, 2)).await.unwrap();
    drop((log, machine));
    // The log of yesterday beside the mark of today.
    std::fs::copy(
        dir.path().join("high-water"),
        before.path().join("high-water"),
    )
    .unwrap();
    assert_eq!(
        open_apart_in(before.path()).err().unwrap().kind(),
        ErrorKind::Corrupt
    );
}

#[tokio::test]
async fn a_leader_that_starts_again_does_not_lead() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _machine) = open_apart_in(dir.path()).unwrap();
    for (vote, read) in [
        (Vote::new_committed(3, 1), Vote::new(3, 1)),
        (Vote::new_committed(4, 2), Vote::new_committed(4, 2)),
    ] {
        log.save_vote(&vote).await.unwrap();
        assert_eq!(log.read_vote().await.unwrap(), Some(read));
    }
}
