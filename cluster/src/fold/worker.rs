// SPDX-License-Identifier: EUPL-1.2
//! Folds what is ordered, one fold after the other, and shows the newest whose `state-root` entry is published.

use std::sync::Arc;

use ledger::{
    hash::Hash,
    number::{EntryIndex, TreeSize},
    state::registry::LastStateRoot,
};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::folded::Folded;
use crate::{
    error::Error,
    store::{
        fatal::Fatal,
        fold::{Folds, Sizes},
        machine::Machine,
    },
};

/// The newest state root that is published.
#[derive(Clone)]
pub(crate) struct Newest {
    pub(crate) state_root: LastStateRoot,
    /// Its values and map while the next fold overwrites them. Before that whoever asks gets a moment of its own: a moment that is held keeps
    /// RocksDB from dropping what is erased.
    pub(crate) pinned: Option<Folded>,
}

/// This node's folding.
pub(crate) struct Worker {
    pub(crate) machine: Machine,
    pub(crate) fatal: Fatal,
    pub(crate) tasks: TaskTracker,
    pub(crate) sizes: Sizes,
    pub(crate) newest: watch::Sender<Option<Newest>>,
}

impl Worker {
    /// Runs until `stop`, and ends no step half-way.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut folds = self.machine.folds();
        let mut applied = self.machine.applied();
        while !stop.is_cancelled() && self.fatal.check().is_ok() {
            let now = *folds.borrow_and_update();
            let (size, published) = {
                let applied = applied.borrow_and_update();
                (applied.tree_size, applied.published_size)
            };
            metrics::gauge!("visto_fold_pending").set(size.saturating_sub(now.done.size) as f64);
            let shown = self.show(&now, published);
            let free = now.under_way || now.done.version == 0 || shown;
            if ordered(&now) && free && (now.under_way || self.pin().await) {
                // A failure is latched by the machine: the loop ends.
                let _ = self.machine.fold(self.sizes, stop.clone()).await;
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = folds.changed() => if changed.is_err() { return },
                // Also where what is done is shown: how many wait for a fold is told as of now, and somebody may wait by it.
                changed = applied.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Shows what is done as soon as its `state-root` entry is published, and not before: nobody can prove anything from it earlier. Whether
    /// it is shown.
    fn show(&self, now: &Folds, published: u64) -> bool {
        let version =
            |newest: &Option<Newest>| newest.as_ref().map(|newest| newest.state_root.version);
        if version(&self.newest.borrow()) == Some(now.done.version) {
            return true;
        }
        let stated = now.stated.filter(|stated| published > stated.index);
        let Some(stated) = stated.filter(|_| !now.under_way) else {
            return false;
        };
        let state_root = LastStateRoot {
            index: EntryIndex(stated.index),
            size: TreeSize(now.done.size),
            version: now.done.version,
            root: Hash(now.done.root),
        };
        metrics::gauge!("visto_state_root_version").set(state_root.version as f64);
        self.newest.send_replace(Some(Newest {
            state_root,
            pinned: None,
        }));
        true
    }

    /// Pins what is shown, before the next fold overwrites it, until that one is shown. Whether the fold may begin.
    async fn pin(&self) -> bool {
        let Some(newest) = self.newest.borrow().clone() else {
            return true;
        };
        let (machine, fatal) = (self.machine.clone(), self.fatal.clone());
        let pin = move || Folded::of(machine.view()?, newest.state_root, &fatal);
        let pinned = self.tasks.spawn_blocking(pin).await;
        match pinned.unwrap_or_else(|error| Err(Error::io("pin what is folded", error))) {
            Ok(pinned) => {
                self.newest.send_modify(|newest| {
                    if let Some(newest) = newest {
                        newest.pinned = pinned;
                    }
                });
                true
            }
            Err(error) => {
                self.fatal.latch(error);
                false
            }
        }
    }
}

/// Whether there is a fold to be done.
fn ordered(now: &Folds) -> bool {
    now.ordered
        .is_some_and(|order| order.version > now.done.version)
}

/// How big a size callers want covered, the greatest: whoever leads orders a fold for all of them at once.
pub(crate) type Wanted = Arc<watch::Sender<u64>>;

/// Notes that somebody wants so much covered.
pub(crate) fn want(wanted: &Wanted, size: u64) {
    wanted.send_if_modified(|greatest| {
        let greater = size > *greatest;
        *greatest = size.max(*greatest);
        greater
    });
}
