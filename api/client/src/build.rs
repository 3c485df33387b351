// SPDX-License-Identifier: BSD-3-Clause
//! From plain values to signed entries: draws ids and salts, makes disclosures, writes the body, signs singly or in batches.

use ledger::{
    admission::CONSENT_READS_MAX,
    body::{
        Body, Common, Content, DISCLOSED_MAX, Disclosed, DisclosedValue, Reference, StreamPlace,
        access::{
            Access, AccessSubject, Action, CaseRef, EService, Emergency, Evidence, Part, Side,
            Visibility,
        },
        consent::{Consent, ConsentEntity, ConsentEvent, Notice},
        household::{Household, HouseholdKind, Member},
        system::{Note, NoteKind, NoteOpens},
    },
    bytes,
    entry::SubmittedEntry,
    hash::Hash,
    id::{EntryId, InstitutionId},
    key::SigningKey,
    signature::{self, BATCH_COUNT_MAX, Sigs},
};

use crate::{error::Error, modi::Call};

/// An entry that is complete but for its signatures.
#[derive(Clone, Debug)]
pub struct Draft {
    payload: Vec<u8>,
    pae: Vec<u8>,
    disclosures: Vec<String>,
}

/// Members that every entry has.
#[derive(Clone, Debug)]
pub struct Head {
    /// Name of the ledger.
    pub ledger: String,
    /// The controller for whom the entry speaks.
    pub institution: InstitutionId,
    /// When it happened, milliseconds since the epoch.
    pub occurred_at_ms: u64,
    /// Another entry that this one is about.
    pub refers_to: Option<Reference>,
    /// Place in a stream of the signer's.
    pub stream: Option<StreamPlace>,
}

impl Head {
    /// Without reference and stream.
    pub fn new(ledger: &str, institution: &InstitutionId, occurred_at_ms: u64) -> Head {
        Head {
            ledger: ledger.to_owned(),
            institution: institution.clone(),
            occurred_at_ms,
            refers_to: None,
            stream: None,
        }
    }
}

/// Content of an entry in plain values; what the type wants disclosed is concealed when the draft is made.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Plain {
    Access(Box<PlainAccess>),
    Consent(Box<PlainConsent>),
    Household(PlainHousehold),
    Note(PlainNote),
    /// A type that discloses nothing, such as the governance's.
    Other(Box<Content>),
}

/// An access in plain values: [`Access`] says what each means.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct PlainAccess {
    pub side: Side,
    pub exchange: [u8; 16],
    pub consumer: InstitutionId,
    pub consumer_client_id: Option<String>,
    pub provider: InstitutionId,
    pub eservice: EService,
    pub user_id: String,
    pub user_role: String,
    pub user_location: String,
    pub loa: Option<String>,
    pub purpose_id: Option<String>,
    pub purpose: String,
    pub legal_basis: String,
    pub legal_reference: Option<String>,
    pub reason: String,
    pub case_ref: Option<CaseRef>,
    pub consent_refs: Vec<String>,
    pub action: Action,
    pub outcome: String,
    pub status_code: Option<u64>,
    pub data_categories: Vec<String>,
    pub personal_data_types: Vec<String>,
    pub subjects: Vec<AccessSubject>,
    pub part: Option<Part>,
    pub result_count: Option<u64>,
    pub emergency: Option<Emergency>,
    pub visibility: Visibility,
    pub evidence: Option<PlainEvidence>,
}

/// Traces of a call in plain values.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct PlainEvidence {
    pub tracking_evidence_digest: Option<Hash>,
    pub voucher_jti: Option<String>,
    pub request_digest: Option<Hash>,
    pub response_digest: Option<Hash>,
    pub correlation_id: Option<String>,
    pub traceparent: Option<String>,
    pub jws: Option<String>,
    pub jwk_thumbprint: Option<Hash>,
}

/// A consent event in plain values: [`Consent`] says what each means.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct PlainConsent {
    pub record: String,
    pub subject: Hash,
    pub event: ConsentEvent,
    pub entity: Option<ConsentEntity>,
    pub purposes: Option<Vec<String>>,
    pub recipients: Option<Vec<String>>,
    pub data_categories: Option<Vec<String>>,
    pub valid_from_ms: Option<u64>,
    pub valid_until_ms: Option<u64>,
    pub notice: Option<Notice>,
    pub loa: Option<String>,
    pub indication: Option<String>,
}

/// A household's composition in plain values.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct PlainHousehold {
    pub household: Hash,
    pub kind: HouseholdKind,
    pub members: Vec<Member>,
    pub valid_from_ms: u64,
}

/// A note in plain values.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct PlainNote {
    pub kind: NoteKind,
    pub text: Option<String>,
    pub subjects: Vec<Hash>,
    pub opens: Vec<NoteOpens>,
}

impl PlainAccess {
    /// The access as the entries that tell it: itself, or, where it names more persons than one entry holds, parts `k` of `n` of the same
    /// exchange, each as large as an entry may be. Every part is signed and sent for itself; each person finds theirs.
    pub fn into_parts(self) -> Vec<PlainAccess> {
        // Each target's consents are looked up, and an entry may ask for so many.
        let per_consents = CONSENT_READS_MAX / self.consent_refs.len().max(1);
        let size = DISCLOSED_MAX.min(per_consents).max(1);
        if self.subjects.len() <= size {
            return vec![self];
        }
        let chunks: Vec<Vec<AccessSubject>> =
            self.subjects.chunks(size).map(<[_]>::to_vec).collect();
        let n = chunks.len() as u64;
        chunks
            .into_iter()
            .zip(1..)
            .map(|(subjects, k)| PlainAccess {
                subjects,
                part: Some(Part { k, n }),
                ..self.clone()
            })
            .collect()
    }

    /// Takes over what a ModI call proves: who asked, from where, for which purpose, and the evidence itself.
    ///
    /// `location` stands in where the caller sent no `userLocation`.
    pub fn take_call(&mut self, call: &Call, location: &str) {
        self.user_id.clone_from(&call.evidence.user_id);
        self.user_location = call
            .evidence
            .user_location
            .clone()
            .unwrap_or_else(|| location.to_owned());
        self.loa.clone_from(&call.evidence.loa);
        self.purpose_id = Some(call.evidence.purpose_id.clone());
        self.consumer_client_id.clone_from(&call.voucher.client_id);
        if let Some(id) = &call.voucher.eservice_id {
            self.eservice.eservice_id.clone_from(id);
        }
        if call.voucher.descriptor_id.is_some() {
            self.eservice
                .descriptor_id
                .clone_from(&call.voucher.descriptor_id);
        }
        let evidence = self.evidence.get_or_insert_default();
        evidence.tracking_evidence_digest = Some(call.digest);
        evidence.voucher_jti = Some(call.voucher.jti.clone());
        evidence.jws = Some(call.jws.clone());
        evidence.jwk_thumbprint = Some(call.jwk.thumbprint());
    }
}

impl Draft {
    /// Writes the body, with an id of now (`now_ms`, milliseconds since the epoch) and a fresh salt for each disclosure.
    ///
    /// # Errors
    /// [`Error::Setup`] where the system has no randomness to give.
    pub fn new(head: Head, plain: Plain, now_ms: u64) -> Result<Draft, Error> {
        let mut concealer = Concealer::default();
        let content = concealer.content(plain)?;
        let body = Body {
            common: Common {
                ledger: head.ledger,
                id: EntryId::from_parts(now_ms, &random()?),
                institution: head.institution,
                occurred_at_ms: head.occurred_at_ms,
                refers_to: head.refers_to,
                stream: head.stream,
            },
            content,
        };
        let payload = body.to_json().into_bytes();
        Ok(Draft {
            pae: bytes::pae(&payload),
            payload,
            disclosures: concealer.disclosures,
        })
    }

    /// What is signed.
    pub fn pae(&self) -> &[u8] {
        &self.pae
    }

    /// Signs with one key or, for the governance, several.
    ///
    /// # Errors
    /// [`Error::Setup`] for no key, more than 16, or a key twice, and for a body that is too long.
    pub fn sign(self, keys: &[&SigningKey]) -> Result<SubmittedEntry, Error> {
        let sigs = Sigs::sign(keys, &self.pae)
            .map_err(|refusal| Error::Setup(refusal.remedy().to_owned()))?;
        self.with(sigs)
    }

    fn with(self, sigs: Sigs) -> Result<SubmittedEntry, Error> {
        SubmittedEntry::new(&self.payload, sigs, self.disclosures)
            .map_err(|refused| Error::Setup(refused.refusal.remedy().to_owned()))
    }
}

/// Signs any number of drafts, 1 024 to a signature at most (alg 0x81). Each entry still stands alone.
///
/// # Errors
/// [`Error::Setup`] for a body that is too long.
pub fn sign_batch(drafts: Vec<Draft>, key: &SigningKey) -> Result<Vec<SubmittedEntry>, Error> {
    let key_id = key.key_id();
    let mut signed = Vec::with_capacity(drafts.len());
    let mut drafts = drafts.into_iter().peekable();
    while drafts.peek().is_some() {
        let batch: Vec<Draft> = drafts.by_ref().take(usize::from(BATCH_COUNT_MAX)).collect();
        let paes: Vec<&[u8]> = batch.iter().map(Draft::pae).collect();
        let signatures = signature::sign_batch(key, &paes);
        for (draft, signature) in batch.into_iter().zip(signatures) {
            signed.push(draft.with(Sigs::one(key_id, signature))?);
        }
    }
    Ok(signed)
}

/// Fresh random bytes.
///
/// # Errors
/// [`Error::Setup`] where the system has none to give.
pub fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::Setup(format!("the system gives no randomness: {error}")))?;
    Ok(bytes)
}

/// Turns plain values into digests, and keeps the disclosures.
#[derive(Default)]
struct Concealer {
    disclosures: Vec<String>,
}

impl Concealer {
    fn content(&mut self, plain: Plain) -> Result<Content, Error> {
        Ok(match plain {
            Plain::Access(access) => Content::Access(Box::new(self.access(*access)?)),
            Plain::Consent(consent) => Content::Consent(Box::new(self.consent(*consent)?)),
            Plain::Household(household) => Content::Household(self.household(household)?),
            Plain::Note(note) => Content::Note(self.note(note)?),
            Plain::Other(content) => *content,
        })
    }

    fn access(&mut self, plain: PlainAccess) -> Result<Access, Error> {
        Ok(Access {
            side: plain.side,
            exchange: plain.exchange,
            consumer: plain.consumer,
            consumer_client_id: plain.consumer_client_id,
            provider: plain.provider,
            eservice: plain.eservice,
            user_id: self.conceal(plain.user_id)?,
            user_role: plain.user_role,
            user_location: self.conceal(plain.user_location)?,
            loa: plain.loa,
            purpose_id: plain.purpose_id,
            purpose: plain.purpose,
            legal_basis: plain.legal_basis,
            legal_reference: plain.legal_reference,
            reason: self.conceal(plain.reason)?,
            case_ref: plain.case_ref.map(|case| self.conceal(case)).transpose()?,
            consent_refs: plain.consent_refs,
            action: plain.action,
            outcome: plain.outcome,
            status_code: plain.status_code,
            data_categories: plain.data_categories,
            personal_data_types: plain.personal_data_types,
            subjects: plain
                .subjects
                .into_iter()
                .map(|subject| self.conceal(subject))
                .collect::<Result<_, _>>()?,
            part: plain.part,
            result_count: plain.result_count,
            emergency: plain.emergency,
            visibility: plain.visibility,
            evidence: plain
                .evidence
                .map(|evidence| self.evidence(evidence))
                .transpose()?,
        })
    }

    fn evidence(&mut self, plain: PlainEvidence) -> Result<Evidence, Error> {
        Ok(Evidence {
            tracking_evidence_digest: plain.tracking_evidence_digest,
            voucher_jti: plain.voucher_jti,
            request_digest: plain.request_digest,
            response_digest: plain.response_digest,
            correlation_id: plain.correlation_id,
            traceparent: plain.traceparent,
            jws: plain.jws.map(|jws| self.conceal(jws)).transpose()?,
            jwk_thumbprint: plain.jwk_thumbprint,
        })
    }

    fn consent(&mut self, plain: PlainConsent) -> Result<Consent, Error> {
        Ok(Consent {
            record: plain.record,
            subject: self.conceal(plain.subject)?,
            event: plain.event,
            entity: plain.entity,
            purposes: plain.purposes,
            recipients: plain.recipients,
            data_categories: plain.data_categories,
            valid_from_ms: plain.valid_from_ms,
            valid_until_ms: plain.valid_until_ms,
            notice: plain.notice,
            loa: plain.loa,
            indication: plain.indication,
        })
    }

    fn household(&mut self, plain: PlainHousehold) -> Result<Household, Error> {
        Ok(Household {
            household: self.conceal(plain.household)?,
            kind: plain.kind,
            members: plain
                .members
                .into_iter()
                .map(|member| self.conceal(member))
                .collect::<Result<_, _>>()?,
            valid_from_ms: plain.valid_from_ms,
        })
    }

    fn note(&mut self, plain: PlainNote) -> Result<Note, Error> {
        Ok(Note {
            kind: plain.kind,
            text: plain.text.map(|text| self.conceal(text)).transpose()?,
            subjects: plain
                .subjects
                .into_iter()
                .map(|subject| self.conceal(subject))
                .collect::<Result<_, _>>()?,
            opens: plain.opens,
        })
    }

    fn conceal<T: DisclosedValue>(&mut self, value: T) -> Result<Disclosed<T>, Error> {
        let (disclosed, disclosure) = Disclosed::seal(&random::<SALT_BYTES>()?, value);
        self.disclosures.push(disclosure);
        Ok(disclosed)
    }
}

/// Enough that no digest tells whether a guessed value is behind it.
const SALT_BYTES: usize = 16;

#[cfg(test)]
mod tests;
