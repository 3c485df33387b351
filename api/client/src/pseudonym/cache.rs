// SPDX-License-Identifier: BSD-3-Clause
//! Refs that were learnt, on disk: one file, sealed with a key of the caller's. It holds no code, not even sealed: refs stand under a keyed hash
//! of their code, so that neither a dump of this process nor a key that leaks later shows codes at once.
//!
//! The file is one segment of a [`crate::journal`]: what is learnt is put behind what is there. Its first record says whose it is, each other one
//! holds refs, sealed with ChaCha20-Poly1305 under HKDF-SHA-256 of the caller's key and a salt that is drawn for this record, so that the nonce
//! may be zero. What is authenticated with a record is the first one and the record's place: none can be moved, or come from another file.
//!
//! ```text
//! head   = "visto refs 2\n" ‖ key of the pseudonyms[32] ‖ salt[32] ‖ tag[16]         # sealed: nothing
//! record = salt[32] ‖ sealed(n × (keyed hash[32] ‖ ref[32])) ‖ tag[16]               # with head without its tag ‖ u64(offset)
//! ```
//!
//! A file of which more than half is not refs (small records, or refs that two processes learnt) is written anew and renamed over the old one.
//! Several processes may use one file: a lock beside it is held while one writes, and whoever finds the file other than it left it reads it again.
//!
//! A crash leaves behind: while refs are appended, a torn tail, which no read believes and the next writing cuts off (these refs are asked for
//! again); while the file is written anew, the one before, whole, and beside it one that the next such writing replaces.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use ledger::{hash::Hash, oprf::OprfPublicKey};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    hkdf, hmac,
};
use zeroize::Zeroizing;

use super::Code;
use crate::journal::segment;

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
    /// Written by a build before this one.
    #[error("{}: of an earlier build; delete it, and its refs are asked for again", .0.display())]
    Old(PathBuf),
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
    /// Learnt, and not on disk yet.
    pending: Vec<(Hash, Hash)>,
    /// The file as this process left it; none before there is one, or after a write failed.
    left: Option<Left>,
}

/// How a process left the file.
struct Left {
    /// All up to the end of the first record: no other file begins so.
    head: Vec<u8>,
    /// What each record is bound to: the first one's payload without its tag.
    bound: Vec<u8>,
    /// Bytes that are good, all durable.
    length: u64,
}

impl Cache {
    /// Opens the cache of a file with the caller's key, 32 random bytes that stand elsewhere; a new one if there is no file. Writes nothing.
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
            pending: Vec::new(),
            left: None,
        };
        cache.read()?;
        Ok(cache)
    }

    /// The ref of a code, if it was learnt.
    pub fn get(&self, code: &Code) -> Option<Hash> {
        self.refs.get(&self.place(code)).copied()
    }

    /// Learns the ref of a code. On disk only after [`Cache::save`].
    pub fn put(&mut self, code: &Code, reference: Hash) {
        let place = self.place(code);
        if self.refs.insert(place, reference) != Some(reference) {
            self.pending.push((place, reference));
        }
    }

    /// Puts what was learnt since on disk; when this is answered it is there.
    ///
    /// # Errors
    /// [`CacheError`]; what was on disk is still there, and the next call tries again.
    pub fn save(&mut self) -> Result<(), CacheError> {
        if self.pending.is_empty() && self.left.is_some() {
            return Ok(());
        }
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.beside(".lock"))
            .map_err(|cause| self.io(cause))?;
        // Given back when the file is closed, here or by a crash. Nobody holds it for longer than a writing takes.
        lock.lock().map_err(|cause| self.io(cause))?;
        // What a failed write left behind may be in memory and not on disk: only a file of our own is sure.
        let doubtful = self.left.is_none() && !self.refs.is_empty();
        if !self.is_as_left().map_err(|cause| self.io(cause))? {
            self.read()?;
        }
        let whole = compact_bytes(self.refs.len());
        match self.left.take() {
            Some(left) if !doubtful && left.length < (2 * whole).max(COMPACT_BYTES_MIN) => {
                self.append(left)?;
            }
            _ => self.rewrite()?,
        }
        self.pending.clear();
        Ok(())
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

    /// Whether nobody else wrote since. Under the lock.
    fn is_as_left(&self) -> io::Result<bool> {
        let Some(left) = &self.left else {
            return Ok(false);
        };
        let file = match File::open(&self.path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(false),
            file => file?,
        };
        if file.metadata()?.len() != left.length {
            return Ok(false);
        }
        let mut head = vec![0; left.head.len()];
        file.read_exact_at(&mut head, 0)?;
        Ok(head == left.head)
    }

    /// Learns what stands in the file, as far as it is whole.
    fn read(&mut self) -> Result<(), CacheError> {
        self.left = None;
        let bytes = match fs::read(&self.path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
            bytes => bytes.map_err(|cause| self.io(cause))?,
        };
        if bytes.starts_with(MAGIC_OLD) {
            return Err(CacheError::Old(self.path.clone()));
        }
        let mut payloads = Vec::new();
        let good = segment::scan(&bytes, SEGMENT, true, &mut |place, payload: &[u8]| {
            payloads.push((place, payload.to_vec()));
        });
        let length = good.map_err(|_| self.sealed())?;
        let mut payloads = payloads.into_iter();
        // A file gets its name with its first record in it: without one it is damaged.
        let (first, head) = payloads.next().ok_or_else(|| self.sealed())?;
        let bound = self.check_head(&head)?;
        let mut found = HashMap::new();
        for (place, payload) in payloads {
            self.unseal(&bound, place.offset, payload, &mut found)
                .ok_or_else(|| self.sealed())?;
        }
        let known = self.refs.iter();
        self.pending = known
            .filter(|(place, reference)| found.get(*place) != Some(*reference))
            .map(|(place, reference)| (*place, *reference))
            .collect();
        found.extend(self.pending.iter().copied());
        self.refs = found;
        let head_end = usize::try_from(first.end()).unwrap_or(usize::MAX);
        let head = bytes.get(..head_end).unwrap_or_default().to_vec();
        self.left = Some(Left {
            head,
            bound,
            length,
        });
        Ok(())
    }

    /// What every record is bound to, if this is a head of this cache under this key.
    fn check_head(&self, head: &[u8]) -> Result<Vec<u8>, CacheError> {
        let parts = || {
            let (bound, tag) = head.split_at_checked(HEAD_BYTES)?;
            let (epoch, salt) = bound.strip_prefix(MAGIC)?.split_first_chunk::<32>()?;
            let key = self.sealing(salt)?;
            let mut tag = tag.to_vec();
            let opened = key.open_in_place(nonce(), Aad::from(bound), &mut tag);
            opened.ok()?.is_empty().then(|| (bound.to_vec(), epoch))
        };
        let (bound, epoch) = parts().ok_or_else(|| self.sealed())?;
        if epoch != self.epoch.as_bytes() {
            return Err(CacheError::Epoch(self.path.clone()));
        }
        Ok(bound)
    }

    /// Puts what is pending behind what is there, and syncs.
    fn append(&mut self, mut left: Left) -> Result<(), CacheError> {
        let mut buffer = Vec::new();
        let rows = self.pending.iter().map(|(place, it)| (place, it));
        self.seal(&left.bound, rows, &mut buffer, |_| {
            (left.length, left.length)
        })?;
        let write = || {
            let file = OpenOptions::new().write(true).open(&self.path)?;
            // What a crash tore off.
            file.set_len(left.length)?;
            file.write_all_at(&buffer, left.length)?;
            // A crash before this is done leaves a torn tail.
            file.sync_data()
        };
        write().map_err(|cause| self.io(cause))?;
        left.length += buffer.len() as u64;
        self.left = Some(left);
        Ok(())
    }

    /// Writes all refs into a new file, synced, then renamed over the old one.
    fn rewrite(&mut self) -> Result<(), CacheError> {
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(CacheError::Random)?;
        let bound = [MAGIC, self.epoch.as_bytes().as_slice(), &salt].concat();
        let mut tag = Vec::new();
        self.seal_once(&salt, &bound, &mut tag)?;
        let mut bytes = segment::HEAD.to_vec();
        let first = [bound.as_slice(), &tag].concat();
        segment::frame(SEGMENT, 0, 0, &first, &mut bytes);
        let head = bytes.clone();
        // All before a record is on disk before the file has its name.
        self.seal(&bound, self.refs.iter(), &mut bytes, |length| (0, length))?;
        let partial = self.beside(".partial");
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&partial)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            // A crash here leaves the old file and a whole new one beside it.
            fs::rename(&partial, &self.path)?;
            let folder = self.path.parent().filter(|folder| *folder != Path::new(""));
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        };
        write().map_err(|cause| self.io(cause))?;
        let length = bytes.len() as u64;
        self.left = Some(Left {
            head,
            bound,
            length,
        });
        Ok(())
    }

    /// Puts sealed records of these rows into the buffer. `at`: where the buffer comes in the file, and how much is durable before a record
    /// that comes behind so many bytes of it.
    fn seal<'a>(
        &self,
        bound: &[u8],
        rows: impl Iterator<Item = (&'a Hash, &'a Hash)>,
        buffer: &mut Vec<u8>,
        at: impl Fn(u64) -> (u64, u64),
    ) -> Result<(), CacheError> {
        let mut rows = rows.peekable();
        while rows.peek().is_some() {
            let mut salt = [0; SALT_BYTES];
            getrandom::fill(&mut salt).map_err(CacheError::Random)?;
            let mut text = Vec::new();
            for (place, reference) in rows.by_ref().take(RECORD_ROWS) {
                text.extend_from_slice(place.as_bytes());
                text.extend_from_slice(reference.as_bytes());
            }
            let (begin, durable) = at(buffer.len() as u64);
            let offset = begin + buffer.len() as u64;
            let bound = [bound, &offset.to_be_bytes()].concat();
            self.seal_once(&salt, &bound, &mut text)?;
            let payload = [salt.as_slice(), &text].concat();
            segment::frame(SEGMENT, begin, durable, &payload, buffer);
        }
        Ok(())
    }

    fn seal_once(
        &self,
        salt: &[u8; SALT_BYTES],
        bound: &[u8],
        text: &mut Vec<u8>,
    ) -> Result<(), CacheError> {
        self.sealing(salt)
            .and_then(|key| {
                key.seal_in_place_append_tag(nonce(), Aad::from(bound), text)
                    .ok()
            })
            .ok_or_else(|| self.sealed())
    }

    fn unseal(
        &self,
        bound: &[u8],
        offset: u64,
        mut payload: Vec<u8>,
        found: &mut HashMap<Hash, Hash>,
    ) -> Option<()> {
        let (salt, sealed) = payload.split_at_mut_checked(SALT_BYTES)?;
        let bound = [bound, &offset.to_be_bytes()].concat();
        let rows = self
            .sealing(salt)?
            .open_in_place(nonce(), Aad::from(&bound), sealed)
            .ok()?;
        let (rows, rest) = rows.as_chunks::<ROW_BYTES>();
        for row in rows {
            let (place, reference) = row.split_first_chunk::<32>()?;
            found.insert(Hash(*place), Hash::from_slice(reference)?);
        }
        rest.is_empty().then_some(())
    }

    fn sealing(&self, salt: &[u8]) -> Option<LessSafeKey> {
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(self.key.as_slice());
        let expanded = secret
            .expand(&[b"visto refs: seal"], &CHACHA20_POLY1305)
            .ok()?;
        Some(LessSafeKey::new(UnboundKey::from(expanded)))
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(ending);
        PathBuf::from(name)
    }

    fn sealed(&self) -> CacheError {
        CacheError::Sealed(self.path.clone())
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

/// Each record has a key of its own, which seals once.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// How long a file of so many refs is that was just written anew.
fn compact_bytes(refs: usize) -> u64 {
    let records = refs.div_ceil(RECORD_ROWS) * (segment::FRAME_BYTES + SALT_BYTES + TAG_BYTES);
    let head = segment::HEAD.len() + segment::FRAME_BYTES + HEAD_BYTES + TAG_BYTES;
    (head + records + refs * ROW_BYTES) as u64
}

const MAGIC: &[u8] = b"visto refs 2\n";
const MAGIC_OLD: &[u8] = b"visto refs 1\n";
/// The one segment.
const SEGMENT: u64 = 1;
const SALT_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const HEAD_BYTES: usize = MAGIC.len() + 32 + SALT_BYTES;
const ROW_BYTES: usize = 64;
/// A record of so many is half a MiB.
const RECORD_ROWS: usize = 8192;
/// A file shorter than this is not worth writing anew.
const COMPACT_BYTES_MIN: u64 = 64 * 1024;
