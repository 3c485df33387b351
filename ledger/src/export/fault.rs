// SPDX-License-Identifier: EUPL-1.2
//! What is wrong with an export, by name.

use alloc::string::{String, ToString};
use core::fmt;

use crate::refusal::Refused;

/// Kinds of lies. Each has a stable name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lie {
    /// Not an export.
    Malformed,
    /// No policy at hand holds for a tree of this size: nothing can be said.
    NoPolicy,
    /// The checkpoint is not one that the policy believes.
    Policy,
    /// A list, an item or a record that belongs in is not there.
    Missing,
    /// Something is in there that does not belong in.
    Added,
    /// Items are not in the order of the ledger.
    Reordered,
    /// It is another person's, or another ledger's.
    Anothers,
    /// The state root is older than one that is known.
    OldRoot,
    /// A field is not what the ledger holds.
    Changed,
    /// A signature does not hold, or its key could not sign this.
    Signature,
    /// A fact that is needed is not proven.
    Unproven,
    /// It happened while the person did not belong to the household.
    OutsideMembership,
    /// The ref is not that of the code.
    Binding,
}

impl Lie {
    /// All of them.
    pub const ALL: [Lie; 13] = [
        Lie::Malformed,
        Lie::NoPolicy,
        Lie::Policy,
        Lie::Missing,
        Lie::Added,
        Lie::Reordered,
        Lie::Anothers,
        Lie::OldRoot,
        Lie::Changed,
        Lie::Signature,
        Lie::Unproven,
        Lie::OutsideMembership,
        Lie::Binding,
    ];

    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Lie::Malformed => "malformed",
            Lie::NoPolicy => "no-policy",
            Lie::Policy => "policy",
            Lie::Missing => "missing",
            Lie::Added => "added",
            Lie::Reordered => "reordered",
            Lie::Anothers => "another's",
            Lie::OldRoot => "old-root",
            Lie::Changed => "changed",
            Lie::Signature => "signature",
            Lie::Unproven => "unproven",
            Lie::OutsideMembership => "outside-membership",
            Lie::Binding => "binding",
        }
    }
}

/// The first thing that is wrong with an export, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind of lie.
    pub lie: Lie,
    /// JSON pointer into the export; empty where no member is to blame.
    pub at: String,
    /// What was said and what was found.
    pub why: String,
}

impl Fault {
    /// A fault of the export as a whole; [`Fault::at`] says where.
    pub(super) fn new(lie: Lie, why: impl Into<String>) -> Fault {
        Fault {
            lie,
            at: String::new(),
            why: why.into(),
        }
    }

    /// The same fault, seen from the object that holds `member`.
    #[must_use]
    pub(super) fn at(mut self, member: impl fmt::Display) -> Fault {
        self.at = alloc::format!("/{member}{}", self.at);
        self
    }
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Self {
        Fault {
            lie: Lie::Malformed,
            why: refused.refusal.to_string(),
            at: refused.pointer,
        }
    }
}

/// The kind, why, and where.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.lie.name(), self.why)?;
        if !self.at.is_empty() {
            write!(f, " (at {})", self.at)?;
        }
        Ok(())
    }
}

impl core::error::Error for Fault {}
