// SPDX-License-Identifier: EUPL-1.2
//! Peer certificates: one CA per cluster, one certificate per node (`visto certs`).
//!
//! A node's name is `node-<number>.<ledger name>`, the only DNS name in its certificate. Whoever holds a certificate of this CA for that
//! name *is* that node to its peers, so the CA's key belongs off the nodes: `peer-ca.key` is needed only to add one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use ledger::id::NodeNumber;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use zeroize::Zeroizing;

/// Makes certificates for `nodes` under `dir`: `peer-ca.pem`, `peer-ca.key` and `node-<n>/{peer-ca.pem, peer.pem, peer.key}`.
///
/// Where `dir` already holds a CA, it signs the new nodes too; that is how a node is added. Keys are created with mode 0600.
///
/// # Errors
/// [`Error::Exists`] if a node has files already: nothing is overwritten, and nothing at all is written then. A crash in between leaves
/// some nodes without files; running it again for those nodes goes on.
pub fn write(dir: &Path, ledger: &str, nodes: &[NodeNumber]) -> Result<(), Error> {
    for node in nodes {
        peer_name(ledger, *node).ok_or_else(|| Error::Name(ledger.to_owned()))?;
        for file in NODE_FILES {
            let path = node_dir(dir, *node).join(file);
            if path.exists() {
                return Err(Error::Exists(path));
            }
        }
    }
    create_dir(dir)?;
    let (ca_pem, issuer) = ca(dir, ledger)?;
    for node in nodes {
        let name = peer_name(ledger, *node).ok_or_else(|| Error::Name(ledger.to_owned()))?;
        let key = KeyPair::generate()?;
        let certificate = node_params(&name)?.signed_by(&key, &issuer)?;
        let dir = node_dir(dir, *node);
        create_dir(&dir)?;
        create(&dir.join("peer-ca.pem"), 0o644, ca_pem.as_bytes())?;
        create(&dir.join("peer.pem"), 0o644, certificate.pem().as_bytes())?;
        create(
            &dir.join("peer.key"),
            0o600,
            Zeroizing::new(key.serialize_pem()).as_bytes(),
        )?;
    }
    Ok(())
}

/// Name of a node in its certificate; `None` where `ledger` cannot be the rest of a DNS name or the number is 0.
pub fn peer_name(ledger: &str, node: NodeNumber) -> Option<String> {
    let name = format!("node-{}.{ledger}", node.0);
    let valid = node.0 > 0 && rustls::pki_types::DnsName::try_from(name.as_str()).is_ok();
    valid.then_some(name)
}

/// Reads a private file. Its bytes are wiped when dropped.
///
/// # Errors
/// [`Error::Mode`] if others than the owner may touch it: such a key must be taken for known.
pub fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let named = |error| Error::File(path.to_owned(), error);
    let mut file = File::open(path).map_err(named)?;
    let mode = file.metadata().map_err(named)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Error::Mode(path.to_owned(), mode & 0o777));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    io::Read::read_to_end(&mut file, &mut bytes).map_err(named)?;
    Ok(bytes)
}

/// Why certificates could not be made, or a key not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Would overwrite this file.
    #[error("{} exists already; certificates are never overwritten", .0.display())]
    Exists(PathBuf),
    /// Only a DNS name can name a ledger's peers.
    #[error(
        "a peer of ledger {0:?} cannot be named in a certificate: use a DNS name and node numbers from 1"
    )]
    Name(String),
    /// Half of a CA cannot sign.
    #[error("{} is there without its other half; a CA is peer-ca.pem and peer-ca.key", .0.display())]
    HalfCa(PathBuf),
    /// A private file that others may touch.
    #[error("{} has mode {:04o}; a private key must be 0600 or stricter", .0.display(), .1)]
    Mode(PathBuf, u32),
    /// The file system refused.
    #[error("{}: {}", .0.display(), .1)]
    File(PathBuf, io::Error),
    /// The certificate itself.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// The CA of `dir`: loaded if there, else made. Key first: a crash in between leaves a lone key, which the next run names.
fn ca(dir: &Path, ledger: &str) -> Result<(String, Issuer<'static, KeyPair>), Error> {
    let (cert_path, key_path) = (dir.join("peer-ca.pem"), dir.join("peer-ca.key"));
    match (cert_path.exists(), key_path.exists()) {
        (true, true) => {
            let pem =
                fs::read_to_string(&cert_path).map_err(|error| Error::File(cert_path, error))?;
            let key = read_private(&key_path)?;
            let key = KeyPair::from_pem(&String::from_utf8_lossy(&key))?;
            let issuer = Issuer::from_ca_cert_pem(&pem, key)?;
            Ok((pem, issuer))
        }
        (false, false) => {
            let key = KeyPair::generate()?;
            let params = ca_params(ledger)?;
            let pem = params.self_signed(&key)?.pem();
            create(
                &key_path,
                0o600,
                Zeroizing::new(key.serialize_pem()).as_bytes(),
            )?;
            create(&cert_path, 0o644, pem.as_bytes())?;
            Ok((pem, Issuer::new(params, key)))
        }
        (true, false) => Err(Error::HalfCa(cert_path)),
        (false, true) => Err(Error::HalfCa(key_path)),
    }
}

fn ca_params(ledger: &str) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params
        .distinguished_name
        .push(DnType::CommonName, format!("Visto peer CA of {ledger}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid_for(&mut params, CA_LIFE);
    Ok(params)
}

/// Each node is client and server to its peers.
fn node_params(name: &str) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params
        .distinguished_name
        .push(DnType::CommonName, "Visto node");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    valid_for(&mut params, NODE_LIFE);
    Ok(params)
}

/// From an hour ago, so that a node whose clock is behind accepts it too.
fn valid_for(params: &mut CertificateParams, life: Duration) {
    let now = SystemTime::now();
    params.not_before = now
        .checked_sub(Duration::from_secs(3600))
        .unwrap_or(now)
        .into();
    params.not_after = now.checked_add(life).unwrap_or(now).into();
}

fn node_dir(dir: &Path, node: NodeNumber) -> PathBuf {
    dir.join(format!("node-{}", node.0))
}

fn create_dir(dir: &Path) -> Result<(), Error> {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir);
    made.map_err(|error| Error::File(dir.to_owned(), error))
}

/// Creates a file that must not exist, with its mode from the first moment on, and syncs it.
fn create(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), Error> {
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists(path.to_owned()),
        _ => Error::File(path.to_owned(), error),
    })
}

const NODE_FILES: [&str; 3] = ["peer-ca.pem", "peer.pem", "peer.key"];
const DAY: u64 = 24 * 3600;
const CA_LIFE: Duration = Duration::from_secs(10 * 365 * DAY);
const NODE_LIFE: Duration = Duration::from_secs(398 * DAY);

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )]
    use super::*;

    const LEDGER: &str = "test.ledger.visto.example";

    #[test]
    fn writes_once_and_adds_with_the_same_ca() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), LEDGER, &[NodeNumber(1), NodeNumber(2)]).unwrap();
        let ca = fs::read(dir.path().join("peer-ca.pem")).unwrap();
        let again = write(dir.path(), LEDGER, &[NodeNumber(3), NodeNumber(2)]);
        assert!(matches!(again, Err(Error::Exists(_))), "{again:?}");
        assert!(
            !dir.path().join("node-3").exists(),
            "nothing is written when anything would be overwritten"
        );
        write(dir.path(), LEDGER, &[NodeNumber(3)]).unwrap();
        assert_eq!(ca, fs::read(dir.path().join("node-3/peer-ca.pem")).unwrap());
    }

    #[test]
    fn keys_are_private_and_others_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), LEDGER, &[NodeNumber(1)]).unwrap();
        for key in ["peer-ca.key", "node-1/peer.key"] {
            let path = dir.path().join(key);
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
            read_private(&path).unwrap();
            for mode in [0o640, 0o604, 0o660] {
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
                assert!(matches!(read_private(&path), Err(Error::Mode(_, found)) if found == mode));
            }
        }
    }

    #[test]
    fn a_ledger_that_is_no_dns_name_and_node_0_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            write(dir.path(), "no dns name", &[NodeNumber(1)]),
            Err(Error::Name(_))
        ));
        assert!(matches!(
            write(dir.path(), LEDGER, &[NodeNumber(0)]),
            Err(Error::Name(_))
        ));
    }

    #[test]
    fn half_a_ca_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), LEDGER, &[NodeNumber(1)]).unwrap();
        fs::remove_file(dir.path().join("peer-ca.key")).unwrap();
        assert!(matches!(
            write(dir.path(), LEDGER, &[NodeNumber(2)]),
            Err(Error::HalfCa(_))
        ));
    }
}
