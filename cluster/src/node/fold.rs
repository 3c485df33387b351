// SPDX-License-Identifier: EUPL-1.2
//! State roots, as callers see them.

use super::*;
use crate::fold::Folded;
use crate::fold::folded::covers;
use crate::fold::leader::Leader;
use crate::fold::worker::want;

/// After so long a leader that was asked for a fold is asked again, or another one is: it may have stopped leading.
const ASK_AGAIN: Duration = Duration::from_secs(1);
const STATE_TIME: Duration = Duration::from_secs(5);

impl Node {
    /// The newest fold whose `state-root` entry is published. None before the first, and after a restart until there is a newer one, if the
    /// node stopped while it folded.
    ///
    /// # Errors
    /// The node had a fatal error.
    pub fn folded(&self) -> Result<Option<Folded>, Error> {
        self.0.fatal.check()?;
        // Where the next fold begins meanwhile, what is shown was pinned before: the second look finds it.
        for _ in 0..2 {
            let Some(newest) = self.0.net.folded.borrow().clone() else {
                break;
            };
            let of = || Folded::of(self.view()?, newest.state_root, &self.0.fatal);
            let folded = newest.pinned.map_or_else(of, |pinned| Ok(Some(pinned)))?;
            if folded.is_some() {
                return Ok(folded);
            }
        }
        Ok(None)
    }

    /// One that covers everything that was acknowledged before this call, by any node. Asks the leader to fold, unless the newest covers it;
    /// all who ask at a time share one fold, and there is at most one in `Tuning::fold_pause`.
    ///
    /// # Errors
    /// `NoQuorum` at the deadline.
    pub async fn fold(&self, deadline: Duration) -> Result<Folded, Error> {
        let end = Instant::now() + deadline;
        let size = self.linearizable(deadline).await?.size();
        let mut folded = self.0.net.folded.clone();
        loop {
            self.0.fatal.check()?;
            let newest = folded.borrow_and_update().clone();
            let covered = newest.is_some_and(|newest| covers(&newest.state_root, size));
            if covered
                && let Some(newest) = self.folded()?
                && newest.covers(size)
            {
                return Ok(newest);
            }
            if Instant::now() >= end {
                return Err(Error::new(
                    ErrorKind::NoQuorum,
                    format!("no state root that covers size {size} was published in time"),
                ));
            }
            self.want_fold(size, end).await;
            let again = end.min(Instant::now() + ASK_AGAIN);
            let _ = timeout_at(again, folded.changed()).await;
        }
    }

    async fn want_fold(&self, size: TreeSize, end: Instant) {
        match self.leader_by(end).await {
            Some(leader) if leader == self.0.node => want(&self.0.net.fold_wanted, size.0),
            Some(leader) => {
                let time = end.saturating_duration_since(Instant::now()).min(ASK_AGAIN);
                if let Err(error) = self.0.net.peers.want_fold(leader, size, time).await {
                    tracing::debug!(leader = leader.0, %error, "not asked to fold");
                }
            }
            None => {}
        }
    }

    /// The task holds no node: it ends with the last handle, or with [`Node::shutdown`].
    pub(super) fn lead_folds(&self) {
        let weak = Arc::downgrade(&self.0);
        let write_own = move |content| {
            let node = weak.upgrade().map(Node);
            Box::pin(async move {
                match node {
                    Some(node) => {
                        node.write_own(content, Vec::new(), Until::Committed, STATE_TIME)
                            .await
                    }
                    None => Outcome::Failed(Failure::ShuttingDown),
                }
            }) as futures::future::BoxFuture<'static, Outcome>
        };
        self.0.net.lead_folds(Leader {
            node: self.0.node,
            raft: self.0.here.raft.clone(),
            machine: self.0.here.machine.clone(),
            peers: self.0.net.peers.clone(),
            fatal: self.0.fatal.clone(),
            pace: self.0.pace,
            wanted: self.0.net.fold_wanted.subscribe(),
            write_own: Arc::new(write_own),
        });
    }
}

/// What tests of this crate reach into.
#[cfg(test)]
impl Node {
    pub(crate) fn machine(&self) -> &crate::store::machine::Machine {
        &self.0.here.machine
    }

    pub(crate) fn peers(&self) -> &crate::peer::client::Peers {
        &self.0.net.peers
    }

    pub(crate) fn raft(&self) -> &crate::raft_types::Raft {
        &self.0.here.raft
    }
}
