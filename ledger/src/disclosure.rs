// SPDX-License-Identifier: EUPL-1.2
//! Values that travel outside the body (RFC 9901, array-element form).
