// SPDX-License-Identifier: EUPL-1.2
//! The key of the pseudonyms at rest: sealed with age (age-encryption.org/v1) to the identities of the nodes, one file for all of them. Whoever
//! holds it unsealed can try tax codes, so it is unsealed into a node's memory alone.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
};

pub use age::x25519::Recipient;
use age::{DecryptError, Decryptor, Encryptor, x25519::Identity};
use client::keyfile::{self, KeyFileError};
use ledger::{base64, oprf::OprfSecretKey};
use zeroize::Zeroizing;

/// Why a sealed key cannot be used. Says nothing of what is in a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The identity cannot be read.
    #[error(transparent)]
    Identity(#[from] KeyFileError),
    /// The identity file holds no identity.
    #[error("{}: holds no AGE-SECRET-KEY-1…; make one with `visto key identity`", .0.display())]
    NoIdentity(PathBuf),
    /// The sealed file cannot be read.
    #[error("{}: {cause}", file.display())]
    Io {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// It was sealed for other identities, or changed.
    #[error("{}: does not open: {cause}", file.display())]
    Sealed {
        /// Which.
        file: PathBuf,
        /// Why.
        cause: String,
    },
    /// It opened, and holds something else.
    #[error("{}: holds no key of pseudonyms", .0.display())]
    Form(PathBuf),
}

/// Seals a key so that each of these recipients alone can open it.
///
/// # Errors
/// There is no recipient, or the system gives no randomness.
pub fn seal(key: &OprfSecretKey, recipients: &[Recipient]) -> Result<Vec<u8>, String> {
    let scalar = key.to_bytes();
    let encoded = Zeroizing::new(base64::url_encode(scalar.as_slice()));
    let plain = Zeroizing::new(format!("{WORD} {}\n", encoded.as_str()));
    let recipients = recipients.iter().map(|recipient| recipient as _);
    let encryptor = Encryptor::with_recipients(recipients).map_err(|error| error.to_string())?;
    let mut sealed = Vec::new();
    encryptor
        .wrap_output(&mut sealed)
        .and_then(|mut writer| {
            writer.write_all(plain.as_bytes())?;
            writer.finish()
        })
        .map_err(|error| error.to_string())?;
    Ok(sealed)
}

/// Unseals the key of a file with the identity of another, which only its owner may read.
///
/// # Errors
/// [`Error`]
pub fn unseal(file: &Path, identity: &Path) -> Result<OprfSecretKey, Error> {
    let sealed = std::fs::read(file).map_err(|cause| Error::Io {
        file: file.to_owned(),
        cause,
    })?;
    let identity = read_identity(identity)?;
    let does_not_open = |cause: String| Error::Sealed {
        file: file.to_owned(),
        cause,
    };
    let decrypt_error = |error: DecryptError| does_not_open(error.to_string());
    let decryptor = Decryptor::new(sealed.as_slice()).map_err(decrypt_error)?;
    let identities = std::iter::once(&identity as &dyn age::Identity);
    let reader = decryptor.decrypt(identities).map_err(decrypt_error)?;
    // One allocation that never grows: a grown one would leave a copy behind that nothing wipes.
    let mut plain = Zeroizing::new(Vec::with_capacity(PLAIN_BYTES_MAX));
    reader
        .take(PLAIN_BYTES_MAX as u64)
        .read_to_end(&mut plain)
        .map_err(|error| does_not_open(error.to_string()))?;
    parse(&plain).ok_or_else(|| Error::Form(file.to_owned()))
}

/// Draws an identity: the text of its file, and its recipient.
pub fn new_identity() -> (Zeroizing<String>, Recipient) {
    use age::secrecy::ExposeSecret;
    let identity = Identity::generate();
    let recipient = identity.to_public();
    let secret = identity.to_string();
    let text = format!("# public key: {recipient}\n{}\n", secret.expose_secret());
    (Zeroizing::new(text), recipient)
}

fn read_identity(file: &Path) -> Result<Identity, Error> {
    let text = keyfile::read_private(file, IDENTITY_BYTES_MAX)?;
    std::str::from_utf8(&text)
        .ok()
        .and_then(|text| {
            let mut lines = text.lines().map(str::trim);
            lines.find(|line| !line.is_empty() && !line.starts_with('#'))
        })
        .and_then(|line| line.parse().ok())
        .ok_or_else(|| Error::NoIdentity(file.to_owned()))
}

fn parse(plain: &[u8]) -> Option<OprfSecretKey> {
    let text = std::str::from_utf8(plain).ok()?;
    let encoded = text.strip_prefix(WORD)?.strip_prefix(' ')?;
    let bytes = Zeroizing::new(base64::url_decode(encoded.strip_suffix('\n')?)?);
    let scalar: Zeroizing<[u8; 32]> = Zeroizing::new(bytes.as_slice().try_into().ok()?);
    OprfSecretKey::from_bytes(&scalar).ok()
}

/// What a sealed file begins with, once opened.
const WORD: &str = "visto-oprf-1";
/// The word, 43 letters, and room to see that there is more than that.
const PLAIN_BYTES_MAX: usize = 128;
/// An identity file has some 200 bytes.
const IDENTITY_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn put(path: &Path, bytes: &[u8], mode: u32) {
        fs::write(path, bytes).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn each_recipient_opens_what_was_sealed_and_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let key = OprfSecretKey::derive(&[7; 32]).unwrap();
        let (mine, my_recipient) = new_identity();
        let (theirs, their_recipient) = new_identity();
        let (other, _) = new_identity();
        for (name, text) in [("mine", &mine), ("theirs", &theirs), ("other", &other)] {
            put(&path(name), text.as_bytes(), 0o600);
        }
        let sealed = seal(&key, &[my_recipient, their_recipient]).unwrap();
        put(&path("sealed"), &sealed, 0o644);
        for name in ["mine", "theirs"] {
            let opened = unseal(&path("sealed"), &path(name)).unwrap();
            assert_eq!(opened.public(), key.public());
        }
        let closed = unseal(&path("sealed"), &path("other"));
        assert!(matches!(closed, Err(Error::Sealed { .. })), "{closed:?}");
        let mut changed = sealed;
        *changed.last_mut().unwrap() ^= 1;
        put(&path("changed"), &changed, 0o644);
        let closed = unseal(&path("changed"), &path("mine"));
        assert!(matches!(closed, Err(Error::Sealed { .. })), "{closed:?}");
        fs::set_permissions(path("mine"), fs::Permissions::from_mode(0o640)).unwrap();
        let open_to_others = unseal(&path("sealed"), &path("mine"));
        assert!(matches!(open_to_others, Err(Error::Identity(_))));
    }

    #[test]
    fn other_contents_are_no_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (text, recipient) = new_identity();
        put(&path("identity"), text.as_bytes(), 0o600);
        let zero = format!("{WORD} {}\n", base64::url_encode(&[0; 32]));
        for plain in ["", "visto-oprf-1 AA\n", zero.as_str(), &"x".repeat(4096)] {
            let sealed = age::encrypt(&recipient, plain.as_bytes()).unwrap();
            put(&path("sealed"), &sealed, 0o644);
            let opened = unseal(&path("sealed"), &path("identity"));
            assert!(matches!(opened, Err(Error::Form(_))), "{opened:?}");
        }
        put(&path("identity"), b"# nothing\n", 0o600);
        let opened = unseal(&path("sealed"), &path("identity"));
        assert!(matches!(opened, Err(Error::NoIdentity(_))), "{opened:?}");
    }
}
