// SPDX-License-Identifier: EUPL-1.2
//! Does what is stored agree with itself? A short check at each start, and a scrub that reads everything.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use ledger::merkle::{self, NodeReader};
use ledger::number::{EntryIndex, TreeSize};

use super::applied::Applied;
use super::db::Db;
use super::fold;
use super::keys::state_cf;
use super::rows::Run;
use super::state_dir::read_applied;
use super::tiles;
use super::view::{View, db_nodes, newest_published, read_entry};
use crate::error::Error;

/// Entries at the end that are read at each start: enough to notice a state that lost its end or was mixed with another.
const LAST_ENTRIES: u64 = 256;

/// The short check: the applied record, the tree, the last bodies and the newest published checkpoint agree.
///
/// # Errors
/// `Corrupt`, naming what does not fit.
pub(crate) fn state(db: &Db, applied: &Applied) -> Result<(), Error> {
    let nodes = db_nodes(db);
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
    fold::check::state(db, applied)
}

/// Every body of `[from, to)` is what its leaf commits to, and its leaf is the one in the tree.
///
/// # Errors
/// `Corrupt`, naming the entry.
pub(crate) fn entries(db: &Db, from: u64, to: u64) -> Result<(), Error> {
    let nodes = db_nodes(db);
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
    }
    Ok(())
}

/// Nodes `[from, to)` of a level that tiles hold are the hashes of those below.
///
/// # Errors
/// `Corrupt`, naming the node.
fn nodes(db: &Db, level: u8, from: u64, to: u64) -> Result<(), Error> {
    let (below, nodes) = (db_nodes(db), db_nodes(db));
    for index in from..to {
        let (left, right) = (
            below.node(level - 1, 2 * index)?,
            below.node(level - 1, 2 * index + 1)?,
        );
        if merkle::node_hash(&left, &right) != nodes.node(level, index)? {
            return Err(Error::corrupt(format!(
                "{}: tree node {level}/{index} is not the hash of its children",
                db.path().display()
            )));
        }
    }
    Ok(())
}

/// Keys, entries or nodes read between two pauses: some milliseconds of a core, which whoever waits for it does not feel.
pub(super) const STEP: u64 = 128;

/// Reads everything in a state, checking RocksDB's checksums and the ledger's hashes. Asks for the database before each step, so that it can be
/// closed meanwhile, and calls `pause` after each. False if it was closed before all was read.
///
/// # Errors
/// `Corrupt`, naming what is damaged.
pub(crate) fn scrub(
    state: impl Fn() -> Option<Arc<Db>>,
    mut pause: impl FnMut(),
) -> Result<bool, Error> {
    let Some(size) = state()
        .map(|db| read_applied(&db))
        .transpose()?
        .map(|applied| applied.tree_size)
    else {
        return Ok(false);
    };
    for family in state_cf::ALL {
        let open = match family {
            state_cf::ROWS => rows(&state, &mut pause)?,
            _ => look_through(family, &state, &mut pause, |_, _, _| Ok(()))?,
        };
        if !open {
            return Ok(false);
        }
    }
    for from in (0..size).step_by(STEP as usize) {
        let Some(db) = state() else { return Ok(false) };
        entries(&db, from, size.min(from + STEP))?;
        drop(db);
        pause();
    }
    // The other levels are not kept.
    for level in (tiles::MIDDLE..64).step_by(usize::from(tiles::MIDDLE)) {
        for from in (0..size >> level).step_by(STEP as usize) {
            let Some(db) = state() else { return Ok(false) };
            nodes(&db, level, from, (size >> level).min(from + STEP))?;
            drop(db);
            pause();
        }
    }
    scrub_folds(state, pause)
}

/// As [`scrub`], of the index alone: its records hold rows, ascending, and none of them twice.
pub(super) fn rows(
    state: impl Fn() -> Option<Arc<Db>>,
    pause: impl FnMut(),
) -> Result<bool, Error> {
    let mut last: Option<Run> = None;
    look_through(state_cf::ROWS, state, pause, |db, key, value| {
        let run = Run::read(db, key, value)?;
        if last.as_ref().is_some_and(|last| !run.is_behind(last)) {
            let name = db.name_of(state_cf::ROWS, key);
            return Err(Error::corrupt(format!(
                "{name} holds a row of the record before"
            )));
        }
        last = Some(run);
        Ok(())
    })
}

/// As [`scrub`], of a family's keys and values, which are shown to `look`.
fn look_through(
    family: &str,
    state: impl Fn() -> Option<Arc<Db>>,
    mut pause: impl FnMut(),
    mut look: impl FnMut(&Db, &[u8], &[u8]) -> Result<(), Error>,
) -> Result<bool, Error> {
    let mut from = Some(Vec::new());
    while let Some(start) = from {
        let Some(db) = state() else { return Ok(false) };
        from = db.read_through(family, &start, STEP, |key, value| look(&db, key, value))?;
        drop(db);
        pause();
    }
    Ok(true)
}

/// As [`scrub`], of what is folded alone: values, state map and facts. Each step looks at a moment of its own, so a fold may go on meanwhile.
///
/// # Errors
/// `Corrupt`, naming what is damaged.
pub(crate) fn scrub_folds(
    state: impl Fn() -> Option<Arc<Db>>,
    mut pause: impl FnMut(),
) -> Result<bool, Error> {
    let mut after = None;
    loop {
        let Some(db) = state() else { return Ok(false) };
        after = fold::check::values(&View::new(db)?, after, STEP as usize)?;
        if after.is_none() {
            break;
        }
        pause();
    }
    let mut from = Some(Vec::new());
    while let Some(start) = from {
        let Some(db) = state() else { return Ok(false) };
        from = fold::check::facts(&View::new(db)?, &start, STEP as usize)?;
        pause();
    }
    Ok(true)
}

/// Bytes of all files below a folder.
pub(crate) fn bytes_in(dir: &Path) -> Result<u64, Error> {
    let failed = |error| Error::io(format!("read {}", dir.display()), error);
    let mut bytes = 0;
    for item in fs::read_dir(dir).map_err(failed)? {
        let item = item.map_err(failed)?;
        let metadata = item.metadata().map_err(failed)?;
        bytes += if metadata.is_dir() {
            bytes_in(&item.path())?
        } else {
            metadata.len()
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ledger::hash::Hash;
    use ledger::merkle::Frontier;

    use super::*;
    use crate::store::db::Resources;
    use crate::store::keys;
    use crate::store::tiles::Edge;

    #[test]
    fn a_tile_that_does_not_fit_the_one_above_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let resources = Resources {
            cache_bytes: 1 << 20,
            write_buffer_bytes: 1 << 20,
            background_bytes_per_s: None,
        };
        let db = Db::open_state(&dir.path().join("state"), resources).unwrap();
        let put = |key, tile: &[u8]| {
            let family = db.cf(state_cf::NODES).unwrap();
            db.raw().put_cf(family, key, tile).unwrap();
        };
        let mut edge = Edge::read(TreeSize(0), &db).unwrap();
        let mut frontier = Frontier::default();
        for leaf in 0..200u64 {
            frontier.append(Hash::of(&[&leaf.to_be_bytes()]), |level, _, hash| {
                edge.push(level, hash, put);
            });
        }
        edge.grown(put);
        for (level, to) in [(3, 25), (6, 3)] {
            nodes(&db, level, 0, to).unwrap();
        }
        let key = keys::tile(0, 1);
        let tile = db.get(state_cf::NODES, &key).unwrap().unwrap();
        // A leaf, and a node in the middle.
        for (byte, level, index) in [(9 * 32, 3, 9), (66 * 32, 3, 10), (66 * 32, 6, 1)] {
            let mut damaged = tile.clone();
            damaged.swap(byte, byte + 1);
            put(key, &damaged);
            nodes(&db, level, 0, 64 >> level).unwrap();
            let error = nodes(&db, level, 0, 192 >> level).unwrap_err();
            let told = format!("tree node {level}/{index} is not");
            assert!(error.to_string().contains(&told), "{error}");
        }
    }
}
