// SPDX-License-Identifier: EUPL-1.2
//! The API and its description agree: the committed file is what is served, and a stranger's tester finds nothing undocumented.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tests::{cluster::Cluster, world};
use wire::token::Role;

#[tokio::test(flavor = "multi_thread")]
async fn the_committed_description_is_what_is_served() {
    let cluster = Cluster::start_with(tests::cluster::Setup {
        nodes: 1,
        ..Default::default()
    })
    .await;
    let served = cluster
        .http
        .get(&cluster.url(1, "/openapi.json"), None)
        .await
        .unwrap();
    assert_eq!(served.status, 200);
    let committed: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(golden()).unwrap()).unwrap();
    assert_eq!(
        served.json(),
        committed,
        "api/server/openapi.json is stale: see CONTRIBUTING.md"
    );
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_tester_finds_no_5xx_and_nothing_undocumented() {
    let tester = std::env::var_os("VISTO_SCHEMATHESIS").map_or_else(default_tester, PathBuf::from);
    assert!(
        tester.is_file(),
        "{} is not installed: ./scripts/test does it",
        tester.display()
    );
    let cluster = Cluster::start().await;
    for person in ["anna", "bruno"] {
        cluster
            .accept(1, &world::access(&world::person(person)).line())
            .await;
    }
    let token = world::token(world::GARANTE, Role::Authority);
    let run = Command::new(tester)
        .arg("run")
        .arg(golden())
        .args(["--url", &cluster.url(1, "")])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance"])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "15", "--seed", "20261124", "--request-timeout", "30"])
        .args(["--exclude-path", "/docs/api", "--no-color", "--workers", "1", "--suppress-health-check", "all"])
        .current_dir(cluster.folder())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&run.stderr)
    );
    cluster.finish().await;
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/server/openapi.json")
}

fn default_tester() -> PathBuf {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    home.join(".cache/visto-tools/schemathesis-4.32.5/bin/schemathesis")
}
