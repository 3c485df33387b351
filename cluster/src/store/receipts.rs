// SPDX-License-Identifier: EUPL-1.2
//! Proofs and receipts of entries, one or many at once. What they are made of is found out first and then read in one go.

use std::cell::RefCell;
use std::sync::Arc;

use ledger::bytes::Meta;
use ledger::entry::StoredEntry;
use ledger::hash::Hash;
use ledger::merkle::{self, NodeReader, ProveError};
use ledger::note::Note;
use ledger::number::{EntryIndex, TreeSize};
use ledger::receipt;

use super::keys::state_cf;
use super::tiles::{Place, Tile};
use super::view::{Checkpoints, View};
use crate::error::Error;

/// A receipt to be handed out: its note is the text that is stored.
pub type Receipt = receipt::Receipt<Arc<str>>;

/// A leaf, proven to stand in a tree (RFC 6962, 2.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// The leaf, hashed.
    pub leaf_hash: Hash,
    /// Root of the tree.
    pub root: Hash,
    /// The leaf's sibling first.
    pub path: Vec<Hash>,
}

/// What the receipt of an entry says of the entry itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    pub(super) meta: Meta,
    pub(super) body_salt: [u8; 32],
}

impl Said {
    /// Of an entry as stored; none once its body is erased: without its salt nobody can hold the body against the receipt.
    pub fn of(stored: &StoredEntry) -> Option<Said> {
        let body = stored.body.as_ref()?;
        Some(Said {
            meta: stored.meta,
            body_salt: body.body_salt,
        })
    }
}

impl View {
    /// Proves that an entry stands in the tree of a size; none if that tree does not hold it, or lies beyond this view.
    ///
    /// # Errors
    /// A node of the tree cannot be read.
    pub fn inclusion(&self, index: EntryIndex, size: TreeSize) -> Result<Option<Inclusion>, Error> {
        if size > self.size() || !size.holds(index) {
            return Ok(None);
        }
        let wanted = Wanted::default();
        prove(index, size, &wanted)?;
        prove(index, size, &wanted.read(self)?).map(Some)
    }

    /// The paths of entries to the root of one tree, in their order. What they are made of is read in one go.
    ///
    /// # Errors
    /// The tree cannot be read, or does not hold one of them.
    pub(crate) fn paths(
        &self,
        indexes: &[EntryIndex],
        size: TreeSize,
    ) -> Result<Vec<Vec<Hash>>, Error> {
        let wanted = Wanted::default();
        for index in indexes {
            path(*index, size, &wanted)?;
        }
        let nodes = wanted.read(self)?;
        let paths = indexes.iter().map(|index| path(*index, size, &nodes));
        paths.collect()
    }

    /// The receipt of an entry, under the first published checkpoint that holds it. None while there is none, and once the body is erased.
    ///
    /// # Errors
    /// What it is made of cannot be read, or does not fit together.
    pub fn receipt(&self, index: EntryIndex) -> Result<Option<Receipt>, Error> {
        Ok(self.receipts(&[index])?.pop().flatten())
    }

    /// The receipts of entries, as [`View::receipt`] gives them.
    ///
    /// # Errors
    /// As [`View::receipt`].
    pub fn receipts(&self, indexes: &[EntryIndex]) -> Result<Vec<Option<Receipt>>, Error> {
        let held = |index: &EntryIndex| self.size().holds(*index);
        let mut said: Vec<Option<Said>> = {
            let kept = self.db().fresh.kept();
            let kept = |index: &EntryIndex| kept.of(*index).filter(|_| held(index));
            indexes.iter().map(kept).collect()
        };
        let read = |(index, said): (&EntryIndex, &Option<Said>)| said.is_none().then_some(*index);
        let older: Vec<EntryIndex> = indexes.iter().zip(&said).filter_map(read).collect();
        if !older.is_empty() {
            let mut entries = self.entries(&older)?.into_iter();
            for said in said.iter_mut().filter(|said| said.is_none()) {
                *said = entries.next().flatten().as_ref().and_then(Said::of);
            }
        }
        self.receipts_of(indexes.iter().copied().zip(said))
    }

    /// The same where it is known what they say, as in this view. What ascending neighbours share, checkpoints and nodes of the tree, is read once.
    ///
    /// # Errors
    /// As [`View::receipt`].
    pub fn receipts_of(
        &self,
        entries: impl Iterator<Item = (EntryIndex, Option<Said>)> + Clone,
    ) -> Result<Vec<Option<Receipt>>, Error> {
        let (mut shared, wanted) = (Vec::new(), Wanted::default());
        let mut checkpoints = self.checkpoints()?;
        let mut last: Option<Shared> = None;
        for (index, said) in entries.clone() {
            if said.is_some() && !last.as_ref().is_some_and(|last| last.holds(index)) {
                last = self.shared(index, &mut checkpoints)?;
            }
            let under = last.clone().filter(|_| said.is_some());
            if let Some(under) = &under {
                path(index, under.size, &wanted)?;
            }
            shared.push(under);
        }
        let nodes = wanted.read(self)?;
        let mut receipts = Vec::with_capacity(shared.len());
        for ((index, said), under) in entries.zip(shared) {
            receipts.push(match (said, under) {
                (Some(Said { meta, body_salt }), Some(under)) => Some(Receipt {
                    index,
                    meta,
                    body_salt,
                    path: path(index, under.size, &nodes)?,
                    note: under.note,
                }),
                _ => None,
            });
        }
        Ok(receipts)
    }

    /// The first checkpoint that holds an entry, none if this view does not reach it.
    fn shared(
        &self,
        first: EntryIndex,
        checkpoints: &mut Checkpoints<'_>,
    ) -> Result<Option<Shared>, Error> {
        let published = checkpoints.first_after(first)?;
        let published = published.filter(|published| published.size <= self.size());
        let Some(published) = published else {
            return Ok(None);
        };
        let size = published.size;
        // A peer's state brings notes that this node did not verify.
        let note = Note::parse(published.note.as_bytes()).map_err(|_| {
            Error::corrupt(format!(
                "the published checkpoint of size {size} is no note"
            ))
        });
        self.sound(note)?;
        Ok(Some(Shared {
            first,
            size,
            note: published.note,
        }))
    }
}

/// The first published checkpoint for every entry from `first` on that it holds: an earlier one that holds a later entry would hold `first` too.
#[derive(Clone)]
struct Shared {
    first: EntryIndex,
    size: TreeSize,
    note: Arc<str>,
}

impl Shared {
    fn holds(&self, index: EntryIndex) -> bool {
        index >= self.first && self.size.holds(index)
    }
}

fn prove<R: NodeReader<Error = Error>>(
    index: EntryIndex,
    size: TreeSize,
    nodes: &R,
) -> Result<Inclusion, Error> {
    Ok(Inclusion {
        leaf_hash: nodes.node(0, index.0)?,
        root: merkle::root(size, nodes)?,
        path: path(index, size, nodes)?,
    })
}

fn path<R: NodeReader<Error = Error>>(
    index: EntryIndex,
    size: TreeSize,
    nodes: &R,
) -> Result<Vec<Hash>, Error> {
    merkle::prove_inclusion(index, size, nodes).map_err(|error| match error {
        ProveError::Read(error) => error,
        ProveError::OutOfRange => Error::corrupt(format!(
            "entry {index} lies outside the checkpoint of size {size}"
        )),
    })
}

/// Notes which nodes are asked for, in that order. What it answers is nothing.
#[derive(Default)]
pub(super) struct Wanted(RefCell<Vec<(u8, u64)>>);

impl NodeReader for Wanted {
    type Error = Error;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Error> {
        self.0.borrow_mut().push((level, index));
        Ok(Hash::ZERO)
    }
}

impl Wanted {
    /// Reads those that are not kept: each tile once, in the order in which they are stored.
    pub(super) fn read(self, view: &View) -> Result<Nodes, Error> {
        view.sound(self.read_from(view))
    }

    fn read_from(self, view: &View) -> Result<Nodes, Error> {
        let (db, asked) = (view.db(), self.0.into_inner());
        let mut hashes = db.upper_nodes.of(&asked);
        let missing = asked.iter().zip(&hashes).enumerate();
        let missing = missing.filter(|(_, (_, kept))| kept.is_none());
        let mut places: Vec<_> = missing
            .map(|(at, ((level, index), _))| (Place::of(*level, *index), at))
            .collect();
        places.sort_unstable_by_key(|(place, _)| place.key);
        let mut keys: Vec<_> = places.iter().map(|(place, _)| place.key).collect();
        keys.dedup();
        let mut places = places.into_iter().peekable();
        let mut read = Vec::with_capacity(keys.len());
        for (key, found) in keys.iter().zip(view.get_all(state_cf::NODES, &keys)?) {
            let mut tile = Tile::open(db, *key, found?)?;
            while let Some((place, at)) = places.next_if(|(place, _)| place.key == *key) {
                let hash = tile.node(db, &place)?;
                if let (Some(place), Some(node)) = (hashes.get_mut(at), asked.get(at)) {
                    *place = Some(hash);
                    read.push((*node, hash));
                }
            }
        }
        db.upper_nodes.keep(read.into_iter());
        let nodes = asked.into_iter().zip(hashes);
        let nodes = nodes.filter_map(|(place, hash)| Some((place, hash?)));
        Ok(Nodes(RefCell::new(nodes.collect::<Vec<_>>().into_iter())))
    }
}

/// Nodes of the tree that were read, for whoever asks for them once more in the order in which they were noted.
pub(super) struct Nodes(RefCell<std::vec::IntoIter<((u8, u64), Hash)>>);

impl NodeReader for Nodes {
    type Error = Error;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Error> {
        let next = self.0.borrow_mut().next();
        let found = next.filter(|(place, _)| *place == (level, index));
        found
            .map(|(_, hash)| hash)
            .ok_or_else(|| Error::corrupt(format!("tree node {level}/{index} was not read")))
    }
}
