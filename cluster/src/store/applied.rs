// SPDX-License-Identifier: EUPL-1.2
//! How far the log is applied: one record, written with everything that it speaks of.

use openraft::StoredMembership;
use serde::{Deserialize, Serialize};

use crate::raft_types::{RaftLogId, RaftMembership};

/// Stands in the same write as the effects of the raft_entries it covers: a state folder is always wholly before or wholly after an apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Applied {
    /// Last raft_entry applied.
    pub(crate) raft_log_id: Option<RaftLogId>,
    pub(crate) membership: RaftMembership,
    pub(crate) tree_size: u64,
    /// Root of the tree of that size.
    pub(crate) root: [u8; 32],
    /// Time of the last entry, milliseconds since 1970.
    pub(crate) accepted_at_ms: u64,
    /// Size of the newest published checkpoint.
    pub(crate) published_size: u64,
}

impl Applied {
    /// Of a state in which nothing happened.
    pub(crate) fn nothing() -> Applied {
        Applied {
            raft_log_id: None,
            membership: StoredMembership::default(),
            tree_size: 0,
            root: *ledger::merkle::empty_root().as_bytes(),
            accepted_at_ms: 0,
            published_size: 0,
        }
    }
}
