// SPDX-License-Identifier: EUPL-1.2
//! Types 12 to 19: notes, and what the nodes themselves write.

use alloc::{string::String, vec::Vec};

use super::Disclosed;
use crate::{
    hash::Hash,
    id::{InstitutionId, NodeNumber},
};

/// `note`, type 12: on another entry, never changing it. JSON: `{kind, text d?, subjects d[0..200]? {ref}}`, `refersTo` required.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Note {
    pub kind: NoteKind,
    pub text: Option<Disclosed<String>>,
    pub subjects: Vec<Disclosed<Hash>>,
}

/// What a note does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum NoteKind {
    Correct,
    Complete,
    Decide,
    Dispute,
}

/// `read`, type 13: a reader saw personal data through the API; committed before the data leaves.
/// JSON: `{reader d {person, role, institution}, institution, purpose, caseRef d? str, released {route, first?, count, tree?}, subjects d[] {ref}?, exportDigest?}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// The person behind the token.
    pub reader: Disclosed<Reader>,
    /// The reader's institution, in clear.
    pub institution: InstitutionId,
    /// Purpose that the token carries.
    pub purpose: String,
    /// Case that the token carries.
    pub case_ref: Option<Disclosed<String>>,
    /// Which route released (a template, never a value).
    pub route: String,
    /// How many entries were released.
    pub count: u64,
    /// Tree size that the answer reflects.
    pub tree_size: u64,
    /// Whose data was asked for (subjects' refs); kept disclosed so that the person's list shows the read.
    pub subjects: Vec<Disclosed<Hash>>,
    /// Digest of an export that was released.
    pub export_digest: Option<Hash>,
}

/// The person behind a reader's token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Reader {
    pub person: String,
    pub role: String,
}

/// `disclosure`, type 14: an export was handed out. JSON: `{institution, exportDigest, subjects d[] {ref}, ground}`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Disclosure {
    pub institution: InstitutionId,
    pub export_digest: Hash,
    pub subjects: Vec<Disclosed<Hash>>,
    pub ground: String,
}

/// `erasure`, type 15: the controller orders it. JSON: `{entries[]? (indexes), before? (index), ground}`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Erasure {
    pub entries: Vec<u64>,
    pub before: Option<u64>,
    pub ground: String,
}

/// `erased`, type 16: done by this node, how far. JSON: `{node, erasure (index), through (index)}`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Erased {
    pub node: NodeNumber,
    pub erasure: u64,
    pub through: u64,
}

/// `release`, type 17: a deferred entry joins its subjects' lists. JSON: `{subjects d[] {ref}}`, `refersTo` required.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Release {
    pub subjects: Vec<Disclosed<Hash>>,
}

/// `link`, type 18: an old and a new ref are one person. JSON: `{old d {ref}, new d {ref}, proof}`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Link {
    pub old: Disclosed<Hash>,
    pub new: Disclosed<Hash>,
    pub proof: String,
}

/// `state-root`, type 19. JSON: `{size, version, root, previous}`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct StateRoot {
    pub size: u64,
    pub version: u64,
    pub root: Hash,
    pub previous: Hash,
}
