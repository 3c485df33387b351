// SPDX-License-Identifier: EUPL-1.2
//! A published state root and what it speaks of, for whoever proves something from it.

use std::sync::Arc;

use ledger::fold::FoldReader;
use ledger::hash::Hash;
use ledger::number::{EntryIndex, TreeSize};
use ledger::retention::Cuts;
use ledger::state::StateKey;
use ledger::state::registry::LastStateRoot;
use ledger::state_map::{self, MapProof};

use crate::error::Error;
use crate::face::Published;
use crate::store::fatal::Fatal;
use crate::store::fold::standing;
use crate::store::fold::{DbFold, Done, Order, Progress, Stated, damaged};
use crate::store::view::View;

/// One moment of the ledger in which a state root was published, with the values and the map that it is the root of. Cheap to clone. RocksDB
/// keeps what it sees: hold it as long as an answer takes, no longer.
#[derive(Clone)]
pub struct Folded(Arc<Inner>);

struct Inner {
    view: View,
    state_root: LastStateRoot,
    published: Published,
    fatal: Fatal,
}

impl Folded {
    /// The view as one, if values and map in it are those of that state root and a published checkpoint in it holds the entry.
    pub(crate) fn of(
        view: View,
        state_root: LastStateRoot,
        fatal: &Fatal,
    ) -> Result<Option<Folded>, Error> {
        let done = Done {
            version: state_root.version,
            size: state_root.size.0,
            root: state_root.root.0,
        };
        let still = Done::read(&view)? == done && Progress::read(&view)?.is_none();
        let published = view.first_published_after(state_root.index)?;
        let Some(published) = published.filter(|_| still) else {
            return Ok(None);
        };
        Ok(Some(Folded(Arc::new(Inner {
            view,
            state_root,
            published,
            fatal: fatal.clone(),
        }))))
    }

    /// The `state-root` entry: where it stands, the tree size that it speaks of, its version and root.
    pub fn state_root(&self) -> LastStateRoot {
        self.0.state_root
    }

    /// A published checkpoint that holds the `state-root` entry.
    pub fn published(&self) -> &Published {
        &self.0.published
    }

    /// The ledger at that moment: it reaches beyond the size of the state root, so lists are rows below that size.
    pub fn view(&self) -> &View {
        &self.0.view
    }

    /// The value under a key as the state root has it, with the proof; none with the proof that there is none.
    ///
    /// # Errors
    /// It cannot be read, or is not what the state root says: the node stops.
    pub fn prove(&self, key: &StateKey) -> Result<(Option<Vec<u8>>, MapProof), Error> {
        self.proven(&key.hash())
            .map_err(|error| self.0.fatal.latch(error))
    }

    /// The value alone, for whoever gets all values and recomputes the root.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn value(&self, key: &StateKey) -> Result<Option<Vec<u8>>, Error> {
        DbFold(&self.0.view).value(&key.hash())
    }

    fn proven(&self, key: &Hash) -> Result<(Option<Vec<u8>>, MapProof), Error> {
        let reader = DbFold(&self.0.view);
        let value = reader.value(key)?;
        let proof =
            state_map::prove(key, &reader).map_err(|error| damaged(self.0.view.db(), error))?;
        let root = &self.0.state_root.root;
        // Nothing leaves that the root does not vouch for.
        let holds = match &value {
            Some(value) => state_map::verify_presence(root, key, value, &proof),
            None => state_map::verify_absence(root, key, &proof),
        };
        match holds {
            Ok(()) => Ok((value, proof)),
            Err(why) => Err(Error::corrupt(format!(
                "{}: the folded value under map key {key} does not follow from state root {}: {why}",
                self.0.view.db().path().display(),
                self.0.state_root.version
            ))),
        }
    }

    /// The cuts that stand as that state root has them.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn cuts(&self) -> Result<Cuts, Error> {
        self.0.view.sound(standing::cuts(&self.0.view))
    }

    /// The paths of entries' leaves to the root of [`Folded::published`], in their order.
    ///
    /// # Errors
    /// The tree cannot be read, or does not hold an entry at that size.
    pub fn inclusions(&self, indexes: &[EntryIndex]) -> Result<Vec<Vec<Hash>>, Error> {
        self.0.view.paths(indexes, self.0.published.size)
    }

    /// The path of one entry's leaf.
    ///
    /// # Errors
    /// As [`Folded::inclusions`].
    pub fn inclusion(&self, index: EntryIndex) -> Result<Vec<Hash>, Error> {
        let mut paths = self.inclusions(&[index])?;
        Ok(paths.pop().unwrap_or_default())
    }

    /// Whether it says all there is to say of a tree of that size: at most its own `state-root` entry came after it.
    pub fn covers(&self, size: TreeSize) -> bool {
        covers(&self.0.state_root, size)
    }
}

pub(crate) fn covers(of: &LastStateRoot, size: TreeSize) -> bool {
    let order = Order {
        version: of.version,
        size: of.size.0,
        stated: Some(Stated {
            index: of.index.0,
            root: of.root.0,
        }),
    };
    order.covers(size.0)
}

impl std::fmt::Debug for Folded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Folded({:?})", self.0.state_root)
    }
}
