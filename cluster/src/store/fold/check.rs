// SPDX-License-Identifier: EUPL-1.2
//! Do values, map and state agree with each other, and with what the newest `state-root` entry states? What a fold goes on from, what is
//! proven to callers, and what a raft_snapshot brings along is checked before it is used.

use std::collections::BTreeMap;

use ledger::body::Content;
use ledger::hash::Hash;
use ledger::number::EntryIndex;
use ledger::state::{StateKey, registry};
use ledger::state_map::{self, value_hash};
use rocksdb::{Direction, IteratorMode};

use super::{DbFold, Done, Folds, Order, Progress, changes, damaged};
use crate::error::Error;
use crate::store::applied::Applied;
use crate::store::db::Db;
use crate::store::keys::state_cf;
use crate::store::view::{DbState, View, read_entry};

/// The short check: the records fit together, the map has the root that they name, and so does the newest `state-root` entry.
///
/// # Errors
/// `Corrupt`, naming what does not fit.
pub(crate) fn state(db: &Db, applied: &Applied) -> Result<(), Error> {
    let corrupt = |why: String| Err(Error::corrupt(format!("{}: {why}", db.path().display())));
    let folds = Folds::read(db)?;
    let progress = Progress::read(db)?;
    let size = folds.ordered.map_or(folds.done.size, |order| order.size);
    let next = progress.is_none_or(|progress| progress.version == folds.done.version + 1);
    if size > applied.tree_size || folds.done.size > size || !next {
        return corrupt(format!(
            "state root {} of size {} does not fit a tree of {}",
            folds.done.version, folds.done.size, applied.tree_size
        ));
    }
    let recorded = progress.map_or(folds.done.root, |progress| progress.root);
    let root = state_map::root(&DbFold(db))?;
    if root.0 != recorded {
        return corrupt(format!(
            "the state map has the root {root}, and {} was folded",
            Hash(recorded)
        ));
    }
    let last = registry::state_root(&DbState::new(db))?;
    let version = last.map_or(0, |last| last.version);
    if version != folds.stated_version() {
        return corrupt(format!(
            "state root {version} was stated, and {} is recorded",
            folds.stated_version()
        ));
    }
    match Order::read(db, folds.done.version)? {
        Some(order) if order.stated.is_some() => stated(db, &order, &folds.done),
        _ => Ok(()),
    }
}

/// The entry itself: a record of it could be damaged too.
fn stated(db: &Db, order: &Order, done: &Done) -> Result<(), Error> {
    let index = EntryIndex(order.stated.map_or(0, |stated| stated.index));
    order.judge(&done.root)?;
    let entry = read_entry(db, index)?;
    let body = entry.map(|entry| entry.parse_body());
    let Some(Ok(body)) = body else {
        return Err(Error::corrupt(format!(
            "{}: entry {index} is to be a state root and cannot be read",
            db.path().display()
        )));
    };
    let same = match body.map(|body| body.content) {
        // Its body is past its retention.
        None => true,
        Some(Content::StateRoot(root)) => {
            (root.version, root.size, root.root.0) == (done.version, done.size, done.root)
        }
        Some(_) => false,
    };
    if same {
        Ok(())
    } else {
        Err(Error::corrupt(format!(
            "{}: state root {} of size {} is not the one that entry {index} states",
            db.path().display(),
            done.version,
            done.size
        )))
    }
}

/// The next `count` values after a key are those of the map's leaves, no more and no fewer, and the map agrees with itself on the way there.
/// Where to go on; none at the end.
///
/// # Errors
/// `Corrupt`, naming the first that does not fit.
pub(crate) fn values(
    view: &View,
    after: Option<Hash>,
    count: usize,
) -> Result<Option<Hash>, Error> {
    let leaves = state_map::leaves(after.as_ref(), count, &DbFold(view))
        .map_err(|error| damaged(view.db(), error))?;
    // Right behind it: its key and one byte more.
    let from = after.map_or_else(Vec::new, |after| [&after.0[..], &[0]].concat());
    let mode = IteratorMode::From(&from, Direction::Forward);
    let mut values = view.iterate(state_cf::FOLDED, mode, None)?;
    let mut last = None;
    let mut leaves = leaves.into_iter();
    for _ in 0..count {
        let value = values
            .next()
            .transpose()
            .map_err(|error| view.db().read_error(state_cf::FOLDED, &from, error))?;
        let leaf = leaves.next();
        match (value, leaf) {
            (None, None) => return Ok(None),
            (Some((key, value)), Some((leaf, hash)))
                if *key == leaf.0 && value_hash(&value) == hash =>
            {
                last = Some(leaf);
            }
            (value, leaf) => {
                let value = value.and_then(|(key, _)| Hash::from_slice(&key));
                let key = value.into_iter().chain(leaf.map(|(leaf, _)| leaf)).min();
                let name = key.unwrap_or(Hash::ZERO);
                return Err(Error::corrupt(format!(
                    "{} is not what the state map says",
                    view.db().name_of(state_cf::FOLDED, name.as_bytes())
                )));
            }
        }
    }
    Ok(last)
}

/// The next `count` facts (kinds under the root that are no lists) are those that were folded, or what entries wrote since. Where to go on;
/// none at the end, and before the first fold: there is nothing to hold them against.
///
/// # Errors
/// `Corrupt`, naming the kind of the first that is neither.
pub(crate) fn facts(view: &View, from: &[u8], count: usize) -> Result<Option<Vec<u8>>, Error> {
    if Done::read(view)?.version == 0 {
        return Ok(None);
    }
    let mode = IteratorMode::From(from, Direction::Forward);
    let mut odd: BTreeMap<StateKey, Vec<u8>> = BTreeMap::new();
    let mut next = None;
    for (number, item) in view.iterate(state_cf::STATE, mode, None)?.enumerate() {
        let (key, value) =
            item.map_err(|error| view.db().read_error(state_cf::STATE, from, error))?;
        let Some(state_key) = StateKey::decode(&key).filter(StateKey::under_root) else {
            break;
        };
        if number == count {
            next = Some(key.into_vec());
            break;
        }
        let folded = view.get(state_cf::FOLDED, state_key.hash().as_bytes())?;
        if folded.as_deref() != Some(&*value) {
            odd.insert(state_key, value.into_vec());
        }
    }
    if !odd.is_empty() {
        since(view, &mut odd)?;
    }
    match odd.first_key_value() {
        None => Ok(next),
        Some((key, _)) => Err(Error::corrupt(format!(
            "{} is not what was folded, and no entry wrote it since",
            view.db().name_of(state_cf::STATE, &key.encode())
        ))),
    }
}

/// Takes away what entries wrote since the last fold.
fn since(view: &View, odd: &mut BTreeMap<StateKey, Vec<u8>>) -> Result<(), Error> {
    let mut written: BTreeMap<StateKey, Option<Vec<u8>>> = BTreeMap::new();
    let done = Done::read(view)?;
    for change in changes(view.db(), done.size, view.size().0)? {
        let ours = change?.writes.into_iter();
        written.extend(ours.filter(|(key, _)| odd.contains_key(key)));
    }
    odd.retain(|key, value| written.get(key).and_then(Option::as_ref) != Some(value));
    Ok(())
}
