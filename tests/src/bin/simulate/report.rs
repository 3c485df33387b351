// SPDX-License-Identifier: EUPL-1.2
//! What came of it: for the terminal, as JSON, as Markdown for the README, as charts.

use std::fmt::Write;

use ::tests::figures::{
    bars::{Bar, Kind, bar_chart},
    lines::{Axis, Line, line_chart},
    stats::{Latency, Spread, round},
    thousands,
};
use serde_json::{Value, json};

use crate::{
    costs::Origin,
    italy::{self, Demand, Federation, Outage, SHARDS},
    limits::Limits,
    study::{CORES, Case, Check, LINKS_MS, NODES, Point, SHOWN_CORES, off},
    summary::Summary,
};

/// The charts: files and titles.
pub(crate) const CHARTS: [(&str, &str); 4] = [
    ("simulation-limits.svg", "What one group takes"),
    (
        "simulation-commit.svg",
        "How long until an entry is durable",
    ),
    ("simulation-publish.svg", "From durable to published"),
    ("simulation-outage.svg", "A shard without a leader"),
];
/// The publish delay that the project wants to stay below.
const PUBLISH_TARGET_MS: f64 = 250.0;

/// A whole study.
pub(crate) struct Report {
    pub(crate) file: String,
    pub(crate) summary: Summary,
    pub(crate) origins: Vec<Origin>,
    pub(crate) limits: Limits,
    pub(crate) checks: Vec<Check>,
    pub(crate) cases: Vec<Case>,
    pub(crate) by_in_order_share: Vec<(f64, f64)>,
    pub(crate) federations: Vec<Federation>,
    pub(crate) outage: Outage,
}

fn ms(value: f64) -> String {
    match value {
        value if value >= 100.0 => about(value),
        value if value >= 10.0 => format!("{value:.0}"),
        value => format!("{value:.1}"),
    }
}

/// Three digits: a model is no better than that.
fn about(value: f64) -> String {
    if value < 1.0 {
        return thousands(value);
    }
    let step = 10f64.powf((value.log10().floor() - 2.0).max(0.0));
    thousands((value / step).round() * step)
}

fn pair(latency: Latency) -> String {
    format!("{} / {} ms", ms(latency.p50_ms), ms(latency.p99_ms))
}

fn terabytes(bytes: f64) -> String {
    let tb = bytes / 1e12;
    match tb {
        tb if tb >= 10.0 => format!("{} TB", about(tb)),
        tb if tb >= 0.1 => format!("{tb:.1} TB"),
        tb => format!("{:.0} GB", (tb * 1000.0).max(1.0)),
    }
}

fn signed(percent: f64) -> String {
    format!("{percent:+.0} %")
}

fn line(out: &mut String, text: &str) {
    let _ = writeln!(out, "{text}");
}

impl Report {
    pub(crate) fn json(&self) -> Value {
        let pairs = |all: &[(&str, &str)]| -> Vec<Value> {
            all.iter()
                .map(|(what, source)| json!({"what": what, "source": source}))
                .collect()
        };
        json!({
            "command": "./scripts/bench --simulate",
            "figures": {"file": self.file, "commit": self.summary.commit, "date": self.summary.date},
            "costs": self.origins.iter().map(Origin::json).collect::<Vec<_>>(),
            "limits_of_the_code": self.limits.json(),
            "model_beside_the_measured_loopback": self.checks.iter().map(Check::json).collect::<Vec<_>>(),
            "groups": self.cases.iter().map(Case::json).collect::<Vec<_>>(),
            "limit_by_share_of_an_entry_that_apply_does_in_order": self.by_in_order_share.iter()
                .map(|(share, limit)| json!({"share": share, "entries_per_s": round(*limit)})).collect::<Vec<_>>(),
            "assumptions": pairs(&italy::ASSUMPTIONS),
            "federation": self.federations.iter().map(Federation::json).collect::<Vec<_>>(),
            "outage": self.outage.json(),
        })
    }

    /// For the terminal.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let out = &mut text;
        line(out, &format!("figures: {}", self.file));
        for Origin { name, value, from } in &self.origins {
            line(out, &format!("  {name:<42}{value:>28}  {from}"));
        }
        line(out, "\nthe model beside what was measured on loopback");
        for check in &self.checks {
            let of = &check.measured;
            line(
                out,
                &format!(
                    "  {:<44}{:>8} {:>8}/s {:>7}   p50 {:>7} {:>7} ms {:>7}   p99 {:>7} {:>7} ms {:>7}",
                    of.name,
                    thousands(of.entries_per_s),
                    thousands(check.entries_per_s),
                    signed(off(check.entries_per_s, of.entries_per_s)),
                    ms(of.p50_ms),
                    ms(check.p50_ms),
                    signed(off(check.p50_ms, of.p50_ms)),
                    ms(of.p99_ms),
                    ms(check.p99_ms),
                    signed(off(check.p99_ms, of.p99_ms)),
                ),
            );
        }
        line(out, "\none group: at most, and at half of that");
        for case in &self.cases {
            line(
                out,
                &format!(
                    "  {} nodes, {:>2} ms, {:>2} cores {:>9}/s, in signed batches {:>9}/s   commit {:>16}   published after {:>18}",
                    case.nodes,
                    case.link_ms,
                    case.cores,
                    thousands(case.limit),
                    thousands(case.limit_batches),
                    case.half().map_or(String::new(), |half| pair(half.commit)),
                    case.half().map_or(String::new(), |half| pair(half.publish)),
                ),
            );
        }
        for (share, limit) in &self.by_in_order_share {
            line(
                out,
                &format!(
                    "  with {share} of an entry's work in order: {}/s (3 nodes, 10 ms, {SHOWN_CORES} cores)",
                    thousands(*limit)
                ),
            );
        }
        line(out, "\na federation");
        for of in &self.federations {
            line(
                out,
                &format!(
                    "  {:<20}{:>3} shards {:>9} entries/s each, {:>5.0} % of the limit; access on record {:>18}; {:>8} a node and year; export {}, of all shards {}",
                    of.demand.name,
                    of.shards,
                    thousands(of.entries_per_s),
                    of.share * 100.0,
                    of.access.map_or("too much".into(), pair),
                    terabytes(of.disk_bytes),
                    pair(of.export),
                    pair(of.export_from_all),
                ),
            );
        }
        line(out, &format!("\n{}", self.outage_text()));
        text
    }

    /// What stands in the README between its marks.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        let out = &mut text;
        line(
            out,
            &format!(
                "From the costs in `{}` (commit {}) and the batch limits in the code. A node has 1 Gbit/s; one entry a request. Waits with {SHOWN_CORES} cores, at half of what the group takes.\n",
                self.file, self.summary.commit
            ),
        );
        let cores: Vec<String> = CORES.iter().map(|cores| format!("{cores} cores")).collect();
        line(
            out,
            &format!(
                "| nodes, link one way: entries/s at most | {} | durable, p50 / p99 | published after that |\n|---|{}---|---|",
                cores.join(" | "),
                "---|".repeat(cores.len()),
            ),
        );
        for shown in self.cases.iter().filter(|case| case.cores == SHOWN_CORES) {
            let limits: Vec<String> = CORES
                .iter()
                .map(|cores| {
                    let mut of = self.cases.iter();
                    let key = (shown.nodes, *cores);
                    of.find(|of| (of.nodes, of.cores) == key && of.link_ms == shown.link_ms)
                        .map_or("–".into(), |of| about(of.limit))
                })
                .collect();
            let half = |of: fn(&Point) -> Latency| {
                shown.half().map_or(String::new(), |half| pair(of(half)))
            };
            line(
                out,
                &format!(
                    "| {}, {} ms | {} | {} | {} |",
                    shown.nodes,
                    shown.link_ms,
                    limits.join(" | "),
                    half(|point| point.commit),
                    half(|point| point.publish),
                ),
            );
        }
        line(
            out,
            "\n| accesses/s in the mean, at peak | 1 shard | 4 shards | 16 shards | 64 shards |\n|---|---|---|---|---|",
        );
        for demand in italy::demands() {
            let Demand {
                name,
                mean_per_s,
                peak_per_s,
            } = demand;
            let mut row = format!("| {name}: {}, {} |", about(mean_per_s), about(peak_per_s));
            for shards in SHARDS {
                let mut of = self.federations.iter();
                let of = of.find(|of| of.demand.name == name && of.shards == shards);
                let cell = of.map_or(String::new(), |of| {
                    let record = of.access.map_or("too much".into(), |access| {
                        format!("{} ms", ms(access.p99_ms))
                    });
                    format!(
                        " {} %, {record}, {} |",
                        about(of.share * 100.0),
                        terabytes(of.disk_bytes)
                    )
                });
                row.push_str(&cell);
            }
            line(out, &row);
        }
        line(
            out,
            &format!(
                "\nIn each cell: the peak's share of what a shard (three nodes of {SHOWN_CORES} cores, {} ms) takes; p99 until an access is on record in all its shards; disk of a node a year. Of an access there are {} entries in one ledger, {:.1} in 64 shards. {} {} {}",
                italy::SHARD_LINK_MS,
                italy::entries_of_an_access(1),
                italy::entries_of_an_access(64),
                italy::ASSUMED,
                self.outage_text(),
                self.export_text()
            ),
        );
        let charts = CHARTS.map(|(file, title)| format!("[{title}](scripts/figures/{file})"));
        line(
            out,
            &format!("{} Charts: {}.", self.checks_text(), charts.join(" · ")),
        );
        text
    }

    fn outage_text(&self) -> String {
        let of = &self.outage;
        format!(
            "One of {} shards without a leader for {:.0} s at the design goal's peak: {:.0} % of the accesses meanwhile name somebody of that shard and wait up to {:.1} s, the others' p99 stays at {} ms; {} ms after the new leader nobody of them waits.",
            of.shards,
            of.seconds,
            of.touched_share * 100.0,
            of.longest_ms / 1e3,
            ms(of.others.p99_ms),
            about(of.drained_ms),
        )
    }

    fn export_text(&self) -> String {
        let of = |name: &str| {
            let mut all = self.federations.iter();
            all.find(|of| of.demand.name == name && of.shards == 64)
                .map_or(String::new(), |of| {
                    format!("{:.1} s", of.export_from_all.p99_ms / 1e3)
                })
        };
        format!(
            "Two years of a person's accesses, all 64 shards asked: p99 {} (design goal), {} (Estonia's load).",
            of("design goal"),
            of("as busy as Estonia")
        )
    }

    /// How far the model is off, without mercy.
    fn checks_text(&self) -> String {
        let all: Vec<String> = self
            .checks
            .iter()
            .map(|check| {
                let of = &check.measured;
                let what = match of.publish_p99_ms {
                    Some(publish) => format!(
                        "p99 {}, publish delay p99 {}",
                        signed(off(check.p99_ms, of.p99_ms)),
                        signed(off(check.publish_p99_ms, publish))
                    ),
                    None => format!(
                        "rate {}, p99 {}",
                        signed(off(check.entries_per_s, of.entries_per_s)),
                        signed(off(check.p99_ms, of.p99_ms))
                    ),
                };
                format!("{} {what}", of.name)
            })
            .collect();
        let machine = &self.summary.machine;
        let machine = machine
            .as_ref()
            .map_or(String::new(), |of| format!(" ({of})"));
        format!(
            "The model against that run's own loads on loopback{machine}, of which it knows the CPU time of two, and no rate or wait: {}.",
            all.join("; ")
        )
    }

    /// All charts, by the names of their files.
    pub(crate) fn charts(&self) -> Vec<(&'static str, String)> {
        let [limits, commit, publish, outage] = CHARTS;
        vec![
            (limits.0, self.limits_chart(limits.1)),
            (commit.0, self.load_chart(commit.1, |p| p.commit, None)),
            (
                publish.0,
                self.load_chart(
                    publish.1,
                    |point| point.publish,
                    Some((PUBLISH_TARGET_MS, "target: 250 ms")),
                ),
            ),
            (outage.0, self.outage_chart(outage.1)),
        ]
    }

    fn limits_chart(&self, title: &str) -> String {
        let all: Vec<Bar> = self
            .cases
            .iter()
            .map(|case| Bar {
                label: format!(
                    "{} nodes, {} ms, {} cores each",
                    case.nodes, case.link_ms, case.cores
                ),
                kind: if case.nodes == 3 {
                    Kind::Visto
                } else {
                    Kind::Peer
                },
                spread: Spread {
                    median: case.limit,
                    min: case.limit,
                    max: case.limit,
                },
                text: about(case.limit),
            })
            .collect();
        let note = "Entries a second at most, one a request; milliseconds one way. Simulated.";
        bar_chart(title, note, &all, None)
    }

    fn load_chart(
        &self,
        title: &str,
        of: fn(&Point) -> Latency,
        mark: Option<(f64, &str)>,
    ) -> String {
        let mut all = Vec::new();
        for (dashed, nodes) in NODES.into_iter().enumerate() {
            for (colour, link_ms) in LINKS_MS.into_iter().enumerate() {
                let case = self.cases.iter().find(|case| {
                    (case.nodes, case.cores) == (nodes, SHOWN_CORES) && case.link_ms == link_ms
                });
                all.extend(case.map(|case| {
                    Line {
                        name: format!("{nodes} nodes, {link_ms} ms"),
                        colour,
                        dashed: dashed > 0,
                        points: case
                            .points
                            .iter()
                            .map(|point| (point.share * 100.0, of(point).p99_ms))
                            .collect(),
                    }
                }));
            }
        }
        let note = format!(
            "p99 by load, one entry a request, {SHOWN_CORES} cores a node; links one way. Simulated."
        );
        let across = Axis {
            name: "load, % of what the group takes",
            words: |value| format!("{value:.0}"),
        };
        line_chart(title, &note, &across, &MILLISECONDS, &all, mark)
    }

    fn outage_chart(&self, title: &str) -> String {
        let course = |of: fn(&(f64, f64, f64)) -> f64| {
            let course = self.outage.course.iter();
            course.map(|step| (step.0, of(step))).collect()
        };
        let all = [
            Line {
                name: "names that shard".into(),
                colour: 3,
                dashed: false,
                points: course(|step| step.1),
            },
            Line {
                name: "all others".into(),
                colour: 0,
                dashed: false,
                points: course(|step| step.2),
            },
        ];
        let note = format!(
            "Longest wait until on record, by when the access came; no leader from second 1 to {:.0}; {} shards. Simulated.",
            1.0 + self.outage.seconds,
            self.outage.shards
        );
        let across = Axis {
            name: "second",
            words: |value| format!("{value:.0}"),
        };
        line_chart(title, &note, &across, &MILLISECONDS, &all, None)
    }
}

const MILLISECONDS: Axis = Axis {
    name: "ms",
    words: thousands,
};
