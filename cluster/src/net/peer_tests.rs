// SPDX-License-Identifier: EUPL-1.2
//! A real node, and a peer that asks it for what it must not do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ledger::{hash::Hash, id::NodeNumber, number::TreeSize};
use tokio_util::sync::CancellationToken;

use super::tests::{PATIENCE, Town, submit};
use crate::{
    ErrorKind, Node,
    peer::{
        client::{Addresses, CallError, Peers},
        frame::{ClusterId, Denial, Method},
        rpc::Cosign,
        snapshot::{ChunkHead, Offer, OfferAnswer, manifest_id},
        tls::Identity,
    },
    raft_types::{RaftSnapshotMeta, RaftVote},
    store::snapshot::{Manifest, ManifestFile},
    testbed,
};

const FIRST: NodeNumber = NodeNumber(1);

#[tokio::test(flavor = "multi_thread")]
async fn cosigns_its_own_tree_alone_and_never_below_what_it_cosigned() {
    let town = Town::new(3, testbed::tuning());
    let nodes = town.open_some(&[1, 2]).await;
    let peer = caller(&town, 3);
    submit(&nodes[&1], 1..11).await;
    let (size, root) = (11, nodes[&1].view().unwrap().root());
    nodes[&1]
        .published_at_least(TreeSize(size), PATIENCE)
        .await
        .unwrap();

    let ask = |size, root: Hash| {
        let peer = &peer;
        async move {
            peer.cosign(
                FIRST,
                &Cosign { size, root: root.0 },
                Duration::from_secs(5),
            )
            .await
        }
    };
    let line = ask(size, root).await.unwrap().line;
    assert!(line.starts_with("— ledger.test.example/node/1 "), "{line}");
    let refused = |reason: &str| Err(CallError::Denied(Denial::Refused(reason.to_owned())));
    assert_eq!(
        ask(size, Hash([7; 32])).await.map(drop),
        refused("it computed another root")
    );
    let earlier = nodes[&1]
        .view()
        .unwrap()
        .root_at(TreeSize(5))
        .unwrap()
        .unwrap();
    assert_eq!(
        ask(5, earlier).await.map(drop),
        refused("it cosigned size 11 already")
    );
    assert_eq!(
        ask(0, Hash::ZERO).await.map(drop),
        refused("the empty tree is not cosigned")
    );
    assert_eq!(
        ask(1000, root).await.map(drop),
        Err(CallError::Denied(Denial::Late)),
        "not applied"
    );
    super::tests::close(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_older_than_what_was_signed_stop_the_node() {
    let town = Town::new(3, testbed::tuning());
    let mut nodes = town.open_some(&[1, 2, 3]).await;
    submit(&nodes[&1], 1..3).await;
    nodes.remove(&3).unwrap().shutdown().await;
    town.copy_data(3, "before");
    nodes.insert(3, town.open(3).await);
    // Until the third has cosigned what was written after the copy.
    let mut number = 3;
    while !nodes[&1].published().unwrap().note.contains("/node/3 ") || number < 5 {
        submit(&nodes[&1], number..number + 1).await;
        number += 1;
    }
    nodes.remove(&3).unwrap().shutdown().await;
    town.restore_data(3, "before");
    stops_as_older(town.open(3).await).await;
    submit(&nodes[&1], number..number + 1).await;
    // The same for a node that lost everything and comes back under its number.
    town.remove_data(3);
    stops_as_older(town.open(3).await).await;
    submit(&nodes[&2], number + 1..number + 2).await;
    assert!(
        nodes.values().all(|node| node.status().healthy),
        "the others go on"
    );
    super::tests::close(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_goes_on_where_it_broke_off_and_is_installed_whole_or_not_at_all() {
    let town = Town::new(3, testbed::tuning());
    let nodes = town.open_some(&[1, 2]).await;
    let peer = caller(&town, 3);
    let before = nodes[&1]
        .published_at_least(TreeSize(1), PATIENCE)
        .await
        .unwrap();
    let content = vec![7u8; 3000];
    let right = Hash::of(&[&content]).0;
    let file = |name: &str, bytes, sha256| ManifestFile {
        name: name.to_owned(),
        bytes,
        sha256,
    };
    let offer = |files| Offer {
        vote: RaftVote::new_committed(1_000_000, 3),
        manifest: Manifest {
            meta: RaftSnapshotMeta::default(),
            tree_size: 9,
            root: [0; 32],
            erased: Default::default(),
            files,
        },
    };
    let wrong = offer(vec![
        file("a.sst", 3000, [9; 32]),
        file("empty", 0, Hash::of(&[]).0),
    ]);
    let id = manifest_id(&wrong.manifest);
    let chunk = |range: std::ops::Range<usize>| {
        let head = ChunkHead {
            id,
            file: 0,
            offset: range.start as u64,
            bytes: range.len() as u64,
        };
        [&postcard::to_allocvec(&head).unwrap(), &content[range]].concat()
    };

    assert_eq!(
        offered(&peer, &wrong).await,
        Ok(OfferAnswer::Have(vec![0, 0]))
    );
    assert_eq!(sent(&peer, &chunk(0..1000)).await, Ok(()));
    assert_eq!(
        sent(&peer, &chunk(0..1000)).await,
        Ok(()),
        "a piece that is there already"
    );
    assert!(
        sent(&peer, &chunk(500..1500)).await.is_err(),
        "a piece that is there in part"
    );
    let long = [chunk(1000..3000), vec![7]].concat();
    assert_eq!(
        sent(&peer, &long).await,
        Err(CallError::Denied(Denial::Malformed))
    );
    assert_eq!(
        offered(&peer, &wrong).await,
        Ok(OfferAnswer::Have(vec![1000, 0])),
        "goes on where it broke off"
    );
    assert!(installed(&peer, &wrong).await.is_err(), "not complete");
    assert_eq!(sent(&peer, &chunk(1000..3000)).await, Ok(()));
    let refused = installed(&peer, &wrong).await.unwrap_err();
    assert!(refused.to_string().contains("a.sst"), "{refused}");
    assert_eq!(
        offered(&peer, &wrong).await,
        Ok(OfferAnswer::Have(vec![0, 0])),
        "nothing of it is kept"
    );

    for name in ["../a.sst", "a/b", ".hidden", ""] {
        let escaping = offer(vec![file(name, 3000, right)]);
        assert_eq!(
            offered(&peer, &escaping).await,
            Err(CallError::Denied(Denial::Malformed)),
            "{name:?}"
        );
    }
    let twice = offer(vec![file("a", 1, right), file("a", 1, right)]);
    assert_eq!(
        offered(&peer, &twice).await,
        Err(CallError::Denied(Denial::Malformed))
    );
    let mut deposed = offer(vec![file("a", 1, right)]);
    deposed.vote = RaftVote::new_committed(0, 3);
    assert!(matches!(
        offered(&peer, &deposed).await,
        Ok(OfferAnswer::HigherVote(_))
    ));
    assert_eq!(nodes[&1].published().unwrap().root, before.root);
    assert!(nodes[&1].status().healthy);
    super::tests::close(nodes).await;
}

async fn offered(peer: &Peers, offer: &Offer) -> Result<OfferAnswer, CallError> {
    ask(peer, Method::SnapshotOffer, offer).await
}

async fn sent(peer: &Peers, chunk: &[u8]) -> Result<(), CallError> {
    let sent = peer.call(FIRST, Method::SnapshotChunk, chunk, PATIENCE);
    sent.await.map(drop)
}

async fn installed(peer: &Peers, offer: &Offer) -> Result<RaftVote, CallError> {
    ask(peer, Method::SnapshotInstall, offer).await
}

async fn ask<Q: serde::Serialize, A: serde::de::DeserializeOwned>(
    peer: &Peers,
    method: Method,
    question: &Q,
) -> Result<A, CallError> {
    peer.ask(FIRST, method, question, PATIENCE).await
}

async fn stops_as_older(node: Node) {
    let error = tokio::time::timeout(PATIENCE, node.fatal()).await.unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(
        error
            .to_string()
            .contains("this node's data are older than what it"),
        "{error}"
    );
    node.shutdown().await;
}

/// Somebody who has a node's certificate.
pub(super) fn caller(town: &Town, node: u64) -> Peers {
    let identity = Identity::load(&town.tls(node), testbed::LEDGER, NodeNumber(node)).unwrap();
    let cluster = ClusterId::new(testbed::LEDGER, Hash::of(&[town.genesis.pae()]));
    let addresses: BTreeMap<_, _> = town
        .addresses
        .iter()
        .map(|(node, address)| (NodeNumber(*node), address.to_string()))
        .collect();
    Peers::new(
        Arc::new(identity),
        cluster,
        Arc::new(Addresses::new(addresses)),
        CancellationToken::new(),
    )
}
