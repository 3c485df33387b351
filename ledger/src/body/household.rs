// SPDX-License-Identifier: EUPL-1.2
//! `household`, type 4: who belongs to a household from when on, said by the registry authority of its kind.

use alloc::{string::String, vec::Vec};

use super::{
    Disclosed,
    disclosed::{DisclosedValue, Slots, one, some},
    members::{Members, Writer, digest, text, timestamp, words},
};
use crate::{hash::Hash, json::Value, refusal::Refused, time::format_timestamp};

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

words! {
    /// Which registry's idea of a household.
    HouseholdKind { Anagrafica "anagrafica", Isee "isee" }
}

/// A member of a household.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Member {
    pub person: Hash,
    pub relation: Option<String>,
}

impl Household {
    pub(super) fn parse(value: &Value<'_>, slots: &mut Slots<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let household = Self {
            household: m.required("household", |value| one(value, slots))?,
            kind: m.required("kind", |value| words(value, HouseholdKind::parse))?,
            members: m.required("members", |value| some(value, slots))?,
            valid_from_ms: m.required("validFrom", timestamp)?,
        };
        m.close(household)
    }

    pub(super) fn to_value(&self) -> Value<'_> {
        let mut w = Writer::new();
        w.put("household", &self.household);
        w.put("kind", self.kind.as_str());
        w.put("members", &self.members);
        w.put("validFrom", format_timestamp(self.valid_from_ms));
        w.into()
    }
}

impl DisclosedValue for Member {
    fn parse(value: &Value<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let member = Self {
            person: m.required("ref", digest)?,
            relation: m.optional("relation", text)?,
        };
        m.close(member)
    }

    fn to_value(&self) -> Value<'_> {
        let mut w = Writer::new();
        w.put("ref", self.person);
        w.put("relation", &self.relation);
        w.into()
    }
}
