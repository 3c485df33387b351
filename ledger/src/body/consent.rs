// SPDX-License-Identifier: EUPL-1.2
//! `consent`, type 3: an event of a consent record (ISO/IEC TS 27560).

use alloc::{string::String, vec::Vec};

use super::Disclosed;
use crate::{hash::Hash, id::InstitutionId};

/// One event of a consent record.
#[derive(Clone, Debug, PartialEq)]
pub struct Consent {
    /// The record that the event belongs to.
    pub record: String,
    /// Whose consent: the ref.
    pub subject: Disclosed<Hash>,
    /// What happened.
    pub event: ConsentEvent,
    /// Who spoke.
    pub entity: Option<ConsentEntity>,
    /// Purposes, CURIEs; there in `given` and `renewed`.
    pub purposes: Option<Vec<String>>,
    /// Institutions that may see the data.
    pub recipients: Option<Vec<String>>,
    /// Data categories, CURIEs.
    pub data_categories: Option<Vec<String>>,
    /// From when, ms since the epoch.
    pub valid_from_ms: Option<u64>,
    /// Until when, ms since the epoch; open if absent.
    pub valid_until_ms: Option<u64>,
    /// The notice that was shown.
    pub notice: Option<Notice>,
    /// Level of assurance of the person.
    pub loa: Option<String>,
    /// How it was indicated.
    pub indication: Option<String>,
}

/// What happened to a consent record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ConsentEvent {
    Given,
    Refused,
    Withdrawn,
    Renewed,
}

/// Who spoke for the person. `self` is the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ConsentEntity {
    Myself,
    Parent,
    Guardian,
    Delegate,
}

/// The privacy notice that was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Notice {
    pub uri: String,
    pub version: String,
    pub sha256: Hash,
    pub language: String,
}
