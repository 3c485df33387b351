// SPDX-License-Identifier: EUPL-1.2
//! Has what was replaced leave the files of a database: each step waits until those that held it are gone from the disk, and says so where they
//! are not.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rocksdb::{BottommostLevelCompaction, CompactOptions, WriteBatch};

use super::super::db::Db;
use super::super::keys::{self, raft_cf, state_cf};
use crate::error::Error;
use crate::tasks::Halt;

/// How long to wait for readers to let go of old files before the step is given up until the next round.
const HELD: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

/// Brings all that is in memory into table files, and waits until the WAL files that held it are gone.
pub(crate) fn flush(db: &Db, halt: &Halt) -> Result<bool, Error> {
    halt.check()?;
    let mut wals = files(db.path(), "log")?;
    // The state's has nothing in it, and is not replaced by a flush.
    wals.retain(|path| fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0));
    // RocksDB begins a new WAL when it flushes something: after a start there may be nothing, and an old WAL.
    let mut batch = WriteBatch::default();
    batch.put_cf(db.cf(keys::META)?, keys::FLUSHED, b"");
    db.write(batch, false)?;
    db.flush()?;
    let gone = || Ok(!wals.iter().any(|path| path.exists()));
    within("for an old WAL", halt, gone)
}

/// Has RocksDB begin a new MANIFEST: the old one names rows that were the first or the last of a table file. RocksDB does so when the MANIFEST
/// has grown to half as much again, so it is made to: each flush puts the keys of its file in there.
pub(super) fn renew_manifest(db: &Db, halt: &Halt) -> Result<bool, Error> {
    let old = manifests(db.path())?;
    let padding = [keys::FLUSHED, &[0; 16 * 1024]].concat();
    let meta = db.cf(keys::META)?;
    let gone = within("for an old MANIFEST", halt, || {
        if !old.iter().any(|path| path.exists()) {
            return Ok(true);
        }
        let mut batch = WriteBatch::default();
        batch.put_cf(meta, &padding, b"");
        db.write(batch, false)?;
        db.flush()?;
        Ok(false)
    })?;
    let mut batch = WriteBatch::default();
    batch.delete_cf(meta, &padding);
    db.write(batch, false)?;
    Ok(gone)
}

fn manifests(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = entries(dir)?;
    found.retain(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with("MANIFEST-"))
    });
    Ok(found)
}

/// Waits until no db_snapshot is older than a write: RocksDB keeps for it what the write replaced.
pub(super) fn unseen_before(db: &Db, sequence: u64, halt: &Halt) -> Result<bool, Error> {
    within("for an old view", halt, || {
        let oldest = db
            .raw()
            .property_int_value("rocksdb.oldest-snapshot-sequence")
            .map_err(|error| Error::io(format!("ask {}", db.path().display()), error))?;
        Ok(oldest.is_none_or(|oldest| oldest == 0 || oldest >= sequence))
    })
}

/// Rewrites the table files of a range of keys, and the blob files that they refer to, down to the last level; waits until the old table
/// files are gone from the disk.
pub(crate) fn compact(
    db: &Db,
    family: &str,
    range: Option<(&[u8], &[u8])>,
    halt: &Halt,
) -> Result<bool, Error> {
    halt.check()?;
    let failed = |error| Error::io(format!("compact {}", db.path().display()), error);
    let cf = db.cf(family)?;
    let old = tables(db, family, range)?;
    // Blob files are rewritten from the oldest on, up to this share of them. As a lasting setting it would move every body at each compaction.
    let rewriting = |on, share| {
        let options = [
            ("enable_blob_garbage_collection", on),
            ("blob_garbage_collection_age_cutoff", share),
        ];
        db.raw().set_options_cf(cf, &options).map_err(failed)
    };
    let blobs = matches!(family, state_cf::BODIES | raft_cf::LOG);
    if blobs {
        rewriting("true", "1.0")?;
    }
    let mut options = CompactOptions::default();
    options.set_exclusive_manual_compaction(false);
    options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
    let (from, to) = range.unzip();
    db.raw().compact_range_cf_opt(cf, from, to, &options);
    // It says not whether it was given up: see `Db::give_up`.
    halt.check()?;
    if blobs {
        rewriting("false", "0.25")?;
    }
    let gone = || Ok(!old.iter().any(|path| path.exists()));
    within("for old table files", halt, gone)
}

/// The table files of a family that hold keys of a range.
pub(super) fn tables(
    db: &Db,
    family: &str,
    range: Option<(&[u8], &[u8])>,
) -> Result<Vec<PathBuf>, Error> {
    let live = db
        .raw()
        .live_files()
        .map_err(|error| Error::io(format!("list {}", db.path().display()), error))?;
    let meets = |start: &Option<Vec<u8>>, end: &Option<Vec<u8>>| match (range, start, end) {
        (Some((from, to)), Some(start), Some(end)) => {
            start.as_slice() <= to && from <= end.as_slice()
        }
        _ => true,
    };
    Ok(live
        .into_iter()
        .filter(|file| file.column_family_name == family && meets(&file.start_key, &file.end_key))
        .map(|file| db.path().join(file.name.trim_start_matches('/')))
        .collect())
}

/// Whether a node's folder holds no state folder before `state`, and no raft_snapshot before `snapshot`: one that is still read, by a view or
/// a peer, holds what was erased.
pub(crate) fn alone(state: &Path, snapshot: &Path, halt: &Halt) -> Result<bool, Error> {
    within("for old folders", halt, || {
        Ok(!has_former(state, "state-")? && !has_former(snapshot, "snapshot-")?)
    })
}

fn has_former(of: &Path, prefix: &str) -> Result<bool, Error> {
    let number = |path: &Path| -> Option<u64> {
        let name = path.file_name()?.to_str()?;
        name.strip_prefix(prefix)?.parse().ok()
    };
    let Some(dir) = of.parent() else {
        return Ok(false);
    };
    for path in entries(dir)? {
        if path.is_dir() && number(&path).is_some_and(|found| Some(found) < number(of)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn files(dir: &Path, extension: &str) -> Result<Vec<PathBuf>, Error> {
    let mut found = entries(dir)?;
    found.retain(|path| path.extension().is_some_and(|found| found == extension));
    Ok(found)
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |error| Error::io(format!("read {}", dir.display()), error);
    let items = fs::read_dir(dir).map_err(failed)?;
    items
        .map(|item| item.map(|item| item.path()).map_err(failed))
        .collect()
}

/// Asks again until it is so, or [`HELD`] is over, or the node ends. Blocks.
fn within(
    what: &'static str,
    halt: &Halt,
    so: impl Fn() -> Result<bool, Error>,
) -> Result<bool, Error> {
    let end = Instant::now() + HELD;
    loop {
        halt.check()?;
        if so()? {
            return Ok(true);
        }
        if Instant::now() >= end {
            tracing::warn!(what, "erasing waits and will be tried again");
            return Ok(false);
        }
        std::thread::sleep(PAUSE);
    }
}
