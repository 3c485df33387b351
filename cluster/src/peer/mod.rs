// SPDX-License-Identifier: EUPL-1.2
//! Peers: how the nodes of one cluster speak with each other, over mutual TLS on a listener of their own.

pub(crate) mod client;
pub(crate) mod frame;
pub(crate) mod raft_network;
pub(crate) mod rpc;
pub(crate) mod server;
pub(crate) mod service;
pub(crate) mod snapshot;
pub(crate) mod tls;
pub(crate) mod writer;

#[cfg(test)]
pub(crate) mod tests;
