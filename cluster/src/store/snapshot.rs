// SPDX-License-Identifier: EUPL-1.2
//! A raft_snapshot is a directory: a RocksDB checkpoint (hard links), pinned together with the raft_log_id applied in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A snapshot's directory, built here or received from a peer. It is removed with its last handle once a newer one took its place, so
/// whoever streams it may take the time that takes.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotDir(Arc<Held>);

#[derive(Debug)]
struct Held {
    path: PathBuf,
    manifest: Manifest,
}

/// What a snapshot holds; hashes over whole files. Travels first, and everything after is checked against it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) files: Vec<ManifestFile>,
    /// Tree size of the ledger in it.
    pub(crate) tree_size: u64,
    /// Root of the tree of that size.
    pub(crate) root: [u8; 32],
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ManifestFile {
    /// A plain name, no separators.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: [u8; 32],
}

impl SnapshotDir {
    /// Where the files are.
    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }
}
