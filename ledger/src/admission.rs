// SPDX-License-Identifier: EUPL-1.2
//! Admission: a verified entry, judged against the state, becomes writes and rows, or is refused.
//!
//! Refused is only what cannot be believed or placed. What is merely wrong is recorded with its findings, which are part of the leaf.
//! [`apply`] is a function of state, entry, stamp and ledger name: no clock, no chance, so every node does the same. Of several refusals
//! the first of [`Refusal`]'s order is told. The parts: `judge` decides, `find` says what is wrong all the same, `seal` from whom an entry
//! is kept, `effects` what is written, `sides` what is kept of exchanges.

use alloc::{boxed::Box, format, string::String, vec::Vec};

use crate::{
    body::{
        Content, EntryType, Reference,
        access::{Access, Side},
    },
    entry::{SequencedEntry, Stop, VerifiedEntry},
    finding::Finding,
    governance,
    hash::Hash,
    id::{InstitutionId, KeyId},
    number::EntryIndex,
    refusal::{Refusal, Refused},
    rules::rule_set,
    state::{Draft, KeyTerms, State, StateKey, Writes},
};

mod effects;
mod find;
mod judge;
mod seal;
mod sides;

pub use judge::{may_sign, use_of};

/// Most reads of consents that one access may ask for: target subjects × consent records. Larger queries are sent in parts.
pub const CONSENT_READS_MAX: usize = 4096;
/// Most refs that `link` entries may join.
pub const LINKED_REFS_MAX: usize = 8;

/// What the proposing leader fixes for an entry; it travels with it, because [`apply`] knows no clock and no chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The place that the entry takes if it is accepted.
    pub index: EntryIndex,
    /// `max(previous, leader's clock)`, in milliseconds since the epoch.
    pub accepted_at_ms: u64,
    /// 32 random bytes drawn by the leader.
    pub body_salt: [u8; 32],
}

/// Which ledger, and which shard of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerInfo {
    /// Stable name, such as `ledger.visto.example`; it is what bodies carry.
    pub name: String,
    /// Shard number, from 1.
    pub shard: u64,
}

/// A row of the index: this entry belongs to the list of `of`. Blind appends; the store adds the entry's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row {
    /// Which index.
    pub kind: RowKind,
    /// Whose list.
    pub of: Hash,
}

/// Kinds of rows. The first three fold into list heads under the state root, the others serve searches alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RowKind {
    /// A person's ref.
    Subject = 1,
    /// A household's ref.
    Household = 2,
    /// The sealed ref of an authority.
    Sealed = 10,
    /// An institution that signed or took part: [`Row::institution`].
    Institution = 0x41,
    /// The operator of an access: [`Row::operator`].
    Operator = 0x42,
    /// An event of a consent record: [`Row::consent`].
    Consent = 0x43,
    /// An exchange: [`Row::exchange`].
    Exchange = 0x44,
    /// An entry type: [`Row::entry_type`].
    Type = 0x45,
    /// A finding: [`Row::finding`], and [`Row::any_finding`] once.
    Finding = 0x46,
    /// An access that rests on a consent record: [`Row::consent_use`].
    ConsentUse = 0x47,
    /// A note on an entry: [`Row::note_on`].
    NoteOn = 0x48,
    /// Entries of an exchange that an erased entry told of: [`Row::twin`]. Written when it is erased, for only then its own index is what is left.
    Twin = 0x49,
}

impl RowKind {
    /// Every kind.
    pub const ALL: [RowKind; 12] = [
        RowKind::Subject,
        RowKind::Household,
        RowKind::Sealed,
        RowKind::Institution,
        RowKind::Operator,
        RowKind::Consent,
        RowKind::Exchange,
        RowKind::Type,
        RowKind::Finding,
        RowKind::ConsentUse,
        RowKind::NoteOn,
        RowKind::Twin,
    ];

    /// The number in the store.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The kind of a number.
    pub fn from_code(code: u8) -> Option<RowKind> {
        RowKind::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Whether rows of this kind fold into list heads under the state root.
    pub fn under_root(self) -> bool {
        matches!(
            self,
            RowKind::Subject | RowKind::Household | RowKind::Sealed
        )
    }
}

impl Row {
    /// The entries that an institution signed or took part in.
    pub fn institution(institution: &InstitutionId) -> Row {
        Row {
            kind: RowKind::Institution,
            of: Hash::of(&[institution.as_bytes()]),
        }
    }

    /// The accesses that an operator of the consumer caused: `H(institution ‖ 0x0A ‖ userID)`.
    pub fn operator(consumer: &InstitutionId, user_id: &str) -> Row {
        Row {
            kind: RowKind::Operator,
            of: Hash::of(&[consumer.as_bytes(), b"\n", user_id.as_bytes()]),
        }
    }

    /// The events of a person's consent record.
    pub fn consent(person: &Hash, record: &str) -> Row {
        Row {
            kind: RowKind::Consent,
            of: Hash::of(&[person.as_bytes(), record.as_bytes()]),
        }
    }

    /// The accesses that rest on a person's consent record; sealed ones are not among them.
    pub fn consent_use(person: &Hash, record: &str) -> Row {
        Row {
            kind: RowKind::ConsentUse,
            ..Row::consent(person, record)
        }
    }

    /// What else was told of the exchange of an erased entry.
    pub fn twin(erased: EntryIndex) -> Row {
        let mut of = Hash::ZERO;
        if let Some(last) = of.0.last_chunk_mut() {
            *last = erased.0.to_be_bytes();
        }
        Row {
            kind: RowKind::Twin,
            of,
        }
    }

    /// Both sides of an exchange, and its parts.
    pub fn exchange(exchange: &[u8; 16]) -> Row {
        Row {
            kind: RowKind::Exchange,
            of: Hash::of(&[exchange]),
        }
    }

    /// The notes on an entry.
    pub fn note_on(index: EntryIndex) -> Row {
        Row {
            kind: RowKind::NoteOn,
            of: Hash::of(&[&index.0.to_be_bytes()]),
        }
    }

    /// The entries of a type.
    pub fn entry_type(entry_type: EntryType) -> Row {
        Row {
            kind: RowKind::Type,
            of: small(entry_type.code()),
        }
    }

    /// The entries with a finding.
    pub fn finding(finding: Finding) -> Row {
        Row {
            kind: RowKind::Finding,
            of: small(finding as u8),
        }
    }

    /// The entries with any finding.
    pub fn any_finding() -> Row {
        Row {
            kind: RowKind::Finding,
            of: small(u8::MAX),
        }
    }
}

fn small(number: u8) -> Hash {
    let mut of = Hash::ZERO;
    if let Some(last) = of.0.last_mut() {
        *last = number;
    }
    of
}

/// What [`apply`] says.
#[derive(Debug)]
pub enum Applied {
    /// The entry takes its index.
    Accepted(Box<Effects>),
    /// The same entry (id, PAE and signers) stands at this index already; nothing changes, and it keeps its first receipt.
    Known {
        /// Where it stands.
        index: EntryIndex,
    },
    /// Nothing is kept of it, and the next entry may take the index.
    Refused(Refused),
}

/// What an accepted entry does.
#[derive(Debug)]
pub struct Effects {
    /// The entry with its index, leaf and findings.
    pub entry: SequencedEntry,
    /// Writes, by key.
    pub writes: Writes,
    /// Rows, each once.
    pub rows: Vec<Row>,
}

/// State keys that [`apply`] may ask for an entry alone, not for most entries alike: seven at most. Whoever has many entries to judge may read
/// them in one go before; what is judged does not depend on it.
pub fn asked(entry: &VerifiedEntry, accepted_at_ms: u64) -> Vec<StateKey> {
    alone(entry, |access| {
        sides::asked(access, accepted_at_ms, &[Side::Consumer, Side::Provider])
    })
}

/// The same of [`precheck`], five at most: it does not look at what the other side of an exchange told.
pub fn asked_at_door(entry: &VerifiedEntry, now_ms: u64) -> Vec<StateKey> {
    alone(entry, |access| sides::asked(access, now_ms, &[access.side]))
}

fn alone(
    entry: &VerifiedEntry,
    of_exchange: impl FnOnce(&Access) -> Vec<StateKey>,
) -> Vec<StateKey> {
    let body = entry.body();
    let mut keys = match &body.content {
        Content::Access(access) => of_exchange(access),
        _ => Vec::new(),
    };
    keys.push(StateKey::entry_id(
        &body.common.institution,
        &body.common.id,
    ));
    keys
}

/// Judges an entry at its place. The caller performs the writes before the next entry is judged, or overlays them.
///
/// # Errors
/// The state's own, and [`StateError`]: the node must stop, and recovers by its start-up path.
pub fn apply<S: State>(
    state: &S,
    entry: VerifiedEntry,
    stamp: Stamp,
    ledger: &LedgerInfo,
) -> Result<Applied, S::Error> {
    match perform(state, entry, stamp, ledger) {
        Ok(applied) => Ok(applied),
        Err(Stop::Refused(refused)) => Ok(Applied::Refused(refused)),
        Err(Stop::Failed(error)) => Err(error),
    }
}

fn perform<S: State>(
    state: &S,
    entry: VerifiedEntry,
    stamp: Stamp,
    ledger: &LedgerInfo,
) -> Result<Applied, Stop<S::Error>> {
    let mut draft = Draft::over(state);
    let judged = match judge::judge(&draft, &entry, stamp.index, stamp.accepted_at_ms)? {
        judge::Judgement::Known(index) => return Ok(Applied::Known { index }),
        judge::Judgement::New(judged) => judged,
    };
    let sequenced = SequencedEntry::new(
        entry,
        stamp.index,
        stamp.accepted_at_ms,
        judged.findings,
        judged.rules,
        stamp.body_salt,
    );
    let at = Reference {
        index: stamp.index,
        leaf: sequenced.leaf_hash(),
    };
    govern(&mut draft, sequenced.entry(), &judged, &at, ledger)?;
    effects::write(&mut draft, &sequenced, &judged, &at)?;
    let rows = effects::rows(&sequenced, &judged);
    Ok(Applied::Accepted(Box::new(Effects {
        entry: sequenced,
        writes: draft.into_writes(),
        rows,
    })))
}

/// Judges an entry at the door, as if it were to take the `next` index now: a client gets its refusal without a round of Raft. An
/// optimisation: [`apply`] judges again. Where it stands, if it is known already.
///
/// # Errors
/// As [`apply`].
pub fn precheck<S: State>(
    state: &S,
    entry: &VerifiedEntry,
    next: EntryIndex,
    now_ms: u64,
    ledger: &LedgerInfo,
) -> Result<Result<Option<EntryIndex>, Refused>, S::Error> {
    let check = || -> Result<Option<EntryIndex>, Stop<S::Error>> {
        let mut draft = Draft::over(state);
        let judged = match judge::judge(&draft, entry, next, now_ms)? {
            judge::Judgement::Known(index) => return Ok(Some(index)),
            judge::Judgement::New(judged) => judged,
        };
        carried(&entry.body().content)?;
        // Its leaf is not known yet; what governance writes here is thrown away.
        govern(
            &mut draft,
            entry,
            &judged,
            &Reference {
                index: next,
                leaf: Hash::ZERO,
            },
            ledger,
        )?;
        Ok(None)
    };
    match check() {
        Ok(known) => Ok(Ok(known)),
        Err(Stop::Refused(refused)) => Ok(Err(refused)),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// Refuses a rule set that this build does not carry; [`apply`] would have to stop the node.
fn carried<E>(content: &Content) -> Result<(), Stop<E>> {
    let (rules, of) = match content {
        Content::Rules(rules) => (rules.rules, "rules"),
        Content::Genesis(genesis) => (genesis.rules, "genesis"),
        _ => return Ok(()),
    };
    if rule_set(rules).is_some() {
        Ok(())
    } else {
        refuse(Refusal::RulesUnknown, &["envelope", "payload", of, "rules"])
    }
}

fn govern<S: State>(
    draft: &mut Draft<'_, S>,
    entry: &VerifiedEntry,
    judged: &judge::Judged,
    at: &Reference,
    ledger: &LedgerInfo,
) -> Result<(), Stop<S::Error>> {
    let body = entry.body();
    match &body.content {
        Content::Genesis(genesis) => {
            governance::found(draft, genesis, &body.common, &judged.signers, at, ledger)
        }
        content if judge::is_governance(content) => governance::change(
            draft,
            content,
            &body.common,
            &judged.signers,
            judged.alone,
            at,
            ledger,
        ),
        _ => Ok(()),
    }
}

/// A signer whose key was found.
#[derive(Clone, Debug)]
pub(crate) struct Signer {
    pub(crate) id: KeyId,
    pub(crate) terms: KeyTerms,
}

/// Refuses at a member.
pub(crate) fn refuse<T, E>(refusal: Refusal, pointer: &[&str]) -> Result<T, Stop<E>> {
    let pointer = pointer
        .iter()
        .map(|member| format!("/{member}"))
        .collect::<Vec<_>>()
        .concat();
    Err(Stop::Refused(Refused::new(refusal, pointer)))
}
