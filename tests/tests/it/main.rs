// SPDX-License-Identifier: EUPL-1.2
//! Scenarios over real node processes. One binary, so that it links once; each test starts a cluster of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod audit;
mod cli;
mod erasure;
mod exports;
mod flipped;
mod gate;
mod governance;
mod kills;
mod loaded;
mod matrix;
mod membership;
mod monitoring;
mod openapi;
mod partition;
mod problems;
mod pseudonyms;
mod readers;
mod readme;
mod receipts;
mod receipts_of_others;
mod sides;
mod snapshot;
mod verifica;

use std::sync::Arc;

use tests::{cluster::Cluster, history::Recorder};

/// Judges a run against what the named nodes keep, and prints what it amounts to.
async fn judge(cluster: &Cluster, recorder: Arc<Recorder>, nodes: &[u64]) {
    let kept = cluster.kept(nodes, recorder.covering_size()).await;
    let history = recorder.finish(kept);
    match history.judge() {
        Ok(verdict) => println!("{verdict}"),
        Err(anomalies) => panic!("the history breaks promises: {anomalies:#?}"),
    }
}
