// SPDX-License-Identifier: EUPL-1.2
//! The way into this node's own Raft: for its own callers when it leads, and for peers that hand entries on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use ledger::admission::{self, LedgerInfo};
use ledger::body::Content;
use ledger::entry::{SubmittedEntry, VerifiedEntry};
use ledger::number::{EntryIndex, TreeSize};
use ledger::refusal::{Refusal, Refused};
use openraft::error::{CheckIsLeaderError, RaftError};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

use crate::clock::{Clock, Offsets};
use crate::error::Error;
use crate::face::{Accepted, Failure, Outcome, Published, Until};
use crate::propose::Proposer;
use crate::raft_types::Raft;
use crate::stage::Stage;
use crate::store::fold::Done;
use crate::store::known::Known;
use crate::store::machine::Machine;
use crate::store::verify::{OrReturned, VerifyPool};
use crate::store::view::View;

/// So few are checked in the time that it takes to wake another thread for it.
const CHECKED_HERE_MAX: usize = 2;

/// What it takes to bring entries into this node's own Raft; the peer listener holds one too.
#[derive(Clone)]
pub(super) struct Here {
    pub(super) raft: Raft,
    pub(super) machine: Machine,
    pub(super) verifier: VerifyPool,
    pub(super) proposer: Proposer,
    pub(super) ledger: LedgerInfo,
    pub(super) clock: Clock,
    pub(super) offsets: Arc<Offsets>,
    pub(super) quorum_lost_after: Duration,
    pub(super) published: watch::Receiver<Option<Arc<Published>>>,
    /// The last term in which this leader had applied all that was committed before it led; 0 = none.
    pub(super) caught_up_in: Arc<AtomicU64>,
}

impl Here {
    pub(super) async fn verify(
        &self,
        entries: Vec<SubmittedEntry>,
    ) -> Result<Vec<OrReturned>, Error> {
        let since = Instant::now();
        let verified = self.verifier.verify(entries).await;
        Stage::Verify.took(since.elapsed());
        self.machine.sound(verified)
    }

    /// Bytes that a peer handed on: verified like any others.
    pub(super) async fn submit_bytes(
        &self,
        entries: Vec<Bytes>,
        until: Until,
        deadline: Duration,
    ) -> Vec<Outcome> {
        let end = Instant::now() + deadline;
        let count = entries.len();
        let decoded: Result<Vec<SubmittedEntry>, _> = entries
            .iter()
            .map(|bytes| SubmittedEntry::decode(bytes))
            .collect();
        // A peer of ours verified them; one that sends anything else gets nothing.
        let Ok(decoded) = decoded else {
            return vec![Outcome::Failed(Failure::ShuttingDown); count];
        };
        if !self.caught_up(end).await {
            return vec![Outcome::Failed(Failure::NoQuorum); count];
        }
        let Ok(verified) = self.verify(decoded).await else {
            return vec![Outcome::Failed(Failure::ShuttingDown); count];
        };
        let mut outcomes = Vec::with_capacity(count);
        let (good, bad): (Vec<_>, Vec<_>) = verified
            .into_iter()
            .enumerate()
            .partition(|(_, verified)| verified.is_ok());
        let (places, good): (Vec<_>, Vec<_>) = good
            .into_iter()
            .filter_map(|(place, verified)| Some((place, verified.ok()?)))
            .unzip();
        outcomes.extend(bad.into_iter().filter_map(|(place, verified)| {
            let (refused, _) = verified.err()?;
            Some((place, Outcome::Refused(refused)))
        }));
        outcomes.extend(places.into_iter().zip(self.submit(good, until, end).await));
        outcomes.sort_by_key(|(place, _)| *place);
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }

    /// Into this node's own Raft, which is expected to lead.
    pub(super) async fn submit(
        &self,
        entries: Vec<VerifiedEntry>,
        until: Until,
        end: Instant,
    ) -> Vec<Outcome> {
        if !self.offsets.clock_ok() || !self.has_quorum() || !self.caught_up(end).await {
            return vec![Outcome::Failed(Failure::NoQuorum); entries.len()];
        }
        let entries = match self.precheck(entries).await {
            Ok(entries) => entries,
            Err(count) => return vec![Outcome::Failed(Failure::ShuttingDown); count],
        };
        let queued: Vec<_> = entries
            .into_iter()
            .map(|entry| entry.map(|entry| self.proposer.submit(entry)))
            .collect();
        let answers = queued.into_iter().map(|queued| async {
            match queued {
                Err(outcome) => outcome,
                Ok(Err(failure)) => Outcome::Failed(failure),
                Ok(Ok(answer)) => outcome_by(answer, end).await,
            }
        });
        let mut outcomes = join_all(answers).await;
        self.await_published(&mut outcomes, until, end).await;
        outcomes
    }

    /// Answers at the door what the state as of now can answer, and spares the log: what it refuses is kept nowhere, and what it knows gets
    /// the answer that it got first. Apply judges again what passes.
    pub(super) async fn precheck(
        &self,
        entries: Vec<VerifiedEntry>,
    ) -> Result<Vec<Result<VerifiedEntry, Outcome>>, usize> {
        let count = entries.len();
        let (machine, ledger, now_ms) = (
            self.machine.clone(),
            self.ledger.clone(),
            self.clock.now_ms(),
        );
        let check_all = move || {
            let view = machine.view()?;
            let next = view.size().next_index();
            let done = machine.folds().borrow().done;
            let known_of_it = Known::default();
            let asked = entries.iter();
            let asked = asked.flat_map(|entry| admission::asked_at_door(entry, now_ms));
            known_of_it.fetch(asked, |keys| view.values_of(keys))?;
            let state = known_of_it.over(&view);
            let check = |entry: VerifiedEntry| match admission::precheck(
                &state, &entry, next, now_ms, &ledger,
            )? {
                Ok(None) => Ok(folded_here(entry, &done)),
                Ok(Some(index)) => Ok(Err(known(&view, index)?)),
                Err(refused) => Ok(Err(Outcome::Refused(refused))),
            };
            entries
                .into_iter()
                .map(check)
                .collect::<Result<Vec<_>, Error>>()
        };
        let checked = if count <= CHECKED_HERE_MAX {
            Ok(check_all())
        } else {
            tokio::task::spawn_blocking(check_all).await
        };
        checked.ok().and_then(Result::ok).ok_or(count)
    }

    /// Waits, once in each term that it leads, until this node has applied what was committed before. Earlier its view lags: a key that an
    /// institution was told is registered would be unknown, and an entry that stands in the log already would be refused for good.
    async fn caught_up(&self, end: Instant) -> bool {
        // Read before the index is asked for: should another term begin meanwhile, the next caller asks again.
        let term = self.raft.metrics().borrow().current_term;
        if term != 0 && self.caught_up_in.load(Ordering::Acquire) == term {
            return true;
        }
        let Ok(Some(index)) = timeout_at(end, self.read_index()).await else {
            return false;
        };
        let mut applied = self.machine.applied();
        let reached =
            applied.wait_for(|applied| applied.raft_log_id.map_or(0, |id| id.index) >= index);
        let reached = matches!(timeout_at(end, reached).await, Ok(Ok(_)));
        if reached {
            self.caught_up_in.store(term, Ordering::Release);
        }
        reached
    }

    /// Whether a quorum answered this leader lately. Without one a proposal would wait for its deadline and its outcome be unknown.
    fn has_quorum(&self) -> bool {
        let metrics = self.raft.data_metrics();
        let since = metrics.borrow().millis_since_quorum_ack;
        since.is_none_or(|since| u128::from(since) <= self.quorum_lost_after.as_millis())
    }

    /// The raft_index that a linearizable read must wait for; none if this node does not lead a quorum.
    pub(super) async fn read_index(&self) -> Option<u64> {
        // Confirming would renew the lead that a leader with a wrong clock wants to be rid of.
        if !self.offsets.clock_ok() {
            return None;
        }
        match self.raft.get_read_log_id().await {
            Ok((read, _)) => Some(read.map_or(0, |id| id.index)),
            Err(
                RaftError::APIError(
                    CheckIsLeaderError::ForwardToLeader(_) | CheckIsLeaderError::QuorumNotEnough(_),
                )
                | RaftError::Fatal(_),
            ) => None,
        }
    }

    pub(super) async fn await_published(
        &self,
        outcomes: &mut [Outcome],
        until: Until,
        end: Instant,
    ) {
        let sizes = outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Accepted(accepted) => Some(accepted.index.size()),
            _ => None,
        });
        let Some(size) = sizes.max().filter(|_| until == Until::Published) else {
            return;
        };
        let mut published = self.published.clone();
        // Late or not, each is told as far as it came.
        let _ = timeout_at(
            end,
            published.wait_for(|newest| newest.as_ref().is_some_and(|newest| newest.size >= size)),
        )
        .await;
        let reached = published
            .borrow()
            .as_ref()
            .map_or(TreeSize::EMPTY, |newest| newest.size);
        for outcome in outcomes {
            if let Outcome::Accepted(accepted) = outcome {
                accepted.state = if reached.holds(accepted.index) {
                    Until::Published
                } else {
                    Until::Committed
                };
            }
        }
    }
}

/// Any node's key signs a `state-root` entry that passes the ledger's rules, and a wrong root in the log stops every node that folded the right
/// one. So whoever leads lets in what it folded itself, whoever signed it and however it came, and nothing else.
fn folded_here(entry: VerifiedEntry, done: &Done) -> Result<VerifiedEntry, Outcome> {
    match &entry.body().content {
        Content::StateRoot(root)
            if (root.version, root.size, root.root.0) != (done.version, done.size, done.root) =>
        {
            let pointer = "/envelope/payload/state-root".to_owned();
            let refused = Refused::new(Refusal::StateRoot, pointer);
            Err(Outcome::Refused(refused))
        }
        _ => Ok(entry),
    }
}

/// The answer that an entry got when it came first.
fn known(view: &View, index: EntryIndex) -> Result<Outcome, Error> {
    let stored = view
        .entry(index)?
        .ok_or_else(|| Error::corrupt(format!("entry {index} is missing")))?;
    Ok(Outcome::Accepted(Accepted {
        index,
        leaf_hash: stored.leaf_hash(),
        accepted_at_ms: stored.meta.accepted_at_ms,
        findings: stored.meta.findings,
        state: Until::Committed,
        again: true,
    }))
}

async fn outcome_by(answer: oneshot::Receiver<Outcome>, end: Instant) -> Outcome {
    match timeout_at(end, answer).await {
        Ok(Ok(outcome)) => outcome,
        // Late, or the proposer ended with the submission in its hands.
        Ok(Err(_)) | Err(_) => Outcome::Unknown,
    }
}
