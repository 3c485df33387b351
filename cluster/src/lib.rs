// SPDX-License-Identifier: EUPL-1.2
//! Replicates, applies, publishes and keeps the ledger: openraft over RocksDB, behind one face, `Node`.
//!
//! The way of an entry through this crate: `node` (submit, forward once to the leader) → `propose` (batch, stamp, salt) → `store::log`
//! (raft_entry fsynced, on a quorum = committed) → `store::machine` (apply: judged by the ledger's rules, one write per call) → `publish`
//! (cosigned by a majority of nodes) → `fold` (list heads and state roots, off that way). `peer` is how nodes speak to each other; `membership` makes the Raft group follow the `node` entries.

mod clock;
mod erase;
mod error;
mod face;
mod fold;
mod raft_types;
mod store;
mod tasks;
mod trim;
mod workers;

pub mod certs;
#[doc(hidden)]
pub mod hot;
#[doc(hidden)]
pub mod load;
mod membership;
mod net;
mod node;
mod peer;
mod propose;
mod publish;
mod stage;

#[cfg(test)]
pub(crate) mod testbed;

pub use clock::Clock;
pub use error::{Error, ErrorKind};
pub use face::{
    Accepted, Config, Failure, NodeKeys, Outcome, Published, Role, Status, Tuning, Until,
};
pub use fold::Folded;
pub use node::Node;
pub use peer::tls::{PeerTls, TlsError};
pub use store::receipts::{Inclusion, Receipt, Said};
pub use store::size::{StoreBytes, WriteStall};
pub use store::view::{Direction, View};
