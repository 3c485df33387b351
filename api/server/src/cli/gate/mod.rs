// SPDX-License-Identifier: EUPL-1.2
//! `visto gate`: a reverse proxy that a provider puts before an e-service. The gate itself is [`client::gate`]; here are the ways in and out.
//!
//! Consumers call the one listener, operators the other: `/livez`, `/readyz`, `/metrics`. A request with no route in the table goes nowhere.

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::get,
};
use client::{
    gate::{
        Check, Gate, GateLayer, Gated, Reason, Rules, keys::Keys, refusal, transport, used::Used,
    },
    http::Client,
    keyfile,
    outbox::{self, Bounds, KeptReceipt, Outbox, sender},
};
use ledger::{
    id::{InstitutionId, KeyId},
    policy::PolicySet,
};
use server::{
    listener::{self, Timers},
    problem::Fault,
    tls,
};
use tokio::{net::TcpListener, sync::watch, time::Instant};
use tower::{Layer, ServiceExt};

use super::{
    exit::{Exit, Failure},
    now_ms,
    output::{self, Output},
    serve::stop_asked,
};

mod callers;
mod config;
mod facts;
mod forward;
mod metrics;
mod pseudonyms;

use config::Config;
use facts::Table;
use forward::Forward;

/// Stand before an e-service: let only calls through whose access is on record, and put the provider's side on record.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// TOML file: ledger, nodes, policy, provider, key, data, [http], [upstream], [callers], [[routes]].
    #[arg(long, env = "VISTO_GATE_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// Run nothing: show how many entries wait in the outbox, and which ones the ledger refused. May be asked while the gate runs.
    #[arg(long, conflicts_with = "receipts")]
    show: bool,
    /// Run nothing: list the receipts that are kept, oldest day first. May be asked while the gate runs.
    #[arg(long)]
    receipts: bool,
    /// Also stop when stdin ends, so that the gate ends with its parent.
    #[arg(long, conflicts_with_all = ["show", "receipts"])]
    stop_with_stdin: bool,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let config = Config::load(&arguments.config)?;
    if arguments.show {
        return show(&config, output);
    }
    if arguments.receipts {
        return receipts(&config, output);
    }
    server::logging::init(config.log.json, &config.log.level).map_err(Failure::usage)?;
    let stop = stop_asked(arguments.stop_with_stdin)?;
    let parts = Parts::open(config)?;
    parts.run(stop).await
}

/// What one request needs to go on.
#[derive(Clone)]
struct Entrance {
    gate: Arc<Gate>,
    table: Table,
    forward: Forward,
    gated: Gated<Forward>,
}

/// The gate of one configuration, not running yet.
struct Parts {
    config: Config,
    entrance: Entrance,
    keys: Arc<Keys>,
    policies: Arc<PolicySet>,
    own_key: KeyId,
}

impl Parts {
    fn open(config: Config) -> Result<Parts, Failure> {
        let policies = std::fs::read(&config.policy)
            .map_err(|error| error.to_string())
            .and_then(|text| PolicySet::parse(&text).map_err(|error| error.to_string()))
            .map_err(|error| Failure::usage(format!("{}: {error}", config.policy.display())))?;
        let policies = Arc::new(policies);
        let key = keyfile::read(&config.key).map_err(Failure::usage)?;
        let own_key = key.key_id();
        let rules = Rules {
            window_ms: config.rules.window_s.saturating_mul(1000),
            skew_ms: config.rules.skew_s.saturating_mul(1000),
            allowed: config.findings()?,
            emergencies: config.rules.emergencies,
            ..Rules::new(&config.ledger, &config.provider()?)
        };
        let table = config.table()?;
        let forward = Forward::new(&config, table.clone())?;
        let callers = callers::Known::new(&config.callers)?;
        let folder = &config.data;
        let bounds = Bounds {
            bytes_max: config.limits.outbox_bytes,
            receipt_days: config.limits.receipt_days,
            ..Bounds::default()
        };
        let outbox = Outbox::open(&folder.join("outbox"), bounds).map_err(Failure::failed)?;
        let used = Used::open(&folder.join("used")).map_err(Failure::failed)?;
        let max_age = Duration::from_secs(config.rules.keys_max_age_s);
        let keys = Keys::open(&folder.join("keys.json"), &config.ledger, max_age);
        let keys = Arc::new(keys.map_err(Failure::usage)?);
        let check = Check::new(rules, Arc::clone(&policies), Arc::clone(&keys));
        let gate = Gate::new(check, callers, table.clone(), used, outbox, key)
            .with_key_fetch(key_fetch(&config, &keys)?);
        let gate = Arc::new(gate);
        let layer = GateLayer::new(Arc::clone(&gate), config.limits.request_bytes);
        let gated = layer.layer(forward.clone());
        let entrance = Entrance {
            gate,
            table,
            forward,
            gated,
        };
        Ok(Parts {
            config,
            entrance,
            keys,
            policies,
            own_key,
        })
    }

    async fn run(self, shutdown: impl Future<Output = ()>) -> Result<Exit, Failure> {
        let config = &self.config;
        let acceptor = match (&config.http.tls_certificate, &config.http.tls_key) {
            (Some(certificate), Some(key)) => {
                Some(tls::acceptor(certificate, key).map_err(Failure::usage)?)
            }
            _ => None,
        };
        let public = bind(config.http.listen).await?;
        let admin = bind(config.http.admin).await?;
        let (stop, stopped) = watch::channel(false);
        let timers = Timers {
            connections_max: config.limits.connections,
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            drain: Duration::from_secs(30),
            head_bytes: transport::HEAD_BYTES,
        };
        let entrance = self.entrance.clone();
        let router = Router::new().fallback(enter).with_state(entrance);
        let serving = listener::run(public, router, acceptor, timers, stopped.clone());
        let serving = tokio::spawn(serving);
        let router = metrics::router(Arc::clone(&self.entrance.gate), Arc::clone(&self.keys));
        let asked = tokio::spawn(listener::run(admin, router, None, timers, stopped.clone()));
        let refreshing = tokio::spawn(refresh(
            Arc::clone(&self.keys),
            self.client(REFRESH_PATIENCE)?,
            (self.own_key, config.provider()?),
            Duration::from_secs(config.rules.keys_refresh_s.max(1)),
            stopped.clone(),
        ));
        let (stop_sending, sending_stopped) = watch::channel(false);
        let outbox = Arc::clone(self.entrance.gate.outbox());
        let pace = sender::Pace {
            longest: Duration::from_secs(config.limits.retry_s.max(1)),
            ..sender::Pace::default()
        };
        let mut sending = tokio::spawn(sender::run(
            Arc::clone(&outbox),
            self.client(SEND_PATIENCE)?,
            Arc::clone(&self.policies),
            pace,
            sending_stopped,
        ));
        tracing::info!(listen = %config.http.listen, admin = %config.http.admin, "the gate stands");
        let failed = tokio::select! {
            () = shutdown => None,
            ended = &mut sending => Some(ended),
        };
        // Open calls first: their sides still come into the outbox. Then what waits gets a moment; the rest is sent after the next start.
        stop.send_replace(true);
        let _ = tokio::join!(serving, asked, refreshing);
        if failed.is_none() {
            let deadline = Instant::now() + LAST_SENDS;
            while outbox.standing(0).waiting > 0 && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            stop_sending.send_replace(true);
            let _ = sending.await;
        }
        match failed {
            None | Some(Ok(Ok(()))) => Ok(Exit::Ok),
            Some(Ok(Err(error))) => Err(Failure::failed(error)),
            Some(Err(error)) => Err(Failure::failed(error)),
        }
    }

    fn client(&self, patience: Duration) -> Result<Client, Failure> {
        client_of(&self.config, patience)
    }
}

/// Open routes pass, covered ones go through the gate, others go nowhere.
async fn enter(State(entrance): State<Entrance>, mut request: Request) -> Response {
    forward::clean(request.headers_mut());
    let open = entrance
        .table
        .find(request.method(), request.uri())
        .map(|row| row.route.open);
    match open {
        None => refusal::<Body>(entrance.gate.refuse(Reason::NoRoute)),
        Some(true) => entrance.forward.stream(request).await,
        Some(false) => match entrance.gated.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
    }
}

/// Keeps the copy of the registry young, and tells of what a person must look at.
async fn refresh(
    keys: Arc<Keys>,
    client: Client,
    own: (KeyId, InstitutionId),
    every: Duration,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let refreshed = tokio::select! {
            biased;
            _ = stop.wait_for(|asked| *asked) => return,
            refreshed = keys.refresh(&client, now_ms()) => refreshed,
        };
        let pause = match refreshed {
            Ok(()) => {
                let registered = keys.find(&own.0).map(|key| key.institution);
                if registered.as_ref() != Some(&own.1) {
                    tracing::error!(
                        "the gate's own key is not a registered entry key of the provider: the ledger will refuse our side"
                    );
                }
                every
            }
            Err(error) => {
                tracing::warn!(%error, "the registry's keys could not be read; the copy goes on ageing");
                every.min(Duration::from_secs(5))
            }
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|asked| *asked) => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Asks the ledger for a key that is not known yet, at most once a second: strangers must not make the gate ask for each of theirs.
fn key_fetch(config: &Config, keys: &Arc<Keys>) -> Result<client::gate::KeyFetch, Failure> {
    let client = Arc::new(client_of(config, Duration::from_secs(2))?);
    let keys = Arc::clone(keys);
    let last = Arc::new(tokio::sync::Mutex::new(None::<Instant>));
    Ok(Box::new(move |id| {
        let (client, keys, last) = (Arc::clone(&client), Arc::clone(&keys), Arc::clone(&last));
        Box::pin(async move {
            if keys.find(&id).is_some() {
                return true;
            }
            // Whoever comes while another asks does not wait.
            let Ok(mut last) = last.try_lock() else {
                return false;
            };
            if last.is_some_and(|at| at.elapsed() < Duration::from_secs(1)) {
                return false;
            }
            *last = Some(Instant::now());
            keys.fetch_one(&client, &id).await.is_ok() && keys.find(&id).is_some()
        })
    }))
}

fn client_of(config: &Config, patience: Duration) -> Result<Client, Failure> {
    Client::new(&config.nodes, patience).map_err(Failure::of_client)
}

async fn bind(address: std::net::SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .map_err(|error| Failure::failed(format!("cannot listen on {address}: {error}")))
}

/// What stands in the outbox's folder. Of the refused, nothing personal.
fn show(config: &Config, output: Output) -> Result<Exit, Failure> {
    let (waiting, refused) =
        outbox::peek(&config.data.join("outbox")).map_err(Failure::cannot_check)?;
    let refused: Vec<serde_json::Value> = refused
        .into_iter()
        .map(|it| {
            let at = ledger::time::format_timestamp(it.at_ms);
            serde_json::json!({"id": it.id, "code": it.code, "at": at})
        })
        .collect();
    let shown = serde_json::json!({"waiting": waiting, "refused": refused});
    output::one(output, &shown, |shown| {
        let mut lines = vec![format!("{waiting} entries wait for the ledger")];
        for it in shown
            .get("refused")
            .and_then(|it| it.as_array())
            .into_iter()
            .flatten()
        {
            let text = |name| it.get(name).and_then(|it| it.as_str()).unwrap_or_default();
            lines.push(format!(
                "refused: {} at {} ({})",
                text("id"),
                text("at"),
                text("code")
            ));
        }
        lines.join("\n")
    })?;
    Ok(Exit::Ok)
}

/// Kept receipts as they are read: there may be more than memory holds. For persons without their text.
fn receipts(config: &Config, output: Output) -> Result<Exit, Failure> {
    let mut told = Ok(());
    let mut list = Vec::new();
    let each = |it: KeptReceipt| {
        let accepted = ledger::time::format_timestamp(it.accepted_at_ms);
        let shown = serde_json::json!({
            "id": it.id, "index": it.index, "acceptedAt": accepted, "receipt": it.receipt,
        });
        match output {
            Output::Json => list.push(shown),
            _ if told.is_err() => (),
            _ => {
                told = output::one(output, &shown, |_| {
                    format!("{accepted}  {:>10}  {}", it.index, it.id)
                });
            }
        }
    };
    outbox::receipts(&config.data.join("outbox"), each).map_err(Failure::cannot_check)?;
    told?;
    if output == Output::Json {
        output::one(output, &list, |_| String::new())?;
    }
    Ok(Exit::Ok)
}

const REFRESH_PATIENCE: Duration = Duration::from_secs(20);
const SEND_PATIENCE: Duration = Duration::from_secs(10);
/// How long a gate that stops waits for its outbox to get empty.
const LAST_SENDS: Duration = Duration::from_secs(3);
