// SPDX-License-Identifier: EUPL-1.2
//! A cluster of real node processes on this machine's loopback, with everything a scenario does to it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;
use wire::token::Role;

use crate::{
    history::{Kept, KeptEntry},
    http::{Answer, Http},
    leaves,
    node::{Node, address, binary, peer_address},
    proxy::Link,
    secrets, wait, world,
};

/// First port of the links that can be cut; the dialled node's number is added.
const LINK_PORT: u16 = 20_000;

/// How a cluster is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Nodes of genesis, numbered from 1.
    pub nodes: u64,
    /// Nodes that may join later: certificates are made for them too.
    pub spare: u64,
    /// Links between nodes can be cut.
    pub links: bool,
    /// Further settings, by their names in the configuration file, in the order of their tables.
    pub settings: Vec<(&'static str, String)>,
}

impl Default for Setup {
    fn default() -> Setup {
        // A test's load comes from one address and from one institution: the limits of production would be in its way.
        let unlimited = [
            "limits.requests-per-second",
            "limits.requests-burst",
            "limits.entries-per-second",
            "limits.entries-burst",
            "limits.pseudonyms-per-second",
            "limits.pseudonyms-burst",
            "limits.pseudonyms-alarm-per-hour",
        ];
        let settings = unlimited.map(|name| (name, "1000000".to_owned())).to_vec();
        Setup {
            nodes: 3,
            spare: 0,
            links: false,
            settings,
        }
    }
}

/// Nodes that run, and their folder.
pub struct Cluster {
    /// The nodes, by number.
    pub nodes: BTreeMap<u64, Node>,
    /// A client that follows nobody's advice.
    pub http: Http,
    setup: Setup,
    place: (u8, u8),
    links: BTreeMap<(u64, u64), Link>,
    genesis: PathBuf,
    certificates: PathBuf,
    folder: Option<TempDir>,
}

impl Cluster {
    /// Three nodes, ready to serve.
    ///
    /// # Panics
    /// If they do not come up.
    pub async fn start() -> Cluster {
        Cluster::start_with(Setup::default()).await
    }

    /// A cluster as set up, ready to serve.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn start_with(setup: Setup) -> Cluster {
        let mut cluster = Cluster::prepare(setup).await;
        for node in cluster.nodes.values_mut() {
            node.start();
        }
        cluster.ready().await;
        cluster
    }

    /// A cluster whose folders are written and whose nodes are not started.
    ///
    /// # Panics
    /// If the folders cannot be written.
    pub async fn prepare(setup: Setup) -> Cluster {
        let folder = tempfile::Builder::new()
            .prefix("visto-test-")
            .tempdir()
            .expect("a folder");
        let place = place();
        let numbers: Vec<u64> = (1..=setup.nodes).collect();
        let peers: Vec<(u64, String)> = numbers
            .iter()
            .map(|node| (*node, peer_address(place, *node)))
            .collect();
        let entry = world::genesis(&peers);
        let genesis = folder.path().join("genesis.json");
        fs::write(&genesis, entry.line()).expect("the genesis file");
        let policy = world::policy(&entry, setup.nodes);
        fs::write(folder.path().join("policy.txt"), policy).expect("the policy file");
        let certificates = folder.path().join("certificates");
        make_certificates(&certificates, setup.nodes + setup.spare);
        let mut cluster = Cluster {
            nodes: BTreeMap::new(),
            http: Http::default(),
            setup,
            place,
            links: BTreeMap::new(),
            genesis,
            certificates,
            folder: Some(folder),
        };
        for number in numbers {
            cluster.add_folder(number).await;
        }
        cluster
    }

    /// Writes the folder of one more node, and the links between it and the others. It is not started.
    ///
    /// # Panics
    /// If the folder cannot be written.
    pub async fn add_folder(&mut self, number: u64) {
        let all = 1..=self.setup.nodes + self.setup.spare;
        let mut peers = Vec::new();
        if self.setup.links {
            for other in all.filter(|other| *other != number) {
                // The link stands at the dialling node's address and leads to the other's listener.
                let listen = format!(
                    "{}:{}",
                    address(self.place, number),
                    u64::from(LINK_PORT) + other
                );
                let target = peer_address(self.place, other);
                let link = Link::open(
                    listen.parse().expect("an address"),
                    target.parse().expect("an address"),
                )
                .await
                .expect("a link");
                self.links.insert((number, other), link);
                peers.push((other, listen));
            }
        }
        let folder = self.folder().to_owned();
        let node = Node::prepare(
            self.place,
            number,
            &folder,
            &self.genesis,
            &self.certificates,
            &peers,
            &self.setup.settings,
        );
        self.nodes.insert(number, node);
    }

    /// The node of that number.
    ///
    /// # Panics
    /// If there is none.
    pub fn node(&mut self, number: u64) -> &mut Node {
        self.nodes.get_mut(&number).expect("a node of that number")
    }

    /// URL of a path at a node.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn url(&self, number: u64, path: &str) -> String {
        format!(
            "{}{path}",
            self.nodes.get(&number).expect("a node of that number").url
        )
    }

    /// URLs of all nodes that should be up.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.values().map(|node| node.url.clone()).collect()
    }

    /// The folder of everything.
    ///
    /// # Panics
    /// Never: it is there until the cluster is dropped.
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().expect("the folder").path()
    }

    /// The policy file that its founders would hand out.
    pub fn policy_file(&self) -> PathBuf {
        self.folder().join("policy.txt")
    }

    /// Its own /24.
    pub fn place(&self) -> (u8, u8) {
        self.place
    }

    /// File of the genesis entry.
    pub fn genesis_file(&self) -> &Path {
        &self.genesis
    }

    /// Waits until every node that runs says that it is ready.
    ///
    /// # Panics
    /// If one does not, or has ended; with the end of its log.
    pub async fn ready(&mut self) {
        let numbers: Vec<u64> = self
            .nodes
            .iter_mut()
            .filter_map(|(number, node)| node.pid().map(|_| *number))
            .collect();
        for number in numbers {
            self.ready_node(number).await;
        }
    }

    /// Waits until one node says that it is ready.
    ///
    /// # Panics
    /// If it does not, or has ended.
    pub async fn ready_node(&mut self, number: u64) {
        let (http, url) = (self.http.clone(), self.url(number, "/readyz"));
        let ended = wait::until(&format!("node {number} to be ready"), async || {
            if http
                .get(&url, None)
                .await
                .is_ok_and(|answer| answer.status == 200)
            {
                return Some(false);
            }
            (!self.node(number).runs()).then_some(true)
        })
        .await;
        if ended {
            panic!(
                "node {number} ended instead of getting ready; it said:\n{}",
                tail(&self.node(number).log())
            );
        }
    }

    /// Number of the leader, as a majority of the nodes that answer sees it.
    ///
    /// # Panics
    /// If there is none for long.
    pub async fn leader(&self) -> u64 {
        wait::until("a leader that a majority knows", async || {
            let mut votes: BTreeMap<u64, usize> = BTreeMap::new();
            for number in self.nodes.keys() {
                if let Some(leader) = self
                    .admin(*number)
                    .await
                    .and_then(|status| status["leader"].as_u64())
                {
                    *votes.entry(leader).or_default() += 1;
                }
            }
            let majority = self.nodes.len() / 2 + 1;
            votes
                .into_iter()
                .find(|(_, count)| *count >= majority)
                .map(|(leader, _)| leader)
        })
        .await
    }

    /// `/admin/v1/cluster` of a node, if it answers.
    pub async fn admin(&self, number: u64) -> Option<Value> {
        let token = world::token(world::operator_of(number), Role::Operator);
        let answer = self
            .http
            .get(&self.url(number, "/admin/v1/cluster"), Some(&token))
            .await
            .ok()?;
        (answer.status == 200).then(|| answer.json())
    }

    /// Cuts every link to and from a node.
    pub fn cut_off(&self, number: u64) {
        self.set_links(number, false);
    }

    /// Mends every link to and from a node.
    pub fn mend(&self, number: u64) {
        self.set_links(number, true);
    }

    fn set_links(&self, number: u64, whole: bool) {
        for ((from, to), link) in &self.links {
            if *from == number || *to == number {
                link.set_whole(whole);
            }
        }
    }

    /// Sends an entry to a node and waits for the answer.
    ///
    /// # Panics
    /// If there is none.
    pub async fn submit(&self, number: u64, line: &str) -> Answer {
        let url = self.url(number, "/v1/entries");
        let body = Some(("application/json", line.to_owned()));
        self.http
            .send(reqwest::Method::POST, &url, None, body)
            .await
            .expect("an answer")
    }

    /// Sends an entry and insists that it is accepted: its index and leaf hash.
    ///
    /// # Panics
    /// If it is not.
    pub async fn accept(&self, number: u64, line: &str) -> (u64, String) {
        let answer = self.submit(number, line).await;
        assert!(
            matches!(answer.status, 200..=202),
            "not accepted: {} {}",
            answer.status,
            answer.text
        );
        let body = answer.json();
        (
            body["index"].as_u64().expect("an index"),
            body["leafHash"].as_str().expect("a leaf hash").to_owned(),
        )
    }

    /// The newest checkpoint that a node publishes: size and root, as text.
    pub async fn checkpoint(&self, number: u64) -> Option<(u64, String)> {
        let answer = self
            .http
            .get(&self.url(number, "/checkpoint"), None)
            .await
            .ok()?;
        if answer.status != 200 {
            return None;
        }
        let mut lines = answer.text.lines().skip(1);
        Some((lines.next()?.parse().ok()?, lines.next()?.to_owned()))
    }

    /// Waits until a node publishes a tree of at least this size.
    ///
    /// # Panics
    /// If it does not.
    pub async fn published(&self, number: u64, size: u64) -> (u64, String) {
        wait::until(
            &format!("node {number} to publish size {size}"),
            async || {
                self.checkpoint(number)
                    .await
                    .filter(|(published, _)| *published >= size)
            },
        )
        .await
    }

    /// What each node keeps, up to a size of at least `size_min` that all publish: leaf hashes from its own bundles, entry ids from one
    /// node's answers to the supervisory authority.
    ///
    /// # Panics
    /// If a node does not answer.
    pub async fn kept(&self, numbers: &[u64], size_min: u64) -> Vec<Kept> {
        let first = numbers[0];
        let (size, _) = self.published(first, size_min).await;
        let mut kept = Vec::new();
        let ids = leaves::entry_ids(&self.http, &self.url(first, "")).await;
        for number in numbers {
            self.published(*number, size).await;
            let leaves = leaves::leaf_hashes(&self.http, &self.url(*number, ""), size).await;
            let entries = (0..)
                .zip(leaves)
                .map(|(index, leaf_hash)| KeptEntry {
                    index,
                    entry: ids.get(&index).cloned(),
                    leaf_hash,
                })
                .collect();
            kept.push(Kept {
                node: format!("node {number}"),
                entries,
            });
        }
        kept
    }

    /// Ends the scenario: stops the nodes and searches their logs for what must never stand there. Every scenario ends with it.
    ///
    /// # Panics
    /// If a log holds a secret or a person.
    pub async fn finish(mut self) {
        for node in self.nodes.values_mut() {
            node.stop().await;
        }
        for node in self.nodes.values() {
            let found = secrets::found_in(&node.log());
            assert!(
                found.is_empty(),
                "the log of node {} holds:\n  {}",
                node.number,
                found.join("\n  ")
            );
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in self.nodes.values_mut() {
            node.kill();
        }
        if std::thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            // Kept for whoever looks into the failure.
            eprintln!("the nodes' folders are kept: {}", folder.keep().display());
            for node in self.nodes.values() {
                eprintln!(
                    "--- end of the log of node {} ---\n{}",
                    node.number,
                    tail(&node.log())
                );
            }
        }
    }
}

/// The last lines of a log.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines
        .get(lines.len().saturating_sub(30)..)
        .unwrap_or_default()
        .join("\n")
}

/// An own /24 of 127/8 for each cluster: from the process id, and the number of the cluster within the process.
fn place() -> (u8, u8) {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id()
        .wrapping_mul(7)
        .wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed));
    let [_, _, high, low] = number.to_be_bytes();
    // 127.0 and 127.1 are left to others.
    (64 + high % 128, low)
}
fn make_certificates(folder: &Path, nodes: u64) {
    let numbers: Vec<String> = (1..=nodes).map(|number| number.to_string()).collect();
    let made = Command::new(binary("visto"))
        .args([
            "certs",
            "--ledger",
            world::LEDGER,
            "--nodes",
            &numbers.join(","),
            "--out",
        ])
        .arg(folder)
        .output()
        .expect("visto certs");
    assert!(
        made.status.success(),
        "visto certs: {}",
        String::from_utf8_lossy(&made.stderr)
    );
}
