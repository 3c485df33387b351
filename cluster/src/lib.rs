// SPDX-License-Identifier: EUPL-1.2
//! Replicates, applies, publishes and keeps the ledger: openraft over RocksDB, behind one face, `Node`.
//!
//! The way of an entry through this crate: `node` (submit, forward once to the leader) → `propose` (batch, stamp, salt) → `store::log`
//! (raft_entry fsynced, on a quorum = committed) → `store::machine` (apply: judged by the ledger's rules, one write per call) → `publish`
//! (cosigned by a majority of nodes). `peer` is how nodes speak to each other; `membership` makes the Raft group follow the `node` entries.

#[allow(dead_code)]
mod error;
mod face;
#[allow(dead_code)]
mod raft_types;
#[allow(dead_code)]
mod store;

pub mod certs;
#[allow(dead_code)]
mod clock;
#[allow(dead_code)]
mod membership;
#[allow(dead_code)]
mod net;
#[allow(dead_code)]
mod peer;
#[allow(dead_code)]
mod publish;

pub use clock::Clock;
pub use error::{Error, ErrorKind};
pub use face::{
    Accepted, Config, Failure, NodeKeys, Outcome, Published, Role, Status, Tuning, Until,
};
pub use peer::tls::{PeerTls, TlsError};
pub use store::view::{Direction, View};
