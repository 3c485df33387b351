// SPDX-License-Identifier: EUPL-1.2
//! THE mapping outward: every refusal, failure, unknown outcome and bad request becomes a status and a problem document (RFC 9457) here, and
//! nowhere else.
//!
//! Inner rooms know no HTTP; their words stay inside. What a client reads is a title per type, a remedy, pointers to the members at fault, and
//! a detail from this file's own words. What went wrong inside goes to the log under the request's id.

use std::fmt::Display;

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use ledger::refusal::{Refusal, Refused};
use wire::{Problem, ProblemError, problem::TYPE_PREFIX};

use crate::{limits::TooFast, pseudonyms::Unserved};

tokio::task_local! {
    /// Id of the request that the current task answers.
    pub static REQUEST_ID: String;
}

/// Why a request is not answered as asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The ledger's rules say no; nothing of the entry is kept.
    Refused(Refused),
    /// The request itself is not as specified.
    Request(RequestFault),
    /// The token does not let anybody in.
    Token(TokenFault),
    /// The reader may not use this route, or not in this way.
    Forbidden,
    /// Not there, or not the reader's to see: the same answer for both.
    NotFound,
    /// The route exists, the method does not.
    Method,
    /// Too fast.
    TooFast(TooFast),
    /// No quorum of nodes answered: certainly not written.
    NoQuorum,
    /// More is under way than the node can take: certainly not written.
    Overloaded,
    /// The node is stopping: certainly not written.
    ShuttingDown,
    /// The entry may have been written, or not.
    OutcomeUnknown,
    /// Something that the answer rests on was erased while the reading was put on record.
    Overtaken,
    /// The node cannot serve yet, or no longer: which checks fail.
    NotReady(Vec<String>),
    /// The node evaluates no pseudonyms.
    Pseudonyms(Unserved),
    /// The node cannot read what it stored; it stops.
    Internal,
}

/// A request that is not as specified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestFault {
    /// Another media type than the route takes.
    MediaType,
    /// A body longer than the route takes.
    TooLarge,
    /// The body did not arrive in time, or broke off.
    Body,
    /// More lines than a batch may have.
    BatchTooLong,
    /// A batch without any line.
    BatchEmpty,
    /// JSON that cannot be read.
    Json(Refused),
    /// A member or parameter that does not fit: JSON pointer (or name of the parameter), and what was expected.
    Member(String, &'static str),
    /// A cursor that was made for another query or reader, or by nobody.
    Cursor,
    /// A size or index beyond the tree.
    Beyond,
}

/// A token that does not let anybody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TokenFault {
    Missing,
    Malformed,
    Algorithm,
    Key,
    Signature,
    Audience,
    Issuer,
    Time,
    Expired,
    Life,
    Role,
}

impl TokenFault {
    /// All of them.
    pub const ALL: &[TokenFault] = &[
        TokenFault::Missing,
        TokenFault::Malformed,
        TokenFault::Algorithm,
        TokenFault::Key,
        TokenFault::Signature,
        TokenFault::Audience,
        TokenFault::Issuer,
        TokenFault::Time,
        TokenFault::Expired,
        TokenFault::Life,
        TokenFault::Role,
    ];
}

/// One row of the mapping.
struct Row {
    code: &'static str,
    status: StatusCode,
    title: &'static str,
    remedy: Option<&'static str>,
}

const fn row(
    code: &'static str,
    status: StatusCode,
    title: &'static str,
    remedy: &'static str,
) -> Row {
    Row {
        code,
        status,
        title,
        remedy: if remedy.is_empty() {
            None
        } else {
            Some(remedy)
        },
    }
}

impl Fault {
    /// Something broke inside: the cause goes to the log, the client learns that it did.
    pub fn internal(cause: impl Display) -> Fault {
        tracing::error!(error = %cause, "a request failed inside");
        Fault::Internal
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.row().status
    }

    /// The stable code: last segment of the problem's type.
    pub fn code(&self) -> &'static str {
        self.row().code
    }

    /// The problem document.
    pub fn problem(&self) -> Problem {
        let row = self.row();
        Problem {
            kind: format!("{TYPE_PREFIX}{}", row.code),
            title: row.title.to_owned(),
            status: row.status.as_u16(),
            detail: self.detail(),
            instance: REQUEST_ID
                .try_with(|id| format!("urn:visto:request:{id}"))
                .ok(),
            remedy: row.remedy.map(str::to_owned),
            errors: self.errors(),
        }
    }

    fn row(&self) -> Row {
        use StatusCode as S;
        match self {
            Fault::Refused(refused) => Row {
                code: refused.refusal.code(),
                status: refusal_status(refused.refusal),
                title: refusal_title(refused.refusal),
                remedy: Some(refused.refusal.remedy()),
            },
            Fault::Request(fault) => fault.row(),
            Fault::Token(fault) => fault.row(),
            Fault::Forbidden => row(
                "forbidden",
                S::FORBIDDEN,
                "Not open to this reader",
                "Ask with a role that the registry grants to the institution and that this route is open to.",
            ),
            Fault::NotFound => row(
                "not-found",
                S::NOT_FOUND,
                "Not there, or not yours to see",
                "",
            ),
            Fault::Method => row(
                "method-not-allowed",
                S::METHOD_NOT_ALLOWED,
                "The resource does not know this method",
                "Use a method of the header Allow.",
            ),
            Fault::TooFast(_) => row(
                "too-fast",
                S::TOO_MANY_REQUESTS,
                "Too many requests",
                "Wait as long as the header Retry-After says.",
            ),
            Fault::NoQuorum => row(
                "no-quorum",
                S::SERVICE_UNAVAILABLE,
                "No quorum of nodes answers",
                "Nothing was written. Send the same again after the time in Retry-After, to any node.",
            ),
            Fault::Overloaded => row(
                "overloaded",
                S::SERVICE_UNAVAILABLE,
                "The node has more work than it can take",
                "Nothing was written. Send the same again after the time in Retry-After, to any node.",
            ),
            Fault::ShuttingDown => row(
                "shutting-down",
                S::SERVICE_UNAVAILABLE,
                "The node is stopping",
                "Nothing was written. Send the same to another node.",
            ),
            Fault::OutcomeUnknown => row(
                "outcome-unknown",
                S::GATEWAY_TIMEOUT,
                "It cannot be told whether the entry was written",
                "Send the very same entry again, to any node: if it was written, the answer is its first receipt.",
            ),
            Fault::Overtaken => row(
                "erased-meanwhile",
                S::SERVICE_UNAVAILABLE,
                "Something of the answer was erased while it was made",
                "Send the same again after the time in Retry-After: the answer is then of what is left.",
            ),
            Fault::NotReady(_) => row(
                "not-ready",
                S::SERVICE_UNAVAILABLE,
                "The node cannot serve now",
                "Ask another node, or this one after the time in Retry-After.",
            ),
            Fault::Pseudonyms(_) => row(
                "pseudonyms-unserved",
                S::SERVICE_UNAVAILABLE,
                "This node evaluates no pseudonyms",
                "Ask another node; tell the operator the detail.",
            ),
            Fault::Internal => row(
                "internal",
                S::INTERNAL_SERVER_ERROR,
                "The node failed",
                "Ask another node; tell the operator the instance.",
            ),
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Fault::TooFast(fast) => Some(format!(
                "The same call passes in {} s.",
                fast.retry_after_seconds
            )),
            Fault::NotReady(failing) if !failing.is_empty() => {
                Some(format!("Failing: {}.", failing.join(", ")))
            }
            Fault::Pseudonyms(cause) => Some(cause.to_string()),
            _ => None,
        }
    }

    fn errors(&self) -> Vec<ProblemError> {
        match self {
            Fault::Refused(refused) | Fault::Request(RequestFault::Json(refused))
                if !refused.pointer.is_empty() =>
            {
                vec![ProblemError {
                    pointer: refused.pointer.clone(),
                    detail: refusal_title(refused.refusal).to_owned(),
                }]
            }
            Fault::Request(RequestFault::Member(pointer, expected)) => vec![ProblemError {
                pointer: pointer.clone(),
                detail: format!("expected {expected}"),
            }],
            _ => Vec::new(),
        }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match self {
            Fault::Token(TokenFault::Missing) => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Fault::Token(fault) if *fault != TokenFault::Role => {
                headers.insert(
                    header::WWW_AUTHENTICATE,
                    HeaderValue::from_static("Bearer error=\"invalid_token\""),
                );
            }
            Fault::TooFast(fast) => {
                headers.insert(header::RETRY_AFTER, fast.retry_after_seconds.into());
            }
            // A new leader is found within a second or two.
            Fault::NoQuorum | Fault::ShuttingDown | Fault::NotReady(_) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(2));
            }
            Fault::Overloaded | Fault::Overtaken => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(1));
            }
            _ => {}
        }
        headers
    }
}

impl RequestFault {
    fn row(&self) -> Row {
        use StatusCode as S;
        match self {
            RequestFault::MediaType => row(
                "media-type",
                S::UNSUPPORTED_MEDIA_TYPE,
                "This media type is not taken here",
                "Send application/json, or application/x-ndjson for a batch of entries.",
            ),
            RequestFault::TooLarge => row(
                "too-large",
                S::PAYLOAD_TOO_LARGE,
                "The body is too long",
                "Send less at once.",
            ),
            RequestFault::Body => row(
                "body-incomplete",
                S::REQUEST_TIMEOUT,
                "The body did not arrive in time",
                "Send the same again.",
            ),
            RequestFault::BatchTooLong => row(
                "batch-too-long",
                S::PAYLOAD_TOO_LARGE,
                "The batch has too many lines",
                "Send at most 1000 entries a batch.",
            ),
            RequestFault::BatchEmpty => row(
                "batch-empty",
                S::BAD_REQUEST,
                "The batch has no line",
                "Send at least one entry.",
            ),
            RequestFault::Json(_) => row(
                "request-json",
                S::BAD_REQUEST,
                "The body is not JSON as it should be",
                "Send one well-formed JSON object without duplicate members.",
            ),
            RequestFault::Member(..) => row(
                "request-member",
                S::BAD_REQUEST,
                "A member or parameter does not fit",
                "Send what the API's description says.",
            ),
            RequestFault::Cursor => row(
                "cursor",
                S::BAD_REQUEST,
                "The cursor does not belong to this query",
                "Send the query unchanged with the next_cursor of its page before, or begin without a cursor.",
            ),
            RequestFault::Beyond => row(
                "beyond-tree",
                S::BAD_REQUEST,
                "The size or index is beyond the tree, or out of order",
                "Ask for sizes up to the newest checkpoint.",
            ),
        }
    }
}

impl TokenFault {
    fn row(self) -> Row {
        use StatusCode as S;
        match self {
            TokenFault::Missing => row(
                "token-missing",
                S::UNAUTHORIZED,
                "A reader's token is needed",
                "Send Authorization: Bearer with a token signed by a registered token key.",
            ),
            TokenFault::Malformed => row(
                "token-malformed",
                S::UNAUTHORIZED,
                "The token is no reader's token",
                "Send a JWT with exactly the header and claims of a reader's token.",
            ),
            TokenFault::Algorithm => row(
                "token-algorithm",
                S::UNAUTHORIZED,
                "The token is signed with another algorithm",
                "Sign tokens with EdDSA (Ed25519).",
            ),
            TokenFault::Key => row(
                "token-key",
                S::UNAUTHORIZED,
                "The token names no token key in force",
                "Sign with a registered key of use token that is in force, and name its key id in kid.",
            ),
            TokenFault::Signature => row(
                "token-signature",
                S::UNAUTHORIZED,
                "The token's signature does not hold",
                "Sign the token with the key that kid names.",
            ),
            TokenFault::Audience => row(
                "token-audience",
                S::UNAUTHORIZED,
                "The token is for another ledger",
                "Put the name of this ledger into aud.",
            ),
            TokenFault::Issuer => row(
                "token-issuer",
                S::UNAUTHORIZED,
                "The token's key belongs to another institution",
                "Put the institution of the key into iss.",
            ),
            TokenFault::Time => row(
                "token-time",
                S::UNAUTHORIZED,
                "The token is issued in the future",
                "Set your clock.",
            ),
            TokenFault::Expired => row(
                "token-expired",
                S::UNAUTHORIZED,
                "The token has expired",
                "Make a new token.",
            ),
            TokenFault::Life => row(
                "token-life",
                S::UNAUTHORIZED,
                "The token lives too long",
                "Let exp be at most 300 seconds after iat.",
            ),
            TokenFault::Role => row(
                "role-not-granted",
                S::FORBIDDEN,
                "The registry does not grant this role to the institution",
                "Have the role granted by the governance, or read with another role.",
            ),
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let problem = self.problem();
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (self.status(), self.headers(), body).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static(wire::PROBLEM_JSON);
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.extensions_mut().insert(ProblemCode(self.code()));
        response
    }
}

/// Code of the problem that a response carries; for the access log and the metrics.
#[derive(Clone, Copy, Debug)]
pub struct ProblemCode(pub &'static str);

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Fault {
        Fault::Refused(refused)
    }
}

impl From<RequestFault> for Fault {
    fn from(fault: RequestFault) -> Fault {
        Fault::Request(fault)
    }
}

impl From<TokenFault> for Fault {
    fn from(fault: TokenFault) -> Fault {
        Fault::Token(fault)
    }
}

/// 413 for what is too long, 400 for what cannot be read, 409 for an id that is taken, 422 for what is read and refused.
fn refusal_status(refusal: Refusal) -> StatusCode {
    use Refusal as R;
    match refusal {
        R::Size => StatusCode::PAYLOAD_TOO_LARGE,
        R::Utf8
        | R::Bom
        | R::Json
        | R::DuplicateKey
        | R::Number
        | R::CodePoint
        | R::Depth
        | R::Members
        | R::PayloadType
        | R::Base64
        | R::Base64Url
        | R::Sigs
        | R::Alg
        | R::Time
        | R::IdForm
        | R::DigestPlace
        | R::DigestRepeated
        | R::DisclosureSpare
        | R::DisclosureForm
        | R::Salt
        | R::DisclosureMissing => StatusCode::BAD_REQUEST,
        R::IdUsed => StatusCode::CONFLICT,
        R::KeyUnknown
        | R::KeyWeak
        | R::Signature
        | R::Ledger
        | R::IdOutOfWindow
        | R::Ahead
        | R::KeyNotInForce
        | R::KeyUse
        | R::TestKey
        | R::InstitutionUnknown
        | R::InstitutionMismatch
        | R::NotAuthorised
        | R::RefersTo
        | R::Genesis
        | R::GovernanceThreshold
        | R::GovernanceOrder
        | R::Possession
        | R::Registry
        | R::RulesUnknown
        | R::LinkProof
        | R::CutAgain
        | R::OprfKey
        | R::StateRoot => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

fn refusal_title(refusal: Refusal) -> &'static str {
    use Refusal as R;
    match refusal {
        R::Size => "The entry is too long",
        R::Utf8 => "Not UTF-8",
        R::Bom => "Begins with a byte order mark",
        R::Json => "Not JSON",
        R::DuplicateKey => "A member stands twice in one object",
        R::Number => "A number is no integer in range",
        R::CodePoint => "A code point is not allowed",
        R::Depth => "Nests too deep",
        R::Members => "A member is missing, unknown or of another type",
        R::PayloadType => "Another payload type",
        R::Base64 => "Not canonical base64",
        R::Base64Url => "Not canonical base64url",
        R::Sigs => "The list of signatures is not as it should be",
        R::Alg => "A signature algorithm is unknown",
        R::KeyUnknown => "A key is not registered",
        R::KeyWeak => "A key is weak",
        R::Signature => "A signature does not hold",
        R::Ledger => "The entry is for another ledger",
        R::Time => "Not a time",
        R::IdForm => "The id is no lower-case UUIDv7",
        R::DigestPlace => "A digest stands where none belongs",
        R::DigestRepeated => "Two digests are equal",
        R::DisclosureSpare => "A disclosure belongs to no digest",
        R::DisclosureForm => "A disclosure is malformed",
        R::Salt => "A disclosure's salt is too short, too long or malformed",
        R::DisclosureMissing => "A digest has no disclosure",
        R::IdOutOfWindow => "The id is out of the window",
        R::IdUsed => "The id is used",
        R::Ahead => "The entry is dated in the future",
        R::KeyNotInForce => "A key is not in force",
        R::KeyUse => "A key is not for this use",
        R::TestKey => "A key belongs to a test ledger",
        R::InstitutionUnknown => "The institution is not registered",
        R::InstitutionMismatch => "The signer does not speak for the institution",
        R::NotAuthorised => "The signer may not write entries of this type",
        R::RefersTo => "What the entry refers to does not fit",
        R::Genesis => "The genesis does not fit",
        R::GovernanceThreshold => "Too few governance signatures",
        R::GovernanceOrder => "Not the next governance entry",
        R::Possession => "The new key does not prove its possession",
        R::Registry => "The registry does not allow the change",
        R::RulesUnknown => "The rule set is unknown",
        R::LinkProof => "The link is not proven",
        R::CutAgain => "The institution gave a cut less than 24 hours ago",
        R::OprfKey => "The key of the pseudonyms cannot be taken",
        R::StateRoot => "Not the state root that is due",
    }
}

#[cfg(test)]
mod tests;
