// SPDX-License-Identifier: EUPL-1.2
//! The harness of the integration tests: real node processes of the real binary, with real disks, and a judge of what they did.
//!
//! [`cluster::Cluster`] starts nodes and breaks them; [`world`] is the cast; [`sign`] writes entries as a stranger would;
//! [`load`] keeps clients busy and records into a [`history::Recorder`], which judges the run at its end.

// All of this is test: a panic is how it fails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

pub mod cluster;
pub mod figures;
pub mod gate;
pub mod history;
pub mod http;
pub mod leaves;
pub mod load;
pub mod loader;
pub mod node;
pub mod oprf;
pub mod plaintext;
pub mod proxy;
pub mod secrets;
pub mod sign;
pub mod wait;
pub mod world;
