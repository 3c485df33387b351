// SPDX-License-Identifier: BSD-3-Clause
//! No entry, no data: a provider lets a call through only where the consumer's signed access entry is on record, and puts its own side on
//! record before the answer leaves.
//!
//! A call passes these steps; the first that fails answers with a problem document that names it ([`Reason`]):
//!
//! 1. who calls ([`Callers`]): given by whoever embeds the gate;
//! 2. the entry and its receipt are read from the head ([`transport`]), and are to be believed: signatures by registered keys, the receipt under
//!    the policy ([`check`]). A forged entry is told no more than that;
//! 3. what the request asks for is read ([`CallFacts`], given by whoever embeds the gate), which may cost a question to the ledger's nodes;
//! 4. the entry is about this call: ledger, consumer, provider, e-service, purpose, exchange, request digest, persons asked for; it is fresh, with
//!    no finding but those allowed;
//! 5. there is room for our side in the [`crate::outbox`];
//! 6. the exchange was not used before, and now it is, on disk ([`used`]);
//! 7. the service behind answers; our side is on disk; the answer leaves.
//!
//! What a crash leaves behind: after 6, a used exchange and no answer; in 7, before our side is on disk, nothing left the house; after it, an
//! entry that says that data was handed out, which may not have arrived.
//!
//! **Emergencies.** If the rules allow it, an entry with `emergency {reason, until}` passes without receipt, when the consumer cannot reach the
//! ledger. The gate puts that entry into its outbox before the service is asked, and ships it, byte by byte as it was signed, with its own
//! side: due within 24 hours. The ledger marks both with the finding `emergency`. Each is counted and logged as a warning.
//!
//! [`GateLayer`] is all of this as a `tower` layer. Nothing personal is logged.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::request::Parts;
use ledger::{
    bytes::request_digest,
    hash::Hash,
    id::{EntryId, InstitutionId, KeyId},
    key::SigningKey,
};

use crate::outbox::{Outbox, Room, Whose};

pub mod check;
pub mod keys;
mod layer;
mod reason;
mod side;
#[cfg(test)]
mod tests;
pub mod transport;
pub mod used;

pub use check::{Believed, Check, Covered, EMERGENCY_MS, Rules};
pub use layer::{GateLayer, Gated, refusal};
pub use reason::Reason;
pub use transport::Presented;

/// A future that a trait object can give.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who calls, as the service's own authentication knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The consumer; `None` leaves it to the entry's signature alone.
    pub institution: Option<InstitutionId>,
    /// Its client at PDND.
    pub client_id: Option<String>,
    /// `jti` of the voucher.
    pub voucher_jti: Option<String>,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// [`request_digest`] of it.
    pub request_digest: Hash,
    /// Whose data is wanted, at least one person.
    pub subjects: Vec<Hash>,
    /// The exchange, where the request itself names it.
    pub exchange: Option<[u8; 16]>,
    /// The e-service that the request belongs to.
    pub eservice_id: Option<String>,
    /// Purposes that this service may be called for; empty = any.
    pub purposes: Vec<String>,
    /// SHA-256 of the `Agid-JWT-TrackingEvidence` that came along.
    pub tracking_evidence: Option<Hash>,
}

impl Facts {
    /// What every request says: its digest, and its tracking evidence if it has one. Persons are the embedder's to add.
    pub fn of_request(head: &Parts, body: &[u8]) -> Facts {
        let target = head.uri.path_and_query().map_or("/", |it| it.as_str());
        let evidence = head.headers.get(transport::TRACKING_EVIDENCE);
        Facts {
            request_digest: request_digest(head.method.as_str(), target, body),
            subjects: Vec::new(),
            exchange: None,
            eservice_id: None,
            purposes: Vec::new(),
            tracking_evidence: evidence.map(|evidence| Hash::of(&[evidence.as_bytes()])),
        }
    }
}

/// Tells who calls: maps what the service authenticated (a voucher's client id, a certificate) to an institution.
pub trait Callers: Send + Sync + 'static {
    /// Who calls.
    ///
    /// # Errors
    /// [`Reason::CallerUnknown`]
    fn caller<'a>(&'a self, head: &'a Parts) -> Answering<'a, Result<Caller, Reason>>;
}

/// Tells what a request asks for.
pub trait CallFacts: Send + Sync + 'static {
    /// What the request asks for.
    ///
    /// # Errors
    /// [`Reason::FactsUnreadable`], [`Reason::NoRoute`]
    fn facts<'a>(
        &'a self,
        head: &'a Parts,
        body: &'a Bytes,
    ) -> Answering<'a, Result<Facts, Reason>>;
}

/// What was answered. A service behind a [`GateLayer`] may put one into its response's extensions; else the status alone is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// How many records were returned.
    pub result_count: Option<u64>,
    /// [`ledger::bytes::response_digest`] of the answer.
    pub response_digest: Option<Hash>,
    /// Persons met in the answer that were not asked for.
    pub incidental: Vec<Hash>,
}

impl Answer {
    /// How it ended, in one word.
    pub fn outcome(&self) -> &'static str {
        match self.status {
            200..=399 => "ok",
            404 | 410 => "not-found",
            400..=499 => "refused",
            _ => "failed",
        }
    }
}

/// A call that may go on to the service. Its exchange is used up, and there is room for our side.
#[derive(Debug)]
pub struct Admitted {
    /// What covers it.
    pub covered: Covered,
    room: Room,
}

/// Fetches a key that the copy of the registry does not have yet.
pub type KeyFetch = Box<dyn Fn(KeyId) -> Answering<'static, bool> + Send + Sync>;

/// All that a gate needs.
pub struct Gate {
    check: Check,
    callers: Box<dyn Callers>,
    facts: Box<dyn CallFacts>,
    used: used::Used,
    outbox: Arc<Outbox>,
    key: SigningKey,
    key_fetch: Option<KeyFetch>,
    counts: Mutex<Counts>,
}

/// What passed and what did not, since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls whose answer left.
    pub passed: u64,
    /// Calls let through as an emergency.
    pub emergencies: u64,
    /// Calls refused, by the reason's code.
    pub refused: BTreeMap<&'static str, u64>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate")
            .field("check", &self.check)
            .finish_non_exhaustive()
    }
}

impl Gate {
    /// A gate of its parts. `key` is the provider's registered entry key.
    pub fn new(
        check: Check,
        callers: impl Callers,
        facts: impl CallFacts,
        used: used::Used,
        outbox: Arc<Outbox>,
        key: SigningKey,
    ) -> Gate {
        Gate {
            check,
            callers: Box::new(callers),
            facts: Box::new(facts),
            used,
            outbox,
            key,
            key_fetch: None,
            counts: Mutex::default(),
        }
    }

    /// The same gate, which asks for keys that its copy of the registry lacks; answers whether there is such a key.
    #[must_use]
    pub fn with_key_fetch(self, fetch: KeyFetch) -> Gate {
        Gate {
            key_fetch: Some(fetch),
            ..self
        }
    }

    /// Judges a call, and uses up its entry: steps 1 to 6. In an emergency without receipt the consumer's entry is in the outbox then.
    ///
    /// # Errors
    /// Why it does not pass; the service behind must not be asked.
    pub async fn admit(&self, head: &Parts, body: &Bytes) -> Result<Admitted, Reason> {
        let admitted = self.try_admit(head, body).await;
        if let Err(reason) = &admitted {
            self.count_refused(*reason);
        }
        admitted
    }

    async fn try_admit(&self, head: &Parts, body: &Bytes) -> Result<Admitted, Reason> {
        let caller = self.callers.caller(head).await?;
        let presented = Presented::read(&head.headers)?;
        let believed = match self.check.believe(&presented, self.now_ms()) {
            Err(Reason::KeyUnknown) => {
                self.fetch_keys(&presented).await?;
                self.check.believe(&presented, self.now_ms())?
            }
            believed => believed?,
        };
        // Not before: what is forged must be no way to have anything looked up, or compared with it.
        let facts = self.facts.facts(head, body).await?;
        let now_ms = self.now_ms();
        let covered = believed.cover(&caller, &facts, now_ms)?;
        // Our side says what the consumer's says, and some members more.
        let room = self.reserve(covered.wire.len() + SIDE_BYTES_MORE)?;
        let unseen = covered.receipt.is_none();
        let room_unseen = unseen
            .then(|| self.reserve(covered.wire.len()))
            .transpose()?;
        let access = covered.access().ok_or(Reason::EntryMalformed)?;
        let part = access.part.map_or(0, |part| part.k);
        let mark = used::mark(&access.consumer, &access.exchange, part);
        self.used.take(mark, covered.fresh_until_ms, now_ms).await?;
        if let Some(room) = room_unseen {
            room.put(
                covered.wire.clone(),
                Whose::Emergency,
                now_ms,
                now_ms.saturating_add(EMERGENCY_MS),
            )
            .await
            .map_err(|_| Reason::Broken)?;
        }
        if covered.emergency {
            self.counts().emergencies += 1;
            tracing::warn!(
                consumer = access.consumer.as_str(),
                entry = %covered.body.common.id,
                on_record = !unseen,
                "an emergency was let through: it awaits review"
            );
        }
        Ok(Admitted { covered, room })
    }

    /// Puts our side on disk: step 7. Only when this has answered may the answer leave.
    ///
    /// # Errors
    /// [`Reason::Broken`], [`Reason::EntryMalformed`]: the answer must not leave.
    pub async fn answered(&self, admitted: Admitted, answer: &Answer) -> Result<EntryId, Reason> {
        let now_ms = self.now_ms();
        let written = side::write(
            &admitted.covered,
            answer,
            self.check.rules(),
            &self.key,
            now_ms,
        );
        let (id, entry) = match written {
            Ok(written) => written,
            Err(reason) => return Err(self.refuse(reason)),
        };
        let due_ms = now_ms.saturating_add(EMERGENCY_MS);
        let put = admitted
            .room
            .put(entry.to_wire(), Whose::Own, now_ms, due_ms)
            .await;
        match put {
            Ok(()) => {
                self.counts().passed += 1;
                Ok(id)
            }
            Err(error) => {
                tracing::error!(%error, "the outbox failed; the answer does not leave");
                Err(self.refuse(Reason::Broken))
            }
        }
    }

    /// Counts a refusal that the embedder decided, such as an upstream that does not answer.
    pub fn refuse(&self, reason: Reason) -> Reason {
        self.count_refused(reason);
        reason
    }

    /// What passed and what did not.
    pub fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The outbox behind it.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    fn reserve(&self, bytes: usize) -> Result<Room, Reason> {
        self.outbox.reserve(bytes).map_err(|no_room| match no_room {
            crate::outbox::NoRoom::Full => Reason::OutboxFull,
            crate::outbox::NoRoom::Journal(_) => Reason::Broken,
        })
    }

    async fn fetch_keys(&self, presented: &Presented) -> Result<(), Reason> {
        let fetch = self.key_fetch.as_ref().ok_or(Reason::KeyUnknown)?;
        for row in presented.entry.sigs().rows() {
            if !fetch(row.key_id).await {
                return Err(Reason::KeyUnknown);
            }
        }
        Ok(())
    }

    fn count_refused(&self, reason: Reason) {
        *self.counts().refused.entry(reason.code()).or_default() += 1;
        tracing::info!(reason = reason.code(), "a call was not let through");
    }

    fn now_ms(&self) -> u64 {
        let clock_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .ok()
            .and_then(|since| u64::try_from(since.as_millis()).ok())
            .unwrap_or(0);
        self.used.not_before_floor(clock_ms)
    }
}

/// Most that our side can be longer than the consumer's: persons met in the answer, digests, a status.
const SIDE_BYTES_MORE: usize = 48 * 1024;
