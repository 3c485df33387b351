// SPDX-License-Identifier: EUPL-1.2
//! What every discrete-event simulation is made of: an agenda in order of time, a pool of cores that take jobs first come first served, and
//! dice that fall the same for a seed.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, VecDeque},
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

/// Nanoseconds since the simulation began.
pub(crate) type Time = u64;

/// The 99th percentile of the standard normal distribution.
const NORMAL_P99: f64 = 2.326_347_874;

pub(crate) fn ns(seconds: f64) -> Time {
    (seconds * 1e9).round().max(0.0) as Time
}

pub(crate) fn seconds(time: Time) -> f64 {
    time as f64 / 1e9
}

/// What is to happen, in order of time; what is due at the same time, in the order in which it was noted.
pub(crate) struct Agenda<E> {
    heap: BinaryHeap<Reverse<Due<E>>>,
    now: Time,
    noted: u64,
}

struct Due<E> {
    at: Time,
    number: u64,
    event: E,
}

impl<E> PartialEq for Due<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Due<E> {}

impl<E> PartialOrd for Due<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Due<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl<E> Agenda<E> {
    pub(crate) fn new() -> Agenda<E> {
        Agenda {
            heap: BinaryHeap::new(),
            now: 0,
            noted: 0,
        }
    }

    pub(crate) fn now(&self) -> Time {
        self.now
    }

    /// Notes an event; never before now.
    pub(crate) fn at(&mut self, at: Time, event: E) {
        let due = Due {
            at: at.max(self.now),
            number: self.noted,
            event,
        };
        self.noted += 1;
        self.heap.push(Reverse(due));
    }

    pub(crate) fn after(&mut self, delay: Time, event: E) {
        self.at(self.now.saturating_add(delay), event);
    }

    /// The next event that is due by `end`, at whose time it is now.
    pub(crate) fn next(&mut self, end: Time) -> Option<E> {
        if self.heap.peek()?.0.at > end {
            return None;
        }
        let Reverse(due) = self.heap.pop()?;
        self.now = due.at;
        Some(due.event)
    }
}

/// Cores that take jobs first come, first served.
pub(crate) struct Pool<W> {
    cores: usize,
    busy: usize,
    waiting: VecDeque<(Time, W)>,
    worked: Time,
}

impl<W> Pool<W> {
    pub(crate) fn new(cores: usize) -> Pool<W> {
        Pool {
            cores: cores.max(1),
            busy: 0,
            waiting: VecDeque::new(),
            worked: 0,
        }
    }

    /// A job that begins now, and how long it takes; none if all cores are busy, then it waits.
    pub(crate) fn submit(&mut self, length: Time, work: W) -> Option<(Time, W)> {
        if self.busy == self.cores {
            self.waiting.push_back((length, work));
            return None;
        }
        self.busy += 1;
        self.worked += length;
        Some((length, work))
    }

    /// A core is done; the job that it begins next, if any waits.
    pub(crate) fn free(&mut self) -> Option<(Time, W)> {
        match self.waiting.pop_front() {
            Some((length, work)) => {
                self.worked += length;
                Some((length, work))
            }
            None => {
                self.busy -= 1;
                None
            }
        }
    }

    /// What share of all cores' time was worked, of jobs begun until `now`.
    pub(crate) fn load(&self, now: Time) -> f64 {
        self.worked as f64 / (now.max(1) as f64 * self.cores as f64)
    }
}

/// Chance, the same for a seed.
pub(crate) struct Dice(ChaCha12Rng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(ChaCha12Rng::seed_from_u64(seed))
    }

    /// Uniform in [0, 1).
    pub(crate) fn share(&mut self) -> f64 {
        self.0.random::<f64>()
    }

    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.share()).ln()
    }

    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.share()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.share()).cos()
    }
}

/// How long something takes, in seconds: log-normal through a measured median and 99th percentile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spell {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Spell {
    pub(crate) fn roll(self, dice: &mut Dice) -> f64 {
        if self.p99 <= self.p50 || self.p50 <= 0.0 {
            return self.p50;
        }
        let sigma = (self.p99 / self.p50).ln() / NORMAL_P99;
        self.p50 * (sigma * dice.normal()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_in_order_and_not_past_the_end() {
        let mut agenda = Agenda::new();
        for (at, name) in [(5, 'c'), (1, 'a'), (5, 'd'), (3, 'b'), (9, 'e')] {
            agenda.at(at, name);
        }
        let order: String = std::iter::from_fn(|| agenda.next(8)).collect();
        assert_eq!((order.as_str(), agenda.now()), ("abcd", 5));
        // Nothing is noted in the past.
        agenda.at(2, 'x');
        assert_eq!(agenda.next(8), Some('x'));
        assert_eq!(agenda.now(), 5);
    }

    /// M/D/1 has a closed form: mean wait = load × service ÷ (2 × (1 − load)).
    #[test]
    fn a_pool_of_one_core_waits_as_the_theory_of_queues_says() {
        for load in [0.3, 0.8] {
            let (service, jobs) = (0.001, 150_000);
            let mut dice = Dice::new(7);
            let (mut agenda, mut pool) = (Agenda::new(), Pool::new(1));
            let (mut waited, mut due) = (0.0, 0.0);
            for _ in 0..jobs {
                due += dice.exponential(service / load);
                agenda.at(ns(due), None);
            }
            while let Some(event) = agenda.next(Time::MAX) {
                let now = agenda.now();
                let began = match event {
                    None => pool.submit(ns(service), now),
                    Some(arrived) => {
                        waited += seconds(now - arrived) - service;
                        pool.free()
                    }
                };
                if let Some((length, arrived)) = began {
                    agenda.after(length, Some(arrived));
                }
            }
            let expected = load * service / (2.0 * (1.0 - load));
            let mean = waited / f64::from(jobs);
            assert!(
                (mean / expected - 1.0).abs() < 0.05,
                "at {load}: {mean} instead of {expected}"
            );
            assert!((pool.load(agenda.now()) - load).abs() < 0.01);
        }
    }

    #[test]
    fn a_spell_has_the_median_and_the_percentile_it_was_made_from() {
        let mut dice = Dice::new(1);
        let spell = Spell {
            p50: 0.002,
            p99: 0.009,
        };
        let mut rolled: Vec<f64> = (0..100_000).map(|_| spell.roll(&mut dice)).collect();
        rolled.sort_by(f64::total_cmp);
        assert!((rolled[50_000] / 0.002 - 1.0).abs() < 0.03);
        assert!((rolled[99_000] / 0.009 - 1.0).abs() < 0.05);
        let fixed = Spell { p50: 1.0, p99: 1.0 };
        assert_eq!(fixed.roll(&mut dice), 1.0);
    }
}
