// SPDX-License-Identifier: EUPL-1.2
//! Keeps the Raft log short: asks for a raft_snapshot when enough was appended since the last, and purges what lies behind it.
//!
//! One raft_entry carries from none to hundreds of submissions. So the log is measured in bytes, against the state that a peer would have to be
//! sent instead of it, and raft_entries are counted beside that: a start goes through each.

use std::time::Duration;

use crate::error::Error;
use crate::face::Tuning;
use crate::raft_types::Raft;
use crate::store::{log::Log, machine::Machine, size};

/// Least time between two looks.
const PERIOD: Duration = Duration::from_millis(100);
/// The log behind a snapshot may have this share of the state's bytes: a peer that was away longer is sent the state for little more.
const KEPT_SHARE: u64 = 32;
/// The leader keeps so many times as much for a peer that has not got it yet: one that is being sent the state needs what comes meanwhile.
const HELD: u64 = 8;

/// Trims one node's log.
pub(crate) struct Trimmer {
    raft: Raft,
    log: Log,
    machine: Machine,
    snapshot_bytes: u64,
    snapshot_after: u64,
    keep_bytes: u64,
    keep_entries: u64,
    /// What was applied when a snapshot was last asked for: it is not asked for again while that one is being made.
    asked: u64,
}

impl Trimmer {
    pub(crate) fn new(raft: Raft, log: Log, machine: Machine, tuning: &Tuning) -> Trimmer {
        Trimmer {
            raft,
            log,
            machine,
            snapshot_bytes: tuning.raft_snapshot_bytes,
            snapshot_after: tuning.raft_snapshot_after,
            keep_bytes: tuning.raft_keep_bytes,
            keep_entries: tuning.raft_keep,
            asked: 0,
        }
    }

    /// Works until it is dropped, or Raft stops.
    pub(crate) async fn run(mut self) {
        let mut applied = self.machine.applied();
        loop {
            let index = applied.borrow_and_update().raft_log_id;
            match self.look(index.map_or(0, |id| id.index)).await {
                Ok(true) => {}
                Ok(false) => return,
                // What the store cannot tell now it may tell at the next look; the log only stays longer.
                Err(error) => tracing::warn!(%error, "the Raft log was not measured"),
            }
            tokio::time::sleep(PERIOD).await;
            if applied.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whether Raft still runs.
    async fn look(&mut self, applied: u64) -> Result<bool, Error> {
        let snapshot = self.machine.snapshot().and_then(|dir| dir.manifest());
        let snapshot = snapshot.and_then(|manifest| manifest.meta.last_log_id);
        let state = size::state(&self.machine.state())?;
        let since = snapshot.map_or(0, |id| id.index).max(self.asked);
        let grown = self
            .log
            .bytes_after(since)
            .saturating_sub(self.log.bytes_after(applied));
        let many = applied.saturating_sub(since) >= self.snapshot_after.max(1);
        if many || grown >= self.snapshot_bytes.max(state / KEPT_SHARE / 2) {
            self.asked = applied;
            // A snapshot holds what is in table files: so what is in memory goes there first, beside the applies.
            if self.machine.flush_beside().await.is_err() {
                // The node stops, and told why.
                return Ok(false);
            }
            // Does nothing while one is being made.
            if self.raft.trigger().snapshot().await.is_err() {
                return Ok(false);
            }
        }
        let Some(snapshot) = snapshot else {
            return Ok(true);
        };
        match self.purge_upto(snapshot.index, self.keep_bytes.max(state / KEPT_SHARE)) {
            Some(upto) => Ok(self.raft.trigger().purge_log(upto).await.is_ok()),
            None => Ok(true),
        }
    }

    /// Up to where the log is to be purged now: never past the snapshot, and not for a few raft_entries.
    fn purge_upto(&self, snapshot: u64, keep: u64) -> Option<u64> {
        let by_bytes = self.log.before_last(keep).map(|upto| {
            let held = self.log.before_last(keep.saturating_mul(HELD));
            upto.min(self.slowest_peer().unwrap_or(upto).max(held.unwrap_or(0)))
        });
        let by_count = snapshot.checked_sub(self.keep_entries);
        let upto = by_bytes.max(by_count)?.min(snapshot);
        let first = self.log.purged().map_or(0, |purged| purged + 1);
        let many = upto.checked_sub(first)? >= self.keep_entries / 10;
        let freed = self
            .log
            .bytes_after(first)
            .saturating_sub(self.log.bytes_after(upto));
        (many || freed >= keep / 8).then_some(upto)
    }

    /// How far the slowest peer's log reaches; known where this node leads.
    fn slowest_peer(&self) -> Option<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let reached = metrics.replication.as_ref()?.values();
        reached.map(|id| id.map_or(0, |id| id.index)).min()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;
    use crate::peer::{raft_network::Network, tests::Town};
    use crate::store::tests::{fill, open_in, raft_entries};

    /// What is in memory when a snapshot is asked for is flushed before: the snapshot holds no more than what is in table files. Raft is stopped
    /// here, so that none is made.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_flush_goes_before_a_snapshot() {
        for (after, flushes) in [(1_000, false), (10, true)] {
            let tuning = Tuning {
                raft_snapshot_bytes: u64::MAX,
                raft_snapshot_after: after,
                ..Tuning::default()
            };
            let dir = tempfile::tempdir().unwrap();
            let (mut log, mut machine) = open_in(dir.path()).unwrap();
            let mut entries = raft_entries(10);
            // The genesis brings keys, which are flushed as they are applied.
            let later = entries.split_off(1);
            fill(&mut log, &mut machine, entries).await;
            fill(&mut log, &mut machine, later).await;
            let network = Network::new(Town::new().caller(2, &[]), machine.applied());
            let config = Arc::new(openraft::Config::default());
            let raft = Raft::new(2, config, network, log.clone(), machine.clone());
            let raft = raft.await.unwrap();
            raft.shutdown().await.unwrap();
            let in_memory = || machine.state().records_in_memory().unwrap();
            assert!(in_memory() > 0);
            let mut trimmer = Trimmer::new(raft, log, machine.clone(), &tuning);
            let runs = trimmer.look(10).await.unwrap();
            assert_eq!((in_memory() == 0, runs), (flushes, !flushes));
        }
    }
}
