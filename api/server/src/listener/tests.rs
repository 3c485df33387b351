// SPDX-License-Identifier: EUPL-1.2
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use axum::{Extension, routing::get};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::BodyExt;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    task::JoinHandle,
};

use super::*;

struct Bench {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
    /// `/slow` answers when it is told to.
    go_on: Arc<Notify>,
    /// `/slow` tells that it has begun.
    begun: Arc<Notify>,
    /// `/long` gives out so many pieces.
    pieces: Arc<Semaphore>,
    /// `/endless` tells that nobody waits for it any more.
    ended: Arc<Notify>,
}

/// Pieces of `/long`.
const PIECES: usize = 12;
const HEAD: Duration = Duration::from_millis(200);
const IDLE: Duration = Duration::from_millis(400);

/// Tells when it is dropped.
struct Tells(Arc<Notify>);

impl Drop for Tells {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Bench {
    async fn start(connections_max: usize) -> Bench {
        Bench::start_with(connections_max, None, IDLE).await
    }

    async fn start_with(connections_max: usize, tls: Option<TlsAcceptor>, idle: Duration) -> Bench {
        let (go_on, begun) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (waits, tells) = (Arc::clone(&go_on), Arc::clone(&begun));
        let (pieces, ended) = (Arc::new(Semaphore::new(0)), Arc::new(Notify::new()));
        let (given_out, told) = (Arc::clone(&pieces), Arc::clone(&ended));
        let router = Router::new()
            .route(
                "/who",
                get(
                    |Extension(ClientAddress(address)): Extension<ClientAddress>| async move {
                        address.ip().to_string()
                    },
                ),
            )
            .route(
                "/slow",
                get(move || async move {
                    tells.notify_one();
                    waits.notified().await;
                    "done"
                }),
            )
            .route(
                "/long",
                get(move || async move {
                    let piece = move |_| {
                        let given_out = Arc::clone(&given_out);
                        async move {
                            let permit = given_out.acquire_owned().await;
                            permit.map(|permit| {
                                permit.forget();
                                "piece"
                            })
                        }
                    };
                    Body::from_stream(stream::iter(0..PIECES).then(piece))
                }),
            )
            .route(
                "/endless",
                get(move || async move {
                    let told = Tells(Arc::clone(&told));
                    let piece = Bytes::from(vec![b'x'; 64 * 1024]);
                    Body::from_stream(stream::repeat_with(move || {
                        let _kept = &told;
                        Ok::<_, std::convert::Infallible>(piece.clone())
                    }))
                }),
            );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let timers = Timers {
            connections_max,
            head: HEAD,
            idle,
            drain: Duration::from_secs(20),
            head_bytes: HEAD_BYTES,
        };
        let running = tokio::spawn(run(listener, router, tls, timers, stopped));
        Bench {
            address,
            stop,
            running,
            go_on,
            begun,
            pieces,
            ended,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// Everything that the server sends until it closes; a server that never does fails the test.
async fn until_closed(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let read = timeout(Duration::from_secs(30), stream.read_to_end(&mut text)).await;
    // A reset is a way to close, too.
    let _closed = read.expect("the connection stays open");
    String::from_utf8_lossy(&text).into_owned()
}

/// One answer of the keep-alive connection.
async fn answer(stream: &mut TcpStream, ends_with: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(ends_with) {
        let mut piece = [0; 1024];
        let read = timeout(Duration::from_secs(30), stream.read(&mut piece));
        let length = read.await.expect("no answer").unwrap();
        assert!(length > 0, "closed after {text:?}");
        text.push_str(&String::from_utf8_lossy(piece.get(..length).unwrap()));
    }
    text
}

const WHO: &[u8] = b"GET /who HTTP/1.1\r\nHost: x\r\n\r\n";
const SLOW: &[u8] = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn clients_are_known_by_address_and_kept_alive() {
    let bench = Bench::start(8).await;
    let mut stream = bench.connect().await;
    for _ in 0..3 {
        stream.write_all(WHO).await.unwrap();
        let text = answer(&mut stream, "127.0.0.1").await;
        assert!(text.starts_with("HTTP/1.1 200"));
    }
    assert_eq!(until_closed(&mut stream).await, "", "idle");
}

#[tokio::test]
async fn silence_and_half_a_head_are_cut() {
    let bench = Bench::start(8).await;
    let mut silent = bench.connect().await;
    assert_eq!(until_closed(&mut silent).await, "");
    let mut half = bench.connect().await;
    half.write_all(b"GET /who HTT").await.unwrap();
    let text = until_closed(&mut half).await;
    assert!(!text.contains("200"), "{text}");
}

#[tokio::test]
async fn a_slow_answer_is_no_silence() {
    let bench = Bench::start(8).await;
    let mut slow = bench.connect().await;
    slow.write_all(SLOW).await.unwrap();
    bench.begun.notified().await;
    // Another connection lives and dies of idleness while this one waits.
    let mut other = bench.connect().await;
    other.write_all(WHO).await.unwrap();
    assert!(until_closed(&mut other).await.ends_with("127.0.0.1"));
    bench.go_on.notify_one();
    answer(&mut slow, "done").await;
}

#[tokio::test]
async fn a_long_body_is_no_silence() {
    // Ten times as long as one waits here between two pieces.
    let idle = HEAD * 10;
    let bench = Bench::start_with(8, None, idle).await;
    let mut long = bench.connect().await;
    let begun = Instant::now();
    long.write_all(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    for _ in 0..PIECES {
        // A connection that says nothing lives as long as a head may take.
        assert_eq!(until_closed(&mut bench.connect().await).await, "");
        bench.pieces.add_permits(1);
    }
    let text = answer(&mut long, "0\r\n\r\n").await;
    assert_eq!(text.matches("piece").count(), PIECES);
    assert!(begun.elapsed() > idle + HEAD, "it did not last");
}

#[tokio::test]
async fn who_takes_nothing_more_of_a_body_is_cut() {
    let bench = Bench::start(8).await;
    let mut stalled = bench.connect().await;
    stalled
        .write_all(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut begins = [0; 12];
    stalled.read_exact(&mut begins).await.unwrap();
    assert_eq!(&begins, b"HTTP/1.1 200");
    timeout(Duration::from_secs(30), bench.ended.notified())
        .await
        .expect("the body still waits to be taken");
}

#[tokio::test]
async fn a_long_frame_is_given_out_in_pieces_and_whole() {
    let whole: Vec<u8> = (0..1_000_000_u32).map(|at| at as u8).collect();
    let mut body = Pieces::new(Body::from(whole.clone()), Activity::new());
    let mut given_out = Vec::new();
    while !hyper::body::Body::is_end_stream(&body) {
        let left = hyper::body::Body::size_hint(&body).exact();
        assert_eq!(left, Some((whole.len() - given_out.len()) as u64));
        let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!((1..=256 * 1024).contains(&piece.len()));
        given_out.extend(piece);
    }
    assert!(given_out == whole);
}

#[tokio::test]
async fn connections_beyond_the_cap_wait() {
    let bench = Bench::start(1).await;
    let mut first = bench.connect().await;
    first.write_all(SLOW).await.unwrap();
    bench.begun.notified().await;
    let mut second = bench.connect().await;
    second.write_all(WHO).await.unwrap();
    let mut piece = [0; 16];
    let early = timeout(Duration::from_millis(300), second.read(&mut piece)).await;
    assert!(early.is_err(), "the second is answered beside the first");
    bench.go_on.notify_one();
    answer(&mut first, "done").await;
    drop(first);
    answer(&mut second, "127.0.0.1").await;
}

#[tokio::test]
async fn a_stop_lets_open_requests_end() {
    let bench = Bench::start(8).await;
    let mut slow = bench.connect().await;
    slow.write_all(SLOW).await.unwrap();
    bench.begun.notified().await;
    bench.stop.send_replace(true);
    bench.go_on.notify_one();
    assert!(until_closed(&mut slow).await.ends_with("done"));
    timeout(Duration::from_secs(30), bench.running)
        .await
        .expect("the listener goes on")
        .unwrap();
    assert!(TcpStream::connect(bench.address).await.is_err());
}

#[test]
fn no_client_gets_all_connections() {
    let clients = Clients::new(4);
    let (one, other) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
    let places: Vec<_> = (0..4).filter_map(|_| clients.enter(one)).collect();
    assert_eq!(places.len(), 3);
    assert!(clients.enter(one).is_none());
    let _place = clients.enter(other).unwrap();
    drop(places);
    assert!(clients.enter(one).is_some());
    assert_eq!(clients.open.lock().len(), 1, "who is gone is forgotten");
    assert!(Clients::new(1).enter(one).is_some());
}

#[tokio::test]
async fn with_a_certificate_it_speaks_tls_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    cluster::certs::write(
        folder.path(),
        "ledger.visto.test",
        &[ledger::id::NodeNumber(1)],
    )
    .unwrap();
    let files = folder.path().join("node-1");
    let acceptor = crate::tls::acceptor(&files.join("peer.pem"), &files.join("peer.key")).unwrap();
    let bench = Bench::start_with(8, Some(acceptor), IDLE).await;

    let mut plain = bench.connect().await;
    plain.write_all(WHO).await.unwrap();
    let text = until_closed(&mut plain).await;
    assert!(!text.contains("HTTP"), "{text}");
    let mut silent = bench.connect().await;
    assert_eq!(until_closed(&mut silent).await, "");

    let mut roots = rustls::RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(files.join("peer-ca.pem")).unwrap();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("node-1.ledger.visto.test").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let mut stream = connector
        .connect(name, bench.connect().await)
        .await
        .unwrap();
    stream.write_all(WHO).await.unwrap();
    let mut text = vec![0; 12];
    timeout(Duration::from_secs(30), stream.read_exact(&mut text))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(text, b"HTTP/1.1 200");
    assert!(crate::tls::acceptor(&files.join("peer.pem"), &files.join("none")).is_err());
    assert!(crate::tls::acceptor(&files.join("peer.key"), &files.join("peer.key")).is_err());
}
