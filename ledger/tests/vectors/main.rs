// SPDX-License-Identifier: EUPL-1.2
//! The test vectors of the byte specification (`tests/data/visto-v1.json`), made and checked by an implementation that shares nothing
//! with this one: every value is reproduced, every entry to be accepted is, and every other is refused for the reason named.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod bodies;
mod entries;
mod file;
mod formats;
mod maps;
mod precedence;
mod receipts;
mod refusals;
mod state;
mod verifier;
