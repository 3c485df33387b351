// SPDX-License-Identifier: EUPL-1.2
//! Receipts: the same for the same entry, whoever is asked and however often; and a stranger's program believes them.

use std::{fs, process::Command};

use tests::{cluster::Cluster, node::binary, wait, world};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_entry_gets_the_same_receipt_from_every_node() {
    let cluster = Cluster::start().await;
    let entry = world::access(&world::person("anna"));
    let first = cluster.submit(1, &entry.line()).await;
    assert_eq!(first.status, 201, "{}", first.text);
    let first = first.json();
    assert_eq!(first["again"], false);
    let receipt = first["receipt"].as_str().expect("a receipt").to_owned();
    // The ledger goes on, under newer checkpoints.
    for _ in 0..5 {
        cluster
            .accept(2, &world::access(&world::person("bruno")).line())
            .await;
    }
    for node in [1, 2, 3] {
        let again = cluster.submit(node, &entry.line()).await;
        assert_eq!(again.status, 200, "{}", again.text);
        let again = again.json();
        assert_eq!(
            (&again["again"], &again["index"]),
            (&true.into(), &first["index"])
        );
        assert_eq!(
            again["receipt"].as_str(),
            Some(receipt.as_str()),
            "node {node} gave another receipt"
        );
    }
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_verified_offline_and_no_other_entry_passes_with_it() {
    let mut cluster = Cluster::start().await;
    let entry = world::access(&world::person("anna"));
    let answer = cluster.submit(1, &entry.line()).await.json();
    let receipt = wait::until("a receipt", async || {
        let answer = cluster.submit(1, &entry.line()).await.json();
        answer["receipt"].as_str().map(str::to_owned)
    })
    .await;
    // Nobody is there to ask any more.
    for node in cluster.nodes.values_mut() {
        node.kill();
    }
    let folder = cluster.folder().to_owned();
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let policy = cluster.policy_file();
    let verify = |entry: &str, receipt: &str| {
        let entry = file("entry.json", entry);
        let receipt = file("entry.tlog-proof", receipt);
        Command::new(binary("visto-verify"))
            .arg("--policy")
            .arg(&policy)
            .arg(entry)
            .arg(receipt)
            .output()
            .unwrap()
    };
    let good = verify(&entry.line(), &receipt);
    let said = String::from_utf8_lossy(&good.stdout).into_owned();
    assert!(
        good.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&good.stderr)
    );
    assert!(
        said.contains(&answer["index"].to_string()),
        "the index is not told: {said}"
    );

    let other = verify(&world::access(&world::person("anna")).line(), &receipt);
    assert_eq!(
        other.status.code(),
        Some(1),
        "another entry passed: {}",
        String::from_utf8_lossy(&other.stdout)
    );
    // Any other byte in the receipt's base64, and it proves nothing.
    let spoiled: String = receipt.lines().map(|line| if line.starts_with("extra ") { spoil(line) } else { line.to_owned() } + "\n").collect();
    assert_ne!(
        verify(&entry.line(), &spoiled).status.code(),
        Some(0),
        "a spoiled receipt passed"
    );
    cluster.finish().await;
}

fn spoil(line: &str) -> String {
    let mut line = line.to_owned();
    let place = line.len() - 20;
    let other = if line.as_bytes()[place] == b'A' {
        "B"
    } else {
        "A"
    };
    line.replace_range(place..=place, other);
    line
}
