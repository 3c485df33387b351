// SPDX-License-Identifier: EUPL-1.2
//! Retention: what a cut by age takes, and what of an entry that is asked for.
//!
//! The rule is needed where the body is (an eraser, a reader) and where it is gone (a fold, which moves list bases): both ask here. What a
//! cut takes depends on the cut and on what the entry said when it came, never on the moment at which a node gets there.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use crate::{
    body::{Body, Content, EntryType, access::Visibility},
    bytes::{
        state::{StateKey, Writer},
        stored::Reader,
    },
    entry::Stop,
    erasure::is_erasable,
    hash::Hash,
    id::InstitutionId,
    number::EntryIndex,
    state::{Draft, State, read},
    time,
};

/// How old an entry is when a cut takes it: 24 months (SPID's and CIE's rules ask registers to be kept so long).
pub const RETENTION_MS: u64 = 730 * time::DAY_MS;
/// Least time between two cuts of one institution: more of them would take no more, and each moves bases on every node.
pub const CUT_AGAIN_MS: u64 = time::DAY_MS;

/// Whether a cut takes entries of this type when they are old enough.
pub fn is_cut(entry_type: EntryType) -> bool {
    is_erasable(entry_type)
}

/// Whether such an entry holds until something newer is said, however long ago it was said itself: its age counts from then on.
pub fn holds_on(entry_type: EntryType) -> bool {
    matches!(entry_type, EntryType::Consent | EntryType::Household)
}

/// What decides who may have an entry erased: kept where the body is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Its type.
    pub entry_type: EntryType,
    /// Its controller.
    pub institution: InstitutionId,
    /// Whether an authority holds it back from the persons named.
    pub held: Option<Held>,
}

/// That an entry is held back (Art. 17(3)(b) and (e) GDPR).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// By whom.
    pub by: InstitutionId,
    /// Until when, ms since the epoch; no end if absent.
    pub due_ms: Option<u64>,
}

impl Terms {
    /// Those of an entry whose body is there.
    pub fn of(body: &Body) -> Terms {
        let held = match &body.content {
            Content::Access(access) => held(&access.visibility),
            _ => None,
        };
        Terms {
            entry_type: body.content.entry_type(),
            institution: body.common.institution.clone(),
            held,
        }
    }

    /// Who holds the entry back at a time; none once it is due.
    pub fn holder(&self, at_ms: u64) -> Option<&InstitutionId> {
        let held = self.held.as_ref();
        let holding = held.filter(|held| held.due_ms.is_none_or(|due_ms| at_ms < due_ms));
        holding.map(|held| &held.by)
    }

    /// From when on its age counts: from its acceptance, and of what holds on from when it ceased; none while it holds.
    pub fn since_ms(&self, accepted_at_ms: u64, ceased_ms: Option<u64>) -> Option<u64> {
        if holds_on(self.entry_type) {
            ceased_ms.map(|ceased_ms| ceased_ms.max(accepted_at_ms))
        } else {
            Some(accepted_at_ms)
        }
    }
}

fn held(visibility: &Visibility) -> Option<Held> {
    match visibility {
        Visibility::Visible => None,
        Visibility::Hidden { authority, .. } => Some(Held {
            by: authority.clone(),
            due_ms: None,
        }),
        Visibility::Deferred {
            until, authority, ..
        } => authority.as_ref().map(|by| Held {
            by: by.clone(),
            // The date is real: the body was parsed.
            due_ms: Some(time::parse_date(until).unwrap_or(0)),
        }),
    }
}

/// A cut: everything of an institution's (everybody's, if it is the authority's) before an index that is old enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Where its order stands.
    pub index: EntryIndex,
    /// When that was accepted: ages are taken then.
    pub accepted_at_ms: u64,
    /// Who gave it.
    pub institution: InstitutionId,
    /// What it takes.
    pub reach: Reach,
}

/// How far a cut reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The first index that it leaves alone.
    pub before: u64,
    /// Whether it is the supervisory authority's.
    pub authority: bool,
    /// The types that it takes; all that a cut takes, if none is named.
    pub types: Vec<EntryType>,
}

impl Cut {
    /// Whether it takes an entry, whose age counts from `since_ms` on. One that is no authority's takes its own institution's entries
    /// alone, whatever they name it for: so a later cut of the same reach takes all that an earlier one takes, also what is held until a date
    /// between the two.
    pub fn takes(&self, index: EntryIndex, since_ms: Option<u64>, terms: &Terms) -> bool {
        let Reach {
            before,
            authority,
            types,
        } = &self.reach;
        index.0 < *before
            && (*authority || self.institution == terms.institution)
            && is_due(terms.entry_type, types, since_ms, self.accepted_at_ms)
            && may_ask(&self.institution, *authority, self.accepted_at_ms, terms)
    }

    /// Whether it could take an entry by where it stands and when it was accepted, whatever it says.
    pub(crate) fn may_take(&self, index: EntryIndex, accepted_at_ms: u64) -> bool {
        index.0 < self.reach.before && is_old(accepted_at_ms, self.accepted_at_ms)
    }

    /// Whether it takes whatever another one takes.
    pub fn supersedes(&self, other: &Cut) -> bool {
        let (own, others) = (&self.reach, &other.reach);
        let all = own.types.is_empty();
        self.institution == other.institution
            && other.accepted_at_ms <= self.accepted_at_ms
            && others.before <= own.before
            && (own.authority || !others.authority)
            && (all
                || !others.types.is_empty() && others.types.iter().all(|of| own.types.contains(of)))
    }

    /// The binary form: `u64(index) ‖ u64(accepted_at_ms) ‖ text(institution) ‖ reach`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        self.put(&mut out);
        out.done()
    }

    /// Reads what [`Cut::encode`] wrote, and nothing else.
    pub fn decode(data: &[u8]) -> Option<Cut> {
        Reader::all(data, Cut::take)
    }

    pub(crate) fn put(&self, out: &mut Writer) {
        out.u64(self.index.0).u64(self.accepted_at_ms);
        out.text(self.institution.as_str());
        self.reach.put(out);
    }

    /// Reads what [`Cut::put`] wrote.
    pub(crate) fn take(from: &mut Reader<'_>) -> Option<Cut> {
        Some(Cut {
            index: EntryIndex(from.u64()?),
            accepted_at_ms: from.u64()?,
            institution: InstitutionId::parse(&from.text()?)?,
            reach: Reach::take(from)?,
        })
    }
}

impl Reach {
    /// `u64(before) ‖ u8(authority) ‖ u8(n) ‖ n × u8(type)`.
    pub(crate) fn put(&self, out: &mut Writer) {
        out.u64(self.before).u8(u8::from(self.authority));
        // Far fewer than 256 types can be cut.
        out.u8(self.types.len() as u8);
        self.types.iter().for_each(|of| {
            out.u8(of.code());
        });
    }

    /// Reads what [`Reach::put`] wrote.
    pub(crate) fn take(from: &mut Reader<'_>) -> Option<Reach> {
        let (before, authority) = (from.u64()?, flag(from.u8()?)?);
        let types = (0..from.u8()?).map(|_| EntryType::from_code(from.u8()?));
        let types = types.collect::<Option<Vec<_>>>()?;
        Some(Reach {
            before,
            authority,
            types,
        })
    }
}

fn flag(byte: u8) -> Option<bool> {
    match byte {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// Whether an entry of this type, whose age counts from `since_ms` on, is one of those that a cut of these types takes at a time.
pub fn is_due(
    entry_type: EntryType,
    types: &[EntryType],
    since_ms: Option<u64>,
    at_ms: u64,
) -> bool {
    is_cut(entry_type)
        && (types.is_empty() || types.contains(&entry_type))
        && since_ms.is_some_and(|since_ms| is_old(since_ms, at_ms))
}

/// Whether something of that time is past its retention.
pub fn is_old(since_ms: u64, at_ms: u64) -> bool {
    since_ms.saturating_add(RETENTION_MS) <= at_ms
}

/// Whether an institution may have such an entry erased: its controller, or the authority. While an authority holds it back from the persons
/// named, that authority alone: else what is investigated could be made to vanish.
pub(crate) fn may_ask(
    institution: &InstitutionId,
    authority: bool,
    at_ms: u64,
    terms: &Terms,
) -> bool {
    match terms.holder(at_ms) {
        Some(holder) => holder == institution,
        None => authority || terms.institution == *institution,
    }
}

/// The cuts that stand at some size: none takes all that a later one takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cuts {
    of: BTreeMap<InstitutionId, Vec<Cut>>,
    authorities: BTreeSet<InstitutionId>,
    /// The greatest of what they reach, and of when they were accepted. A cut goes only where one stays that has no less of both.
    before_max: u64,
    accepted_at_max_ms: u64,
}

impl Cuts {
    /// Adds the next cut; what it supersedes goes.
    pub fn add(&mut self, cut: Cut) {
        self.before_max = cut.reach.before.max(self.before_max);
        self.accepted_at_max_ms = cut.accepted_at_ms.max(self.accepted_at_max_ms);
        let institution = cut.institution.clone();
        let own = self.of.entry(institution.clone()).or_default();
        own.retain(|other| !cut.supersedes(other));
        own.push(cut);
        if own.iter().any(|cut| cut.reach.authority) {
            self.authorities.insert(institution);
        } else {
            self.authorities.remove(&institution);
        }
    }

    /// Whether one of them takes an entry.
    pub fn take(&self, index: EntryIndex, since_ms: Option<u64>, terms: &Terms) -> bool {
        self.first(index, since_ms, terms).is_some()
    }

    /// The first of them that takes an entry.
    pub fn first(&self, index: EntryIndex, since_ms: Option<u64>, terms: &Terms) -> Option<&Cut> {
        let asked = self.asked(&terms.institution);
        let taking = asked.filter(|cut| cut.takes(index, since_ms, terms));
        taking.min_by_key(|cut| cut.index)
    }

    /// Whether any of them could take an entry by where it stands and when it was accepted, whatever it says.
    pub fn reach(&self, index: EntryIndex, accepted_at_ms: u64) -> bool {
        index.0 < self.before_max && is_old(accepted_at_ms, self.accepted_at_max_ms)
    }

    /// The first index that all of them leave alone, and all that they superseded left.
    pub fn reach_max(&self) -> u64 {
        self.before_max
    }

    /// Those that can take entries of an institution: its own and the authorities'.
    fn asked(&self, institution: &InstitutionId) -> impl Iterator<Item = &Cut> {
        let own = self.of.get(institution).into_iter();
        let authorities = self.authorities.iter();
        // Those of an authority's own come twice.
        own.chain(authorities.filter_map(|institution| self.of.get(institution)))
            .flatten()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Cut> {
        self.of.values().flatten()
    }

    /// The binary form: `u64(n) ‖ n × cut`, by institution, and each institution's in the order of the ledger.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u64(self.iter().count() as u64);
        self.iter().for_each(|cut| cut.put(&mut out));
        out.done()
    }

    /// Reads what [`Cuts::encode`] wrote.
    pub fn decode(data: &[u8]) -> Option<Cuts> {
        Reader::all(data, Cuts::read)
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Cuts> {
        let mut cuts = Cuts::default();
        for _ in 0..from.u64()? {
            cuts.add(Cut::take(from)?);
        }
        Some(cuts)
    }
}

/// When what an entry says ceased to hold, ms since the epoch; none while it holds, and of a type that holds nothing. Asked later the answer
/// can be another, but for a cut given in between none that makes a difference: what was written behind a cut is younger than it.
///
/// # Errors
/// The state's own.
pub fn ceased<S: State>(
    state: &S,
    index: EntryIndex,
    entry_type: EntryType,
) -> Result<Option<u64>, S::Error> {
    if holds_on(entry_type) {
        read(state, &StateKey::ceased(index), decode_ceased)
    } else {
        Ok(None)
    }
}

/// The time under a [`crate::state::kind::CEASED`] key.
pub(crate) fn decode_ceased(value: &[u8]) -> Option<u64> {
    Reader::all(value, |from| from.u64())
}

/// What an entry said holds no more from this time on. The earliest such time stands.
pub(crate) fn cease<S: State>(
    draft: &mut Draft<'_, S>,
    index: EntryIndex,
    at_ms: u64,
) -> Result<(), Stop<S::Error>> {
    let known = read(draft, &StateKey::ceased(index), decode_ceased)?;
    if known.is_none_or(|known_ms| at_ms < known_ms) {
        draft.put(StateKey::ceased(index), at_ms.to_be_bytes().to_vec());
    }
    Ok(())
}

/// The composition of a household that begins last, and when it begins, ms since the epoch: known also where its body is gone.
///
/// # Errors
/// The state's own.
pub fn last_composition<S: State>(
    state: &S,
    household: &Hash,
) -> Result<Option<(EntryIndex, u64)>, S::Error> {
    read(state, &StateKey::composition(household), |value| {
        Reader::all(value, |from| Some((EntryIndex(from.u64()?), from.u64()?)))
    })
}

/// A composition of a household was said: the one before holds no more once this one began and was known. One that begins before the
/// last is about the past alone.
pub(crate) fn compose<S: State>(
    draft: &mut Draft<'_, S>,
    household: &Hash,
    index: EntryIndex,
    valid_from_ms: u64,
    accepted_at_ms: u64,
) -> Result<(), Stop<S::Error>> {
    match last_composition(draft, household)? {
        Some((_, began_ms)) if valid_from_ms < began_ms => {
            return cease(draft, index, accepted_at_ms.max(began_ms));
        }
        Some((before, _)) => cease(draft, before, accepted_at_ms.max(valid_from_ms))?,
        None => {}
    }
    let value = Writer::default().u64(index.0).u64(valid_from_ms).done();
    draft.put(StateKey::composition(household), value);
    Ok(())
}
