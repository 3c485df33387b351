// SPDX-License-Identifier: EUPL-1.2
//! What [`crate::Node`] takes and gives.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ledger::entry::SubmittedEntry;
use ledger::finding::Findings;
use ledger::hash::Hash;
use ledger::id::NodeNumber;
use ledger::key::SigningKey;
use ledger::number::{EntryIndex, TreeSize};
use ledger::refusal::Refused;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::store::db;

/// How one node runs.
pub struct Config {
    /// Folder of this node alone.
    pub data: PathBuf,
    /// Which node this is.
    pub node: NodeNumber,
    /// The ledger's name, such as `ledger.visto.example`.
    pub ledger: String,
    /// Where peers reach this node: bound by the caller.
    pub listen_peer: TcpListener,
    /// Addresses of peers, where they differ from those in the `node` entries.
    pub peers: BTreeMap<NodeNumber, String>,
    /// Files for mutual TLS between peers.
    pub tls: crate::PeerTls,
    /// The node's private keys.
    pub keys: NodeKeys,
    /// Entry 0, the same on all nodes.
    pub genesis: SubmittedEntry,
    /// Sizes and times.
    pub tuning: Tuning,
}

/// Private keys of a node; each has one use.
pub struct NodeKeys {
    /// Signs the entries that the node writes (use `node`).
    pub node: SigningKey,
    /// Cosigns checkpoints (use `cosign`).
    pub cosign: SigningKey,
    /// The log's key, the same on all nodes (use `log`): the one in force signs. Two of them let it be rotated without a gap.
    pub log: Vec<SigningKey>,
}

/// Sizes and times. The defaults are for production; tests lower them.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// raft_entries between snapshots.
    pub raft_snapshot_after: u64,
    /// Bytes of raft_entries between snapshots, or 1/64 of the state if that is more.
    pub raft_snapshot_bytes: u64,
    /// raft_entries kept for peers that were away, at most.
    pub raft_keep: u64,
    /// Bytes of raft_entries kept for peers that were away, or 1/32 of the state if that is more; the leader keeps eight times as much for a
    /// peer that lacks it.
    pub raft_keep_bytes: u64,
    /// Leader's heartbeat.
    pub heartbeat: Duration,
    /// A follower that heard nothing for one and a half to two of these stands for election; a leader that heard of no quorum for two refuses.
    pub election_timeout: Duration,
    /// Submissions in one raft_entry, at most.
    pub batch_entries_max: usize,
    /// Bytes of submissions in one raft_entry, at most, if that is more than one.
    pub batch_bytes_max: usize,
    /// Submissions that wait or are under way at the leader, at most; more are refused as overload.
    pub queue_entries_max: usize,
    /// Memory for RocksDB's caches. Filters of what may not be there take some 4 bytes an entry of it; what of them finds no room is read from the
    /// disk each time.
    pub cache_bytes: usize,
    /// Memory for writes that are not in a table file yet.
    pub write_buffer_bytes: usize,
    /// Bytes a second that flushes and compactions of the state write: an entry takes some 2 or 3 KB of them in all. `None` for no limit.
    pub background_bytes_per_s: Option<u64>,
    /// Memory for the newest raft_entries.
    pub tail_bytes: usize,
    /// A store of at most so many bytes is read whole, every checksum and hash, before the node starts; a larger one while it runs.
    pub scrub_bytes: u64,
    /// Least time between two rounds of publishing.
    pub publish_interval: Duration,
    /// Longest time that a round of publishing waits for entries which are under way, so that they are in it.
    pub publish_gather: Duration,
    /// Time between two state roots, if anything but the last one was added.
    pub fold_interval: Duration,
    /// Least time between two state roots, however many ask for one.
    pub fold_pause: Duration,
    /// So many entries without a state root get one before the interval is over.
    pub fold_entries_max: u64,
    /// Keys that a fold holds in memory.
    pub fold_pass_keys: usize,
    /// Keys that a fold writes at once: other writes wait for it.
    pub fold_step_keys: usize,
    /// Where the time comes from.
    pub clock: Clock,
}

impl Default for Tuning {
    fn default() -> Tuning {
        const MIB: usize = 1024 * 1024;
        Tuning {
            raft_snapshot_after: 20_000,
            raft_snapshot_bytes: 32 * MIB as u64,
            raft_keep: 1_000_000,
            raft_keep_bytes: 16 * MIB as u64,
            heartbeat: Duration::from_millis(200),
            election_timeout: Duration::from_millis(1000),
            batch_entries_max: 256,
            batch_bytes_max: 512 * 1024,
            queue_entries_max: 20_000,
            cache_bytes: 256 * MIB,
            write_buffer_bytes: 64 * MIB,
            background_bytes_per_s: Some(32_000_000),
            tail_bytes: 32 * MIB,
            scrub_bytes: 256 * MIB as u64,
            publish_interval: Duration::from_millis(5),
            publish_gather: Duration::from_millis(20),
            fold_interval: Duration::from_secs(10),
            fold_pause: Duration::from_secs(1),
            fold_entries_max: 200_000,
            fold_pass_keys: 250_000,
            fold_step_keys: 500,
            clock: Clock::system(),
        }
    }
}

/// When [`crate::Node::submit`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Until {
    /// When a quorum has the entry on disk.
    Committed,
    /// When it stands under a checkpoint that a majority of nodes cosigned.
    Published,
}

/// What became of a submission.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It stands in the ledger.
    Accepted(Accepted),
    /// A rule said no; nothing of it is kept.
    Refused(Refused),
    /// It was certainly not written; submit it again later.
    Failed(Failure),
    /// It may or may not have been written. Submit it again, with the same id: the ledger then says which.
    Unknown,
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its place.
    pub index: EntryIndex,
    /// Hash of its leaf.
    pub leaf_hash: Hash,
    /// Milliseconds since 1970.
    pub accepted_at_ms: u64,
    /// The judgement at acceptance.
    pub findings: Findings,
    /// How far it is: the same as was asked for, or `Committed` when publishing took longer than the deadline.
    pub state: Until,
    /// It was there before: the same entry was submitted again.
    pub again: bool,
}

/// Why a submission was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// No leader is known, or the leader has no quorum, or no trustworthy clock.
    NoQuorum,
    /// Too much is waiting.
    Overloaded,
    /// The node is about to stop.
    ShuttingDown,
}

/// A checkpoint that a majority of nodes cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its tree size.
    pub size: TreeSize,
    /// Its root.
    pub root: Hash,
    /// The signed note: the log's signature and the nodes' cosignatures.
    pub note: Arc<str>,
}

impl Published {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, crate::Error> {
        db::encode(&(self.size.0, self.root.as_bytes(), &*self.note))
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Published> {
        let (size, root, note): (u64, [u8; 32], &str) = db::decode(bytes).ok()?;
        Some(Published {
            size: TreeSize(size),
            root: Hash(root),
            note: note.into(),
        })
    }
}

/// How a node is doing.
#[derive(Clone, Debug)]
pub struct Status {
    /// Which node this is.
    pub node: NodeNumber,
    /// The leader it follows, or itself.
    pub leader: Option<NodeNumber>,
    /// Raft's term.
    pub term: u64,
    /// Its part in Raft.
    pub role: Role,
    /// Entries applied here.
    pub applied_size: TreeSize,
    /// Size of the newest published checkpoint known here.
    pub published_size: TreeSize,
    /// Size of the tree that this node folded last; 0 before the first state root.
    pub folded_size: TreeSize,
    /// Version of the state root that was stated last; 0 before the first.
    pub state_root_version: u64,
    /// Last raft_entry in the log here.
    pub raft_last: u64,
    /// Last raft_entry applied here.
    pub raft_applied: u64,
    /// Last raft_entry in the newest snapshot here.
    pub raft_snapshot: u64,
    /// First raft_entry that is still in the log, 0 if none was purged.
    pub raft_purged: u64,
    /// Voters, ascending.
    pub voters: Vec<NodeNumber>,
    /// Learners, ascending.
    pub learners: Vec<NodeNumber>,
    /// What the leader knows of its peers: last raft_entry that matches. Empty elsewhere.
    pub matched: BTreeMap<NodeNumber, u64>,
    /// This node's clock minus the median of the voters' clocks, milliseconds, if known.
    pub clock_offset_ms: Option<i64>,
    /// Whether this node knows a leader, and has no fatal error.
    pub healthy: bool,
}

/// Part in Raft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Proposes.
    Leader,
    /// Follows and votes.
    Follower,
    /// Stands for election.
    Candidate,
    /// Follows without a vote.
    Learner,
    /// Stopped.
    Shutdown,
}
