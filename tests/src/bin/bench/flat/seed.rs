// SPDX-License-Identifier: EUPL-1.2
//! A fourth node joins and gets the whole ledger, while writes go on.

use std::{
    fs::File,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use ::tests::{leaves, node::peer_address, wait, world};
use ledger::key::KeyUse;
use serde_json::{Value, json};

use super::writes::Writes;
use crate::{machine, servers::visto::Visto, stats::round};

/// Bytes of the file that is written to know the disk.
const DISK_BYTES: usize = 1 << 30;
/// One entry a request, each session as fast as it is answered.
const SESSIONS: usize = 64;
/// Writes that are signed before: enough for the time before and for the first half minute of the transfer on a fast machine.
const WRITES_MAX: u64 = 80_000;
/// Writes are counted for so long before, the first second left out.
const BEFORE: Duration = Duration::from_secs(7);
const PATIENCE: Duration = Duration::from_secs(1_800);
/// The node that joins.
const NEW: u64 = 4;

/// How fast one file can be written here, one block after the other, until all of it is on the disk.
pub(super) fn disk_mb_per_s(folder: &Path) -> Result<f64, String> {
    let path = folder.join("sequential");
    let write = || -> std::io::Result<f64> {
        let block = vec![0x5a; 1 << 20];
        let start = Instant::now();
        let mut file = File::create(&path)?;
        for _ in 0..DISK_BYTES / block.len() {
            file.write_all(&block)?;
        }
        file.sync_all()?;
        Ok(DISK_BYTES as f64 / 1e6 / start.elapsed().as_secs_f64())
    };
    let speed = write().map_err(|error| format!("{}: {error}", path.display()));
    let _ = std::fs::remove_file(&path);
    speed
}

pub(super) async fn measure(visto: &mut Visto, disk_mb_per_s: f64) -> Value {
    let genesis = leaves::leaf_hashes(&visto.cluster.http, &visto.cluster.url(1, ""), 1)
        .await
        .remove(0);
    visto.cluster.add_folder(NEW).await;
    let mut head = (0, genesis);
    let operator = world::operator_of(NEW);
    for (label, key_use) in [("node", KeyUse::Node), ("cosign", KeyUse::Cosign)] {
        let mut key = world::registration(operator, &format!("{label} {NEW}"), key_use);
        key["event"] = json!("registered");
        let entry = world::governance("key", key, &head);
        head = visto.cluster.accept(1, &entry.line()).await;
    }
    let mut joins = world::node_content(NEW, &peer_address(visto.cluster.place(), NEW));
    joins["event"] = json!("added");
    let entry = world::governance("node", joins, &head);

    let mut writes = Writes::start(visto, WRITES_MAX, SESSIONS, None);
    let start = Instant::now();
    wait::at(start + BEFORE).await;
    let before = start + Duration::from_secs(1)..Instant::now();
    visto.cluster.accept(1, &entry.line()).await;
    visto.cluster.node(NEW).start();
    let started = Instant::now();
    let data = visto.cluster.node(NEW).data();
    let (http, url) = (
        visto.cluster.http.clone(),
        visto.cluster.url(NEW, "/readyz"),
    );
    let mut first = None;
    let ready = wait::until_by(started + PATIENCE, "the new node to be ready", async || {
        if first.is_none() && machine::bytes_on_disk(&data.join("snapshots")) > 0 {
            first = Some(Instant::now());
        }
        let answer = http.get(&url, None).await;
        answer
            .is_ok_and(|answer| answer.status == 200)
            .then(Instant::now)
    })
    .await;
    writes.stop();
    let first = first.unwrap_or(started);
    let bytes = machine::bytes_on_disk(&data.join("snapshots"));
    let seconds = ready.saturating_duration_since(first).as_secs_f64();
    let mb_per_s = bytes as f64 / 1e6 / seconds.max(0.001);
    let (alone, beside) = (writes.per_s(&before), writes.per_s(&(first..ready)));
    json!({
        "bytes": bytes,
        "started_to_ready_s": round(ready.saturating_duration_since(started).as_secs_f64()),
        "first_byte_to_ready_s": round(seconds),
        "mb_per_s": round(mb_per_s),
        "disk_mb_per_s": round(disk_mb_per_s),
        "share_of_disk": round(mb_per_s / disk_mb_per_s),
        "writes_per_s_before": round(alone),
        "writes_per_s_during": round(beside),
        "writes_slower": round(1.0 - beside / alone),
    })
}
