// SPDX-License-Identifier: EUPL-1.2
//! openraft's own suite on the store as it runs, and what only this store promises.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use ledger::admission::LedgerInfo;
use openraft::testing::{StoreBuilder, Suite};

use super::db::Memory;
use super::fatal::Fatal;
use super::log::{Identity, Log};
use super::machine::Machine;
use super::snapshot::Snapshots;
use super::state_dir::StateDir;
use super::verify::VerifyPool;
use crate::error::Error;
use crate::raft_types::{StorageError, TypeConfig};

const MEMORY: Memory = Memory {
    cache_bytes: 1 << 20,
    write_buffer_bytes: 1 << 20,
};

fn open(dir: &std::path::Path) -> Result<(Log, Machine), Error> {
    let fatal = Fatal::new();
    let verifier = VerifyPool::new("ledger.test.example");
    let identity = Identity {
        ledger: "ledger.test.example/1".into(),
        node: 1,
    };
    let log = Log::open(
        dir,
        &identity,
        MEMORY,
        64 * 1024,
        fatal.clone(),
        verifier.clone(),
    )?;
    let (state_dir, db) = StateDir::open(dir, MEMORY)?;
    let snapshots = Snapshots::open(dir.join("snapshots"))?;
    let ledger = LedgerInfo {
        name: "ledger.test.example".into(),
        shard: 1,
    };
    let machine = Machine::new(state_dir, db, snapshots, ledger, verifier, fatal)?;
    Ok((log, machine))
}

struct Builder;

impl StoreBuilder<TypeConfig, Log, Machine, tempfile::TempDir> for Builder {
    async fn build(&self) -> Result<(tempfile::TempDir, Log, Machine), StorageError> {
        let dir = tempfile::tempdir().unwrap();
        let (log, machine) = open(dir.path()).unwrap();
        Ok((dir, log, machine))
    }
}

#[test]
fn openraft_accepts_the_store() {
    Suite::test_all(Builder).unwrap();
}
