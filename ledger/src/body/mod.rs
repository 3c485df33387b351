// SPDX-License-Identifier: EUPL-1.2
//! The body of an entry: what an institution, a node or the governance says. One struct per type; `parse` is the only way in.

use alloc::{boxed::Box, string::String};

use crate::{
    hash::Hash,
    id::{EntryId, InstitutionId},
    number::EntryIndex,
};

pub mod access;
pub mod consent;
pub mod governance;
pub mod household;
pub mod system;

/// A parsed body: the common members and the one member named after the type.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    /// Members that every type has.
    pub common: Common,
    /// The member named after the type.
    pub content: Content,
}

/// Members that every body has (`v` = 1 is implied).
#[derive(Clone, Debug, PartialEq)]
pub struct Common {
    /// Name of the ledger that the entry is for.
    pub ledger: String,
    /// UUIDv7, unique per institution within the id window.
    pub id: EntryId,
    /// The controller; who signed is shown by the key.
    pub institution: InstitutionId,
    /// When it happened, in milliseconds since the epoch, by the signer's clock.
    pub occurred_at_ms: u64,
    /// Another entry that this one is about.
    pub refers_to: Option<Reference>,
    /// Place in a stream of the signer's.
    pub stream: Option<StreamPlace>,
}

/// Another entry, named by its place and its leaf hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Where it stands.
    pub index: EntryIndex,
    /// Its leaf hash.
    pub leaf: Hash,
}

/// Place of an entry in a stream: `n` counts from 1, `prev` chains to the PAE before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPlace {
    /// Name of the stream, chosen by the signer.
    pub name: String,
    /// Number of this entry in the stream, from 1.
    pub n: u64,
    /// `H("visto/stream/v1\n" ‖ PAE of the entry before)`; zero for the first.
    pub prev: Hash,
}

/// A value that travels outside the body (RFC 9901 array-element form): the body holds its digest.
#[derive(Clone, Debug, PartialEq)]
pub struct Disclosed<T> {
    /// SHA-256 of the disclosure's ASCII.
    pub digest: Hash,
    /// The value; `None` where it is withheld or erased. In a [`crate::entry::VerifiedEntry`] every value is there.
    pub value: Option<T>,
}

/// The member named after the type.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Content {
    Genesis(Box<governance::Genesis>),
    Access(Box<access::Access>),
    Consent(Box<consent::Consent>),
    Household(household::Household),
    Institution(governance::Institution),
    Key(governance::Key),
    Role(governance::Role),
    Delegation(governance::Delegation),
    Node(governance::Node),
    Policy(governance::PolicyText),
    Rules(governance::Rules),
    Note(system::Note),
    Read(system::Read),
    Disclosure(system::Disclosure),
    Erasure(system::Erasure),
    Erased(system::Erased),
    Release(system::Release),
    Link(system::Link),
    StateRoot(system::StateRoot),
}

/// Type of an entry; the number stands in `meta`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum EntryType {
    Genesis = 1,
    Access = 2,
    Consent = 3,
    Household = 4,
    Institution = 5,
    Key = 6,
    Role = 7,
    Delegation = 8,
    Node = 9,
    Policy = 10,
    Rules = 11,
    Note = 12,
    Read = 13,
    Disclosure = 14,
    Erasure = 15,
    Erased = 16,
    Release = 17,
    Link = 18,
    StateRoot = 19,
}
