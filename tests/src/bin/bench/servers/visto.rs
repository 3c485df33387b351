// SPDX-License-Identifier: EUPL-1.2
//! Visto: three durable nodes on loopback, and sessions that submit prepared entries and verify each receipt that they get.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ::tests::{
    cluster::{Cluster, Setup},
    loader, wait,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use ledger::{
    hash::Hash,
    policy::PolicySet,
    receipt::{Receipt, VerifiedNote},
};
use tokio::{net::TcpStream, task::JoinHandle};
use wire::entry::{Accepted, LineOutcome};

use crate::{
    drive::{Sent, Session},
    load::{self, Prepared, Town},
    machine::{self, Cpu},
};

/// Between two looks at the newest checkpoint, while the publish delay is taken.
const WATCH_PERIOD: Duration = Duration::from_millis(5);
/// Checkpoints whose signatures are remembered as verified.
const NOTES_MAX: usize = 256;

/// Of so many loaded entries one is measured.
const SAMPLED: usize = 100;

/// The running nodes, and what a client of them knows.
pub(crate) struct Visto {
    pub(crate) cluster: Cluster,
    pub(crate) town: Town,
    /// Bytes of the requests that were accepted.
    pub(crate) submitted_bytes: Arc<AtomicU64>,
    checker: Arc<Checker>,
    next_entry: u64,
}

/// How far a request waits for its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// Durable on a majority.
    Committed,
    /// Cosigned, with the receipt in the answer.
    Receipt,
}

impl Visto {
    /// Starts the nodes and enters the households.
    pub(crate) async fn start() -> Visto {
        let town = Town::new(1_000);
        let cluster = Cluster::start().await;
        let families = load::fill(&cluster, town.families(), 8).await;
        Visto::over(cluster, town, families.submitted)
    }

    /// Starts nodes on folders in which the town stands with so many entries. A fourth node may join.
    pub(crate) async fn loaded(town: Town, entries: u64) -> Visto {
        let setup = Setup {
            spare: 1,
            ..Setup::default()
        };
        let mut cluster = Cluster::prepare(setup).await;
        let mut submitted = 0;
        let lines = load::lines(town, entries)
            .enumerate()
            .map(|(number, line)| {
                // The families come first and are few; accesses are alike.
                if number % SAMPLED == 0 {
                    submitted += load::submitted_bytes_of(&line) * SAMPLED as u64;
                }
                line
            });
        let size = tokio::task::block_in_place(|| loader::fill(&cluster, lines));
        for node in cluster.nodes.values_mut() {
            node.start();
        }
        cluster.ready().await;
        for number in cluster.nodes.keys() {
            cluster.published(*number, size).await;
        }
        Visto::over(cluster, town, submitted)
    }

    fn over(cluster: Cluster, town: Town, submitted_bytes: u64) -> Visto {
        let policy = std::fs::read(cluster.policy_file()).expect("the policy file");
        let policies = PolicySet::parse(&policy).expect("a policy");
        Visto {
            cluster,
            town,
            submitted_bytes: Arc::new(AtomicU64::new(submitted_bytes)),
            checker: Arc::new(Checker {
                policies,
                notes: Mutex::default(),
            }),
            next_entry: 0,
        }
    }

    /// Signs that many requests before they are sent: no institution signs on the ledger's cores.
    pub(crate) fn prepare(
        &mut self,
        requests: u64,
        per_request: u64,
        batch_signed: bool,
    ) -> Arc<Vec<Prepared>> {
        let first = self.next_entry;
        self.next_entry += requests * per_request;
        Arc::new(load::prepare(
            &self.town,
            first,
            requests,
            per_request,
            batch_signed,
        ))
    }

    /// So many sessions, at all nodes in turn.
    pub(crate) fn sessions(
        &self,
        count: usize,
        prepared: &Arc<Vec<Prepared>>,
        until: Until,
        acks: Option<&Acks>,
    ) -> Vec<Submit> {
        let hosts: Vec<String> = self
            .cluster
            .urls()
            .iter()
            .map(|url| url.trim_start_matches("http://").to_owned())
            .collect();
        (0..count)
            .map(|session| Submit {
                host: hosts[session % hosts.len()].clone(),
                connection: None,
                prepared: prepared.clone(),
                until,
                checker: self.checker.clone(),
                submitted_bytes: self.submitted_bytes.clone(),
                acks: acks.cloned(),
            })
            .collect()
    }

    /// Looks at the newest checkpoint of a node again and again, until told to stop.
    pub(crate) fn watch(&self) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, http) = (stop.clone(), self.cluster.http.clone());
        let url = self.cluster.url(1, "/checkpoint");
        let task = tokio::spawn(async move {
            let mut seen: Vec<(Instant, u64)> = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                if let Ok(answer) = http.get(&url, None).await
                    && let Some(size) = answer
                        .text
                        .lines()
                        .nth(1)
                        .and_then(|line| line.parse().ok())
                    && seen.last().is_none_or(|(_, last)| *last < size)
                {
                    seen.push((Instant::now(), size));
                }
                wait::at(Instant::now() + WATCH_PERIOD).await;
            }
            seen
        });
        Watch { stop, task }
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.cluster
            .nodes
            .values()
            .filter_map(::tests::node::Node::pid)
            .collect()
    }

    pub(crate) fn cpu(&self) -> Cpu {
        machine::cpu_seconds(&self.cluster)
    }
}

/// When an entry was acknowledged, and its index.
pub(crate) type Acks = Arc<Mutex<Vec<(Instant, u64)>>>;

/// A look-out for checkpoints.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Vec<(Instant, u64)>>,
}

impl Watch {
    /// How long after it was acknowledged each entry stood under a checkpoint that was served, and how many never did while this looked.
    pub(crate) async fn delays(self, acks: &Acks) -> (Vec<Duration>, u64) {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.task.await.unwrap();
        publish_delays(&acks.lock().unwrap(), &seen)
    }
}

/// `seen` ascends in time and size.
fn publish_delays(acks: &[(Instant, u64)], seen: &[(Instant, u64)]) -> (Vec<Duration>, u64) {
    let mut unseen = 0;
    let delays = acks
        .iter()
        .filter_map(|(acked, index)| {
            let place = seen.partition_point(|(_, size)| size <= index);
            let delay = seen
                .get(place)
                .map(|(at, _)| at.saturating_duration_since(*acked));
            unseen += u64::from(delay.is_none());
            delay
        })
        .collect();
    (delays, unseen)
}

/// Verifies receipts as a client does that keeps verified checkpoints: signatures once a checkpoint, then hashes alone.
struct Checker {
    policies: PolicySet,
    notes: Mutex<HashMap<Hash, Arc<VerifiedNote>>>,
}

impl Checker {
    fn check(&self, receipt: &str, entry: &load::Sent) -> Result<(), String> {
        let text = |error: ledger::receipt::ReceiptError| error.to_string();
        let receipt = Receipt::parse(receipt.as_bytes()).map_err(text)?;
        let key = receipt.note_key();
        let known = self.notes.lock().unwrap().get(&key).cloned();
        let note = match known {
            Some(note) => note,
            None => {
                let note = VerifiedNote::open(&receipt.note, &self.policies).map_err(text)?;
                let note = Arc::new(note);
                let mut notes = self.notes.lock().unwrap();
                if notes.len() >= NOTES_MAX {
                    notes.clear();
                }
                notes.insert(key, note.clone());
                note
            }
        };
        receipt
            .verify_signed_in(&note, &entry.pae, &entry.sigs)
            .map(drop)
            .map_err(text)
    }
}

/// Sends prepared requests over one connection.
pub(crate) struct Submit {
    host: String,
    connection: Option<SendRequest<Full<Bytes>>>,
    prepared: Arc<Vec<Prepared>>,
    until: Until,
    checker: Arc<Checker>,
    submitted_bytes: Arc<AtomicU64>,
    acks: Option<Acks>,
}

impl Session for Submit {
    async fn request(&mut self, number: u64) -> Sent {
        let prepared = self.prepared.clone();
        let Some(request) = prepared.get(number as usize) else {
            return Sent::Dry;
        };
        let count = request.entries.len() as u64;
        let accepted = match self.exchange(request).await {
            Ok((status, body)) => self.accepted(request, status, &body),
            Err(_) => {
                // What broke it is told by the count of failures; the next request opens a new one.
                self.connection = None;
                0
            }
        };
        if accepted > 0 {
            self.submitted_bytes
                .fetch_add(request.submitted, Ordering::Relaxed);
        }
        Sent::Answered {
            accepted,
            failed: count - accepted.min(count),
        }
    }
}

impl Submit {
    async fn exchange(
        &mut self,
        request: &Prepared,
    ) -> Result<(u16, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let stream = TcpStream::connect(&self.host).await?;
                stream.set_nodelay(true)?;
                let (send, connection) = handshake(TokioIo::new(stream)).await?;
                tokio::spawn(async move {
                    let _ = connection.await;
                });
                send
            }
        };
        connection.ready().await?;
        let path = match self.until {
            Until::Committed => "/v1/entries?until=committed",
            Until::Receipt => "/v1/entries",
        };
        let media_type = if request.entries.len() == 1 {
            "application/json"
        } else {
            "application/x-ndjson"
        };
        let message = http::Request::post(path)
            .header("host", &self.host)
            .header("content-type", media_type)
            .body(Full::new(request.body.clone()))?;
        let answer = connection.send_request(message).await?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await?.to_bytes();
        self.connection = Some(connection);
        Ok((status, body))
    }

    /// How many of the request's entries are where they should be: durable, or proven by a receipt that was verified.
    fn accepted(&self, request: &Prepared, status: u16, body: &[u8]) -> u64 {
        let outcomes: Vec<Option<Accepted>> = match (status, request.entries.len()) {
            (200..=202, 1) => vec![serde_json::from_slice(body).ok()],
            (200, _) => body
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
                .map(|line| serde_json::from_slice::<LineOutcome>(line).ok()?.accepted)
                .collect(),
            _ => Vec::new(),
        };
        let now = Instant::now();
        let mut count = 0;
        for (entry, accepted) in request.entries.iter().zip(&outcomes) {
            let Some(accepted) = accepted else { continue };
            match (self.until, &accepted.receipt) {
                (Until::Committed, _) => {
                    if let Some(acks) = &self.acks {
                        acks.lock().unwrap().push((now, accepted.index));
                    }
                    count += 1;
                }
                (Until::Receipt, Some(receipt)) => {
                    if let Err(error) = self.checker.check(receipt, entry) {
                        panic!("the receipt of entry {}: {error}", accepted.index);
                    }
                    count += 1;
                }
                // Durable, and without a receipt in the answer: not what was asked for.
                (Until::Receipt, None) => {}
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_published_with_the_first_checkpoint_that_covers_it() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let seen = [(at(100), 10), (at(200), 20), (at(300), 30)];
        let acks = [
            (at(90), 9),
            (at(90), 10),
            (at(150), 19),
            // A checkpoint can be seen before the answer is: no delay at all.
            (at(250), 5),
            (at(290), 30),
        ];
        let (delays, unseen) = publish_delays(&acks, &seen);
        let delays_ms: Vec<u128> = delays.iter().map(Duration::as_millis).collect();
        assert_eq!((delays_ms, unseen), (vec![10, 110, 50, 0], 1));
    }
}
