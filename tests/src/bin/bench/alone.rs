// SPDX-License-Identifier: EUPL-1.2
//! Visto at a size: filled to so many entries, then proofs, household queries and the scope of one person's accesses, bytes on disk and resident memory.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use ::tests::world;
use serde_json::{Value, json};
use wire::token::Role;

use crate::{
    load, machine,
    servers::visto::Visto,
    stats::{Latency, round},
};

/// How long compactions may go on before bytes on disk are counted.
const SETTLE: Duration = Duration::from_secs(20);

/// What a ledger of a size costs.
pub(crate) struct AtSize {
    pub(crate) entries: u64,
    fill_per_s: Option<f64>,
    pub(crate) proof: Latency,
    pub(crate) household: Latency,
    /// Every subject that one person touched, who caused nearly all of the entries.
    pub(crate) scope: Latency,
    pub(crate) disk_per_byte: f64,
    /// Bytes of the first node's tables and blobs by column family, such as `state/bodies`.
    pub(crate) store: BTreeMap<String, u64>,
    pub(crate) memory_mib: Vec<f64>,
}

/// Fills the ledger up to `entries` if it is smaller, and asks it.
pub(crate) async fn at_size(visto: &Visto, entries: u64) -> AtSize {
    let size = visto
        .cluster
        .checkpoint(1)
        .await
        .map_or(0, |(size, _)| size);
    let missing = entries.saturating_sub(size);
    if missing > 0 {
        eprintln!("filling the ledger from {size} to {entries} entries …");
    }
    let (cluster, town) = (&visto.cluster, visto.town);
    let filled = load::fill(cluster, town.accesses(missing), 8).await;
    let submitted = visto
        .submitted_bytes
        .fetch_add(filled.submitted, Ordering::Relaxed)
        + filled.submitted;
    let (size, _) = cluster.published(1, size + filled.entries).await;
    // Questions go to all nodes.
    for number in cluster.nodes.keys() {
        cluster.published(*number, size).await;
    }
    eprintln!("proofs and household queries at {size} entries …");
    let proofs = load::ask(cluster, 8, 2_000, async |http, url, number| {
        let index = number.wrapping_mul(2_654_435_761) % size;
        let answer = http
            .get(
                &format!("{url}/v1/entries/{index}/proof?tree_size={size}"),
                None,
            )
            .await;
        answer.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    let token = world::token(world::GARANTE, Role::Authority);
    let households = load::ask(cluster, 4, 400, async |http, url, number| {
        let search = json!({"household": town.household(number), "limit": 50});
        let answer = http
            .post(&format!("{url}/v1/accesses/search"), Some(&token), &search)
            .await;
        answer.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    // Once: what it reads is counted against the rate of who asks.
    let operator = json!({"institution": world::VOGHERA, "operator": world::CLERK});
    let scope = load::ask(cluster, 1, 1, async |http, url, _| {
        let url = format!("{url}/v1/operators/subjects");
        let answer = http.post(&url, Some(&token), &operator).await;
        answer.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    machine::quiet(&visto.pids(), SETTLE).await;
    let disk: u64 = cluster
        .nodes
        .values()
        .map(|node| machine::bytes_on_disk(&node.data()))
        .sum();
    let page = cluster.http.get(&cluster.url(1, "/metrics"), None).await;
    AtSize {
        entries: size,
        store: page.map_or_else(|_| BTreeMap::new(), |page| families(&page.text)),
        fill_per_s: (filled.entries > 0)
            .then(|| filled.entries as f64 / filled.elapsed.as_secs_f64()),
        proof: Latency::of(proofs),
        household: Latency::of(households),
        scope: Latency::of(scope),
        disk_per_byte: disk as f64 / cluster.nodes.len() as f64 / submitted as f64,
        memory_mib: visto
            .pids()
            .into_iter()
            .filter_map(machine::resident_mib)
            .collect(),
    }
}

/// What a page of metrics says of the column families.
pub(crate) fn families(page: &str) -> BTreeMap<String, u64> {
    let family = |line: &str| {
        let (labels, bytes) = line.strip_prefix("visto_store_bytes{")?.split_once("} ")?;
        let names: Vec<&str> = labels.split('"').skip(1).step_by(2).collect();
        Some((names.join("/"), bytes.parse().ok()?))
    };
    page.lines().filter_map(family).collect()
}

impl AtSize {
    /// The column families, largest first, in bytes an entry.
    pub(crate) fn store_text(&self) -> String {
        let mut families: Vec<(&String, &u64)> = self.store.iter().collect();
        families.sort_by(|(_, a), (_, b)| b.cmp(a));
        let an_entry = |bytes: u64| bytes as f64 / self.entries.max(1) as f64;
        families
            .into_iter()
            .filter(|(_, bytes)| an_entry(**bytes) >= 0.5)
            .map(|(name, bytes)| format!("{name} {:.0}", an_entry(*bytes)))
            .collect::<Vec<_>>()
            .join(", ")
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "ledger_entries": self.entries,
            "fill_entries_per_s": self.fill_per_s.map(round),
            "proof": self.proof.json(),
            "household_query": self.household.json(),
            "scope_of_one_person": self.scope.json(),
            "disk_bytes_per_submitted_byte": round(self.disk_per_byte),
            "store_bytes": self.store,
            "resident_mib": self.memory_mib.iter().map(|mib| round(*mib)).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
impl AtSize {
    /// Of no ledger.
    pub(crate) fn none() -> AtSize {
        AtSize {
            entries: 0,
            fill_per_s: None,
            proof: Latency::default(),
            household: Latency::default(),
            scope: Latency::default(),
            disk_per_byte: 0.0,
            store: BTreeMap::new(),
            memory_mib: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::families;

    #[test]
    fn families_are_read_from_the_page() {
        let page = "# TYPE visto_store_bytes gauge\nvisto_store_bytes{database=\"raft\",family=\"log\"} 7\n\
                    visto_store_bytes{database=\"state\",family=\"bodies\"} 1200\nvisto_healthy 1\n";
        let read: Vec<(String, u64)> = families(page).into_iter().collect();
        assert_eq!(
            read,
            [("raft/log".into(), 7), ("state/bodies".into(), 1200)]
        );
    }
}
