// SPDX-License-Identifier: BSD-3-Clause
//! Private keys in files: PEM, PKCS#8, Ed25519 (RFC 8410), as `openssl genpkey -algorithm ed25519` writes them. Mode 0600 or stricter.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use ledger::{base64, key::SigningKey};
use zeroize::Zeroizing;

/// Why a key file cannot be used. Names the file, never its content.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// Others than its owner may read or write it.
    #[error("{}: mode {mode:04o} lets others at the private key; run: chmod 600 {}", path.display(), path.display())]
    Mode { path: PathBuf, mode: u32 },
    /// Not one PEM block `PRIVATE KEY` with an Ed25519 key in PKCS#8.
    #[error("{}: not an Ed25519 private key in PKCS#8 PEM (make one with `visto key new` or `openssl genpkey -algorithm ed25519`)", path.display())]
    Form { path: PathBuf },
}

/// Reads the signing key of a file.
///
/// # Errors
/// [`KeyFileError`]; a file that group or others may touch is refused before a byte is read.
pub fn read(path: &Path) -> Result<SigningKey, KeyFileError> {
    let form = || KeyFileError::Form {
        path: path.to_owned(),
    };
    let text = read_private(path, PEM_BYTES_MAX)?;
    if text.len() == PEM_BYTES_MAX {
        return Err(form());
    }
    let seed = parse_pem(&text).ok_or_else(form)?;
    Ok(SigningKey::from_seed(*seed))
}

/// Reads up to `bytes_max` bytes of a file that only its owner may touch.
///
/// # Errors
/// [`KeyFileError::Io`], [`KeyFileError::Mode`]
pub fn read_private(path: &Path, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let io = |source| KeyFileError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(io)?;
    // Asked of the open file, not of the path: nobody can swap it in between.
    let metadata = file.metadata().map_err(io)?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Mode {
            path: path.to_owned(),
            mode,
        });
    }
    // One allocation that never grows: a grown one would leave a copy behind that nothing wipes.
    let mut bytes = Zeroizing::new(Vec::with_capacity(bytes_max));
    (&mut file)
        .take(bytes_max as u64)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    Ok(bytes)
}

/// Writes a key into a new file of mode 0600, and that to the disk. An existing file is never replaced.
///
/// # Errors
/// [`KeyFileError::Io`].
pub fn write_new(path: &Path, seed: &[u8; 32]) -> Result<SigningKey, KeyFileError> {
    write_private(path, format_pem(seed).as_bytes())?;
    Ok(SigningKey::from_seed(*seed))
}

/// Writes bytes into a new file of mode 0600, and that to the disk. An existing file is never replaced.
///
/// # Errors
/// [`KeyFileError::Io`].
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), KeyFileError> {
    let io = |source| KeyFileError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(io)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(source) = written {
        // Half a key file is worse than none: the next run would refuse to replace it.
        let _ = fs::remove_file(path);
        return Err(io(source));
    }
    Ok(())
}

/// Draws a key from the system's randomness and writes it as [`write_new`] does.
///
/// # Errors
/// [`KeyFileError::Io`], also where the system has no randomness to give.
pub fn generate(path: &Path) -> Result<SigningKey, KeyFileError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(|error| KeyFileError::Io {
        path: path.to_owned(),
        source: io::Error::other(error),
    })?;
    write_new(path, &seed)
}

fn format_pem(seed: &[u8; 32]) -> Zeroizing<String> {
    let mut der = Zeroizing::new([0; 48]);
    for (byte, value) in der.iter_mut().zip(PKCS8_PREFIX.iter().chain(seed)) {
        *byte = *value;
    }
    let body = Zeroizing::new(base64::encode(der.as_slice()));
    Zeroizing::new(format!("{BEGIN}\n{}\n{END}\n", body.as_str()))
}

fn parse_pem(text: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let body = text.strip_prefix(BEGIN)?.strip_suffix(END)?;
    let mut joined = Zeroizing::new(String::with_capacity(body.len()));
    joined.extend(body.split_ascii_whitespace());
    let der = Zeroizing::new(base64::decode(&joined)?);
    let seed = der.strip_prefix(&PKCS8_PREFIX)?;
    Some(Zeroizing::new(seed.try_into().ok()?))
}

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";
/// `PrivateKeyInfo` version 0, algorithm 1.3.101.112, an octet string in an octet string: all that stands before the 32 bytes.
pub const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
/// A key file has some 120 bytes.
const PEM_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// The example of RFC 8410, section 10.3.
    const RFC_8410: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn put(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_rfcs_own_example_is_read_and_written() {
        let folder = folder();
        let path = folder.path().join("key.pem");
        put(&path, RFC_8410, 0o600);
        let key = read(&path).unwrap();
        let seed = parse_pem(RFC_8410.as_bytes()).unwrap();
        assert_eq!(seed[..4], [0xd4, 0xee, 0x72, 0xdb]);
        let again = folder.path().join("again.pem");
        write_new(&again, &seed).unwrap();
        assert_eq!(fs::read_to_string(&again).unwrap(), RFC_8410);
        assert_eq!(key.key_id(), read(&again).unwrap().key_id());
    }

    #[test]
    fn a_generated_key_is_there_for_its_owner_alone_and_never_replaced() {
        let folder = folder();
        let path = folder.path().join("key.pem");
        let key = generate(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            0o600
        );
        assert!(matches!(generate(&path), Err(KeyFileError::Io { .. })));
        assert_eq!(read(&path).unwrap().key_id(), key.key_id());
    }

    #[test]
    fn a_file_that_others_may_touch_is_refused() {
        let folder = folder();
        let path = folder.path().join("key.pem");
        for mode in [0o640, 0o604, 0o620, 0o644, 0o601, 0o777] {
            put(&path, RFC_8410, mode);
            let error = read(&path).unwrap_err();
            assert!(matches!(error, KeyFileError::Mode { mode: found, .. } if found == mode));
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        for mode in [0o600, 0o400] {
            put(&path, RFC_8410, mode);
            read(&path).unwrap();
        }
    }

    #[test]
    fn other_contents_are_refused_and_not_repeated() {
        let folder = folder();
        let path = folder.path().join("key.pem");
        let cases = [
            String::new(),
            RFC_8410.replace("PRIVATE", "PUBLIC"),
            RFC_8410.replace("MC4CAQ", "MC4CAR"),
            RFC_8410.replace("VhC\n", "Vh\n"),
            format!("{RFC_8410}{RFC_8410}"),
            "x".repeat(PEM_BYTES_MAX + 1),
        ];
        for text in cases {
            put(&path, &text, 0o600);
            let error = read(&path).unwrap_err();
            assert!(matches!(error, KeyFileError::Form { .. }), "{error}");
            assert!(!error.to_string().contains("MC4"), "{error}");
        }
    }
}
