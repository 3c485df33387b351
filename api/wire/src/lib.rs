// SPDX-License-Identifier: EUPL-1.2
//! JSON twins of Visto's HTTP API: requests, answers, problem documents, and a reader's token.
//!
//! Only the rim knows JSON: the types of `ledger` do not serialise, these do. Members are camelCase as in entry bodies; only the paging
//! members (`items`, `limit`, `cursor`, `next_cursor`) have the names that the Italian API guideline fixes. Binary values are base64url
//! without padding, times are `YYYY-MM-DDTHH:MM:SS.sssZ`, counts and indexes are numbers. The crate names neither storage, nor Raft, nor an HTTP framework,
//! so that clients can share it.

pub mod admin;
pub mod consent;
pub mod entry;
pub mod erasure;
pub mod exchange;
pub mod export;
pub mod household;
pub mod problem;
pub mod proof;
pub mod pseudonym;
pub mod registry;
pub mod scope;
pub mod search;
pub mod token;
pub mod tracing;
pub mod usage;

pub use problem::{Problem, ProblemError};

/// Media type of problem documents (RFC 9457).
pub const PROBLEM_JSON: &str = "application/problem+json";
/// Media type of a single entry, and of every other JSON body.
pub const JSON: &str = "application/json";
/// Media type of a tracing file of the national platform (PDND).
pub const CSV: &str = "text/csv";
/// Media type of a batch of entries, one a line.
pub const NDJSON: &str = "application/x-ndjson";
/// Most entries in one batch.
pub const BATCH_ENTRIES_MAX: usize = 1_000;
/// Most items on one page of a search.
pub const PAGE_ITEMS_MAX: u32 = 100;
