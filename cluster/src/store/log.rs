// SPDX-License-Identifier: EUPL-1.2
//! The Raft log and vote: openraft's `RaftLogStorage` over `raft/`.
//!
//! One thread writes ([`super::log_writer`]); vote, append, truncate and purge go through its queue in the order they were asked for, since a
//! vote that overtakes an append can lose what was committed. Nothing is acknowledged before it is fsynced and the high-water mark with it.

use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use openraft::storage::{LogFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend, StorageIOError};
use parking_lot::Mutex;
use rocksdb::{Direction, IteratorMode, WriteBatch};
use serde::{Deserialize, Serialize};

use super::db::{self, Db, Resources};
use super::erase::{self, Progress};
use super::fatal::Fatal;
use super::high_water::HighWater;
use super::keys::{self, raft_cf, raft_meta};
use super::log_sizes::Sizes;
use super::log_tail::Tail;
use super::log_writer::{Command, Writer};
use super::size;
use super::snapshot::sync_dir;
use super::verify;
use crate::error::{Error, ErrorKind};
use crate::raft_types::{RaftEntry, RaftLogId, RaftVote, StorageError, TypeConfig};
use crate::tasks::Halt;

/// The most bytes of raft_entries sent to a peer in one message, if that is more than one entry.
const READ_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Whose data a folder holds. A folder under another name or number is refused: node ids are never reused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) ledger: String,
    pub(crate) node: u64,
}

/// Handle to the log; clones share it.
#[derive(Clone)]
pub(crate) struct Log(Arc<Shared>);

pub(super) struct Shared {
    /// Whose log it is.
    node: u64,
    pub(super) db: Db,
    pub(super) bounds: Mutex<Bounds>,
    tail: Mutex<Tail>,
    writer: Writer,
    fatal: Fatal,
    verifier: verify::VerifyPool,
    /// Brings the state that these entries made to disk.
    flush_state: OnceLock<FlushState>,
}

/// Makes durable what is applied, up to a raft_entry at least if it is applied.
pub(crate) type FlushState = Box<dyn Fn(RaftLogId) -> Result<(), Error> + Send + Sync>;

/// What the log spans, as acknowledged or about to be.
#[derive(Clone, Debug, Default)]
pub(super) struct Bounds {
    pub(super) vote: Option<RaftVote>,
    pub(super) purged: Option<RaftLogId>,
    /// Raft index of the first entry present; meaningless when there is none.
    pub(super) first: u64,
    /// The last entry present, none if all are purged.
    pub(super) last: Option<RaftLogId>,
    /// The last that openraft handed over to be applied since this node started.
    committed: u64,
    /// Of the entries present.
    sizes: Sizes,
}

impl Bounds {
    /// The last entry present or purged.
    pub(super) fn end(&self) -> Option<RaftLogId> {
        self.last.max(self.purged)
    }
}

impl Log {
    /// Opens or creates the log in `dir` and checks it against its high-water mark.
    ///
    /// # Errors
    /// `Corrupt` if acknowledged raft_entries or the vote are missing: this node must not vote again and is replaced.
    pub(crate) fn open(
        dir: &Path,
        identity: &Identity,
        resources: Resources,
        tail_bytes: usize,
        fatal: Fatal,
        verifier: verify::VerifyPool,
    ) -> Result<Log, Error> {
        let mark_path = dir.join("high-water");
        let db = Db::open_raft(&dir.join("raft"), resources)?;
        let high_water = match db.get_decoded::<Identity>(raft_cf::META, raft_meta::IDENTITY)? {
            Some(found) if found != *identity => {
                return Err(Error::new(
                    ErrorKind::Config,
                    format!(
                        "{} belongs to node {} of {}, not to node {} of {}",
                        dir.display(),
                        found.node,
                        found.ledger,
                        identity.node,
                        identity.ledger
                    ),
                ));
            }
            Some(_) => HighWater::open(&mark_path)?,
            None if mark_path.exists() => {
                // A crash while the node was first set up leaves this, and then nothing was promised yet. Anything else is a lost log.
                let high_water = HighWater::open(&mark_path)?;
                if high_water.mark().last.is_some() || high_water.mark().vote.is_some() {
                    return Err(Error::corrupt(format!(
                        "{} is there, but the Raft log it marks is not",
                        mark_path.display()
                    )));
                }
                write_identity(dir, &db, identity)?;
                high_water
            }
            None => {
                let high_water = HighWater::create(&mark_path)?;
                write_identity(dir, &db, identity)?;
                high_water
            }
        };
        let mut bounds = read_bounds(&db)?;
        check_against_mark(dir, &bounds, &high_water)?;
        // What a killed process had written but not fsynced may be here too. From now on it counts, so it is brought to disk; and both slots
        // of the mark are written, in case one was found damaged.
        let mut high_water = high_water;
        db.flush()?;
        bounds.sizes = Sizes::of(bounds.first, size::bytes(&db, raft_cf::LOG)?);
        high_water.raise(bounds.vote, bounds.end())?;
        high_water.raise(bounds.vote, bounds.end())?;
        let shared = Arc::new_cyclic(|weak| Shared {
            node: identity.node,
            db,
            bounds: Mutex::new(bounds),
            tail: Mutex::new(Tail::new(tail_bytes)),
            writer: Writer::start(weak.clone(), high_water, fatal.clone()),
            fatal,
            verifier,
            flush_state: OnceLock::new(),
        });
        Ok(Log(shared))
    }

    /// Sets what has to be done before entries are purged: until the state that they made is on disk, they are all there is of it.
    pub(crate) fn before_purge(&self, flush: FlushState) {
        // Set once, by who opens the store.
        let _ = self.0.flush_state.set(flush);
    }

    pub(super) fn db(&self) -> &Db {
        &self.0.db
    }

    /// The newest checkpoint this node cosigned, as `T`.
    pub(crate) fn cosigned<T: serde::de::DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        self.meta(raft_meta::COSIGNED)
    }

    /// Remembers a cosigned checkpoint; fsynced when this returns.
    pub(crate) fn put_cosigned<T: Serialize>(&self, cosigned: &T) -> Result<(), Error> {
        self.0.fatal.check()?;
        let (mut batch, meta) = (WriteBatch::default(), self.0.db.cf(raft_cf::META)?);
        batch.put_cf(meta, raft_meta::COSIGNED, db::encode(cosigned)?);
        let written = self.0.db.write(batch, true);
        written.map_err(|error| self.0.fatal.latch(error))
    }

    /// How many erasures this log holds nothing of any more.
    pub(crate) fn erased(&self) -> Result<Progress, Error> {
        Ok(self.meta(raft_meta::ERASED)?.unwrap_or_default())
    }

    fn meta<T: serde::de::DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, Error> {
        let read = self.0.db.get_decoded(raft_cf::META, key);
        self.0.fatal.stop_if_damaged(read)
    }

    /// Bytes of the raft_entries after an index, rounded up.
    pub(crate) fn bytes_after(&self, index: u64) -> u64 {
        self.0.bounds.lock().sizes.after(index)
    }

    /// About as many bytes as the raft_entries have that are committed here and wait in memory to be applied, if those up to an index are.
    pub(crate) fn committed_after(&self, applied: u64) -> u64 {
        let bounds = self.0.bounds.lock();
        bounds.sizes.between(applied, bounds.committed)
    }

    /// The greatest index after which at least so many bytes of raft_entries remain, none if nothing lies before them.
    pub(crate) fn before_last(&self, bytes: u64) -> Option<u64> {
        self.0.bounds.lock().sizes.before_last(bytes)
    }

    /// The last index that is purged.
    pub(crate) fn purged(&self) -> Option<u64> {
        self.0.bounds.lock().purged.map(|id| id.index)
    }

    /// Whether the raft_entries up to an index are purged.
    pub(crate) fn is_purged(&self, index: u64) -> bool {
        self.purged().is_some_and(|purged| purged >= index)
    }

    /// Takes purged raft_entries out of the files, and remembers it, fsynced. Whether it is done; else it is to be called again, as after a
    /// crash. Blocks.
    pub(crate) fn forget_purged(&self, done: Progress, halt: &Halt) -> Result<bool, Error> {
        let db = &self.0.db;
        if !erase::flush(db, halt)? || !erase::compact(db, raft_cf::LOG, None, halt)? {
            return Ok(false);
        }
        let mut batch = WriteBatch::default();
        batch.put_cf(db.cf(raft_cf::META)?, raft_meta::ERASED, db::encode(&done)?);
        db.write(batch, true)?;
        Ok(true)
    }

    /// Last raft_log_id that is fsynced here.
    pub(crate) fn fsynced(&self) -> Option<RaftLogId> {
        self.0.writer.fsynced()
    }

    /// Reads every raft_entry once, checking RocksDB's checksums and this crate's encoding.
    ///
    /// # Errors
    /// `Corrupt`, naming the raft_entry.
    pub(crate) fn scrub(&self) -> Result<(), Error> {
        let bounds = self.0.bounds.lock().clone();
        let Some(last) = bounds.last else {
            return Ok(());
        };
        let mut next = bounds.first;
        while next <= last.index {
            let read = self.0.read(next, last.index + 1, READ_BYTES_MAX)?;
            next += read.len() as u64;
        }
        Ok(())
    }
}

impl Shared {
    /// Entries in `[start, end)` that are present, at least one if any is, and not much more than `bytes_max`.
    fn read(&self, start: u64, end: u64, bytes_max: usize) -> Result<Vec<RaftEntry>, Error> {
        // Held until the iterator exists, which sees the moment it was made at: a purge or truncation moves the bounds first and deletes after,
        // so what lies within the bounds here is still there for the iterator.
        let bounds = self.bounds.lock();
        let Some(last) = bounds.last else {
            return Ok(Vec::new());
        };
        let (start, end) = (start.max(bounds.first), end.min(last.index + 1));
        if start >= end {
            return Ok(Vec::new());
        }
        if let Some(entries) = self.tail.lock().range(start, end, bytes_max) {
            return Ok(entries);
        }
        let from = keys::number(start);
        let stored = self.db.raw().iterator_cf(
            self.db.cf(raft_cf::LOG)?,
            IteratorMode::From(&from, Direction::Forward),
        );
        drop(bounds);
        self.collect(stored, start, end, bytes_max)
    }

    /// Every index asked for is present: one that is missing or unreadable is an error, never the end of the log.
    fn collect(
        &self,
        mut stored: impl Iterator<Item = Result<(Box<[u8]>, Box<[u8]>), rocksdb::Error>>,
        start: u64,
        end: u64,
        bytes_max: usize,
    ) -> Result<Vec<RaftEntry>, Error> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        for index in start..end {
            let key = keys::number(index);
            let name = || self.db.name_of(raft_cf::LOG, &key);
            let item = stored
                .next()
                .transpose()
                .map_err(|error| self.db.read_error(raft_cf::LOG, &key, error))?;
            let Some((_, value)) = item.filter(|(found, _)| **found == key) else {
                return Err(Error::corrupt(format!("{} is missing", name())));
            };
            let entry: RaftEntry = db::decode(&value)
                .map_err(|error| self.db.decode_error(raft_cf::LOG, &key, error))?;
            if entry.log_id.index != index {
                let found = entry.log_id.index;
                return Err(Error::corrupt(format!(
                    "{} holds raft_entry {found}",
                    name()
                )));
            }
            bytes += value.len();
            entries.push(entry);
            if bytes >= bytes_max {
                break;
            }
        }
        Ok(entries)
    }

    /// Latches what cannot be read: a node that cannot trust its log stops.
    fn fail_read(&self, error: Error) -> StorageError {
        StorageIOError::read_logs(openraft::AnyError::new(&self.fatal.latch(error))).into()
    }
}

/// Makes the log this node's, durably.
fn write_identity(dir: &Path, db: &Db, identity: &Identity) -> Result<(), Error> {
    let mut batch = WriteBatch::default();
    batch.put_cf(
        db.cf(raft_cf::META)?,
        raft_meta::IDENTITY,
        db::encode(identity)?,
    );
    db.write(batch, true)?;
    sync_dir(dir)
}

fn read_bounds(db: &Db) -> Result<Bounds, Error> {
    let purged: Option<RaftLogId> = db.get_decoded(raft_cf::META, raft_meta::PURGED)?;
    let vote = db.get_decoded(raft_cf::META, raft_meta::VOTE)?;
    let log = db.cf(raft_cf::LOG)?;
    let at_end = |mode| -> Result<Option<RaftEntry>, Error> {
        match db.raw().iterator_cf(log, mode).next() {
            None => Ok(None),
            Some(Err(error)) => Err(db.read_error(raft_cf::LOG, b"bounds", error)),
            Some(Ok((key, value))) => db::decode(&value)
                .map(Some)
                .map_err(|error| db.decode_error(raft_cf::LOG, &key, error)),
        }
    };
    let first = at_end(IteratorMode::Start)?.map(|entry| entry.log_id);
    let last = at_end(IteratorMode::End)?.map(|entry| entry.log_id);
    if let (Some(first), Some(purged)) = (first, purged)
        && first.index != purged.index + 1
    {
        return Err(Error::corrupt(format!(
            "{}: purged through raft_entry {}, but the first one present is {}",
            db.path().display(),
            purged.index,
            first.index
        )));
    }
    Ok(Bounds {
        vote,
        purged,
        first: first.map_or(0, |id| id.index),
        last,
        committed: 0,
        sizes: Sizes::default(),
    })
}

/// The log must reach its mark, at the mark the same term must stand, and the vote must not be older.
fn check_against_mark(dir: &Path, bounds: &Bounds, high_water: &HighWater) -> Result<(), Error> {
    let mark = high_water.mark();
    if bounds.end() < mark.last {
        return Err(Error::corrupt(format!(
            "{}: the Raft log ends at {}, but {} was fsynced here. Acknowledged entries are missing: replace this node, do not restart it",
            dir.display(),
            name_of(bounds.end()),
            name_of(mark.last),
        )));
    }
    if bounds.vote < mark.vote {
        return Err(Error::corrupt(format!(
            "{}: the vote is older than the one fsynced here: replace this node, do not restart it",
            dir.display()
        )));
    }
    Ok(())
}

fn name_of(id: Option<RaftLogId>) -> String {
    id.map_or("nothing".into(), |id| format!("raft_entry {id}"))
}

impl RaftLogReader<TypeConfig> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<RaftEntry>, StorageError> {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&start) => start + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&end) => end.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => u64::MAX,
        };
        let entries = self
            .0
            .read(start, end, usize::MAX)
            .map_err(|error| self.0.fail_read(error))?;
        // openraft reads in this way what it is about to apply, and in the other way what it sends.
        for entry in &entries {
            if let EntryPayload::Normal(batch) = &entry.payload {
                batch.mark_committed();
            }
        }
        Ok(entries)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<RaftEntry>, StorageError> {
        self.0
            .read(start, end, READ_BYTES_MAX)
            .map_err(|error| self.0.fail_read(error))
    }
}

impl RaftLogStorage<TypeConfig> for Log {
    type LogReader = Log;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let bounds = self.0.bounds.lock().clone();
        Ok(LogState {
            last_purged_log_id: bounds.purged,
            last_log_id: bounds.end(),
        })
    }

    async fn get_log_reader(&mut self) -> Log {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> Result<(), StorageError> {
        let done = self
            .0
            .writer
            .run(|done| Command::Vote { vote: *vote, done })
            .await;
        done.map_err(|error| StorageIOError::write_vote(openraft::AnyError::new(&error)))?;
        self.0.bounds.lock().vote = Some(*vote);
        Ok(())
    }

    /// Told just before they are read to be applied. Not kept on disk: after a start openraft learns anew what is committed.
    async fn save_committed(&mut self, committed: Option<RaftLogId>) -> Result<(), StorageError> {
        self.0.bounds.lock().committed = committed.map_or(0, |id| id.index);
        Ok(())
    }

    /// The vote with which openraft starts. A leader that starts again does not lead: it stands for election like any other. openraft would let
    /// it go on in its term with what is applied as what is committed, and confirm reads from that; but the state may have lost its end, and
    /// acknowledged entries with it, until the log has brought it forward. The first entry of a new term stands behind all of them.
    async fn read_vote(&mut self) -> Result<Option<RaftVote>, StorageError> {
        let mut vote = self.0.bounds.lock().vote;
        if let Some(vote) = &mut vote
            && vote.leader_id().voted_for() == Some(self.0.node)
        {
            vote.committed = false;
        }
        Ok(vote)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<TypeConfig>,
    ) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let since = Instant::now();
        let entries: Vec<RaftEntry> = entries.into_iter().collect();
        let Some((first, last)) = entries
            .first()
            .zip(entries.last())
            .map(|(first, last)| (first.log_id, last.log_id))
        else {
            callback.log_io_completed(Ok(()));
            return Ok(());
        };
        let mut stored = Vec::with_capacity(entries.len());
        for entry in &entries {
            let bytes = db::encode(entry).map_err(|error| {
                StorageIOError::write_log_entry(entry.log_id, openraft::AnyError::new(&error))
            })?;
            stored.push((entry.log_id.index, bytes));
            if let EntryPayload::Normal(batch) = &entry.payload {
                batch.mark_appended();
            }
        }
        // Signatures are verified on all cores while the entries go to disk and to a quorum; apply takes what is ready.
        self.0.verifier.start(&entries);
        {
            let mut bounds = self.0.bounds.lock();
            if bounds.last.is_none() {
                bounds.first = first.index;
            }
            bounds.last = Some(last);
            for (index, bytes) in &stored {
                bounds.sizes.append(*index, bytes.len() as u64);
            }
            // Readable from here on, as openraft asks; counted as fsynced only by the writer. Under the lock of the bounds: whoever sees the new
            // end finds the entries, which are not in the database yet.
            let sizes = stored.iter().map(|(_, bytes)| bytes.len());
            self.0.tail.lock().append(entries, sizes);
        }
        self.0.writer.send(Command::Append {
            entries: stored,
            last,
            since,
            callback,
        });
        Ok(())
    }

    async fn truncate(&mut self, log_id: RaftLogId) -> Result<(), StorageError> {
        let failed = |error: Error| StorageIOError::write_logs(openraft::AnyError::new(&error));
        let before = match log_id.index.checked_sub(1) {
            Some(index) => self
                .0
                .read(index, log_id.index, usize::MAX)
                .map_err(failed)?
                .first()
                .map(|entry| entry.log_id),
            None => None,
        };
        {
            let mut bounds = self.0.bounds.lock();
            bounds.last = before;
            bounds.sizes.truncate(log_id.index);
            self.0.tail.lock().truncate(log_id.index);
        }
        let end = self.0.bounds.lock().end();
        self.0
            .writer
            .run(|done| Command::Truncate {
                since: log_id.index,
                end,
                done,
            })
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn purge(&mut self, log_id: RaftLogId) -> Result<(), StorageError> {
        let failed = |error: Error| StorageIOError::write_logs(openraft::AnyError::new(&error));
        // A crash before this leaves the log and an earlier state, a crash after it the log and a state that needs none of what goes.
        let log = self.0.clone();
        let flushed = tokio::task::spawn_blocking(move || match log.flush_state.get() {
            Some(flush) => flush(log_id).map_err(|error| log.fatal.latch(error)),
            None => Ok(()),
        });
        let flushed = flushed.await;
        flushed
            .unwrap_or_else(|error| Err(Error::io("flush the state", error)))
            .map_err(failed)?;
        let (from, end) = {
            let mut bounds = self.0.bounds.lock();
            if bounds.purged >= Some(log_id) {
                return Ok(());
            }
            bounds.purged = Some(log_id);
            let from = std::mem::replace(&mut bounds.first, log_id.index + 1);
            if bounds.last.is_some_and(|last| last.index <= log_id.index) {
                bounds.last = None;
                bounds.sizes = Sizes::default();
            }
            bounds.sizes.purge(log_id.index + 1);
            self.0.tail.lock().purge(log_id.index);
            (from, bounds.end())
        };
        let done = self
            .0
            .writer
            .run(|done| Command::Purge {
                from,
                upto: log_id,
                end,
                done,
            })
            .await;
        done.map_err(failed)?;
        Ok(())
    }
}
