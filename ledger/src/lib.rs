// SPDX-License-Identifier: EUPL-1.2
//! Visto's pure core: what is signed, hashed, stored and proved, and what is admitted.
//!
//! No I/O, no clock, no chance and no async: whoever calls hands in bytes, times and salts, and gets values back. The crate cannot name
//! `std`, so a reader need not check. Formats are those of Visto's byte specification, RFC 6962 and C2SP (signed-note,
//! tlog-checkpoint, tlog-cosignature, tlog-tiles, tlog-proof, tlog-policy).
//!
//! The way of an entry: [`entry::SubmittedEntry`] (bytes as sent) → [`entry::VerifiedEntry`] (one constructor: signatures, schema and
//! disclosures hold) → [`admission::apply`] (judged against state) → [`entry::SequencedEntry`] (has an index, a leaf and findings).
#![no_std]
extern crate alloc;

pub mod admission;
pub mod base64;
pub mod body;
pub mod bytes;
pub mod consent;
pub mod disclosure;
pub mod entry;
pub mod erasure;
pub mod finding;
pub mod fold;
pub mod governance;
pub mod hash;
pub mod household;
pub mod id;
pub mod json;
pub mod key;
pub mod number;
pub mod oprf;
pub mod pair;
pub mod refusal;
pub mod retention;
pub mod rules;
pub mod signature;
pub mod state;
pub mod time;

pub mod audit;
pub mod checkpoint;
pub mod cosignature;
pub mod export;
pub mod merkle;
pub mod note;
pub mod policy;
pub mod receipt;
pub mod state_map;
pub mod tile;
pub mod tlog_proof;
