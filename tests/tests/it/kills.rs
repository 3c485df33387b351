// SPDX-License-Identifier: EUPL-1.2
//! Nodes killed by SIGKILL while clients write: nothing acknowledged is lost, changed or counted twice.

use std::{fs, process::Command};

use tests::{cluster::Cluster, load::Load};

use crate::judge;

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_killed_while_clients_write() {
    let mut cluster = Cluster::start().await;
    let load = Load::start(&cluster.http, &cluster.urls(), 8);
    load.progress(100).await;
    for _ in 0..2 {
        let leader = cluster.leader().await;
        cluster.node(leader).kill();
        // The others elect, and go on without it.
        load.progress(100).await;
        cluster.node(leader).start();
        cluster.ready_node(leader).await;
        load.progress(50).await;
    }
    let recorder = load.stop().await;
    judge(&cluster, recorder, &[1, 2, 3]).await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_are_killed_at_once_and_restarted() {
    let mut cluster = Cluster::start().await;
    let load = Load::start(&cluster.http, &cluster.urls(), 8);
    for _ in 0..3 {
        load.progress(60).await;
        for node in cluster.nodes.values_mut() {
            node.kill();
        }
        for node in cluster.nodes.values_mut() {
            node.start();
        }
        cluster.ready().await;
    }
    load.progress(60).await;
    let recorder = load.stop().await;
    judge(&cluster, recorder, &[1, 2, 3]).await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_put_back_to_an_older_copy_or_emptied_stops_and_the_others_go_on() {
    let mut cluster = Cluster::start().await;
    let load = Load::start(&cluster.http, &cluster.urls(), 6);
    load.progress(60).await;
    let node = 1 + cluster.leader().await % 3;
    let data = cluster.node(node).data();
    let older = data.with_extension("older");
    cluster.node(node).kill();
    let copied = Command::new("cp").arg("-a").arg(&data).arg(&older).status();
    assert!(copied.unwrap().success());
    cluster.node(node).start();
    cluster.ready_node(node).await;
    load.progress(60).await;

    // What it acknowledged since then is gone: if it voted again, a majority could forget what it promised.
    for copy in [Some(older), None] {
        cluster.node(node).kill();
        fs::remove_dir_all(&data).unwrap();
        if let Some(copy) = copy {
            fs::rename(copy, &data).unwrap();
        }
        let before = cluster.node(node).log().len();
        cluster.node(node).start();
        let status = cluster.node(node).ended().await.unwrap();
        let log = cluster.node(node).log();
        assert!(!status.success(), "it ended as if all were well");
        assert!(
            log[before..].contains("older"),
            "it does not say why:\n{log}"
        );
        load.progress(60).await;
    }
    let rest: Vec<u64> = (1..=3).filter(|number| *number != node).collect();
    let recorder = load.stop().await;
    judge(&cluster, recorder, &rest).await;
    cluster.finish().await;
}
