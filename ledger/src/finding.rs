// SPDX-License-Identifier: EUPL-1.2
//! Findings: what is wrong with an accepted entry.
