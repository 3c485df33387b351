// SPDX-License-Identifier: EUPL-1.2
//! The findings of an entry, from state and rule set alone.

use alloc::string::String;

use super::{judge::use_of, seal::named_authority, sides};
use crate::{
    body::{
        Body, Common, Content,
        access::{Access, SubjectRole},
    },
    bytes::state::{self, StateKey},
    consent::{ConsentState, Use},
    entry::Stop,
    finding::{Finding, Findings},
    hash::Hash,
    key::KeyUse,
    rules::{Needs, RuleSet},
    state::{Draft, State, read, registry},
};

/// Everything that is wrong with an entry that is recorded all the same.
pub(super) fn find<S: State>(
    state: &Draft<'_, S>,
    body: &Body,
    vouched: bool,
    set: &RuleSet,
    accepted_at_ms: u64,
) -> Result<Findings, Stop<S::Error>> {
    let mut findings = Findings::COVERED;
    if !vouched {
        findings.insert(Finding::DelegationMissing);
    }
    if use_of(body.content.entry_type()) == KeyUse::Entry {
        findings = findings.union(find_time(&body.common, set, accepted_at_ms));
    }
    if let Some(place) = &body.common.stream
        && vouched
    {
        let last = read(
            state,
            &StateKey::stream(&body.common.institution, &place.name),
            state::decode_stream,
        )?;
        let (n, prev) = last.unwrap_or((0, Hash::ZERO));
        if place.n > n.saturating_add(1) {
            findings.insert(Finding::StreamGap);
        } else if place.n <= n || place.prev != prev {
            findings.insert(Finding::StreamFork);
        }
    }
    if let Content::Access(access) = &body.content {
        findings = findings.union(find_access(
            state,
            access,
            &body.common,
            set,
            accepted_at_ms,
        )?);
    }
    Ok(findings)
}

fn find_time(common: &Common, set: &RuleSet, accepted_at_ms: u64) -> Findings {
    let mut findings = Findings::COVERED;
    if accepted_at_ms.saturating_sub(common.occurred_at_ms) > set.late_after_ms {
        findings.insert(Finding::Late);
    }
    let named_at_ms = common.id.time_ms();
    let ahead = common
        .occurred_at_ms
        .max(named_at_ms)
        .saturating_sub(accepted_at_ms)
        > set.clock_ahead_ms;
    let before_it_happened =
        common.occurred_at_ms.saturating_sub(named_at_ms) > set.clock_id_behind_ms;
    if ahead || before_it_happened {
        findings.insert(Finding::Clock);
    }
    findings
}

fn find_access<S: State>(
    state: &Draft<'_, S>,
    access: &Access,
    common: &Common,
    set: &RuleSet,
    accepted_at_ms: u64,
) -> Result<Findings, Stop<S::Error>> {
    let mut findings = Findings::COVERED;
    let purpose = set.purpose(&access.purpose);
    let mut allowed = false;
    if let Some(rule) = purpose {
        allowed = rule.roles.is_empty();
        for role in rule.roles {
            allowed = allowed || registry::has_role(state, &access.consumer, role)?;
        }
    }
    if !allowed {
        findings.insert(Finding::PurposeNotAllowed);
    }
    if access.case_ref.is_none() && purpose.is_none_or(|rule| rule.case) {
        findings.insert(Finding::NoCase);
    }
    match set.basis(access) {
        None => findings.insert(Finding::LegalBasisInvalid),
        Some(Needs::Consent) => findings = findings.union(find_consents(state, access, common)?),
        Some(Needs::Reference | Needs::Emergency | Needs::Nothing) => {}
    }
    // Who seals an entry from the persons named must be one that may decide so.
    if let Some(authority) = named_authority(&access.visibility)
        && !registry::has_role(state, authority, "authority")?
    {
        findings.insert(Finding::LegalBasisInvalid);
    }
    if access.emergency.is_some() {
        findings.insert(Finding::Emergency);
    }
    if sides::is_again(state, access, accepted_at_ms)? {
        findings.insert(Finding::ExchangeAgain);
    }
    Ok(findings)
}

/// A consent of **each** target subject that is given, in scope and in time, as known at this index.
fn find_consents<S: State>(
    state: &Draft<'_, S>,
    access: &Access,
    common: &Common,
) -> Result<Findings, Stop<S::Error>> {
    let wanted = Use {
        purpose: &access.purpose,
        recipient: access.consumer.as_str(),
        data_categories: &access.data_categories,
        at_ms: common.occurred_at_ms,
    };
    let mut findings = Findings::COVERED;
    for subject in access
        .subjects
        .iter()
        .filter_map(|subject| subject.value.as_ref())
    {
        if subject.role == SubjectRole::Target {
            findings = findings.union(find_consent_of(
                state,
                &subject.person,
                &access.consent_refs,
                &wanted,
            )?);
        }
    }
    Ok(findings)
}

/// What is wrong with a person's consents; nothing, if one of the records covers the use.
fn find_consent_of<S: State>(
    state: &Draft<'_, S>,
    person: &Hash,
    records: &[String],
    wanted: &Use<'_>,
) -> Result<Findings, Stop<S::Error>> {
    let mut refs = registry::linked(state, person)?;
    refs.push(*person);
    let mut findings = Findings::COVERED;
    for record in records {
        // One record of one person, whatever ref an event came under: the last one counts.
        let mut last: Option<ConsentState> = None;
        for person in &refs {
            let known = registry::consent(state, person, record)?;
            last = last
                .into_iter()
                .chain(known)
                .max_by_key(|consent| consent.index);
        }
        match last.map(|consent| consent.covers(wanted)) {
            Some(Ok(())) => return Ok(Findings::COVERED),
            Some(Err(Finding::ConsentMissing)) | None => {}
            Some(Err(finding)) => findings.insert(finding),
        }
    }
    // Only where nothing more telling is known.
    if findings.is_covered() {
        findings.insert(Finding::ConsentMissing);
    }
    Ok(findings)
}
