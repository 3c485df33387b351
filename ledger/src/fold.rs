// SPDX-License-Identifier: EUPL-1.2
//! Folding: what entries change becomes list heads, values and the state map (byte specification, *Lists, and the state root*).
//!
//! A fold of size S is a pure function of the values and the map as folded at an earlier size F and of the [`Change`]s of entries F to S: it
//! needs no state, no clock and no moment pinned. It is done a [`Pass`] at a time, in the order of map keys, and within a pass a [`Step`] at
//! a time; each step leaves values and map that agree with each other, so a fold that is cut short goes on after the last key written and
//! comes to the same root. Memory is bounded by the keys of one pass, never by the ledger.

use alloc::{
    collections::{BTreeMap, btree_map::Entry},
    vec::Vec,
};
use core::{convert::Infallible, fmt};

use crate::{
    admission::{Effects, Row, RowKind},
    bytes::{self, ListValue},
    hash::Hash,
    number::EntryIndex,
    state::{StateKey, Writes},
    state_map::{self, MapError, MapNode, MapPath, MapProof, MapReader, Place, value_hash},
};

/// What one entry changes under the state root; kept by index until it is folded.
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
    /// The lists that it belongs to, each once, ascending: kinds that fold ([`RowKind::under_root`]).
    pub lists: Vec<(RowKind, Hash)>,
    /// What it writes to the other kinds under the root, by key, ascending; `None` removes.
    pub writes: Writes,
}

impl Change {
    /// What of an accepted entry's effects stands under the state root.
    pub fn of(effects: &Effects) -> Change {
        let rows = effects.rows.iter().filter(|row| row.kind.under_root());
        let writes = effects.writes.iter().filter(|(key, _)| key.under_root());
        Change {
            index: effects.entry.index(),
            accepted_at_ms: effects.entry.meta().accepted_at_ms,
            meta_salt: bytes::meta_salt(effects.entry.body_salt()),
            leaf_hash: effects.entry.leaf_hash(),
            lists: rows.map(|row| (row.kind, row.of)).collect(),
            writes: writes.cloned().collect(),
        }
    }

    /// The list of `of` after this entry: the one place where a list's value is computed.
    fn append(&self, list: ListValue, of: &Hash) -> ListValue {
        list.with(&bytes::item(&self.meta_salt, of, &self.leaf_hash))
    }
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

/// The keys of one part of a fold and what they come to: those after a cursor, as many as memory allows, the lowest ones.
#[derive(Debug)]
pub struct Pass {
    after: Option<Hash>,
    keys_max: usize,
    /// The lowest key that was left out for want of room: it and all above it are the next pass's.
    left_out: Option<Hash>,
    work: BTreeMap<Hash, Next>,
}

/// What a key is to hold.
#[derive(Debug)]
enum Next {
    List(ListValue),
    Value(Option<Vec<u8>>),
}

impl Pass {
    /// For the keys after `after`, all of them if none, at most `keys_max` (and at least one).
    pub fn new(after: Option<Hash>, keys_max: usize) -> Pass {
        Pass {
            after,
            keys_max: keys_max.max(1),
            left_out: None,
            work: BTreeMap::new(),
        }
    }

    /// Takes in a change. Changes come in the order of their indexes; in every pass the same.
    ///
    /// # Errors
    /// Those of the reader, and a value that is not a list's where one stands.
    pub fn add<R: FoldReader>(
        &mut self,
        change: &Change,
        reader: &R,
    ) -> Result<(), FoldError<R::Error>> {
        for (kind, of) in &change.lists {
            let key = list_key(*kind, of).hash();
            if !self.takes(&key) {
                continue;
            }
            match self.work.entry(key) {
                Entry::Occupied(mut known) => match known.get_mut() {
                    Next::List(list) => *list = change.append(*list, of),
                    Next::Value(_) => return Err(FoldError::List(key)),
                },
                Entry::Vacant(new) => {
                    let list = match reader.value(&key).map_err(FoldError::Read)? {
                        None => ListValue::EMPTY,
                        Some(value) => ListValue::decode(&value).ok_or(FoldError::List(key))?,
                    };
                    new.insert(Next::List(change.append(list, of)));
                }
            }
            self.make_room();
        }
        for (key, value) in &change.writes {
            let key = key.hash();
            if self.takes(&key) {
                self.work.insert(key, Next::Value(value.clone()));
                self.make_room();
            }
        }
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
        let mut values = Vec::new();
        while values.len() < keys_max.max(1) {
            let Some((key, next)) = self.work.pop_first() else {
                break;
            };
            values.push((key, next.into_value()));
        }
        let Some((cursor, _)) = values.last() else {
            return Ok(None);
        };
        let cursor = *cursor;
        let changes = values
            .iter()
            .map(|(key, value)| (*key, value.as_deref().map(value_hash)))
            .collect();
        let update = state_map::update(&changes, reader).map_err(FoldError::Map)?;
        Ok(Some(Step {
            cursor,
            values,
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

impl Next {
    /// A list of which nothing is left stands in no map.
    fn into_value(self) -> Option<Vec<u8>> {
        match self {
            Next::Value(value) => value,
            Next::List(list) => (list.count > list.base_count).then(|| list.encode().to_vec()),
        }
    }
}

/// A part of a fold, to be written in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The highest key in it: the fold goes on after it.
    pub cursor: Hash,
    /// Values by map key; none = to delete.
    pub values: Vec<(Hash, Option<Vec<u8>>)>,
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

/// Values and map in memory: for auditors, for tests, for ledgers that fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryFold {
    values: BTreeMap<Hash, Vec<u8>>,
    nodes: BTreeMap<MapPath, MapNode>,
}

impl MemoryFold {
    /// Of an empty ledger.
    pub fn new() -> MemoryFold {
        MemoryFold::default()
    }

    /// With these values, by map key ([`StateKey::hash`]).
    pub fn of_values(values: BTreeMap<Hash, Vec<u8>>) -> MemoryFold {
        let mut fold = MemoryFold::default();
        let hashes = values
            .iter()
            .map(|(key, value)| (*key, Some(value_hash(value))));
        // The map is empty yet: nothing is read that could be damaged.
        if let Ok(update) = state_map::update(&hashes.collect(), &fold.nodes) {
            let written = update.writes.into_iter();
            fold.nodes = written
                .filter_map(|(path, node)| Some((path, node?)))
                .collect();
        }
        fold.values = values;
        fold
    }

    /// Every value, by map key.
    pub fn iter(&self) -> impl Iterator<Item = (&Hash, &Vec<u8>)> {
        self.values.iter()
    }

    /// Folds the next entry's change.
    pub fn apply(&mut self, change: &Change) {
        self.apply_all([change]);
    }

    /// Folds the changes of the next entries, in order; cheaper than one by one.
    pub fn apply_all<'c>(&mut self, changes: impl IntoIterator<Item = &'c Change>) {
        let mut pass = Pass::new(None, usize::MAX);
        for change in changes {
            // What is read here was written here, so it is never damaged.
            if pass.add(change, self).is_err() {
                return;
            }
        }
        if let Ok(Some(step)) = pass.step(usize::MAX, self) {
            self.write(step);
        }
    }

    /// The state root.
    pub fn root(&self) -> Hash {
        let Ok(root) = state_map::root(&self.nodes);
        root
    }

    /// The value under a key.
    pub fn value(&self, key: &StateKey) -> Option<&[u8]> {
        self.values.get(&key.hash()).map(Vec::as_slice)
    }

    /// Proves that the key is there, or that it is not.
    pub fn prove(&self, key: &StateKey) -> MapProof {
        // What is read here was written here. Were it not, this proof shows nothing.
        state_map::prove(&key.hash(), &self.nodes).unwrap_or(MapProof {
            place: Place::Empty,
            siblings: Vec::new(),
        })
    }

    fn write(&mut self, step: Step) {
        for (key, value) in step.values {
            match value {
                Some(value) => self.values.insert(key, value),
                None => self.values.remove(&key),
            };
        }
        for (path, node) in step.nodes {
            match node {
                Some(node) => self.nodes.insert(path, node),
                None => self.nodes.remove(&path),
            };
        }
    }
}

impl MapReader for MemoryFold {
    type Error = Infallible;

    fn node(&self, path: &MapPath) -> Result<Option<MapNode>, Infallible> {
        self.nodes.node(path)
    }
}

impl FoldReader for MemoryFold {
    fn value(&self, key: &Hash) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.values.get(key).cloned())
    }
}

#[cfg(test)]
mod tests;
