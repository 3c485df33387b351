// SPDX-License-Identifier: EUPL-1.2
//! What openraft replicates: the types behind [`TypeConfig`]. Nothing outside this crate sees openraft.
//!
//! One raft_entry carries a [`Batch`] of submissions. Its bytes, in the Raft log and between peers, are postcard's; the submissions inside
//! are opaque here and keep the ledger's own binary form, so that what was signed stands once in each Raft log.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::stage::Stage;
use crate::store::snapshot::SnapshotDir;
use crate::store::verify::Verified;

openraft::declare_raft_types!(
    /// openraft's view of this crate. A node's address is no Raft datum: it stands in the `node` entries and the configuration.
    pub(crate) TypeConfig:
        D = Batch,
        R = BatchResult,
        NodeId = u64,
        Node = openraft::EmptyNode,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = SnapshotDir,
        AsyncRuntime = openraft::TokioRuntime,
);

pub(crate) type Raft = openraft::Raft<TypeConfig>;
pub(crate) type RaftEntry = openraft::Entry<TypeConfig>;
pub(crate) type RaftLogId = openraft::LogId<u64>;
pub(crate) type RaftVote = openraft::Vote<u64>;
pub(crate) type RaftMembership = openraft::StoredMembership<u64, openraft::EmptyNode>;
pub(crate) type RaftSnapshotMeta = openraft::SnapshotMeta<u64, openraft::EmptyNode>;
pub(crate) type StorageError = openraft::StorageError<u64>;

/// Submissions that share one raft_entry and one stamp. Cloning is cheap: openraft clones on every hop.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Batch(Arc<BatchData>);

/// The content of a [`Batch`].
#[derive(Serialize, Deserialize)]
pub(crate) struct BatchData {
    /// The leader's clock, milliseconds since 1970. Apply takes the greater of this and the previous entry's time.
    pub(crate) stamp_ms: u64,
    pub(crate) items: Vec<BatchItem>,
    pub(crate) word: Word,
    /// Set when this process hands the batch to its own Raft log: until then a failed proposal was certainly not written.
    #[serde(skip)]
    appended: AtomicBool,
    /// When this process proposed it; none in what came from a peer or from disk.
    #[serde(skip)]
    proposed: Option<Instant>,
    /// When this process saw it committed.
    #[serde(skip)]
    committed: OnceLock<Instant>,
    /// Runs of items that somebody in this process took to verify them.
    #[serde(skip)]
    claimed: AtomicUsize,
}

/// What a leader says to all nodes besides; such a batch carries no submission.
#[derive(Serialize, Deserialize)]
pub(crate) enum Word {
    Nothing,
    /// A checkpoint that a majority cosigned. It goes through Raft, so that all nodes keep the same ones, and an entry has one receipt.
    Note(String),
    /// Fold what is applied. It goes through Raft, so that all nodes fold the same entries and come to one root.
    Fold,
}

/// One submission.
#[derive(Serialize, Deserialize)]
pub(crate) struct BatchItem {
    /// `SubmittedEntry::encode`.
    pub(crate) entry: Bytes,
    /// 32 random bytes drawn by the proposing leader.
    pub(crate) body_salt: [u8; 32],
    /// What this process found when it verified the entry. Never stored, never sent: every node finds out for itself.
    #[serde(skip)]
    pub(crate) verified: Mutex<Option<Verified>>,
}

impl BatchItem {
    pub(crate) fn new(entry: Bytes, body_salt: [u8; 32], verified: Option<Verified>) -> BatchItem {
        BatchItem {
            entry,
            body_salt,
            verified: Mutex::new(verified),
        }
    }
}

impl Batch {
    pub(crate) fn new(stamp_ms: u64, items: Vec<BatchItem>) -> Batch {
        Batch::with(stamp_ms, items, Word::Nothing)
    }

    /// Carries a published checkpoint and no submission.
    pub(crate) fn of_note(note: String) -> Batch {
        Batch::with(0, Vec::new(), Word::Note(note))
    }

    /// Orders a fold and carries no submission.
    pub(crate) fn of_fold() -> Batch {
        Batch::with(0, Vec::new(), Word::Fold)
    }

    fn with(stamp_ms: u64, items: Vec<BatchItem>, word: Word) -> Batch {
        Batch(Arc::new(BatchData {
            stamp_ms,
            items,
            word,
            appended: AtomicBool::new(false),
            proposed: Some(Instant::now()),
            committed: OnceLock::new(),
            claimed: AtomicUsize::new(0),
        }))
    }

    pub(crate) fn mark_appended(&self) {
        self.0.appended.store(true, Ordering::Release);
    }

    /// The next run of items that nobody took yet; beyond the last when there is none.
    pub(crate) fn claim(&self) -> usize {
        self.0.claimed.fetch_add(1, Ordering::AcqRel)
    }

    pub(crate) fn is_claimed(&self) -> bool {
        self.0.claimed.load(Ordering::Acquire) > 0
    }

    pub(crate) fn is_appended(&self) -> bool {
        self.0.appended.load(Ordering::Acquire)
    }

    /// Whether another process proposed it, as far as is known.
    pub(crate) fn is_from_peer(&self) -> bool {
        self.0.proposed.is_none() && !self.items.is_empty()
    }

    /// Called when Raft hands it over to be applied.
    pub(crate) fn mark_committed(&self) {
        let first = self.0.committed.set(Instant::now()).is_ok();
        if let (true, Some(proposed), false) = (first, self.0.proposed, self.items.is_empty()) {
            Stage::Replicate.took(proposed.elapsed());
        }
    }

    /// When this process saw it committed, if it carries submissions.
    pub(crate) fn committed(&self) -> Option<Instant> {
        let committed = self.0.committed.get().copied();
        committed.filter(|_| !self.items.is_empty())
    }
}

impl std::ops::Deref for Batch {
    type Target = BatchData;

    fn deref(&self) -> &BatchData {
        &self.0
    }
}

/// Says how much, never what: a batch holds personal data.
impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Batch({} items, stamp {})",
            self.items.len(),
            self.stamp_ms
        )
    }
}

/// One answer per item, in the order of the batch; empty for raft_entries that carry none (blank, membership).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct BatchResult(pub(crate) Vec<ItemResult>);

/// What apply said to one submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ItemResult {
    /// It stands in the tree. `again`: it did so before this batch (same id, same bytes, same signer).
    Accepted {
        index: u64,
        leaf_hash: [u8; 32],
        accepted_at_ms: u64,
        findings: u32,
        again: bool,
    },
    /// A rule said no. `code` is the refusal's stable code, `pointer` the JSON pointer to the member at fault, perhaps empty.
    Refused { code: String, pointer: String },
}
