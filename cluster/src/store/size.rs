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

/// Bytes of the table and blob files of a state folder.
pub(crate) fn state(db: &Db) -> Result<u64, Error> {
    state_cf::ALL.iter().map(|family| bytes(db, family)).sum()
}

pub(super) fn bytes(db: &Db, family: &str) -> Result<u64, Error> {
    let tables = db.property(family, "rocksdb.total-sst-files-size")?;
    Ok(tables + db.property(family, "rocksdb.total-blob-file-size")?)
}
