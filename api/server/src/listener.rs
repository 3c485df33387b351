// SPDX-License-Identifier: EUPL-1.2
//! The public listener: our own accept loop, because `axum::serve` sets no timer and no cap.
//!
//! A connection is closed when its TLS handshake, its request head or its silence takes too long; while all permits are taken nothing is
//! accepted and the kernel's backlog waits. Bodies of requests have a deadline of their own, see [`crate::body`]; an answer may take as long
//! as its client goes on taking it ([`pieces`]).

use std::{
    collections::HashMap,
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, http::Response};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{Semaphore, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;
use tower::Service;

use crate::limits::client_prefix;

mod pieces;

use pieces::Pieces;

/// Address of the client of a request, as the listener saw it.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub SocketAddr);

/// Caps and timers of the listener.
#[derive(Clone, Copy, Debug)]
pub struct Timers {
    /// Most connections at a time.
    pub connections_max: usize,
    /// Longest TLS handshake, and longest time until a request head is complete.
    pub head: Duration,
    /// Longest silence: between requests, and between two pieces of an answer that the client takes.
    pub idle: Duration,
    /// How long open requests may go on after shutdown was asked.
    pub drain: Duration,
    /// Longest head of a request, in bytes.
    pub head_bytes: usize,
}

/// Longest head of a request that a node takes, in bytes: tokens are short, and what names persons stands in bodies.
pub const HEAD_BYTES: usize = 16 * 1024;

/// Accepts connections and serves `router` on them until `shutdown` turns true; then stops accepting, lets open requests end, and returns.
pub async fn run(
    listener: TcpListener,
    router: Router,
    tls: Option<TlsAcceptor>,
    timers: Timers,
    mut shutdown: watch::Receiver<bool>,
) {
    let permits = Arc::new(Semaphore::new(timers.connections_max));
    let clients = Clients::new(timers.connections_max);
    loop {
        let permit = tokio::select! {
            biased;
            _ = shutdown.wait_for(|asked| *asked) => break,
            permit = Arc::clone(&permits).acquire_owned() => permit,
        };
        let Ok(permit) = permit else { break };
        let accepted = tokio::select! {
            biased;
            _ = shutdown.wait_for(|asked| *asked) => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or the client is gone already: neither is a reason to stop, but the first would spin.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Some(place) = clients.enter(client_prefix(address.ip())) else {
            tracing::debug!("a client has as many connections as one may have");
            continue;
        };
        let (router, tls, shutdown) = (router.clone(), tls.clone(), shutdown.clone());
        tokio::spawn(async move {
            // A small answer must not wait for more bytes to fill a segment.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "cannot set TCP_NODELAY");
            }
            match tls {
                None => connection(stream, address, router, timers, shutdown).await,
                Some(tls) => match timeout(timers.head, tls.accept(stream)).await {
                    Ok(Ok(stream)) => connection(stream, address, router, timers, shutdown).await,
                    Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
                    Err(_) => tracing::debug!("TLS handshake took too long"),
                },
            }
            drop((permit, place));
        });
    }
    drop(listener);
    // Each connection holds a permit; having them all means that the last one has ended.
    let all = u32::try_from(timers.connections_max).unwrap_or(u32::MAX);
    if timeout(timers.drain, permits.acquire_many(all))
        .await
        .is_err()
    {
        tracing::warn!("connections are cut, they did not end in time");
    }
}

/// Connections by client: no single one gets all of them.
#[derive(Clone)]
struct Clients {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    each_max: usize,
}

impl Clients {
    /// One client may hold three quarters of all connections, so that a proxy in front is not in need.
    fn new(connections_max: usize) -> Clients {
        Clients {
            open: Arc::default(),
            each_max: connections_max - connections_max / 4,
        }
    }

    fn enter(&self, client: IpAddr) -> Option<Place> {
        let mut open = self.open.lock();
        let count = open.entry(client).or_default();
        if *count >= self.each_max {
            return None;
        }
        *count += 1;
        Some(Place {
            clients: self.clone(),
            client,
        })
    }
}

/// A connection of a client, until it is dropped.
struct Place {
    clients: Clients,
    client: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.clients.open.lock();
        if let Some(count) = open.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.client);
            }
        }
    }
}

/// How busy a connection is, for its idle timer.
struct Activity {
    start: Instant,
    in_flight: AtomicUsize,
    requests: AtomicUsize,
    last_ms: AtomicU64,
}

impl Activity {
    fn new() -> Arc<Activity> {
        Arc::new(Activity {
            start: Instant::now(),
            in_flight: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            last_ms: AtomicU64::new(0),
        })
    }

    fn touch(&self) {
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(elapsed, Ordering::Relaxed);
    }

    /// When the silence is too long, as things stand.
    fn deadline(&self, timers: &Timers, closing: bool) -> Instant {
        // hyper's own timer starts with the first byte of a head; this one covers a client that sends none at all.
        let silence = if closing || self.requests.load(Ordering::Relaxed) == 0 {
            timers.head
        } else {
            timers.idle
        };
        self.start + Duration::from_millis(self.last_ms.load(Ordering::Relaxed)) + silence
    }
}

/// Counts a request as in flight until its answer is made, even if the request is dropped half-way. From then on the client is to take it.
struct InFlight(Arc<Activity>);

impl InFlight {
    fn new(activity: &Arc<Activity>) -> InFlight {
        activity.in_flight.fetch_add(1, Ordering::Relaxed);
        activity.requests.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(activity))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.touch();
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    address: SocketAddr,
    router: Router,
    timers: Timers,
    mut shutdown: watch::Receiver<bool>,
) {
    let activity = Activity::new();
    let service = hyper::service::service_fn({
        let activity = Arc::clone(&activity);
        move |request: hyper::Request<Incoming>| answer(request, address, router.clone(), &activity)
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(timers.head)
        // Heads and the first of a body share it.
        .max_buf_size(timers.head_bytes.saturating_mul(2).max(64 * 1024));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(128)
        .max_header_list_size(u32::try_from(timers.head_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(timers.idle)
        .keep_alive_timeout(timers.head);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut closing = false;
    loop {
        let deadline = activity.deadline(&timers, closing);
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended with an error");
                }
                return;
            }
            () = sleep_until(deadline) => {
                // What came meanwhile has moved it; after the first request a longer silence is allowed than before.
                if activity.in_flight.load(Ordering::Relaxed) > 0 {
                    activity.touch();
                } else if activity.deadline(&timers, closing) <= Instant::now() {
                    if closing {
                        return;
                    }
                    closing = true;
                    activity.touch();
                    connection.as_mut().graceful_shutdown();
                }
            }
            _ = shutdown.wait_for(|asked| *asked), if !closing => {
                closing = true;
                activity.touch();
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

fn answer(
    request: hyper::Request<Incoming>,
    address: SocketAddr,
    mut router: Router,
    activity: &Arc<Activity>,
) -> impl Future<Output = Result<Response<Pieces>, std::convert::Infallible>> + use<> {
    let in_flight = InFlight::new(activity);
    let mut request: Request = request.map(Body::new);
    request.extensions_mut().insert(ClientAddress(address));
    let answer = router.call(request);
    let activity = Arc::clone(activity);
    async move {
        let answer = answer.await;
        drop(in_flight);
        answer.map(|answer| answer.map(|body| Pieces::new(body, activity)))
    }
}

#[cfg(test)]
mod tests;
