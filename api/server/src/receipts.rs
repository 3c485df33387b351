// SPDX-License-Identifier: EUPL-1.2
//! Entries in the shapes that others publish, so that systems which know nothing of this ledger can read them: consent records and receipts of
//! ISO/IEC TS 27560 by the Data Privacy Vocabulary, and accesses as audit events of FHIR R4 by IHE's BALP. Each mapping stands in one file and
//! is tested against what its publisher ships. What an entry does not say is left out, never made up.

pub mod audit_event;
pub mod consent_record;
