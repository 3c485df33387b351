// SPDX-License-Identifier: EUPL-1.2
//! Receipts that are asked for at about the same time are read in one go.
//!
//! When a checkpoint is published, all who wait for it ask at once. A thread and a view for each would cost more than their receipts do, and
//! the checkpoint and most nodes of the tree are the same for all of them.

use std::sync::Arc;

use ledger::number::EntryIndex;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::Node;
use crate::error::{Error, ErrorKind};
use crate::store::machine::Machine;

/// Whoever asks for more is not kept waiting by others, nor they by it.
const GATHERED_MAX: usize = 8;

/// In text form, in the order in which they were asked for.
type Texts = Result<Vec<Option<String>>, Error>;

impl Node {
    /// The receipts of entries as text (C2SP tlog-proof), each under the first checkpoint published here that holds the entry. None while there
    /// is none, and once the body is erased.
    ///
    /// # Errors
    /// What they are made of cannot be read, or the node is stopping.
    pub async fn receipts(&self, indexes: Vec<EntryIndex>) -> Texts {
        self.0.receipts.read(indexes).await
    }
}

/// Reads receipts.
pub(super) struct Receipts {
    machine: Machine,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    asked: Vec<Asked>,
    /// A thread is at it, and looks here again before it ends.
    read: bool,
}

struct Asked {
    indexes: Vec<EntryIndex>,
    answer: oneshot::Sender<Texts>,
}

impl Receipts {
    pub(super) fn new(machine: Machine) -> Arc<Receipts> {
        Arc::new(Receipts {
            machine,
            queue: Mutex::default(),
        })
    }

    async fn read(self: &Arc<Self>, indexes: Vec<EntryIndex>) -> Texts {
        if indexes.len() > GATHERED_MAX {
            let receipts = self.clone();
            let read = spawn_blocking(move || texts(&receipts.machine, &indexes));
            return read.await.unwrap_or_else(stopping);
        }
        self.ask(indexes).await.unwrap_or_else(stopping)
    }

    fn ask(self: &Arc<Self>, indexes: Vec<EntryIndex>) -> oneshot::Receiver<Texts> {
        let (answer, answered) = oneshot::channel();
        let mut queue = self.queue.lock();
        queue.asked.push(Asked { indexes, answer });
        if !std::mem::replace(&mut queue.read, true) {
            let receipts = self.clone();
            spawn_blocking(move || receipts.answer_all());
        }
        answered
    }

    fn answer_all(&self) {
        let _broken = Broken(self);
        loop {
            let mut queue = self.queue.lock();
            if queue.asked.is_empty() {
                queue.read = false;
                return;
            }
            let mut asked = std::mem::take(&mut queue.asked);
            drop(queue);
            // Who asked may be gone.
            asked.retain(|asked| !asked.answer.is_closed());
            answer(&self.machine, asked);
        }
    }
}

fn answer(machine: &Machine, asked: Vec<Asked>) {
    let mut indexes: Vec<EntryIndex> = asked.iter().flat_map(|it| it.indexes.clone()).collect();
    indexes.sort_unstable();
    indexes.dedup();
    let read = texts(machine, &indexes);
    for Asked {
        indexes: wanted,
        answer,
    } in asked
    {
        let of = |index: &EntryIndex| {
            let at = indexes.binary_search(index).ok()?;
            read.as_ref().ok()?.get(at)?.clone()
        };
        let _ = answer.send(match &read {
            Ok(_) => Ok(wanted.iter().map(of).collect()),
            // One that cannot be read must not take the others along.
            Err(_) => texts(machine, &wanted),
        });
    }
}

fn texts(machine: &Machine, indexes: &[EntryIndex]) -> Texts {
    let receipts = machine.view()?.receipts(indexes)?.into_iter();
    Ok(receipts
        .map(|receipt| receipt.map(|it| it.to_string()))
        .collect())
}

fn stopping(error: impl std::error::Error + Send + Sync + 'static) -> Texts {
    Err(Error::with_source(
        ErrorKind::ShuttingDown,
        "receipts were cut short",
        error,
    ))
}

/// Lets the next one start a thread, should this one panic.
struct Broken<'a>(&'a Receipts);

impl Drop for Broken<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            *self.0.queue.lock() = Queue::default();
        }
    }
}
