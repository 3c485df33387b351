// SPDX-License-Identifier: EUPL-1.2
//! Which charts a run leaves, and what stands in each.

use ::tests::figures::bars::{Bar, Kind, bar_chart};

use crate::{
    drive::Paced,
    modes::{Mode, System},
    ratios::{Bound, ratios},
    report::Report,
    stats::Spread,
    tables::{thousands, value_text},
};

/// The charts: files and titles.
pub(crate) const CHARTS: [(&str, &str); 4] = [
    ("singly.svg", "One at a time"),
    ("batches.svg", "In batches"),
    ("latency.svg", "How long a write waits at a steady load"),
    ("ratios.svg", "Targets"),
];

impl Report {
    /// All charts, by the names of their files.
    pub(crate) fn charts(&self) -> Vec<(&'static str, String)> {
        let [singly, batches, latency, targets] = CHARTS;
        vec![
            (singly.0, self.rate_chart(singly.1, true)),
            (batches.0, self.rate_chart(batches.1, false)),
            (latency.0, self.latency_chart(latency.1)),
            (targets.0, self.ratio_chart(targets.1)),
        ]
    }

    fn rate_chart(&self, title: &str, singly: bool) -> String {
        let mut bars: Vec<Bar> = self
            .results
            .series
            .iter()
            .filter(|series| (series.mode.per_request() == 1) == singly)
            .filter_map(|series| {
                let spread = series.entries_per_s()?;
                Some(Bar {
                    label: format!("{} ×{}", series.mode.title(), series.connections),
                    kind: kind(series.mode),
                    spread,
                    text: thousands(spread.median),
                })
            })
            .collect();
        let voters = self
            .results
            .limits
            .verify_all_cores
            .iter()
            .map(|per_s| per_s / 3.0);
        if let (false, Some(spread)) = (singly, Spread::of(voters)) {
            bars.push(Bar {
                label: "limit: verification alone ÷ 3 voters".into(),
                kind: Kind::Limit,
                spread,
                text: thousands(spread.median),
            });
        }
        let note = "Entries a second; × connections. Median and span of the rounds. Only Visto signs, verifies and proves.";
        bar_chart(title, note, &bars, None)
    }

    fn latency_chart(&self, title: &str) -> String {
        let mut bars = Vec::new();
        for series in &self.results.paced {
            for (name, figure) in [
                ("p50", (|paced| paced.latency.p50_ms) as fn(&Paced) -> f64),
                ("p99", |paced| paced.latency.p99_ms),
            ] {
                if let Some(spread) = series.of(figure) {
                    bars.push(Bar {
                        label: format!("{}, {name}", series.mode.title()),
                        kind: kind(series.mode),
                        spread,
                        text: format!("{:.1} ms", spread.median),
                    });
                }
            }
        }
        let publish = self
            .results
            .publish
            .iter()
            .map(|(latency, _)| latency.p99_ms);
        if let Some(spread) = Spread::of(publish) {
            bars.push(Bar {
                label: "Visto, from durable to published, p99".into(),
                kind: Kind::Visto,
                spread,
                text: format!("{:.1} ms", spread.median),
            });
        }
        let note = "Until durable on a majority, at half of etcd's best, sent when due whether or not earlier ones were answered.";
        bar_chart(title, note, &bars, None)
    }

    fn ratio_chart(&self, title: &str) -> String {
        let bars: Vec<Bar> = ratios(&self.results)
            .iter()
            .filter_map(|ratio| {
                let share = |value: f64| match ratio.bound {
                    Bound::AtLeast => value / ratio.target,
                    _ => ratio.target / value,
                };
                let value = ratio.value?;
                let ends = ratio.spread.unwrap_or(Spread {
                    median: value,
                    min: value,
                    max: value,
                });
                let (one, other) = (share(ends.min), share(ends.max));
                Some(Bar {
                    label: ratio.name.into(),
                    kind: if ratio.reached() == Some(true) {
                        Kind::Good
                    } else {
                        Kind::Bad
                    },
                    spread: Spread {
                        median: share(value),
                        min: one.min(other),
                        max: one.max(other),
                    },
                    text: format!("{} ({})", value_text(ratio), ratio.target_text()),
                })
            })
            .collect();
        let note = "How much of each target is reached: at the line, all of it.";
        bar_chart(title, note, &bars, Some((1.0, "target")))
    }
}

fn kind(mode: Mode) -> Kind {
    match mode.system() {
        System::Visto => Kind::Visto,
        System::Etcd | System::Postgres => Kind::Peer,
    }
}
