// SPDX-License-Identifier: EUPL-1.2
//! What everything costs: taken from a summary of `./scripts/bench`, by the names of its figures. What is not in the summary is derived or
//! assumed here, and each figure says which.

use serde_json::{Value, json};

use crate::{
    engine::Spell,
    summary::{Measured, Summary},
};

/// Nodes of the measured cluster.
pub(crate) const MEASURED_NODES: usize = 3;
/// Entries of the measured requests that hold many.
const MANY: f64 = 100.0;
/// Of what an entry costs a node beside verification, the share that apply does alone and in order. No summary says it.
pub(crate) const IN_ORDER_SHARE: f64 = 0.5;
/// A signature, of a strict verification: measured once, 65 000 against 30 000 to 47 000 a second.
const SIGN_SHARE: f64 = 0.6;

/// Seconds, but for what counts bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Costs {
    /// One strict verification on one core.
    pub(crate) verify: f64,
    pub(crate) sign: f64,
    /// CPU time of a request where it is taken, beside its entries.
    pub(crate) request: f64,
    /// CPU time of an entry on each node beside its verification: in order, and beside that.
    pub(crate) entry_in_order: f64,
    pub(crate) entry_aside: f64,
    /// An fdatasync of little, and what each byte adds.
    pub(crate) sync: Spell,
    pub(crate) sync_byte: f64,
    /// CPU time of the client for an entry and its receipt, where it shares the cores.
    pub(crate) client_entry: f64,
    /// Bytes of an entry between nodes and in a log.
    pub(crate) entry_bytes: u64,
    /// Bytes on a node's disk for an entry, all told.
    pub(crate) disk_bytes: f64,
    /// A page of 50 accesses of a household.
    pub(crate) page: Spell,
}

/// A figure, and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Origin {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    pub(crate) from: String,
}

impl Costs {
    /// With the share of the work in order that is assumed.
    pub(crate) fn of(summary: &Summary) -> (Costs, Vec<Origin>) {
        Self::with_in_order_share(summary, IN_ORDER_SHARE)
    }

    /// The same under another assumption about what apply does in order.
    pub(crate) fn with_in_order_share(summary: &Summary, share: f64) -> (Costs, Vec<Origin>) {
        let mut origins = Vec::new();
        let mut note = |name, value: String, from: &str| {
            origins.push(Origin {
                name,
                value,
                from: from.into(),
            });
        };
        let us = |seconds: f64| format!("{:.1} µs", seconds * 1e6);
        let nodes = MEASURED_NODES as f64;
        let verify = summary.verify.value;
        note("verify", us(verify), &summary.verify.from);
        let sign = verify * SIGN_SHARE;
        note("sign", us(sign), "0.6 of a verification, assumed");
        // Two loads, two unknowns: what a request costs where it is taken, and what an entry costs each node.
        let (single, many) = (&summary.cpu_single, &summary.cpu_many);
        let request = ((single.value - many.value) / (1.0 - 1.0 / MANY)).max(0.0);
        note(
            "request",
            us(request),
            &format!(
                "derived: CPU time of an entry sent singly ({}) less that of one sent with {MANY} ({}), both from {}",
                us(single.value),
                us(many.value),
                single.from
            ),
        );
        let entry = ((many.value - request / MANY) / nodes - verify).max(0.0);
        note(
            "entry, on each node beside verification",
            us(entry),
            &format!(
                "derived: CPU time of an entry sent with {MANY}, on {nodes} nodes alike, less a verification on each"
            ),
        );
        let (in_order, in_order_from) = match &summary.apply {
            Some(apply) => (apply.value.min(entry), apply.from.clone()),
            None => (
                entry * share,
                format!("assumed: {share} of the above; no figure tells apply apart"),
            ),
        };
        note("of that in order, by apply", us(in_order), &in_order_from);
        note(
            "fdatasync",
            format!(
                "p50 {:.2} ms, p99 {:.2} ms",
                summary.sync.value.p50 * 1e3,
                summary.sync.value.p99 * 1e3
            ),
            &summary.sync.from,
        );
        note(
            "fdatasync, each further byte",
            format!("{:.2} ns", summary.sync_byte.value * 1e9),
            &summary.sync_byte.from,
        );
        note(
            "client, an entry",
            us(summary.client_entry.value),
            &summary.client_entry.from,
        );
        let bytes = |measured: &Measured<f64>| format!("{:.0} bytes", measured.value);
        note(
            "entry between nodes",
            bytes(&summary.entry_kept),
            &summary.entry_kept.from,
        );
        let disk_bytes = summary.disk_per_byte.value * summary.entry_kept.value;
        note(
            "entry on a node's disk",
            format!("{disk_bytes:.0} bytes"),
            &format!(
                "{} × an entry as submitted, {} ({})",
                summary.disk_per_byte.from,
                bytes(&summary.entry_kept),
                summary.entry_kept.from
            ),
        );
        note(
            "a page of 50 accesses",
            format!(
                "p50 {:.1} ms, p99 {:.1} ms",
                summary.page.value.p50 * 1e3,
                summary.page.value.p99 * 1e3
            ),
            &summary.page.from,
        );
        let costs = Costs {
            verify,
            sign,
            request,
            entry_in_order: in_order,
            entry_aside: entry - in_order,
            sync: summary.sync.value,
            sync_byte: summary.sync_byte.value,
            client_entry: summary.client_entry.value,
            entry_bytes: summary.entry_kept.value as u64,
            disk_bytes,
            page: summary.page.value,
        };
        (costs, origins)
    }

    /// CPU seconds of an entry on all nodes together, of so many.
    #[cfg(test)]
    pub(crate) fn cpu_of_entry(&self, nodes: usize, per_request: u32) -> f64 {
        nodes as f64 * (self.verify + self.entry_in_order + self.entry_aside)
            + self.request / f64::from(per_request)
    }
}

impl Origin {
    pub(crate) fn json(&self) -> Value {
        json!({"name": self.name, "value": self.value, "from": self.from})
    }
}
