// SPDX-License-Identifier: EUPL-1.2
//! Pairs that differ are found, whoever else writes into their exchange or notes on their entries.

use client::build::{Plain, PlainAccess, PlainNote};
use ledger::{
    body::{
        Reference,
        access::{Part, Side},
        system::{NoteKind, NoteOpens},
    },
    hash::Hash,
    number::EntryIndex,
};
use wire::{exchange::ExchangeState, token::Role};

use crate::{
    app::now_ms,
    auth,
    exchanges::{Query, Selection},
    testing::{
        AUTHORITY, INPS, LEDGER, TOWN, good_token, institution,
        running::{Running, access_of, sign, sign_about},
    },
};

fn person(n: u8) -> Hash {
    Hash([n; 32])
}

/// Both sides of a call about a person, alike; where the two entries stand.
async fn agreed(running: &Running, exchange: [u8; 16]) -> [u64; 2] {
    let mut plain = access_of(&[person(1)]);
    plain.exchange = exchange;
    let now = now_ms();
    let consumer = sign(TOWN, now, Plain::Access(Box::new(plain.clone())));
    let provider = PlainAccess {
        side: Side::Provider,
        ..plain
    };
    let provider = sign(INPS, now, Plain::Access(Box::new(provider)));
    [
        running.accept(&consumer).await,
        running.accept(&provider).await,
    ]
}

async fn note(running: &Running, by: &str, on: u64, kind: NoteKind, names: u8) {
    let entry = running.node.view().unwrap().entry(EntryIndex(on));
    let about = Reference {
        index: EntryIndex(on),
        leaf: entry.unwrap().unwrap().leaf_hash(),
    };
    let plain = PlainNote {
        kind,
        text: None,
        subjects: vec![person(names)],
        opens: Vec::<NoteOpens>::new(),
    };
    let note = sign_about(by, now_ms(), Some(about), Plain::Note(plain));
    running.accept(&note).await;
}

/// The exchanges that differ, and how many there are of each.
async fn differing(running: &Running) -> Vec<String> {
    let uri = "/v1/exchanges?consistency=linearizable&state=differing&limit=100";
    let answer = running.get_as(uri, AUTHORITY, Role::Authority).await;
    let items = answer.json()["items"].as_array().unwrap().clone();
    let named = items.iter().map(|item| item["exchange"].as_str().unwrap());
    named.map(str::to_owned).collect()
}

fn text(exchange: [u8; 16]) -> String {
    ledger::base64::url_encode(&exchange)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_corrections_do_not_hide_each_other() {
    let running = Running::start().await;
    let exchange = [1; 16];
    let [consumer, provider] = agreed(&running, exchange).await;
    note(&running, INPS, provider, NoteKind::Correct, 2).await;
    assert_eq!(differing(&running).await, [text(exchange)]);
    note(&running, TOWN, consumer, NoteKind::Correct, 3).await;
    assert_eq!(differing(&running).await, [text(exchange)]);
    note(&running, TOWN, consumer, NoteKind::Correct, 2).await;
    assert!(differing(&running).await.is_empty());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_pair_of_the_same_exchange_hides_none() {
    let running = Running::start().await;
    let exchange = [1; 16];
    let [_, provider] = agreed(&running, exchange).await;
    note(&running, INPS, provider, NoteKind::Correct, 2).await;
    // The authority names the same exchange in a call of its own, which nobody answers.
    let mut plain = access_of(&[person(7)]);
    plain.exchange = exchange;
    plain.consumer = institution(AUTHORITY);
    let other = sign(AUTHORITY, now_ms(), Plain::Access(Box::new(plain)));
    running.accept(&other).await;
    assert_eq!(differing(&running).await, [text(exchange)]);
    running.stop().await;
}

/// The town tells of so many calls to as many providers, all in one exchange, and each in a thousand parts if asked so.
async fn crowd(running: &Running, pairs: usize, in_parts: bool) {
    let ndjson = [("content-type", "application/x-ndjson")];
    let pairs: Vec<usize> = (0..pairs).collect();
    for some in pairs.chunks(500) {
        let lines = some.iter().map(|n| {
            let mut plain = access_of(&[person(7)]);
            plain.exchange = [1; 16];
            plain.provider = institution(&format!("ipa:p{n}"));
            plain.part = in_parts.then_some(Part { k: 1, n: 1_000 });
            let access = sign(TOWN, now_ms(), Plain::Access(Box::new(plain)));
            format!("{}\n", access.to_wire())
        });
        let answer = running
            .call(
                axum::http::Method::POST,
                "/v1/entries",
                &ndjson,
                lines.collect::<String>(),
            )
            .await;
        assert!(!answer.text.contains("problem"), "{}", answer.text);
    }
}

/// A page of what is paired, for the authority.
fn paired(running: &Running, before: u64) -> Selection {
    let view = running.node.view().unwrap();
    let token = good_token(AUTHORITY, Role::Authority);
    let reader = auth::verify(&token, LEDGER, now_ms() / 1000, view.size(), &view).unwrap();
    let query = Query {
        state: Some(ExchangeState::Paired),
        side: None,
        from_ms: 0,
        to_ms: u64::MAX,
        limit: 100,
        before,
    };
    query.select(&view, &reader).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_pairs_of_one_exchange_are_read_once() {
    let running = Running::start().await;
    let pairs = 300;
    crowd(&running, pairs, false).await;
    let page = paired(&running, u64::MAX);
    assert!(page.is_empty() && page.next.is_none());
    // Where each stands, among all, and to be judged.
    assert!(page.read <= 3 * pairs, "{} read", page.read);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_ends_where_each_pair_takes_a_thousand_keys_and_the_next_gets_on() {
    let running = Running::start().await;
    crowd(&running, 1_002, true).await;
    let mut before = u64::MAX;
    for _ in 0..3 {
        let page = paired(&running, before);
        assert!(page.read < 12_000, "{} read", page.read);
        let next = page.next.unwrap();
        assert!(next < before);
        before = next;
    }
    running.stop().await;
}

/// Thousands of entries before the sides, and hundreds of notes before the correction.
#[tokio::test(flavor = "multi_thread")]
async fn neither_crowds_of_entries_nor_of_notes_hide_a_pair() {
    let running = Running::start().await;
    let exchange = [1; 16];
    let ndjson = [("content-type", "application/x-ndjson")];
    let send = async |lines: String| {
        let answer = running
            .call(axum::http::Method::POST, "/v1/entries", &ndjson, lines)
            .await;
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    };
    for _ in 0..2 {
        let lines = (0..600).map(|_| {
            let mut plain = access_of(&[person(7)]);
            plain.exchange = exchange;
            plain.consumer = institution(AUTHORITY);
            let crowd = sign(AUTHORITY, now_ms(), Plain::Access(Box::new(plain)));
            format!("{}\n", crowd.to_wire())
        });
        send(lines.collect()).await;
    }
    let [_, provider] = agreed(&running, exchange).await;
    let entry = running.node.view().unwrap().entry(EntryIndex(provider));
    let about = Reference {
        index: EntryIndex(provider),
        leaf: entry.unwrap().unwrap().leaf_hash(),
    };
    let lines = (0..300).map(|_| {
        let plain = PlainNote {
            kind: NoteKind::Correct,
            text: None,
            subjects: vec![person(9)],
            opens: Vec::new(),
        };
        let note = sign_about(AUTHORITY, now_ms(), Some(about), Plain::Note(plain));
        format!("{}\n", note.to_wire())
    });
    send(lines.collect()).await;
    assert!(differing(&running).await.is_empty());
    note(&running, INPS, provider, NoteKind::Correct, 2).await;
    assert_eq!(differing(&running).await, [text(exchange)]);
    running.stop().await;
}
