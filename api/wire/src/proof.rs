// SPDX-License-Identifier: EUPL-1.2
//! RFC 6962 proofs. They reveal no content and are open to everybody.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An inclusion proof (RFC 6962, 2.1.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InclusionProof {
    /// Place of the leaf.
    #[schema(format = Int64, minimum = 0)]
    pub index: u64,
    /// Size of the tree.
    #[schema(format = Int64, minimum = 1)]
    pub tree_size: u64,
    /// Leaf hash, base64url.
    pub leaf_hash: String,
    /// Root of the tree, base64url.
    pub root: String,
    /// Hashes, base64url, the leaf's sibling first.
    pub hashes: Vec<String>,
}

/// A consistency proof (RFC 6962, 2.1.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsistencyProof {
    /// Size of the older tree.
    #[schema(format = Int64, minimum = 0)]
    pub from: u64,
    /// Size of the newer tree.
    #[schema(format = Int64, minimum = 0)]
    pub to: u64,
    /// Root of the older tree, base64url.
    pub from_root: String,
    /// Root of the newer tree, base64url.
    pub to_root: String,
    /// Hashes, base64url.
    pub hashes: Vec<String>,
}

/// Values under a state root, proven: the members of an export, so that the same verifier checks them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StateProof {
    /// A published checkpoint (signed note) that holds the `state-root` entry.
    pub checkpoint: String,
    /// The `state-root` entry with its path under that checkpoint.
    #[schema(value_type = Object)]
    pub state_root: serde_json::Value,
    /// `{kind, name, value, proof}` each: a value, or null and the proof that there is none.
    #[schema(value_type = Vec<Object>)]
    pub facts: Vec<serde_json::Value>,
}
