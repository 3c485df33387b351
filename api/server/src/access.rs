// SPDX-License-Identifier: EUPL-1.2
//! Who sees which entry, and what of it. All rules of reading stand here; what no rule opens stays closed.
//!
//! - What the governance and the nodes write about the ledger itself is open to everybody: verifiers need it.
//! - An institution sees entries that it signed or took part in, without operators' persons.
//! - Its privacy officer sees the same, with persons.
//! - The supervisory authority sees all.
//! - An operator of nodes sees the admin routes and no entry.
//! - A citizen, for whom a privacy officer asks, sees the own part of the own entries ([`citizen`]).
//!
//! Whoever may not see an entry gets the answer that it is not there.

use std::collections::BTreeSet;

use ledger::{
    body::{Body, Content, EntryType},
    hash::Hash,
    id::InstitutionId,
};
use wire::token::{LIFE_SECONDS_MAX, Role, SKEW_SECONDS_MAX};

use crate::{auth::Reader, problem::Fault};

pub mod citizen;

/// How far an entry is opened to somebody. Only the rules of this module make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening(Opens);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Opens {
    All,
    AllBut(Vec<Hash>),
    Only(Vec<Hash>),
}

impl Opening {
    /// Whether the disclosure of this digest is shown.
    pub fn shows(&self, digest: &Hash) -> bool {
        match &self.0 {
            Opens::All => true,
            Opens::AllBut(closed) => !closed.contains(digest),
            Opens::Only(opened) => opened.contains(digest),
        }
    }

    /// Opens no disclosure at all.
    pub fn nothing() -> Opening {
        Opening(Opens::Only(Vec::new()))
    }

    const ALL: Opening = Opening(Opens::All);

    /// All but what names the person behind an access or a reading, or carries a token that does.
    fn without_persons(body: Option<&Body>) -> Opening {
        Opening(match body.map(|body| &body.content) {
            Some(Content::Access(access)) => {
                let jws = access
                    .evidence
                    .as_ref()
                    .and_then(|evidence| evidence.jws.as_ref());
                let persons = [access.user_id.digest, access.user_location.digest];
                Opens::AllBut(
                    persons
                        .into_iter()
                        .chain(jws.map(|jws| jws.digest))
                        .collect(),
                )
            }
            Some(Content::Read(read)) => {
                let token = read.token.as_ref().map(|token| token.digest);
                Opens::AllBut([read.reader.digest].into_iter().chain(token).collect())
            }
            _ => Opens::All,
        })
    }
}

/// The token in a `read` entry of this age, while it may still let somebody in: closed to everybody.
pub fn live_token(body: &Body, age_ms: u64) -> Option<Hash> {
    /// A token may be dated this far ahead and live so long; as much again for clocks that differ.
    const LIVES_MS: u64 = (LIFE_SECONDS_MAX + 2 * SKEW_SECONDS_MAX) * 1000;
    match &body.content {
        Content::Read(read) if age_ms < LIVES_MS => read.token.as_ref().map(|token| token.digest),
        _ => None,
    }
}

/// Types that speak about the ledger itself and name nobody.
pub fn is_public(entry_type: EntryType) -> bool {
    match entry_type {
        EntryType::Genesis
        | EntryType::Institution
        | EntryType::Key
        | EntryType::Role
        | EntryType::Delegation
        | EntryType::Node
        | EntryType::Policy
        | EntryType::Rules
        | EntryType::Erased
        | EntryType::StateRoot => true,
        EntryType::Access
        | EntryType::Consent
        | EntryType::Household
        | EntryType::Note
        | EntryType::Read
        | EntryType::Disclosure
        | EntryType::Erasure
        | EntryType::Release
        | EntryType::Link => false,
    }
}

/// The opening of an entry that is open to everybody.
pub fn public_opening(entry_type: EntryType) -> Option<Opening> {
    is_public(entry_type).then_some(Opening::ALL)
}

/// How far `reader` may see an entry of `signers`; `None` = not at all, as if it were not there. `body` is absent once erased: then only the signers tell who took part.
pub fn opening(
    reader: &Reader,
    entry_type: EntryType,
    body: Option<&Body>,
    signers: &[InstitutionId],
) -> Option<Opening> {
    if let Some(opening) = public_opening(entry_type) {
        return Some(opening);
    }
    let took_part = || took_part(reader.institution(), entry_type, body, signers);
    match reader.role() {
        Role::Authority => Some(Opening::ALL),
        Role::Dpo => took_part().then_some(Opening::ALL),
        Role::Institution => took_part().then(|| Opening::without_persons(body)),
        Role::Operator => None,
    }
}

/// Demands a role that may ask for entries at all.
///
/// # Errors
/// `forbidden` for operators of nodes.
pub fn demand_reader_of_entries(reader: &Reader) -> Result<(), Fault> {
    match reader.role() {
        Role::Authority | Role::Dpo | Role::Institution => Ok(()),
        Role::Operator => Err(Fault::Forbidden),
    }
}

/// Demands the right to ask for what one person of an institution did: its own privacy officer's and the authority's.
///
/// # Errors
/// `forbidden` for everybody else.
pub fn demand_reader_of_operator(
    reader: &Reader,
    institution: &InstitutionId,
) -> Result<(), Fault> {
    match reader.role() {
        Role::Authority => Ok(()),
        Role::Dpo if reader.institution() == institution => Ok(()),
        Role::Dpo | Role::Institution | Role::Operator => Err(Fault::Forbidden),
    }
}

/// Demands the right to answer a citizen: what others did with the citizen's data is released to whoever holds it.
///
/// # Errors
/// `forbidden` for all but privacy officers and the authority.
pub fn demand_citizens_desk(reader: &Reader) -> Result<(), Fault> {
    match reader.role() {
        Role::Dpo | Role::Authority => Ok(()),
        Role::Institution | Role::Operator => Err(Fault::Forbidden),
    }
}

/// Demands the supervisory authority.
///
/// # Errors
/// `forbidden` for everybody else.
pub fn demand_authority(reader: &Reader) -> Result<(), Fault> {
    match reader.role() {
        Role::Authority => Ok(()),
        Role::Dpo | Role::Institution | Role::Operator => Err(Fault::Forbidden),
    }
}

/// Demands a system that works for its institution, and no person who reads for another purpose.
///
/// # Errors
/// `forbidden` for everybody else.
pub fn demand_system(reader: &Reader) -> Result<(), Fault> {
    match reader.role() {
        Role::Institution => Ok(()),
        Role::Authority | Role::Dpo | Role::Operator => Err(Fault::Forbidden),
    }
}

/// Demands an operator of nodes.
///
/// # Errors
/// `forbidden` for everybody else.
pub fn demand_operator(reader: &Reader) -> Result<(), Fault> {
    match reader.role() {
        Role::Operator => Ok(()),
        Role::Authority | Role::Dpo | Role::Institution => Err(Fault::Forbidden),
    }
}

/// Whether the institution signed the entry, is its controller, or is named as a side of what it says.
fn took_part(
    institution: &InstitutionId,
    entry_type: EntryType,
    body: Option<&Body>,
    signers: &[InstitutionId],
) -> bool {
    let mut parties: BTreeSet<&str> = BTreeSet::new();
    // What a node writes for its readers is theirs, not its operator's.
    if !matches!(entry_type, EntryType::Read | EntryType::Disclosure) {
        parties.extend(signers.iter().map(InstitutionId::as_str));
        parties.extend(body.map(|body| body.common.institution.as_str()));
    }
    match body.map(|body| &body.content) {
        Some(Content::Access(access)) => {
            parties.extend([access.consumer.as_str(), access.provider.as_str()]);
        }
        // A recipient must be able to tell whether the consent that it relies on still stands.
        Some(Content::Consent(consent)) => {
            parties.extend(consent.recipients.iter().flatten().map(String::as_str));
        }
        Some(Content::Read(read)) => {
            parties.insert(read.institution.as_str());
        }
        Some(Content::Disclosure(disclosure)) => {
            parties.insert(disclosure.institution.as_str());
        }
        _ => {}
    }
    parties.contains(institution.as_str())
}

#[cfg(test)]
mod tests;
