// SPDX-License-Identifier: EUPL-1.2
//! What `/metrics` shows of a node: every metric by name, what it means, and those that are looked up when somebody asks.
//!
//! The names are the contract with dashboards and alerts (`scripts/ops/`). Counts and times alone, nothing personal.

use std::{sync::OnceLock, time::Duration};

use cluster::{Node, Role};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::sync::watch;

/// The process has one recorder of metrics, also where tests run several nodes in it. Installed before a node is opened: what is counted
/// earlier is lost.
pub fn recorder() -> Option<PrometheusHandle> {
    static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    RECORDER
        .get_or_init(|| {
            install()
                .inspect_err(|error| tracing::warn!(%error, "metrics are not recorded"))
                .ok()
        })
        .clone()
}

fn install() -> Result<PrometheusHandle, metrics_exporter_prometheus::BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .set_buckets_for_metric(
            Matcher::Full("visto_stage_seconds".to_owned()),
            STAGE_SECONDS,
        )?
        .install_recorder()?;
    for &(kind, name, text) in METRICS {
        match kind {
            // From zero on: a rate needs a value before the first event.
            Kind::Counter => {
                describe_counter!(name, text);
                counter!(name).absolute(0);
            }
            Kind::Labelled => describe_counter!(name, text),
            Kind::Gauge => describe_gauge!(name, text),
            Kind::Histogram => describe_histogram!(name, text),
        }
    }
    Ok(handle)
}

/// Takes what histograms observed into their buckets every few seconds, until `stopped`: what nobody asks for would pile up in memory.
pub async fn upkeep(recorder: PrometheusHandle, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(UPKEEP) => recorder.run_upkeep(),
            _ = stopped.wait_for(|stop| *stop) => return,
        }
    }
}

/// The page, with what a node can say only now.
pub fn page(recorder: &PrometheusHandle, node: &Node) -> String {
    let status = node.status();
    let flag = |is: bool| f64::from(u8::from(is));
    gauge!("visto_applied_size").set(status.applied_size.0 as f64);
    gauge!("visto_published_size").set(status.published_size.0 as f64);
    gauge!("visto_raft_term").set(status.term as f64);
    gauge!("visto_raft_leader").set(status.leader.map_or(0.0, |node| node.0 as f64));
    gauge!("visto_raft_leads").set(flag(status.role == Role::Leader));
    gauge!("visto_healthy").set(flag(status.healthy));
    match node.store_bytes() {
        Ok(parts) => {
            for part in parts {
                gauge!("visto_store_bytes", "database" => part.database, "family" => part.family)
                    .set(part.bytes as f64);
            }
        }
        // All the rest is worth showing all the more.
        Err(error) => tracing::warn!(%error, "the store does not tell its size"),
    }
    match node.write_stalls() {
        Ok(stalls) => {
            for stall in stalls {
                gauge!("visto_store_write_stopped", "database" => stall.database)
                    .set(flag(stall.stopped));
                gauge!("visto_store_write_delayed_bytes_per_second", "database" => stall.database)
                    .set(stall.delayed_bytes_per_s as f64);
            }
        }
        Err(error) => {
            tracing::warn!(%error, "the store does not tell whether it holds back writes")
        }
    }
    recorder.render()
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    /// A counter whose labels are known only when something happens.
    Labelled,
    Gauge,
    Histogram,
}

/// Every metric of a node.
const METRICS: &[(Kind, &str, &str)] = &[
    (
        Kind::Histogram,
        "visto_stage_seconds",
        "Where an entry waits, by stage. Once for each unit of work: verify (a request at the door, or a batch from the leader), queue (a batch, \
         its longest wait for the proposer), append (a write of the Raft log until fsynced here), replicate (at the leader: a batch, from proposed \
         to committed), apply (a batch, from committed to readable), fold (a fold, beside the way), publish (a checkpoint, its longest wait from \
         applied to published here).",
    ),
    (
        Kind::Histogram,
        "visto_batch_entries",
        "Submissions in one batch that this node proposed.",
    ),
    (
        Kind::Gauge,
        "visto_applied_size",
        "Entries applied here. Never falls.",
    ),
    (
        Kind::Gauge,
        "visto_published_size",
        "Entries under the newest published checkpoint known here. Never falls.",
    ),
    (Kind::Gauge, "visto_raft_term", "Raft's term."),
    (
        Kind::Gauge,
        "visto_raft_leader",
        "Number of the node that leads as far as this one knows; 0 when it knows none.",
    ),
    (
        Kind::Gauge,
        "visto_raft_leads",
        "1 on the node that leads, else 0.",
    ),
    (
        Kind::Gauge,
        "visto_raft_lag",
        "At the leader: raft_entries that a peer does not have yet.",
    ),
    (
        Kind::Gauge,
        "visto_healthy",
        "1 if the node knows a leader and has no fatal error, else 0.",
    ),
    (
        Kind::Gauge,
        "visto_store_bytes",
        "Bytes of table and blob files, by database and column family.",
    ),
    (
        Kind::Gauge,
        "visto_store_write_stopped",
        "1 while a database takes no writes because its flushes or compactions are behind, else 0.",
    ),
    (
        Kind::Gauge,
        "visto_store_write_delayed_bytes_per_second",
        "What a database takes of writes while it slows them down for that; 0 while it does not.",
    ),
    (
        Kind::Gauge,
        "visto_fold_pending",
        "Entries applied here and not folded yet.",
    ),
    (
        Kind::Histogram,
        "visto_fold_keys",
        "Keys that one fold changed.",
    ),
    (
        Kind::Gauge,
        "visto_state_root_version",
        "Version of the newest published state root.",
    ),
    (
        Kind::Histogram,
        "visto_publish_round_seconds",
        "At the leader: one round of cosigning that published.",
    ),
    (
        Kind::Counter,
        "visto_publish_rounds_failed_total",
        "At the leader: rounds that published nothing.",
    ),
    (
        Kind::Counter,
        "visto_cosign_refused_total",
        "At the leader: cosignatures that a node was asked for and did not give.",
    ),
    (
        Kind::Counter,
        "visto_cosign_refusals_total",
        "Cosignatures that this node was asked for and refused.",
    ),
    (
        Kind::Gauge,
        "visto_erasures_open",
        "Orders of erasure that this node has not carried out yet.",
    ),
    (
        Kind::Gauge,
        "visto_erasure_open_seconds",
        "Age of the oldest of them; 0 when there is none.",
    ),
    (
        Kind::Counter,
        "visto_erasure_twins_total",
        "Second copies of an erased entry that were found and erased too.",
    ),
    (
        Kind::Gauge,
        "visto_clock_offset_ms",
        "This node's clock minus the median of the voters' clocks, milliseconds.",
    ),
    (
        Kind::Gauge,
        "visto_peer_certificate_expires_timestamp_seconds",
        "When this node's certificate towards peers ends, seconds since 1970.",
    ),
    (
        Kind::Labelled,
        "visto_peer_calls_total",
        "Calls of peers answered, by method.",
    ),
    (
        Kind::Counter,
        "visto_peer_calls_denied_total",
        "Calls of peers that may not make them.",
    ),
    (
        Kind::Counter,
        "visto_peer_connections_refused_total",
        "Connections of peers beyond what is kept open.",
    ),
    (
        Kind::Counter,
        "visto_peer_connections_failed_total",
        "Connections whose peer did not prove itself.",
    ),
    (
        Kind::Counter,
        "visto_snapshot_sent_bytes_total",
        "Bytes of snapshots sent to peers.",
    ),
    (
        Kind::Labelled,
        "visto_pseudonyms_evaluated_total",
        "Pseudonyms evaluated, by institution.",
    ),
    (
        Kind::Labelled,
        "visto_http_requests_total",
        "Requests answered, by method, route and status.",
    ),
    (
        Kind::Histogram,
        "visto_http_request_seconds",
        "Time until a request is answered, by method and route.",
    ),
];

const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// From a batch verified on idle cores to a fold of millions of keys.
const STAGE_SECONDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 120.0,
];
const UPKEEP: Duration = Duration::from_secs(5);
