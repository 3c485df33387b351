// SPDX-License-Identifier: EUPL-1.2
//! The command line against real nodes: what it prints, and with which code it ends.

use std::{
    fs,
    process::{Command, Output},
};

use client::keyfile;
use serde_json::Value;
use tests::{
    cluster::{Cluster, Setup},
    node::{binary, peer_address},
    wait, world,
};

/// Runs `visto` to its end, off the async threads.
pub(crate) async fn visto(arguments: Vec<String>) -> (i32, String, String) {
    let run = || Command::new(binary("visto")).args(arguments).output();
    let output: Output = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

pub(crate) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Flags of a reader of an institution, whose token key is put into a file.
pub(crate) fn reader(cluster: &Cluster, institution: &str, role: &str) -> Vec<String> {
    let file = cluster
        .folder()
        .join(format!("{}.token", institution.replace(':', "-")));
    if !file.exists() {
        keyfile::write_new(&file, &world::seed(institution, "token")).unwrap();
    }
    words(&format!(
        "--url {} --ledger {} --timeout 20 --institution {institution} --person p-1 --role {role} --purpose dpv:LegalCompliance --token-key {}",
        cluster.urls().join(","),
        world::LEDGER,
        file.display()
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_sent_found_and_proven_by_commands_alone() {
    let cluster = Cluster::start().await;
    let anna = world::person("anna");
    let (entry, receipt) = (
        cluster.folder().join("access.json"),
        cluster.folder().join("access.tlog-proof"),
    );
    fs::write(&entry, world::access(&anna).line()).unwrap();
    let url = cluster.urls().join(",");
    let submit = words(&format!(
        "-o ndjson entry submit --url {url} --receipt {} {}",
        receipt.display(),
        entry.display()
    ));
    let (code, line, _) = visto(submit.clone()).await;
    assert_eq!(code, 0);
    let accepted: Value = serde_json::from_str(&line).unwrap();
    let (code, again, _) = visto(submit).await;
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(
        (code, &again["index"], &again["again"]),
        (0, &accepted["index"], &true.into())
    );

    let verify = |receipt: &str| {
        words(&format!(
            "-o json verify --policy {} --entry {} --receipt {receipt}",
            cluster.policy_file().display(),
            entry.display()
        ))
    };
    let (code, proven, _) = visto(verify(&receipt.display().to_string())).await;
    let proven: Value = serde_json::from_str(&proven).unwrap();
    assert_eq!((code, &proven["index"]), (0, &accepted["index"]));
    let broken = cluster.folder().join("broken.tlog-proof");
    fs::write(
        &broken,
        fs::read_to_string(&receipt)
            .unwrap()
            .replacen("index ", "index 1", 1),
    )
    .unwrap();
    let (code, _, told) = visto(verify(&broken.display().to_string())).await;
    assert_eq!(code, 1, "{told}");
    let (code, _, told) = visto(verify("/nowhere")).await;
    assert_eq!(code, 3, "{told}");

    let list = |flags: Vec<String>| {
        let mut list = words(&format!("-o json access list --subject {anna}"));
        list.extend(flags);
        list
    };
    let (code, listed, told) = visto(list(reader(&cluster, world::GARANTE, "authority"))).await;
    assert_eq!(code, 0, "{told}");
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["index"], accepted["index"]);
    // A role that nobody granted, and a key that is not the institution's.
    let (code, _, told) = visto(list(reader(&cluster, world::ASL, "authority"))).await;
    assert_eq!(code, 4, "{told}");
    let (code, _, told) = visto(list(words("--url 127.0.0.1:1"))).await;
    assert_eq!(code, 2, "{told}");
    let dead = format!(
        "entry submit --url http://127.0.0.1:1 --timeout 1 {}",
        entry.display()
    );
    let (code, _, told) = visto(words(&dead)).await;
    assert_eq!(code, 3, "{told}");
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sides_tracing_files_and_receipts_are_asked_by_commands() {
    let cluster = Cluster::start().await;
    let anna = world::person("anna");
    let (index, _) = cluster.accept(1, &world::access(&anna).line()).await;
    let consent = world::consent("nido", &anna, "given");
    cluster.accept(1, &consent.line()).await;
    let of = |command: &str, institution: &str| {
        let mut arguments = words(command);
        arguments.extend(reader(&cluster, institution, "institution"));
        arguments
    };
    let told = wait::until("the unpaired side on the node that is asked", async || {
        let list = of(
            "exchange list --state unpaired --side consumer",
            world::INPS,
        );
        let (code, told, _) = visto(list).await;
        assert_eq!(code, 0);
        told.contains("unpaired").then_some(told)
    })
    .await;
    assert!(told.contains(&format!("{index} / -")), "{told}");

    // Nobody told the ledger of the calls of a day long past, and a file with a bad line is none.
    let file = cluster.folder().join("tracing.csv");
    let check = of(
        &format!("tracing check --side provider --file {}", file.display()),
        world::INPS,
    );
    let head = "date,purpose_id,status,token_id,requests_count\n";
    fs::write(&file, format!("{head}2026-03-29,p-1,200,t-1,3\n")).unwrap();
    let (code, told, _) = visto(check.clone()).await;
    assert_eq!(code, 1, "{told}");
    assert!(
        told.contains("2026-03-28T23:00:00.000Z to 2026-03-29T22:00:00.000Z"),
        "{told}"
    );
    assert!(
        told.contains("missing in ledger") && told.contains("p-1"),
        "{told}"
    );
    fs::write(&file, format!("{head}2026-03-29,p-1,200,t-1,three\n")).unwrap();
    let (code, _, told) = visto(check).await;
    assert_ne!(code, 0);
    assert!(told.contains("line 2, requests_count"), "{told}");

    let receipt = format!("consent receipt --subject {anna} --record nido");
    let document = wait::until("the consent on the node that is asked", async || {
        let (code, document, _) = visto(of(&receipt, world::ASL)).await;
        (code == 0).then_some(document)
    })
    .await;
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["@type"], "dpv:ConsentReceipt");
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_checks_the_cluster_and_adds_a_node() {
    let mut cluster = Cluster::start_with(Setup {
        spare: 1,
        ..Setup::default()
    })
    .await;
    cluster
        .accept(1, &world::access(&world::person("anna")).line())
        .await;
    let of_cluster = |verb: &str, flags: Vec<String>| {
        let mut arguments = words(&format!("-o json cluster {verb}"));
        arguments.extend(flags);
        arguments
    };
    let operator = reader(&cluster, world::VOGHERA, "operator");
    let (code, nodes, told) = visto(of_cluster("status", operator.clone())).await;
    assert_eq!(code, 0, "{told}");
    let nodes: Value = serde_json::from_str(&nodes).unwrap();
    assert_eq!(nodes.as_array().unwrap().len(), 3);
    let (code, agreement, told) = visto(of_cluster("check", operator)).await;
    assert_eq!(code, 0, "{told}");
    let agreement: Value = serde_json::from_str(&agreement).unwrap();
    assert_eq!(agreement["agree"], true);

    let file = |name: &str, institution: &str, label: &str| {
        let path = cluster.folder().join(name);
        keyfile::write_new(&path, &world::seed(institution, label)).unwrap();
        path.display().to_string()
    };
    let runs_it = world::operator_of(4);
    let add = format!(
        "--url {} --ledger {} --for {runs_it} --governance-key {} --governance-key {} --node 4 --peer {} --node-key {} --cosign-key {}",
        cluster.urls().join(","),
        world::LEDGER,
        file("one.governance", world::INPS, "governance"),
        file("two.governance", world::VOGHERA, "governance"),
        peer_address(cluster.place(), 4),
        file("node-4.key", runs_it, "node 4"),
        file("cosign-4.key", runs_it, "cosign 4"),
    );
    let (code, written, told) = visto(of_cluster("add", words(&add))).await;
    assert_eq!(code, 0, "{told}");
    let written: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(written.as_array().unwrap().len(), 3, "{written}");
    cluster.add_folder(4).await;
    cluster.node(4).start();
    cluster.ready_node(4).await;
    wait::until("node 4 votes", async || {
        let admin = cluster.admin(4).await?;
        let votes = |member: &Value| member["node"] == 4 && member["voter"] == true;
        admin["members"].as_array()?.iter().any(votes).then_some(())
    })
    .await;
    // The number is in force: another node of it is refused, and the keys that are registered are passed over.
    let (code, _, told) = visto(of_cluster("add", words(&add))).await;
    assert_eq!(code, 1, "{told}");
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_tells_its_story_to_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let info = folder.path().join("info.json");
    let arguments = format!(
        "demo --once --households 120 --accesses 150 --consents 40 --seed 7 --info {} --dir {}",
        info.display(),
        folder.path().join("demo").display()
    );
    let (code, story, told) = visto(words(&arguments)).await;
    assert_eq!(code, 0, "{story}\n{told}");
    for number in 1..=10 {
        assert!(
            story.contains(&format!("\n{number}. ")),
            "step {number} is missing: {story}"
        );
    }
    for told in [
        "SIGKILL",
        "the same root on all three",
        "consent-withdrawn",
        "Verified",
    ] {
        assert!(story.contains(told), "{told} is missing: {story}");
    }
    let info: Value = serde_json::from_slice(&fs::read(&info).unwrap()).unwrap();
    for member in ["origin", "vkey", "policy", "token", "keys"] {
        assert!(info[member].is_string(), "{member}: {info}");
    }
    let nodes = info["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3);
    for node in nodes {
        let pid = node["pid"].as_u64().unwrap();
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(!command.contains("visto"), "node {} still runs", node["id"]);
        assert!(node["url"].is_string() && node["data"].is_string());
    }
}
