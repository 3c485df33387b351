// SPDX-License-Identifier: EUPL-1.2
//! TLS of the public listener, used when a certificate is configured.

use std::{path::Path, sync::Arc};

use cluster::certs::read_private;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::TlsAcceptor;

/// Why the certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read, or is no PEM.
    #[error("{file}: {cause}")]
    Pem {
        /// Which file.
        file: String,
        /// Why.
        #[source]
        cause: rustls::pki_types::pem::Error,
    },
    /// The key cannot be read, or others than its owner can read it too.
    #[error(transparent)]
    Private(#[from] cluster::certs::Error),
    /// Certificate and key do not fit, or are not usable.
    #[error("certificate and key of the public listener: {0}")]
    Rustls(#[from] rustls::Error),
}

/// TLS 1.2 and 1.3 with the chain in `certificate` and the key in `key` (PEM files); clients are not asked for certificates, readers show tokens.
///
/// # Errors
/// A file is missing, malformed, the key's mode is not 0600 or stricter, or the two do not fit.
pub fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, Error> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|cause| pem(certificate, cause))?;
    let text = read_private(key)?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|cause| pem(key, cause))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn pem(file: &Path, cause: rustls::pki_types::pem::Error) -> Error {
    Error::Pem {
        file: file.display().to_string(),
        cause,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{fs, os::unix::fs::PermissionsExt};

    use ledger::id::NodeNumber;

    use super::*;

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        cluster::certs::write(folder.path(), "ledger.visto.test", &[NodeNumber(1)]).unwrap();
        let files = folder.path().join("node-1");
        let (certificate, key) = (files.join("peer.pem"), files.join("peer.key"));
        assert!(acceptor(&certificate, &key).is_ok());
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            acceptor(&certificate, &key),
            Err(Error::Private(_))
        ));
    }
}
