// SPDX-License-Identifier: EUPL-1.2
//! Applies committed raft_entries to the state: openraft's `RaftStateMachine` over the state folder.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use ledger::admission::LedgerInfo;
use openraft::storage::{RaftStateMachine, Snapshot};
use openraft::{
    AnyError, EntryPayload, ErrorSubject, ErrorVerb, OptionalSend, RaftSnapshotBuilder,
    SnapshotMeta, StorageIOError,
};
use parking_lot::Mutex;
use rocksdb::checkpoint::Checkpoint;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

use super::applied::Applied;
use super::apply::Apply;
use super::db::Db;
use super::erase;
use super::fatal::Fatal;
use super::fold::Folds;
use super::scrub_beside;
use super::snapshot::{Manifest, SnapshotDir, Snapshots, hash_files, sync_dir};
use super::state_dir::{StateDir, read_applied};
use super::verify::VerifyPool;
use super::view::View;
use crate::error::{Error, ErrorKind};
use crate::raft_types::{
    BatchResult, RaftEntry, RaftLogId, RaftMembership, RaftSnapshotMeta, StorageError, TypeConfig,
};
use crate::stage::Stage;

mod folding;
#[cfg(test)]
mod tests;

/// Handle to the state machine; clones share it.
#[derive(Clone)]
pub(crate) struct Machine(Arc<Shared>);

/// See [`Machine::weak`].
pub(crate) struct WeakMachine(Weak<Shared>);

impl WeakMachine {
    /// Waits until a raft_entry is applied and in table files. A state that is closed was flushed. Blocks.
    ///
    /// openraft purges the log up to a snapshot that is still being installed. Were that done at once, a crash before the end would leave a log
    /// that begins behind the state, and a node that can never run again.
    ///
    /// # Errors
    /// The state cannot be written, or whoever was to apply it stopped the node.
    pub(crate) fn flush_through(&self, raft_log_id: RaftLogId) -> Result<(), Error> {
        let Some(shared) = self.0.upgrade() else {
            return Ok(());
        };
        shared.await_applied(raft_log_id)?;
        let flushed = *shared.flushed.lock();
        match flushed < Some(raft_log_id) {
            true => shared.flush(),
            false => Ok(()),
        }
    }
}

/// The size of a WAL from which on RocksDB flushes before a checkpoint; this value it takes for never.
const NO_FLUSH: u64 = u64::MAX;

/// How often whoever waits for an apply looks whether the node stopped.
const STOP_LOOK: Duration = Duration::from_millis(100);

struct Shared {
    /// The state as views read it. Replaced whole when a snapshot is installed.
    state: ArcSwap<Db>,
    /// Held while the state changes: apply, install, and what is too old leaves it.
    core: Mutex<Core>,
    snapshots: Mutex<Snapshots>,
    applied: watch::Sender<Applied>,
    /// Last raft_entry whose effects are on disk in the state in force, or an earlier one.
    flushed: Mutex<Option<RaftLogId>>,
    folds: watch::Sender<Folds>,
    ledger: LedgerInfo,
    verifier: VerifyPool,
    fatal: Fatal,
}

struct Core {
    dir: StateDir,
    apply: Apply,
}

impl Machine {
    pub(crate) fn new(
        dir: StateDir,
        db: Arc<Db>,
        snapshots: Snapshots,
        ledger: LedgerInfo,
        verifier: VerifyPool,
        fatal: Fatal,
    ) -> Result<Machine, Error> {
        let apply = Apply::open(db.clone())?;
        verifier.read_keys_from(&db);
        let folds = Folds::read(&*db)?;
        Ok(Machine(Arc::new(Shared {
            state: ArcSwap::new(db),
            // What was found at the start was read from the disk.
            flushed: Mutex::new(apply.applied().raft_log_id),
            applied: watch::Sender::new(apply.applied().clone()),
            folds: watch::Sender::new(folds),
            core: Mutex::new(Core { dir, apply }),
            snapshots: Mutex::new(snapshots),
            ledger,
            verifier,
            fatal,
        })))
    }

    /// The state in force.
    pub(crate) fn state(&self) -> Arc<Db> {
        self.0.state.load_full()
    }

    /// One moment of the state in force.
    pub(crate) fn view(&self) -> Result<View, Error> {
        self.0.fatal.check()?;
        let view = View::guarded(self.state(), self.0.fatal.clone());
        view.map_err(|error| self.0.fatal.latch(error))
    }

    /// What a read of the state came to; damage stops the node.
    pub(crate) fn sound<T>(&self, read: Result<T, Error>) -> Result<T, Error> {
        self.0.fatal.stop_if_damaged(read)
    }

    /// Writes what is applied into table files.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        self.0.flush()
    }

    /// See [`Db::give_up`].
    pub(crate) fn give_up(&self) {
        self.state().give_up();
    }

    /// Flushes on a thread that may block, beside the applies: for a snapshot that is asked for next, which holds what is in table files. What
    /// is too old to be asked for leaves the state with it.
    pub(crate) async fn flush_beside(&self) -> Result<(), Error> {
        self.run(|shared| {
            // Held for one small write. A crash before the flush takes it back, and it is done again when the next snapshot is asked for.
            shared.core.lock().apply.forget_old_ids()?;
            shared.flush()
        })
        .await
    }

    /// Keeps everybody from applying, until it is dropped.
    #[cfg(test)]
    pub(crate) fn hold(&self) -> impl Drop + '_ {
        self.0.core.lock()
    }

    /// A handle that does not keep the state open.
    pub(crate) fn weak(&self) -> WeakMachine {
        WeakMachine(Arc::downgrade(&self.0))
    }

    /// The current snapshot, if there is one.
    pub(crate) fn snapshot(&self) -> Option<SnapshotDir> {
        self.0.snapshots.lock().current()
    }

    /// Lets the next snapshot take the place of the current one, which holds what was erased since.
    pub(crate) fn outdate_snapshot(&self) {
        self.0.snapshots.lock().outdate();
    }

    /// Changes after each apply, when its write is readable.
    pub(crate) fn applied(&self) -> watch::Receiver<Applied> {
        self.0.applied.subscribe()
    }

    /// Runs on a thread that may block: apply, checkpoints and installs take milliseconds to minutes.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let shared = self.0.clone();
        let done = tokio::task::spawn_blocking(move || {
            shared.fatal.check()?;
            work(&shared).map_err(|error| shared.fatal.latch(error))
        });
        done.await.unwrap_or_else(|error| {
            Err(self.0.fatal.latch(Error::with_source(
                ErrorKind::Io,
                "the state machine stopped",
                error,
            )))
        })
    }
}

impl Shared {
    fn await_applied(&self, raft_log_id: RaftLogId) -> Result<(), Error> {
        let mut applied = self.applied.subscribe();
        let runtime = Handle::current();
        while applied.borrow_and_update().raft_log_id < Some(raft_log_id) {
            self.fatal.check()?;
            // Late or not, it is looked at again.
            let _ = runtime.block_on(async { timeout(STOP_LOOK, applied.changed()).await });
        }
        Ok(())
    }

    fn apply(&self, entries: Vec<RaftEntry>) -> Result<Vec<BatchResult>, Error> {
        let committed: Vec<Instant> = entries.iter().filter_map(committed).collect();
        let mut core = self.core.lock();
        let results = core.apply.run(entries, &self.ledger, &self.verifier)?;
        self.show_ordered(core.apply.ordered());
        self.applied.send_replace(core.apply.applied().clone());
        for since in committed {
            Stage::Apply.took(since.elapsed());
        }
        Ok(results)
    }

    fn flush(&self) -> Result<(), Error> {
        // What is in memory after an error may be what caused it; the next start applies it anew, from the log.
        self.fatal.check()?;
        // The state and what is applied in it, as they belong together; what is applied after this is flushed too, or not.
        let (db, applied) = {
            let core = self.core.lock();
            (self.state.load_full(), core.apply.applied().raft_log_id)
        };
        db.flush()?;
        self.flushed(applied);
        Ok(())
    }

    fn flushed(&self, raft_log_id: Option<RaftLogId>) {
        let mut flushed = self.flushed.lock();
        *flushed = raft_log_id.max(*flushed);
    }

    /// Pins what is in table files: the state of the last flush. All families are flushed in one step and there is no WAL, so RocksDB links, without
    /// a flush, what a crash would leave. openraft applies nothing meanwhile: links take milliseconds, a flush may take a second.
    fn pin(&self) -> Result<Pinned, Error> {
        let known = *self.flushed.lock();
        // The trimmer and the eraser flush beside the applies before they ask. Only where nobody did since the current snapshot, or ever, it would
        // hold nothing else, and is flushed here: as where the eraser asks once more just when its snapshot is made. What RocksDB flushed by
        // itself is not known here; it does no harm.
        if known.is_none() || self.snapshots.lock().at_least(known).is_some() {
            self.flush()?;
        }
        let flushed = *self.flushed.lock();
        let path = self.snapshots.lock().next_path();
        let db = self.state.load_full();
        // A crash here leaves a folder without manifest, which the next start removes.
        let made = Checkpoint::new(db.raw())
            .and_then(|checkpoint| checkpoint.create_checkpoint_with_log_size(&path, NO_FLUSH));
        made.map_err(|error| Error::io(format!("checkpoint {}", path.display()), error))?;
        let applied = self.applied.borrow().raft_log_id;
        Ok(Pinned {
            dir: Snapshots::begun(path),
            flushed,
            applied,
        })
    }

    /// Reads what a pinned folder holds, hashes it and makes it the current snapshot. Runs beside apply.
    fn finish(&self, pinned: Pinned) -> Result<Snapshot<TypeConfig>, Error> {
        let path = pinned.dir.path();
        // The state as it will be read from there: what is sent to a peer is what is in the files.
        let made = Db::open_state_read_only(path)?;
        let applied = read_applied(&made)?;
        if !(pinned.flushed..=pinned.applied).contains(&applied.raft_log_id) {
            return Err(Error::corrupt(format!(
                "{} does not hold a state between the last flush and what was applied",
                path.display()
            )));
        }
        let erased = erase::progress(&made)?;
        drop(made);
        // Table files are fsynced before the MANIFEST names them, in the state's folder too: the log may be purged up to here.
        self.flushed(applied.raft_log_id);
        let known = {
            let snapshots = self.snapshots.lock();
            if let Some(newer) = snapshots.at_least(applied.raft_log_id) {
                return built(newer);
            }
            snapshots.known_hashes()
        };
        let files = hash_files(path, &known)?;
        sync_dir(path)?;
        let manifest = Manifest {
            meta: meta_of(&applied),
            tree_size: applied.tree_size,
            root: applied.root,
            erased,
            files,
        };
        built(
            self.snapshots
                .lock()
                .adopt(&pinned.dir, Arc::new(manifest))?,
        )
    }

    fn install(&self, snapshot: &SnapshotDir) -> Result<(), Error> {
        let manifest = snapshot.manifest().ok_or_else(|| {
            Error::corrupt(format!("{} was not verified", snapshot.path().display()))
        })?;
        let mut core = self.core.lock();
        let (db, applied) = core.dir.install(snapshot.path(), &manifest)?;
        // From here on a crash finds the new state. The Raft log up to it is purged next (see `flush_through`), or at the next start.
        core.apply = Apply::open(db.clone())?;
        let folds = Folds::read(&*db)?;
        self.verifier.read_keys_from(&db);
        if !core.dir.is_small(snapshot.path())? {
            scrub_beside(Arc::downgrade(&db), self.fatal.clone());
        }
        self.state.swap(db).retire();
        self.folds.send_replace(folds);
        self.snapshots.lock().adopt(snapshot, manifest)?;
        // Its files were fsynced before they were taken over.
        self.flushed(applied.raft_log_id);
        self.applied.send_replace(applied);
        Ok(())
    }
}

/// Since when a raft_entry that carries submissions has waited to be applied.
fn committed(entry: &RaftEntry) -> Option<Instant> {
    match &entry.payload {
        EntryPayload::Normal(batch) => batch.committed(),
        EntryPayload::Blank | EntryPayload::Membership(_) => None,
    }
}

struct Pinned {
    /// Goes with this unless it is finished: its links keep files that the state no longer has.
    dir: SnapshotDir,
    /// What was known to be in table files before it was made: it holds that at least.
    flushed: Option<RaftLogId>,
    /// What was applied when it was made: it holds no more.
    applied: Option<RaftLogId>,
}

fn built(dir: SnapshotDir) -> Result<Snapshot<TypeConfig>, Error> {
    let manifest = dir
        .manifest()
        .ok_or_else(|| Error::corrupt(format!("{} has no manifest", dir.path().display())))?;
    Ok(Snapshot {
        meta: manifest.meta.clone(),
        snapshot: Box::new(dir),
    })
}

fn meta_of(applied: &Applied) -> RaftSnapshotMeta {
    let id = applied.raft_log_id;
    SnapshotMeta {
        last_log_id: id,
        last_membership: applied.membership.clone(),
        snapshot_id: id.map_or_else(
            || "empty".into(),
            |id| format!("{}-{}", id.leader_id, id.index),
        ),
    }
}

fn failed(subject: ErrorSubject<u64>, verb: ErrorVerb, error: &Error) -> StorageError {
    StorageIOError::new(subject, verb, AnyError::new(error)).into()
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<RaftLogId>, RaftMembership), StorageError> {
        let applied = self.0.applied.borrow();
        Ok((applied.raft_log_id, applied.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<BatchResult>, StorageError>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<RaftEntry> = entries.into_iter().collect();
        self.run(|shared| shared.apply(entries))
            .await
            .map_err(|error| failed(ErrorSubject::StateMachine, ErrorVerb::Write, &error))
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        // Pinned here, where openraft applies nothing meanwhile, and not when the builder runs: a snapshot must not be ahead of what openraft
        // believes to be applied.
        Builder {
            machine: self.clone(),
            pinned: Some(self.run(Shared::pin).await),
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<SnapshotDir>, StorageError> {
        let received = self.run(|shared| shared.snapshots.lock().receive()).await;
        received
            .map(Box::new)
            .map_err(|error| failed(ErrorSubject::Snapshot(None), ErrorVerb::Write, &error))
    }

    async fn install_snapshot(
        &mut self,
        meta: &RaftSnapshotMeta,
        snapshot: Box<SnapshotDir>,
    ) -> Result<(), StorageError> {
        let signature = Some(meta.signature());
        self.run(move |shared| shared.install(&snapshot))
            .await
            .map_err(|error| failed(ErrorSubject::Snapshot(signature), ErrorVerb::Write, &error))
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, StorageError> {
        let current = self.0.snapshots.lock().current();
        Ok(current.and_then(|dir| {
            Some(Snapshot {
                meta: dir.manifest()?.meta.clone(),
                snapshot: Box::new(dir),
            })
        }))
    }
}

/// Finishes one pinned snapshot.
pub(crate) struct Builder {
    /// Before the machine: its folder goes while the database is still locked against another that would give the same name again.
    pinned: Option<Result<Pinned, Error>>,
    machine: Machine,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError> {
        let pinned = self.pinned.take().unwrap_or_else(|| {
            Err(Error::new(
                ErrorKind::Raft,
                "a snapshot builder was run twice",
            ))
        });
        let built = match pinned {
            Ok(pinned) => self.machine.run(|shared| shared.finish(pinned)).await,
            Err(error) => Err(error),
        };
        built.map_err(|error| failed(ErrorSubject::Snapshot(None), ErrorVerb::Write, &error))
    }
}
