// SPDX-License-Identifier: BSD-3-Clause
//! The HTTP client: any node takes any request, so a node that does not answer is passed over.
//!
//! Entries are sent again with the same bytes after 429, 503, 504 and broken connections: the ledger knows the id and answers with the
//! same receipt, so that nothing is written twice and nothing acknowledged is lost.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use reqwest::{
    Method, RequestBuilder, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER},
};
use serde::{Serialize, de::DeserializeOwned};
use wire::{
    admin::{Cluster, Root},
    consent::{ConsentPage, ConsentSearch},
    entry::{Accepted, Entry, LineOutcome},
    household::{Composition, CompositionQuery},
    problem::{Problem, TYPE_PREFIX},
    pseudonym::{EvaluationRequest, Evaluations},
    search::{AccessSearch, EntryPage},
};

use crate::error::Error;

mod audit;
mod export;

pub use export::ExportForm;

/// A client of one ledger's nodes. Cheap to share behind a reference; connections are kept.
#[derive(Debug)]
pub struct Client {
    urls: Vec<String>,
    /// Which node to ask next: the one that answered last.
    current: AtomicUsize,
    http: reqwest::Client,
    patience: Duration,
    /// Stands after the path of a search.
    consistency: &'static str,
}

/// When a submission is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Durable on a majority of the nodes; the receipt follows later.
    Committed,
    /// Under a checkpoint that a majority of the nodes cosigned: the answer carries the receipt.
    Published,
}

/// What became of one entry of a batch.
#[derive(Debug)]
pub enum Outcome {
    /// It has an index.
    Accepted(Accepted),
    /// It was refused for good; the same bytes will be refused again.
    Refused(Box<Problem>),
    /// Nothing is known of it yet, or the ledger took nothing: send the same bytes again.
    Open(Error),
}

impl Client {
    /// A client that asks these nodes (`http://host:port`, no trailing slash needed), the first one first.
    ///
    /// `patience` is how long a request may take, all its attempts together.
    ///
    /// # Errors
    /// [`Error::Setup`] where no URL is given or one has no http or https scheme.
    pub fn new(urls: &[String], patience: Duration) -> Result<Client, Error> {
        if urls.is_empty() {
            return Err(Error::Setup("no node's URL is given".to_owned()));
        }
        let urls: Vec<String> = urls
            .iter()
            .map(|url| url.trim_end_matches('/').to_owned())
            .collect();
        if let Some(url) = urls
            .iter()
            .find(|url| !url.starts_with("http://") && !url.starts_with("https://"))
        {
            return Err(Error::Setup(format!(
                "{url}: not an http:// or https:// URL"
            )));
        }
        // Whoever comes second finds one installed, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ATTEMPT_TIMEOUT.min(patience))
            // What is asked names persons: it goes to the nodes that were named, and nowhere that one of them points to.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("visto-client/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::Setup(error.to_string()))?;
        Ok(Client {
            urls,
            current: AtomicUsize::new(0),
            http,
            patience,
            consistency: "",
        })
    }

    /// The same client, whose searches see everything that was acknowledged anywhere before they were asked; they cost a round between the
    /// nodes. Without it a search answers from what the asked node has, and names that tree size.
    #[must_use]
    pub fn linearizable(mut self) -> Client {
        self.consistency = "?consistency=linearizable";
        self
    }

    /// Submits one entry, a line as [`ledger::entry::SubmittedEntry::to_wire`] writes it.
    ///
    /// # Errors
    /// [`Error::Problem`] where it was refused; [`Error::Unreachable`] and [`Error::Unknown`] after all patience.
    pub async fn submit(&self, line: &str, until: Until) -> Result<Accepted, Error> {
        self.persist(true, |url| async move {
            let request = self
                .http
                .post(format!("{url}/v1/entries{}", until.query()))
                .header(CONTENT_TYPE, "application/json");
            read_json(send(request.body(line.to_owned())).await?).await
        })
        .await
    }

    /// Submits up to 1 000 entries, in one request if they are not too long for it; the answers stand in the order of the lines.
    ///
    /// Lines whose outcome is open are sent again until all are settled or patience ends; what is then still open is [`Outcome::Open`].
    pub async fn submit_batch(&self, lines: &[String], until: Until) -> Vec<Outcome> {
        let deadline = Instant::now() + self.patience;
        let mut outcomes: Vec<Option<Outcome>> = lines.iter().map(|_| None).collect();
        let mut stalled = 0;
        loop {
            let open: Vec<usize> = outcomes
                .iter()
                .enumerate()
                .filter(|(_, outcome)| is_open(outcome.as_ref()))
                .map(|(place, _)| place)
                .collect();
            if open.is_empty() || (stalled > 0 && Instant::now() >= deadline) {
                break;
            }
            if stalled > 0 {
                self.pause(stalled, None, deadline).await;
            }
            let mut body = String::new();
            let mut sent = Vec::new();
            for place in open {
                let line = lines.get(place).map_or("", String::as_str);
                if !sent.is_empty() && body.len() + line.len() >= BATCH_BYTES {
                    break;
                }
                body.push_str(line);
                body.push('\n');
                sent.push(place);
            }
            let answer = self.batch_once(body, until).await;
            let mut settled = false;
            match answer {
                Ok(answers) => {
                    for answer in answers {
                        let place = usize::try_from(answer.line)
                            .ok()
                            .and_then(|line| sent.get(line.checked_sub(1)?));
                        if let Some(outcome) = place.and_then(|place| outcomes.get_mut(*place)) {
                            *outcome = Some(settle(answer));
                            settled |= !is_open(outcome.as_ref());
                        }
                    }
                }
                Err(Attempt::Final(Error::Problem(problem))) => {
                    settled = true;
                    for place in sent {
                        if let Some(outcome) = outcomes.get_mut(place) {
                            *outcome = Some(Outcome::Refused(problem.clone()));
                        }
                    }
                }
                Err(Attempt::Final(_) | Attempt::Again { .. }) => self.turn_away(),
            }
            stalled = if settled { 0 } else { stalled + 1 };
        }
        outcomes
            .into_iter()
            .map(|outcome| {
                outcome.unwrap_or_else(|| {
                    Outcome::Open(Error::Unknown("no answer for this line".to_owned()))
                })
            })
            .collect()
    }

    /// Who saw whose data.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn search_accesses(
        &self,
        token: &str,
        search: &AccessSearch,
    ) -> Result<EntryPage, Error> {
        self.post("/v1/accesses/search", token, search).await
    }

    /// Consents of a person, with their status at a time.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn search_consents(
        &self,
        token: &str,
        search: &ConsentSearch,
    ) -> Result<ConsentPage, Error> {
        self.post("/v1/consents/search", token, search).await
    }

    /// Who belonged to a household at a time.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn composition(
        &self,
        token: &str,
        query: &CompositionQuery,
    ) -> Result<Composition, Error> {
        self.post("/v1/households/composition", token, query).await
    }

    /// Blinded codes, evaluated; not to be believed before its proof was checked ([`crate::pseudonym`]). The token is that of a reader in the
    /// role `institution`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn evaluate(
        &self,
        token: &str,
        request: &EvaluationRequest,
    ) -> Result<Evaluations, Error> {
        self.post("/v1/pseudonyms/evaluations", token, request)
            .await
    }

    /// One entry, with what the reader may see of it.
    ///
    /// # Errors
    /// [`Error`]; an entry that is not there and one that the reader may not see are the same 404.
    pub async fn entry(&self, token: &str, index: u64) -> Result<Entry, Error> {
        self.persist(false, |url| async move {
            let request = self.http.get(format!("{url}/v1/entries/{index}"));
            read_json(send(authorised(request, Some(token))).await?).await
        })
        .await
    }

    /// The receipt of an entry, as text; verify it before believing it ([`crate::receipt`]). The token is that of a reader who may see
    /// the entry; what the governance and the nodes wrote needs none.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn receipt(&self, index: u64, token: Option<&str>) -> Result<String, Error> {
        self.text(&format!("/v1/entries/{index}/receipt"), token)
            .await
    }

    /// The newest published checkpoint (a signed note).
    ///
    /// # Errors
    /// [`Error`].
    pub async fn checkpoint(&self) -> Result<String, Error> {
        self.text("/checkpoint", None).await
    }

    /// Any other document of the API, as text.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn text(&self, path: &str, token: Option<&str>) -> Result<String, Error> {
        self.persist(false, |url| async move {
            let request = authorised(self.http.get(format!("{url}{path}")), token);
            let response = send(request).await?;
            response.text().await.map_err(|error| again(&error))
        })
        .await
    }

    /// The cluster as the node at this URL sees it. Asks that node alone, once.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn cluster_at(&self, url: &str, token: Option<&str>) -> Result<Cluster, Error> {
        self.once(url, "/admin/v1/cluster", token).await
    }

    /// The root that the node at this URL computes at a tree size. Asks that node alone, once.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn root_at(&self, url: &str, token: Option<&str>, size: u64) -> Result<Root, Error> {
        self.once(url, &format!("/admin/v1/cluster/roots?size={size}"), token)
            .await
    }

    /// The nodes' URLs.
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    async fn batch_once(&self, body: String, until: Until) -> Result<Vec<LineOutcome>, Attempt> {
        let request = self
            .http
            .request(
                Method::POST,
                format!("{}/v1/entries{}", self.url(), until.query()),
            )
            .header(CONTENT_TYPE, "application/x-ndjson");
        let text = send(request.body(body))
            .await?
            .text()
            .await
            .map_err(|error| again(&error))?;
        // A connection that broke midway leaves a last line without its end: what came before it still holds.
        Ok(text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect())
    }

    async fn post<A: DeserializeOwned>(
        &self,
        path: &str,
        token: &str,
        body: &impl Serialize,
    ) -> Result<A, Error> {
        self.persist(false, |url| async move {
            let request = authorised(
                self.http.post(format!("{url}{path}{}", self.consistency)),
                Some(token),
            );
            read_json(send(request.json(body)).await?).await
        })
        .await
    }

    async fn once<A: DeserializeOwned>(
        &self,
        url: &str,
        path: &str,
        token: Option<&str>,
    ) -> Result<A, Error> {
        let request = authorised(
            self.http
                .get(format!("{}{path}", url.trim_end_matches('/'))),
            token,
        );
        let answer = match send(request).await {
            Ok(response) => read_json(response).await,
            Err(attempt) => Err(attempt),
        };
        answer.map_err(|attempt| attempt.into_error(false))
    }

    /// Tries until an answer is final or patience ends, another node each time. Of what does not write, no outcome is ever unknown.
    ///
    /// Not an `AsyncFn` of a borrowed URL: its future could not be sent to another thread, and with it none of this client's.
    async fn persist<A, F: Future<Output = Result<A, Attempt>>>(
        &self,
        writes: bool,
        try_once: impl Fn(String) -> F,
    ) -> Result<A, Error> {
        let deadline = Instant::now() + self.patience;
        let mut maybe_written = false;
        for attempt in 1.. {
            let failed = match try_once(self.url().to_owned()).await {
                Ok(answer) => return Ok(answer),
                Err(Attempt::Final(error)) => return Err(error),
                Err(again) => again,
            };
            let retry_after = match &failed {
                Attempt::Again {
                    sent, retry_after, ..
                } => {
                    maybe_written |= writes && *sent;
                    *retry_after
                }
                Attempt::Final(_) => None,
            };
            self.turn_away();
            if Instant::now() >= deadline {
                return Err(failed.into_error(maybe_written));
            }
            self.pause(attempt, retry_after, deadline).await;
        }
        Err(Error::Answer("attempts ran out"))
    }

    /// The node that is asked next, or was asked last.
    pub(crate) fn url(&self) -> &str {
        let current = self.current.load(Ordering::Relaxed);
        self.urls
            .get(current % self.urls.len().max(1))
            .map_or("", String::as_str)
    }

    /// How often another node was turned to.
    pub(crate) fn turns(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    /// Asks another node next.
    pub(crate) fn turn_away(&self) {
        self.current.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits before the next attempt: what the server asked for, else longer each round over all nodes.
    async fn pause(&self, attempt: u32, retry_after: Option<Duration>, deadline: Instant) {
        let nodes = u32::try_from(self.urls.len()).unwrap_or(1).max(1);
        let round = (attempt / nodes).min(5);
        let wait = retry_after
            .unwrap_or(PAUSE_FIRST * 2_u32.pow(round))
            .min(PAUSE_MAX);
        let left = deadline.saturating_duration_since(Instant::now());
        tokio::time::sleep(wait.min(left)).await;
    }
}

impl Until {
    fn query(self) -> &'static str {
        match self {
            Until::Committed => "?until=committed",
            Until::Published => "",
        }
    }
}

/// Why one attempt did not give the answer.
enum Attempt {
    /// Another attempt would end the same way.
    Final(Error),
    /// Another attempt, or another node, may end otherwise.
    Again {
        error: Error,
        sent: bool,
        retry_after: Option<Duration>,
    },
}

impl Attempt {
    fn into_error(self, maybe_written: bool) -> Error {
        match self {
            Attempt::Final(error) => error,
            Attempt::Again {
                error: Error::Problem(problem),
                ..
            } if !maybe_written => Error::Problem(problem),
            Attempt::Again { error, .. } if maybe_written => Error::Unknown(error.to_string()),
            Attempt::Again { error, .. } => error,
        }
    }
}

fn authorised(request: RequestBuilder, token: Option<&str>) -> RequestBuilder {
    match token {
        Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
        None => request,
    }
}

/// Sends a request; anything but a 2xx is an [`Attempt`].
async fn send(request: RequestBuilder) -> Result<Response, Attempt> {
    let response = request.send().await.map_err(|error| again(&error))?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    let problem: Problem = response
        .json()
        .await
        .unwrap_or_else(|_| plain_problem(status));
    let error = Error::Problem(Box::new(problem));
    Err(match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE => Attempt::Again {
            error,
            sent: false,
            retry_after,
        },
        // A node that fails may have written first; another one can tell.
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::GATEWAY_TIMEOUT => Attempt::Again {
            error,
            sent: true,
            retry_after,
        },
        _ => Attempt::Final(error),
    })
}

async fn read_json<A: DeserializeOwned>(response: Response) -> Result<A, Attempt> {
    let bytes = response.bytes().await.map_err(|error| again(&error))?;
    serde_json::from_slice(&bytes)
        .map_err(|_| Attempt::Final(Error::Answer("not the JSON that the interface promises")))
}

/// A broken connection. Only where it never stood is it certain that nothing was written.
fn again(error: &reqwest::Error) -> Attempt {
    let sent = !error.is_connect();
    let text = if error.is_timeout() {
        "timed out"
    } else if sent {
        "connection broken"
    } else {
        "cannot connect"
    };
    Attempt::Again {
        error: Error::Unreachable(text.to_owned()),
        sent,
        retry_after: None,
    }
}

fn is_open(outcome: Option<&Outcome>) -> bool {
    !matches!(outcome, Some(Outcome::Accepted(_) | Outcome::Refused(_)))
}

fn settle(answer: LineOutcome) -> Outcome {
    match (answer.accepted, answer.problem) {
        (Some(accepted), _) => Outcome::Accepted(accepted),
        (None, Some(problem)) if matches!(answer.status, 429 | 500..) => {
            Outcome::Open(Error::Problem(Box::new(problem)))
        }
        (None, Some(problem)) => Outcome::Refused(Box::new(problem)),
        (None, None) => Outcome::Open(Error::Answer("a line with neither result nor problem")),
    }
}

fn plain_problem(status: StatusCode) -> Problem {
    Problem {
        kind: format!("{TYPE_PREFIX}http-{}", status.as_u16()),
        title: format!("HTTP status {}", status.as_u16()),
        status: status.as_u16(),
        detail: None,
        instance: None,
        remedy: None,
        errors: Vec::new(),
    }
}

/// Longest body of a batch, below what a server takes (16 MiB): what is longer goes in several requests.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// One attempt: longer than a server waits for a quorum, so that its own answer comes first.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

mod sides;

#[cfg(test)]
mod tests;
