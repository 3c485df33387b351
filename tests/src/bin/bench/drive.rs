// SPDX-License-Identifier: EUPL-1.2
//! How servers are pressed: closed loop to find what they can take, open loop to find how long a request waits at a given rate.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ::tests::wait;

use crate::{
    machine,
    stats::{Completion, Latency, Measured},
};

/// How long after its end a paced load may still send what was due before.
const GRACE: Duration = Duration::from_secs(2);

/// One connection to a server, with one request on it at a time.
pub(crate) trait Session: Send + 'static {
    /// Sends the request of that number and waits for its answer.
    fn request(&mut self, number: u64) -> impl Future<Output = Sent> + Send;
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Entries that the server has, and those that it refused or left open.
    Answered { accepted: u64, failed: u64 },
    /// No more requests are prepared.
    Dry,
}

/// How long a load runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// Not counted.
    pub(crate) warm_up: Duration,
    pub(crate) length: Duration,
}

/// Keeps every session busy: each sends its next request when it has the answer to the last.
pub(crate) async fn closed<S: Session>(sessions: Vec<S>, window: Window) -> Measured {
    let next = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let (from, end) = (
        start + window.warm_up,
        start + window.warm_up + window.length,
    );
    let spent = machine::own_cpu_seconds();
    let tasks: Vec<_> = sessions
        .into_iter()
        .map(|mut session| {
            let next = next.clone();
            tokio::spawn(async move {
                let (mut completions, mut dry) = (Vec::new(), None);
                loop {
                    let sent = Instant::now();
                    if sent >= end {
                        break;
                    }
                    match session.request(next.fetch_add(1, Ordering::Relaxed)).await {
                        Sent::Answered { accepted, failed } => completions.push(Completion {
                            done: Instant::now(),
                            latency: sent.elapsed(),
                            accepted,
                            failed,
                        }),
                        Sent::Dry => {
                            dry = Some(sent);
                            break;
                        }
                    }
                }
                (completions, dry)
            })
        })
        .collect();
    let (mut completions, mut end) = (Vec::new(), end);
    for task in tasks {
        let (of_one, dry) = task.await.unwrap();
        completions.extend(of_one);
        // From then on not all sessions were busy.
        end = dry.map_or(end, |dry: Instant| dry.min(end));
    }
    let mut measured = Measured::within(&completions, from, end);
    measured.client_share =
        (machine::own_cpu_seconds() - spent) / (start.elapsed().as_secs_f64() * machine::cores());
    measured
}

/// What a paced load came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paced {
    pub(crate) asked_per_s: f64,
    pub(crate) served_per_s: f64,
    pub(crate) latency: Latency,
    pub(crate) failed: u64,
    /// Requests that were due and never sent, since all sessions were busy: they count in the latencies with the time they had waited.
    pub(crate) unserved: u64,
}

/// Sends requests when they are due, whether or not earlier ones are answered. A request that waits for a free session has waited since it was
/// due: so a stalled server cannot make the load wait for it and look well.
pub(crate) async fn paced<S: Session>(
    sessions: Vec<S>,
    per_s: f64,
    entries_per_request: u64,
    window: Window,
) -> Paced {
    let next = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let (from, end) = (
        start + window.warm_up,
        start + window.warm_up + window.length,
    );
    let due = move |number: u64| start + Duration::from_secs_f64(number as f64 / per_s);
    let tasks: Vec<_> = sessions
        .into_iter()
        .map(|mut session| {
            let next = next.clone();
            tokio::spawn(async move {
                let (mut completions, mut unserved) = (Vec::new(), Vec::new());
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let mut begin = due(number);
                    if begin >= end {
                        break;
                    }
                    let now = Instant::now();
                    if now > end + GRACE {
                        unserved.push((begin, now.duration_since(begin)));
                        continue;
                    }
                    if now < begin {
                        wait::at(begin).await;
                        // The timer's grain is not the server's delay.
                        begin = Instant::now();
                    }
                    let Sent::Answered { accepted, failed } = session.request(number).await else {
                        unserved.push((due(number), Instant::now().duration_since(begin)));
                        continue;
                    };
                    completions.push((
                        due(number),
                        Completion {
                            done: Instant::now(),
                            latency: begin.elapsed(),
                            accepted,
                            failed,
                        },
                    ));
                }
                (completions, unserved)
            })
        })
        .collect();
    let (mut completions, mut unserved) = (Vec::new(), Vec::new());
    for task in tasks {
        let (of_one, left) = task.await.unwrap();
        completions.extend(of_one);
        unserved.extend(left);
    }
    // Served is what was answered within the window; waited has what was due in it.
    let served: u64 = completions
        .iter()
        .filter(|(_, completion)| completion.done >= from && completion.done < end)
        .map(|(_, completion)| completion.accepted)
        .sum();
    completions.retain(|(due, _)| *due >= from);
    unserved.retain(|(due, _)| *due >= from);
    let latencies = completions
        .iter()
        .map(|(_, completion)| completion.latency)
        .chain(unserved.iter().map(|(_, waited)| *waited))
        .collect();
    Paced {
        asked_per_s: per_s * entries_per_request as f64,
        served_per_s: served as f64 / window.length.as_secs_f64(),
        latency: Latency::of(latencies),
        failed: completions
            .iter()
            .map(|(_, completion)| completion.failed)
            .sum(),
        unserved: unserved.len() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers at once, so many times.
    struct Prompt(Arc<AtomicU64>, u64);

    impl Session for Prompt {
        async fn request(&mut self, number: u64) -> Sent {
            if number >= self.1 {
                return Sent::Dry;
            }
            self.0.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Sent::Answered {
                accepted: 2,
                failed: 0,
            }
        }
    }

    #[tokio::test]
    async fn each_request_is_sent_once_and_a_dry_load_ends_early() {
        let window = Window {
            warm_up: Duration::ZERO,
            length: Duration::from_secs(600),
        };
        let sent = Arc::new(AtomicU64::new(0));
        let sessions = (0..3).map(|_| Prompt(sent.clone(), 100)).collect();
        let measured = closed(sessions, window).await;
        assert_eq!(sent.load(Ordering::Relaxed), 100);
        assert!(measured.seconds < 600.0 && measured.accepted <= 200);
    }

    #[tokio::test]
    async fn a_paced_load_sends_what_is_due_and_counts_what_was_not_sent() {
        let window = Window {
            warm_up: Duration::ZERO,
            length: Duration::from_millis(50),
        };
        let sent = Arc::new(AtomicU64::new(0));
        let sessions = (0..4).map(|_| Prompt(sent.clone(), u64::MAX)).collect();
        let all = paced(sessions, 1_000.0, 2, window).await;
        assert_eq!((all.latency.count, all.unserved), (50, 0));
        assert!((all.asked_per_s - 2_000.0).abs() < 1e-9);
        let none = paced(vec![Prompt(sent, 10)], 1_000.0, 1, window).await;
        assert_eq!((none.latency.count, none.unserved), (50, 40));
    }
}
