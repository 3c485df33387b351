// SPDX-License-Identifier: EUPL-1.2
//! From a configuration to a running node, and its orderly end.

use std::{
    collections::BTreeMap,
    future::Future,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use cluster::{Clock, ErrorKind, Node, NodeKeys, PeerTls};
use ledger::{
    admission::LedgerInfo,
    body::{Body, Content},
    entry::SubmittedEntry,
    id::NodeNumber,
    oprf::OprfSecretKey,
    refusal::Refused,
};
use tokio::{net::TcpListener, sync::watch};

use crate::{
    app::App, config::ServeConfig, due, listener, monitoring, oprf_key, pseudonyms::Pseudonyms,
    routes, tls,
};

/// Why a node did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("{}: {cause}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A key file cannot be used.
    #[error("{}: {cause}", file.display())]
    Key {
        /// Which.
        file: PathBuf,
        /// Why; never its content.
        cause: String,
    },
    /// The genesis file holds no genesis entry.
    #[error("{}: {refused}", file.display())]
    Genesis {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        refused: Refused,
    },
    /// A sealed key of pseudonyms cannot be used.
    #[error(transparent)]
    Oprf(#[from] oprf_key::Error),
    /// A listener cannot be bound.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Certificate or key of the public listener.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The configuration contradicts itself or what is stored: a key may be another's.
    #[error("{cause} (keys.node {}, keys.cosign {}, keys.log {}, data {})",
        keys.node.display(), keys.cosign.display(), keys.log.display(), data.display())]
    Config {
        /// What does not fit.
        #[source]
        cause: cluster::Error,
        /// The key files that were read.
        keys: Box<crate::config::Keys>,
        /// The folder that was opened.
        data: PathBuf,
    },
    /// The node did not open, or had to stop.
    #[error(transparent)]
    Node(#[from] cluster::Error),
    /// The description of the API cannot be written.
    #[error("the description of the API cannot be written")]
    Description,
}

/// Runs a node until `shutdown` resolves or the node must stop.
///
/// # Errors
/// Why it did not start, or why it had to stop: the process ends with it and names the cause.
pub async fn serve(
    config: ServeConfig,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    // Both listeners are bound before the database is opened: a second process of the same node fails here, at once.
    let listener = bind(config.http.listen).await?;
    let peer_listener =
        std::net::TcpListener::bind(config.peer.listen).map_err(|cause| Error::Listen {
            address: config.peer.listen,
            cause,
        })?;
    let acceptor = match &config.http.tls {
        Some((certificate, key)) => Some(tls::acceptor(certificate, key)?),
        None => None,
    };
    let (genesis, info) = genesis(&config.genesis)?;
    let pseudonyms = Pseudonyms::new(oprf_keys(&config)?, &config.limits);
    let recorder = monitoring::recorder();
    let node = Node::open(cluster::Config {
        data: config.data.clone(),
        node: NodeNumber(config.node),
        ledger: info.name.clone(),
        listen_peer: peer_listener,
        peers: peers(&config),
        tls: PeerTls {
            ca: config.peer.ca.clone(),
            cert: config.peer.certificate.clone(),
            key: config.peer.key.clone(),
        },
        keys: NodeKeys {
            node: key(&config.keys.node)?,
            cosign: key(&config.keys.cosign)?,
            log: log_keys(&config)?,
        },
        genesis,
        tuning: config.tuning.clone(),
    })
    .await
    .map_err(|cause| match cause.kind() {
        ErrorKind::Config => Error::Config {
            cause,
            keys: Box::new(config.keys.clone()),
            data: config.data.clone(),
        },
        _ => Error::Node(cause),
    })?;
    let mut app = App::new(
        node.clone(),
        info,
        config.limits,
        config.timeouts,
        recorder.clone(),
    );
    app.pseudonyms = pseudonyms;
    let app = Arc::new(app);
    let router = routes::router(app).map_err(|_| Error::Description)?;
    let (stop, stopped) = watch::channel(false);
    let timers = config.timers();
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, tls = acceptor.is_some(), node = config.node, "listening");
    }
    let clock = Clock::system();
    let releasing = tokio::spawn(due::run(node.clone(), clock, stopped.clone()));
    let upkeep = recorder.map(|it| tokio::spawn(monitoring::upkeep(it, stopped.clone())));
    let serving = tokio::spawn(listener::run(listener, router, acceptor, timers, stopped));
    let fatal = tokio::select! {
        () = shutdown => None,
        error = node.fatal() => Some(error),
    };
    stop.send_replace(true);
    // The listener ends by itself within its drain time.
    if let Err(error) = serving.await {
        tracing::error!(%error, "the listener ended badly");
    }
    releasing.abort();
    if let Some(upkeep) = upkeep {
        upkeep.abort();
    }
    node.shutdown().await;
    match fatal {
        None => Ok(()),
        Some(error) => Err(error.into()),
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address)
        .await
        .map_err(|cause| Error::Listen { address, cause })
}

fn peers(config: &ServeConfig) -> BTreeMap<NodeNumber, String> {
    config
        .peers
        .iter()
        .map(|(node, address)| (NodeNumber(*node), address.clone()))
        .collect()
}

/// The log key, and the one to come while it is rotated.
fn log_keys(config: &ServeConfig) -> Result<Vec<ledger::key::SigningKey>, Error> {
    let next = config.keys.log_next.as_ref();
    std::iter::once(&config.keys.log)
        .chain(next)
        .map(|file| key(file))
        .collect()
}

/// The keys of the pseudonyms, unsealed: into memory, and nowhere else.
fn oprf_keys(config: &ServeConfig) -> Result<Vec<OprfSecretKey>, Error> {
    let Some(oprf) = &config.oprf else {
        return Ok(Vec::new());
    };
    std::iter::once(&oprf.sealed)
        .chain(&oprf.sealed_before)
        .map(|sealed| Ok(oprf_key::unseal(sealed, &oprf.identity)?))
        .collect()
}

fn key(file: &Path) -> Result<ledger::key::SigningKey, Error> {
    client::keyfile::read(file).map_err(|cause| Error::Key {
        file: file.to_owned(),
        cause: cause.to_string(),
    })
}

/// Entry 0 and what it says about the ledger.
fn genesis(file: &Path) -> Result<(SubmittedEntry, LedgerInfo), Error> {
    let bytes = std::fs::read(file).map_err(|cause| Error::File {
        file: file.to_owned(),
        cause,
    })?;
    let refused = |refused| Error::Genesis {
        file: file.to_owned(),
        refused,
    };
    let entry = SubmittedEntry::from_wire(bytes.trim_ascii()).map_err(refused)?;
    let body = Body::parse(entry.payload(), entry.disclosures()).map_err(refused)?;
    match body.content {
        Content::Genesis(genesis) => Ok((
            entry,
            LedgerInfo {
                name: body.common.ledger,
                shard: genesis.shard,
            },
        )),
        _ => Err(refused(ledger::refusal::Refusal::Genesis.into())),
    }
}
