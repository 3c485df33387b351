// SPDX-License-Identifier: EUPL-1.2
//! The sparse Merkle map under the state root.
