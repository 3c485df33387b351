// SPDX-License-Identifier: EUPL-1.2
//! How nodes speak to each other.
