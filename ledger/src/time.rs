// SPDX-License-Identifier: EUPL-1.2
//! Timestamps and dates as the bodies have them.
