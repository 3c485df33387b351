// SPDX-License-Identifier: EUPL-1.2
//! `household`, type 4: who belongs to a household from when on, said by the registry authority of its kind.

use alloc::{string::String, vec::Vec};

use super::Disclosed;
use crate::hash::Hash;

/// Composition of a household from a time on.
#[derive(Clone, Debug, PartialEq)]
pub struct Household {
    /// The household's ref.
    pub household: Disclosed<Hash>,
    /// Which registry's idea of a household.
    pub kind: HouseholdKind,
    /// 1 to 200 members.
    pub members: Vec<Disclosed<Member>>,
    /// From when this composition holds, ms since the epoch.
    pub valid_from_ms: u64,
}

/// Which registry's idea of a household.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum HouseholdKind {
    Anagrafica,
    Isee,
}

/// A member of a household.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Member {
    pub person: Hash,
    pub relation: Option<String>,
}
