// SPDX-License-Identifier: EUPL-1.2
//! A federation of ledgers, partitioned by the first bits of a ref, with Italy's load. Each shard is a Raft group of its own; an access that
//! names persons of several shards is as many entries, and is on record when the slowest of them has its receipt.
//!
//! Refs are outputs of a VOPRF, so persons fall evenly on shards, and those of one household do not fall together.

use ::tests::figures::stats::{Latency, round};
use serde_json::{Value, json};

use crate::{
    costs::Costs,
    engine::{Dice, Time, ns, seconds},
    group::{self, Kind, Load, Outcome, Setup},
    limits::Limits,
    study::{self, Length, SHOWN_CORES},
};

#[cfg(test)]
mod tests;

pub(crate) const SHARDS: [usize; 4] = [1, 4, 16, 64];
/// A shard: nodes, cores of each, and milliseconds one way between them.
pub(crate) const SHARD_NODES: usize = 3;
pub(crate) const SHARD_LINK_MS: f64 = 10.0;
/// Above this share of its limit a shard is not simulated: its queue grows for as long as anybody looks.
const BEARABLE: f64 = 0.95;
const YEAR_S: f64 = 365.25 * 86_400.0;

const RESIDENTS: f64 = 58_943_464.0;
/// Consumer and provider each log an access.
const SIDES: f64 = 2.0;
/// Of accesses: those that name one person, those that name a household, and those that name many.
const ONE_SHARE: f64 = 0.70;
const HOUSEHOLD_SHARE: f64 = 0.29;
/// How many of a hundred households that ask for an ISEE have 1, 2, 3, … members: 2.9 in the mean, 26 with four.
const HOUSEHOLD_SIZES: [u32; 6] = [20, 20, 23, 26, 8, 3];
/// Persons in a query that names many.
const MANY: u32 = 100;
/// Of a year's ISEE declarations 42 % fall in January, and a month has 21 days of 8 hours in which offices ask: (0.42 × 12) × (744 ÷ 168).
const SEASON: f64 = 0.42 * 12.0;
const OFFICE_HOURS: f64 = 744.0 / 168.0;
/// For how long an answer is asked for: as long as bodies are kept.
const KEPT_YEARS: f64 = 2.0;
/// Accesses on a page of an answer.
const PAGE: f64 = 50.0;

/// How much is accessed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    pub(crate) name: &'static str,
    /// Accesses a second in the mean of a year, and in its busiest hour.
    pub(crate) mean_per_s: f64,
    pub(crate) peak_per_s: f64,
}

/// Today's national platform, the goal of the design, and all of Italy as busy as Estonia.
pub(crate) fn demands() -> [Demand; 3] {
    let today = 45e6 * 12.0 / YEAR_S;
    let estonia = 21.27e6 / 86_400.0 / 1_369_995.0 * RESIDENTS;
    [
        Demand {
            name: "PDND in 2025",
            mean_per_s: today,
            peak_per_s: today * SEASON * OFFICE_HOURS,
        },
        Demand {
            name: "design goal",
            mean_per_s: 1e10 / (2.0 * YEAR_S),
            peak_per_s: 10_000.0,
        },
        Demand {
            name: "as busy as Estonia",
            mean_per_s: estonia,
            peak_per_s: estonia * OFFICE_HOURS,
        },
    ]
}

/// The same in a line.
pub(crate) const ASSUMED: &str = "Assumed: both sides log; the design goal, 10 billion entries in two years; 70 % of accesses name one person, 29 % a household of 2.9, 1 % a hundred; PDND, 45 million exchanges a month (2025), 22 times as many at peak (42 % of a year's ISEE declarations fall in January, INPS; office hours); Estonia, 15.5 a person and day (X-tee), 4.4 times as many in office hours.";

/// What is assumed, with its source.
pub(crate) const ASSUMPTIONS: [(&str, &str); 11] = [
    (
        "58 943 464 residents",
        "Istat, permanent census, 31 December 2024",
    ),
    (
        "25.9 million households, 2.3 persons each; 7 900 municipalities",
        "Istat, permanent census 2019; for scale only, no result rests on them",
    ),
    (
        "PDND in 2025: 45 million exchanges a month",
        "40 to 50 million, the undersecretary for innovation at FORUM PA, May 2025 (key4biz.it)",
    ),
    (
        "the goal: 10 billion entries in 24 months, 10 000 accesses a second at peak",
        "this project's design",
    ),
    (
        "as busy as Estonia: 15.5 exchanges a person and day",
        "X-tee, 21.27 million a day, December 2025 to May 2026 (logs.x-tee.ee, by Nortal); 1 369 995 inhabitants (Statistics Estonia, 2025)",
    ),
    (
        "peak of PDND: 22 times the mean; of Estonia's load: 4.4 times",
        "42 % of 10 371 347 ISEE declarations of 2024 in January (INPS), all in 21 days of 8 hours; much of X-tee's traffic has no season",
    ),
    (
        "70 % of accesses name one person, 29 % a household, 1 % a hundred persons",
        "assumed; households of 2.9, a quarter of them of four: those that ask for an ISEE (INPS, 2022 and 2024)",
    ),
    (
        "each access is logged by both sides",
        "this project's design",
    ),
    (
        "every exchange is an access to a person's data",
        "assumed; it is less",
    ),
    (
        "a shard is three nodes of 8 cores, 10 ms one way apart, 1 Gbit/s",
        "assumed; Milan and Rome are some 5 ms apart",
    ),
    (
        "persons fall evenly on shards",
        "refs are outputs of a VOPRF",
    ),
];

/// One demand on so many shards.
#[derive(Debug)]
pub(crate) struct Federation {
    pub(crate) demand: Demand,
    pub(crate) shards: usize,
    /// Entries a second of a shard at peak, and what share of its limit that is.
    pub(crate) entries_per_s: f64,
    pub(crate) share: f64,
    /// Until an access is on record in all its shards; none if a shard cannot bear its load.
    pub(crate) access: Option<Latency>,
    /// The same of accesses that name many persons.
    many: Option<Latency>,
    /// Bytes on each node's disk after a year.
    pub(crate) disk_bytes: f64,
    /// Until a person's answer is complete: from the shard of the ref, and from all.
    pub(crate) export: Latency,
    pub(crate) export_from_all: Latency,
}

/// A shard without a leader for a while.
#[derive(Debug)]
pub(crate) struct Outage {
    pub(crate) shards: usize,
    pub(crate) seconds: f64,
    /// Of the accesses meanwhile, the share that names somebody of that shard.
    pub(crate) touched_share: f64,
    pub(crate) touched: Latency,
    pub(crate) longest_ms: f64,
    pub(crate) others: Latency,
    /// From the new leader until everybody who waited has the receipt.
    pub(crate) drained_ms: f64,
    refused: u64,
    /// Longest wait of the touched and of the others, by when the access came, in seconds.
    pub(crate) course: Vec<(f64, f64, f64)>,
}

/// Who is named by an access.
fn persons(dice: &mut Dice) -> u32 {
    let share = dice.share();
    if share < ONE_SHARE {
        return 1;
    }
    if share >= ONE_SHARE + HOUSEHOLD_SHARE {
        return MANY;
    }
    let mut left = dice.share() * 100.0;
    for (size, of_hundred) in (1..).zip(HOUSEHOLD_SIZES) {
        left -= f64::from(of_hundred);
        if left < 0.0 {
            return size;
        }
    }
    HOUSEHOLD_SIZES.len() as u32
}

/// Persons of an access in the mean.
pub(crate) fn mean_persons() -> f64 {
    let household: f64 = (1..)
        .zip(HOUSEHOLD_SIZES)
        .map(|(size, of_hundred)| f64::from(size * of_hundred) / 100.0)
        .sum();
    let many = 1.0 - ONE_SHARE - HOUSEHOLD_SHARE;
    ONE_SHARE + HOUSEHOLD_SHARE * household + many * f64::from(MANY)
}

/// Shards that so many persons fall on, in the mean.
fn touched(persons: u32, shards: usize) -> f64 {
    let shards = shards as f64;
    shards * (1.0 - (1.0 - 1.0 / shards).powi(persons as i32))
}

/// Shards of an access in the mean.
pub(crate) fn mean_touched(shards: usize) -> f64 {
    let household: f64 = (1..)
        .zip(HOUSEHOLD_SIZES)
        .map(|(size, of_hundred)| f64::from(of_hundred) / 100.0 * touched(size, shards))
        .sum();
    let many = 1.0 - ONE_SHARE - HOUSEHOLD_SHARE;
    ONE_SHARE + HOUSEHOLD_SHARE * household + many * touched(MANY, shards)
}

/// Entries of an access in the mean: both sides', in each shard.
pub(crate) fn entries_of_an_access(shards: usize) -> f64 {
    SIDES * mean_touched(shards)
}

/// Arrivals of all shards: when, and the consumer's access that waits for it, if any does.
struct Arrivals {
    shards: Vec<Vec<(Time, Option<u32>)>>,
    accesses: Vec<Access>,
}

#[derive(Clone, Copy)]
struct Access {
    at: Time,
    persons: u32,
    /// Names somebody of the first shard.
    first: bool,
}

fn arrivals(per_s: f64, shards: usize, length: f64, dice: &mut Dice) -> Arrivals {
    let mut all = Arrivals {
        shards: vec![Vec::new(); shards],
        accesses: Vec::new(),
    };
    let mut at = 0.0;
    let mut named = vec![usize::MAX; shards];
    loop {
        at += dice.exponential(1.0 / per_s);
        if at >= length {
            break;
        }
        let (number, persons) = (all.accesses.len(), persons(dice));
        // The provider's side comes when the call is over; its outbox waits for it, nobody else.
        let provider = at + dice.exponential(0.1);
        for _ in 0..persons {
            let shard = ((dice.share() * shards as f64) as usize).min(shards - 1);
            if named[shard] != number {
                named[shard] = number;
                all.shards[shard].push((ns(at), Some(number as u32)));
                all.shards[shard].push((ns(provider), None));
            }
        }
        all.accesses.push(Access {
            at: ns(at),
            persons,
            first: named[0] == number,
        });
    }
    for shard in &mut all.shards {
        shard.sort_by_key(|(at, _)| *at);
    }
    all
}

fn shard_setup(load: Load, length: f64, no_leader: Option<(f64, f64)>, seed: u64) -> Setup {
    Setup {
        nodes: SHARD_NODES,
        cores: SHOWN_CORES,
        shared: false,
        link: study::link(SHARD_LINK_MS),
        kind: Kind {
            entries: 1,
            batch_signed: false,
        },
        load,
        warm_up: 0.0,
        counted: length,
        no_leader,
        seed,
    }
}

/// When each access was on record in all its shards; 0 is not yet.
fn on_record(
    arrivals: &Arrivals,
    length: f64,
    no_leader: Option<(f64, f64)>,
    costs: &Costs,
    limits: Limits,
) -> (Vec<Time>, u64) {
    let mut done: Vec<Time> = vec![1; arrivals.accesses.len()];
    let mut refused = 0;
    for (number, shard) in arrivals.shards.iter().enumerate() {
        let load = Load::Given(shard.iter().map(|(at, _)| *at).collect());
        let without = no_leader.filter(|_| number == 0);
        let setup = shard_setup(load, length, without, number as u64 + 1);
        let outcome: Outcome = group::run(&setup, costs, limits);
        refused += outcome.refused;
        let answered = outcome.requests.iter().map(|request| request.published);
        let answered = answered.chain(std::iter::repeat(0));
        for ((_, access), published) in shard.iter().zip(answered) {
            if let Some(access) = access {
                let latest = &mut done[*access as usize];
                *latest = if *latest == 0 || published == 0 {
                    0
                } else {
                    published.max(*latest)
                };
            }
        }
    }
    (done, refused)
}

/// All demands on all numbers of shards.
pub(crate) fn federations(
    limit: f64,
    costs: &Costs,
    limits: Limits,
    length: Length,
    mut say: impl FnMut(&Federation),
) -> Vec<Federation> {
    let mut all = Vec::new();
    for demand in demands() {
        for shards in SHARDS {
            let federation = federation(demand, shards, limit, costs, limits, length);
            say(&federation);
            all.push(federation);
        }
    }
    all
}

pub(crate) fn federation(
    demand: Demand,
    shards: usize,
    limit: f64,
    costs: &Costs,
    limits: Limits,
    length: Length,
) -> Federation {
    let each = entries_of_an_access(shards) / shards as f64;
    let entries_per_s = demand.peak_per_s * each;
    let share = entries_per_s / limit;
    let mut dice = Dice::new(shards as u64);
    let (mut access, mut many) = (None, None);
    if share <= BEARABLE {
        // What came so late that its receipt would be too is not looked at.
        let end = length.warm_up + length.counted + 1.0;
        let arrivals = arrivals(demand.peak_per_s, shards, end, &mut dice);
        let (done, _) = on_record(&arrivals, end, None, costs, limits);
        let counted = ns(length.warm_up)..ns(length.warm_up + length.counted);
        let waits = |wanted: &dyn Fn(&Access) -> bool| {
            let all = arrivals.accesses.iter().zip(&done);
            let of = all.filter(|(access, _)| counted.contains(&access.at) && wanted(access));
            Latency::of(of.map(|(access, done)| wait(access, *done, end)).collect())
        };
        access = Some(waits(&|_| true));
        many = Some(waits(&|access| access.persons == MANY));
    }
    let per_person = demand.mean_per_s * SIDES * mean_persons() * KEPT_YEARS * YEAR_S / RESIDENTS;
    let pages = (per_person / PAGE).ceil().max(1.0);
    let receipt = access.map_or(0.0, |access| access.p50_ms / 1e3);
    let mut export = |shards: usize| {
        let waits = (0..2_000).map(|_| {
            // A shard states a root, at most one in a while for all who ask, and then answers page by page.
            let of_shard = |pages: f64, dice: &mut Dice| {
                let root = dice.share() * limits.fold_pause + receipt;
                let pages = (0..pages as u64).map(|_| costs.page.roll(dice));
                root + pages.sum::<f64>() + 2.0 * SHARD_LINK_MS / 1e3
            };
            let own = of_shard(pages, &mut dice);
            // The others prove that they know nothing of the ref.
            let others = (1..shards).map(|_| of_shard(1.0, &mut dice));
            std::time::Duration::from_secs_f64(others.fold(own, f64::max))
        });
        Latency::of(waits.collect())
    };
    let entries_a_year = demand.mean_per_s * each * YEAR_S;
    Federation {
        demand,
        shards,
        entries_per_s,
        share,
        access,
        many,
        disk_bytes: entries_a_year * costs.disk_bytes,
        export: export(1),
        export_from_all: export(shards),
    }
}

fn wait(access: &Access, done: Time, end: f64) -> std::time::Duration {
    let until = if done == 0 { ns(end) } else { done };
    std::time::Duration::from_nanos(until.saturating_sub(access.at))
}

/// A demand's peak on so many shards, the first of which has no leader for a while.
pub(crate) fn outage(
    demand: Demand,
    shards: usize,
    without: f64,
    costs: &Costs,
    limits: Limits,
    length: Length,
) -> Outage {
    let (from, after) = (length.warm_up + 1.0, 4.0);
    let until = from + without;
    let end = until + after;
    let arrivals = arrivals(demand.peak_per_s, shards, end, &mut Dice::new(16));
    let (done, refused) = on_record(&arrivals, end, Some((from, until)), costs, limits);
    let all = || arrivals.accesses.iter().zip(&done);
    let during = || all().filter(|(access, _)| (ns(from)..ns(until)).contains(&access.at));
    let of = |first: bool| {
        let of = during().filter(|(access, _)| access.first == first);
        Latency::of(of.map(|(access, done)| wait(access, *done, end)).collect())
    };
    let (touched, others) = (of(true), of(false));
    let waited = during().filter(|(access, _)| access.first);
    let longest = waited
        .clone()
        .map(|(access, done)| wait(access, *done, end));
    let last = waited.map(|(_, done)| if *done == 0 { ns(end) } else { *done });
    const STEP: f64 = 0.1;
    let steps = ((end - 1.0 - length.warm_up) / STEP) as u32;
    let course = (0..steps)
        .map(|step| {
            let begin = length.warm_up + f64::from(step) * STEP;
            let within = ns(begin)..ns(begin + STEP);
            let longest = |first: bool| {
                all()
                    .filter(|(access, _)| within.contains(&access.at) && access.first == first)
                    .map(|(access, done)| wait(access, *done, end).as_secs_f64() * 1e3)
                    .fold(0.0, f64::max)
            };
            (begin - length.warm_up, longest(true), longest(false))
        })
        .collect();
    Outage {
        shards,
        seconds: without,
        touched_share: touched.count as f64 / (touched.count + others.count).max(1) as f64,
        touched,
        longest_ms: longest.max().unwrap_or_default().as_secs_f64() * 1e3,
        others,
        drained_ms: seconds(last.max().unwrap_or_default().saturating_sub(ns(until))) * 1e3,
        refused,
        course,
    }
}

impl Federation {
    pub(crate) fn json(&self) -> Value {
        json!({
            "demand": self.demand.name, "shards": self.shards,
            "accesses_per_s": {"mean": round(self.demand.mean_per_s), "peak": round(self.demand.peak_per_s)},
            "entries_of_an_access": round(entries_of_an_access(self.shards)),
            "entries_per_s_of_a_shard_at_peak": round(self.entries_per_s),
            "share_of_its_limit": round(self.share),
            "access_on_record": self.access.map(Latency::json),
            "access_to_a_hundred_persons_on_record": self.many.map(Latency::json),
            "disk_bytes_of_a_node_after_a_year": self.disk_bytes.round(),
            "export": self.export.json(),
            "export_asked_of_all_shards": self.export_from_all.json(),
        })
    }
}

impl Outage {
    pub(crate) fn json(&self) -> Value {
        json!({
            "shards": self.shards, "seconds_without_leader": self.seconds,
            "share_of_accesses_that_wait": round(self.touched_share),
            "those": self.touched.json(), "longest_ms": round(self.longest_ms),
            "the_others": self.others.json(),
            "all_answered_after_ms": round(self.drained_ms),
            "refused_as_overload_and_sent_again": self.refused,
        })
    }
}
