// SPDX-License-Identifier: BSD-3-Clause
//! Ships what the outbox holds to the ledger, oldest first, until it is told to stop.

use std::{
    collections::{BTreeMap, BTreeSet},
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
    let mut heard = Heard::default();
    // What stays open must not keep what came later from being sent.
    let mut after = 0;
    loop {
        let waiting = outbox.oldest(after, ROUND_ENTRIES)?;
        let last = waiting.last().map_or(0, |(number, _)| *number);
        let from_start = after == 0;
        after = if waiting.len() < ROUND_ENTRIES {
            0
        } else {
            last
        };
        let outcome = if waiting.is_empty() {
            if !from_start {
                continue;
            }
            Round::Empty
        } else {
            let lines: Vec<String> = waiting.iter().map(|(_, line)| line.clone()).collect();
            let (node, turns) = (client.url().to_owned(), client.turns());
            let outcomes = tokio::select! {
                biased;
                _ = stop.wait_for(|asked| *asked) => return Ok(()),
                outcomes = client.submit_batch(&lines, Until::Published) => outcomes,
            };
            // What the ledger said is written down whole before anybody stops.
            // Where more than one node was asked, it is not known which one refused.
            let node = (turns == client.turns()).then_some(node);
            let settled = settle(&outbox, waiting, outcomes, &policies, |number, code| {
                node.as_ref()
                    .is_some_and(|node| heard.is_second(number, code, node, client.urls()))
            });
            let (round, refused) = settled.await?;
            if refused || round == Round::Open {
                client.turn_away();
            }
            round
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

/// Which node refused an entry first, and how: one node alone, which may lag or lie, ends no entry.
#[derive(Default)]
struct Heard(BTreeMap<u64, (String, Refusal)>);

impl Heard {
    /// Whether another node has said the same of it before, or there is no other.
    fn is_second(&mut self, number: u64, code: Refusal, node: &str, nodes: &[String]) -> bool {
        let alone = nodes.iter().collect::<BTreeSet<_>>().len() < 2;
        let first = self.0.remove(&number);
        if alone || first.is_some_and(|(first, said)| first != node && said == code) {
            return true;
        }
        self.0.insert(number, (node.to_owned(), code));
        false
    }
}

/// Whether what is refused so may be taken later, as it is.
fn passes_with_time(code: Refusal) -> bool {
    matches!(
        code,
        Refusal::KeyUnknown | Refusal::KeyNotInForce | Refusal::InstitutionUnknown | Refusal::Ahead
    )
}

/// Answers how the round ended, and whether something was refused.
async fn settle(
    outbox: &Outbox,
    waiting: Vec<(u64, String)>,
    outcomes: Vec<Outcome>,
    policies: &PolicySet,
    mut is_final: impl FnMut(u64, Refusal) -> bool,
) -> Result<(Round, bool), JournalError> {
    let mut kept = Vec::new();
    let (mut open, mut refused, mut given_up) = (false, false, false);
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
                refused = true;
                // Only what the ledger itself says of the entry is for good; a wrong URL is not.
                let code = problem.code().and_then(Refusal::from_code);
                let Some(code) = code else {
                    open = true;
                    tracing::warn!(status = problem.status, "the ledger cannot be asked so");
                    continue;
                };
                let early = passes_with_time(code) && now_ms() < outbox.due_ms(number);
                if early || !is_final(number, code) {
                    open = true;
                    tracing::warn!(
                        code = code.code(),
                        "the ledger refused an entry of the outbox; it is sent again"
                    );
                    continue;
                }
                given_up = true;
                let id = id_of(&line);
                tracing::error!(entry = %id, code = code.code(), "the ledger refused an entry of the outbox; it is on the list of the refused");
                let entry = RefusedEntry {
                    id,
                    code: code.code().to_owned(),
                    at_ms: now_ms(),
                    line,
                };
                outbox.give_up(number, entry).await?;
            }
            Outcome::Open(_) => open = true,
        }
    }
    // Where something went on, the next round comes at once.
    let stuck = open && kept.is_empty() && !given_up;
    outbox.settle(kept).await?;
    let round = if stuck { Round::Open } else { Round::Settled };
    Ok((round, refused))
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
            accepted_at_ms: verified.meta().accepted_at_ms,
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
