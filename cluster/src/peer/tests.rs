// SPDX-License-Identifier: EUPL-1.2
//! Real sockets, real certificates.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use ledger::{hash::Hash, id::NodeNumber};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    client::{Addresses, CallError, Peers},
    frame::{ClusterId, Denial, FRAME_BYTES_MAX, Method},
    server::{Service, serve},
    tls::{Identity, PeerTls},
};
use crate::certs;

const LEDGER: &str = "test.ledger.visto.example";
const TIME: Duration = Duration::from_secs(5);

#[tokio::test]
async fn answers_a_peer() {
    let town = Town::new();
    let peers = town.caller(1, &[(2, town.listen(2).await)]);
    let answer = peers
        .call(NodeNumber(2), Method::Clock, b"hello", TIME)
        .await
        .unwrap();
    assert_eq!(&answer[..], b"1 Clock hello");
}

#[tokio::test]
async fn many_calls_share_a_connection_and_slow_ones_hold_up_none() {
    let town = Town::new();
    let peers = town.caller(1, &[(2, town.listen(2).await)]);
    let slow = tokio::spawn({
        let peers = peers.clone();
        async move {
            peers
                .call(
                    NodeNumber(2),
                    Method::Submit,
                    b"",
                    Duration::from_millis(300),
                )
                .await
        }
    });
    let calls = (0..100).map(|n| {
        let peers = peers.clone();
        async move {
            let body = n.to_string();
            let answer = peers
                .call(NodeNumber(2), Method::Clock, body.as_bytes(), TIME)
                .await
                .unwrap();
            assert_eq!(answer, format!("1 Clock {body}"));
        }
    });
    futures::future::join_all(calls).await;
    assert!(
        !slow.await.unwrap().unwrap_err().surely_undone(),
        "the hung call's outcome is unknown"
    );
}

#[tokio::test]
async fn a_foreign_ca_is_refused_by_both_sides() {
    let (town, foreign) = (Town::new(), Town::new());
    let address = town.listen(2).await;
    let error = foreign
        .caller(1, &[(2, address)])
        .call(NodeNumber(2), Method::Clock, b"", TIME)
        .await
        .unwrap_err();
    assert!(
        matches!(error, CallError::Unreachable(_)),
        "the client refuses the server: {error:?}"
    );
    // A client that does not care whom it calls is refused by the server.
    assert_eq!(raw_call(&foreign, 1, address, true, &[0; 8]).await, Err(()));
    // The same client with the right CA is let in, so that the check above means something.
    assert_eq!(raw_call(&town, 1, address, true, b"").await, Ok(0));
}

#[tokio::test]
async fn no_client_certificate_is_refused() {
    let town = Town::new();
    let address = town.listen(2).await;
    assert_eq!(raw_call(&town, 1, address, false, &[0; 8]).await, Err(()));
}

#[tokio::test]
async fn the_right_ca_and_the_wrong_node_is_refused() {
    let town = Town::new();
    let peers = town.caller(1, &[(3, town.listen(2).await)]);
    let error = peers
        .call(NodeNumber(3), Method::Clock, b"", TIME)
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn another_cluster_is_refused() {
    let town = Town::new();
    let address = town.listen(2).await;
    let other = ClusterId::new(LEDGER, Hash([9; 32]));
    let peers = town.caller_of(1, &[(2, address)], other);
    let error = peers
        .call(NodeNumber(2), Method::Clock, b"", TIME)
        .await
        .unwrap_err();
    assert_eq!(error, CallError::Denied(Denial::OtherCluster));
}

#[tokio::test]
async fn a_node_that_is_no_member_is_refused() {
    let town = Town::new();
    let peers = town.caller(4, &[(2, town.listen(2).await)]);
    let error = peers
        .call(NodeNumber(2), Method::Vote, b"", TIME)
        .await
        .unwrap_err();
    assert_eq!(error, CallError::Denied(Denial::NotMember));
}

#[tokio::test]
async fn a_sender_that_is_not_its_certificates_node_is_refused() {
    let town = Town::new();
    let address = town.listen(2).await;
    let mut identity = Identity::load(&town.files(1), LEDGER, NodeNumber(1)).unwrap();
    identity.node = NodeNumber(3);
    let peers = town.caller_as(identity, &[(2, address)], cluster());
    let error = peers
        .call(NodeNumber(2), Method::Clock, b"", TIME)
        .await
        .unwrap_err();
    assert_eq!(error, CallError::Denied(Denial::OtherSender));
}

#[tokio::test]
async fn a_hung_peer_times_out_and_holds_up_no_other() {
    let town = Town::new();
    // Accepts and never says a word: the TLS handshake hangs.
    let hung = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peers = town.caller(
        1,
        &[(2, town.listen(2).await), (3, hung.local_addr().unwrap())],
    );
    let start = Instant::now();
    let (late, answer) = tokio::join!(
        peers.call(
            NodeNumber(3),
            Method::Clock,
            b"",
            Duration::from_millis(200)
        ),
        peers.call(NodeNumber(2), Method::Clock, b"", TIME),
    );
    assert_eq!(late, Err(CallError::Late));
    answer.unwrap();
    assert!(start.elapsed() < TIME);
}

#[tokio::test]
async fn reconnects_when_a_peer_comes_back() {
    let town = Town::new();
    let stop = CancellationToken::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let first = tokio::spawn(town.serving(2, listener, stop.clone()));
    let peers = town.caller(1, &[(2, address)]);
    peers
        .call(NodeNumber(2), Method::Clock, b"", TIME)
        .await
        .unwrap();
    stop.cancel();
    first.await.unwrap();
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(town.serving(2, listener, CancellationToken::new()));
    let until = Instant::now() + TIME;
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    while let Err(error) = peers.call(NodeNumber(2), Method::Clock, b"", TIME).await {
        assert!(Instant::now() < until, "{error}");
        ticks.tick().await;
    }
}

#[tokio::test]
async fn an_oversize_frame_ends_the_connection_before_it_is_read() {
    let town = Town::new();
    let address = town.listen(2).await;
    let length = u32::try_from(FRAME_BYTES_MAX + 1).unwrap().to_be_bytes();
    assert_eq!(
        raw_call(&town, 1, address, true, &length).await,
        Ok(0),
        "closed without an answer"
    );
    let peers = town.caller(1, &[(2, address)]);
    let error = peers
        .call(
            NodeNumber(2),
            Method::Clock,
            &vec![0; FRAME_BYTES_MAX],
            TIME,
        )
        .await
        .unwrap_err();
    assert_eq!(error, CallError::TooLarge);
}

#[test]
fn a_certificate_of_another_node_is_no_identity() {
    let town = Town::new();
    assert!(Identity::load(&town.files(2), LEDGER, NodeNumber(1)).is_err());
    assert!(Identity::load(&town.files(1), "other.example", NodeNumber(1)).is_err());
    std::fs::set_permissions(
        town.files(1).key,
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .unwrap();
    assert!(
        Identity::load(&town.files(1), LEDGER, NodeNumber(1)).is_err(),
        "a key that others can read"
    );
}

/// A cluster's certificates, and nodes that answer with the caller, the method and the body. Nodes 1 to 3 are its members.
pub(crate) struct Town {
    dir: tempfile::TempDir,
}

impl Town {
    pub(crate) fn new() -> Town {
        let dir = tempfile::tempdir().unwrap();
        certs::write(dir.path(), LEDGER, &[1, 2, 3, 4].map(NodeNumber)).unwrap();
        Town { dir }
    }

    fn files(&self, node: u64) -> PeerTls {
        let dir: &Path = &self.dir.path().join(format!("node-{node}"));
        PeerTls {
            ca: dir.join("peer-ca.pem"),
            cert: dir.join("peer.pem"),
            key: dir.join("peer.key"),
        }
    }

    async fn listen(&self, node: u64) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(self.serving(node, listener, CancellationToken::new()));
        address
    }

    fn serving(
        &self,
        node: u64,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        self.serving_as(node, listener, Echo, stop)
    }

    pub(crate) fn serving_as(
        &self,
        node: u64,
        listener: TcpListener,
        service: impl Service,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let identity = Identity::load(&self.files(node), LEDGER, NodeNumber(node)).unwrap();
        serve(
            listener,
            Arc::new(identity),
            cluster(),
            Arc::new(service),
            stop,
        )
    }

    pub(crate) fn caller(&self, node: u64, addresses: &[(u64, SocketAddr)]) -> Peers {
        self.caller_of(node, addresses, cluster())
    }

    fn caller_of(&self, node: u64, addresses: &[(u64, SocketAddr)], cluster: ClusterId) -> Peers {
        self.caller_as(
            Identity::load(&self.files(node), LEDGER, NodeNumber(node)).unwrap(),
            addresses,
            cluster,
        )
    }

    fn caller_as(
        &self,
        identity: Identity,
        addresses: &[(u64, SocketAddr)],
        cluster: ClusterId,
    ) -> Peers {
        let addresses: BTreeMap<_, _> = addresses
            .iter()
            .map(|(node, address)| (NodeNumber(*node), address.to_string()))
            .collect();
        let addresses = Arc::new(Addresses::new(addresses));
        Peers::new(
            Arc::new(identity),
            cluster,
            addresses,
            CancellationToken::new(),
        )
    }
}

fn cluster() -> ClusterId {
    ClusterId::new(LEDGER, Hash([1; 32]))
}

struct Echo;

impl Service for Echo {
    fn admits(&self, from: NodeNumber) -> bool {
        from.0 <= 3
    }

    async fn serve(
        &self,
        from: NodeNumber,
        method: Method,
        body: Bytes,
        _: Duration,
    ) -> Result<Vec<u8>, Denial> {
        if method == Method::Submit {
            std::future::pending::<()>().await;
        }
        Ok([format!("{} {method:?} ", from.0).as_bytes(), &body].concat())
    }
}

/// Connects without checking the server, sends the bytes, shuts down its side; how many bytes the server answered before it closed,
/// or `Err` where it ended the connection with a TLS alert.
async fn raw_call(
    town: &Town,
    node: u64,
    address: SocketAddr,
    certificate: bool,
    bytes: &[u8],
) -> Result<usize, ()> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let files = town.files(node);
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_protocol_versions(&[&rustls::version::TLS13])
    .unwrap()
    .dangerous()
    .with_custom_certificate_verifier(Arc::new(Trusting));
    let mut config = match certificate {
        true => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_file(files.cert).unwrap()],
                PrivateKeyDer::from_pem_file(files.key).unwrap(),
            )
            .unwrap(),
        false => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"visto-peer/1".to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    // In TLS 1.3 the client is done before the server judges its certificate: the alert comes with the first read.
    let mut stream = connector
        .connect("any.example".try_into().unwrap(), stream)
        .await
        .map_err(|_| ())?;
    stream.write_all(bytes).await.map_err(|_| ())?;
    stream.flush().await.map_err(|_| ())?;
    stream.shutdown().await.map_err(|_| ())?;
    let mut answer = Vec::new();
    match tokio::time::timeout(TIME, stream.read_to_end(&mut answer))
        .await
        .expect("closed in time")
    {
        Ok(count) => Ok(count),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(answer.len()),
        Err(_) => Err(()),
    }
}

#[derive(Debug)]
struct Trusting;

impl rustls::client::danger::ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
