// SPDX-License-Identifier: EUPL-1.2
//! The registry: institutions, keys, nodes, trust policy, rule set. Open to everybody, since verifiers need it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::proof::StateProof;

/// An institution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Institution {
    /// `ipa:<code>` or `cf:<11 digits>`.
    #[schema(example = "ipa:inps")]
    pub institution: String,
    /// Name.
    pub name: String,
    /// Takes part; false once ended.
    pub active: bool,
    /// Successor after a merger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<String>,
    /// Roles granted to it.
    pub roles: Vec<String>,
    /// Key ids registered for it, base64url.
    pub keys: Vec<String>,
}

/// All institutions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstitutionPage {
    /// The institutions, by id.
    pub items: Vec<Institution>,
    /// Limit that was applied.
    #[schema(format = Int32, minimum = 1, maximum = 100)]
    pub limit: u32,
    /// Cursor of the next page; absent on the last.
    #[serde(
        default,
        rename = "next_cursor",
        skip_serializing_if = "Option::is_none"
    )]
    pub next_cursor: Option<String>,
    /// Tree size that the answer reflects.
    #[schema(format = Int64, minimum = 0)]
    pub tree_size: u64,
}

/// A key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    /// Key id, base64url.
    pub key_id: String,
    /// Ed25519 public key, base64url.
    pub public_key: String,
    /// `entry`, `token`, `governance`, `node`, `cosign` or `log`.
    #[serde(rename = "use")]
    #[schema(example = "entry")]
    pub key_use: String,
    /// Its one institution.
    pub institution: String,
    /// First index at which it is in force.
    #[schema(format = Int64, minimum = 0)]
    pub from: u64,
    /// First index at which it is no longer; absent = open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Int64, minimum = 0)]
    pub until: Option<u64>,
    /// In force at the next index.
    pub in_force: bool,
    /// If asked for, and once there is a state root: the proof of the key's value (kind 3) under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<StateProof>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Number of the node.
    #[schema(format = Int64, minimum = 1)]
    pub node: u64,
    /// Institution that runs it.
    pub institution: String,
    /// Key id of its node key, base64url.
    pub node_key: String,
    /// Key id of its cosign key, base64url.
    pub cosign_key: String,
}

/// All nodes in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodePage {
    /// The nodes, by number.
    pub items: Vec<Node>,
    /// Tree size that the answer reflects.
    #[schema(format = Int64, minimum = 0)]
    pub tree_size: u64,
}

/// The trust policy that governance set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// C2SP tlog-policy. A verifier compares it with a copy from elsewhere: a policy that only this server vouches for proves nothing.
    pub text: String,
    /// Tree size that the answer reflects.
    #[schema(format = Int64, minimum = 0)]
    pub tree_size: u64,
}

/// The rule set in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rules {
    /// Number of the rule set.
    #[schema(format = Int32, minimum = 0)]
    pub rules: u16,
    /// Tree size that the answer reflects.
    #[schema(format = Int64, minimum = 0)]
    pub tree_size: u64,
}

/// Where governance stands: the next governance entry names this one in `refersTo`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Governance {
    /// Index of the governance entry last accepted.
    #[schema(format = Int64, minimum = 0)]
    pub index: u64,
    /// Its leaf hash, base64url.
    pub leaf: String,
    /// Signatures of distinct institutions that the next one needs.
    #[schema(format = Int64, minimum = 1)]
    pub k: u64,
    /// Tree size that the answer reflects.
    #[schema(format = Int64, minimum = 0)]
    pub tree_size: u64,
}
