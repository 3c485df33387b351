// SPDX-License-Identifier: EUPL-1.2
//! A leader that is cut off from the others and leads again later: several real nodes, and the ways between them, which can be cut.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use ledger::number::TreeSize;
use tokio::{io::copy_bidirectional, net::TcpStream, sync::watch, time::timeout};

use super::Node;
use crate::{
    Outcome, Role, Tuning, Until,
    net::tests::{PATIENCE, Town, close, leader, submit, until},
    testbed::{self, consent},
};

/// What it proposed last is gone with a log that the others purged meanwhile, and Raft never tells who waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_cut_off_until_it_needs_a_snapshot_leads_again_like_any_other() {
    let mut town = Town::new(
        3,
        Tuning {
            raft_snapshot_after: 30,
            raft_keep: 5,
            // One that is under way and never ends holds up all that fill no batch.
            batch_entries_max: 2,
            ..testbed::tuning()
        },
    );
    let ways = Ways::lay(&mut town);
    let nodes = town.open_all().await;
    submit(&nodes[&1], 1..3).await;
    let former = leader(&nodes).await;
    let others = [1 + former % 3, 1 + (former + 1) % 3];
    ways.cut(former).await;
    let last = || nodes[&former].status().raft_last;
    let before = last();
    let lost = tokio::spawn({
        let node = nodes[&former].clone();
        async move { propose(&node, 3, Duration::from_secs(3600)).await }
    });
    until(|| (last() > before).then_some(()))
        .await
        .expect("it stands in the log of the former leader");

    let led = |node: &u64| nodes[node].status().role == Role::Leader;
    until(|| others.iter().any(led).then_some(()))
        .await
        .expect("another leads");
    let purged = || others.map(|node| nodes[&node].status().raft_purged);
    let mut number = 10;
    while purged().into_iter().any(|purged| purged <= last()) {
        assert!(number < 2_000, "{:?} of {}", purged(), last());
        submit(&nodes[&others[0]], number..number + 1).await;
        number += 1;
    }
    assert!(
        !lost.is_finished(),
        "it was told already: nothing is tested"
    );
    let size = nodes[&others[0]].published().unwrap().size;
    ways.mend(former);
    for node in nodes.values() {
        node.published_at_least(size, PATIENCE).await.unwrap();
    }
    elect(&nodes, former).await;
    let outcome = timeout(PATIENCE, lost).await;
    let outcome = outcome.expect("never told what became of it");
    assert_eq!(outcome.unwrap(), [Outcome::Unknown]);
    let outcome = propose(&nodes[&former], 4, PATIENCE).await;
    assert!(matches!(outcome[..], [Outcome::Accepted(_)]), "{outcome:?}");
    nodes[&former]
        .published_at_least(TreeSize(size.0 + 1), PATIENCE)
        .await
        .unwrap();
    close(nodes).await;
}

async fn propose(node: &Node, number: u64, deadline: Duration) -> Vec<Outcome> {
    let verified = node.verify(vec![consent(number)]).await.unwrap();
    let verified = verified.into_iter().map(Result::unwrap).collect();
    node.submit(verified, Until::Committed, deadline).await
}

/// Has a node stand for election until it leads.
async fn elect(nodes: &BTreeMap<u64, Node>, candidate: u64) {
    let leads = |node: u64| nodes[&node].status().role == Role::Leader;
    let soon = Duration::from_secs(1);
    let elected = async {
        while !leads(candidate) {
            // For a later term than its own the leader steps down, though it and who follows it promised each other not to vote for another yet …
            let raft = &nodes[&candidate].0.here.raft;
            raft.trigger().elect().await.unwrap();
            let others = || nodes.keys().any(|node| *node != candidate && leads(*node));
            let _ = timeout(soon, until(|| (!others()).then_some(()))).await;
            // … and who stepped down promised nobody anything.
            raft.trigger().elect().await.unwrap();
            let _ = timeout(soon, until(|| leads(candidate).then_some(()))).await;
        }
    };
    timeout(PATIENCE, elected).await.expect("elected");
}

/// The ways of a town's nodes to each other, each through a port of its own. Open until they are cut.
struct Ways(BTreeMap<(u64, u64), watch::Sender<bool>>);

impl Ways {
    /// Lays them for the nodes that are opened from now on.
    fn lay(town: &mut Town) -> Ways {
        let mut ways = BTreeMap::new();
        for from in town.addresses.keys() {
            for (to, address) in town.addresses.iter().filter(|(to, _)| *to != from) {
                let (listener, open) = (testbed::listener(), watch::Sender::new(true));
                let way = (*from, *to);
                town.ways.insert(way, listener.local_addr().unwrap());
                tokio::spawn(forward(listener, *address, open.clone()));
                ways.insert(way, open);
            }
        }
        Ways(ways)
    }

    /// When it returns, nothing comes from the node or to it any more.
    async fn cut(&self, node: u64) {
        for open in self.of(node) {
            open.send_replace(false);
            open.closed().await;
        }
    }

    fn mend(&self, node: u64) {
        for open in self.of(node) {
            open.send_replace(true);
        }
    }

    fn of(&self, node: u64) -> impl Iterator<Item = &watch::Sender<bool>> {
        let ways = self.0.iter();
        ways.filter_map(move |((from, to), open)| [*from, *to].contains(&node).then_some(open))
    }
}

/// Each connection holds a receiver for as long as it lasts.
async fn forward(listener: TcpListener, to: SocketAddr, open: watch::Sender<bool>) {
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut open = open.subscribe();
        tokio::spawn(async move {
            let carried = async {
                let mut far = TcpStream::connect(to).await?;
                copy_bidirectional(&mut near, &mut far).await
            };
            tokio::select! {
                biased;
                _ = open.wait_for(|open| !open) => {}
                _ = carried => {}
            }
        });
    }
}
