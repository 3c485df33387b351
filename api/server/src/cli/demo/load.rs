// SPDX-License-Identifier: EUPL-1.2
//! The loader: takes batches of signed entries as they are made, sends them over several connections, and keeps what was acknowledged.

use std::{
    io::IsTerminal,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use client::http::{Client, Outcome, Until};
use indicatif::{ProgressBar, ProgressStyle};
use ledger::entry::SubmittedEntry;
use tokio::sync::{Mutex, mpsc};
use wire::entry::Accepted;

use crate::cli::exit::Failure;

/// An entry that the ledger acknowledged: from now on it may not be lost.
pub(super) struct Acknowledged {
    pub(super) entry: SubmittedEntry,
    pub(super) accepted: Accepted,
}

/// Where the producer of entries puts its batches. An error ends the producer.
pub(super) struct Outlet(mpsc::Sender<Vec<SubmittedEntry>>);

impl Outlet {
    /// Hands a batch over; waits while the ledger is behind.
    pub(super) fn put(&self, batch: Vec<SubmittedEntry>) -> Result<(), Failure> {
        self.0
            .blocking_send(batch)
            .map_err(|_| Failure::failed("sending stopped"))
    }
}

/// Counts what was acknowledged; shared with whoever waits for a moment of the load.
#[derive(Clone, Default)]
pub(super) struct Counter(Arc<AtomicU64>);

impl Counter {
    /// How many are acknowledged by now.
    pub(super) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits until so many are acknowledged.
    pub(super) async fn reach(&self, count: u64) {
        while self.0.load(Ordering::Relaxed) < count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Result of a load.
pub(super) struct Loaded {
    pub(super) acknowledged: Vec<Acknowledged>,
    pub(super) took: Duration,
}

/// Sends what `produce` makes; `produce` runs on a thread of its own and gives back what it was given to keep.
pub(super) async fn load<K: Send + 'static>(
    what: &str,
    expected: usize,
    urls: &[String],
    counter: &Counter,
    keep: K,
    produce: impl FnOnce(&mut K, &Outlet) -> Result<(), Failure> + Send + 'static,
) -> Result<(Loaded, K), Failure> {
    let started = Instant::now();
    let progress = Progress::start(what, expected, counter.clone());
    let (sender, receiver) = mpsc::channel(CONNECTIONS * 2);
    let receiver = Arc::new(Mutex::new(receiver));
    let producer = tokio::task::spawn_blocking(move || {
        let mut keep = keep;
        produce(&mut keep, &Outlet(sender)).map(|()| keep)
    });
    let mut senders = Vec::new();
    for number in 0..CONNECTIONS {
        // Each connection begins with another node: any node takes any request.
        let mut urls = urls.to_vec();
        let first = number % urls.len().max(1);
        urls.rotate_left(first);
        let client = Client::new(&urls, PATIENCE).map_err(Failure::failed)?;
        senders.push(tokio::spawn(send_all(
            client,
            receiver.clone(),
            counter.clone(),
        )));
    }
    drop(receiver);
    let mut acknowledged = Vec::with_capacity(expected);
    let mut failed = None;
    for sender in senders {
        match sender.await.map_err(Failure::failed)? {
            Ok(sent) => acknowledged.extend(sent),
            Err(failure) => failed = failed.or(Some(failure)),
        }
    }
    progress.end();
    let kept = producer.await.map_err(Failure::failed)?;
    if let Some(failure) = failed {
        return Err(failure);
    }
    Ok((
        Loaded {
            acknowledged,
            took: started.elapsed(),
        },
        kept?,
    ))
}

async fn send_all(
    client: Client,
    batches: Arc<Mutex<mpsc::Receiver<Vec<SubmittedEntry>>>>,
    counter: Counter,
) -> Result<Vec<Acknowledged>, Failure> {
    let mut acknowledged = Vec::new();
    loop {
        let Some(batch) = batches.lock().await.recv().await else {
            return Ok(acknowledged);
        };
        let lines: Vec<String> = batch.iter().map(SubmittedEntry::to_wire).collect();
        let outcomes = client.submit_batch(&lines, Until::Committed).await;
        for (entry, outcome) in batch.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Accepted(accepted) => acknowledged.push(Acknowledged { entry, accepted }),
                Outcome::Refused(problem) => {
                    return Err(Failure::of_client(client::error::Error::Problem(problem)));
                }
                Outcome::Open(error) => return Err(Failure::of_client(error)),
            }
        }
        counter.0.fetch_add(lines.len() as u64, Ordering::Relaxed);
    }
}

/// A bar on a terminal, a line every five seconds elsewhere; both on stderr.
struct Progress {
    bar: ProgressBar,
    ticker: tokio::task::JoinHandle<()>,
    counter: Counter,
    start: u64,
}

impl Progress {
    fn start(what: &str, expected: usize, counter: Counter) -> Progress {
        let bar = ProgressBar::new(expected as u64);
        if let Ok(style) =
            ProgressStyle::with_template("    {msg:<22} {bar:32} {pos:>6}/{len} {per_sec}")
        {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        let start = counter.0.load(Ordering::Relaxed);
        let ticker = tokio::spawn(tick(
            bar.clone(),
            what.to_owned(),
            counter.clone(),
            start,
            expected,
        ));
        Progress {
            bar,
            ticker,
            counter,
            start,
        }
    }

    fn end(self) {
        self.ticker.abort();
        self.bar
            .set_position(self.counter.0.load(Ordering::Relaxed) - self.start);
        self.bar.finish();
    }
}

async fn tick(bar: ProgressBar, what: String, counter: Counter, start: u64, expected: usize) {
    let terminal = std::io::stderr().is_terminal();
    for round in 1_u32.. {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let sent = counter.0.load(Ordering::Relaxed) - start;
        bar.set_position(sent);
        if !terminal && round.is_multiple_of(25) {
            eprintln!("    {what}: {sent} of {expected}");
        }
    }
}

/// Requests in flight.
const CONNECTIONS: usize = 6;
/// Longer than an election, so that the death of a leader is a pause and no error.
const PATIENCE: Duration = Duration::from_secs(60);
