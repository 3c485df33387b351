// SPDX-License-Identifier: EUPL-1.2
//! Accesses as audit events of FHIR R4, by IHE's Basic Audit Log Patterns: the provider's side is a *Privacy Disclosure* seen at its Source, the
//! consumer's seen at its Recipient. BALP allows one patient an event, so an access to several persons makes as many.
//!
//! | AuditEvent | from |
//! |---|---|
//! | `meta.profile`, `type`, `action` | `side`: provider = Source, Export, `R`; consumer = Recipient, Import, `C` |
//! | `period.start`, `recorded` | `occurredAt`, when the ledger accepted it |
//! | `outcome`, `outcomeDesc` | `statusCode`, else `outcome`; both in words |
//! | `purposeOfEvent` | `purpose` and `purposeId`, with `reason` as its text; break-glass where it is an emergency |
//! | `source.observer` | the institution that speaks; the same as the agent of its side |
//! | `agent` source, custodian · recipient | `provider` · `consumer`; network = the e-service · the client |
//! | `agent` user | `userID`, `userRole`, `userLocation`, voucher |
//! | `entity` patient | `subjects[n]` |
//! | `entity` data | `eservice`; details: data categories, legal basis, exchange, leaf, index, findings |
//! | `entity` consent · case | `consentRefs` · `caseRef` |
//!
//! What a reader may not see is not in the entry that is mapped, so it is not here.

use serde_json::{Map, Value, json};

use crate::present::Shown;

/// Media type of FHIR's JSON.
pub const FHIR_JSON: &str = "application/fhir+json";

const PROFILE: &str =
    "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.PrivacyDisclosure.";
const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const SNOMED: &str = "http://snomed.info/sct";
const TERMINOLOGY: &str = "http://terminology.hl7.org/CodeSystem/";

/// A page of entries as a bundle of a search. Entries that have no such form are told as outcomes.
pub fn bundle(entries: &[Shown], next: Option<&str>) -> Value {
    let items: Vec<Value> = entries.iter().flat_map(items).collect();
    let mut bundle = json!({"resourceType": "Bundle", "type": "searchset", "entry": items});
    if items_is_empty(&bundle) {
        remove(&mut bundle, "entry");
    }
    if let Some(cursor) = next {
        // The next page is a POST as this one, with this cursor in its body.
        let url = format!("urn:visto:cursor:{cursor}");
        put(
            &mut bundle,
            "link",
            json!([{"relation": "next", "url": url}]),
        );
    }
    bundle
}

fn items(entry: &Shown) -> Vec<Value> {
    match events(entry) {
        Some(events) => events
            .into_iter()
            .map(|event| {
                let id = event.get("id").and_then(Value::as_str).unwrap_or_default();
                json!({"fullUrl": format!("urn:visto:{id}"), "resource": event, "search": {"mode": "match"}})
            })
            .collect(),
        None => vec![json!({
            "resource": {
                "resourceType": "OperationOutcome",
                "issue": [{
                    "severity": "information",
                    "code": "not-supported",
                    "diagnostics": format!("entry {} of type {} has no audit event: it is no access, or was erased", entry.index, entry.kind),
                }],
            },
            "search": {"mode": "outcome"},
        })],
    }
}

/// The audit events of an access; none of another type, or of an erased one.
pub fn events(entry: &Shown) -> Option<Vec<Value>> {
    if entry.kind != "access" {
        return None;
    }
    // It was written a moment ago.
    let body: Value = serde_json::from_str(entry.body.as_ref()?.get()).ok()?;
    let access = Access(body.get("access")?);
    let subjects = access.list("subjects");
    // Withheld from this reader: somebody was, and nobody is named.
    let patients = match subjects
        .iter()
        .filter(|subject| subject.get("ref").is_some())
    {
        open if open.clone().next().is_some() => open.copied().map(patient).collect(),
        _ => vec![patient(&Value::Null)],
    };
    let events = patients.into_iter().enumerate();
    Some(
        events
            .map(|(n, patient)| event(entry, &body, &access, n, patient))
            .collect(),
    )
}

fn event(entry: &Shown, body: &Value, access: &Access<'_>, n: usize, patient: Value) -> Value {
    let provider_speaks = access.text("side") == Some("provider");
    let (profile, kind, action) = if provider_speaks {
        ("Source", coding(DCM, "110106", "Export"), "R")
    } else {
        ("Recipient", coding(DCM, "110107", "Import"), "C")
    };
    let (outcome, outcome_text) = access.outcome();
    let speaker = body.get("institution").and_then(Value::as_str);
    let observer = institution(speaker.unwrap_or_default());
    let mut entities = vec![patient, access.data(entry)];
    entities.extend(access.consents());
    entities.extend(access.case());
    json!({
        "resourceType": "AuditEvent",
        "id": format!("{}-{n}", entry.index),
        "meta": {"profile": [format!("{PROFILE}{profile}")]},
        "type": kind,
        "subtype": [coding(&format!("{TERMINOLOGY}iso-21089-lifecycle"), "disclose", "Disclose Record Lifecycle Event")],
        "action": action,
        "period": {"start": body.get("occurredAt")},
        "recorded": entry.accepted_at,
        "outcome": outcome,
        "outcomeDesc": outcome_text,
        "purposeOfEvent": access.purposes(),
        "agent": access.agents(),
        "source": {
            "site": speaker,
            "observer": observer,
            "type": [coding(&format!("{TERMINOLOGY}security-source-type"), "4", "Application Server")],
        },
        "entity": entities,
    })
}

/// An access as its reader sees it: what is closed is an object with a digest and no value.
struct Access<'a>(&'a Value);

impl<'a> Access<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        self.0.get(name)?.as_str()
    }

    fn at(&self, pointer: &str) -> Option<&'a str> {
        self.0.pointer(pointer)?.as_str()
    }

    /// The one disclosed value of a member, if it is open.
    fn open(&self, name: &str) -> Option<&'a str> {
        self.0.get(name)?.get(0)?.as_str()
    }

    fn list(&self, name: &str) -> Vec<&'a Value> {
        let list = self.0.get(name).and_then(Value::as_array);
        list.into_iter().flatten().collect()
    }

    /// FHIR's outcome by the status of the answer: as HTTP has it, 4xx is the caller's mistake and 5xx the server's failure.
    fn outcome(&self) -> (&'static str, String) {
        let status = self.0.get("statusCode").and_then(Value::as_u64);
        let word = self.text("outcome").unwrap_or_default();
        let code = match status {
            Some(status) if status < 400 => "0",
            Some(status) if status < 500 => "4",
            Some(_) => "8",
            None if matches!(word, "ok" | "success") => "0",
            None => "4",
        };
        let text = match status {
            Some(status) => format!("{word} ({status})"),
            None => word.to_owned(),
        };
        (code, text)
    }

    fn purposes(&self) -> Vec<Value> {
        let (system, code) = vocabulary(self.text("purpose").unwrap_or_default());
        let mut purpose = json!({"coding": [{"system": system, "code": code}]});
        if let Some(reason) = self.open("reason") {
            put(&mut purpose, "text", json!(reason));
        }
        let mut purposes = vec![purpose];
        if let Some(id) = self.text("purposeId") {
            purposes.push(json!({"coding": [{"system": "urn:visto:pdnd:purpose", "code": id}]}));
        }
        if self.0.get("emergency").is_some() {
            let system = format!("{TERMINOLOGY}v3-ActReason");
            purposes.push(json!({"coding": [coding(&system, "BTG", "break the glass")]}));
        }
        purposes
    }

    fn agents(&self) -> Vec<Value> {
        let provider = institution(self.at("/provider/institution").unwrap_or_default());
        let consumer_id = self.at("/consumer/institution").unwrap_or_default();
        let service = self.at("/eservice/eserviceId").unwrap_or_default();
        let client = self.at("/consumer/clientId").map_or_else(
            || format!("urn:visto:institution:{consumer_id}"),
            |id| format!("urn:visto:pdnd:client:{id}"),
        );
        let role = |kind: Value, who: &Value| json!({"type": {"coding": [kind]}, "who": who, "requestor": false});
        let mut source = role(coding(DCM, "110153", "Source Role ID"), &provider);
        put(
            &mut source,
            "network",
            uri(&format!("urn:visto:pdnd:eservice:{service}")),
        );
        let mut recipient = role(
            coding(DCM, "110152", "Destination Role ID"),
            &institution(consumer_id),
        );
        put(&mut recipient, "network", uri(&client));
        let custodian = role(
            coding(SNOMED, "159541003", "Record keeping/library clerk"),
            &provider,
        );
        vec![source, recipient, custodian, self.user(consumer_id)]
    }

    /// The person who caused the request; withheld, the role alone.
    fn user(&self, consumer: &str) -> Value {
        let kind = coding(
            &format!("{TERMINOLOGY}v3-ParticipationType"),
            "IRCP",
            "information recipient",
        );
        let mut user = json!({"type": {"coding": [kind]}, "requestor": true});
        if let Some(role) = self.text("userRole") {
            put(&mut user, "role", json!([{"text": role}]));
        }
        if let Some(id) = self.open("userID") {
            let system = format!("urn:visto:institution:{consumer}:user");
            put(
                &mut user,
                "who",
                json!({"identifier": {"system": system, "value": id}}),
            );
        }
        if let Some(place) = self.open("userLocation") {
            put(&mut user, "network", json!({"address": place, "type": "1"}));
        }
        if let Some(voucher) = self.at("/evidence/voucherJti") {
            let policy = format!("urn:ietf:params:oauth:jti:{voucher}");
            put(&mut user, "policy", json!([policy]));
        }
        user
    }

    fn data(&self, entry: &Shown) -> Value {
        let mut details: Vec<Value> = Vec::new();
        let mut detail = |name: &str, value: &str| {
            details.push(json!({"type": name, "valueString": value}));
        };
        detail("index", &entry.index.to_string());
        detail("leafHash", &entry.leaf_hash);
        detail("exchange", self.text("exchange").unwrap_or_default());
        detail("legalBasis", self.text("legalBasis").unwrap_or_default());
        if let Some(reference) = self.text("legalReference") {
            detail("legalReference", reference);
        }
        for category in self.list("dataCategories") {
            detail("dataCategory", category.as_str().unwrap_or_default());
        }
        for finding in &entry.findings {
            detail("finding", finding);
        }
        let eservice = self.at("/eservice/eserviceId").unwrap_or_default();
        let mut what =
            json!({"identifier": {"system": "urn:visto:pdnd:eservice", "value": eservice}});
        if let Some(name) = self.at("/eservice/name") {
            put(&mut what, "display", json!(name));
        }
        json!({
            "what": what,
            "type": coding(&format!("{TERMINOLOGY}audit-entity-type"), "2", "System Object"),
            "role": coding(&format!("{TERMINOLOGY}object-role"), "3", "Report"),
            "detail": details,
        })
    }

    fn consents(&self) -> Vec<Value> {
        let consent = |record: &Value| {
            json!({
                "what": {"type": "Consent", "identifier": {"system": "urn:visto:consent-record", "value": record}},
                "type": coding("http://hl7.org/fhir/resource-types", "Consent", "Consent"),
            })
        };
        self.list("consentRefs").into_iter().map(consent).collect()
    }

    fn case(&self) -> Option<Value> {
        let case = self.at("/caseRef/0/protocollo")?;
        Some(json!({
            "what": {"identifier": {"system": "urn:visto:protocollo", "value": case}},
            "type": coding(&format!("{TERMINOLOGY}audit-entity-type"), "4", "Other"),
            "role": coding(&format!("{TERMINOLOGY}object-role"), "20", "Job"),
        }))
    }
}

fn patient(subject: &Value) -> Value {
    let what = match subject.get("ref") {
        Some(reference) => {
            json!({"type": "Patient", "identifier": {"system": "urn:visto:ref", "value": reference}})
        }
        None => json!({"type": "Patient", "display": "withheld"}),
    };
    let mut entity = json!({
        "what": what,
        "type": coding(&format!("{TERMINOLOGY}audit-entity-type"), "1", "Person"),
        "role": coding(&format!("{TERMINOLOGY}object-role"), "1", "Patient"),
    });
    if let Some(role) = subject.get("role") {
        put(
            &mut entity,
            "detail",
            json!([{"type": "role", "valueString": role}]),
        );
    }
    entity
}

fn institution(id: &str) -> Value {
    json!({"type": "Organization", "identifier": {"system": "urn:visto:institution", "value": id}})
}

fn coding(system: &str, code: &str, display: &str) -> Value {
    json!({"system": system, "code": code, "display": display})
}

/// A network address that is a URI.
fn uri(address: &str) -> Value {
    json!({"address": address, "type": "5"})
}

/// System and code of a CURIE of Visto's code lists.
fn vocabulary(curie: &str) -> (String, String) {
    const DPV: &str = "https://w3id.org/dpv";
    let (prefix, code) = curie.split_once(':').unwrap_or(("", curie));
    let system = match prefix {
        "dpv" => format!("{DPV}#"),
        "dpv-ps" => format!("{DPV}/sector/publicservices#"),
        "dpv-pd" => format!("{DPV}/pd#"),
        "dpv-gdpr" => format!("{DPV}/legal/eu/gdpr#"),
        _ => return ("urn:visto:purpose".to_owned(), curie.to_owned()),
    };
    (system, code.to_owned())
}

fn put(node: &mut Value, name: &str, value: Value) {
    if let Value::Object(members) = node {
        members.insert(name.to_owned(), value);
    }
}

fn remove(node: &mut Value, name: &str) {
    node.as_object_mut()
        .and_then(|members: &mut Map<_, _>| members.remove(name));
}

fn items_is_empty(bundle: &Value) -> bool {
    bundle
        .get("entry")
        .and_then(Value::as_array)
        .is_some_and(Vec::is_empty)
}
