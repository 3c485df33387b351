// SPDX-License-Identifier: EUPL-1.2
//! Admission, told as transcripts (`tests/transcripts`, rewritten with `REWRITE=1`) and as properties of random histories.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod properties;
mod registry;
mod stops;
mod town;
mod transcript;
mod types;
