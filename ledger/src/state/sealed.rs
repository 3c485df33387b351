// SPDX-License-Identifier: EUPL-1.2
//! Entries that are sealed from the persons they name: who seals them, until when, and who was not told yet. Local tables, under no root.

use alloc::{format, string::String, vec::Vec};

use super::{State, StateKey, read, registry::items};
use crate::{
    bytes::{state::Writer, stored::Reader},
    hash::Hash,
    id::InstitutionId,
    number::EntryIndex,
};

/// An entry of which persons named in it may not be told yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedEntry {
    /// Its leaf hash.
    pub leaf: Hash,
    /// In whose list it stands instead.
    pub authority: InstitutionId,
    /// From when on anybody may release it, ms since the epoch; none: its authority alone.
    pub due_ms: Option<u64>,
    /// Who may not be told yet, ascending, each once; a release takes persons off, and nobody is left once all were told.
    pub persons: Vec<Hash>,
}

impl SealedEntry {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.hash(&self.leaf)
            .u64(self.due_ms.unwrap_or(u64::MAX))
            .text(self.authority.as_str());
        self.persons.iter().for_each(|person| {
            out.hash(person);
        });
        out.done()
    }

    pub(crate) fn decode(value: &[u8]) -> Option<SealedEntry> {
        let mut from = Reader::new(value);
        Some(SealedEntry {
            leaf: from.hash()?,
            due_ms: Some(from.u64()?).filter(|due| *due != u64::MAX),
            authority: InstitutionId::parse(&from.text()?)?,
            persons: from
                .rest()
                .chunks(32)
                .map(Hash::from_slice)
                .collect::<Option<Vec<_>>>()?,
        })
    }
}

/// A sealed entry of which somebody may not be told yet.
pub fn entry<S: State>(state: &S, index: EntryIndex) -> Result<Option<SealedEntry>, S::Error> {
    read(state, &StateKey::sealed_entry(index), SealedEntry::decode)
}

/// Every entry sealed until this day (counted from the epoch), in the order of the ledger, released or not. An entry whose day had come
/// before it was accepted stands under the day of its acceptance: what lies behind today grows no more.
pub fn due_on<S: State>(state: &S, day: u64) -> Result<Vec<EntryIndex>, S::Error> {
    items(state, &due_list(day), |item| {
        item.try_into()
            .ok()
            .map(|bytes| EntryIndex(u64::from_be_bytes(bytes)))
    })
}

/// What the names of these lists begin with.
pub(crate) const DUE: &str = "due\n";

/// The list behind [`due_on`].
pub(crate) fn due_list(day: u64) -> String {
    format!("{DUE}{day}")
}
