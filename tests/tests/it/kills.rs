// SPDX-License-Identifier: EUPL-1.2
//! Nodes killed by SIGKILL while clients write: nothing acknowledged is lost, changed or counted twice.

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
