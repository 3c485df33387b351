// SPDX-License-Identifier: EUPL-1.2
//! Every refusal has its own problem type and status, says where, and leaves nothing behind.

use ledger::time::format_timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{
    cluster::{Cluster, Setup},
    http::Answer,
    sign::{Draft, Signed, entry_id, sign_body},
    wait,
    world::{self, ASL, GARANTE, VOGHERA, access_draft, key},
};

use crate::governance::Governance;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// What is sent, and the problem it must meet.
struct Case {
    what: &'static str,
    line: String,
    status: u16,
    code: &'static str,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_its_own_type_and_leaves_nothing_behind() {
    let cluster = Cluster::start().await;
    let known = access();
    cluster.accept(1, &known.line()).await;
    // A key that was in force and is not any more.
    let mut governance = Governance::after_genesis(&cluster).await;
    let revoked =
        json!({"event": "revoked", "keyId": world::key_id(&key(ASL, "entry")), "reason": "lost"});
    governance.decide(&cluster, 1, "key", revoked).await;

    let size = tree_size(&cluster).await;
    let mut codes = Vec::new();
    for case in cases(&known) {
        for node in [1, 2] {
            let answer = cluster.submit(node, &case.line).await;
            is_problem(&answer, case.status, case.code, case.what);
        }
        codes.push(case.code);
    }
    // Neither an entry nor a place in the window of ids.
    assert_eq!(
        tree_size(&cluster).await,
        size,
        "a refusal left an entry behind"
    );
    let (count, _) = (codes.len(), codes.sort_unstable());
    codes.dedup();
    assert!(
        codes.len() + 2 >= count,
        "cases share their type: {codes:?}"
    );
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_id_stays_free_for_the_corrected_entry() {
    let cluster = Cluster::start().await;
    let mut draft = access_draft(&world::person("anna"));
    let spare = draft.clone();
    draft.disclosures.push(spare.clone().disclosed_alone());
    let refused = cluster
        .submit(1, &draft.sign(&[&key(VOGHERA, "entry")]).line())
        .await;
    is_problem(&refused, 400, "disclosure-spare", "a spare disclosure");
    cluster
        .accept(1, &spare.sign(&[&key(VOGHERA, "entry")]).line())
        .await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_judged_line_by_line() {
    let cluster = Cluster::start().await;
    let (good, other) = (access(), access());
    let mut broken = access();
    spoil_signature(&mut broken.wire);
    let body = [
        good.line(),
        broken.line(),
        "{}".to_owned(),
        good.line(),
        other.line(),
    ]
    .join("\n");
    let url = cluster.url(2, "/v1/entries");
    let answer = cluster
        .http
        .send(
            Method::POST,
            &url,
            None,
            Some(("application/x-ndjson", body)),
        )
        .await
        .unwrap();
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "application/x-ndjson"),
        "{}",
        answer.text
    );
    let lines: Vec<Value> = answer
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let numbers: Vec<u64> = lines
        .iter()
        .map(|line| line["line"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    let statuses: Vec<u64> = lines
        .iter()
        .map(|line| line["status"].as_u64().unwrap())
        .collect();
    assert!(
        statuses[0] == 201
            && statuses[1] == 422
            && matches!(statuses[2], 400 | 422)
            && statuses[4] == 201,
        "{statuses:?}"
    );
    assert!(
        lines[1]["problem"]["type"]
            .as_str()
            .unwrap()
            .ends_with("/signature"),
        "{}",
        lines[1]
    );
    // One entry twice in a batch is one entry.
    assert_eq!(lines[0]["accepted"]["index"], lines[3]["accepted"]["index"]);
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_request_itself_is_told_before_its_entries() {
    let cluster = Cluster::start_with(Setup {
        nodes: 1,
        ..Setup::default()
    })
    .await;
    let url = cluster.url(1, "/v1/entries");
    // Answered before the body is read to its end: where the connection closes under the client's writing, the answer is lost with it, and so is
    // a request that comes along that connection next.
    let send = async |media_type: &str, body: String| {
        wait::until("an answer", async || {
            let body = Some((media_type, body.clone()));
            let sent = cluster.http.send(Method::POST, &url, None, body);
            sent.await.ok()
        })
        .await
    };
    is_problem(
        &send("text/plain", access().line()).await,
        415,
        "media-type",
        "another media type",
    );
    let too_long = send("application/json", "x".repeat(4 << 20)).await;
    is_problem(&too_long, 413, "too-large", "four megabytes");
    let batch = vec!["{}"; 1001].join("\n");
    is_problem(
        &send("application/x-ndjson", batch).await,
        413,
        "batch-too-long",
        "1001 lines",
    );
    let answer = cluster
        .http
        .get(&cluster.url(1, "/v1/nowhere"), None)
        .await
        .unwrap();
    is_problem(&answer, 404, "not-found", "no such path");
    let answer = cluster
        .http
        .send(Method::DELETE, &url, None, None)
        .await
        .unwrap();
    is_problem(&answer, 405, "method-not-allowed", "no such method");
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_fast_is_told_with_the_limits_and_when_to_come_back() {
    let mut settings = Setup::default().settings;
    for setting in &mut settings {
        if setting.0.starts_with("limits.entries") {
            setting.1 = "3".into();
        }
    }
    let cluster = Cluster::start_with(Setup {
        nodes: 1,
        settings,
        ..Setup::default()
    })
    .await;
    let mut last = None;
    for _ in 0..50 {
        let answer = cluster.submit(1, &access().line()).await;
        for name in [
            "x-ratelimit-limit",
            "x-ratelimit-remaining",
            "x-ratelimit-reset",
        ] {
            assert!(
                answer.header(name).parse::<u64>().is_ok(),
                "{} without {name}",
                answer.status
            );
        }
        if answer.status == 429 {
            last = Some(answer);
            break;
        }
    }
    let answer = last.expect("50 entries at once from one institution were never too many");
    is_problem(&answer, 429, "too-fast", "too fast");
    assert!(answer.header("retry-after").parse::<u64>().is_ok());
    cluster.finish().await;
}

fn cases(known: &Signed) -> Vec<Case> {
    let entry_key = key(VOGHERA, "entry");
    let draft = || access_draft(&world::person("anna"));
    let signed = |draft: Draft| draft.sign(&[&entry_key]).line();
    let at = |at_ms: u64| {
        let mut draft = draft();
        draft.id = entry_id(at_ms);
        signed(draft)
    };
    let changed = |change: fn(&mut Draft)| {
        let mut draft = draft();
        change(&mut draft);
        signed(draft)
    };
    let spoiled = |spoil: fn(&mut Value)| {
        let mut entry = access();
        spoil(&mut entry.wire);
        entry.line()
    };
    let with_body = |body: String| {
        let draft = draft();
        sign_body(&draft.id, body, &draft.disclosures, &[&entry_key]).line()
    };
    let body = draft().body();
    let case = |what, line, status, code| Case {
        what,
        line,
        status,
        code,
    };
    vec![
        case("not JSON", "{\"envelope\":".into(), 400, "json"),
        case(
            "a member twice",
            known.line().replacen(
                "{\"disclosures\":",
                "{\"disclosures\":[],\"disclosures\":",
                1,
            ),
            400,
            "duplicate-key",
        ),
        case(
            "a fraction",
            with_body(body.replacen("\"statusCode\":200", "\"statusCode\":200.5", 1)),
            400,
            "number",
        ),
        case(
            "an unknown member",
            changed(|draft| draft.content["colour"] = json!("red")),
            400,
            "members",
        ),
        case(
            "a missing member",
            changed(|draft| drop(draft.content.as_object_mut().unwrap().remove("purpose"))),
            400,
            "members",
        ),
        case(
            "another payload type",
            spoiled(|wire| wire["envelope"]["payloadType"] = json!("application/json")),
            400,
            "payload-type",
        ),
        case(
            "no signature",
            spoiled(|wire| wire["envelope"]["signatures"] = json!([])),
            400,
            "sigs",
        ),
        case(
            "an unknown key",
            draft().sign(&[&key(VOGHERA, "never registered")]).line(),
            422,
            "key-unknown",
        ),
        case(
            "a spoiled signature",
            spoiled(spoil_signature),
            422,
            "signature",
        ),
        case(
            "another ledger",
            changed(|draft| draft.ledger = "ledger.other.example".into()),
            422,
            "ledger",
        ),
        case(
            "no UUIDv7",
            changed(|draft| draft.id = "0b6a3f0e-9d0a-4b7e-8a55-3d2f6c1f9a11".into()),
            400,
            "id-form",
        ),
        case(
            "a spare disclosure",
            changed(|draft| draft.disclosures.push(draft.clone().disclosed_alone())),
            400,
            "disclosure-spare",
        ),
        case(
            "a missing disclosure",
            changed(|draft| drop(draft.disclosures.pop())),
            400,
            "disclosure-missing",
        ),
        case(
            "an id of 36 days ago",
            at(world::now_ms() - 36 * DAY_MS),
            422,
            "id-out-of-window",
        ),
        case(
            "an id of tomorrow",
            at(world::now_ms() + DAY_MS),
            422,
            "id-out-of-window",
        ),
        case("a used id", changed_id(known), 409, "id-used"),
        case(
            "dated an hour ahead",
            changed(|draft| draft.occurred_at = format_timestamp(world::now_ms() + DAY_MS / 24)),
            422,
            "ahead",
        ),
        case(
            "a revoked key",
            world::consent("r1", &world::person("anna"), "withdrawn").line(),
            422,
            "key-not-in-force",
        ),
        case(
            "a token key",
            draft().sign(&[&key(VOGHERA, "token")]).line(),
            422,
            "key-use",
        ),
        case(
            "an unknown institution",
            changed(|draft| draft.institution = "ipa:nobody".into()),
            422,
            "institution-unknown",
        ),
        case(
            "not a side of the exchange",
            bystander(),
            422,
            "institution-mismatch",
        ),
    ]
}

/// An access as told by an institution that is neither of its sides.
fn bystander() -> String {
    let mut draft = access_draft(&world::person("anna"));
    draft.institution = GARANTE.into();
    draft.sign(&[&key(GARANTE, "entry")]).line()
}

/// Another entry under the id of a known one.
fn changed_id(known: &Signed) -> String {
    let mut draft = access_draft(&world::person("bruno"));
    draft.id.clone_from(&known.id);
    draft.sign(&[&key(VOGHERA, "entry")]).line()
}

fn access() -> Signed {
    world::access(&world::person("anna"))
}

fn spoil_signature(wire: &mut Value) {
    let sig = &mut wire["envelope"]["signatures"][0]["sig"];
    let mut bytes = ledger::base64::decode(sig.as_str().unwrap()).unwrap();
    bytes[10] ^= 1;
    *sig = json!(ledger::base64::encode(&bytes));
}

trait Alone {
    /// A disclosure that belongs to no digest of the body.
    fn disclosed_alone(self) -> String;
}

impl Alone for Draft {
    fn disclosed_alone(mut self) -> String {
        self.disclosed(json!("nobody asked"));
        self.disclosures.pop().unwrap()
    }
}

fn is_problem(answer: &Answer, status: u16, code: &str, what: &str) {
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (status, code),
        "{what}: {}",
        answer.text
    );
    assert_eq!(
        answer.header("content-type"),
        "application/problem+json",
        "{what}"
    );
    let body = answer.json();
    assert_eq!(body["status"], status, "{what}: {body}");
    for member in ["type", "title"] {
        assert!(
            body[member].as_str().is_some_and(|text| !text.is_empty()),
            "{what} without {member}: {body}"
        );
    }
    // Nothing of the inside: no path, no Rust, no name of a library.
    for inner in [
        "src/", ".rs", "panicked", "rocksdb", "openraft", "serde", "hyper", "Error(",
    ] {
        assert!(
            !answer.text.contains(inner),
            "{what} shows the inside: {}",
            answer.text
        );
    }
}

async fn tree_size(cluster: &Cluster) -> u64 {
    let answer = cluster
        .http
        .get(&cluster.url(1, "/v1/rules?consistency=linearizable"), None)
        .await
        .unwrap();
    answer.json()["treeSize"].as_u64().unwrap()
}
