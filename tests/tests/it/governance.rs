// SPDX-License-Identifier: EUPL-1.2
//! The chain of governance entries, for scenarios that change the registry.

use ledger::key::KeyUse;
use serde_json::{Value, json};
use tests::{cluster::Cluster, leaves, node::peer_address, world};

use crate::membership::voters;

/// The last governance entry: what the next one must name.
pub(crate) struct Governance {
    head: (u64, String),
}

impl Governance {
    /// Begins behind genesis.
    pub(crate) async fn after_genesis(cluster: &Cluster) -> Governance {
        cluster.published(1, 1).await;
        let genesis = leaves::leaf_hashes(&cluster.http, &cluster.url(1, ""), 1)
            .await
            .remove(0);
        Governance { head: (0, genesis) }
    }

    /// Has an entry accepted by k of n.
    pub(crate) async fn decide(
        &mut self,
        cluster: &Cluster,
        node: u64,
        kind: &str,
        content: Value,
    ) -> u64 {
        let entry = world::governance(kind, content, &self.head);
        self.head = cluster.accept(node, &entry.line()).await;
        self.head.0
    }

    /// Registers the keys of a fourth node, then the node that has them, and waits until it votes.
    pub(crate) async fn add_fourth_node(&mut self, cluster: &mut Cluster) {
        for (label, key_use) in [("node 4", KeyUse::Node), ("cosign 4", KeyUse::Cosign)] {
            let mut registration = world::registration(world::operator_of(4), label, key_use);
            registration["event"] = json!("registered");
            self.decide(cluster, 1, "key", registration).await;
        }
        cluster.add_folder(4).await;
        let mut joins = world::node_content(4, &peer_address(cluster.place(), 4));
        joins["event"] = json!("added");
        self.decide(cluster, 2, "node", joins).await;
        cluster.node(4).start();
        cluster.ready_node(4).await;
        voters(cluster, &[1, 2, 3, 4]).await;
    }

    /// What the next entry must name.
    pub(crate) fn head(&self) -> &(u64, String) {
        &self.head
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_signatures_replays_and_wrong_order_are_refused_and_leave_nothing() {
    let cluster = Cluster::start().await;
    let mut governance = Governance::after_genesis(&cluster).await;
    let register = |name: &str| json!({"institution": format!("ipa:{name}"), "name": name, "event": "registered"});

    // One signature of two that are needed, whoever gives it.
    for founder in world::FOUNDERS {
        let alone = world::governance_by(
            "institution",
            register("comune_a"),
            governance.head(),
            &[founder],
        );
        let answer = cluster.submit(1, &alone.line()).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (422, "governance-threshold"),
            "{}",
            answer.text
        );
    }
    let unknown = cluster
        .http
        .get(&cluster.url(1, "/v1/institutions/ipa:comune_a"), None)
        .await
        .unwrap();
    assert_eq!(unknown.status, 404, "{}", unknown.text);

    // Any two suffice, in any pair.
    let genesis = governance.head().clone();
    governance
        .decide(&cluster, 2, "institution", register("comune_a"))
        .await;
    let pair = [world::VOGHERA, world::GARANTE];
    let accepted = world::governance_by(
        "institution",
        register("comune_b"),
        governance.head(),
        &pair,
    );
    let (index, _) = cluster.accept(3, &accepted.line()).await;

    // The same bytes again are the same entry; the same decision under a new id names a head that has passed.
    assert_eq!(cluster.accept(1, &accepted.line()).await.0, index);
    let late = world::governance("institution", register("comune_c"), &genesis);
    let answer = cluster.submit(1, &late.line()).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (422, "governance-order"),
        "{}",
        answer.text
    );
    cluster.finish().await;
}
