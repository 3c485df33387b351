// SPDX-License-Identifier: EUPL-1.2
//! A reader's token: a JWT (EdDSA) signed with a registered key of use `token`. Whoever makes one and whoever checks one share these claims.

use serde::{Deserialize, Serialize};

/// Longest life of a token, in seconds.
pub const LIFE_SECONDS_MAX: u64 = 300;
/// How far `iat` may lie ahead of the server's clock, in seconds.
pub const SKEW_SECONDS_MAX: u64 = 30;

/// Claims of a reader's token. The header is `{"alg":"EdDSA","typ":"JWT","kid":base64url(key_id)}`, nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// Institution of the reader, which holds the key.
    pub iss: String,
    /// Name of the ledger.
    pub aud: String,
    /// The person, by the institution's own id; goes into the `read` entry as a disclosure.
    pub sub: String,
    /// What the person reads as.
    pub role: Role,
    /// Purpose, a CURIE.
    pub purpose: String,
    /// The case that the reading serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
    /// Issued at, seconds since the epoch.
    pub iat: u64,
    /// Expires at, seconds since the epoch; at most [`LIFE_SECONDS_MAX`] after `iat`.
    pub exp: u64,
    /// Unique id of the token.
    pub jti: String,
}

/// What a reader reads as. All but `institution` must be granted to the institution by the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Entries that the institution signed or took part in, without operators' persons.
    Institution,
    /// Privacy officer: the same, with persons.
    Dpo,
    /// Supervisory authority: everything.
    Authority,
    /// Runs nodes: the admin routes, no entry.
    Operator,
}

impl Role {
    /// As it stands in tokens and in the registry.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Institution => "institution",
            Role::Dpo => "dpo",
            Role::Authority => "authority",
            Role::Operator => "operator",
        }
    }
}
