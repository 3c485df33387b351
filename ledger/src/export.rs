// SPDX-License-Identifier: EUPL-1.2
//! Exports: an answer to "who saw my data" that proves, offline, that nothing was left out.
//!
//! An export is one JSON document. It carries a checkpoint, the `state-root` entry under it, and for each person or household asked about
//! the whole list of entries that name them: opened, withheld (folds and reveals nothing) or erased. [`verify`] recomputes every head from
//! the items and holds it against the state root; what was left out, added, moved or changed shows as a [`Fault`] by name.
//!
//! ```text
//! { "export": 1, "origin", "audience": citizen|reader, "about": {"kind": subject|household, "ref"},
//!   "binding"?: {"kind", "blind", "evaluated", "proof"},            that the ref is the typed code's
//!   "checkpoint": signed note, "stateRoot": Opened,
//!   "lists":  [{"kind": 1|2|10, "ref", "value": 80 bytes|null, "proof", "items": [Opened | Erased | Withheld]}],
//!   "facts":  [{"kind", "name", "value"|null, "proof"}],            values under the same state root: keys, delegations, consents
//!   "records": [Opened],                                            entries outside of the lists that explain them
//!   "notOpened": [{"ref", "why"}], "restricted": [{"ground", "count"}] }
//! Opened   = {"index", "meta", "bodySalt", "path", "envelope", "disclosures"}
//! Erased   = {"index", "meta", "metaSalt", "bodyCommit", "path", "erased": {"by": index, "on"?, "ground"?}}
//! Withheld = {"item", "why"?: outside-membership|restricted|another}
//! ```
//!
//! Binary values are base64url. The order of the members is fixed, so that a server streams an export ([`Stream`]) with nothing but one
//! item in memory. This module is the format's one home: whoever writes or reads one does it through here.

use alloc::{boxed::Box, string::String, vec::Vec};

use crate::{
    admission::RowKind,
    bytes::{self, CodeKind, ListValue, Meta},
    disclosure::Disclosure,
    entry::{StoredEntry, SubmittedEntry},
    hash::Hash,
    note::{KeyName, Note},
    number::EntryIndex,
    state::StateKey,
    state_map::MapProof,
};

mod fault;
mod ground;
mod lists;
mod parse;
mod since;
mod verified;
mod verify;
mod write;

pub use fault::{Fault, Lie};
pub use lists::{Counted, persons, persons_shown};
pub use verified::{HONEST, Verified};
pub use verify::{Asked, Bound, Remark, verify};
pub use write::{OutOfOrder, Piece, Stream};

/// Longest export that is read, in bytes.
pub const EXPORT_BYTES_MAX: usize = 1 << 30;

/// A parsed export, believed in nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Export {
    /// What stands before the lists.
    pub head: Head,
    /// The lists of whom it is about.
    pub lists: Vec<List>,
    /// Values under the same state root.
    pub facts: Vec<Fact>,
    /// Entries outside of the lists that explain them.
    pub records: Vec<Opened>,
    /// Members of the household whose lists are not in here.
    pub not_opened: Vec<NotOpened>,
    /// Restrictions that may be told.
    pub restricted: Vec<Restricted>,
}

/// What an export says first.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// The log whose checkpoint it is.
    pub origin: KeyName,
    /// For whom it was made.
    pub audience: Audience,
    /// Whom it is about.
    pub about: About,
    /// That the ref asked about is the code's that a citizen types.
    pub binding: Option<Binding>,
    /// A published checkpoint.
    pub checkpoint: Note,
    /// The `state-root` entry under that checkpoint to which all lists and facts lead.
    pub state_root: Opened,
}

/// Words of a format, each with its variant.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident $word:literal),* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$of])* $variant),* }

        impl $name {
            /// The word in exports.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }

            /// The variant of a word.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($word => Some($name::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// For whom an export was made: what is opened in it differs.
    Audience {
        /// The person asked about, or who speaks for them.
        Citizen "citizen",
        /// A privacy officer or an authority.
        Reader "reader"
    }
}

words! {
    /// What an export is about.
    AboutKind {
        /// A person.
        Subject "subject",
        /// A household.
        Household "household"
    }
}

/// Whom an export is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// A person or a household.
    pub kind: AboutKind,
    /// The ref.
    pub of: Hash,
}

/// What lets a citizen recompute the ref from the typed code: the blind, and the cluster's evaluation with its proof (RFC 9497).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// What kind of code is to be typed.
    pub kind: CodeKind,
    /// The blind, a scalar.
    pub blind: [u8; 32],
    /// The evaluated element.
    pub evaluated: [u8; 32],
    /// That it was evaluated with the ledger's key.
    pub proof: [u8; 64],
}

/// A list and where it stands in the state map.
#[derive(Clone, Debug, PartialEq)]
pub struct List {
    /// What is said of the list before its items.
    pub head: ListHead,
    /// Exactly `count − base_count` items, in the order of the ledger.
    pub items: Vec<Item>,
}

/// What is said of a list before its items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListHead {
    /// [`RowKind::Subject`], [`RowKind::Household`] or [`RowKind::Sealed`].
    pub kind: RowKind,
    /// Whose list.
    pub of: Hash,
    /// What stands in the map; `None` where nothing does: no entry names this ref.
    pub value: Option<ListValue>,
    /// Proof of presence, or of absence.
    pub proof: MapProof,
}

impl ListHead {
    /// The list's key in the state map.
    pub fn key(&self) -> StateKey {
        match self.kind {
            RowKind::Household => StateKey::household(&self.of),
            RowKind::Sealed => StateKey::sealed(&self.of),
            _ => StateKey::subject(&self.of),
        }
    }
}

/// One item of a list.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// Shown, as far as its reader may see.
    Opened(Box<Opened>),
    /// Its body was erased.
    Erased(Box<Erased>),
    /// Folds, and reveals nothing.
    Withheld(Withheld),
}

/// An entry with all that proves it.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    /// Its place.
    pub index: EntryIndex,
    /// What its leaf says of it.
    pub meta: Meta,
    /// What opens both commitments of the leaf.
    pub body_salt: [u8; 32],
    /// Inclusion proof under the export's checkpoint, the leaf's sibling first.
    pub path: Vec<Hash>,
    /// Envelope, and those disclosures that this reader may see.
    pub entry: SubmittedEntry,
}

impl Opened {
    /// Opens a stored entry with those of its disclosures that are shown; `None` if it was erased.
    pub fn of(
        index: EntryIndex,
        stored: &StoredEntry,
        shows: impl Fn(&Disclosure) -> bool,
        path: Vec<Hash>,
    ) -> Option<Opened> {
        let body = stored.body.as_ref()?;
        let entry = stored.submitted_with(shows)?;
        Some(Opened {
            index,
            meta: stored.meta,
            body_salt: body.body_salt,
            path,
            entry,
        })
    }

    /// Salt of `meta` and of the list items.
    pub fn meta_salt(&self) -> Hash {
        bytes::meta_salt(&self.body_salt)
    }

    /// The hash of its leaf, from everything that it commits to.
    pub fn leaf_hash(&self) -> Hash {
        let sigs = self.entry.sigs().encode();
        leaf_hash(
            &self.meta_salt(),
            &self.meta,
            &bytes::body_commit(&self.body_salt, self.entry.pae(), &sigs),
        )
    }
}

/// An entry whose body was erased, or of which the disclosure that names this list's ref was: what is left proves its place and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erased {
    /// Its place.
    pub index: EntryIndex,
    /// What stays provable of it.
    pub meta: Meta,
    /// Salt of `meta` and of the list items.
    pub meta_salt: Hash,
    /// Commitment to what is gone.
    pub body_commit: Hash,
    /// Inclusion proof under the export's checkpoint, the leaf's sibling first.
    pub path: Vec<Hash>,
    /// The `erasure` entry that ordered it; it stands among the records.
    pub by: EntryIndex,
    /// When it was done, ms since the epoch.
    pub on_ms: Option<u64>,
    /// On which ground.
    pub ground: Option<String>,
}

impl Erased {
    /// What is shown of a stored entry in the place of its body.
    pub fn of(
        index: EntryIndex,
        stored: &StoredEntry,
        path: Vec<Hash>,
        by: EntryIndex,
        on_ms: Option<u64>,
        ground: Option<String>,
    ) -> Erased {
        Erased {
            index,
            meta: stored.meta,
            meta_salt: stored.meta_salt,
            body_commit: stored.body_commit,
            path,
            by,
            on_ms,
            ground,
        }
    }

    /// The hash of its leaf.
    pub fn leaf_hash(&self) -> Hash {
        leaf_hash(&self.meta_salt, &self.meta, &self.body_commit)
    }
}

fn leaf_hash(meta_salt: &Hash, meta: &Meta, body_commit: &Hash) -> Hash {
    bytes::leaf_hash(&bytes::leaf(
        &bytes::meta_commit(meta_salt, meta),
        body_commit,
    ))
}

/// An item that its reader may not see: it takes its place in the fold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// [`bytes::item`] of an entry and the list's ref.
    pub item: Hash,
    /// Why it is not shown: the exporter's word.
    pub why: Option<Why>,
}

words! {
    /// Why an item is not shown.
    Why {
        /// It happened while the person did not belong to the household asked about.
        OutsideMembership "outside-membership",
        /// A restriction that may be told.
        Restricted "restricted",
        /// It is for another reader to see.
        Another "another"
    }
}

/// A value under the state root, or that there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Its key.
    pub key: StateKey,
    /// The value; `None` if the key is not there.
    pub value: Option<Vec<u8>>,
    /// Proof of presence, or of absence.
    pub proof: MapProof,
}

/// A member of the household whose list is not in here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotOpened {
    /// The member.
    pub of: Hash,
    /// Why: `adult-without-mandate`. The exporter's word.
    pub why: String,
}

/// Restrictions that may be told, counted. The exporter's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restricted {
    /// On which ground.
    pub ground: String,
    /// How many.
    pub count: u64,
}
