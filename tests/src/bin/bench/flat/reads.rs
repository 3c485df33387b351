// SPDX-License-Identifier: EUPL-1.2
//! Proofs, receipts, first pages and exports, at one node over one connection.

use std::time::{Duration, Instant};

use ::tests::{http::Answer, sign::random, wait, world};
use serde_json::{Map, Value, json};
use wire::token::Role;

use super::HOUSEHOLD_ENTRIES;
use crate::{
    load, machine,
    servers::visto::Visto,
    stats::{Latency, round},
};

const TIMES: u64 = 2_000;
/// Persons and households of whom a page is measured, each once: what was read for one is not what is read for the next.
const PAGES: u64 = 300;
const PAGE_ITEMS: u64 = 50;
/// So many lists are asked for in less than a minute, within which a question put again shares its `read` entry. The README names the number.
const GROUP: usize = 30;
const EXPORTS: u64 = 5;

pub(super) async fn measure(visto: &Visto, entries: u64) -> Map<String, Value> {
    let cluster = &visto.cluster;
    let size = cluster.checkpoint(1).await.map_or(0, |(size, _)| size);
    let token = world::token(world::GARANTE, Role::Authority);
    let mut reads = Map::new();
    let anywhere = || u64::from_le_bytes(random()) % size;
    let before = cpu_s(visto);
    let proofs = load::ask(cluster, 1, TIMES, async |http, url, _| {
        let url = format!("{url}/v1/entries/{}/proof?tree_size={size}", anywhere());
        http.get(&url, None)
            .await
            .is_ok_and(|answer| answer.status == 200)
    });
    let mut proofs = Latency::of(proofs.await).json();
    proofs["server_cpu_ms"] = json!(round((cpu_s(visto) - before) * 1_000.0 / TIMES as f64));
    reads.insert("proof".into(), proofs);
    let before = cpu_s(visto);
    let receipts = load::ask(cluster, 1, TIMES, async |http, url, _| {
        let url = format!("{url}/v1/entries/{}/receipt", anywhere());
        http.get(&url, Some(&token))
            .await
            .is_ok_and(|answer| answer.status == 200)
    });
    let mut receipts = Latency::of(receipts.await).json();
    receipts["server_cpu_ms"] = json!(round((cpu_s(visto) - before) * 1_000.0 / TIMES as f64));
    reads.insert("receipt".into(), receipts);
    if entries < HOUSEHOLD_ENTRIES {
        // Nobody was asked for yet.
        return reads;
    }
    let persons = |number| json!({"subject": visto.town.person(number)});
    let households = |number| json!({"household": visto.town.household(number)});
    reads.insert("subject_page".into(), pages(visto, &token, persons).await);
    let page = pages(visto, &token, households).await;
    reads.insert("household_page".into(), page);
    reads.insert("export".into(), exports(visto, &token).await);
    reads
}

/// First pages of 50, each of another list. A page leaves only when its `read` entry is committed; what is under `page` is the same question
/// put again by the same reader for as many items, which shares that entry: so it is the node's own work. The lists of a group are all asked
/// for once before any is asked for again, so that none is what was read a moment ago.
async fn pages(visto: &Visto, token: &str, of: impl Fn(u64) -> Value) -> Value {
    let (cluster, mut first, mut page) = (&visto.cluster, Vec::new(), Vec::new());
    let mut spent = 0.0;
    let url = format!("{}/v1/accesses/search", cluster.urls()[0]);
    let ask = async |number: u64, limit: u64| {
        let mut search = of(number);
        search["limit"] = json!(limit);
        let sent = Instant::now();
        let answer = answered(visto, &url, token, &search).await;
        (sent.elapsed(), answer)
    };
    let start = u64::from(u32::from_le_bytes(random()));
    // Far from the one before.
    let lists: Vec<u64> = (0..PAGES).map(|at| start + at * 1_000_003).collect();
    let mut items = 0;
    for group in lists.chunks(GROUP) {
        for &list in group {
            let (took, _) = ask(list, 1).await;
            first.push(took);
            let (_, answer) = ask(list, PAGE_ITEMS).await;
            // Until the `read` entries are published everywhere: else their cosigning and folding is measured with what follows.
            if let Some(size) = answer.json()["tree_size"].as_u64() {
                for node in cluster.nodes.keys() {
                    cluster.published(*node, size + 1).await;
                }
            }
        }
        for &list in group {
            let before = cpu_s(visto);
            let (took, answer) = ask(list, PAGE_ITEMS).await;
            spent += cpu_s(visto) - before;
            items += answer.json()["items"].as_array().map_or(0, Vec::len);
            page.push(took);
        }
    }
    let mut latency = Latency::of(page).json();
    latency["server_cpu_ms"] = json!(round(spent * 1_000.0 / PAGES as f64));
    json!({
        "with_read_entry_of_one_item": Latency::of(first).json(),
        "page": latency,
        "items": round(items as f64 / PAGES as f64),
    })
}

/// Whole exports of households, each when all before it is folded.
async fn exports(visto: &Visto, token: &str) -> Value {
    let cluster = &visto.cluster;
    let url = format!("{}/v1/exports", cluster.urls()[0]);
    let (mut took, mut items) = (Vec::new(), 0);
    for number in 0..EXPORTS {
        folded(visto).await;
        let household = visto.town.household(number * 7_919 + 3);
        let order = json!({"household": household, "audience": "reader", "ground": "dpv-gdpr:A15"});
        let sent = Instant::now();
        let answer = answered(visto, &url, token, &order).await;
        took.push(sent.elapsed());
        let lists = answer.json()["lists"].as_array().cloned();
        let lists = lists.unwrap_or_default();
        let held = lists.iter().filter_map(|list| list["items"].as_array());
        items += held.map(Vec::len).sum::<usize>();
    }
    let ms = |took: &Duration| took.as_secs_f64() * 1_000.0;
    let longest = took.iter().map(ms).fold(0.0, f64::max);
    let mut latency = Latency::of(took).json();
    latency["longest_ms"] = json!(round(longest));
    latency["items"] = json!(round(items as f64 / EXPORTS as f64));
    latency
}

/// The answer to a question; one that finds no leader is put again, as its answer says, and the wait counts.
async fn answered(visto: &Visto, url: &str, token: &str, question: &Value) -> Answer {
    wait::until("an answer", async || {
        let answer = visto.cluster.http.post(url, Some(token), question).await;
        let answer = answer.ok().filter(|answer| answer.status != 503)?;
        assert_eq!(answer.status, 200, "{}", answer.text);
        Some(answer)
    })
    .await
}

/// CPU seconds of the node that is asked, so far: what an answer costs, however busy the machine is.
fn cpu_s(visto: &Visto) -> f64 {
    let pid = visto
        .cluster
        .nodes
        .get(&1)
        .and_then(::tests::node::Node::pid);
    pid.map_or(0.0, |pid| machine::process_cpu_seconds(&pid.to_string()))
}

/// Waits until no node has more to fold than its own last `state-root` entry.
pub(super) async fn folded(visto: &Visto) {
    for number in visto.cluster.nodes.keys() {
        wait::until("all to be folded", async || {
            let pending = metric(visto, *number, "visto_fold_pending").await?;
            (pending <= 1.0).then_some(())
        })
        .await;
    }
}

/// A figure on a node's page of metrics; `name` with its labels.
pub(super) async fn metric(visto: &Visto, number: u64, name: &str) -> Option<f64> {
    let url = visto.cluster.url(number, "/metrics");
    let page = visto.cluster.http.get(&url, None).await.ok()?.text;
    let mut lines = page.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}
