// SPDX-License-Identifier: EUPL-1.2
//! Makes the Raft group follow the `node` entries.
