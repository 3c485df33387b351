// SPDX-License-Identifier: EUPL-1.2
//! Collects cosignatures on the leader and publishes.
//!
//! One round at a time: a size is fixed, everybody is asked at once, and as soon as a majority has signed, the note goes through Raft, while the
//! next one is signed. What was applied meanwhile is in the next round, so a slow disk makes rounds larger, not more. A node that is slow or dead
//! is asked and not waited for.
//!
//! A round takes some milliseconds of all nodes' time. So it waits, for a moment at most, until no entry is under way that would be in the next:
//! those who sent at the same time get their receipts together, and a lone entry waits for nobody.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use ledger::{
    hash::Hash,
    id::NodeNumber,
    key::SigningKey,
    merkle,
    note::{Note, SignatureLine},
    number::TreeSize,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    cosigner::Cosigner,
    keeper::Keeper,
    quorum::{Names, Quorum, is_majority},
};
use crate::{
    error::Error,
    peer::{client::Peers, rpc::Cosign},
    propose::Proposer,
    raft_types::{Batch, Raft},
    store::{fold::first_unfolded, machine::Machine},
};

/// The leader's side of publishing.
pub(crate) struct Publisher {
    pub(crate) node: NodeNumber,
    pub(crate) names: Names,
    /// The log keys that this node holds; the one in force at a size signs it.
    pub(crate) log_keys: Vec<SigningKey>,
    pub(crate) cosigner: Arc<Cosigner>,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) peers: Peers,
    pub(crate) raft: Raft,
    pub(crate) proposer: Proposer,
    pub(crate) machine: Machine,
    pub(crate) tasks: TaskTracker,
    /// Least time from the start of one round to the start of the next.
    pub(crate) interval: Duration,
    /// So long at most a round waits for entries that are under way.
    pub(crate) gather: Duration,
}

impl Publisher {
    /// Runs rounds while this node leads, until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let rounds = Arc::new(self).rounds(stop.clone());
        stop.run_until_cancelled(rounds).await;
    }

    async fn rounds(self: Arc<Self>, stop: CancellationToken) {
        let mut applied = self.machine.applied();
        let mut leadership = self.raft.server_metrics();
        let mut warned: Option<Instant> = None;
        let mut stated = Stated {
            size: TreeSize::EMPTY,
            committing: None,
        };
        loop {
            let leads = leadership.borrow_and_update().current_leader == Some(self.node.0);
            let size = TreeSize(applied.borrow_and_update().tree_size);
            let done = if leads && size > stated.size.max(self.keeper.newest_size()) {
                let _ = timeout(self.gather, self.proposer.idle()).await;
                if leadership.borrow().current_leader != Some(self.node.0) {
                    continue;
                }
                self.clone().round(&mut stated, &stop).await
            } else {
                let changed = tokio::select! {
                    // Followers are not woken for each raft_entry.
                    changed = applied.changed(), if leads => changed.map(Ok).ok(),
                    changed = leadership.changed() => changed.map(Ok).ok(),
                    committed = stated.committed(), if stated.committing.is_some() => Some(committed),
                };
                let Some(changed) = changed else {
                    return;
                };
                changed
            };
            if let Err(failure) = done {
                stated.size = TreeSize::EMPTY;
                metrics::counter!("visto_publish_rounds_failed_total").increment(1);
                if warned.is_none_or(|when| when.elapsed() > WARN_PERIOD) {
                    tracing::warn!(%failure, size = size.0, "nothing published");
                    warned = Some(Instant::now());
                }
                sleep(RETRY_PAUSE).await;
            }
        }
    }

    /// Has the tree signed as it is applied now, while the checkpoint before goes through Raft, and then puts it there.
    async fn round(
        self: Arc<Self>,
        stated: &mut Stated,
        stop: &CancellationToken,
    ) -> Result<(), RoundFailure> {
        let start = Instant::now();
        let signed = self.signed(stated.size).await;
        // One at a time, so that they stand in the log in the order of their sizes.
        stated.committed().await?;
        let (size, note) = signed?;
        stated.size = size;
        let (publisher, stop, interval) = (self.clone(), stop.clone(), self.interval);
        stated.committing = Some(self.tasks.spawn(async move {
            let committing = publisher.commit(size, note, start);
            let committed = stop.run_until_cancelled(committing).await;
            committed.unwrap_or(Err(RoundFailure::Stopped))
        }));
        sleep_until(start + interval).await;
        Ok(())
    }

    /// A majority's signatures under the tree as it is applied now, which must have grown beyond `stated` and what is published.
    async fn signed(&self, stated: TreeSize) -> Result<(TreeSize, String), RoundFailure> {
        let voters = self.voters();
        let Pinned { size, root, quorum } = self.pin(stated, voters.clone()).await?;
        let log_key = quorum.log.as_ref().and_then(|key| {
            self.log_keys
                .iter()
                .find(|own| own.public() == *key.public())
        });
        let log_key = log_key.ok_or(RoundFailure::NoLogKey)?;
        let text = self.names.checkpoint_text(size, root);

        let until = Instant::now() + ROUND_TIME;
        let mut answers: FuturesUnordered<_> = quorum
            .asked()
            .map(|node| self.line_of(node, size, root))
            .collect();
        let mut lines: BTreeMap<NodeNumber, SignatureLine> = BTreeMap::new();
        loop {
            let signed: BTreeSet<NodeNumber> = lines.keys().copied().collect();
            // Of both sets while a change of nodes is open: those in force, and those that vote.
            if quorum.is_met_by(&signed) && is_majority(&signed, &voters) {
                break;
            }
            let Ok(Some((node, answer))) = timeout_at(until, answers.next()).await else {
                return Err(RoundFailure::NoMajority(signed.len()));
            };
            match answer {
                Ok(line) => match quorum.verify_line(node, &text, &line) {
                    Some(line) => {
                        lines.insert(node, line);
                    }
                    None => {
                        tracing::error!(peer = node.0, size = size.0, "a cosignature does not hold")
                    }
                },
                Err(reason) => {
                    metrics::counter!("visto_cosign_refused_total").increment(1);
                    tracing::debug!(peer = node.0, size = size.0, reason, "no cosignature");
                }
            }
        }
        lines.retain(|node, _| quorum.is_in_force(*node));
        let lines = std::iter::once(SignatureLine::sign(&self.names.origin, log_key, &text))
            .chain(lines.into_values());
        let note = Note::new(text, lines.collect()).map_err(|_| RoundFailure::Note)?;
        Ok((size, note.to_string()))
    }

    /// Publishes a note that a majority signed.
    async fn commit(
        &self,
        size: TreeSize,
        note: String,
        start: Instant,
    ) -> Result<(), RoundFailure> {
        let until = Instant::now() + ROUND_TIME;
        // Through Raft: what a majority has on disk is published, on every node the same, and no leader's death takes it back.
        let written = timeout_at(until, self.raft.client_write(Batch::of_note(note))).await;
        written
            .map_err(|_| RoundFailure::NotCommitted)?
            .map_err(|_| RoundFailure::NotCommitted)?;
        let mut newest = self.keeper.newest();
        let shown =
            newest.wait_for(|newest| newest.as_ref().is_some_and(|newest| newest.size >= size));
        let shown = timeout_at(until, shown)
            .await
            .is_ok_and(|shown| shown.is_ok());
        if !shown {
            return Err(RoundFailure::NotCommitted);
        }
        metrics::histogram!("visto_publish_round_seconds").record(start.elapsed().as_secs_f64());
        Ok(())
    }

    /// A node's signature line, or why there is none; this node's own is one among them.
    fn line_of(
        &self,
        node: NodeNumber,
        size: TreeSize,
        root: Hash,
    ) -> BoxFuture<'static, (NodeNumber, Result<String, String>)> {
        if node == self.node {
            let cosigner = self.cosigner.clone();
            let signed = self
                .tasks
                .spawn_blocking(move || cosigner.cosign(size, root));
            async move {
                let line = match signed.await {
                    Ok(Ok(Ok(line))) => Ok(line),
                    Ok(Ok(Err(refusal))) => Err(refusal.to_string()),
                    Ok(Err(error)) => Err(error.to_string()),
                    Err(error) => Err(error.to_string()),
                };
                (node, line)
            }
            .boxed()
        } else {
            let peers = self.peers.clone();
            async move {
                let question = Cosign {
                    size: size.0,
                    root: root.0,
                };
                let answer = peers.cosign(node, &question, ROUND_TIME).await;
                (
                    node,
                    answer
                        .map(|cosigned| cosigned.line)
                        .map_err(|error| error.to_string()),
                )
            }
            .boxed()
        }
    }

    async fn pin(
        &self,
        stated: TreeSize,
        voters: BTreeSet<NodeNumber>,
    ) -> Result<Pinned, RoundFailure> {
        let (machine, names) = (self.machine.clone(), self.names.clone());
        let pin = move || {
            let view = machine.view()?;
            // What stands below a state root that is not folded here yet can be published meanwhile.
            let (size, root) = match view.sound(first_unfolded(&view))? {
                None => (view.size(), view.root()),
                Some(index) => (TreeSize(index), merkle::root(TreeSize(index), &view)?),
            };
            let quorum = Quorum::at(&*view.checkpoint_keys()?, &names, size, &voters);
            Ok(Pinned { size, root, quorum })
        };
        let pinned = self
            .tasks
            .spawn_blocking(pin)
            .await
            .map_err(|_| RoundFailure::Stopped)?
            .map_err(RoundFailure::Store)?;
        if pinned.size > stated.max(self.keeper.newest_size()) {
            Ok(pinned)
        } else {
            Err(RoundFailure::NotFolded)
        }
    }

    fn voters(&self) -> BTreeSet<NodeNumber> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow();
        metrics
            .membership_config
            .membership()
            .voter_ids()
            .map(NodeNumber)
            .collect()
    }
}

/// The checkpoint that was put before Raft last.
struct Stated {
    /// Nothing smaller is signed meanwhile.
    size: TreeSize,
    committing: Option<JoinHandle<Result<(), RoundFailure>>>,
}

impl Stated {
    /// Whether it got through; dropped before it is answered, it can be asked again.
    async fn committed(&mut self) -> Result<(), RoundFailure> {
        let Some(committing) = &mut self.committing else {
            return Ok(());
        };
        let committed = committing.await;
        self.committing = None;
        committed.unwrap_or(Err(RoundFailure::Stopped))
    }
}

struct Pinned {
    size: TreeSize,
    root: Hash,
    quorum: Quorum,
}

/// Why a round published nothing. The next one tries again, with what is applied by then.
#[derive(Debug, thiserror::Error)]
enum RoundFailure {
    #[error("only {0} nodes cosigned in time")]
    NoMajority(usize),
    #[error("this node does not hold the log key in force")]
    NoLogKey,
    #[error("the checkpoint was not committed in time")]
    NotCommitted,
    #[error("this node's fold for a state root is not done")]
    NotFolded,
    #[error("the note cannot be made")]
    Note,
    #[error("the node is shutting down")]
    Stopped,
    #[error(transparent)]
    Store(Error),
}

/// After so long a round is given up: the leader may have lost its majority.
const ROUND_TIME: Duration = Duration::from_secs(2);
const RETRY_PAUSE: Duration = Duration::from_millis(100);
const WARN_PERIOD: Duration = Duration::from_secs(10);
