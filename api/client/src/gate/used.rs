// SPDX-License-Identifier: BSD-3-Clause
//! Which exchanges were used: each lets one call through, also over crashes.
//!
//! A mark is (consumer, exchange, part), which the entry fixes and the ledger's finding `exchange-again` guards, so that neither the same entry
//! nor another one of the same exchange passes twice. It is durable before the service behind is asked, and kept for as long as the entry
//! could still be fresh. A crash after the mark and before the answer leaves a used exchange: the consumer makes a new entry.
//!
//! A record of the journal is `u8(1) ‖ mark[32] ‖ u64(kept until, ms)` or `u8(2) ‖ u64(floor, ms)`: marks that ended before the floor are
//! forgotten, so a clock that was put back below it counts as the floor.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ledger::{hash::Hash, id::InstitutionId};

use super::Reason;
use crate::journal::{Journal, JournalError};

/// The used exchanges of one gate.
#[derive(Debug)]
pub struct Used {
    journal: Arc<Journal>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Until when each mark is kept.
    marks: HashMap<Hash, u64>,
    floor_ms: u64,
    look_again_ms: u64,
}

/// An exchange, or a part of one, of a consumer.
pub fn mark(consumer: &InstitutionId, exchange: &[u8; 16], part: u64) -> Hash {
    Hash::of(&[exchange, &part.to_be_bytes(), consumer.as_bytes()])
}

impl Used {
    /// Opens the store in a folder.
    ///
    /// # Errors
    /// [`JournalError`]
    pub fn open(folder: &Path) -> Result<Used, JournalError> {
        let mut state = State::default();
        let journal = Journal::open(folder, SEGMENT_BYTES, |_, record| {
            match record.split_first() {
                Some((&MARK, rest)) => {
                    if let Some((mark, until)) = rest.split_first_chunk::<32>()
                        && let Ok(until) = until.try_into()
                    {
                        state.marks.insert(Hash(*mark), u64::from_be_bytes(until));
                    }
                }
                Some((&FLOOR, rest)) => {
                    if let Ok(floor) = rest.try_into() {
                        state.floor_ms = state.floor_ms.max(u64::from_be_bytes(floor));
                    }
                }
                _ => {}
            }
        })?;
        Ok(Used {
            journal: Arc::new(journal),
            state: Arc::new(Mutex::new(state)),
        })
    }

    /// The time to go by: the clock's, and never before what was forgotten.
    pub fn not_before_floor(&self, clock_ms: u64) -> u64 {
        clock_ms.max(self.state().floor_ms)
    }

    /// Uses an exchange up; when this is answered the mark is on disk.
    ///
    /// # Errors
    /// [`Reason::Used`], [`Reason::Broken`]
    pub async fn take(&self, mark: Hash, until_ms: u64, now_ms: u64) -> Result<(), Reason> {
        {
            let mut state = self.state();
            if state.marks.contains_key(&mark) {
                return Err(Reason::Used);
            }
            // In memory first: of two at once, one passes. If the disk fails, none does.
            state.marks.insert(mark, until_ms);
        }
        let record = [&[MARK], mark.as_bytes().as_slice(), &until_ms.to_be_bytes()].concat();
        let journal = Arc::clone(&self.journal);
        journal
            .append(vec![record])
            .await
            .map_err(|_| Reason::Broken)?;
        self.forget(now_ms).await;
        Ok(())
    }

    /// Now and then forgets marks that ended. Once they are most of what is on disk, what still counts is written again behind them.
    async fn forget(&self, now_ms: u64) {
        let (records, from) = {
            let mut state = self.state();
            if now_ms < state.look_again_ms {
                return;
            }
            state.look_again_ms = now_ms.saturating_add(LOOK_EVERY_MS);
            let before = state.marks.len();
            state.marks.retain(|_, until| *until >= now_ms);
            if state.marks.len() < before {
                state.floor_ms = state.floor_ms.max(now_ms);
            }
            let counts = (state.marks.len() as u64).saturating_mul(RECORD_BYTES);
            if self.journal.bytes() < counts.saturating_mul(4).saturating_add(2 * SEGMENT_BYTES) {
                return;
            }
            let mut records = vec![[&[FLOOR], state.floor_ms.to_be_bytes().as_slice()].concat()];
            for (mark, until) in &state.marks {
                records.push([&[MARK], mark.as_bytes().as_slice(), &until.to_be_bytes()].concat());
            }
            // A mark that is taken from now on is written in this segment or a later one: those stay.
            (records, self.journal.current_segment())
        };
        // All that counts is written behind; then what stands before may go. A crash in between leaves some of it twice.
        if let Ok(places) = self.journal.append(records).await
            && let Some(first) = places.first()
        {
            self.journal.remove_below(first.segment.min(from));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const MARK: u8 = 1;
const FLOOR: u8 = 2;
const SEGMENT_BYTES: u64 = 1 << 20;
/// A mark on disk.
const RECORD_BYTES: u64 = 65;
/// How often marks are looked through.
const LOOK_EVERY_MS: u64 = 30_000;
