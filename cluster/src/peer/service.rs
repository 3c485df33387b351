// SPDX-License-Identifier: EUPL-1.2
//! What this node does when a peer calls: reads the question, hands it to whom it concerns, writes the answer.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use ledger::{hash::Hash, id::NodeNumber, number::TreeSize};
use openraft::{
    error::{CheckIsLeaderError, RaftError},
    raft::{AppendEntriesRequest, AppendEntriesResponse},
};
use parking_lot::RwLock;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use super::{
    client::Addresses,
    frame::{Denial, Method},
    raft_network::Lost,
    rpc::{Cosign, Cosigned, Submit, SubmitOutcome, answer, question},
    server::Service,
    snapshot::Receiver,
};
use crate::{
    clock::{Clock, Offsets},
    error::{Error, ErrorKind},
    face::{Outcome, Until},
    fold::worker::{Wanted, want},
    publish::{
        cosigner::{CosignRefusal, Cosigner},
        keeper::applied_by,
    },
    raft_types::{Raft, TypeConfig},
    store::{fatal::Fatal, log::Log, machine::Machine},
};

/// Submits to this node's own Raft and to nobody else's: what was forwarded once is not forwarded again.
pub(crate) type SubmitHere =
    Arc<dyn Fn(Vec<Bytes>, Until, Duration) -> BoxFuture<'static, Vec<Outcome>> + Send + Sync>;

/// This node, as its peers see it.
pub(crate) struct NodeService {
    pub(crate) own: NodeNumber,
    pub(crate) raft: Raft,
    pub(crate) log: Log,
    pub(crate) machine: Machine,
    pub(crate) fatal: Fatal,
    pub(crate) tasks: TaskTracker,
    pub(crate) clock: Clock,
    pub(crate) offsets: Arc<Offsets>,
    pub(crate) cosigner: Arc<Cosigner>,
    pub(crate) receiver: Receiver,
    pub(crate) roster: Arc<Roster>,
    pub(crate) addresses: Arc<Addresses>,
    pub(crate) submit_here: SubmitHere,
    pub(crate) fold_wanted: Wanted,
}

/// The registry's nodes, as last read.
#[derive(Default)]
pub(crate) struct Roster(RwLock<Lists>);

#[derive(Default)]
struct Lists {
    in_force: BTreeSet<NodeNumber>,
    removed: BTreeSet<NodeNumber>,
}

impl Roster {
    /// Takes over the registry's newest word.
    pub(crate) fn set(&self, in_force: BTreeSet<NodeNumber>, removed: BTreeSet<NodeNumber>) {
        *self.0.write() = Lists { in_force, removed };
    }
}

impl Service for NodeService {
    /// A removed node is refused for ever, since numbers are not used again. A node without any membership is a new one that waits for
    /// its first word from a leader: it lets in whoever the peer CA vouches for.
    fn admits(&self, from: NodeNumber) -> bool {
        let members = self
            .raft
            .server_metrics()
            .borrow()
            .membership_config
            .clone();
        let is_voter = members
            .membership()
            .voter_ids()
            .any(|voter| voter == from.0);
        let is_member = members
            .membership()
            .nodes()
            .any(|(member, _)| *member == from.0);
        let waits = members.membership().nodes().next().is_none();
        let lists = self.roster.0.read();
        // A removed node that still votes is one whose removal is not through yet.
        is_voter
            || !lists.removed.contains(&from)
                && (is_member
                    || waits
                    || lists.in_force.contains(&from)
                    || self.addresses.configures(from))
    }

    async fn serve(
        &self,
        from: NodeNumber,
        method: Method,
        body: Bytes,
        time: Duration,
    ) -> Result<Vec<u8>, Denial> {
        match method {
            Method::Append => answer(&self.append(question(&body)?, time).await?),
            Method::Vote => answer(&self.raft.vote(question(&body)?).await.map_err(failed)?),
            Method::Lost => answer(&self.lost(question(&body)?)),
            Method::SnapshotOffer => answer(&self.receiver.offer(question(&body)?).await?),
            Method::SnapshotChunk => answer(&self.receiver.chunk(&body).await?),
            Method::SnapshotInstall => answer(&self.receiver.install(question(&body)?).await?),
            Method::Submit => {
                let Submit { entries, until } = question(&body)?;
                // Ends before the caller gives up, so that it hears what is known.
                let outcomes =
                    (self.submit_here)(entries, until, time.saturating_sub(ANSWER_TIME)).await;
                answer(
                    &outcomes
                        .into_iter()
                        .map(SubmitOutcome::from)
                        .collect::<Vec<_>>(),
                )
            }
            Method::ReadIndex => answer(&self.read_index().await?),
            Method::Cosign => answer(&self.cosign(from, question(&body)?).await?),
            Method::Clock => answer(&self.clock.now_ms()),
            Method::Fold => answer(&self.want_fold(TreeSize(question(&body)?)).await?),
            Method::Folded => {
                let time = time.saturating_sub(ANSWER_TIME);
                answer(&self.folded(question(&body)?, time).await)
            }
            Method::Root => answer(
                &self
                    .root(TreeSize(question(&body)?))
                    .await?
                    .map(|root| root.0),
            ),
        }
    }
}

impl NodeService {
    /// Takes in raft_entries, unless this node applies more slowly than it writes them: openraft reads whatever is committed into a queue that has
    /// no end. Then the leader is heard, and told that nothing of it was taken, so that it sends the same again. Whoever is not heard stands
    /// for election, and so would this node if openraft itself were kept waiting.
    async fn append(
        &self,
        mut request: AppendEntriesRequest<TypeConfig>,
        time: Duration,
    ) -> Result<AppendEntriesResponse<u64>, Denial> {
        let prev = request.prev_log_id;
        // Where none precede them openraft cannot be told that none were taken. They are the first of the log.
        let taken = request.entries.is_empty() || prev.is_none() || self.has_room(time / 2).await;
        if !taken {
            request.entries.clear();
        }
        let response = self.raft.append_entries(request).await.map_err(failed)?;
        Ok(match response {
            AppendEntriesResponse::Success if !taken => AppendEntriesResponse::PartialSuccess(prev),
            response => response,
        })
    }

    /// Whether more may wait in memory to be applied, now or before long.
    async fn has_room(&self, time: Duration) -> bool {
        let mut applied = self.machine.applied();
        let room = applied.wait_for(|applied| {
            let applied = applied.raft_log_id.map_or(0, |id| id.index);
            self.log.committed_after(applied) <= UNAPPLIED_BYTES_MAX
        });
        timeout(time, room).await.is_ok_and(|room| room.is_ok())
    }

    /// The leader says that this node acknowledged more than it has. If so, its data are not what they were: going on would break promises.
    fn lost(&self, lost: Lost) {
        let metrics = self.raft.metrics().borrow().clone();
        let last = metrics.last_log_index.unwrap_or(0);
        if metrics.vote == lost.vote && last < lost.acknowledged.index {
            let reason = format!(
                "this node's data are older than what it acknowledged: raft_entry {}, and its log ends at {last}. It must not go on under its \
                 number: replace it by a node of a new one",
                lost.acknowledged.index
            );
            self.fatal.latch(Error::new(ErrorKind::Corrupt, reason));
        }
    }

    /// Raft's ReadIndex: a quorum confirms, after the question came, that this node still leads. No lease, so no clock is trusted.
    async fn read_index(&self) -> Result<u64, Denial> {
        // Confirming would renew the lead that a leader with a wrong clock wants to be rid of.
        if !self.offsets.clock_ok() {
            return Err(Denial::NotLeader);
        }
        match self.raft.get_read_log_id().await {
            Ok((raft_log_id, _)) => Ok(raft_log_id.map_or(0, |id| id.index)),
            Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(_))) => {
                Err(Denial::NotLeader)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Waits a moment until so much is applied here: the leader asks as soon as it has applied it itself.
    async fn cosign(&self, from: NodeNumber, asked: Cosign) -> Result<Cosigned, Denial> {
        if !applied_by(
            &self.machine,
            TreeSize(asked.size),
            Instant::now() + APPLY_TIME,
        )
        .await
        {
            return Err(Denial::Late);
        }
        let cosigner = self.cosigner.clone();
        let decided = self
            .blocking(move || cosigner.cosign(TreeSize(asked.size), Hash(asked.root)))
            .await?;
        decided.map(|line| Cosigned { line }).map_err(|refusal| {
            metrics::counter!("visto_cosign_refusals_total").increment(1);
            if matches!(refusal, CosignRefusal::OtherRoot | CosignRefusal::Contradiction) {
                tracing::error!(peer = from.0, own = self.own.0, size = asked.size, %refusal, "not cosigned");
            }
            Denial::Refused(refusal.to_string())
        })
    }

    /// Waits a moment until so much is applied here, as who asks may be ahead. A size that is never reached must not be noted: it would hide
    /// all lesser ones.
    async fn want_fold(&self, size: TreeSize) -> Result<(), Denial> {
        let leader = self.raft.server_metrics().borrow().current_leader;
        if leader != Some(self.own.0) {
            return Err(Denial::NotLeader);
        }
        if !applied_by(&self.machine, size, Instant::now() + APPLY_TIME).await {
            return Err(Denial::Late);
        }
        want(&self.fold_wanted, size.0);
        Ok(())
    }

    /// Waits for this node's own fold: the leader asks as soon as its own is done.
    async fn folded(&self, version: u64, time: Duration) -> Option<[u8; 32]> {
        let mut folds = self.machine.folds();
        let reached = folds.wait_for(|folds| folds.done.version >= version);
        let done = timeout(time, reached).await.ok()?.ok()?.done;
        (done.version == version).then_some(done.root)
    }

    async fn root(&self, size: TreeSize) -> Result<Option<Hash>, Denial> {
        let machine = self.machine.clone();
        self.blocking(move || machine.view()?.root_at(size)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Denial> {
        self.tasks
            .spawn_blocking(work)
            .await
            .map_err(failed)?
            .map_err(failed)
    }
}

fn failed(error: impl std::fmt::Display) -> Denial {
    Denial::Failed(error.to_string())
}

/// For the way back of an answer.
const ANSWER_TIME: Duration = Duration::from_millis(50);
const APPLY_TIME: Duration = Duration::from_secs(2);
/// A few seconds of the fastest writes.
pub(crate) const UNAPPLIED_BYTES_MAX: u64 = if cfg!(test) { 512 << 10 } else { 64 << 20 };
