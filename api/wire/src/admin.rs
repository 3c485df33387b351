// SPDX-License-Identifier: EUPL-1.2
//! What an operator asks: the cluster, its roots, and health.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The cluster as the answering node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// The answering node.
    #[schema(format = Int64, minimum = 1)]
    pub node: u64,
    /// Version of its software.
    pub version: String,
    /// `leader`, `follower`, `learner` or `candidate`.
    pub role: String,
    /// Leader, if one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Int64, minimum = 1)]
    pub leader: Option<u64>,
    /// Raft term.
    #[schema(format = Int64, minimum = 0)]
    pub term: u64,
    /// Last index of the Raft log, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Int64, minimum = 0)]
    pub raft_last_index: Option<u64>,
    /// Raft index last applied, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Int64, minimum = 0)]
    pub raft_applied_index: Option<u64>,
    /// Tree size applied here.
    #[schema(format = Int64, minimum = 0)]
    pub tree_size: u64,
    /// Tree size last published, as known here.
    #[schema(format = Int64, minimum = 0)]
    pub published_size: u64,
    /// A quorum answers, and this node may serve.
    pub healthy: bool,
    /// How many voters may fail before writes stop, as the leader sees it.
    #[schema(format = Int32, minimum = 0)]
    pub failure_tolerance: u32,
    /// This node's clock minus the voters' median, in milliseconds, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Int64)]
    pub clock_offset_ms: Option<i64>,
    /// The members.
    pub members: Vec<Member>,
}

/// A member of the Raft group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Number of the node.
    #[schema(format = Int64, minimum = 1)]
    pub node: u64,
    /// Votes; false = learner.
    pub voter: bool,
    /// Raft index that it has, as the leader knows; absent on other nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Int64, minimum = 0)]
    pub raft_matched_index: Option<u64>,
    /// Raft entries behind the leader; absent on other nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Int64, minimum = 0)]
    pub lag: Option<u64>,
    /// Its clock minus this node's in milliseconds, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Int64)]
    pub clock_offset_ms: Option<i64>,
}

/// The root that the answering node computes from its own tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Root {
    /// The answering node.
    #[schema(format = Int64, minimum = 1)]
    pub node: u64,
    /// Size of the tree.
    #[schema(format = Int64, minimum = 0)]
    pub tree_size: u64,
    /// Its root, base64url.
    pub root: String,
}

/// Whether the node is ready to serve, check by check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// All checks hold, but for `pseudonyms`: a node that evaluates none serves all else.
    pub ready: bool,
    /// The checks, if asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
}

/// One check of readiness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// It holds.
    pub ok: bool,
    /// In words.
    pub detail: String,
}
