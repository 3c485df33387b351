// SPDX-License-Identifier: EUPL-1.2
//! Consent status: a fold over a record's events.
