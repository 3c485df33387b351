// SPDX-License-Identifier: EUPL-1.2
//! Mutual TLS between peers: who a node is, and how it knows who the other is.
//!
//! TLS 1.3 only, the peer CA only, no session resumption: each connection proves both certificates anew. The provider is handed in, so
//! that nothing depends on a process-wide default.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use ledger::id::NodeNumber;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};
use x509_parser::{extensions::GeneralName, prelude::parse_x509_certificate};

use crate::{
    certs::{self, peer_name},
    clock::Clock,
};

/// Files of a node's identity towards its peers, as `visto certs` makes them.
#[derive(Clone, Debug)]
pub struct PeerTls {
    /// The cluster's peer CA, PEM.
    pub ca: PathBuf,
    /// This node's certificate, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM (PKCS#8), mode 0600 or stricter.
    pub key: PathBuf,
}

/// A node's own identity, ready to listen and to call.
pub(crate) struct Identity {
    pub(crate) node: NodeNumber,
    pub(crate) ledger: String,
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
}

impl Identity {
    /// Loads the files and makes sure that the certificate is this node's own.
    pub(crate) fn load(
        files: &PeerTls,
        ledger: &str,
        node: NodeNumber,
    ) -> Result<Identity, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&files.ca)? {
            roots.add(certificate)?;
        }
        let roots = Arc::new(roots);
        let chain = certificates(&files.cert)?;
        if chain.first().and_then(|own| node_of(own, ledger)) != Some(node) {
            return Err(TlsError::NotThisNode(
                files.cert.clone(),
                node,
                ledger.to_owned(),
            ));
        }
        warn_of_expiry(chain.first());
        let key = certs::read_private(&files.key)?;
        let key = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|error| TlsError::Pem(files.key.clone(), error))?;

        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build()?;
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())?;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        server.alpn_protocols = vec![ALPN.to_vec()];

        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        client.resumption = Resumption::disabled();
        client.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Identity {
            node,
            ledger: ledger.to_owned(),
            server: Arc::new(server),
            client: Arc::new(client),
        })
    }
}

/// The node that a certificate names: its one DNS name is `node-<n>.<ledger>`. The chain was verified by rustls before.
pub(crate) fn node_of(certificate: &CertificateDer<'_>, ledger: &str) -> Option<NodeNumber> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    let names = &parsed.subject_alternative_name().ok()??.value.general_names;
    let [GeneralName::DNSName(name)] = names.as_slice() else {
        return None;
    };
    let number: u64 = name
        .strip_prefix("node-")?
        .strip_suffix(ledger)?
        .strip_suffix('.')?
        .parse()
        .ok()?;
    // Compared whole, so that "+1" or "01" is nobody.
    (peer_name(ledger, NodeNumber(number)).as_deref() == Some(*name)).then_some(NodeNumber(number))
}

/// Peers refuse an expired certificate, and a cluster whose certificates all expire stops: it is said in time. `visto certs` makes new ones
/// with the same CA, once the old ones are out of the way.
fn warn_of_expiry(own: Option<&CertificateDer<'_>>) {
    let Some(expires_s) = own.and_then(|own| {
        let (_, parsed) = parse_x509_certificate(own).ok()?;
        u64::try_from(parsed.validity().not_after.timestamp()).ok()
    }) else {
        return;
    };
    metrics::gauge!("visto_peer_certificate_expires_timestamp_seconds").set(expires_s as f64);
    let now_s = Clock::system().now_ms() / 1000;
    if expires_s < now_s.saturating_add(EXPIRY_WARN_S) {
        let days = expires_s.saturating_sub(now_s) / (24 * 3600);
        tracing::warn!(
            days,
            "this node's peer certificate expires soon: peers will refuse it"
        );
    }
}

/// Why a node has no identity towards its peers. The operator mends the named file; the node does not start.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate or key file is not PEM, or holds none.
    #[error("{}: {}", .0.display(), .1)]
    Pem(PathBuf, rustls::pki_types::pem::Error),
    /// The certificate names another node or another ledger.
    #[error("{} is not the certificate of node {} of ledger {}", .0.display(), .1.0, .2)]
    NotThisNode(PathBuf, NodeNumber, String),
    /// The key file could not be read, or others may read it.
    #[error(transparent)]
    Key(#[from] certs::Error),
    /// rustls takes the CA, certificate or key for unusable.
    #[error("peer TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The verifier of client certificates cannot be built.
    #[error("peer TLS: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = |error| TlsError::Pem(path.to_owned(), error);
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(pem)?
        .collect::<Result<_, _>>()
        .map_err(pem)?;
    if found.is_empty() {
        Err(pem(rustls::pki_types::pem::Error::NoItemsFound))
    } else {
        Ok(found)
    }
}

const ALPN: &[u8] = b"visto-peer/1";
const EXPIRY_WARN_S: u64 = 30 * 24 * 3600;
