// SPDX-License-Identifier: EUPL-1.2
//! Streams a raft_snapshot to a peer: the manifest first, then each file in chunks, then the word to install it.
//!
//! The receiver keeps what it has while the connection comes and goes: a sender that offers the same manifest again learns how much of
//! each file is there and goes on. Nothing is installed before every file's SHA-256 is the manifest's, read back from the disk.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::PathBuf,
    time::Duration,
};

use bytes::Bytes;
use ledger::{hash::Hash, id::NodeNumber};
use openraft::{
    AnyError, ErrorSubject, ErrorVerb, StorageIOError,
    error::{Fatal, NetworkError, StreamingError, Unreachable},
    raft::SnapshotResponse,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{
    client::{CallError, Peers},
    frame::{Denial, Method},
};
use crate::{
    raft_types::{Raft, RaftVote, TypeConfig},
    store::snapshot::{Manifest, SnapshotDir, is_plain_name},
};

/// What the sender says first, and again when it wants the snapshot installed.
#[derive(Debug, Serialize, Deserialize)]
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

/// A piece of a file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Chunk {
    /// Which offer it belongs to.
    pub(crate) id: [u8; 32],
    /// Place of the file in the manifest.
    pub(crate) file: u32,
    pub(crate) offset: u64,
    pub(crate) bytes: Bytes,
}

/// Sends a snapshot and waits until it is installed, or the peer prefers another leader.
pub(crate) async fn send(
    peers: &Peers,
    target: NodeNumber,
    vote: RaftVote,
    snapshot: &openraft::Snapshot<TypeConfig>,
    time: Duration,
) -> Result<SnapshotResponse<u64>, StreamingError<TypeConfig, Fatal<u64>>> {
    let Some(manifest) = snapshot.snapshot.manifest() else {
        let error = std::io::Error::other("a snapshot that is not whole is not sent");
        return Err(local(&error));
    };
    let id = manifest_id(&manifest);
    let offer = Offer {
        vote,
        manifest: Manifest::clone(&manifest),
    };
    let dir = snapshot.snapshot.path().to_owned();
    let mut failures = 0;
    loop {
        match send_once(peers, target, &offer, id, &dir, time).await {
            Ok(response) => return Ok(response),
            Err(SendError::Local(error)) => return Err(local(&error)),
            Err(SendError::Call(error)) => {
                failures += 1;
                tracing::warn!(peer = target.0, %error, failures, "snapshot transfer interrupted");
                match error {
                    _ if failures < ATTEMPTS => {}
                    CallError::Lost | CallError::Late => {
                        return Err(NetworkError::new(&error).into());
                    }
                    _ => return Err(Unreachable::new(&error).into()),
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}

fn local(error: &std::io::Error) -> StreamingError<TypeConfig, Fatal<u64>> {
    let error = StorageIOError::new(
        ErrorSubject::Snapshot(None),
        ErrorVerb::Read,
        AnyError::new(error),
    );
    StreamingError::StorageError(error.into())
}

async fn send_once(
    peers: &Peers,
    target: NodeNumber,
    offer: &Offer,
    id: [u8; 32],
    dir: &std::path::Path,
    time: Duration,
) -> Result<SnapshotResponse<u64>, SendError> {
    let have = match peers
        .ask(target, Method::SnapshotOffer, offer, time)
        .await?
    {
        OfferAnswer::HigherVote(vote) => return Ok(SnapshotResponse::new(vote)),
        OfferAnswer::Have(have) => have,
    };
    for (number, file) in (0u32..).zip(&offer.manifest.files) {
        let mut offset = have.get(number as usize).copied().unwrap_or(0);
        while offset < file.bytes {
            let bytes = read_chunk(dir.join(&file.name), offset)
                .await
                .map_err(SendError::Local)?;
            let count = bytes.len() as u64;
            let chunk = Chunk {
                id,
                file: number,
                offset,
                bytes,
            };
            let () = peers
                .ask(target, Method::SnapshotChunk, &chunk, time)
                .await?;
            metrics::counter!("visto_snapshot_sent_bytes_total").increment(count);
            offset += count;
        }
    }
    Ok(SnapshotResponse::new(
        peers
            .ask(target, Method::SnapshotInstall, offer, INSTALL_TIME)
            .await?,
    ))
}

async fn read_chunk(path: PathBuf, offset: u64) -> std::io::Result<Bytes> {
    blocking(move || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::with_capacity(CHUNK_BYTES as usize);
        file.take(CHUNK_BYTES).read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            return Err(std::io::Error::new(
                std::io::ErrorKind::UnexpectedEof,
                "a snapshot file is shorter than its manifest says",
            ));
        }
        Ok(Bytes::from(bytes))
    })
    .await
}

#[derive(Debug)]
enum SendError {
    /// This node cannot read its own snapshot.
    Local(std::io::Error),
    Call(CallError),
}

impl From<CallError> for SendError {
    fn from(error: CallError) -> SendError {
        SendError::Call(error)
    }
}

/// The receiving end: at most one snapshot at a time.
pub(crate) struct Receiver {
    raft: Raft,
    current: Mutex<Option<Receiving>>,
}

struct Receiving {
    id: [u8; 32],
    manifest: Manifest,
    dir: Box<SnapshotDir>,
    have: Vec<u64>,
}

impl Receiver {
    pub(crate) fn new(raft: Raft) -> Receiver {
        Receiver {
            raft,
            current: Mutex::new(None),
        }
    }

    /// Begins, or goes on with what is there of the same snapshot.
    pub(crate) async fn offer(&self, offer: Offer) -> Result<OfferAnswer, Denial> {
        check_names(&offer.manifest)?;
        let vote = self.raft.metrics().borrow().vote;
        if vote > offer.vote {
            return Ok(OfferAnswer::HigherVote(vote));
        }
        let id = manifest_id(&offer.manifest);
        let mut current = self.current.lock().await;
        if let Some(receiving) = current.as_ref().filter(|receiving| receiving.id == id) {
            return Ok(OfferAnswer::Have(receiving.have.clone()));
        }
        // Another one replaces it: its directory goes with it.
        *current = None;
        let dir = self.raft.begin_receiving_snapshot().await.map_err(failed)?;
        let have = vec![0; offer.manifest.files.len()];
        let names = offer.manifest.files.iter().map(|file| &file.name);
        let paths: Vec<PathBuf> = names.map(|name| dir.path().join(name)).collect();
        // All at once: an empty file has no chunk.
        let create = move || {
            paths
                .into_iter()
                .try_for_each(|path| File::create_new(path).map(drop))
        };
        blocking(create).await.map_err(failed)?;
        *current = Some(Receiving {
            id,
            manifest: offer.manifest,
            dir,
            have: have.clone(),
        });
        tracing::info!("receiving a snapshot");
        Ok(OfferAnswer::Have(have))
    }

    /// Writes a chunk at the end of its file. A chunk that does not fit there is refused, and the sender asks again what is there.
    pub(crate) async fn chunk(&self, chunk: Chunk) -> Result<(), Denial> {
        let mut current = self.current.lock().await;
        let receiving = current
            .as_mut()
            .filter(|receiving| receiving.id == chunk.id)
            .ok_or_else(|| refused("no such offer"))?;
        let number = chunk.file as usize;
        let (Some(file), Some(have)) = (
            receiving.manifest.files.get(number),
            receiving.have.get_mut(number),
        ) else {
            return Err(refused("no such file"));
        };
        let count = chunk.bytes.len() as u64;
        if *have != chunk.offset || count == 0 || count > file.bytes.saturating_sub(chunk.offset) {
            return Err(refused("the chunk does not continue its file"));
        }
        let path = receiving.dir.path().join(&file.name);
        blocking(move || {
            let mut file = OpenOptions::new().write(true).open(path)?;
            file.seek(SeekFrom::Start(chunk.offset))?;
            file.write_all(&chunk.bytes)
        })
        .await
        .map_err(failed)?;
        *have += count;
        Ok(())
    }

    /// Verifies all files and installs them; answers with the vote that this node then holds.
    pub(crate) async fn install(&self, offer: Offer) -> Result<RaftVote, Denial> {
        let mut current = self.current.lock().await;
        let id = manifest_id(&offer.manifest);
        let complete = |receiving: &Receiving| {
            receiving.id == id
                && receiving
                    .manifest
                    .files
                    .iter()
                    .zip(&receiving.have)
                    .all(|(file, have)| file.bytes == *have)
        };
        let Some(receiving) = current.take_if(|receiving| complete(receiving)) else {
            return Err(refused("the snapshot is not complete"));
        };
        // Dying from here on leaves a received directory that the next start removes: nothing points to it yet.
        let finish = move || {
            receiving
                .dir
                .finish(receiving.manifest)
                .map(|()| receiving.dir)
        };
        let dir = blocking(move || Ok(finish()))
            .await
            .map_err(failed)?
            .map_err(failed)?;
        let snapshot = openraft::Snapshot {
            meta: offer.manifest.meta,
            snapshot: dir,
        };
        let installed = self
            .raft
            .install_full_snapshot(offer.vote, snapshot)
            .await
            .map_err(failed)?;
        tracing::info!("snapshot installed");
        Ok(installed.vote)
    }
}

/// A name that could leave the directory, or two files of one name, would let a peer write where it likes.
fn check_names(manifest: &Manifest) -> Result<(), Denial> {
    let names: std::collections::BTreeSet<&str> = manifest
        .files
        .iter()
        .map(|file| file.name.as_str())
        .collect();
    let distinct = names.len() == manifest.files.len();
    if !distinct || !names.iter().all(|name| is_plain_name(name)) {
        return Err(Denial::Malformed);
    }
    Ok(())
}

pub(crate) fn manifest_id(manifest: &Manifest) -> [u8; 32] {
    // Encoding a struct of plain members into memory does not fail; an empty id would only mean that nothing resumes.
    let bytes = postcard::to_allocvec(manifest).unwrap_or_default();
    Hash::of(&[&bytes]).0
}

fn refused(reason: &str) -> Denial {
    Denial::Refused(reason.to_owned())
}

fn failed(error: impl std::fmt::Display) -> Denial {
    Denial::Failed(error.to_string())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(std::io::Error::other)?
}

const CHUNK_BYTES: u64 = 1024 * 1024;
const ATTEMPTS: u32 = 5;
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Verifying reads every byte once.
const INSTALL_TIME: Duration = Duration::from_secs(600);
