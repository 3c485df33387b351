// SPDX-License-Identifier: EUPL-1.2
//! Erasing with proofs intact: what an order asks, whom it is believed of, and what it does to a stored entry.
//!
//! Apply reads no bodies, so it cannot tell whose entries an order names: it records the order, whoever signed it. [`Order::carry_out`] reads
//! the entry and does what the signer may ask, and nothing else. It is the one home of that rule: each node's eraser calls it, and so does
//! every read from the moment that the order is applied, so that nothing is shown that is about to go.

use alloc::{collections::BTreeMap, vec::Vec};

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
    disclosure::{self, Disclosure},
    entry::{SequencedEntry, Stop, StoredEntry},
    hash::Hash,
    id::{InstitutionId, NodeNumber},
    number::{EntryIndex, TreeSize},
    refusal::Refused,
    retention::{self, Cut, Cuts, Reach, Terms},
    state::{Draft, State, StateError, read, registry},
};

/// Most entries that one order names.
pub const ENTRIES_MAX: usize = 256;
/// Most orders on one entry that reads ask. Further ones are recorded and carried out all the same, only not before the eraser gets there.
pub const ORDERS_PER_ENTRY_MAX: usize = 32;

/// Every order, in the order of acceptance.
pub(crate) const ORDERS: &str = "erasures";

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
        let cut = self.cut();
        // What a cut cannot reach, whatever it says, is not parsed for it.
        if let Some(cut) = &cut
            && stored.body.is_some()
            && !cut.may_take(at, stored.meta.accepted_at_ms)
        {
            return Ok(Carried::Spared);
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
        let taken = match &cut {
            Some(cut) => {
                let since_ms = terms.since_ms(stored.meta.accepted_at_ms, ceased_ms);
                cut.takes(at, since_ms, &terms)
            }
            None => self.names(at, &terms) && self.may_ask(&terms),
        };
        if !taken {
            return Ok(Carried::Spared);
        }
        let gone = match &self.scope {
            Scope::Entries(_) | Scope::Before(..) => {
                stored.erase();
                gone_with(&body, None)
            }
            Scope::Subject(_, person) => {
                let before = stored.disclosures.len();
                stored.disclosures.retain(|one| !discloses(one, person));
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

    /// Whether the order names this entry.
    fn names(&self, at: EntryIndex, terms: &Terms) -> bool {
        match &self.scope {
            Scope::Entries(entries) | Scope::Subject(entries, _) => {
                entries.binary_search(&at.0).is_ok() && is_erasable(terms.entry_type)
            }
            Scope::Before(..) => false,
        }
    }

    /// Whether the signer may have it erased ([`retention::may_ask`]). What a node wrote of its own readers and releases is there to hold its
    /// operator to account: before its time the authority alone takes it.
    fn may_ask(&self, terms: &Terms) -> bool {
        let witness = matches!(
            terms.entry_type,
            EntryType::Read | EntryType::Disclosure | EntryType::Release
        );
        let (institution, at_ms) = (&self.institution, self.accepted_at_ms);
        retention::may_ask(institution, self.authority, at_ms, terms)
            && (self.authority || !witness)
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
fn discloses(one: &Disclosure, person: &Hash) -> bool {
    let Some(decoded) = one.decoded() else {
        return false;
    };
    disclosure::open(decoded).is_ok_and(|value| {
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

/// The orders on a stored entry, as the eraser carries them out: those that name it, and the first of the cuts that stand which takes it.
///
/// # Errors
/// The state's own. A body that was never admitted is left to whoever carries them out.
pub fn orders_on<S: State>(
    state: &S,
    index: EntryIndex,
    stored: &StoredEntry,
    cuts: &Cuts,
) -> Result<Vec<Order>, S::Error> {
    let mut indexes = named_by(state, index)?;
    // What no cut can reach is not parsed for it.
    if cuts.reach(index, stored.meta.accepted_at_ms)
        && let Ok(Some(body)) = stored.parse_body()
    {
        let terms = Terms::of(&body);
        let ceased_ms = retention::ceased(state, index, terms.entry_type)?;
        let since_ms = terms.since_ms(stored.meta.accepted_at_ms, ceased_ms);
        let cut = cuts.first(index, since_ms, &terms);
        indexes.extend(cut.map(|cut| cut.index));
    }
    indexes.sort_unstable();
    let orders = indexes.into_iter().map(|order| named(state, order));
    orders.collect()
}

/// The cuts that stand: those that no later one supersedes.
///
/// # Errors
/// The state's own.
pub fn cuts<S: State>(state: &S) -> Result<Cuts, S::Error> {
    let mut cuts = Cuts::default();
    for index in standing(state)? {
        let cut = named(state, index)?.cut();
        cut.into_iter().for_each(|cut| cuts.add(cut));
    }
    Ok(cuts)
}

/// Their indexes, in the order of acceptance.
fn standing<S: State>(state: &S) -> Result<Vec<EntryIndex>, S::Error> {
    Ok(indexes(state, &StateKey::cuts())?.unwrap_or_default())
}

/// An institution's own that stand.
fn own_cuts<S: State>(state: &S, institution: &InstitutionId) -> Result<Vec<Cut>, S::Error> {
    let own = indexes(state, &StateKey::cuts_of(institution))?;
    let mut cuts = Vec::new();
    for index in own.unwrap_or_default() {
        cuts.extend(named(state, index)?.cut());
    }
    Ok(cuts)
}

/// When an institution gave its last cut, ms since the epoch: nothing but its own later ones supersedes that.
pub(crate) fn last_cut_ms<S: State>(
    state: &S,
    institution: &InstitutionId,
) -> Result<Option<u64>, S::Error> {
    let own = own_cuts(state, institution)?;
    Ok(own.iter().map(|cut| cut.accepted_at_ms).max())
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
            if let Some(cut) = order.cut() {
                record_cut(draft, &cut)?;
            }
        }
        Scope::Entries(entries) | Scope::Subject(entries, _) => {
            for entry in entries {
                let mut orders = named_by(draft, EntryIndex(*entry))?;
                if orders.len() < ORDERS_PER_ENTRY_MAX {
                    orders.push(index);
                    put_indexes(draft, StateKey::erasures_of(EntryIndex(*entry)), &orders);
                }
            }
        }
    }
    Ok(())
}

/// Lists a cut among those that stand, in the place of those that it supersedes. Only its institution's own are read for that.
fn record_cut<S: State>(draft: &mut Draft<'_, S>, cut: &Cut) -> Result<(), Stop<S::Error>> {
    let own = own_cuts(draft, &cut.institution)?;
    let (gone, stay): (Vec<_>, Vec<_>) = own.iter().partition(|other| cut.supersedes(other));
    let own: Vec<EntryIndex> = stay
        .iter()
        .map(|other| other.index)
        .chain([cut.index])
        .collect();
    let mut all = standing(draft)?;
    all.retain(|index| gone.iter().all(|gone| gone.index != *index));
    all.push(cut.index);
    put_indexes(draft, StateKey::cuts_of(&cut.institution), &own);
    put_indexes(draft, StateKey::cuts(), &all);
    Ok(())
}

fn put_indexes<S: State>(draft: &mut Draft<'_, S>, key: StateKey, indexes: &[EntryIndex]) {
    draft.put(key, encode_indexes(indexes));
}

fn encode_indexes(indexes: &[EntryIndex]) -> Vec<u8> {
    let indexes = indexes.iter().map(|index| index.0.to_be_bytes());
    indexes.collect::<Vec<_>>().concat()
}

/// What the state holds of kind CUTS where these stand.
pub(crate) fn listing(cuts: &Cuts) -> BTreeMap<StateKey, Vec<u8>> {
    let mut listed: BTreeMap<StateKey, Vec<EntryIndex>> = BTreeMap::new();
    for cut in cuts.iter() {
        for key in [StateKey::cuts(), StateKey::cuts_of(&cut.institution)] {
            listed.entry(key).or_default().push(cut.index);
        }
    }
    let listed = listed.into_iter().map(|(key, mut indexes)| {
        indexes.sort_unstable();
        (key, encode_indexes(&indexes))
    });
    listed.collect()
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

#[cfg(test)]
mod tests;
