// SPDX-License-Identifier: EUPL-1.2
//! No entry, no data: a real gate before a real service, with consumers that show what they should and what they should not.

use std::{process::Command, time::Duration};

use client::{build::PlainAccess, cover::Consumer, gate::transport, http::Until};
use ledger::{
    base64,
    body::access::Emergency,
    body::{Body, Content},
    entry::SubmittedEntry,
    id::InstitutionId,
};
use reqwest::{Method, Request, Response, Url};
use tests::{
    cluster::Cluster,
    gate::{self, Gate, LONG_BYTES, Upstream, access, sides},
    node::binary,
    wait, world,
};

/// A request, an entry made for it, and its receipt.
struct Shown {
    request: Request,
    wire: String,
    receipt: Option<String>,
}

fn consumer(cluster: &Cluster, institution: &str) -> Consumer {
    Consumer::with_patience(
        &cluster.urls(),
        world::LEDGER,
        InstitutionId::parse(institution).unwrap(),
        world::key(institution, "entry"),
        Duration::from_secs(20),
    )
    .unwrap()
}

fn get(gate: &Gate, path: &str) -> Request {
    Request::new(
        Method::GET,
        Url::parse(&format!("{}{path}", gate.url)).unwrap(),
    )
}

/// Puts an access on record for a request.
async fn on_record(cluster: &Cluster, request: Request, access: PlainAccess) -> Shown {
    let consumer_id = access.consumer.as_str().to_owned();
    let entry = consumer(cluster, &consumer_id)
        .entry(&request, access)
        .unwrap();
    let wire = entry.to_wire();
    let client = client::http::Client::new(&cluster.urls(), Duration::from_secs(20)).unwrap();
    let receipt = wait::until("a receipt", async || {
        client.submit(&wire, Until::Published).await.ok()?.receipt
    })
    .await;
    Shown {
        request,
        wire,
        receipt: Some(receipt),
    }
}

impl Shown {
    fn exchange(&self) -> String {
        let entry = SubmittedEntry::from_wire(self.wire.as_bytes()).unwrap();
        let body = Body::parse(entry.payload(), entry.disclosures()).unwrap();
        match body.content {
            Content::Access(access) => base64::url_encode(&access.exchange),
            _ => panic!("no access"),
        }
    }

    fn for_request(&self, request: Request) -> Shown {
        Shown {
            request,
            wire: self.wire.clone(),
            receipt: self.receipt.clone(),
        }
    }

    /// Sends it as a client that the service knows.
    async fn send(&self, client: &str) -> reqwest::Result<Response> {
        let mut request = self.request.try_clone().unwrap();
        transport::write(request.headers_mut(), &self.wire, self.receipt.as_deref()).unwrap();
        request
            .headers_mut()
            .insert("x-client", client.parse().unwrap());
        reqwest::Client::builder()
            .no_proxy()
            .build()?
            .execute(request)
            .await
    }
}

async fn told(answer: reqwest::Result<Response>) -> String {
    let answer = answer.unwrap();
    let status = answer.status().as_u16();
    let body: serde_json::Value = answer.json().await.unwrap_or_default();
    let kind = body["type"].as_str().unwrap_or_default();
    format!("{status} {}", kind.rsplit('/').next().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_covered_call_reaches_the_service_and_both_sides_are_on_record() {
    let cluster = Cluster::start().await;
    let upstream = Upstream::start(&cluster).await;
    let mut gate = Gate::prepare(&cluster, &upstream, "", "");
    gate.start(&cluster).await;
    let (anna, bruno) = (world::person("anna"), world::person("bruno"));
    let path = format!("/isee/{anna}");

    // Five lines of a consumer.
    let web = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = consumer(&cluster, world::VOGHERA)
        .cover(get(&gate, &path), access(&[&anna]))
        .await
        .unwrap();
    request
        .headers_mut()
        .insert("x-client", "voghera".parse().unwrap());
    let answer = web.execute(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().contains_key(transport::ENTRY_ID));
    assert!(answer.text().await.unwrap().contains("2025"));

    let good = on_record(&cluster, get(&gate, &path), access(&[&anna])).await;
    let provider = InstitutionId::parse(world::GARANTE).unwrap();
    let elsewhere = PlainAccess {
        provider,
        ..access(&[&anna])
    };
    let uncovered = PlainAccess {
        case_ref: None,
        ..access(&[&anna])
    };
    let other_purpose = PlainAccess {
        purpose: "dpv:LegalCompliance".into(),
        ..access(&[&anna])
    };
    let mut post = get(&gate, &path);
    *post.method_mut() = Method::POST;
    *post.body_mut() = Some("{\"anno\":2025}".into());
    let posted = on_record(&cluster, post, access(&[&anna])).await;
    let mut other_body = posted.request.try_clone().unwrap();
    *other_body.body_mut() = Some("{\"anno\":2024}".into());
    // The entry of another access with a good receipt, and the other way round.
    let second = on_record(&cluster, get(&gate, &path), access(&[&anna])).await;
    let forged = Shown {
        receipt: second.receipt.clone(),
        ..good.for_request(get(&gate, &path))
    };
    let mut resigned: serde_json::Value = serde_json::from_str(&good.wire).unwrap();
    let stranger = world::key(world::ASL, "entry").sign(b"anything");
    resigned["envelope"]["signatures"][0]["sig"] = base64::encode(&stranger).into();
    let resigned = Shown {
        wire: resigned.to_string(),
        ..good.for_request(get(&gate, &path))
    };
    let unseen = Shown {
        receipt: None,
        ..good.for_request(get(&gate, &path))
    };
    let for_bruno = get(&gate, &format!("/isee/{bruno}"));
    let two = on_record(&cluster, for_bruno.try_clone().unwrap(), access(&[&anna])).await;
    let cases = [
        (unseen, "voghera", "428 gate-receipt-missing"),
        (forged, "voghera", "403 gate-receipt"),
        (resigned, "voghera", "403 gate-signature"),
        (
            good.for_request(get(&gate, &path)),
            "asl",
            "403 gate-other-consumer",
        ),
        (
            good.for_request(get(&gate, &path)),
            "nobody",
            "401 gate-caller-unknown",
        ),
        (
            on_record(&cluster, get(&gate, &path), elsewhere).await,
            "voghera",
            "403 gate-other-provider",
        ),
        (
            on_record(&cluster, get(&gate, &path), other_purpose).await,
            "voghera",
            "403 gate-other-call",
        ),
        (
            on_record(&cluster, get(&gate, &path), uncovered).await,
            "voghera",
            "403 gate-uncovered",
        ),
        // Another person: with an entry made for that very request, and with one made for another.
        (two, "voghera", "403 gate-other-subject"),
        (
            good.for_request(for_bruno),
            "voghera",
            "403 gate-other-request",
        ),
        (
            posted.for_request(other_body),
            "voghera",
            "403 gate-other-request",
        ),
        (
            posted.for_request(get(&gate, &format!("{path}?anno=2025"))),
            "voghera",
            "403 gate-other-request",
        ),
        (
            good.for_request(get(&gate, "/admin")),
            "voghera",
            "404 gate-no-route",
        ),
    ];
    let before = upstream.reached();
    for (shown, client, expected) in cases {
        assert_eq!(told(shown.send(client).await).await, expected);
    }
    let nothing = web.execute(get(&gate, &path)).await;
    assert_eq!(told(nothing).await, "401 gate-caller-unknown");
    let mut known = get(&gate, &path);
    known
        .headers_mut()
        .insert("x-client", "voghera".parse().unwrap());
    assert_eq!(
        told(web.execute(known).await).await,
        "428 gate-entry-missing"
    );
    assert_eq!(
        upstream.reached(),
        before,
        "a refused call reached the service"
    );

    // What was refused did not use it up; what passed did, also after a new start.
    let passed = good.send("voghera").await.unwrap();
    let id = passed.headers()[transport::ENTRY_ID]
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(passed.status(), 200);
    assert_eq!(posted.send("voghera").await.unwrap().status(), 200);
    assert_eq!(told(good.send("voghera").await).await, "409 gate-used");
    let long = get(&gate, &format!("{path}/long"));
    let long = on_record(&cluster, long, access(&[&anna])).await;
    let answer = long.send("voghera").await.unwrap().bytes().await.unwrap();
    assert_eq!(answer.len(), LONG_BYTES);
    wait::until("both sides in the ledger", async || {
        let sides = sides(&cluster, &anna, &good.exchange()).await;
        (sides == [("consumer".into(), vec![]), ("provider".into(), vec![])]).then_some(())
    })
    .await;
    gate.stop().await;
    gate.reconfigure("[rules]\n", "[rules]\nwindow-s = 1\nskew-s = 1\n");
    gate.start(&cluster).await;
    let before = upstream.reached();
    wait::until("the second entry to be stale", async || {
        // Its acceptance is no later than now, and the window ends by itself.
        let answer = told(
            second
                .for_request(get(&gate, "/healthz/none"))
                .send("voghera")
                .await,
        )
        .await;
        assert_eq!(answer, "404 gate-no-route");
        (world::now_ms() > accepted_ms(&second) + 2_001).then_some(())
    })
    .await;
    assert_eq!(told(second.send("voghera").await).await, "403 gate-stale");
    assert_eq!(upstream.reached(), before);
    // An open route needs nothing.
    assert_eq!(
        web.execute(get(&gate, "/healthz")).await.unwrap().status(),
        200
    );
    gate.stop().await;
    gate.reconfigure("window-s = 1\nskew-s = 1\n", "");
    gate.start(&cluster).await;
    assert_eq!(told(good.send("voghera").await).await, "409 gate-used");
    // Our side carries what was answered.
    let token = world::token(world::GARANTE, wire::token::Role::Authority);
    let search = serde_json::json!({"subject": anna, "limit": 100});
    let url = cluster.url(2, "/v1/accesses/search");
    let found = cluster.http.post(&url, Some(&token), &search).await;
    let found = found.unwrap().json();
    let ours = found["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["body"]["id"] == id.as_str());
    let ours = &ours.expect("our side, by its id")["body"]["access"];
    assert_eq!(
        (&ours["resultCount"], &ours["statusCode"]),
        (&2.into(), &200.into())
    );
    assert!(
        ours["evidence"]["responseDigest"].is_string()
            && ours["evidence"]["requestDigest"].is_string()
    );
    gate.stop().await;
    cluster.finish().await;
}

fn accepted_ms(shown: &Shown) -> u64 {
    let receipt = ledger::receipt::Receipt::parse(shown.receipt.as_ref().unwrap().as_bytes());
    receipt.unwrap().meta.accepted_at_ms
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_over_kills_and_outages_and_emergencies_are_on_record() {
    let mut cluster = Cluster::start().await;
    let upstream = Upstream::start(&cluster).await;
    let mut gate = Gate::prepare(&cluster, &upstream, "emergencies = true", "");
    gate.start(&cluster).await;
    let (anna, bruno) = (world::person("anna"), world::person("bruno"));
    let plain = get(&gate, &format!("/isee/{anna}"));
    let stuck = get(&gate, &format!("/isee/{anna}/stuck"));
    let one = on_record(&cluster, plain.try_clone().unwrap(), access(&[&anna])).await;
    let two = on_record(&cluster, stuck.try_clone().unwrap(), access(&[&anna])).await;
    let three = on_record(&cluster, stuck, access(&[&anna])).await;

    // The ledger answers: killed once our side is on disk, while the answer is still under way.
    let before = upstream.reached();
    let call = tokio::spawn(async move { (two.send("voghera").await, two) });
    wait::until("our side to be on disk", async || {
        let sent = gate.metric(&cluster, "visto_gate_outbox_sent_total").await;
        (sent > 0 || gate.waiting_on_disk() > 0).then_some(())
    })
    .await;
    gate.kill();
    upstream.go_on.notify_waiters();
    let (_, two) = call.await.unwrap();
    assert_eq!(upstream.reached(), before + 1);

    // Nobody can be asked any more: a covered call passes offline, our side waits, and the gate is killed after the answer.
    for node in cluster.nodes.values_mut() {
        node.kill();
    }
    gate.start(&cluster).await;
    let waiting = gate.waiting_on_disk();
    assert_eq!(one.send("voghera").await.unwrap().status(), 200);
    assert_eq!(gate.waiting_on_disk(), waiting + 1);
    gate.kill();
    gate.start(&cluster).await;
    assert_eq!(told(one.send("voghera").await).await, "409 gate-used");
    // Killed between the disk and the answer, and the ledger does not know of it.
    let call = tokio::spawn(async move { (three.send("voghera").await, three) });
    wait::until("our side to be on disk", async || {
        (gate.waiting_on_disk() == waiting + 2).then_some(())
    })
    .await;
    gate.kill();
    upstream.go_on.notify_waiters();
    let (_, three) = call.await.unwrap();
    gate.start(&cluster).await;

    // An emergency passes without receipt; one that is over, or claimed for too long, does not.
    let claim = |until_ms: u64| {
        let emergency = Emergency {
            reason: "collocamento urgente di un minore".into(),
            until_ms,
        };
        let access = PlainAccess {
            emergency: Some(emergency),
            ..access(&[&bruno])
        };
        let request = get(&gate, &format!("/isee/{bruno}"));
        let entry = consumer(&cluster, world::VOGHERA)
            .entry(&request, access)
            .unwrap();
        Shown {
            request,
            wire: entry.to_wire(),
            receipt: None,
        }
    };
    let (now_ms, hour_ms) = (world::now_ms(), 3_600_000);
    let reached = upstream.reached();
    for until_ms in [now_ms - hour_ms, now_ms + 25 * hour_ms] {
        assert_eq!(
            told(claim(until_ms).send("voghera").await).await,
            "403 gate-emergency-until"
        );
    }
    assert_eq!(upstream.reached(), reached);
    let urgent = claim(now_ms + hour_ms);
    assert_eq!(urgent.send("voghera").await.unwrap().status(), 200);
    assert_eq!(told(urgent.send("voghera").await).await, "409 gate-used");
    assert_eq!(
        gate.metric(&cluster, "visto_gate_emergencies_total").await,
        1
    );
    assert_eq!(gate.waiting_on_disk(), waiting + 4);
    assert!(
        gate.log().contains("an emergency was let through"),
        "nobody was told"
    );
    let shown = Command::new(binary("visto"))
        .args(["gate", "--show", "--config"])
        .arg(gate.file())
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains(&format!("{} entries wait", waiting + 4)),
        "{shown}"
    );

    for node in cluster.nodes.values_mut() {
        node.start();
    }
    cluster.ready().await;
    wait::until("the outbox to be empty", async || {
        (gate.waiting_on_disk() == 0).then_some(())
    })
    .await;
    let kept = Command::new(binary("visto"))
        .args(["gate", "--receipts", "--output", "json", "--config"])
        .arg(gate.file())
        .output()
        .unwrap();
    let kept: Vec<serde_json::Value> = serde_json::from_slice(&kept.stdout).unwrap();
    assert!(kept.len() as u64 >= waiting + 4, "{kept:?}");
    for it in &kept {
        let receipt = it["receipt"].as_str().unwrap();
        let index = it["index"].as_u64().unwrap();
        assert!(receipt.contains(&format!("\nindex {index}\n")), "{it}");
        assert!(it["acceptedAt"].as_str().unwrap().starts_with("20"), "{it}");
    }
    let both = |findings: &[&str]| {
        let findings: Vec<String> = findings.iter().map(|it| (*it).to_owned()).collect();
        ["consumer", "provider"].map(|side| (side.to_owned(), findings.clone()))
    };
    for shown in [&one, &two, &three] {
        assert_eq!(sides(&cluster, &anna, &shown.exchange()).await, both(&[]));
    }
    assert_eq!(
        sides(&cluster, &bruno, &urgent.exchange()).await,
        both(&["emergency"])
    );
    // Whoever reviews finds them by the finding.
    let token = world::token(world::GARANTE, wire::token::Role::Authority);
    let search = serde_json::json!({"institution": world::VOGHERA, "finding": "emergency"});
    let url = cluster.url(1, "/v1/accesses/search");
    let found = cluster.http.post(&url, Some(&token), &search).await;
    let found = found.unwrap().json();
    assert_eq!(found["items"].as_array().unwrap().len(), 2, "{found}");
    gate.stop().await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_outbox_closes_the_gate_until_the_ledger_is_back() {
    let mut cluster = Cluster::start().await;
    let upstream = Upstream::start(&cluster).await;
    let small = "outbox-bytes = 65000";
    let mut gate = Gate::prepare(&cluster, &upstream, "emergencies = true", small);
    gate.start(&cluster).await;
    let anna = world::person("anna");
    let voghera = consumer(&cluster, world::VOGHERA);
    let urgent = || {
        let until_ms = world::now_ms() + 3_600_000;
        let emergency = Emergency {
            reason: "collocamento urgente di un minore".into(),
            until_ms,
        };
        let access = PlainAccess {
            emergency: Some(emergency),
            ..access(&[&anna])
        };
        let request = get(&gate, &format!("/isee/{anna}"));
        let entry = voghera.entry(&request, access).unwrap();
        Shown {
            request,
            wire: entry.to_wire(),
            receipt: None,
        }
    };
    for node in cluster.nodes.values_mut() {
        node.kill();
    }
    let mut passed = Vec::new();
    let refused = loop {
        let shown = urgent();
        let reached = upstream.reached();
        let answer = told(shown.send("voghera").await).await;
        if answer != "200 " {
            assert_eq!(
                upstream.reached(),
                reached,
                "the service was asked without room for our side"
            );
            break answer;
        }
        passed.push(shown.exchange());
        assert!(passed.len() < 20, "it never got full");
    };
    assert_eq!(refused, "503 gate-outbox-full");
    assert!(!passed.is_empty());
    for node in cluster.nodes.values_mut() {
        node.start();
    }
    cluster.ready().await;
    wait::until("a call to pass again", async || {
        let shown = urgent();
        let status = shown.send("voghera").await.ok()?.status();
        (status == 200).then_some(())
    })
    .await;
    wait::until("the outbox to be empty", async || {
        (gate.waiting_on_disk() == 0).then_some(())
    })
    .await;
    for exchange in passed {
        assert_eq!(gate::sides(&cluster, &anna, &exchange).await.len(), 2);
    }
    gate.stop().await;
    cluster.finish().await;
}
