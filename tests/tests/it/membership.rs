// SPDX-License-Identifier: EUPL-1.2
//! Nodes join and leave by governance entries while clients write.

use serde_json::json;
use tests::{
    cluster::{Cluster, Setup},
    load::Load,
    node::peer_address,
    wait, world,
};

use crate::{governance::Governance, judge, snapshot::low_thresholds};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_joins_and_another_leaves_under_load() {
    let mut cluster = Cluster::start_with(Setup {
        spare: 1,
        settings: low_thresholds(),
        ..Setup::default()
    })
    .await;
    let mut governance = Governance::after_genesis(&cluster).await;
    let load = Load::start(&cluster.http, &cluster.urls(), 6);
    load.progress(80).await;

    governance.add_fourth_node(&mut cluster).await;
    load.progress(50).await;

    // A node that is still alive leaves; its number is never used again.
    let leaves = 1 + cluster.leader().await % 3;
    let mut leaving = world::node_content(leaves, &peer_address(cluster.place(), leaves));
    leaving["event"] = json!("removed");
    governance
        .decide(&cluster, 4, "node", leaving.clone())
        .await;
    let mut rest: Vec<u64> = vec![1, 2, 3, 4];
    rest.retain(|number| *number != leaves);
    voters(&cluster, &rest).await;
    cluster.node(leaves).kill();
    load.progress(50).await;

    leaving["event"] = json!("added");
    let back = world::governance("node", leaving, governance.head());
    let answer = cluster.submit(4, &back.line()).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (422, "registry"),
        "{}",
        answer.text
    );

    let recorder = load.stop().await;
    judge(&cluster, recorder, &rest).await;
    cluster.finish().await;
}

/// Waits until some node sees exactly these voters.
pub(crate) async fn voters(cluster: &Cluster, expected: &[u64]) {
    wait::until(&format!("the voters {expected:?}"), async || {
        for number in expected {
            let Some(status) = cluster.admin(*number).await else {
                continue;
            };
            let members = status["members"].as_array().cloned().unwrap_or_default();
            let mut voters: Vec<u64> = members
                .iter()
                .filter(|m| m["voter"] == true)
                .filter_map(|m| m["node"].as_u64())
                .collect();
            voters.sort_unstable();
            if voters == expected {
                return Some(());
            }
        }
        None
    })
    .await;
}
