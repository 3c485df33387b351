// SPDX-License-Identifier: EUPL-1.2
//! What is signed, hashed or stored: the one home of every layout and domain string.

pub mod state;
