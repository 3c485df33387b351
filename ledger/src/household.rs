// SPDX-License-Identifier: EUPL-1.2
//! Who belonged to a household at a time.
