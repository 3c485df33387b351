// SPDX-License-Identifier: EUPL-1.2
//! Keeps published checkpoints, on every node, and spreads them.
//!
//! A node believes no note that it is handed: it verifies the signatures under the keys that its own state has for that size, and the root
//! against its own tree. Notes go to each peer in order and without gaps, so that every node answers with the same first checkpoint for an
//! entry, and so with the same receipt.

use std::{sync::Arc, time::Duration};

use ledger::{id::NodeNumber, note::Note, number::TreeSize};
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::quorum::{Names, NotPublished, Quorum};
use crate::{
    error::{Error, ErrorKind},
    face::Published,
    peer::{client::Peers, rpc::Notes},
    raft_types::Raft,
    store::machine::Machine,
};

/// The published checkpoints of this node.
pub(crate) struct Keeper {
    names: Names,
    machine: Machine,
    newest: watch::Sender<Option<Arc<Published>>>,
    /// One writer at a time, so that the newest in memory is the newest stored.
    keeping: Mutex<()>,
}

impl Keeper {
    /// Over what is stored. Blocks on disk.
    pub(crate) fn open(names: Names, machine: Machine) -> Result<Keeper, Error> {
        let newest = machine.view()?.newest_published()?.map(Arc::new);
        Ok(Keeper {
            names,
            machine,
            newest: watch::Sender::new(newest),
            keeping: Mutex::new(()),
        })
    }

    /// The newest published checkpoint, and its successors as they come.
    pub(crate) fn newest(&self) -> watch::Receiver<Option<Arc<Published>>> {
        self.newest.subscribe()
    }

    /// Size of the newest; zero before the first.
    pub(crate) fn newest_size(&self) -> TreeSize {
        self.newest
            .borrow()
            .as_ref()
            .map_or(TreeSize::EMPTY, |newest| newest.size)
    }

    /// Stores checkpoints that this node verified or made, oldest first, then lets everybody see the newest.
    pub(crate) async fn keep(&self, published: Vec<Published>) -> Result<(), Error> {
        let _keeping = self.keeping.lock().await;
        let Some(last) = published.last().cloned() else {
            return Ok(());
        };
        let machine = self.machine.clone();
        // Dying before this is stored forgets it here; it was not shown to anybody yet.
        blocking(move || machine.put_published(&published)).await?;
        metrics::gauge!("visto_published_size").set(last.size.0 as f64);
        self.newest.send_if_modified(|newest| {
            let newer = newest.as_ref().is_none_or(|newest| newest.size < last.size);
            if newer {
                *newest = Some(Arc::new(last));
            }
            newer
        });
        Ok(())
    }

    /// Takes over what came with an installed snapshot.
    pub(crate) async fn refresh(&self) -> Result<(), Error> {
        let _keeping = self.keeping.lock().await;
        let machine = self.machine.clone();
        let stored = blocking(move || machine.view()?.newest_published())
            .await?
            .map(Arc::new);
        self.newest.send_if_modified(|newest| {
            let newer = stored.as_ref().map(|stored| stored.size)
                > newest.as_ref().map(|newest| newest.size);
            if newer {
                *newest = stored;
            }
            newer
        });
        Ok(())
    }

    /// Verifies notes from a peer and stores those that hold, up to the first that does not, or that this node has not applied yet when
    /// `until` comes. Answers with the size of the newest that it then has.
    pub(crate) async fn take(&self, notes: Notes, until: Instant) -> Result<TreeSize, Error> {
        let mut taken = Vec::new();
        for note in notes.notes {
            let Some(size) = stated_size(&note) else {
                break;
            };
            if size <= self.newest_size() {
                continue;
            }
            if !applied_by(&self.machine, size, until).await {
                break;
            }
            let (machine, names) = (self.machine.clone(), self.names.clone());
            match blocking(move || verify(&machine, &names, size, &note)).await? {
                Ok(published) => taken.push(published),
                Err(reason) => {
                    metrics::counter!("visto_published_refused_total").increment(1);
                    tracing::error!(%reason, size = size.0, "a peer's published checkpoint does not hold here");
                    break;
                }
            }
        }
        self.keep(taken).await?;
        Ok(self.newest_size())
    }

    /// Notes above a size, oldest first, a bounded number.
    pub(crate) async fn notes_after(&self, size: TreeSize) -> Result<Notes, Error> {
        let machine = self.machine.clone();
        let published = blocking(move || machine.view()?.published_after(size, NOTES_MAX)).await?;
        Ok(Notes {
            notes: published
                .into_iter()
                .map(|published| published.note.to_string())
                .collect(),
        })
    }

    /// Asks peers for what this node lacks. Who does not answer soon is not waited for.
    pub(crate) async fn fetch(&self, peers: &Peers, from: Vec<NodeNumber>) {
        let until = Instant::now() + FETCH_TIME;
        let answers = from
            .into_iter()
            .map(|peer| peers.notes_after(peer, self.newest_size(), FETCH_TIME));
        for notes in futures::future::join_all(answers)
            .await
            .into_iter()
            .flatten()
        {
            if let Err(error) = self.take(notes, until).await {
                tracing::warn!(%error, "cannot take over published checkpoints");
            }
        }
    }

    /// While this node leads: hands one peer every checkpoint that it lacks, until `stop`.
    pub(crate) async fn spread(
        &self,
        peers: &Peers,
        peer: NodeNumber,
        raft: &Raft,
        stop: CancellationToken,
    ) {
        stop.run_until_cancelled(async {
            let own = peers.own().0;
            let (mut newest, mut leadership) = (self.newest(), raft.server_metrics());
            // Unknown until it answers.
            let mut there: Option<TreeSize> = None;
            loop {
                let leads = leadership.borrow_and_update().current_leader == Some(own);
                let size = newest
                    .borrow_and_update()
                    .as_ref()
                    .map_or(TreeSize::EMPTY, |newest| newest.size);
                if !leads || there >= Some(size) {
                    if !leads {
                        there = None;
                    }
                    tokio::select! {
                        _ = newest.changed() => {}
                        _ = leadership.changed() => {}
                    }
                    continue;
                }
                let told = match there {
                    None => Ok(Notes { notes: Vec::new() }),
                    Some(there) => self.notes_after(there).await,
                };
                let Ok(told) = told else { return };
                match peers.publish(peer, &told, SPREAD_TIME).await {
                    Ok(has) if there == Some(TreeSize(has)) => sleep(SPREAD_PAUSE).await,
                    Ok(has) => there = Some(TreeSize(has)),
                    Err(_) => {
                        there = None;
                        sleep(SPREAD_PAUSE).await;
                    }
                }
            }
        })
        .await;
    }
}

/// Waits until this node has applied so much; whether it did in time.
pub(crate) async fn applied_by(machine: &Machine, size: TreeSize, until: Instant) -> bool {
    let mut applied = machine.applied();
    let reached = timeout_at(
        until,
        applied.wait_for(|applied| applied.tree_size >= size.0),
    )
    .await;
    reached.is_ok_and(|reached| reached.is_ok())
}

/// A note's signatures and root against this node's own state and tree.
fn verify(
    machine: &Machine,
    names: &Names,
    size: TreeSize,
    note: &str,
) -> Result<Result<Published, NotPublished>, Error> {
    let view = machine.view()?;
    let quorum = Quorum::at(&view, names, size, &Default::default())?;
    let published = match quorum.open(note) {
        Ok(published) => published,
        Err(reason) => return Ok(Err(reason)),
    };
    match view.root_at(size)? {
        Some(root) if root == published.root => Ok(Ok(published)),
        _ => Ok(Err(NotPublished::OtherRoot)),
    }
}

/// The size that a note states; nothing about it is believed yet.
fn stated_size(note: &str) -> Option<TreeSize> {
    let note = Note::parse(note.as_bytes()).ok()?;
    ledger::checkpoint::Checkpoint::parse(note.text())
        .ok()
        .map(|checkpoint| checkpoint.size)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        Err(Error::with_source(
            ErrorKind::ShuttingDown,
            "a blocking task ended",
            error,
        ))
    })
}

const NOTES_MAX: usize = 256;
const FETCH_TIME: Duration = Duration::from_millis(500);
const SPREAD_TIME: Duration = Duration::from_secs(2);
const SPREAD_PAUSE: Duration = Duration::from_millis(200);
