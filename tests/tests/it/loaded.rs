// SPDX-License-Identifier: EUPL-1.2
//! What `visto-load` makes is what nodes would have come to by themselves: they go on from it, an auditor replays it, a citizen's export of it
//! verifies, and what is refused elsewhere is refused there.

use std::panic::AssertUnwindSafe;

use serde_json::Value;
use tests::{
    cluster::{Cluster, Setup},
    loader, wait, world,
};

use crate::{
    cli::{reader, visto, words},
    exports::{complete, export},
};

/// Accesses that are loaded: more than one raft_entry of them.
const ACCESSES: usize = 700;

#[tokio::test(flavor = "multi_thread")]
async fn nodes_go_on_from_a_loaded_ledger() {
    let mut cluster = Cluster::prepare(Setup::default()).await;
    let people: Vec<String> = (0..7).map(|n| world::person(&n.to_string())).collect();
    let mut lines = vec![
        world::family(
            &world::household("rossi"),
            &[&people[0], &people[1]],
            "2026-01-01T00:00:00Z",
        )
        .line(),
        world::consent("r-1", &people[2], "given").line(),
    ];
    lines.extend((0..ACCESSES).map(|n| world::access(&people[n % people.len()]).line()));
    let mut given = lines.iter().cloned();
    let loaded = tokio::task::block_in_place(|| loader::fill(&cluster, given.by_ref()));
    // Genesis before them, and the state root behind them.
    assert_eq!(loaded, 1 + lines.len() as u64 + 1);

    for node in cluster.nodes.values_mut() {
        node.start();
    }
    cluster.ready().await;
    for number in [1, 2, 3] {
        assert!(cluster.published(number, loaded).await.0 >= loaded);
    }
    let (index, _) = cluster.accept(2, &world::access(&people[0]).line()).await;
    assert_eq!(index, loaded, "it goes on behind what was loaded");
    // What was loaded is known by its id, and so is not entered a second time.
    let again = cluster.submit(3, &lines[1]).await;
    assert_eq!(
        (again.status, again.json()["index"].as_u64()),
        (200, Some(2)),
        "{}",
        again.text
    );
    // A node that is killed comes back from its own folder.
    cluster.node(3).kill();
    cluster.node(3).start();
    cluster.ready_node(3).await;
    let (last, _) = cluster.accept(3, &world::access(&people[1]).line()).await;
    for number in [1, 2, 3] {
        cluster.published(number, last + 1).await;
    }

    let file = export(
        &cluster,
        (world::VOGHERA, "dpo"),
        &format!("--subject {}", people[0]),
        "loaded.json",
    )
    .await;
    complete(&cluster, &file).await;
    let told: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let items = told["lists"][0]["items"].as_array().unwrap().len();
    assert_eq!(items, 1 + ACCESSES / people.len() + 1);

    let mut audit = words(&format!(
        "-o json audit --policy {} --from {}",
        cluster.policy_file().display(),
        cluster.url(1, "")
    ));
    audit.extend(reader(&cluster, world::GARANTE, "authority"));
    let told = wait::until("the root that covers the export", async || {
        let (code, told, complaint) = visto(audit.clone()).await;
        assert_eq!(code, 0, "{told}{complaint}");
        let told: Value = serde_json::from_str(&told).unwrap();
        (told["stateRoots"].as_u64() > Some(1)).then_some(told)
    })
    .await;
    assert_eq!(told["types"]["access"], ACCESSES + 2, "{told}");
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_elsewhere_is_not_loaded() {
    let cluster = Cluster::prepare(Setup::default()).await;
    let mut forged = world::access(&world::person("anna"));
    forged.wire["envelope"]["payload"] =
        world::access(&world::person("anna")).wire["envelope"]["payload"].clone();
    let load = || loader::fill(&cluster, [forged.line()].into_iter());
    let ended = std::panic::catch_unwind(AssertUnwindSafe(|| tokio::task::block_in_place(load)));
    assert!(ended.is_err(), "a signature over another body was loaded");
}
