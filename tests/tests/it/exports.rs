// SPDX-License-Identifier: EUPL-1.2
//! Exports of real nodes, verified by the binaries that a stranger has: complete, each for its reader, and as true while writes go on.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use client::keyfile;
use serde_json::{Value, json};
use tests::{cluster::Cluster, node::binary, sign::Draft, world};

/// Runs a binary to its end, off the async threads; its code and all that it said.
async fn run(name: &'static str, arguments: Vec<String>) -> (i32, String) {
    let run = move || Command::new(binary(name)).args(arguments).output();
    let output = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(said).unwrap(),
    )
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// `visto export` as a reader of an institution, into a file.
pub(crate) async fn export(cluster: &Cluster, by: (&str, &str), what: &str, name: &str) -> PathBuf {
    let (institution, role) = by;
    let key = cluster
        .folder()
        .join(format!("{}.token", institution.replace(':', "-")));
    if !key.exists() {
        keyfile::write_new(&key, &world::seed(institution, "token")).unwrap();
    }
    let file = cluster.folder().join(name);
    let line = format!(
        "export --url {} --ledger {} --timeout 20 --institution {institution} --person p-1 --role {role} --purpose dpv:DataSubjectRightsManagement --token-key {} {what} --out {}",
        cluster.url(2, ""),
        world::LEDGER,
        key.display(),
        file.display()
    );
    let (code, said) = run("visto", words(&line)).await;
    assert_eq!(code, 0, "{said}");
    file
}

/// Both verifiers hold the file to be complete.
pub(crate) async fn complete(cluster: &Cluster, file: &Path) -> String {
    let policy = cluster.policy_file();
    let line = format!("--policy {} {}", policy.display(), file.display());
    let (code, said) = run("visto-verify", words(&line)).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("omplete as of size"), "{said}");
    let (code, told) = run("visto", words(&format!("verify {line}"))).await;
    assert_eq!(code, 0, "{told}");
    said
}

fn read(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

/// Every value that is disclosed in an export.
fn disclosed(export: &Value) -> String {
    let mut told = String::new();
    let mut walk = vec![export];
    while let Some(value) = walk.pop() {
        match value {
            Value::Array(items) => walk.extend(items),
            Value::Object(members) => {
                for text in members
                    .get("disclosures")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                {
                    let decoded = ledger::base64::url_decode(text.as_str().unwrap()).unwrap();
                    told.push_str(&String::from_utf8(decoded).unwrap());
                }
                walk.extend(members.values());
            }
            _ => {}
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_citizen_gets_the_own_part_of_everything_while_writes_go_on() {
    let cluster = Arc::new(Cluster::start().await);
    let (anna, bruno, carla) = (
        world::person("anna"),
        world::person("bruno"),
        world::person("carla"),
    );
    // A bulk query of three, and one that is sealed.
    let mut bulk = world::access_draft(&anna);
    for other in [&bruno, &carla] {
        let target = bulk.disclosed(json!({"ref": other, "role": "target"}));
        bulk.content["subjects"]
            .as_array_mut()
            .unwrap()
            .push(target);
    }
    let key = world::key(world::VOGHERA, "entry");
    cluster.accept(1, &bulk.sign(&[&key]).line()).await;
    let mut sealed = world::access_draft(&anna);
    sealed.content["visibility"] =
        json!({"hidden": true, "legalReference": "art. 329 c.p.p.", "authority": world::GARANTE});
    let sealed = cluster.accept(1, &sealed.sign(&[&key]).line()).await;
    // Writes that go on; each names Anna.
    let stop = Arc::new(AtomicBool::new(false));
    let writing = {
        let (cluster, stop, anna) = (Arc::clone(&cluster), Arc::clone(&stop), anna.clone());
        tokio::spawn(async move {
            let mut written = 0;
            while written < 120 || !stop.load(Ordering::SeqCst) {
                cluster.accept(1, &world::access(&anna).line()).await;
                written += 1;
            }
            written
        })
    };
    let dpo = (world::VOGHERA, "dpo");
    let first = export(&cluster, dpo, &format!("--subject {anna}"), "first.json").await;
    complete(&cluster, &first).await;
    stop.store(true, Ordering::SeqCst);
    let written = writing.await.unwrap();
    let file = export(&cluster, dpo, &format!("--subject {anna}"), "anna.json").await;
    complete(&cluster, &file).await;
    let all = read(&file);
    let items = all["lists"][0]["items"].as_array().unwrap();
    // The bulk query, all that was written meanwhile, and the reading and the handing out of the first export.
    assert_eq!(items.len(), 1 + written + 2);
    assert!(items.iter().all(|item| item["index"] != sealed.0));
    let told = disclosed(&all);
    assert!(told.contains(&anna) && told.contains("Verifica ISEE"));
    for hidden in [&bruno, &carla, world::CLERK, "sportello 3"] {
        assert!(!told.contains(hidden), "{hidden}");
    }
    // The later export goes on where the earlier one ended.
    let line = format!(
        "--policy {} --since {} {}",
        cluster.policy_file().display(),
        first.display(),
        file.display()
    );
    let (code, said) = run("visto-verify", words(&line)).await;
    assert_eq!(code, 0, "{said}");
    for (person, own) in [(&bruno, &anna), (&carla, &bruno)] {
        let what = format!("--subject {person}");
        let file = export(&cluster, dpo, &what, &format!("{person}.json")).await;
        complete(&cluster, &file).await;
        let told = disclosed(&read(&file));
        assert!(told.contains(person) && !told.contains(own));
    }
    // With one item left out it is red.
    let mut less = all.clone();
    less["lists"][0]["items"].as_array_mut().unwrap().remove(3);
    let broken = cluster.folder().join("less.json");
    fs::write(&broken, less.to_string()).unwrap();
    let line = format!(
        "--policy {} {}",
        cluster.policy_file().display(),
        broken.display()
    );
    let (code, said) = run("visto-verify", words(&line)).await;
    assert_ne!(code, 0, "{said}");
    Arc::into_inner(cluster).unwrap().finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_household_follows_a_birth_a_separation_and_a_move() {
    let cluster = Cluster::start().await;
    let (anna, bruno, child, rossi) = (
        world::person("anna"),
        world::person("bruno"),
        world::person("child"),
        world::household("rossi"),
    );
    for (members, from) in [
        (vec![&*anna, &*bruno], "2024-01-01T00:00:00Z"),
        (vec![&*anna, &*bruno, &*child], "2025-01-01T00:00:00Z"),
        // Bruno leaves.
        (vec![&*anna, &*child], "2026-01-01T00:00:00Z"),
    ] {
        let family = world::family(&rossi, &members, from);
        cluster.accept(1, &family.line()).await;
    }
    // He moves into a household of his own.
    let own = world::household("bruno");
    let family = world::family(&own, &[&bruno], "2026-01-01T00:00:00Z");
    cluster.accept(1, &family.line()).await;
    for person in [&anna, &bruno, &child] {
        cluster.accept(1, &world::access(person).line()).await;
    }
    let authority = (world::GARANTE, "authority");
    let whole = format!("--household {rossi} --for reader");
    let file = export(&cluster, authority, &whole, "whole.json").await;
    let said = complete(&cluster, &file).await;
    assert!(
        said.contains("membership") || said.contains("belonged"),
        "{said}"
    );
    let told = read(&file);
    let of = |person: &str| {
        let lists = told["lists"].as_array().unwrap();
        let list = lists.iter().find(|list| list["ref"] == person).unwrap();
        list["items"].as_array().unwrap().clone()
    };
    // Now is after the separation: what happens to him now is not the household's.
    assert!(
        of(&bruno)
            .iter()
            .all(|item| item["why"] == "outside-membership")
    );
    assert!(of(&child).iter().any(|item| item["envelope"].is_object()));
    // Anna asks for herself and her child.
    let hers = format!("--household {rossi} --self {anna} --minor {child}");
    let file = export(&cluster, (world::VOGHERA, "dpo"), &hers, "hers.zip").await;
    let line = format!(
        "verify --policy {} {}",
        cluster.policy_file().display(),
        file.display()
    );
    let (code, said) = run("visto", words(&line)).await;
    assert_eq!(code, 0, "{said}");
    let file = export(&cluster, (world::VOGHERA, "dpo"), &hers, "hers.json").await;
    let told = read(&file);
    assert_eq!(
        told["notOpened"],
        json!([{"ref": bruno, "why": "adult-without-mandate"}])
    );
    let own = format!("--household {own} --self {bruno}");
    let file = export(&cluster, (world::VOGHERA, "dpo"), &own, "his.json").await;
    complete(&cluster, &file).await;
    cluster.finish().await;
}

/// A member has the own part of a composition erased: the export says so by the order, and nothing else is missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_household_is_complete_after_a_member_s_part_was_erased() {
    let cluster = Cluster::start().await;
    let (anna, bruno, rossi) = (
        world::person("anna"),
        world::person("bruno"),
        world::household("rossi"),
    );
    let family = world::family(&rossi, &[&anna, &bruno], "2024-01-01T00:00:00Z");
    let (composition, _) = cluster.accept(1, &family.line()).await;
    cluster.accept(1, &world::access(&anna).line()).await;
    let mut order = Draft::new(world::VOGHERA, "erasure");
    order.content = json!({"entries": [composition], "ground": "objection"});
    order.content["subject"] = json!([order.disclosed(json!({"ref": bruno}))]);
    let order = order.sign(&[&world::key(world::VOGHERA, "entry")]);
    let (by, _) = cluster.accept(1, &order.line()).await;
    let authority = (world::GARANTE, "authority");
    let whole = format!("--household {rossi} --for reader");
    let file = export(&cluster, authority, &whole, "partial.json").await;
    let said = complete(&cluster, &file).await;
    let erased = format!("a member in entry {composition}, whom the order in entry {by} erased");
    assert!(said.contains(&erased), "{said}");
    assert!(!disclosed(&read(&file)).contains(&bruno));
    cluster.finish().await;
}
