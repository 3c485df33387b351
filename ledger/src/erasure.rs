// SPDX-License-Identifier: EUPL-1.2
//! Erasing with proofs intact: what an order asks, whom it is believed of, and what it does to a stored entry.
//!
//! Apply reads no bodies, so it cannot tell whose entries an order names: it records the order, whoever signed it. [`Order::carry_out`] reads
//! the entry and does what the signer may ask, and nothing else. It is the one home of that rule: each node's eraser calls it, and so does
//! every read from the moment that the order is applied, so that nothing is shown that is about to go.

use alloc::vec::Vec;

use crate::{
    admission::Row,
    base64,
    body::{
        Body, Content, EntryType,
        access::SubjectRole,
        system::{Erased, Erasure, Ground},
    },
    bytes::{
        state::{StateKey, Writer},
        stored::Reader,
    },
    disclosure,
    entry::{SequencedEntry, Stop, StoredEntry},
    hash::Hash,
    id::{InstitutionId, NodeNumber},
    number::{EntryIndex, TreeSize},
    refusal::Refused,
    retention::{self, Cut, Reach, Terms},
    state::{Draft, State, StateError, read, registry},
};

/// Most entries that one order names.
pub const ENTRIES_MAX: usize = 256;
/// Most orders on one entry that reads ask. Further ones are recorded and carried out all the same, only not before the eraser gets there.
pub const ORDERS_PER_ENTRY_MAX: usize = 32;

/// Every order, in the order of acceptance.
const ORDERS: &str = "erasures";

/// Whether the body of such an entry can be erased by its index. What the ledger itself rests on stays: governance, links, roots, and the
/// erasures, which must be able to say why.
pub fn is_erasable(entry_type: EntryType) -> bool {
    match entry_type {
        EntryType::Access
        | EntryType::Consent
        | EntryType::Household
        | EntryType::Note
        | EntryType::Read
        | EntryType::Disclosure
        | EntryType::Release => true,
        EntryType::Genesis
        | EntryType::Institution
        | EntryType::Key
        | EntryType::Role
        | EntryType::Delegation
        | EntryType::Node
        | EntryType::Policy
        | EntryType::Rules
        | EntryType::Erasure
        | EntryType::Erased
        | EntryType::Link
        | EntryType::StateRoot => false,
    }
}

/// An accepted `erasure` entry, as the state keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Where it stands.
    pub index: EntryIndex,
    /// Who gave it.
    pub institution: InstitutionId,
    /// Whether that was the supervisory authority when it did.
    pub authority: bool,
    /// When the ledger accepted it, in milliseconds since the epoch.
    pub accepted_at_ms: u64,
    /// Why.
    pub ground: Ground,
    /// What is to go.
    pub scope: Scope,
}

/// What an order names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The bodies of these entries, ascending.
    Entries(Vec<u64>),
    /// One person's disclosure in these entries.
    Subject(Vec<u64>, Hash),
    /// The bodies before this index, of these types (all that a cut takes, if none is named), of entries that are old enough.
    Before(u64, Vec<EntryType>),
}

/// What an order came to at one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carried {
    /// It is gone now.
    Now(Gone),
    /// It was gone already.
    Before,
    /// It stays: not the signer's, held by an authority, of a type or an age that stays, or without such a person.
    Spared,
}

/// What goes with a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// Rows of the entry that say what the body said: they must go too.
    pub rows: Vec<Row>,
    /// The exchange that it told of. Whoever told the other side is to learn that this one is gone.
    pub exchange: Option<Row>,
}

impl Order {
    /// Carries the order out on the entry at an index, if it is one of those named and the signer controls it. Calling it again changes nothing.
    /// `ceased_ms`: since when what it says holds no more ([`retention::ceased`]).
    ///
    /// # Errors
    /// A body that was never admitted: the store is damaged.
    pub fn carry_out(
        &self,
        at: EntryIndex,
        stored: &mut StoredEntry,
        ceased_ms: Option<u64>,
    ) -> Result<Carried, Refused> {
        if stored.erased.contains(&self.index) {
            return Ok(Carried::Before);
        }
        let Some(body) = stored.parse_body()? else {
            // Another order took the body. Had this one been good for it, it would have been first, were it the older.
            let older = stored.erased.iter().any(|order| *order < self.index);
            return Ok(if older {
                Carried::Before
            } else {
                Carried::Spared
            });
        };
        let terms = Terms::of(&body);
        if !self.names(at, stored, &terms, ceased_ms) || !self.may_ask(&terms) {
            return Ok(Carried::Spared);
        }
        let gone = match &self.scope {
            Scope::Entries(_) | Scope::Before(..) => {
                stored.erase();
                gone_with(&body, None)
            }
            Scope::Subject(_, person) => {
                let before = stored.disclosures.len();
                stored.disclosures.retain(|text| !discloses(text, person));
                if stored.disclosures.len() == before {
                    return Ok(Carried::Spared);
                }
                gone_with(&body, Some(person))
            }
        };
        stored.erased.push(self.index);
        Ok(Carried::Now(gone))
    }

    /// The order as a cut, if it is one.
    pub fn cut(&self) -> Option<Cut> {
        let Scope::Before(before, types) = &self.scope else {
            return None;
        };
        Some(Cut {
            index: self.index,
            accepted_at_ms: self.accepted_at_ms,
            institution: self.institution.clone(),
            reach: Reach {
                before: *before,
                authority: self.authority,
                types: types.clone(),
            },
        })
    }

    /// Whether the order is about this entry.
    fn names(
        &self,
        at: EntryIndex,
        stored: &StoredEntry,
        terms: &Terms,
        ceased_ms: Option<u64>,
    ) -> bool {
        let entry_type = stored.meta.entry_type;
        match &self.scope {
            Scope::Entries(entries) | Scope::Subject(entries, _) => {
                entries.binary_search(&at.0).is_ok() && is_erasable(entry_type)
            }
            Scope::Before(before, types) => {
                let since_ms = terms.since_ms(stored.meta.accepted_at_ms, ceased_ms);
                at.0 < *before
                    && retention::is_due(entry_type, types, since_ms, self.accepted_at_ms)
            }
        }
    }

    /// Whether the signer may have it erased ([`retention::may_ask`]). What a node wrote of its own readers and releases is there to hold its
    /// operator to account: before its time the authority alone takes it.
    fn may_ask(&self, terms: &Terms) -> bool {
        let witness = matches!(
            terms.entry_type,
            EntryType::Read | EntryType::Disclosure | EntryType::Release
        );
        let cut = matches!(self.scope, Scope::Before(..));
        retention::may_ask(
            &self.institution,
            self.authority,
            self.accepted_at_ms,
            terms,
        ) && (self.authority || cut || !witness)
    }

    /// The value in the state.
    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.text(self.institution.as_str())
            .u8(u8::from(self.authority))
            .u64(self.accepted_at_ms)
            .text(self.ground.as_str());
        let (person, before, types, entries) = match &self.scope {
            Scope::Entries(entries) => (None, u64::MAX, &[][..], entries.as_slice()),
            Scope::Subject(entries, person) => {
                (Some(person), u64::MAX, &[][..], entries.as_slice())
            }
            Scope::Before(before, types) => (None, *before, types.as_slice(), &[][..]),
        };
        out.u8(u8::from(person.is_some()))
            .hash(person.unwrap_or(&Hash::ZERO))
            .u64(before);
        out.u64(types.len() as u64);
        for entry_type in types {
            out.u8(entry_type.code());
        }
        for entry in entries {
            out.u64(*entry);
        }
        out.done()
    }

    /// What stands in the state under the order's index.
    pub(crate) fn decode(index: EntryIndex, value: &[u8]) -> Option<Order> {
        Reader::all(value, |from| {
            let (institution, authority, accepted_at_ms) = (
                InstitutionId::parse(&from.text()?)?,
                from.u8()? != 0,
                from.u64()?,
            );
            let ground = Ground::parse(&from.text()?)?;
            let (one, person, before) = (from.u8()? != 0, from.hash()?, from.u64()?);
            let types = (0..from.u64()?)
                .map(|_| EntryType::from_code(from.u8()?))
                .collect::<Option<Vec<_>>>()?;
            let mut entries = Vec::new();
            while !from.is_empty() {
                entries.push(from.u64()?);
            }
            let scope = match (one, before) {
                (true, _) => Scope::Subject(entries, person),
                (false, u64::MAX) => Scope::Entries(entries),
                (false, before) => Scope::Before(before, types),
            };
            Some(Order {
                index,
                institution,
                authority,
                accepted_at_ms,
                ground,
                scope,
            })
        })
    }
}

/// Whether a disclosure is a person's: the object that carries the ref.
fn discloses(text: &str, person: &Hash) -> bool {
    let Some(decoded) = base64::url_decode(text) else {
        return false;
    };
    disclosure::open(&decoded).is_ok_and(|value| {
        value
            .member("ref")
            .and_then(|of| of.as_text())
            .and_then(base64::url_decode_array)
            == Some(person.0)
    })
}

/// The rows that repeat what the body said and fold into no list: who the operator was (a name short enough to be guessed from its hash),
/// and which consents an access rests on. The rows that lists are made of stay: without them a list would not be complete.
fn gone_with(body: &Body, person: Option<&Hash>) -> Gone {
    let Content::Access(access) = &body.content else {
        return Gone::default();
    };
    let mut rows = Vec::new();
    if person.is_none() {
        let operator = access.user_id.value.as_ref();
        rows.extend(operator.map(|user_id| Row::operator(&access.consumer, user_id)));
    }
    let subjects = access.subjects.iter().filter_map(|one| one.value.as_ref());
    for subject in subjects.filter(|subject| subject.role == SubjectRole::Target) {
        if person.is_none_or(|person| *person == subject.person) {
            let uses = access.consent_refs.iter();
            rows.extend(uses.map(|record| Row::consent_use(&subject.person, record)));
        }
    }
    Gone {
        rows,
        exchange: Some(Row::exchange(&access.exchange)),
    }
}

/// What the state knows of a node's `erased` entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The `erased` entry.
    pub index: EntryIndex,
    /// When it was accepted.
    pub accepted_at_ms: u64,
    /// Entries of which what was ordered is gone.
    pub done: u64,
    /// Entries that stay.
    pub spared: u64,
}

impl Report {
    fn encode(&self) -> Vec<u8> {
        Writer::default()
            .u64(self.index.0)
            .u64(self.accepted_at_ms)
            .u64(self.done)
            .u64(self.spared)
            .done()
    }

    fn decode(value: &[u8]) -> Option<Report> {
        Reader::all(value, |from| {
            Some(Report {
                index: EntryIndex(from.u64()?),
                accepted_at_ms: from.u64()?,
                done: from.u64()?,
                spared: from.u64()?,
            })
        })
    }
}

/// An order, if an `erasure` entry stands at this index.
///
/// # Errors
/// As every reader here: the state's own failures, and a value that cannot be read.
pub fn order<S: State>(state: &S, index: EntryIndex) -> Result<Option<Order>, S::Error> {
    read(state, &StateKey::erasure(index), |value| {
        Order::decode(index, value)
    })
}

/// How many orders there are.
pub fn orders_count<S: State>(state: &S) -> Result<u64, S::Error> {
    registry::list_length(state, ORDERS)
}

/// The order at a place, counted from 0 in the order of acceptance; the place must be below [`orders_count`].
pub fn order_at<S: State>(state: &S, place: u64) -> Result<Order, S::Error> {
    listed(state, ORDERS, place)
}

/// The orders that may concern the entry at an index: those that name it, then the cuts beyond it.
pub fn orders_on<S: State>(
    state: &S,
    index: EntryIndex,
    cuts: &[Order],
) -> Result<Vec<Order>, S::Error> {
    let mut orders = Vec::new();
    for index in named_by(state, index)? {
        orders.push(named(state, index)?);
    }
    let beyond = |cut: &&Order| matches!(cut.scope, Scope::Before(before, _) if index.0 < before);
    orders.extend(cuts.iter().filter(beyond).cloned());
    // As the eraser carries them out.
    orders.sort_by_key(|order| order.index);
    Ok(orders)
}

/// The cuts that stand, in the order of acceptance: those that no later one supersedes.
pub fn cuts<S: State>(state: &S) -> Result<Vec<Order>, S::Error> {
    let standing = indexes(state, &StateKey::cuts())?.unwrap_or_default();
    standing.into_iter().map(|cut| named(state, cut)).collect()
}

/// When an institution gave its last cut, ms since the epoch: nothing but its own later ones supersedes that.
pub(crate) fn last_cut_ms<S: State>(
    state: &S,
    institution: &InstitutionId,
) -> Result<Option<u64>, S::Error> {
    let own = cuts(state)?.into_iter();
    let own = own.filter(|cut| cut.institution == *institution);
    Ok(own.map(|cut| cut.accepted_at_ms).max())
}

/// What a node said of an order, if it did.
pub fn report<S: State>(
    state: &S,
    order: EntryIndex,
    node: NodeNumber,
) -> Result<Option<Report>, S::Error> {
    read(state, &StateKey::erased(order, node), Report::decode)
}

/// The nodes that an order waits for: in force when it was given, not removed since, and silent. It is done when there are none. A node that
/// came later erases all the same when it gets there; one that was removed is the business of who ran it.
pub fn waits_for<S: State>(state: &S, order: &Order) -> Result<Vec<NodeNumber>, S::Error> {
    let mut silent = Vec::new();
    for node in registry::nodes_at(state, TreeSize(order.index.0.saturating_add(1)))? {
        if node.removed.is_none() && report(state, order.index, node.node)?.is_none() {
            silent.push(node.node);
        }
    }
    Ok(silent)
}

/// Records an order.
pub(crate) fn record<S: State>(
    draft: &mut Draft<'_, S>,
    erasure: &Erasure,
    entry: &SequencedEntry,
    index: EntryIndex,
) -> Result<(), Stop<S::Error>> {
    let institution = &entry.entry().body().common.institution;
    let entries = erasure.entries.clone();
    let person = erasure.subject.as_ref().and_then(|subject| subject.value);
    let scope = match (erasure.before, person) {
        (Some(before), _) => Scope::Before(before, erasure.types.clone()),
        (None, Some(person)) => Scope::Subject(entries, person),
        (None, None) => Scope::Entries(entries),
    };
    let order = Order {
        index,
        institution: institution.clone(),
        authority: registry::has_role(draft, institution, "authority")?,
        accepted_at_ms: entry.meta().accepted_at_ms,
        ground: erasure.ground,
        scope,
    };
    draft.put(StateKey::erasure(index), order.encode());
    draft.push(ORDERS, index.0.to_be_bytes().to_vec())?;
    match &order.scope {
        Scope::Before(..) => {
            let mut standing = cuts(draft)?;
            standing.retain(|other| !supersedes(&order, other));
            let standing = standing.iter().map(|cut| cut.index).chain([index]);
            let value: Vec<[u8; 8]> = standing.map(|cut| cut.0.to_be_bytes()).collect();
            draft.put(StateKey::cuts(), value.concat());
        }
        Scope::Entries(entries) | Scope::Subject(entries, _) => {
            for entry in entries {
                let mut orders = named_by(draft, EntryIndex(*entry))?;
                if orders.len() < ORDERS_PER_ENTRY_MAX {
                    orders.push(index);
                    let value: Vec<[u8; 8]> =
                        orders.iter().map(|order| order.0.to_be_bytes()).collect();
                    draft.put(StateKey::erasures_of(EntryIndex(*entry)), value.concat());
                }
            }
        }
    }
    Ok(())
}

/// Records what a node said. The first it said stands: said again it is about disks that were erased again.
pub(crate) fn record_done<S: State>(
    draft: &mut Draft<'_, S>,
    erased: &Erased,
    entry: &SequencedEntry,
    index: EntryIndex,
) -> Result<(), Stop<S::Error>> {
    let key = StateKey::erased(EntryIndex(erased.erasure), erased.node);
    if draft.get(&key)?.is_none() {
        let report = Report {
            index,
            accepted_at_ms: entry.meta().accepted_at_ms,
            done: erased.done,
            spared: erased.spared,
        };
        draft.put(key, report.encode());
    }
    Ok(())
}

fn supersedes(order: &Order, other: &Order) -> bool {
    let cuts = order.cut().zip(other.cut());
    cuts.is_some_and(|(cut, other)| cut.supersedes(&other))
}

fn named_by<S: State>(state: &S, index: EntryIndex) -> Result<Vec<EntryIndex>, S::Error> {
    let orders = indexes(state, &StateKey::erasures_of(index))?;
    Ok(orders.unwrap_or_default())
}

fn indexes<S: State>(state: &S, key: &StateKey) -> Result<Option<Vec<EntryIndex>>, S::Error> {
    read(state, key, |value| {
        value
            .chunks(8)
            .map(|order| order.try_into().ok().map(u64::from_be_bytes))
            .map(|order| order.map(EntryIndex))
            .collect::<Option<Vec<_>>>()
    })
}

fn listed<S: State>(state: &S, list: &str, place: u64) -> Result<Order, S::Error> {
    let index = registry::item(state, list, place, |item| {
        item.try_into().ok().map(u64::from_be_bytes).map(EntryIndex)
    })?;
    named(state, index)
}

/// The order that the state itself names.
fn named<S: State>(state: &S, index: EntryIndex) -> Result<Order, S::Error> {
    order(state, index)?.ok_or_else(|| StateError::Corrupt(StateKey::erasure(index)).into())
}
