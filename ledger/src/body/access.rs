// SPDX-License-Identifier: EUPL-1.2
//! `access`, type 2: one side's word on a cross-institution access.

use alloc::{string::String, vec::Vec};

use super::Disclosed;
use crate::{hash::Hash, id::InstitutionId};

/// One side's word on an access to the data of 1 to 200 subjects.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    /// Which side signs.
    pub side: Side,
    /// 16 random bytes drawn by the consumer; joins the two sides.
    pub exchange: [u8; 16],
    /// Who asked.
    pub consumer: InstitutionId,
    /// The consumer's client at PDND.
    pub consumer_client_id: Option<String>,
    /// Who answered.
    pub provider: InstitutionId,
    /// What was called.
    pub eservice: EService,
    /// The consumer's own id of the person who caused the request (ModI `userID`).
    pub user_id: Disclosed<String>,
    /// Role of that person.
    pub user_role: String,
    /// Workstation (ModI `userLocation`).
    pub user_location: Disclosed<String>,
    /// Level of assurance of that person's login.
    pub loa: Option<String>,
    /// PDND purpose (UUID).
    pub purpose_id: Option<String>,
    /// Purpose, a CURIE.
    pub purpose: String,
    /// Legal basis, a CURIE.
    pub legal_basis: String,
    /// The rule of law, in words.
    pub legal_reference: Option<String>,
    /// Reason in plain Italian.
    pub reason: Disclosed<String>,
    /// The case that the access serves.
    pub case_ref: Option<Disclosed<CaseRef>>,
    /// Consent records that the access rests on.
    pub consent_refs: Vec<String>,
    /// What was done.
    pub action: Action,
    /// How it ended, the signer's word.
    pub outcome: String,
    /// HTTP status of the answer.
    pub status_code: Option<u64>,
    /// Data categories, CURIEs.
    pub data_categories: Vec<String>,
    /// PDND personal data types.
    pub personal_data_types: Vec<String>,
    /// Whose data, 1 to 200.
    pub subjects: Vec<Disclosed<AccessSubject>>,
    /// Part k of n of a larger query of one exchange.
    pub part: Option<Part>,
    /// How many records were returned.
    pub result_count: Option<u64>,
    /// Break-glass.
    pub emergency: Option<Emergency>,
    /// Who may be told.
    pub visibility: Visibility,
    /// Traces of the call itself.
    pub evidence: Option<Evidence>,
}

/// Which side of the exchange an `access` entry speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Side {
    Consumer,
    Provider,
}

/// What was done with the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Action {
    Read,
    Query,
    Disclose,
    Export,
    Update,
}

/// The e-service called, as PDND's catalogue names it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct EService {
    pub eservice_id: String,
    pub descriptor_id: Option<String>,
    pub name: Option<String>,
    pub version: Option<String>,
    pub operation: Option<String>,
}

/// The case that an access serves (INPS: *Protocollo domanda ente erogatore*).
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct CaseRef {
    pub protocollo: String,
    pub prestazione: Option<String>,
    pub stato: Option<String>,
}

/// A person whose data an access touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessSubject {
    /// Pseudonym.
    pub person: Hash,
    /// Asked for, or met in the answer.
    pub role: SubjectRole,
    /// Relation to the target, the signer's word.
    pub relation: Option<String>,
}

/// Whether a person was asked for or met in the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum SubjectRole {
    Target,
    Incidental,
}

/// Part `k` of `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Part {
    pub k: u64,
    pub n: u64,
}

/// Break-glass: why, and until when in milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Emergency {
    pub reason: String,
    pub until_ms: u64,
}

/// Who may be told of an access.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Visibility {
    Visible,
    /// Told from a date (`YYYY-MM-DD`) on.
    Deferred {
        until: String,
        legal_reference: String,
        authority: Option<InstitutionId>,
    },
    Hidden {
        legal_reference: String,
        authority: InstitutionId,
    },
}

/// Traces of the call itself, each optional.
#[derive(Clone, Debug, PartialEq, Default)]
#[allow(missing_docs)]
pub struct Evidence {
    pub tracking_evidence_digest: Option<Hash>,
    pub voucher_jti: Option<String>,
    pub request_digest: Option<Hash>,
    pub response_digest: Option<Hash>,
    pub correlation_id: Option<String>,
    pub traceparent: Option<String>,
    pub jws: Option<Disclosed<String>>,
    pub jwk_thumbprint: Option<Hash>,
}
