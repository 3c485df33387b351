// SPDX-License-Identifier: EUPL-1.2
//! Whoever leads orders folds and states their roots. What is to be done follows from what is applied and folded, so a new leader goes on
//! where the last one was, and two of them do no harm: the second order or entry is refused where it is applied.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::{BoxFuture, join_all};
use ledger::{
    body::{Content, system::StateRoot},
    hash::Hash,
    id::NodeNumber,
    state::registry,
    state_map,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    error::{Error, ErrorKind},
    face::Outcome,
    peer::client::Peers,
    raft_types::{Batch, Raft},
    store::{
        fatal::Fatal,
        fold::{Done, Order},
        machine::Machine,
    },
};

/// When folds are ordered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Time between two folds, if anything but the last `state-root` entry was added.
    pub(crate) interval: Duration,
    /// Least time between two folds, however many want one.
    pub(crate) pause: Duration,
    /// So many entries that wait are folded before the interval is over.
    pub(crate) entries_max: u64,
}

/// Signs an entry of this node's own and submits it.
pub(crate) type WriteOwn = Arc<dyn Fn(Content) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// The leader's side of folding.
pub(crate) struct Leader {
    pub(crate) node: NodeNumber,
    pub(crate) raft: Raft,
    pub(crate) machine: Machine,
    pub(crate) peers: Peers,
    pub(crate) fatal: Fatal,
    pub(crate) pace: Pace,
    pub(crate) wanted: watch::Receiver<u64>,
    pub(crate) write_own: WriteOwn,
}

impl Leader {
    /// Runs while this node leads, until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.follow()).await;
    }

    async fn follow(mut self) {
        let mut leadership = self.raft.server_metrics();
        let mut folds = self.machine.folds();
        let mut applied = self.machine.applied();
        let mut since: Option<Since> = None;
        loop {
            let leads = leadership.borrow_and_update().current_leader == Some(self.node.0);
            let now = *folds.borrow_and_update();
            let size = applied.borrow_and_update().tree_size;
            let wanted = *self.wanted.borrow_and_update();
            let wait = if !leads {
                since = None;
                None
            } else if let Some(order) = now.open() {
                if now.done.version == order.version {
                    self.state(&now.done).await;
                    Some(RETRY_PAUSE)
                } else {
                    None
                }
            } else {
                let since = since.get_or_insert_with(Since::now);
                match due(&self.pace, size, now.ordered.as_ref(), wanted, since) {
                    Some(Duration::ZERO) => {
                        since.ordered = Some(Instant::now());
                        let _ = timeout(ORDER_TIME, self.raft.client_write(Batch::of_fold())).await;
                        Some(RETRY_PAUSE)
                    }
                    wait => wait,
                }
            };
            let later = async {
                match wait {
                    Some(wait) => sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = later => {}
                changed = leadership.changed() => if changed.is_err() { return },
                changed = folds.changed() => if changed.is_err() { return },
                changed = applied.changed(), if leads => if changed.is_err() { return },
                changed = self.wanted.changed() => if changed.is_err() { return },
            }
        }
    }

    /// States the root of this node's fold, once a majority of the voters folded the same. So a leader whose fold went wrong stops itself,
    /// instead of stating something that stops all others.
    async fn state(&self, done: &Done) {
        match self.majority(done).await {
            Said::Same => {}
            Said::Unknown => return,
            Said::Other(root) => {
                self.fatal.latch(Error::new(
                    ErrorKind::Diverged,
                    format!(
                        "state root {} of size {}: a majority of nodes folded {root}, and this node folded {}",
                        done.version,
                        done.size,
                        Hash(done.root)
                    ),
                ));
                return;
            }
        }
        let last = self
            .machine
            .view()
            .and_then(|view| registry::state_root(&view));
        let Ok(last) = last else { return };
        let root = StateRoot {
            size: done.size,
            version: done.version,
            root: Hash(done.root),
            previous: last.map_or(state_map::EMPTY, |last| last.root),
        };
        let outcome = (self.write_own)(Content::StateRoot(root)).await;
        if !matches!(outcome, Outcome::Accepted(_)) {
            tracing::debug!(version = done.version, ?outcome, "state root not stated");
        }
    }

    async fn majority(&self, done: &Done) -> Said {
        let voters: Vec<u64> = {
            let metrics = self.raft.server_metrics();
            let metrics = metrics.borrow();
            metrics.membership_config.membership().voter_ids().collect()
        };
        let others = voters.iter().filter(|voter| **voter != self.node.0);
        let asked = others.map(|voter| async {
            let answer = self
                .peers
                .folded(NodeNumber(*voter), done.version, ASK_TIME);
            answer.await.ok().flatten()
        });
        let mut roots: BTreeMap<[u8; 32], usize> = BTreeMap::from([(done.root, 1)]);
        for root in join_all(asked).await.into_iter().flatten() {
            *roots.entry(root).or_default() += 1;
        }
        if roots.len() > 1 {
            let roots: Vec<_> = roots.keys().map(|root| Hash(*root).to_string()).collect();
            tracing::error!(
                version = done.version,
                size = done.size,
                ?roots,
                "nodes folded different state roots"
            );
        }
        let majority = roots.iter().find(|(_, count)| **count * 2 > voters.len());
        match majority {
            Some((root, _)) if *root == done.root => Said::Same,
            Some((root, _)) => Said::Other(Hash(*root)),
            None => Said::Unknown,
        }
    }
}

/// What a majority of the voters folded.
enum Said {
    Same,
    Other(Hash),
    Unknown,
}

/// Since when this node leads, and when it ordered a fold since.
struct Since {
    leads: Instant,
    ordered: Option<Instant>,
}

impl Since {
    fn now() -> Since {
        Since {
            leads: Instant::now(),
            ordered: None,
        }
    }
}

/// How long to wait until a fold is to be ordered; none if nothing is to be folded. `wanted`: the size that somebody wants covered.
fn due(
    pace: &Pace,
    size: u64,
    last: Option<&Order>,
    wanted: u64,
    since: &Since,
) -> Option<Duration> {
    let covered = |size: u64| size == 0 || last.is_some_and(|last| last.covers(size));
    if covered(size) {
        return None;
    }
    // What is not applied here yet cannot be folded; it will be in a moment.
    let asked = !covered(wanted) && wanted <= size;
    let many = size - last.map_or(0, |last| last.size) >= pace.entries_max;
    Some(if asked || many {
        let ordered = since.ordered.map(|ordered| ordered.elapsed());
        ordered.map_or(Duration::ZERO, |ordered| pace.pause.saturating_sub(ordered))
    } else {
        let from = since.ordered.unwrap_or(since.leads);
        pace.interval.saturating_sub(from.elapsed())
    })
}

const RETRY_PAUSE: Duration = Duration::from_millis(100);
const ORDER_TIME: Duration = Duration::from_secs(2);
/// A peer answers as soon as its fold is done, or then.
const ASK_TIME: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )]
    use super::*;
    use crate::store::fold::Stated;

    const PACE: Pace = Pace {
        interval: Duration::from_secs(1000),
        pause: Duration::from_secs(100),
        entries_max: 50,
    };

    fn order(size: u64, stated: u64) -> Order {
        Order {
            version: 3,
            size,
            stated: Some(Stated {
                index: stated,
                root: [0; 32],
            }),
        }
    }

    /// Leads, and ordered, so many seconds ago.
    fn since(leads: u64, ordered: Option<u64>) -> Since {
        let ago = |seconds| Instant::now() - Duration::from_secs(seconds);
        Since {
            leads: ago(leads),
            ordered: ordered.map(ago),
        }
    }

    /// In whole seconds, rounded up.
    fn wait(size: u64, last: Option<Order>, wanted: u64, since: Since) -> Option<u64> {
        let wait = due(&PACE, size, last.as_ref(), wanted, &since)?;
        Some(wait.as_millis().div_ceil(1000) as u64)
    }

    #[tokio::test]
    async fn a_fold_is_due_when_something_changed_and_sooner_when_asked_or_when_much_waits() {
        let last = Some(order(10, 10));
        let table = [
            ("nothing there", wait(0, None, 0, since(9, None)), None),
            (
                "the first, by itself",
                wait(1, None, 0, since(9, None)),
                Some(991),
            ),
            (
                "the first, asked",
                wait(1, None, 1, since(9, None)),
                Some(0),
            ),
            ("all folded", wait(10, last, 10, since(9, Some(5))), None),
            (
                "its own entry alone",
                wait(11, last, 11, since(9000, None)),
                None,
            ),
            ("one more", wait(12, last, 0, since(9, Some(5))), Some(995)),
            ("late", wait(12, last, 0, since(9000, Some(2000))), Some(0)),
            ("asked", wait(12, last, 12, since(900, Some(200))), Some(0)),
            (
                "asked again at once",
                wait(12, last, 12, since(900, Some(40))),
                Some(60),
            ),
            (
                "asked of the last leader",
                wait(12, last, 12, since(40, None)),
                Some(0),
            ),
            (
                "asked for what is covered",
                wait(12, last, 11, since(9, Some(5))),
                Some(995),
            ),
            (
                "asked for what is not applied",
                wait(12, last, 13, since(9, Some(5))),
                Some(995),
            ),
            ("much", wait(60, last, 0, since(900, Some(200))), Some(0)),
            (
                "much at once",
                wait(60, last, 0, since(900, Some(40))),
                Some(60),
            ),
            (
                "not so much",
                wait(59, last, 0, since(900, Some(200))),
                Some(800),
            ),
            (
                "written while it was folded",
                wait(13, Some(order(10, 12)), 0, since(9, Some(5))),
                Some(995),
            ),
        ];
        for (what, found, expected) in table {
            assert_eq!(found, expected, "{what}");
        }
    }
}
