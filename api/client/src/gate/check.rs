// SPDX-License-Identifier: BSD-3-Clause
//! The check itself: offline, without side effects, in the time of one signature and some hashes once the checkpoint is known.
//!
//! In two steps, in this order: [`Check::believe`] looks at what was presented alone, its signatures and its receipt; [`Believed::cover`] holds it
//! against the call. So a forged entry learns nothing of what this gate holds entries against, and is never a reason to ask anybody whose data a
//! call is about.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ledger::{
    body::{
        Body, Content,
        access::{Access, Side, SubjectRole},
    },
    entry::SubmittedEntry,
    finding::{Finding, Findings},
    hash::Hash,
    id::InstitutionId,
    number::EntryIndex,
    policy::PolicySet,
    receipt::{Receipt, VerifiedNote, VerifiedReceipt},
};

use super::{Caller, Facts, Presented, Reason, keys::Keys};

/// What a gate goes by.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Name of the ledger.
    pub ledger: String,
    /// Whose service stands behind the gate.
    pub provider: InstitutionId,
    /// How long ago the ledger may have accepted an entry, milliseconds.
    pub window_ms: u64,
    /// How far the clocks may differ, milliseconds.
    pub skew_ms: u64,
    /// Findings that are let pass.
    pub allowed: Findings,
    /// Emergencies are let through, with or without receipt.
    pub emergencies: bool,
}

impl Rules {
    /// A window of five minutes, ten seconds between the clocks, no finding allowed, no emergency.
    pub fn new(ledger: &str, provider: &InstitutionId) -> Rules {
        Rules {
            ledger: ledger.to_owned(),
            provider: provider.clone(),
            window_ms: 5 * 60_000,
            skew_ms: 10_000,
            allowed: Findings::COVERED,
            emergencies: false,
        }
    }
}

/// An access that covers the call. Only [`Check::verify`] makes one.
#[derive(Clone, Debug)]
pub struct Covered {
    /// The consumer's entry.
    pub body: Body,
    /// Its wire line.
    pub wire: String,
    /// What the ledger says of it; none in an emergency without receipt.
    pub receipt: Option<VerifiedReceipt>,
    /// Let through as an emergency.
    pub emergency: bool,
    /// Whom the call asks for.
    pub subjects: Vec<Hash>,
    /// Until when the entry could pass again, milliseconds since the epoch: so long its use is remembered.
    pub fresh_until_ms: u64,
}

impl Covered {
    /// The access itself.
    pub fn access(&self) -> Option<&Access> {
        access_of(&self.body)
    }
}

/// An access entry whose signatures hold, and whose receipt, if it has one. Only [`Check::believe`] makes one; whether it is about the call at
/// hand is not known yet.
#[derive(Debug)]
pub struct Believed<'a> {
    rules: &'a Rules,
    presented: &'a Presented,
    body: Body,
    receipt: Option<VerifiedReceipt>,
    /// One of the signatures is the consumer's own.
    own: bool,
}

/// Checks entries against calls.
#[derive(Debug)]
pub struct Check {
    rules: Rules,
    policies: Arc<PolicySet>,
    keys: Arc<Keys>,
    notes: Mutex<Notes>,
}

impl Check {
    /// By these rules, this trust and this copy of the registry.
    pub fn new(rules: Rules, policies: Arc<PolicySet>, keys: Arc<Keys>) -> Check {
        Check {
            rules,
            policies,
            keys,
            notes: Mutex::default(),
        }
    }

    /// The rules it goes by.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Whether what was presented is to be believed, whatever the call. Nothing is told of the entry but that it is not.
    ///
    /// # Errors
    /// The first [`Reason`] met, in their order up to [`Reason::EmergencyIncomplete`].
    pub fn believe<'a>(
        &'a self,
        presented: &'a Presented,
        now_ms: u64,
    ) -> Result<Believed<'a>, Reason> {
        let entry = &presented.entry;
        let body = Body::parse_partial(entry.payload(), entry.disclosures())
            .map_err(|_| Reason::EntryMalformed)?;
        let access = access_of(&body).ok_or(Reason::EntryMalformed)?;
        if access.side != Side::Consumer {
            return Err(Reason::EntryMalformed);
        }
        let unseen = self.rules.emergencies && access.emergency.is_some();
        if presented.receipt.is_none() && !unseen {
            return Err(Reason::ReceiptMissing);
        }
        if !self.keys.is_fresh(now_ms) {
            return Err(Reason::KeysStale);
        }
        let receipt = presented.receipt.as_ref();
        let own = self.verify_signatures(entry, &body, receipt.map(|receipt| receipt.index))?;
        let receipt = match receipt {
            Some(receipt) => Some(self.verify_receipt(receipt, entry, &body)?),
            // Nobody vouches for it but who signed it, and it must be complete enough to be put on record.
            None if !own || Body::parse(entry.payload(), entry.disclosures()).is_err() => {
                return Err(Reason::EmergencyIncomplete);
            }
            None => None,
        };
        Ok(Believed {
            rules: &self.rules,
            presented,
            body,
            receipt,
            own,
        })
    }

    /// Whether what was presented covers this call of this caller at this time. Whether it was used before is another question.
    ///
    /// # Errors
    /// The first [`Reason`] met, in their order.
    pub fn verify(
        &self,
        presented: &Presented,
        caller: &Caller,
        facts: &Facts,
        now_ms: u64,
    ) -> Result<Covered, Reason> {
        self.believe(presented, now_ms)?
            .cover(caller, facts, now_ms)
    }

    /// Every signature holds, by a key in force. Answers whether one of them is the consumer's own.
    fn verify_signatures(
        &self,
        entry: &SubmittedEntry,
        body: &Body,
        index: Option<EntryIndex>,
    ) -> Result<bool, Reason> {
        let mut own = false;
        for row in entry.sigs().rows() {
            let key = self.keys.find(&row.key_id).ok_or(Reason::KeyUnknown)?;
            let in_force = match index {
                Some(index) => key.in_force_at(index),
                None => key.is_open(),
            };
            if !in_force {
                return Err(Reason::KeyUnknown);
            }
            row.signature
                .verify(&key.public, entry.pae())
                .map_err(|_| Reason::SignatureFalse)?;
            own |= key.institution == body.common.institution;
        }
        Ok(own)
    }

    fn verify_receipt(
        &self,
        receipt: &Receipt,
        entry: &SubmittedEntry,
        body: &Body,
    ) -> Result<VerifiedReceipt, Reason> {
        let note_key = receipt.note_key();
        let known = self.notes().get(&note_key);
        let note = match known {
            Some(note) => note,
            None => {
                let opened = VerifiedNote::open(&receipt.note, &self.policies);
                let note = Arc::new(opened.map_err(|_| Reason::ReceiptFalse)?);
                self.notes().keep(Arc::clone(&note));
                note
            }
        };
        let verified = receipt
            .verify_in(&note, entry)
            .map_err(|_| Reason::ReceiptFalse)?;
        verified
            .agree_with(body)
            .map_err(|_| Reason::ReceiptFalse)?;
        Ok(verified)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Believed<'_> {
    /// Whether it covers this call of this caller at this time.
    ///
    /// # Errors
    /// The first [`Reason`] met, in their order from [`Reason::OtherLedger`].
    pub fn cover(self, caller: &Caller, facts: &Facts, now_ms: u64) -> Result<Covered, Reason> {
        let access = access_of(&self.body).ok_or(Reason::EntryMalformed)?;
        self.bind(access, caller, facts)?;
        let emergency = access.emergency.is_some();
        if emergency {
            self.limit_emergency(access, now_ms)?;
        }
        let fresh_until_ms = match &self.receipt {
            Some(receipt) => self.judge(receipt, emergency, now_ms)?,
            None => self.judge_unseen(now_ms)?,
        };
        Ok(Covered {
            wire: self.presented.wire.clone(),
            emergency,
            receipt: self.receipt,
            subjects: facts.subjects.clone(),
            fresh_until_ms,
            body: self.body,
        })
    }

    /// The entry is about this call.
    fn bind(&self, access: &Access, caller: &Caller, facts: &Facts) -> Result<(), Reason> {
        let body = &self.body;
        if body.common.ledger != self.rules.ledger {
            return Err(Reason::OtherLedger);
        }
        // An entry of the consumer's side speaks for the consumer.
        if access.consumer != body.common.institution
            || caller
                .institution
                .as_ref()
                .is_some_and(|it| *it != access.consumer)
            || differs(&caller.client_id, &access.consumer_client_id)
        {
            return Err(Reason::OtherConsumer);
        }
        if access.provider != self.rules.provider {
            return Err(Reason::OtherProvider);
        }
        let evidence = access.evidence.clone().unwrap_or_default();
        let other_exchange = facts.exchange.is_some_and(|it| it != access.exchange);
        let other_service = facts
            .eservice_id
            .as_ref()
            .is_some_and(|it| *it != access.eservice.eservice_id);
        let other_purpose = !facts.purposes.is_empty() && !facts.purposes.contains(&access.purpose);
        if other_exchange
            || other_service
            || other_purpose
            || differs(&caller.voucher_jti, &evidence.voucher_jti)
            || differs(&facts.tracking_evidence, &evidence.tracking_evidence_digest)
        {
            return Err(Reason::OtherCall);
        }
        if evidence.request_digest != Some(facts.request_digest) {
            return Err(Reason::OtherRequest);
        }
        let opened = access.subjects.iter().filter_map(|it| it.value.as_ref());
        let targets: BTreeSet<&Hash> = opened
            .filter(|subject| subject.role == SubjectRole::Target)
            .map(|subject| &subject.person)
            .collect();
        let named = |person: &Hash| targets.contains(person);
        if facts.subjects.is_empty() || !facts.subjects.iter().all(named) {
            return Err(Reason::OtherSubject);
        }
        Ok(())
    }

    fn limit_emergency(&self, access: &Access, now_ms: u64) -> Result<(), Reason> {
        if !self.rules.emergencies {
            // With a receipt the finding speaks; without, there is nothing to go by.
            return Ok(());
        }
        let until_ms = access.emergency.as_ref().map_or(0, |it| it.until_ms);
        if until_ms < now_ms || until_ms > now_ms.saturating_add(EMERGENCY_MS) {
            return Err(Reason::EmergencyUntil);
        }
        Ok(())
    }

    /// Fresh, and with no finding but those allowed. Answers until when it is fresh.
    fn judge(
        &self,
        receipt: &VerifiedReceipt,
        emergency: bool,
        now_ms: u64,
    ) -> Result<u64, Reason> {
        let Rules {
            window_ms, skew_ms, ..
        } = *self.rules;
        let meta = receipt.meta();
        let accepted_ms = meta.accepted_at_ms;
        let cosigned_ms = receipt
            .cosigned_between_s()
            .map_or(accepted_ms, |(_, latest)| latest.saturating_mul(1000));
        let fresh_until_ms = accepted_ms
            .saturating_add(window_ms)
            .saturating_add(skew_ms);
        let ahead = accepted_ms.max(cosigned_ms) > now_ms.saturating_add(skew_ms);
        // A tree that holds the entry was cosigned after it was accepted.
        let before = cosigned_ms.saturating_add(skew_ms).saturating_add(1000) < accepted_ms;
        if ahead || before || fresh_until_ms < now_ms {
            return Err(Reason::Stale);
        }
        let mut allowed = self.rules.allowed;
        if emergency && self.rules.emergencies {
            allowed.insert(Finding::Emergency);
        }
        // Another institution's signature counts as far as the ledger knows the delegation.
        let undelegated = !self.own && meta.findings.contains(Finding::DelegationMissing);
        if undelegated || meta.findings.0 & !allowed.0 != 0 {
            return Err(Reason::Uncovered);
        }
        Ok(fresh_until_ms)
    }

    /// An emergency that the ledger has not seen: of now.
    fn judge_unseen(&self, now_ms: u64) -> Result<u64, Reason> {
        let body = &self.body;
        let near = |at_ms: u64| {
            let Rules {
                window_ms, skew_ms, ..
            } = *self.rules;
            at_ms <= now_ms.saturating_add(skew_ms)
                && at_ms.saturating_add(window_ms).saturating_add(skew_ms) >= now_ms
        };
        if !near(body.common.occurred_at_ms) || !near(body.common.id.time_ms()) {
            return Err(Reason::Stale);
        }
        // It is accepted when the ledger is back, and its receipt would be fresh then: remembered for as long as its id can be.
        Ok(now_ms.saturating_add(ID_WINDOW_MS))
    }
}

/// The notes verified last, found by their bytes' hash. All receipts of one checkpoint stand under one.
#[derive(Debug, Default)]
struct Notes {
    /// Newest last.
    kept: VecDeque<Arc<VerifiedNote>>,
}

impl Notes {
    fn get(&self, key: &Hash) -> Option<Arc<VerifiedNote>> {
        self.kept
            .iter()
            .rev()
            .find(|note| note.key() == *key)
            .cloned()
    }

    fn keep(&mut self, note: Arc<VerifiedNote>) {
        if self.kept.len() == NOTES_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(note);
    }
}

fn access_of(body: &Body) -> Option<&Access> {
    match &body.content {
        Content::Access(access) => Some(access),
        _ => None,
    }
}

/// What one of the two does not say is no difference.
fn differs<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one != other)
}

/// Longest that an emergency may be claimed ahead, and until when its entry is due.
pub const EMERGENCY_MS: u64 = 24 * 3_600_000;
/// An id is taken by the ledger for 35 days; one more for the clocks.
const ID_WINDOW_MS: u64 = 36 * 24 * 3_600_000;
/// A checkpoint is published several times a second at most, and a receipt is fresh for minutes.
const NOTES_KEPT: usize = 512;
