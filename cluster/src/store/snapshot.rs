// SPDX-License-Identifier: EUPL-1.2
//! A raft_snapshot is a folder: a RocksDB checkpoint of the state (hard links), of the last flush, which holds the raft_log_id applied in it.
//!
//! Files of a checkpoint never change, but a database that is opened in the folder would change some: nobody opens a snapshot's folder for
//! writing. Beside each folder `NAME` lies `NAME.manifest`, written last; a folder without one was left by a crash and is removed at start.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ledger::hash::Hash;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::db;
use super::erase::Progress;
use crate::error::Error;
use crate::raft_types::{RaftLogId, RaftSnapshotMeta};

/// The most files a manifest may name.
pub(crate) const FILES_MAX: usize = 100_000;

/// A snapshot's folder, built here or received from a peer. The folder is removed with its last handle once a newer one took its place, or
/// if it never took one itself, so whoever streams it may take the time that takes.
#[derive(Clone)]
pub(crate) struct SnapshotDir(Arc<Held>);

struct Held {
    path: PathBuf,
    /// None until it is whole: received, or built.
    manifest: Mutex<Option<Arc<Manifest>>>,
    /// Received files that were verified, and are not written to any more.
    verified: Mutex<BTreeSet<ManifestFile>>,
    retired: AtomicBool,
}

/// What a snapshot holds; hashes over whole files. Travels first, and everything after is checked against it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) meta: RaftSnapshotMeta,
    /// Tree size of the ledger in it.
    pub(crate) tree_size: u64,
    /// Root of the tree of that size.
    pub(crate) root: [u8; 32],
    /// How many erasures nothing is left of in it.
    pub(crate) erased: Progress,
    pub(crate) files: Vec<ManifestFile>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ManifestFile {
    /// A plain name of letters, digits, `.`, `_` and `-`.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: [u8; 32],
}

impl SnapshotDir {
    fn new(path: PathBuf, manifest: Option<Manifest>) -> SnapshotDir {
        SnapshotDir(Arc::new(Held {
            path,
            manifest: Mutex::new(manifest.map(Arc::new)),
            verified: Mutex::default(),
            retired: AtomicBool::new(false),
        }))
    }

    /// Where the files are, or are to be put.
    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    /// What it holds; none until it is whole.
    pub(crate) fn manifest(&self) -> Option<Arc<Manifest>> {
        self.0.manifest.lock().clone()
    }

    /// Fsyncs a file that is received whole, and reads it back: it has its length and its SHA-256. So [`SnapshotDir::finish`] need not do it
    /// when all files are there.
    ///
    /// # Errors
    /// `Corrupt`, naming the file; the folder is then removed with its last handle.
    pub(crate) fn verify(&self, file: &ManifestFile) -> Result<(), Error> {
        // A crash here leaves a folder without a manifest, which the next start removes.
        verify_file(&self.0.path, file).inspect_err(|_| self.retire())?;
        self.0.verified.lock().insert(file.clone());
        Ok(())
    }

    /// Shares a file with a folder in which the very same was verified, if it can; nobody writes to it any more. Whether it did.
    pub(crate) fn take_verified(&self, file: &ManifestFile, from: &SnapshotDir) -> bool {
        let held = from.0.verified.lock().contains(file);
        let (theirs, ours) = (from.path().join(&file.name), self.path().join(&file.name));
        let taken = held && fs::hard_link(theirs, ours).is_ok();
        if taken {
            self.0.verified.lock().insert(file.clone());
        }
        taken
    }

    /// Ends receiving: every file is there, has its length and its SHA-256, is fsynced, and there is no other.
    ///
    /// # Errors
    /// `Corrupt`, naming the file; the folder is then removed with its last handle.
    pub(crate) fn finish(&self, manifest: Manifest) -> Result<(), Error> {
        let verified = verify_files(&self.0.path, &manifest, &self.0.verified.lock());
        if let Err(error) = verified {
            self.retire();
            return Err(error);
        }
        *self.0.manifest.lock() = Some(Arc::new(manifest));
        Ok(())
    }

    /// The folder goes when the last handle does.
    pub(crate) fn retire(&self) {
        self.0.retired.store(true, Ordering::Release);
    }
}

impl std::fmt::Debug for SnapshotDir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SnapshotDir({})", self.0.path.display())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if *self.retired.get_mut() {
            // The manifest first: a crash between the two leaves a folder without one.
            let removed = remove_file_if_there(&manifest_path(&self.path))
                .and_then(|()| fs::remove_dir_all(&self.path));
            if let Err(error) = removed {
                tracing::warn!(path = %self.path.display(), %error, "could not remove an old raft_snapshot");
            }
        }
    }
}

/// The folder `snapshots/` and the newest snapshot in it.
pub(crate) struct Snapshots {
    dir: PathBuf,
    next: u64,
    current: Option<SnapshotDir>,
    /// A snapshot that holds what was erased since: one as new as it takes its place.
    outdated: Option<PathBuf>,
    /// Hashes of files already hashed. A table or blob file keeps its name and never changes, so each is read once for all snapshots.
    hashed: BTreeMap<(String, u64), [u8; 32]>,
}

impl Snapshots {
    /// Finds the newest whole snapshot and removes what crashes left.
    pub(crate) fn open(dir: PathBuf) -> Result<Snapshots, Error> {
        let failed = |error| Error::io(format!("open {}", dir.display()), error);
        fs::create_dir_all(&dir).map_err(failed)?;
        let mut found = Vec::new();
        for item in fs::read_dir(&dir).map_err(failed)? {
            let path = item.map_err(failed)?.path();
            if path.is_dir() {
                found.push(path);
            } else if path.extension().is_some_and(|it| it == FRESH) {
                fs::remove_file(&path).map_err(failed)?;
            }
        }
        let mut whole: Vec<(PathBuf, Manifest)> = Vec::new();
        let mut next = 0;
        for path in found {
            next = next.max(number_of(&path) + 1);
            match read_manifest(&manifest_path(&path))? {
                Some(manifest) => whole.push((path, manifest)),
                None => fs::remove_dir_all(&path).map_err(failed)?,
            }
        }
        whole.sort_by_key(|(path, manifest)| (manifest.meta.last_log_id, number_of(path)));
        let current = whole
            .pop()
            .map(|(path, manifest)| SnapshotDir::new(path, Some(manifest)));
        for (path, manifest) in whole {
            SnapshotDir::new(path, Some(manifest)).retire();
        }
        let mut snapshots = Snapshots {
            dir,
            next,
            current: None,
            outdated: None,
            hashed: BTreeMap::new(),
        };
        if let Some(current) = current {
            snapshots.remember(&current);
            snapshots.current = Some(current);
        }
        Ok(snapshots)
    }

    /// Reads the current snapshot through.
    ///
    /// # Errors
    /// `Corrupt`, naming the file.
    pub(crate) fn verify(&self) -> Result<(), Error> {
        match self
            .current
            .as_ref()
            .and_then(|dir| Some((dir, dir.manifest()?)))
        {
            Some((dir, manifest)) => verify_files(dir.path(), &manifest, &BTreeSet::new()),
            None => Ok(()),
        }
    }

    pub(crate) fn current(&self) -> Option<SnapshotDir> {
        self.current.clone()
    }

    /// A name for a new folder. Numbers only grow, so no folder is mistaken for an older one.
    pub(crate) fn next_path(&mut self) -> PathBuf {
        let path = self.dir.join(format!("snapshot-{}", self.next));
        self.next += 1;
        path
    }

    /// An empty folder for a snapshot to be received.
    pub(crate) fn receive(&mut self) -> Result<SnapshotDir, Error> {
        let path = self.next_path();
        fs::create_dir(&path)
            .map_err(|error| Error::io(format!("create {}", path.display()), error))?;
        // A transfer that fails half-way leaves nothing behind.
        Ok(Snapshots::begun(path))
    }

    pub(crate) fn known_hashes(&self) -> BTreeMap<(String, u64), [u8; 32]> {
        self.hashed.clone()
    }

    /// The current snapshot, if it is at least as new as `at`: one that was installed while an older one was being built stays, and the
    /// hashes known are of its files.
    pub(crate) fn at_least(&self, at: Option<RaftLogId>) -> Option<SnapshotDir> {
        self.current.clone().filter(|current| {
            let outdated = self.outdated.as_deref() == Some(current.path());
            current.manifest().is_some_and(|manifest| {
                let id = manifest.meta.last_log_id;
                id > at || (id == at && !outdated)
            })
        })
    }

    /// Lets the next snapshot take the place of the current one even if nothing was applied in between.
    pub(crate) fn outdate(&mut self) {
        self.outdated = self.current.as_ref().map(|dir| dir.path().into());
    }

    /// A folder that is there and not whole yet: it goes with its last handle unless it is adopted.
    pub(crate) fn begun(path: PathBuf) -> SnapshotDir {
        let dir = SnapshotDir::new(path, None);
        dir.retire();
        dir
    }

    /// Makes a whole folder, built here or received, the current snapshot and lets the former go. Where the current one is at least as new, that
    /// one stays and is returned.
    ///
    /// # Errors
    /// The manifest cannot be written: the former one stays, and the folder goes with its last handle.
    pub(crate) fn adopt(
        &mut self,
        whole: &SnapshotDir,
        manifest: Arc<Manifest>,
    ) -> Result<SnapshotDir, Error> {
        if let Some(newer) = self.at_least(manifest.meta.last_log_id) {
            return Ok(newer);
        }
        // A crash before the manifest has its name leaves a folder without one, which the next start removes, as it does what was written of it.
        write_manifest(&manifest_path(whole.path()), &manifest)?;
        // A crash from here on leaves two whole folders: the next start takes the newer one and removes the other.
        *whole.0.manifest.lock() = Some(manifest);
        whole.0.retired.store(false, Ordering::Release);
        // A crash while the former one goes leaves it whole, or without its manifest, which goes first.
        self.replace(whole.clone());
        Ok(whole.clone())
    }

    fn replace(&mut self, new: SnapshotDir) {
        self.remember(&new);
        if let Some(old) = self.current.replace(new)
            && self
                .current
                .as_ref()
                .is_none_or(|current| current.path() != old.path())
        {
            old.retire();
        }
    }

    fn remember(&mut self, dir: &SnapshotDir) {
        let Some(manifest) = dir.manifest() else {
            return;
        };
        self.hashed = manifest
            .files
            .iter()
            .filter(|file| is_immutable(&file.name))
            .map(|file| ((file.name.clone(), file.bytes), file.sha256))
            .collect();
    }
}

/// Table and blob files: RocksDB never writes to them again, and never gives their number to another file.
pub(crate) fn is_immutable(name: &str) -> bool {
    name.ends_with(".sst") || name.ends_with(".blob")
}

/// Lists and hashes the files of a folder.
pub(crate) fn hash_files(
    dir: &Path,
    known: &BTreeMap<(String, u64), [u8; 32]>,
) -> Result<Vec<ManifestFile>, Error> {
    let failed = |error| Error::io(format!("read {}", dir.display()), error);
    let mut files = Vec::new();
    for item in fs::read_dir(dir).map_err(failed)? {
        let item = item.map_err(failed)?;
        let Ok(name) = item.file_name().into_string() else {
            return Err(Error::corrupt(format!(
                "{}: a file name that is no text",
                dir.display()
            )));
        };
        let bytes = item.metadata().map_err(failed)?.len();
        let sha256 = match known.get(&(name.clone(), bytes)) {
            Some(hash) if is_immutable(&name) => *hash,
            _ => hash_file(&item.path())?,
        };
        files.push(ManifestFile {
            name,
            bytes,
            sha256,
        });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

fn hash_file(path: &Path) -> Result<[u8; 32], Error> {
    let failed = |error| Error::io(format!("read {}", path.display()), error);
    let mut file = File::open(path).map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1024 * 1024];
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        match buffer.get(..read) {
            Some([]) | None => return Ok(hasher.finalize().into()),
            Some(bytes) => hasher.update(bytes),
        }
    }
}

/// Every file of the manifest is there, and no other; those not yet `verified` are.
fn verify_files(
    dir: &Path,
    manifest: &Manifest,
    verified: &BTreeSet<ManifestFile>,
) -> Result<(), Error> {
    let failed = |error| Error::io(format!("read {}", dir.display()), error);
    if manifest.files.len() > FILES_MAX {
        return Err(Error::corrupt(format!(
            "{}: the manifest names too many files",
            dir.display()
        )));
    }
    let there = fs::read_dir(dir).map_err(failed)?.count();
    if there != manifest.files.len() {
        return Err(Error::corrupt(format!(
            "{}: {there} files, but the manifest names {}",
            dir.display(),
            manifest.files.len()
        )));
    }
    for file in &manifest.files {
        if !is_plain_name(&file.name) {
            return Err(Error::corrupt(format!(
                "{}: the manifest names a file outside the folder",
                dir.display()
            )));
        }
        if !verified.contains(file) {
            verify_file(dir, file)?;
        }
    }
    sync_dir(dir)
}

fn verify_file(dir: &Path, file: &ManifestFile) -> Result<(), Error> {
    let path = dir.join(&file.name);
    let failed = |error| Error::io(format!("read {}", path.display()), error);
    let handle = File::open(&path).map_err(failed)?;
    handle.sync_all().map_err(failed)?;
    let bytes = handle.metadata().map_err(failed)?.len();
    if bytes != file.bytes || hash_file(&path)? != file.sha256 {
        return Err(Error::corrupt(format!(
            "{} is not the file that its manifest names",
            path.display()
        )));
    }
    Ok(())
}

/// Whether a name can only mean a file right in the folder.
pub(crate) fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Makes `to` a copy of the snapshot folder `from` that a database may be opened in: immutable files are shared, the others copied.
pub(crate) fn clone_files(from: &Path, to: &Path) -> Result<(), Error> {
    let failed = |error| {
        Error::io(
            format!("copy {} to {}", from.display(), to.display()),
            error,
        )
    };
    fs::create_dir(to).map_err(failed)?;
    for item in fs::read_dir(from).map_err(failed)? {
        let source = item.map_err(failed)?.path();
        let Some(name) = source.file_name() else {
            continue;
        };
        let target = to.join(name);
        let shared =
            is_immutable(&name.to_string_lossy()) && fs::hard_link(&source, &target).is_ok();
        if !shared {
            fs::copy(&source, &target).map_err(failed)?;
            File::open(&target)
                .and_then(|file| file.sync_all())
                .map_err(failed)?;
        }
    }
    sync_dir(to)
}

fn manifest_path(dir: &Path) -> PathBuf {
    dir.with_extension("manifest")
}

fn number_of(path: &Path) -> u64 {
    path.file_name()
        .and_then(|name| name.to_str()?.strip_prefix("snapshot-")?.parse().ok())
        .unwrap_or_default()
}

/// The manifest in a file, none if there is no such file.
fn read_manifest(path: &Path) -> Result<Option<Manifest>, Error> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(format!("read {}", path.display()), error)),
    };
    let corrupt = || Error::corrupt(format!("{} is not what was written", path.display()));
    let (content, hash) = bytes.split_last_chunk::<32>().ok_or_else(corrupt)?;
    if Hash::of(&[content]).as_bytes() != hash {
        return Err(corrupt());
    }
    db::decode(content).map(Some).map_err(|_| corrupt())
}

fn write_manifest(path: &Path, manifest: &Manifest) -> Result<(), Error> {
    let mut bytes = db::encode(manifest)?;
    let hash = Hash::of(&[&bytes]);
    bytes.extend_from_slice(hash.as_bytes());
    write_durably(path, &bytes)
}

/// What a small file's successor is called until it is whole.
const FRESH: &str = "fresh";

/// Writes a small file so that after a crash there is the old one or the new one, whole.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |error| Error::io(format!("write {}", path.display()), error);
    let fresh = path.with_extension(FRESH);
    let mut file = File::create(&fresh).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    // A crash here leaves the old file, and `fresh` to be written over.
    fs::rename(&fresh, path).map_err(failed)?;
    // A crash here leaves either; the folder's fsync decides.
    path.parent().map_or(Ok(()), sync_dir)
}

pub(crate) fn sync_dir(dir: &Path) -> Result<(), Error> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| Error::io(format!("fsync {}", dir.display()), error))
}

fn remove_file_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
