// SPDX-License-Identifier: EUPL-1.2
//! An authority's auditor replays a running ledger from genesis or from a state root, goes on later, replays offline what it kept, and stops at
//! a lie; and the scope of one person's accesses.

use std::{collections::BTreeSet, fs};

use ledger::audit::Line;
use serde_json::{Value, json};
use tests::{
    cluster::{Cluster, Setup},
    wait,
    world::{self, VOGHERA},
};

use crate::{
    cli::{reader, visto, words},
    erasure::{done, order},
    governance::Governance,
};

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

    // One findings bit of one leaf is another. And no entry passes for one that a cut took, where nobody cut.
    let file = fs::read_dir(&kept)
        .unwrap()
        .map(|file| file.unwrap().path())
        .min()
        .unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let line = text
        .lines()
        .find(|line| line.contains("\"disclosures\":[\"") && line.contains("\"envelope\""))
        .unwrap();
    let at = line.find("\"meta\":\"").unwrap() + 8 + 12;
    let mut lied = line.to_owned();
    lied.replace_range(at..=at, if &line[at..=at] == "A" { "B" } else { "A" });
    fs::write(&file, text.replacen(line, &lied, 1)).unwrap();
    let (code, caught, _) = visto(audit(&kept, &[])).await;
    let caught: Value = serde_json::from_str(&caught).unwrap();
    assert_eq!((code, &caught["ok"]), (1, &false.into()));
    assert_eq!(caught["lie"]["at"], "entry", "{caught}");
    let Ok(Line::Entry(mut gone)) = Line::parse(line.as_bytes()) else {
        panic!("an entry");
    };
    (gone.body, gone.change) = (None, None);
    let index = gone.index.0;
    let gone = Line::Entry(gone).to_json();
    fs::write(&file, text.replacen(line, &gone, 1)).unwrap();
    let (code, caught, _) = visto(audit(&kept, &[])).await;
    let caught: Value = serde_json::from_str(&caught).unwrap();
    assert_eq!((code, &caught["retired"]["first"]), (1, &index.into()));
    assert_eq!(caught["lie"]["said"], "out of its lists", "{caught}");

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

/// Begun at a state root, put down and gone on with over entries, an erasure and a new node, it comes to what a replay from genesis comes to.
#[tokio::test(flavor = "multi_thread")]
async fn an_audit_begins_at_a_state_root() {
    let mut cluster = Cluster::start_with(Setup {
        spare: 1,
        ..Setup::default()
    })
    .await;
    let mut governance = Governance::after_genesis(&cluster).await;
    let people = ["anna", "bruno", "carla"].map(world::person);
    let mut accesses = Vec::new();
    for person in &people {
        accesses.push(cluster.accept(1, &world::access(person).line()).await.0);
    }
    erase(&cluster, accesses[0]).await;

    let authority = reader(&cluster, world::GARANTE, "authority");
    let policy = cluster.policy_file();
    let (state, kept) = (
        cluster.folder().join("audit").display().to_string(),
        cluster.folder().join("kept").display().to_string(),
    );
    let url = cluster.urls().remove(0);
    let audit = async |from: &str, more: &[&str]| {
        let mut args = words(&format!(
            "-o json audit --policy {} --from {from}",
            policy.display()
        ));
        args.extend(more.iter().map(|&arg| arg.to_owned()));
        args.extend(authority.clone());
        let (code, told, complaint) = visto(args).await;
        let told: Value = serde_json::from_str(&told)
            .unwrap_or_else(|error| panic!("{error}: {code} {told}{complaint}"));
        (code, told)
    };
    let at_root = ["--begin-at", "state-root"];
    let going_on = ["--state", &state, "--keep", &kept];
    let (code, begun) = audit(&url, &[&at_root[..], &going_on].concat()).await;
    assert_eq!(code, 0, "{begun}");
    let at = begun["began"]["at"].as_u64().unwrap();
    assert!(at > accesses[2], "{begun}");
    assert!(begun["began"]["ofSize"].as_u64() <= Some(at), "{begun}");
    assert!(begun["types"]["access"].is_null(), "{begun}");

    // A new node, and an access that is erased.
    governance.add_fourth_node(&mut cluster).await;
    for person in &people {
        accesses.push(cluster.accept(2, &world::access(person).line()).await.0);
    }
    erase(&cluster, accesses[4]).await;

    // On from where it was, whatever is said of where to begin.
    let gone_on = wait::until("a state root after the start", async || {
        let (code, told) = audit(&url, &going_on).await;
        assert_eq!(code, 0, "{told}");
        (told["stateRoots"].as_u64() > Some(1)).then_some(told)
    })
    .await;
    assert_eq!(gone_on["began"], begun["began"]);
    assert_eq!(
        (&gone_on["types"]["access"], &gone_on["erased"]),
        (&3.into(), &1.into())
    );
    assert_eq!(gone_on["types"]["node"], 1, "{gone_on}");
    // The two accesses that are whole: whether their exchange was told before, no root says.
    let rests = gone_on["notRecomputed"].as_array().unwrap();
    let table = |name: &str| rests.iter().find(|table| table["table"] == name);
    assert_eq!(table("exchanges").unwrap()["count"], 2, "{gone_on}");
    assert!(table("exchanges").unwrap()["until"].is_string());
    assert!(table("consents").is_none(), "{gone_on}");

    // Both ways offline, over the same entries.
    let (code, genesis) = audit(&url, &["--keep", &kept]).await;
    assert_eq!(code, 0, "{genesis}");
    let (code, whole) = audit(&kept, &[]).await;
    let (code_root, from_root) = audit(&kept, &at_root).await;
    assert_eq!((code, code_root), (0, 0), "{whole}{from_root}");
    for member in ["size", "folded", "published"] {
        assert_eq!(whole[member], from_root[member], "{member}");
    }
    assert_eq!(whole["notRecomputedEntries"], 0);
    assert!(whole["began"].is_null());

    // A ref under the root is another.
    let file = cluster.folder().join("kept/start.ndjson");
    let text = fs::read_to_string(&file).unwrap();
    let value = text.lines().find(|line| line.starts_with("{\"key\":\""));
    let value = value.unwrap();
    let mut lied = value.to_owned();
    let was = if &lied[20..21] == "A" { "B" } else { "A" };
    lied.replace_range(20..21, was);
    fs::write(&file, text.replacen(value, &lied, 1)).unwrap();
    let (code, caught) = audit(&kept, &at_root).await;
    assert_eq!(
        (code, &caught["lie"]["at"]),
        (1, &"start".into()),
        "{caught}"
    );

    // What was kept from a root on is not replayed from genesis.
    fs::remove_file(
        cluster
            .folder()
            .join("kept/entries-00000000000000000000.ndjson"),
    )
    .unwrap();
    let mut args = words(&format!(
        "audit --policy {} --from {kept}",
        policy.display()
    ));
    args.extend(authority.clone());
    let (code, _, complaint) = visto(args).await;
    assert_eq!(code, 3, "{complaint}");
    assert!(complaint.contains("--begin-at state-root"), "{complaint}");
    cluster.finish().await;
}

/// Its institution has an entry erased.
async fn erase(cluster: &Cluster, index: u64) {
    let content = json!({"entries": [index], "ground": "not-necessary"});
    let (at, _) = cluster
        .accept(1, &order(VOGHERA, content, None).line())
        .await;
    done(cluster, 1, at).await;
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
    // Line by line the sums come last, as from a node: a list without them was cut short.
    let mut lines = scope(world::CLERK, world::GARANTE, "authority");
    lines[1] = "ndjson".into();
    let (code, told, _) = visto(lines).await;
    let told: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!((code, told.len()), (0, 3), "{told:?}");
    assert_eq!(
        (&told[2]["subjects"], &told[2]["untold"]),
        (&2.into(), &0.into())
    );
    let (code, told, _) = visto(scope("nobody", world::GARANTE, "authority")).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &told["subjects"]), (0, &0.into()));
    // Whose accesses they are is the own privacy officer's to know, and nobody else's.
    let (code, _, told) = visto(scope(world::CLERK, world::INPS, "dpo")).await;
    assert_eq!(code, 4, "{told}");
    cluster.finish().await;
}
