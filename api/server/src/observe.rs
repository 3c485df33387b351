// SPDX-License-Identifier: EUPL-1.2
//! Around every request: an id, the client's rate, the access log, metrics, and the headers that every answer has.

use std::{net::IpAddr, sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use parking_lot::Mutex;
use uuid::Uuid;

use crate::{
    app::App,
    limits::{Quota, client_prefix},
    listener::ClientAddress,
    problem::{Fault, ProblemCode, REQUEST_ID},
};

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const REQUEST: HeaderName = HeaderName::from_static("request-id");

/// What a handler learns about its request on the way; ends in the answer's headers and the access log.
#[derive(Clone, Default)]
pub struct Notes(Arc<Mutex<Noted>>);

#[derive(Clone, Default)]
struct Noted {
    client: Option<IpAddr>,
    consumer: Option<String>,
    quota: Option<Quota>,
}

impl Notes {
    /// Notes on a request of this client.
    pub fn of(client: Option<IpAddr>) -> Notes {
        let notes = Notes::default();
        notes.0.lock().client = client;
        notes
    }

    /// Whose rate the request counts for; none if no listener brought it.
    pub fn client(&self) -> Option<IpAddr> {
        self.0.lock().client.map(client_prefix)
    }

    /// The institution that asks, once it is known.
    pub fn consumer(&self, institution: &str) {
        self.0.lock().consumer = Some(institution.to_owned());
    }

    /// What a client may still do; the tightest is told.
    pub fn quota(&self, quota: Quota) {
        let mut noted = self.0.lock();
        if noted
            .quota
            .is_none_or(|known| quota.remaining < known.remaining)
        {
            noted.quota = Some(quota);
        }
    }
}

/// Wraps every route.
pub async fn around(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = Uuid::now_v7().to_string();
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unmatched", MatchedPath::as_str)
        .to_owned();
    let client = request
        .extensions()
        .get::<ClientAddress>()
        .map(|ClientAddress(address)| address.ip());
    let notes = Notes::of(client);
    request.extensions_mut().insert(notes.clone());

    // A request that no listener brought (a test's) has no address to limit.
    let limited = notes
        .client()
        .map(|prefix| app.clients.take(prefix, 1, started));
    let mut response = REQUEST_ID
        .scope(id.clone(), async {
            match limited {
                Some(Err(fast)) => {
                    notes.quota(fast.quota);
                    Fault::TooFast(fast).into_response()
                }
                Some(Ok(quota)) => {
                    notes.quota(quota);
                    next.run(request).await
                }
                None => next.run(request).await,
            }
        })
        .await;

    let noted = notes.0.lock().clone();
    let status = response.status();
    let problem = response
        .extensions()
        .get::<ProblemCode>()
        .map_or("", |code| code.0);
    dress(response.headers_mut(), &id, noted.quota);
    let elapsed = started.elapsed();
    tracing::info!(
        target: "access",
        request_id = %id,
        method = %method,
        uri = %route,
        status = status.as_u16(),
        outcome = if problem.is_empty() { "ok" } else { problem },
        client = client.map(tracing::field::display),
        consumer = noted.consumer.as_deref(),
        duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        "request"
    );
    let labels = [
        ("method", method_label(&method).to_owned()),
        ("route", route),
        ("status", status.as_str().to_owned()),
    ];
    metrics::counter!("visto_http_requests_total", &labels).increment(1);
    let [method, route, _] = labels;
    metrics::histogram!("visto_http_request_seconds", &[method, route])
        .record(elapsed.as_secs_f64());
    response
}

/// A client may invent methods; the metrics know a fixed set.
fn method_label(method: &axum::http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

fn dress(headers: &mut HeaderMap, id: &str, quota: Option<Quota>) {
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST, id);
    }
    let quota = quota.unwrap_or(Quota {
        limit: 1,
        remaining: 1,
        reset_seconds: 0,
    });
    headers.insert(LIMIT, quota.limit.into());
    headers.insert(REMAINING, quota.remaining.into());
    headers.insert(RESET, quota.reset_seconds.into());
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    // Answers are personal or change with the ledger, unless their route says otherwise.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
}
