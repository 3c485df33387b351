// SPDX-License-Identifier: EUPL-1.2
//! Who belongs to a household at a time: `POST /v1/households/composition`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Asks for a household's composition at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CompositionQuery {
    /// Ref of the household, base64url.
    #[schema(
        pattern = "^[A-Za-z0-9_-]{43}$",
        example = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
    )]
    pub household: String,
    /// At this time; now when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub at: Option<String>,
}

/// A household's composition at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Composition {
    /// Ref of the household, base64url.
    pub household: String,
    /// `anagrafica` or `isee`.
    pub kind: String,
    /// Time asked for.
    #[schema(format = DateTime)]
    pub at: String,
    /// This composition holds from.
    #[schema(format = DateTime)]
    pub valid_from: String,
    /// Entry that says so.
    #[schema(format = Int64, minimum = 0)]
    pub index: u64,
    /// Members.
    pub members: Vec<HouseholdMember>,
    /// Tree size that the answer reflects.
    #[schema(format = Int64, minimum = 0)]
    pub tree_size: u64,
    /// Newest published checkpoint known here (signed note).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
}

/// A member of a household.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HouseholdMember {
    /// Ref of the person, base64url.
    #[serde(rename = "ref")]
    pub person: String,
    /// Relation, as the registry says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relation: Option<String>,
}
