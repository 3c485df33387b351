// SPDX-License-Identifier: EUPL-1.2
//! One frame between peers: `u32(length) ‖ head (postcard) ‖ body`, big-endian length, at most [`FRAME_BYTES_MAX`].
//!
//! The head says whose call it is, to whom, in which cluster; the body is the method's own bytes, encoded once and copied, never parsed
//! here. Peers of one cluster run the same or adjacent versions: a method that a node does not know is answered [`Denial::Malformed`].

use bytes::{BufMut, Bytes, BytesMut};
use ledger::hash::Hash;
use serde::{Deserialize, Serialize};
use tokio_util::codec::LengthDelimitedCodec;

/// Which cluster a call belongs to: two clusters that share a CA by mistake still refuse each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClusterId {
    /// Ledger name.
    pub(crate) ledger: String,
    /// SHA-256 of the PAE of entry 0, as policies have it.
    pub(crate) genesis: [u8; 32],
}

impl ClusterId {
    pub(crate) fn new(ledger: &str, genesis: Hash) -> ClusterId {
        ClusterId {
            ledger: ledger.to_owned(),
            genesis: genesis.0,
        }
    }
}

/// What one peer asks of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Method {
    Append,
    Vote,
    Lost,
    SnapshotOffer,
    SnapshotChunk,
    SnapshotInstall,
    Submit,
    ReadIndex,
    Cosign,
    Clock,
    Root,
    Fold,
    Folded,
}

impl Method {
    /// For metrics and logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Method::Append => "append",
            Method::Vote => "vote",
            Method::Lost => "lost",
            Method::SnapshotOffer => "snapshot-offer",
            Method::SnapshotChunk => "snapshot-chunk",
            Method::SnapshotInstall => "snapshot-install",
            Method::Submit => "submit",
            Method::ReadIndex => "read-index",
            Method::Cosign => "cosign",
            Method::Clock => "clock",
            Method::Root => "root",
            Method::Fold => "fold",
            Method::Folded => "folded",
        }
    }

    /// Raft's own calls have a connection of their own, so that nothing slow delays a heartbeat; a snapshot's files have one, so that nothing
    /// waits behind them.
    pub(crate) fn lane(self) -> Lane {
        match self {
            Method::Append | Method::Vote => Lane::Raft,
            Method::SnapshotChunk => Lane::Bulk,
            _ => Lane::Other,
        }
    }
}

/// One of the connections from a node to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Lane {
    Raft,
    Bulk,
    Other,
}

/// First part of a frame.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Head {
    Call(Call),
    Answer { id: u64, result: Result<(), Denial> },
}

/// Head of a call.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Call {
    /// Chosen by the caller, unique on its connection; the answer carries it.
    pub(crate) id: u64,
    pub(crate) cluster: ClusterId,
    /// Must be the node of the caller's certificate.
    pub(crate) from: u64,
    /// Must be the node that reads this.
    pub(crate) to: u64,
    pub(crate) method: Method,
    /// How long the caller waits; the callee gives up then, too.
    pub(crate) ttl_ms: u32,
}

/// Why a peer did not do what it was asked. It certainly did nothing, except where [`Denial::Failed`] says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum Denial {
    #[error("it belongs to another cluster")]
    OtherCluster,
    #[error("the caller is not the node that its certificate names")]
    OtherSender,
    #[error("it is not the node that was called")]
    OtherRecipient,
    #[error("the caller is no member of its cluster")]
    NotMember,
    #[error("it cannot read the call")]
    Malformed,
    #[error("it is not the leader")]
    NotLeader,
    #[error("it did not finish in time")]
    Late,
    #[error("it refuses: {0}")]
    Refused(String),
    /// It began and broke off: the outcome is unknown.
    #[error("it failed: {0}")]
    Failed(String),
}

/// Puts head and body into one frame's bytes, without the length.
pub(crate) fn encode(head: &Head, body: &[u8]) -> Result<Bytes, TooLarge> {
    let head = postcard::to_allocvec(head).map_err(|_| TooLarge)?;
    if head.len() + body.len() > FRAME_BYTES_MAX {
        return Err(TooLarge);
    }
    let mut frame = BytesMut::with_capacity(head.len() + body.len());
    frame.put_slice(&head);
    frame.put_slice(body);
    Ok(frame.freeze())
}

/// Splits a frame into head and body; `None` if the head is not readable.
pub(crate) fn decode(frame: Bytes) -> Option<(Head, Bytes)> {
    let (head, rest) = postcard::take_from_bytes::<Head>(&frame).ok()?;
    let body = frame.slice(frame.len() - rest.len()..);
    Some((head, body))
}

/// Cuts the byte stream into frames; a longer one than allowed is an error of the stream, before anything is stored for it.
pub(crate) fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .max_frame_length(FRAME_BYTES_MAX)
        .new_codec()
}

/// A frame would be longer than [`FRAME_BYTES_MAX`].
#[derive(Debug, thiserror::Error)]
#[error("a frame between peers holds at most {FRAME_BYTES_MAX} bytes")]
pub(crate) struct TooLarge;

/// A Raft append is split at 4 MiB already (see `raft_network`); the rest leaves room for the largest single batch.
pub(crate) const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )]
    use super::*;

    #[test]
    fn round_trip() {
        let head = Head::Call(Call {
            id: 7,
            cluster: ClusterId::new("l.example", Hash([3; 32])),
            from: 1,
            to: 2,
            method: Method::Submit,
            ttl_ms: 250,
        });
        for body in [&b""[..], b"body"] {
            let frame = encode(&head, body).unwrap();
            let (read, rest) = decode(frame).unwrap();
            assert_eq!((read, &rest[..]), (Head::Call(call(&head)), body));
        }
    }

    fn call(head: &Head) -> Call {
        let Head::Call(call) = head else {
            panic!("a call")
        };
        Call {
            cluster: call.cluster.clone(),
            ..*call
        }
    }

    #[test]
    fn garbage_is_no_head() {
        assert!(decode(Bytes::from_static(&[9, 9, 9])).is_none());
        assert!(decode(Bytes::new()).is_none());
    }

    #[test]
    fn oversize_is_refused() {
        let head = Head::Answer {
            id: 1,
            result: Ok(()),
        };
        assert!(encode(&head, &vec![0; FRAME_BYTES_MAX]).is_err());
    }
}
