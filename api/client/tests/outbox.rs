// SPDX-License-Identifier: BSD-3-Clause
//! The outbox against ledgers that answer as told: nothing leaves it on a wrong answer, and what is refused for good stands on a list.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use client::{
    http::Client,
    outbox::{self, Bounds, Outbox, Whose, sender},
};
use ledger::policy::{Policy, PolicySet};
use tokio::sync::watch;

/// Answers each request with what `answer` makes of its lines: status and body. Tells how many came.
fn ledger_that_says(
    answer: impl Fn(usize, &str) -> (&'static str, String) + Send + 'static,
) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut lines = vec![0; length];
            reader.read_exact(&mut lines).unwrap();
            let place = count.fetch_add(1, Ordering::SeqCst);
            let (status, body) = answer(place, std::str::from_utf8(&lines).unwrap());
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            // Who does not wait for it asks again.
            let _ = reader.get_mut().write_all(answer.as_bytes());
        }
    });
    (url, asked)
}

/// Sends what an outbox of two entries holds until `enough` of how it stands and how often the ledger was asked; how it stands then.
async fn after(
    answer: impl Fn(usize, &str) -> (&'static str, String) + Send + 'static,
    enough: impl Fn(&outbox::Standing, usize) -> bool,
) -> (outbox::Standing, Vec<outbox::RefusedEntry>) {
    let (url, asked) = ledger_that_says(answer);
    sent(&[url], 2, |standing| {
        enough(standing, asked.load(Ordering::SeqCst))
    })
    .await
}

/// As [`after`], of these nodes, with entries due by then.
async fn sent(
    urls: &[String],
    due_ms: u64,
    enough: impl Fn(&outbox::Standing) -> bool,
) -> (outbox::Standing, Vec<outbox::RefusedEntry>) {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(folder.path(), Bounds::default()).unwrap();
    for line in ["line 1", "line 2"] {
        let room = outbox.reserve(line.len()).unwrap();
        room.put(line.to_owned(), Whose::Own, 1, due_ms)
            .await
            .unwrap();
    }
    let client = Client::new(urls, Duration::from_millis(500)).unwrap();
    let policies = Arc::new(PolicySet::from(Policy::parse(b"quorum none\n").unwrap()));
    let (stop, stopped) = watch::channel(false);
    let pace = sender::Pace {
        first: Duration::from_millis(1),
        longest: Duration::from_millis(2),
    };
    let running = tokio::spawn(sender::run(
        Arc::clone(&outbox),
        client,
        policies,
        pace,
        stopped,
    ));
    let waited = async {
        while !enough(&outbox.standing(3)) {
            tokio::task::yield_now().await;
        }
    };
    // Only ends what hangs.
    let waited = tokio::time::timeout(Duration::from_secs(120), waited).await;
    assert!(waited.is_ok(), "{:?}", outbox.standing(3));
    stop.send_replace(true);
    running.await.unwrap().unwrap();
    let standing = outbox.standing(3);
    drop(outbox);
    (standing, outbox::peek(folder.path()).unwrap().1)
}

fn problem(line: usize, status: u16, code: &str) -> String {
    let problem = serde_json::json!({"type": format!("https://visto.example/problems/{code}"), "title": "t", "status": status});
    format!(
        "{}\n",
        serde_json::json!({"line": line, "status": status, "problem": problem})
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_ledger_refuses_for_good_is_listed_and_the_others_stay() {
    let answer = |_, lines: &str| {
        let each = lines.lines().enumerate().map(|(at, line)| match line {
            "line 1" => problem(at + 1, 422, "key-not-in-force"),
            _ => problem(at + 1, 503, "no-quorum"),
        });
        ("200 OK", each.collect())
    };
    let (standing, refused) = after(answer, |standing, _| standing.refused > 0).await;
    assert_eq!(
        (standing.waiting, standing.refused, standing.sent),
        (1, 1, 0)
    );
    assert_eq!(refused.len(), 1);
    assert_eq!(
        (refused[0].code.as_str(), refused[0].line.as_str()),
        ("key-not-in-force", "line 1")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_address_or_a_false_receipt_lets_nothing_go() {
    let wrong = |place: usize, _: &str| match place % 3 {
        0 => ("404 Not Found", "<html>no such page</html>".to_owned()),
        1 => ("401 Unauthorized", problem(1, 401, "token-missing")),
        _ => ("200 OK", "no line at all".to_owned()),
    };
    let (standing, refused) = after(wrong, |_, asked| asked > 8).await;
    assert_eq!((standing.waiting, standing.sent, refused.len()), (2, 0, 0));
    let accepted = |_, _: &str| {
        let accepted = serde_json::json!({"line": 1, "status": 201, "accepted": {
            "index": 7, "leafHash": "x", "acceptedAt": "2026-11-25T00:00:00Z", "findings": [],
            "state": "published", "again": false, "receipt": "c2sp.org/tlog-proof@v1\nindex 7\n",
        }});
        ("200 OK", format!("{accepted}\n"))
    };
    let (standing, refused) = after(accepted, |standing, _| standing.unproven > 0).await;
    assert_eq!((standing.waiting, standing.sent, refused.len()), (2, 0, 0));
}

/// A node that says this of every line.
fn node_that_says(status: u16, code: &'static str) -> (String, Arc<AtomicUsize>) {
    ledger_that_says(move |_, lines| {
        let each = (1..=lines.lines().count()).map(|line| problem(line, status, code));
        ("200 OK", each.collect())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_taken_later_is_sent_again_until_it_is_due() {
    for code in [
        "key-unknown",
        "key-not-in-force",
        "institution-unknown",
        "ahead",
    ] {
        let (url, asked) = node_that_says(422, code);
        let enough = |_: &_| asked.load(Ordering::SeqCst) > 4;
        let (standing, _) = sent(&[url], u64::MAX, enough).await;
        assert_eq!((standing.waiting, standing.refused), (2, 0), "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_of_several_ends_no_entry() {
    let (one, asked) = node_that_says(422, "signature");
    let (other, _) = node_that_says(503, "no-quorum");
    let enough = |_: &_| asked.load(Ordering::SeqCst) > 2;
    let (standing, _) = sent(&[one.clone(), other], u64::MAX, enough).await;
    assert_eq!((standing.waiting, standing.refused), (2, 0));
    let (second, _) = node_that_says(422, "signature");
    let all = |standing: &outbox::Standing| standing.refused == 2;
    let (standing, refused) = sent(&[one, second], u64::MAX, all).await;
    assert_eq!((standing.waiting, refused.len()), (0, 2));
}
