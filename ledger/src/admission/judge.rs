// SPDX-License-Identifier: EUPL-1.2
//! The decision: refused, known, or new with findings. Reads alone; the order of the checks is that of [`Refusal`].

use alloc::{collections::BTreeSet, format, vec::Vec};

use super::{
    CONSENT_READS_MAX, LINKED_REFS_MAX, Signer, find, refuse,
    seal::{self, Seal},
};
use crate::{
    body::{
        Body, Common, Content, EntryType,
        access::{Access, Side, SubjectRole},
        governance::Key,
        household::HouseholdKind,
        system::Erasure,
    },
    bytes::state::{self, StateKey},
    entry::{Stop, VerifiedEntry},
    erasure,
    finding::Findings,
    governance,
    hash::Hash,
    id::{InstitutionId, KeyId},
    key::KeyUse,
    number::EntryIndex,
    oprf::LinkProof,
    refusal::Refusal,
    retention::CUT_AGAIN_MS,
    rules::rule_set,
    state::{Draft, State, StateError, read, registry},
    state_map,
    time::refuse_ahead,
};

/// What judging an entry comes to, where it is not refused.
pub(super) enum Judgement {
    /// The same entry stands there already.
    Known(EntryIndex),
    /// It takes its place.
    New(Judged),
}

/// An entry that takes its place.
pub(super) struct Judged {
    pub(super) signers: Vec<Signer>,
    /// A key entry signed by the key that it replaces or revokes.
    pub(super) alone: bool,
    /// Someone who may speak for the institution signed: what is said moves the institution's own state.
    pub(super) vouched: bool,
    /// What tells this entry from another with the same id.
    pub(super) digest: Hash,
    pub(super) rules: u16,
    pub(super) findings: Findings,
    /// The persons named may not be told of it.
    pub(super) seal: Option<Seal>,
}

/// The use that a key must have to sign entries of a type.
pub fn use_of(entry_type: EntryType) -> KeyUse {
    match entry_type {
        EntryType::Access
        | EntryType::Consent
        | EntryType::Household
        | EntryType::Note
        | EntryType::Erasure
        | EntryType::Release
        | EntryType::Link => KeyUse::Entry,
        EntryType::Genesis
        | EntryType::Institution
        | EntryType::Key
        | EntryType::Role
        | EntryType::Delegation
        | EntryType::Node
        | EntryType::Policy
        | EntryType::Rules => KeyUse::Governance,
        EntryType::Read | EntryType::Disclosure | EntryType::Erased | EntryType::StateRoot => {
            KeyUse::Node
        }
    }
}

/// Whether a content is one that k of n sign after genesis.
pub(super) fn is_governance(content: &Content) -> bool {
    use_of(content.entry_type()) == KeyUse::Governance && !matches!(content, Content::Genesis(_))
}

pub(super) fn judge<S: State>(
    state: &Draft<'_, S>,
    entry: &VerifiedEntry,
    index: EntryIndex,
    accepted_at_ms: u64,
) -> Result<Judgement, Stop<S::Error>> {
    let body = entry.body();
    judge_bounds(&body.content)?;
    let ids: Vec<KeyId> = entry.signers().collect();
    let signers = find_signers(state, &body.content, &ids)?;
    // The window before the ids: whether an id that left the window was deleted yet must not change an answer.
    if let Err(refusal) = body.common.id.refuse_outside_window(accepted_at_ms) {
        return refuse(refusal, &common_pointer("id"));
    }
    let digest = state::entry_digest(entry.pae(), &ids);
    // An entry sent again gets its first receipt even where its key has ended since.
    match read(
        state,
        &StateKey::entry_id(&body.common.institution, &body.common.id),
        state::decode_entry_id,
    )? {
        Some((index, known)) if known == digest => return Ok(Judgement::Known(index)),
        Some(_) => return refuse(Refusal::IdUsed, &common_pointer("id")),
        None => {}
    }
    if let Err(refusal) = refuse_ahead(body.common.occurred_at_ms, accepted_at_ms) {
        return refuse(refusal, &common_pointer("occurredAt"));
    }
    let alone = signs_alone(&body.content, &ids);
    judge_keys(&signers, alone, body.content.entry_type(), index)?;
    if let Content::Genesis(genesis) = &body.content {
        // What else a genesis must be, `governance::found` asks.
        if index.0 != 0 || registry::governance(state)?.is_some() {
            return refuse(Refusal::Genesis, &common_pointer("type"));
        }
        return Ok(Judgement::New(Judged {
            signers,
            alone,
            vouched: true,
            digest,
            rules: genesis.rules,
            findings: Findings::COVERED,
            seal: None,
        }));
    }
    let vouched = judge_institutions(state, &body.common, &signers)?;
    let at = (index, accepted_at_ms);
    judge_right(state, body, &signers, vouched, alone, at)?;
    if let Content::Release(release) = &body.content {
        seal::judge_release(state, release, &body.common, &signers, accepted_at_ms)?;
    }
    let Some(rules) = registry::rules(state)? else {
        return refuse(Refusal::Genesis, &common_pointer("type"));
    };
    let set = rule_set(rules).ok_or(StateError::UnknownRules(rules))?;
    let findings = find::find(state, body, vouched, set, accepted_at_ms)?;
    let seal = seal::find(state, body, vouched)?;
    Ok(Judgement::New(Judged {
        signers,
        alone,
        vouched,
        digest,
        rules,
        findings,
        seal,
    }))
}

fn find_signers<S: State>(
    state: &Draft<'_, S>,
    content: &Content,
    ids: &[KeyId],
) -> Result<Vec<Signer>, Stop<S::Error>> {
    if let Content::Genesis(genesis) = content {
        return governance::genesis_signers(genesis, ids);
    }
    let mut signers = Vec::with_capacity(ids.len());
    for (place, id) in ids.iter().enumerate() {
        match registry::key_terms(state, id)? {
            Some(terms) => signers.push(Signer { id: *id, terms }),
            None => return refuse(Refusal::KeyUnknown, &signer_pointer(&format!("{place}"))),
        }
    }
    Ok(signers)
}

/// A key may replace or revoke itself, whatever its use; then its signature is the only one.
fn signs_alone(content: &Content, ids: &[KeyId]) -> bool {
    let itself = match content {
        Content::Key(Key::Rotated { replaces, .. }) => replaces,
        Content::Key(Key::Revoked { key_id, .. }) => key_id,
        _ => return false,
    };
    ids == [*itself]
}

fn judge_keys<E>(
    signers: &[Signer],
    alone: bool,
    entry_type: EntryType,
    index: EntryIndex,
) -> Result<(), Stop<E>> {
    for (place, signer) in signers.iter().enumerate() {
        if !signer.terms.in_force_at(index) {
            return refuse(Refusal::KeyNotInForce, &signer_pointer(&format!("{place}")));
        }
    }
    for (place, signer) in signers.iter().enumerate() {
        if !alone && !may_sign(signer.terms.key_use, entry_type) {
            return refuse(Refusal::KeyUse, &signer_pointer(&format!("{place}")));
        }
    }
    Ok(())
}

/// Whether a key of this use may sign entries of a type. What was sealed until a date, a node releases in nobody else's name when the date
/// has come.
pub fn may_sign(key_use: KeyUse, entry_type: EntryType) -> bool {
    key_use == use_of(entry_type) || (key_use == KeyUse::Node && entry_type == EntryType::Release)
}

/// The institution named and those of the signers take part. Answers whether one of the signers may speak for it.
fn judge_institutions<S: State>(
    state: &Draft<'_, S>,
    common: &Common,
    signers: &[Signer],
) -> Result<bool, Stop<S::Error>> {
    if !registry::is_participant(state, &common.institution)? {
        return refuse(Refusal::InstitutionUnknown, &common_pointer("institution"));
    }
    let mut vouched = false;
    for (place, signer) in signers.iter().enumerate() {
        let institution = &signer.terms.institution;
        if *institution == common.institution {
            vouched = true;
            continue;
        }
        if !registry::is_participant(state, institution)? {
            return refuse(
                Refusal::InstitutionUnknown,
                &signer_pointer(&format!("{place}")),
            );
        }
        vouched |= use_is_entry(signer)
            && registry::is_delegated(state, &common.institution, institution)?;
    }
    Ok(vouched)
}

fn use_is_entry(signer: &Signer) -> bool {
    signer.terms.key_use == KeyUse::Entry
}

/// Who may write entries of this type.
fn judge_right<S: State>(
    state: &Draft<'_, S>,
    body: &Body,
    signers: &[Signer],
    vouched: bool,
    alone: bool,
    (index, accepted_at_ms): (EntryIndex, u64),
) -> Result<(), Stop<S::Error>> {
    let common = &body.common;
    let mismatch = || refuse(Refusal::InstitutionMismatch, &common_pointer("institution"));
    match &body.content {
        // Recorded with a finding where nobody vouches for it.
        Content::Consent(_) | Content::Note(_) => {}
        Content::Access(access) => judge_sides(access, common)?,
        // What changes what others are shown, or destroys, is believed of those in charge alone.
        Content::Household(_) | Content::Erasure(_) | Content::Release(_) | Content::Link(_)
            if !vouched =>
        {
            return mismatch();
        }
        Content::Household(household) => {
            let role = registry_role(household.kind);
            if !registry::has_role(state, &common.institution, role)? {
                return refuse(
                    Refusal::NotAuthorised,
                    &["envelope", "payload", "household", "kind"],
                );
            }
        }
        Content::Release(_) if seal::by_node(signers) => {
            judge_node(state, &body.content, signers, index)?;
        }
        Content::Erasure(erasure) => {
            judge_order(
                state,
                erasure,
                &body.common.institution,
                index,
                accepted_at_ms,
            )?;
        }
        Content::Release(_) => {}
        Content::Link(link) => {
            let holds = registry::has_role(
                state,
                &common.institution,
                registry_role(HouseholdKind::Anagrafica),
            )? || registry::has_role(
                state,
                &common.institution,
                registry_role(HouseholdKind::Isee),
            )?;
            if !holds {
                return refuse(Refusal::NotAuthorised, &common_pointer("institution"));
            }
            let pointer = ["envelope", "payload", "link"];
            match (&link.old.value, &link.new.value) {
                (Some(old), Some(new)) if old != new => {
                    if joined(state, old, new)?.len() > LINKED_REFS_MAX {
                        return refuse(Refusal::Registry, &pointer);
                    }
                }
                _ => return refuse(Refusal::Registry, &pointer),
            }
            // A ledger whose pseudonyms are not evaluated by its nodes has nothing to check a proof against.
            let keys = registry::oprf_keys(state)?;
            if !keys.is_empty() && LinkProof::parse(&link.proof, &keys).is_err() {
                return refuse(
                    Refusal::LinkProof,
                    &["envelope", "payload", "link", "proof"],
                );
            }
        }
        Content::Read(_) | Content::Disclosure(_) | Content::Erased(_) | Content::StateRoot(_) => {
            if !vouched {
                return mismatch();
            }
            judge_node(state, &body.content, signers, index)?;
            judge_ordered(state, &body.content)?;
        }
        _ if !vouched => return mismatch(),
        _ => {}
    }
    judge_reference(body, alone, index)?;
    match &body.content {
        Content::StateRoot(root) => {
            let last = registry::state_root(state)?;
            let (size, version, previous) = last.map_or((0, 0, state_map::EMPTY), |last| {
                (last.size.0, last.version, last.root)
            });
            let due = root.size > size
                && root.size <= index.0
                && Some(root.version) == version.checked_add(1)
                && root.previous == previous;
            if due {
                Ok(())
            } else {
                refuse(Refusal::StateRoot, &["envelope", "payload", "state-root"])
            }
        }
        _ => Ok(()),
    }
}

/// An order names what stands before it: nobody can tell whose it is before it is there.
fn judge_order<S: State>(
    state: &Draft<'_, S>,
    erasure: &Erasure,
    institution: &InstitutionId,
    index: EntryIndex,
    accepted_at_ms: u64,
) -> Result<(), Stop<S::Error>> {
    let (last, member) = match erasure.before {
        Some(before) => (before.checked_sub(1), "before"),
        None => (erasure.entries.last().copied(), "entries"),
    };
    if last.is_some_and(|last| last >= index.0) {
        return refuse(
            Refusal::RefersTo,
            &["envelope", "payload", "erasure", member],
        );
    }
    let again = |last_ms: u64| accepted_at_ms < last_ms.saturating_add(CUT_AGAIN_MS);
    if erasure.before.is_some() && erasure::last_cut_ms(state, institution)?.is_some_and(again) {
        return refuse(
            Refusal::CutAgain,
            &["envelope", "payload", "erasure", "before"],
        );
    }
    Ok(())
}

/// A node erases by order alone.
fn judge_ordered<S: State>(state: &Draft<'_, S>, content: &Content) -> Result<(), Stop<S::Error>> {
    if let Content::Erased(erased) = content
        && erasure::order(state, EntryIndex(erased.erasure))?.is_none()
    {
        return refuse(
            Refusal::RefersTo,
            &["envelope", "payload", "erased", "erasure"],
        );
    }
    Ok(())
}

/// Bounds that hold whatever the state is.
fn judge_bounds<E>(content: &Content) -> Result<(), Stop<E>> {
    let Content::Access(access) = content else {
        return Ok(());
    };
    let targets = access
        .subjects
        .iter()
        .filter(|subject| is_target(subject.value.as_ref()))
        .count();
    if targets.saturating_mul(access.consent_refs.len()) > CONSENT_READS_MAX {
        return refuse(
            Refusal::Size,
            &["envelope", "payload", "access", "consentRefs"],
        );
    }
    if access
        .part
        .is_some_and(|part| part.k == 0 || part.k > part.n)
    {
        return refuse(Refusal::Members, &["envelope", "payload", "access", "part"]);
    }
    Ok(())
}

/// The side that an access speaks for is the institution that it names.
fn judge_sides<E>(access: &Access, common: &Common) -> Result<(), Stop<E>> {
    let (side, name) = match access.side {
        Side::Consumer => (&access.consumer, "consumer"),
        Side::Provider => (&access.provider, "provider"),
    };
    if *side != common.institution {
        return refuse(
            Refusal::InstitutionMismatch,
            &["envelope", "payload", "access", name, "institution"],
        );
    }
    Ok(())
}

/// Nodes in force write with their own keys, and each speaks of itself.
fn judge_node<S: State>(
    state: &Draft<'_, S>,
    content: &Content,
    signers: &[Signer],
    index: EntryIndex,
) -> Result<(), Stop<S::Error>> {
    for (place, signer) in signers.iter().enumerate() {
        let Some(node) = registry::node_of_key(state, &signer.id, index)? else {
            return refuse(Refusal::NotAuthorised, &signer_pointer(&format!("{place}")));
        };
        if let Content::Erased(erased) = content
            && erased.node != node.node
        {
            return refuse(
                Refusal::NotAuthorised,
                &["envelope", "payload", "erased", "node"],
            );
        }
    }
    Ok(())
}

/// `refersTo` names what stands before.
fn judge_reference<E>(body: &Body, alone: bool, index: EntryIndex) -> Result<(), Stop<E>> {
    let wrong = || refuse(Refusal::RefersTo, &common_pointer("refersTo"));
    match (&body.content, &body.common.refers_to) {
        (Content::Note(_) | Content::Release(_), None) => wrong(),
        // Governance has a refusal of its own for it.
        (content, _) if is_governance(content) && !alone => Ok(()),
        (_, Some(reference)) if reference.index >= index => wrong(),
        _ => Ok(()),
    }
}

/// All refs that two refs would be one person with.
pub(super) fn joined<S: State>(
    state: &Draft<'_, S>,
    old: &Hash,
    new: &Hash,
) -> Result<BTreeSet<Hash>, Stop<S::Error>> {
    let mut refs: BTreeSet<Hash> = [*old, *new].into();
    refs.extend(registry::linked(state, old)?);
    refs.extend(registry::linked(state, new)?);
    Ok(refs)
}

/// The role of the registry that says who belongs to a household of this kind.
pub(super) fn registry_role(kind: HouseholdKind) -> &'static str {
    match kind {
        HouseholdKind::Anagrafica => "registry-anagrafica",
        HouseholdKind::Isee => "registry-isee",
    }
}

fn is_target(subject: Option<&crate::body::access::AccessSubject>) -> bool {
    subject.is_some_and(|subject| subject.role == SubjectRole::Target)
}

fn common_pointer(member: &str) -> [&str; 3] {
    ["envelope", "payload", member]
}

fn signer_pointer(place: &str) -> [&str; 4] {
    ["envelope", "signatures", place, "keyid"]
}
