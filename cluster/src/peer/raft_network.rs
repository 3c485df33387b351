// SPDX-License-Identifier: EUPL-1.2
//! openraft's network over [`Peers`].
//!
//! openraft sends one append at a time to each peer and gives each a deadline; what is too long for a frame is split by openraft when we
//! say so. Errors are told apart for its retry policy: *unreachable* makes it pause, *network* makes it retry at once.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use ledger::id::NodeNumber;
use openraft::{
    OptionalSend, RaftNetworkFactory,
    error::{
        Fatal, NetworkError, PayloadTooLarge, RPCError, RaftError, ReplicationClosed,
        StreamingError, Unreachable,
    },
    network::{Backoff, RPCOption, RaftNetwork},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
    },
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::watch;

use super::{
    client::{CallError, Peers},
    frame::Method,
    snapshot,
};
use crate::raft_types::{RaftLogId, RaftVote, TypeConfig};
use crate::store::applied::Applied;

/// Makes the way to each peer for openraft.
pub(crate) struct Network {
    peers: Peers,
    applied: watch::Receiver<Applied>,
    acknowledged: Acknowledged,
}

/// The furthest raft_log_id that each peer acknowledged, and to which of this node's votes.
type Acknowledged = Arc<Mutex<BTreeMap<NodeNumber, (RaftVote, RaftLogId)>>>;

impl Network {
    /// `applied` of this node: a snapshot is sent more slowly while it grows.
    pub(crate) fn new(peers: Peers, applied: watch::Receiver<Applied>) -> Network {
        Network {
            peers,
            applied,
            acknowledged: Acknowledged::default(),
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = PeerRaft;

    async fn new_client(&mut self, target: u64, _: &openraft::EmptyNode) -> PeerRaft {
        PeerRaft {
            peers: self.peers.clone(),
            applied: self.applied.clone(),
            target: NodeNumber(target),
            acknowledged: self.acknowledged.clone(),
        }
    }
}

/// The Raft of one peer.
pub(crate) struct PeerRaft {
    peers: Peers,
    applied: watch::Receiver<Applied>,
    target: NodeNumber,
    acknowledged: Acknowledged,
}

type Rpc<T> = Result<T, RPCError<u64, openraft::EmptyNode, RaftError<u64>>>;

impl RaftNetwork<TypeConfig> for PeerRaft {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<u64>> {
        let body = postcard::to_allocvec(&request).map_err(|error| unreachable(&error))?;
        if body.len() > APPEND_BYTES_MAX && request.entries.len() > 1 {
            return Err(half(&request).into());
        }
        // Before openraft gives up itself, so that what was too long for a slow link is tried in halves.
        let answer = self
            .peers
            .call(self.target, Method::Append, &body, option.soft_ttl())
            .await;
        match answer {
            Err(CallError::Late) if body.len() > APPEND_BYTES_SLOW && request.entries.len() > 1 => {
                Err(half(&request).into())
            }
            answer => self.remember(&request, read(answer)?),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<u64>,
        option: RPCOption,
    ) -> Rpc<VoteResponse<u64>> {
        let body = postcard::to_allocvec(&request).map_err(|error| unreachable(&error))?;
        read(
            self.peers
                .call(self.target, Method::Vote, &body, option.hard_ttl())
                .await,
        )
    }

    async fn full_snapshot(
        &mut self,
        vote: RaftVote,
        snapshot: openraft::Snapshot<TypeConfig>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<TypeConfig, Fatal<u64>>> {
        let sent = snapshot::send(
            &self.peers,
            self.target,
            vote,
            &snapshot,
            option.hard_ttl().min(CHUNK_TIME),
            &self.applied,
        );
        let installed = tokio::select! {
            closed = cancel => return Err(closed.into()),
            sent = sent => sent?,
        };
        if installed.vote == vote {
            self.note(vote, snapshot.meta.last_log_id);
        }
        Ok(installed)
    }

    /// Short at first, so that a restarted peer is found soon, then once a second.
    fn backoff(&self) -> Backoff {
        let steps = [50, 100, 200, 400].map(Duration::from_millis);
        Backoff::new(
            steps
                .into_iter()
                .chain(std::iter::repeat(Duration::from_secs(1))),
        )
    }
}

impl PeerRaft {
    /// Notes what the peer acknowledged, and notices if it lost it. openraft would panic then, and take this leader down for a peer whose
    /// data were wiped or restored from a copy; so it hears that the peer is unreachable, and the peer hears why.
    #[allow(clippy::result_large_err)] // openraft's own type
    fn remember(
        &self,
        request: &AppendEntriesRequest<TypeConfig>,
        answer: AppendEntriesResponse<u64>,
    ) -> Rpc<AppendEntriesResponse<u64>> {
        let reached = match &answer {
            AppendEntriesResponse::Success => request
                .entries
                .last()
                .map(|raft_entry| raft_entry.log_id)
                .or(request.prev_log_id),
            AppendEntriesResponse::PartialSuccess(reached) => *reached,
            AppendEntriesResponse::Conflict | AppendEntriesResponse::HigherVote(_) => None,
        };
        let known = self.note(request.vote, reached);
        if answer.is_conflict()
            && request.prev_log_id <= known
            && let Some(known) = known
        {
            self.tell_of_loss(Lost {
                vote: request.vote,
                acknowledged: known,
            });
            return Err(unreachable(&PeerLost));
        }
        Ok(answer)
    }

    /// Takes in what the peer acknowledged to a vote of this node; answers with the furthest so far.
    fn note(&self, vote: RaftVote, reached: Option<RaftLogId>) -> Option<RaftLogId> {
        let mut acknowledged = self.acknowledged.lock();
        let known = acknowledged
            .get(&self.target)
            .filter(|(to, _)| *to == vote)
            .map(|(_, id)| *id);
        let furthest = known.max(reached);
        if let Some(furthest) = furthest {
            acknowledged.insert(self.target, (vote, furthest));
        }
        furthest
    }

    fn tell_of_loss(&self, lost: Lost) {
        tracing::error!(peer = self.target.0, acknowledged = %lost.acknowledged, "a peer lost what it acknowledged; it must be replaced");
        let (peers, target) = (self.peers.clone(), self.target);
        tokio::spawn(async move {
            peers
                .ask::<_, ()>(target, Method::Lost, &lost, LOST_TIME)
                .await
        });
    }
}

/// Told to a peer that lost data.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Lost {
    /// The leader's vote, to which the peer acknowledged.
    pub(crate) vote: RaftVote,
    /// How far.
    pub(crate) acknowledged: RaftLogId,
}

#[derive(Debug, thiserror::Error)]
#[error("the peer lost raft_entries that it acknowledged")]
struct PeerLost;

/// Halving ends at one raft_entry, which a frame always holds.
fn half(request: &AppendEntriesRequest<TypeConfig>) -> PayloadTooLarge {
    PayloadTooLarge::new_entries_hint(u64::try_from(request.entries.len() / 2).unwrap_or(1))
}

#[allow(clippy::result_large_err)] // openraft's own type
fn read<A: DeserializeOwned>(answer: Result<Bytes, CallError>) -> Rpc<A> {
    let answer = answer.map_err(rpc_error)?;
    postcard::from_bytes(&answer).map_err(|_| rpc_error(CallError::Garbled))
}

fn rpc_error<E: std::error::Error>(error: CallError) -> RPCError<u64, openraft::EmptyNode, E> {
    match error {
        // A retry at once would meet the same answer.
        CallError::Unreachable(_)
        | CallError::TooLarge
        | CallError::Denied(_)
        | CallError::Garbled => Unreachable::new(&error).into(),
        CallError::Lost | CallError::Late => NetworkError::new(&error).into(),
    }
}

fn unreachable<E: std::error::Error>(
    error: &(impl std::error::Error + 'static),
) -> RPCError<u64, openraft::EmptyNode, E> {
    Unreachable::new(error).into()
}

/// Many raft_entries travel together when a peer catches up; larger appends would outlast their deadline on a slow link.
const APPEND_BYTES_MAX: usize = 4 * 1024 * 1024;
/// An append longer than this may have been too long for its deadline; a shorter one met a peer that is slow itself.
const APPEND_BYTES_SLOW: usize = 128 * 1024;
/// For one chunk of a snapshot, however long the whole takes.
const CHUNK_TIME: Duration = Duration::from_secs(60);
const LOST_TIME: Duration = Duration::from_secs(1);
