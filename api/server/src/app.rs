// SPDX-License-Identifier: EUPL-1.2
//! What every request shares: the node, the limits, the recorder of readings; and how a request finds out who asks and which state it reads.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use axum::http::{HeaderMap, header};
use cluster::{ErrorKind, Node, Published, View};
use ledger::{admission::LedgerInfo, id::InstitutionId};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    auth::{self, Reader},
    body::Budget,
    config::{Limits, Timeouts},
    export::places::Places,
    limits::Buckets,
    observe::Notes,
    problem::{Fault, RequestFault, TokenFault},
    pseudonyms::Pseudonyms,
    release::Recorder,
    routes::submit::Payers,
};

/// What every request shares.
pub struct App {
    /// The node, the one way to the ledger.
    pub node: Node,
    /// Name and shard of the ledger.
    pub info: LedgerInfo,
    /// Writes `read` entries.
    pub recorder: Recorder,
    /// Memory and time for bodies.
    pub bodies: Budget,
    /// Rate by client address.
    pub clients: Buckets<IpAddr>,
    /// Rate by institution.
    pub institutions: Buckets<InstitutionId>,
    /// Whom the keys that sign belong to.
    pub payers: Payers,
    /// Evaluates pseudonyms, with the keys that it was given.
    pub pseudonyms: Pseudonyms,
    /// Searches under way.
    searches: Arc<Semaphore>,
    /// Large submissions that are parsed.
    parsing: Arc<Semaphore>,
    /// Exports, and other answers in files, that are made or sent.
    pub exports: Places,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// Renders the metrics, if they are recorded.
    pub metrics: Option<PrometheusHandle>,
}

impl App {
    /// The application over a node.
    pub fn new(
        node: Node,
        info: LedgerInfo,
        limits: Limits,
        timeouts: Timeouts,
        metrics: Option<PrometheusHandle>,
    ) -> App {
        App {
            node,
            info,
            recorder: Recorder::new(timeouts.submit),
            bodies: Budget::new(limits.body_memory_mib, timeouts.body),
            clients: Buckets::new(limits.requests_per_second, limits.requests_burst),
            institutions: Buckets::new(limits.entries_per_second, limits.entries_burst),
            payers: Payers::default(),
            pseudonyms: Pseudonyms::new(Vec::new(), &limits),
            searches: Arc::new(Semaphore::new(2 * cores())),
            parsing: Arc::new(Semaphore::new(cores())),
            exports: Places::new(timeouts.submit),
            timeouts,
            metrics,
        }
    }

    /// The state that a query reads: this node's own (it names its tree size), or, on `consistency=linearizable`, one that holds all that was
    /// acknowledged before the query came.
    ///
    /// # Errors
    /// No quorum confirmed the state.
    pub async fn view(&self, consistency: &Consistency) -> Result<View, Fault> {
        match consistency.consistency.as_deref() {
            None | Some("local") => Ok(self.node.view()?),
            Some("linearizable") => self
                .node
                .linearizable(self.timeouts.submit)
                .await
                .map_err(Fault::from),
            Some(_) => {
                Err(RequestFault::Member("consistency".to_owned(), "local or linearizable").into())
            }
        }
    }

    /// Who asks, by the token in `Authorization`. The institution's rate is charged.
    ///
    /// # Errors
    /// No token, a token that lets nobody in, or an institution that asks too fast.
    pub fn reader(&self, headers: &HeaderMap, view: &View, notes: &Notes) -> Result<Reader, Fault> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(TokenFault::Missing.into());
        };
        let token = value
            .to_str()
            .ok()
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or(TokenFault::Missing)?;
        let reader = auth::verify(token, &self.info.name, now_ms() / 1000, view.size(), view)?;
        notes.consumer(reader.institution().as_str());
        self.charge(reader.institution(), 1, notes)?;
        Ok(reader)
    }

    /// Charges an institution's rate.
    ///
    /// # Errors
    /// It is too fast.
    pub fn charge(
        &self,
        institution: &InstitutionId,
        cost: u32,
        notes: &Notes,
    ) -> Result<(), Fault> {
        match self
            .institutions
            .take(institution.clone(), cost, Instant::now())
        {
            Ok(quota) => {
                notes.quota(quota);
                Ok(())
            }
            Err(fast) => {
                notes.quota(fast.quota);
                Err(Fault::TooFast(fast))
            }
        }
    }

    /// Gives back what was charged for entries that cost nothing new.
    pub fn give_back(&self, institution: &InstitutionId, cost: u32) {
        self.institutions
            .give_back(institution.clone(), cost, Instant::now());
    }

    /// Charges a client for lines of a batch that made work and no entry: garbage, and what was accepted before. Nobody needs a key to send those.
    pub fn charge_client(&self, cost: u32, notes: &Notes) {
        if let Some(client) = notes.client().filter(|_| cost > 0) {
            notes.quota(self.clients.drain(client, cost, Instant::now()));
        }
    }

    /// Runs a search off the async threads, a few at a time, and charges the institution for the rows that it looked at.
    ///
    /// # Errors
    /// Those of the search; `overloaded` if others are before it for too long.
    pub async fn search<T: Send + 'static>(
        &self,
        reader: &Reader,
        work: impl FnOnce() -> Result<(T, usize), Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let (found, rows) = self.in_turn(&self.searches, work).await?;
        let cost = u32::try_from(rows / ROWS_PER_TOKEN).unwrap_or(u32::MAX);
        self.institutions
            .drain(reader.institution().clone(), cost, Instant::now());
        Ok(found)
    }

    /// Parses what may be large off the async threads, as many at a time as there are cores: what is parsed takes more memory than what was
    /// sent, and nobody knows yet who sent it.
    ///
    /// # Errors
    /// Those of the work; `overloaded` if others are before it for too long.
    pub async fn parse<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        self.in_turn(&self.parsing, work).await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        places: &Arc<Semaphore>,
        work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let waiting = Arc::clone(places).acquire_owned();
        let permit = timeout(self.timeouts.submit, waiting)
            .await
            .map_err(|_| Fault::Overloaded)?
            .map_err(|_| Fault::ShuttingDown)?;
        blocking(move || {
            // Held by the work itself: whoever asked may be gone while it still runs.
            let _permit = permit;
            work()
        })
        .await
    }

    /// The newest published checkpoint.
    ///
    /// # Errors
    /// `not-found` before the first.
    pub fn published(&self) -> Result<Arc<Published>, Fault> {
        self.node.published().ok_or(Fault::NotFound)
    }
}

/// Rows that a search may look at for one token of its institution's rate; looking at one costs about as much as verifying a signature.
const ROWS_PER_TOKEN: usize = 4;

/// Searches read and parse: more of them at once than twice this would only take the submissions' time.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs work that reads the store or verifies signatures off the async threads.
///
/// # Errors
/// Those of the work; `internal` if it panicked.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(Fault::internal)?
}

/// How fresh an answer must be.
#[derive(Clone, Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Consistency {
    /// `local` (the default): the answering node's own state, which names its tree size. `linearizable`: all that was acknowledged before.
    #[param(example = "local")]
    pub consistency: Option<String>,
}

/// Milliseconds since the epoch, by this machine's clock. For tokens and default times only: what is recorded is stamped by the leader.
pub fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// An error of the node: no quorum is told as such, everything else is inside.
impl From<cluster::Error> for Fault {
    fn from(error: cluster::Error) -> Fault {
        match error.kind() {
            ErrorKind::NoQuorum => Fault::NoQuorum,
            ErrorKind::ShuttingDown => Fault::ShuttingDown,
            ErrorKind::Corrupt
            | ErrorKind::Io
            | ErrorKind::Config
            | ErrorKind::Raft
            | ErrorKind::Diverged => Fault::internal(error),
        }
    }
}
