// SPDX-License-Identifier: EUPL-1.2
//! `access`, type 2: one side's word on a cross-institution access.

use alloc::{string::String, vec::Vec};

use super::{
    Disclosed,
    disclosed::{DisclosedValue, Slots, one, some},
    members::{
        Members, Writer, count, date, digest, fixed, institution, list, text, timestamp, true_only,
        words,
    },
};
use crate::{
    base64,
    hash::Hash,
    id::InstitutionId,
    json::Value,
    refusal::{Refusal, Refused},
    time::format_timestamp,
};

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

words! {
    /// Which side of the exchange an `access` entry speaks for.
    Side { Consumer "consumer", Provider "provider" }
}

words! {
    /// What was done with the data.
    Action { Read "read", Query "query", Disclose "disclose", Export "export", Update "update" }
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

words! {
    /// Whether a person was asked for or met in the answer.
    SubjectRole { Target "target", Incidental "incidental" }
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

impl Access {
    pub(super) fn parse(value: &Value<'_>, slots: &mut Slots<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let (consumer, consumer_client_id) = m.required("consumer", |value| {
            let mut m = Members::open(value)?;
            let consumer = (
                m.required("institution", institution)?,
                m.optional("clientId", text)?,
            );
            m.close(consumer)
        })?;
        let access = Self {
            side: m.required("side", |value| words(value, Side::parse))?,
            exchange: m.required("exchange", fixed)?,
            consumer,
            consumer_client_id,
            provider: m.required("provider", |value| {
                let mut m = Members::open(value)?;
                let provider = m.required("institution", institution)?;
                m.close(provider)
            })?,
            eservice: m.required("eservice", EService::parse)?,
            user_id: m.required("userID", |value| one(value, slots))?,
            user_role: m.required("userRole", text)?,
            user_location: m.required("userLocation", |value| one(value, slots))?,
            loa: m.optional("loa", text)?,
            purpose_id: m.optional("purposeId", text)?,
            purpose: m.required("purpose", text)?,
            legal_basis: m.required("legalBasis", text)?,
            legal_reference: m.optional("legalReference", text)?,
            reason: m.required("reason", |value| one(value, slots))?,
            case_ref: m.optional("caseRef", |value| one(value, slots))?,
            consent_refs: m
                .optional("consentRefs", |value| list(value, text))?
                .unwrap_or_default(),
            action: m.required("action", |value| words(value, Action::parse))?,
            outcome: m.required("outcome", text)?,
            status_code: m.optional("statusCode", count)?,
            data_categories: m.required("dataCategories", |value| list(value, text))?,
            personal_data_types: m
                .optional("personalDataTypes", |value| list(value, text))?
                .unwrap_or_default(),
            subjects: m.required("subjects", |value| some(value, slots))?,
            part: m.optional("part", |value| {
                let mut m = Members::open(value)?;
                let part = Part {
                    k: m.required("k", count)?,
                    n: m.required("n", count)?,
                };
                m.close(part)
            })?,
            result_count: m.optional("resultCount", count)?,
            emergency: m.optional("emergency", |value| {
                let mut m = Members::open(value)?;
                let emergency = Emergency {
                    reason: m.required("reason", text)?,
                    until_ms: m.required("until", timestamp)?,
                };
                m.close(emergency)
            })?,
            visibility: m
                .optional("visibility", Visibility::parse)?
                .unwrap_or(Visibility::Visible),
            evidence: m.optional("evidence", |value| Evidence::parse(value, slots))?,
        };
        m.close(access)
    }

    pub(super) fn to_value(&self) -> Value<'_> {
        let mut w = Writer::new();
        w.put("side", self.side.as_str());
        w.put("exchange", base64::url_encode(&self.exchange));
        let mut consumer = Writer::new();
        consumer.put("institution", &self.consumer);
        consumer.put("clientId", &self.consumer_client_id);
        w.put("consumer", consumer);
        let mut provider = Writer::new();
        provider.put("institution", &self.provider);
        w.put("provider", provider);
        w.put("eservice", self.eservice.writer());
        w.put("userID", &self.user_id);
        w.put("userRole", &self.user_role);
        w.put("userLocation", &self.user_location);
        w.put("loa", &self.loa);
        w.put("purposeId", &self.purpose_id);
        w.put("purpose", &self.purpose);
        w.put("legalBasis", &self.legal_basis);
        w.put("legalReference", &self.legal_reference);
        w.put("reason", &self.reason);
        w.put("caseRef", &self.case_ref);
        w.put_some("consentRefs", &self.consent_refs);
        w.put("action", self.action.as_str());
        w.put("outcome", &self.outcome);
        w.put("statusCode", self.status_code);
        w.put("dataCategories", &self.data_categories);
        w.put_some("personalDataTypes", &self.personal_data_types);
        w.put("subjects", &self.subjects);
        w.put(
            "part",
            self.part.map(|part| {
                let mut w = Writer::new();
                w.put("k", part.k);
                w.put("n", part.n);
                w
            }),
        );
        w.put("resultCount", self.result_count);
        w.put(
            "emergency",
            self.emergency.as_ref().map(|emergency| {
                let mut w = Writer::new();
                w.put("reason", &emergency.reason);
                w.put("until", format_timestamp(emergency.until_ms));
                w
            }),
        );
        w.put("visibility", self.visibility.writer());
        w.put("evidence", self.evidence.as_ref().map(Evidence::writer));
        w.into()
    }
}

impl EService {
    fn parse(value: &Value<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let eservice = Self {
            eservice_id: m.required("eserviceId", text)?,
            descriptor_id: m.optional("descriptorId", text)?,
            name: m.optional("name", text)?,
            version: m.optional("version", text)?,
            operation: m.optional("operation", text)?,
        };
        m.close(eservice)
    }

    fn writer(&self) -> Writer<'_> {
        let mut w = Writer::new();
        w.put("eserviceId", &self.eservice_id);
        w.put("descriptorId", &self.descriptor_id);
        w.put("name", &self.name);
        w.put("version", &self.version);
        w.put("operation", &self.operation);
        w
    }
}

impl Visibility {
    fn parse(value: &Value<'_>) -> Result<Self, Refused> {
        if let Value::Text(word) = value {
            return if word == "visible" {
                Ok(Visibility::Visible)
            } else {
                Err(Refusal::Members.into())
            };
        }
        let mut m = Members::open(value)?;
        let visibility = if value.member("hidden").is_some() {
            m.required("hidden", true_only)?;
            Visibility::Hidden {
                legal_reference: m.required("legalReference", text)?,
                authority: m.required("authority", institution)?,
            }
        } else {
            Visibility::Deferred {
                until: m.required("deferred", date)?,
                legal_reference: m.required("legalReference", text)?,
                authority: m.optional("authority", institution)?,
            }
        };
        m.close(visibility)
    }

    /// The rule of law under which an access is kept from the persons named.
    pub fn legal_reference(&self) -> Option<&str> {
        match self {
            Visibility::Visible => None,
            Visibility::Deferred {
                legal_reference, ..
            }
            | Visibility::Hidden {
                legal_reference, ..
            } => Some(legal_reference),
        }
    }

    /// `None` for the default.
    fn writer(&self) -> Option<Writer<'_>> {
        let mut w = Writer::new();
        match self {
            Visibility::Visible => return None,
            Visibility::Deferred {
                until,
                legal_reference,
                authority,
            } => {
                w.put("deferred", until);
                w.put("legalReference", legal_reference);
                w.put("authority", authority);
            }
            Visibility::Hidden {
                legal_reference,
                authority,
            } => {
                w.put("hidden", true);
                w.put("legalReference", legal_reference);
                w.put("authority", authority);
            }
        }
        Some(w)
    }
}

impl Evidence {
    fn parse(value: &Value<'_>, slots: &mut Slots<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let evidence = Self {
            tracking_evidence_digest: m.optional("trackingEvidenceDigest", digest)?,
            voucher_jti: m.optional("voucherJti", text)?,
            request_digest: m.optional("requestDigest", digest)?,
            response_digest: m.optional("responseDigest", digest)?,
            correlation_id: m.optional("correlationId", text)?,
            traceparent: m.optional("traceparent", text)?,
            jws: m.optional("jws", |value| one(value, slots))?,
            jwk_thumbprint: m.optional("jwkThumbprint", digest)?,
        };
        m.close(evidence)
    }

    fn writer(&self) -> Writer<'_> {
        let mut w = Writer::new();
        w.put("trackingEvidenceDigest", self.tracking_evidence_digest);
        w.put("voucherJti", &self.voucher_jti);
        w.put("requestDigest", self.request_digest);
        w.put("responseDigest", self.response_digest);
        w.put("correlationId", &self.correlation_id);
        w.put("traceparent", &self.traceparent);
        w.put("jws", &self.jws);
        w.put("jwkThumbprint", self.jwk_thumbprint);
        w
    }
}

impl DisclosedValue for CaseRef {
    fn parse(value: &Value<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let case = Self {
            protocollo: m.required("protocollo", text)?,
            prestazione: m.optional("prestazione", text)?,
            stato: m.optional("stato", text)?,
        };
        m.close(case)
    }

    fn to_value(&self) -> Value<'_> {
        let mut w = Writer::new();
        w.put("protocollo", &self.protocollo);
        w.put("prestazione", &self.prestazione);
        w.put("stato", &self.stato);
        w.into()
    }
}

impl DisclosedValue for AccessSubject {
    fn parse(value: &Value<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let subject = Self {
            person: m.required("ref", digest)?,
            role: m.required("role", |value| words(value, SubjectRole::parse))?,
            relation: m.optional("relation", text)?,
        };
        m.close(subject)
    }

    fn to_value(&self) -> Value<'_> {
        let mut w = Writer::new();
        w.put("ref", self.person);
        w.put("role", self.role.as_str());
        w.put("relation", &self.relation);
        w.into()
    }
}
