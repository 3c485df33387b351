// SPDX-License-Identifier: EUPL-1.2
//! How many bytes the Raft log's entries have, by index: how much of the log is worth keeping is a question of bytes, for one raft_entry
//! carries from none to hundreds of submissions.

use std::collections::VecDeque;

/// Sizes are kept for runs of so many bytes.
const RUN_BYTES: u64 = 256 * 1024;

/// The sizes of the raft_entries present, in runs of neighbours. A run that is cut counts whole until it is gone.
#[derive(Clone, Debug, Default)]
pub(super) struct Sizes(VecDeque<Run>);

#[derive(Clone, Debug)]
struct Run {
    first: u64,
    bytes: u64,
}

impl Sizes {
    /// Of entries from `first` on of which only the sum is known.
    pub(super) fn of(first: u64, bytes: u64) -> Sizes {
        Sizes([Run { first, bytes }].into())
    }

    pub(super) fn append(&mut self, index: u64, bytes: u64) {
        match self.0.back_mut() {
            Some(run) if run.bytes < RUN_BYTES => run.bytes += bytes,
            _ => self.0.push_back(Run {
                first: index,
                bytes,
            }),
        }
    }

    /// Forgets `since` and all after it.
    pub(super) fn truncate(&mut self, since: u64) {
        while self.0.back().is_some_and(|run| run.first >= since) {
            self.0.pop_back();
        }
    }

    /// Forgets what lies wholly before `first`, the first entry present.
    pub(super) fn purge(&mut self, first: u64) {
        while self.0.get(1).is_some_and(|run| run.first <= first) {
            self.0.pop_front();
        }
    }

    /// Bytes of the entries after one, and of its neighbours in the same run.
    pub(super) fn after(&self, index: u64) -> u64 {
        let next = index.saturating_add(1);
        let from = self.0.partition_point(|run| run.first <= next);
        let runs = self.0.iter().skip(from.saturating_sub(1));
        runs.map(|run| run.bytes).sum()
    }

    /// About as many bytes as the entries after one have, up to another: one that lies in the same run as the last counts for nothing.
    pub(super) fn between(&self, after: u64, upto: u64) -> u64 {
        self.after(after).saturating_sub(self.after(upto))
    }

    /// The greatest index after which at least so many bytes remain; none if there are not as many, or nothing before them.
    pub(super) fn before_last(&self, bytes: u64) -> Option<u64> {
        let mut remain = 0;
        for run in self.0.iter().rev() {
            remain += run.bytes;
            if remain >= bytes {
                let first = self.0.front()?.first;
                return run.first.checked_sub(1).filter(|upto| *upto >= first);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_of_whole_runs() {
        let mut sizes = Sizes::of(10, 1_000_000);
        for index in 20..40 {
            sizes.append(index, RUN_BYTES / 2);
        }
        assert_eq!(sizes.after(39), RUN_BYTES);
        assert_eq!(sizes.after(37), RUN_BYTES);
        assert_eq!(sizes.after(36), 2 * RUN_BYTES);
        assert_eq!(sizes.after(5), 10 * RUN_BYTES + 1_000_000);
        assert_eq!(sizes.between(5, 39), 9 * RUN_BYTES + 1_000_000);
        assert_eq!(
            sizes.between(15, 18),
            0,
            "it is not known where in the run they lie"
        );
        assert_eq!(sizes.between(35, 39), RUN_BYTES);
        assert_eq!(sizes.between(39, 39), 0);
        assert_eq!(sizes.between(39, 35), 0);
        assert_eq!(sizes.before_last(3 * RUN_BYTES), Some(33));
        assert_eq!(sizes.before_last(10 * RUN_BYTES), Some(19));
        assert_eq!(sizes.before_last(10 * RUN_BYTES + 1), None);
        sizes.purge(35);
        assert_eq!(sizes.after(5), 3 * RUN_BYTES);
        assert_eq!(sizes.before_last(3 * RUN_BYTES), None);
        sizes.truncate(37);
        assert_eq!(sizes.after(5), 2 * RUN_BYTES);
        sizes.append(37, 7);
        assert_eq!(sizes.after(37), 7);
    }
}
