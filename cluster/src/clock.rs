// SPDX-License-Identifier: EUPL-1.2
//! This node's clock, and how far it is off its peers'.
//!
//! The leader stamps entries, so a leader with a wrong clock would date them wrong. Each node compares clocks with its peers every
//! second; one that is more than two seconds off the median of the voters proposes nothing until it is right again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use ledger::id::NodeNumber;
use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

/// Wall-clock time in milliseconds since 1970. Tests hand in their own.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// The operating system's.
    pub fn system() -> Clock {
        Clock::from_fn(|| {
            let since = SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
    }

    /// Any other.
    pub fn from_fn(now_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(now_ms))
    }

    /// Now.
    pub fn now_ms(&self) -> u64 {
        (self.0)()
    }
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// What is known of the peers' clocks.
#[derive(Default)]
pub(crate) struct Offsets {
    /// Peer's clock minus ours, and when it was compared.
    heard: Mutex<BTreeMap<NodeNumber, (i64, Instant)>>,
    voters: RwLock<BTreeSet<NodeNumber>>,
}

impl Offsets {
    /// Takes in one comparison: asked at `asked_ms`, answered by `answered_ms`, both by our clock. The peer read its clock somewhere in
    /// between; half-way is the best guess, and wrong by half the round trip at most.
    pub(crate) fn compare(&self, peer: NodeNumber, asked_ms: u64, peer_ms: u64, answered_ms: u64) {
        let ours = asked_ms / 2 + answered_ms / 2;
        let offset = i64::try_from(i128::from(peer_ms) - i128::from(ours)).unwrap_or(i64::MAX);
        self.heard.lock().insert(peer, (offset, Instant::now()));
    }

    /// Whose clocks count.
    pub(crate) fn set_voters(&self, voters: BTreeSet<NodeNumber>) {
        *self.voters.write() = voters;
    }

    /// Our clock minus the median of the voters' that were heard lately, ours among them, in milliseconds.
    pub(crate) fn offset_ms(&self, own: NodeNumber) -> i64 {
        let voters = self.voters.read();
        let heard = self.heard.lock();
        let lately = heard
            .iter()
            .filter(|(peer, (_, when))| voters.contains(peer) && when.elapsed() < HEARD_AGE_MAX);
        let mut offsets: Vec<i64> = lately.map(|(_, (offset, _))| *offset).collect();
        if voters.contains(&own) || offsets.is_empty() {
            offsets.push(0);
        }
        -median(&mut offsets)
    }

    /// Whether this node may date entries.
    pub(crate) fn clock_ok(&self, own: NodeNumber) -> bool {
        self.offset_ms(own).unsigned_abs() <= CLOCK_OFF_MS_MAX
    }
}

/// Of an even number, the mean of the two in the middle: where two clocks differ, neither is believed over the other.
fn median(values: &mut [i64]) -> i64 {
    values.sort_unstable();
    let upper = values.get(values.len() / 2).copied().unwrap_or(0);
    let lower = values
        .get(values.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(0);
    lower.midpoint(upper)
}

/// How far a leader's clock may be off the voters' median, and how far a tree's end may lie in a cosigner's future.
pub(crate) const CLOCK_OFF_MS_MAX: u64 = 2000;
/// A comparison older than this says nothing any more.
const HEARD_AGE_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )]
    use super::*;

    #[test]
    fn median_of_any_number() {
        assert_eq!(median(&mut []), 0);
        assert_eq!(median(&mut [7]), 7);
        assert_eq!(median(&mut [10, 0]), 5);
        assert_eq!(median(&mut [100_000, 0, 3]), 3);
        assert_eq!(median(&mut [4, 1, 3, 2]), 2);
    }

    #[test]
    fn one_wrong_clock_of_three_is_the_wrong_one() {
        let offsets = offsets(&[(2, 10_000), (3, 10_010)], &[1, 2, 3]);
        assert_eq!(offsets.offset_ms(NodeNumber(1)), -10_000, "ours is behind");
        assert!(!offsets.clock_ok(NodeNumber(1)));
        let offsets = self::offsets(&[(2, 10_000), (3, 10)], &[1, 2, 3]);
        assert!(
            offsets.clock_ok(NodeNumber(1)),
            "the second node's is ahead, ours is right"
        );
    }

    #[test]
    fn only_voters_count_and_alone_we_are_right() {
        assert!(offsets(&[(4, 60_000), (5, 60_000)], &[1, 2, 3]).clock_ok(NodeNumber(1)));
        assert!(offsets(&[], &[1, 2, 3]).clock_ok(NodeNumber(1)));
        // A learner's own clock does not count among the voters'.
        assert!(!offsets(&[(2, 5_000)], &[2, 3]).clock_ok(NodeNumber(1)));
    }

    fn offsets(heard: &[(u64, i64)], voters: &[u64]) -> Offsets {
        let offsets = Offsets::default();
        offsets.set_voters(voters.iter().copied().map(NodeNumber).collect());
        for (peer, offset) in heard {
            offsets.compare(
                NodeNumber(*peer),
                1_000_000,
                1_000_000u64.saturating_add_signed(*offset),
                1_000_000,
            );
        }
        offsets
    }
}
