// SPDX-License-Identifier: EUPL-1.2
//! After the leader's death: every acknowledged entry is asked for again, and its receipt is verified on this side.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use client::{
    http::{Client, Outcome, Until},
    receipt,
};
use ledger::{entry::SubmittedEntry, policy::PolicySet};

use super::{
    founders::{OPERATOR, Place},
    load::Acknowledged,
    nodes::Nodes,
};
use crate::cli::{exit::Failure, output::put};

/// Sends every acknowledged entry once more. The ledger must know it, at the same index and with the same leaf hash, and its receipt must
/// hold offline under the policy.
pub(super) async fn all(
    place: &Place,
    urls: &[String],
    acknowledged: &[Acknowledged],
) -> Result<(), Failure> {
    let indexes: HashSet<u64> = acknowledged.iter().map(|one| one.accepted.index).collect();
    if indexes.len() != acknowledged.len() {
        return Err(Failure::failed(
            "two acknowledged entries have the same index",
        ));
    }
    let started = Instant::now();
    let policies = Arc::new(policies(place)?);
    let bar = indicatif::ProgressBar::new(acknowledged.len() as u64);
    let mut proven = 0;
    let mut open = Vec::new();
    for (number, chunk) in acknowledged.chunks(CHUNK).enumerate() {
        if open.len() == AT_ONCE {
            proven += join(open.remove(0)).await?;
            bar.set_position(proven);
        }
        let mut urls = urls.to_vec();
        let first = number % urls.len().max(1);
        urls.rotate_left(first);
        let expected: Vec<(SubmittedEntry, u64, String)> = chunk
            .iter()
            .map(|one| {
                (
                    one.entry.clone(),
                    one.accepted.index,
                    one.accepted.leaf_hash.clone(),
                )
            })
            .collect();
        open.push(tokio::spawn(prove(urls, expected, policies.clone())));
    }
    for task in open {
        proven += join(task).await?;
        bar.set_position(proven);
    }
    bar.finish_and_clear();
    put(&format!(
        "    {proven} of {} acknowledged entries: sent again, known at the same index, receipt verified offline ({:.1} s)",
        acknowledged.len(),
        started.elapsed().as_secs_f64()
    ))
}

/// Starts what was killed and waits until all nodes have the same root at the same size.
pub(super) async fn catch_up(place: &Place, nodes: &mut Nodes) -> Result<(), Failure> {
    let started = Instant::now();
    nodes.start()?;
    nodes.ready().await?;
    let deadline = started + CATCH_UP_PATIENCE;
    loop {
        let token = place.token(&OPERATOR)?;
        let views = nodes.views(&token).await;
        let sizes: Vec<u64> = views.iter().map(|view| view.tree_size).collect();
        if let (Some(size), true) = (
            sizes.first(),
            sizes.len() == nodes.nodes.len()
                && sizes
                    .windows(2)
                    .all(|pair| matches!(pair, [a, b] if a == b)),
        ) {
            let mut roots = Vec::new();
            for node in &nodes.nodes {
                roots.push(
                    nodes
                        .client()
                        .root_at(&node.url, Some(&token), *size)
                        .await
                        .map_err(Failure::of_client)?
                        .root,
                );
            }
            if roots
                .windows(2)
                .all(|pair| matches!(pair, [a, b] if a == b))
            {
                let root = roots.first().map(String::as_str).unwrap_or_default();
                return put(&format!(
                    "    the killed node is back and caught up after {:.1} s: {} entries, the same root on all three\n    root {root}",
                    started.elapsed().as_secs_f64(),
                    size
                ));
            }
            return Err(Failure::failed(format!(
                "the nodes have different roots at size {size}: {roots:?}"
            )));
        }
        if Instant::now() >= deadline {
            return Err(Failure::failed(format!(
                "the nodes have {sizes:?} entries after {} s",
                CATCH_UP_PATIENCE.as_secs()
            )));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

pub(super) fn policies(place: &Place) -> Result<PolicySet, Failure> {
    let text = std::fs::read(place.path("policy.txt")).map_err(Failure::failed)?;
    PolicySet::parse(&text).map_err(Failure::failed)
}

/// Proves entries that are said to stand at an index with a leaf hash. What is committed and not published yet is asked for again.
async fn prove(
    urls: Vec<String>,
    mut expected: Vec<(SubmittedEntry, u64, String)>,
    policies: Arc<PolicySet>,
) -> Result<u64, Failure> {
    let client = Client::new(&urls, PATIENCE).map_err(Failure::failed)?;
    let deadline = Instant::now() + PATIENCE;
    let mut proven = 0;
    while !expected.is_empty() {
        let lines: Vec<String> = expected.iter().map(|(entry, ..)| entry.to_wire()).collect();
        let outcomes = client.submit_batch(&lines, Until::Published).await;
        let mut unpublished = Vec::new();
        for (outcome, (entry, index, leaf_hash)) in outcomes.into_iter().zip(expected) {
            let accepted = match outcome {
                Outcome::Accepted(accepted) => accepted,
                Outcome::Refused(problem) => {
                    return Err(Failure::failed(format!("entry {index}: {}", problem.title)));
                }
                Outcome::Open(error) => return Err(Failure::of_client(error)),
            };
            if !accepted.again || accepted.index != index || accepted.leaf_hash != leaf_hash {
                return Err(Failure::failed(format!(
                    "entry {index} was acknowledged and is lost: it was written anew at {}",
                    accepted.index
                )));
            }
            let Some(text) = accepted.receipt else {
                unpublished.push((entry, index, leaf_hash));
                continue;
            };
            let verified = receipt::verify(&entry, &text, &policies)
                .map_err(|error| Failure::failed(format!("entry {index}: {error}")))?;
            if verified.index().0 != index {
                return Err(Failure::failed(format!(
                    "entry {index}: the receipt is for index {}",
                    verified.index()
                )));
            }
            proven += 1;
        }
        expected = unpublished;
        if let Some((_, index, _)) = expected.first()
            && Instant::now() >= deadline
        {
            return Err(Failure::failed(format!(
                "entry {index} is not published after {} s",
                PATIENCE.as_secs()
            )));
        }
    }
    Ok(proven)
}

async fn join(task: tokio::task::JoinHandle<Result<u64, Failure>>) -> Result<u64, Failure> {
    task.await.map_err(Failure::failed)?
}

const CHUNK: usize = 200;
const PATIENCE: Duration = Duration::from_secs(60);
const AT_ONCE: usize = 4;
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(120);
