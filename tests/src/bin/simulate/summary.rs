// SPDX-License-Identifier: EUPL-1.2
//! Reads a summary of `./scripts/bench`: that of a run beside peers, or the first one (`scripts/figures/2026-11-25.json`), which had fewer
//! figures.

use serde_json::Value;

use crate::{costs::MEASURED_NODES, engine::Spell};

/// A value, and the figure it comes from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Measured<T> {
    pub(crate) value: T,
    pub(crate) from: String,
}

/// A load that was measured, for the model to be held against.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MeasuredLoad {
    pub(crate) name: String,
    pub(crate) entries: u32,
    pub(crate) batch_signed: bool,
    /// Clients, each with one request under way; none of a paced load.
    pub(crate) clients: Option<u32>,
    pub(crate) until_published: bool,
    pub(crate) entries_per_s: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Of a paced load: from durable to published.
    pub(crate) publish_p99_ms: Option<f64>,
}

/// What the model needs of a summary.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    pub(crate) commit: String,
    pub(crate) date: String,
    pub(crate) cores: usize,
    /// What the summary says of its machine, if in words.
    pub(crate) machine: Option<String>,
    pub(crate) verify: Measured<f64>,
    /// CPU seconds of the nodes for an entry, sent singly and with 99 others.
    pub(crate) cpu_single: Measured<f64>,
    pub(crate) cpu_many: Measured<f64>,
    /// Seconds that apply takes for an entry.
    pub(crate) apply: Option<Measured<f64>>,
    pub(crate) sync: Measured<Spell>,
    pub(crate) sync_byte: Measured<f64>,
    pub(crate) client_entry: Measured<f64>,
    pub(crate) entry_kept: Measured<f64>,
    pub(crate) disk_per_byte: Measured<f64>,
    pub(crate) page: Measured<Spell>,
    pub(crate) loads: Vec<MeasuredLoad>,
}

impl Summary {
    /// # Errors
    /// The figure that is missing, by its name.
    pub(crate) fn read(json: &Value) -> Result<Summary, String> {
        if json.get("verify_strict_per_s").is_some() {
            first(json)
        } else {
            beside_peers(json)
        }
    }
}

/// A number by its path.
fn number(json: &Value, path: &str) -> Result<f64, String> {
    json.pointer(path)
        .and_then(Value::as_f64)
        .ok_or_else(|| format!("the summary has no {path}"))
}

fn text(json: &Value, name: &str) -> String {
    json[name].as_str().unwrap_or("unknown").to_owned()
}

fn list<'a>(json: &'a Value, name: &str) -> Result<&'a Vec<Value>, String> {
    json[name]
        .as_array()
        .ok_or_else(|| format!("the summary has no list {name}"))
}

fn measured<T>(value: T, from: impl Into<String>) -> Measured<T> {
    Measured {
        value,
        from: from.into(),
    }
}

/// CPU seconds of all threads of the nodes.
fn of_nodes(cpu: &Value) -> f64 {
    cpu.as_object().map_or(0.0, |threads| {
        threads
            .iter()
            .filter(|(who, _)| *who != "load generator")
            .filter_map(|(_, seconds)| seconds.as_f64())
            .sum()
    })
}

/// The summary that the bench writes since it measures peers.
fn beside_peers(json: &Value) -> Result<Summary, String> {
    let cores = number(json, "/machine/cores")?;
    let (plan_sweep, plan_round) = (window(json, "sweep")?, window(json, "round")?);
    // How many entries a mode wrote in all, warm-ups included: the CPU seconds are of all that.
    let written = |mode: &str| -> Result<f64, String> {
        let rate = |value: &Value| value["entries_per_s"].as_f64().unwrap_or(0.0);
        let of = |value: &&Value| value["load"] == mode;
        let sweep: f64 = list(json, "sweep")?.iter().filter(of).map(rate).sum();
        let rounds: f64 = list(json, "loads")?
            .iter()
            .filter(of)
            .flat_map(|load| load["rounds"].as_array().into_iter().flatten())
            .map(rate)
            .sum();
        Ok(sweep * plan_sweep + rounds * plan_round)
    };
    let cpu = |mode: &str| -> Result<Measured<f64>, String> {
        let seconds = of_nodes(&json["cpu_s"][mode]);
        let entries = written(mode)?;
        if seconds <= 0.0 || entries <= 0.0 {
            return Err(format!("the summary has no CPU seconds of {mode}"));
        }
        Ok(measured(
            seconds / entries,
            "cpu_s ÷ the entries of sweep and rounds",
        ))
    };
    let mut loads = Vec::new();
    let mut client_entry = 0.0;
    for load in list(json, "loads")? {
        let mode = text(load, "load");
        if !mode.starts_with("visto_") {
            continue;
        }
        let entries_per_s = number(load, "/entries_per_s/median")?;
        let rounds = load["rounds"].as_array();
        let shares = rounds
            .into_iter()
            .flatten()
            .filter_map(|round| round["client_cpu_share"].as_f64());
        let share = ::tests::figures::stats::Spread::of(shares).map_or(0.0, |s| s.median);
        if mode == "visto_single" && load["best"] == true {
            client_entry = share * cores / entries_per_s;
        }
        loads.push(MeasuredLoad {
            name: text(load, "title"),
            entries: number(load, "/entries_per_request")? as u32,
            batch_signed: mode == "visto_batch",
            clients: Some(number(load, "/connections")? as u32),
            until_published: true,
            entries_per_s,
            p50_ms: number(load, "/p50_ms/median")?,
            p99_ms: number(load, "/p99_ms/median")?,
            publish_p99_ms: None,
        });
    }
    for paced in list(json, "paced")? {
        if paced["load"] != "visto_single" {
            continue;
        }
        let publish = list(json, "publish_delay")?
            .iter()
            .filter_map(|delay| delay["p99_ms"].as_f64());
        loads.push(MeasuredLoad {
            name: "one entry a request, paced, to commit".into(),
            entries: 1,
            batch_signed: false,
            clients: None,
            until_published: false,
            entries_per_s: number(paced, "/rounds/0/asked_per_s")?,
            p50_ms: number(paced, "/p50_ms/median")?,
            p99_ms: number(paced, "/p99_ms/median")?,
            publish_p99_ms: ::tests::figures::stats::Spread::of(publish).map(|s| s.median),
        });
    }
    let sync = "/limits/fdatasync/1000_bytes";
    let (small, large) = (
        number(json, &format!("{sync}/p50_ms/median"))?,
        number(json, "/limits/fdatasync/100000_bytes/p50_ms/median")?,
    );
    let p99 = number(json, &format!("{sync}/p99_ms/median"))?;
    Ok(Summary {
        commit: text(json, "commit"),
        date: text(json, "date"),
        cores: cores as usize,
        machine: json["machine"].as_str().map(str::to_owned),
        verify: measured(
            1.0 / number(json, "/limits/verify_strict_per_s_one_core/median")?,
            "limits.verify_strict_per_s_one_core",
        ),
        cpu_single: cpu("visto_single")?,
        cpu_many: cpu("visto_signed")?,
        apply: json["stages"]["apply_us_per_entry"]
            .as_f64()
            .map(|us| measured(us / 1e6, "stages.apply_us_per_entry")),
        sync: measured(
            Spell {
                p50: small / 1e3,
                p99: p99 / 1e3,
            },
            "limits.fdatasync.1000_bytes",
        ),
        sync_byte: measured(
            (large - small).max(0.0) / 1e3 / 99_000.0,
            "limits.fdatasync, 100 000 against 1 000 bytes",
        ),
        client_entry: measured(client_entry, "client_cpu_share of the single entries"),
        entry_kept: measured(
            number(json, "/bytes/visto_entry_kept")?,
            "bytes.visto_entry_kept",
        ),
        disk_per_byte: measured(
            number(json, "/alone/disk_bytes_per_submitted_byte")?,
            "alone.disk_bytes_per_submitted_byte",
        ),
        page: measured(
            Spell {
                p50: number(json, "/alone/household_query/p50_ms")? / 1e3,
                p99: number(json, "/alone/household_query/p99_ms")? / 1e3,
            },
            "alone.household_query",
        ),
        loads,
    })
}

/// Seconds of a load of the plan, with its warm-up.
fn window(json: &Value, name: &str) -> Result<f64, String> {
    Ok(number(json, &format!("/plan/{name}/warm_up_s"))?
        + number(json, &format!("/plan/{name}/counted_s"))?)
}

/// The first summary: 64 connections, no peers, no `fdatasync`, no sizes.
fn first(json: &Value) -> Result<Summary, String> {
    const CLIENTS: u32 = 64;
    let cores = number(json, "/cores")?;
    let mut loads = Vec::new();
    let mut spent = Vec::new();
    for load in list(json, "loads")? {
        let name = text(load, "load");
        let entries = if name.starts_with("1 ") { 1 } else { 100 };
        let written = number(load, "/requests")? * f64::from(entries);
        let cpu = list(json, "cpu")?.iter().find(|cpu| cpu["load"] == name);
        let cpu = &cpu.ok_or_else(|| format!("no CPU seconds of {name}"))?["cpu_s"];
        let client = cpu["load generator"].as_f64().unwrap_or(0.0);
        spent.push((of_nodes(cpu) / written, client / written));
        loads.push(MeasuredLoad {
            entries,
            batch_signed: name.ends_with("as a batch"),
            clients: Some(CLIENTS),
            until_published: !name.ends_with("to commit"),
            entries_per_s: number(load, "/entries_per_s")?,
            p50_ms: number(load, "/p50_ms")?,
            p99_ms: number(load, "/p99_ms")?,
            publish_p99_ms: None,
            name,
        });
    }
    let [single, _, many, _] = spent[..] else {
        return Err("the summary has not its four loads".into());
    };
    let verify_all = f64::midpoint(
        number(json, "/verify_strict_per_s/before")?,
        number(json, "/verify_strict_per_s/after")?,
    );
    if number(json, "/nodes")? != MEASURED_NODES as f64 {
        return Err("the summary is not of three nodes".into());
    }
    Ok(Summary {
        commit: text(json, "commit"),
        date: text(json, "date"),
        cores: cores as usize,
        machine: json["machine"].as_str().map(str::to_owned),
        verify: measured(cores / verify_all, "cores ÷ verify_strict_per_s"),
        cpu_single: measured(single.0, "cpu_s ÷ the entries of requests"),
        cpu_many: measured(many.0, "cpu_s ÷ the entries of requests"),
        apply: None,
        sync: measured(
            Spell {
                p50: 0.000_13,
                p99: 0.000_2,
            },
            "assumed: not in this summary; measured once on such a machine",
        ),
        sync_byte: measured(
            1e-9 / 3.0,
            "assumed: 384 MB/s less the above, measured once on such a machine",
        ),
        client_entry: measured(single.1, "cpu_s of the load generator ÷ the entries"),
        entry_kept: measured(1_000.0, "assumed: not in this summary"),
        // There, bytes as sent were counted.
        disk_per_byte: measured(
            number(json, "/disk_bytes_per_submitted_byte")? * 1.4,
            "disk_bytes_per_submitted_byte × 1 400 ÷ 1 000",
        ),
        page: measured(
            Spell {
                p50: number(json, "/household_query/p50_ms")? / 1e3,
                p99: number(json, "/household_query/p99_ms")? / 1e3,
            },
            "household_query",
        ),
        loads,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::costs::Costs;

    /// A summary as the bench writes it, of a machine where all is round.
    pub(crate) fn beside_peers_json() -> Value {
        let spread = |value: f64| json!({"median": value, "min": value, "max": value});
        let load = |name: &str, per_request: u64, rate: f64| {
            json!({
                "load": name, "title": name, "connections": 64, "best": true, "entries_per_request": per_request,
                "entries_per_s": spread(rate), "p50_ms": spread(20.0), "p99_ms": spread(40.0),
                "rounds": [{"entries_per_s": rate, "client_cpu_share": 0.1}],
            })
        };
        json!({
            "commit": "abc", "date": "2026-11-25T00:00:00Z", "machine": {"cores": 2.0},
            "plan": {"sweep": {"warm_up_s": 1.0, "counted_s": 4.0}, "round": {"warm_up_s": 2.0, "counted_s": 10.0}},
            "bytes": {"visto_entry_kept": 1_000, "visto_entry_sent": 1_300},
            "loads": [load("etcd_put", 1, 9_000.0), load("visto_single", 1, 2_000.0), load("visto_signed", 100, 5_000.0), load("visto_batch", 100, 6_000.0)],
            "sweep": [{"load": "visto_single", "connections": 64, "entries_per_s": 1_200.0}],
            "paced": [{"load": "visto_single", "p50_ms": spread(9.0), "p99_ms": spread(30.0), "rounds": [{"asked_per_s": 800.0}]}],
            "publish_delay": [{"p99_ms": 50.0}],
            "limits": {
                "verify_strict_per_s_one_core": spread(20_000.0),
                "fdatasync": {"1000_bytes": {"p50_ms": spread(0.1), "p99_ms": spread(0.2)}, "100000_bytes": {"p50_ms": spread(0.199), "p99_ms": spread(0.4)}},
            },
            "cpu_s": {"visto_single": {"node: visto": 18.0, "load generator": 3.0}, "visto_signed": {"node: visto": 18.0}},
            "alone": {"disk_bytes_per_submitted_byte": 1.2, "household_query": {"p50_ms": 5.0, "p99_ms": 9.0}},
        })
    }

    #[test]
    fn costs_add_up_to_the_cpu_seconds_that_were_measured() {
        let summary = Summary::read(&beside_peers_json()).unwrap();
        // 18 s ÷ (1 200 × 5 s + 2 000 × 12 s), and 18 s ÷ (5 000 × 12 s).
        assert!((summary.cpu_single.value - 600e-6).abs() < 1e-9);
        assert!((summary.cpu_many.value - 300e-6).abs() < 1e-9);
        let (costs, origins) = Costs::of(&summary);
        assert!((costs.cpu_of_entry(3, 1) - 600e-6).abs() < 1e-9);
        assert!((costs.cpu_of_entry(3, 100) - 300e-6).abs() < 1e-9);
        assert!((costs.sync_byte - 1e-9).abs() < 1e-12);
        assert!((costs.client_entry - 100e-6).abs() < 1e-9);
        assert!((costs.disk_bytes - 1_200.0).abs() < 1e-6);
        assert!(origins.iter().all(|origin| !origin.from.is_empty()));
        assert_eq!(summary.loads.len(), 4);
        assert_eq!(summary.loads[3].publish_p99_ms, Some(50.0));
    }

    #[test]
    fn a_figure_that_is_missing_is_named() {
        let mut json = beside_peers_json();
        json["limits"]["verify_strict_per_s_one_core"] = json!(null);
        let missing = Summary::read(&json).unwrap_err();
        assert!(
            missing.contains("verify_strict_per_s_one_core"),
            "{missing}"
        );
        let mut json = beside_peers_json();
        json["cpu_s"] = json!({});
        assert!(Summary::read(&json).unwrap_err().contains("visto_single"));
    }

    #[test]
    fn how_long_apply_takes_is_taken_from_the_summary_if_it_says_so() {
        let mut json = beside_peers_json();
        json["stages"] = json!({"apply_us_per_entry": 12.0});
        let (costs, _) = Costs::of(&Summary::read(&json).unwrap());
        assert!((costs.entry_in_order - 12e-6).abs() < 1e-12);
    }

    #[test]
    fn every_summary_on_record_can_be_read() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/figures");
        let mut read = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            // The model's own result, and figures of other loads than it is made from.
            let others = ["simulation.json", "flat.json"];
            let is_other = others.iter().any(|name| path.ends_with(name));
            if path.extension().is_none_or(|e| e != "json") || is_other {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let summary = Summary::read(&serde_json::from_str(&text).unwrap())
                .unwrap_or_else(|why| panic!("{}: {why}", path.display()));
            let (costs, _) = Costs::of(&summary);
            assert!(costs.verify > 0.0 && !summary.loads.is_empty());
            read += 1;
        }
        assert!(read > 0);
    }
}
