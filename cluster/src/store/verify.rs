// SPDX-License-Identifier: EUPL-1.2
//! Verifies submissions on all cores, beside the threads that write and apply.
//!
//! Every node verifies every signature, whoever proposed: work starts when a raft_entry arrives and runs while it is fsynced and replicated.
//! Apply takes what is ready and verifies what is not. A key id never changes its key, so what was verified early stays verified; only
//! *key unknown* may turn into something else by the time the entry is applied, and is looked at again then.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use ledger::entry::{KeySource, Stop, SubmittedEntry, VerifiedEntry, Verifier, genesis_keys};
use ledger::refusal::{Refusal, Refused};
use ledger::state::State;
use ledger::state::registry::RegisteredKeys;
use openraft::EntryPayload;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::db::Db;
use super::public_keys::PublicKeys;
use super::view::DbState;
use crate::error::{Error, ErrorKind};
use crate::raft_types::{Batch, BatchItem, RaftEntry};
use crate::stage::Stage;
use crate::workers;

/// Items verified in one go. They share looked-up keys and batch signatures; smaller would check a batch signature more often than needed.
const CHUNK: usize = 32;

/// So few are verified in the time that it takes to wake another thread for it.
const VERIFIED_HERE_MAX: usize = 2;
const VERIFIED_HERE_BYTES_MAX: usize = 8 * 1024;

/// What is known of a submission before it is judged.
pub(crate) type Verified = Result<VerifiedEntry, Refused>;

/// The same, with what is refused handed back.
pub(crate) type OrReturned = Result<VerifiedEntry, (Refused, SubmittedEntry)>;

/// Handle; clones share the state that keys are read from.
#[derive(Clone)]
pub(crate) struct VerifyPool(Arc<Shared>);

struct Shared {
    ledger: String,
    state: ArcSwapOption<Db>,
    door: Mutex<Door>,
    keys: PublicKeys,
}

/// The newest entries that this process verified at its door and handed to the leader: they come back through the log in a moment, and are not
/// verified a second time then. Known by their bytes, all of them. They are plaintext: what came back or never will is not kept, and an erasure
/// clears it all.
#[derive(Default)]
struct Door {
    verified: HashMap<Bytes, (u64, VerifiedEntry)>,
    /// By when they were sent.
    order: BTreeMap<u64, Bytes>,
    sent: u64,
    bytes: usize,
}

/// Bytes of entries that the door remembers.
const DOOR_BYTES_MAX: usize = 16 * 1024 * 1024;

impl Door {
    fn remember(&mut self, bytes: Bytes, entry: VerifiedEntry) {
        // Sent again, since the leader changed.
        if self.verified.contains_key(&bytes) {
            return;
        }
        self.sent += 1;
        self.bytes += bytes.len();
        self.verified.insert(bytes.clone(), (self.sent, entry));
        self.order.insert(self.sent, bytes);
        while self.bytes > DOOR_BYTES_MAX
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.bytes -= oldest.len();
            self.verified.remove(&oldest);
        }
    }

    fn take(&mut self, bytes: &Bytes) -> Option<VerifiedEntry> {
        let (sent, entry) = self.verified.remove(bytes)?;
        self.order.remove(&sent);
        self.bytes -= bytes.len();
        Some(entry)
    }
}

impl VerifyPool {
    pub(crate) fn new(ledger: &str) -> VerifyPool {
        VerifyPool(Arc::new(Shared {
            ledger: ledger.into(),
            state: ArcSwapOption::empty(),
            door: Mutex::default(),
            keys: PublicKeys::default(),
        }))
    }

    /// Public keys are looked up here from now on.
    pub(crate) fn read_keys_from(&self, state: &Arc<Db>) {
        self.0.state.store(Some(state.clone()));
    }

    /// Begins to verify what arrived; returns at once.
    pub(crate) fn start(&self, entries: &[RaftEntry]) {
        for entry in entries {
            if let EntryPayload::Normal(batch) = &entry.payload {
                self.start_batch(batch);
            }
        }
    }

    fn start_batch(&self, batch: &Batch) {
        self.queue(batch, open_chunks(batch));
    }

    /// Has so many threads work at a batch, as far as there are.
    fn queue(&self, batch: &Batch, threads: usize) {
        for _ in 0..threads.min(workers::count()) {
            let (pool, batch, since) = (self.clone(), batch.clone(), Instant::now());
            workers::run_first(move || {
                // A failure here is met again in apply, which reports it.
                let _ = pool.take_chunks(&batch);
                if batch.is_from_peer() {
                    Stage::Verify.took(since.elapsed());
                }
            });
        }
    }

    /// Remembers an entry that was verified here and goes to the leader, by the bytes that it is sent in.
    pub(crate) fn sent(&self, bytes: Bytes, entry: VerifiedEntry) {
        self.0.door.lock().remember(bytes, entry);
    }

    /// Forgets an entry that was sent and will not come back through the log.
    pub(crate) fn forget(&self, bytes: &Bytes) {
        self.0.door.lock().take(bytes);
    }

    /// How many entries are remembered.
    #[cfg(test)]
    pub(crate) fn remembered(&self) -> usize {
        self.0.door.lock().order.len()
    }

    /// Forgets all that was sent: what comes back is verified again.
    pub(crate) fn forget_all(&self) {
        *self.0.door.lock() = Door::default();
    }

    /// Verifies what is not verified yet, with whoever is at it already.
    ///
    /// # Errors
    /// The state cannot be read.
    pub(crate) fn finish(&self, batch: &Batch) -> Result<(), Error> {
        let Some(state) = self.0.state.load_full() else {
            return Ok(());
        };
        if are_verified(&batch.items) {
            return Ok(());
        }
        // Read back from the log, so nobody began: this thread is one of those that do.
        if !batch.is_claimed() {
            self.queue(batch, open_chunks(batch).saturating_sub(1));
        }
        self.take_chunks(batch)?;
        // What others took and have not come to yet, too.
        self.finish_chunk(&batch.items, &state)
    }

    /// Verifies chunks that nobody else took, until there are no more.
    fn take_chunks(&self, batch: &Batch) -> Result<(), Error> {
        let Some(state) = self.0.state.load_full() else {
            return Ok(());
        };
        while let Some(items) = batch.items.chunks(CHUNK).nth(batch.claim()) {
            self.finish_chunk(items, &state)?;
        }
        Ok(())
    }

    fn finish_chunk(&self, items: &[BatchItem], state: &Db) -> Result<(), Error> {
        let state = DbState::new(state);
        let keys = self.0.keys.over(&state);
        let mut verifier = Verifier::new(&self.0.ledger, &keys);
        items.iter().try_for_each(|item| {
            // The lock is held while the item is verified: whoever comes second waits, and does not do it again.
            let mut slot = item.verified.lock();
            if slot.is_none() {
                let known = self.0.door.lock().take(&item.entry);
                *slot = Some(match known {
                    Some(entry) => Ok(entry),
                    None => verify_item(item, &mut verifier)?,
                });
            }
            Ok(())
        })
    }

    /// Verifies entries that did not come through the log: at the door, so that only what holds goes in.
    ///
    /// # Errors
    /// The state cannot be read.
    pub(crate) async fn verify(
        &self,
        entries: Vec<SubmittedEntry>,
    ) -> Result<Vec<OrReturned>, Error> {
        let bytes: usize = entries.iter().map(|entry| entry.pae().len()).sum();
        if entries.len() <= VERIFIED_HERE_MAX && bytes <= VERIFIED_HERE_BYTES_MAX {
            return self.verify_chunk(entries);
        }
        let mut entries = entries.into_iter().peekable();
        let mut answers = Vec::new();
        while entries.peek().is_some() {
            let chunk = entries.by_ref().take(CHUNK).collect();
            let (pool, (answer, answered)) = (self.clone(), oneshot::channel());
            workers::run(move || {
                // Who asked may be gone.
                if !answer.is_closed() {
                    let _ = answer.send(pool.verify_chunk(chunk));
                }
            });
            answers.push(answered);
        }
        let mut verified = Vec::new();
        for answer in answers {
            verified.extend(answer.await.map_err(|error| {
                Error::with_source(ErrorKind::ShuttingDown, "verifying was cut short", error)
            })??);
        }
        Ok(verified)
    }

    fn verify_chunk(&self, entries: Vec<SubmittedEntry>) -> Result<Vec<OrReturned>, Error> {
        let Some(state) = self.0.state.load_full() else {
            return Err(Error::new(ErrorKind::Io, "the state is not open"));
        };
        let state = DbState::new(&state);
        let keys = self.0.keys.over(&state);
        let mut verifier = Verifier::new(&self.0.ledger, &keys);
        entries
            .into_iter()
            .map(|entry| verifier.verify_or_return(entry))
            .collect()
    }

    /// Takes an item's result, looking again where the key was unknown to the state in which it was verified.
    ///
    /// # Errors
    /// The state cannot be read.
    pub(crate) fn take<S: State<Error = Error>>(
        &self,
        item: &BatchItem,
        state: &S,
        first: bool,
    ) -> Result<Verified, Error> {
        match item.verified.lock().take() {
            Some(Ok(entry)) => Ok(Ok(entry)),
            Some(Err(refused)) if refused.refusal != Refusal::KeyUnknown => Ok(Err(refused)),
            _ if first => Ok(self.verify_genesis(item)),
            _ => verify_item(
                item,
                &mut Verifier::new(&self.0.ledger, &RegisteredKeys(state)),
            ),
        }
    }

    /// A genesis is verified with the keys that it brings along.
    fn verify_genesis(&self, item: &BatchItem) -> Verified {
        let entry = decode(item)?;
        let keys = genesis_keys(&entry)?;
        ledger::entry::verify(entry, &self.0.ledger, &keys).map_err(|stop| match stop {
            Stop::Refused(refused) => refused,
            Stop::Failed(never) => match never {},
        })
    }
}

/// How many chunks of a batch are not verified: no more threads find work in it.
fn open_chunks(batch: &Batch) -> usize {
    let chunks = batch.items.chunks(CHUNK);
    chunks.filter(|items| !are_verified(items)).count()
}

/// Whether all results are there; one that is being made is not.
fn are_verified(items: &[BatchItem]) -> bool {
    let is_verified =
        |item: &BatchItem| item.verified.try_lock().is_some_and(|slot| slot.is_some());
    items.iter().all(is_verified)
}

fn verify_item<K: KeySource<Error = Error>>(
    item: &BatchItem,
    verifier: &mut Verifier<'_, K>,
) -> Result<Verified, Error> {
    let entry = match decode(item) {
        Ok(entry) => entry,
        Err(refused) => return Ok(Err(refused)),
    };
    settle(verifier.verify(entry))
}

fn settle(result: Result<VerifiedEntry, Stop<Error>>) -> Result<Verified, Error> {
    match result {
        Ok(entry) => Ok(Ok(entry)),
        Err(Stop::Refused(refused)) => Ok(Err(refused)),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// Bytes that no node of ours proposes are refused like any others: alike on all nodes, and without stopping them.
fn decode(item: &BatchItem) -> Result<SubmittedEntry, Refused> {
    SubmittedEntry::decode(&item.entry).map_err(|_| Refused::from(Refusal::Json))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::testbed::{LEDGER, consent, genesis};

    fn sent(number: u64) -> (Bytes, VerifiedEntry) {
        let keys = genesis_keys(&genesis(&[(1, "127.0.0.1:1".parse().unwrap())].into())).unwrap();
        let entry = consent(number);
        let bytes = Bytes::from(entry.encode());
        let verified = ledger::entry::verify(entry, LEDGER, &keys);
        (bytes, verified.ok().unwrap())
    }

    #[test]
    fn the_door_gives_what_was_sent_once_and_for_the_same_bytes_alone() {
        let pool = VerifyPool::new(LEDGER);
        let (bytes, entry) = sent(1);
        pool.sent(bytes.clone(), entry.clone());
        pool.sent(bytes.clone(), entry.clone());
        let take = |bytes: &Bytes| pool.0.door.lock().take(bytes);
        assert!(take(&sent(2).0).is_none());
        assert_eq!(take(&bytes).unwrap().pae(), entry.pae());
        assert!(take(&bytes).is_none());
    }

    #[test]
    fn the_door_keeps_nothing_of_what_came_back_or_was_forgotten() {
        let pool = VerifyPool::new(LEDGER);
        let is_empty = || {
            let door = pool.0.door.lock();
            door.verified.is_empty() && door.order.is_empty() && door.bytes == 0
        };
        let (bytes, entry) = sent(1);
        let leave: [&dyn Fn(); 3] = [
            &|| drop(pool.0.door.lock().take(&bytes)),
            &|| pool.forget(&bytes),
            &|| pool.forget_all(),
        ];
        for leave in leave {
            pool.sent(bytes.clone(), entry.clone());
            assert!(!is_empty());
            leave();
            assert!(is_empty());
        }
        pool.forget(&bytes);
        assert!(is_empty());
    }

    #[test]
    fn the_door_is_bounded_and_forgets_the_oldest() {
        let mut door = Door::default();
        let (_, entry) = sent(1);
        let of =
            |number: usize| Bytes::from(vec![u8::try_from(number).unwrap(); DOOR_BYTES_MAX / 4]);
        for number in 0..6 {
            door.remember(of(number), entry.clone());
            assert!(door.bytes <= DOOR_BYTES_MAX);
        }
        let held = |door: &Door, number| door.verified.contains_key(&of(number));
        assert!(!held(&door, 0) && !held(&door, 1) && held(&door, 2) && held(&door, 5));
        // What came back stands in the way of nobody.
        door.take(&of(2));
        door.remember(of(6), entry);
        assert!(held(&door, 3) && held(&door, 6));
        assert_eq!(door.order.len(), 4);
    }

    #[test]
    fn no_more_threads_are_asked_than_find_work() {
        let batch = |items: usize| {
            let items = (0..items).map(|_| BatchItem::new(Bytes::new(), [0; 32], None));
            Batch::new(0, items.collect())
        };
        let some = batch(2 * CHUNK + 1);
        assert_eq!(open_chunks(&some), 3);
        for item in some.items.iter().take(CHUNK) {
            *item.verified.lock() = Some(Err(Refused::from(Refusal::Json)));
        }
        assert_eq!(open_chunks(&some), 2);
        assert_eq!(open_chunks(&batch(1)), 1);
        assert_eq!(open_chunks(&batch(0)), 0);
    }
}
