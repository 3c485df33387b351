// SPDX-License-Identifier: EUPL-1.2
//! Several nodes in one process, over real sockets, certificates and stores.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{SocketAddr, TcpListener},
    ops::Range,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use ledger::{
    body::{Body, Content, governance},
    entry::SubmittedEntry,
    id::NodeNumber,
    key::KeyUse,
    number::{EntryIndex, TreeSize},
    state::registry,
};
use tokio::time::timeout;

use crate::{
    Accepted, Clock, Failure, Node, Outcome, PeerTls, Role, Status, Tuning, Until,
    testbed::{self, consent},
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn any_node_takes_any_entry_and_all_publish_the_same() {
    let town = Town::new(3, testbed::tuning());
    let nodes = town.open_all().await;
    for (number, node) in &nodes {
        let first = number * 100;
        for accepted in submit(node, first..first + 10).await {
            assert_eq!(accepted.state, Until::Published);
            let receipt = node.view().unwrap().receipt(accepted.index).unwrap();
            assert!(receipt.is_some(), "who was told of it can prove it");
        }
    }
    let size = TreeSize(31);
    for node in nodes.values() {
        let view = node.linearizable(PATIENCE).await.unwrap();
        assert_eq!(
            view.size(),
            size,
            "a linearizable read sees all that was acknowledged anywhere"
        );
        node.published_at_least(size, PATIENCE).await.unwrap();
    }
    assert_same(&nodes, size);
    let roots = nodes[&1].roots(size, PATIENCE).await;
    assert_eq!(roots.len(), 2);
    assert!(
        roots
            .values()
            .all(|root| *root == Ok(Some(nodes[&1].view().unwrap().root()))),
        "{roots:?}"
    );
    close(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_three_go_on_and_the_third_catches_up() {
    let town = Town::new(3, testbed::tuning());
    let mut nodes = town.open_all().await;
    submit(&nodes[&1], 1..11).await;
    let leader = leader(&nodes).await;
    nodes.remove(&leader).unwrap().shutdown().await;
    let (_, other) = nodes.first_key_value().unwrap();
    for accepted in submit(other, 11..31).await {
        assert_eq!(
            accepted.state,
            Until::Published,
            "two of three are a majority"
        );
    }
    nodes.insert(leader, town.open(leader).await);
    let size = TreeSize(31);
    nodes[&leader]
        .published_at_least(size, PATIENCE)
        .await
        .unwrap();
    submit(&nodes[&leader], 31..41).await;
    let size = TreeSize(size.0 + 10);
    for node in nodes.values() {
        node.published_at_least(size, PATIENCE).await.unwrap();
    }
    assert_same(&nodes, size);
    close(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_nothing_is_accepted_and_nothing_published() {
    let town = Town::new(3, testbed::tuning());
    let mut nodes = town.open_all().await;
    submit(&nodes[&1], 1..3).await;
    let leader = leader(&nodes).await;
    for node in [1, 2, 3].into_iter().filter(|node| *node != leader) {
        nodes.remove(&node).unwrap().shutdown().await;
    }
    let alone = &nodes[&leader];
    let entry = alone
        .verify(vec![consent(3)])
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    let outcome = alone
        .submit(vec![entry], Until::Published, Duration::from_secs(2))
        .await
        .remove(0);
    assert!(
        matches!(outcome, Outcome::Failed(_) | Outcome::Unknown),
        "{outcome:?}"
    );
    assert_eq!(alone.published().unwrap().size, TreeSize(3));
    assert!(
        alone.linearizable(Duration::from_secs(1)).await.is_err(),
        "no quorum confirms that it leads"
    );
    close(nodes).await;
}

/// The state is not fsynced, so a power cut may take all nodes back. Whoever led then must not confirm reads from what it has applied so far.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_power_cut_of_all_nodes_no_read_misses_what_was_acknowledged() {
    let town = Town::new(3, testbed::tuning());
    close(town.open_all().await).await;
    for node in 1..=3 {
        town.copy_state(node, "early");
    }
    let nodes = town.open_all().await;
    let accepted = submit(&nodes[&1], 1..41).await;
    let size = accepted.last().unwrap().index.size();
    close(nodes).await;
    for node in 1..=3 {
        town.restore_state(node, "early");
    }
    // Each is asked while it starts, before any other has told it more.
    let read_at_once = async |node: u64| {
        let opened = town.open(node).await;
        let seen = opened.linearizable(PATIENCE).await.unwrap().size();
        ((node, opened), seen)
    };
    let (nodes, seen): (BTreeMap<u64, Node>, Vec<TreeSize>) =
        futures::future::join_all((1..=3).map(read_at_once))
            .await
            .into_iter()
            .unzip();
    assert!(seen.iter().all(|seen| *seen >= size), "{seen:?} of {size}");
    close(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_far_behind_is_rebuilt_from_a_snapshot() {
    let tuning = Tuning {
        raft_snapshot_after: 30,
        raft_keep: 5,
        batch_entries_max: 1,
        ..testbed::tuning()
    };
    let town = Town::new(3, tuning);
    let mut nodes = town.open_all().await;
    submit(&nodes[&1], 1..3).await;
    let leader = leader(&nodes).await;
    let away = [1, 2, 3].into_iter().find(|node| *node != leader).unwrap();
    let stopped_at = nodes[&away].status().raft_last;
    nodes.remove(&away).unwrap().shutdown().await;
    // One raft_entry each, so that the log is purged far beyond what the third node has.
    submit(&nodes[&leader], 3..203).await;
    wait_for(&nodes[&leader], |status| status.raft_purged > stopped_at).await;
    nodes.insert(away, town.open(away).await);
    let size = TreeSize(203);
    nodes[&away]
        .published_at_least(size, PATIENCE)
        .await
        .unwrap();
    // It got a snapshot: openraft shows that a moment after the state is in force.
    wait_for(&nodes[&away], |status| status.raft_snapshot > stopped_at).await;
    assert_same(&nodes, size);
    // It takes part again: with the leader alone it is a majority.
    let third = [1, 2, 3]
        .into_iter()
        .find(|node| *node != leader && *node != away)
        .unwrap();
    nodes.remove(&third).unwrap().shutdown().await;
    submit(&nodes[&away], 203..213).await;
    close(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_keeps_more_of_its_log_while_a_peer_lacks_it() {
    let tuning = Tuning {
        raft_snapshot_bytes: 512 << 10,
        raft_keep_bytes: 256 << 10,
        ..testbed::tuning()
    };
    let town = Town::new(3, tuning);
    let mut nodes = town.open_all().await;
    submit(&nodes[&1], 1..3).await;
    let leader = leader(&nodes).await;
    let mut others = [1, 2, 3].into_iter().filter(|node| *node != leader);
    let (away, third) = (others.next().unwrap(), others.next().unwrap());
    let stopped_at = nodes[&away].status().raft_last;
    nodes.remove(&away).unwrap().shutdown().await;
    let mut next = 3;
    let (mut purged, mut more) = (false, 0);
    while more < 4 {
        assert!(next < 2_500);
        submit(&nodes[&leader], next..next + 100).await;
        next += 100;
        purged |= nodes[&third].status().raft_purged > stopped_at;
        more += u64::from(purged);
    }
    // Nobody waits for the third, which purged some time ago; what the one that is away lacks, the leader still has.
    let status = nodes[&leader].status();
    assert!(
        status.raft_snapshot > stopped_at && status.raft_purged <= stopped_at,
        "{status:?}"
    );
    while nodes[&leader].status().raft_purged <= stopped_at {
        assert!(next < 20_000);
        submit(&nodes[&leader], next..next + 100).await;
        next += 100;
    }
    close(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_neither_leads_nor_cosigns_the_future_nor_holds_up_the_others() {
    let mut town = Town::new(3, testbed::tuning());
    let mut nodes = BTreeMap::new();
    for node in [1, 2, 3] {
        // The third is ten seconds behind: what the others date now lies in its future.
        let behind_ms = if node == 3 { 10_000 } else { 0 };
        town.tuning.clock = Clock::from_fn(move || Clock::system().now_ms() - behind_ms);
        nodes.insert(node, town.open(node).await);
    }
    wait_for(&nodes[&3], |status| {
        status.clock_offset_ms.is_some_and(|offset| offset < -5_000)
    })
    .await;
    for number in 1..6 {
        let accepted = submit(&nodes[&(number % 3 + 1)], number..number + 1)
            .await
            .remove(0);
        assert_eq!(accepted.state, Until::Published);
    }
    wait_for(&nodes[&1], |status| {
        status.leader.is_some_and(|leader| leader.0 != 3)
    })
    .await;
    let note = nodes[&1]
        .published_at_least(TreeSize(6), PATIENCE)
        .await
        .unwrap()
        .note
        .clone();
    assert!(
        note.contains("/node/1 ") && note.contains("/node/2 ") && !note.contains("/node/3 "),
        "{note}"
    );
    nodes[&3]
        .published_at_least(TreeSize(6), PATIENCE)
        .await
        .unwrap();
    close(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_come_and_go_as_the_registry_says() {
    let mut town = Town::new(3, testbed::tuning());
    let mut nodes = town.open_all().await;
    submit(&nodes[&1], 1..11).await;
    town.make_room(4);
    nodes.insert(4, town.open(4).await);

    govern(&nodes[&1], new_key("node 4", KeyUse::Node)).await;
    govern(&nodes[&1], new_key("cosign 4", KeyUse::Cosign)).await;
    govern(&nodes[&1], town.node_entry(4, true, None)).await;
    wait_for(&nodes[&1], |status| voters(status) == [1, 2, 3, 4]).await;
    submit(&nodes[&4], 11..21).await;

    let leaving = leader(&nodes).await;
    govern(&nodes[&4], new_key("log 2", KeyUse::Log)).await;
    govern(&nodes[&4], town.node_entry(leaving, false, Some("log 2"))).await;
    let rest: Vec<u64> = [1, 2, 3, 4]
        .into_iter()
        .filter(|node| *node != leaving)
        .collect();
    let stays = rest[0];
    wait_for(&nodes[&stays], |status| {
        voters(status) == rest && status.leader.is_some_and(|leader| leader.0 != leaving)
    })
    .await;
    let accepted = submit(&nodes[&stays], 21..31).await;
    assert!(
        accepted
            .iter()
            .all(|accepted| accepted.state == Until::Published)
    );
    nodes.remove(&leaving).unwrap().shutdown().await;
    let size = accepted.last().unwrap().index.size();
    for node in nodes.values() {
        node.published_at_least(size, PATIENCE).await.unwrap();
    }
    assert_same(&nodes, size);
    close(nodes).await;
}

/// Nodes that found one ledger.
pub(crate) struct Town {
    dir: tempfile::TempDir,
    pub(crate) addresses: BTreeMap<u64, SocketAddr>,
    pub(crate) genesis: SubmittedEntry,
    pub(crate) tuning: Tuning,
    /// Where a node finds another, if not at its address.
    pub(crate) ways: BTreeMap<(u64, u64), SocketAddr>,
}

impl Town {
    pub(crate) fn new(nodes: u64, tuning: Tuning) -> Town {
        let addresses: BTreeMap<u64, SocketAddr> =
            (1..=nodes).map(|node| (node, free_address())).collect();
        let (dir, genesis) = (tempfile::tempdir().unwrap(), testbed::genesis(&addresses));
        Town {
            dir,
            addresses,
            genesis,
            tuning,
            ways: BTreeMap::new(),
        }
    }

    /// An address for a node that is to come.
    fn make_room(&mut self, node: u64) {
        self.addresses.insert(node, free_address());
    }

    pub(crate) async fn open(&self, node: u64) -> Node {
        let config = || {
            let listener = TcpListener::bind(self.addresses[&node]).unwrap();
            let tuning = self.tuning.clone();
            let mut config = testbed::config(
                self.dir.path(),
                node,
                listener,
                &self.genesis,
                &[1, 2, 3, 4],
                tuning,
            );
            config.keys.log.push(testbed::key("log 2"));
            let own = self.ways.iter().filter(|((from, _), _)| *from == node);
            let own = own.map(|((_, to), way)| (NodeNumber(*to), way.to_string()));
            config.peers = own.collect();
            config
        };
        testbed::open(config).await.unwrap()
    }

    /// What the governance says of a node, and of the log key that follows a removal.
    fn node_entry(&self, node: u64, added: bool, log_key: Option<&str>) -> Content {
        let key_id = |name: String| testbed::key(&name).key_id();
        Content::Node(governance::Node {
            node: NodeNumber(node),
            institution: testbed::institution(),
            node_key: key_id(format!("node {node}")),
            cosign_key: key_id(format!("cosign {node}")),
            peer: self.addresses[&node].to_string(),
            added,
            log_key: log_key.map(|name| key_id(name.to_owned())),
        })
    }

    pub(crate) async fn open_all(&self) -> BTreeMap<u64, Node> {
        self.open_some(&self.addresses.keys().copied().collect::<Vec<_>>())
            .await
    }

    /// Opens these, and waits until genesis is published on each.
    pub(crate) async fn open_some(&self, numbers: &[u64]) -> BTreeMap<u64, Node> {
        let mut nodes = BTreeMap::new();
        for node in numbers {
            nodes.insert(*node, self.open(*node).await);
        }
        for node in nodes.values() {
            node.published_at_least(TreeSize(1), PATIENCE)
                .await
                .unwrap();
        }
        nodes
    }

    pub(crate) fn tls(&self, node: u64) -> PeerTls {
        let dir = self.dir.path().join(format!("certs/node-{node}"));
        PeerTls {
            ca: dir.join("peer-ca.pem"),
            cert: dir.join("peer.pem"),
            key: dir.join("peer.key"),
        }
    }

    /// Puts a stopped node's data aside.
    pub(crate) fn copy_data(&self, node: u64, name: &str) {
        copy(&self.data(node), &self.dir.path().join(name));
    }

    /// Takes a copy back in the place of a stopped node's data.
    pub(crate) fn restore_data(&self, node: u64, name: &str) {
        self.remove_data(node);
        copy(&self.dir.path().join(name), &self.data(node));
    }

    /// Puts a stopped node's state aside, without its Raft log.
    fn copy_state(&self, node: u64, name: &str) {
        copy(&self.data(node).join("state-0"), &self.state(node, name));
    }

    /// Takes the state back to that moment; the Raft log stays as it is.
    fn restore_state(&self, node: u64, name: &str) {
        let state = self.data(node).join("state-0");
        std::fs::remove_dir_all(&state).unwrap();
        copy(&self.state(node, name), &state);
    }

    fn state(&self, node: u64, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}-{node}"))
    }

    pub(crate) fn remove_data(&self, node: u64) {
        std::fs::remove_dir_all(self.data(node)).unwrap();
    }

    fn data(&self, node: u64) -> PathBuf {
        self.dir.path().join(format!("data-{node}"))
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for item in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(item.file_name());
        match item.file_type().unwrap().is_dir() {
            true => copy(&item.path(), &target),
            false => drop(std::fs::copy(item.path(), target).unwrap()),
        }
    }
}

fn free_address() -> SocketAddr {
    testbed::listener().local_addr().unwrap()
}

pub(crate) async fn submit(node: &Node, numbers: Range<u64>) -> Vec<Accepted> {
    submit_entries(node, numbers.map(consent).collect()).await
}

/// Until all are accepted: who is told that there is no quorum, or that the outcome is unknown, sends the same bytes again. On a busy machine an
/// election is no failure of what is tested.
pub(crate) async fn submit_entries(node: &Node, entries: Vec<SubmittedEntry>) -> Vec<Accepted> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let verified = node.verify(entries.clone()).await.unwrap();
        let verified = verified.into_iter().map(Result::unwrap).collect();
        let outcomes = node.submit(verified, Until::Published, PATIENCE).await;
        let accepted: Vec<Accepted> = outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                Outcome::Accepted(accepted) => Some(*accepted),
                Outcome::Unknown | Outcome::Failed(Failure::NoQuorum) => None,
                other => panic!("{other:?}"),
            })
            .collect();
        if accepted.len() == entries.len() {
            return accepted;
        }
        assert!(Instant::now() < deadline, "{outcomes:?}");
    }
}

/// Submits a governance entry, which names the one before it.
async fn govern(node: &Node, content: Content) {
    let last = registry::governance(&node.linearizable(PATIENCE).await.unwrap())
        .unwrap()
        .unwrap()
        .last;
    let mut common = testbed::common(Clock::system().now_ms(), last.index.0);
    common.refers_to = Some(last);
    let body = Body { common, content }.to_json();
    let entry =
        SubmittedEntry::sign(body.as_bytes(), &[&testbed::key("governance")], vec![]).unwrap();
    submit_entries(node, vec![entry]).await;
}

fn new_key(name: &str, key_use: KeyUse) -> Content {
    Content::Key(governance::Key::Registered {
        key: testbed::new_key(name, key_use),
    })
}

/// The same tree, and the same receipt for every entry, on all nodes.
fn assert_same(nodes: &BTreeMap<u64, Node>, size: TreeSize) {
    let views: Vec<_> = nodes.values().map(|node| node.view().unwrap()).collect();
    let roots: BTreeSet<_> = views
        .iter()
        .map(|view| view.root_at(size).unwrap().unwrap())
        .collect();
    assert_eq!(roots.len(), 1);
    for index in (0..size.0).map(EntryIndex) {
        let receipts: BTreeSet<String> = views
            .iter()
            .map(|view| view.receipt(index).unwrap().unwrap().to_string())
            .collect();
        assert_eq!(receipts.len(), 1, "receipts of {index} differ");
    }
}

/// Who leads.
pub(crate) async fn leader(nodes: &BTreeMap<u64, Node>) -> u64 {
    let leads = |(_, node): &(&u64, &Node)| node.status().role == Role::Leader;
    let found = until(|| nodes.iter().find(leads).map(|(number, _)| *number)).await;
    found.expect("somebody leads")
}

async fn wait_for(node: &Node, condition: impl Fn(&Status) -> bool) {
    let held = until(|| condition(&node.status()).then_some(())).await;
    held.unwrap_or_else(|| panic!("{:?}", node.status()));
}

/// What `look` finds, as soon as it does; `None` when patience ends.
pub(crate) async fn until<T>(look: impl Fn() -> Option<T>) -> Option<T> {
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let found = async {
        loop {
            ticks.tick().await;
            if let Some(found) = look() {
                return found;
            }
        }
    };
    timeout(PATIENCE, found).await.ok()
}

fn voters(status: &Status) -> Vec<u64> {
    status.voters.iter().map(|NodeNumber(node)| *node).collect()
}

pub(crate) async fn close(nodes: BTreeMap<u64, Node>) {
    for node in nodes.into_values() {
        node.shutdown().await;
    }
}
