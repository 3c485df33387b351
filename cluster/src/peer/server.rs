// SPDX-License-Identifier: EUPL-1.2
//! Answers peers: accepts connections, takes the caller's identity from its certificate, and hands each call to a [`Service`].
//!
//! Everything is bounded: connections, handshake time, idle time, frame length, calls in flight per connection, time per call and
//! time per write. A caller that is slow or hung costs its own connection only.

use std::{future::Future, io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use ledger::id::NodeNumber;
use tokio::{
    io::{BufReader, ReadHalf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{
    codec::{FramedRead, FramedWrite, LengthDelimitedCodec},
    sync::CancellationToken,
};

use super::{
    frame::{self, Call, ClusterId, Denial, Head, Method},
    tls::{Identity, node_of},
    writer::write,
};

/// What a node does when a peer calls.
pub(crate) trait Service: Send + Sync + 'static {
    /// Whether the node is known: a member now, or named by the registry or the configuration. Asked for each call, so that a removed
    /// node loses its voice at once, though its certificate is still valid.
    fn admits(&self, from: NodeNumber) -> bool;

    /// Performs one call. Dropped when the caller's time is up, which is in `time`.
    fn serve(
        &self,
        from: NodeNumber,
        method: Method,
        body: Bytes,
        time: Duration,
    ) -> impl Future<Output = Result<Vec<u8>, Denial>> + Send;
}

/// Accepts and answers until `stop`.
pub(crate) async fn serve<S: Service>(
    listener: TcpListener,
    identity: Arc<Identity>,
    cluster: ClusterId,
    service: Arc<S>,
    stop: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(identity.server.clone());
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, mostly: waiting is all that helps.
                tracing::warn!(%error, "peer listener cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Strangers can take up handshakes, and never the places of peers that proved who they are.
        let Ok(handshake) = handshakes.clone().try_acquire_owned() else {
            metrics::counter!("visto_peer_connections_refused_total").increment(1);
            continue;
        };
        let context = Context {
            identity: identity.clone(),
            cluster: cluster.clone(),
            service: service.clone(),
            places: places.clone(),
        };
        let acceptor = acceptor.clone();
        connections.spawn(async move {
            if let Err(error) = context.connection(acceptor, stream, handshake).await {
                metrics::counter!("visto_peer_connections_failed_total").increment(1);
                tracing::debug!(%error, "peer connection ended");
            }
        });
    }
}

struct Context<S> {
    identity: Arc<Identity>,
    cluster: ClusterId,
    service: Arc<S>,
    places: Arc<Semaphore>,
}

impl<S: Service> Context<S> {
    async fn connection(
        self,
        acceptor: TlsAcceptor,
        stream: TcpStream,
        handshake: OwnedSemaphorePermit,
    ) -> io::Result<()> {
        stream.set_nodelay(true)?;
        // rustls reads 4 KiB at a time.
        let stream = BufReader::with_capacity(READ_BYTES, stream);
        let stream = timeout(HANDSHAKE_TIME, acceptor.accept(stream)).await??;
        let certificate = stream
            .get_ref()
            .1
            .peer_certificates()
            .and_then(|chain| chain.first());
        let Some(caller) =
            certificate.and_then(|certificate| node_of(certificate, &self.identity.ledger))
        else {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the certificate names no node of this ledger",
            ));
        };
        drop(handshake);
        let Ok(_place) = self.places.clone().try_acquire_owned() else {
            return Err(io::Error::other("too many connections"));
        };
        let (reader, writer) = tokio::io::split(stream);
        let (answers, mut queue) = mpsc::channel(CALLS_IN_FLIGHT_MAX);
        let sink = FramedWrite::new(writer, frame::codec());
        // Whichever ends first ends both: a writer that cannot write means that no answer arrives any more.
        tokio::select! {
            result = self.read(caller, FramedRead::new(reader, frame::codec()), answers) => result,
            result = write(sink, None, &mut queue, |(method, _)| *method, |(_, bytes)| Some(bytes)) => result,
        }
    }

    async fn read(
        &self,
        caller: NodeNumber,
        mut frames: FramedRead<ReadHalf<TlsStream<BufReader<TcpStream>>>, LengthDelimitedCodec>,
        answers: mpsc::Sender<(Method, Bytes)>,
    ) -> io::Result<()> {
        let places = Arc::new(Semaphore::new(CALLS_IN_FLIGHT_MAX));
        let room = Arc::new(Semaphore::new(IN_FLIGHT_KIB_MAX));
        // Dropping the set aborts what the caller no longer waits for.
        let mut calls = JoinSet::new();
        let mut denied = false;
        while let Some(bytes) = timeout(IDLE_TIME, frames.next()).await? {
            while calls.try_join_next().is_some() {}
            let Some((Head::Call(call), body)) = frame::decode(bytes?.freeze()) else {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "not a call"));
            };
            if let Err(denial) = self.admit(caller, &call) {
                metrics::counter!("visto_peer_calls_denied_total").increment(1);
                if !std::mem::replace(&mut denied, true) {
                    // Once per connection: a removed node may go on calling for long.
                    tracing::warn!(peer = caller.0, %denial, "peer call denied");
                }
                answer(&answers, call.method, call.id, Err(denial)).await;
                continue;
            }
            // Reading stops while too much is under way: the peer notices by its own deadlines.
            let kib = u32::try_from(body.len() / 1024 + 1).unwrap_or(u32::MAX);
            let place = places.clone().acquire_owned().await;
            let (Ok(place), Ok(room)) = (place, room.clone().acquire_many_owned(kib).await) else {
                return Ok(());
            };
            let (service, answers) = (self.service.clone(), answers.clone());
            calls.spawn(async move {
                let time = Duration::from_millis(call.ttl_ms.into()).min(CALL_TIME_MAX);
                let served = timeout(time, service.serve(caller, call.method, body, time)).await;
                answer(
                    &answers,
                    call.method,
                    call.id,
                    served.unwrap_or(Err(Denial::Late)),
                )
                .await;
                metrics::counter!("visto_peer_calls_total", "method" => call.method.name())
                    .increment(1);
                drop((place, room));
            });
        }
        Ok(())
    }

    /// Certificate, sender and cluster must tell one story, and the sender must be known.
    fn admit(&self, caller: NodeNumber, call: &Call) -> Result<(), Denial> {
        if call.cluster != self.cluster {
            return Err(Denial::OtherCluster);
        }
        if call.from != caller.0 {
            return Err(Denial::OtherSender);
        }
        if call.to != self.identity.node.0 {
            return Err(Denial::OtherRecipient);
        }
        if !self.service.admits(caller) {
            return Err(Denial::NotMember);
        }
        Ok(())
    }
}

async fn answer(
    answers: &mpsc::Sender<(Method, Bytes)>,
    method: Method,
    id: u64,
    result: Result<Vec<u8>, Denial>,
) {
    let (result, body) = match result {
        Ok(body) => (Ok(()), body),
        Err(denial) => (Err(denial), Vec::new()),
    };
    let framed = frame::encode(&Head::Answer { id, result }, &body).or_else(|error| {
        frame::encode(
            &Head::Answer {
                id,
                result: Err(Denial::Failed(error.to_string())),
            },
            &[],
        )
    });
    if let Ok(bytes) = framed {
        // Fails only when the connection is gone, and then nobody waits.
        let _ = answers.send((method, bytes)).await;
    }
}

/// All lanes from each peer of a large cluster, and some for reconnects that cross an old connection's end.
const CONNECTIONS_MAX: usize = 64;
const HANDSHAKES_MAX: usize = 64;
const READ_BYTES: usize = 64 * 1024;
const CALLS_IN_FLIGHT_MAX: usize = 128;
/// Holds the largest frame, and some.
const IN_FLIGHT_KIB_MAX: usize = 64 * 1024;
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// Peers exchange clocks every second; a connection silent for so long has lost its peer.
const IDLE_TIME: Duration = Duration::from_secs(120);
const CALL_TIME_MAX: Duration = Duration::from_secs(600);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
