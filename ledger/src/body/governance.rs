// SPDX-License-Identifier: EUPL-1.2
//! Types 1 and 5 to 11: what the founders and the governance (k of n institutions) say.

use alloc::{string::String, vec::Vec};

use super::members::{
    Members, Writer, count, digest, fixed, institution, key_id, list, number, small, text,
    true_only, words,
};
use crate::{
    base64,
    hash::Hash,
    id::{InstitutionId, KeyId, NodeNumber},
    json::Value,
    key::{KeyUse, PublicKey},
    refusal::{Refusal, Refused},
};

/// `genesis`, type 1: entry 0. Founding institutions, keys, nodes, roles, threshold and rule set. Signed by k of its governance keys.
/// JSON: `{shard, k, rules, institutions[] {institution, name}, keys[] {publicKey, use, institution, possession},
/// nodes[] {node, institution, nodeKey, cosignKey, peer}, roles[] {institution, role}, oprfKey?, test? true, previous?}`.
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
    /// Founding keys of every use, in force from entry 0 on.
    pub keys: Vec<NewKey>,
    /// Founding nodes.
    pub nodes: Vec<Node>,
    /// Founding roles.
    pub roles: Vec<Role>,
    /// VOPRF public key (ristretto255), absent until pseudonyms are evaluated by the cluster.
    pub oprf_key: Option<Hash>,
    /// A test ledger: its keys are refused elsewhere. In JSON `true` or absent.
    pub test: bool,
    /// In a later shard: the last signed checkpoint of the former.
    pub previous: Option<String>,
}

/// `institution`, type 5, in the member `registration`. JSON: `{institution, name, event: registered|changed|ended, successor?}`; in genesis without `event` and `successor`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Institution {
    pub institution: InstitutionId,
    pub name: String,
    pub event: InstitutionEvent,
    pub successor: Option<InstitutionId>,
}

words! {
    /// What happened to an institution.
    InstitutionEvent { Registered "registered", Changed "changed", Ended "ended" }
}

/// `key`, type 6. JSON, by event:
/// `registered {event, publicKey, use, institution, possession, from?}` (k of n);
/// `rotated {event, publicKey, use, institution, possession, replaces, from?}` (signed by the key it replaces, or k of n);
/// `revoked {event, keyId, until?, reason}` (k of n, or the key itself). `from` and `until` are indexes; absent = the next index.
/// `possession` is 64 bytes in base64url.
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
/// A role's name is 1 to 64 of `a-z 0-9 -`. Roles known to `ledger`: `dpo`, `authority` (supervisory), `operator` (runs nodes), `registry-anagrafica`, `registry-isee`.
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
/// `nodeKey` and `cosignKey` are key ids (registered before, or in the same genesis); `peer` is `host:port` of its peer listener, ASCII, at most 255;
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
    /// The key that pseudonyms are evaluated with from here on: a new epoch, after the old key leaked.
    pub oprf_key: Option<Hash>,
}

impl Genesis {
    pub(super) fn parse(value: &Value<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let genesis = Self {
            shard: m.required("shard", number)?,
            k: m.required("k", number)?,
            rules: m.required("rules", small)?,
            institutions: m.required("institutions", |value| {
                list(value, Institution::parse_founding)
            })?,
            keys: m.required("keys", |value| list(value, NewKey::parse_founding))?,
            nodes: m.required("nodes", |value| list(value, Node::parse_founding))?,
            roles: m.required("roles", |value| list(value, Role::parse_founding))?,
            oprf_key: m.optional("oprfKey", digest)?,
            test: m.optional("test", true_only)?.unwrap_or(false),
            previous: m.optional("previous", text)?,
        };
        m.close(genesis)
    }

    pub(super) fn to_value(&self) -> Value<'_> {
        let mut w = Writer::new();
        w.put("shard", self.shard);
        w.put("k", self.k);
        w.put("rules", self.rules);
        w.put(
            "institutions",
            self.institutions
                .iter()
                .map(Institution::founding)
                .collect::<Vec<_>>(),
        );
        w.put(
            "keys",
            self.keys.iter().map(NewKey::writer).collect::<Vec<_>>(),
        );
        w.put(
            "nodes",
            self.nodes.iter().map(Node::founding).collect::<Vec<_>>(),
        );
        w.put(
            "roles",
            self.roles.iter().map(Role::founding).collect::<Vec<_>>(),
        );
        w.put("oprfKey", self.oprf_key);
        w.put("test", self.test.then_some(true));
        w.put("previous", &self.previous);
        w.into()
    }
}

impl Institution {
    fn founding_members(m: &mut Members<'_, '_>) -> Result<Self, Refused> {
        Ok(Self {
            institution: m.required("institution", institution)?,
            name: m.required("name", text)?,
            event: InstitutionEvent::Registered,
            successor: None,
        })
    }

    fn parse_founding(value: &Value<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let institution = Self::founding_members(&mut m)?;
        m.close(institution)
    }

    pub(super) fn parse(value: &Value<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let read = Self {
            event: m.required("event", |value| words(value, InstitutionEvent::parse))?,
            successor: m.optional("successor", institution)?,
            ..Self::founding_members(&mut m)?
        };
        m.close(read)
    }

    fn founding(&self) -> Writer<'_> {
        let mut w = Writer::new();
        w.put("institution", &self.institution);
        w.put("name", &self.name);
        w
    }

    pub(super) fn to_value(&self) -> Value<'_> {
        let mut w = self.founding();
        w.put("event", self.event.as_str());
        w.put("successor", &self.successor);
        w.into()
    }
}

impl Key {
    pub(super) fn parse(value: &Value<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let key = match m.required("event", text)?.as_str() {
            "registered" => Key::Registered {
                key: NewKey::members(&mut m)?,
            },
            "rotated" => Key::Rotated {
                key: NewKey::members(&mut m)?,
                replaces: m.required("replaces", key_id)?,
            },
            "revoked" => Key::Revoked {
                key_id: m.required("keyId", key_id)?,
                until: m.optional("until", count)?,
                reason: m.required("reason", text)?,
            },
            _ => return Err(Refused::from(Refusal::Members).at("event")),
        };
        m.close(key)
    }

    pub(super) fn to_value(&self) -> Value<'_> {
        let mut w = Writer::new();
        match self {
            Key::Registered { key } => {
                w.put("event", "registered");
                key.put(&mut w);
            }
            Key::Rotated { key, replaces } => {
                w.put("event", "rotated");
                key.put(&mut w);
                w.put("replaces", *replaces);
            }
            Key::Revoked {
                key_id,
                until,
                reason,
            } => {
                w.put("event", "revoked");
                w.put("keyId", *key_id);
                w.put("until", *until);
                w.put("reason", reason);
            }
        }
        w.into()
    }
}

impl NewKey {
    fn members(m: &mut Members<'_, '_>) -> Result<Self, Refused> {
        Ok(Self {
            public_key: m.required("publicKey", |value| {
                Ok(PublicKey::from_bytes(fixed(value)?)?)
            })?,
            key_use: m.required("use", |value| words(value, KeyUse::parse))?,
            institution: m.required("institution", institution)?,
            possession: m.required("possession", fixed)?,
            from: m.optional("from", count)?,
        })
    }

    fn parse_founding(value: &Value<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let key = Self::members(&mut m)?;
        if key.from.is_some() {
            return Err(Refused::from(Refusal::Members).at("from"));
        }
        m.close(key)
    }

    fn writer(&self) -> Writer<'_> {
        let mut w = Writer::new();
        self.put(&mut w);
        w
    }

    fn put<'a>(&'a self, w: &mut Writer<'a>) {
        w.put("publicKey", base64::url_encode(self.public_key.as_bytes()));
        w.put("use", self.key_use.as_str());
        w.put("institution", &self.institution);
        w.put("possession", base64::url_encode(&self.possession));
        w.put("from", self.from);
    }
}

impl Role {
    fn founding_members(m: &mut Members<'_, '_>) -> Result<Self, Refused> {
        Ok(Self {
            institution: m.required("institution", institution)?,
            role: m.required("role", role)?,
            granted: true,
        })
    }

    fn parse_founding(value: &Value<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let role = Self::founding_members(&mut m)?;
        m.close(role)
    }

    pub(super) fn parse(value: &Value<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let role = Self {
            granted: m.required("event", granted)?,
            ..Self::founding_members(&mut m)?
        };
        m.close(role)
    }

    fn founding(&self) -> Writer<'_> {
        let mut w = Writer::new();
        w.put("institution", &self.institution);
        w.put("role", &self.role);
        w
    }

    pub(super) fn to_value(&self) -> Value<'_> {
        let mut w = self.founding();
        w.put("event", granted_word(self.granted));
        w.into()
    }
}

impl Delegation {
    pub(super) fn parse(value: &Value<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let delegation = Self {
            controller: m.required("controller", institution)?,
            submitter: m.required("submitter", institution)?,
            granted: m.required("event", granted)?,
        };
        m.close(delegation)
    }

    pub(super) fn to_value(&self) -> Value<'_> {
        let mut w = Writer::new();
        w.put("controller", &self.controller);
        w.put("submitter", &self.submitter);
        w.put("event", granted_word(self.granted));
        w.into()
    }
}

impl Node {
    fn founding_members(m: &mut Members<'_, '_>) -> Result<Self, Refused> {
        Ok(Self {
            node: NodeNumber(m.required("node", number)?),
            institution: m.required("institution", institution)?,
            node_key: m.required("nodeKey", key_id)?,
            cosign_key: m.required("cosignKey", key_id)?,
            peer: m.required("peer", peer)?,
            added: true,
            log_key: None,
        })
    }

    fn parse_founding(value: &Value<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let node = Self::founding_members(&mut m)?;
        m.close(node)
    }

    pub(super) fn parse(value: &Value<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let node = Self {
            added: m.required("event", |value| match value.as_text() {
                Some("added") => Ok(true),
                Some("removed") => Ok(false),
                _ => Err(Refusal::Members.into()),
            })?,
            log_key: m.optional("logKey", key_id)?,
            ..Self::founding_members(&mut m)?
        };
        m.close(node)
    }

    fn founding(&self) -> Writer<'_> {
        let mut w = Writer::new();
        w.put("node", self.node.0);
        w.put("institution", &self.institution);
        w.put("nodeKey", self.node_key);
        w.put("cosignKey", self.cosign_key);
        w.put("peer", &self.peer);
        w
    }

    pub(super) fn to_value(&self) -> Value<'_> {
        let mut w = self.founding();
        w.put("event", if self.added { "added" } else { "removed" });
        w.put("logKey", self.log_key);
        w.into()
    }
}

impl PolicyText {
    pub(super) fn parse(value: &Value<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let policy = Self {
            text: m.required("text", text)?,
        };
        m.close(policy)
    }

    pub(super) fn to_value(&self) -> Value<'_> {
        let mut w = Writer::new();
        w.put("text", &self.text);
        w.into()
    }
}

impl Rules {
    pub(super) fn parse(value: &Value<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let rules = Self {
            rules: m.required("rules", small)?,
            oprf_key: m.optional("oprfKey", digest)?,
        };
        m.close(rules)
    }

    pub(super) fn to_value(self) -> Value<'static> {
        let mut w = Writer::new();
        w.put("rules", self.rules);
        w.put("oprfKey", self.oprf_key);
        w.into()
    }
}

fn role(value: &Value<'_>) -> Result<String, Refused> {
    let role = text(value)?;
    let good = (1..=64).contains(&role.len())
        && role
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if good {
        Ok(role)
    } else {
        Err(Refusal::Members.into())
    }
}

fn peer(value: &Value<'_>) -> Result<String, Refused> {
    let peer = text(value)?;
    let host_and_port = peer.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok()
    });
    let good =
        host_and_port && peer.len() <= 255 && peer.bytes().all(|byte| byte.is_ascii_graphic());
    if good {
        Ok(peer)
    } else {
        Err(Refusal::Members.into())
    }
}

fn granted(value: &Value<'_>) -> Result<bool, Refused> {
    match value.as_text() {
        Some("granted") => Ok(true),
        Some("revoked") => Ok(false),
        _ => Err(Refusal::Members.into()),
    }
}

fn granted_word(granted: bool) -> &'static str {
    if granted { "granted" } else { "revoked" }
}
