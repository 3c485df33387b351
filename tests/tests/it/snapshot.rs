// SPDX-License-Identifier: EUPL-1.2
//! A follower so far behind that the others have purged what it lacks: it gets a snapshot, while clients write on.

use tests::{
    cluster::{Cluster, Setup},
    load::Load,
    wait,
};

use crate::judge;

/// Low enough that a short run passes them several times.
pub(crate) fn low_thresholds() -> Vec<(&'static str, String)> {
    let mut settings = Setup::default().settings;
    settings.extend([
        ("raft.snapshot-after", "40".to_owned()),
        ("raft.keep", "10".to_owned()),
    ]);
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_is_rebuilt_from_a_snapshot_while_writes_go_on() {
    let mut cluster = Cluster::start_with(Setup {
        settings: low_thresholds(),
        ..Setup::default()
    })
    .await;
    let load = Load::start(&cluster.http, &cluster.urls(), 6);
    load.progress(50).await;
    let follower = 1 + cluster.leader().await % 3;
    cluster.node(follower).kill();
    let behind = raft_last_index(&cluster).await;
    // Far more Raft entries than are kept, so that its gap is purged.
    wait::until("the others to leave it far behind", async || {
        (raft_last_index(&cluster).await > behind + 200).then_some(())
    })
    .await;
    cluster.node(follower).start();
    cluster.ready_node(follower).await;
    load.progress(50).await;
    let recorder = load.stop().await;
    judge(&cluster, recorder, &[1, 2, 3]).await;
    let log = cluster.node(follower).log();
    assert!(
        log.contains("snapshot installed"),
        "node {follower} came back without a snapshot; the scenario tested nothing"
    );
    cluster.finish().await;
}

async fn raft_last_index(cluster: &Cluster) -> u64 {
    let leader = cluster.leader().await;
    wait::until("the leader's status", async || {
        cluster
            .admin(leader)
            .await
            .and_then(|status| status["raftLastIndex"].as_u64())
    })
    .await
}
