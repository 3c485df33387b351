// SPDX-License-Identifier: EUPL-1.2
//! What is hot and has no face of its own, for `benches/` alone.

use bytes::Bytes;
use ledger::entry::SubmittedEntry;
use openraft::{CommittedLeaderId, EntryPayload, LogId};

use crate::error::Error;
use crate::raft_types::{Batch, BatchItem, RaftEntry};
use crate::store::db;

/// A raft_entry with submissions, as the Raft log holds it and peers send it.
pub struct RaftPayload(RaftEntry);

impl RaftPayload {
    /// As a leader proposes it.
    pub fn of(entries: &[SubmittedEntry]) -> RaftPayload {
        let item = |entry: &SubmittedEntry| {
            let encoded = Bytes::from(entry.encode());
            BatchItem::new(encoded, [0; 32], None)
        };
        let batch = Batch::new(1, entries.iter().map(item).collect());
        RaftPayload(RaftEntry {
            log_id: LogId::new(CommittedLeaderId::new(1, 1), 1),
            payload: EntryPayload::Normal(batch),
        })
    }

    /// Its bytes.
    ///
    /// # Errors
    /// None that is known.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        db::encode(&self.0)
    }

    /// From its bytes; none if they are not one's.
    pub fn decode(bytes: &[u8]) -> Option<RaftPayload> {
        db::decode(bytes).ok().map(RaftPayload)
    }
}
