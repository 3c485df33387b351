// SPDX-License-Identifier: EUPL-1.2
//! What was deferred appears at its date by itself: the leading node looks every few seconds for sealed entries whose date has come, and
//! writes their releases.
//!
//! The queue is state (`ledger::state::sealed`), the same on every node, so whoever leads next goes on where this one stopped. Two nodes
//! that both think they lead do no harm: admission releases nobody twice.

use std::time::Duration;

use cluster::{Clock, Node, Outcome, Until, View};
use ledger::{
    body::{Content, Reference, system},
    number::EntryIndex,
    state::sealed::{self, SealedEntry},
    time::day_of,
};
use tokio::sync::watch;

use crate::{app::blocking, problem::Fault, release::seal_all};

/// How often the leader looks.
pub const INTERVAL: Duration = Duration::from_secs(5);
/// Most releases in one look: a flood of them does not crowd out what institutions send.
const RELEASES_MAX: usize = 256;
/// How long to wait for a release to be committed.
const DEADLINE: Duration = Duration::from_secs(10);

/// Looks for what is due, from the day on that may still hold some.
#[derive(Debug, Default)]
pub struct Due {
    /// Days before this one hold nothing more: they do not grow, and all in them was released.
    from_day: Option<u64>,
}

/// Releases what is due whenever this node leads, until `stopped`.
pub async fn run(node: Node, clock: Clock, mut stopped: watch::Receiver<bool>) {
    let mut due = Due::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
        if node.status().leader != Some(node.number()) {
            continue;
        }
        match due.release(&node, clock.now_ms()).await {
            Ok(0) => {}
            Ok(released) => tracing::info!(released, "sealed entries released at their date"),
            // Without a quorum nothing is written; the next look finds them again.
            Err(fault) => tracing::warn!(code = fault.code(), "what is due is not released yet"),
        }
    }
}

impl Due {
    /// Releases what is due at this time, some hundreds at most. Answers how many were.
    ///
    /// # Errors
    /// The store's own, or no quorum takes the releases.
    pub async fn release(&mut self, node: &Node, now_ms: u64) -> Result<usize, Fault> {
        let view = node.view()?;
        let from_day = self.from_day;
        let (found, from_day) = blocking(move || look(&view, from_day, now_ms)).await?;
        let mut released = 0;
        for (index, entry) in found {
            let about = Reference {
                index,
                leaf: entry.leaf,
            };
            let (subjects, disclosures) = seal_all(&entry.persons)?;
            let content = Content::Release(system::Release { subjects });
            let written = node.write_own_about(
                Some(about),
                content,
                disclosures,
                Until::Committed,
                DEADLINE,
            );
            match written.await {
                Outcome::Accepted(_) => released += 1,
                // Released meanwhile, by its authority or another node; or not due yet by the leader's clock.
                Outcome::Refused(_) => {}
                Outcome::Failed(failure) => return Err(failure.into()),
                Outcome::Unknown => return Err(Fault::NoQuorum),
            }
        }
        self.from_day = Some(from_day);
        Ok(released)
    }
}

/// What is due and not released, and the first day that a later look must begin with.
fn look(
    view: &View,
    from_day: Option<u64>,
    now_ms: u64,
) -> Result<(Vec<(EntryIndex, SealedEntry)>, u64), Fault> {
    let today = day_of(now_ms);
    let first = match from_day {
        Some(day) => day,
        // No day before the ledger's first.
        None => view.accepted_at(EntryIndex(0))?.map_or(today, day_of),
    };
    let mut found = Vec::new();
    let mut begin = first;
    for day in first..=today {
        for index in sealed::due_on(view, day)? {
            let Some(entry) = sealed::entry(view, index)? else {
                continue;
            };
            if entry.due_ms.is_some_and(|due| due <= now_ms) {
                found.push((index, entry));
            }
            if found.len() == RELEASES_MAX {
                return Ok((found, begin));
            }
        }
        // Yesterday can still grow around midnight: an entry stamped before it may be applied after.
        if found.is_empty() && day + 1 < today {
            begin = day + 1;
        }
    }
    Ok((found, begin))
}
