// SPDX-License-Identifier: EUPL-1.2
//! A day's tracing file of the national platform (PDND) held against the ledger: `POST /v1/tracing/reconciliations`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Columns of a tracing file, in this order.
pub const COLUMNS: [&str; 5] = ["date", "purpose_id", "status", "token_id", "requests_count"];

/// What a day's tracing file and the ledger say of the same calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reconciliation {
    /// The institution whose calls were counted.
    #[schema(example = "ipa:inps")]
    pub institution: String,
    /// The day, in Italy.
    #[schema(format = Date)]
    pub date: String,
    /// When that day began.
    #[schema(format = DateTime)]
    pub from: String,
    /// When it ended: 23, 24 or 25 hours later.
    #[schema(format = DateTime)]
    pub to: String,
    /// Whether file and ledger agree: no differences and nothing that could not be compared.
    pub agrees: bool,
    /// Rows of the file.
    #[schema(format = Int64, minimum = 0)]
    pub rows: u64,
    /// Calls that the file counts.
    #[schema(format = Int64, minimum = 0)]
    pub requests_in_file: u64,
    /// Calls that the institution told the ledger; an exchange in parts is one.
    #[schema(format = Int64, minimum = 0)]
    pub requests_in_ledger: u64,
    /// Every difference, by purpose, status and token.
    pub differences: Vec<TracingDifference>,
    /// Indexes of entries of that day that name no purpose, status or token of the platform, or were erased.
    #[schema(value_type = Vec<i64>)]
    pub not_comparable: Vec<u64>,
    /// Tree size that the answer reflects.
    #[schema(format = Int64, minimum = 0)]
    pub tree_size: u64,
}

/// Calls that file and ledger count differently.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TracingDifference {
    /// Which side lacks them.
    pub kind: TracingKind,
    /// PDND's purpose.
    pub purpose_id: String,
    /// HTTP status of the answers.
    #[schema(format = Int32, minimum = 100, maximum = 599)]
    pub status: u16,
    /// `jti` of the voucher.
    pub token_id: String,
    /// Calls that the file counts.
    #[schema(format = Int64, minimum = 0)]
    pub in_file: u64,
    /// Calls that the ledger holds.
    #[schema(format = Int64, minimum = 0)]
    pub in_ledger: u64,
    /// Line of the file, if it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Int64, minimum = 2)]
    pub line: Option<u64>,
    /// Indexes of the first entries in the ledger, at most ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<i64>)]
    pub entries: Vec<u64>,
}

/// What a difference is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TracingKind {
    /// The file counts calls that nobody told the ledger.
    MissingInLedger,
    /// The ledger holds calls that the file does not count.
    MissingInFile,
    /// Both know them and count differently.
    OtherCount,
}
