// SPDX-License-Identifier: EUPL-1.2
//! Pseudonyms: codes that the asking institution has blinded, evaluated by the cluster (RFC 9497, mode 0x01, ristretto255-SHA512). No code
//! travels, and no ref.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Most elements in one question.
pub const EVALUATIONS_MAX: usize = 1_000;

/// Blinded codes to be evaluated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EvaluationRequest {
    /// Elements of the group ristretto255 in their canonical encoding, base64url, 1 to 1000; not the identity.
    #[schema(
        min_items = 1,
        max_items = 1000,
        example = json!(["4vKuCmq6vE_FAk7ghsVHXp_w3GybXOl3qfd26ChCLXY"])
    )]
    pub blinded: Vec<String>,
    /// The ledger's key to evaluate with, base64url: one of an epoch before, to prove that two refs are one person's. The key in force when
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[A-Za-z0-9_-]{43}$")]
    pub key: Option<String>,
}

/// The evaluations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Evaluations {
    /// The ledger's key that the shares together stand for; believe the one that genesis or a later `rules` entry names.
    #[schema(pattern = "^[A-Za-z0-9_-]{43}$")]
    pub public_key: String,
    /// Shares of the evaluation. Today each node holds the whole key and one share suffices, with the same key as above; were the key
    /// divided, t of n shares of several nodes would be combined.
    #[schema(min_items = 1)]
    pub shares: Vec<Share>,
}

/// What one node evaluated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// The node.
    #[schema(format = Int64, minimum = 1)]
    pub node: u64,
    /// The key that it evaluated with.
    #[schema(pattern = "^[A-Za-z0-9_-]{43}$")]
    pub public_key: String,
    /// An element for each in the question, in its order, base64url.
    pub evaluated: Vec<String>,
    /// DLEQ proof for all of them, challenge and response, 64 bytes, base64url.
    #[schema(pattern = "^[A-Za-z0-9_-]{86}$")]
    pub proof: String,
}

/// How the answering node stands to pseudonyms, and who had how many evaluated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PseudonymUse {
    /// The answering node.
    #[schema(format = Int64, minimum = 1)]
    pub node: u64,
    /// It evaluates with the key in force.
    pub serving: bool,
    /// The key in force, or why none is evaluated with.
    pub detail: String,
    /// Since when it counts: its start.
    #[schema(format = DateTime)]
    pub since: String,
    /// Most evaluations an hour for one institution that raise no alarm.
    #[schema(format = Int64, minimum = 0)]
    pub alarm_per_hour: u64,
    /// Each institution that asked, by name.
    pub institutions: Vec<InstitutionUse>,
}

/// How many codes one institution had evaluated by the answering node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstitutionUse {
    /// Who.
    #[schema(example = "ipa:c_m109")]
    pub institution: String,
    /// Since the node's start.
    #[schema(format = Int64, minimum = 0)]
    pub evaluated: u64,
    /// In the hour that runs.
    #[schema(format = Int64, minimum = 0)]
    pub this_hour: u64,
    /// Hours since the node's start in which it went over the alarm.
    #[schema(format = Int64, minimum = 0)]
    pub alarms: u64,
}
