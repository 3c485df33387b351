// SPDX-License-Identifier: EUPL-1.2
//! Consents of a person: `POST /v1/consents/search`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A search for the consents of a person, or for one record of theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConsentSearch {
    /// Ref of the person, base64url.
    #[schema(
        pattern = "^[A-Za-z0-9_-]{43}$",
        example = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
    )]
    pub subject: String,
    /// One record; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// Status at this time; now when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub at: Option<String>,
    /// `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Most records on the page, 1 to 100; 50 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Int32, minimum = 1, maximum = 100)]
    pub limit: Option<u32>,
}

/// Asks for the receipt of a consent record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReceiptQuery {
    /// Ref of the person, base64url.
    #[schema(
        pattern = "^[A-Za-z0-9_-]{43}$",
        example = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
    )]
    pub subject: String,
    /// Name of the record.
    #[schema(min_length = 1, max_length = 512)]
    pub record: String,
}

/// A page of consent records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsentPage {
    /// The records that the reader may see, the latest begun first.
    pub items: Vec<ConsentRecord>,
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
    /// Time that the status is of.
    #[schema(format = DateTime)]
    pub at: String,
    /// Tree size that the answer reflects.
    #[schema(format = Int64, minimum = 0)]
    pub tree_size: u64,
    /// Newest published checkpoint known here (signed note).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
}

/// A consent record with its status at the time asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsentRecord {
    /// Name of the record.
    pub record: String,
    /// `given`, `refused`, `withdrawn`, `expired`, `not-yet`, or `unknown`: no event that counts is known by then. There was none, its body is
    /// erased and nothing else tells what it said, or thousands that do not count stand above it.
    #[schema(example = "given")]
    pub status: String,
    /// Purposes of the consent last given, CURIEs. They, and what follows to `validUntil`, are left out where the reader may not see that event, or its body
    /// is erased.
    pub purposes: Vec<String>,
    /// Institutions that may see the data.
    pub recipients: Vec<String>,
    /// Data categories, CURIEs.
    pub data_categories: Vec<String>,
    /// From when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub valid_from: Option<String>,
    /// Until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub valid_until: Option<String>,
    /// What happened, oldest first.
    pub events: Vec<ConsentEvent>,
    /// Whether some are left out: of very many events the newest and the first are told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more_events: bool,
}

/// One event of a consent record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsentEvent {
    /// Entry that says so.
    #[schema(format = Int64, minimum = 0)]
    pub index: u64,
    /// `given`, `refused`, `withdrawn` or `renewed`; absent where the body is erased and it is not the record's last event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// When, by the institution's clock; absent where the body is erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub occurred_at: Option<String>,
    /// When the ledger accepted it.
    #[schema(format = DateTime)]
    pub accepted_at: String,
    /// Who received it; absent where the body is erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub institution: Option<String>,
    /// Whether the body is erased. The entry itself says by which order.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub erased: bool,
}

/// A question for the status of one consent record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConsentStatusQuery {
    /// Ref of the person, base64url.
    #[schema(
        pattern = "^[A-Za-z0-9_-]{43}$",
        example = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
    )]
    pub subject: String,
    /// The record.
    #[schema(min_length = 1, max_length = 512)]
    pub record: String,
    /// Status at this time; now when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub at: Option<String>,
    /// Whether to prove it under a state root: the answer then covers everything acknowledged before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<bool>,
}

/// The status of one consent record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsentStatus {
    /// The record as the reader may see it.
    pub record: ConsentRecord,
    /// Time that the status is of.
    #[schema(format = DateTime)]
    pub at: String,
    /// Tree size that the answer reflects.
    #[schema(format = Int64, minimum = 0)]
    pub tree_size: u64,
    /// If asked for: the last event of the record (kind 6) under a state root, for each ref of the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<crate::proof::StateProof>,
}
