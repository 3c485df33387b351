// SPDX-License-Identifier: EUPL-1.2
//! A consent record of ISO/IEC TS 27560:2023 and a receipt around it, as JSON-LD by the Data Privacy Vocabulary's guide (DPV 2.3, *Consent Records
//! and Receipts as per ISO/IEC TS 27560:2023*).
//!
//! | field of 27560 | here | from |
//! |---|---|---|
//! | schema version | `dct:conformsTo` | the profile for the GDPR, where a notice is on record |
//! | record id, receipt id | `dpv:hasIdentifier` | `record`; leaf hash of the last event |
//! | PII principal | `dpv:hasDataSubject` | `subject.ref` |
//! | privacy notice, language | `dpv:hasNotice`, `dct:language` | `notice` |
//! | purpose, lawful basis, PII | `dpv:hasProcess` | `purposes`, the GDPR's consent, `dataCategories` |
//! | controllers, recipients | `dpv:hasDataController`, `dpv:hasRecipient`, `dpv:hasEntity` | `institution`, `recipients`, the registry's names |
//! | retention | `dpv:hasStorageCondition` | `validUntil`, else the withdrawal |
//! | withdrawal, rights, jurisdiction, authority | `dpv:hasConsentControl`, `dpv:hasRight`, `dpv:hasJurisdiction`, `dpv:hasAuthority` | any desk records a withdrawal; Italian law |
//! | event: type, state, time, validity, entity | `dpv:hasConsentStatus` | each event of the record, in the order of the ledger |
//!
//! Not on record, so not told: postal addresses and contacts of the parties, where they store data. The notice says it.

use std::collections::{BTreeMap, BTreeSet};

use ledger::{
    base64,
    body::consent::{Consent, ConsentEntity, ConsentEvent, Notice},
    consent::ConsentStatus,
    hash::Hash,
    number::EntryIndex,
    time::format_timestamp,
};
use serde_json::{Value, json};

/// Media type of the documents.
pub const LD_JSON: &str = "application/ld+json";

const PROFILE: &str = "https://w3id.org/dpv/schema/dpv-27560#";
/// Prefixes of Visto's code lists, which are those of the vocabulary.
const PREFIXES: [&str; 4] = ["dpv", "dpv-gdpr", "dpv-pd", "dpv-ps"];

/// An event of the record that its reader may see.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Its place.
    pub index: EntryIndex,
    /// Its leaf, hashed.
    pub leaf: Hash,
    /// When the ledger accepted it, in milliseconds since the epoch.
    pub accepted_at_ms: u64,
    /// When it occurred.
    pub occurred_at_ms: u64,
    /// Who received it.
    pub institution: &'a str,
    /// What it says.
    pub consent: &'a Consent,
}

/// A record, and what a receipt of it needs.
#[derive(Clone, Debug)]
pub struct ConsentRecord<'a> {
    /// Name of the ledger.
    pub ledger: &'a str,
    /// Whose consent.
    pub person: Hash,
    /// The record's name.
    pub record: &'a str,
    /// Its events in the order of the ledger, at least one.
    pub events: &'a [Event<'a>],
    /// Where it stands by all events, those that its reader may not see among them.
    pub status: ConsentStatus,
    /// Names of institutions, by id.
    pub names: &'a BTreeMap<String, String>,
    /// When the receipt is made, in milliseconds since the epoch.
    pub at_ms: u64,
}

impl ConsentRecord<'_> {
    /// The receipt. None for a record without events.
    pub fn receipt(&self) -> Option<Value> {
        let last = self.events.last()?;
        let id = format!("urn:visto:{}:receipt:{}", self.ledger, text(&last.leaf));
        let mut receipt = json!({
            "@context": context(),
            "@id": id,
            "@type": "dpv:ConsentReceipt",
            "dpv:hasIdentifier": id,
            "dct:created": time(self.at_ms),
            "dct:publisher": iri(last.institution),
            "schema:recipient": "dpv:DataSubject",
            "dpv:hasRecordOfActivity": self.record(),
        });
        self.conform(&mut receipt, "receipt-eu-gdpr");
        Some(receipt)
    }

    fn record(&self) -> Value {
        let ledger = self.ledger;
        let person = text(&self.person);
        let mut record = json!({
            "@id": format!("urn:visto:{ledger}:consent:{person}:{}", escape(self.record)),
            "@type": "dpv:ConsentRecord",
            "dpv:hasIdentifier": self.record,
            "dpv:hasDataSubject": {
                "@id": format!("urn:visto:ref:{person}"),
                "@type": "dpv:DataSubject",
                "dpv:hasIdentifier": person,
            },
            "dpv:hasDataController": self.controllers(),
            "dpv:hasEntity": self.entities(),
            "dpv:hasJurisdiction": "loc:IT",
            "dpv:hasApplicableLaw": "legal-eu:law-GDPR",
            "dpv:hasAuthority": "legal-it:DPA-IT",
            "dpv:hasLegalBasis": "dpv-gdpr:A6-1-a",
            "dpv:hasConsentControl": self.control(),
            "dpv:hasRight": ["dpv-gdpr:A7-3", "dpv-gdpr:A15", "dpv-gdpr:A16", "dpv-gdpr:A17", "dpv-gdpr:A77"],
            "dpv:hasConsentStatus": self.statuses(),
        });
        if let Some(notice) = self.notice() {
            put(&mut record, "dpv:hasNotice", notice_node(notice));
        }
        if let Some(process) = self.process() {
            put(&mut record, "dpv:hasProcess", process);
        }
        self.conform(&mut record, "record-eu-gdpr");
        record
    }

    /// Claims a profile only where what it demands is on record: a notice, and a scope.
    fn conform(&self, node: &mut Value, profile: &str) {
        if self.notice().is_some() && self.scope().is_some() {
            put(node, "dct:conformsTo", json!(format!("{PROFILE}{profile}")));
        }
    }

    /// The event that says what the consent is for: the last that gives or renews it.
    fn scope(&self) -> Option<&Event<'_>> {
        self.events.iter().rfind(|event| {
            matches!(
                event.consent.event,
                ConsentEvent::Given | ConsentEvent::Renewed
            )
        })
    }

    fn notice(&self) -> Option<&Notice> {
        self.events
            .iter()
            .rev()
            .find_map(|event| event.consent.notice.as_ref())
    }

    /// Who received an event is its controller.
    fn controllers(&self) -> Vec<String> {
        let ids: BTreeSet<&str> = self.events.iter().map(|event| event.institution).collect();
        ids.into_iter().map(iri).collect()
    }

    fn recipients(&self) -> BTreeSet<&str> {
        let recipients = self
            .events
            .iter()
            .flat_map(|event| &event.consent.recipients);
        recipients.flatten().map(String::as_str).collect()
    }

    fn entities(&self) -> Vec<Value> {
        let controllers: BTreeSet<&str> =
            self.events.iter().map(|event| event.institution).collect();
        let recipients = self.recipients();
        let all: BTreeSet<&str> = controllers.union(&recipients).copied().collect();
        let entity = |id: &str| {
            let mut types = vec!["dpv:Organisation"];
            types.extend(controllers.contains(id).then_some("dpv:DataController"));
            types.extend(recipients.contains(id).then_some("dpv:Recipient"));
            let name = self.names.get(id).map_or(id, String::as_str);
            json!({"@id": iri(id), "@type": types, "dpv:hasName": name, "dpv:hasIdentifier": id})
        };
        all.into_iter().map(entity).collect()
    }

    fn process(&self) -> Option<Value> {
        let scope = self.scope()?;
        let consent = scope.consent;
        let terms = |terms: &Option<Vec<String>>, of: &str| -> Vec<Value> {
            let terms = terms.iter().flatten();
            terms.map(|term| concept(term, of)).collect()
        };
        let recipients: Vec<String> = consent
            .recipients
            .iter()
            .flatten()
            .map(|id| iri(id))
            .collect();
        Some(json!({
            "@type": "dpv:Process",
            "dpv:hasPurpose": terms(&consent.purposes, "dpv:Purpose"),
            "dpv:hasPersonalData": terms(&consent.data_categories, "dpv:PersonalData"),
            "dpv:hasRecipient": recipients,
            "dpv:hasDataController": iri(scope.institution),
            "dpv:hasLegalBasis": "dpv-gdpr:A6-1-a",
            "dpv:hasJurisdiction": "loc:IT",
            "dpv:hasStorageCondition": {
                "@type": "dpv:StorageDuration",
                "dpv:hasDuration": duration(consent, "the withdrawal of this consent"),
            },
        }))
    }

    fn control(&self) -> Value {
        let mut control = json!({
            "@type": "dpv:WithdrawConsent",
            "dct:description": [
                {"@language": "it", "@value": "Allo sportello di qualunque istituzione che partecipa al registro, con la stessa facilità con cui è stato dato."},
                {"@language": "en", "@value": "At the desk of any institution that takes part in the ledger, as easily as it was given."},
            ],
        });
        if let Some(notice) = self.notice() {
            put(&mut control, "dpv:isExercisedAt", json!(notice.uri));
        }
        control
    }

    /// Each event; and where these do not lead to where the record stands, that too, as the ledger's word.
    fn statuses(&self) -> Vec<Value> {
        let mut statuses: Vec<Value> = self.events.iter().map(|event| self.event(event)).collect();
        let last = self.events.last().map(|event| event.consent.event);
        let gives = matches!(last, Some(ConsentEvent::Given | ConsentEvent::Renewed));
        let (now, told) = match self.status {
            // What is given for a later time is given; its process says from when.
            ConsentStatus::Given | ConsentStatus::NotYet => ("dpv:ConsentGiven", gives),
            ConsentStatus::Refused => ("dpv:ConsentRefused", last == Some(ConsentEvent::Refused)),
            ConsentStatus::Withdrawn => (
                "dpv:ConsentWithdrawn",
                last == Some(ConsentEvent::Withdrawn),
            ),
            ConsentStatus::Expired => ("dpv:ConsentExpired", false),
            ConsentStatus::Unknown => ("dpv:ConsentUnknown", false),
        };
        if !told {
            statuses.push(json!({
                "@type": now,
                "dpv:isIndicatedBy": format!("urn:visto:ledger:{}", self.ledger),
                "dpv:isIndicatedAtTime": time(self.at_ms),
                "dpv:hasDuration": {"@type": "dpv:UntilEventDuration", "rdf:value": LATER_EVENT},
            }));
        }
        statuses
    }

    fn event(&self, event: &Event<'_>) -> Value {
        let consent = event.consent;
        let by = match consent.entity {
            None | Some(ConsentEntity::Myself) => "dpv:DataSubject",
            Some(ConsentEntity::Parent) => "dpv:ParentOfDataSubject",
            Some(ConsentEntity::Guardian) => "dpv:GuardianOfDataSubject",
            Some(ConsentEntity::Delegate) => "dpv:Representative",
        };
        // Said at a desk, so expressed; what is refused or withdrawn is no consent of any kind.
        let mut types = vec![state(consent.event)];
        if matches!(consent.event, ConsentEvent::Given | ConsentEvent::Renewed) {
            types.push("dpv:ExpressedConsent");
        }
        let mut status = json!({
            "@id": format!("urn:visto:{}:entry:{}", self.ledger, event.index),
            "@type": types,
            "dpv:isIndicatedBy": by,
            "dpv:isIndicatedAtTime": time(event.occurred_at_ms),
            "dpv:hasDuration": duration(consent, LATER_EVENT),
            "dpv:hasIdentifier": text(&event.leaf),
            "dct:created": time(event.accepted_at_ms),
            "dct:publisher": iri(event.institution),
        });
        if let Some(method) = &consent.indication {
            put(&mut status, "dpv:hasIndicationMethod", json!(method));
        }
        status
    }
}

const LATER_EVENT: &str = "a later event of this record";

fn state(event: ConsentEvent) -> &'static str {
    match event {
        ConsentEvent::Given => "dpv:ConsentGiven",
        ConsentEvent::Renewed => "dpv:RenewedConsentGiven",
        ConsentEvent::Refused => "dpv:ConsentRefused",
        ConsentEvent::Withdrawn => "dpv:ConsentWithdrawn",
    }
}

/// Terms are resolved by this alone: nothing is fetched to read a document.
fn context() -> Value {
    let mut context = json!({
        "dct": "http://purl.org/dc/terms/",
        "dpv": "https://w3id.org/dpv#",
        "dpv-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
        "dpv-pd": "https://w3id.org/dpv/pd#",
        "dpv-ps": "https://w3id.org/dpv/sector/publicservices#",
        "legal-eu": "https://w3id.org/dpv/legal/eu#",
        "legal-it": "https://w3id.org/dpv/legal/it#",
        "loc": "https://w3id.org/dpv/loc#",
        "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
        "schema": "https://schema.org/",
        "xsd": "http://www.w3.org/2001/XMLSchema#",
    });
    const REFERENCES: [&str; 18] = [
        "dct:conformsTo",
        "dct:publisher",
        "dpv:hasApplicableLaw",
        "dpv:hasAuthority",
        "dpv:hasConsentControl",
        "dpv:hasDataController",
        "dpv:hasDataSubject",
        "dpv:hasEntity",
        "dpv:hasJurisdiction",
        "dpv:hasLegalBasis",
        "dpv:hasPersonalData",
        "dpv:hasProcess",
        "dpv:hasPurpose",
        "dpv:hasRecipient",
        "dpv:hasRight",
        "dpv:isExercisedAt",
        "dpv:isIndicatedBy",
        "schema:recipient",
    ];
    for reference in REFERENCES {
        put(&mut context, reference, json!({"@type": "@id"}));
    }
    context
}

fn notice_node(notice: &Notice) -> Value {
    json!({
        "@id": notice.uri,
        "@type": "dpv:ConsentNotice",
        "dct:language": notice.language,
        "dct:hasVersion": notice.version,
        "dpv:hasIdentifier": format!("sha256:{}", notice.sha256),
    })
}

/// A term of the vocabulary, or the signer's own word as a concept of that kind.
fn concept(term: &str, of: &str) -> Value {
    let known = term
        .split_once(':')
        .is_some_and(|(prefix, name)| PREFIXES.contains(&prefix) && !name.starts_with("//"));
    if known {
        json!(term)
    } else {
        json!({"@type": of, "dct:description": term})
    }
}

fn duration(consent: &Consent, otherwise: &str) -> Value {
    match consent.valid_until_ms {
        Some(until_ms) => json!({"@type": "dpv:UntilTimeDuration", "rdf:value": time(until_ms)}),
        None => json!({"@type": "dpv:UntilEventDuration", "rdf:value": otherwise}),
    }
}

fn time(ms: u64) -> Value {
    json!({"@type": "xsd:dateTime", "@value": format_timestamp(ms)})
}

fn iri(institution: &str) -> String {
    format!("urn:visto:institution:{institution}")
}

fn text(hash: &Hash) -> String {
    base64::url_encode(hash.as_bytes())
}

/// A text as the last part of a URN.
fn escape(text: &str) -> String {
    let escaped = text.bytes().map(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    });
    escaped.collect()
}

fn put(node: &mut Value, name: &str, value: Value) {
    if let Value::Object(members) = node {
        members.insert(name.to_owned(), value);
    }
}
