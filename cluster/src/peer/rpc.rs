// SPDX-License-Identifier: EUPL-1.2
//! What is said in calls that are not Raft's own: questions and answers, and the calls themselves.

use std::time::Duration;

use tokio::time::Instant;

use bytes::Bytes;
use ledger::{
    finding::Findings,
    hash::Hash,
    id::NodeNumber,
    number::{EntryIndex, TreeSize},
    refusal::{Refusal, Refused},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    client::{CallError, Peers},
    frame::{Denial, Method},
};
use crate::face::{Accepted, Failure, Outcome, Until};

impl Peers {
    /// Hands entries, each as `SubmittedEntry::encode` has it, to the leader, which never hands them on. One outcome each, in order.
    pub(crate) async fn forward_submit(
        &self,
        leader: NodeNumber,
        entries: Vec<Bytes>,
        until: Until,
        time: Duration,
    ) -> Vec<Outcome> {
        let deadline = Instant::now() + time;
        let mut outcomes = Vec::with_capacity(entries.len());
        for entries in into_frames(entries) {
            let count = entries.len();
            let time = deadline.saturating_duration_since(Instant::now());
            let answer = self
                .ask(leader, Method::Submit, &Submit { entries, until }, time)
                .await;
            match answer {
                Ok(answered) if Vec::<SubmitOutcome>::len(&answered) == count => {
                    outcomes.extend(answered.into_iter().map(Outcome::from));
                }
                Err(error) if error.surely_undone() => {
                    tracing::debug!(leader = leader.0, %error, "not forwarded");
                    outcomes.extend((0..count).map(|_| Outcome::Failed(Failure::NoQuorum)));
                }
                _ => outcomes.extend((0..count).map(|_| Outcome::Unknown)),
            }
        }
        outcomes
    }

    /// The raft_index up to which a node must have applied for a linearizable read.
    pub(crate) async fn read_index(
        &self,
        leader: NodeNumber,
        time: Duration,
    ) -> Result<u64, CallError> {
        self.ask(leader, Method::ReadIndex, &(), time).await
    }

    /// Asks a peer to cosign its own tree at this size.
    pub(crate) async fn cosign(
        &self,
        peer: NodeNumber,
        question: &Cosign,
        time: Duration,
    ) -> Result<Cosigned, CallError> {
        self.ask(peer, Method::Cosign, question, time).await
    }

    /// The peer's clock, in milliseconds since 1970.
    pub(crate) async fn clock(&self, peer: NodeNumber, time: Duration) -> Result<u64, CallError> {
        self.ask(peer, Method::Clock, &(), time).await
    }

    /// The root that a peer computed at a size; `None` if it has not applied so much.
    pub(crate) async fn root(
        &self,
        peer: NodeNumber,
        size: TreeSize,
        time: Duration,
    ) -> Result<Option<Hash>, CallError> {
        let root: Option<[u8; 32]> = self.ask(peer, Method::Root, &size.0, time).await?;
        Ok(root.map(Hash))
    }

    /// Asks the leader to fold, so that a tree of this size is covered.
    pub(crate) async fn want_fold(
        &self,
        leader: NodeNumber,
        size: TreeSize,
        time: Duration,
    ) -> Result<(), CallError> {
        self.ask(leader, Method::Fold, &size.0, time).await
    }

    /// The root of a peer's fold, as soon as it is done; `None` if it is not in time, or if a later one is.
    pub(crate) async fn folded(
        &self,
        peer: NodeNumber,
        version: u64,
        time: Duration,
    ) -> Result<Option<[u8; 32]>, CallError> {
        self.ask(peer, Method::Folded, &version, time).await
    }

    /// One call with a postcard body each way.
    pub(crate) async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        to: NodeNumber,
        method: Method,
        question: &Q,
        time: Duration,
    ) -> Result<A, CallError> {
        let body = postcard::to_allocvec(question).map_err(|_| CallError::TooLarge)?;
        let answer = self.call(to, method, &body, time).await?;
        postcard::from_bytes(&answer).map_err(|_| CallError::Garbled)
    }
}

/// Cuts a long list where a frame is full enough.
fn into_frames(entries: Vec<Bytes>) -> Vec<Vec<Bytes>> {
    let (mut frames, mut bytes) = (vec![Vec::new()], 0);
    for entry in entries {
        bytes += entry.len();
        if bytes > SUBMIT_BYTES_MAX {
            bytes = entry.len();
            frames.push(Vec::new());
        }
        if let Some(frame) = frames.last_mut() {
            frame.push(entry);
        }
    }
    frames
}

/// Reads a question; what cannot be read is the caller's fault.
pub(crate) fn question<Q: DeserializeOwned>(body: &[u8]) -> Result<Q, Denial> {
    postcard::from_bytes(body).map_err(|_| Denial::Malformed)
}

/// Writes an answer.
pub(crate) fn answer<A: Serialize>(answer: &A) -> Result<Vec<u8>, Denial> {
    postcard::to_allocvec(answer).map_err(|error| Denial::Failed(error.to_string()))
}

/// Entries for the leader.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Submit {
    /// Each as `SubmittedEntry::encode` has it. The leader verifies them anew: it believes no peer.
    pub(crate) entries: Vec<Bytes>,
    pub(crate) until: Until,
}

/// What became of one entry, in the order of the question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SubmitOutcome {
    Accepted {
        index: u64,
        leaf_hash: [u8; 32],
        accepted_at_ms: u64,
        findings: u32,
        state: Until,
        again: bool,
    },
    /// The refusal's stable code and the JSON pointer to the member at fault.
    Refused {
        code: String,
        pointer: String,
    },
    Failed(Failure),
    Unknown,
}

impl From<Outcome> for SubmitOutcome {
    fn from(outcome: Outcome) -> SubmitOutcome {
        match outcome {
            Outcome::Accepted(accepted) => SubmitOutcome::Accepted {
                index: accepted.index.0,
                leaf_hash: accepted.leaf_hash.0,
                accepted_at_ms: accepted.accepted_at_ms,
                findings: accepted.findings.0,
                state: accepted.state,
                again: accepted.again,
            },
            Outcome::Refused(refused) => SubmitOutcome::Refused {
                code: refused.refusal.code().to_owned(),
                pointer: refused.pointer,
            },
            Outcome::Failed(failure) => SubmitOutcome::Failed(failure),
            Outcome::Unknown => SubmitOutcome::Unknown,
        }
    }
}

impl From<SubmitOutcome> for Outcome {
    fn from(outcome: SubmitOutcome) -> Outcome {
        match outcome {
            SubmitOutcome::Accepted {
                index,
                leaf_hash,
                accepted_at_ms,
                findings,
                state,
                again,
            } => Outcome::Accepted(Accepted {
                index: EntryIndex(index),
                leaf_hash: Hash(leaf_hash),
                accepted_at_ms,
                findings: Findings(findings),
                state,
                again,
            }),
            SubmitOutcome::Refused { code, pointer } => match Refusal::from_code(&code) {
                Some(refusal) => Outcome::Refused(Refused { refusal, pointer }),
                // A leader of a newer version: it refused, for a reason that has no name here.
                None => Outcome::Unknown,
            },
            SubmitOutcome::Failed(failure) => Outcome::Failed(failure),
            SubmitOutcome::Unknown => Outcome::Unknown,
        }
    }
}

/// What the leader wants cosigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cosign {
    pub(crate) size: u64,
    /// The leader's root at that size. A peer signs its own root alone; this one only lets it notice that they differ.
    pub(crate) root: [u8; 32],
}

/// A cosignature over the checkpoint that the question named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cosigned {
    /// The whole signature line of a note, without its line feed.
    pub(crate) line: String,
}

const SUBMIT_BYTES_MAX: usize = 4 * 1024 * 1024;
