// SPDX-License-Identifier: EUPL-1.2
//! Entries of a town: signed beforehand where signing them would be measured otherwise, filled in bulk where a ledger of some size is wanted.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ::tests::{
    cluster::Cluster,
    http::Http,
    sign::{Draft, pae, random},
    world,
};
use bytes::Bytes;
use ledger::{
    entry::SubmittedEntry,
    signature::{Sigs, sign_batch},
};
use reqwest::Method;
use serde_json::{Value, json};

/// Entries of one request while the ledger is filled.
const FILL_BATCH: u64 = 500;

/// Persons in households of three.
#[derive(Clone, Copy)]
pub(crate) struct Town {
    households: u64,
}

/// A request, signed, and what its receipts must be receipts of.
pub(crate) struct Prepared {
    pub(crate) body: Bytes,
    pub(crate) entries: Vec<Sent>,
    /// Submitted bytes of all its entries, as [`submitted_bytes`] counts them.
    pub(crate) submitted: u64,
}

/// What a client keeps of an entry to verify its receipt.
pub(crate) struct Sent {
    pub(crate) pae: Vec<u8>,
    pub(crate) sigs: Sigs,
}

/// What came of filling.
#[derive(Default)]
pub(crate) struct Filled {
    pub(crate) entries: u64,
    /// Submitted bytes, as if all entries of a request were as large as its first.
    pub(crate) submitted: u64,
    pub(crate) elapsed: Duration,
    failed: u64,
}

impl Town {
    pub(crate) fn new(households: u64) -> Town {
        Town { households }
    }

    pub(crate) fn household(&self, number: u64) -> String {
        world::household(&format!("{}", number % self.households))
    }

    pub(crate) fn person(&self, number: u64) -> String {
        world::person(&format!("{}", number % (self.households * 3)))
    }

    /// The registry's word on a household.
    fn family(&self, number: u64) -> String {
        let members: Vec<String> = (0..3)
            .map(|member| self.person(number * 3 + member))
            .collect();
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        world::family(&self.household(number), &members, "2026-01-01T00:00:00Z").line()
    }

    /// The registry's word on every household, as requests.
    pub(crate) fn families(&self) -> impl Iterator<Item = (String, u64)> + Send + use<> {
        let town = *self;
        let lines: Vec<String> = (0..town.households)
            .map(|number| town.family(number))
            .collect();
        let requests: Vec<(String, u64)> = lines
            .chunks(FILL_BATCH as usize)
            .map(|lines| (lines.join("\n"), lines.len() as u64))
            .collect();
        requests.into_iter()
    }

    /// Accesses to all persons in turn, signed as batches while they are sent.
    pub(crate) fn accesses(
        &self,
        entries: u64,
    ) -> impl Iterator<Item = (String, u64)> + Send + use<> {
        let town = *self;
        (0..entries.div_ceil(FILL_BATCH)).map(move |request| {
            let numbers = request * FILL_BATCH..((request + 1) * FILL_BATCH).min(entries);
            let count = numbers.end - numbers.start;
            let drafts: Vec<Draft> = numbers
                .map(|number| world::access_draft(&town.person(number)))
                .collect();
            (batch(&drafts).join("\n"), count)
        })
    }
}

/// What stands in a town of so many entries, a line each: every household, then accesses to all persons in turn, as large as those that
/// [`prepare`] makes and signed as batches.
pub(crate) fn lines(town: Town, entries: u64) -> impl Iterator<Item = String> {
    let families = (0..town.households).map(move |number| town.family(number));
    let accesses = entries.saturating_sub(town.households);
    let batches = (0..accesses.div_ceil(FILL_BATCH)).flat_map(move |request| {
        let numbers = request * FILL_BATCH..((request + 1) * FILL_BATCH).min(accesses);
        let drafts: Vec<Draft> = numbers
            .map(|number| short_access(&[town.person(number)]))
            .collect();
        batch(&drafts)
    });
    families.chain(batches)
}

/// Accesses that name so many persons, whom nobody else names, as requests of so many entries.
pub(crate) fn naming(
    persons: u64,
    an_entry: u64,
    a_request: u64,
) -> impl Iterator<Item = (String, u64)> + Send {
    let entries = persons / an_entry;
    let access = move |entry: u64| {
        let numbers = entry * an_entry..(entry + 1) * an_entry;
        let named: Vec<String> = numbers
            .map(|number| world::person(&format!("stranger {number}")))
            .collect();
        short_access(&named)
    };
    (0..entries / a_request).map(move |request| {
        let numbers = request * a_request..(request + 1) * a_request;
        let drafts: Vec<Draft> = numbers.map(access).collect();
        (batch(&drafts).join("\n"), a_request)
    })
}

/// Signs requests on all cores. What is in them is an access as short as one can be, so that an entry (what is signed, the signature, the
/// disclosures) has about as many bytes as the peers' values have.
pub(crate) fn prepare(
    town: &Town,
    first: u64,
    requests: u64,
    per_request: u64,
    batch_signed: bool,
) -> Vec<Prepared> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let prepare = |numbers: std::ops::Range<u64>| -> Vec<Prepared> {
        numbers
            .map(|request| {
                let at = first + request * per_request;
                let drafts: Vec<Draft> = (at..at + per_request)
                    .map(|number| short_access(&[town.person(number)]))
                    .collect();
                let lines = if batch_signed {
                    batch(&drafts)
                } else {
                    let key = world::key(world::VOGHERA, "entry");
                    drafts
                        .iter()
                        .map(|draft| draft.sign(&[&key]).line())
                        .collect()
                };
                let mut submitted = 0;
                let entries = lines
                    .iter()
                    .map(|line| {
                        let entry = SubmittedEntry::from_wire(line.as_bytes()).expect("an entry");
                        submitted += submitted_bytes(&entry);
                        Sent {
                            pae: entry.pae().to_vec(),
                            sigs: entry.sigs().clone(),
                        }
                    })
                    .collect();
                Prepared {
                    body: lines.join("\n").into(),
                    entries,
                    submitted,
                }
            })
            .collect()
    };
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|thread| {
                let numbers = requests * thread / threads..requests * (thread + 1) / threads;
                let prepare = &prepare;
                scope.spawn(move || prepare(numbers))
            })
            .collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().unwrap())
            .collect()
    })
}

/// Bytes of one entry as it is kept: what is signed, signature and disclosures; and as it is sent.
pub(crate) fn entry_bytes() -> (u64, u64) {
    let key = world::key(world::VOGHERA, "entry");
    let signed = short_access(&[world::person("0")]).sign(&[&key]);
    let line = signed.line();
    (submitted_bytes_of(&line), line.len() as u64)
}

/// What an institution submits: what is signed, the signatures, and the disclosures. Not the JSON that it comes in.
fn submitted_bytes(entry: &SubmittedEntry) -> u64 {
    let disclosures: usize = entry.disclosures().iter().map(String::len).sum();
    (entry.pae().len() + entry.sigs().encode().len() + disclosures) as u64
}

/// The same of an entry on its line.
pub(crate) fn submitted_bytes_of(line: &str) -> u64 {
    submitted_bytes(&SubmittedEntry::from_wire(line.as_bytes()).expect("an entry"))
}

fn short_access(subjects: &[String]) -> Draft {
    let mut draft = Draft::new(world::VOGHERA, "access");
    let clerk = draft.disclosed(json!(world::CLERK));
    let place = draft.disclosed(json!("Voghera/3"));
    let reason = draft.disclosed(json!("ISEE"));
    let targets: Vec<Value> = subjects
        .iter()
        .map(|subject| draft.disclosed(json!({"ref": subject, "role": "target"})))
        .collect();
    draft.content = json!({
        "side": "consumer",
        "exchange": ledger::base64::url_encode(&random::<16>()),
        "consumer": {"institution": world::VOGHERA},
        "provider": {"institution": world::INPS},
        "eservice": {"eserviceId": "isee"},
        "userID": [clerk],
        "userRole": "assistente",
        "userLocation": [place],
        "purpose": world::PURPOSE,
        "legalBasis": "dpv-gdpr:A6-1-e",
        "reason": [reason],
        "action": "query",
        "outcome": "ok",
        "dataCategories": [],
        "subjects": targets,
    });
    draft
}

/// Entries of one signer under one signature (alg 0x81), a line each.
fn batch(drafts: &[Draft]) -> Vec<String> {
    let key = world::key(world::VOGHERA, "entry");
    let bodies: Vec<String> = drafts.iter().map(Draft::body).collect();
    let paes: Vec<Vec<u8>> = bodies.iter().map(|body| pae(body.as_bytes())).collect();
    let paes: Vec<&[u8]> = paes.iter().map(Vec::as_slice).collect();
    let signatures = sign_batch(&key, &paes);
    let lines = drafts.iter().zip(&bodies).zip(&signatures);
    lines
        .map(|((draft, body), signature)| {
            let signature = json!({"keyid": world::key_id(&key), "sig": ledger::base64::encode(&signature.encode()), "alg": 0x81});
            json!({
                "envelope": {
                    "payloadType": ::tests::sign::PAYLOAD_TYPE,
                    "payload": ledger::base64::encode(body.as_bytes()),
                    "signatures": [signature],
                },
                "disclosures": draft.disclosures,
            })
            .to_string()
        })
        .collect()
}

/// Sends all requests, until each entry is accepted.
pub(crate) async fn fill(
    cluster: &Cluster,
    requests: impl Iterator<Item = (String, u64)> + Send + 'static,
    connections: usize,
) -> Filled {
    let (requests, start) = (Arc::new(Mutex::new(requests)), Instant::now());
    let clients = (0..connections).map(|client| {
        let (requests, http, urls) = (requests.clone(), cluster.http.clone(), cluster.urls());
        let url = format!("{}/v1/entries?until=committed", urls[client % urls.len()]);
        tokio::spawn(async move {
            let mut filled = Filled::default();
            loop {
                let Some((body, count)) = requests.lock().unwrap().next() else {
                    return filled;
                };
                // The same bytes again are the same entries: sending them until all are accepted counts none twice.
                while send(&http, &url, &body).await < count {
                    filled.failed += 1;
                    assert!(filled.failed < 100, "the ledger takes no more entries");
                }
                filled.entries += count;
                let first = body.lines().next().unwrap_or_default();
                filled.submitted += count * submitted_bytes_of(first);
            }
        })
    });
    let mut total = Filled::default();
    for client in clients.collect::<Vec<_>>() {
        let filled = client.await.unwrap();
        total.entries += filled.entries;
        total.submitted += filled.submitted;
    }
    total.elapsed = start.elapsed();
    total
}

/// How many of a request's entries were accepted.
async fn send(http: &Http, url: &str, body: &str) -> u64 {
    let body = Some(("application/x-ndjson", body.to_owned()));
    match http.send(Method::POST, url, None, body).await {
        Ok(answer) if answer.status == 200 => answer
            .text
            .lines()
            .filter(|line| line.contains("\"accepted\":{"))
            .count() as u64,
        _ => 0,
    }
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
