// SPDX-License-Identifier: EUPL-1.2
//! What is told of consents and households where bodies are erased, and where strangers wrote very much.

use axum::http::{Method, StatusCode};
use ledger::{
    body::consent::ConsentEvent, entry::SubmittedEntry, hash::Hash, number::EntryIndex, time,
};
use serde_json::{Value, json};
use wire::token::Role;

use crate::{
    app::now_ms,
    auth::Reader,
    present::hash_text,
    routes::consents::Person,
    search::COMPOSITIONS_MAX,
    testing::{
        AUTHORITY, INPS, TOWN,
        running::{Running, access, consent, consent_named, erasure, household, link, renewed_for},
    },
};

const DAY: u64 = 86_400_000;

fn person(n: u8) -> Hash {
    Hash([n; 32])
}

/// When an entry was accepted, once a later one would be accepted later: times count milliseconds.
async fn settled(running: &Running, index: u64) -> u64 {
    let at_ms = running.node.view().unwrap().accepted_at(EntryIndex(index));
    let at_ms = at_ms.unwrap().unwrap();
    while now_ms() <= at_ms {
        tokio::task::yield_now().await;
    }
    at_ms
}

/// The record `r-1` of a person, by each way to ask for it.
async fn records(running: &Running, of: Hash, at: Option<u64>, id: &str) -> Vec<Value> {
    let mut records = Vec::new();
    for named in [false, true] {
        let mut query = json!({"subject": hash_text(&of)});
        if named {
            query["record"] = json!("r-1");
        }
        if let Some(at) = at {
            query["at"] = json!(time::format_timestamp(at));
        }
        let answer = running
            .post_as("/v1/consents/search", &query, id, Role::Institution)
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        records.push(answer.json()["items"][0].clone());
        if named {
            let answer = running
                .post_as("/v1/consents/status", &query, id, Role::Institution)
                .await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
            records.push(answer.json()["record"].clone());
        }
    }
    assert_eq!(records[0], records[1]);
    assert_eq!(records[1], records[2]);
    records
}

async fn record(running: &Running, of: Hash, at: Option<u64>, id: &str) -> Value {
    records(running, of, at, id).await.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_stands_though_its_body_is_erased() {
    let running = Running::start().await;
    let (anna, now) = (person(1), now_ms());
    let given = consent(anna, ConsentEvent::Given, now - DAY, TOWN);
    let given = running.accept(&given).await;
    let given_at = settled(&running, given).await;
    // At another desk than the one that it was given at, which then has it erased.
    let withdrawn = consent(anna, ConsentEvent::Withdrawn, now, INPS);
    let withdrawn = running.accept(&withdrawn).await;
    let withdrawn_at = settled(&running, withdrawn).await;
    running.accept(&erasure(INPS, &[withdrawn], None)).await;

    let told = record(&running, anna, None, TOWN).await;
    assert_eq!(told["status"], "withdrawn");
    assert_eq!(told["purposes"], json!(["dpv:ServiceProvision"]));
    assert_eq!(
        told["events"].as_array().unwrap().len(),
        1,
        "of the own desk"
    );
    let told = record(&running, anna, None, INPS).await;
    assert_eq!(told["status"], "withdrawn");
    // Of what is gone, what the state and the leaf still say, and nothing else.
    let gone = json!({
        "index": withdrawn, "event": "withdrawn", "acceptedAt": time::format_timestamp(withdrawn_at), "erased": true,
    });
    assert_eq!(told["events"][1], gone);
    assert_eq!(
        record(&running, anna, Some(given_at), INPS).await["status"],
        "given"
    );

    let query = json!({"subject": hash_text(&anna), "record": "r-1", "proof": true});
    let proven = running
        .post_as("/v1/consents/status", &query, TOWN, Role::Institution)
        .await
        .json();
    assert_eq!(proven["record"]["status"], "withdrawn");
    let query = json!({"subject": hash_text(&anna), "record": "r-1"});
    let receipt = running
        .post_as("/v1/consents/receipt", &query, TOWN, Role::Institution)
        .await;
    assert!(
        receipt.text.contains("dpv:ConsentWithdrawn"),
        "{}",
        receipt.text
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_under_another_ref_stands_too() {
    let running = Running::start().await;
    let (old, new, now) = (person(1), person(2), now_ms());
    let given = consent(old, ConsentEvent::Given, now - DAY, TOWN);
    running.accept(&given).await;
    running.accept(&link(old, new)).await;
    let withdrawn = consent(new, ConsentEvent::Withdrawn, now, INPS);
    let withdrawn = running.accept(&withdrawn).await;
    running.accept(&erasure(INPS, &[withdrawn], None)).await;
    settled(&running, withdrawn).await;
    for of in [old, new] {
        let told = record(&running, of, None, TOWN).await;
        assert_eq!(told["status"], "withdrawn");
        assert_eq!(told["purposes"], json!(["dpv:ServiceProvision"]));
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_erased_event_said_is_not_made_up() {
    let running = Running::start().await;
    let (anna, now) = (person(1), now_ms());
    let given = consent(anna, ConsentEvent::Given, now - DAY, TOWN);
    let given = running.accept(&given).await;
    let given_at = settled(&running, given).await;
    let withdrawn = consent(anna, ConsentEvent::Withdrawn, now, INPS);
    let withdrawn = running.accept(&withdrawn).await;
    let withdrawn_at = settled(&running, withdrawn).await;
    let renewed = running.accept(&renewed_for(INPS, anna, now - DAY)).await;
    settled(&running, renewed).await;
    running.accept(&erasure(INPS, &[withdrawn], None)).await;

    // In between nobody knows any more where it stood, nor what for.
    let told = record(&running, anna, Some(withdrawn_at), INPS).await;
    assert_eq!(told["status"], "unknown");
    assert_eq!(told["purposes"], json!([]));
    let gone = json!({
        "index": withdrawn, "acceptedAt": time::format_timestamp(withdrawn_at), "erased": true,
    });
    assert_eq!(told["events"][1], gone);
    for at in [Some(given_at), None] {
        let told = record(&running, anna, at, INPS).await;
        assert_eq!(told["status"], "given");
        assert_eq!(told["purposes"], json!(["dpv:ServiceProvision"]));
    }
    // What the last event was for is gone with its body; that accesses are judged by it is not.
    running.accept(&erasure(INPS, &[renewed], None)).await;
    let told = record(&running, anna, None, INPS).await;
    assert_eq!(told["status"], "given");
    assert_eq!(told["purposes"], json!([]));
    assert!(told.get("validFrom").is_none(), "{told}");
    assert_eq!(told["events"][2]["event"], "renewed");
    // What was withdrawn after it is not that which was given before it.
    let withdrawn = consent(anna, ConsentEvent::Withdrawn, now, TOWN);
    let withdrawn = running.accept(&withdrawn).await;
    settled(&running, withdrawn).await;
    let told = record(&running, anna, None, INPS).await;
    assert_eq!(told["status"], "withdrawn");
    assert_eq!(told["purposes"], json!([]));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_which_no_body_is_left_is_found_by_its_name() {
    let running = Running::start().await;
    let anna = person(1);
    let given = running
        .accept(&consent_named("r-1", anna, now_ms() - DAY))
        .await;
    running.accept(&erasure(TOWN, &[given], None)).await;
    settled(&running, given).await;
    let ask = async |query: Value| {
        let search = "/v1/consents/search";
        let answer = running
            .post_as(search, &query, TOWN, Role::Institution)
            .await;
        answer.json()["items"].clone()
    };
    let all = ask(json!({"subject": hash_text(&anna)})).await;
    assert_eq!(all, json!([]));
    let named = ask(json!({"subject": hash_text(&anna), "record": "r-1"})).await;
    assert_eq!(named[0]["status"], "given");
    assert_eq!(named[0]["recipients"], json!([]));
    assert_eq!(named[0]["events"][0]["event"], "given");
    // A receipt of it would tell nothing.
    let query = json!({"subject": hash_text(&anna), "record": "r-1"});
    let size = running.size();
    let receipt = running
        .post_as("/v1/consents/receipt", &query, TOWN, Role::Institution)
        .await;
    assert_eq!(receipt.problem(), "not-found");
    assert_eq!(running.size(), size);
    running.stop().await;
}

async fn accept_all(running: &Running, entries: impl Iterator<Item = SubmittedEntry>) {
    let headers = [("content-type", "application/x-ndjson")];
    let lines: Vec<String> = entries.map(|entry| entry.to_wire()).collect();
    for some in lines.chunks(500) {
        let answer = running
            .call(Method::POST, "/v1/entries", &headers, some.join("\n"))
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        for line in answer.text.lines() {
            let outcome: Value = serde_json::from_str(line).unwrap();
            assert!(outcome["accepted"]["index"].is_u64(), "{line}");
        }
    }
}

/// Anybody may record a withdrawal, and so often that nobody reads them all.
#[tokio::test(flavor = "multi_thread")]
async fn very_many_events_close_no_record_and_hide_none() {
    let running = Running::start().await;
    let (anna, now) = (person(1), now_ms());
    running.accept(&consent_named("r-0", anna, now - DAY)).await;
    let refused = consent(anna, ConsentEvent::Refused, now - DAY, TOWN);
    let refused = running.accept(&refused).await;
    let refused_at = settled(&running, refused).await;
    let withdrawn = || consent(anna, ConsentEvent::Withdrawn, now, AUTHORITY);
    accept_all(&running, (0..1_100).map(|_| withdrawn())).await;
    settled(&running, running.size() - 1).await;

    for (at, status) in [(None, "withdrawn"), (Some(refused_at), "refused")] {
        let mut query = json!({"subject": hash_text(&anna), "record": "r-1"});
        if let Some(at) = at {
            query["at"] = json!(time::format_timestamp(at));
        }
        let answer = running
            .post_as("/v1/consents/search", &query, TOWN, Role::Institution)
            .await
            .json();
        let told = &answer["items"][0];
        assert_eq!(told["status"], status);
        assert_eq!(told["moreEvents"], true);
        assert_eq!(told["events"][0]["index"], refused, "the own one is told");
    }

    // A page that looks at few rows is short, and the next ones bring the rest, each record once.
    let view = running.node.view().unwrap();
    let reader = Reader::for_tests(TOWN, Role::Institution);
    let (mut before, mut names, mut pages) = (u64::MAX, Vec::new(), 0);
    loop {
        let asked = Person::new(&view, &reader, &anna).unwrap();
        let asked = asked.at(view.size(), now_ms()).unwrap().with_rows_max(16);
        let ((records, next), _) = asked.page(before, 50).unwrap();
        names.extend(records.iter().map(|record| record.name().to_owned()));
        pages += 1;
        match next {
            Some(next) => {
                assert!(next < before);
                before = next;
            }
            None => break,
        }
    }
    assert_eq!(names, ["r-1", "r-0"]);
    assert_eq!(pages, 3);
    running.stop().await;
}

/// A person moved out, and the composition that says so is erased.
#[tokio::test(flavor = "multi_thread")]
async fn a_household_shows_nothing_of_when_it_is_not_known_who_belonged() {
    let running = Running::start().await;
    let (home, now) = (person(9), now_ms());
    let first = household(home, &[person(1), person(2)], now - 10 * DAY);
    running.accept(&first).await;
    let moved = household(home, &[person(2)], now - 5 * DAY);
    let moved = running.accept(&moved).await;
    let before = running.accept(&access(&[person(1)], now - 8 * DAY)).await;
    running.accept(&access(&[person(1)], now - 2 * DAY)).await;
    running.accept(&erasure(TOWN, &[moved], None)).await;

    let shown = async |home: Hash| {
        let query = json!({"household": hash_text(&home)});
        let search = "/v1/accesses/search";
        let answer = running.post_as(search, &query, TOWN, Role::Dpo).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let answer = answer.json();
        let items = answer["items"].as_array().unwrap().iter();
        let indexes: Vec<u64> = items.map(|item| item["index"].as_u64().unwrap()).collect();
        (indexes, answer["membersUnknown"].clone())
    };
    let composition = async |at: u64| {
        let query = json!({"household": hash_text(&home), "at": time::format_timestamp(at)});
        let route = "/v1/households/composition";
        running
            .post_as(route, &query, TOWN, Role::Institution)
            .await
    };
    // When it began the state still knows.
    let from = time::format_timestamp(now - 5 * DAY);
    assert_eq!(shown(home).await, (vec![before], json!([{"from": from}])));
    assert_eq!(composition(now).await.problem(), "request-member");
    let then = composition(now - 7 * DAY).await.json();
    assert_eq!(then["members"][0]["ref"], hash_text(&person(1)));

    // Once another followed, nobody knows since when it held.
    let next = household(home, &[person(2), person(3)], now - DAY);
    let next = running.accept(&next).await;
    let next_at = settled(&running, next).await;
    let after = running.accept(&access(&[person(3)], now_ms())).await;
    let until = time::format_timestamp(next_at);
    assert_eq!(shown(home).await, (vec![after], json!([{"until": until}])));
    assert_eq!(composition(now - 7 * DAY).await.problem(), "request-member");
    let now = composition(now_ms()).await.json();
    assert_eq!(now["members"][1]["ref"], hash_text(&person(3)));
    running.stop().await;
}

/// Who belonged cannot be told from a part of what was said.
#[tokio::test(flavor = "multi_thread")]
async fn a_household_of_too_many_compositions_is_refused() {
    let running = Running::start().await;
    let (home, now) = (person(9), now_ms());
    let said = || household(home, &[person(1)], now - DAY);
    accept_all(&running, (0..COMPOSITIONS_MAX).map(|_| said())).await;
    let query = json!({"household": hash_text(&home)});
    let routes = ["/v1/households/composition", "/v1/accesses/search"];
    for route in routes {
        let answer = running.post_as(route, &query, TOWN, Role::Dpo).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    }
    running.accept(&said()).await;
    for route in routes {
        let answer = running.post_as(route, &query, TOWN, Role::Dpo).await;
        assert_eq!(answer.problem(), "request-member", "{route}");
    }
    running.stop().await;
}
