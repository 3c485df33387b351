// SPDX-License-Identifier: EUPL-1.2
//! Publishes checkpoints: the leader states a size, every node cosigns what it computed itself, and a majority of the nodes in force at
//! that size makes a checkpoint published.
//!
//! [`quorum`] knows whose signatures count, [`cosigner`] decides what this node signs, [`publisher`] collects on the leader, [`keeper`]
//! shows what is published, [`delay`] measures how long that took. A cosigned checkpoint goes through Raft (`store::apply` keeps it), so every node has the same ones.

pub(crate) mod cosigner;
pub(crate) mod delay;
pub(crate) mod keeper;
pub(crate) mod publisher;
pub(crate) mod quorum;
