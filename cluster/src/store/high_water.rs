// SPDX-License-Identifier: EUPL-1.2
//! The high-water mark: a second, tiny file that remembers how far the Raft log was fsynced.
//!
//! No WAL recovery mode both survives a power cut and proves that nothing synced is missing: a WAL cut off between two records looks like one
//! that ended there. A node that lost acknowledged raft_entries, or its vote, and votes again can lose what a quorum promised. So after each
//! fsync of the log, and before it is acknowledged, the mark is written and fsynced too; at start the log must reach it.
//!
//! Two slots are written in turn, each a whole sector with its own hash: a crash while one is written leaves the other, which is older and so
//! still true, for the mark is a lower bound.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ledger::hash::Hash;
use serde::{Deserialize, Serialize};

use super::db;
use crate::error::Error;
use crate::raft_types::{RaftLogId, RaftVote};

const MAGIC: &[u8; 8] = b"VISTOHW1";
const SLOT_BYTES: usize = 512;
/// Slots lie a page apart, so that no write touches both.
const SLOT_DISTANCE: u64 = 4096;

/// What was on disk when this was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Grows by one with each write; its lowest bit is the slot.
    pub(crate) sequence: u64,
    pub(crate) vote: Option<RaftVote>,
    /// Last raft_entry, or the last one purged.
    pub(crate) last: Option<RaftLogId>,
}

/// The open file.
pub(crate) struct HighWater {
    file: File,
    path: PathBuf,
    mark: Mark,
}

impl HighWater {
    /// A file for a new node. Fsynced with its folder before this returns.
    pub(crate) fn create(path: &Path) -> Result<HighWater, Error> {
        let failed = |error| Error::io(format!("create {}", path.display()), error);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(failed)?;
        file.set_len(2 * SLOT_DISTANCE).map_err(failed)?;
        let mut created = HighWater {
            file,
            path: path.into(),
            mark: Mark::default(),
        };
        created.raise(None, None)?;
        created.raise(None, None)?;
        created.file.sync_all().map_err(failed)?;
        Ok(created)
    }

    /// Opens an existing file and takes the newer of its slots.
    pub(crate) fn open(path: &Path) -> Result<HighWater, Error> {
        let failed = |error| Error::io(format!("open {}", path.display()), error);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(failed)?;
        let slots = [read_slot(&file, 0), read_slot(&file, 1)];
        for (slot, read) in slots.iter().enumerate() {
            if read.is_none() {
                tracing::warn!(path = %path.display(), slot, "a slot of the high-water mark is unreadable; the other one decides");
            }
        }
        let mark = slots
            .into_iter()
            .flatten()
            .max_by_key(|mark| mark.sequence)
            .ok_or_else(|| {
                Error::corrupt(format!("{}: both slots are unreadable", path.display()))
            })?;
        Ok(HighWater {
            file,
            path: path.into(),
            mark,
        })
    }

    pub(crate) fn mark(&self) -> &Mark {
        &self.mark
    }

    /// Writes and fsyncs a new mark. Call it after the log is fsynced when the mark rises, before it when the mark falls (a truncation): the
    /// mark must never be ahead of the log, or a crash between the two would look like a loss.
    pub(crate) fn raise(
        &mut self,
        vote: Option<RaftVote>,
        last: Option<RaftLogId>,
    ) -> Result<(), Error> {
        let mark = Mark {
            sequence: self.mark.sequence + 1,
            vote,
            last,
        };
        let slot = encode_slot(&mark)?;
        let failed = |error| Error::io(format!("write {}", self.path.display()), error);
        self.file
            .write_all_at(&slot, (mark.sequence & 1) * SLOT_DISTANCE)
            .map_err(failed)?;
        self.file.sync_data().map_err(failed)?;
        self.mark = mark;
        Ok(())
    }
}

fn encode_slot(mark: &Mark) -> Result<Vec<u8>, Error> {
    let mut slot = MAGIC.to_vec();
    slot.extend_from_slice(&db::encode(mark)?);
    slot.resize(SLOT_BYTES - 32, 0);
    let hash = Hash::of(&[&slot]);
    slot.extend_from_slice(hash.as_bytes());
    Ok(slot)
}

fn read_slot(file: &File, slot: u64) -> Option<Mark> {
    let mut bytes = [0; SLOT_BYTES];
    file.read_exact_at(&mut bytes, slot * SLOT_DISTANCE).ok()?;
    let (content, hash) = bytes.split_at_checked(SLOT_BYTES - 32)?;
    if Hash::of(&[content]).as_bytes() != hash {
        return None;
    }
    let (mark, _padding) = postcard::take_from_bytes::<Mark>(content.strip_prefix(MAGIC)?).ok()?;
    (mark.sequence & 1 == slot).then_some(mark)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )]
    use super::*;
    use openraft::{CommittedLeaderId, LogId, Vote};

    fn log_id(index: u64) -> RaftLogId {
        LogId::new(CommittedLeaderId::new(1, 1), index)
    }

    #[test]
    fn the_newest_mark_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("high-water");
        let mut high_water = HighWater::create(&path).unwrap();
        for index in 0..5 {
            high_water
                .raise(Some(Vote::new(1, 1)), Some(log_id(index)))
                .unwrap();
        }
        let open = HighWater::open(&path).unwrap();
        assert_eq!(open.mark().last, Some(log_id(4)));
        assert_eq!(open.mark(), high_water.mark());
    }

    #[test]
    fn any_flipped_byte_costs_at_most_one_step_and_two_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("high-water");
        let mut high_water = HighWater::create(&path).unwrap();
        high_water.raise(None, Some(log_id(7))).unwrap();
        high_water.raise(None, Some(log_id(8))).unwrap();
        let good = std::fs::read(&path).unwrap();
        for at in (0..SLOT_BYTES).chain(SLOT_DISTANCE as usize..SLOT_DISTANCE as usize + SLOT_BYTES)
        {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            std::fs::write(&path, &bad).unwrap();
            let last = HighWater::open(&path).unwrap().mark().last;
            assert!(
                last == Some(log_id(7)) || last == Some(log_id(8)),
                "byte {at}: {last:?}"
            );
        }
        let mut bad = good;
        bad[20] ^= 1;
        bad[SLOT_DISTANCE as usize + 20] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        assert!(HighWater::open(&path).is_err());
    }
}
