// SPDX-License-Identifier: EUPL-1.2
//! Does what is stored agree with itself? A short check at each start, and a scrub that reads everything.

use ledger::merkle;
use ledger::number::{EntryIndex, TreeSize};

use super::applied::Applied;
use super::db::Db;
use super::view::{DbNodes, newest_published, read_entry};
use crate::error::Error;
use ledger::merkle::NodeReader;

/// Entries at the end that are read at each start: enough to notice a state that lost its end or was mixed with another.
const LAST_ENTRIES: u64 = 256;

/// The short check: the applied record, the tree, the last bodies and the newest published checkpoint agree.
///
/// # Errors
/// `Corrupt`, naming what does not fit.
pub(crate) fn state(db: &Db, applied: &Applied) -> Result<(), Error> {
    let nodes = DbNodes::new(db);
    let size = TreeSize(applied.tree_size);
    if merkle::root(size, &nodes)?.as_bytes() != &applied.root {
        return Err(Error::corrupt(format!(
            "{}: the tree of size {size} has another root than was applied",
            db.path().display()
        )));
    }
    if let Some(beyond) = read_entry(db, EntryIndex(size.0))?.map(|_| size) {
        return Err(Error::corrupt(format!(
            "{}: an entry stands at {beyond}, beyond the tree",
            db.path().display()
        )));
    }
    entries(db, size.0.saturating_sub(LAST_ENTRIES), size.0)?;
    if let Some(published) = newest_published(db)? {
        // A checkpoint that this state has not reached: the state was restored to an earlier moment and the log brings it forward.
        let reached = published.size <= size;
        if reached && merkle::root(published.size, &nodes)? != published.root {
            return Err(Error::corrupt(format!(
                "{}: the published checkpoint of size {} has another root",
                db.path().display(),
                published.size
            )));
        }
    }
    Ok(())
}

/// Every body of `[from, to)` is what its leaf commits to, and its leaf is the one in the tree.
///
/// # Errors
/// `Corrupt`, naming the entry.
pub(crate) fn entries(db: &Db, from: u64, to: u64) -> Result<(), Error> {
    let nodes = DbNodes::new(db);
    for index in from..to {
        let stored = read_entry(db, EntryIndex(index))?.ok_or_else(|| {
            Error::corrupt(format!("{}: entry {index} is missing", db.path().display()))
        })?;
        if stored.leaf_hash() != nodes.node(0, index)? {
            return Err(Error::corrupt(format!(
                "{}: entry {index} has another leaf than the tree",
                db.path().display()
            )));
        }
        stored.verify().map_err(|_| {
            Error::corrupt(format!(
                "{}: the body of entry {index} is not the one its leaf commits to",
                db.path().display()
            ))
        })?;
    }
    Ok(())
}

/// Every node of the tree of `size` is the hash of its children.
///
/// # Errors
/// `Corrupt`, naming the node.
pub(crate) fn tree(db: &Db, size: u64) -> Result<(), Error> {
    let nodes = DbNodes::new(db);
    for level in 1..64u8 {
        let count = size >> level;
        if count == 0 {
            break;
        }
        for index in 0..count {
            let (left, right) = (
                nodes.node(level - 1, 2 * index)?,
                nodes.node(level - 1, 2 * index + 1)?,
            );
            if merkle::node_hash(&left, &right) != nodes.node(level, index)? {
                return Err(Error::corrupt(format!(
                    "{}: tree node {level}/{index} is not the hash of its children",
                    db.path().display()
                )));
            }
        }
    }
    Ok(())
}
