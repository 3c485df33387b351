// SPDX-License-Identifier: BSD-3-Clause
//! Batches against a server that answers as told: nothing is called refused that may have been written, and no request is too long.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::mpsc,
    thread,
    time::Duration,
};

use client::{
    error::Error,
    http::{Client, Outcome, Until},
};

/// Answers one request after the other with what `answer` makes of its body (status line, headers, body); tells the lengths of the bodies.
fn server(
    answer: impl Fn(usize, &str) -> String + Send + 'static,
) -> (String, mpsc::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (told, lengths) = mpsc::channel();
    thread::spawn(move || {
        for (place, stream) in listener.incoming().enumerate() {
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
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let _ = told.send(length);
            let answer = answer(place, &String::from_utf8(body).unwrap());
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    (url, lengths)
}

fn response(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

/// Every line is accepted.
fn accept_all(body: &str) -> String {
    let mut answer = String::new();
    for line in 1..=body.lines().count() {
        let accepted = serde_json::json!({
            "index": line, "leafHash": "x", "acceptedAt": "t", "findings": [], "state": "committed", "again": false
        });
        let outcome = serde_json::json!({"line": line, "status": 202, "accepted": accepted});
        answer += &format!("{outcome}\n");
    }
    response("200 OK", &answer)
}

fn problem(status: u16, code: &str) -> serde_json::Value {
    serde_json::json!({"type": format!("https://visto.example/problems/{code}"), "title": "No", "status": status})
}

fn client(url: String, patience: Duration) -> Client {
    Client::new(&[url], patience).unwrap()
}

#[tokio::test]
async fn long_batches_go_in_several_requests() {
    let (url, lengths) = server(|_, body| accept_all(body));
    let lines: Vec<String> = (0..100).map(|_| "x".repeat(190_000)).collect();
    let outcomes = client(url, Duration::from_secs(60))
        .submit_batch(&lines, Until::Committed)
        .await;
    assert_eq!(outcomes.len(), 100);
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Accepted(_)))
    );
    let lengths: Vec<usize> = lengths.try_iter().collect();
    assert_eq!(lengths.iter().sum::<usize>(), 100 * 190_001);
    assert!(
        lengths.iter().all(|length| *length <= 16 * 1024 * 1024),
        "{lengths:?}"
    );
}

/// A node that fails inside may have written before; only another answer tells.
#[tokio::test]
async fn a_node_that_fails_refuses_nothing() {
    let (url, _lengths) = server(|place, body| match place {
        0 => response(
            "500 Internal Server Error",
            &problem(500, "internal").to_string(),
        ),
        1 => {
            let outcome =
                serde_json::json!({"line": 1, "status": 500, "problem": problem(500, "internal")});
            response("200 OK", &format!("{outcome}\n"))
        }
        _ => accept_all(body),
    });
    let outcomes = client(url, Duration::from_secs(60))
        .submit_batch(&["a".to_owned()], Until::Committed)
        .await;
    assert!(
        matches!(outcomes[..], [Outcome::Accepted(_)]),
        "{outcomes:?}"
    );
    let (url, _lengths) = server(|_, _| {
        response(
            "500 Internal Server Error",
            &problem(500, "internal").to_string(),
        )
    });
    let error = client(url, Duration::from_millis(500))
        .submit("a", Until::Committed)
        .await
        .expect_err("no answer");
    assert!(matches!(error, Error::Unknown(_)), "{error}");
}

/// What is asked goes to the nodes that were named alone.
#[tokio::test]
async fn no_node_sends_a_question_elsewhere() {
    let (elsewhere, asked) = server(|_, _| response("200 OK", "{}"));
    let (url, _lengths) = server(move |_, _| {
        format!(
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: {elsewhere}/v1/accesses/search\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
    });
    let search = wire::search::AccessSearch::default();
    let error = client(url, Duration::from_secs(60))
        .search_accesses("token", &search)
        .await
        .expect_err("redirected");
    assert!(matches!(error, Error::Problem(_)), "{error}");
    assert!(asked.try_recv().is_err());
}
