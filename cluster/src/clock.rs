// SPDX-License-Identifier: EUPL-1.2
//! This node's clock, and how far it is off its peers'.
//!
//! The leader stamps entries, so a leader with a wrong clock would date them wrong. Each node compares clocks with its peers every
//! second; one that is more than two seconds off the median of the voters proposes nothing until it is right again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use ledger::id::NodeNumber;
use parking_lot::Mutex;

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

/// What this node knows of its peers' clocks, and what that says of its own.
pub(crate) struct Offsets {
    own: NodeNumber,
    clock: Clock,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    voters: BTreeSet<NodeNumber>,
    /// What a peer's clock said, and when. That moment is told by a clock that nobody sets, and what the peer's says now follows from it: so
    /// a step of our own shows at once, and not when clocks are compared again.
    heard: BTreeMap<NodeNumber, (u64, Instant)>,
}

impl Offsets {
    /// Of a node that has compared nothing yet.
    pub(crate) fn new(own: NodeNumber, clock: Clock) -> Offsets {
        Offsets {
            own,
            clock,
            known: Mutex::default(),
        }
    }

    /// Takes in one comparison. The peer read its clock somewhere between question and answer; half-way is the best guess, and wrong by half the
    /// round trip at most.
    pub(crate) fn compare(
        &self,
        peer: NodeNumber,
        asked: Instant,
        peer_ms: u64,
        answered: Instant,
    ) {
        let read = asked + answered.saturating_duration_since(asked) / 2;
        self.known.lock().heard.insert(peer, (peer_ms, read));
    }

    /// Whose clocks count.
    pub(crate) fn set_voters(&self, voters: BTreeSet<NodeNumber>) {
        self.known.lock().voters = voters;
    }

    /// Our clock minus the median of the voters' that were heard lately, ours among them, in milliseconds. None while there are others and none
    /// of them was heard: then nobody says that ours is right.
    pub(crate) fn offset_ms(&self) -> Option<i64> {
        self.offset_at(self.clock.now_ms(), Instant::now())
    }

    /// The time by our clock, for entries to be dated with; none while this node may not date any.
    pub(crate) fn stamp_ms(&self) -> Option<u64> {
        let now_ms = self.clock.now_ms();
        let offset = self.offset_at(now_ms, Instant::now())?;
        (offset.unsigned_abs() <= CLOCK_OFF_MS_MAX).then_some(now_ms)
    }

    /// Whether this node may date entries.
    pub(crate) fn clock_ok(&self) -> bool {
        self.stamp_ms().is_some()
    }

    /// When our clock says so at that moment.
    fn offset_at(&self, now_ms: u64, now: Instant) -> Option<i64> {
        let known = self.known.lock();
        let lately = known.heard.iter().filter_map(|(peer, (said_ms, when))| {
            let age = now.saturating_duration_since(*when);
            let counts = known.voters.contains(peer) && age < HEARD_AGE_MAX;
            let peer_ms = i128::from(*said_ms) + i128::try_from(age.as_millis()).unwrap_or(0);
            let ahead = i64::try_from(peer_ms - i128::from(now_ms)).unwrap_or(i64::MAX);
            counts.then_some(ahead)
        });
        let mut offsets: Vec<i64> = lately.collect();
        let alone = known.voters.iter().eq([&self.own]);
        if offsets.is_empty() && !alone {
            return None;
        }
        if known.voters.contains(&self.own) {
            offsets.push(0);
        }
        Some(median(&mut offsets).saturating_neg())
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
    use std::sync::atomic::{AtomicU64, Ordering};

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
        let behind = Compared::with(&[1, 2, 3], &[(2, 10_000), (3, 10_010)]);
        assert_eq!(behind.offset_ms(0, 0), Some(-10_000));
        let right = Compared::with(&[1, 2, 3], &[(2, 10_000), (3, 10)]);
        assert_eq!(
            right.offset_ms(0, 0),
            Some(-10),
            "the second node's is ahead"
        );
    }

    #[test]
    fn only_voters_count_and_who_is_alone_is_right() {
        assert_eq!(Compared::with(&[1], &[]).offset_ms(0, 0), Some(0));
        assert_eq!(
            Compared::with(&[1], &[(4, 60_000)]).offset_ms(0, 0),
            Some(0)
        );
        let learners = Compared::with(&[1, 2, 3], &[(2, 0), (4, 60_000), (5, 60_000)]);
        assert_eq!(learners.offset_ms(0, 0), Some(0));
        // A learner's own clock does not count among the voters'.
        assert_eq!(
            Compared::with(&[2, 3], &[(2, 5_000)]).offset_ms(0, 0),
            Some(-5_000)
        );
    }

    #[test]
    fn nobody_is_right_by_the_own_word_alone() {
        assert_eq!(Compared::with(&[1, 2, 3], &[]).offset_ms(0, 0), None);
        assert_eq!(Compared::with(&[1, 2, 3], &[(4, 0)]).offset_ms(0, 0), None);
        assert_eq!(Compared::with(&[2, 3], &[]).offset_ms(0, 0), None);
        assert_eq!(
            Compared::with(&[], &[]).offset_ms(0, 0),
            None,
            "no voters known"
        );
        let offsets = Offsets::new(NodeNumber(1), Clock::system());
        offsets.set_voters([1, 2].map(NodeNumber).into());
        assert!(!offsets.clock_ok());
    }

    #[test]
    fn a_comparison_grows_old() {
        let compared = Compared::with(&[1, 2], &[(2, 0)]);
        assert_eq!(compared.offset_ms(9_999, 9_999), Some(0));
        assert_eq!(compared.offset_ms(10_000, 10_000), None);
    }

    /// By what was compared before it, and not only by what is compared next, a second or two later.
    #[test]
    fn a_step_of_our_own_clock_shows_at_once() {
        let compared = Compared::with(&[1, 2, 3], &[(2, 0), (3, 0)]);
        assert_eq!(compared.offset_ms(500, 500), Some(0));
        assert_eq!(compared.offset_ms(500, 3_600_500), Some(3_600_000));
        assert_eq!(compared.offset_ms(500, -3_599_500), Some(-3_600_000));
    }

    #[test]
    fn after_a_step_there_is_no_stamp() {
        let ahead_ms = Arc::new(AtomicU64::new(0));
        let clock = {
            let ahead_ms = ahead_ms.clone();
            Clock::from_fn(move || Clock::system().now_ms() + ahead_ms.load(Ordering::Relaxed))
        };
        let offsets = Offsets::new(NodeNumber(1), clock);
        offsets.set_voters([1, 2, 3].map(NodeNumber).into());
        for peer in [2, 3] {
            let now = Instant::now();
            offsets.compare(NodeNumber(peer), now, Clock::system().now_ms(), now);
        }
        assert!(offsets.stamp_ms().is_some());
        ahead_ms.store(3_600_000, Ordering::Relaxed);
        assert_eq!(offsets.stamp_ms(), None);
        ahead_ms.store(0, Ordering::Relaxed);
        assert!(offsets.stamp_ms().is_some(), "set right again");
    }

    const START: u64 = 1_000_000_000;

    /// What node 1 knows from one moment on.
    struct Compared {
        offsets: Offsets,
        at: Instant,
    }

    impl Compared {
        /// Peers' clocks were so far ahead of [`START`].
        fn with(voters: &[u64], heard: &[(u64, i64)]) -> Compared {
            let offsets = Offsets::new(NodeNumber(1), Clock::system());
            offsets.set_voters(voters.iter().copied().map(NodeNumber).collect());
            let at = Instant::now();
            for (peer, ahead) in heard {
                let peer_ms = START.saturating_add_signed(*ahead);
                offsets.compare(NodeNumber(*peer), at, peer_ms, at);
            }
            Compared { offsets, at }
        }

        /// So many milliseconds later, when our clock is so far beyond [`START`].
        fn offset_ms(&self, later_ms: u64, beyond_ms: i64) -> Option<i64> {
            let now = self.at + Duration::from_millis(later_ms);
            self.offsets
                .offset_at(START.saturating_add_signed(beyond_ms), now)
        }
    }
}
