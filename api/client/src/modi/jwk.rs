// SPDX-License-Identifier: BSD-3-Clause
//! Public keys of callers: JWK sets (RFC 7517), thumbprints (RFC 7638), and the three signature algorithms of ModI.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use jsonwebtoken::{DecodingKey, crypto};
use serde_json::{Map, Value};

use ledger::{base64, hash::Hash};

/// A set of public keys, as `/.well-known/jwks.json` or PDND's `GET /keys/{kid}` gives them.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<(String, PublicJwk)>,
}

/// A public key that can verify one of the three algorithms.
#[derive(Clone)]
pub struct PublicJwk {
    algorithm: Algorithm,
    thumbprint: Hash,
    canonical: String,
    key: DecodingKey,
}

/// The signature algorithms that ModI's guidelines recommend and this crate accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Es256,
    EdDsa,
}

impl KeySet {
    /// Parses a JWK set, or a single JWK. Keys of other kinds are passed over: a set may hold them for others.
    ///
    /// `None` where the text is not JSON of that shape.
    pub fn parse(json: &[u8]) -> Option<KeySet> {
        let value: Value = serde_json::from_slice(json).ok()?;
        let keys = match value.get("keys") {
            Some(keys) => keys.as_array()?.clone(),
            None => vec![value],
        };
        let mut set = KeySet::default();
        for key in &keys {
            let key = key.as_object()?;
            if let (Some(Value::String(kid)), Some(jwk)) = (key.get("kid"), PublicJwk::parse(key)) {
                set.keys.push((kid.clone(), jwk));
            }
        }
        Some(set)
    }

    /// The key of this id, compared byte by byte.
    pub fn find(&self, kid: &str) -> Option<&PublicJwk> {
        let (_, key) = self.keys.iter().find(|(id, _)| id == kid)?;
        Some(key)
    }
}

impl PublicJwk {
    fn parse(jwk: &Map<String, Value>) -> Option<PublicJwk> {
        let text = |name| jwk.get(name).and_then(Value::as_str);
        let bytes = |name| text(name).and_then(base64::url_decode);
        if text("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        // Members in the order and spelling of RFC 7638, so that this text is what the thumbprint hashes.
        let (algorithm, canonical, key) = match (text("kty")?, text("crv")) {
            ("RSA", None) => {
                let (n, e) = (bytes("n")?, bytes("e")?);
                let modulus_bits = n.iter().skip_while(|byte| **byte == 0).count() * 8;
                if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&modulus_bits) {
                    return None;
                }
                let canonical = format!(
                    r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#,
                    text("e")?,
                    text("n")?
                );
                (
                    Algorithm::Rs256,
                    canonical,
                    DecodingKey::from_rsa_raw_components(&n, &e),
                )
            }
            ("EC", Some("P-256")) if bytes("x")?.len() == 32 && bytes("y")?.len() == 32 => {
                let (x, y) = (text("x")?, text("y")?);
                let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
                (
                    Algorithm::Es256,
                    canonical,
                    DecodingKey::from_ec_components(x, y).ok()?,
                )
            }
            // The length is checked here because the verifier below slices without looking.
            ("OKP", Some("Ed25519")) if bytes("x")?.len() == 32 => {
                let x = text("x")?;
                let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
                (
                    Algorithm::EdDsa,
                    canonical,
                    DecodingKey::from_ed_components(x).ok()?,
                )
            }
            _ => return None,
        };
        Some(PublicJwk {
            algorithm,
            thumbprint: Hash::of(&[canonical.as_bytes()]),
            canonical,
            key,
        })
    }

    /// SHA-256 over the required members (RFC 7638, section 3).
    pub fn thumbprint(&self) -> Hash {
        self.thumbprint
    }

    /// The JWK with its required members alone, in the order that the thumbprint hashes.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm = match self.algorithm {
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        };
        let signature = base64::url_encode(signature);
        crypto::verify(&signature, message, &self.key, algorithm).unwrap_or(false)
    }
}

/// Keys of callers, each kept once under its thumbprint: an entry names the thumbprint, and PDND forgets keys.
#[derive(Clone, Debug)]
pub struct KeyArchive {
    folder: PathBuf,
}

impl KeyArchive {
    /// An archive in this folder, which is made if it is not there.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(folder: &Path) -> io::Result<KeyArchive> {
        fs::create_dir_all(folder)?;
        Ok(KeyArchive {
            folder: folder.to_owned(),
        })
    }

    /// Keeps a key, if it is not kept already. It is on the disk when this returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep(&self, key: &PublicJwk) -> io::Result<()> {
        let path = self.path(&key.thumbprint);
        if path.exists() {
            return Ok(());
        }
        // Renamed into place last: a crash before leaves a file that nobody looks for, never half a key.
        let partial = path.with_extension("partial");
        let mut file = File::create(&partial)?;
        file.write_all(key.canonical.as_bytes())?;
        file.sync_all()?;
        fs::rename(&partial, &path)?;
        File::open(&self.folder)?.sync_all()
    }

    /// The key of a thumbprint; `None` where it is not kept, or is not what its name says.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn find(&self, thumbprint: &Hash) -> io::Result<Option<PublicJwk>> {
        match fs::read(self.path(thumbprint)) {
            Ok(text) => {
                let jwk: Option<Map<String, Value>> = serde_json::from_slice(&text).ok();
                Ok(jwk
                    .and_then(|jwk| PublicJwk::parse(&jwk))
                    .filter(|key| key.thumbprint == *thumbprint))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn path(&self, thumbprint: &Hash) -> PathBuf {
        self.folder
            .join(format!("{}.jwk", base64::url_encode(thumbprint.as_bytes())))
    }
}

impl Algorithm {
    pub(super) fn parse(name: &str) -> Option<Algorithm> {
        match name {
            "RS256" => Some(Algorithm::Rs256),
            "ES256" => Some(Algorithm::Es256),
            "EdDSA" => Some(Algorithm::EdDsa),
            _ => None,
        }
    }
}

impl std::fmt::Debug for PublicJwk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicJwk({})", self.thumbprint)
    }
}

/// Shorter moduli are refused by PDND too.
const RSA_BITS_MIN: usize = 2048;
/// Longer ones only cost time.
const RSA_BITS_MAX: usize = 8192;
