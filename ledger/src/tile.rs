// SPDX-License-Identifier: EUPL-1.2
//! C2SP tlog-tiles: paths and bytes.
