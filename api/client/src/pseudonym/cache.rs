// SPDX-License-Identifier: BSD-3-Clause
//! Refs that were learnt, on disk: one file, sealed with a key of the caller's. It holds no code, not even sealed: refs stand under a keyed hash
//! of their code, so that neither a dump of this process nor a key that leaks later shows codes at once.
//!
//! `"visto refs 1\n" ‖ key of the pseudonyms[32] ‖ salt[32] ‖ sealed(n × (keyed hash[32] ‖ ref[32]))`, sealed with ChaCha20-Poly1305 under
//! HKDF-SHA-256 of the caller's key and the salt, all before it authenticated. The salt is drawn anew for each writing, so that the nonce may be
//! zero.
//!
//! What a crash leaves behind while it is written: the file before, whole, and beside it one that the next writing replaces.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use ledger::{hash::Hash, oprf::OprfPublicKey};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    hkdf, hmac,
};
use zeroize::Zeroizing;

use super::Code;

/// Why a cache cannot be used. It is never taken for an empty one: delete the file for that.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The file cannot be read or written.
    #[error("{}: {cause}", file.display())]
    Io {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Sealed with another key, or changed.
    #[error("{}: sealed with another key, or changed since", .0.display())]
    Sealed(PathBuf),
    /// It holds refs under another key of pseudonyms.
    #[error("{}: holds refs of another key of pseudonyms; begin another cache", .0.display())]
    Epoch(PathBuf),
    /// This machine gives no randomness.
    #[error("no randomness: {0}")]
    Random(getrandom::Error),
}

/// Refs that were learnt, under one key of pseudonyms.
pub struct Cache {
    path: PathBuf,
    epoch: OprfPublicKey,
    key: Zeroizing<[u8; 32]>,
    index: hmac::Key,
    refs: HashMap<Hash, Hash>,
}

impl Cache {
    /// Opens the cache of a file with the caller's key, 32 random bytes that stand elsewhere; a new one if there is no file.
    ///
    /// # Errors
    /// [`CacheError`]
    pub fn open(path: &Path, key: &[u8; 32], epoch: &OprfPublicKey) -> Result<Cache, CacheError> {
        let mut cache = Cache {
            path: path.to_owned(),
            epoch: *epoch,
            key: Zeroizing::new(*key),
            index: index_key(key),
            refs: HashMap::new(),
        };
        match fs::read(path) {
            Ok(bytes) => {
                cache.refs = cache.unseal(bytes)?;
                Ok(cache)
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(cache),
            Err(cause) => Err(cache.io(cause)),
        }
    }

    /// The ref of a code, if it was learnt.
    pub fn get(&self, code: &Code) -> Option<Hash> {
        self.refs.get(&self.place(code)).copied()
    }

    /// Learns the ref of a code. On disk only after [`Cache::save`].
    pub fn put(&mut self, code: &Code, reference: Hash) {
        self.refs.insert(self.place(code), reference);
    }

    /// Writes all that was learnt: a new file, synced, then renamed over the old one.
    ///
    /// # Errors
    /// [`CacheError`]; the file before is still there.
    pub fn save(&self) -> Result<(), CacheError> {
        let sealed = self.seal()?;
        let partial = self.path.with_extension("partial");
        self.write(&partial, &sealed)
            .map_err(|cause| self.io(cause))
    }

    /// How many refs it holds.
    pub fn len(&self) -> usize {
        self.refs.len()
    }

    /// It holds none.
    pub fn is_empty(&self) -> bool {
        self.refs.is_empty()
    }

    /// The key of pseudonyms that its refs were made with.
    pub fn epoch(&self) -> &OprfPublicKey {
        &self.epoch
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn place(&self, code: &Code) -> Hash {
        let mut context = hmac::Context::with_key(&self.index);
        context.update(&[code.kind() as u8]);
        context.update(code.expose().as_bytes());
        // The tag of SHA-256 has 32 bytes.
        Hash::from_slice(context.sign().as_ref()).unwrap_or(Hash::ZERO)
    }

    fn seal(&self) -> Result<Vec<u8>, CacheError> {
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(CacheError::Random)?;
        let head = [MAGIC, self.epoch.as_bytes().as_slice(), &salt].concat();
        let mut rows = Vec::with_capacity(self.refs.len() * ROW_BYTES + 16);
        for (place, reference) in &self.refs {
            rows.extend_from_slice(place.as_bytes());
            rows.extend_from_slice(reference.as_bytes());
        }
        self.sealing(&salt)
            .and_then(|key| {
                key.seal_in_place_append_tag(nonce(), Aad::from(&head), &mut rows)
                    .ok()
            })
            .ok_or_else(|| CacheError::Sealed(self.path.clone()))?;
        Ok([head, rows].concat())
    }

    fn unseal(&self, mut bytes: Vec<u8>) -> Result<HashMap<Hash, Hash>, CacheError> {
        let sealed = || CacheError::Sealed(self.path.clone());
        let (head, rows) = bytes.split_at_mut_checked(HEAD_BYTES).ok_or_else(sealed)?;
        let rest = head.strip_prefix(MAGIC).ok_or_else(sealed)?;
        let (epoch, salt) = rest.split_first_chunk::<32>().ok_or_else(sealed)?;
        let salt = salt.try_into().map_err(|_| sealed())?;
        let key = self.sealing(salt).ok_or_else(sealed)?;
        let rows = key
            .open_in_place(nonce(), Aad::from(&*head), rows)
            .map_err(|_| sealed())?;
        if epoch != self.epoch.as_bytes() {
            return Err(CacheError::Epoch(self.path.clone()));
        }
        let (rows, rest) = rows.as_chunks::<ROW_BYTES>();
        if !rest.is_empty() {
            return Err(sealed());
        }
        let row = |row: &[u8; ROW_BYTES]| {
            let (place, reference) = row.split_first_chunk::<32>()?;
            Some((Hash(*place), Hash::from_slice(reference)?))
        };
        rows.iter()
            .map(row)
            .collect::<Option<_>>()
            .ok_or_else(sealed)
    }

    fn sealing(&self, salt: &[u8; SALT_BYTES]) -> Option<LessSafeKey> {
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(self.key.as_slice());
        let expanded = secret
            .expand(&[b"visto refs: seal"], &CHACHA20_POLY1305)
            .ok()?;
        Some(LessSafeKey::new(UnboundKey::from(expanded)))
    }

    fn write(&self, partial: &Path, sealed: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(partial)?;
        file.write_all(sealed)?;
        file.sync_all()?;
        // A crash here leaves the old file and a whole new one beside it.
        fs::rename(partial, &self.path)?;
        let folder = self.path.parent().filter(|folder| *folder != Path::new(""));
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn io(&self, cause: io::Error) -> CacheError {
        CacheError::Io {
            file: self.path.clone(),
            cause,
        }
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cache({} refs)", self.refs.len())
    }
}

/// What the keyed hashes of codes are made with: the same for all writings.
fn index_key(key: &[u8; 32]) -> hmac::Key {
    hmac::Key::new(
        hmac::HMAC_SHA256,
        hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, key),
            b"visto refs: index",
        )
        .as_ref(),
    )
}

/// Each writing has a key of its own, which seals once.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

const MAGIC: &[u8] = b"visto refs 1\n";
const SALT_BYTES: usize = 32;
const HEAD_BYTES: usize = MAGIC.len() + 32 + SALT_BYTES;
const ROW_BYTES: usize = 64;
