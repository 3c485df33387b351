// SPDX-License-Identifier: EUPL-1.2
//! openraft's own suite on the store as it runs, and what only this store promises.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::path::Path;
use std::time::{Duration, Instant};

use ledger::admission::LedgerInfo;
use ledger::entry::SubmittedEntry;
use ledger::hash::Hash;
use ledger::number::EntryIndex;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use openraft::testing::{StoreBuilder, Suite};
use openraft::{CommittedLeaderId, EntryPayload, RaftSnapshotBuilder, Vote};

use super::db::Resources;
use super::fatal::Fatal;
use super::log::Log;
use super::machine::Machine;
use super::verify::VerifyPool;
use super::{Options, open, open_apart, rest_after};
use crate::Clock;
use crate::error::Error;
use crate::raft_types::{
    Batch, BatchItem, ItemResult, RaftEntry, RaftLogId, StorageError, TypeConfig,
};
use crate::testbed::{LEDGER, consent, genesis};

mod damage;
mod entries;
mod erasure;
mod folds;
mod log;
mod registry;
mod retention;
mod snapshots;

pub(crate) fn open_in(dir: &Path) -> Result<(Log, Machine), Error> {
    open_by(dir, open)
}

/// For who purges what was never applied.
fn open_apart_in(dir: &Path) -> Result<(Log, Machine), Error> {
    open_by(dir, open_apart)
}

type Open =
    fn(&Path, u64, LedgerInfo, &Options, &Fatal, &VerifyPool) -> Result<(Log, Machine), Error>;

fn open_by(dir: &Path, open: Open) -> Result<(Log, Machine), Error> {
    open_telling(dir, open, u64::MAX, &Fatal::new())
}

/// What stops the store is told to `fatal`.
fn open_telling(
    dir: &Path,
    open: Open,
    scrub_bytes: u64,
    fatal: &Fatal,
) -> Result<(Log, Machine), Error> {
    let options = Options {
        resources: Resources {
            cache_bytes: 1 << 20,
            write_buffer_bytes: 1 << 20,
            background_bytes_per_s: None,
        },
        tail_bytes: 64 * 1024,
        scrub_bytes,
    };
    let ledger = LedgerInfo {
        name: LEDGER.into(),
        shard: 1,
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let verifier = VerifyPool::new(LEDGER);
        match open(dir, 1, ledger.clone(), &options, fatal, &verifier) {
            Err(error) if crate::testbed::is_still_held(&error) => {
                assert!(Instant::now() < deadline, "{error:?}");
                std::thread::yield_now();
            }
            opened => return opened,
        }
    }
}

struct Builder;

impl StoreBuilder<TypeConfig, Log, Machine, tempfile::TempDir> for Builder {
    async fn build(&self) -> Result<(tempfile::TempDir, Log, Machine), StorageError> {
        let dir = tempfile::tempdir().unwrap();
        let (log, machine) = open_apart_in(dir.path()).unwrap();
        Ok((dir, log, machine))
    }
}

#[test]
fn openraft_accepts_the_store() {
    Suite::test_all(Builder).unwrap();
}

/// What a filled store must show again after it is reopened.
#[derive(Clone, Debug, PartialEq)]
struct Shown {
    size: u64,
    root: [u8; 32],
    raft_last: Option<RaftLogId>,
    leaf_hashes: Vec<Hash>,
}

fn shown(log: &Log, machine: &Machine) -> Result<Shown, Error> {
    let view = machine.view()?;
    let leaf_hash = |index| Ok(view.entry(EntryIndex(index))?.unwrap().leaf_hash());
    let size = view.size().0;
    Ok(Shown {
        size,
        root: view.root().0,
        raft_last: log.fsynced(),
        leaf_hashes: (0..size).map(leaf_hash).collect::<Result<_, Error>>()?,
    })
}

fn log_id(index: u64) -> RaftLogId {
    RaftLogId::new(CommittedLeaderId::new(1, 1), index)
}

/// raft_entries with the genesis and then `count` batches of four consents each.
pub(crate) fn raft_entries(count: u64) -> Vec<RaftEntry> {
    let normal = |index: u64, stamp_ms, entries: Vec<SubmittedEntry>| {
        let items = entries
            .iter()
            .map(|entry| BatchItem::new(entry.encode().into(), [index as u8; 32], None));
        RaftEntry {
            log_id: log_id(index),
            payload: EntryPayload::Normal(Batch::new(stamp_ms, items.collect())),
        }
    };
    let now_ms = Clock::system().now_ms();
    let genesis = genesis(&[(1, "127.0.0.1:1".parse().unwrap())].into());
    let mut entries = vec![normal(0, now_ms, vec![genesis])];
    for index in 1..=count {
        entries.push(normal(
            index,
            now_ms,
            (0..4).map(|item| consent(4 * index + item)).collect(),
        ));
    }
    entries
}

pub(crate) async fn fill(log: &mut Log, machine: &mut Machine, entries: Vec<RaftEntry>) {
    log.save_vote(&Vote::new_committed(1, 1)).await.unwrap();
    log.blocking_append(entries.clone()).await.unwrap();
    let results = machine.apply(entries).await.unwrap();
    assert!(
        results
            .iter()
            .flat_map(|result| &result.0)
            .all(|item| matches!(item, ItemResult::Accepted { again: false, .. })),
        "{results:?}"
    );
}

/// A folder with a log, a state, a snapshot and more after it, closed in good order.
async fn filled(dir: &Path) -> Shown {
    fill_in(dir).await.2
}

/// The same, and still open.
async fn fill_in(dir: &Path) -> (Log, Machine, Shown) {
    let (mut log, mut machine) = open_in(dir).unwrap();
    let mut entries = raft_entries(40);
    let later = entries.split_off(30);
    fill(&mut log, &mut machine, entries).await;
    machine
        .get_snapshot_builder()
        .await
        .build_snapshot()
        .await
        .unwrap();
    log.purge(log_id(9)).await.unwrap();
    fill(&mut log, &mut machine, later).await;
    let shown = shown(&log, &machine).unwrap();
    (log, machine, shown)
}

/// What a kill leaves of a store that runs: nothing is compacted or deleted while it is copied.
fn copy_running((log, machine): (&Log, &Machine), from: &Path, to: &Path) {
    for db in [log.db(), &machine.state()] {
        let quiet = rocksdb::WaitForCompactOptions::default();
        db.raw().wait_for_compact(&quiet).unwrap();
    }
    copy(from, to);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for item in std::fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.path().is_dir() {
            copy(&item.path(), &target);
        } else {
            std::fs::copy(item.path(), target).unwrap();
        }
    }
}

#[test]
fn a_scrub_beside_a_running_node_takes_a_fiftieth_of_a_core() {
    for (step_ms, rest_ms) in [(3, 147), (40, 1_960)] {
        let step = Duration::from_millis(step_ms);
        assert_eq!(rest_after(step), Duration::from_millis(rest_ms));
    }
}
