// SPDX-License-Identifier: EUPL-1.2
//! Entries as they travel: the envelope that is sent, the answer to it, and an entry as a reader gets it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{erasure::ErasedBy, problem::Problem};

/// An entry as sent: a DSSE envelope and the disclosures that its body names by digest. One line of a batch.
///
/// The server parses what it gets with the strict parser of `ledger`, not with this twin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// The signed body.
    pub envelope: Envelope,
    /// `base64url(JSON [salt, value])`, in any order; `[]` if none. In an answer: those that the reader may see.
    #[schema(max_items = 256)]
    pub disclosures: Vec<String>,
}

/// A DSSE envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Envelope {
    /// Always `application/vnd.visto.entry.v1+json`.
    #[schema(example = "application/vnd.visto.entry.v1+json")]
    pub payload_type: String,
    /// The body, base64 (padded).
    #[schema(format = Byte)]
    pub payload: String,
    /// 1 to 16 signatures in ascending order of key ids.
    #[schema(min_items = 1, max_items = 16)]
    pub signatures: Vec<EnvelopeSignature>,
}

/// One signature of an envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvelopeSignature {
    /// Key id, base64url.
    pub keyid: String,
    /// Signature, base64 (padded).
    #[schema(format = Byte)]
    pub sig: String,
    /// 1 = Ed25519 over the PAE (when absent), 129 = Ed25519 over a batch root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Int32, minimum = 1, maximum = 255)]
    pub alg: Option<u8>,
}

/// How far an accepted entry has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EntryState {
    /// Durable on a majority of the nodes; the receipt follows.
    Committed,
    /// Under a checkpoint that a majority of the nodes cosigned.
    Published,
}

/// An entry was accepted, now or before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// Place in the ledger, from 0.
    #[schema(format = Int64, minimum = 0, example = 4711)]
    pub index: u64,
    /// Leaf hash, base64url.
    pub leaf_hash: String,
    /// When the ledger accepted it.
    #[schema(format = DateTime, example = "2026-11-24T22:13:05.123Z")]
    pub accepted_at: String,
    /// Names of the findings; `[]` = covered.
    #[schema(example = json!(["consent-withdrawn"]))]
    pub findings: Vec<String>,
    /// How far the entry has come.
    pub state: EntryState,
    /// The same entry had been accepted before; this is what it got then.
    pub again: bool,
    /// The receipt (C2SP tlog-proof) once published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
}

/// The outcome of one line of a batch: `accepted` or `problem`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LineOutcome {
    /// Line of the request, from 1.
    #[schema(format = Int64, minimum = 1)]
    pub line: u64,
    /// HTTP status that this line alone would have got.
    #[schema(format = Int32, minimum = 100, maximum = 599)]
    pub status: u16,
    /// Set if the entry was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Accepted>,
    /// Set if it was not, or if that cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

// `B` is the body: a server has its text alone.
/// An entry as a reader gets it: only the disclosures that the reader may see are opened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Entry, bound = "")]
pub struct Entry<B = serde_json::Value> {
    /// Place in the ledger.
    #[schema(format = Int64, minimum = 0)]
    pub index: u64,
    /// Leaf hash, base64url.
    pub leaf_hash: String,
    /// Type of the entry, such as `access`.
    #[serde(rename = "type")]
    #[schema(example = "access")]
    pub kind: String,
    /// When the ledger accepted it.
    #[schema(format = DateTime)]
    pub accepted_at: String,
    /// Names of the findings at acceptance; `[]` = covered.
    pub findings: Vec<String>,
    /// Number of the rule set that judged it.
    #[schema(format = Int32, minimum = 0)]
    pub rules: u16,
    /// Key id of the first signature, base64url.
    pub first_key: String,
    /// The body with the opened disclosures in place; closed ones stay as `{"...": digest}`. Absent once erased. A convenience: what is signed is `submission`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub body: Option<B>,
    /// The envelope as sent with the disclosures that the reader may see. Absent once erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submission: Option<Submission>,
    /// Who had it erased, or a person's part of it, when and why; in the order in which it was done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub erased: Vec<ErasedBy>,
    /// How many disclosures were kept closed.
    #[schema(format = Int32, minimum = 0)]
    pub withheld: u32,
    /// The receipt (C2SP tlog-proof) at the first published checkpoint that holds the entry; absent while it is not published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
}
