// SPDX-License-Identifier: EUPL-1.2
//! The load: entries prepared beforehand where their signing would be measured otherwise, and clients that send them.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use ledger::signature::sign_batch;
use reqwest::Method;
use serde_json::json;
use tests::{
    cluster::Cluster,
    http::Http,
    sign::{Draft, Signed, pae},
    world,
};

use crate::machine::{self, Cpu};

/// Entries of one request while the ledger is filled.
const FILL_BATCH: usize = 500;
/// Requests prepared for each load; sent in turn until time or they run out.
const PREPARED_ENTRIES_MAX: usize = 60_000;

/// Persons in households of three.
pub(crate) struct Town {
    households: u64,
}

/// What came of sending.
#[derive(Default)]
pub(crate) struct Result {
    pub(crate) entries: u64,
    pub(crate) failed: u64,
    pub(crate) bytes: u64,
    pub(crate) elapsed: Duration,
    pub(crate) latencies: Vec<Duration>,
    /// CPU seconds that it cost, without what preparing it cost.
    pub(crate) cpu: Cpu,
}

impl Town {
    pub(crate) fn new(households: u64) -> Town {
        Town { households }
    }

    pub(crate) fn household(&self, number: u64) -> String {
        world::household(&format!("{}", number % self.households))
    }

    fn person(&self, number: u64) -> String {
        world::person(&format!("{}", number % (self.households * 3)))
    }

    /// The registry's word on every household, as requests.
    pub(crate) fn families(&self) -> impl Iterator<Item = (String, u64)> + Send + use<> {
        let lines: Vec<String> = (0..self.households)
            .map(|number| {
                let members: Vec<String> = (0..3)
                    .map(|member| self.person(number * 3 + member))
                    .collect();
                let members: Vec<&str> = members.iter().map(String::as_str).collect();
                world::family(&self.household(number), &members, "2026-01-01T00:00:00Z").line()
            })
            .collect();
        let requests: Vec<(String, u64)> = lines
            .chunks(FILL_BATCH)
            .map(|lines| (lines.join("\n"), lines.len() as u64))
            .collect();
        requests.into_iter()
    }

    /// Accesses to all persons in turn, signed as batches while they are sent.
    pub(crate) fn accesses(
        &self,
        entries: u64,
    ) -> impl Iterator<Item = (String, u64)> + Send + use<> {
        let (town, batch) = (
            Town {
                households: self.households,
            },
            FILL_BATCH as u64,
        );
        (0..entries.div_ceil(batch)).map(move |request| {
            let numbers = request * batch..((request + 1) * batch).min(entries);
            let count = numbers.end - numbers.start;
            (town.signed_as_batch(numbers), count)
        })
    }

    fn signed_as_batch(&self, numbers: std::ops::Range<u64>) -> String {
        let drafts: Vec<Draft> = numbers
            .map(|number| world::access_draft(&self.person(number)))
            .collect();
        batch(&drafts)
    }
}

/// Entries of one signer under one signature (alg 0x81), as NDJSON.
fn batch(drafts: &[Draft]) -> String {
    let key = world::key(world::VOGHERA, "entry");
    let bodies: Vec<String> = drafts.iter().map(Draft::body).collect();
    let paes: Vec<Vec<u8>> = bodies.iter().map(|body| pae(body.as_bytes())).collect();
    let paes: Vec<&[u8]> = paes.iter().map(Vec::as_slice).collect();
    let signatures = sign_batch(&key, &paes);
    let lines: Vec<String> = drafts
        .iter()
        .zip(&bodies)
        .zip(&signatures)
        .map(|((draft, body), signature)| {
            let signature = json!({"keyid": world::key_id(&key), "sig": ledger::base64::encode(&signature.encode()), "alg": 0x81});
            json!({
                "envelope": {
                    "payloadType": tests::sign::PAYLOAD_TYPE,
                    "payload": ledger::base64::encode(body.as_bytes()),
                    "signatures": [signature],
                },
                "disclosures": draft.disclosures,
            })
            .to_string()
        })
        .collect();
    lines.join("\n")
}

/// Keeps `connections` clients busy for a while; each waits for its answer before it sends the next.
pub(crate) async fn press(
    cluster: &Cluster,
    town: &Town,
    connections: usize,
    per_request: usize,
    until: &str,
    batch_signed: bool,
    duration: Duration,
) -> Result {
    let requests = PREPARED_ENTRIES_MAX / per_request;
    let prepared: Vec<String> = (0..requests as u64)
        .map(|request| {
            let numbers = request * per_request as u64..(request + 1) * per_request as u64;
            if batch_signed {
                return town.signed_as_batch(numbers);
            }
            let lines: Vec<String> = numbers
                .map(|number| world::access(&town.person(number)))
                .map(|entry: Signed| entry.line())
                .collect();
            lines.join("\n")
        })
        .collect();
    let cpu = machine::cpu_seconds(cluster);
    let (prepared, next, start) = (
        Arc::new(prepared),
        Arc::new(AtomicUsize::new(0)),
        Instant::now(),
    );
    let media_type = if per_request == 1 {
        "application/json"
    } else {
        "application/x-ndjson"
    };
    let clients = (0..connections).map(|client| {
        let (prepared, next, http) = (prepared.clone(), next.clone(), cluster.http.clone());
        let urls = cluster.urls();
        let url = format!("{}/v1/entries?until={until}", urls[client % urls.len()]);
        tokio::spawn(async move {
            let mut result = Result::default();
            while start.elapsed() < duration {
                let Some(body) = prepared.get(next.fetch_add(1, Ordering::Relaxed)) else {
                    break;
                };
                let sent = Instant::now();
                let accepted = send(&http, &url, media_type, body, per_request as u64).await;
                result.latencies.push(sent.elapsed());
                result.entries += accepted;
                result.failed += per_request as u64 - accepted;
                result.bytes += body.len() as u64;
            }
            result
        })
    });
    let mut total = Result::default();
    for client in clients.collect::<Vec<_>>() {
        total.add(client.await.unwrap());
    }
    total.elapsed = start.elapsed();
    total.cpu = machine::difference(&cpu, &machine::cpu_seconds(cluster));
    total
}

/// Sends all requests, until each entry is accepted.
pub(crate) async fn fill(
    cluster: &Cluster,
    requests: impl Iterator<Item = (String, u64)> + Send + 'static,
    connections: usize,
) -> Result {
    let (requests, start) = (Arc::new(Mutex::new(requests)), Instant::now());
    let clients = (0..connections).map(|client| {
        let (requests, http, urls) = (requests.clone(), cluster.http.clone(), cluster.urls());
        let url = format!("{}/v1/entries?until=committed", urls[client % urls.len()]);
        tokio::spawn(async move {
            let mut result = Result::default();
            loop {
                let Some((body, count)) = requests.lock().unwrap().next() else {
                    return result;
                };
                // The same bytes again are the same entries: sending them until all are accepted counts none twice.
                while send(&http, &url, "application/x-ndjson", &body, count).await < count {
                    result.failed += 1;
                    assert!(result.failed < 100, "the ledger takes no more entries");
                }
                result.entries += count;
                result.bytes += body.len() as u64;
            }
        })
    });
    let mut total = Result::default();
    for client in clients.collect::<Vec<_>>() {
        total.add(client.await.unwrap());
    }
    total.elapsed = start.elapsed();
    total
}

/// Asks `times` questions over so many connections; how long each took. A question without its answer ends the run.
pub(crate) async fn ask(
    cluster: &Cluster,
    connections: usize,
    times: u64,
    question: impl AsyncFn(&Http, &str, u64) -> bool,
) -> Vec<Duration> {
    let (next, urls) = (AtomicU64::new(0), cluster.urls());
    let clients = (0..connections).map(|client| {
        let (next, url, question) = (&next, &urls[client % urls.len()], &question);
        async move {
            let mut latencies = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= times {
                    return latencies;
                }
                let sent = Instant::now();
                assert!(
                    question(&cluster.http, url, number).await,
                    "question {number} was not answered"
                );
                latencies.push(sent.elapsed());
            }
        }
    });
    futures::future::join_all(clients)
        .await
        .into_iter()
        .flatten()
        .collect()
}

/// How many of a request's entries were accepted.
async fn send(http: &Http, url: &str, media_type: &str, body: &str, count: u64) -> u64 {
    let Ok(answer) = http
        .send(Method::POST, url, None, Some((media_type, body.to_owned())))
        .await
    else {
        return 0;
    };
    match answer.status {
        201 | 202 if count == 1 => 1,
        200 if media_type == "application/x-ndjson" => answer
            .text
            .lines()
            .filter(|line| line.contains("\"accepted\":{"))
            .count() as u64,
        200 => 1,
        _ => 0,
    }
}

impl Result {
    fn add(&mut self, other: Result) {
        self.entries += other.entries;
        self.failed += other.failed;
        self.bytes += other.bytes;
        self.latencies.extend(other.latencies);
    }
}
