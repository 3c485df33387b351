// SPDX-License-Identifier: EUPL-1.2
//! Whom one person's accesses touched: `POST /v1/operators/subjects`, for notifications under Art. 33 and 34 GDPR.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whose accesses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScopeQuery {
    /// The institution that the person works for.
    #[schema(example = "ipa:c_m109")]
    pub institution: String,
    /// The institution's own id of the person (ModI `userID`).
    #[schema(min_length = 1, max_length = 512)]
    pub operator: String,
}

/// A line of the answer: one subject that was touched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Touched {
    /// Ref of the subject, base64url.
    #[serde(rename = "ref")]
    #[schema(rename = "ref", pattern = "^[A-Za-z0-9_-]{43}$")]
    pub subject: String,
    /// How many entries of this person name the subject.
    pub count: u64,
    /// When the ledger accepted the first of them.
    #[schema(format = DateTime)]
    pub first: String,
    /// When the ledger accepted the last of them.
    #[schema(format = DateTime)]
    pub last: String,
}

/// The last line of the answer: what it adds up to. An answer without it was cut short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScopeEnd {
    /// Subjects that were touched.
    pub subjects: u64,
    /// Entries that were looked at.
    pub entries: u64,
    /// Entries whose subjects are not told: they are sealed, and the reader is not the authority; or deleted.
    pub untold: u64,
    /// Tree size that the answer reflects.
    pub tree_size: u64,
}
