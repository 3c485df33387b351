// SPDX-License-Identifier: EUPL-1.2
//! One flipped bit in each kind of file that a node has: found at start and named, or harmless; never served.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tests::{
    cluster::{Cluster, Setup},
    leaves,
    load::Load,
    wait, world,
};

use crate::snapshot::low_thresholds;

const HIGH_WATER: &str = "high-water mark";
const RAFT_WAL: &str = "write-ahead log of the Raft log";

/// Name of a kind of file, and whether a path is one.
type Kind = (&'static str, fn(&Path) -> bool);

/// Kinds of files, by what their path holds or ends with, and whether a flip in the middle must be noticed.
/// RocksDB's LOG, OPTIONS and IDENTITY say nothing that is served.
const KINDS: [Kind; 8] = [
    ("table", |p| {
        has_extension(p, "sst") && !inside(p, "snapshots")
    }),
    ("blob", |p| {
        has_extension(p, "blob") && !inside(p, "snapshots") && !inside(p, "raft")
    }),
    // Most of it may be purged, and is read by nobody.
    ("blob of the Raft log", |p| {
        has_extension(p, "blob") && inside(p, "raft")
    }),
    (RAFT_WAL, |p| has_extension(p, "log") && inside(p, "raft")),
    ("manifest", |p| {
        file_name(p).starts_with("MANIFEST") && !inside(p, "snapshots")
    }),
    ("pointer to the manifest", |p| file_name(p) == "CURRENT"),
    (HIGH_WATER, |p| file_name(p) == "high-water"),
    ("snapshot's manifest", |p| has_extension(p, "manifest")),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_each_kind_of_file_is_found_and_named_or_harmless() {
    let mut cluster = Cluster::start_with(Setup {
        settings: low_thresholds(),
        ..Setup::default()
    })
    .await;
    let load = Load::start(&cluster.http, &cluster.urls(), 6);
    load.progress(300).await;
    // A clean stop flushes tables; a second life and a kill leave a write-ahead log with something in it.
    cluster.node(3).stop().await;
    cluster.node(3).start();
    cluster.ready_node(3).await;
    load.progress(200).await;
    load.stop().await;
    cluster.node(3).kill();
    let data = cluster.node(3).data();
    let kept = data.with_extension("kept");
    copy(&data, &kept);

    let mut tried = Vec::new();
    for (kind, is) in KINDS {
        for turn in [2, 10] {
            // The largest holds most; the others of its kind are written by the same code.
            let files = files(&kept).into_iter().filter(|file| is(file));
            let Some((length, file)) = files.map(|file| (length(&file), file)).max() else {
                continue;
            };
            // The mark has two slots, a page apart, and one good one suffices: both are hit.
            let places = if kind == HIGH_WATER {
                vec![20, 4096 + 20]
            } else {
                vec![length / turn]
            };
            let file = file.strip_prefix(&kept).unwrap().to_owned();
            for place in &places {
                flip(&data.join(&file), *place);
            }
            let found = start_with_damage(&mut cluster, &file).await;
            println!(
                "{kind} ({}), at {places:?} of {length}: {}",
                file.display(),
                if found { "found" } else { "harmless" }
            );
            tried.push((kind, found));
            if found {
                copy(&kept, &data);
            } else {
                // It served and wrote: an older copy put under a node that has gone on would be another fault, a rollback.
                copy(&data, &kept);
            }
        }
    }
    for kind in ["table", "blob", RAFT_WAL, "manifest", HIGH_WATER] {
        assert!(
            tried.iter().any(|(tried, found)| *tried == kind && *found),
            "no flip in a {kind} was found: {tried:?}"
        );
    }

    // The same folder, undamaged, is a good node.
    cluster.node(3).start();
    cluster.ready_node(3).await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_key_or_genesis_is_named_before_anything_is_served() {
    let mut cluster = Cluster::prepare(Setup::default()).await;
    let folder = cluster.node(1).folder.clone();
    for file in [
        folder.join("node.key"),
        folder.join("cosign.key"),
        folder.join("log.key"),
        cluster.genesis_file().to_owned(),
    ] {
        let good = fs::read(&file).unwrap();
        flip(&file, good.len() / 2);
        cluster.node(1).start();
        let status = cluster.node(1).ended().await.unwrap();
        let log = cluster.node(1).log();
        assert!(
            !status.success(),
            "served with a damaged {}",
            file.display()
        );
        let name = file_name(&file);
        assert!(
            log.contains(&name) || log.contains(name.trim_end_matches(".json")),
            "{name} is not named:\n{log}"
        );
        fs::write(&file, good).unwrap();
    }
    // Readable by others: refused as well.
    let open = Command::new("chmod")
        .arg("0644")
        .arg(folder.join("node.key"))
        .status()
        .unwrap();
    assert!(open.success());
    cluster.node(1).start();
    assert!(!cluster.node(1).ended().await.unwrap().success());
    assert!(cluster.node(1).log().contains("node.key"));
    cluster.finish().await;
}

/// Starts node 3 over damage: true if it ended and named the file; false if it serves exactly what the others have.
async fn start_with_damage(cluster: &mut Cluster, file: &Path) -> bool {
    let before = cluster.node(3).log().len();
    cluster.node(3).start();
    let (http, ready) = (cluster.http.clone(), cluster.url(3, "/readyz"));
    let serves = wait::until("node 3 to end, or to serve", async || {
        if !cluster.node(3).runs() {
            return Some(false);
        }
        http.get(&ready, None)
            .await
            .is_ok_and(|answer| answer.status == 200)
            .then_some(true)
    })
    .await;
    if serves {
        let (size, _) = cluster.checkpoint(1).await.unwrap();
        cluster.published(3, size).await;
        let other = leaves::leaf_hashes(&cluster.http, &cluster.url(1, ""), size).await;
        let own = leaves::leaf_hashes(&cluster.http, &cluster.url(3, ""), size).await;
        assert!(own == other, "served from a damaged {}", file.display());
        let index = size / 2;
        let token = world::token(world::GARANTE, wire::token::Role::Authority);
        let path = format!("/v1/entries/{index}");
        let theirs = cluster
            .http
            .get(&cluster.url(1, &path), Some(&token))
            .await
            .unwrap();
        let ours = cluster
            .http
            .get(&cluster.url(3, &path), Some(&token))
            .await
            .unwrap();
        assert_eq!(
            ours.json()["submission"],
            theirs.json()["submission"],
            "served from a damaged {}",
            file.display()
        );
        cluster.node(3).kill();
        return false;
    }
    let status = cluster.node(3).ended().await;
    assert!(
        status.is_none_or(|status| !status.success()),
        "ended as if all were well, over a damaged {}",
        file.display()
    );
    let log = cluster.node(3).log();
    let said = log.get(before..).unwrap_or_default();
    let name = file_name(file);
    // RocksDB names the file; the node's own checks name the key or the mark.
    assert!(
        ["orrupt", "mismatch", "damaged", "checksum", name.as_str()]
            .iter()
            .any(|word| said.contains(word)),
        "{name} is not named:\n{said}"
    );
    true
}

fn length(file: &Path) -> usize {
    usize::try_from(fs::metadata(file).unwrap().len()).unwrap()
}

fn flip(file: &Path, place: usize) {
    let mut bytes = fs::read(file).unwrap();
    if let Some(byte) = bytes.get_mut(place) {
        *byte ^= 0x10;
    }
    fs::write(file, bytes).unwrap();
}

/// Makes `to` an exact copy of `from`.
fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let copied = Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .status()
        .unwrap();
    assert!(copied.success());
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found.sort();
    found
}

/// Whether the path goes through a folder of that name.
fn inside(path: &Path, folder: &str) -> bool {
    path.components().any(|part| part.as_os_str() == folder)
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|e| e == extension)
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
