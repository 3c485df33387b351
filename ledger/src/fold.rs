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

use alloc::{
    collections::{BTreeMap, btree_map::Entry},
    vec::Vec,
};
use core::{fmt, ops::ControlFlow};

use crate::{
    admission::{Effects, Row, RowKind},
    bytes::{self, ListValue},
    erasure::Order,
    hash::Hash,
    number::EntryIndex,
    retention::{self, Cut, Cuts, Reach, Terms},
    state::{StateKey, Writes, kind},
    state_map::{self, MapError, MapNode, MapPath, MapReader, value_hash},
};

mod memory;

pub use memory::MemoryFold;

/// How many items one cut takes from a list at most, so that no step of a fold is long; the next cut goes on.
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

/// What a cut asks for beside.
pub trait CutReader: FoldReader {
    /// The cuts that stand as folded so far.
    ///
    /// # Errors
    /// The store's own failures.
    fn cuts(&self) -> Result<Cuts, Self::Error>;

    /// Hands over the changes below an index that stand in a list, ascending, those that are being folded among them, each with when what it
    /// says ceased to hold ([`retention::ceased`]); until told to stop.
    ///
    /// # Errors
    /// The store's own failures.
    fn standing(&self, below: EntryIndex, each: &mut Each<'_>) -> Result<(), Self::Error>;
}

/// Takes a change that stands in a list, and when it ceased.
pub type Each<'a> = dyn FnMut(&Change, Option<u64>) -> ControlFlow<()> + 'a;

/// The keys of one part of a fold and what they come to: those after a cursor, as many as memory allows, the lowest ones.
#[derive(Debug)]
pub struct Pass {
    after: Option<Hash>,
    keys_max: usize,
    /// The lowest key that was left out for want of room: it and all above it are the next pass's.
    left_out: Option<Hash>,
    work: BTreeMap<Hash, Next>,
    /// The cuts that stand, once one is met.
    cuts: Option<Cuts>,
}

/// What a key is to hold.
#[derive(Debug)]
enum Next {
    List(Folding),
    Value(Option<Vec<u8>>),
}

/// A list on its way.
#[derive(Debug)]
struct Folding {
    kind: RowKind,
    of: Hash,
    value: ListValue,
    /// Whether it is another than when it was read.
    changed: bool,
    /// The items that its base moved past, ascending.
    left: Vec<EntryIndex>,
    /// How many more the cut at this index may take.
    room: (EntryIndex, usize),
}

impl Folding {
    fn append(&mut self, change: &Change) {
        self.value = self.value.with(&change.item(&self.of));
        self.changed = true;
    }

    /// The next of its items, at a cut that takes it or does not: behind the first that stays, all stay.
    fn meet(&mut self, change: &Change, cut: &Cut, taken: bool) {
        // In this fold, and written by no step yet.
        if self.left.last().is_some_and(|last| change.index <= *last) {
            return;
        }
        if self.room.0 != cut.index {
            self.room = (cut.index, LEFT_MAX);
        }
        if !taken || self.room.1 == 0 {
            self.room.1 = 0;
            return;
        }
        self.room.1 -= 1;
        let value = &mut self.value;
        value.base_count = value.base_count.saturating_add(1);
        value.base_head = bytes::head(&value.base_head, &change.item(&self.of));
        if value.base_count >= value.count {
            // Its key leaves the map: what comes after begins anew.
            *value = ListValue::EMPTY;
        }
        self.left.push(change.index);
        self.changed = true;
    }
}

impl Pass {
    /// For the keys after `after`, all of them if none, at most `keys_max` (and at least one).
    pub fn new(after: Option<Hash>, keys_max: usize) -> Pass {
        Pass {
            after,
            keys_max: keys_max.max(1),
            left_out: None,
            work: BTreeMap::new(),
            cuts: None,
        }
    }

    /// Takes in a change. Changes come in the order of their indexes; in every pass the same.
    ///
    /// # Errors
    /// Those of the reader, and a value that is not a list's where one stands.
    pub fn add<R: CutReader>(
        &mut self,
        change: &Change,
        reader: &R,
    ) -> Result<(), FoldError<R::Error>> {
        for (kind, of) in &change.lists {
            if let Some(list) = self.list(*kind, of, reader)? {
                list.append(change);
            }
            self.make_room();
        }
        for (key, value) in change.writes.iter().filter(|(key, _)| key.under_root()) {
            let key = key.hash();
            if self.takes(&key) {
                self.work.insert(key, Next::Value(value.clone()));
                self.make_room();
            }
        }
        match change.cut() {
            Some(cut) => self.move_bases(cut, reader),
            None => Ok(()),
        }
    }

    /// Moves the base of each list past those of its first items that are taken by the cuts given so far, this one among them.
    fn move_bases<R: CutReader>(
        &mut self,
        cut: Cut,
        reader: &R,
    ) -> Result<(), FoldError<R::Error>> {
        let mut cuts = match self.cuts.take() {
            Some(cuts) => cuts,
            None => reader.cuts().map_err(FoldError::Read)?,
        };
        cuts.add(cut.clone());
        let mut failed = None;
        let read = reader.standing(cut.index, &mut |change, ceased_ms| {
            // Times never fall: what comes after is younger still.
            if !retention::is_old(change.accepted_at_ms, cut.accepted_at_ms) {
                return ControlFlow::Break(());
            }
            let terms = &change.terms;
            let since_ms = terms.since_ms(change.accepted_at_ms, ceased_ms);
            let taken = cuts.take(change.index, since_ms, terms);
            for (kind, of) in &change.lists {
                match self.list(*kind, of, reader) {
                    Ok(Some(list)) => list.meet(change, &cut, taken),
                    Ok(None) => {}
                    Err(error) => {
                        failed = Some(error);
                        return ControlFlow::Break(());
                    }
                }
                self.make_room();
            }
            ControlFlow::Continue(())
        });
        read.map_err(FoldError::Read)?;
        self.cuts = Some(cuts);
        failed.map_or(Ok(()), Err)
    }

    /// A list as it is now, if it is one of this pass.
    fn list<R: FoldReader>(
        &mut self,
        kind: RowKind,
        of: &Hash,
        reader: &R,
    ) -> Result<Option<&mut Folding>, FoldError<R::Error>> {
        let key = list_key(kind, of).hash();
        if !self.takes(&key) {
            return Ok(None);
        }
        let next = match self.work.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let value = match reader.value(&key).map_err(FoldError::Read)? {
                    None => ListValue::EMPTY,
                    Some(value) => ListValue::decode(&value).ok_or(FoldError::List(key))?,
                };
                new.insert(Next::List(Folding {
                    kind,
                    of: *of,
                    value,
                    changed: false,
                    left: Vec::new(),
                    room: (EntryIndex(0), 0),
                }))
            }
        };
        match next {
            Next::List(list) => Ok(Some(list)),
            Next::Value(_) => Err(FoldError::List(key)),
        }
    }

    /// The cuts that stand when all changes are taken in; none if no cut was among them.
    pub fn cuts(&self) -> Option<&Cuts> {
        self.cuts.as_ref()
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
        while values.len() < keys_max.max(1) && left.len() < LEFT_MAX {
            let Some((key, next)) = self.work.pop_first() else {
                break;
            };
            cursor = Some(key);
            match next {
                Next::List(list) if !list.changed => {}
                Next::List(list) => {
                    let Folding { kind, of, .. } = list;
                    left.extend(list.left.iter().map(|index| Left {
                        index: *index,
                        kind,
                        of,
                    }));
                    values.push((key, list.into_value()));
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
    /// A list of which nothing is left stands in no map.
    fn into_value(self) -> Option<Vec<u8>> {
        let list = self.value;
        (list.count > list.base_count).then(|| list.encode().to_vec())
    }
}

/// An item that the base of a list moved past: its row goes, and its change stands in that list no more ([`Change::leave`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// The entry.
    pub index: EntryIndex,
    /// Which list.
    pub kind: RowKind,
    /// Whose.
    pub of: Hash,
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
