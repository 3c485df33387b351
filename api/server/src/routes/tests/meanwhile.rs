// SPDX-License-Identifier: EUPL-1.2
//! An answer is chosen, then its reading is put on record: what is erased between the two does not leave.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use client::build::Plain;
use futures::stream;
use ledger::{
    body::{access::Visibility, consent::ConsentEvent},
    entry::SubmittedEntry,
    hash::Hash,
    number::EntryIndex,
    time,
};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use wire::token::Role;

use crate::{
    app::now_ms,
    auth::Reader,
    exchanges,
    export::{self, ask::Ask},
    present::hash_text,
    problem::Fault,
    release::{Exported, Recorder, Release},
    testing::{
        AUTHORITY, TOWN, good_token, institution,
        running::{Answer, Running, access, access_of, consent, erasure, household, sign},
    },
};

const DAY: u64 = 86_400_000;

fn person(n: u8) -> Hash {
    Hash([n; 32])
}

/// A question of somebody.
struct Asked {
    uri: &'static str,
    kind: &'static str,
    body: String,
    role: Role,
}

fn post(uri: &'static str, body: &Value) -> Asked {
    Asked {
        uri,
        kind: wire::JSON,
        body: body.to_string(),
        role: Role::Authority,
    }
}

async fn ask(running: &Running, asked: &Asked, body: Body) -> Answer {
    let id = if asked.role == Role::Dpo {
        TOWN
    } else {
        AUTHORITY
    };
    let bearer = format!("Bearer {}", good_token(id, asked.role));
    let headers = [
        (header::AUTHORIZATION.as_str(), bearer.as_str()),
        ("content-type", asked.kind),
    ];
    running.call(Method::POST, asked.uri, &headers, body).await
}

async fn answered(running: &Running, asked: &Asked) -> Answer {
    ask(running, asked, Body::from(asked.body.clone())).await
}

/// Asks, and lets an order be applied once the state is chosen that is answered from: before the body of the question is read.
async fn overtaken(running: &Running, asked: &Asked, order: &SubmittedEntry) -> Answer {
    let (chosen, is_chosen) = oneshot::channel();
    let (ordered, is_ordered) = oneshot::channel();
    let text = asked.body.clone();
    let body = stream::once(async move {
        chosen.send(()).unwrap();
        is_ordered.await.unwrap();
        Ok::<_, Infallible>(text)
    });
    let ordering = async {
        is_chosen.await.unwrap();
        running.accept(order).await;
        ordered.send(()).unwrap();
    };
    let asking = ask(running, asked, Body::from_stream(body));
    let (answer, ()) = tokio::join!(asking, ordering);
    answer
}

/// One entry of each kind that answers are made of, and a question whose answer tells of it.
async fn told(running: &Running) -> Vec<(u64, Asked)> {
    let now = now_ms();
    let of = |n: u8| hash_text(&person(n));
    let about = async |n: u8| running.accept(&access(&[person(n)], now - DAY)).await;
    let home = async |n: u8| {
        let home = household(person(n), &[person(90)], now - DAY);
        running.accept(&home).await
    };
    let given = async |n: u8| {
        let given = consent(person(n), ConsentEvent::Given, now - DAY, TOWN);
        running.accept(&given).await
    };
    let mut hidden = access_of(&[person(8)]);
    hidden.visibility = Visibility::Hidden {
        legal_reference: "art. 2-undecies".to_owned(),
        authority: institution(AUTHORITY),
    };
    let hidden = sign(TOWN, now, Plain::Access(Box::new(hidden)));
    let file = format!(
        "date,purpose_id,status,token_id,requests_count\n{},d2b9a653-c497-45c6-b8f1-5bdf124c9d3a,200,c4f5d7e2-b7c8-40f6-9b6a-dc9a4f5aeb57,3\n",
        time::format_date(now)
    );
    vec![
        (
            about(1).await,
            post("/v1/accesses/search", &json!({"subject": of(1)})),
        ),
        (
            home(2).await,
            post("/v1/accesses/search", &json!({"household": of(2)})),
        ),
        (
            home(3).await,
            post("/v1/households/composition", &json!({"household": of(3)})),
        ),
        (
            about(4).await,
            post("/v1/usage", &json!({"subject": of(4)})),
        ),
        (
            given(5).await,
            post("/v1/consents/search", &json!({"subject": of(5)})),
        ),
        (
            given(6).await,
            post(
                "/v1/consents/status",
                &json!({"subject": of(6), "record": "r-1"}),
            ),
        ),
        (
            given(7).await,
            post(
                "/v1/consents/receipt",
                &json!({"subject": of(7), "record": "r-1"}),
            ),
        ),
        (
            running.accept(&hidden).await,
            post(
                "/v1/operators/subjects",
                &json!({"institution": TOWN, "operator": "user-secret-7"}),
            ),
        ),
        (
            about(9).await,
            Asked {
                kind: wire::CSV,
                body: file,
                role: Role::Dpo,
                ..post("/v1/tracing/reconciliations", &Value::Null)
            },
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_erased_meanwhile_is_not_answered() {
    let running = Running::start().await;
    for (index, asked) in told(&running).await {
        let order = erasure(AUTHORITY, &[index], None);
        let answer = overtaken(&running, &asked, &order).await;
        assert_eq!(
            answer.status,
            StatusCode::SERVICE_UNAVAILABLE,
            "{}: {}",
            asked.uri,
            answer.text
        );
        assert_eq!(answer.problem(), "erased-meanwhile", "{}", asked.uri);
        // Whoever asks again gets what is left, or is told that nobody can say who belonged to the household then.
        let again = answered(&running, &asked).await;
        let refused = asked.uri == "/v1/households/composition";
        assert!(
            matches!(again.status, StatusCode::OK | StatusCode::NOT_FOUND)
                || refused && again.problem() == "request-member",
            "{}: {}",
            asked.uri,
            again.text
        );
    }
    running.stop().await;
}

/// Else whoever has enough to erase could close every answer.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_erased_of_others_stops_no_answer() {
    let running = Running::start().await;
    for (_, asked) in told(&running).await {
        let other = consent(person(99), ConsentEvent::Given, now_ms() - DAY, TOWN);
        let other = running.accept(&other).await;
        let order = erasure(TOWN, &[other], None);
        let answer = overtaken(&running, &asked, &order).await;
        assert_eq!(
            answer.status,
            StatusCode::OK,
            "{}: {}",
            asked.uri,
            answer.text
        );
    }
    running.stop().await;
}

/// A poll has no `read` entry of its own, and is looked at again like any other answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_poll_shows_nothing_that_is_erased_meanwhile() {
    let running = Running::start().await;
    let index = running.accept(&access(&[person(1)], now_ms())).await;
    let asked = post(
        "/v1/accesses/search",
        &json!({"subject": hash_text(&person(1))}),
    );
    assert_eq!(answered(&running, &asked).await.status, StatusCode::OK);
    let size = running.size();
    let answer = overtaken(&running, &asked, &erasure(TOWN, &[index], None)).await;
    assert_eq!(answer.problem(), "erased-meanwhile");
    // The order, and what nodes write about it: no further reading.
    let view = running.node.view().unwrap();
    for index in size..view.size().0 {
        let stored = view.entry(EntryIndex(index)).unwrap().unwrap();
        assert_ne!(stored.meta.entry_type, ledger::body::EntryType::Read);
    }
    drop(view);
    let again = answered(&running, &asked).await.json();
    assert!(again["items"][0].get("body").is_none(), "{again}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanges_are_not_told_of_what_is_erased_meanwhile() {
    let running = Running::start().await;
    let wait = Duration::from_secs(60);
    let index = running.accept(&access(&[person(1)], now_ms())).await;
    let reader = Reader::for_tests(AUTHORITY, Role::Authority);
    let query = exchanges::Query {
        state: None,
        side: None,
        from_ms: 0,
        to_ms: u64::MAX,
        limit: 10,
        before: u64::MAX,
    };
    let view = running.node.view().unwrap();
    let selection = query.select(&view, &reader).unwrap();
    assert_eq!(selection.len(), 1);
    let release = Release {
        route: "/v1/exchanges",
        question: Hash::ZERO,
        count: 1,
        tree_size: view.size(),
        subjects: Vec::new(),
        view,
        rests_on: selection.rests_on(),
    };
    running.accept(&erasure(TOWN, &[index], None)).await;
    let recorder = Recorder::new(wait);
    let recorded = recorder.record(&running.node, &reader, &release).await;
    assert_eq!(recorded.err(), Some(Fault::Overtaken));
    running.stop().await;
}

/// An export is made before it is put on record, which may take long.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_what_is_erased_meanwhile_stays_here() {
    let running = Running::start().await;
    let wait = Duration::from_secs(60);
    let index = running.accept(&access(&[person(1)], now_ms())).await;
    let other = running.accept(&access(&[person(2)], now_ms())).await;
    let reader = Reader::for_tests(AUTHORITY, Role::Authority);
    let order = json!({"subject": hash_text(&person(1)), "audience": "reader",
        "ground": "dpv:LegalCompliance"});
    let ask = Ask::parse(order.to_string().as_bytes(), &reader).unwrap();
    let folded = running.node.fold(wait).await.unwrap();
    let made = export::make(&folded, &reader, &ask, export::Form::Json).unwrap();
    let release = Release {
        route: "/v1/exports",
        question: Hash::ZERO,
        count: made.count,
        tree_size: folded.state_root().size,
        subjects: Vec::new(),
        view: folded.view().clone(),
        rests_on: made.rests_on.clone(),
    };
    let exported = Exported {
        digest: &made.digest,
        ground: "dpv:LegalCompliance",
        persons: &made.persons,
    };
    let recorder = Recorder::new(wait);
    for (erased, expected) in [(other, None), (index, Some(Fault::Overtaken))] {
        running.accept(&erasure(TOWN, &[erased], None)).await;
        let recorded = recorder.record_export(&running.node, &reader, &release, &exported);
        assert_eq!(recorded.await.err(), expected);
    }
    running.stop().await;
}
