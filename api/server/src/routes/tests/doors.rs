// SPDX-License-Identifier: EUPL-1.2
//! What is open to everybody, and how the doors answer when knocked at in the wrong way.

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use ledger::{
    base64,
    hash::Hash,
    merkle::{verify_consistency, verify_inclusion},
    note::Note,
    number::{EntryIndex, TreeSize},
};
use wire::{proof, token::Role};

use crate::{
    app::now_ms,
    config::Limits,
    testing::{
        TOWN,
        running::{Running, access, checkpoint, policy},
    },
};

fn hash(text: &str) -> Hash {
    Hash::from_slice(&base64::url_decode(text).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_follows_the_log_and_checks_every_proof() {
    let running = Running::start().await;
    for n in 0..5 {
        running.accept(&access(&[Hash([n; 32])], now_ms())).await;
    }
    let answer = running.get("/checkpoint").await;
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(answer.header("cache-control"), "public, max-age=1");
    let note = Note::parse(answer.text.as_bytes()).unwrap();
    policy().verify(&note).unwrap();
    let newest = checkpoint(&answer.text);
    let size = newest.size.0;
    assert_eq!(size, 6);

    let proof: proof::InclusionProof =
        serde_json::from_str(&running.get("/v1/entries/3/proof").await.text).unwrap();
    let hashes: Vec<Hash> = proof.hashes.iter().map(|text| hash(text)).collect();
    let root = verify_inclusion(
        EntryIndex(3),
        TreeSize(size),
        hash(&proof.leaf_hash),
        &hashes,
    );
    assert_eq!(root, Ok(newest.root));
    let answer = running.get("/v1/consistency?from=4").await;
    let proof: proof::ConsistencyProof = serde_json::from_str(&answer.text).unwrap();
    let hashes: Vec<Hash> = proof.hashes.iter().map(|text| hash(text)).collect();
    verify_consistency(
        TreeSize(4),
        TreeSize(size),
        hash(&proof.from_root),
        newest.root,
        &hashes,
    )
    .unwrap();

    let answer = running.get("/tile/0/000.p/6").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    assert!(answer.header("cache-control").contains("immutable"));
    assert_eq!(running.get("/tile/entries/000.p/6").await.status, 200);
    assert_eq!(running.get("/tile/entries/000.p/2").await.status, 200);
    for beyond in [
        "/tile/0/000.p/7",
        "/tile/0/000",
        "/tile/1/000.p/1",
        "/tile/0/001.p/1",
        "/tile/entries/000.p/256",
        "/tile/entries/000.p/0",
        "/tile/0/0",
        "/tile/x/000.p/1",
        "/tile/0/../0/000.p/1",
    ] {
        let answer = running.get(beyond).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{beyond}");
        assert_eq!(answer.problem(), "not-found");
    }
    let table = [
        ("/v1/consistency", "request-member"),
        ("/v1/consistency?from=07", "request-member"),
        ("/v1/consistency?from=5&to=4", "beyond-tree"),
        ("/v1/consistency?from=1&to=7", "beyond-tree"),
        ("/v1/consistency?from=1&from=2", "request-member"),
        ("/v1/entries/3/proof?tree_size=3", "beyond-tree"),
        ("/v1/entries/6/proof", "not-found"),
        ("/v1/entries/-1/proof", "not-found"),
    ];
    for (uri, code) in table {
        assert_eq!(running.get(uri).await.problem(), code, "{uri}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registry_and_the_ledgers_own_entries_are_open() {
    let running = Running::start().await;
    let institutions = running.get("/v1/institutions?limit=2").await.json();
    assert_eq!(institutions["items"].as_array().unwrap().len(), 2);
    let next = institutions["next_cursor"].as_str().unwrap();
    let rest = running
        .get(&format!("/v1/institutions?limit=2&cursor={next}"))
        .await
        .json();
    assert_eq!(rest["items"].as_array().unwrap().len(), 1);
    assert!(rest["next_cursor"].is_null());
    let town = running
        .get(&format!("/v1/institutions/{TOWN}"))
        .await
        .json();
    assert_eq!(town["name"], "Comune di Voghera");
    let key_id = town["keys"][0].as_str().unwrap();
    let key = running.get(&format!("/v1/keys/{key_id}")).await.json();
    assert_eq!(key["institution"], TOWN);
    assert_eq!(key["inForce"], true);
    assert_eq!(running.get("/v1/nodes").await.json()["items"][0]["node"], 1);
    assert_eq!(running.get("/v1/rules").await.json()["rules"], 1);
    assert_eq!(running.get("/v1/policy").await.status, 404);
    assert_eq!(
        running.get("/v1/institutions/ipa:nobody").await.problem(),
        "not-found"
    );
    assert_eq!(
        running.get("/v1/institutions?limit=101").await.problem(),
        "request-member"
    );

    let genesis = running.get("/v1/entries/0").await.json();
    assert_eq!(genesis["type"], "genesis");
    assert_eq!(genesis["body"]["genesis"]["k"], 2);
    assert!(
        running
            .get("/v1/entries/0/receipt")
            .await
            .text
            .starts_with("c2sp.org/tlog-proof@v1\n")
    );
    assert_eq!(running.size(), 1, "what is open is not recorded");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_description_and_wrong_knocks() {
    let running = Running::start().await;
    let status = running.get("/status").await;
    assert_eq!(
        (status.status.as_u16(), status.header("content-type")),
        (200, "application/problem+json")
    );
    assert_eq!(running.get("/livez").await.text, "ok\n");
    let ready = running.get("/readyz?verbose").await.json();
    assert_eq!(ready["ready"], true);
    assert!(ready["checks"].as_array().unwrap().len() >= 3);
    assert_eq!(
        running.get("/readyz").await.json(),
        serde_json::json!({"ready": true})
    );
    let description = running.get("/openapi.json").await.json();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1."));
    let page = running.get("/docs/api/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(
        !page.text.contains("https://"),
        "the page loads nothing from elsewhere"
    );

    assert_eq!(running.get("/nowhere").await.problem(), "not-found");
    let wrong = running
        .call(Method::DELETE, "/v1/entries", &[], Body::empty())
        .await;
    assert_eq!(
        (wrong.status.as_u16(), wrong.problem().as_str()),
        (405, "method-not-allowed")
    );
    assert!(wrong.header("allow").contains("POST"));
    for media_type in [
        "text/plain",
        "application/xml",
        "application/json; charset=latin1",
    ] {
        let headers = [("content-type", media_type)];
        let answer = running
            .call(Method::POST, "/v1/entries", &headers, "{}")
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.problem().as_str()),
            (415, "media-type")
        );
        let answer = running
            .call(Method::POST, "/v1/accesses/search", &headers, "{}")
            .await;
        assert_eq!(answer.problem(), "media-type");
    }
    let without = running.call(Method::POST, "/v1/entries", &[], "{}").await;
    assert_eq!(without.problem(), "media-type");

    let admin = running
        .get_as("/admin/v1/cluster", TOWN, Role::Operator)
        .await
        .json();
    assert_eq!(
        (&admin["role"], &admin["leader"]),
        (&"leader".into(), &1.into())
    );
    let root = running
        .get_as("/admin/v1/cluster/roots?size=1", TOWN, Role::Operator)
        .await
        .json();
    let published = running.get("/checkpoint").await;
    assert_eq!(
        hash(root["root"].as_str().unwrap()),
        checkpoint(&published.text).root
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_too_fast_waits() {
    let limits = Limits {
        entries_per_second: 1,
        entries_burst: 2,
        ..Limits::default()
    };
    let running = Running::start_with(limits).await;
    let mut codes = Vec::new();
    for _ in 0..4 {
        let answer = running
            .get_as("/admin/v1/cluster", TOWN, Role::Operator)
            .await;
        assert_eq!(answer.header("x-ratelimit-limit"), "2");
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(answer.problem(), "too-fast");
            assert_eq!(answer.header("x-ratelimit-remaining"), "0");
            assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1);
        }
        codes.push(answer.status.as_u16());
    }
    assert!(codes.starts_with(&[200, 200]));
    assert!(codes.contains(&429), "{codes:?}");
    running.stop().await;
}
