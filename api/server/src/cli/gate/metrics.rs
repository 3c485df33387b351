// SPDX-License-Identifier: EUPL-1.2
//! What an operator asks a gate: is it alive, is it ready, and its numbers (Prometheus text). Nothing personal.

use std::{fmt::Write, sync::Arc};

use client::gate::{Gate, Reason, keys::Keys};

use super::{Fault, IntoResponse, Response, Router, State, get, now_ms};

type Asked = (Arc<Gate>, Arc<Keys>);

/// The operator's routes.
pub(super) fn router(gate: Arc<Gate>, keys: Arc<Keys>) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state((gate, keys))
}

async fn ready(State((gate, keys)): State<Asked>) -> Response {
    let standing = gate.outbox().standing(now_ms());
    let mut failing = Vec::new();
    if standing.broken {
        failing.push("outbox-disk".to_owned());
    }
    if standing.bytes >= standing.bytes_max {
        failing.push("outbox-full".to_owned());
    }
    if !keys.is_fresh(now_ms()) {
        failing.push("keys".to_owned());
    }
    if failing.is_empty() {
        "ok\n".into_response()
    } else {
        Fault::NotReady(failing).into_response()
    }
}

async fn metrics(State((gate, keys)): State<Asked>) -> String {
    let now_ms = now_ms();
    let standing = gate.outbox().standing(now_ms);
    let counts = gate.counts().clone();
    let mut text = String::new();
    let mut one = |kind: &str, name: &str, help: &str, value: u64| {
        // A String takes everything.
        let _ = writeln!(
            text,
            "# HELP visto_gate_{name} {help}\n# TYPE visto_gate_{name} {kind}\nvisto_gate_{name} {value}"
        );
    };
    let age_s = |since_ms: u64| now_ms.saturating_sub(since_ms) / 1000;
    one(
        "counter",
        "passed_total",
        "Calls whose answer left.",
        counts.passed,
    );
    one(
        "counter",
        "emergencies_total",
        "Calls let through as an emergency: each awaits review.",
        counts.emergencies,
    );
    one(
        "gauge",
        "outbox_waiting",
        "Entries that wait for the ledger.",
        standing.waiting,
    );
    one(
        "gauge",
        "outbox_waiting_emergencies",
        "Consumers' emergency entries among them.",
        standing.waiting_emergencies,
    );
    one(
        "gauge",
        "outbox_overdue",
        "Entries that were due in the ledger and are not there.",
        standing.overdue,
    );
    one(
        "gauge",
        "outbox_oldest_age_seconds",
        "Age of the oldest entry that waits.",
        standing.oldest_ms.map_or(0, age_s),
    );
    one(
        "gauge",
        "outbox_refused",
        "Entries that the ledger refused for good: a person must look at them.",
        standing.refused,
    );
    one(
        "counter",
        "outbox_sent_total",
        "Entries settled with a receipt.",
        standing.sent,
    );
    one(
        "counter",
        "outbox_unproven_total",
        "Receipts that do not hold under the policy.",
        standing.unproven,
    );
    one(
        "gauge",
        "outbox_bytes",
        "Bytes of the outbox.",
        standing.bytes,
    );
    one(
        "gauge",
        "outbox_bytes_max",
        "Most bytes of the outbox.",
        standing.bytes_max,
    );
    one(
        "gauge",
        "outbox_broken",
        "1 when its disk failed.",
        u64::from(standing.broken),
    );
    one(
        "gauge",
        "keys_age_seconds",
        "Age of the copy of the registry's keys.",
        age_s(keys.read_at_ms()),
    );
    text.push_str("# HELP visto_gate_refused_total Calls not let through, by reason.\n# TYPE visto_gate_refused_total counter\n");
    for reason in Reason::ALL {
        let count = counts.refused.get(reason.code()).copied().unwrap_or(0);
        let _ = writeln!(
            text,
            "visto_gate_refused_total{{reason=\"{}\"}} {count}",
            reason.code()
        );
    }
    text
}
