// SPDX-License-Identifier: EUPL-1.2
//! Folding beside apply: the steps without a lock, the last record under the lock that apply holds.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Machine, Shared};
use crate::error::Error;
use crate::stage::Stage;
use crate::store::db::Db;
use crate::store::fold::{self, Between, Done, Folded, Folds, Order, Sizes};

/// How long a fold reads in one go.
const WORKED_MAX: Duration = Duration::from_millis(5);

impl Machine {
    /// Where folding stands: changes with each order, each `state-root` entry and each fold done, when its write is readable.
    pub(crate) fn folds(&self) -> watch::Receiver<Folds> {
        self.0.folds.subscribe()
    }

    /// Folds what is ordered next, if anything is. Ends early when `stop` says so, or another state is installed meanwhile.
    ///
    /// # Errors
    /// Latched, `Diverged` among them: an entry states another root.
    pub(crate) async fn fold(&self, sizes: Sizes, stop: CancellationToken) -> Result<(), Error> {
        self.run(move |shared| shared.fold(sizes, &stop)).await
    }

    #[cfg(test)]
    pub(crate) fn begin_fold(&self, db: &Arc<Db>) -> bool {
        self.0.begin_fold(db)
    }
}

impl Shared {
    fn fold(&self, sizes: Sizes, stop: &CancellationToken) -> Result<(), Error> {
        let db = self.state.load_full();
        let done = Done::read(&*db)?;
        let Some(order) = Order::read(&*db, done.version + 1)? else {
            return Ok(());
        };
        if !self.begin_fold(&db) {
            return Ok(());
        }
        let start = Instant::now();
        let mut worked_since = start;
        let folded = fold::run(&db, &order, sizes, |between| {
            if stop.is_cancelled() || !self.is_in_force(&db) {
                return ControlFlow::Break(());
            }
            let worked = worked_since.elapsed();
            if between == Between::Steps || worked >= WORKED_MAX {
                // As long a pause as the work took: a fold takes half a core at most, and writes that waited for it go first.
                std::thread::sleep(worked);
                worked_since = Instant::now();
            }
            ControlFlow::Continue(())
        })?;
        let Some(folded) = folded else {
            return Ok(());
        };
        Stage::Fold.took(start.elapsed());
        metrics::histogram!("visto_fold_keys").record(folded.keys as f64);
        self.finish_fold(&db, order, &folded)
    }

    /// Shows that a fold of that state is under way, under the lock that install holds: of a state that was replaced meanwhile it is not, and no
    /// fold would end it. Whether it is in force.
    fn begin_fold(&self, db: &Arc<Db>) -> bool {
        let _core = self.core.lock();
        let in_force = self.is_in_force(db);
        if in_force {
            self.folds.send_modify(|folds| folds.under_way = true);
        }
        in_force
    }

    /// The order is read again: its `state-root` entry may have been applied while the fold ran.
    fn finish_fold(&self, db: &Arc<Db>, order: Order, folded: &Folded) -> Result<(), Error> {
        let _core = self.core.lock();
        if !self.is_in_force(db) {
            return Ok(());
        }
        let order = Order::read(&**db, order.version)?.unwrap_or(order);
        order.judge(&folded.root.0)?;
        let done = fold::finish(db, &order, folded)?;
        self.folds.send_modify(|folds| {
            folds.done = done;
            folds.stated = order.stated;
            folds.under_way = false;
        });
        Ok(())
    }

    /// Shows what apply ordered and what of it is stated.
    pub(super) fn show_ordered(&self, ordered: Option<Order>) {
        self.folds.send_if_modified(|folds| {
            let changed = folds.ordered != ordered;
            if changed {
                folds.ordered = ordered;
                if let Some(order) = ordered.filter(|order| order.version == folds.done.version) {
                    folds.stated = order.stated;
                }
            }
            changed
        });
    }

    fn is_in_force(&self, db: &Arc<Db>) -> bool {
        Arc::ptr_eq(&self.state.load(), db)
    }
}
