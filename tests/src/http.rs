// SPDX-License-Identifier: EUPL-1.2
//! Plain HTTP to a node, without the client library's retries: a test wants to see each answer.

use std::time::Duration;

use reqwest::{Client, Method, header::HeaderMap};
use serde_json::Value;

use crate::history::Outcome;

/// How long one request may take before its outcome counts as unknown.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// One answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body as text.
    pub text: String,
    /// Body as it came.
    pub bytes: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub struct NoAnswer {
    /// The connection was refused: the request certainly reached nobody.
    pub refused: bool,
    /// In words.
    pub text: String,
}

impl Answer {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// A header's value, empty if absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The code of a problem document: the last segment of its `type`.
    pub fn problem(&self) -> String {
        let body = self.json();
        body["type"]
            .as_str()
            .and_then(|kind| kind.rsplit('/').next())
            .unwrap_or_default()
            .to_owned()
    }
}

/// A client. One per test: it lives and dies with the test's own runtime.
#[derive(Clone)]
pub struct Http(Client);

impl Default for Http {
    fn default() -> Http {
        // Whoever comes second finds one installed, which is as good.
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        Http(
            Client::builder()
                .timeout(REQUEST_TIMEOUT)
                .no_proxy()
                .build()
                .expect("an HTTP client"),
        )
    }
}

impl Http {
    /// Sends a request.
    ///
    /// # Errors
    /// Where no whole answer came.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        token: Option<&str>,
        body: Option<(&str, String)>,
    ) -> Result<Answer, NoAnswer> {
        let mut request = self.0.request(method, url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some((media_type, body)) = body {
            request = request.header("content-type", media_type).body(body);
        }
        answer_to(request).await
    }

    /// A request with any headers.
    ///
    /// # Errors
    /// As [`Http::send`].
    pub async fn with_headers(
        &self,
        method: Method,
        url: &str,
        token: &str,
        headers: HeaderMap,
        body: String,
    ) -> Result<Answer, NoAnswer> {
        let request = self.0.request(method, url).bearer_auth(token);
        answer_to(request.headers(headers).body(body)).await
    }

    /// A GET.
    ///
    /// # Errors
    /// As [`Http::send`].
    pub async fn get(&self, url: &str, token: Option<&str>) -> Result<Answer, NoAnswer> {
        self.send(Method::GET, url, token, None).await
    }

    /// A POST of JSON.
    ///
    /// # Errors
    /// As [`Http::send`].
    pub async fn post(
        &self,
        url: &str,
        token: Option<&str>,
        body: &Value,
    ) -> Result<Answer, NoAnswer> {
        self.send(
            Method::POST,
            url,
            token,
            Some(("application/json", body.to_string())),
        )
        .await
    }
}

async fn answer_to(request: reqwest::RequestBuilder) -> Result<Answer, NoAnswer> {
    let no_answer = |error: reqwest::Error| NoAnswer {
        refused: error.is_connect(),
        text: error.to_string(),
    };
    let response = request.send().await.map_err(no_answer)?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.bytes().await.map_err(|error| NoAnswer {
        refused: false,
        text: error.to_string(),
    })?;
    Ok(Answer {
        status,
        headers,
        text: String::from_utf8_lossy(&bytes).into_owned(),
        bytes: bytes.to_vec(),
    })
}

/// What an answer to a submission says of the entry.
pub fn outcome(answer: &Result<Answer, NoAnswer>) -> Outcome {
    match answer {
        Ok(answer) => match answer.status {
            200..=202 => {
                let body = answer.json();
                match (body["index"].as_u64(), body["leafHash"].as_str()) {
                    (Some(index), Some(leaf_hash)) => Outcome::Accepted {
                        index,
                        leaf_hash: leaf_hash.into(),
                    },
                    _ => Outcome::Unknown,
                }
            }
            503 | 429 => Outcome::NotWritten,
            400..=499 => Outcome::Refused,
            _ => Outcome::Unknown,
        },
        Err(no_answer) if no_answer.refused => Outcome::NotWritten,
        Err(_) => Outcome::Unknown,
    }
}
