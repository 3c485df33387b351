// SPDX-License-Identifier: EUPL-1.2
//! The demo's node processes: three times `visto serve` on loopback, each with files of its own.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use client::http::Client;
use tokio::process::{Child, Command};
use wire::admin::Cluster;

use super::founders::{Place, write};
use crate::cli::exit::Failure;

/// The node processes.
pub(super) struct Nodes {
    pub(super) nodes: Vec<Node>,
    client: Client,
}

/// One node: where it is, and its process while it runs.
pub(super) struct Node {
    pub(super) number: u64,
    pub(super) url: String,
    pub(super) data: PathBuf,
    config: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

/// Addresses of the nodes: public and peer listeners.
pub(super) struct Addresses {
    pub(super) http: Vec<SocketAddr>,
    pub(super) peer: Vec<SocketAddr>,
}

impl Addresses {
    /// Free ports on loopback. All are held until all are found, so that none is given twice.
    pub(super) fn free(count: usize) -> Result<Addresses, Failure> {
        let held: Vec<TcpListener> = (0..2 * count)
            .map(|_| TcpListener::bind(("127.0.0.1", 0)))
            .collect::<Result<_, _>>()
            .map_err(Failure::failed)?;
        let mut addresses: Vec<SocketAddr> = held
            .iter()
            .map(TcpListener::local_addr)
            .collect::<Result<_, _>>()
            .map_err(Failure::failed)?;
        let peer = addresses.split_off(count);
        Ok(Addresses {
            http: addresses,
            peer,
        })
    }
}

impl Nodes {
    /// Writes each node's configuration; nothing runs yet.
    pub(super) fn configure(place: &Place, addresses: &Addresses) -> Result<Nodes, Failure> {
        let mut nodes = Vec::new();
        for (number, (http, peer)) in (1..).zip(addresses.http.iter().zip(&addresses.peer)) {
            let config = place.path(&format!("node-{number}.toml"));
            let data = place.path(&format!("data/node-{number}"));
            fs::create_dir_all(&data)
                .map_err(|error| Failure::failed(format!("{}: {error}", data.display())))?;
            let file = |name: String| format!("{:?}", place.path(&name));
            let text = format!(
                "node = {number}\ndata = {data:?}\ngenesis = {genesis}\n\n[http]\nlisten = \"{http}\"\n\n\
                 [peer]\nlisten = \"{peer}\"\nca = {ca}\ncertificate = {certificate}\nkey = {key}\n\n\
                 [keys]\nnode = {node_key}\ncosign = {cosign_key}\nlog = {log_key}\n\n\
                 [oprf]\nsealed = {sealed}\nidentity = {identity}\n\n\
                 [limits]\nrequests-per-second = 20000\nrequests-burst = 40000\nentries-per-second = 200000\nentries-burst = 400000\n\
                 pseudonyms-per-second = 100000\npseudonyms-burst = 1000000\npseudonyms-alarm-per-hour = 1000000\n",
                genesis = file("genesis.json".to_owned()),
                ca = file(format!("certs/node-{number}/peer-ca.pem")),
                certificate = file(format!("certs/node-{number}/peer.pem")),
                key = file(format!("certs/node-{number}/peer.key")),
                node_key = file(format!("keys/node-{number}-node.pem")),
                cosign_key = file(format!("keys/node-{number}-cosign.pem")),
                log_key = file("keys/log.pem".to_owned()),
                sealed = file("oprf.age".to_owned()),
                identity = file(format!("keys/node-{number}.identity")),
            );
            write(&config, &text)?;
            nodes.push(Node {
                number,
                url: format!("http://{http}"),
                data,
                config,
                log: place.path(&format!("node-{number}.log")),
                child: None,
            });
        }
        let urls: Vec<String> = nodes.iter().map(|node| node.url.clone()).collect();
        Ok(Nodes {
            client: Client::new(&urls, Duration::from_secs(10)).map_err(Failure::failed)?,
            nodes,
        })
    }

    pub(super) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.url.clone()).collect()
    }

    /// Starts all that do not run.
    pub(super) fn start(&mut self) -> Result<(), Failure> {
        self.nodes
            .iter_mut()
            .filter(|node| node.child.is_none())
            .try_for_each(Node::start)
    }

    /// Kills a node by SIGKILL: no goodbye, no flush. Returns the pid that is gone.
    pub(super) async fn kill(&mut self, number: u64) -> Result<u32, Failure> {
        let node = self
            .nodes
            .iter_mut()
            .find(|node| node.number == number)
            .ok_or_else(|| Failure::failed(format!("there is no node {number}")))?;
        let mut child = node
            .child
            .take()
            .ok_or_else(|| Failure::failed(format!("node {number} does not run")))?;
        let pid = child.id().unwrap_or(0);
        child
            .kill()
            .await
            .map_err(|error| Failure::failed(format!("node {number}: {error}")))?;
        Ok(pid)
    }

    /// Asks all nodes to stop, and kills what still runs after a while.
    pub(super) async fn stop(&mut self) {
        // Stdin of all is closed first, so that they stop side by side.
        for child in self.nodes.iter_mut().filter_map(|node| node.child.as_mut()) {
            drop(child.stdin.take());
        }
        for node in &mut self.nodes {
            if let Some(mut child) = node.child.take()
                && tokio::time::timeout(STOP_PATIENCE, child.wait())
                    .await
                    .is_err()
            {
                let _ = child.kill().await;
            }
        }
    }

    /// Waits until every node that runs says it is ready.
    pub(super) async fn ready(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + READY_PATIENCE;
        for node in self.nodes.iter_mut().filter(|node| node.child.is_some()) {
            loop {
                node.still_runs()?;
                if is_ready(&node.url).await {
                    break;
                }
                if Instant::now() >= deadline {
                    return Err(Failure::failed(format!(
                        "node {} is not ready after {} s; its log is {}",
                        node.number,
                        READY_PATIENCE.as_secs(),
                        node.log.display()
                    )));
                }
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
    }

    /// What each running node says of the cluster; a node that gives no answer is left out.
    pub(super) async fn views(&self, token: &str) -> Vec<Cluster> {
        let mut views = Vec::new();
        for node in self.nodes.iter().filter(|node| node.child.is_some()) {
            views.extend(self.client.cluster_at(&node.url, Some(token)).await.ok());
        }
        views
    }

    /// The leader that a majority of the running nodes names; waits for one.
    pub(super) async fn leader(&self, token: &str) -> Result<u64, Failure> {
        let deadline = Instant::now() + READY_PATIENCE;
        loop {
            let views = self.views(token).await;
            let leader = views.iter().filter_map(|view| view.leader).find(|leader| {
                let runs = self
                    .nodes
                    .iter()
                    .any(|node| node.number == *leader && node.child.is_some());
                runs && views
                    .iter()
                    .filter(|view| view.leader == Some(*leader))
                    .count()
                    > self.nodes.len() / 2
            });
            if let Some(leader) = leader {
                return Ok(leader);
            }
            if Instant::now() >= deadline {
                return Err(Failure::failed("no leader was elected"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }
}

impl Node {
    fn start(&mut self) -> Result<(), Failure> {
        let failed =
            |error: std::io::Error| Failure::failed(format!("node {}: {error}", self.number));
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(failed)?;
        let child = Command::new(std::env::current_exe().map_err(failed)?)
            .args(["serve", "--stop-with-stdin", "--config"])
            .arg(&self.config)
            // The node ends when this pipe does, however the demo ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        self.child = Some(child);
        Ok(())
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    fn still_runs(&mut self) -> Result<(), Failure> {
        match self.child.as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                let lines: Vec<&str> = log.lines().rev().take(5).collect();
                let tail: Vec<&str> = lines.into_iter().rev().collect();
                Err(Failure::failed(format!(
                    "node {} ended ({status}):\n{}",
                    self.number,
                    tail.join("\n")
                )))
            }
            Some(Err(error)) => Err(Failure::failed(format!("node {}: {error}", self.number))),
            _ => Ok(()),
        }
    }
}

async fn is_ready(url: &str) -> bool {
    let Ok(client) = Client::new(&[url.to_owned()], Duration::from_millis(500)) else {
        return false;
    };
    client.text("/readyz", None).await.is_ok()
}

const READY_PATIENCE: Duration = Duration::from_secs(60);
const STOP_PATIENCE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(100);
