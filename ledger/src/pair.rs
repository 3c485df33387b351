// SPDX-License-Identifier: EUPL-1.2
//! The two sides of an exchange: what consumer and provider each signed about one call, and whether they say the same.
//!
//! A pair is (exchange, consumer, provider), with one entry a side, whichever comes first; parts of one side count as one. What a side told
//! first stands. Compared are the target subjects, the purpose, the time and the outcome. Incidental subjects are not: a consumer meets them
//! only in the answer, so the provider names them alone, or a note adds them later. A note of a side's own institution changes what is seen
//! here, never the leaf: `complete` adds incidental subjects, `correct` with subjects says who an entry's targets really were.
//!
//! [`compare`] judges from the entries themselves. [`Gist`] is what admission keeps of a side, so that two sides that plainly agree need no
//! second look; it never calls sides equal that [`compare`] tells apart.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use crate::{
    body::{
        access::{Access, Side, SubjectRole},
        system::NoteKind,
    },
    bytes::{state::Writer, stored::Reader},
    finding::{Finding, Findings},
    hash::Hash,
    id::InstitutionId,
    number::EntryIndex,
    time::AHEAD_MS_MAX,
};

/// How far apart two sides may say that one call occurred. A call lasts seconds; what is left are the clocks of two institutions, and the
/// ledger lets each of them be ahead by so much before it refuses the entry. A side in parts occurred from its first part to its last.
pub const APART_MS_MAX: u64 = AHEAD_MS_MAX;

/// One call: who asked whom, in which exchange.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    /// 16 random bytes drawn by the consumer.
    pub exchange: [u8; 16],
    /// Who asked.
    pub consumer: InstitutionId,
    /// Who answered.
    pub provider: InstitutionId,
}

impl Pair {
    /// The pair that an access speaks of.
    pub fn of(access: &Access) -> Pair {
        Pair {
            exchange: access.exchange,
            consumer: access.consumer.clone(),
            provider: access.provider.clone(),
        }
    }

    /// The institution that speaks for a side.
    pub fn speaker(&self, side: Side) -> &InstitutionId {
        match side {
            Side::Consumer => &self.consumer,
            Side::Provider => &self.provider,
        }
    }
}

/// An entry that speaks of a pair.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Its place.
    pub index: EntryIndex,
    /// When the ledger accepted it.
    pub accepted_at_ms: u64,
    /// When the signer says that it occurred.
    pub occurred_at_ms: u64,
    /// The judgement at acceptance.
    pub findings: Findings,
    /// What it says.
    pub access: &'a Access,
}

/// A note on an entry of a pair.
#[derive(Clone, Debug)]
pub struct Remark {
    /// Its place.
    pub index: EntryIndex,
    /// Whose word it is.
    pub by: InstitutionId,
    /// The judgement at acceptance.
    pub findings: Findings,
    /// What it does.
    pub kind: NoteKind,
    /// The entry that it is on; its leaf is the one that the note names.
    pub on: EntryIndex,
    /// Whom it names.
    pub subjects: Vec<Hash>,
}

/// What a pair comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PairState {
    /// One side is missing, whole or in part.
    Unpaired {
        /// The side that was told; of two incomplete ones the first.
        told: Side,
        /// When the ledger accepted the first entry of the pair.
        since_ms: u64,
    },
    /// Both sides say the same.
    Paired,
    /// Both sides are there and say different things.
    Differing(Vec<Difference>),
}

/// In what two sides differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// The target subjects.
    Subjects,
    /// The purpose, or PDND's purpose where both name one.
    Purpose,
    /// The time, by more than [`APART_MS_MAX`].
    Time,
    /// The outcome, or the status code where both name one.
    Outcome,
}

impl Difference {
    /// Its name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Difference::Subjects => "subjects",
            Difference::Purpose => "purpose",
            Difference::Time => "time",
            Difference::Outcome => "outcome",
        }
    }
}

/// A pair, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What it comes to.
    pub state: PairState,
    /// What the consumer told.
    pub consumer: Option<SideTold>,
    /// What the provider told.
    pub provider: Option<SideTold>,
    /// Entries that tell a side again; the first stands.
    pub again: Vec<EntryIndex>,
}

impl Judged {
    /// When the ledger accepted the first entry of the pair.
    pub fn since_ms(&self) -> Option<u64> {
        let sides = [&self.consumer, &self.provider];
        sides.into_iter().flatten().map(|side| side.since_ms).min()
    }
}

/// What one side told, its parts together, as its own notes amend it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SideTold {
    /// Its entries, in the order of the ledger.
    pub entries: Vec<EntryIndex>,
    /// When the first of them was accepted.
    pub since_ms: u64,
    /// First and last time of occurrence.
    pub occurred_ms: (u64, u64),
    /// Number of parts; 0 if told whole.
    pub parts: u64,
    /// Whose data was asked for.
    pub targets: BTreeSet<Hash>,
    /// Who was met in the answer.
    pub incidental: BTreeSet<Hash>,
    /// Some subject is withheld or erased: the targets are not all known.
    pub closed: bool,
    /// Notes that change or remark on it.
    pub notes: Vec<EntryIndex>,
    purposes: BTreeSet<alloc::string::String>,
    purpose_ids: BTreeSet<alloc::string::String>,
    outcomes: BTreeSet<alloc::string::String>,
    status_codes: BTreeSet<u64>,
}

impl SideTold {
    /// Whether it was told whole, or in all of its parts.
    pub fn is_complete(&self) -> bool {
        self.parts == 0 || u64::try_from(self.entries.len()) == Ok(self.parts)
    }

    fn add(&mut self, told: &Told<'_>, targets: Option<&BTreeSet<Hash>>) {
        if self.entries.is_empty() {
            self.since_ms = told.accepted_at_ms;
            self.occurred_ms = (told.occurred_at_ms, told.occurred_at_ms);
            self.parts = told.access.part.map_or(0, |part| part.n);
        }
        self.entries.push(told.index);
        self.occurred_ms.0 = self.occurred_ms.0.min(told.occurred_at_ms);
        self.occurred_ms.1 = self.occurred_ms.1.max(told.occurred_at_ms);
        let access = told.access;
        for subject in &access.subjects {
            match &subject.value {
                Some(subject) if subject.role == SubjectRole::Incidental => {
                    self.incidental.insert(subject.person);
                }
                Some(subject) if targets.is_none() => {
                    self.targets.insert(subject.person);
                }
                Some(_) => {}
                None => self.closed |= targets.is_none(),
            }
        }
        self.targets.extend(targets.into_iter().flatten());
        self.purposes.insert(access.purpose.clone());
        self.purpose_ids.extend(access.purpose_id.clone());
        self.outcomes.insert(access.outcome.clone());
        self.status_codes.extend(access.status_code);
    }
}

/// Judges the entries of one pair, in any order, with the notes on them. Entries that nobody may say for the side's institution count for
/// nothing: they could spoil others' pairs.
pub fn compare(entries: &[Told<'_>], remarks: &[Remark]) -> Judged {
    let mut entries: Vec<&Told<'_>> = entries
        .iter()
        .filter(|told| !told.findings.contains(Finding::DelegationMissing))
        .collect();
    entries.sort_by_key(|told| told.index);
    let mut again = Vec::new();
    let mut consumer = Telling::default();
    let mut provider = Telling::default();
    for told in entries {
        let side = match told.access.side {
            Side::Consumer => &mut consumer,
            Side::Provider => &mut provider,
        };
        if !side.take(*told) {
            again.push(told.index);
        }
    }
    let (consumer, provider) = (consumer.sum(remarks), provider.sum(remarks));
    let state = match (&consumer, &provider) {
        (Some(consumer), Some(provider)) if consumer.is_complete() && provider.is_complete() => {
            let what = differences(consumer, provider);
            if what.is_empty() {
                PairState::Paired
            } else {
                PairState::Differing(what)
            }
        }
        (consumer, provider) => unpaired(consumer.as_ref(), provider.as_ref()),
    };
    Judged {
        state,
        consumer,
        provider,
        again,
    }
}

/// What of one side counts.
#[derive(Default)]
struct Telling<'a>(BTreeMap<u64, Told<'a>>, u64);

impl<'a> Telling<'a> {
    /// The first that is told stands: the whole, or each part of one number of parts once.
    fn take(&mut self, told: Told<'a>) -> bool {
        let (k, n) = told.access.part.map_or((0, 0), |part| (part.k, part.n));
        if self.0.is_empty() {
            self.1 = n;
        } else if n == 0 || n != self.1 || self.0.contains_key(&k) {
            return false;
        }
        self.0.insert(k, told);
        true
    }

    fn sum(&self, remarks: &[Remark]) -> Option<SideTold> {
        let mut entries: Vec<&Told<'_>> = self.0.values().collect();
        entries.sort_by_key(|told| told.index);
        let speaker = entries.first().map(|told| match told.access.side {
            Side::Consumer => &told.access.consumer,
            Side::Provider => &told.access.provider,
        })?;
        let own = |remark: &&Remark| {
            remark.by == *speaker && !remark.findings.contains(Finding::DelegationMissing)
        };
        let mut side = SideTold::default();
        for told in entries {
            let mut notes: Vec<&Remark> = remarks
                .iter()
                .filter(|remark| remark.on == told.index)
                .collect();
            notes.sort_by_key(|remark| remark.index);
            // What others note, and may have sealed, is not for this side's reader to learn of.
            let said = notes.iter().copied().filter(own);
            side.notes.extend(said.map(|remark| remark.index));
            let corrected: Option<BTreeSet<Hash>> = notes
                .iter()
                .copied()
                .filter(own)
                .rfind(|remark| remark.kind == NoteKind::Correct && !remark.subjects.is_empty())
                .map(|remark| remark.subjects.iter().copied().collect());
            side.add(told, corrected.as_ref());
            let completed = notes
                .iter()
                .copied()
                .filter(own)
                .filter(|remark| remark.kind == NoteKind::Complete);
            side.incidental
                .extend(completed.flat_map(|remark| remark.subjects.iter().copied()));
        }
        let targets = &side.targets;
        side.incidental.retain(|person| !targets.contains(person));
        Some(side)
    }
}

fn unpaired(consumer: Option<&SideTold>, provider: Option<&SideTold>) -> PairState {
    let whole = |side: Option<&SideTold>| side.is_some_and(SideTold::is_complete);
    let first = |side: Option<&SideTold>| side.and_then(|side| side.entries.first().copied());
    let told = match (whole(consumer), whole(provider)) {
        (true, false) => Side::Consumer,
        (false, true) => Side::Provider,
        _ => match (first(consumer), first(provider)) {
            (Some(consumer), Some(provider)) if provider < consumer => Side::Provider,
            (None, Some(_)) => Side::Provider,
            _ => Side::Consumer,
        },
    };
    let since = [consumer, provider].into_iter().flatten();
    PairState::Unpaired {
        told,
        since_ms: since.map(|side| side.since_ms).min().unwrap_or_default(),
    }
}

fn differences(consumer: &SideTold, provider: &SideTold) -> Vec<Difference> {
    let mut what = Vec::new();
    if !consumer.closed && !provider.closed && consumer.targets != provider.targets {
        what.push(Difference::Subjects);
    }
    if consumer.purposes != provider.purposes
        || both_differ(&consumer.purpose_ids, &provider.purpose_ids)
    {
        what.push(Difference::Purpose);
    }
    if apart(consumer.occurred_ms, provider.occurred_ms) > APART_MS_MAX {
        what.push(Difference::Time);
    }
    if consumer.outcomes != provider.outcomes
        || both_differ(&consumer.status_codes, &provider.status_codes)
    {
        what.push(Difference::Outcome);
    }
    what
}

/// What may be left out by a side is compared where neither did.
fn both_differ<T: Ord>(one: &BTreeSet<T>, other: &BTreeSet<T>) -> bool {
    !one.is_empty() && !other.is_empty() && one != other
}

/// How far two spans of time lie apart; 0 where they touch.
fn apart(one: (u64, u64), other: (u64, u64)) -> u64 {
    one.0
        .saturating_sub(other.1)
        .max(other.0.saturating_sub(one.1))
}

/// What admission keeps of the first that a side told, to see at once whether the other side agrees. Bound to the exchange, so that it tells
/// nobody whether two exchanges were about the same persons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gist {
    occurred_at_ms: u64,
    /// One more than the code; 0 = none.
    status: u64,
    /// [`Hash::ZERO`] = none.
    purpose_id: Hash,
    /// Purpose, outcome and targets.
    rest: Hash,
}

impl Gist {
    /// The gist of an access as admitted: every subject is open.
    pub fn of(access: &Access, occurred_at_ms: u64) -> Gist {
        let targets: BTreeSet<Hash> = access
            .subjects
            .iter()
            .filter_map(|subject| subject.value.as_ref())
            .filter(|subject| subject.role == SubjectRole::Target)
            .map(|subject| subject.person)
            .collect();
        let mut rest = Writer::default();
        rest.raw(&access.exchange)
            .text(&access.purpose)
            .text(&access.outcome);
        targets.iter().for_each(|person| {
            rest.hash(person);
        });
        Gist {
            occurred_at_ms,
            status: access.status_code.map_or(0, |code| code.saturating_add(1)),
            purpose_id: access.purpose_id.as_ref().map_or(Hash::ZERO, |id| {
                Hash::of(&[&access.exchange, id.as_bytes()])
            }),
            rest: Hash::of(&[&rest.done()]),
        }
    }

    /// Whether two sides, both told whole, say the same.
    pub fn agrees(&self, other: &Gist) -> bool {
        let optional = |one: u64, other: u64| one == 0 || other == 0 || one == other;
        self.rest == other.rest
            && optional(self.status, other.status)
            && (self.purpose_id == Hash::ZERO
                || other.purpose_id == Hash::ZERO
                || self.purpose_id == other.purpose_id)
            && self.occurred_at_ms.abs_diff(other.occurred_at_ms) <= APART_MS_MAX
    }

    pub(crate) fn encode(&self, out: &mut Writer) {
        out.u64(self.occurred_at_ms)
            .u64(self.status)
            .hash(&self.purpose_id)
            .hash(&self.rest);
    }

    pub(crate) fn decode(from: &mut Reader<'_>) -> Option<Gist> {
        Some(Gist {
            occurred_at_ms: from.u64()?,
            status: from.u64()?,
            purpose_id: from.hash()?,
            rest: from.hash()?,
        })
    }
}

#[cfg(test)]
mod tests;
