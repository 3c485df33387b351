// SPDX-License-Identifier: EUPL-1.2
//! Times one node with a real store, through its one face: `cargo bench -p cluster`. On a disk (`TMPDIR`), or fsync means nothing.

// A bench: a panic is how it fails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[allow(dead_code)]
#[path = "../src/testbed.rs"]
mod testbed;

use std::{collections::BTreeMap, time::Duration};

use cluster::{
    Clock, Config, Error, Node, NodeKeys, Outcome, PeerTls, Tuning, Until, certs, hot::RaftPayload,
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ledger::{
    entry::{SubmittedEntry, VerifiedEntry},
    number::{EntryIndex, TreeSize},
};
use tokio::runtime::Runtime;

const PATIENCE: Duration = Duration::from_secs(30);
/// As many as are submitted before what is read is measured.
const ENTRIES: u64 = 2000;

fn node(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let node = runtime.block_on(open(folder.path()));
    let mut number = 0;
    let mut next = move |count: u64| -> Vec<SubmittedEntry> {
        number += count;
        (number - count..number).map(testbed::consent).collect()
    };
    runtime.block_on(async {
        for _ in 0..ENTRIES / 100 {
            submit(&node, verify(&node, next(100)).await, Until::Published).await;
        }
    });

    let mut group = criterion.benchmark_group("node");
    for count in [1, 100] {
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("verify-{count}"), |bencher| {
            let entries = next(count);
            bencher.to_async(&runtime).iter_batched(
                || entries.clone(),
                |entries| verify(&node, entries),
                BatchSize::SmallInput,
            );
        });
        for (name, until) in [
            ("committed", Until::Committed),
            ("published", Until::Published),
        ] {
            group.bench_function(format!("submit-{count}-until-{name}"), |bencher| {
                bencher.to_async(&runtime).iter_batched(
                    || next(count),
                    |entries| async {
                        let verified = verify(&node, entries).await;
                        submit(&node, verified, until).await;
                    },
                    BatchSize::PerIteration,
                );
            });
        }
    }
    let payload = RaftPayload::of(&next(100));
    let bytes = payload.encode().unwrap();
    group.bench_function("raft-payload-encode-100", |bencher| {
        bencher.iter(|| payload.encode().unwrap());
    });
    group.bench_function("raft-payload-decode-100", |bencher| {
        bencher.iter(|| RaftPayload::decode(&bytes).unwrap());
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("receipt", |bencher| {
        let view = node.view().unwrap();
        let size = view.size().0;
        let mut index = 0;
        bencher.iter(|| {
            index = (index + 997) % ENTRIES.min(size);
            view.receipt(EntryIndex(index)).unwrap().unwrap()
        });
    });
    group.bench_function("linearizable-view", |bencher| {
        bencher
            .to_async(&runtime)
            .iter(async || node.linearizable(PATIENCE).await.unwrap().size());
    });
    group.finish();
    runtime.block_on(node.shutdown());
}

async fn open(folder: &std::path::Path) -> Node {
    let listener = testbed::listener();
    let address = listener.local_addr().unwrap();
    let genesis = testbed::genesis(&BTreeMap::from([(1, address)]));
    let config = testbed::config(folder, 1, listener, &genesis, &[1], Tuning::default());
    let node = Node::open(config).await.unwrap();
    node.published_at_least(TreeSize(1), PATIENCE)
        .await
        .unwrap();
    node
}

async fn verify(node: &Node, entries: Vec<SubmittedEntry>) -> Vec<VerifiedEntry> {
    let verified = node.verify(entries).await.unwrap();
    verified.into_iter().map(Result::unwrap).collect()
}

async fn submit(node: &Node, entries: Vec<VerifiedEntry>, until: Until) {
    for outcome in node.submit(entries, until, PATIENCE).await {
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    }
}

criterion_group!(benches, node);
criterion_main!(benches);
