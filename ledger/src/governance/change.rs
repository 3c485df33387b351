// SPDX-License-Identifier: EUPL-1.2
//! What governance changes after genesis: types 5 to 11.

use alloc::{collections::BTreeSet, vec::Vec};

use super::*;

/// Judges a governance entry and writes what it changes. `alone`: a key that replaces or revokes itself.
pub(crate) fn change<S: State>(
    draft: &mut Draft<'_, S>,
    content: &Content,
    common: &Common,
    signers: &[Signer],
    alone: bool,
    at: &Reference,
    ledger: &LedgerInfo,
) -> Result<(), Stop<S::Error>> {
    let Some(governance) = registry::governance(draft)? else {
        return refuse(Refusal::Genesis, &["envelope", "payload", "type"]);
    };
    if !alone {
        threshold(signers, governance.k)?;
        if common.refers_to != Some(governance.last) {
            return refuse(
                Refusal::GovernanceOrder,
                &["envelope", "payload", "refersTo"],
            );
        }
        draft.put(
            StateKey::governance(),
            Governance {
                last: *at,
                ..governance
            }
            .encode(),
        );
    }
    match content {
        Content::Institution(institution) => change_institution(draft, institution, at),
        Content::Key(key) => change_key(draft, key, at.index, governance.test, ledger),
        Content::Role(role) => change_role(draft, role, at),
        Content::Delegation(delegation) => change_delegation(draft, delegation, at),
        Content::Node(node) => change_node(draft, node, at),
        Content::Policy(policy) => change_policy(draft, policy, at),
        Content::Rules(rules) => change_rules(draft, *rules, at),
        _ => Ok(()),
    }?;
    still_governed(draft, governance.k)
}

fn change_institution<S: State>(
    draft: &mut Draft<'_, S>,
    institution: &Institution,
    at: &Reference,
) -> Result<(), Stop<S::Error>> {
    let forbidden = |member| refuse(Refusal::Registry, &body_pointer("registration", member));
    let known = registry::institution(draft, &institution.institution)?;
    match (institution.event, known) {
        (InstitutionEvent::Registered, None) => {}
        (InstitutionEvent::Changed | InstitutionEvent::Ended, Some(record)) if !record.ended => {}
        _ => return forbidden("event"),
    }
    match (&institution.successor, institution.event) {
        (None, _) => {}
        (Some(successor), InstitutionEvent::Ended) if *successor != institution.institution => {
            participant(draft, successor, &body_pointer("registration", "successor"))?;
        }
        (Some(_), _) => return forbidden("successor"),
    }
    // Nodes first: a node of an institution that ended could write nothing more.
    if institution.event == InstitutionEvent::Ended {
        let runs = registry::nodes(draft)?
            .iter()
            .any(|node| node.institution == institution.institution && node.removed.is_none());
        if runs {
            return forbidden("event");
        }
    }
    write_institution(draft, institution, at)
}

fn change_key<S: State>(
    draft: &mut Draft<'_, S>,
    key: &Key,
    index: EntryIndex,
    test: bool,
    ledger: &LedgerInfo,
) -> Result<(), Stop<S::Error>> {
    match key {
        Key::Registered { key } => {
            participant(draft, &key.institution, &body_pointer("key", "institution"))?;
            let first = from_index(key.from, index, "from")?;
            new_key(
                draft,
                key,
                first,
                test,
                &ledger.name,
                Refusal::Registry,
                &body_pointer("key", "publicKey"),
            )
        }
        Key::Rotated { key, replaces } => {
            participant(draft, &key.institution, &body_pointer("key", "institution"))?;
            let first = from_index(key.from, index, "from")?;
            let Some(mut old) = registry::key(draft, replaces)? else {
                return refuse(Refusal::KeyUnknown, &body_pointer("key", "replaces"));
            };
            let fits = old.key_use == key.key_use
                && old.institution == key.institution
                && old.in_force_at(index);
            if !fits || draft.get(&StateKey::successor(replaces))?.is_some() {
                return refuse(Refusal::Registry, &body_pointer("key", "replaces"));
            }
            new_key(
                draft,
                key,
                first,
                test,
                &ledger.name,
                Refusal::Registry,
                &body_pointer("key", "publicKey"),
            )?;
            let id = key.public_key.key_id();
            old.until = old.until.min(first);
            draft.put(StateKey::key(replaces), old.encode());
            draft.put(StateKey::successor(replaces), id.0.as_bytes().to_vec());
            if key.key_use == KeyUse::Log {
                push_log_key(draft, first, &id)
            } else {
                Ok(())
            }
        }
        Key::Revoked { key_id, until, .. } => {
            let Some(mut record) = registry::key(draft, key_id)? else {
                return refuse(Refusal::KeyUnknown, &body_pointer("key", "keyId"));
            };
            let until = from_index(*until, index, "until")?;
            // An end can be moved forward in time, never back.
            if until >= record.until {
                return refuse(Refusal::Registry, &body_pointer("key", "until"));
            }
            record.until = until;
            draft.put(StateKey::key(key_id), record.encode());
            Ok(())
        }
    }
}

/// The index from which a change holds: the next unless said otherwise, and never one that is already judged.
fn from_index<E>(said: Option<u64>, index: EntryIndex, member: &str) -> Result<u64, Stop<E>> {
    let next = index.size().0;
    match said {
        None => Ok(next),
        Some(said) if said >= next => Ok(said),
        Some(_) => refuse(Refusal::Registry, &body_pointer("key", member)),
    }
}

fn change_role<S: State>(
    draft: &mut Draft<'_, S>,
    role: &Role,
    at: &Reference,
) -> Result<(), Stop<S::Error>> {
    if role.granted {
        participant(
            draft,
            &role.institution,
            &body_pointer("role", "institution"),
        )?;
    }
    if registry::has_role(draft, &role.institution, &role.role)? == role.granted {
        return refuse(Refusal::Registry, &body_pointer("role", "event"));
    }
    if role.granted {
        return grant_role(draft, role, at);
    }
    draft.remove(StateKey::role(&role.institution, &role.role));
    Ok(())
}

fn change_delegation<S: State>(
    draft: &mut Draft<'_, S>,
    delegation: &Delegation,
    at: &Reference,
) -> Result<(), Stop<S::Error>> {
    let Delegation {
        controller,
        submitter,
        granted,
    } = delegation;
    if *granted {
        participant(draft, controller, &body_pointer("delegation", "controller"))?;
        participant(draft, submitter, &body_pointer("delegation", "submitter"))?;
    }
    if controller == submitter || registry::is_delegated(draft, controller, submitter)? == *granted
    {
        return refuse(Refusal::Registry, &body_pointer("delegation", "event"));
    }
    let key = StateKey::delegation(controller, submitter);
    if *granted {
        push_once(
            draft,
            &registry::delegations_list(controller),
            &key,
            submitter.as_bytes(),
        )?;
        draft.put(key, state::at(at));
    } else {
        draft.remove(key);
    }
    Ok(())
}

fn change_node<S: State>(
    draft: &mut Draft<'_, S>,
    node: &Node,
    at: &Reference,
) -> Result<(), Stop<S::Error>> {
    let pointer = body_pointer("node", "node");
    let next = EntryIndex(at.index.size().0);
    if node.added {
        add_node(draft, node, at, next, Refusal::Registry, &pointer)?;
    } else {
        let Some(mut record) =
            registry::node(draft, node.node)?.filter(|record| record.removed.is_none())
        else {
            return refuse(Refusal::Registry, &pointer);
        };
        let named = record.institution == node.institution
            && is_key_of(draft, &record.node_key, &node.node_key, at.index)?
            && is_key_of(draft, &record.cosign_key, &node.cosign_key, at.index)?;
        let others = registry::nodes(draft)?
            .iter()
            .filter(|other| other.removed.is_none() && other.node != node.node)
            .count();
        if !named || others == 0 {
            return refuse(Refusal::Registry, &pointer);
        }
        record.removed = Some(at.index);
        let key = StateKey::node(node.node);
        draft.put(StateKey::detail(&key), record.encode());
        draft.remove(key);
    }
    match &node.log_key {
        Some(log_key) => change_log_key(draft, log_key, next),
        None => Ok(()),
    }
}

/// Whether a key is the one first named, or the one that rotations put in its place.
fn is_key_of<S: State>(
    draft: &Draft<'_, S>,
    named: &KeyId,
    id: &KeyId,
    index: EntryIndex,
) -> Result<bool, Stop<S::Error>> {
    Ok(named == id || registry::current_key(draft, named, index)? == *id)
}

/// The log key changes hands: who left could go on signing with the old one.
fn change_log_key<S: State>(
    draft: &mut Draft<'_, S>,
    log_key: &KeyId,
    next: EntryIndex,
) -> Result<(), Stop<S::Error>> {
    let pointer = body_pointer("node", "logKey");
    let fits = registry::key(draft, log_key)?
        .is_some_and(|key| key.key_use == KeyUse::Log && key.in_force_at(next));
    let old = registry::log_key_at(draft, crate::number::TreeSize(next.0))?;
    if !fits || old == Some(*log_key) {
        return refuse(Refusal::Registry, &pointer);
    }
    if let Some(old) = old
        && let Some(mut record) = registry::key(draft, &old)?
    {
        record.until = record.until.min(next.0);
        draft.put(StateKey::key(&old), record.encode());
    }
    push_log_key(draft, next.0, log_key)
}

fn change_policy<S: State>(
    draft: &mut Draft<'_, S>,
    policy: &PolicyText,
    at: &Reference,
) -> Result<(), Stop<S::Error>> {
    let key = StateKey::policy();
    draft.put(
        StateKey::detail(&key),
        state::Writer::default()
            .reference(at)
            .text(&policy.text)
            .done(),
    );
    draft.put(key, state::policy(at, &policy.text));
    Ok(())
}

fn change_rules<S: State>(
    draft: &mut Draft<'_, S>,
    rules: Rules,
    at: &Reference,
) -> Result<(), Stop<S::Error>> {
    // Refusing by what this build carries would part old nodes from new ones: a node that is too old stops instead. At the door the
    // same is a refusal (`rules-unknown`), so that such an entry is not proposed by a sound node.
    if rule_set(rules.rules).is_none() {
        return Err(StateError::UnknownRules(rules.rules).into());
    }
    draft.put(StateKey::rules(), state::rules(at, rules.rules));
    match &rules.oprf_key {
        Some(key) => open_epoch(draft, key, at.index, &body_pointer("rules", "oprfKey")),
        None => Ok(()),
    }
}

/// Governance must not lock itself out: k institutions keep a governance key with no end set.
fn still_governed<S: State>(draft: &Draft<'_, S>, k: u64) -> Result<(), Stop<S::Error>> {
    let keys = registry::governance_keys(draft)?;
    let lasting: BTreeSet<&InstitutionId> = keys
        .iter()
        .filter(|(_, key)| key.until == u64::MAX)
        .map(|(_, key)| &key.institution)
        .collect();
    let mut governors: Vec<&InstitutionId> = Vec::new();
    for institution in lasting {
        if registry::is_participant(draft, institution)? {
            governors.push(institution);
        }
    }
    if u64::try_from(governors.len()).unwrap_or(u64::MAX) < k {
        return refuse(Refusal::GovernanceThreshold, &["envelope", "payload"]);
    }
    Ok(())
}
