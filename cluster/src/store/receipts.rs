// SPDX-License-Identifier: EUPL-1.2
//! Receipts of entries, many at once.

use std::cell::RefCell;
use std::collections::HashMap;

use ledger::hash::Hash;
use ledger::merkle::{self, NodeReader, ProveError};
use ledger::note::Note;
use ledger::number::{EntryIndex, TreeSize};
use ledger::receipt::Receipt;

use super::view::View;
use crate::error::Error;

impl View {
    /// The receipt of an entry, under the first published checkpoint that holds it. None while there is none, and once the body is erased.
    ///
    /// # Errors
    /// What it is made of cannot be read, or does not fit together.
    pub fn receipt(&self, index: EntryIndex) -> Result<Option<Receipt>, Error> {
        Ok(self.receipts(&[index])?.pop().flatten())
    }

    /// The receipts of entries, as [`View::receipt`] gives them. What ascending neighbours share, checkpoints and nodes of the tree, is read once.
    ///
    /// # Errors
    /// As [`View::receipt`].
    pub fn receipts(&self, indexes: &[EntryIndex]) -> Result<Vec<Option<Receipt>>, Error> {
        let nodes = NodesOnce {
            view: self,
            known: RefCell::default(),
        };
        let mut shared: Option<Shared> = None;
        let mut receipts = Vec::with_capacity(indexes.len());
        for &index in indexes {
            let Some(entry) = self.entry(index)? else {
                receipts.push(None);
                continue;
            };
            if !shared.as_ref().is_some_and(|shared| shared.holds(index)) {
                shared = self.shared(index)?;
            }
            receipts.push(match (&shared, entry.body) {
                (Some(shared), Some(body)) => Some(Receipt {
                    index,
                    meta: entry.meta,
                    body_salt: body.body_salt,
                    path: inclusion(index, shared.size, &nodes)?,
                    note: shared.note.clone(),
                }),
                _ => None,
            });
        }
        Ok(receipts)
    }

    /// The first checkpoint that holds an entry, none if this view does not reach it.
    fn shared(&self, first: EntryIndex) -> Result<Option<Shared>, Error> {
        let Some(published) = self
            .first_published_after(first)?
            .filter(|published| published.size <= self.size())
        else {
            return Ok(None);
        };
        let size = published.size;
        let note = Note::parse(published.note.as_bytes()).map_err(|_| {
            Error::corrupt(format!(
                "the published checkpoint of size {size} is no note"
            ))
        })?;
        Ok(Some(Shared { first, size, note }))
    }
}

/// The first published checkpoint for every entry from `first` on that it holds: an earlier one that holds a later entry would hold `first` too.
struct Shared {
    first: EntryIndex,
    size: TreeSize,
    note: Note,
}

impl Shared {
    fn holds(&self, index: EntryIndex) -> bool {
        index >= self.first && self.size.holds(index)
    }
}

fn inclusion(index: EntryIndex, size: TreeSize, nodes: &NodesOnce<'_>) -> Result<Vec<Hash>, Error> {
    merkle::prove_inclusion(index, size, nodes).map_err(|error| match error {
        ProveError::Read(error) => error,
        ProveError::OutOfRange => Error::corrupt(format!(
            "entry {index} lies outside the checkpoint of size {size}"
        )),
    })
}

/// The tree's nodes in a view, none read twice.
struct NodesOnce<'a> {
    view: &'a View,
    known: RefCell<HashMap<(u8, u64), Hash>>,
}

impl NodeReader for NodesOnce<'_> {
    type Error = Error;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Error> {
        if let Some(hash) = self.known.borrow().get(&(level, index)) {
            return Ok(*hash);
        }
        let hash = self.view.node(level, index)?;
        self.known.borrow_mut().insert((level, index), hash);
        Ok(hash)
    }
}
