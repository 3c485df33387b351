// SPDX-License-Identifier: EUPL-1.2
//! Typed readers over [`State`]: keys, institutions, roles, delegations, nodes, rules, policy, governance, consents, links.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

use super::{KeyRecord, KeyTerms, State, StateError, StateKey, kind, read, sealed::DUE};
use crate::{
    body::Reference,
    bytes::{
        state::{self, Writer},
        stored::Reader,
    },
    consent::ConsentState,
    entry::KeySource,
    erasure::ORDERS,
    hash::Hash,
    id::{InstitutionId, KeyId, NodeNumber},
    key::PublicKey,
    number::{EntryIndex, TreeSize},
    oprf::OprfPublicKey,
};

/// Every institution ever registered.
pub(crate) const INSTITUTIONS: &str = "institutions";
/// Every node ever added.
pub(crate) const NODES: &str = "nodes";
/// Every key ever registered for use `governance`.
pub(crate) const GOVERNANCE_KEYS: &str = "governance-keys";
/// The log keys, each with the index from which it signs.
pub(crate) const LOG_KEYS: &str = "log-keys";

/// The keys that pseudonyms are evaluated with, one an epoch, each with the index of the entry that names it.
pub(crate) const OPRF_KEYS: &str = "oprf-keys";

/// Every key ever registered for an institution.
pub(crate) fn keys_list(institution: &InstitutionId) -> String {
    format!("keys\n{institution}")
}

/// Whether the registry holds this key: governance writes it now and then, other entries never.
pub fn holds(key: &StateKey) -> bool {
    match key.kind {
        kind::DETAIL | kind::GOVERNANCE | kind::SUCCESSOR => true,
        kind::LIST => {
            let of_others = [DUE, ORDERS].map(str::as_bytes);
            !of_others.iter().any(|list| key.name.starts_with(list))
        }
        kind::SUBJECT | kind::HOUSEHOLD | kind::SEALED | kind::CONSENT | kind::STREAM => false,
        _ => key.under_root(),
    }
}

/// Every role ever granted to an institution.
pub(crate) fn roles_list(institution: &InstitutionId) -> String {
    format!("roles\n{institution}")
}

/// Every submitter that a controller ever delegated.
pub(crate) fn delegations_list(controller: &InstitutionId) -> String {
    format!("delegations\n{controller}")
}

/// What the registry knows of an institution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstitutionRecord {
    /// The institution.
    pub institution: InstitutionId,
    /// Its name.
    pub name: String,
    /// Whether it ended: it may sign and be named as controller no more.
    pub ended: bool,
    /// Who succeeds it.
    pub successor: Option<InstitutionId>,
}

impl InstitutionRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let successor = self.successor.as_ref().map_or("", InstitutionId::as_str);
        Writer::default()
            .text(self.institution.as_str())
            .text(&self.name)
            .u8(u8::from(self.ended))
            .text(successor)
            .done()
    }

    fn decode(value: &[u8]) -> Option<InstitutionRecord> {
        Reader::all(value, |from| {
            let (institution, name, ended, successor) = (
                InstitutionId::parse(&from.text()?)?,
                from.text()?,
                from.u8()? != 0,
                from.text()?,
            );
            let successor = if successor.is_empty() {
                None
            } else {
                Some(InstitutionId::parse(&successor)?)
            };
            Some(InstitutionRecord {
                institution,
                name,
                ended,
                successor,
            })
        })
    }
}

/// What the registry knows of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// Its number, never used again.
    pub node: NodeNumber,
    /// Who runs it.
    pub institution: InstitutionId,
    /// The key that signs what it writes, as first named; [`current_key`] follows rotations.
    pub node_key: KeyId,
    /// The key that cosigns checkpoints, as first named.
    pub cosign_key: KeyId,
    /// `host:port` of its peer listener.
    pub peer: String,
    /// The entry that added it.
    pub added: EntryIndex,
    /// The entry that removed it.
    pub removed: Option<EntryIndex>,
}

impl NodeRecord {
    /// Whether it is a node in a tree of this size: added by one of its entries, and removed by none.
    pub fn in_force_at(&self, size: TreeSize) -> bool {
        size.holds(self.added) && !self.removed.is_some_and(|removed| size.holds(removed))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u64(self.node.0)
            .text(self.institution.as_str())
            .hash(&self.node_key.0)
            .hash(&self.cosign_key.0)
            .text(&self.peer);
        out.u64(self.added.0)
            .u64(self.removed.map_or(u64::MAX, |removed| removed.0))
            .done()
    }

    fn decode(value: &[u8]) -> Option<NodeRecord> {
        Reader::all(value, |from| {
            Some(NodeRecord {
                node: NodeNumber(from.u64()?),
                institution: InstitutionId::parse(&from.text()?)?,
                node_key: KeyId(from.hash()?),
                cosign_key: KeyId(from.hash()?),
                peer: from.text()?,
                added: EntryIndex(from.u64()?),
                removed: Some(from.u64()?)
                    .filter(|removed| *removed != u64::MAX)
                    .map(EntryIndex),
            })
        })
    }
}

/// Where governance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Governance {
    /// The governance entry last accepted: the next must name it in `refersTo`. Genesis first.
    pub last: Reference,
    /// Signatures of distinct institutions that a governance entry needs.
    pub k: u64,
    /// Leaf hash of entry 0.
    pub genesis: Hash,
    /// Whether this is a test ledger.
    pub test: bool,
}

impl Governance {
    pub(crate) fn encode(&self) -> Vec<u8> {
        Writer::default()
            .reference(&self.last)
            .u64(self.k)
            .hash(&self.genesis)
            .u8(u8::from(self.test))
            .done()
    }

    fn decode(value: &[u8]) -> Option<Governance> {
        Reader::all(value, |from| {
            Some(Governance {
                last: from.reference()?,
                k: from.u64()?,
                genesis: from.hash()?,
                test: from.u8()? != 0,
            })
        })
    }
}

/// The `state-root` entry last accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastStateRoot {
    /// Where it stands.
    pub index: EntryIndex,
    /// Tree size that it speaks of.
    pub size: TreeSize,
    /// Its number, from 1.
    pub version: u64,
    /// The root.
    pub root: Hash,
}

impl LastStateRoot {
    pub(crate) fn encode(&self) -> Vec<u8> {
        Writer::default()
            .u64(self.index.0)
            .u64(self.size.0)
            .u64(self.version)
            .hash(&self.root)
            .done()
    }

    pub(crate) fn decode(value: &[u8]) -> Option<LastStateRoot> {
        Reader::all(value, |from| {
            Some(LastStateRoot {
                index: EntryIndex(from.u64()?),
                size: TreeSize(from.u64()?),
                version: from.u64()?,
                root: from.hash()?,
            })
        })
    }
}

/// A key, registered at some time.
///
/// # Errors
/// As every reader here: the state's own failures, and a value that cannot be read.
pub fn key<S: State>(state: &S, id: &KeyId) -> Result<Option<KeyRecord>, S::Error> {
    read(state, &StateKey::key(id), KeyRecord::decode)
}

/// What a key may sign, without the key: cheap.
pub fn key_terms<S: State>(state: &S, id: &KeyId) -> Result<Option<KeyTerms>, S::Error> {
    read(state, &StateKey::key(id), KeyTerms::decode)
}

/// The registry as a source of keys, to verify entries with.
#[derive(Clone, Copy, Debug)]
pub struct RegisteredKeys<'s, S>(pub &'s S);

impl<S: State> KeySource for RegisteredKeys<'_, S> {
    type Error = S::Error;

    fn public_key(&self, id: &KeyId) -> Result<Option<PublicKey>, S::Error> {
        Ok(key(self.0, id)?.map(|record| record.public_key))
    }
}

/// Every key ever registered for an institution, in that order.
pub fn keys_of<S: State>(
    state: &S,
    institution: &InstitutionId,
) -> Result<Vec<(KeyId, KeyRecord)>, S::Error> {
    keys_in(state, &keys_list(institution))
}

/// Every key ever registered for use `governance`.
pub fn governance_keys<S: State>(state: &S) -> Result<Vec<(KeyId, KeyRecord)>, S::Error> {
    keys_in(state, GOVERNANCE_KEYS)
}

fn keys_in<S: State>(state: &S, list: &str) -> Result<Vec<(KeyId, KeyRecord)>, S::Error> {
    items(state, list, |item| Hash::from_slice(item).map(KeyId))?
        .into_iter()
        .map(|id| {
            key(state, &id)?
                .map(|record| (id, record))
                .ok_or_else(|| StateError::Corrupt(StateKey::key(&id)).into())
        })
        .collect()
}

/// The key that took the place of `id` by rotations, as of an index: what stands in `node` entries names the first.
pub fn current_key<S: State>(state: &S, id: &KeyId, index: EntryIndex) -> Result<KeyId, S::Error> {
    let mut current = *id;
    while let Some((first, next)) = next_key(state, &current)? {
        if first > index.0 {
            break;
        }
        current = next;
    }
    Ok(current)
}

/// The keys that took the place of `id` one after the other, each with the first index at which it is in force. It is the current one where
/// those before it are in force too.
pub fn later_keys<S: State>(state: &S, id: &KeyId) -> Result<Vec<(u64, KeyId)>, S::Error> {
    let (mut later, mut last) = (Vec::new(), *id);
    while let Some((first, next)) = next_key(state, &last)? {
        later.push((first, next));
        last = next;
    }
    Ok(later)
}

/// A key is replaced once, by a key that was new then: the chain is as long as there were rotations, and has no ring.
fn next_key<S: State>(state: &S, id: &KeyId) -> Result<Option<(u64, KeyId)>, S::Error> {
    let next = read(state, &StateKey::successor(id), |value| {
        Hash::from_slice(value).map(KeyId)
    })?;
    let Some(next) = next else { return Ok(None) };
    Ok(key_terms(state, &next)?.map(|terms| (terms.first, next)))
}

/// What the registry knows of an institution, if it was ever registered.
pub fn institution<S: State>(
    state: &S,
    institution: &InstitutionId,
) -> Result<Option<InstitutionRecord>, S::Error> {
    read(
        state,
        &StateKey::detail(&StateKey::institution(institution)),
        InstitutionRecord::decode,
    )
}

/// Whether an institution is registered and did not end.
pub fn is_participant<S: State>(state: &S, id: &InstitutionId) -> Result<bool, S::Error> {
    Ok(institution(state, id)?.is_some_and(|record| !record.ended))
}

/// Up to `limit` institutions from a place on, in order of registration, and how many there are.
pub fn institutions<S: State>(
    state: &S,
    from: u64,
    limit: usize,
) -> Result<(Vec<InstitutionRecord>, u64), S::Error> {
    let length = list_length(state, INSTITUTIONS)?;
    let mut page = Vec::new();
    for place in (from..length).take(limit) {
        let id = item(state, INSTITUTIONS, place, institution_name)?;
        page.push(
            institution(state, &id)?.ok_or_else(|| {
                StateError::Corrupt(StateKey::detail(&StateKey::institution(&id)))
            })?,
        );
    }
    Ok((page, length))
}

/// Whether an institution has a role now.
pub fn has_role<S: State>(
    state: &S,
    institution: &InstitutionId,
    role: &str,
) -> Result<bool, S::Error> {
    Ok(state.get(&StateKey::role(institution, role))?.is_some())
}

/// The roles that an institution has now.
pub fn roles_of<S: State>(state: &S, institution: &InstitutionId) -> Result<Vec<String>, S::Error> {
    let mut held = Vec::new();
    for role in items(state, &roles_list(institution), |item| {
        core::str::from_utf8(item).ok().map(ToOwned::to_owned)
    })? {
        if has_role(state, institution, &role)? {
            held.push(role);
        }
    }
    Ok(held)
}

/// Whether `submitter` may submit for `controller` now.
pub fn is_delegated<S: State>(
    state: &S,
    controller: &InstitutionId,
    submitter: &InstitutionId,
) -> Result<bool, S::Error> {
    Ok(state
        .get(&StateKey::delegation(controller, submitter))?
        .is_some())
}

/// Who may submit for `controller` now.
pub fn delegates_of<S: State>(
    state: &S,
    controller: &InstitutionId,
) -> Result<Vec<InstitutionId>, S::Error> {
    let mut held = Vec::new();
    for submitter in items(state, &delegations_list(controller), institution_name)? {
        if is_delegated(state, controller, &submitter)? {
            held.push(submitter);
        }
    }
    Ok(held)
}

/// A node, if it was ever added.
pub fn node<S: State>(state: &S, node: NodeNumber) -> Result<Option<NodeRecord>, S::Error> {
    read(
        state,
        &StateKey::detail(&StateKey::node(node)),
        NodeRecord::decode,
    )
}

/// Every node ever added, in that order.
pub fn nodes<S: State>(state: &S) -> Result<Vec<NodeRecord>, S::Error> {
    let numbers = items(state, NODES, |item| {
        item.try_into()
            .ok()
            .map(|bytes| NodeNumber(u64::from_be_bytes(bytes)))
    })?;
    numbers
        .into_iter()
        .map(|number| {
            node(state, number)?.ok_or_else(|| {
                StateError::Corrupt(StateKey::detail(&StateKey::node(number))).into()
            })
        })
        .collect()
}

/// The nodes of a tree of this size; a majority of them cosigns it. The state may be newer than the tree.
pub fn nodes_at<S: State>(state: &S, size: TreeSize) -> Result<Vec<NodeRecord>, S::Error> {
    Ok(nodes(state)?
        .into_iter()
        .filter(|node| node.in_force_at(size))
        .collect())
}

/// The node that signs with this key at this index, if it is one's.
pub fn node_of_key<S: State>(
    state: &S,
    id: &KeyId,
    index: EntryIndex,
) -> Result<Option<NodeRecord>, S::Error> {
    for node in nodes_at(state, TreeSize(index.0))? {
        let current = current_key(state, &node.node_key, index)?;
        if current == *id {
            return Ok(Some(node));
        }
    }
    Ok(None)
}

/// The log key that signs trees of this size. The state may be newer than the tree.
pub fn log_key_at<S: State>(state: &S, size: TreeSize) -> Result<Option<KeyId>, S::Error> {
    let keys = log_keys(state)?;
    Ok(in_force(&keys, size).copied())
}

/// Every log key ever named, each with the size from which on it signs trees, in the order in which they were named.
pub fn log_keys<S: State>(state: &S) -> Result<Vec<(u64, KeyId)>, S::Error> {
    items(state, LOG_KEYS, |item| {
        Reader::all(item, |from| Some((from.u64()?, KeyId(from.hash()?))))
    })
}

/// Which of [`log_keys`], or of what stands for them in that order, signs trees of this size.
pub fn in_force<K>(log_keys: &[(u64, K)], size: TreeSize) -> Option<&K> {
    let mut latest_first = log_keys.iter().rev();
    latest_first
        .find(|(from, _)| *from <= size.0)
        .map(|(_, key)| key)
}

/// The rule set in force for the next entry; `None` before genesis.
pub fn rules<S: State>(state: &S) -> Result<Option<u16>, S::Error> {
    read(state, &StateKey::rules(), state::decode_rules)
}

/// The keys that pseudonyms were ever evaluated with, one an epoch; the last is in force. None before pseudonyms are evaluated by the cluster.
pub fn oprf_keys<S: State>(state: &S) -> Result<Vec<OprfPublicKey>, S::Error> {
    let epochs = oprf_epochs(state)?.into_iter();
    Ok(epochs.map(|(_, key)| key).collect())
}

/// The same keys, each with the index of the entry that names it: genesis, or `rules`.
pub fn oprf_epochs<S: State>(state: &S) -> Result<Vec<(EntryIndex, OprfPublicKey)>, S::Error> {
    items(state, OPRF_KEYS, |item| {
        let (index, key) = Reader::all(item, |from| Some((from.u64()?, from.hash()?)))?;
        let key = OprfPublicKey::from_bytes(key.as_bytes()).ok()?;
        Some((EntryIndex(index), key))
    })
}

/// The trust policy's text and the entry that set it.
pub fn policy<S: State>(state: &S) -> Result<Option<(Reference, String)>, S::Error> {
    read(state, &StateKey::detail(&StateKey::policy()), |value| {
        Reader::all(value, |from| Some((from.reference()?, from.text()?)))
    })
}

/// Where governance stands; `None` before genesis.
pub fn governance<S: State>(state: &S) -> Result<Option<Governance>, S::Error> {
    read(state, &StateKey::governance(), Governance::decode)
}

/// A consent record of a person as now known, under this ref alone.
pub fn consent<S: State>(
    state: &S,
    person: &Hash,
    record: &str,
) -> Result<Option<ConsentState>, S::Error> {
    read(
        state,
        &StateKey::consent_fold(person, record),
        ConsentState::decode,
    )
}

/// The other refs that `link` entries joined to this one.
pub fn linked<S: State>(state: &S, person: &Hash) -> Result<Vec<Hash>, S::Error> {
    let refs = read(state, &StateKey::link(person), |value| {
        value
            .chunks(32)
            .map(Hash::from_slice)
            .collect::<Option<Vec<_>>>()
    })?;
    Ok(refs.unwrap_or_default())
}

/// The `state-root` entry last accepted.
pub fn state_root<S: State>(state: &S) -> Result<Option<LastStateRoot>, S::Error> {
    read(state, &StateKey::state_root(), LastStateRoot::decode)
}

/// How long a registry list is.
pub(crate) fn list_length<S: State>(state: &S, list: &str) -> Result<u64, S::Error> {
    let length = read(state, &StateKey::list(list), |value| {
        value.try_into().ok().map(u64::from_be_bytes)
    })?;
    Ok(length.unwrap_or(0))
}

pub(crate) fn items<S: State, T>(
    state: &S,
    list: &str,
    decode: impl Fn(&[u8]) -> Option<T>,
) -> Result<Vec<T>, S::Error> {
    (0..list_length(state, list)?)
        .map(|place| item(state, list, place, &decode))
        .collect()
}

/// The item at a place of a registry list.
pub(crate) fn item<S: State, T>(
    state: &S,
    list: &str,
    place: u64,
    decode: impl Fn(&[u8]) -> Option<T>,
) -> Result<T, S::Error> {
    let key = StateKey::list_item(list, place);
    read(state, &key, decode)?.ok_or_else(|| StateError::Corrupt(key).into())
}

fn institution_name(item: &[u8]) -> Option<InstitutionId> {
    InstitutionId::parse(core::str::from_utf8(item).ok()?)
}

#[cfg(test)]
mod tests;
