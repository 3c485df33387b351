// SPDX-License-Identifier: EUPL-1.2
//! Consents: a record is a fold over its events, in index order (ISO/IEC TS 27560).
//!
//! An event is `given`, `refused`, `withdrawn` or `renewed`, spoken by the person, a parent, a guardian or a delegate. Any participant may
//! record a withdrawal: it must be as easy as giving (Art. 7(3) GDPR). A consent counts from the index at which the ledger knew of it.

use alloc::{string::String, vec::Vec};

use crate::{
    body::consent::{Consent, ConsentEntity, ConsentEvent},
    bytes::{state::Writer, stored::Reader},
    finding::{Finding, Findings},
    number::EntryIndex,
};

/// A consent record of one person, as known at some index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentState {
    /// The last event.
    pub event: ConsentEvent,
    /// Where it stands.
    pub index: EntryIndex,
    /// When it was accepted, ms since the epoch.
    pub accepted_at_ms: u64,
    /// Who spoke.
    pub entity: ConsentEntity,
    /// Purposes last given or renewed; kept after a withdrawal, to show what was withdrawn.
    pub purposes: Vec<String>,
    /// Institutions that may see the data.
    pub recipients: Vec<String>,
    /// Data categories.
    pub data_categories: Vec<String>,
    /// From when, ms since the epoch.
    pub valid_from_ms: u64,
    /// Until when (no longer at that moment); open if absent.
    pub valid_until_ms: Option<u64>,
}

/// Where a consent record stands at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsentStatus {
    /// No event is known.
    Unknown,
    /// Given or renewed, and in time.
    Given,
    /// Given or renewed for a later time.
    NotYet,
    /// Given or renewed, and its time is over.
    Expired,
    /// Refused.
    Refused,
    /// Withdrawn.
    Withdrawn,
}

impl ConsentStatus {
    /// The word in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            ConsentStatus::Unknown => "unknown",
            ConsentStatus::Given => "given",
            ConsentStatus::NotYet => "not-yet",
            ConsentStatus::Expired => "expired",
            ConsentStatus::Refused => "refused",
            ConsentStatus::Withdrawn => "withdrawn",
        }
    }
}

/// What an access wants of a consent.
#[derive(Clone, Copy, Debug)]
pub struct Use<'a> {
    /// Its purpose.
    pub purpose: &'a str,
    /// Who receives the data.
    pub recipient: &'a str,
    /// Every category that it touches.
    pub data_categories: &'a [String],
    /// When it happened, ms since the epoch.
    pub at_ms: u64,
}

/// Whether an event changes the record. What a signer says for an institution that did not delegate it is on record with its finding,
/// and creates no consent; a withdrawal counts whoever recorded it.
pub fn counts(event: ConsentEvent, findings: Findings) -> bool {
    event == ConsentEvent::Withdrawn || !findings.contains(Finding::DelegationMissing)
}

/// The record after an event that [`counts`].
pub fn fold(
    before: Option<ConsentState>,
    event: &Consent,
    index: EntryIndex,
    accepted_at_ms: u64,
) -> ConsentState {
    let entity = event.entity.unwrap_or(ConsentEntity::Myself);
    let head = |before: ConsentState| ConsentState {
        event: event.event,
        index,
        accepted_at_ms,
        entity,
        ..before
    };
    match event.event {
        // A new scope replaces the old one: who renews says what for.
        ConsentEvent::Given | ConsentEvent::Renewed => head(ConsentState {
            purposes: event.purposes.clone().unwrap_or_default(),
            recipients: event.recipients.clone().unwrap_or_default(),
            data_categories: event.data_categories.clone().unwrap_or_default(),
            valid_from_ms: event.valid_from_ms.unwrap_or(u64::MAX),
            valid_until_ms: event.valid_until_ms,
            ..ConsentState::nothing()
        }),
        ConsentEvent::Refused | ConsentEvent::Withdrawn => {
            head(before.unwrap_or_else(ConsentState::nothing))
        }
    }
}

/// The status of a record at a time, as known at an index: a fold over its events up to and including that index. `events` are those that
/// [`counts`], in index order, each with its index and time of acceptance.
pub fn status_at<'a>(
    events: impl IntoIterator<Item = (EntryIndex, u64, &'a Consent)>,
    index: EntryIndex,
    time_ms: u64,
) -> ConsentStatus {
    events
        .into_iter()
        .take_while(|(at, _, _)| *at <= index)
        .fold(None, |before, (at, accepted_at_ms, event)| {
            Some(fold(before, event, at, accepted_at_ms))
        })
        .map_or(ConsentStatus::Unknown, |state| state.status(time_ms))
}

impl ConsentState {
    /// The status at a time.
    pub fn status(&self, time_ms: u64) -> ConsentStatus {
        match self.event {
            ConsentEvent::Refused => ConsentStatus::Refused,
            ConsentEvent::Withdrawn => ConsentStatus::Withdrawn,
            ConsentEvent::Given | ConsentEvent::Renewed if time_ms < self.valid_from_ms => {
                ConsentStatus::NotYet
            }
            ConsentEvent::Given | ConsentEvent::Renewed
                if self.valid_until_ms.is_some_and(|until| until <= time_ms) =>
            {
                ConsentStatus::Expired
            }
            ConsentEvent::Given | ConsentEvent::Renewed => ConsentStatus::Given,
        }
    }

    /// Whether the consent covers a use.
    ///
    /// # Errors
    /// The finding that says why not. A refused consent, and one for a later time, are *missing*: there was none.
    pub fn covers(&self, wanted: &Use<'_>) -> Result<(), Finding> {
        match self.status(wanted.at_ms) {
            ConsentStatus::Unknown | ConsentStatus::Refused | ConsentStatus::NotYet => {
                return Err(Finding::ConsentMissing);
            }
            ConsentStatus::Withdrawn => return Err(Finding::ConsentWithdrawn),
            ConsentStatus::Expired => return Err(Finding::ConsentExpired),
            ConsentStatus::Given => {}
        }
        let has = |list: &[String], value: &str| list.iter().any(|item| item == value);
        let in_scope = has(&self.purposes, wanted.purpose)
            && has(&self.recipients, wanted.recipient)
            && wanted
                .data_categories
                .iter()
                .all(|category| has(&self.data_categories, category));
        if in_scope {
            Ok(())
        } else {
            Err(Finding::ConsentOutOfScope)
        }
    }

    /// Value under [`crate::bytes::state::kind::CONSENT_FOLD`].
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u8(event_code(self.event))
            .u64(self.index.0)
            .u64(self.accepted_at_ms)
            .u8(entity_code(self.entity));
        out.u64(self.valid_from_ms)
            .u64(self.valid_until_ms.unwrap_or(u64::MAX));
        out.texts(&self.purposes)
            .texts(&self.recipients)
            .texts(&self.data_categories)
            .done()
    }

    /// The state that [`ConsentState::encode`] laid out.
    pub fn decode(value: &[u8]) -> Option<ConsentState> {
        Reader::all(value, |from| {
            let event = *EVENTS.get(usize::from(from.u8()?))?;
            let (index, accepted_at_ms) = (EntryIndex(from.u64()?), from.u64()?);
            let entity = *ENTITIES.get(usize::from(from.u8()?))?;
            let valid_from_ms = from.u64()?;
            let valid_until_ms = Some(from.u64()?).filter(|until| *until != u64::MAX);
            let (purposes, recipients, data_categories) =
                (from.texts()?, from.texts()?, from.texts()?);
            Some(ConsentState {
                event,
                index,
                accepted_at_ms,
                entity,
                purposes,
                recipients,
                data_categories,
                valid_from_ms,
                valid_until_ms,
            })
        })
    }

    /// A record of which nothing was ever given.
    fn nothing() -> ConsentState {
        ConsentState {
            event: ConsentEvent::Refused,
            index: EntryIndex(0),
            accepted_at_ms: 0,
            entity: ConsentEntity::Myself,
            purposes: Vec::new(),
            recipients: Vec::new(),
            data_categories: Vec::new(),
            valid_from_ms: u64::MAX,
            valid_until_ms: None,
        }
    }
}

/// By code.
const EVENTS: [ConsentEvent; 4] = [
    ConsentEvent::Given,
    ConsentEvent::Refused,
    ConsentEvent::Withdrawn,
    ConsentEvent::Renewed,
];
/// By code.
const ENTITIES: [ConsentEntity; 4] = [
    ConsentEntity::Myself,
    ConsentEntity::Parent,
    ConsentEntity::Guardian,
    ConsentEntity::Delegate,
];

fn event_code(event: ConsentEvent) -> u8 {
    match event {
        ConsentEvent::Given => 0,
        ConsentEvent::Refused => 1,
        ConsentEvent::Withdrawn => 2,
        ConsentEvent::Renewed => 3,
    }
}

fn entity_code(entity: ConsentEntity) -> u8 {
    match entity {
        ConsentEntity::Myself => 0,
        ConsentEntity::Parent => 1,
        ConsentEntity::Guardian => 2,
        ConsentEntity::Delegate => 3,
    }
}
