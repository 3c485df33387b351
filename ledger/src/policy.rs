// SPDX-License-Identifier: EUPL-1.2
//! C2SP tlog-policy: which keys a verifier trusts, and how many.
