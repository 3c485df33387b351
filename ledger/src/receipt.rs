// SPDX-License-Identifier: EUPL-1.2
//! Receipts: a tlog-proof that carries what the leaf commits to.
