// SPDX-License-Identifier: EUPL-1.2
//! Makes a cluster's peer CA and node certificates.
