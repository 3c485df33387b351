// SPDX-License-Identifier: EUPL-1.2
//! The receiving end: at most one snapshot at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    sync::{Arc, mpsc},
};

use bytes::Bytes;
use tokio::{
    sync::{Mutex, watch},
    task::JoinHandle,
};

use super::{CHUNK_BYTES, ChunkHead, Offer, OfferAnswer, WINDOW, blocking, manifest_id};
use crate::{
    error::{Error, ErrorKind},
    peer::frame::Denial,
    raft_types::{Raft, RaftVote},
    store::snapshot::{Manifest, SnapshotDir, is_plain_name},
};

/// Takes in what a leader sends.
pub(crate) struct Receiver {
    raft: Raft,
    current: Arc<Mutex<Option<Receiving>>>,
    /// Changes with each chunk written and each offer: chunks that came before their turn look again.
    pub(super) moved: watch::Sender<()>,
}

struct Receiving {
    id: [u8; 32],
    /// How often it was offered: a chunk that still waits from before the last offer is not written.
    offers: u64,
    manifest: Arc<Manifest>,
    dir: SnapshotDir,
    have: Vec<u64>,
    /// Files that are being written, by place in the manifest.
    open: BTreeMap<usize, Arc<File>>,
    written: mpsc::Sender<Written>,
    verified: JoinHandle<Result<(), Error>>,
}

/// What can be done beside, since it is written.
enum Written {
    /// A piece of a file, to be brought to the disk.
    Part(Arc<File>),
    /// The whole of the file at this place in the manifest.
    Whole(usize),
}

/// Where a chunk belongs.
enum Place {
    Next,
    /// It is there already: its answer was lost.
    There,
    /// Others come before it, and are under way.
    Later,
}

impl Receiver {
    pub(crate) fn new(raft: Raft) -> Receiver {
        Receiver {
            raft,
            current: Arc::default(),
            moved: watch::Sender::new(()),
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
        if let Some(receiving) = current.as_mut().filter(|receiving| receiving.id == id) {
            receiving.offers += 1;
            self.moved.send_replace(());
            return Ok(OfferAnswer::Have(receiving.have.clone()));
        }
        // Another one replaces it: its directory goes with it.
        *current = None;
        self.moved.send_replace(());
        let dir = self.raft.begin_receiving_snapshot().await.map_err(failed)?;
        let receiving = blocking(move || Receiving::begin(id, offer.manifest, *dir))
            .await
            .map_err(failed)?;
        let have = receiving.have.clone();
        *current = Some(receiving);
        tracing::info!("receiving a snapshot");
        Ok(OfferAnswer::Have(have))
    }

    /// Writes a chunk at the end of its file, when those before it are written. A chunk that does not fit there is refused, and the sender
    /// asks again what is there.
    pub(crate) async fn chunk(&self, body: &Bytes) -> Result<(), Denial> {
        let (head, bytes) = ChunkHead::split(body)?;
        let mut moved = self.moved.subscribe();
        let mut offers = None;
        loop {
            moved.mark_unchanged();
            let mut current = self.current.clone().lock_owned().await;
            let receiving = current
                .as_mut()
                .filter(|receiving| receiving.id == head.id)
                .ok_or_else(|| refused("no such offer"))?;
            if *offers.get_or_insert(receiving.offers) != receiving.offers {
                return Err(refused("what is there was asked anew"));
            }
            match receiving.place(&head)? {
                Place::There => return Ok(()),
                Place::Later => {
                    drop(current);
                    moved.changed().await.map_err(failed)?;
                }
                Place::Next => {
                    let sender = self.moved.clone();
                    // The lock goes along: a chunk whose caller is gone is written and counted all the same, or its file would be verified
                    // while it is being written.
                    let write = move || {
                        let written = match current.as_mut() {
                            Some(receiving) => receiving.write(&head, &bytes),
                            None => Ok(()),
                        };
                        // What failed to be written may be sent again; a file that is damaged is in vain.
                        if written
                            .as_ref()
                            .is_err_and(|error| error.kind() == ErrorKind::Corrupt)
                        {
                            *current = None;
                        }
                        drop(current);
                        sender.send_replace(());
                        written
                    };
                    return blocking(move || Ok(write()))
                        .await
                        .map_err(failed)?
                        .map_err(failed);
                }
            }
        }
    }

    /// Waits until all files are verified and installs them; answers with the vote that this node then holds.
    pub(crate) async fn install(&self, offer: Offer) -> Result<RaftVote, Denial> {
        let mut current = self.current.lock().await;
        let id = manifest_id(&offer.manifest);
        let Some(receiving) =
            current.take_if(|receiving| receiving.id == id && receiving.is_complete())
        else {
            return Err(refused("the snapshot is not complete"));
        };
        // Dying from here on leaves a received directory that the next start removes: nothing points to it yet.
        let Receiving {
            dir,
            written,
            verified,
            manifest,
            ..
        } = receiving;
        drop(written);
        verified.await.map_err(failed)?.map_err(failed)?;
        tracing::info!("a snapshot is received and verified");
        let finish = move || dir.finish(Manifest::clone(&manifest)).map(|()| dir);
        let dir = blocking(move || Ok(finish()))
            .await
            .map_err(failed)?
            .map_err(failed)?;
        let snapshot = openraft::Snapshot {
            meta: offer.manifest.meta,
            snapshot: Box::new(dir),
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

impl Receiving {
    fn begin(id: [u8; 32], manifest: Manifest, dir: SnapshotDir) -> std::io::Result<Receiving> {
        // All at once: an empty file has no chunk.
        for file in &manifest.files {
            File::create_new(dir.path().join(&file.name))?;
        }
        let manifest = Arc::new(manifest);
        let (written, to_verify) = mpsc::channel();
        let (their_dir, their_manifest) = (dir.clone(), manifest.clone());
        // One after the other: the disk and a core work on what came while more comes, and no more than that.
        let verified = tokio::task::spawn_blocking(move || {
            for written in to_verify {
                verify(&their_dir, &their_manifest, &written).inspect_err(
                    |error| tracing::error!(%error, "a received snapshot is not taken"),
                )?;
            }
            Ok(())
        });
        Ok(Receiving {
            id,
            offers: 0,
            have: vec![0; manifest.files.len()],
            manifest,
            dir,
            open: BTreeMap::new(),
            written,
            verified,
        })
    }

    fn place(&self, head: &ChunkHead) -> Result<Place, Denial> {
        let number = head.file as usize;
        let (Some(file), Some(have)) = (self.manifest.files.get(number), self.have.get(number))
        else {
            return Err(refused("no such file"));
        };
        let end = head.offset.checked_add(head.bytes);
        let Some(end) = end.filter(|end| head.bytes > 0 && *end <= file.bytes) else {
            return Err(refused("the chunk is not of its file"));
        };
        if head.offset == *have {
            Ok(Place::Next)
        } else if end <= *have {
            Ok(Place::There)
        } else if head.offset > *have && head.offset - have <= AHEAD_BYTES_MAX {
            Ok(Place::Later)
        } else {
            Err(refused("the chunk does not continue its file"))
        }
    }

    fn write(&mut self, head: &ChunkHead, bytes: &[u8]) -> Result<(), Error> {
        let number = head.file as usize;
        let (Some(file), Some(have)) = (self.manifest.files.get(number), self.have.get_mut(number))
        else {
            return Ok(());
        };
        let path = self.dir.path().join(&file.name);
        let failed = |error| Error::io(format!("write {}", path.display()), error);
        let handle = match self.open.remove(&number) {
            Some(handle) => handle,
            None => Arc::new(OpenOptions::new().write(true).open(&path).map_err(failed)?),
        };
        handle.write_all_at(bytes, head.offset).map_err(failed)?;
        *have += head.bytes;
        let written = if *have == file.bytes {
            Some(Written::Whole(number))
        } else {
            let part = *have / PART_BYTES != head.offset / PART_BYTES;
            let part = part.then(|| Written::Part(handle.clone()));
            self.open.insert(number, handle);
            // A sender has one file open, or two while it goes from one to the next.
            if self.open.len() > WINDOW {
                self.open.pop_first();
            }
            part
        };
        // Whoever verifies has ended only where a file is not what it should be, or cannot be kept: no use to receive more.
        let sent = written.map_or(Ok(()), |written| self.written.send(written));
        sent.map_err(|_| {
            Error::corrupt(format!(
                "{}: what was received is not what was offered",
                self.dir.path().display()
            ))
        })
    }

    fn is_complete(&self) -> bool {
        let files = self.manifest.files.iter().zip(&self.have);
        files.into_iter().all(|(file, have)| file.bytes == *have)
    }
}

fn verify(dir: &SnapshotDir, manifest: &Manifest, written: &Written) -> Result<(), Error> {
    match written {
        Written::Part(file) => file
            .sync_data()
            .map_err(|error| Error::io(format!("fsync {}", dir.path().display()), error)),
        Written::Whole(number) => match manifest.files.get(*number) {
            Some(file) => dir.verify(file),
            None => Ok(()),
        },
    }
}

/// A name that could leave the directory, or two files of one name, would let a peer write where it likes.
fn check_names(manifest: &Manifest) -> Result<(), Denial> {
    let names: BTreeSet<&str> = manifest
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

fn refused(reason: &str) -> Denial {
    Denial::Refused(reason.to_owned())
}

fn failed(error: impl std::fmt::Display) -> Denial {
    Denial::Failed(error.to_string())
}

/// A chunk waits for those before it only where they can be under way.
const AHEAD_BYTES_MAX: u64 = WINDOW as u64 * CHUNK_BYTES;
/// A file goes to the disk in pieces of so many bytes: whoever else writes there waits for no more than one.
const PART_BYTES: u64 = 4 * 1024 * 1024;
