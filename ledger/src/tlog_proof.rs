// SPDX-License-Identifier: EUPL-1.2
//! C2SP tlog-proof.
