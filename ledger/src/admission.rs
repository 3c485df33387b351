// SPDX-License-Identifier: EUPL-1.2
//! Decides what is admitted, and performs it on state.
