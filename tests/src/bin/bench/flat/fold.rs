// SPDX-License-Identifier: EUPL-1.2
//! How long writes wait while the nodes fold many changed refs at once.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use ::tests::wait;
use serde_json::{Value, json};

use super::{
    reads::{folded, metric},
    writes::Writes,
};
use crate::{
    load,
    servers::visto::Visto,
    stats::{Latency, round},
};

/// Refs that change, each once.
pub(super) const REFS: u64 = 100_000;
/// Refs that one entry names: as many as one may.
const ENTRY_REFS: u64 = 200;
/// Writes a second, whoever waits; more sessions than are ever held up at once.
const WRITES_PER_S: f64 = 100.0;
const SESSIONS: usize = 64;
/// Writes that are signed before: for the longest fold that is watched.
const WRITES_MAX: u64 = 20_000;
/// Writes are watched for so long before the fold.
const QUIET: Duration = Duration::from_secs(8);
const PATIENCE: Duration = Duration::from_secs(180);

/// The longest wait of a paced write while refs are folded, beside the longest of a time just before in which next to nothing is.
pub(super) async fn measure(visto: &mut Visto) -> Value {
    let requests: Vec<(String, u64)> = load::naming(REFS, ENTRY_REFS, 10).collect();
    folded(visto).await;
    let mut writes = Writes::start(visto, WRITES_MAX, SESSIONS, Some(WRITES_PER_S));
    let start = Instant::now();
    wait::at(start + QUIET).await;
    // Just after a fold none is ordered for a while: time to enter all refs for the next.
    let version = async || metric(visto, 1, "visto_state_root_version").await;
    let before = version().await;
    wait::until("a fold", async || (version().await > before).then_some(())).await;
    let quiet = start..Instant::now();
    let (keys, seconds) = (folded_keys(visto).await, folded_s(visto).await);
    load::fill(&visto.cluster, requests.into_iter(), 4).await;
    let entered = Instant::now();
    wait::until_by(entered + PATIENCE, "the fold of all refs", async || {
        (folded_keys(visto).await >= keys + REFS as f64).then_some(())
    })
    .await;
    let folding = entered..Instant::now();
    writes.stop();
    let figures = |during: &Range<Instant>| {
        let waits = writes.waits(during);
        let longest = waits.iter().max().copied().unwrap_or_default();
        let mut value = Latency::of(waits).json();
        value["longest_ms"] = json!(round(longest.as_secs_f64() * 1_000.0));
        value
    };
    json!({
        "refs": REFS,
        "keys_folded": round(folded_keys(visto).await - keys),
        "fold_s": round(folded_s(visto).await - seconds),
        "writes_per_s": WRITES_PER_S,
        "before": figures(&quiet),
        "while_folding": figures(&folding),
    })
}

async fn folded_keys(visto: &Visto) -> f64 {
    let keys = metric(visto, 1, "visto_fold_keys_sum").await;
    keys.unwrap_or(0.0)
}

async fn folded_s(visto: &Visto) -> f64 {
    let seconds = metric(visto, 1, "visto_stage_seconds_sum{stage=\"fold\"}").await;
    seconds.unwrap_or(0.0)
}
