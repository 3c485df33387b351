// SPDX-License-Identifier: EUPL-1.2
//! Who saw whose data: `POST /v1/accesses/search`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::entry::Entry;

/// A search for accesses. Exactly one of `household`, `subject`, `institution`; `operator` only beside `institution`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessSearch {
    /// Ref of a household, base64url: every access to a member while a member, by the `occurredAt` of the access.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(
        pattern = "^[A-Za-z0-9_-]{43}$",
        example = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
    )]
    pub household: Option<String>,
    /// Ref of a person, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(
        pattern = "^[A-Za-z0-9_-]{43}$",
        example = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
    )]
    pub subject: Option<String>,
    /// An institution that signed or took part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "ipa:c_m109")]
    pub institution: Option<String>,
    /// The institution's own id of the person who caused the request (ModI `userID`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 512)]
    pub operator: Option<String>,
    /// `occurredAt` at or after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub from: Option<String>,
    /// `occurredAt` before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub to: Option<String>,
    /// Purpose, a CURIE, equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 512, example = "dpv:ServiceProvision")]
    pub purpose: Option<String>,
    /// Name of a finding that the entry carries; `any` = at least one, `none` = covered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "consent-withdrawn")]
    pub finding: Option<String>,
    /// Types of entries, `["access"]` when absent; `read` shows who looked through this API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 19, example = json!(["access"]))]
    pub types: Option<Vec<String>>,
    /// `next_cursor` of the page before; bound to the query and the reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Most items on the page, 1 to 100; 50 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Int32, minimum = 1, maximum = 100)]
    pub limit: Option<u32>,
}

/// A page of entries, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EntryPage, bound = "")]
pub struct EntryPage<B = serde_json::Value> {
    /// The entries that the reader may see.
    #[schema(value_type = Vec<Entry>)]
    pub items: Vec<Entry<B>>,
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
    /// Tree size that the answer reflects.
    #[schema(format = Int64, minimum = 0)]
    pub tree_size: u64,
    /// Newest published checkpoint known here (signed note).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// For a household: who was a member when, as the registry said at this tree size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<Spell>>,
    /// For a household: when it is not known any more who was a member, since a composition that may have held then is erased. Nothing is shown of then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members_unknown: Vec<Span>,
}

/// A span of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    /// From; absent = from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub from: Option<String>,
    /// Until (excluded); absent = without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub until: Option<String>,
}

/// A spell of membership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Spell {
    /// Ref of the member, base64url.
    #[serde(rename = "ref")]
    #[schema(pattern = "^[A-Za-z0-9_-]{43}$")]
    pub person: String,
    /// Member from.
    #[schema(format = DateTime)]
    pub from: String,
    /// Member until (excluded); absent = still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub until: Option<String>,
}
