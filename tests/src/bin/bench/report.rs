// SPDX-License-Identifier: EUPL-1.2
//! The figures of a run: as tables for people, as JSON, as Markdown for the README, as charts.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    alone::AtSize,
    drive::{Paced, Window},
    machine::{self, Cpu},
    modes::{Mode, System},
    ratios::ratios,
    run::{PacedSeries, Plan, Results, Series, Servers},
    servers::PAYLOAD_BYTES,
    stats::{Latency, Measured, Spread, round},
};

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
        let seconds = |window: Window| json!({"warm_up_s": window.warm_up.as_secs_f64(), "counted_s": window.length.as_secs_f64()});
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
        "rounds": series.rounds.iter().map(Measured::json).collect::<Vec<_>>(),
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
    let of = |figure: fn(&Paced) -> f64| series.of(figure).map(Spread::json);
    json!({
        "load": series.mode.name(),
        "p50_ms": of(|paced| paced.latency.p50_ms),
        "p99_ms": of(|paced| paced.latency.p99_ms),
        "rounds": rounds,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use ::tests::figures::svg::well_formed;

    use crate::{charts::CHARTS, ratios::tests::known};

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
}
