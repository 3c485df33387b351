// SPDX-License-Identifier: EUPL-1.2
//! One group over links of several lengths: what it can take, and how long an entry waits below that. And the model held against what was
//! measured on loopback.

use ::tests::figures::stats::{Latency, Spread, round};
use serde_json::{Value, json};

use crate::{
    costs::{Costs, MEASURED_NODES},
    group::{self, Kind, Link, Load, Setup},
    limits::Limits,
    summary::{MeasuredLoad, Summary},
};

pub(crate) const NODES: [usize; 2] = [3, 5];
pub(crate) const LINKS_MS: [f64; 3] = [1.0, 10.0, 50.0];
pub(crate) const CORES: [usize; 3] = [2, 8, 16];
/// Shares of the limit.
const LOADS: [f64; 7] = [0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95];
/// The number of cores for which tables and charts show all loads.
pub(crate) const SHOWN_CORES: usize = 8;
/// A link takes up to a tenth longer, at random.
const JITTER: f64 = 0.1;
/// 1 Gbit/s.
const LINK_BYTES_PER_S: f64 = 125e6;
/// One way, between processes of one machine.
const LOOPBACK: f64 = 0.000_05;
/// So many entries wait whenever a group is driven to its limit.
const PRESSED_ENTRIES: u32 = 8_000;

const SINGLY: Kind = Kind {
    entries: 1,
    batch_signed: false,
};
const BATCHES: Kind = Kind {
    entries: 100,
    batch_signed: true,
};

/// How long all runs of the study are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Length {
    pub(crate) warm_up: f64,
    pub(crate) counted: f64,
}

/// A group at one load.
#[derive(Debug)]
pub(crate) struct Point {
    /// Of its limit.
    pub(crate) share: f64,
    pub(crate) entries_per_s: f64,
    pub(crate) commit: Latency,
    pub(crate) publish: Latency,
    cpu: f64,
}

/// A group of some size on some machines and links.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) nodes: usize,
    pub(crate) link_ms: f64,
    pub(crate) cores: usize,
    /// Entries a second at most, one a request, and 100 under one signature.
    pub(crate) limit: f64,
    pub(crate) limit_batches: f64,
    pub(crate) points: Vec<Point>,
}

pub(crate) fn link(one_way_ms: f64) -> Link {
    Link {
        one_way: one_way_ms / 1e3,
        jitter: JITTER,
        bytes_per_s: LINK_BYTES_PER_S,
    }
}

/// All of them, `say` is told of each.
pub(crate) fn cases(
    costs: &Costs,
    limits: Limits,
    length: Length,
    mut say: impl FnMut(&Case),
) -> Vec<Case> {
    let mut cases = Vec::new();
    for nodes in NODES {
        for link_ms in LINKS_MS {
            for cores in CORES {
                let case = case(nodes, link_ms, cores, costs, limits, length);
                say(&case);
                cases.push(case);
            }
        }
    }
    cases
}

pub(crate) fn case(
    nodes: usize,
    link_ms: f64,
    cores: usize,
    costs: &Costs,
    limits: Limits,
    length: Length,
) -> Case {
    let setup = |load| Setup {
        nodes,
        cores,
        shared: false,
        link: link(link_ms),
        kind: SINGLY,
        load,
        warm_up: length.warm_up,
        counted: length.counted,
        no_leader: None,
        seed: 1,
    };
    let limit = limit(nodes, link_ms, cores, costs, limits, length);
    let points = LOADS
        .iter()
        .map(|share| {
            let load = Load::Open {
                entries_per_s: limit * share,
            };
            let outcome = group::run(&setup(load), costs, limits);
            Point {
                share: *share,
                entries_per_s: outcome.entries_per_s,
                commit: outcome.commit,
                publish: outcome.publish,
                cpu: outcome.cpu,
            }
        })
        .collect();
    Case {
        nodes,
        link_ms,
        cores,
        limit,
        limit_batches: pressed(BATCHES, nodes, link_ms, cores, costs, limits, length),
        points,
    }
}

/// What a group can take if apply does more, or less, of an entry's work in order than is assumed: at 10 ms, by shares.
pub(crate) fn by_in_order_share(
    summary: &Summary,
    limits: Limits,
    length: Length,
) -> Vec<(f64, f64)> {
    [0.25, 0.5, 0.75]
        .map(|share| {
            let (costs, _) = Costs::with_in_order_share(summary, share);
            (share, limit(3, 10.0, SHOWN_CORES, &costs, limits, length))
        })
        .to_vec()
}

/// Entries a second that a group can take, one a request.
pub(crate) fn limit(
    nodes: usize,
    link_ms: f64,
    cores: usize,
    costs: &Costs,
    limits: Limits,
    length: Length,
) -> f64 {
    pressed(SINGLY, nodes, link_ms, cores, costs, limits, length)
}

/// The median of three runs: how the appends to two followers fall beside each other is chance, and lasts for a run.
fn pressed(
    kind: Kind,
    nodes: usize,
    link_ms: f64,
    cores: usize,
    costs: &Costs,
    limits: Limits,
    length: Length,
) -> f64 {
    let runs = (1..=3).map(|seed| {
        let setup = Setup {
            nodes,
            cores,
            shared: false,
            link: link(link_ms),
            kind,
            load: Load::Closed {
                clients: PRESSED_ENTRIES / kind.entries,
                until_published: false,
            },
            warm_up: length.warm_up,
            counted: length.counted,
            no_leader: None,
            seed,
        };
        group::run(&setup, costs, limits).entries_per_s
    });
    Spread::of(runs).map_or(0.0, |spread| spread.median)
}

impl Case {
    /// At half of its limit.
    pub(crate) fn half(&self) -> Option<&Point> {
        self.points.iter().find(|point| point.share == 0.5)
    }

    pub(crate) fn json(&self) -> Value {
        let points: Vec<Value> = self
            .points
            .iter()
            .map(|point| {
                json!({
                    "share_of_limit": point.share,
                    "entries_per_s": round(point.entries_per_s),
                    "commit": point.commit.json(),
                    "publish_delay": point.publish.json(),
                    "cpu_of_leader": round(point.cpu),
                })
            })
            .collect();
        json!({
            "nodes": self.nodes, "link_ms_one_way": self.link_ms, "cores": self.cores,
            "limit_entries_per_s": round(self.limit),
            "limit_entries_per_s_in_signed_batches_of_100": round(self.limit_batches),
            "loads": points,
        })
    }
}

/// A measured load beside the same load in the model.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) measured: MeasuredLoad,
    pub(crate) entries_per_s: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) publish_p99_ms: f64,
}

/// The measured cluster in the model: three nodes and the clients on one machine's cores.
pub(crate) fn checks(
    summary: &Summary,
    costs: &Costs,
    limits: Limits,
    length: Length,
) -> Vec<Check> {
    summary
        .loads
        .iter()
        .map(|load| {
            let setup = Setup {
                nodes: MEASURED_NODES,
                cores: summary.cores,
                shared: true,
                link: Link {
                    one_way: LOOPBACK,
                    jitter: JITTER,
                    bytes_per_s: f64::INFINITY,
                },
                kind: Kind {
                    entries: load.entries,
                    batch_signed: load.batch_signed,
                },
                load: match load.clients {
                    Some(clients) => Load::Closed {
                        clients,
                        until_published: load.until_published,
                    },
                    None => Load::Open {
                        entries_per_s: load.entries_per_s,
                    },
                },
                warm_up: length.warm_up,
                counted: length.counted,
                no_leader: None,
                seed: 1,
            };
            let outcome = group::run(&setup, costs, limits);
            let waited = if load.until_published {
                outcome.receipt
            } else {
                outcome.commit
            };
            Check {
                measured: load.clone(),
                entries_per_s: outcome.entries_per_s,
                p50_ms: waited.p50_ms,
                p99_ms: waited.p99_ms,
                publish_p99_ms: outcome.publish.p99_ms,
            }
        })
        .collect()
}

/// By how much a figure of the model is above (or below) the measured one, in percent.
pub(crate) fn off(model: f64, measured: f64) -> f64 {
    if measured > 0.0 {
        (model / measured - 1.0) * 100.0
    } else {
        f64::NAN
    }
}

impl Check {
    pub(crate) fn json(&self) -> Value {
        let beside = |model: f64, measured: f64| json!({"measured": round(measured), "model": round(model), "off_percent": round(off(model, measured))});
        let of = &self.measured;
        json!({
            "load": of.name, "clients": of.clients,
            "entries_per_s": beside(self.entries_per_s, of.entries_per_s),
            "p50_ms": beside(self.p50_ms, of.p50_ms),
            "p99_ms": beside(self.p99_ms, of.p99_ms),
            "publish_p99_ms": of.publish_p99_ms.map(|measured| beside(self.publish_p99_ms, measured)),
        })
    }
}
