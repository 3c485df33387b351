// SPDX-License-Identifier: EUPL-1.2
//! What a node keeps on disk: the Raft log and vote (`log`), the state that follows from it (`machine`), and how they are opened and checked.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ledger::admission::LedgerInfo;

use self::db::Resources;
use self::fatal::Fatal;
use self::log::{Identity, Log};
use self::machine::Machine;
use self::snapshot::Snapshots;
use self::state_dir::{StateDir, read_applied};
use self::verify::VerifyPool;
use crate::error::Error;

pub(crate) mod applied;
pub(crate) mod apply;
pub(crate) mod check;
pub(crate) mod db;
mod entries;
pub(crate) mod erase;
pub(crate) mod fatal;
mod fetched;
pub(crate) mod fold;
mod format;
mod fresh;
pub(crate) mod high_water;
pub(crate) mod keys;
pub(crate) mod known;
pub(crate) mod log;
mod log_sizes;
mod log_tail;
mod log_writer;
pub(crate) mod machine;
mod packing;
mod public_keys;
pub(crate) mod receipts;
mod registry;
mod rows;
mod scan;
pub(crate) mod size;
pub(crate) mod snapshot;
pub(crate) mod state_dir;
mod tiles;
mod upper_nodes;
pub(crate) mod verify;
pub(crate) mod view;

#[cfg(test)]
pub(crate) mod tests;

/// How a store is opened.
pub(crate) struct Options {
    pub(crate) resources: Resources,
    /// Memory for the newest raft_entries.
    pub(crate) tail_bytes: usize,
    /// A store of at most so many bytes is read whole before the node starts; a larger one while it runs.
    pub(crate) scrub_bytes: u64,
}

/// A scrub beside a running node takes so much of one core and of the disk, as one part of so many: 50 million entries take it a day. Whoever
/// asks the node or writes to it is not to feel it, and needs not wait for it either: every read checks what it serves.
const SCRUB_SHARE: u32 = 50;

/// Opens or creates what a node keeps in `dir`, and checks it.
///
/// # Errors
/// It belongs to another node, lost its end, or is damaged: the error names the file or key.
pub(crate) fn open(
    dir: &Path,
    node: u64,
    ledger: LedgerInfo,
    options: &Options,
    fatal: &Fatal,
    verifier: &VerifyPool,
) -> Result<(Log, Machine), Error> {
    let (log, machine) = open_apart(dir, node, ledger, options, fatal, verifier)?;
    let state = machine.weak();
    log.before_purge(Box::new(move |id| state.flush_through(id)));
    Ok((log, machine))
}

/// The log and the state, before the one heeds the other.
fn open_apart(
    dir: &Path,
    node: u64,
    ledger: LedgerInfo,
    options: &Options,
    fatal: &Fatal,
    verifier: &VerifyPool,
) -> Result<(Log, Machine), Error> {
    std::fs::create_dir_all(dir)
        .map_err(|error| Error::io(format!("create {}", dir.display()), error))?;
    let identity = Identity {
        ledger: format!("{}/{}", ledger.name, ledger.shard),
        node,
    };
    let scrub_first = check::bytes_in(dir)? <= options.scrub_bytes;
    let resources = options.resources;
    let log = Log::open(
        dir,
        &identity,
        resources,
        options.tail_bytes,
        fatal.clone(),
        verifier.clone(),
    )?;
    let (state_dir, db) = StateDir::open(dir, resources, options.scrub_bytes)?;
    check::state(&db, &read_applied(&db)?)?;
    let snapshots = Snapshots::open(dir.join("snapshots"))?;
    if scrub_first {
        log.scrub()?;
        check::scrub(|| Some(db.clone()), || ())?;
        snapshots.verify()?;
    } else {
        scrub_beside(Arc::downgrade(&db), fatal.clone());
    }
    let machine = Machine::new(
        state_dir,
        db,
        snapshots,
        ledger,
        verifier.clone(),
        fatal.clone(),
    )?;
    Ok((log, machine))
}

/// Reads a large state through while the node runs. What is damaged is never served meanwhile either: every read checks.
pub(crate) fn scrub_beside(state: std::sync::Weak<db::Db>, fatal: Fatal) {
    std::thread::spawn(move || {
        let start = Instant::now();
        let mut begun = start;
        let rest = || {
            std::thread::sleep(rest_after(begun.elapsed()));
            begun = Instant::now();
        };
        match check::scrub(|| state.upgrade(), rest) {
            Ok(true) => {
                let seconds = start.elapsed().as_secs();
                tracing::info!(seconds, "the state was read through: nothing is damaged");
            }
            // It was closed or replaced meanwhile.
            Ok(false) => {}
            Err(error) => {
                fatal.latch(error);
            }
        }
    });
}

/// How long a scrub rests after a step that took so long: on busy cores a step takes longer, and so does the rest after it.
fn rest_after(step: Duration) -> Duration {
    step.saturating_mul(SCRUB_SHARE - 1)
}
