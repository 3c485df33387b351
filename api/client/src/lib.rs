// SPDX-License-Identifier: BSD-3-Clause
//! Client of a Visto ledger: for institutions' systems that log accesses and consents, and for whoever reads and verifies.
//!
//! - [`modi`]: calls as Italian e-services receive them, checked, and turned into what an `access` entry needs;
//! - [`build`]: from plain values to signed entries, singly or in batches;
//! - [`http`]: submit with retries that never write twice, search, fetch receipts;
//! - [`receipt`]: check a receipt against a trust policy, without trusting the server that sent it;
//! - [`gate`]: for providers, no entry, no data: a layer in front of a service that lets only calls through whose access is on record;
//! - [`outbox`]: entries that must reach the ledger, on disk until they have;
//! - [`cover`]: for consumers, put an access on record and show that with the request;
//! - [`pseudonym`]: refs of codes, evaluated by the cluster without showing it the codes;
//! - [`token`], [`keyfile`], [`tax_code`], [`journal`]: what the above needs.
//!
//! The crate names no storage, no Raft and no web framework, and its licence (BSD-3-Clause) lets anyone build it in.

pub mod build;
pub mod cover;
pub mod error;
pub mod gate;
pub mod http;
pub mod journal;
pub mod keyfile;
pub mod modi;
pub mod outbox;
pub mod pseudonym;
pub mod receipt;
pub mod tax_code;
pub mod token;
