// SPDX-License-Identifier: EUPL-1.2
//! The routes over a real node.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod doors;
mod exchanges;
mod exports;
mod gone;
mod meanwhile;
mod proofs;
mod pseudonyms;
mod reading;
mod refusals;
mod sealed;
mod usage;
