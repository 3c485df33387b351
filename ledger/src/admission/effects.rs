// SPDX-License-Identifier: EUPL-1.2
//! What an accepted entry writes, beside what governance changes: ids, streams, exchanges, consents, links, and the rows of the index.

use alloc::{collections::BTreeSet, vec::Vec};

use super::{
    Row, RowKind,
    judge::{self, Judged},
    seal, sides,
};
use crate::{
    body::{
        Content, Disclosed, Reference, access::Access, access::SubjectRole, consent::Consent,
        consent::ConsentEvent, governance::Key, system::Link,
    },
    bytes::{
        self,
        state::{self, StateKey},
    },
    consent,
    entry::{SequencedEntry, Stop},
    erasure,
    hash::Hash,
    id::InstitutionId,
    number::TreeSize,
    retention,
    state::{
        Draft, State, read,
        registry::{self, LastStateRoot},
    },
};

pub(super) fn write<S: State>(
    draft: &mut Draft<'_, S>,
    entry: &SequencedEntry,
    judged: &Judged,
    at: &Reference,
) -> Result<(), Stop<S::Error>> {
    let body = entry.entry().body();
    let common = &body.common;
    draft.put(
        StateKey::entry_id(&common.institution, &common.id),
        state::entry_id(at.index, &judged.digest),
    );
    // What nobody vouches for must not move the institution's own numbers: anyone could make its next entry look forked.
    if judged.vouched {
        if let Some(place) = &common.stream {
            let key = StateKey::stream(&common.institution, &place.name);
            let last = read(draft, &key, state::decode_stream)?;
            if last.is_none_or(|(n, _)| place.n > n) {
                draft.put(
                    key,
                    state::stream(place.n, &bytes::stream_prev(entry.entry().pae())),
                );
            }
        }
        match &body.content {
            Content::Access(access) => {
                let accepted_at_ms = entry.meta().accepted_at_ms;
                sides::write_access(draft, access, common, at.index, accepted_at_ms)?;
            }
            Content::Note(note) => sides::write_note(draft, note, common)?,
            _ => {}
        }
    }
    if let Some(seal) = &judged.seal {
        let accepted_at_ms = entry.meta().accepted_at_ms;
        seal::write(draft, body, seal, at, accepted_at_ms)?;
    }
    match &body.content {
        Content::Release(release) => seal::write_release(draft, release, common),
        Content::Consent(consent) => write_consent(draft, consent, entry, at),
        Content::Household(household) => match household.household.value {
            Some(of) => retention::compose(
                draft,
                &of,
                at.index,
                household.valid_from_ms,
                entry.meta().accepted_at_ms,
            ),
            None => Ok(()),
        },
        Content::Link(link) => write_link(draft, link),
        Content::Erasure(order) => erasure::record(draft, order, entry, at.index),
        Content::Erased(erased) => erasure::record_done(draft, erased, entry, at.index),
        Content::StateRoot(root) => {
            let last = LastStateRoot {
                index: at.index,
                size: TreeSize(root.size),
                version: root.version,
                root: root.root,
            };
            draft.put(StateKey::state_root(), last.encode());
            Ok(())
        }
        _ => Ok(()),
    }
}

fn write_consent<S: State>(
    draft: &mut Draft<'_, S>,
    event: &Consent,
    entry: &SequencedEntry,
    at: &Reference,
) -> Result<(), Stop<S::Error>> {
    let accepted_at_ms = entry.meta().accepted_at_ms;
    if !consent::counts(event.event, entry.meta().findings) {
        return retention::cease(draft, at.index, accepted_at_ms);
    }
    let Some(person) = &event.subject.value else {
        return Ok(());
    };
    // Under the root, so that an auditor knows it of an erased entry too.
    let last = StateKey::consent(person, &event.record);
    if let Some(last) = read(draft, &last, state::decode_at)? {
        retention::cease(draft, last.index, accepted_at_ms)?;
    }
    let before = registry::consent(draft, person, &event.record)?;
    let after = consent::fold(before, event, at.index, accepted_at_ms);
    // What stands after a refusal or a withdrawal is the state's own to tell.
    let until_ms = match event.event {
        ConsentEvent::Refused | ConsentEvent::Withdrawn => Some(accepted_at_ms),
        ConsentEvent::Given | ConsentEvent::Renewed => after.valid_until_ms,
    };
    if let Some(until_ms) = until_ms {
        retention::cease(draft, at.index, until_ms.max(accepted_at_ms))?;
    }
    draft.put(
        StateKey::consent(person, &event.record),
        state::consent(at, event.event),
    );
    draft.put(
        StateKey::consent_fold(person, &event.record),
        after.encode(),
    );
    Ok(())
}

fn write_link<S: State>(draft: &mut Draft<'_, S>, link: &Link) -> Result<(), Stop<S::Error>> {
    let (Some(old), Some(new)) = (&link.old.value, &link.new.value) else {
        return Ok(());
    };
    let refs = judge::joined(draft, old, new)?;
    for own in &refs {
        let others: Vec<&[u8]> = refs
            .iter()
            .filter(|other| *other != own)
            .map(|other| other.as_bytes().as_slice())
            .collect();
        draft.put(StateKey::link(own), others.concat());
    }
    Ok(())
}

/// The lists that the entry belongs to, each once.
pub(super) fn rows(entry: &SequencedEntry, judged: &Judged) -> Vec<Row> {
    let body = entry.entry().body();
    let mut rows: BTreeSet<Row> = BTreeSet::new();
    rows.insert(Row::entry_type(body.content.entry_type()));
    rows.insert(Row::institution(&body.common.institution));
    rows.extend(
        judged
            .signers
            .iter()
            .map(|signer| Row::institution(&signer.terms.institution)),
    );
    rows.extend(entry.meta().findings.iter().map(Row::finding));
    if !entry.meta().findings.is_covered() {
        rows.insert(Row::any_finding());
    }
    if let Some(seal) = &judged.seal {
        // Folds into the list of who sealed it alone: until a release nothing under a person's ref tells of it.
        rows.insert(Row {
            kind: RowKind::Sealed,
            of: bytes::sealed_ref(&seal.authority),
        });
    }
    match &body.content {
        Content::Access(access) => access_rows(access, judged.seal.is_some(), &mut rows),
        Content::Consent(consent) => {
            let recipients = consent
                .recipients
                .iter()
                .flatten()
                .filter_map(|recipient| InstitutionId::parse(recipient));
            rows.extend(recipients.map(|recipient| Row::institution(&recipient)));
            if let Some(person) = consent.subject.value {
                rows.extend([subject(person), Row::consent(&person, &consent.record)]);
            }
        }
        Content::Household(household) => {
            rows.extend(household.household.value.map(|of| Row {
                kind: RowKind::Household,
                of,
            }));
            rows.extend(
                household
                    .members
                    .iter()
                    .filter_map(|member| member.value.as_ref())
                    .map(|member| subject(member.person)),
            );
        }
        Content::Note(note) => {
            let on = body.common.refers_to.as_ref();
            rows.extend(on.map(|reference| Row::note_on(reference.index)));
            // A note on a sealed entry is sealed with it.
            if judged.seal.is_none() {
                rows.extend(subjects(&note.subjects));
            }
        }
        Content::Read(read) => {
            rows.insert(Row::institution(&read.institution));
            rows.extend(subjects(&read.subjects));
        }
        Content::Disclosure(disclosure) => {
            rows.insert(Row::institution(&disclosure.institution));
            rows.extend(subjects(&disclosure.subjects));
        }
        Content::Release(release) => rows.extend(subjects(&release.subjects)),
        Content::Erasure(erasure) => {
            // An order about a sealed entry is sealed with it.
            if judged.seal.is_none() {
                let person = erasure.subject.iter().filter_map(|one| one.value);
                rows.extend(person.map(subject));
            }
        }
        Content::Link(link) => rows.extend(
            [&link.old, &link.new]
                .into_iter()
                .filter_map(|of| of.value)
                .map(subject),
        ),
        Content::Institution(institution) => {
            rows.insert(Row::institution(&institution.institution));
        }
        Content::Key(Key::Registered { key } | Key::Rotated { key, .. }) => {
            rows.insert(Row::institution(&key.institution));
        }
        Content::Role(role) => {
            rows.insert(Row::institution(&role.institution));
        }
        Content::Delegation(delegation) => {
            rows.extend([
                Row::institution(&delegation.controller),
                Row::institution(&delegation.submitter),
            ]);
        }
        Content::Node(node) => {
            rows.insert(Row::institution(&node.institution));
        }
        Content::Genesis(genesis) => {
            rows.extend(
                genesis
                    .institutions
                    .iter()
                    .map(|institution| Row::institution(&institution.institution)),
            );
        }
        Content::Key(Key::Revoked { .. })
        | Content::Policy(_)
        | Content::Rules(_)
        | Content::Erased(_)
        | Content::StateRoot(_) => {}
    }
    rows.into_iter().collect()
}

fn access_rows(access: &Access, sealed: bool, rows: &mut BTreeSet<Row>) {
    rows.extend([
        Row::institution(&access.consumer),
        Row::institution(&access.provider),
        Row::exchange(&access.exchange),
    ]);
    rows.extend(
        access
            .user_id
            .value
            .as_ref()
            .map(|user_id| Row::operator(&access.consumer, user_id)),
    );
    if sealed {
        return;
    }
    for person in access
        .subjects
        .iter()
        .filter_map(|subject| subject.value.as_ref())
    {
        rows.insert(subject(person.person));
        if person.role == SubjectRole::Target {
            rows.extend(
                access
                    .consent_refs
                    .iter()
                    .map(|record| Row::consent_use(&person.person, record)),
            );
        }
    }
}

fn subjects(disclosed: &[Disclosed<Hash>]) -> impl Iterator<Item = Row> {
    disclosed
        .iter()
        .filter_map(|person| person.value)
        .map(subject)
}

fn subject(of: Hash) -> Row {
    Row {
        kind: RowKind::Subject,
        of,
    }
}
