// SPDX-License-Identifier: EUPL-1.2
//! Submitting: what is accepted, what is refused, and that a refusal leaves nothing behind.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use ledger::{
    body::Body as EntryBody,
    entry::SubmittedEntry,
    hash::Hash,
    key::{KeyUse, SigningKey},
    receipt::{self, Receipt},
};
use serde_json::Value;
use tower::ServiceExt;
use wire::token::Role;

use crate::{
    app::now_ms,
    body::{BATCH_BYTES_MAX, ENTRY_BYTES_MAX},
    config::Limits,
    listener::ClientAddress,
    testing::{
        AUTHORITY, INPS, TOWN,
        running::{Running, access, policy},
        signing_key,
    },
};

fn person(n: u8) -> Hash {
    Hash([n; 32])
}

/// The payload of a good access as text, and its disclosures.
fn parts() -> (String, Vec<String>) {
    let entry = access(&[person(1)], now_ms());
    let payload = String::from_utf8(entry.payload().to_vec()).unwrap();
    (payload, entry.disclosures().to_vec())
}

fn signed(payload: &str, key: &SigningKey, disclosures: Vec<String>) -> String {
    SubmittedEntry::sign(payload.as_bytes(), &[key], disclosures)
        .unwrap()
        .to_wire()
}

fn replaced(payload: &str, from: &str, to: &str) -> String {
    assert!(payload.contains(from), "{from} in {payload}");
    payload.replacen(from, to, 1)
}

/// The id of a body, and the same id with another time in it.
fn with_id_of(payload: &str, time_ms: u64) -> String {
    let body: Value = serde_json::from_str(payload).unwrap();
    let id = body["id"].as_str().unwrap();
    let other = ledger::id::EntryId::from_parts(time_ms, &[7; 10]).to_string();
    replaced(payload, id, &other)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_gets_a_receipt_and_the_same_one_again() {
    let running = Running::start().await;
    let entry = access(&[person(1)], now_ms());
    let first = running.submit(entry.to_wire()).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.text);
    let accepted = first.json();
    assert_eq!(accepted["state"], "published");
    assert_eq!(accepted["again"], false);
    let text = accepted["receipt"].as_str().unwrap();
    let receipt = Receipt::parse(text.as_bytes()).unwrap();
    let verified = receipt::verify(&entry, &receipt, &policy()).unwrap();
    assert_eq!(Some(verified.index().0), accepted["index"].as_u64());

    let size = running.size();
    let second = running.submit(entry.to_wire()).await;
    assert_eq!(second.status, StatusCode::OK);
    let again = second.json();
    assert_eq!(again["again"], true);
    assert_eq!(again["receipt"], accepted["receipt"]);
    assert_eq!(again["index"], accepted["index"]);
    assert_eq!(running.size(), size);

    // The same entry twice in one batch, known before and new: each line has its receipt.
    let new = access(&[person(1)], now_ms());
    let batch = [&entry, &entry, &new, &new].map(|entry| entry.to_wire());
    let headers = [("content-type", "application/x-ndjson")];
    let answer = running
        .call(Method::POST, "/v1/entries", &headers, batch.join("\n"))
        .await;
    for line in answer.text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line["accepted"]["receipt"].is_string(), "{line}");
        assert_eq!(line["accepted"]["state"], "published", "{line}");
    }
    assert_eq!(answer.text.lines().count(), 4);

    let quick = access(&[person(1)], now_ms());
    let headers = [
        ("content-type", "application/json"),
        ("prefer", "return=minimal"),
    ];
    let quick = running
        .call(Method::POST, "/v1/entries", &headers, quick.to_wire())
        .await;
    assert_eq!(quick.status, StatusCode::ACCEPTED);
    assert_eq!(quick.json()["state"], "committed");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_its_type_and_leaves_nothing_behind() {
    let running = Running::start().await;
    let key = signing_key(TOWN, KeyUse::Entry);
    let used = access(&[person(1)], now_ms());
    running.accept(&used).await;
    let size = running.size();

    let (payload, disclosures) = parts();
    let good = || disclosures.clone();
    let used_id: Value = serde_json::from_slice(used.payload()).unwrap();
    let own_id: Value = serde_json::from_str(&payload).unwrap();
    let now = now_ms();
    let later = ledger::time::format_timestamp(now + 360_000);
    let body = EntryBody::parse(payload.as_bytes(), &disclosures).unwrap();
    let occurred = ledger::time::format_timestamp(body.common.occurred_at_ms);
    let mut wrong_signature: Value = serde_json::from_str(&signed(&payload, &key, good())).unwrap();
    wrong_signature["envelope"]["signatures"][0]["sig"] =
        serde_json::from_str::<Value>(&used.to_wire()).unwrap()["envelope"]["signatures"][0]["sig"]
            .clone();
    let mut spare = good();
    spare.push(ledger::disclosure::make(
        &[3; 16],
        &ledger::json::Value::text("spare"),
    ));

    let table: Vec<(String, u16, &str)> = vec![
        (
            signed(
                &replaced(
                    &payload,
                    "\"institution\":\"ipa:c_m109\"",
                    "\"institution\":\"ipa:nobody\"",
                ),
                &key,
                good(),
            ),
            422,
            "institution-unknown",
        ),
        (
            signed(&payload, &signing_key(TOWN, KeyUse::Token), good()),
            422,
            "key-use",
        ),
        (
            signed(&payload, &SigningKey::from_seed([9; 32]), good()),
            422,
            "key-unknown",
        ),
        (
            signed(
                &replaced(&payload, "\"side\":\"consumer\"", "\"side\":\"provider\""),
                &key,
                good(),
            ),
            422,
            "institution-mismatch",
        ),
        (wrong_signature.to_string(), 422, "signature"),
        (
            signed(
                &replaced(&payload, "ledger.visto.test", "ledger.other.test"),
                &key,
                good(),
            ),
            422,
            "ledger",
        ),
        (
            signed(
                &replaced(
                    &payload,
                    own_id["id"].as_str().unwrap(),
                    used_id["id"].as_str().unwrap(),
                ),
                &key,
                good(),
            ),
            409,
            "id-used",
        ),
        (
            signed(&with_id_of(&payload, now - 36 * 86_400_000), &key, good()),
            422,
            "id-out-of-window",
        ),
        (
            signed(&with_id_of(&payload, now + 400_000), &key, good()),
            422,
            "id-out-of-window",
        ),
        (
            signed(&replaced(&payload, &occurred, &later), &key, good()),
            422,
            "ahead",
        ),
        (
            signed(&payload, &key, good()[1..].to_vec()),
            400,
            "disclosure-missing",
        ),
        (signed(&payload, &key, spare), 400, "disclosure-spare"),
        ("{\"envelope\":".to_owned(), 400, "json"),
        ("[]".to_owned(), 400, "members"),
        ("{}".to_owned(), 400, "members"),
        (
            "{\"disclosures\":[],\"disclosures\":[]}".to_owned(),
            400,
            "duplicate-key",
        ),
        (
            signed(
                &replaced(&payload, "{\"v\":1", "{\"v\":1,\"v\":1"),
                &key,
                good(),
            ),
            400,
            "duplicate-key",
        ),
        (
            signed(
                &replaced(&payload, "\"side\":\"consumer\"", "\"side\":\"onlooker\""),
                &key,
                good(),
            ),
            400,
            "members",
        ),
        ("x".repeat(ENTRY_BYTES_MAX + 1), 413, "too-large"),
    ];
    for (line, status, code) in table {
        let answer = running.submit(line).await;
        assert_eq!(answer.status.as_u16(), status, "{code}: {}", answer.text);
        assert_eq!(
            (answer.status.as_u16(), answer.problem().as_str()),
            (status, code),
            "{}",
            answer.text
        );
        for secret in ["user-secret-7", "desk-secret-3"] {
            assert!(!answer.text.contains(secret));
        }
    }
    let bad = signed(
        &replaced(&payload, "\"side\":\"consumer\"", "\"side\":\"onlooker\""),
        &key,
        good(),
    );
    assert_eq!(
        running.submit(bad).await.json()["errors"][0]["pointer"],
        "/envelope/payload/access/side"
    );
    assert_eq!(running.size(), size, "a refusal left something behind");
    // What was refused for its company may come again, alone.
    let answer = running.submit(signed(&payload, &key, good())).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_an_outcome_a_line() {
    let running = Running::start().await;
    let (one, two) = (
        access(&[person(1)], now_ms()),
        access(&[person(2)], now_ms()),
    );
    let batch = format!(
        "{}\nnot json\n{}\n{}\n",
        one.to_wire(),
        two.to_wire(),
        one.to_wire()
    );
    let headers = [("content-type", "application/x-ndjson")];
    let answer = running
        .call(Method::POST, "/v1/entries", &headers, batch)
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let lines: Vec<wire::entry::LineOutcome> = answer
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let statuses: Vec<_> = lines.iter().map(|line| (line.line, line.status)).collect();
    assert_eq!(statuses, [(1, 201), (2, 400), (3, 201), (4, 200)]);
    let index = |place: usize| lines[place].accepted.as_ref().unwrap().index;
    assert_eq!(index(0), index(3));
    assert_ne!(index(0), index(2));
    assert_eq!(lines[1].problem.as_ref().unwrap().code(), Some("json"));

    let too_many = "{}\n".repeat(1001);
    let answer = running
        .call(Method::POST, "/v1/entries", &headers, too_many)
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.problem().as_str()),
        (413, "batch-too-long")
    );
    let answer = running
        .call(
            Method::POST,
            "/v1/entries",
            &headers,
            "x".repeat(BATCH_BYTES_MAX + 1),
        )
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.problem().as_str()),
        (413, "too-large")
    );
    let answer = running
        .call(Method::POST, "/v1/entries", &headers, "")
        .await;
    assert_eq!(answer.problem(), "batch-empty");
    running.stop().await;
}

/// Nobody empties another institution's rate: not by naming it in what it did not sign, nor by sending what it signed again.
#[tokio::test(flavor = "multi_thread")]
async fn a_rate_is_spent_by_who_signs_and_once() {
    let limits = Limits {
        entries_per_second: 1,
        entries_burst: 1_000,
        ..Limits::default()
    };
    let running = Running::start_with(limits).await;
    let (payload, disclosures) = parts();
    let named = replaced(
        &payload,
        "\"institution\":\"ipa:c_m109\"",
        "\"institution\":\"ipa:gpdp\"",
    );
    let named = signed(&named, &signing_key(TOWN, KeyUse::Entry), disclosures);
    let genesis = running.get("/v1/entries/0").await.json()["submission"].to_string();
    let headers = [("content-type", "application/x-ndjson")];
    for (line, lines) in [(named, 200), (genesis, 500)] {
        let batch = format!("{line}\n").repeat(lines);
        let answer = running
            .call(Method::POST, "/v1/entries", &headers, batch)
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    }
    let query = serde_json::json!({"subject": crate::present::hash_text(&person(1))});
    for (id, role) in [
        (AUTHORITY, Role::Authority),
        (INPS, Role::Institution),
        (TOWN, Role::Dpo),
    ] {
        let answer = running
            .post_as("/v1/accesses/search", &query, id, role)
            .await;
        let remaining: u32 = answer.header("x-ratelimit-remaining").parse().unwrap();
        if id == TOWN {
            assert!(remaining < 999, "what the town signed is the town's");
        } else {
            assert_eq!(remaining, 999, "{id}");
        }
    }
    running.stop().await;
}

/// Garbage needs no key to be sent, so it is the client's to pay, line by line.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_garbage_costs_its_sender_every_line() {
    let limits = Limits {
        requests_per_second: 1,
        requests_burst: 1_000,
        ..Limits::default()
    };
    let running = Running::start_with(limits).await;
    let address = "192.0.2.1:5".parse().unwrap();
    let request = Request::post("/v1/entries")
        .header("content-type", "application/x-ndjson")
        .extension(ClientAddress(address))
        .body(Body::from("{}\n".repeat(900)))
        .unwrap();
    let answer = running.router.clone().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let remaining = &answer.headers()["x-ratelimit-remaining"];
    let remaining: u32 = remaining.to_str().unwrap().parse().unwrap();
    assert!(remaining < 500, "{remaining} of 1000 are left");
    running.stop().await;
}
