// SPDX-License-Identifier: EUPL-1.2
//! An authority's auditor replays a running ledger, goes on later, replays offline what it kept, and stops at a lie; and the scope of one
//! person's accesses.

use std::{collections::BTreeSet, fs};

use serde_json::Value;
use tests::{cluster::Cluster, wait, world};

use crate::cli::{reader, visto, words};

#[tokio::test(flavor = "multi_thread")]
async fn a_running_ledger_is_replayed() {
    let cluster = Cluster::start().await;
    let people = ["anna", "bruno", "carla"].map(world::person);
    let mut last = 0;
    for person in people.iter().chain(&people) {
        (last, _) = cluster.accept(1, &world::access(person).line()).await;
    }
    cluster.published(2, last + 1).await;
    // Roots come by themselves; the auditor recomputes the first.
    let authority = reader(&cluster, world::GARANTE, "authority");
    let (state, kept) = (
        cluster.folder().join("audit"),
        cluster.folder().join("kept"),
    );
    let audit = |from: &str, more: &[&str]| {
        let policy = cluster.policy_file();
        let mut args = words(&format!(
            "-o json audit --policy {} --from {from}",
            policy.display()
        ));
        args.extend(more.iter().map(|&arg| arg.to_owned()));
        args.extend(authority.clone());
        args
    };
    let url = cluster.urls().remove(0);
    let (state, kept) = (state.display().to_string(), kept.display().to_string());
    let live = audit(&url, &["--state", &state, "--keep", &kept]);
    let first = wait::until("a state root in what is replayed", async || {
        let (code, told, complaint) = visto(live.clone()).await;
        assert_eq!(code, 0, "{told}{complaint}");
        let told: Value = serde_json::from_str(&told).unwrap();
        (told["stateRoots"].as_u64() > Some(0)).then_some(told)
    })
    .await;
    assert!(first["size"].as_u64() > Some(last), "{first}");
    assert!(first["checkpoints"].as_u64() > Some(0), "{first}");
    assert_eq!(first["types"]["access"], 6, "{first}");
    assert!(
        first["types"]["read"].as_u64() > Some(0),
        "the audit itself is on record: {first}"
    );
    assert_eq!(
        (&first["erased"], &first["unjudged"]),
        (&0.into(), &0.into())
    );

    // It goes on where it was.
    let (index, _) = cluster.accept(2, &world::access(&people[0]).line()).await;
    cluster.published(1, index + 1).await;
    let (code, told, _) = visto(live).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &told["types"]["access"]), (0, &7.into()));

    // What was kept holds without any node, to a human's eye too.
    let (code, offline, complaint) = visto(audit(&kept, &[])).await;
    let offline: Value = serde_json::from_str(&offline).unwrap();
    assert_eq!((code, &offline["size"]), (0, &told["size"]), "{complaint}");

    // One findings bit of one leaf is another.
    let file = fs::read_dir(&kept)
        .unwrap()
        .map(|file| file.unwrap().path())
        .min()
        .unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let line = text
        .lines()
        .find(|line| line.contains("\"disclosures\":[\""))
        .unwrap();
    let at = line.find("\"meta\":\"").unwrap() + 8 + 12;
    let mut lied = line.to_owned();
    lied.replace_range(at..=at, if &line[at..=at] == "A" { "B" } else { "A" });
    fs::write(&file, text.replacen(line, &lied, 1)).unwrap();
    let (code, caught, _) = visto(audit(&kept, &[])).await;
    let caught: Value = serde_json::from_str(&caught).unwrap();
    assert_eq!((code, &caught["ok"]), (1, &false.into()));
    assert_eq!(caught["lie"]["at"], "entry", "{caught}");

    // Nobody but the authority is fed.
    let mut others = words(&format!(
        "audit --policy {} --from {url}",
        cluster.policy_file().display()
    ));
    others.extend(reader(&cluster, world::INPS, "dpo"));
    let (code, _, told) = visto(others).await;
    assert_eq!(code, 4, "{told}");
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scope_of_one_person() {
    let cluster = Cluster::start().await;
    let (anna, bruno) = (world::person("anna"), world::person("bruno"));
    let mut last = 0;
    for person in [&anna, &bruno, &anna] {
        (last, _) = cluster.accept(1, &world::access(person).line()).await;
    }
    cluster.published(1, last + 1).await;
    let scope = |operator: &str, institution: &str, role: &str| {
        let mut args = words(&format!(
            "-o json scope --operator {} {operator}",
            world::VOGHERA
        ));
        args.extend(reader(&cluster, institution, role));
        args
    };
    let (code, told, complaint) = visto(scope(world::CLERK, world::GARANTE, "authority")).await;
    assert_eq!(code, 0, "{complaint}");
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&told["subjects"], &told["entries"]),
        (&2.into(), &3.into())
    );
    let touched: BTreeSet<(&str, u64)> = told["touched"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["ref"].as_str().unwrap(), one["count"].as_u64().unwrap()))
        .collect();
    assert_eq!(
        touched,
        BTreeSet::from([(anna.as_str(), 2), (bruno.as_str(), 1)])
    );
    let (code, told, _) = visto(scope("nobody", world::GARANTE, "authority")).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &told["subjects"]), (0, &0.into()));
    // Whose accesses they are is the own privacy officer's to know, and nobody else's.
    let (code, _, told) = visto(scope(world::CLERK, world::INPS, "dpo")).await;
    assert_eq!(code, 4, "{told}");
    cluster.finish().await;
}
