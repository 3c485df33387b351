// SPDX-License-Identifier: EUPL-1.2
//! Makes Raft's membership follow the `node` entries, and tells everybody on this node who the peers are.
//!
//! The registry says who ought to be a node; only the leader changes Raft's membership, one step at a time: a new node follows as a learner,
//! gets its vote once it caught up, and a removed one loses it. Numbers are never used again, which admission enforces.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use ledger::{
    id::NodeNumber,
    state::registry::{self, NodeRecord},
};
use openraft::{ChangeMembers, EmptyNode, StoredMembership};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock::Offsets,
    error::Error,
    peer::{client::Peers, service::Roster},
    raft_types::Raft,
    store::machine::Machine,
};

/// The task that follows the registry.
pub(crate) struct Membership {
    pub(crate) own: NodeNumber,
    pub(crate) raft: Raft,
    pub(crate) machine: Machine,
    pub(crate) tasks: TaskTracker,
    pub(crate) peers: Peers,
    pub(crate) roster: Arc<Roster>,
    pub(crate) offsets: Arc<Offsets>,
}

impl Membership {
    /// Looks every second, until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        // Two loops: a change that waits for a quorum must not keep this node from knowing its peers and its clock.
        stop.run_until_cancelled(async { tokio::join!(self.observe(), self.follow()) })
            .await;
    }

    /// Keeps what this node knows of registry, voters and clocks up to date: every second, at once when others vote, and soon while it heard
    /// nobody's clock, since until then it neither leads nor dates anything.
    async fn observe(&self) {
        let mut server = self.raft.server_metrics();
        loop {
            let members = server.borrow_and_update().membership_config.clone();
            let voting = voters(&members);
            self.offsets.set_voters(voting.clone());
            if let Err(error) = self.read_registry().await {
                tracing::warn!(%error, "cannot read the registry's nodes");
            }
            let _ = timeout(
                COMPARE_TIME,
                self.compare_clocks(&others(self.own, &members)),
            )
            .await;
            let offset_ms = self.offsets.offset_ms();
            if let Some(offset_ms) = offset_ms {
                metrics::gauge!("visto_clock_offset_ms").set(offset_ms as f64);
            }
            // A leader whose clock is off may not date entries, and would lead on, idle: it falls silent, so that another one is elected.
            let clock_ok = self.offsets.clock_ok();
            self.raft.runtime_config().heartbeat(clock_ok);
            self.raft.runtime_config().elect(clock_ok);
            let pause = offset_ms.map_or(PAUSE_UNHEARD, |_| PERIOD);
            let changed = server.wait_for(|server| voters(&server.membership_config) != voting);
            if let Ok(Err(_)) = timeout(pause, changed).await {
                // Raft is gone.
                return;
            }
        }
    }

    /// Makes Raft's membership follow, while this node leads.
    async fn follow(&self) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(reason) = self.change().await {
                tracing::warn!(reason, "Raft's membership was not changed");
            }
        }
    }

    /// Tells the listener whom to admit, and the callers where peers are.
    async fn read_registry(&self) -> Result<(), Error> {
        let records = self.records().await?;
        if records.is_empty() {
            // Genesis is not applied yet: what it says of nodes was handed in at the start.
            return Ok(());
        }
        let (in_force, removed): (Vec<_>, Vec<_>) = records
            .into_iter()
            .partition(|record| record.removed.is_none());
        self.peers.addresses().register(
            in_force
                .iter()
                .map(|record| (record.node, record.peer.clone()))
                .collect(),
        );
        let numbers = |records: &[NodeRecord]| records.iter().map(|record| record.node).collect();
        self.roster.set(numbers(&in_force), numbers(&removed));
        Ok(())
    }

    async fn records(&self) -> Result<Vec<NodeRecord>, Error> {
        let machine = self.machine.clone();
        let read = self
            .tasks
            .spawn_blocking(move || registry::nodes(&machine.view()?))
            .await;
        read.unwrap_or_else(|error| Err(Error::io("read the registry's nodes", error)))
    }

    async fn compare_clocks(&self, others: &BTreeSet<NodeNumber>) {
        let comparisons = others.iter().map(|peer| async move {
            let asked = Instant::now();
            if let Ok(peer_ms) = self.peers.clock(*peer, COMPARE_TIME).await {
                self.offsets.compare(*peer, asked, peer_ms, Instant::now());
            }
        });
        futures::future::join_all(comparisons).await;
    }

    /// Takes the next step, if this node leads and there is one.
    async fn change(&self) -> Result<(), String> {
        let metrics = self.raft.metrics().borrow().clone();
        if metrics.current_leader != Some(self.own.0) {
            return Ok(());
        }
        let records = self.records().await.map_err(|error| error.to_string())?;
        let wanted = records
            .iter()
            .filter(|record| record.removed.is_none())
            .map(|record| record.node.0)
            .collect();
        let last = metrics.last_log_index.unwrap_or(0);
        let matched = metrics.replication.unwrap_or_default();
        for (node, id) in &matched {
            let lag = last.saturating_sub(id.map_or(0, |id| id.index));
            metrics::gauge!("visto_raft_lag", "peer" => node.to_string()).set(lag as f64);
        }
        let caught_up = matched
            .iter()
            .filter(|(_, id)| id.is_some_and(|id| id.index + CAUGHT_UP_LAG >= last))
            .map(|(node, _)| *node)
            .collect();
        let Some(step) = next_step(self.own.0, &wanted, &metrics.membership_config, &caught_up)
        else {
            return Ok(());
        };
        tracing::info!(?step, "changing Raft's membership");
        let change = match step {
            Step::AddLearner(node) => {
                let added = self.raft.add_learner(node, EmptyNode {}, false);
                return timeout(CHANGE_TIME, added)
                    .await
                    .map_err(|_| "no quorum".to_owned())?
                    .map(drop)
                    .map_err(|error| error.to_string());
            }
            Step::Promote(node) => ChangeMembers::AddVoterIds([node].into()),
            Step::RemoveVoter(node) => ChangeMembers::RemoveVoters([node].into()),
            Step::RemoveLearner(node) => ChangeMembers::RemoveNodes([node].into()),
            Step::Finish(voters) => ChangeMembers::ReplaceAllVoters(voters),
        };
        let changed = timeout(CHANGE_TIME, self.raft.change_membership(change, false)).await;
        changed
            .map_err(|_| "no quorum".to_owned())?
            .map(drop)
            .map_err(|error| error.to_string())
    }
}

/// A step of Raft's membership towards the registry's.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    AddLearner(u64),
    Promote(u64),
    RemoveVoter(u64),
    RemoveLearner(u64),
    /// A leader died between the two halves of a change: the second is made up for.
    Finish(BTreeSet<u64>),
}

/// The next step, if Raft's membership is not what the registry wants. A node that is to come never holds up one that is to go: it may never
/// catch up.
fn next_step(
    own: u64,
    wanted: &BTreeSet<u64>,
    members: &StoredMembership<u64, EmptyNode>,
    caught_up: &BTreeSet<u64>,
) -> Option<Step> {
    // Before genesis is applied the registry says nothing, and never that everybody is to go.
    if wanted.is_empty() {
        return None;
    }
    let members = members.membership();
    if let [_, .., last] = members.get_joint_config().as_slice() {
        return Some(Step::Finish(last.clone()));
    }
    let voters: BTreeSet<u64> = members.voter_ids().collect();
    let learners: BTreeSet<u64> = members.learner_ids().collect();
    let promote = learners
        .iter()
        .find(|node| wanted.contains(node) && caught_up.contains(node));
    let add = wanted
        .iter()
        .find(|node| !voters.contains(node) && !learners.contains(node));
    // The leader goes last: until then it can remove the others.
    let leaving = voters.iter().filter(|node| !wanted.contains(node));
    let remove = leaving
        .max_by_key(|node| **node != own)
        .filter(|_| voters.len() > 1);
    let forget = learners.iter().find(|node| !wanted.contains(node));
    promote
        .map(|node| Step::Promote(*node))
        .or_else(|| add.map(|node| Step::AddLearner(*node)))
        .or_else(|| remove.map(|node| Step::RemoveVoter(*node)))
        .or_else(|| forget.map(|node| Step::RemoveLearner(*node)))
}

fn others(own: NodeNumber, members: &StoredMembership<u64, EmptyNode>) -> BTreeSet<NodeNumber> {
    members
        .membership()
        .nodes()
        .map(|(node, _)| NodeNumber(*node))
        .filter(|node| *node != own)
        .collect()
}

fn voters(members: &StoredMembership<u64, EmptyNode>) -> BTreeSet<NodeNumber> {
    members.membership().voter_ids().map(NodeNumber).collect()
}

const PERIOD: Duration = Duration::from_secs(1);
const PAUSE_UNHEARD: Duration = Duration::from_millis(200);
const COMPARE_TIME: Duration = Duration::from_millis(900);
const CHANGE_TIME: Duration = Duration::from_secs(10);
/// So many raft_entries behind, a learner is as good as there.
const CAUGHT_UP_LAG: u64 = 200;

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )]
    use super::*;
    use openraft::Membership;

    fn set(nodes: &[u64]) -> BTreeSet<u64> {
        nodes.iter().copied().collect()
    }

    fn step(
        wanted: &[u64],
        voters: &[&[u64]],
        learners: &[u64],
        caught_up: &[u64],
    ) -> Option<Step> {
        let nodes: std::collections::BTreeMap<u64, EmptyNode> = voters
            .iter()
            .flat_map(|set| set.iter())
            .chain(learners)
            .map(|node| (*node, EmptyNode {}))
            .collect();
        let configs = voters.iter().map(|voters| set(voters)).collect();
        let members = StoredMembership::new(None, Membership::new(configs, nodes));
        next_step(1, &set(wanted), &members, &set(caught_up))
    }

    #[test]
    fn steps() {
        let three: &[&[u64]] = &[&[1, 2, 3]];
        assert_eq!(step(&[1, 2, 3], three, &[], &[]), None);
        assert_eq!(step(&[], three, &[], &[]), None, "before genesis");
        assert_eq!(
            step(&[1, 2, 3, 4], three, &[], &[]),
            Some(Step::AddLearner(4))
        );
        assert_eq!(step(&[1, 2, 3, 4], three, &[4], &[]), None, "not caught up");
        assert_eq!(
            step(&[1, 2, 3, 4], three, &[4], &[4]),
            Some(Step::Promote(4))
        );
        assert_eq!(
            step(&[1, 2, 4], three, &[4], &[]),
            Some(Step::RemoveVoter(3)),
            "a slow new node holds up no removal"
        );
        assert_eq!(step(&[1, 2, 4], three, &[4], &[4]), Some(Step::Promote(4)));
        assert_eq!(
            step(&[2], three, &[], &[]),
            Some(Step::RemoveVoter(3)),
            "the leader goes last"
        );
        assert_eq!(step(&[2], &[&[1, 2]], &[], &[]), Some(Step::RemoveVoter(1)));
        assert_eq!(step(&[2], &[&[1]], &[], &[]), Some(Step::AddLearner(2)));
        assert_eq!(
            step(&[2], &[&[1]], &[2], &[]),
            None,
            "the last voter stays until another one votes"
        );
        assert_eq!(
            step(&[1, 2], &[&[1, 2]], &[5], &[5]),
            Some(Step::RemoveLearner(5))
        );
        assert_eq!(
            step(&[1, 2, 3], &[&[1, 2], &[1, 2, 3]], &[], &[3]),
            Some(Step::Finish(set(&[1, 2, 3])))
        );
    }
}
