// SPDX-License-Identifier: EUPL-1.2
//! The sending end.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use ledger::id::NodeNumber;
use openraft::{
    AnyError, ErrorSubject, ErrorVerb, StorageIOError,
    error::{Fatal, NetworkError, StreamingError, Unreachable},
    raft::SnapshotResponse,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{CHUNK_BYTES, ChunkHead, Offer, OfferAnswer, WINDOW, blocking, manifest_id};
use crate::{
    peer::{
        client::{CallError, Peers},
        frame::Method,
    },
    raft_types::{RaftVote, TypeConfig},
    store::{applied::Applied, snapshot::Manifest},
};

/// Sends a snapshot and waits until it is installed, or the peer prefers another leader.
pub(crate) async fn send(
    peers: &Peers,
    target: NodeNumber,
    vote: RaftVote,
    snapshot: &openraft::Snapshot<TypeConfig>,
    time: Duration,
    applied: &watch::Receiver<Applied>,
) -> Result<SnapshotResponse<u64>, StreamingError<TypeConfig, Fatal<u64>>> {
    let Some(manifest) = snapshot.snapshot.manifest() else {
        let error = std::io::Error::other("a snapshot that is not whole is not sent");
        return Err(local(&error));
    };
    let offer = Offer {
        vote,
        manifest: Manifest::clone(&manifest),
    };
    let (mut failures, mut furthest) = (0, 0);
    loop {
        let pace = Pace::new(applied.clone());
        let mut reached = furthest;
        let dir = snapshot.snapshot.path();
        let sent = send_once(peers, target, &offer, dir, time, pace, &mut reached).await;
        // Over a link that breaks now and then it arrives all the same, as long as the peer has more each time.
        if reached > furthest {
            (failures, furthest) = (0, reached);
        }
        match sent {
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
                sleep(RETRY_PAUSE).await;
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

/// `reached`: the bytes that the peer had of it when it was offered, if that is more.
async fn send_once(
    peers: &Peers,
    target: NodeNumber,
    offer: &Offer,
    dir: &Path,
    time: Duration,
    mut pace: Pace,
    reached: &mut u64,
) -> Result<SnapshotResponse<u64>, SendError> {
    let have = match peers
        .ask(target, Method::SnapshotOffer, offer, time)
        .await?
    {
        OfferAnswer::HigherVote(vote) => return Ok(SnapshotResponse::new(vote)),
        OfferAnswer::Have(have) => have,
    };
    *reached = have
        .iter()
        .copied()
        .fold(0, u64::saturating_add)
        .max(*reached);
    let mut reader = Reader::new(dir, &offer.manifest, have);
    let mut under_way = FuturesUnordered::new();
    loop {
        while under_way.len() < WINDOW && !pace.is_due() {
            let (next, chunk) = blocking(move || reader.next())
                .await
                .map_err(SendError::Local)?;
            reader = next;
            let Some((head, body)) = chunk else { break };
            under_way.push(async move {
                let answer = peers.call(target, Method::SnapshotChunk, &body, time).await;
                answer.map(|_| head.bytes)
            });
        }
        // The first that fails ends the others: what became of them is in the answer to the next offer.
        match under_way.next().await {
            Some(sent) => {
                metrics::counter!("visto_snapshot_sent_bytes_total").increment(sent?);
                pace.answered += 1;
            }
            None if pace.is_due() => pace.rest().await,
            None => break,
        }
    }
    Ok(SnapshotResponse::new(
        peers
            .ask(target, Method::SnapshotInstall, offer, INSTALL_TIME)
            .await?,
    ))
}

/// Leaves the node to those who write: when a window of chunks was answered and entries were applied meanwhile, no more is sent until what is under
/// way is answered, and then for [`REST`] times as long as that took. A transfer without writes beside it never rests.
struct Pace {
    applied: watch::Receiver<Applied>,
    /// Entries when this round began.
    size: u64,
    began: Instant,
    answered: usize,
}

impl Pace {
    fn new(applied: watch::Receiver<Applied>) -> Pace {
        let size = applied.borrow().tree_size;
        Pace {
            applied,
            size,
            began: Instant::now(),
            answered: 0,
        }
    }

    fn is_due(&self) -> bool {
        self.answered >= WINDOW && self.applied.borrow().tree_size > self.size
    }

    /// Begins the next round after it.
    async fn rest(&mut self) {
        sleep(rest_after(self.began.elapsed())).await;
        *self = Pace::new(self.applied.clone());
    }
}

fn rest_after(round: Duration) -> Duration {
    round.saturating_mul(REST).min(REST_MAX)
}

/// Reads what the peer lacks, file by file. Each file is opened once.
pub(super) struct Reader {
    id: [u8; 32],
    /// Files not done yet, the next one last.
    left: Vec<Left>,
    open: Option<File>,
}

/// What is left to send of a file.
struct Left {
    number: u32,
    path: PathBuf,
    offset: u64,
    end: u64,
}

pub(super) type Chunk = (ChunkHead, Vec<u8>);

impl Reader {
    pub(super) fn new(dir: &Path, manifest: &Manifest, have: Vec<u64>) -> Reader {
        let have = have.into_iter().chain(std::iter::repeat(0));
        let files = (0u32..).zip(&manifest.files).zip(have);
        let mut left: Vec<Left> = files
            .map(|((number, file), offset)| Left {
                number,
                path: dir.join(&file.name),
                offset,
                end: file.bytes,
            })
            .filter(|left| left.offset < left.end)
            .collect();
        left.reverse();
        Reader {
            id: manifest_id(manifest),
            left,
            open: None,
        }
    }

    /// The next chunk, as the body of a call; none when all is read.
    pub(super) fn next(mut self) -> std::io::Result<(Reader, Option<Chunk>)> {
        let Some(left) = self.left.last_mut() else {
            return Ok((self, None));
        };
        let mut file = match self.open.take() {
            Some(file) => file,
            None => {
                let mut file = File::open(&left.path)?;
                file.seek(SeekFrom::Start(left.offset))?;
                file
            }
        };
        let head = ChunkHead {
            id: self.id,
            file: left.number,
            offset: left.offset,
            bytes: CHUNK_BYTES.min(left.end - left.offset),
        };
        let body = Vec::with_capacity(HEAD_BYTES_MAX + CHUNK_BYTES as usize);
        let mut body = postcard::to_extend(&head, body).map_err(std::io::Error::other)?;
        let read = (&mut file).take(head.bytes).read_to_end(&mut body)?;
        if read as u64 != head.bytes {
            return Err(std::io::Error::new(
                std::io::ErrorKind::UnexpectedEof,
                "a snapshot file is shorter than its manifest says",
            ));
        }
        left.offset += head.bytes;
        if left.offset < left.end {
            self.open = Some(file);
        } else {
            self.left.pop();
        }
        Ok((self, Some((head, body))))
    }
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

const HEAD_BYTES_MAX: usize = 64;
/// In which the peer got no further.
const ATTEMPTS: u32 = 5;
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Verifying reads every byte once.
const INSTALL_TIME: Duration = Duration::from_secs(600);
/// A third of the time goes to the transfer. At full speed it takes up to 45 % of the writes where all nodes share two cores.
const REST: u32 = 2;
/// A round that takes longer waits for a slow link or disk, and not for a core.
const REST_MAX: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_transfer_rests_while_entries_are_applied() {
        let applied = watch::Sender::new(Applied::nothing());
        let mut pace = Pace::new(applied.subscribe());
        pace.answered = WINDOW;
        assert!(!pace.is_due(), "nobody writes");
        applied.send_modify(|applied| applied.tree_size += 1);
        assert!(pace.is_due());
        let began = pace.began;
        pace.rest().await;
        assert!(pace.began > began);
        // Another round, of which a window goes in any case.
        applied.send_modify(|applied| applied.tree_size += 1);
        assert!(!pace.is_due());
        pace.answered = WINDOW;
        assert!(pace.is_due());
        let millis = Duration::from_millis;
        assert_eq!(rest_after(millis(10)), millis(20));
        assert_eq!(rest_after(millis(60_000)), REST_MAX);
    }
}
