// SPDX-License-Identifier: BSD-3-Clause
//! The durable outbox: entries that must reach the ledger, kept on disk until their receipts are.
//!
//! An entry is on disk before [`Room::put`] answers. [`sender::run`] ships it to any node, as often as it takes: the ledger knows the id and
//! answers the same bytes with the same receipt, so nothing is written twice. An entry leaves the outbox only after its receipt was verified
//! and is on disk (`receipts/`), or after the ledger refused it for good and it stands in the list of the refused (`refused/`), which nothing
//! empties but a person. The outbox is bounded: [`Outbox::reserve`] takes the room before the call is served, and says when there is none.
//!
//! Journals ([`crate::journal`]) in one folder: `entries/`, `refused/`, and in `receipts/` one for each day; days older than
//! [`Bounds::receipt_days`] are removed. A record of `entries/` is
//!
//! ```text
//! u8(1) ‖ u64(number) ‖ u64(stored at, ms) ‖ u64(due by, ms) ‖ u8(of whom: 0 own, 1 another's emergency) ‖ wire line
//! u8(2) ‖ u64(number)                                       # settled: receipt or refusal is on disk
//! ```
//!
//! A crash leaves behind: after the entry is on disk and before the answer left, an entry that says that data was handed out, though it may
//! not have arrived: it is sent all the same. After the ledger took it and before the receipt is on disk: the entry is sent again and gets the
//! same receipt. After the receipt is on disk and before the entry is settled: the same, and the receipt is kept twice. Never a lost entry.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::journal::{self, Journal, JournalError, Place};

mod receipts;
pub mod sender;
#[cfg(test)]
mod tests;

use receipts::Receipts;

/// How much an outbox may hold.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of all that is not settled, what is reserved included.
    pub bytes_max: u64,
    /// A segment that has grown past this is followed by a new one; what is settled goes a segment at a time.
    pub segment_bytes: u64,
    /// How many days a receipt is kept after the day on which the ledger accepted the newest entry.
    pub receipt_days: u64,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            bytes_max: 256 << 20,
            segment_bytes: 8 << 20,
            receipt_days: RECEIPT_DAYS,
        }
    }
}

/// Whose entry waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Our own side of an access.
    Own,
    /// A consumer's, let through in an emergency without receipt, and put on record by us.
    Emergency,
}

/// Why there is no room.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NoRoom {
    /// The ledger did not take entries for long, and the outbox is full.
    #[error("the outbox is full")]
    Full,
    /// Its disk failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// The outbox of one process.
#[derive(Debug)]
pub struct Outbox {
    entries: Journal,
    receipts: Receipts,
    refused: Journal,
    bytes_max: u64,
    state: Mutex<State>,
    /// Something new waits.
    pub(crate) wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// What waits, by number.
    open: BTreeMap<u64, Waiting>,
    /// What is being written, by number, with a segment that it cannot stand before: nothing from there on is removed.
    coming: BTreeMap<u64, u64>,
    next: u64,
    reserved: u64,
    refused: u64,
    sent: u64,
    /// Rounds in which the ledger gave a receipt that does not hold.
    unproven: u64,
}

/// An entry that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    place: Place,
    stored_at_ms: u64,
    due_ms: u64,
    whose: Whose,
}

/// How an outbox stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Entries that wait for the ledger.
    pub waiting: u64,
    /// Of these, other institutions' emergencies.
    pub waiting_emergencies: u64,
    /// When the oldest of them was stored, milliseconds since the epoch.
    pub oldest_ms: Option<u64>,
    /// Entries whose time is over.
    pub overdue: u64,
    /// Entries that the ledger refused for good; a person must look at them.
    pub refused: u64,
    /// Entries settled with a receipt since the start.
    pub sent: u64,
    /// Answers whose receipt does not hold under the policy, since the start.
    pub unproven: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Most bytes.
    pub bytes_max: u64,
    /// A write failed: nothing more is taken before a new start.
    pub broken: bool,
}

/// A receipt as `receipts/` keeps it: a JSON object a record.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptReceipt {
    /// Id of the entry.
    pub id: String,
    /// Place in the ledger.
    pub index: u64,
    /// When the ledger accepted it, milliseconds since the epoch; 0 in receipts of builds that did not say.
    #[serde(default)]
    pub accepted_at_ms: u64,
    /// The receipt (tlog-proof).
    pub receipt: String,
}

/// An entry that the ledger refused for good, as `refused/` keeps it: a JSON object a record.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedEntry {
    /// Id of the entry.
    pub id: String,
    /// Code of the ledger's refusal.
    pub code: String,
    /// When, milliseconds since the epoch.
    pub at_ms: u64,
    /// The wire line, to be mended and sent by hand. Personal.
    pub line: String,
}

impl Outbox {
    /// Opens the outbox in a folder, with all that waits there.
    ///
    /// # Errors
    /// [`JournalError`]: a file is damaged, or another process has it.
    pub fn open(folder: &Path, bounds: Bounds) -> Result<Arc<Outbox>, JournalError> {
        let mut state = State::default();
        // The segment that is written to never goes: it must not be what keeps the outbox full.
        let segment_bytes = bounds.segment_bytes.min(bounds.bytes_max / 8);
        let entries = Journal::open(&folder.join("entries"), segment_bytes, |place, it| {
            state.replay(place, it);
        })?;
        let receipts = folder.join("receipts");
        let receipts = Receipts::open(receipts, bounds.segment_bytes, bounds.receipt_days)?;
        let mut refused_count = 0;
        let refused = Journal::open(&folder.join("refused"), bounds.segment_bytes, |_, _| {
            refused_count += 1;
        })?;
        state.refused = refused_count;
        let outbox = Outbox {
            entries,
            receipts,
            refused,
            bytes_max: bounds.bytes_max,
            state: Mutex::new(state),
            wake: Notify::new(),
        };
        outbox.remove_settled();
        Ok(Arc::new(outbox))
    }

    /// Takes room for one entry of at most so many bytes. Ask before the call is served: an answer without room for its entry must not leave.
    ///
    /// # Errors
    /// [`NoRoom`]
    pub fn reserve(self: &Arc<Outbox>, bytes: usize) -> Result<Room, NoRoom> {
        if self.entries.is_broken() {
            return Err(JournalError::Broken(PathBuf::from("outbox")).into());
        }
        let bytes = (bytes + RECORD_BYTES) as u64;
        let mut state = self.state();
        if self.entries.bytes() + state.reserved + bytes > self.bytes_max {
            return Err(NoRoom::Full);
        }
        state.reserved += bytes;
        Ok(Room {
            outbox: Arc::clone(self),
            bytes,
        })
    }

    /// How it stands at this time.
    pub fn standing(&self, now_ms: u64) -> Standing {
        let state = self.state();
        let mut standing = Standing {
            waiting: state.open.len() as u64,
            oldest_ms: state.open.values().map(|it| it.stored_at_ms).min(),
            refused: state.refused,
            sent: state.sent,
            unproven: state.unproven,
            bytes: self.entries.bytes(),
            bytes_max: self.bytes_max,
            broken: self.entries.is_broken()
                || self.receipts.is_broken()
                || self.refused.is_broken(),
            ..Standing::default()
        };
        for waiting in state.open.values() {
            standing.overdue += u64::from(waiting.due_ms < now_ms);
            standing.waiting_emergencies += u64::from(waiting.whose == Whose::Emergency);
        }
        standing
    }

    async fn put(
        &self,
        line: &str,
        whose: Whose,
        stored_at_ms: u64,
        due_ms: u64,
    ) -> Result<(), JournalError> {
        let number = {
            let mut state = self.state();
            state.next += 1;
            let number = state.next;
            state.coming.insert(number, self.entries.current_segment());
            number
        };
        let mut record = Vec::with_capacity(line.len() + RECORD_BYTES);
        record.push(ENTRY);
        record.extend_from_slice(&number.to_be_bytes());
        record.extend_from_slice(&stored_at_ms.to_be_bytes());
        record.extend_from_slice(&due_ms.to_be_bytes());
        record.push(u8::from(whose == Whose::Emergency));
        record.extend_from_slice(line.as_bytes());
        let written = self.entries.append(vec![record]).await;
        let mut state = self.state();
        state.coming.remove(&number);
        for place in written? {
            let waiting = Waiting {
                place,
                stored_at_ms,
                due_ms,
                whose,
            };
            state.open.insert(number, waiting);
        }
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// When an entry that waits should be in the ledger.
    pub(crate) fn due_ms(&self, number: u64) -> u64 {
        let state = self.state();
        state.open.get(&number).map_or(0, |waiting| waiting.due_ms)
    }

    /// The oldest entries that wait after this number, with their wire lines.
    pub(crate) fn oldest(
        &self,
        after: u64,
        most: usize,
    ) -> Result<Vec<(u64, String)>, JournalError> {
        let waiting: Vec<(u64, Waiting)> = {
            let state = self.state();
            let open = state.open.range(after.saturating_add(1)..).take(most);
            open.map(|(number, waiting)| (*number, *waiting)).collect()
        };
        let mut lines = Vec::with_capacity(waiting.len());
        for (number, waiting) in waiting {
            let record = self.entries.read(waiting.place)?;
            let line = record.get(RECORD_BYTES..).unwrap_or_default();
            lines.push((number, String::from_utf8_lossy(line).into_owned()));
        }
        Ok(lines)
    }

    /// Keeps the receipts, then lets the entries go.
    pub(crate) async fn settle(&self, kept: Vec<(u64, KeptReceipt)>) -> Result<(), JournalError> {
        if kept.is_empty() {
            return Ok(());
        }
        let (numbers, kept): (Vec<u64>, Vec<KeptReceipt>) = kept.into_iter().unzip();
        self.receipts.keep(&kept).await?;
        self.state().sent += numbers.len() as u64;
        self.close(&numbers).await
    }

    /// Puts an entry on the list of the refused, then lets it go.
    pub(crate) async fn give_up(&self, number: u64, it: RefusedEntry) -> Result<(), JournalError> {
        let record = json(&it).into_iter().collect();
        self.refused.append(record).await?;
        self.state().refused += 1;
        self.close(&[number]).await
    }

    pub(crate) fn count_unproven(&self) {
        self.state().unproven += 1;
    }

    async fn close(&self, numbers: &[u64]) -> Result<(), JournalError> {
        let mark = |number: &u64| [&[SETTLED], number.to_be_bytes().as_slice()].concat();
        self.entries
            .append(numbers.iter().map(mark).collect())
            .await?;
        let mut state = self.state();
        for number in numbers {
            state.open.remove(number);
        }
        drop(state);
        self.remove_settled();
        Ok(())
    }

    /// Oldest segments first, up to the one that holds the oldest entry that waits: a mark never goes before its entry.
    fn remove_settled(&self) {
        let current = self.entries.current_segment();
        let state = self.state();
        let waiting = state.open.values().map(|it| it.place.segment);
        let first = waiting.chain(state.coming.values().copied()).min();
        self.entries.remove_below(first.unwrap_or(current));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room for one entry; given back when it is dropped unused.
#[derive(Debug)]
pub struct Room {
    outbox: Arc<Outbox>,
    bytes: u64,
}

impl Room {
    /// Puts an entry into the outbox; when this is answered it is on disk. `due_ms`: when it should be in the ledger at the latest. Whoever
    /// stops waiting for the answer does not take the entry back.
    ///
    /// # Errors
    /// [`JournalError`]: nothing is known of the entry, and the answer that waits for it must not leave.
    pub async fn put(
        self,
        line: String,
        whose: Whose,
        now_ms: u64,
        due_ms: u64,
    ) -> Result<(), JournalError> {
        let put = async move { self.outbox.put(&line, whose, now_ms, due_ms).await };
        let gone = |_| JournalError::Broken(PathBuf::from("outbox"));
        tokio::spawn(put).await.map_err(gone)?
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut state = self.outbox.state();
        state.reserved = state.reserved.saturating_sub(self.bytes);
    }
}

impl State {
    fn replay(&mut self, place: Place, record: &[u8]) {
        let Some((kind, rest)) = record.split_first() else {
            return;
        };
        let Some((number, rest)) = take_u64(rest) else {
            return;
        };
        self.next = self.next.max(number);
        if *kind == SETTLED {
            self.open.remove(&number);
            return;
        }
        let stored = take_u64(rest);
        let due = stored.and_then(|(_, rest)| take_u64(rest));
        if let (Some((stored_at_ms, _)), Some((due_ms, rest))) = (stored, due) {
            let whose = match rest.first() {
                Some(1) => Whose::Emergency,
                _ => Whose::Own,
            };
            let waiting = Waiting {
                place,
                stored_at_ms,
                due_ms,
                whose,
            };
            self.open.insert(number, waiting);
        }
    }
}

/// What stands in the folder of an outbox, also while a process uses it: how many entries wait, and the refused ones.
///
/// # Errors
/// [`JournalError`]
pub fn peek(folder: &Path) -> Result<(u64, Vec<RefusedEntry>), JournalError> {
    let mut state = State::default();
    journal::peek(&folder.join("entries"), |place, it| state.replay(place, it))?;
    let mut refused = Vec::new();
    journal::peek(&folder.join("refused"), |_, record| {
        refused.extend(serde_json::from_slice::<RefusedEntry>(record));
    })?;
    Ok((state.open.len() as u64, refused))
}

/// Every receipt in the folder of an outbox, oldest day first, also while a process uses it.
///
/// # Errors
/// [`JournalError`]
pub fn receipts(folder: &Path, each: impl FnMut(KeptReceipt)) -> Result<(), JournalError> {
    receipts::peek(&folder.join("receipts"), each)
}

fn take_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), rest))
}

/// Text and numbers alone: it cannot fail.
fn json(value: &impl Serialize) -> Option<Vec<u8>> {
    serde_json::to_vec(value).ok()
}

/// Days for which receipts are kept where nobody says otherwise: a year, and a month to notice.
pub const RECEIPT_DAYS: u64 = 400;
const ENTRY: u8 = 1;
const SETTLED: u8 = 2;
/// Bytes of an entry's record in front of its line.
const RECORD_BYTES: usize = 26;
