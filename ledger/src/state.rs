// SPDX-License-Identifier: EUPL-1.2
//! Names and values of the replicated state.
