// SPDX-License-Identifier: EUPL-1.2
//! What stops a node.

use std::fmt;
use std::sync::Arc;

/// Why the node cannot go on, or could not start. Cheap to clone; names the file or key at fault, never its content.
///
/// What to do: a `Corrupt` node is replaced from its peers, never repaired in place; after `Io` the cause (full disk, failed device) is mended
/// and the node restarted; `Config` is for the operator to correct.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What kind of trouble an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Stored bytes are not what was stored: a checksum, a hash or a layout does not hold.
    Corrupt,
    /// The operating system or RocksDB refused a read, a write or an fsync.
    Io,
    /// The configuration contradicts itself, or what is stored.
    Config,
    /// The Raft engine stopped.
    Raft,
    /// A peer, or this node, computed another root: the ledger's state diverged.
    Diverged,
    /// No quorum answered in time, or this node knows no leader.
    NoQuorum,
    /// The node is shutting down.
    ShuttingDown,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Arc::new(Inner {
            kind,
            message: message.into(),
            source: None,
        }))
    }

    pub(crate) fn with_source(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error(Arc::new(Inner {
            kind,
            message: message.into(),
            source: Some(source.into()),
        }))
    }

    pub(crate) fn corrupt(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Corrupt, message)
    }

    pub(crate) fn io(
        message: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error::with_source(ErrorKind::Io, message, source)
    }

    /// What kind of trouble it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
