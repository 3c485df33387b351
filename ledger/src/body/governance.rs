// SPDX-License-Identifier: EUPL-1.2
//! Types 1 and 5 to 11: what the founders and the governance (k of n institutions) say.

use alloc::{string::String, vec::Vec};

use crate::{
    hash::Hash,
    id::{InstitutionId, KeyId, NodeNumber},
    key::{KeyUse, PublicKey},
};

/// `genesis`, type 1: entry 0. Founding institutions, keys, nodes, roles, threshold and rule set. Signed by k of its governance keys.
/// JSON: `{shard, k, rules, institutions[], keys[], nodes[], roles[], oprfKey?, test?, previous?}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Genesis {
    /// Shard number, from 1; origin = ledger name `/` shard.
    pub shard: u64,
    /// Governance signatures that a later governance entry needs, of distinct institutions.
    pub k: u64,
    /// Number of the rule set in force from entry 0 on.
    pub rules: u16,
    /// Founding institutions.
    pub institutions: Vec<Institution>,
    /// Founding keys of every use.
    pub keys: Vec<Key>,
    /// Founding nodes.
    pub nodes: Vec<Node>,
    /// Founding roles.
    pub roles: Vec<Role>,
    /// VOPRF public key (ristretto255), absent until pseudonyms are evaluated by the cluster.
    pub oprf_key: Option<Hash>,
    /// A test ledger: its keys are refused elsewhere.
    pub test: bool,
    /// In a later shard: the last signed checkpoint of the former.
    pub previous: Option<String>,
}

/// `institution`, type 5. JSON: `{institution, name, event: registered|changed|ended, successor?}`; in genesis without `event`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Institution {
    pub institution: InstitutionId,
    pub name: String,
    pub event: InstitutionEvent,
    pub successor: Option<InstitutionId>,
}

/// What happened to an institution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum InstitutionEvent {
    Registered,
    Changed,
    Ended,
}

/// `key`, type 6. JSON, by event:
/// `registered {event, publicKey, use, institution, possession, from?}` (k of n);
/// `rotated {event, publicKey, use, institution, possession, replaces, from?}` (signed by the key it replaces, or k of n);
/// `revoked {event, keyId, until?, reason}` (k of n, or the key itself). `from` and `until` are indexes; absent = the next index.
/// In genesis: `{publicKey, use, institution, possession}`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Key {
    Registered {
        key: NewKey,
    },
    Rotated {
        key: NewKey,
        replaces: KeyId,
    },
    Revoked {
        key_id: KeyId,
        until: Option<u64>,
        reason: String,
    },
}

/// A key that comes into force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// Ed25519 public key, not weak.
    pub public_key: PublicKey,
    /// Its one use.
    pub key_use: KeyUse,
    /// Its one institution.
    pub institution: InstitutionId,
    /// Proof of possession: its Ed25519 signature over [`crate::bytes::possession_message`].
    pub possession: [u8; 64],
    /// First index at which it is in force; absent = the index after this entry.
    pub from: Option<u64>,
}

/// `role`, type 7: which institution may do or read what. JSON: `{institution, role, event: granted|revoked}`; in genesis without `event`.
/// Roles known to `ledger`: `dpo`, `authority` (supervisory), `operator` (runs nodes), `registry-anagrafica`, `registry-isee`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Role {
    pub institution: InstitutionId,
    pub role: String,
    pub granted: bool,
}

/// `delegation`, type 8: who may submit for whom. JSON: `{controller, submitter, event: granted|revoked}`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Delegation {
    pub controller: InstitutionId,
    pub submitter: InstitutionId,
    pub granted: bool,
}

/// `node`, type 9. JSON: `{node, institution, nodeKey, cosignKey, peer, event: added|removed, logKey?}`; in genesis without `event`.
/// `nodeKey` and `cosignKey` are key ids (registered before, or in the same genesis); `peer` is `host:port` of its peer listener;
/// `logKey` (key id) names the log key in force after a removal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Node {
    pub node: NodeNumber,
    pub institution: InstitutionId,
    pub node_key: KeyId,
    pub cosign_key: KeyId,
    pub peer: String,
    pub added: bool,
    pub log_key: Option<KeyId>,
}

/// `policy`, type 10: the trust policy's text (C2SP tlog-policy). JSON: `{text}`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct PolicyText {
    pub text: String,
}

/// `rules`, type 11: the rule set in force from the next index on. JSON: `{rules}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Rules {
    pub rules: u16,
}

/// Not a body: a hash of the genesis entry's leaf, as it stands in policy files (`# genesis <hex>`).
pub type GenesisHash = Hash;
