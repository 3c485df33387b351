// SPDX-License-Identifier: EUPL-1.2
//! The thread that writes the Raft log. One queue, one order, one fsync for all that waits.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::time::Instant;

use openraft::storage::LogFlushed;
use parking_lot::Mutex;
use rocksdb::WriteBatch;
use tokio::sync::oneshot;

use super::db;
use super::fatal::Fatal;
use super::high_water::HighWater;
use super::keys::{self, raft_cf, raft_meta};
use super::log::Shared;
use crate::error::{Error, ErrorKind};
use crate::raft_types::{RaftLogId, RaftVote, TypeConfig};
use crate::stage::Stage;

/// The most commands that share one fsync.
const GROUP_MAX: usize = 256;

type Done = oneshot::Sender<Result<(), Error>>;

pub(super) enum Command {
    Vote {
        vote: RaftVote,
        done: Done,
    },
    Append {
        entries: Vec<(u64, Vec<u8>)>,
        last: RaftLogId,
        since: Instant,
        callback: LogFlushed<TypeConfig>,
    },
    /// Removes `since` and all after it; `end` is where the log ends then.
    Truncate {
        since: u64,
        end: Option<RaftLogId>,
        done: Done,
    },
    /// Removes `from` to `upto`, which are the first ones present.
    Purge {
        from: u64,
        upto: RaftLogId,
        end: Option<RaftLogId>,
        done: Done,
    },
}

/// The queue into the thread. The thread ends when the queue is dropped.
pub(super) struct Writer {
    queue: Sender<Command>,
    fsynced: Arc<Mutex<Option<RaftLogId>>>,
}

impl Writer {
    pub(super) fn start(log: Weak<Shared>, high_water: HighWater, fatal: Fatal) -> Writer {
        let (queue, commands) = channel();
        let fsynced = Arc::new(Mutex::new(high_water.mark().last));
        let thread = Thread {
            log,
            high_water,
            fatal,
            fsynced: fsynced.clone(),
        };
        // Detached: it holds the log weakly and ends with its queue.
        std::thread::spawn(move || thread.run(&commands));
        Writer { queue, fsynced }
    }

    pub(super) fn send(&self, command: Command) {
        // The receiver lives as long as this sender; should it be gone, dropping the command tells openraft that the write failed.
        let _ = self.queue.send(command);
    }

    pub(super) async fn run(&self, command: impl FnOnce(Done) -> Command) -> Result<(), Error> {
        let (done, wait) = oneshot::channel();
        self.send(command(done));
        wait.await.unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::ShuttingDown,
                "the log writer stopped",
            ))
        })
    }

    /// Last raft_log_id known to be on disk.
    pub(super) fn fsynced(&self) -> Option<RaftLogId> {
        *self.fsynced.lock()
    }
}

struct Thread {
    log: Weak<Shared>,
    high_water: HighWater,
    fatal: Fatal,
    fsynced: Arc<Mutex<Option<RaftLogId>>>,
}

impl Thread {
    fn run(mut self, commands: &Receiver<Command>) {
        while let Ok(first) = commands.recv() {
            let mut group = vec![first];
            while group.len() < GROUP_MAX
                && let Ok(next) = commands.try_recv()
            {
                group.push(next);
            }
            let result = match (self.fatal.check(), self.log.upgrade()) {
                (Ok(()), Some(log)) => self
                    .write(&log, &group)
                    .map_err(|error| self.fatal.latch(error)),
                (Err(error), _) => Err(error),
                (Ok(()), None) => Err(Error::new(ErrorKind::ShuttingDown, "the log is closed")),
            };
            answer(group, &result);
        }
    }

    /// Writes a group in order, then fsyncs once. A crash before the fsync leaves any prefix of the group, none of it acknowledged; a crash
    /// between fsync and mark leaves a log ahead of its mark, which is true.
    fn write(&mut self, log: &Shared, group: &[Command]) -> Result<(), Error> {
        let mark = self.high_water.mark();
        let (mut vote, mut end) = (mark.vote, mark.last);
        let mut lowered = false;
        let mut batch = WriteBatch::default();
        let (entries_cf, meta_cf) = (log.db.cf(raft_cf::LOG)?, log.db.cf(raft_cf::META)?);
        for command in group {
            match command {
                Command::Vote { vote: new, .. } => {
                    batch.put_cf(meta_cf, raft_meta::VOTE, db::encode(new)?);
                    vote = Some(*new);
                }
                Command::Append { entries, last, .. } => {
                    for (index, bytes) in entries {
                        batch.put_cf(entries_cf, keys::number(*index), bytes);
                    }
                    end = Some(*last);
                }
                Command::Truncate {
                    since, end: new, ..
                } => {
                    batch.delete_range_cf(entries_cf, keys::number(*since), keys::number(u64::MAX));
                    end = *new;
                    lowered = true;
                }
                Command::Purge {
                    from,
                    upto,
                    end: new,
                    ..
                } => {
                    batch.delete_range_cf(
                        entries_cf,
                        keys::number(*from),
                        keys::number(upto.index.saturating_add(1)),
                    );
                    batch.put_cf(meta_cf, raft_meta::PURGED, db::encode(upto)?);
                    end = *new;
                }
            }
        }
        if lowered {
            // The mark falls before the log does. What the group appends after the truncation is not acknowledged yet, so the lower of the
            // two ends is the truth at every moment between here and the end of this function.
            let lowest = group.iter().filter_map(|command| match command {
                Command::Truncate { end, .. } => Some(*end),
                _ => None,
            });
            self.high_water.raise(
                self.high_water.mark().vote,
                lowest.min().flatten().min(self.high_water.mark().last),
            )?;
        }
        log.db.write(batch, true)?;
        self.high_water.raise(vote, end)?;
        *self.fsynced.lock() = end;
        Ok(())
    }
}

fn answer(group: Vec<Command>, result: &Result<(), Error>) {
    for command in group {
        match command {
            Command::Append {
                since, callback, ..
            } => {
                if result.is_ok() {
                    Stage::Append.took(since.elapsed());
                }
                callback.log_io_completed(result.clone().map_err(io::Error::other))
            }
            Command::Vote { done, .. }
            | Command::Truncate { done, .. }
            | Command::Purge { done, .. } => {
                // Nobody waits any more when openraft is shut down.
                let _ = done.send(result.clone());
            }
        }
    }
}
