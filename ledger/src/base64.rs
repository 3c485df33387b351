// SPDX-License-Identifier: EUPL-1.2
//! Strict, canonical base64 and base64url.
