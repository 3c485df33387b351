// SPDX-License-Identifier: EUPL-1.2
//! Folding: what entries change becomes list heads, values and the state map (byte specification, *Lists, and the state root*).
//!
//! A fold of size S is a pure function of the values and the map as folded at an earlier size F and of the [`Change`]s of entries F to S: it
//! needs no state, no clock and no moment pinned. It is done a [`Pass`] at a time, in the order of map keys, and within a pass a [`Step`] at
//! a time; each step leaves values and map that agree with each other, so a fold that is cut short goes on after the last key written and
//! comes to the same root. Memory is bounded by the keys of one pass, never by the ledger.
//!
//! Where a change is a cut ([`crate::retention`]), each list's base moves past those of its first items that the cuts given so far take, and
//! what it moved past stands in the list no more ([`Left`]). So a fold also reads which older changes still stand in lists.

use alloc::{collections::BTreeMap, vec::Vec};
use core::fmt;

use crate::{
    admission::{Effects, Row, RowKind},
    bytes::{self, ListValue},
    erasure::Order,
    hash::Hash,
    number::EntryIndex,
    retention::{Cut, Reach, Terms},
    state::{StateKey, Writes, kind},
    state_map::{self, MapError, MapNode, MapPath, MapReader, value_hash},
};

mod given;
mod memory;

pub use given::Given;
pub use memory::MemoryFold;

/// How many items one cut takes from a list at most, so that no fold is long; the next cut goes on.
pub const LEFT_MAX: usize = 16_384;

/// What one entry changes under the state root; kept by index until it is folded, and from then on as long as it stands in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The entry's place.
    pub index: EntryIndex,
    /// When it was accepted, ms since the epoch: who asks what happened when needs no body.
    pub accepted_at_ms: u64,
    /// Salts its items, so that one list's items say nothing about another's.
    pub meta_salt: Hash,
    /// Its leaf's hash.
    pub leaf_hash: Hash,
    /// What decides which cuts take it.
    pub terms: Terms,
    /// How far it reaches, if it is itself a cut.
    pub reach: Option<Reach>,
    /// How many lists it left by retention.
    pub left: u32,
    /// The lists that it stands in, each once, ascending: kinds that fold ([`RowKind::under_root`]).
    pub lists: Vec<(RowKind, Hash)>,
    /// What it writes to the other kinds under the root, and to those that retention asks for ([`StateKey::for_retention`]), by key,
    /// ascending; `None` removes.
    pub writes: Writes,
}

impl Change {
    /// What of an accepted entry's effects stands under the state root.
    pub fn of(effects: &Effects) -> Change {
        let rows = effects.rows.iter().filter(|row| row.kind.under_root());
        let writes = effects.writes.iter();
        let writes = writes.filter(|(key, _)| key.under_root() || key.for_retention());
        let index = effects.entry.index();
        Change {
            index,
            accepted_at_ms: effects.entry.meta().accepted_at_ms,
            meta_salt: bytes::meta_salt(effects.entry.body_salt()),
            leaf_hash: effects.entry.leaf_hash(),
            terms: Terms::of(effects.entry.entry().body()),
            reach: reach(&effects.writes, index),
            left: 0,
            lists: rows.map(|row| (row.kind, row.of)).collect(),
            writes: writes.cloned().collect(),
        }
    }

    /// The cut that it is, if it is one.
    pub fn cut(&self) -> Option<Cut> {
        self.reach.as_ref().map(|reach| Cut {
            index: self.index,
            accepted_at_ms: self.accepted_at_ms,
            institution: self.terms.institution.clone(),
            reach: reach.clone(),
        })
    }

    /// Takes it out of a list.
    pub fn leave(&mut self, kind: RowKind, of: &Hash) {
        let stands = self.lists.len();
        self.lists.retain(|list| *list != (kind, *of));
        if self.lists.len() < stands {
            self.left = self.left.saturating_add(1);
        }
    }

    /// Its item in the list of `of`.
    pub(crate) fn item(&self, of: &Hash) -> Hash {
        bytes::item(&self.meta_salt, of, &self.leaf_hash)
    }
}

/// How far an entry reaches that records an order, if that is a cut.
fn reach(writes: &Writes, index: EntryIndex) -> Option<Reach> {
    let mut orders = writes.iter().filter(|(key, _)| key.kind == kind::ERASURE);
    let order = orders.find_map(|(_, value)| Order::decode(index, value.as_deref()?))?;
    order.cut().map(|cut| cut.reach)
}

/// The state key of a list.
pub fn list_key(kind: RowKind, of: &Hash) -> StateKey {
    StateKey {
        kind: kind.code(),
        name: of.0.to_vec(),
    }
}

impl Row {
    /// The state key of the list that this row folds into; none for rows that serve searches alone.
    pub fn list_key(&self) -> Option<StateKey> {
        self.kind
            .under_root()
            .then(|| list_key(self.kind, &self.of))
    }
}

/// Values and map as folded so far.
pub trait FoldReader: MapReader {
    /// The folded value under a map key ([`StateKey::hash`]).
    ///
    /// # Errors
    /// The store's own failures.
    fn value(&self, key: &Hash) -> Result<Option<Vec<u8>>, Self::Error>;
}

/// What is known of changes that a cut may take.
pub trait CutReader: FoldReader {
    /// When what an entry says ceased to hold ([`crate::retention::ceased`]).
    ///
    /// # Errors
    /// The store's own failures.
    fn ceased(&self, index: EntryIndex, terms: &Terms) -> Result<Option<u64>, Self::Error>;
}

/// The keys of one part of a fold and what they come to: those after a cursor, as many as memory allows, the lowest ones.
#[derive(Debug)]
pub struct Pass<'g> {
    after: Option<Hash>,
    keys_max: usize,
    /// How many items one cut takes from a list.
    left_max: usize,
    /// The lowest key that was left out for want of room: it and all above it are the next pass's.
    left_out: Option<Hash>,
    work: BTreeMap<Hash, Next>,
    given: &'g Given,
}

/// What a key is to hold.
#[derive(Debug)]
enum Next {
    List(Folding),
    Value(Option<Vec<u8>>),
}

/// A list on its way. Of one that stays as it is, no value is read.
#[derive(Debug)]
struct Folding {
    kind: RowKind,
    of: Hash,
    /// What it comes to, once it is another than it was.
    value: Option<ListValue>,
    /// The last item that its base moved past, and past how many.
    left: Option<(EntryIndex, u64)>,
    /// At which cut of the fold that was.
    at: usize,
    /// How many more that cut may take.
    room: usize,
    /// An item stays: so do all behind it.
    stays: bool,
}

impl Folding {
    /// Whether a cut took all there was before the next item came: its key left the map then, and the list begins anew.
    fn is_over(&self, next: EntryIndex, given: &Given) -> bool {
        let over = self.value.as_ref().map(|of| of.base_count >= of.count);
        over == Some(true)
            && self.left.is_some()
            && given.index_of(self.at).is_some_and(|cut| cut < next)
    }

    /// Whether its next item is taken, which the fold's cuts take from the one at this place on.
    fn moves(&mut self, from: Option<usize>, left_max: usize, given: &Given) -> bool {
        let Some(from) = from.filter(|_| !self.stays) else {
            self.stays = true;
            return false;
        };
        if self.at < from {
            (self.at, self.room) = (from, left_max);
        } else if self.room == 0 {
            (self.at, self.room) = (self.at.saturating_add(1), left_max);
        }
        self.stays = given.index_of(self.at).is_none();
        !self.stays
    }
}

impl<'g> Pass<'g> {
    /// For the keys after `after`, all of them if none, at most `keys_max` (and at least one), of a fold that holds these cuts.
    ///
    /// First come the older changes that stand in lists ([`Pass::stood`]), as far as a cut reaches, then those that are folded
    /// ([`Pass::add`]): each in the order of their indexes, and in every pass the same.
    pub fn new(after: Option<Hash>, keys_max: usize, given: &'g Given) -> Pass<'g> {
        Pass {
            after,
            keys_max: keys_max.max(1),
            left_max: LEFT_MAX,
            left_out: None,
            work: BTreeMap::new(),
            given,
        }
    }

    /// Takes in a change that was folded before.
    ///
    /// # Errors
    /// Those of the reader, and a value that is not a list's where one stands.
    pub fn stood<R: CutReader>(
        &mut self,
        change: &Change,
        reader: &R,
    ) -> Result<(), FoldError<R::Error>> {
        let from = self.taken(change, reader)?;
        let mut lists = change.lists.iter();
        lists.try_for_each(|list| self.item(change, list, false, from, reader))
    }

    /// Takes in a change that is folded now.
    ///
    /// # Errors
    /// Those of the reader, and a value that is not a list's where one stands.
    pub fn add<R: CutReader>(
        &mut self,
        change: &Change,
        reader: &R,
    ) -> Result<(), FoldError<R::Error>> {
        let from = self.taken(change, reader)?;
        let mut lists = change.lists.iter();
        lists.try_for_each(|list| self.item(change, list, true, from, reader))?;
        for (key, value) in change.writes.iter().filter(|(key, _)| key.under_root()) {
            let key = key.hash();
            if self.takes(&key) {
                self.work.insert(key, Next::Value(value.clone()));
                self.make_room();
            }
        }
        Ok(())
    }

    /// From which cut of the fold on a change is taken.
    fn taken<R: CutReader>(
        &self,
        change: &Change,
        reader: &R,
    ) -> Result<Option<usize>, FoldError<R::Error>> {
        if !self.given.reaches(change) {
            return Ok(None);
        }
        let terms = &change.terms;
        let ceased_ms = reader
            .ceased(change.index, terms)
            .map_err(FoldError::Read)?;
        let since_ms = terms.since_ms(change.accepted_at_ms, ceased_ms);
        Ok(self.given.first(change.index, since_ms, terms))
    }

    /// The next item of a list: appends it, if it is new, and moves the base past it, if it is taken.
    fn item<R: FoldReader>(
        &mut self,
        change: &Change,
        (kind, of): &(RowKind, Hash),
        new: bool,
        from: Option<usize>,
        reader: &R,
    ) -> Result<(), FoldError<R::Error>> {
        let (left_max, given) = (self.left_max, self.given);
        let key = list_key(*kind, of).hash();
        if !self.takes(&key) {
            return Ok(());
        }
        let begun = Folding {
            kind: *kind,
            of: *of,
            value: None,
            left: None,
            at: 0,
            room: left_max,
            stays: given.is_empty(),
        };
        let Next::List(list) = self.work.entry(key).or_insert(Next::List(begun)) else {
            return Err(FoldError::List(key));
        };
        if new {
            let value = if list.is_over(change.index, given) {
                list.value.insert(ListValue::EMPTY)
            } else {
                list.value(key, reader)?
            };
            *value = value.with(&change.item(of));
        }
        if list.moves(from, left_max, given) {
            let value = list.value(key, reader)?;
            value.base_count = value.base_count.saturating_add(1);
            value.base_head = bytes::head(&value.base_head, &change.item(of));
            list.room = list.room.saturating_sub(1);
            let count = list.left.map_or(0, |(_, count)| count);
            list.left = Some((change.index, count.saturating_add(1)));
        }
        self.make_room();
        Ok(())
    }

    /// Whether all keys after the cursor found room: then the fold ends with this pass.
    pub fn is_last(&self) -> bool {
        self.left_out.is_none()
    }

    /// Computes the next keys, at most so many. None when the pass is done. What it returns is written in one go before the next step.
    ///
    /// # Errors
    /// Those of the reader, and a damaged map.
    pub fn step<R: FoldReader>(
        &mut self,
        keys_max: usize,
        reader: &R,
    ) -> Result<Option<Step>, FoldError<R::Error>> {
        let (mut cursor, mut values, mut left) = (None, Vec::new(), Vec::new());
        while values.len() < keys_max.max(1) {
            let Some((key, next)) = self.work.pop_first() else {
                break;
            };
            cursor = Some(key);
            match next {
                Next::List(list) => {
                    left.extend(list.left());
                    values.extend(list.into_value().map(|value| (key, value)));
                }
                Next::Value(value) => values.push((key, value)),
            }
        }
        let Some(cursor) = cursor else {
            return Ok(None);
        };
        let changes = values
            .iter()
            .map(|(key, value)| (*key, value.as_deref().map(value_hash)))
            .collect();
        let update = state_map::update(&changes, reader).map_err(FoldError::Map)?;
        Ok(Some(Step {
            cursor,
            values,
            left,
            nodes: update.writes,
            root: update.root,
        }))
    }

    fn takes(&self, key: &Hash) -> bool {
        self.after.is_none_or(|after| *key > after)
            && self.left_out.is_none_or(|left_out| *key < left_out)
    }

    fn make_room(&mut self) {
        if self.work.len() > self.keys_max
            && let Some((highest, _)) = self.work.pop_last()
        {
            self.left_out = Some(highest);
        }
    }
}

impl Folding {
    /// What stands under its key now, to be changed.
    fn value<R: FoldReader>(
        &mut self,
        key: Hash,
        reader: &R,
    ) -> Result<&mut ListValue, FoldError<R::Error>> {
        let value = match self.value {
            Some(value) => value,
            None => match reader.value(&key).map_err(FoldError::Read)? {
                None => ListValue::EMPTY,
                Some(value) => ListValue::decode(&value).ok_or(FoldError::List(key))?,
            },
        };
        Ok(self.value.insert(value))
    }

    fn left(&self) -> Option<Left> {
        self.left.map(|(through, count)| Left {
            kind: self.kind,
            of: self.of,
            through,
            count,
        })
    }

    /// What is to be written, if anything. A list of which nothing is left stands in no map.
    fn into_value(self) -> Option<Option<Vec<u8>>> {
        let list = self.value?;
        Some((list.count > list.base_count).then(|| list.encode().to_vec()))
    }
}

/// The items of a list that its base moved past: their rows go, and their changes stand in that list no more ([`Change::leave`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Which list.
    pub kind: RowKind,
    /// Whose.
    pub of: Hash,
    /// The last of them: all items up to it have left.
    pub through: EntryIndex,
    /// How many.
    pub count: u64,
}

/// A part of a fold, to be written in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The highest key in it: the fold goes on after it.
    pub cursor: Hash,
    /// Values by map key; none = to delete.
    pub values: Vec<(Hash, Option<Vec<u8>>)>,
    /// What left the lists among them.
    pub left: Vec<Left>,
    /// Map nodes to write; none = to delete.
    pub nodes: BTreeMap<MapPath, Option<MapNode>>,
    /// Root of the map with these nodes. The state root is that of the last step.
    pub root: Hash,
}

/// Why a fold cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoldError<E> {
    /// The store failed.
    Read(E),
    /// The map could not be read, or contradicts itself.
    Map(MapError<E>),
    /// The value under this map key is no list's, and a list stands there.
    List(Hash),
}

impl<E: fmt::Display> fmt::Display for FoldError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FoldError::Read(cause) => write!(f, "a folded value could not be read: {cause}"),
            FoldError::Map(cause) => cause.fmt(f),
            FoldError::List(key) => write!(f, "the folded value under map key {key} is no list's"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for FoldError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            FoldError::Read(cause) => Some(cause),
            FoldError::Map(cause) => Some(cause),
            FoldError::List(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
