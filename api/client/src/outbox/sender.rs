// SPDX-License-Identifier: BSD-3-Clause
//! Ships what the outbox holds to the ledger, oldest first, until it is told to stop.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ledger::{entry::SubmittedEntry, policy::PolicySet, refusal::Refusal};
use tokio::sync::watch;
use wire::entry::Accepted;

use super::{KeptReceipt, Outbox, RefusedEntry};
use crate::{
    http::{Client, Outcome, Until},
    journal::JournalError,
    receipt,
};

/// How the sender tries.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Pause after a round in which something stayed open, doubled each time.
    pub first: Duration,
    /// Longest pause.
    pub longest: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            first: Duration::from_millis(250),
            longest: Duration::from_secs(30),
        }
    }
}

/// Runs until `stop` turns true; what is under way then is not waited for, it is sent again after the next start.
///
/// # Errors
/// [`JournalError`]: the disk failed, and nothing is known of it any more. Entries stay; start again.
pub async fn run(
    outbox: Arc<Outbox>,
    client: Client,
    policies: Arc<PolicySet>,
    pace: Pace,
    mut stop: watch::Receiver<bool>,
) -> Result<(), JournalError> {
    let mut pause = pace.first;
    loop {
        let waiting = outbox.oldest(ROUND_ENTRIES)?;
        let outcome = if waiting.is_empty() {
            Round::Empty
        } else {
            let lines: Vec<String> = waiting.iter().map(|(_, line)| line.clone()).collect();
            let outcomes = tokio::select! {
                biased;
                _ = stop.wait_for(|asked| *asked) => return Ok(()),
                outcomes = client.submit_batch(&lines, Until::Published) => outcomes,
            };
            // What the ledger said is written down whole before anybody stops.
            settle(&outbox, waiting, outcomes, &policies).await?
        };
        let wait = async {
            match outcome {
                Round::Empty => outbox.wake.notified().await,
                Round::Settled => {}
                Round::Open => tokio::time::sleep(pause).await,
            }
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|asked| *asked) => return Ok(()),
            () = wait => {}
        }
        pause = match outcome {
            Round::Open => (pause * 2).min(pace.longest),
            Round::Empty | Round::Settled => pace.first,
        };
    }
}

/// How a round ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    /// Nothing waits.
    Empty,
    /// All that was sent is settled.
    Settled,
    /// Something stayed open.
    Open,
}

async fn settle(
    outbox: &Outbox,
    waiting: Vec<(u64, String)>,
    outcomes: Vec<Outcome>,
    policies: &PolicySet,
) -> Result<Round, JournalError> {
    let mut kept = Vec::new();
    let mut open = false;
    for ((number, line), outcome) in waiting.into_iter().zip(outcomes) {
        match outcome {
            Outcome::Accepted(accepted) => match proven(&line, &accepted, policies) {
                Proven::Holds(receipt) => kept.push((number, receipt)),
                Proven::NotYet => open = true,
                Proven::False => {
                    open = true;
                    outbox.count_unproven();
                    tracing::error!(
                        index = accepted.index,
                        "the ledger's receipt does not hold under the policy; the entry stays in the outbox"
                    );
                }
            },
            Outcome::Refused(problem) => {
                // Only what the ledger itself says of the entry is for good; a wrong URL is not.
                let code = problem.code().and_then(Refusal::from_code);
                let Some(code) = code else {
                    open = true;
                    tracing::warn!(status = problem.status, "the ledger cannot be asked so");
                    continue;
                };
                let id = id_of(&line);
                tracing::error!(entry = %id, code = code.code(), "the ledger refused an entry of the outbox; it is on the list of the refused");
                let refused = RefusedEntry {
                    id,
                    code: code.code().to_owned(),
                    at_ms: now_ms(),
                    line,
                };
                outbox.give_up(number, refused).await?;
            }
            Outcome::Open(_) => open = true,
        }
    }
    outbox.settle(kept).await?;
    Ok(if open { Round::Open } else { Round::Settled })
}

enum Proven {
    Holds(KeptReceipt),
    /// Committed, and not published yet.
    NotYet,
    False,
}

fn proven(line: &str, accepted: &Accepted, policies: &PolicySet) -> Proven {
    let Some(text) = &accepted.receipt else {
        return Proven::NotYet;
    };
    let Ok(entry) = SubmittedEntry::from_wire(line.as_bytes()) else {
        return Proven::False;
    };
    match receipt::verify(&entry, text, policies) {
        Ok(verified) => Proven::Holds(KeptReceipt {
            id: id_of(line),
            index: verified.index().0,
            receipt: text.clone(),
        }),
        Err(_) => Proven::False,
    }
}

/// The entry's id, which is nobody's name; empty where the line cannot be read.
fn id_of(line: &str) -> String {
    SubmittedEntry::from_wire(line.as_bytes())
        .and_then(|entry| ledger::body::Body::parse_partial(entry.payload(), entry.disclosures()))
        .map(|body| body.common.id.to_string())
        .unwrap_or_default()
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}

/// Entries of one round: one request, its receipts one answer.
const ROUND_ENTRIES: usize = 128;
