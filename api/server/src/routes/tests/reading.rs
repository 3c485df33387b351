// SPDX-License-Identifier: EUPL-1.2
//! Reading: who gets what, that it is recorded first, and what searches find.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use ledger::{
    body::{Content, consent::ConsentEvent},
    hash::Hash,
    number::{EntryIndex, TreeSize},
};
use serde_json::{Value, json};
use wire::token::Role;

use crate::{
    app::now_ms,
    present::hash_text,
    testing::{
        AUTHORITY, INPS, TOWN,
        running::{Answer, Running, access, consent, consent_named, household, renewed_for},
    },
};

const DAY: u64 = 86_400_000;

fn person(n: u8) -> Hash {
    Hash([n; 32])
}

fn indexes(answer: &Answer) -> Vec<u64> {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["index"].as_u64().unwrap())
        .collect()
}

/// Who gets which answer from which route: 200, 401, 403 or 404.
#[tokio::test(flavor = "multi_thread")]
async fn roles_and_routes() {
    let running = Running::start().await;
    let index = running.accept(&access(&[person(1)], now_ms())).await;
    running
        .accept(&household(person(9), &[person(1)], now_ms() - DAY))
        .await;
    let show = format!("/v1/entries/{index}");
    let receipt = format!("/v1/entries/{index}/receipt");
    let subject = json!({"subject": hash_text(&person(1))});
    let home = json!({"household": hash_text(&person(9))});
    let operator = json!({"institution": TOWN, "operator": "user-secret-7"});
    let routes: [(&str, Option<&Value>); 9] = [
        (&show, None),
        (&receipt, None),
        ("/v1/entries/99", None),
        ("/v1/accesses/search", Some(&subject)),
        ("/v1/accesses/search", Some(&home)),
        ("/v1/accesses/search", Some(&operator)),
        ("/v1/consents/search", Some(&subject)),
        ("/v1/households/composition", Some(&home)),
        ("/admin/v1/cluster", None),
    ];
    let readers = [
        (
            TOWN,
            Role::Institution,
            [200, 200, 404, 200, 200, 403, 200, 200, 403],
        ),
        (
            TOWN,
            Role::Dpo,
            [200, 200, 404, 200, 200, 200, 200, 200, 403],
        ),
        (
            TOWN,
            Role::Operator,
            [403, 403, 403, 403, 403, 403, 403, 403, 200],
        ),
        (
            INPS,
            Role::Institution,
            [200, 200, 404, 200, 404, 403, 200, 404, 403],
        ),
        (
            INPS,
            Role::Dpo,
            [403, 403, 403, 403, 403, 403, 403, 403, 403],
        ),
        (
            AUTHORITY,
            Role::Institution,
            [404, 404, 404, 200, 404, 403, 200, 404, 403],
        ),
        (
            AUTHORITY,
            Role::Authority,
            [200, 200, 404, 200, 200, 200, 200, 200, 403],
        ),
    ];
    for (id, role, statuses) in readers {
        for ((route, body), status) in routes.iter().zip(statuses) {
            let answer = match body {
                None => running.get_as(route, id, role).await,
                Some(body) => running.post_as(route, body, id, role).await,
            };
            assert_eq!(
                answer.status.as_u16(),
                status,
                "{id} {role:?} {route} {}",
                answer.text
            );
        }
    }
    for (route, body) in routes {
        let answer = match body {
            None => running.get(route).await,
            Some(body) => {
                let headers = [("content-type", "application/json")];
                running
                    .call(Method::POST, route, &headers, body.to_string())
                    .await
            }
        };
        assert_eq!(
            (answer.status.as_u16(), answer.problem().as_str()),
            (401, "token-missing"),
            "{route}"
        );
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    // Not there and not yours: the same answer but for the request's id.
    let problem = |answer: Answer| {
        let mut problem = answer.json();
        problem["instance"].take();
        problem
    };
    let not_yours = running.get_as(&show, AUTHORITY, Role::Institution).await;
    let not_there = running
        .get_as("/v1/entries/99", AUTHORITY, Role::Institution)
        .await;
    assert_eq!(problem(not_yours), problem(not_there));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_is_recorded_before_anything_leaves() {
    let running = Running::start().await;
    let index = running.accept(&access(&[person(1)], now_ms())).await;
    let query = json!({"subject": hash_text(&person(1)), "types": ["access", "read"]});
    let size = running.size();
    let first = running
        .post_as("/v1/accesses/search", &query, TOWN, Role::Dpo)
        .await;
    assert_eq!(
        indexes(&first),
        [index],
        "the state before its own read entry"
    );
    assert_eq!(first.json()["treeSize"], size);
    assert_eq!(running.size(), size + 1);
    // The same again tells of one entry more, that reading: it is one of its own.
    let poll = running
        .post_as("/v1/accesses/search", &query, TOWN, Role::Dpo)
        .await;
    assert_eq!(running.size(), size + 2);
    assert_eq!(indexes(&poll), [size, index], "now the reading shows");
    let read = &poll.json()["items"][0];
    assert_eq!(read["type"], "read");
    let body = &read["body"]["read"];
    assert_eq!(body["institution"], TOWN);
    assert_eq!(body["reader"][0]["person"], "operator-7");
    assert_eq!(body["released"]["route"], "/v1/accesses/search");
    assert_eq!(body["released"]["count"], 1);
    // The reader's own token is on record, and closed while it is good.
    assert!(body["token"][0]["..."].is_string());
    assert_eq!(read["withheld"], 1);
    running
        .get_as(&format!("/v1/entries/{index}"), TOWN, Role::Dpo)
        .await;
    assert_eq!(running.size(), size + 3);
    // Receipts and proofs, and what is not released, write nothing.
    running
        .get_as(&format!("/v1/entries/{index}/receipt"), TOWN, Role::Dpo)
        .await;
    running.get_as("/v1/entries/99", TOWN, Role::Dpo).await;
    running.get(&format!("/v1/entries/{index}/proof")).await;
    assert_eq!(running.size(), size + 3);
    running.stop().await;
}

/// A poll shares the entry of the one before only while that one tells of as much.
#[tokio::test(flavor = "multi_thread")]
async fn a_poll_that_releases_more_is_a_reading_of_its_own() {
    let running = Running::start().await;
    for _ in 0..3 {
        running.accept(&access(&[person(1)], now_ms())).await;
    }
    let search = async |limit: u64| {
        let query = json!({"subject": hash_text(&person(1)), "limit": limit});
        let search = "/v1/accesses/search";
        let answer = running.post_as(search, &query, TOWN, Role::Dpo).await;
        assert_eq!(indexes(&answer).len() as u64, limit);
        running.size()
    };
    let released = async |index: u64| {
        let index = EntryIndex(index);
        let entry = running.node.view().unwrap().entry(index).unwrap().unwrap();
        match entry.parse_body().unwrap().unwrap().content {
            Content::Read(read) => read.count,
            other => panic!("no read: {other:?}"),
        }
    };
    let size = search(1).await;
    assert_eq!((search(1).await, released(size - 1).await), (size, 1));
    assert_eq!((search(3).await, released(size).await), (size + 1, 3));
    // What is on record covers less, too.
    assert_eq!((search(2).await, search(3).await), (size + 1, size + 1));
    // An auditor's pages after the first share its entry; what begins before it does not.
    let published = TreeSize(running.size());
    let wait = running
        .node
        .published_at_least(published, Duration::from_secs(60));
    wait.await.unwrap();
    let feed = async |from: u64| {
        let route = format!("/v1/audit/entries?from={from}");
        let answer = running.get_as(&route, AUTHORITY, Role::Authority).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        running.size()
    };
    assert_eq!((feed(1).await, feed(2).await), (size + 2, size + 2));
    assert_eq!(feed(0).await, size + 3);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn persons_behind_an_access_are_for_privacy_officers() {
    let running = Running::start().await;
    let entry = access(&[person(1)], now_ms());
    let index = running.accept(&entry).await;
    let route = format!("/v1/entries/{index}");
    for (id, role, open) in [
        (TOWN, Role::Institution, false),
        (INPS, Role::Institution, false),
        (TOWN, Role::Dpo, true),
        (AUTHORITY, Role::Authority, true),
    ] {
        let answer = running.get_as(&route, id, role).await;
        let text = &answer.text;
        let shown = answer.json();
        assert_eq!(shown["withheld"], if open { 0 } else { 2 });
        let disclosures = shown["submission"]["disclosures"].as_array().unwrap();
        assert_eq!(
            disclosures.len() + if open { 0 } else { 2 },
            entry.disclosures().len()
        );
        assert_eq!(text.contains("user-secret-7"), open);
        assert_eq!(text.contains("desk-secret-3"), open);
        assert_eq!(shown["body"]["access"]["reason"][0], "Domanda di bonus");
        // What is withheld is nowhere in the answer, not even encoded.
        for disclosure in entry.disclosures() {
            let opened = disclosures.iter().any(|shown| shown == disclosure);
            assert_eq!(text.contains(disclosure.as_str()), opened);
        }
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_page_filter_and_keep_to_their_reader() {
    let running = Running::start().await;
    let now = now_ms();
    let mut all = Vec::new();
    for n in 0..7 {
        let occurred = now - 7_000 + n * 1_000;
        all.push(running.accept(&access(&[person(1)], occurred)).await);
    }
    running.accept(&access(&[person(2)], now)).await;
    all.reverse();
    let subject = hash_text(&person(1));
    let ask = async |changes: Value, id: &str, role: Role| {
        let mut query = json!({"subject": subject});
        query
            .as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        running
            .post_as("/v1/accesses/search", &query, id, role)
            .await
    };
    let mut walked = Vec::new();
    let mut cursor = Value::Null;
    for page in 0..3 {
        let changes = if cursor.is_null() {
            json!({"limit": 3})
        } else {
            json!({"limit": 3, "cursor": cursor})
        };
        let answer = ask(changes, TOWN, Role::Institution).await;
        walked.extend(indexes(&answer));
        cursor = answer.json()["next_cursor"].clone();
        assert_eq!(cursor.is_null(), page == 2);
        if page == 0 {
            // New entries do not disturb a walk that is under way; another reader cannot go on with it.
            running.accept(&access(&[person(1)], now)).await;
            let stolen = ask(
                json!({"limit": 3, "cursor": cursor}),
                INPS,
                Role::Institution,
            )
            .await;
            assert_eq!(stolen.problem(), "cursor");
        }
    }
    assert_eq!(walked, all);
    let from = ledger::time::format_timestamp(now - 5_000);
    let to = ledger::time::format_timestamp(now - 2_000);
    let answer = ask(json!({"from": from, "to": to}), TOWN, Role::Institution).await;
    assert_eq!(indexes(&answer), &all[2..5]);
    let none = ask(json!({"purpose": "dpv:Marketing"}), TOWN, Role::Institution).await;
    assert!(indexes(&none).is_empty());
    let stranger = ask(json!({}), AUTHORITY, Role::Institution).await;
    assert!(indexes(&stranger).is_empty());
    let operator = json!({"institution": TOWN, "operator": "user-secret-7"});
    let answer = running
        .post_as("/v1/accesses/search", &operator, TOWN, Role::Dpo)
        .await;
    assert_eq!(indexes(&answer).len(), 9);
    let linearizable = running
        .post_as(
            "/v1/accesses/search?consistency=linearizable",
            &operator,
            TOWN,
            Role::Dpo,
        )
        .await;
    assert_eq!(indexes(&linearizable).len(), 9);
    let odd = running
        .post_as(
            "/v1/accesses/search?consistency=odd",
            &operator,
            TOWN,
            Role::Dpo,
        )
        .await;
    assert_eq!(odd.problem(), "request-member");
    running.stop().await;
}

/// A person moves out: what is seen of them after that day is no longer in the household's answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_households_answer_follows_its_composition() {
    let running = Running::start().await;
    let now = now_ms();
    let home = person(9);
    running
        .accept(&household(home, &[person(1), person(2)], now - 10 * DAY))
        .await;
    running
        .accept(&household(home, &[person(2), person(3)], now - 5 * DAY))
        .await;
    let one_before = running.accept(&access(&[person(1)], now - 8 * DAY)).await;
    let _one_after = running.accept(&access(&[person(1)], now - 2 * DAY)).await;
    let both = running
        .accept(&access(&[person(1), person(2)], now - 2 * DAY))
        .await;
    let _three_before = running.accept(&access(&[person(3)], now - 8 * DAY)).await;
    let three_after = running.accept(&access(&[person(3)], now - DAY)).await;

    let query = json!({"household": hash_text(&home)});
    let answer = running
        .post_as("/v1/accesses/search", &query, AUTHORITY, Role::Authority)
        .await;
    assert_eq!(indexes(&answer), [three_after, both, one_before]);
    let members = answer.json()["members"].clone();
    assert_eq!(members.as_array().unwrap().len(), 3);
    assert_eq!(
        members[0]["until"],
        ledger::time::format_timestamp(now - 5 * DAY)
    );

    let composition = async |at: u64| {
        let query =
            json!({"household": hash_text(&home), "at": ledger::time::format_timestamp(at)});
        running
            .post_as(
                "/v1/households/composition",
                &query,
                TOWN,
                Role::Institution,
            )
            .await
    };
    let then = composition(now - 7 * DAY).await.json();
    assert_eq!(then["members"][0]["ref"], hash_text(&person(1)));
    let later = composition(now).await.json();
    assert_eq!(later["members"][1]["ref"], hash_text(&person(3)));
    assert_eq!(composition(now - 11 * DAY).await.problem(), "not-found");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_stands_as_its_events_say() {
    let running = Running::start().await;
    let now = now_ms();
    running
        .accept(&consent(person(1), ConsentEvent::Given, now - DAY, TOWN))
        .await;
    let between = now_ms();
    while now_ms() == between {
        // Times of acceptance count milliseconds; the withdrawal must come in a later one.
        tokio::task::yield_now().await;
    }
    // A withdrawal at any desk counts.
    let withdrawn = running
        .accept(&consent(person(1), ConsentEvent::Withdrawn, now, AUTHORITY))
        .await;
    let query = json!({"subject": hash_text(&person(1))});
    let answer = running
        .post_as("/v1/consents/search", &query, INPS, Role::Institution)
        .await
        .json();
    let record = &answer["items"][0];
    assert_eq!(record["record"], "r-1");
    assert_eq!(record["status"], "withdrawn", "the recipient learns of it");
    assert_eq!(
        record["events"].as_array().unwrap().len(),
        1,
        "but not of the desk"
    );
    assert_eq!(record["recipients"], json!([INPS]));
    let query = json!({"subject": hash_text(&person(1)), "record": "r-1"});
    let answer = running
        .post_as("/v1/consents/search", &query, AUTHORITY, Role::Authority)
        .await
        .json();
    assert_eq!(answer["items"][0]["events"][1]["index"], withdrawn);
    let query =
        json!({"subject": hash_text(&person(1)), "at": ledger::time::format_timestamp(between)});
    let answer = running
        .post_as("/v1/consents/search", &query, AUTHORITY, Role::Authority)
        .await
        .json();
    assert_eq!(answer["items"][0]["status"], "given");
    let nobody = json!({"subject": hash_text(&person(5))});
    let answer = running
        .post_as("/v1/consents/search", &nobody, TOWN, Role::Dpo)
        .await
        .json();
    assert_eq!(answer["items"], json!([]));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_travel_as_bearers_alone() {
    let running = Running::start().await;
    let token = crate::testing::good_token(TOWN, Role::Operator);
    let table = [
        (format!("Bearer {token}"), 200),
        (format!("bearer {token}"), 200),
        (token.clone(), 401),
        (format!("Basic {token}"), 401),
        (format!("Bearer {token}x"), 401),
    ];
    for (value, status) in table {
        let headers = [("authorization", value.as_str())];
        let answer = running
            .call(Method::GET, "/admin/v1/cluster", &headers, Body::empty())
            .await;
        assert_eq!(answer.status.as_u16(), status);
        assert!(!answer.text.contains(&token));
    }
    running.stop().await;
}

/// What stands in a person's list beside what the reader may see shows nowhere, in a cursor neither.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_tells_of_nobody_elses_entries() {
    let running = Running::start().await;
    let now = now_ms();
    let not_yours = consent(person(1), ConsentEvent::Withdrawn, now, AUTHORITY);
    running.accept(&not_yours).await;
    let yours = running.accept(&access(&[person(1)], now)).await;
    let query =
        json!({"subject": hash_text(&person(1)), "limit": 1, "types": ["access", "consent"]});
    let answer = running
        .post_as("/v1/accesses/search", &query, INPS, Role::Institution)
        .await;
    assert_eq!(indexes(&answer), [yours]);
    assert_eq!(answer.json()["next_cursor"], Value::Null);
    let answer = running
        .post_as("/v1/accesses/search", &query, AUTHORITY, Role::Authority)
        .await;
    assert!(answer.json()["next_cursor"].is_string());
    running.stop().await;
}

/// Whoever's data leaves finds the reading in the own list, however it was found.
#[tokio::test(flavor = "multi_thread")]
async fn a_reading_names_all_whose_data_left() {
    let running = Running::start().await;
    let index = running
        .accept(&access(&[person(1), person(2)], now_ms()))
        .await;
    let readings_of = async |n: u8| {
        let query = json!({"subject": hash_text(&person(n)), "types": ["read"]});
        indexes(
            &running
                .post_as("/v1/accesses/search", &query, AUTHORITY, Role::Authority)
                .await,
        )
    };
    let by_institution = running.size();
    running
        .post_as(
            "/v1/accesses/search",
            &json!({"institution": INPS}),
            TOWN,
            Role::Dpo,
        )
        .await;
    let by_index = running.size();
    running
        .get_as(&format!("/v1/entries/{index}"), TOWN, Role::Dpo)
        .await;
    assert_eq!(readings_of(1).await, [by_index, by_institution]);
    assert!(readings_of(2).await.ends_with(&[by_index, by_institution]));
    running.stop().await;
}

/// What a consent was renewed to at another desk, for others, is not the first recipient's to see.
#[tokio::test(flavor = "multi_thread")]
async fn a_scope_is_shown_to_those_who_see_its_event() {
    let running = Running::start().await;
    let now = now_ms();
    running
        .accept(&consent(person(1), ConsentEvent::Given, now - DAY, TOWN))
        .await;
    running
        .accept(&renewed_for(AUTHORITY, person(1), now - DAY))
        .await;
    let query = json!({"subject": hash_text(&person(1))});
    for (id, role, recipients) in [
        (INPS, Role::Institution, json!([])),
        (AUTHORITY, Role::Institution, json!([AUTHORITY])),
    ] {
        let answer = running
            .post_as("/v1/consents/search", &query, id, role)
            .await;
        let record = &answer.json()["items"][0];
        assert_eq!(record["status"], "given", "{id}");
        assert_eq!(record["recipients"], recipients, "{id}");
    }
    running.stop().await;
}

/// A record that is added while somebody pages neither hides another nor shows one twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_walk_over_consents_is_not_disturbed() {
    let running = Running::start().await;
    let now = now_ms();
    for name in ["m", "z"] {
        running
            .accept(&consent_named(name, person(1), now - DAY))
            .await;
    }
    let mut walked = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let mut query = json!({"subject": hash_text(&person(1)), "limit": 1});
        if cursor.is_string() {
            query["cursor"] = cursor;
        }
        let answer = running
            .post_as("/v1/consents/search", &query, INPS, Role::Institution)
            .await
            .json();
        walked.push(answer["items"][0]["record"].as_str().unwrap().to_owned());
        cursor = answer["next_cursor"].clone();
        if cursor.is_null() {
            break;
        }
        running
            .accept(&consent_named("a", person(1), now - DAY))
            .await;
    }
    assert_eq!(walked, ["z", "m"]);
    running.stop().await;
}

/// More entries than are read at a time, on one page and over several, shown and passed over.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_whole_however_many_reads_it_takes() {
    let running = Running::start().await;
    let now = now_ms();
    let mut all = Vec::new();
    for n in 0..70 {
        let occurred = now - 70_000 + n * 1_000;
        all.push(running.accept(&access(&[person(5)], occurred)).await);
    }
    all.reverse();
    let ask = async |changes: Value| {
        let mut query = json!({"subject": hash_text(&person(5))});
        let members = changes.as_object().unwrap().clone();
        query.as_object_mut().unwrap().extend(members);
        let search = "/v1/accesses/search";
        running
            .post_as(search, &query, TOWN, Role::Institution)
            .await
    };
    let first = ask(json!({"limit": 40})).await;
    assert_eq!(indexes(&first), &all[..40]);
    let cursor = first.json()["next_cursor"].clone();
    let rest = ask(json!({"limit": 40, "cursor": cursor})).await;
    assert_eq!(indexes(&rest), &all[40..]);
    assert!(rest.json()["next_cursor"].is_null());
    let whole = ask(json!({"limit": 70})).await;
    assert_eq!(indexes(&whole), all);
    assert!(whole.json()["next_cursor"].is_null());
    let to = ledger::time::format_timestamp(now - 68_000);
    let oldest = ask(json!({"to": to, "limit": 1})).await;
    assert_eq!(indexes(&oldest), &all[68..69]);
    running.stop().await;
}
