// SPDX-License-Identifier: EUPL-1.2
//! Why an entry is not accepted: one closed list.
