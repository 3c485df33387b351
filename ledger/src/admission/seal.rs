// SPDX-License-Identifier: EUPL-1.2
//! Entries sealed from the persons that they name, and their release.
//!
//! An access that is `deferred` or `hidden` folds into the list of its sealing authority alone, and so does a note that names persons on
//! such an entry, and an order to erase a person from it: under a person's ref nothing tells of it until a release, which stands in the
//! person's list itself. The authority releases at any time and whom it decides to. What was deferred, any node releases once its date has
//! come, and then to everybody whom nobody told yet: no institution can let a date pass unseen.

use alloc::{format, vec::Vec};

use super::{Signer, refuse};
use crate::{
    body::{
        Body, Common, Content, Reference,
        access::Visibility,
        system::{Erasure, Note, NoteOpens, Release},
    },
    bytes::state::StateKey,
    entry::Stop,
    hash::Hash,
    id::InstitutionId,
    key::KeyUse,
    number::EntryIndex,
    refusal::Refusal,
    state::{
        Draft, State,
        sealed::{self, SealedEntry},
    },
    time::{day_of, parse_date},
};

/// Who seals an entry, and until when.
pub(super) struct Seal {
    pub(super) authority: InstitutionId,
    due_ms: Option<u64>,
}

/// The seal of an entry, if it has one.
pub(super) fn find<S: State>(
    state: &Draft<'_, S>,
    body: &Body,
    vouched: bool,
) -> Result<Option<Seal>, Stop<S::Error>> {
    match &body.content {
        Content::Access(access) => Ok(of_visibility(&access.visibility, &body.common.institution)),
        Content::Note(note) if !note.subjects.is_empty() => {
            let Some(reference) = &body.common.refers_to else {
                return Ok(None);
            };
            let Some(target) = sealed::entry(state, reference.index)? else {
                return Ok(None);
            };
            let told = vouched && tells(note, &body.common, &target);
            Ok((!told).then_some(Seal {
                authority: target.authority,
                due_ms: target.due_ms,
            }))
        }
        Content::Erasure(order) => of_order(state, order),
        _ => Ok(None),
    }
}

/// An order about a person, under whose ref it would tell of a sealed entry, is sealed with it: of several, with the one that stays sealed
/// longest.
fn of_order<S: State>(
    state: &Draft<'_, S>,
    order: &Erasure,
) -> Result<Option<Seal>, Stop<S::Error>> {
    let Some(person) = order.subject.as_ref().and_then(|one| one.value) else {
        return Ok(None);
    };
    let mut longest: Option<Seal> = None;
    for entry in &order.entries {
        let target = sealed::entry(state, EntryIndex(*entry))?;
        let Some(target) = target.filter(|target| target.persons.contains(&person)) else {
            continue;
        };
        let until = |due_ms: Option<u64>| due_ms.unwrap_or(u64::MAX);
        if longest
            .as_ref()
            .is_none_or(|seal| until(seal.due_ms) < until(target.due_ms))
        {
            longest = Some(Seal {
                authority: target.authority,
                due_ms: target.due_ms,
            });
        }
    }
    Ok(longest)
}

fn of_visibility(visibility: &Visibility, institution: &InstitutionId) -> Option<Seal> {
    let due_ms = match visibility {
        Visibility::Visible => return None,
        // The date is real: the body was parsed. One that is not would be due at once.
        Visibility::Deferred { until, .. } => Some(parse_date(until).unwrap_or(0)),
        Visibility::Hidden { .. } => None,
    };
    Some(Seal {
        authority: named_authority(visibility).unwrap_or(institution).clone(),
        due_ms,
    })
}

/// The authority decides that the persons named may know that something is kept from them, and nothing more.
fn tells(note: &Note, common: &Common, target: &SealedEntry) -> bool {
    common.institution == target.authority && note.opens == [NoteOpens::Restriction]
}

/// The authority that an access names to seal it.
pub(super) fn named_authority(visibility: &Visibility) -> Option<&InstitutionId> {
    match visibility {
        Visibility::Visible => None,
        Visibility::Deferred { authority, .. } => authority.as_ref(),
        Visibility::Hidden { authority, .. } => Some(authority),
    }
}

/// Whether nodes sign, and no institution.
pub(super) fn by_node(signers: &[Signer]) -> bool {
    signers
        .iter()
        .any(|signer| signer.terms.key_use == KeyUse::Node)
}

/// A release names a sealed entry of its own authority, or one whose date has come, and persons not told yet.
pub(super) fn judge_release<S: State>(
    state: &Draft<'_, S>,
    release: &Release,
    common: &Common,
    signers: &[Signer],
    accepted_at_ms: u64,
) -> Result<(), Stop<S::Error>> {
    let wrong = || refuse(Refusal::RefersTo, &["envelope", "payload", "refersTo"]);
    let Some(reference) = &common.refers_to else {
        return wrong();
    };
    let Some(target) = sealed::entry(state, reference.index)? else {
        return wrong();
    };
    if target.leaf != reference.leaf {
        return wrong();
    }
    let may = if by_node(signers) {
        target.due_ms.is_some_and(|due| due <= accepted_at_ms)
    } else {
        target.authority == common.institution
    };
    if !may {
        return refuse(
            Refusal::NotAuthorised,
            &["envelope", "payload", "institution"],
        );
    }
    for (place, person) in release.subjects.iter().enumerate() {
        let sealed = |person| target.persons.binary_search(person).is_ok();
        if !person.value.as_ref().is_some_and(sealed) {
            let place = format!("{place}");
            return refuse(
                Refusal::Registry,
                &["envelope", "payload", "release", "subjects", &place],
            );
        }
    }
    // A node decides nothing: it leaves nobody out.
    if by_node(signers) && !rest(&target, release).is_empty() {
        return refuse(
            Refusal::Registry,
            &["envelope", "payload", "release", "subjects"],
        );
    }
    Ok(())
}

/// Who is still not told after a release.
fn rest(target: &SealedEntry, release: &Release) -> Vec<Hash> {
    let told: Vec<Hash> = release
        .subjects
        .iter()
        .filter_map(|person| person.value)
        .collect();
    let mut rest = target.persons.clone();
    rest.retain(|person| !told.contains(person));
    rest
}

/// Keeps who may not be told, and when the date comes.
pub(super) fn write<S: State>(
    draft: &mut Draft<'_, S>,
    body: &Body,
    seal: &Seal,
    at: &Reference,
    accepted_at_ms: u64,
) -> Result<(), Stop<S::Error>> {
    let mut persons: Vec<Hash> = match &body.content {
        Content::Access(access) => access
            .subjects
            .iter()
            .filter_map(|subject| subject.value.as_ref())
            .map(|subject| subject.person)
            .collect(),
        Content::Note(note) => note.subjects.iter().filter_map(|of| of.value).collect(),
        Content::Erasure(order) => order.subject.iter().filter_map(|of| of.value).collect(),
        _ => Vec::new(),
    };
    persons.sort_unstable();
    persons.dedup();
    if let Some(due_ms) = seal.due_ms {
        let day = day_of(due_ms.max(accepted_at_ms));
        draft.push(&sealed::due_list(day), at.index.0.to_be_bytes().to_vec())?;
    }
    let sealed = SealedEntry {
        leaf: at.leaf,
        authority: seal.authority.clone(),
        due_ms: seal.due_ms,
        persons,
    };
    draft.put(StateKey::sealed_entry(at.index), sealed.encode());
    Ok(())
}

/// Takes off who is told now.
pub(super) fn write_release<S: State>(
    draft: &mut Draft<'_, S>,
    release: &Release,
    common: &Common,
) -> Result<(), Stop<S::Error>> {
    let Some(reference) = &common.refers_to else {
        return Ok(());
    };
    let key = StateKey::sealed_entry(reference.index);
    let Some(mut target) = sealed::entry(draft, reference.index)? else {
        return Ok(());
    };
    target.persons = rest(&target, release);
    if target.persons.is_empty() {
        draft.remove(key);
    } else {
        draft.put(key, target.encode());
    }
    Ok(())
}
