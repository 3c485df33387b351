// SPDX-License-Identifier: EUPL-1.2
//! The receiving end: at most one snapshot at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    sync::{Arc, mpsc},
    time::Duration,
};

use bytes::Bytes;
use openraft::Snapshot;
use tokio::{
    sync::{Mutex, watch},
    task::JoinHandle,
    time::timeout,
};

use super::{CHUNK_BYTES, ChunkHead, Offer, OfferAnswer, WINDOW, blocking, manifest_id};
use crate::{
    error::{Error, ErrorKind},
    peer::frame::Denial,
    raft_types::{Raft, RaftVote},
    store::snapshot::{FILES_MAX, Manifest, SnapshotDir, is_plain_name},
};

/// Takes in what a leader sends.
pub(crate) struct Receiver {
    raft: Raft,
    current: Arc<Mutex<Option<Receiving>>>,
    /// Changes with each chunk written and each offer: chunks that came before their turn look again.
    pub(super) moved: watch::Sender<()>,
    /// See [`ABANDONED`].
    abandoned: Duration,
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
            abandoned: ABANDONED,
        }
    }

    /// The same, with another time without a word after which a transfer is given up.
    #[cfg(test)]
    pub(super) fn giving_up_after(self, abandoned: Duration) -> Receiver {
        Receiver { abandoned, ..self }
    }

    /// Begins, or goes on with what is there of the same snapshot, or of the same files of another one.
    pub(crate) async fn offer(&self, offer: Offer) -> Result<OfferAnswer, Denial> {
        check_names(&offer.manifest)?;
        let vote = self.raft.metrics().borrow().vote;
        if vote > offer.vote {
            return Ok(OfferAnswer::HigherVote(vote));
        }
        let id = manifest_id(&offer.manifest);
        let mut current = self.current.lock().await;
        if self.has_applied(&offer.manifest) {
            let files = offer.manifest.files.iter();
            return Ok(OfferAnswer::Have(files.map(|file| file.bytes).collect()));
        }
        if let Some(receiving) = current.as_mut().filter(|receiving| receiving.id == id) {
            receiving.offers += 1;
            self.moved.send_replace(());
            return Ok(OfferAnswer::Have(receiving.have.clone()));
        }
        // Another one replaces it: its directory goes, but for files that are in both. A sender that was away comes back with a newer snapshot,
        // most of whose files are the same.
        let former = match current.take() {
            Some(former) => Some(former.end().await),
            None => None,
        };
        self.moved.send_replace(());
        let dir = self.raft.begin_receiving_snapshot().await.map_err(failed)?;
        let begin = move || Receiving::begin(id, offer.manifest, *dir, former.as_ref());
        let receiving = blocking(begin).await.map_err(failed)?;
        let have = receiving.have.clone();
        *current = Some(receiving);
        self.watch(id);
        tracing::info!("receiving a snapshot");
        Ok(OfferAnswer::Have(have))
    }

    /// Whether the ledger here is as far already: it was installed, and whoever sent it did not hear of it.
    fn has_applied(&self, manifest: &Manifest) -> bool {
        let last = manifest.meta.last_log_id;
        last.is_some() && self.raft.metrics().borrow().last_applied >= last
    }

    /// Lets go of what was received of a snapshot when nothing more comes.
    fn watch(&self, id: [u8; 32]) {
        let (current, abandoned) = (Arc::downgrade(&self.current), self.abandoned);
        let mut moved = self.moved.subscribe();
        tokio::spawn(async move {
            loop {
                match timeout(abandoned, moved.changed()).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(_)) => return,
                    Err(_) => {}
                }
                let Some(current) = current.upgrade() else {
                    return;
                };
                let mut current = current.lock().await;
                // What came while this waited for the lock counts.
                if moved.has_changed().unwrap_or(false) {
                    continue;
                }
                if current.take_if(|receiving| receiving.id == id).is_some() {
                    tracing::warn!("nothing more came of a snapshot: what is there is let go");
                }
                return;
            }
        });
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
        let mut current = self.current.clone().lock_owned().await;
        if self.has_applied(&offer.manifest) {
            return Ok(self.raft.metrics().borrow().vote);
        }
        let id = manifest_id(&offer.manifest);
        let Some(receiving) =
            current.take_if(|receiving| receiving.id == id && receiving.is_complete())
        else {
            return Err(refused("the snapshot is not complete"));
        };
        // It goes on when its caller is gone, or all that was received would be for nothing. The lock goes along: a sender that comes back waits,
        // and hears that it is there.
        let raft = self.raft.clone();
        let installing = tokio::spawn(async move {
            let installed = receiving.install(&raft, offer).await;
            drop(current);
            installed
        });
        installing.await.map_err(failed)?
    }
}

impl Receiving {
    fn begin(
        id: [u8; 32],
        manifest: Manifest,
        dir: SnapshotDir,
        former: Option<&SnapshotDir>,
    ) -> std::io::Result<Receiving> {
        let mut have = Vec::with_capacity(manifest.files.len());
        // All at once: an empty file has no chunk.
        for file in &manifest.files {
            if former.is_some_and(|former| dir.take_verified(file, former)) {
                have.push(file.bytes);
            } else {
                File::create_new(dir.path().join(&file.name))?;
                have.push(0);
            }
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
            have,
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

    /// Receives no more; the folder, when what is in it whole is verified.
    async fn end(self) -> SnapshotDir {
        drop(self.written);
        // What is not as it should be was told, and is not among what was verified.
        let _ = self.verified.await;
        self.dir
    }

    async fn install(self, raft: &Raft, offer: Offer) -> Result<RaftVote, Denial> {
        // Dying from here on leaves a received directory that the next start removes: nothing points to it yet.
        let Receiving {
            dir,
            written,
            verified,
            manifest,
            ..
        } = self;
        drop(written);
        verified.await.map_err(failed)?.map_err(failed)?;
        tracing::info!("a snapshot is received and verified");
        let finish = move || dir.finish(Manifest::clone(&manifest)).map(|()| dir);
        let dir = blocking(move || Ok(finish()))
            .await
            .map_err(failed)?
            .map_err(failed)?;
        let meta = offer.manifest.meta;
        let last = meta.last_log_id;
        let snapshot = Box::new(dir);
        let installed = raft
            .install_full_snapshot(offer.vote, Snapshot { meta, snapshot })
            .await
            .map_err(failed)?;
        if installed.vote == offer.vote {
            // openraft shows it a moment after it answers, and the next offer looks there.
            let shown = raft.wait(Some(SHOWN_TIME));
            let _ = shown
                .metrics(|metrics| metrics.last_applied >= last, "it is shown")
                .await;
        }
        tracing::info!("snapshot installed");
        Ok(installed.vote)
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

/// A name that could leave the directory, or two files of one name, would let a peer write where it likes; each file takes an inode at once.
fn check_names(manifest: &Manifest) -> Result<(), Denial> {
    if manifest.files.len() > FILES_MAX {
        return Err(Denial::Malformed);
    }
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
/// A transfer of which nothing more came for so long is given up. Its folder takes space, holds what may be erased meanwhile, and the eraser waits
/// for former folders to go. A sender that is only cut off is back sooner.
const ABANDONED: Duration = Duration::from_secs(600);
const SHOWN_TIME: Duration = Duration::from_secs(1);
