// SPDX-License-Identifier: EUPL-1.2
//! The figures of a run: as tables for people, as JSON, as Markdown for the README, as charts.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::{Map, Value, json};

use crate::{
    alone::AtSize,
    chart::{self, Bar, Kind},
    machine::{self, Cpu},
    modes::{Mode, System},
    ratios::{Ratio, ratios},
    run::{PacedSeries, Plan, Results, Series, Servers},
    servers::PAYLOAD_BYTES,
    stats::{Latency, Spread, round},
};

/// Between these the README's figures stand; the run that is on record puts them there.
const MARKS: (&str, &str) = ("<!-- figures: begin -->\n", "<!-- figures: end -->\n");

/// A whole run.
pub(crate) struct Report {
    pub(crate) commit: Option<String>,
    pub(crate) date: String,
    pub(crate) command: String,
    pub(crate) facts: Value,
    pub(crate) plan: Plan,
    /// What the peers say of themselves.
    pub(crate) peers: Vec<String>,
    /// Bytes of an entry of Visto, as kept and as sent.
    pub(crate) entry_bytes: (u64, u64),
    pub(crate) results: Results,
    pub(crate) state: Value,
    pub(crate) cpu: BTreeMap<Mode, Cpu>,
    pub(crate) alone: AtSize,
}

impl Servers {
    /// How large each system's state had become when the last load ended.
    pub(crate) fn state(&self) -> Value {
        let bytes = |folders: Vec<std::path::PathBuf>| -> u64 {
            folders
                .iter()
                .map(|folder| machine::bytes_on_disk(folder))
                .sum()
        };
        let written = |system| self.written.get(&system).copied().unwrap_or_default();
        let nodes = self.visto.cluster.nodes.values();
        let mut state = json!({
            "visto": {
                "entries_counted": written(System::Visto),
                "bytes_on_disk_of_all_nodes": bytes(nodes.map(|node| node.data()).collect()),
            },
        });
        if let Some(etcd) = &self.etcd {
            state["etcd"] = json!({
                "entries_counted": written(System::Etcd),
                "bytes_on_disk_of_all_nodes": bytes(etcd.folders()),
            });
        }
        if let Some(postgres) = &self.postgres {
            state["postgres"] = json!({
                "entries_counted": written(System::Postgres),
                "bytes_on_disk_of_all_nodes": bytes(vec![postgres.folder().to_owned()]),
                "tables": "fresh for each load",
            });
        }
        state
    }
}

impl Report {
    pub(crate) fn json(&self) -> Value {
        let results = &self.results;
        let ratios: Map<String, Value> = ratios(results)
            .iter()
            .map(|ratio| (ratio.name.to_owned(), ratio.json()))
            .collect();
        let loads: Vec<Value> = results.series.iter().map(series_json).collect();
        let sweep: Vec<Value> = results
            .sweep
            .iter()
            .map(|(mode, connections, measured)| {
                json!({"load": mode.name(), "connections": connections, "entries_per_s": round(measured.entries_per_s)})
            })
            .collect();
        let paced: Vec<Value> = results.paced.iter().map(paced_json).collect();
        let publish: Vec<Value> = results
            .publish
            .iter()
            .map(|(latency, unseen)| {
                let mut value = latency.json();
                value["unpublished"] = json!(unseen);
                value
            })
            .collect();
        let cpu: Map<String, Value> = self
            .cpu
            .iter()
            .map(|(mode, cpu)| (mode.name().to_owned(), json!(cpu)))
            .collect();
        let seconds = |window: crate::drive::Window| json!({"warm_up_s": window.warm_up.as_secs_f64(), "counted_s": window.length.as_secs_f64()});
        json!({
            "commit": self.commit,
            "date": self.date,
            "command": self.command,
            "machine": self.facts,
            "plan": {
                "rounds": self.plan.rounds,
                "sweep": seconds(self.plan.sweep),
                "round": seconds(self.plan.round),
                "paced": seconds(self.plan.paced),
            },
            "peers": self.peers,
            "bytes": {
                "etcd_value": PAYLOAD_BYTES,
                "postgres_payload": PAYLOAD_BYTES,
                "visto_entry_kept": self.entry_bytes.0,
                "visto_entry_sent": self.entry_bytes.1,
            },
            "ratios": ratios,
            "loads": loads,
            "sweep": sweep,
            "paced": paced,
            "publish_delay": publish,
            "limits": self.limits_json(),
            "state": self.state,
            "cpu_s": cpu,
            "alone": self.alone.json(),
        })
    }

    fn limits_json(&self) -> Value {
        let limits = &self.results.limits;
        let spread = |values: &[f64]| Spread::of(values.iter().copied()).map(Spread::json);
        let fdatasync: Map<String, Value> = limits
            .fdatasync
            .iter()
            .map(|(bytes, rounds)| {
                let of = |figure: fn(&(f64, Latency)) -> f64| {
                    Spread::of(rounds.iter().map(figure)).map(Spread::json)
                };
                let value = json!({
                    "per_s": of(|(per_s, _)| *per_s),
                    "p50_ms": of(|(_, latency)| latency.p50_ms),
                    "p99_ms": of(|(_, latency)| latency.p99_ms),
                });
                (format!("{bytes}_bytes"), value)
            })
            .collect();
        json!({
            "verify_strict_per_s_one_core": spread(&limits.verify_one_core),
            "verify_strict_per_s_all_cores": spread(&limits.verify_all_cores),
            "fdatasync": fdatasync,
        })
    }

    /// The run as text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let out = &mut text;
        line(out, "");
        for fact in [self.peers.join("; "), self.machine_text()] {
            line(out, &fact);
        }
        line(
            out,
            &format!(
                "\n{:<40}{:>6}{:>12}{:>20}{:>10}{:>10}{:>8}{:>8}",
                "load", "conns", "entries/s", "least–most", "p50 ms", "p99 ms", "failed", "client"
            ),
        );
        for series in &self.results.series {
            let (Some(rate), Some(p50), Some(p99)) =
                (series.entries_per_s(), series.p50_ms(), series.p99_ms())
            else {
                continue;
            };
            line(
                out,
                &format!(
                    "{:<40}{:>6}{:>12.0}{:>20}{:>10.1}{:>10.1}{:>8}{:>6.0} %",
                    series.mode.title(),
                    series.connections,
                    rate.median,
                    format!("{:.0}–{:.0}", rate.min, rate.max),
                    p50.median,
                    p99.median,
                    series.failed(),
                    client_share(series) * 100.0,
                ),
            );
        }
        line(
            out,
            &format!(
                "\npaced, one session a request, until durable on a majority\n{:<40}{:>12}{:>12}{:>10}{:>10}{:>8}{:>10}",
                "", "asked/s", "served/s", "p50 ms", "p99 ms", "failed", "not sent"
            ),
        );
        for series in &self.results.paced {
            let of = |figure: fn(&crate::drive::Paced) -> f64| {
                Spread::of(series.rounds.iter().map(figure)).map_or(0.0, |spread| spread.median)
            };
            line(
                out,
                &format!(
                    "{:<40}{:>12.0}{:>12.0}{:>10.1}{:>10.1}{:>8}{:>10}",
                    series.name,
                    of(|paced| paced.asked_per_s),
                    of(|paced| paced.served_per_s),
                    of(|paced| paced.latency.p50_ms),
                    of(|paced| paced.latency.p99_ms),
                    series.rounds.iter().map(|paced| paced.failed).sum::<u64>(),
                    series
                        .rounds
                        .iter()
                        .map(|paced| paced.unserved)
                        .sum::<u64>(),
                ),
            );
        }
        line(out, "");
        for (name, figure) in self.limits_text() {
            line(out, &format!("{name:<46}{figure}"));
        }
        line(
            out,
            &format!(
                "\nVisto at {} entries: proof p50 {:.1} ms, p99 {:.1} ms; household query p50 {:.1} ms, p99 {:.1} ms; {:.2} bytes on disk a node per byte sent; {} MiB resident",
                self.alone.entries,
                self.alone.proof.p50_ms,
                self.alone.proof.p99_ms,
                self.alone.household.p50_ms,
                self.alone.household.p99_ms,
                self.alone.disk_per_byte,
                self.alone
                    .memory_mib
                    .iter()
                    .map(|mib| format!("{mib:.0}"))
                    .collect::<Vec<_>>()
                    .join(", "),
            ),
        );
        for (mode, cpu) in &self.cpu {
            line(out, &format!("CPU, {}: {}", mode.title(), shares(cpu)));
        }
        line(
            out,
            &format!(
                "\n{:<28}{:>10}{:>10}  {:<9}{:<18}{}",
                "ratio", "value", "target", "", "least–most", "against the peer's best"
            ),
        );
        for ratio in ratios(&self.results) {
            line(
                out,
                &format!(
                    "{:<28}{:>10}{:>10}  {:<9}{:<18}{}",
                    ratio.name,
                    value_text(&ratio),
                    ratio.target_text(),
                    verdict(&ratio),
                    spread_text(&ratio),
                    ratio
                        .reason
                        .clone()
                        .or_else(|| ratio.against_best.map(|value| format!("{value:.2}")))
                        .unwrap_or_default(),
                ),
            );
        }
        text
    }

    /// What stands in the README between its marks.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        let out = &mut text;
        line(
            out,
            &format!(
                "Commit {}, {}, `{}`: {}. {} rounds; median, and least–most of the rounds.\n",
                self.commit.as_deref().unwrap_or("unknown"),
                &self.date[..self.date.len().min(10)],
                self.command,
                self.machine_text(),
                self.plan.rounds,
            ),
        );
        line(out, "| ratio | value | target | |\n|---|---|---|---|");
        for ratio in ratios(&self.results) {
            let spread = match spread_text(&ratio) {
                spread if spread.is_empty() => spread,
                spread => format!(" ({spread})"),
            };
            let best = ratio
                .against_best
                .map(|value| format!("; against etcd's best {value:.2}"))
                .unwrap_or_default();
            line(
                out,
                &format!(
                    "| `{}`: {} | {}{spread}{best} | {} | {} |",
                    ratio.name,
                    ratio.meaning,
                    value_text(&ratio),
                    ratio.target_text(),
                    ratio.reason.as_deref().unwrap_or(verdict(&ratio)),
                ),
            );
        }
        line(
            out,
            "\n| load | connections | entries/s | p50 ms | p99 ms |\n|---|---|---|---|---|",
        );
        for series in &self.results.series {
            let (Some(rate), Some(p50), Some(p99)) =
                (series.entries_per_s(), series.p50_ms(), series.p99_ms())
            else {
                continue;
            };
            line(
                out,
                &format!(
                    "| {} | {} | {} ({}–{}) | {:.1} | {:.1} |",
                    series.mode.title(),
                    series.connections,
                    thousands(rate.median),
                    thousands(rate.min),
                    thousands(rate.max),
                    p50.median,
                    p99.median,
                ),
            );
        }
        for (name, figure) in self.limits_text() {
            line(out, &format!("| {name} | | {figure} | | |"));
        }
        line(out, "");
        for (name, title) in CHARTS {
            line(out, &format!("![{title}](scripts/figures/{name})"));
        }
        text
    }

    fn limits_text(&self) -> Vec<(String, String)> {
        let limits = &self.results.limits;
        let rate = |values: &[f64]| {
            Spread::of(values.iter().copied()).map_or("not measured".into(), |spread| {
                format!(
                    "{} ({}–{})",
                    thousands(spread.median),
                    thousands(spread.min),
                    thousands(spread.max)
                )
            })
        };
        let mut lines = vec![
            (
                "strict verification alone, one core".to_owned(),
                rate(&limits.verify_one_core),
            ),
            (
                "strict verification alone, all cores".to_owned(),
                rate(&limits.verify_all_cores),
            ),
        ];
        for (bytes, rounds) in &limits.fdatasync {
            let per_s: Vec<f64> = rounds.iter().map(|(per_s, _)| *per_s).collect();
            let name = format!("fdatasync alone, {} bytes", thousands(*bytes as f64));
            lines.push((name, rate(&per_s)));
        }
        lines
    }

    fn machine_text(&self) -> String {
        let fact = |name: &str| match &self.facts[name] {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        format!(
            "{} cores of {}, {} GiB, {}, Linux {}; servers and load share them. Values of {PAYLOAD_BYTES} bytes; an entry of Visto has {} as kept and {} as sent",
            fact("cores"),
            fact("cpu"),
            fact("memory_gib"),
            fact("file_system"),
            fact("kernel"),
            self.entry_bytes.0,
            self.entry_bytes.1,
        )
    }

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
        chart::bars(title, note, &bars, None)
    }

    fn latency_chart(&self, title: &str) -> String {
        let mut bars = Vec::new();
        for series in &self.results.paced {
            for (name, figure) in [
                (
                    "p50",
                    (|paced| paced.latency.p50_ms) as fn(&crate::drive::Paced) -> f64,
                ),
                ("p99", |paced| paced.latency.p99_ms),
            ] {
                if let Some(spread) = Spread::of(series.rounds.iter().map(figure)) {
                    bars.push(Bar {
                        label: format!("{}, until durable, {name}", series.name),
                        kind: if series.name.starts_with("visto") {
                            Kind::Visto
                        } else {
                            Kind::Peer
                        },
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
                label: "visto, durable to published, p99".into(),
                kind: Kind::Visto,
                spread,
                text: format!("{:.1} ms", spread.median),
            });
        }
        let note = "At half of what etcd takes at its best, sent when due whether or not earlier requests were answered.";
        chart::bars(title, note, &bars, None)
    }

    fn ratio_chart(&self, title: &str) -> String {
        let bars: Vec<Bar> = ratios(&self.results)
            .iter()
            .filter_map(|ratio| {
                let share = |value: f64| match ratio.bound {
                    crate::ratios::Bound::AtLeast => value / ratio.target,
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
        chart::bars(title, note, &bars, Some((1.0, "target")))
    }
}

/// The charts: files and titles.
const CHARTS: [(&str, &str); 4] = [
    ("singly.svg", "One at a time"),
    ("batches.svg", "In batches"),
    ("latency.svg", "How long a write waits at a steady load"),
    ("ratios.svg", "Targets"),
];

/// Replaces what stands between the marks; none if there are no marks.
pub(crate) fn in_place(text: &str, figures: &str) -> Option<String> {
    let (before, rest) = text.split_once(MARKS.0)?;
    let (_, after) = rest.split_once(MARKS.1)?;
    Some([before, MARKS.0, figures, MARKS.1, after].concat())
}

fn series_json(series: &Series) -> Value {
    json!({
        "load": series.mode.name(),
        "title": series.mode.title(),
        "connections": series.connections,
        "best": series.best,
        "entries_per_request": series.mode.per_request(),
        "entries_per_s": series.entries_per_s().map(Spread::json),
        "p50_ms": series.p50_ms().map(Spread::json),
        "p99_ms": series.p99_ms().map(Spread::json),
        "entries_failed": series.failed(),
        "rounds": series.rounds.iter().map(crate::stats::Measured::json).collect::<Vec<_>>(),
    })
}

fn paced_json(series: &PacedSeries) -> Value {
    let rounds: Vec<Value> = series
        .rounds
        .iter()
        .map(|paced| {
            let mut value = paced.latency.json();
            value["asked_per_s"] = json!(round(paced.asked_per_s));
            value["served_per_s"] = json!(round(paced.served_per_s));
            value["entries_failed"] = json!(paced.failed);
            value["requests_not_sent"] = json!(paced.unserved);
            value
        })
        .collect();
    let of = |figure: fn(&crate::drive::Paced) -> f64| {
        Spread::of(series.rounds.iter().map(figure)).map(Spread::json)
    };
    json!({
        "load": series.name,
        "p50_ms": of(|paced| paced.latency.p50_ms),
        "p99_ms": of(|paced| paced.latency.p99_ms),
        "rounds": rounds,
    })
}

fn kind(mode: Mode) -> Kind {
    match mode.system() {
        System::Visto => Kind::Visto,
        System::Etcd | System::Postgres => Kind::Peer,
    }
}

fn client_share(series: &Series) -> f64 {
    Spread::of(series.rounds.iter().map(|round| round.client_share))
        .map_or(0.0, |spread| spread.median)
}

fn value_text(ratio: &Ratio) -> String {
    match ratio.value {
        None => "–".into(),
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) => format!("{value:.2}"),
    }
}

fn spread_text(ratio: &Ratio) -> String {
    ratio.spread.map_or_else(String::new, |spread| {
        format!("{:.2}–{:.2}", spread.min, spread.max)
    })
}

fn verdict(ratio: &Ratio) -> &'static str {
    match ratio.reached() {
        None => "–",
        Some(true) => "reached",
        Some(false) => "missed",
    }
}

fn shares(cpu: &Cpu) -> String {
    let mut cpu: Vec<(&String, &f64)> = cpu.iter().collect();
    cpu.sort_by(|a, b| b.1.total_cmp(a.1));
    let total: f64 = cpu.iter().map(|(_, seconds)| **seconds).sum();
    let parts: Vec<String> = cpu
        .iter()
        .take(7)
        .map(|(who, seconds)| format!("{who} {:.0} %", **seconds * 100.0 / total.max(0.01)))
        .collect();
    parts.join(", ")
}

/// A whole number with thin gaps, as people read it.
fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

fn line(out: &mut String, text: &str) {
    let _ = writeln!(out, "{text}");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{chart::tests::well_formed, drive::Window, ratios::tests::known};

    fn report(results: Results) -> Report {
        let window = Window {
            warm_up: Duration::from_secs(1),
            length: Duration::from_secs(2),
        };
        Report {
            commit: Some("abc1234".into()),
            date: "2026-11-25T01:02:03.000Z".into(),
            command: "./scripts/bench --quick".into(),
            facts: json!({"cores": 2.0, "cpu": "A <fast> & \"cool\" one", "memory_gib": 23.0, "file_system": "ext4", "kernel": "6"}),
            plan: Plan {
                sweep: window,
                rounds: 3,
                round: window,
                paced: window,
                limit: Duration::ZERO,
                quiet: Duration::ZERO,
            },
            peers: vec!["etcd 3.4".into()],
            entry_bytes: (1_000, 1_300),
            results,
            state: json!({}),
            cpu: BTreeMap::new(),
            alone: AtSize::none(),
        }
    }

    #[test]
    fn the_summary_names_every_ratio_with_its_target_and_whether_it_is_reached() {
        for results in [known(), Results::default()] {
            let summary = report(results).json();
            let ratios = summary["ratios"].as_object().unwrap();
            let mut names: Vec<&str> = ratios.keys().map(String::as_str).collect();
            names.sort_unstable();
            assert_eq!(
                names,
                [
                    "batch_vs_etcd_put",
                    "batch_vs_etcd_txn",
                    "batch_vs_postgres_chain",
                    "commit_p99_vs_etcd_p99",
                    "entry_signed_vs_limit",
                    "publish_delay_p99_ms",
                    "single_vs_etcd_put",
                ]
            );
            for (name, ratio) in ratios {
                assert!(ratio["target"].is_number(), "{name}");
                let known = ratio["value"].is_number();
                assert_eq!(ratio["reached"].is_boolean(), known, "{name}");
                assert_eq!(ratio["reason"].is_null(), known, "{name}");
            }
            for member in [
                "commit",
                "date",
                "command",
                "machine",
                "plan",
                "peers",
                "bytes",
                "loads",
                "sweep",
                "paced",
                "publish_delay",
                "limits",
                "state",
                "cpu_s",
                "alone",
            ] {
                assert!(summary.get(member).is_some(), "{member}");
            }
        }
        let summary = report(known()).json();
        let load = &summary["loads"][0];
        assert_eq!(load["entries_per_s"]["median"], 1_000.0);
        assert_eq!(load["rounds"].as_array().unwrap().len(), 3);
        assert_eq!(
            summary["limits"]["verify_strict_per_s_all_cores"]["min"],
            30_000.0
        );
    }

    #[test]
    fn charts_and_tables_can_be_made_of_any_run() {
        for results in [known(), Results::default()] {
            let report = report(results);
            let charts = report.charts();
            assert_eq!(charts.len(), CHARTS.len());
            for (name, svg) in charts {
                well_formed(&svg).unwrap_or_else(|why| panic!("{name}: {why}"));
            }
            for text in [report.text(), report.markdown()] {
                for ratio in ratios(&report.results) {
                    assert!(text.contains(ratio.name), "{}", ratio.name);
                }
            }
        }
        let svg = &report(known()).charts()[1].1;
        assert!(svg.contains("signed as a batch") && svg.contains("4 000"));
    }

    #[test]
    fn the_readme_is_changed_between_its_marks_alone() {
        let readme = format!("before\n{}old\n{}after\n", MARKS.0, MARKS.1);
        let renewed = in_place(&readme, "new\n").unwrap();
        assert_eq!(
            renewed,
            format!("before\n{}new\n{}after\n", MARKS.0, MARKS.1)
        );
        assert_eq!(in_place("no marks", "new"), None);
        let own = include_str!("../../../../README.md");
        assert!(in_place(own, "").is_some());
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let texts: Vec<String> = [0.4, 999.5, 1_234_567.0].map(thousands).to_vec();
        assert_eq!(texts, ["0", "1 000", "1 234 567"]);
    }
}
