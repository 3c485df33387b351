// SPDX-License-Identifier: EUPL-1.2
//! The two sides of each exchange: `GET /v1/exchanges`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A page of exchanges, the last begun first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExchangePage {
    /// Exchanges that the reader took part in; for the authority all.
    pub items: Vec<Exchange>,
    /// Limit that was applied.
    #[schema(format = Int32, minimum = 1, maximum = 100)]
    pub limit: u32,
    /// Cursor of the next page; absent on the last. A page may be short, even empty, and still have a next one.
    #[serde(
        default,
        rename = "next_cursor",
        skip_serializing_if = "Option::is_none"
    )]
    pub next_cursor: Option<String>,
    /// The time by which ages are told.
    #[schema(format = DateTime)]
    pub at: String,
    /// Tree size that the answer reflects.
    #[schema(format = Int64, minimum = 0)]
    pub tree_size: u64,
    /// Newest published checkpoint known here (signed note).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
}

/// One call between two institutions, and whether they say the same of it. Who it was about stands in the entries, not here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exchange {
    /// The consumer's random number of the call, base64url.
    #[schema(pattern = "^[A-Za-z0-9_-]{22}$", example = "AAECAwQFBgcICQoLDA0ODw")]
    pub exchange: String,
    /// Who asked.
    #[schema(example = "ipa:c_m109")]
    pub consumer: String,
    /// Who answered.
    #[schema(example = "ipa:inps")]
    pub provider: String,
    /// What the pair comes to.
    pub state: ExchangeState,
    /// In what the sides differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<ExchangeDifference>,
    /// When the ledger accepted the first entry of the pair.
    #[schema(format = DateTime)]
    pub since: String,
    /// Seconds since then.
    #[schema(format = Int64, minimum = 0)]
    pub age_seconds: u64,
    /// The consumer's side, if it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer_side: Option<ExchangeSide>,
    /// The provider's side, if it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_side: Option<ExchangeSide>,
    /// Indexes of entries that tell a side again; the first stands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<i64>)]
    pub again: Vec<u64>,
}

/// What a pair comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExchangeState {
    /// One side is missing, whole or in part.
    Unpaired,
    /// Both sides say the same.
    Paired,
    /// Both sides are there and say different things.
    Differing,
    /// An entry of it was erased, so that the sides can no longer be compared.
    Erased,
}

/// In what two sides differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExchangeDifference {
    /// The target subjects. Incidental ones are the provider's alone to name and never differ.
    Subjects,
    /// The purpose, or PDND's where both name one.
    Purpose,
    /// The time, by more than five minutes.
    Time,
    /// The outcome, or the status code where both name one.
    Outcome,
}

/// What one side told, its parts together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExchangeSide {
    /// Indexes of its entries.
    #[schema(value_type = Vec<i64>)]
    pub entries: Vec<u64>,
    /// When the first of them was accepted.
    #[schema(format = DateTime)]
    pub accepted_at: String,
    /// When the call occurred, by this side.
    #[schema(format = DateTime)]
    pub occurred_at: String,
    /// Number of parts that it announced, if it came in parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Int64, minimum = 1)]
    pub parts: Option<u64>,
    /// How many persons were asked for.
    #[schema(format = Int64, minimum = 0)]
    pub targets: u64,
    /// How many were met in the answer.
    #[schema(format = Int64, minimum = 0)]
    pub incidental: u64,
    /// Indexes of notes on its entries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<i64>)]
    pub notes: Vec<u64>,
}

/// Which exchanges are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExchangeSearch {
    /// `unpaired`, `paired` or `differing`; all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The side that was told, of unpaired ones: `consumer` or `provider`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side: Option<String>,
    /// First entry accepted at or after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// First entry accepted before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// First entry accepted so many seconds ago or earlier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub older_than: Option<u64>,
    /// `next_cursor` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Most items on the page, 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}
