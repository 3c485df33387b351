// SPDX-License-Identifier: EUPL-1.2
//! A minority cut off from its peers, while clients still reach it.

use tests::{
    cluster::{Cluster, Setup},
    history::Outcome,
    http::outcome,
    load::Load,
    wait, world,
};

use crate::judge;

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_cut_off_acknowledges_nothing_and_answers_no_linearizable_read() {
    let cluster = Cluster::start_with(Setup {
        links: true,
        ..Setup::default()
    })
    .await;
    let load = Load::start(&cluster.http, &cluster.urls(), 6);
    load.progress(80).await;
    let minority = cluster.leader().await;
    cluster.cut_off(minority);
    // Clients that turn to the majority are served.
    load.progress(80).await;

    // It may still take itself for the leader for a moment. What it says now must not be an acceptance …
    let entry = world::access(&world::person("load"));
    let url = cluster.url(minority, "/v1/entries?until=committed");
    let began = load.recorder.tick();
    let answer = cluster
        .http
        .send(
            reqwest::Method::POST,
            &url,
            None,
            Some(("application/json", entry.line())),
        )
        .await;
    let told = outcome(&answer);
    load.recorder.append(&entry.id, began, told.clone());
    assert!(
        !matches!(told, Outcome::Accepted { .. } | Outcome::Refused),
        "a minority answered {answer:?}"
    );
    // … and a linearizable read has no answer but 503 or 504, while a local one names the size it reflects.
    let read = cluster
        .http
        .get(
            &cluster.url(minority, "/v1/rules?consistency=linearizable"),
            None,
        )
        .await
        .unwrap();
    assert!(
        matches!(read.status, 503 | 504),
        "a minority read linearizably: {} {}",
        read.status,
        read.text
    );
    let local = cluster
        .http
        .get(&cluster.url(minority, "/v1/rules"), None)
        .await
        .unwrap();
    assert!(
        local.json()["treeSize"].as_u64().is_some(),
        "{}",
        local.text
    );

    cluster.mend(minority);
    let (behind, _) = cluster.checkpoint(1 + minority % 3).await.unwrap();
    cluster.published(minority, behind).await;
    load.progress(80).await;
    let recorder = load.stop().await;
    judge(&cluster, recorder, &[1, 2, 3]).await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_nothing_is_accepted_and_the_answer_says_when_to_come_back() {
    let mut cluster = Cluster::start().await;
    cluster
        .accept(1, &world::access(&world::person("anna")).line())
        .await;
    let (size, root) = cluster.published(1, 2).await;
    cluster.node(2).kill();
    cluster.node(3).kill();
    let entry = world::access(&world::person("anna"));
    let answer = wait::until("an answer that says no quorum", async || {
        let answer = cluster.submit(1, &entry.line()).await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert_eq!(answer.problem(), "no-quorum", "{}", answer.text);
    assert!(
        answer.header("retry-after").parse::<u64>().is_ok(),
        "503 without Retry-After"
    );
    assert_eq!(answer.header("content-type"), "application/problem+json");
    // Reads of what is published go on.
    let (still, root_now) = cluster.checkpoint(1).await.unwrap();
    assert!(still > size || root_now == root);

    cluster.node(2).start();
    cluster.node(3).start();
    cluster.ready().await;
    // Tried before, in vain or not: it is accepted once.
    let (index, _) = cluster.accept(1, &entry.line()).await;
    let (again, _) = cluster.accept(2, &entry.line()).await;
    assert_eq!(index, again);
    cluster.finish().await;
}
