// SPDX-License-Identifier: EUPL-1.2
//! The newest raft_entries in memory: replication and apply read them right after they were written.

use std::collections::VecDeque;

use crate::raft_types::RaftEntry;

/// A run of consecutive raft_entries that ends with the last one of the log, bounded in bytes.
pub(super) struct Tail {
    entries: VecDeque<(RaftEntry, usize)>,
    bytes: usize,
    bytes_max: usize,
}

impl Tail {
    pub(super) fn new(bytes_max: usize) -> Tail {
        Tail {
            entries: VecDeque::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// Adds what was appended to the log, with the sizes as stored.
    pub(super) fn append(&mut self, entries: Vec<RaftEntry>, sizes: impl Iterator<Item = usize>) {
        for (entry, size) in entries.into_iter().zip(sizes) {
            if self
                .entries
                .back()
                .is_some_and(|(last, _)| last.log_id.index + 1 != entry.log_id.index)
            {
                self.entries.clear();
                self.bytes = 0;
            }
            self.bytes += size;
            self.entries.push_back((entry, size));
        }
        while self.bytes > self.bytes_max && self.entries.len() > 1 {
            self.pop_front();
        }
    }

    /// The entries of `[start, end)`, fewer if they exceed `bytes_max`; none if `start` is not here.
    pub(super) fn range(&self, start: u64, end: u64, bytes_max: usize) -> Option<Vec<RaftEntry>> {
        let first = self.entries.front()?.0.log_id.index;
        let skip = usize::try_from(start.checked_sub(first)?).ok()?;
        let mut bytes = 0;
        let mut found = Vec::new();
        for (entry, size) in self.entries.iter().skip(skip) {
            if entry.log_id.index >= end || bytes >= bytes_max {
                break;
            }
            bytes += size;
            found.push(entry.clone());
        }
        // A tail that stops short of `end` without having reached the limit does not hold the range.
        let complete = bytes >= bytes_max
            || found
                .last()
                .is_some_and(|last| last.log_id.index + 1 == end);
        complete.then_some(found)
    }

    /// Forgets `since` and all after it.
    pub(super) fn truncate(&mut self, since: u64) {
        while self
            .entries
            .back()
            .is_some_and(|(last, _)| last.log_id.index >= since)
        {
            if let Some((_, size)) = self.entries.pop_back() {
                self.bytes -= size;
            }
        }
    }

    /// Forgets `upto` and all before it: a purged entry must not be served from memory either.
    pub(super) fn purge(&mut self, upto: u64) {
        while self
            .entries
            .front()
            .is_some_and(|(first, _)| first.log_id.index <= upto)
        {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        if let Some((_, size)) = self.entries.pop_front() {
            self.bytes -= size;
        }
    }
}
