// SPDX-License-Identifier: EUPL-1.2
//! Erasure, over real nodes and their raw files: what was ordered away is in none of them, and every proof holds.

use std::{fs, process::Command};

use ledger::base64;
use serde_json::{Value, json};
use tests::{
    cluster::Cluster,
    node::binary,
    plaintext::holding,
    sign::{Draft, Signed, random},
    wait,
    world::{self, INPS, VOGHERA, key},
};
use wire::token::Role;

/// An access whose texts stand nowhere else and cannot be compressed, with those texts as they lie in files.
struct Marked {
    entry: Signed,
    needles: Vec<String>,
}

/// An access to the data of some persons, with a random reason, office and operator.
fn marked(subjects: &[&str]) -> Marked {
    let mut draft = world::access_draft(&world::person("nobody"));
    draft.disclosures.clear();
    for member in ["userID", "userLocation", "reason"] {
        let text = base64::url_encode(&random::<32>());
        draft.content[member] = json!([draft.disclosed(json!(text))]);
    }
    let targets = subjects
        .iter()
        .map(|subject| draft.disclosed(json!({"ref": subject, "role": "target"})));
    draft.content["subjects"] = targets.collect();
    // In the body itself, not disclosed.
    let clear = base64::url_encode(&random::<32>());
    draft.more.push(("ext".into(), json!({"note": clear})));
    // Of each disclosure a part of its salt: it is like no other text, so that no file holds it by another's doing.
    let mut needles: Vec<String> = draft
        .disclosures
        .iter()
        .map(|disclosure| disclosure[4..32].to_owned())
        .collect();
    needles.push(clear);
    Marked {
        entry: draft.sign(&[&key(VOGHERA, "entry")]),
        needles,
    }
}

pub(crate) fn order(institution: &str, content: Value, subject: Option<&str>) -> Signed {
    let mut draft = Draft::new(institution, "erasure");
    draft.content = content;
    if let Some(subject) = subject {
        draft.content["subject"] = json!([draft.disclosed(json!({"ref": subject}))]);
    }
    draft.sign(&[&key(institution, "entry")])
}

fn nowhere(cluster: &mut Cluster, needles: &[String]) {
    for number in [1, 2, 3] {
        let places = holding(&cluster.node(number).data(), needles);
        assert!(places.is_empty(), "node {number}: {places:?}");
    }
}

/// The erasure at an index, as the authority sees it through a node.
async fn erasure(cluster: &Cluster, node: u64, index: u64) -> Option<Value> {
    let token = world::token(world::GARANTE, Role::Authority);
    let url = cluster.url(node, "/v1/erasures?limit=100");
    let answer = cluster.http.get(&url, Some(&token)).await.ok()?;
    let page = answer.json();
    let items = page["items"].as_array()?;
    items.iter().find(|item| item["index"] == index).cloned()
}

pub(crate) async fn done(cluster: &Cluster, node: u64, index: u64) -> Value {
    wait::until(&format!("erasure {index} to be done"), async || {
        let erasure = erasure(cluster, node, index).await?;
        (erasure["open"] == false).then_some(erasure)
    })
    .await
}

async fn show(cluster: &Cluster, node: u64, index: u64) -> Value {
    let token = world::token(VOGHERA, Role::Dpo);
    let url = cluster.url(node, &format!("/v1/entries/{index}"));
    let answer = cluster.http.get(&url, Some(&token)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

async fn receipt(cluster: &Cluster, entry: &Signed) -> String {
    wait::until("a receipt", async || {
        let answer = cluster.submit(1, &entry.line()).await.json();
        answer["receipt"].as_str().map(str::to_owned)
    })
    .await
}

/// A stranger's program believes an entry and its receipt.
fn assert_verifies(cluster: &Cluster, entry: &Signed, receipt: &str) {
    let file = |name: &str, text: &str| {
        let path = cluster.folder().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let said = Command::new(binary("visto-verify"))
        .arg("--policy")
        .arg(cluster.policy_file())
        .arg(file("entry.json", &entry.line()))
        .arg(file("entry.tlog-proof", receipt))
        .output()
        .unwrap();
    assert!(
        said.status.success(),
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_erased_is_in_no_file_of_any_node_and_every_proof_holds() {
    let mut cluster = Cluster::start().await;
    let (anna, bruno) = (world::person("anna"), world::person("bruno"));
    let gone = marked(&[&anna]);
    let kept = marked(&[&anna]);
    let (index, leaf) = cluster.accept(1, &gone.entry.line()).await;
    cluster.accept(2, &kept.entry.line()).await;
    let receipts = [
        receipt(&cluster, &gone.entry).await,
        receipt(&cluster, &kept.entry).await,
    ];
    // A bulk query of which one person's part is to go.
    let bulk = marked(&[&anna, &bruno]);
    let (bulk_index, _) = cluster.accept(3, &bulk.entry.line()).await;
    for number in [1, 2, 3] {
        for needle in gone.needles.iter().chain(&bulk.needles) {
            let data = cluster.node(number).data();
            let held = || !holding(&data, std::slice::from_ref(needle)).is_empty();
            wait::until("each node to have it", async || held().then_some(())).await;
        }
    }

    // A stranger's order is on record, and spares what is not the stranger's.
    let foreign = order(
        INPS,
        json!({"entries": [index], "ground": "unlawful"}),
        None,
    );
    let (foreign, _) = cluster.accept(1, &foreign.line()).await;
    let told = done(&cluster, 2, foreign).await;
    for node in told["nodes"].as_array().unwrap() {
        assert_eq!(
            (&node["erased"]["done"], &node["erased"]["spared"]),
            (&json!(0), &json!(1))
        );
    }
    assert!(show(&cluster, 1, index).await["body"].is_object());

    let ordered = order(
        VOGHERA,
        json!({"entries": [index], "ground": "unlawful"}),
        None,
    );
    let (ordered, _) = cluster.accept(2, &ordered.line()).await;
    let one = order(
        VOGHERA,
        json!({"entries": [bulk_index], "ground": "objection"}),
        Some(&bruno),
    );
    let (one, _) = cluster.accept(3, &one.line()).await;
    for order in [ordered, one] {
        let told = done(&cluster, 1, order).await;
        let nodes = told["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), 3);
        for node in nodes {
            assert_eq!(node["erased"]["done"], 1, "{told}");
        }
    }
    nowhere(&mut cluster, &gone.needles);
    // Bruno's part is the last but one needle: of the bulk query it alone is gone, and the rest is still shown.
    nowhere(&mut cluster, std::slice::from_ref(&bulk.needles[4]));
    assert!(show(&cluster, 1, bulk_index).await["body"].is_object());

    // Shown as erased: when, by whom, why; nothing else.
    let shown = show(&cluster, 2, index).await;
    assert!(
        shown.get("body").is_none() && shown.get("submission").is_none(),
        "{shown}"
    );
    assert_eq!(shown["leafHash"], leaf.as_str());
    assert_eq!(shown["erased"][0]["index"], ordered);
    assert_eq!(shown["erased"][0]["institution"], VOGHERA);
    assert_eq!(shown["erased"][0]["ground"], "unlawful");
    let shown = show(&cluster, 3, bulk_index).await;
    let subjects = shown["body"]["access"]["subjects"].to_string();
    assert!(
        subjects.contains(&anna) && !subjects.contains(&bruno),
        "{subjects}"
    );
    // What others hold in their hands stays proven, erased or not.
    assert_verifies(&cluster, &gone.entry, &receipts[0]);
    assert_verifies(&cluster, &kept.entry, &receipts[1]);
    let (size, _) = cluster.checkpoint(1).await.unwrap();
    let path = format!("/v1/entries/{index}/proof?tree_size={size}");
    // Another node than the one that stated the size: it may be a moment behind.
    let proof = wait::until("a proof at that size", async || {
        let answer = cluster.http.get(&cluster.url(2, &path), None).await.ok()?;
        (answer.problem() != "beyond-tree").then_some(answer)
    })
    .await;
    assert_eq!(proof.status, 200, "{}", proof.text);

    // Starts read every file through, and nothing comes back.
    for number in [1, 2, 3] {
        cluster.node(number).kill();
        cluster.node(number).start();
        cluster.ready_node(number).await;
    }
    nowhere(&mut cluster, &gone.needles);
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_node_keeps_an_erasure_open_and_erases_what_it_brings_back() {
    let mut cluster = Cluster::start().await;
    let gone = marked(&[&world::person("anna")]);
    let (index, _) = cluster.accept(1, &gone.entry.line()).await;
    let leader = cluster.leader().await;
    let absent = 1 + leader % 3;
    let data = cluster.node(absent).data();
    wait::until("the node to have it", async || {
        (!holding(&data, &gone.needles).is_empty()).then_some(())
    })
    .await;
    cluster.node(absent).kill();
    let backup = data.with_extension("backup");
    let copied = Command::new("cp")
        .arg("-a")
        .arg(&data)
        .arg(&backup)
        .status();
    assert!(copied.unwrap().success());

    let ordered = order(
        VOGHERA,
        json!({"entries": [index], "ground": "unlawful"}),
        None,
    );
    let (ordered, _) = cluster.accept(leader, &ordered.line()).await;
    let others: Vec<u64> = [1, 2, 3]
        .into_iter()
        .filter(|node| *node != absent)
        .collect();
    // Those that are there do it without waiting for who is not.
    let told = wait::until("the others to have erased", async || {
        let told = erasure(&cluster, leader, ordered).await?;
        let silent = told["nodes"]
            .as_array()?
            .iter()
            .filter(|node| node.get("erased").is_none());
        (silent.count() == 1).then_some(told)
    })
    .await;
    assert_eq!(told["open"], true);
    for number in &others {
        let places = holding(&cluster.node(*number).data(), &gone.needles);
        assert!(places.is_empty(), "node {number}: {places:?}");
    }

    // Put back from the backup: the text is on its disk again, and nobody gets to see it.
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&backup, &data).unwrap();
    assert!(!holding(&data, &gone.needles).is_empty());
    cluster.node(absent).start();
    let token = world::token(VOGHERA, Role::Dpo);
    let url = cluster.url(absent, &format!("/v1/entries/{index}"));
    wait::until("the node to show it as erased", async || {
        let answer = cluster.http.get(&url, Some(&token)).await.ok()?;
        assert!(
            !answer.text.contains("submission"),
            "shown: {}",
            answer.text
        );
        (answer.status == 200).then_some(())
    })
    .await;
    done(&cluster, absent, ordered).await;
    nowhere(&mut cluster, &gone.needles);
    cluster.finish().await;
}

/// Nothing is old enough here: all nodes fold the cut, look and sign, and what is young stays. Twice a day is once too often.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_is_folded_and_signed_by_every_node_and_given_once_a_day() {
    let cluster = Cluster::start().await;
    let anna = world::person("anna");
    let access = world::access_draft(&anna).sign(&[&key(VOGHERA, "entry")]);
    let (young, _) = cluster.accept(1, &access.line()).await;
    let cut = |before| {
        let content = json!({"before": before, "ground": "retention-ended"});
        order(VOGHERA, content, None)
    };
    let (ordered, _) = cluster.accept(2, &cut(young + 1).line()).await;
    for number in [1, 2, 3] {
        let told = done(&cluster, number, ordered).await;
        assert_eq!(told["before"], young + 1, "{told}");
    }
    assert!(show(&cluster, 3, young).await["body"].is_object());
    let answer = cluster.submit(3, &cut(young).line()).await;
    assert_eq!(answer.status, 422, "{}", answer.text);
    assert!(answer.text.contains("cut-again"), "{}", answer.text);
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_side_is_told_that_its_twin_is_gone() {
    let cluster = Cluster::start().await;
    let own = world::access_draft(&world::person("anna"));
    let mut other = world::access_draft(&world::person("anna"));
    other.institution = INPS.into();
    other.content["side"] = json!("provider");
    other.content["exchange"] = own.content["exchange"].clone();
    let (erased, _) = cluster
        .accept(1, &own.sign(&[&key(VOGHERA, "entry")]).line())
        .await;
    let (twin, _) = cluster
        .accept(1, &other.sign(&[&key(INPS, "entry")]).line())
        .await;
    let ordered = order(
        VOGHERA,
        json!({"entries": [erased], "ground": "not-necessary"}),
        None,
    );
    let (ordered, _) = cluster.accept(1, &ordered.line()).await;
    done(&cluster, 1, ordered).await;
    // Of an entry in which INPS took no part, later.
    let withdrawn = world::consent("record-1", &world::person("anna"), "withdrawn");
    let (withdrawn, _) = cluster.accept(1, &withdrawn.line()).await;
    let others = order(
        world::ASL,
        json!({"entries": [withdrawn], "ground": "objection"}),
        None,
    );
    cluster.accept(1, &others.line()).await;
    let url = cluster.url(1, "/v1/erasures");
    let listed = async |institution: &str, role| {
        let token = world::token(institution, role);
        cluster.http.get(&url, Some(&token)).await.unwrap()
    };
    let page = listed(INPS, Role::Dpo).await.json();
    let told = &page["items"][0];
    assert_eq!(told["index"], ordered);
    assert_eq!(told["institution"], VOGHERA);
    assert_eq!(told["twins"], json!([{"erased": erased, "own": twin}]));
    // The order is its giver's too; who is no privacy officer may not ask.
    let page = listed(VOGHERA, Role::Dpo).await.json();
    assert_eq!(page["items"][0]["index"], ordered);
    assert!(page["items"][0].get("twins").is_none(), "{page}");
    assert_eq!(listed(INPS, Role::Institution).await.status, 403);
    cluster.finish().await;
}
