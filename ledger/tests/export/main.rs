// SPDX-License-Identifier: EUPL-1.2
//! Exports of a small ledger, verified, and lied about.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod audit;
mod begin;
mod binary;
#[allow(dead_code)]
mod book;
mod format;
mod gone;
#[allow(dead_code)]
mod lies;

mod membership;
mod story;
#[path = "../admission/town.rs"]
#[allow(dead_code)]
mod town;
mod verifier;
