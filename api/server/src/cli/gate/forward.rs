// SPDX-License-Identifier: EUPL-1.2
//! Sends a request on to the e-service and brings its answer back.
//!
//! A short answer is read whole, so that our side can carry its digest and count; of a longer one the first piece is held back until our side
//! is on disk, and the rest passes through as it comes.

use std::{convert::Infallible, fs, sync::Arc, task::Context, task::Poll, time::Duration};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use client::gate::{Answer, Answering, Reason, refusal};
use futures::{StreamExt, stream};
use http::{HeaderMap, HeaderName, Request, Response, header};
use ledger::{base64, bytes::response_digest, hash::Hash};
use serde_json::Value;
use tower::Service;

use super::{super::exit::Failure, config::Config, facts::Table};

/// The way to the e-service.
#[derive(Clone)]
pub(super) struct Forward(Arc<Way>);

struct Way {
    http: reqwest::Client,
    base: String,
    timeout: Duration,
    answer_bytes: usize,
    table: Table,
}

/// Persons met in the answer that were not asked for: refs, divided by commas. The service behind may set it; it goes no further.
const INCIDENTAL: HeaderName = HeaderName::from_static("visto-incidental");

impl Forward {
    /// As the configuration says.
    pub(super) fn new(config: &Config, table: Table) -> Result<Forward, Failure> {
        let base = config.upstream.url.trim_end_matches('/').to_owned();
        let plain = reqwest::Url::parse(&base)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.path() == "/");
        if plain.is_none() {
            return Err(Failure::usage(
                "upstream.url: give http:// or https://, host and port alone",
            ));
        }
        // Whoever comes second finds one installed, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let timeout = Duration::from_secs(config.upstream.timeout_s);
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .read_timeout(timeout)
            // The answer is the service's, whatever it points to; and no proxy of the environment hears of persons.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if let Some(file) = &config.upstream.ca {
            let wrong = |what: String| Failure::usage(format!("{}: {what}", file.display()));
            let pem = fs::read(file).map_err(|error| wrong(error.to_string()))?;
            let ca =
                reqwest::Certificate::from_pem(&pem).map_err(|error| wrong(error.to_string()))?;
            builder = builder.tls_certs_merge([ca]);
        }
        let http = builder.build().map_err(Failure::failed)?;
        Ok(Forward(Arc::new(Way {
            http,
            base,
            timeout,
            answer_bytes: config.limits.answer_bytes,
            table,
        })))
    }

    /// Sends a request on, its body as it comes, and gives the answer as it comes: for what is open.
    pub(super) async fn stream(&self, request: Request<Body>) -> Response<Body> {
        match self.0.send(request, true).await {
            Ok(answer) => {
                let (head, rest) = parts(answer);
                head.map(|()| Body::from_stream(rest))
            }
            Err(reason) => refusal(reason),
        }
    }
}

/// For what is covered: the answer carries an [`Answer`].
impl Service<Request<Body>> for Forward {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let way = Arc::clone(&self.0);
        Box::pin(async move { Ok(way.answer(request).await) })
    }
}

impl Way {
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let row = self.table.find(request.method(), request.uri());
        let pointer = row.and_then(|row| row.route.result_count.clone());
        let answer = match self.send(request, false).await {
            Ok(answer) => answer,
            Err(reason) => return refusal(reason),
        };
        let status = answer.status().as_u16();
        let Some(incidental) = incidental(answer.headers()) else {
            tracing::error!("Visto-Incidental holds what is no ref; the answer does not leave");
            return refusal(Reason::AnswerPersons);
        };
        let (head, mut rest) = parts(answer);
        let mut told = Answer {
            status,
            incidental,
            ..Answer::default()
        };
        let mut first = BytesMut::new();
        let body = loop {
            match rest.next().await {
                None => {
                    let whole = first.freeze();
                    told.response_digest = Some(response_digest(status, &whole));
                    told.result_count = pointer.and_then(|it| count(&whole, &it));
                    break Body::from(whole);
                }
                // It broke off: what came is not the answer.
                Some(Err(_)) => return refusal(Reason::UpstreamUnreachable),
                Some(Ok(piece)) => first.extend_from_slice(&piece),
            }
            if first.len() > self.answer_bytes {
                let first = stream::iter([Ok(first.freeze())]);
                break Body::from_stream(first.chain(rest));
            }
        };
        let mut response = head.map(|()| body);
        response.extensions_mut().insert(told);
        response
    }

    async fn send(
        &self,
        request: Request<Body>,
        streamed: bool,
    ) -> Result<reqwest::Response, Reason> {
        let (mut head, body) = request.into_parts();
        let target = head.uri.path_and_query().map_or("/", |it| it.as_str());
        let url = format!("{}{target}", self.base);
        remove_hop_by_hop(&mut head.headers);
        head.headers.remove(header::HOST);
        client::gate::transport::remove(&mut head.headers);
        let body = if streamed {
            reqwest::Body::wrap_stream(body.into_data_stream())
        } else {
            // The gate has read it: one piece that is there.
            let whole = axum::body::to_bytes(body, usize::MAX).await;
            head.headers.remove(header::CONTENT_LENGTH);
            reqwest::Body::from(whole.map_err(|_| Reason::BodyBroken)?)
        };
        let sent = self
            .http
            .request(head.method, url)
            .headers(head.headers)
            .body(body)
            .send();
        match tokio::time::timeout(self.timeout, sent).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if error.is_timeout() => Err(Reason::UpstreamTimeout),
            Ok(Err(error)) => {
                // Of the error the kind alone: its text may hold the URL.
                tracing::warn!(
                    connect = error.is_connect(),
                    "the service behind did not answer"
                );
                Err(Reason::UpstreamUnreachable)
            }
            Err(_) => Err(Reason::UpstreamTimeout),
        }
    }
}

type Pieces = stream::BoxStream<'static, Result<Bytes, reqwest::Error>>;

/// Head and body of an answer, without what is between the service and us alone.
fn parts(answer: reqwest::Response) -> (Response<()>, Pieces) {
    let mut head = Response::new(());
    *head.status_mut() = answer.status();
    *head.headers_mut() = answer.headers().clone();
    remove_hop_by_hop(head.headers_mut());
    head.headers_mut().remove(INCIDENTAL);
    (head, answer.bytes_stream().boxed())
}

/// Takes out of a request what the service behind will not see, or may read as another request than the gate does. Before anything is judged:
/// what is judged is what is sent on.
pub(super) fn clean(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    for name in OVERRIDES {
        headers.remove(name);
    }
    // CGI and its heirs read `x_refs` and `x-refs` as one header.
    let two_ways: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().contains('_'))
        .cloned()
        .collect();
    for name in two_ways {
        headers.remove(name);
    }
}

/// Some services let these speak of another target or method than the request line does.
const OVERRIDES: [&str; 5] = [
    "x-original-url",
    "x-rewrite-url",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];

/// RFC 9110, 7.6.1: what speaks of one connection, and what `Connection` names.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let always = [
        header::CONNECTION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ];
    for name in named.iter().chain(&always) {
        headers.remove(name);
    }
}

/// None if one of them is no ref: that person would be left out of the record.
fn incidental(headers: &HeaderMap) -> Option<Vec<Hash>> {
    let mut persons = Vec::new();
    for line in headers.get_all(INCIDENTAL) {
        let texts = line.to_str().ok()?.split(',').map(str::trim);
        for text in texts.filter(|text| !text.is_empty()) {
            persons.push(Hash(base64::url_decode_array(text)?));
        }
    }
    Some(persons)
}

fn count(body: &[u8], pointer: &str) -> Option<u64> {
    let value: Value = serde_json::from_slice(body).ok()?;
    match value.pointer(pointer)? {
        Value::Array(items) => u64::try_from(items.len()).ok(),
        number => number.as_u64(),
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn persons_met_are_read_whole_or_not_at_all_and_go_no_further() {
        let (a, b) = (base64::url_encode(&[1; 32]), base64::url_encode(&[2; 32]));
        let answer = |lines: &[&str]| {
            let mut answer = Response::new("");
            for line in lines {
                let headers = answer.headers_mut();
                headers.append(INCIDENTAL, line.parse().unwrap());
            }
            answer
        };
        let good = answer(&[&format!("{a}, {b}"), "", &a]);
        assert_eq!(incidental(good.headers()).unwrap().len(), 3);
        let bad = answer(&[&a, &format!("{b}, RSSMRA")]);
        assert_eq!(incidental(bad.headers()), None);
        let (head, _) = parts(reqwest::Response::from(good));
        assert!(!head.headers().contains_key(INCIDENTAL));
    }

    #[test]
    fn what_the_service_does_not_see_is_gone_before_the_request_is_judged() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Refs"),
            ("x-refs", "person"),
            ("x_refs", "other"),
            ("x-original-url", "/isee/other"),
            ("x-rewrite-url", "/isee/other"),
            ("x-http-method", "DELETE"),
            ("x-http-method-override", "DELETE"),
            ("x-method-override", "DELETE"),
            ("visto-entry", "e30="),
        ] {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        clean(&mut headers);
        let left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["visto-entry"]);
    }
}
