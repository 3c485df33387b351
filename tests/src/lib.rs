// SPDX-License-Identifier: EUPL-1.2
//! The harness of the integration tests: real node processes of the real binary, with real disks, and a judge of what they did.

pub mod history;
