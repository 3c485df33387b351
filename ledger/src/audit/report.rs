// SPDX-License-Identifier: EUPL-1.2
//! What an audit comes to: what was recomputed, or the first lie with its evidence.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::fmt;

use super::beyond::{Ranges, Unproven, extend};
use crate::{
    body::EntryType,
    finding::Finding,
    number::{EntryIndex, TreeSize},
};

/// What was recomputed, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Signatures that hold.
    pub signatures: u64,
    /// Entries of each type.
    pub types: BTreeMap<EntryType, u64>,
    /// Entries with each finding.
    pub findings: BTreeMap<Finding, u64>,
    /// Entries of which something was erased: their judgement cannot be made again.
    pub erased: u64,
    /// Entries that are whole, and were judged by what is erased now.
    pub unjudged: u64,
    /// Which they are, ascending.
    pub unjudged_at: Vec<u64>,
    /// Erased entries that orders name, of which it cannot be told whether their signers may ask that, or whether what they said held yet.
    pub untold: u64,
    /// State roots that are those of the ledger at their size.
    pub state_roots: u64,
    /// Checkpoints that are those of the ledger at their size, with enough cosignatures.
    pub checkpoints: u64,
    /// Size of the largest checkpoint: what lies behind it is not published yet.
    pub published: u64,
    /// Entries whose judgement rests on what a state root does not prove, by each table that it rests on.
    pub not_recomputed: BTreeMap<Unproven, Ranges>,
    /// How many they are.
    pub not_recomputed_count: u64,
    /// What retention took, where that ended the recomputing of lists and state roots.
    pub retired: Option<Retired>,
}

/// Entries that left their lists by a cut: nobody tells any more what they changed, so that from the first of them on no list, no state root
/// and no value that one of them wrote is recomputed. An audit that begins at a later state root recomputes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retired {
    /// The first of them.
    pub first: EntryIndex,
    /// How many they are.
    pub count: u64,
    /// When the youngest of them was accepted, ms since the epoch.
    pub until_ms: u64,
    /// State roots that are not recomputed for it.
    pub state_roots: u64,
}

impl Report {
    /// Names an entry under each table that its judgement rests on.
    pub(super) fn rest(&mut self, index: EntryIndex, on: &[Unproven]) {
        let last = |ranges: &Ranges| ranges.last().map(|(_, end)| *end);
        let mut named = self.not_recomputed.values();
        let known = named.any(|ranges| last(ranges) == Some(index.size().0));
        for table in on {
            extend(self.not_recomputed.entry(*table).or_default(), index.0);
        }
        self.not_recomputed_count += u64::from(!on.is_empty() && !known);
    }
}

/// A contradiction: where, what was said, and what was computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The entry, or the size of the checkpoint.
    pub at: Place,
    /// Of what.
    pub what: &'static str,
    /// What the ledger said.
    pub said: String,
    /// What follows from what it said before.
    pub computed: String,
}

/// Where a contradiction was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At an entry.
    Entry(EntryIndex),
    /// At the checkpoint of a size.
    Checkpoint(TreeSize),
    /// In the start before the entry of that index.
    Start(TreeSize),
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Place::Entry(index) => write!(f, "entry {index}: ")?,
            Place::Checkpoint(size) => write!(f, "checkpoint of size {size}: ")?,
            Place::Start(size) => write!(f, "start at size {size}: ")?,
        }
        write!(
            f,
            "{} is said to be {}, and is {}",
            self.what, self.said, self.computed
        )
    }
}

impl core::error::Error for Evidence {}
