// SPDX-License-Identifier: EUPL-1.2
//! Streams a raft_snapshot to a peer: the manifest first, then each file in chunks, then the word to install it.
//!
//! A few chunks are under way at a time, so that reading, sending and writing go on side by side. The receiver keeps what it has while the
//! connection comes and goes: a sender that offers the same manifest again learns how much of each file is there and goes on. A file that is
//! complete is fsynced and read back while later ones arrive; nothing is installed before every file's SHA-256 is the manifest's.

use bytes::Bytes;
use ledger::hash::Hash;
use serde::{Deserialize, Serialize};

use super::frame::Denial;
use crate::{raft_types::RaftVote, store::snapshot::Manifest};

mod receive;
mod send;
#[cfg(test)]
mod tests;

pub(crate) use receive::Receiver;
pub(crate) use send::send;

/// What the sender says first, and again when it wants the snapshot installed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Offer {
    pub(crate) vote: RaftVote,
    pub(crate) manifest: Manifest,
}

/// What the receiver says to an offer.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OfferAnswer {
    /// It follows another leader by now.
    HigherVote(RaftVote),
    /// How many bytes of each file of the manifest are there.
    Have(Vec<u64>),
}

/// Which piece of which file follows: the head of a chunk, before its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChunkHead {
    /// Which offer it belongs to.
    pub(crate) id: [u8; 32],
    /// Place of the file in the manifest.
    pub(crate) file: u32,
    pub(crate) offset: u64,
    /// How many bytes follow.
    pub(crate) bytes: u64,
}

impl ChunkHead {
    /// Splits the body of a call; the bytes are not copied.
    fn split(body: &Bytes) -> Result<(ChunkHead, Bytes), Denial> {
        let (head, rest) =
            postcard::take_from_bytes::<ChunkHead>(body).map_err(|_| Denial::Malformed)?;
        match rest.len() as u64 == head.bytes {
            true => Ok((head, body.slice(body.len() - rest.len()..))),
            false => Err(Denial::Malformed),
        }
    }
}

pub(crate) fn manifest_id(manifest: &Manifest) -> [u8; 32] {
    // Encoding a struct of plain members into memory does not fail; an empty id would only mean that nothing resumes.
    let bytes = postcard::to_allocvec(manifest).unwrap_or_default();
    Hash::of(&[&bytes]).0
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(std::io::Error::other)?
}

/// Small enough to stay in a core's cache on its way from the file to the socket.
const CHUNK_BYTES: u64 = 256 * 1024;
/// Chunks under way at a time.
const WINDOW: usize = 8;
