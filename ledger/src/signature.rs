// SPDX-License-Identifier: EUPL-1.2
//! Signatures over entries, singly and by batch.
