// SPDX-License-Identifier: EUPL-1.2
//! Entries before and after verification and sequencing.
