// SPDX-License-Identifier: EUPL-1.2
//! Does a ledger stay as fast as it grows? At each size three nodes are started on folders that `visto-load` filled with so many real entries,
//! and asked, written to, restarted, made to fold and to seed a fourth node.
//!
//! What stands there is a town: a household of three for each thousand entries, [`HOUSEHOLDS_MIN`] at least, and accesses to all its persons in
//! turn, as large as those that are written and measured. The nodes share the files of what was loaded by hard links, so the disk and the page
//! cache hold them once. Each node is asked over one connection that waits for no other, so what is taken is a node's own time and an HTTP
//! exchange on loopback. A size that does not fit on the disk is not begun.

mod fold;
mod reads;
mod seed;
mod table;
mod writes;

use std::{
    path::Path,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};

use crate::{
    alone,
    load::Town,
    machine,
    modes::Mode,
    run::{Plan, Servers},
    servers::visto::Visto,
    stats::{Spread, round},
};

pub(crate) use table::{record, text};

const HOUSEHOLDS_MIN: u64 = 1_000;
/// Entries about each household: what an export of one holds.
const HOUSEHOLD_ENTRIES: u64 = 1_000;
/// Writes that are measured, each with the connections that fill the nodes.
const WRITES: [(Mode, usize); 3] = [(Mode::Batch, 16), (Mode::Signed, 4), (Mode::Single, 64)];
/// What an entry takes on the disk, all families together, and once more for the node that joins; some of it twice while tables are compacted.
const DISK_BYTES_ENTRY: u64 = 2_500;
/// How long nodes may tidy up and check a large store beside their work before they are measured.
const SETTLE: Duration = Duration::from_secs(120);

/// Measures each size in turn: the members of the summary, by size.
pub(crate) async fn run(sizes: &[u64], plan: &Plan, folder: &Path) -> Result<Value, String> {
    let mut measured = Map::new();
    for entries in sizes {
        let free = machine::free_bytes(folder)?;
        let needed = entries * DISK_BYTES_ENTRY;
        if needed > free {
            return Err(format!(
                "{entries} entries take some {} GB on the disk, and {} GB are free",
                needed >> 30,
                free >> 30
            ));
        }
        measured.insert(entries.to_string(), at(*entries, plan, folder).await?);
    }
    Ok(Value::Object(measured))
}

async fn at(entries: u64, plan: &Plan, folder: &Path) -> Result<Value, String> {
    eprintln!("loading {entries} entries …");
    let disk_mb_per_s = seed::disk_mb_per_s(folder)?;
    let start = Instant::now();
    let town = Town::new(HOUSEHOLDS_MIN.max(entries / HOUSEHOLD_ENTRIES));
    let mut visto = Visto::loaded(town, entries).await;
    let load_s = start.elapsed().as_secs_f64();
    eprintln!("loaded in {load_s:.0} s; started; restarts …");
    machine::quiet(&visto.pids(), SETTLE).await;
    let idle_mib = resident_mib(&visto);
    let at_rest = disk(&visto).await;
    let restart_s = restarts(&mut visto).await;
    machine::quiet(&visto.pids(), SETTLE).await;
    eprintln!("reads …");
    let mut reads = reads::measure(&visto, entries).await;
    reads.insert("after_restart_s".into(), json!(restart_s));

    let (submitted, written) = (submitted(&visto), written(&visto));
    let mut servers = Servers::new(None, None, visto);
    let mut rounds = vec![Vec::new(); WRITES.len()];
    for round in 1..=plan.rounds {
        eprintln!("writes, round {round} of {} …", plan.rounds);
        for ((mode, connections), rounds) in WRITES.into_iter().zip(&mut rounds) {
            let measured = servers.load(mode, connections, plan.round, plan).await?;
            rounds.push(measured);
        }
    }
    let writes: Map<String, Value> = WRITES
        .into_iter()
        .zip(&rounds)
        .map(|((mode, connections), rounds)| {
            let of = |figure: fn(&crate::stats::Measured) -> f64| {
                Spread::of(rounds.iter().map(figure)).map(Spread::json)
            };
            let value = json!({
                "connections": connections,
                "entries_per_s": of(|round| round.entries_per_s),
                "p50_ms": of(|round| round.latency.p50_ms),
                "p99_ms": of(|round| round.latency.p99_ms),
            });
            (mode.name().to_owned(), value)
        })
        .collect();
    let mut visto = servers.visto;
    let written_mib = resident_mib(&visto);
    machine::quiet(&visto.pids(), SETTLE).await;
    let after_writes = disk(&visto).await;
    let amplified = (self::written(&visto) - written) / (self::submitted(&visto) - submitted);
    eprintln!("a fold of {} changed refs …", fold::REFS);
    let fold = fold::measure(&mut visto).await;
    eprintln!("a new node …");
    let seed = seed::measure(&mut visto, disk_mb_per_s).await;
    let size = visto
        .cluster
        .checkpoint(1)
        .await
        .map_or(0, |(size, _)| size);
    visto.cluster.finish().await;
    Ok(json!({
        "commit": machine::commit(),
        "date": ledger::time::format_timestamp(::tests::world::now_ms()),
        "machine": machine::facts(folder),
        "load_s": round(load_s),
        "load_entries_per_s": round(entries as f64 / load_s),
        "writes": writes,
        "reads": reads,
        "resident_mib": {"started": idle_mib, "after_writes": written_mib},
        "fold": fold,
        "seed": seed,
        "disk": {"loaded": at_rest, "after_writes": after_writes, "written_per_submitted_byte": round(amplified)},
        "entries_at_the_end": size,
    }))
}

/// Submitted bytes so far.
fn submitted(visto: &Visto) -> f64 {
    visto.submitted_bytes.load(Ordering::Relaxed) as f64
}

/// Bytes that the first node wrote to its disk so far.
fn written(visto: &Visto) -> f64 {
    let pid = visto.pids().first().copied();
    pid.and_then(machine::written_bytes).unwrap_or_default() as f64
}

/// What the first node's folder takes on the disk, all of it, and of that its tables and blobs by column family.
async fn disk(visto: &Visto) -> Value {
    let node = visto.cluster.nodes.get(&1);
    let bytes = node.map_or(0, |node| machine::bytes_on_disk(&node.data()));
    let page = visto
        .cluster
        .http
        .get(&visto.cluster.url(1, "/metrics"), None)
        .await;
    json!({
        "bytes": bytes,
        "per_submitted_byte": round(bytes as f64 / submitted(visto)),
        "store_bytes": page.map_or_else(|_| Default::default(), |page| alone::families(&page.text)),
    })
}

/// Of the node that has most.
fn resident_mib(visto: &Visto) -> f64 {
    let nodes = visto.pids().into_iter();
    round(nodes.filter_map(machine::resident_mib).fold(0.0, f64::max))
}

/// Each node in turn is told to end and started again: seconds until it is ready, the longest.
async fn restarts(visto: &mut Visto) -> f64 {
    let mut longest = Duration::ZERO;
    let numbers: Vec<u64> = visto.cluster.nodes.keys().copied().collect();
    for number in numbers {
        visto.cluster.node(number).stop().await;
        let start = Instant::now();
        visto.cluster.node(number).start();
        visto.cluster.ready_node(number).await;
        longest = longest.max(start.elapsed());
        visto.cluster.leader().await;
    }
    round(longest.as_secs_f64())
}
