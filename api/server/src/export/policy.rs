// SPDX-License-Identifier: EUPL-1.2
//! The trust policy that follows from the ledger itself, where the governance set none: from which size on the log key and a majority of which
//! nodes count.

use std::collections::BTreeSet;

use cluster::View;
use ledger::{
    body::Content,
    bytes,
    hash::Hash,
    key::PublicKey,
    note::{KeyName, SignatureType, VerifierKey},
    number::{EntryIndex, TreeSize},
    policy::{Policy, PolicySet},
    state::registry,
};

use crate::{present::StoredAt, problem::Fault};

/// The policy file as of a view.
///
/// # Errors
/// The store's own.
pub(super) fn founders(view: &View) -> Result<String, Fault> {
    let genesis = StoredAt::read(view, EntryIndex(0))?.ok_or(Fault::NotFound)?;
    let (Some(body), Some(stored)) = (genesis.body(), &genesis.stored.body) else {
        return Err(Fault::internal("the genesis has no body"));
    };
    let Content::Genesis(content) = &body.content else {
        return Err(Fault::internal("entry 0 is no genesis"));
    };
    let ledger = Names {
        name: &body.common.ledger,
        shard: content.shard,
    };
    let mut sizes = BTreeSet::new();
    for node in registry::nodes(view)? {
        let changes = [Some(node.added), node.removed];
        sizes.extend(changes.into_iter().flatten().map(EntryIndex::size));
    }
    let mut set: Option<PolicySet> = None;
    for size in sizes {
        let policy = ledger.policy(view, size)?;
        set = match set {
            None => Some(PolicySet::from(policy)),
            Some(set) => set.with_policy_from(size, policy),
        };
    }
    let set = set.ok_or_else(|| Fault::internal("the ledger has no nodes"))?;
    let set = set.with_genesis(Hash::of(&[&bytes::pae(&stored.payload)]));
    String::from_utf8(set.format()).map_err(Fault::internal)
}

struct Names<'a> {
    name: &'a str,
    shard: u64,
}

impl Names<'_> {
    /// The policy of trees from this size on.
    fn policy(&self, view: &View, size: TreeSize) -> Result<Policy, Fault> {
        let log = registry::log_key_at(view, size)?
            .ok_or_else(|| Fault::internal("the ledger has no log key"))?;
        let log = registry::key(view, &log)?
            .ok_or_else(|| Fault::internal("the log key is not registered"))?;
        let origin = format!("{}/{}", self.name, self.shard);
        let log = verifier(&origin, SignatureType::Ed25519, log.public_key)?;
        let mut nodes = Vec::new();
        for node in registry::nodes_at(view, size)? {
            let key = registry::current_key(view, &node.cosign_key, size.next_index())?;
            let key = registry::key(view, &key)?
                .ok_or_else(|| Fault::internal("a cosign key is not registered"))?;
            let name = format!("{}/node/{}", self.name, node.node.0);
            let key = verifier(&name, SignatureType::Cosignature, key.public_key)?;
            nodes.push((node.node, key));
        }
        Policy::majority(&log, &nodes).map_err(Fault::internal)
    }
}

fn verifier(
    name: &str,
    signature_type: SignatureType,
    key: PublicKey,
) -> Result<VerifierKey, Fault> {
    let name = KeyName::parse(name).map_err(Fault::internal)?;
    Ok(VerifierKey::new(name, signature_type, key))
}
