// SPDX-License-Identifier: EUPL-1.2
//! What was measured at each size, beside what is wanted: for the terminal, and as Markdown for the README.

use std::{fmt::Write, path::Path};

use ::tests::figures::{self, thousands};
use serde_json::Value;

/// One figure, as a line of the table.
struct Figure {
    name: &'static str,
    target: &'static str,
    /// How it reads at a size; none where it was not measured.
    told: fn(&Value) -> Option<String>,
    /// Whether it is reached at a size, given the same at the least size.
    reached: fn(&Value, &Value) -> Option<bool>,
}

/// A rate may lie so much below that of the least size.
const FLAT: f64 = 0.15;

const FIGURES: &[Figure] = &[
    Figure {
        name: "100 entries a request, signed as a batch, entries/s",
        target: "at most 15 % below the least size",
        told: |at| rate(at, "visto_batch"),
        reached: |at, least| flat(at, least, "visto_batch"),
    },
    Figure {
        name: "100 entries a request, each signed, entries/s",
        target: "at most 15 % below",
        told: |at| rate(at, "visto_signed"),
        reached: |at, least| flat(at, least, "visto_signed"),
    },
    Figure {
        name: "one entry a request, 64 connections, entries/s",
        target: "at most 15 % below",
        told: |at| rate(at, "visto_single"),
        reached: |at, least| flat(at, least, "visto_single"),
    },
    Figure {
        name: "proof, p50 / p99 ms",
        target: "p99 < 2",
        told: |at| latency(at, "/reads/proof"),
        reached: |at, _| below(at, "/reads/proof/p99_ms", 2.0),
    },
    Figure {
        name: "receipt, p50 / p99 ms",
        target: "p99 < 2",
        told: |at| latency(at, "/reads/receipt"),
        reached: |at, _| below(at, "/reads/receipt/p99_ms", 2.0),
    },
    Figure {
        name: "first page of a subject (50 entries with receipts), p50 / p99 ms",
        target: "p99 < 2",
        told: |at| latency(at, "/reads/subject_page/page"),
        reached: |at, _| below(at, "/reads/subject_page/page/p99_ms", 2.0),
    },
    Figure {
        name: "first page of a household, p50 / p99 ms",
        target: "",
        told: |at| latency(at, "/reads/household_page/page"),
        reached: |_, _| None,
    },
    Figure {
        name: "a page of one entry with its `read` entry committed, p50 / p99 ms",
        target: "",
        told: |at| latency(at, "/reads/subject_page/with_read_entry_of_one_item"),
        reached: |_, _| None,
    },
    Figure {
        name: "export of 1 000 entries, p50 / longest ms",
        target: "< 100",
        told: |at| {
            let median = number(at, "/reads/export/p50_ms")?;
            let longest = number(at, "/reads/export/longest_ms")?;
            Some(format!("{median:.0} / {longest:.0}"))
        },
        reached: |at, _| below(at, "/reads/export/p50_ms", 100.0),
    },
    Figure {
        name: "resident memory of a node, started / after the writes, MiB",
        target: "< 1 024",
        told: |at| {
            let started = number(at, "/resident_mib/started")?;
            let written = number(at, "/resident_mib/after_writes")?;
            Some(format!("{} / {}", thousands(started), thousands(written)))
        },
        reached: |at, _| below(at, "/resident_mib/after_writes", 1_024.0),
    },
    Figure {
        name: "bytes on a node's disk a submitted byte, at rest: loaded / after the writes",
        target: "≤ 1.3",
        told: |at| {
            let of = |when: &str| number(at, &format!("/disk/{when}/per_submitted_byte"));
            Some(format!("{:.2} / {:.2}", of("loaded")?, of("after_writes")?))
        },
        reached: |at, _| below(at, "/disk/after_writes/per_submitted_byte", 1.3),
    },
    Figure {
        name: "bytes that a node writes a submitted byte, log and compactions too",
        target: "",
        told: |at| {
            let written = number(at, "/disk/written_per_submitted_byte")?;
            Some(format!("{written:.1}"))
        },
        reached: |_, _| None,
    },
    Figure {
        name: "restart to ready, s",
        target: "< 10",
        told: |at| Some(format!("{:.1}", number(at, "/reads/after_restart_s")?)),
        reached: |at, _| below(at, "/reads/after_restart_s", 10.0),
    },
    Figure {
        name: "longest wait of a write before / while 100 000 changed refs are folded, ms",
        target: "≤ 50 more",
        told: |at| {
            let before = number(at, "/fold/before/longest_ms")?;
            let folding = number(at, "/fold/while_folding/longest_ms")?;
            Some(format!("{before:.0} / {folding:.0}"))
        },
        reached: |at, _| {
            let before = number(at, "/fold/before/longest_ms")?;
            let folding = number(at, "/fold/while_folding/longest_ms")?;
            Some(folding - before <= 50.0)
        },
    },
    Figure {
        name: "seeding a new node, MB/s (of the disk's, written in sequence)",
        target: "> half",
        told: |at| {
            let speed = number(at, "/seed/mb_per_s")?;
            let disk = number(at, "/seed/disk_mb_per_s")?;
            Some(format!(
                "{speed:.0} ({:.0} % of {disk:.0})",
                speed / disk * 100.0
            ))
        },
        reached: |at, _| Some(number(at, "/seed/share_of_disk")? > 0.5),
    },
    Figure {
        name: "writes meanwhile, against just before",
        target: "≤ 20 % slower",
        told: |at| {
            Some(format!(
                "{:+.0} %",
                number(at, "/seed/writes_slower")? * -100.0
            ))
        },
        reached: |at, _| Some(number(at, "/seed/writes_slower")? <= 0.2),
    },
    Figure {
        name: "loaded, entries/s",
        target: "",
        told: |at| Some(thousands(number(at, "/load_entries_per_s")?)),
        reached: |_, _| None,
    },
];

fn number(at: &Value, pointer: &str) -> Option<f64> {
    at.pointer(pointer)?.as_f64()
}

fn rate(at: &Value, load: &str) -> Option<String> {
    let of = |which: &str| number(at, &format!("/writes/{load}/entries_per_s/{which}"));
    let (median, min, max) = (of("median")?, of("min")?, of("max")?);
    let [median, min, max] = [median, min, max].map(thousands);
    Some(format!("{median} ({min}–{max})"))
}

fn flat(at: &Value, least: &Value, load: &str) -> Option<bool> {
    let median = |of| number(of, &format!("/writes/{load}/entries_per_s/median"));
    Some(median(at)? / median(least)? >= 1.0 - FLAT)
}

fn latency(at: &Value, pointer: &str) -> Option<String> {
    let of = |which: &str| number(at, &format!("{pointer}/{which}"));
    Some(format!("{:.1} / {:.1}", of("p50_ms")?, of("p99_ms")?))
}

fn below(at: &Value, pointer: &str, target: f64) -> Option<bool> {
    Some(number(at, pointer)? < target)
}

/// The sizes, the least first.
fn sizes(flat: &Value) -> Vec<(u64, &Value)> {
    let members = flat.as_object().into_iter().flatten();
    let mut sizes: Vec<(u64, &Value)> = members
        .filter_map(|(size, at)| Some((size.parse().ok()?, at)))
        .collect();
    sizes.sort_by_key(|(size, _)| *size);
    sizes
}

fn cells(flat: &Value) -> Vec<Vec<String>> {
    let sizes = sizes(flat);
    let Some((_, least)) = sizes.first() else {
        return Vec::new();
    };
    let row = |figure: &Figure| {
        let mut cells = vec![figure.name.to_owned(), figure.target.to_owned()];
        cells.extend(sizes.iter().map(|(_, at)| {
            let verdict = match (figure.reached)(at, least) {
                None => "",
                Some(true) => ", reached",
                Some(false) => ", missed",
            };
            (figure.told)(at).map_or("–".into(), |told| told + verdict)
        }));
        cells
    };
    let mut rows = vec![vec!["entries".to_owned(), "target".to_owned()]];
    rows[0].extend(sizes.iter().map(|(size, _)| thousands(*size as f64)));
    rows.extend(FIGURES.iter().map(row));
    rows
}

/// For the terminal.
pub(crate) fn text(flat: &Value) -> String {
    let mut text = String::new();
    for row in cells(flat) {
        let [name, target, at @ ..] = row.as_slice() else {
            continue;
        };
        let _ = write!(text, "{name:<76}{target:<32}");
        for cell in at {
            let _ = write!(text, "{cell:<36}");
        }
        text.push('\n');
    }
    text
}

/// What stands in the README between its marks.
fn markdown(flat: &Value) -> String {
    let mut text = String::new();
    let of = |at: &Value, member: &str| at[member].as_str().unwrap_or("unknown").to_owned();
    let when: Vec<String> = sizes(flat)
        .iter()
        .map(|(size, at)| {
            let date = of(at, "date");
            let date = date.split('T').next().unwrap_or_default();
            format!(
                "{}: commit {}, {date}",
                thousands(*size as f64),
                of(at, "commit")
            )
        })
        .collect();
    let _ = writeln!(text, "{}.\n", when.join("; "));
    for (place, row) in cells(flat).iter().enumerate() {
        let _ = writeln!(text, "| {} |", row.join(" | "));
        if place == 0 {
            let _ = writeln!(text, "|{}", "---|".repeat(row.len()));
        }
    }
    text
}

/// Puts the sizes on record in this tree, beside those of earlier runs.
///
/// # Errors
/// A file cannot be read or written.
pub(crate) fn record(flat: &Value, root: &Path) -> Result<(), String> {
    let file = root.join("scripts/figures/flat.json");
    let known = std::fs::read_to_string(&file).unwrap_or_else(|_| "{}".into());
    let mut known: Value =
        serde_json::from_str(&known).map_err(|error| format!("{}: {error}", file.display()))?;
    for (size, at) in flat.as_object().into_iter().flatten() {
        known[size] = at.clone();
    }
    std::fs::write(&file, format!("{known:#}\n"))
        .map_err(|error| format!("{}: {error}", file.display()))?;
    figures::in_readme(root, "flat", &markdown(&known))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(rate: f64) -> Value {
        let spread = json!({"median": rate, "min": rate - 1.0, "max": rate + 1.0});
        json!({
            "commit": "abc1234",
            "date": "2026-11-25T01:02:03.000Z",
            "writes": {"visto_batch": {"entries_per_s": spread}},
            "reads": {"proof": {"p50_ms": 0.4, "p99_ms": 2.5}, "after_restart_s": 3.0},
            "fold": {"before": {"longest_ms": 20.0}, "while_folding": {"longest_ms": 70.0}},
            "seed": {"mb_per_s": 90.0, "disk_mb_per_s": 200.0, "share_of_disk": 0.45, "writes_slower": 0.25},
        })
    }

    #[test]
    fn each_figure_is_told_with_its_target_at_every_size() {
        let flat =
            json!({"1000000": at(840.0), "0": at(1_000.0), "50": at(860.0), "70": at(1_300.0)});
        let table = markdown(&flat);
        let line = |begin: &str| {
            let line = table.lines().find(|line| line.contains(begin));
            line.unwrap_or_else(|| panic!("{begin}: {table}"))
                .to_owned()
        };
        // The least size first, whatever the order of the members.
        assert!(line("entries |").ends_with("| 0 | 50 | 70 | 1 000 000 |"));
        let batch = line("signed as a batch");
        assert!(batch.contains("1 000 (999–1 001), reached | 860 (859–861), reached"));
        assert!(batch.contains("1 300 (1 299–1 301), reached"));
        assert!(batch.ends_with("840 (839–841), missed |"));
        assert!(line("proof, p50").contains("0.4 / 2.5, missed"));
        assert!(line("restart").contains("3.0, reached"));
        assert!(line("folded").contains("20 / 70, reached"));
        assert!(line("seeding").contains("90 (45 % of 200), missed"));
        assert!(line("writes meanwhile").contains("-25 %, missed"));
        assert!(line("export").ends_with("| – | – | – | – |"));
        assert_eq!(text(&flat).lines().count(), FIGURES.len() + 1);
        assert!(table.starts_with("0: commit abc1234, 2026-11-25; 50: "));
    }

    #[test]
    fn nothing_measured_makes_an_empty_table() {
        assert_eq!(text(&json!({})), "");
    }
}
