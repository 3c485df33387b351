// SPDX-License-Identifier: EUPL-1.2
//! `consent`, type 3: an event of a consent record (ISO/IEC TS 27560).

use alloc::{string::String, vec::Vec};

use super::{
    Disclosed,
    disclosed::{Slots, one},
    members::{Members, Writer, digest, list, text, timestamp, words},
};
use crate::{
    hash::Hash,
    json::Value,
    refusal::{Refusal, Refused},
    time::format_timestamp,
};

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

words! {
    /// What happened to a consent record.
    ConsentEvent { Given "given", Refused "refused", Withdrawn "withdrawn", Renewed "renewed" }
}

words! {
    /// Who spoke for the person. `self` is the default.
    ConsentEntity { Myself "self", Parent "parent", Guardian "guardian", Delegate "delegate" }
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

impl Consent {
    pub(super) fn parse(value: &Value<'_>, slots: &mut Slots<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let consent = Self {
            record: m.required("record", text)?,
            subject: m.required("subject", |value| one(value, slots))?,
            event: m.required("event", |value| words(value, ConsentEvent::parse))?,
            entity: m.optional("entity", |value| words(value, ConsentEntity::parse))?,
            purposes: m.optional("purposes", |value| list(value, text))?,
            recipients: m.optional("recipients", |value| list(value, text))?,
            data_categories: m.optional("dataCategories", |value| list(value, text))?,
            valid_from_ms: m.optional("validFrom", timestamp)?,
            valid_until_ms: m.optional("validUntil", timestamp)?,
            notice: m.optional("notice", Notice::parse)?,
            loa: m.optional("loa", text)?,
            indication: m.optional("indication", text)?,
        };
        let complete = consent.purposes.is_some()
            && consent.recipients.is_some()
            && consent.data_categories.is_some()
            && consent.valid_from_ms.is_some();
        if matches!(consent.event, ConsentEvent::Given | ConsentEvent::Renewed) && !complete {
            return Err(Refusal::Members.into());
        }
        m.close(consent)
    }

    pub(super) fn to_value(&self) -> Value<'_> {
        let mut w = Writer::new();
        w.put("record", &self.record);
        w.put("subject", &self.subject);
        w.put("event", self.event.as_str());
        w.put("entity", self.entity.map(ConsentEntity::as_str));
        w.put("purposes", &self.purposes);
        w.put("recipients", &self.recipients);
        w.put("dataCategories", &self.data_categories);
        w.put("validFrom", self.valid_from_ms.map(format_timestamp));
        w.put("validUntil", self.valid_until_ms.map(format_timestamp));
        w.put("notice", self.notice.as_ref().map(Notice::writer));
        w.put("loa", &self.loa);
        w.put("indication", &self.indication);
        w.into()
    }
}

impl Notice {
    fn parse(value: &Value<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let notice = Self {
            uri: m.required("uri", text)?,
            version: m.required("version", text)?,
            sha256: m.required("sha256", digest)?,
            language: m.required("language", text)?,
        };
        m.close(notice)
    }

    fn writer(&self) -> Writer<'_> {
        let mut w = Writer::new();
        w.put("uri", &self.uri);
        w.put("version", &self.version);
        w.put("sha256", self.sha256);
        w.put("language", &self.language);
        w
    }
}
