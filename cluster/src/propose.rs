// SPDX-License-Identifier: EUPL-1.2
//! The leader's proposer: gathers submissions into batches, stamps and salts them, and tells each what became of it.
//!
//! While nothing is under way, whatever waits goes at once; while something is, submissions gather, and go when the batch is full or the way is
//! free. So a lone submission does not wait for company, and under load each fsync carries many.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ledger::entry::VerifiedEntry;
use ledger::finding::Findings;
use ledger::hash::Hash;
use ledger::number::EntryIndex;
use ledger::refusal::{Refusal, Refused};
use openraft::error::{ClientWriteError, RaftError};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::face::{Accepted, Failure, Outcome, Tuning, Until};
use crate::raft_types::{Batch, BatchItem, ItemResult, Raft, RaftLogId};
use crate::stage::Stage;
use crate::store::applied::Applied;

/// How long an answer is waited for that is due: applied here is told a moment before Raft answers.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// Batches under way at once, when all but the last are full.
const IN_FLIGHT_MAX: usize = 4;

/// A submission that waits for its place.
struct Submission {
    entry: VerifiedEntry,
    /// Drawn by the leader, or given with a genesis.
    salt: Option<[u8; 32]>,
    stamp_ms: Option<u64>,
    bytes: Bytes,
    answer: oneshot::Sender<Outcome>,
    queued: Instant,
    _waiting: Waiting,
}

/// How many submissions were taken and are not answered.
#[derive(Default)]
struct UnderWay {
    count: AtomicUsize,
    none: Notify,
}

impl UnderWay {
    /// Counts one more, if there are fewer than so many.
    fn one_more(self: &Arc<Self>, max: usize) -> Option<Waiting> {
        let before = self.count.fetch_add(1, Ordering::AcqRel);
        let waiting = Waiting(self.clone());
        (before < max).then_some(waiting)
    }

    /// Waits for a moment in which there is none.
    async fn none(&self) {
        let mut none = pin!(self.none.notified());
        // Before the count is looked at: the last may be answered in between.
        none.as_mut().enable();
        if self.count.load(Ordering::Acquire) > 0 {
            none.await;
        }
    }
}

/// Counts a submission from when it is taken until it is answered.
struct Waiting(Arc<UnderWay>);

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_waiters();
        }
    }
}

/// Handle to the proposer task.
#[derive(Clone)]
pub(crate) struct Proposer {
    queue: mpsc::UnboundedSender<Submission>,
    under_way: Arc<UnderWay>,
    waiting_max: usize,
}

impl Proposer {
    /// Starts the task; it ends when the last handle is dropped. `stamp_ms` tells the time to date entries with, none while this node may not.
    pub(crate) fn start(
        raft: Raft,
        applied: watch::Receiver<Applied>,
        tuning: &Tuning,
        stamp_ms: impl Fn() -> Option<u64> + Send + Sync + 'static,
    ) -> Proposer {
        let (queue, submissions) = mpsc::unbounded_channel();
        let task = Task {
            raft,
            applied,
            submissions,
            stamp_ms: Box::new(stamp_ms),
            entries_max: tuning.batch_entries_max.max(1),
            bytes_max: tuning.batch_bytes_max,
            in_flight: Arc::new(AtomicUsize::new(0)),
        };
        tokio::spawn(task.run());
        // Bounded by the count of what waits, not by the channel: the count includes what is under way.
        Proposer {
            queue,
            under_way: Arc::default(),
            waiting_max: tuning.queue_entries_max,
        }
    }

    /// Queues an entry. The answer may never come if the node stops: then nobody knows.
    pub(crate) fn submit(
        &self,
        entry: VerifiedEntry,
    ) -> Result<oneshot::Receiver<Outcome>, Failure> {
        self.queue(entry, None, None)
    }

    /// Queues the genesis, whose stamp follows from its bytes.
    pub(crate) fn submit_genesis(
        &self,
        entry: VerifiedEntry,
        stamp_ms: u64,
        salt: [u8; 32],
    ) -> Result<oneshot::Receiver<Outcome>, Failure> {
        self.queue(entry, Some(stamp_ms), Some(salt))
    }

    /// Waits for a moment in which no submission is under way here.
    pub(crate) async fn idle(&self) {
        self.under_way.none().await;
    }

    /// One more under way, until it is dropped.
    #[cfg(test)]
    pub(crate) fn busy(&self) -> impl Drop + use<> {
        self.under_way
            .one_more(usize::MAX)
            .unwrap_or_else(|| unreachable!())
    }

    fn queue(
        &self,
        entry: VerifiedEntry,
        stamp_ms: Option<u64>,
        salt: Option<[u8; 32]>,
    ) -> Result<oneshot::Receiver<Outcome>, Failure> {
        let waiting = self.under_way.one_more(self.waiting_max);
        let waiting = waiting.ok_or(Failure::Overloaded)?;
        let (answer, outcome) = oneshot::channel();
        let bytes = Bytes::from(entry.submitted().encode());
        let submission = Submission {
            entry,
            salt,
            stamp_ms,
            bytes,
            answer,
            queued: Instant::now(),
            _waiting: waiting,
        };
        self.queue
            .send(submission)
            .map_err(|_| Failure::ShuttingDown)?;
        Ok(outcome)
    }
}

struct Task {
    raft: Raft,
    applied: watch::Receiver<Applied>,
    submissions: mpsc::UnboundedReceiver<Submission>,
    stamp_ms: Box<dyn Fn() -> Option<u64> + Send + Sync>,
    entries_max: usize,
    bytes_max: usize,
    in_flight: Arc<AtomicUsize>,
}

impl Task {
    async fn run(mut self) {
        let (done, mut finished) = mpsc::unbounded_channel();
        let mut batch: Vec<Submission> = Vec::new();
        let mut bytes = 0;
        loop {
            let under_way = self.in_flight.load(Ordering::Acquire);
            let full = batch.len() >= self.entries_max || bytes >= self.bytes_max;
            if !batch.is_empty() && (under_way == 0 || (full && under_way < IN_FLIGHT_MAX)) {
                self.propose(std::mem::take(&mut batch), done.clone()).await;
                bytes = 0;
                continue;
            }
            tokio::select! {
                biased;
                submission = self.submissions.recv(), if !full => match submission {
                    Some(submission) => {
                        bytes += submission.bytes.len();
                        batch.push(submission);
                        // Take what is there already before looking at the way again.
                        while batch.len() < self.entries_max && bytes < self.bytes_max && let Ok(next) = self.submissions.try_recv() {
                            bytes += next.bytes.len();
                            batch.push(next);
                        }
                    }
                    None => return,
                },
                _ = finished.recv() => {}
            }
        }
    }

    /// Ends when raft_entries of a later term than this are applied here: what is proposed in this one stands before them, or never will.
    fn passed_by(&self) -> impl Future<Output = ()> + Send + 'static {
        let (mut server, mut applied) = (self.raft.server_metrics(), self.applied.clone());
        let term = server.borrow().vote.leader_id().term;
        async move {
            // Terms seldom change, and much is applied in each: so the term is waited for first.
            let voted = server.wait_for(|server| server.vote.leader_id().term > term);
            let voted = voted.await.is_ok();
            let is_later = |id: RaftLogId| id.leader_id.term > term;
            let passed = applied.wait_for(|applied| applied.raft_log_id.is_some_and(is_later));
            if !voted || passed.await.is_err() {
                // The node stops, and Raft lets go of those who wait.
                std::future::pending::<()>().await;
            }
        }
    }

    async fn propose(&self, submissions: Vec<Submission>, done: mpsc::UnboundedSender<()>) {
        let given = submissions.iter().find_map(|it| it.stamp_ms);
        // The clock was right when they were let in, and may have been set since: nobody looks at the stamp after this.
        let Some(stamp_ms) = given.or_else(|| (self.stamp_ms)()) else {
            for submission in submissions {
                let _ = submission.answer.send(Outcome::Failed(Failure::NoQuorum));
            }
            return;
        };
        let mut answers = Vec::with_capacity(submissions.len());
        let mut items = Vec::with_capacity(submissions.len());
        if let Some(first) = submissions.first() {
            Stage::Queue.took(first.queued.elapsed());
        }
        for submission in submissions {
            let Some(salt) = submission.salt.or_else(draw_salt) else {
                let _ = submission.answer.send(Outcome::Failed(Failure::NoQuorum));
                continue;
            };
            answers.push((submission.answer, submission._waiting));
            items.push(BatchItem::new(
                submission.bytes,
                salt,
                Some(Ok(submission.entry)),
            ));
        }
        metrics::histogram!("visto_batch_entries").record(items.len() as f64);
        let batch = Batch::new(stamp_ms, items);
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        let passed = self.passed_by();
        // In this task, so that batches reach Raft in the order in which they were gathered; the answer is awaited in another.
        let written = self.raft.client_write_ff(batch.clone()).await;
        let in_flight = self.in_flight.clone();
        tokio::spawn(async move {
            let outcomes = match written {
                Ok(receiver) => match answered(receiver, passed).await {
                    Some(Ok(Ok(response))) => response.data.0.into_iter().map(outcome).collect(),
                    Some(Ok(Err(error))) => failed(&batch, Some(RaftError::APIError(error))),
                    Some(Err(_)) => failed(&batch, None),
                    None => vec![Outcome::Unknown; batch.items.len()],
                },
                Err(fatal) => failed(&batch, Some(RaftError::Fatal(fatal))),
            };
            in_flight.fetch_sub(1, Ordering::AcqRel);
            let _ = done.send(());
            for ((answer, _waiting), outcome) in answers.into_iter().zip(outcomes) {
                // Who asked may be gone.
                let _ = answer.send(outcome);
            }
        });
    }
}

/// What Raft answers; none if it does not although the log went past the question. It forgets who waits for a raft_entry that an installed
/// raft_snapshot took the place of, and whoever led before and leads again would wait for it for ever.
async fn answered<A>(
    mut answer: impl Future<Output = A> + Unpin,
    passed: impl Future<Output = ()>,
) -> Option<A> {
    tokio::select! {
        biased;
        answer = &mut answer => Some(answer),
        () = passed => timeout(ANSWER_TIME, answer).await.ok(),
    }
}

/// 32 random bytes from the operating system.
fn draw_salt() -> Option<[u8; 32]> {
    let mut salt = [0; 32];
    getrandom::fill(&mut salt).ok().map(|()| salt)
}

/// A batch that reached this process's Raft log may yet be committed, by this leader or by the next, even if it was truncated here. One that did
/// not is gone.
fn failed(
    batch: &Batch,
    error: Option<RaftError<u64, ClientWriteError<u64, openraft::EmptyNode>>>,
) -> Vec<Outcome> {
    let outcome = match error {
        _ if batch.is_appended() => Outcome::Unknown,
        Some(RaftError::APIError(_)) => Outcome::Failed(Failure::NoQuorum),
        // Raft stopped: what was in its queue is never looked at.
        Some(RaftError::Fatal(_)) | None => Outcome::Failed(Failure::ShuttingDown),
    };
    vec![outcome; batch.items.len()]
}

fn outcome(result: ItemResult) -> Outcome {
    match result {
        ItemResult::Accepted {
            index,
            leaf_hash,
            accepted_at_ms,
            findings,
            again,
        } => Outcome::Accepted(Accepted {
            index: EntryIndex(index),
            leaf_hash: Hash(leaf_hash),
            accepted_at_ms,
            findings: Findings(findings),
            state: Until::Committed,
            again,
        }),
        ItemResult::Refused { code, pointer } => match Refusal::from_code(&code) {
            Some(refusal) => Outcome::Refused(Refused { refusal, pointer }),
            // Apply ran in this process, so it knows no other codes; if ever, the outcome is not known here.
            None => Outcome::Unknown,
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )]
    use futures::FutureExt;
    use openraft::error::{Fatal, ForwardToLeader};

    use super::*;

    #[tokio::test]
    async fn it_is_idle_when_the_last_submission_is_answered() {
        let under_way = Arc::new(UnderWay::default());
        under_way.none().await;
        let first = under_way.one_more(2).unwrap();
        let second = under_way.one_more(2).unwrap();
        assert!(under_way.one_more(2).is_none());
        let mut idle = pin!(under_way.none());
        let mut is_idle = move || idle.as_mut().now_or_never().is_some();
        assert!(!is_idle());
        drop(first);
        assert!(!is_idle());
        drop(second);
        assert!(is_idle());
    }

    #[tokio::test]
    async fn an_answer_that_never_comes_is_not_waited_for_once_the_log_went_past() {
        let (_kept, forgotten) = oneshot::channel::<()>();
        assert!(answered(forgotten, std::future::ready(())).await.is_none());
        let (sender, late) = oneshot::channel();
        sender.send(1).unwrap();
        assert_eq!(answered(late, std::future::ready(())).await, Some(Ok(1)));
        let (sender, given_up) = oneshot::channel::<()>();
        drop(sender);
        let never = std::future::pending::<()>();
        assert!(
            answered(given_up, never)
                .await
                .is_some_and(|answer| answer.is_err())
        );
    }

    #[test]
    fn only_what_never_reached_the_log_certainly_was_not_written() {
        let batch = || Batch::new(1, vec![BatchItem::new(Bytes::new(), [0; 32], None)]);
        let not_leader = || {
            Some(RaftError::APIError(ClientWriteError::ForwardToLeader(
                ForwardToLeader::empty(),
            )))
        };
        let stopped = || Some(RaftError::Fatal(Fatal::Stopped));
        assert_eq!(
            failed(&batch(), not_leader()),
            [Outcome::Failed(Failure::NoQuorum)]
        );
        assert_eq!(
            failed(&batch(), stopped()),
            [Outcome::Failed(Failure::ShuttingDown)]
        );
        assert_eq!(
            failed(&batch(), None),
            [Outcome::Failed(Failure::ShuttingDown)]
        );
        // A truncated raft_entry may live on in another node's log and be committed by the next leader.
        for error in [not_leader(), stopped(), None] {
            let batch = batch();
            batch.mark_appended();
            assert_eq!(failed(&batch, error), [Outcome::Unknown]);
        }
    }
}
