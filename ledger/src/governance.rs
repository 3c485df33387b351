// SPDX-License-Identifier: EUPL-1.2
//! Governance: the founders' genesis, and what k of n institutions change together afterwards.
//!
//! Genesis is self-contained: it is signed by k of the governance keys that it registers. Every later governance entry carries
//! signatures of k distinct institutions' governance keys in force, and names index and leaf of the governance entry before it in
//! `refersTo` (genesis first): a replay, or one collected for another state of the registry, no longer fits. A key may replace or revoke
//! itself with its own signature alone; such an entry stands outside the chain, so that no single institution can break into the
//! collecting of signatures. Everything takes effect from an index on, so all nodes judge alike.

use alloc::{collections::BTreeSet, vec::Vec};

use crate::{
    admission::{LedgerInfo, Signer, refuse},
    body::{
        Common, Content, Reference,
        governance::{
            Delegation, Genesis, Institution, InstitutionEvent, Key, NewKey, Node, PolicyText,
            Role, Rules,
        },
    },
    bytes::{
        self,
        state::{self, StateKey},
    },
    entry::Stop,
    hash::Hash,
    id::{InstitutionId, KeyId},
    key::KeyUse,
    number::EntryIndex,
    oprf::OprfPublicKey,
    refusal::Refusal,
    rules::rule_set,
    state::{
        Draft, KeyRecord, KeyTerms, State, StateError,
        registry::{self, Governance, InstitutionRecord, NodeRecord},
    },
};

mod change;

/// What a genesis is verified with: its own keys.
pub use crate::entry::genesis_keys;
pub(crate) use change::change;

/// Who signed a genesis, by the keys that it registers itself.
pub(crate) fn genesis_signers<E>(genesis: &Genesis, ids: &[KeyId]) -> Result<Vec<Signer>, Stop<E>> {
    let own = |id: &KeyId| {
        genesis
            .keys
            .iter()
            .find(|key| key.public_key.key_id() == *id)
            .map(terms)
    };
    ids.iter()
        .enumerate()
        .map(|(place, id)| match own(id) {
            Some(terms) => Ok(Signer { id: *id, terms }),
            None => refuse(
                Refusal::KeyUnknown,
                &[
                    "envelope",
                    "signatures",
                    &alloc::format!("{place}"),
                    "keyid",
                ],
            ),
        })
        .collect()
}

/// Judges a genesis and writes what it founds.
pub(crate) fn found<S: State>(
    draft: &mut Draft<'_, S>,
    genesis: &Genesis,
    common: &Common,
    signers: &[Signer],
    at: &Reference,
    ledger: &LedgerInfo,
) -> Result<(), Stop<S::Error>> {
    if genesis.shard != ledger.shard {
        return refuse(Refusal::Genesis, &body_pointer("genesis", "shard"));
    }
    // A later shard goes on from the former's last checkpoint, the first from nothing.
    if genesis.previous.is_some() != (genesis.shard > 1) {
        return refuse(Refusal::Genesis, &body_pointer("genesis", "previous"));
    }
    found_institutions(draft, genesis, common, at)?;
    found_keys(draft, genesis, ledger)?;
    found_roles(draft, genesis, at)?;
    found_nodes(draft, genesis, at)?;
    let governors: BTreeSet<_> = genesis
        .keys
        .iter()
        .filter(|key| key.key_use == KeyUse::Governance)
        .map(|key| &key.institution)
        .collect();
    if genesis.k == 0 || usize::try_from(genesis.k).map_or(true, |k| k > governors.len()) {
        return refuse(Refusal::Genesis, &body_pointer("genesis", "k"));
    }
    threshold(signers, genesis.k)?;
    if rule_set(genesis.rules).is_none() {
        return Err(StateError::UnknownRules(genesis.rules).into());
    }
    draft.put(StateKey::rules(), state::rules(at, genesis.rules));
    if let Some(key) = &genesis.oprf_key {
        open_epoch(draft, key, at.index, &body_pointer("genesis", "oprfKey"))?;
    }
    let governance = Governance {
        last: *at,
        k: genesis.k,
        genesis: at.leaf,
        test: genesis.test,
    };
    draft.put(StateKey::governance(), governance.encode());
    Ok(())
}

fn found_institutions<S: State>(
    draft: &mut Draft<'_, S>,
    genesis: &Genesis,
    common: &Common,
    at: &Reference,
) -> Result<(), Stop<S::Error>> {
    for institution in &genesis.institutions {
        if registry::institution(draft, &institution.institution)?.is_some() {
            return refuse(Refusal::Genesis, &body_pointer("genesis", "institutions"));
        }
        write_institution(draft, institution, at)?;
    }
    participant(
        draft,
        &common.institution,
        &["envelope", "payload", "institution"],
    )
}

fn found_keys<S: State>(
    draft: &mut Draft<'_, S>,
    genesis: &Genesis,
    ledger: &LedgerInfo,
) -> Result<(), Stop<S::Error>> {
    let pointer = body_pointer("genesis", "keys");
    for key in &genesis.keys {
        participant(draft, &key.institution, &pointer)?;
        new_key(
            draft,
            key,
            0,
            genesis.test,
            &ledger.name,
            Refusal::Genesis,
            &pointer,
        )?;
    }
    // Checkpoints are signed with exactly one key.
    let mut log_keys = genesis.keys.iter().filter(|key| key.key_use == KeyUse::Log);
    match (log_keys.next(), log_keys.next()) {
        (Some(key), None) => push_log_key(draft, 0, &key.public_key.key_id()),
        _ => refuse(Refusal::Genesis, &pointer),
    }
}

fn found_roles<S: State>(
    draft: &mut Draft<'_, S>,
    genesis: &Genesis,
    at: &Reference,
) -> Result<(), Stop<S::Error>> {
    for role in &genesis.roles {
        participant(draft, &role.institution, &body_pointer("genesis", "roles"))?;
        if registry::has_role(draft, &role.institution, &role.role)? {
            return refuse(Refusal::Genesis, &body_pointer("genesis", "roles"));
        }
        grant_role(draft, role, at)?;
    }
    Ok(())
}

fn found_nodes<S: State>(
    draft: &mut Draft<'_, S>,
    genesis: &Genesis,
    at: &Reference,
) -> Result<(), Stop<S::Error>> {
    if genesis.nodes.is_empty() {
        return refuse(Refusal::Genesis, &body_pointer("genesis", "nodes"));
    }
    for node in &genesis.nodes {
        // Its keys begin with entry 0, so they are in force where the node begins.
        add_node(
            draft,
            node,
            at,
            at.index,
            Refusal::Genesis,
            &body_pointer("genesis", "nodes"),
        )?;
    }
    Ok(())
}

/// k signatures of distinct institutions. Each signer's key was found to be a governance key in force.
pub(crate) fn threshold<E>(signers: &[Signer], k: u64) -> Result<(), Stop<E>> {
    let institutions: BTreeSet<_> = signers
        .iter()
        .map(|signer| &signer.terms.institution)
        .collect();
    if u64::try_from(institutions.len()).unwrap_or(u64::MAX) < k {
        return refuse(Refusal::GovernanceThreshold, &["envelope", "signatures"]);
    }
    Ok(())
}

fn participant<S: State>(
    draft: &Draft<'_, S>,
    institution: &InstitutionId,
    pointer: &[&str],
) -> Result<(), Stop<S::Error>> {
    if registry::is_participant(draft, institution)? {
        Ok(())
    } else {
        refuse(Refusal::InstitutionUnknown, pointer)
    }
}

/// What a key of a genesis may sign, from entry 0 on.
fn terms(key: &NewKey) -> KeyTerms {
    KeyTerms {
        key_use: key.key_use,
        first: 0,
        until: u64::MAX,
        institution: key.institution.clone(),
    }
}

fn record(key: &NewKey, first: u64) -> KeyRecord {
    KeyRecord {
        public_key: key.public_key,
        key_use: key.key_use,
        first,
        until: u64::MAX,
        institution: key.institution.clone(),
    }
}

/// Judges a key that was never seen here and writes it, in force from `first` on. `again` is the refusal for one that was.
fn new_key<S: State>(
    draft: &mut Draft<'_, S>,
    key: &NewKey,
    first: u64,
    test: bool,
    ledger: &str,
    again: Refusal,
    pointer: &[&str],
) -> Result<(), Stop<S::Error>> {
    let id = key.public_key.key_id();
    if !test && is_published(&id) {
        return refuse(Refusal::TestKey, pointer);
    }
    // One key, one use, one institution, for ever.
    if registry::key(draft, &id)?.is_some() {
        return refuse(again, pointer);
    }
    // The message names the ledger: a proof made for a test ledger proves nothing here.
    let message = bytes::possession_message(ledger, key.key_use, &key.institution);
    if key.public_key.verify(&message, &key.possession).is_err() {
        return refuse(Refusal::Possession, pointer);
    }
    draft.put(StateKey::key(&id), record(key, first).encode());
    draft.push(
        &registry::keys_list(&key.institution),
        id.0.as_bytes().to_vec(),
    )?;
    if key.key_use == KeyUse::Governance {
        draft.push(registry::GOVERNANCE_KEYS, id.0.as_bytes().to_vec())?;
    }
    Ok(())
}

/// From here on pseudonyms are evaluated with this key. The keys before it stay known: `link` entries join refs of two epochs.
fn open_epoch<S: State>(
    draft: &mut Draft<'_, S>,
    key: &Hash,
    at: EntryIndex,
    pointer: &[&str],
) -> Result<(), Stop<S::Error>> {
    let known = registry::oprf_keys(draft)?;
    match OprfPublicKey::from_bytes(key.as_bytes()) {
        Ok(new) if !known.contains(&new) => draft.push(
            registry::OPRF_KEYS,
            state::Writer::default().u64(at.0).hash(key).done(),
        ),
        _ => refuse(Refusal::OprfKey, pointer),
    }
}

fn push_log_key<S: State>(
    draft: &mut Draft<'_, S>,
    from: u64,
    id: &KeyId,
) -> Result<(), Stop<S::Error>> {
    draft.push(
        registry::LOG_KEYS,
        state::Writer::default().u64(from).hash(&id.0).done(),
    )
}

fn write_institution<S: State>(
    draft: &mut Draft<'_, S>,
    institution: &Institution,
    at: &Reference,
) -> Result<(), Stop<S::Error>> {
    let key = StateKey::institution(&institution.institution);
    if registry::institution(draft, &institution.institution)?.is_none() {
        draft.push(
            registry::INSTITUTIONS,
            institution.institution.as_bytes().to_vec(),
        )?;
    }
    let record = InstitutionRecord {
        institution: institution.institution.clone(),
        name: institution.name.clone(),
        ended: institution.event == InstitutionEvent::Ended,
        successor: institution.successor.clone(),
    };
    draft.put(StateKey::detail(&key), record.encode());
    draft.put(key, state::at(at));
    Ok(())
}

fn grant_role<S: State>(
    draft: &mut Draft<'_, S>,
    role: &Role,
    at: &Reference,
) -> Result<(), Stop<S::Error>> {
    let key = StateKey::role(&role.institution, &role.role);
    push_once(
        draft,
        &registry::roles_list(&role.institution),
        &key,
        role.role.as_bytes(),
    )?;
    draft.put(key, state::at(at));
    Ok(())
}

/// Appends to a registry list what was never there: granted, revoked and granted again stands once.
fn push_once<S: State>(
    draft: &mut Draft<'_, S>,
    list: &str,
    key: &StateKey,
    item: &[u8],
) -> Result<(), Stop<S::Error>> {
    let seen = StateKey::detail(key);
    if draft.get(&seen)?.is_none() {
        draft.put(seen, Vec::new());
        draft.push(list, item.to_vec())?;
    }
    Ok(())
}

/// Judges a node that was never seen here and writes it. Its keys must be in force at `needed`; `again` refuses what the registry forbids.
fn add_node<S: State>(
    draft: &mut Draft<'_, S>,
    node: &Node,
    at: &Reference,
    needed: EntryIndex,
    again: Refusal,
    pointer: &[&str],
) -> Result<(), Stop<S::Error>> {
    participant(draft, &node.institution, pointer)?;
    // A number is never used again: a node that comes back comes back as another.
    if node.node.0 == 0 || registry::node(draft, node.node)?.is_some() {
        return refuse(again, pointer);
    }
    for (id, key_use) in [
        (&node.node_key, KeyUse::Node),
        (&node.cosign_key, KeyUse::Cosign),
    ] {
        let fits = registry::key(draft, id)?.is_some_and(|key| {
            key.key_use == key_use && key.institution == node.institution && key.in_force_at(needed)
        });
        if !fits {
            return refuse(again, pointer);
        }
    }
    let taken = registry::nodes(draft)?
        .iter()
        .any(|other| other.node_key == node.node_key || other.cosign_key == node.cosign_key);
    if taken {
        return refuse(again, pointer);
    }
    let record = NodeRecord {
        node: node.node,
        institution: node.institution.clone(),
        node_key: node.node_key,
        cosign_key: node.cosign_key,
        peer: node.peer.clone(),
        added: at.index,
        removed: None,
    };
    let key = StateKey::node(node.node);
    draft.put(StateKey::detail(&key), record.encode());
    draft.put(key, state::at(at));
    draft.push(registry::NODES, node.node.0.to_be_bytes().to_vec())
}

/// Pointer to a member of the member that is named after the type.
fn body_pointer<'a>(of: &'a str, member: &'a str) -> [&'a str; 4] {
    ["envelope", "payload", of, member]
}

/// Whether a key's secret half is published with the test vectors of the byte specification.
fn is_published(id: &KeyId) -> bool {
    let shown = alloc::format!("{}", id.0);
    PUBLISHED_KEYS.contains(&shown.as_str())
}

/// Key ids of the byte specification's test vectors, in hexadecimal.
const PUBLISHED_KEYS: [&str; 10] = [
    "15915a946f8d12127ba2676cf08f03528cc3304e01275d3fc7dd0187b396bc9f",
    "c9544fc32eef6f4083efd4f26d19500ba2fa5d779bc8793aa6dd6c3f15a37828",
    "52081e7e32f4cdf4ece809c5de5ecc7b9e0ed00d506c89ba11c36326f55a7095",
    "c03901a4945e41cdcae59ed6728db899f2dc940131a51c61b4586d7fcbbceb20",
    "0686d4f4839d1431d4efcecface302b7a4b3b4ef1e90819358054d792b178522",
    "f9e9ccca0fa16ca990c9c347d52c307f717fce0291cc4b0119961a85cf73d866",
    "2a36b503b24467e91a84250e060e96fd2a22bae9d695f8db9c134f7cc4228907",
    "ccd2f22874ccb77283e03d1d0c3a59e00cb388afa9187a0a6e06515bbdfcf7f5",
    "7f485b545707c37f22771251bba28c3b36921c48a9310837a67bac4172bb8411",
    "c8f1d7ddb700379ba3ebe8257dd8c2dce132801890e7f75ecc34f59d772ef1ec",
];
