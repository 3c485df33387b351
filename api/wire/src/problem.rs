// SPDX-License-Identifier: EUPL-1.2
//! Problem documents (RFC 9457): the one shape of every error.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where the documents' `type` URIs start; the code follows. They name a problem and need not resolve.
pub const TYPE_PREFIX: &str = "https://visto.example/problems/";

/// A problem document (RFC 9457). `type` is stable and unique per problem: decide by it, not by the words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Stable URI of the problem; its last segment is the code.
    #[serde(rename = "type")]
    #[schema(format = "uri", example = "https://visto.example/problems/signature")]
    pub kind: String,
    /// What went wrong, the same words for every problem of this type.
    #[schema(example = "A signature does not verify")]
    pub title: String,
    /// HTTP status of the answer (of this line, in a batch).
    #[schema(format = Int32, minimum = 100, maximum = 599, example = 422)]
    pub status: u16,
    /// What went wrong in this request; never text from inside the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// `urn:visto:request:<id>`: the request, as the access log has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "urn:visto:request:0199b2c4-7d1e-7c3a-9f2b-3c4d5e6f7a8b")]
    pub instance: Option<String>,
    /// What the sender should do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The bad members, if the problem lies in the request's body or parameters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ProblemError>,
}

/// One bad member of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProblemError {
    /// JSON pointer (RFC 6901) to the member, in the body for entries, in the request's JSON otherwise.
    #[schema(example = "/access/purpose")]
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

impl Problem {
    /// The last segment of `type`, if it is one of Visto's.
    pub fn code(&self) -> Option<&str> {
        self.kind.strip_prefix(TYPE_PREFIX)
    }
}
