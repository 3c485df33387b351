// SPDX-License-Identifier: BSD-3-Clause
//! The provider's own side of an access: what the consumer's entry says, and what was answered.

use std::collections::BTreeSet;

use ledger::{
    body::{
        Disclosed,
        access::{AccessSubject, Side, SubjectRole},
    },
    entry::SubmittedEntry,
    hash::Hash,
    id::EntryId,
    key::SigningKey,
};

use super::{Answer, Covered, Reason, Rules};
use crate::build::{Draft, Head, Plain, PlainAccess, PlainEvidence};

/// Writes and signs the provider's side. Persons are those whom the call asked for, and those whom the answer names besides.
///
/// # Errors
/// [`Reason::Broken`] where the system has no randomness, [`Reason::EntryMalformed`] where it does not fit into an entry,
/// [`Reason::AnswerPersons`] where it names more persons than one entry can.
pub(super) fn write(
    covered: &Covered,
    answer: &Answer,
    rules: &Rules,
    key: &SigningKey,
    now_ms: u64,
) -> Result<(EntryId, SubmittedEntry), Reason> {
    let access = covered.access().ok_or(Reason::EntryMalformed)?;
    let subject = |person: &Hash, role| AccessSubject {
        person: *person,
        role,
        relation: None,
    };
    let targets = covered
        .subjects
        .iter()
        .map(|person| subject(person, SubjectRole::Target));
    let mut known: BTreeSet<&Hash> = covered.subjects.iter().collect();
    let met = answer
        .incidental
        .iter()
        .filter(|person| known.insert(person))
        .map(|person| subject(person, SubjectRole::Incidental));
    let subjects: Vec<AccessSubject> = targets.chain(met).collect();
    // Whoever is not on record must not be in an answer that leaves.
    if subjects.len() > SUBJECTS_MAX {
        return Err(Reason::AnswerPersons);
    }
    let evidence = access.evidence.as_ref();
    let plain = PlainAccess {
        side: Side::Provider,
        exchange: access.exchange,
        consumer: access.consumer.clone(),
        consumer_client_id: access.consumer_client_id.clone(),
        provider: access.provider.clone(),
        eservice: access.eservice.clone(),
        user_id: told(&access.user_id),
        user_role: access.user_role.clone(),
        user_location: told(&access.user_location),
        loa: access.loa.clone(),
        purpose_id: access.purpose_id.clone(),
        purpose: access.purpose.clone(),
        legal_basis: access.legal_basis.clone(),
        legal_reference: access.legal_reference.clone(),
        reason: told(&access.reason),
        case_ref: access.case_ref.as_ref().and_then(|it| it.value.clone()),
        consent_refs: access.consent_refs.clone(),
        action: access.action,
        outcome: answer.outcome().to_owned(),
        status_code: Some(u64::from(answer.status)),
        data_categories: access.data_categories.clone(),
        personal_data_types: access.personal_data_types.clone(),
        subjects,
        part: access.part,
        result_count: answer.result_count,
        emergency: access.emergency.clone(),
        // Both sides fold into the same lists: what the consumer may not tell, the provider does not tell either.
        visibility: access.visibility.clone(),
        evidence: Some(PlainEvidence {
            tracking_evidence_digest: evidence.and_then(|it| it.tracking_evidence_digest),
            voucher_jti: evidence.and_then(|it| it.voucher_jti.clone()),
            request_digest: evidence.and_then(|it| it.request_digest),
            response_digest: answer.response_digest,
            correlation_id: evidence.and_then(|it| it.correlation_id.clone()),
            traceparent: evidence.and_then(|it| it.traceparent.clone()),
            ..PlainEvidence::default()
        }),
    };
    let head = Head::new(&rules.ledger, &rules.provider, now_ms);
    let draft = Draft::new(head, Plain::Access(Box::new(plain)), now_ms);
    let entry = draft
        .map_err(|_| Reason::Broken)?
        .sign(&[key])
        .map_err(|_| Reason::EntryMalformed)?;
    let body = ledger::body::Body::parse(entry.payload(), entry.disclosures());
    let id = body.map_err(|_| Reason::EntryMalformed)?.common.id;
    Ok((id, entry))
}

/// What the consumer disclosed to the provider, or that it did not.
fn told(value: &Disclosed<String>) -> String {
    value
        .value
        .clone()
        .unwrap_or_else(|| NOT_DISCLOSED.to_owned())
}

/// Stands in the provider's side for what the consumer kept to itself.
const NOT_DISCLOSED: &str = "not-disclosed";
/// An entry's most.
const SUBJECTS_MAX: usize = 200;
