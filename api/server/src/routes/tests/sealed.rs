// SPDX-License-Identifier: EUPL-1.2
//! What is sealed from a person: nothing tells of it, and when its date has come it appears by itself.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use client::build::{Plain, PlainNote};
use cluster::{Clock, Direction, Tuning};
use ledger::{
    body::{
        Reference,
        access::Visibility,
        system::{NoteKind, NoteOpens},
    },
    entry::SubmittedEntry,
    export::persons,
    hash::Hash,
    number::EntryIndex,
    time,
};
use serde_json::{Value, json};
use wire::token::Role;

use crate::{
    app::now_ms,
    config::Limits,
    due::Due,
    present::hash_text,
    search::list_of,
    testing::{
        AUTHORITY, INPS, TOWN, institution,
        running::{Running, access, access_of, household, sign, sign_about},
    },
};

const DAY: u64 = 86_400_000;

fn person(n: u8) -> Hash {
    Hash([n; 32])
}

fn sealed(persons: &[Hash], visibility: Visibility) -> SubmittedEntry {
    let mut plain = access_of(persons);
    plain.visibility = visibility;
    sign(TOWN, now_ms(), Plain::Access(Box::new(plain)))
}

fn deferred(until_ms: u64) -> Visibility {
    Visibility::Deferred {
        until: time::format_date(until_ms),
        legal_reference: "art. 329 c.p.p.".to_owned(),
        authority: Some(institution(AUTHORITY)),
    }
}

fn hidden() -> Visibility {
    Visibility::Hidden {
        legal_reference: "art. 2-undecies".to_owned(),
        authority: institution(AUTHORITY),
    }
}

fn note(by: &str, about: Reference, person: Hash, opens: Vec<NoteOpens>) -> SubmittedEntry {
    let plain = PlainNote {
        kind: NoteKind::Decide,
        text: Some("perché".to_owned()),
        subjects: vec![person],
        opens,
    };
    sign_about(by, now_ms(), Some(about), Plain::Note(plain))
}

/// Index and type of what stands under a person's ref, newest first, whatever its type.
async fn list(running: &Running, of: Hash) -> Vec<(u64, String)> {
    let types = ["access", "note", "release", "read"];
    let query = json!({"subject": hash_text(&of), "types": types});
    let answer = running
        .post_as("/v1/accesses/search", &query, AUTHORITY, Role::Authority)
        .await;
    let items = answer.json()["items"].as_array().unwrap().clone();
    items
        .iter()
        .map(|item| {
            let kind = item["type"].as_str().unwrap().to_owned();
            (item["index"].as_u64().unwrap(), kind)
        })
        .filter(|(_, kind)| kind != "read")
        .collect()
}

async fn accesses(running: &Running, query: Value) -> Vec<u64> {
    let answer = running
        .post_as("/v1/accesses/search", &query, TOWN, Role::Dpo)
        .await;
    let items = answer.json()["items"].as_array().unwrap().clone();
    items
        .iter()
        .map(|item| item["index"].as_u64().unwrap())
        .collect()
}

fn about(running: &Running, index: u64) -> Reference {
    let entry = running.node.view().unwrap().entry(EntryIndex(index));
    Reference {
        index: EntryIndex(index),
        leaf: entry.unwrap().unwrap().leaf_hash(),
    }
}

/// Entries of a page are read together, and what is sealed of them too.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_with_a_sealed_entry_beside_others_names_the_others_alone() {
    let running = Running::start().await;
    let (spied, plain) = (person(1), person(2));
    let first = running.accept(&access(&[plain], now_ms())).await;
    let kept = running.accept(&sealed(&[spied], hidden())).await;
    let last = running.accept(&access(&[person(3)], now_ms())).await;
    let page = accesses(&running, json!({"institution": TOWN})).await;
    assert_eq!(page, [last, kept, first]);
    let view = running.node.view().unwrap();
    let read = EntryIndex(view.size().0 - 1);
    let body = view.entry(read).unwrap().unwrap().parse_body().unwrap();
    let mut named = persons(&body.unwrap());
    named.sort_unstable();
    assert_eq!(named, [plain, person(3)]);
    for (of, expected) in [(spied, vec![]), (plain, vec![read, EntryIndex(first)])] {
        let list = list_of(&of);
        let rows = view.rows(list.kind, &list.of, 0..u64::MAX, Direction::Down, 9);
        assert_eq!(rows.unwrap(), expected);
    }
    drop(view);
    running.stop().await;
}

/// Two persons, one with a sealed access and notes on it: whatever is asked under their refs, the answers are alike.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_tips_off() {
    let running = Running::start().await;
    let now = now_ms();
    let (spied, plain) = (person(1), person(2));
    for (home, of) in [(8, spied), (9, plain)] {
        running
            .accept(&household(person(home), &[of], now - DAY))
            .await;
        running.accept(&access(&[of], now)).await;
    }
    for visibility in [deferred(now + 2 * DAY), hidden()] {
        let index = running.accept(&sealed(&[spied], visibility)).await;
        let about = about(&running, index);
        running
            .accept(&note(TOWN, about, spied, vec![NoteOpens::UserId]))
            .await;
        // Those who took part see it, and that they looked stands under nobody's ref.
        let shown = running
            .get_as(&format!("/v1/entries/{index}"), INPS, Role::Institution)
            .await;
        assert_eq!(shown.status.as_u16(), 200, "{}", shown.text);
        let by_institution = json!({"institution": TOWN, "types": ["access", "note"], "limit": 2});
        let found = accesses(&running, by_institution).await;
        assert_eq!(found, [index + 1, index], "the note and the access");
    }
    let answers = async |of: Hash, home: u8| {
        let mut told = Vec::new();
        let of = hash_text(&of);
        let questions = [
            (
                "/v1/accesses/search",
                json!({"subject": of, "types": ["access", "note", "release"]}),
            ),
            (
                "/v1/accesses/search",
                json!({"household": hash_text(&person(home)), "finding": "none"}),
            ),
            ("/v1/accesses/search", json!({"subject": of, "limit": 1})),
            ("/v1/usage", json!({"subject": of})),
            ("/v1/consents/search", json!({"subject": of})),
        ];
        for (route, question) in questions {
            for (id, role) in [(TOWN, Role::Dpo), (AUTHORITY, Role::Authority)] {
                let answer = running.post_as(route, &question, id, role).await;
                assert_eq!(answer.status.as_u16(), 200, "{route} {}", answer.text);
                let answer = answer.json();
                let count = |name: &str| answer[name].as_array().map(Vec::len);
                told.push(json!([
                    count("items"),
                    count("usages"),
                    answer["totalUsages"],
                    answer["next_cursor"].is_null(),
                ]));
            }
        }
        // Readings on record: those of the questions above, and no other.
        let reads = json!({"subject": of, "types": ["read"]});
        let reads = running
            .post_as("/v1/accesses/search", &reads, AUTHORITY, Role::Authority)
            .await;
        told.push(json!(reads.json()["items"].as_array().unwrap().len()));
        told
    };
    assert_eq!(answers(spied, 8).await, answers(plain, 9).await);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deferred_appears_at_its_date_by_itself() {
    let now = Arc::new(AtomicU64::new(now_ms()));
    let moved = Arc::clone(&now);
    let tuning = Tuning {
        clock: Clock::from_fn(move || moved.load(Ordering::SeqCst)),
        ..Tuning::default()
    };
    let running = Running::start_tuned(Limits::default(), tuning).await;
    let start = now.load(Ordering::SeqCst);
    let (anna, bruno) = (person(1), person(2));
    running
        .accept(&household(person(9), &[anna, bruno], start - DAY))
        .await;
    let later = running
        .accept(&sealed(&[anna, bruno], deferred(start + DAY)))
        .await;
    let note = running
        .accept(&note(INPS, about(&running, later), anna, Vec::new()))
        .await;
    let never = running.accept(&sealed(&[anna], hidden())).await;
    let mut due = Due::default();
    let released = due.release(&running.node, now.load(Ordering::SeqCst)).await;
    assert_eq!(released, Ok(0));
    assert_eq!(list(&running, anna).await, []);
    // By a clock that runs ahead of the leader's nothing is released either.
    let ahead = due.release(&running.node, start + 2 * DAY).await;
    assert_eq!(ahead, Ok(0));
    now.store(start + 2 * DAY, Ordering::SeqCst);
    let size = running.size();
    let released = due.release(&running.node, start + 2 * DAY).await;
    assert_eq!(released, Ok(2), "the access and the note on it");
    let release = "release".to_owned();
    assert_eq!(
        list(&running, anna).await,
        [(size + 1, release.clone()), (size, release.clone())]
    );
    assert_eq!(list(&running, bruno).await, [(size, release)]);
    // Searches find the access where its release stands, once for the whole household.
    for query in [
        json!({"subject": hash_text(&anna)}),
        json!({"household": hash_text(&person(9))}),
    ] {
        assert_eq!(accesses(&running, query).await, [later]);
    }
    let with_notes = json!({"subject": hash_text(&anna), "types": ["access", "note"]});
    let found = running
        .post_as(
            "/v1/accesses/search",
            &with_notes,
            AUTHORITY,
            Role::Authority,
        )
        .await;
    assert_eq!(found.json()["items"][0]["index"], note);
    let usage = running
        .post_as(
            "/v1/usage",
            &json!({"subject": hash_text(&bruno)}),
            TOWN,
            Role::Dpo,
        )
        .await;
    assert_eq!(usage.json()["totalUsages"], 1);
    // Once is enough, also for whoever begins to look only now; what is hidden stays so.
    for mut due in [due, Due::default()] {
        assert_eq!(due.release(&running.node, start + 3 * DAY).await, Ok(0));
    }
    assert!(
        !accesses(&running, json!({"subject": hash_text(&anna)}))
            .await
            .contains(&never)
    );
    running.stop().await;
}
