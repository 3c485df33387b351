// SPDX-License-Identifier: EUPL-1.2
//! Erasures: who ordered what away and why, and which nodes have done it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An `erasure` entry and what became of it. It names entries, never a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Erasure {
    /// Place of the order.
    #[schema(format = Int64, minimum = 0)]
    pub index: u64,
    /// Who ordered it.
    #[schema(example = "ipa:c_m109")]
    pub institution: String,
    /// When the ledger accepted the order.
    #[schema(format = DateTime)]
    pub accepted_at: String,
    /// Why: `retention-ended`, or a letter of Art. 17(1) GDPR such as `unlawful`.
    #[schema(example = "unlawful")]
    pub ground: String,
    /// The entries named that the reader may know of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<u64>,
    /// Only one person's disclosure goes from those entries.
    pub one_person: bool,
    /// A cut: everything before this index that is older than the time of retention.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Int64, minimum = 0)]
    pub before: Option<u64>,
    /// Types that the cut takes; all that a cut takes when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// Some node has not said yet that nothing is left on its disks.
    pub open: bool,
    /// How long it has been open, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Int64, minimum = 0)]
    pub open_seconds: Option<u64>,
    /// The nodes that have to say so.
    pub nodes: Vec<ErasureNode>,
    /// Entries of the reader's own institution that tell of the same exchanges as erased ones: they still stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub twins: Vec<ErasureTwin>,
}

/// A node that has to carry an erasure out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErasureNode {
    /// Its number.
    #[schema(format = Int64, minimum = 1)]
    pub node: u64,
    /// Its `erased` entry; absent while it has not signed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erased: Option<NodeErased>,
}

/// What a node signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeErased {
    /// Place of the `erased` entry.
    #[schema(format = Int64, minimum = 0)]
    pub index: u64,
    /// When the ledger accepted it.
    #[schema(format = DateTime)]
    pub at: String,
    /// Entries of which what was ordered is gone.
    #[schema(format = Int64, minimum = 0)]
    pub done: u64,
    /// Entries named that stay: not the signer's, of a type that is not erased, or without such a person.
    #[schema(format = Int64, minimum = 0)]
    pub spared: u64,
}

/// Both sides of an exchange, one of them erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErasureTwin {
    /// The erased one.
    #[schema(format = Int64, minimum = 0)]
    pub erased: u64,
    /// The reader's own.
    #[schema(format = Int64, minimum = 0)]
    pub own: u64,
}

/// A page of erasures, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErasurePage {
    /// The erasures.
    #[schema(max_items = 100)]
    pub items: Vec<Erasure>,
    /// Most items on the page.
    #[schema(format = Int32, minimum = 1, maximum = 100)]
    pub limit: u32,
    /// Where the next page begins; absent on the last one.
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

/// Who had a part of an entry erased, when and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErasedBy {
    /// Place of the order.
    #[schema(format = Int64, minimum = 0)]
    pub index: u64,
    /// Who ordered it.
    pub institution: String,
    /// When the ledger accepted the order.
    #[schema(format = DateTime)]
    pub on: String,
    /// Why.
    #[schema(example = "unlawful")]
    pub ground: String,
}
