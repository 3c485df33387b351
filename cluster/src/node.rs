// SPDX-License-Identifier: EUPL-1.2
//! [`Node`]: the one face of this crate. Opens a node, takes submissions, gives views.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ledger::admission::LedgerInfo;
use ledger::body::{Body, Common, Content, Reference};
use ledger::entry::{SubmittedEntry, VerifiedEntry};
use ledger::id::{EntryId, NodeNumber};
use ledger::key::SigningKey;
use ledger::number::TreeSize;
use ledger::refusal::{Refusal, Refused};
use ledger::state::registry;
use openraft::ServerState;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use self::here::Here;
use self::receipts::Receipts;
use crate::error::{Error, ErrorKind};
use crate::face::{Config, Failure, Outcome, Published, Role, Status, Until};
use crate::fold::leader::Pace;
use crate::net::Net;
use crate::store;
use crate::store::fatal::Fatal;
use crate::store::log::Log;
use crate::store::size::{StoreBytes, WriteStall};
use crate::store::verify::OrReturned;
use crate::store::view::View;
use crate::tasks::Beside;

#[cfg(test)]
mod cut_tests;
mod erasing;
mod fold;
mod here;
pub(crate) mod open;
mod receipts;
#[cfg(test)]
mod tests;

/// How long to wait before looking for a leader again.
const LEADER_PAUSE: Duration = Duration::from_millis(50);
/// How long a node that meets an unknown key tries to catch up with the leader.
const CATCH_UP: Duration = Duration::from_secs(2);

/// A running node. Clones are handles to the same one.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    node: NodeNumber,
    ledger: LedgerInfo,
    here: Here,
    net: Net,
    node_key: SigningKey,
    published: watch::Receiver<Option<Arc<Published>>>,
    pace: Pace,
    fatal: Fatal,
    log: Log,
    erasing: Beside,
    trimming: Beside,
    receipts: Arc<Receipts>,
}

impl Node {
    /// Opens or creates the node's store, checks it, and starts Raft, the peer listener and the publisher. The lowest node of the genesis
    /// founds the Raft group; whoever leads an empty ledger proposes the genesis.
    ///
    /// # Errors
    /// The configuration contradicts itself or what is stored; the store cannot be opened, or is not what was written: the error names the
    /// file or key. A node whose log lost its end is refused and must be replaced.
    pub async fn open(config: Config) -> Result<Node, Error> {
        let node = Node(Arc::new(open::open(config).await?));
        node.lead_folds();
        node.start_erasing();
        Ok(node)
    }

    /// Which ledger and shard this is.
    pub fn info(&self) -> &LedgerInfo {
        &self.0.ledger
    }

    /// Which node this is.
    pub fn number(&self) -> NodeNumber {
        self.0.node
    }

    /// Verifies entries on all cores: bytes, signatures, disclosures. What fails here need not be submitted.
    ///
    /// A key that this node does not know may have been registered through another one a moment ago: then it catches up once before it says so.
    ///
    /// # Errors
    /// The registered keys cannot be read.
    pub async fn verify(
        &self,
        entries: Vec<SubmittedEntry>,
    ) -> Result<Vec<Result<VerifiedEntry, Refused>>, Error> {
        let mut verified = self.0.here.verify(entries).await?;
        let unknown = |result: &OrReturned| matches!(result, Err((refused, _)) if refused.refusal == Refusal::KeyUnknown);
        if verified.iter().any(unknown) && self.linearizable(CATCH_UP).await.is_ok() {
            let (mut places, mut again) = (Vec::new(), Vec::new());
            let mut settled = Vec::with_capacity(verified.len());
            for (place, result) in verified.into_iter().enumerate() {
                match result {
                    Err((refused, entry)) if refused.refusal == Refusal::KeyUnknown => {
                        places.push(place);
                        again.push(entry);
                    }
                    result => settled.push((place, result)),
                }
            }
            let again = self.0.here.verify(again).await?;
            settled.extend(places.into_iter().zip(again));
            settled.sort_by_key(|(place, _)| *place);
            verified = settled.into_iter().map(|(_, result)| result).collect();
        }
        let refused = |(refused, _)| refused;
        Ok(verified
            .into_iter()
            .map(|result| result.map_err(refused))
            .collect())
    }

    /// Submits entries, through the leader wherever it is. One outcome for each, in order; entries of one call are placed in that order, unless
    /// some are refused.
    ///
    /// Answers when all are committed, or published, or at the deadline. An entry that was not published in time is accepted with state
    /// `Committed`; one that was not committed in time is `Unknown`.
    pub async fn submit(
        &self,
        entries: Vec<VerifiedEntry>,
        until: Until,
        deadline: Duration,
    ) -> Vec<Outcome> {
        let end = Instant::now() + deadline;
        loop {
            let outcomes = match self.leader_by(end).await {
                None => vec![Outcome::Failed(Failure::NoQuorum); entries.len()],
                Some(leader) if leader == self.0.node => {
                    self.0.here.submit(entries.clone(), until, end).await
                }
                Some(leader) => self.forward(leader, &entries, until, end).await,
            };
            // The leader may just have changed: nothing was written, so it may be tried again.
            let none_written = outcomes
                .iter()
                .all(|outcome| *outcome == Outcome::Failed(Failure::NoQuorum));
            if !none_written || entries.is_empty() || Instant::now() + LEADER_PAUSE >= end {
                return outcomes;
            }
            tokio::time::sleep(LEADER_PAUSE).await;
        }
    }

    async fn forward(
        &self,
        leader: NodeNumber,
        entries: &[VerifiedEntry],
        until: Until,
        end: Instant,
    ) -> Vec<Outcome> {
        let verifier = &self.0.here.verifier;
        let bytes: Vec<Bytes> = entries
            .iter()
            .map(|entry| {
                let bytes = Bytes::from(entry.submitted().encode());
                verifier.sent(bytes.clone(), entry.clone());
                bytes
            })
            .collect();
        let time = end.saturating_duration_since(Instant::now());
        let mut outcomes = self
            .0
            .net
            .peers
            .forward_submit(leader, bytes.clone(), until, time)
            .await;
        for (bytes, outcome) in bytes.iter().zip(&outcomes) {
            if !comes_back(outcome) {
                verifier.forget(bytes);
            }
        }
        // The receipt is made here, so the checkpoint must have arrived here.
        self.0.here.await_published(&mut outcomes, until, end).await;
        outcomes
    }

    /// Signs and submits an entry of this node's own.
    pub async fn write_own(
        &self,
        content: Content,
        disclosures: Vec<String>,
        until: Until,
        deadline: Duration,
    ) -> Outcome {
        self.write_own_about(None, content, disclosures, until, deadline)
            .await
    }

    /// As [`Node::write_own`], about another entry.
    pub async fn write_own_about(
        &self,
        refers_to: Option<Reference>,
        content: Content,
        disclosures: Vec<String>,
        until: Until,
        deadline: Duration,
    ) -> Outcome {
        let signed = match self.sign_own(refers_to, content, disclosures) {
            Ok(signed) => signed,
            Err(outcome) => return outcome,
        };
        self.submit_own(vec![signed], until, deadline)
            .await
            .pop()
            .unwrap_or(Outcome::Unknown)
    }

    /// Signs entries of this node's own and submits them together, as [`Node::submit`] does: each a content with its disclosures. One outcome
    /// for each, in order. If one cannot be signed or verified, none is submitted, and each gets its outcome.
    pub async fn write_all_own(
        &self,
        contents: Vec<(Content, Vec<String>)>,
        until: Until,
        deadline: Duration,
    ) -> Vec<Outcome> {
        let count = contents.len();
        let signed: Result<Vec<_>, _> = contents
            .into_iter()
            .map(|(content, disclosures)| self.sign_own(None, content, disclosures))
            .collect();
        match signed {
            Ok(signed) => self.submit_own(signed, until, deadline).await,
            Err(outcome) => vec![outcome; count],
        }
    }

    fn sign_own(
        &self,
        refers_to: Option<Reference>,
        content: Content,
        disclosures: Vec<String>,
    ) -> Result<SubmittedEntry, Outcome> {
        let own = self
            .view()
            .and_then(|view| registry::node(&view, self.0.node));
        let institution = match own {
            Ok(Some(record)) => record.institution,
            // Its own `node` entry is not applied here yet.
            Ok(None) => return Err(Outcome::Failed(Failure::NoQuorum)),
            Err(_) => return Err(Outcome::Failed(Failure::ShuttingDown)),
        };
        let now_ms = self.0.here.clock.now_ms();
        let mut random = [0; 10];
        if getrandom::fill(&mut random).is_err() {
            return Err(Outcome::Failed(Failure::NoQuorum));
        }
        let common = Common {
            ledger: self.0.ledger.name.clone(),
            id: EntryId::from_parts(now_ms, &random),
            institution,
            occurred_at_ms: now_ms,
            refers_to,
            stream: None,
        };
        let payload = Body { common, content }.to_json();
        SubmittedEntry::sign(payload.as_bytes(), &[&self.0.node_key], disclosures)
            .map_err(Outcome::Refused)
    }

    async fn submit_own(
        &self,
        signed: Vec<SubmittedEntry>,
        until: Until,
        deadline: Duration,
    ) -> Vec<Outcome> {
        let count = signed.len();
        let Ok(verified) = self.verify(signed).await else {
            return vec![Outcome::Failed(Failure::ShuttingDown); count];
        };
        match verified.into_iter().collect::<Result<Vec<_>, _>>() {
            Ok(entries) => self.submit(entries, until, deadline).await,
            Err(refused) => vec![Outcome::Refused(refused); count],
        }
    }

    /// The ledger as applied here: consistent in itself, perhaps behind the cluster. It names its tree size.
    ///
    /// # Errors
    /// The node had a fatal error.
    pub fn view(&self) -> Result<View, Error> {
        self.0.here.machine.view()
    }

    /// A view that holds everything that was acknowledged before this call, by any node.
    ///
    /// # Errors
    /// `NoQuorum` if no leader with a quorum answered in time.
    pub async fn linearizable(&self, deadline: Duration) -> Result<View, Error> {
        let end = Instant::now() + deadline;
        let no_quorum = || Error::new(ErrorKind::NoQuorum, "no leader with a quorum answered");
        loop {
            let leader = self.leader_by(end).await.ok_or_else(no_quorum)?;
            let index = if leader == self.0.node {
                timeout_at(end, self.0.here.read_index())
                    .await
                    .map_err(|_| no_quorum())?
            } else {
                let time = end.saturating_duration_since(Instant::now());
                self.0.net.peers.read_index(leader, time).await.ok()
            };
            if let Some(index) = index {
                let mut applied = self.0.here.machine.applied();
                let reached = applied
                    .wait_for(|applied| applied.raft_log_id.is_some_and(|id| id.index >= index));
                timeout_at(end, reached)
                    .await
                    .map_err(|_| no_quorum())?
                    .map_err(|_| no_quorum())?;
                return self.view();
            }
            if Instant::now() + LEADER_PAUSE >= end {
                return Err(no_quorum());
            }
            tokio::time::sleep(LEADER_PAUSE).await;
        }
    }

    /// A view of at least this size, as soon as this node has applied so much.
    ///
    /// # Errors
    /// `NoQuorum` if it has not by the deadline.
    pub async fn view_at_least(&self, size: TreeSize, deadline: Duration) -> Result<View, Error> {
        let mut applied = self.0.here.machine.applied();
        let reached = applied.wait_for(|applied| applied.tree_size >= size.0);
        let late = || {
            Error::new(
                ErrorKind::NoQuorum,
                format!("size {size} was not applied in time"),
            )
        };
        timeout_at(Instant::now() + deadline, reached)
            .await
            .map_err(|_| late())?
            .map_err(|_| late())?;
        self.view()
    }

    /// The newest published checkpoint known here.
    pub fn published(&self) -> Option<Arc<Published>> {
        self.0.published.borrow().clone()
    }

    /// A published checkpoint of at least this size, as soon as there is one here.
    ///
    /// # Errors
    /// `NoQuorum` at the deadline: publishing waits for a majority of nodes.
    pub async fn published_at_least(
        &self,
        size: TreeSize,
        deadline: Duration,
    ) -> Result<Arc<Published>, Error> {
        let late = || {
            Error::new(
                ErrorKind::NoQuorum,
                format!("no checkpoint of size {size} was published in time"),
            )
        };
        let mut published = self.0.published.clone();
        let reached =
            published.wait_for(|newest| newest.as_ref().is_some_and(|newest| newest.size >= size));
        let newest = timeout_at(Instant::now() + deadline, reached)
            .await
            .map_err(|_| late())?
            .map_err(|_| late())?;
        newest.clone().ok_or_else(late)
    }

    /// The root that each other node computed at a size: none from one that has not applied so much, the reason from one that did not answer.
    pub async fn roots(
        &self,
        size: TreeSize,
        deadline: Duration,
    ) -> BTreeMap<NodeNumber, Result<Option<ledger::hash::Hash>, String>> {
        let status = self.status();
        let nodes = status.voters.into_iter().chain(status.learners);
        let answers = self.0.net.roots(nodes, size, deadline).await;
        answers
            .into_iter()
            .map(|(node, answer)| (node, answer.map_err(|error| error.to_string())))
            .collect()
    }

    /// How the node is doing.
    pub fn status(&self) -> Status {
        let metrics = self.0.here.raft.metrics().borrow().clone();
        let applied_size = self.0.here.machine.applied().borrow().tree_size;
        let folds = *self.0.here.machine.folds().borrow();
        let members = metrics.membership_config.membership();
        let index = |id: Option<crate::raft_types::RaftLogId>| id.map_or(0, |id| id.index);
        let matched = metrics
            .replication
            .as_ref()
            .into_iter()
            .flatten()
            .map(|(node, id)| (NodeNumber(*node), index(*id)))
            .collect();
        let stopped = metrics.running_state.is_err() || self.0.fatal.check().is_err();
        Status {
            node: self.0.node,
            leader: metrics.current_leader.map(NodeNumber),
            term: metrics.current_term,
            role: if stopped {
                Role::Shutdown
            } else {
                role(metrics.state)
            },
            applied_size: TreeSize(applied_size),
            published_size: self
                .published()
                .map_or(TreeSize::EMPTY, |published| published.size),
            folded_size: TreeSize(folds.done.size),
            state_root_version: folds.stated_version(),
            raft_last: metrics.last_log_index.unwrap_or_default(),
            raft_applied: index(metrics.last_applied),
            raft_snapshot: index(metrics.snapshot),
            raft_purged: index(metrics.purged),
            voters: members.voter_ids().map(NodeNumber).collect(),
            learners: members.learner_ids().map(NodeNumber).collect(),
            matched,
            clock_offset_ms: self.0.net.clock_offset_ms(),
            healthy: !stopped && metrics.current_leader.is_some(),
        }
    }

    /// What its files take on disk. Reads no file.
    ///
    /// # Errors
    /// RocksDB does not answer.
    pub fn store_bytes(&self) -> Result<Vec<StoreBytes>, Error> {
        store::size::of(&self.0.log, &self.0.here.machine)
    }

    /// How far its databases hold back who writes. Reads no file.
    ///
    /// # Errors
    /// RocksDB does not answer.
    pub fn write_stalls(&self) -> Result<[WriteStall; 2], Error> {
        store::size::stalls(&self.0.log, &self.0.here.machine)
    }

    /// Resolves when the node must stop. The process then exits, naming the cause; starting it again is how it recovers, if it can.
    pub async fn fatal(&self) -> Error {
        let mut metrics = self.0.here.raft.metrics();
        let raft_stopped = async {
            match metrics
                .wait_for(|metrics| metrics.running_state.is_err())
                .await
            {
                Ok(metrics) => format!("{:?}", metrics.running_state),
                Err(_) => "Raft is gone".into(),
            }
        };
        tokio::select! {
            error = self.0.fatal.wait() => error,
            why = raft_stopped => match self.0.fatal.check() {
                // The store's own error is the cause, and says more.
                Err(error) => error,
                Ok(()) => Error::new(ErrorKind::Raft, format!("Raft stopped: {why}")),
            },
        }
    }

    /// Stops the node in good order: no more submissions, Raft ended, what is applied flushed.
    pub async fn shutdown(self) {
        self.0.erasing.stop().await;
        self.0.trimming.stop().await;
        self.0.net.stop().await;
        if let Err(error) = self.0.here.raft.shutdown().await {
            tracing::warn!(%error, "Raft did not end in good order");
        }
        let machine = self.0.here.machine.clone();
        let flushed = tokio::task::spawn_blocking(move || {
            // Not needed for safety: the Raft log has it all. It spares the next start the replay.
            let flushed = machine.flush();
            // The eraser may be in a compaction that takes hours.
            machine.give_up();
            flushed
        });
        if let Ok(Err(error)) = flushed.await {
            tracing::warn!(%error, "the state was not flushed");
        }
    }

    /// The leader that this node follows, as soon as it knows one.
    async fn leader_by(&self, end: Instant) -> Option<NodeNumber> {
        let mut metrics = self.0.here.raft.server_metrics();
        let known = metrics.wait_for(|metrics| metrics.current_leader.is_some());
        let metrics = timeout_at(end, known).await.ok()?.ok()?;
        metrics.current_leader.map(NodeNumber)
    }
}

/// Whether an entry that was sent to the leader may come back through the log.
fn comes_back(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Accepted(accepted) => !accepted.again,
        Outcome::Refused(_) | Outcome::Failed(_) => false,
        Outcome::Unknown => true,
    }
}

fn role(state: ServerState) -> Role {
    match state {
        ServerState::Leader => Role::Leader,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Learner => Role::Learner,
        ServerState::Shutdown => Role::Shutdown,
    }
}
