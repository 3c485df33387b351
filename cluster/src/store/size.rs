// SPDX-License-Identifier: EUPL-1.2
//! How many bytes the files of a node's store take, by column family.

use super::db::Db;
use super::keys::{raft_cf, state_cf};
use super::{log::Log, machine::Machine};
use crate::error::Error;

/// What the files of one column family take on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreBytes {
    /// `raft` (log and vote) or `state`.
    pub database: &'static str,
    /// The column family.
    pub family: &'static str,
    /// Bytes of its table and blob files. What is not flushed yet, and so in memory or the Raft log's journal alone, is not in them.
    pub bytes: u64,
}

/// All column families of both databases. Reads no file.
///
/// # Errors
/// RocksDB does not answer.
pub(crate) fn of(log: &Log, machine: &Machine) -> Result<Vec<StoreBytes>, Error> {
    let state = machine.state();
    let raft = raft_cf::ALL.iter().map(|name| ("raft", log.db(), *name));
    let state = state_cf::ALL.iter().map(|name| ("state", &*state, *name));
    raft.chain(state)
        .map(|(database, db, family)| {
            Ok(StoreBytes {
                database,
                family,
                bytes: bytes(db, family)?,
            })
        })
        .collect()
}

/// How far RocksDB holds back who writes to a database, because its flushes and compactions are behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteStall {
    /// `raft` or `state`.
    pub database: &'static str,
    /// Whether nothing is written at all.
    pub stopped: bool,
    /// Bytes a second that may be written; 0 for as many as there are.
    pub delayed_bytes_per_s: u64,
}

/// Of both databases. Reads no file.
///
/// # Errors
/// RocksDB does not answer.
pub(crate) fn stalls(log: &Log, machine: &Machine) -> Result<[WriteStall; 2], Error> {
    let state = machine.state();
    // Of the whole database, whichever family is asked.
    let stall = |database, db: &Db| -> Result<WriteStall, Error> {
        let number = |name| db.property(raft_cf::META, name);
        Ok(WriteStall {
            database,
            stopped: number("rocksdb.is-write-stopped")? > 0,
            delayed_bytes_per_s: number("rocksdb.actual-delayed-write-rate")?,
        })
    };
    Ok([stall("raft", log.db())?, stall("state", &state)?])
}

/// Bytes of the table and blob files of a state folder.
pub(crate) fn state(db: &Db) -> Result<u64, Error> {
    state_cf::ALL.iter().map(|family| bytes(db, family)).sum()
}

pub(super) fn bytes(db: &Db, family: &str) -> Result<u64, Error> {
    let tables = db.property(family, "rocksdb.total-sst-files-size")?;
    Ok(tables + db.property(family, "rocksdb.total-blob-file-size")?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::tests::{fill, open_in, raft_entries};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_database_whose_compactions_are_behind_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, mut machine) = open_in(dir.path()).unwrap();
        fill(&mut log, &mut machine, raft_entries(5)).await;
        machine.flush().unwrap();
        let state = machine.state();
        let state_now = || stalls(&log, &machine).unwrap();
        let set = |name: &str, files: &str| {
            let family = state.cf(state_cf::ROWS).unwrap();
            state
                .raw()
                .set_options_cf(family, &[(name, files)])
                .unwrap();
        };
        let free = |database| WriteStall {
            database,
            stopped: false,
            delayed_bytes_per_s: 0,
        };
        assert_eq!(state_now(), ["raft", "state"].map(free));
        // One file was flushed, and none is merged before there are more.
        set("level0_slowdown_writes_trigger", "1");
        let [raft, delayed] = state_now();
        assert_eq!(raft, free("raft"));
        assert!(
            delayed.delayed_bytes_per_s > 0 && !delayed.stopped,
            "{delayed:?}"
        );
        set("level0_stop_writes_trigger", "1");
        let [raft, stopped] = state_now();
        assert_eq!(raft, free("raft"));
        assert!(stopped.stopped, "{stopped:?}");
        // It closes as soon as it may write again.
        set("level0_stop_writes_trigger", "100");
        set("level0_slowdown_writes_trigger", "100");
    }
}
