// SPDX-License-Identifier: EUPL-1.2
//! Calls peers: a few connections per peer (see [`Lane`]), many calls at a time on each, every call with a deadline.
//!
//! A link is one task that owns the connection: it connects when there is something to send, reconnects after a pause that grows, and
//! tells each caller what is known of its call. A peer that hangs, or is gone, holds up nobody but the callers that want it.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use ledger::id::NodeNumber;
use parking_lot::{Mutex, RwLock};
use rustls::pki_types::ServerName;
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::{
    codec::{FramedRead, FramedWrite},
    sync::CancellationToken,
};

use super::{
    frame::{self, Call, ClusterId, Denial, Head, Lane, Method},
    tls::Identity,
    writer::write,
};
use crate::certs::peer_name;

/// The way to all peers. Clones share the links.
#[derive(Clone)]
pub(crate) struct Peers(Arc<Inner>);

struct Inner {
    identity: Arc<Identity>,
    cluster: ClusterId,
    addresses: Arc<Addresses>,
    links: Mutex<BTreeMap<(NodeNumber, Lane), LinkQueue>>,
    call_id: AtomicU64,
    stop: CancellationToken,
}

impl Peers {
    /// No connection is made before the first call.
    pub(crate) fn new(
        identity: Arc<Identity>,
        cluster: ClusterId,
        addresses: Arc<Addresses>,
        stop: CancellationToken,
    ) -> Peers {
        let (links, call_id) = (Mutex::default(), AtomicU64::new(1));
        Peers(Arc::new(Inner {
            identity,
            cluster,
            addresses,
            links,
            call_id,
            stop,
        }))
    }

    /// The node that calls.
    pub(crate) fn own(&self) -> NodeNumber {
        self.0.identity.node
    }

    /// Where peers are.
    pub(crate) fn addresses(&self) -> &Addresses {
        &self.0.addresses
    }

    /// One call. The error says whether the peer may have done it.
    pub(crate) async fn call(
        &self,
        to: NodeNumber,
        method: Method,
        body: &[u8],
        time: Duration,
    ) -> Result<Bytes, CallError> {
        if to == self.own() {
            return Err(CallError::Unreachable(
                "a node does not call itself".to_owned(),
            ));
        }
        let until = Instant::now() + time;
        let id = self.0.call_id.fetch_add(1, Ordering::Relaxed);
        let call = Call {
            id,
            cluster: self.0.cluster.clone(),
            from: self.own().0,
            to: to.0,
            method,
            ttl_ms: u32::try_from(time.as_millis()).unwrap_or(u32::MAX),
        };
        let bytes = frame::encode(&Head::Call(call), body).map_err(|_| CallError::TooLarge)?;
        let (reply, answer) = oneshot::channel();
        let queued = timeout_at(
            until,
            self.link(to, method.lane())
                .queue(id, method, bytes, until, reply),
        );
        match queued.await {
            Ok(Some(())) => {}
            Ok(None) => {
                return Err(CallError::Unreachable(
                    "this node is shutting down".to_owned(),
                ));
            }
            Err(_) => return Err(CallError::Unreachable("too much waits for it".to_owned())),
        }
        match timeout_at(until, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(CallError::Lost),
            Err(_) => Err(CallError::Late),
        }
    }

    fn link(&self, to: NodeNumber, lane: Lane) -> LinkQueue {
        let mut links = self.0.links.lock();
        let link = links.entry((to, lane)).or_insert_with(|| {
            let (sender, queue) = mpsc::channel(QUEUE_CALLS_MAX);
            let link = Link {
                to,
                identity: self.0.identity.clone(),
                addresses: self.0.addresses.clone(),
                stop: self.0.stop.clone(),
            };
            tokio::spawn(link.run(queue));
            LinkQueue {
                sender,
                room: Arc::new(Semaphore::new(QUEUE_KIB_MAX)),
            }
        });
        link.clone()
    }
}

/// Where each peer listens, `host:port`. What the operator configured wins over what the registry says.
pub(crate) struct Addresses {
    configured: BTreeMap<NodeNumber, String>,
    registered: RwLock<BTreeMap<NodeNumber, String>>,
}

impl Addresses {
    pub(crate) fn new(configured: BTreeMap<NodeNumber, String>) -> Addresses {
        Addresses {
            configured,
            registered: RwLock::default(),
        }
    }

    /// Takes over the registry's newest word.
    pub(crate) fn register(&self, registered: BTreeMap<NodeNumber, String>) {
        *self.registered.write() = registered;
    }

    /// Whether the operator's configuration names the node.
    pub(crate) fn configures(&self, node: NodeNumber) -> bool {
        self.configured.contains_key(&node)
    }

    fn of(&self, node: NodeNumber) -> Option<String> {
        self.configured
            .get(&node)
            .cloned()
            .or_else(|| self.registered.read().get(&node).cloned())
    }
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// Never left this node: the peer certainly did nothing.
    #[error("peer cannot be reached: {0}")]
    Unreachable(String),
    /// Never left this node.
    #[error("the call is too large for one frame")]
    TooLarge,
    /// The peer answered that it will not.
    #[error("peer denies the call: {0}")]
    Denied(Denial),
    /// The connection broke after the call was sent: the peer may have done it.
    #[error("the connection broke before the answer came")]
    Lost,
    /// No answer in time: the peer may have done it, or do it yet.
    #[error("no answer in time")]
    Late,
    /// The peer answered bytes that are no answer to this.
    #[error("the answer cannot be read")]
    Garbled,
}

impl CallError {
    /// Whether the peer certainly did not do what it was asked.
    pub(crate) fn surely_undone(&self) -> bool {
        match self {
            CallError::Unreachable(_) | CallError::TooLarge => true,
            CallError::Denied(denial) => !matches!(denial, Denial::Failed(_) | Denial::Late),
            CallError::Lost | CallError::Late | CallError::Garbled => false,
        }
    }
}

/// The way into a link's task, bounded in calls and in bytes: what waits for a hung peer must not fill the memory.
#[derive(Clone)]
struct LinkQueue {
    sender: mpsc::Sender<Outgoing>,
    room: Arc<Semaphore>,
}

impl LinkQueue {
    /// Waits for room; `None` when the link has ended.
    async fn queue(
        self,
        id: u64,
        method: Method,
        bytes: Bytes,
        until: Instant,
        reply: oneshot::Sender<Result<Bytes, CallError>>,
    ) -> Option<()> {
        let kib = u32::try_from(bytes.len() / 1024 + 1).unwrap_or(u32::MAX);
        let room = self.room.acquire_many_owned(kib).await.ok()?;
        self.sender
            .send(Outgoing {
                id,
                method,
                bytes,
                until,
                reply,
                _room: room,
            })
            .await
            .ok()
    }
}

struct Outgoing {
    id: u64,
    method: Method,
    bytes: Bytes,
    until: Instant,
    reply: oneshot::Sender<Result<Bytes, CallError>>,
    _room: OwnedSemaphorePermit,
}

impl Outgoing {
    fn is_stale(&self) -> bool {
        self.reply.is_closed() || self.until <= Instant::now()
    }

    /// Its frame, and from then on it waits for the answer; none if its caller no longer does.
    fn sent(self, waiting: &Waiting) -> Option<Bytes> {
        if self.is_stale() {
            return None;
        }
        let mut waiting = waiting.lock();
        waiting.silent_since.get_or_insert_with(Instant::now);
        waiting.replies.insert(self.id, self.reply);
        Some(self.bytes)
    }
}

struct Link {
    to: NodeNumber,
    identity: Arc<Identity>,
    addresses: Arc<Addresses>,
    stop: CancellationToken,
}

impl Link {
    async fn run(self, mut queue: mpsc::Receiver<Outgoing>) {
        let stop = self.stop.clone();
        stop.run_until_cancelled_owned(async move {
            let mut pause = PAUSE_MIN;
            let mut down: Option<(Instant, String)> = None;
            while let Some(first) = queue.recv().await {
                if first.is_stale() {
                    continue;
                }
                if let Some((until, reason)) = &down
                    && Instant::now() < *until
                {
                    let _ = first
                        .reply
                        .send(Err(CallError::Unreachable(reason.clone())));
                    continue;
                }
                match timeout(CONNECT_TIME, self.connect()).await {
                    Ok(Ok(stream)) => {
                        (pause, down) = (PAUSE_MIN, None);
                        Connection::new(stream).drive(first, &mut queue).await;
                    }
                    failed => {
                        let reason = match failed {
                            Ok(Err(error)) => error.to_string(),
                            _ => "connecting took too long".to_owned(),
                        };
                        tracing::debug!(peer = self.to.0, reason, "peer cannot be reached");
                        let _ = first
                            .reply
                            .send(Err(CallError::Unreachable(reason.clone())));
                        down = Some((Instant::now() + pause, reason));
                        pause = (pause * 2).min(PAUSE_MAX);
                    }
                }
            }
        })
        .await;
    }

    /// rustls checks that the peer's certificate is of our CA and names the node that we want: another node behind this address, even
    /// of the same cluster, ends the handshake.
    async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let address = self
            .addresses
            .of(self.to)
            .ok_or_else(|| io::Error::other("its address is not known"))?;
        let name = peer_name(&self.identity.ledger, self.to)
            .ok_or_else(|| io::Error::other("it has no name"))?;
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        TlsConnector::from(self.identity.client.clone())
            .connect(name, stream)
            .await
    }
}

/// One live connection and the calls on it.
struct Connection {
    stream: TlsStream<TcpStream>,
    waiting: Waiting,
}

type Waiting = Arc<Mutex<WaitingCalls>>;

#[derive(Default)]
struct WaitingCalls {
    replies: HashMap<u64, oneshot::Sender<Result<Bytes, CallError>>>,
    /// When the oldest call since the peer was last heard was sent.
    silent_since: Option<Instant>,
}

impl Connection {
    fn new(stream: TlsStream<TcpStream>) -> Connection {
        Connection {
            stream,
            waiting: Waiting::default(),
        }
    }

    /// Sends from the queue and hands out answers, until the connection breaks or the peer falls silent.
    async fn drive(self, first: Outgoing, queue: &mut mpsc::Receiver<Outgoing>) {
        let (reader, writer) = tokio::io::split(self.stream);
        let sink = FramedWrite::new(writer, frame::codec());
        let ended = tokio::select! {
            ended = read(FramedRead::new(reader, frame::codec()), &self.waiting) => ended,
            ended = write(sink, Some(first), queue, |outgoing| outgoing.method, |outgoing| outgoing.sent(&self.waiting)) => ended,
            ended = watch(&self.waiting) => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "connection to peer ended");
        }
        // Sent and unanswered: whether the peer did them is not known.
        for (_, reply) in self.waiting.lock().replies.drain() {
            let _ = reply.send(Err(CallError::Lost));
        }
    }
}

async fn read(
    mut frames: impl Stream<Item = io::Result<BytesMut>> + Unpin,
    waiting: &Waiting,
) -> io::Result<()> {
    while let Some(bytes) = frames.next().await {
        let Some((Head::Answer { id, result }, body)) = frame::decode(bytes?.freeze()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not an answer"));
        };
        let mut waiting = waiting.lock();
        waiting.silent_since = None;
        // Absent when its caller gave up: a late answer is nobody's.
        if let Some(reply) = waiting.replies.remove(&id) {
            let _ = reply.send(result.map(|()| body).map_err(CallError::Denied));
        }
    }
    Ok(())
}

/// Ends a connection on which the peer owes answers and says nothing: a half-open one looks just so.
async fn watch(waiting: &Waiting) -> io::Result<()> {
    loop {
        tokio::time::sleep(WATCH_PERIOD).await;
        let mut waiting = waiting.lock();
        waiting.replies.retain(|_, reply| !reply.is_closed());
        if waiting
            .silent_since
            .is_some_and(|since| since.elapsed() > SILENCE_MAX)
        {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the peer is silent",
            ));
        }
    }
}

const QUEUE_CALLS_MAX: usize = 256;
/// Holds the largest frame, and some.
const QUEUE_KIB_MAX: usize = 32 * 1024;
const CONNECT_TIME: Duration = Duration::from_secs(3);
const WATCH_PERIOD: Duration = Duration::from_secs(1);
/// Clocks are exchanged every second, heartbeats more often, and no chunk of a snapshot takes so long: a live peer is never silent for it.
const SILENCE_MAX: Duration = Duration::from_secs(10);
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(1000);
