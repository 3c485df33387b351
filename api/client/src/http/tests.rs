// SPDX-License-Identifier: BSD-3-Clause
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::mpsc,
    thread,
};

use super::*;

/// A server that answers each request with the next of these texts (a status line and a body), and tells what it was sent.
fn server(answers: Vec<(&'static str, String)>) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (told, bodies) = mpsc::channel();
    thread::spawn(move || {
        for (status, body) in answers {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
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
            let mut sent = vec![0; length];
            reader.read_exact(&mut sent).unwrap();
            told.send(String::from_utf8(sent).unwrap()).unwrap();
            if status != BREAK {
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                reader
                    .get_mut()
                    .write_all((head + &body).as_bytes())
                    .unwrap();
            }
        }
    });
    (url, bodies)
}

/// Not a status: the connection is dropped after the request was read.
const BREAK: &str = "break";

fn accepted(index: u64) -> String {
    serde_json::json!({"index": index, "leafHash": "x", "acceptedAt": "t", "findings": [], "state": "committed", "again": false}).to_string()
}

fn problem(code: &str, status: u16) -> String {
    serde_json::json!({"type": format!("{TYPE_PREFIX}{code}"), "title": "No", "status": status})
        .to_string()
}

fn client(url: &str, patience_ms: u64) -> Client {
    Client::new(&[url.to_owned()], Duration::from_millis(patience_ms)).unwrap()
}

#[tokio::test]
async fn the_same_bytes_go_again_until_the_answer_is_final() {
    let (url, bodies) = server(vec![
        ("503 Service Unavailable", problem("no-quorum", 503)),
        (BREAK, String::new()),
        ("201 Created", accepted(7)),
    ]);
    let answer = client(&url, 20_000)
        .submit("line", Until::Committed)
        .await
        .unwrap();
    assert_eq!(answer.index, 7);
    assert_eq!(bodies.iter().collect::<Vec<_>>(), ["line", "line", "line"]);
}

#[tokio::test]
async fn a_refusal_is_final() {
    let (url, bodies) = server(vec![(
        "422 Unprocessable Entity",
        problem("signature", 422),
    )]);
    let error = client(&url, 20_000)
        .submit("line", Until::Committed)
        .await
        .unwrap_err();
    assert_eq!(
        (error.code(), error.status()),
        (Some("signature"), Some(422))
    );
    assert_eq!(bodies.iter().count(), 1);
}

#[tokio::test]
async fn a_broken_connection_leaves_the_outcome_unknown_and_a_closed_port_does_not() {
    let (url, bodies) = server(vec![(BREAK, String::new())]);
    // Long enough for one attempt on a busy machine; those after it are refused, and what may be written stays unknown.
    let error = client(&url, 2_000)
        .submit("line", Until::Committed)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unknown(_)), "{error}");
    drop(bodies);
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = client(&format!("http://{closed}"), 1)
        .submit("line", Until::Committed)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn of_a_reading_no_outcome_is_unknown() {
    let (url, _bodies) = server(vec![(BREAK, String::new())]);
    let error = client(&url, 1)
        .search_accesses("token", &AccessSearch::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn of_a_batch_only_what_is_open_goes_again() {
    let line = |line: u64, accepted_at: Option<u64>, failed: Option<(&str, u16)>| {
        let mut outcome =
            serde_json::json!({"line": line, "status": failed.map_or(201, |(_, status)| status)});
        if let Some(index) = accepted_at {
            outcome["accepted"] = serde_json::from_str(&accepted(index)).unwrap();
        }
        if let Some((code, status)) = failed {
            outcome["problem"] = serde_json::from_str(&problem(code, status)).unwrap();
        }
        format!("{outcome}\n")
    };
    let first = line(1, Some(4), None)
        + &line(2, None, Some(("outcome-unknown", 504)))
        + &line(3, None, Some(("id-used", 409)));
    let second = line(1, Some(5), None);
    let (url, bodies) = server(vec![("200 OK", first), ("200 OK", second)]);
    let lines = ["a", "b", "c"].map(str::to_owned);
    let outcomes = client(&url, 20_000)
        .submit_batch(&lines, Until::Committed)
        .await;
    assert!(matches!(&outcomes[0], Outcome::Accepted(accepted) if accepted.index == 4));
    assert!(matches!(&outcomes[1], Outcome::Accepted(accepted) if accepted.index == 5));
    assert!(matches!(&outcomes[2], Outcome::Refused(problem) if problem.status == 409));
    assert_eq!(bodies.iter().collect::<Vec<_>>(), ["a\nb\nc\n", "b\n"]);
}

#[test]
fn urls_without_a_scheme_are_named() {
    let error = Client::new(&["127.0.0.1:80".to_owned()], Duration::ZERO).unwrap_err();
    assert!(error.to_string().contains("127.0.0.1:80"), "{error}");
    assert!(Client::new(&[], Duration::ZERO).is_err());
}

/// A node that lies must not fill an auditor's memory or disk with what has no end.
#[tokio::test]
async fn what_an_auditor_is_fed_is_bounded() {
    let line = |bytes: usize| "x".repeat(bytes);
    let longest = ledger::audit::Line::BYTES_MAX;
    let (url, _told) = server(vec![
        ("200 OK", format!("{}\n{}\n", line(longest), line(longest))),
        ("200 OK", line(longest + 1)),
        ("200 OK", line(64 * 1024 * 1024 + 1)),
        ("200 OK", "a page\n".to_owned()),
    ]);
    let client = client(&url, 20_000);
    let mut start = Vec::new();
    client.audit_start("t", &mut start).await.unwrap();
    assert_eq!(start.len(), 2 * longest + 2);
    let error = client.audit_start("t", &mut Vec::new()).await.unwrap_err();
    assert!(error.to_string().contains("line of a start"), "{error}");
    let error = client.audit_entries("t", 0).await.unwrap_err();
    assert!(
        error.to_string().contains("page that does not end"),
        "{error}"
    );
    assert_eq!(client.audit_entries("t", 0).await.unwrap(), "a page\n");
}
