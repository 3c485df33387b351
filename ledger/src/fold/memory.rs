// SPDX-License-Identifier: EUPL-1.2
//! A fold in memory.

use alloc::{collections::BTreeMap, vec::Vec};
use core::convert::Infallible;

use super::{Change, CutReader, FoldError, FoldReader, Given, Left, Pass, Step};
use crate::{
    admission::RowKind,
    hash::Hash,
    number::EntryIndex,
    retention::{self, Cuts, Terms},
    state::StateKey,
    state_map::{self, MapNode, MapPath, MapProof, MapReader, Place, value_hash},
};

/// Values and map in memory: for auditors, for tests, for ledgers that fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryFold {
    pub(super) values: BTreeMap<Hash, Vec<u8>>,
    nodes: BTreeMap<MapPath, MapNode>,
    /// The changes that stand in lists.
    held: BTreeMap<EntryIndex, Change>,
    /// When what they say ceased to hold.
    ceased: BTreeMap<EntryIndex, u64>,
    pub(super) cuts: Cuts,
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

    /// Holds an older change that stands in lists, so that a cut finds it: what a fold is begun with beside its values.
    pub fn hold(&mut self, change: &Change) {
        if !change.lists.is_empty() {
            self.held.insert(change.index, change.clone());
        }
        for (key, value) in &change.writes {
            let at_ms = value.as_deref().and_then(retention::decode_ceased);
            let ceased = key.ceased_index().zip(at_ms);
            if let Some((index, at_ms)) = ceased.filter(|(index, _)| self.held.contains_key(index))
            {
                self.cease(index, at_ms);
            }
        }
    }

    /// What an entry says holds no more from this time on ([`retention::ceased`]); the earliest such time stands.
    pub fn cease(&mut self, index: EntryIndex, at_ms: u64) {
        let ceased = self.ceased.entry(index).or_insert(at_ms);
        *ceased = at_ms.min(*ceased);
    }

    /// With these cuts.
    #[must_use]
    pub fn with_cuts(mut self, cuts: Cuts) -> MemoryFold {
        self.cuts = cuts;
        self
    }

    /// The cuts that stand.
    pub fn cuts(&self) -> &Cuts {
        &self.cuts
    }

    /// The changes that stand in lists, by index, each with when it ceased.
    pub fn held(&self) -> impl Iterator<Item = (&Change, Option<u64>)> {
        let ceased = |index| self.ceased.get(index).copied();
        let held = self.held.iter();
        held.map(move |(index, change)| (change, ceased(index)))
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
        let changes: Vec<&Change> = changes.into_iter().collect();
        changes.iter().for_each(|change| self.hold(change));
        let given = self.given(&changes);
        let mut pass = Pass::new(None, usize::MAX, &given);
        // What is read here was written here, so it is never damaged.
        if self.feed(&changes, &given, &mut pass).is_err() {
            return;
        }
        while let Ok(Some(step)) = pass.step(usize::MAX, self) {
            self.write(step);
        }
        self.stand(&given);
    }

    /// The cuts among the changes of a fold.
    pub(super) fn given(&self, changes: &[&Change]) -> Given {
        let mut cuts = changes.iter().filter_map(|change| change.cut()).peekable();
        if cuts.peek().is_none() {
            return Given::default();
        }
        let mut given = Given::beside(self.cuts.clone());
        cuts.for_each(|cut| given.add(cut));
        given
    }

    /// Hands a pass all that it is to take in.
    pub(super) fn feed(
        &self,
        changes: &[&Change],
        given: &Given,
        pass: &mut Pass<'_>,
    ) -> Result<(), FoldError<Infallible>> {
        let first = changes.first().map_or(EntryIndex(0), |change| change.index);
        let stood = self.held.range(..first).map(|(_, change)| change);
        for change in stood.take_while(|change| given.reaches(change)) {
            pass.stood(change, self)?;
        }
        changes.iter().try_for_each(|change| pass.add(change, self))
    }

    /// The fold is done: what it held of cuts stands.
    pub(super) fn stand(&mut self, given: &Given) {
        if !given.is_empty() {
            self.cuts = given.standing();
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

    pub(super) fn write(&mut self, step: Step) {
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
        self.leave(&step.left);
    }

    /// Takes what left its lists out of them, with one look at all that is held.
    fn leave(&mut self, left: &[Left]) {
        let through: BTreeMap<(RowKind, Hash), EntryIndex> = left
            .iter()
            .map(|left| ((left.kind, left.of), left.through))
            .collect();
        let Some(last) = through.values().max() else {
            return;
        };
        let mut gone = Vec::new();
        for (index, change) in self.held.range_mut(..=last) {
            let has_left =
                |list: &&(RowKind, Hash)| through.get(list).is_some_and(|last| index <= last);
            let lists: Vec<_> = change.lists.iter().filter(has_left).copied().collect();
            lists.iter().for_each(|(kind, of)| change.leave(*kind, of));
            if change.lists.is_empty() {
                gone.push(*index);
            }
        }
        for index in gone {
            self.held.remove(&index);
            self.ceased.remove(&index);
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

impl CutReader for MemoryFold {
    fn ceased(&self, index: EntryIndex, _: &Terms) -> Result<Option<u64>, Infallible> {
        Ok(self.ceased.get(&index).copied())
    }
}
