// SPDX-License-Identifier: EUPL-1.2
//! The eraser: carries out on this node's disks what `erasure` entries order, and signs `erased` when nothing of it is left.
//!
//! Plaintext lies in the state folder (bodies, and rows that repeat them), in former state folders, in raft_snapshots and in the Raft log.
//! They are taken in this order, each with a record of its own of how many orders it is done with, so that what a crash, a restored copy or an
//! installed raft_snapshot brings back is seen and erased again. Nothing is signed before all of them hold nothing any more; until every
//! node has signed, the order is open.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use ledger::{
    body::system::Erased,
    erasure::{self, Order, Scope},
    id::NodeNumber,
};
use tokio::time::{sleep, timeout};

use crate::{
    clock::Clock,
    error::{Error, ErrorKind},
    face::Outcome,
    fold::worker::{Wanted, want},
    raft_types::Raft,
    store::{
        db::Db,
        erase::{self, Progress},
        fatal::Fatal,
        fold::Done,
        log::Log,
        machine::Machine,
        snapshot::Manifest,
        verify::VerifyPool,
    },
    tasks::Halt,
};

/// Least time between two looks for new orders: many that come together share one round over the disks.
const PERIOD: Duration = Duration::from_secs(1);
/// How often the ages of open orders are told.
const TELL: Duration = Duration::from_secs(30);
/// How long to wait for Raft to make a snapshot or to purge, before asking again.
const RAFT_PAUSE: Duration = Duration::from_millis(200);
/// How often it is asked in one round.
const RAFT_TRIES: u32 = 100;

/// Signs and submits an `erased` entry of this node's.
pub(crate) type Write = Arc<dyn Fn(Erased) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// What the eraser works on.
pub(crate) struct Eraser {
    pub(crate) node: NodeNumber,
    pub(crate) raft: Raft,
    pub(crate) log: Log,
    pub(crate) machine: Machine,
    pub(crate) verifier: VerifyPool,
    pub(crate) fatal: Fatal,
    pub(crate) halt: Halt,
    pub(crate) clock: Clock,
    pub(crate) fold_wanted: Wanted,
    pub(crate) write: Write,
}

/// The orders of one moment, and what they ask of this node.
struct Due {
    db: Arc<Db>,
    /// How many there are, up to the first cut that this node has not folded: until then the lists still hold what it takes.
    all: Progress,
    /// The size that a fold must cover to hold that cut.
    waits_for: Option<u64>,
    /// Last raft_entry applied then: none after it holds what the orders name.
    raft_index: u64,
    /// Those that the state folder is not done with.
    to_rewrite: Vec<Order>,
    /// Those that this node is to sign and has not.
    to_sign: Vec<Order>,
}

impl Eraser {
    /// Works until it is dropped.
    pub(crate) async fn run(self) {
        let mut applied = self.machine.applied();
        // Orders up to this place are signed: they are not looked at again.
        let mut settled = 0;
        loop {
            applied.borrow_and_update();
            let again = match self.round(&mut settled).await {
                Ok(done) => !done,
                Err(error) if error.kind() == ErrorKind::ShuttingDown => return,
                Err(error) => {
                    self.fatal.latch(error);
                    return;
                }
            };
            sleep(PERIOD).await;
            // A step that something still held is tried again; else there is nothing to do before something is applied, but to tell ages.
            if !again && matches!(timeout(TELL, applied.changed()).await, Ok(Err(_))) {
                return;
            }
        }
    }

    /// One round over everything that holds plaintext. Whether nothing is left to do.
    async fn round(&self, settled: &mut u64) -> Result<bool, Error> {
        let due = self.due(settled).await?;
        if let Some(size) = due.waits_for {
            // Heard where this node leads; the others' erasers ask too.
            want(&self.fold_wanted, size);
        }
        if due.all.orders == 0 {
            return Ok(due.waits_for.is_none());
        }
        let (all, db, halt) = (due.all, due.db.clone(), self.halt.clone());
        if !due.to_rewrite.is_empty() {
            let orders = due.to_rewrite;
            tracing::info!(orders = orders.len(), "erasing from the state");
            if !blocking(move || erase::carry_out(&db, &orders, all, &halt)).await? {
                return Ok(false);
            }
        }
        let to_purge = (self.log.erased()? < all).then_some(due.raft_index);
        let Some(snapshot) = self.renew_snapshot(all, to_purge).await? else {
            return Ok(false);
        };
        let (state, halt) = (due.db.path().to_path_buf(), self.halt.clone());
        if !blocking(move || erase::alone(&state, &snapshot, &halt)).await? {
            return Ok(false);
        }
        if let Some(through) = to_purge
            && !self.purge(through, all).await?
        {
            return Ok(false);
        }
        // A raft_snapshot that was installed meanwhile may have brought plaintext along.
        if !Arc::ptr_eq(&due.db, &self.machine.state()) {
            return Ok(false);
        }
        if !due.to_sign.is_empty() {
            self.verifier.forget_all();
        }
        let mut signed = due.waits_for.is_none();
        for order in due.to_sign {
            signed &= self.sign(&due.db, order).await?;
        }
        Ok(signed)
    }

    async fn due(&self, settled: &mut u64) -> Result<Due, Error> {
        let (machine, node, now_ms) = (self.machine.clone(), self.node, self.clock.now_ms());
        let from = *settled;
        let (due, next) = blocking(move || {
            let db = machine.state();
            let view = machine.view()?;
            let given = erasure::orders_count(&view)?;
            let raft_index = view.applied().raft_log_id.map_or(0, |id| id.index);
            let folded = Done::read(&*db)?.size;
            let (mut orders, mut waits_for) = (given, None);
            let mut to_rewrite = Vec::new();
            for place in erase::progress(&db)?.orders..given {
                let order = erasure::order_at(&view, place)?;
                if matches!(order.scope, Scope::Before(..)) && folded <= order.index.0 {
                    (orders, waits_for) = (place, Some(order.index.size().0));
                    break;
                }
                to_rewrite.push(order);
            }
            let mut open = Open::default();
            let (mut to_sign, mut settled) = (Vec::new(), from);
            for place in from..given {
                let order = erasure::order_at(&view, place)?;
                let silent = erasure::waits_for(&view, &order)?;
                if silent.is_empty() {
                    if settled == place {
                        settled += 1;
                    }
                    continue;
                }
                open.count(&order, now_ms);
                if silent.contains(&node) && place < orders {
                    to_sign.push(order);
                }
            }
            open.show();
            let due = Due {
                db,
                all: Progress { orders },
                waits_for,
                raft_index,
                to_rewrite,
                to_sign,
            };
            Ok((due, settled))
        })
        .await?;
        *settled = next;
        Ok(due)
    }

    /// Has a raft_snapshot made that holds nothing of the orders, in the place of one that does. The Raft log is purged up to a snapshot
    /// alone: where it is to be purged, the snapshot must reach as far, also where one was received that holds nothing of the orders itself.
    /// Where it lies; none if it takes too long.
    async fn renew_snapshot(
        &self,
        all: Progress,
        reach: Option<u64>,
    ) -> Result<Option<PathBuf>, Error> {
        let serves = |manifest: &Manifest| {
            let last = manifest.meta.last_log_id.map(|id| id.index);
            manifest.erased >= all && last >= reach
        };
        for asked in 0..RAFT_TRIES {
            let current = self.machine.snapshot();
            match current {
                Some(dir) if dir.manifest().is_some_and(|manifest| serves(&manifest)) => {
                    return Ok(Some(dir.path().into()));
                }
                _ => self.machine.outdate_snapshot(),
            }
            if asked == 0 {
                // A snapshot holds what is in table files: how far the state is erased, and what was applied when the orders were read, is to be
                // among it. A crash after this finds the state erased, and asks for the snapshot anew.
                self.machine.flush_beside().await?;
            }
            // Does nothing while one is being made, be it of the state before: then the next one is asked for.
            if self.raft.trigger().snapshot().await.is_err() {
                return Ok(None);
            }
            sleep(RAFT_PAUSE).await;
        }
        Ok(None)
    }

    /// Purges the Raft log through everything that the orders may name, and takes it out of the files.
    ///
    /// A leader waits with this while it sends those very raft_entries to somebody; a peer that lacks them gets a raft_snapshot.
    async fn purge(&self, through: u64, all: Progress) -> Result<bool, Error> {
        for _ in 0..RAFT_TRIES {
            if self.log.is_purged(through) {
                let (log, halt) = (self.log.clone(), self.halt.clone());
                return blocking(move || log.forget_purged(all, &halt)).await;
            }
            if self.raft.trigger().purge_log(through).await.is_err() {
                return Ok(false);
            }
            sleep(RAFT_PAUSE).await;
        }
        Ok(false)
    }

    /// Says that an order is carried out here. Whether the ledger has it.
    async fn sign(&self, db: &Arc<Db>, order: Order) -> Result<bool, Error> {
        let (db, index, halt) = (db.clone(), order.index, self.halt.clone());
        let tally = blocking(move || erase::tally(&db, &order, &halt)).await?;
        let erased = Erased {
            node: self.node,
            erasure: index.0,
            through: tally.through,
            done: tally.done,
            spared: tally.spared,
        };
        let outcome = (self.write)(erased).await;
        if !matches!(outcome, Outcome::Accepted(_)) {
            tracing::warn!(
                ?outcome,
                "an erasure is carried out here, and not signed yet"
            );
        }
        Ok(matches!(outcome, Outcome::Accepted(_)))
    }
}

/// What is told of open orders in metrics.
#[derive(Default)]
struct Open {
    orders: u32,
    oldest_ms: u64,
}

impl Open {
    fn count(&mut self, order: &Order, now_ms: u64) {
        self.orders += 1;
        self.oldest_ms = self
            .oldest_ms
            .max(now_ms.saturating_sub(order.accepted_at_ms));
    }

    fn show(&self) {
        metrics::gauge!("visto_erasures_open").set(self.orders);
        let seconds = Duration::from_millis(self.oldest_ms).as_secs_f64();
        metrics::gauge!("visto_erasure_open_seconds").set(seconds);
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::io("erase", error)))
}
