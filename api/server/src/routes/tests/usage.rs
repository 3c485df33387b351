// SPDX-License-Identifier: EUPL-1.2
//! Usages of a person's data; and persons who are asked for by any of their refs, in queries of any length.

use client::build::{Plain, PlainAccess};
use ledger::{
    body::{
        access::{AccessSubject, Side, SubjectRole},
        consent::ConsentEvent,
    },
    hash::Hash,
    time::AHEAD_MS_MAX,
};
use serde_json::{Value, json};
use wire::token::Role;

use crate::{
    app::now_ms,
    present::hash_text,
    routes::usage::{Period, exchanges},
    testing::{
        AUTHORITY, INPS, TOWN,
        running::{Running, access, access_of, consent, household, link, sign},
    },
};

const DAY: u64 = 86_400_000;

fn person(n: u8) -> Hash {
    Hash([n; 32])
}

async fn ask(running: &Running, route: &str, question: Value) -> Value {
    let answer = running.post_as(route, &question, TOWN, Role::Dpo).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    answer.json()
}

async fn found(running: &Running, question: Value) -> Vec<u64> {
    ask(running, "/v1/accesses/search", question).await["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["index"].as_u64().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn usages_say_when_why_and_who_newest_first() {
    let running = Running::start().await;
    let now = now_ms();
    let subject = json!({"subject": hash_text(&person(1))});
    let nobody = json!({"subject": hash_text(&person(3))});
    let none = ask(&running, "/v1/usage", nobody).await;
    assert_eq!(
        (&none["totalUsages"], &none["usages"]),
        (&json!(0), &json!([]))
    );
    // Both sides of one exchange, the provider's first and a second apart; then another by the consumer alone.
    let mut plain = access_of(&[person(1), person(2)]);
    plain.consumer_client_id = Some("client-7".to_owned());
    let provider = PlainAccess {
        side: Side::Provider,
        reason: "risposta".to_owned(),
        ..plain.clone()
    };
    let access_of_side = |plain: PlainAccess| Plain::Access(Box::new(plain));
    running
        .accept(&sign(INPS, now - 1_000, access_of_side(provider)))
        .await;
    running
        .accept(&sign(TOWN, now - 2_000, access_of_side(plain)))
        .await;
    running.accept(&access(&[person(1)], now - 500)).await;
    let size = running.size();
    let all = ask(&running, "/v1/usage", subject.clone()).await;
    assert_eq!(running.size(), size + 1, "the reading is recorded");
    assert_eq!(all["treeSize"], size);
    assert_eq!(all["totalUsages"], 2);
    let logtime = |ms: u64| ledger::time::format_timestamp(ms);
    assert_eq!(
        all["usages"],
        json!([
            {"logtime": logtime(now - 500), "action": "Domanda di bonus", "receiverCode": TOWN,
             "receiverName": "Comune di Voghera", "receiverSystem": TOWN},
            {"logtime": logtime(now - 2_000), "action": "Domanda di bonus", "receiverCode": TOWN,
             "receiverName": "Comune di Voghera", "receiverSystem": "client-7"},
        ])
    );
    let page = |extra: Value| {
        let mut question = subject.clone();
        for (name, value) in extra.as_object().unwrap() {
            question[name] = value.clone();
        }
        question
    };
    for (extra, total, first) in [
        (json!({"offset": 1}), 2, Some(now - 2_000)),
        (json!({"offset": 2}), 2, None),
        (json!({"limit": 1}), 2, Some(now - 500)),
        (
            json!({"periodEnd": logtime(now - 500)}),
            1,
            Some(now - 2_000),
        ),
        (
            json!({"periodStart": logtime(now - 500)}),
            1,
            Some(now - 500),
        ),
    ] {
        let answer = ask(&running, "/v1/usage", page(extra)).await;
        assert_eq!(answer["totalUsages"], total);
        assert_eq!(
            answer["usages"][0]["logtime"].as_str(),
            first.map(logtime).as_deref()
        );
    }
    // Whose desk it is, and the two questions beside.
    for (id, role, status) in [
        (TOWN, Role::Institution, 403),
        (TOWN, Role::Operator, 403),
        (AUTHORITY, Role::Authority, 200),
    ] {
        let answer = running.post_as("/v1/usage", &subject, id, role).await;
        assert_eq!(answer.status.as_u16(), status, "{id} {role:?}");
    }
    assert_eq!(
        running.get("/v1/usage/heartbeat").await.json()["status"],
        "OK"
    );
    let period = running.get("/v1/usage/period").await.json();
    assert!(period["periodStart"].is_string() && period["periodEnd"].is_string());
    running.stop().await;
}

/// What is older than a period is not looked at, however much it is.
#[tokio::test(flavor = "multi_thread")]
async fn usages_are_bounded_by_their_period() {
    let running = Running::start().await;
    for _ in 0..4 {
        running.accept(&access(&[person(1)], now_ms())).await;
    }
    let view = running.node.view().unwrap();
    let ask = |from_ms: u64, rows_max: usize| {
        let period = Period {
            from_ms,
            to_ms: u64::MAX,
        };
        let found = exchanges(&view, &[person(1)], &period, rows_max);
        found.map(|(found, looked_at)| (found.len(), looked_at))
    };
    assert_eq!(ask(0, 4), Ok((4, 4)));
    assert!(ask(0, 3).is_err());
    // An entry may be dated a little ahead of its acceptance.
    assert!(ask(now_ms() + AHEAD_MS_MAX / 2, 3).is_err());
    assert_eq!(ask(now_ms() + 2 * AHEAD_MS_MAX, 3), Ok((0, 0)));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_found_by_every_ref_that_links_join() {
    let running = Running::start().await;
    let now = now_ms();
    let (old, new) = (person(1), person(2));
    running
        .accept(&household(person(9), &[old], now - DAY))
        .await;
    let before = running.accept(&access(&[old], now - 2_000)).await;
    running
        .accept(&consent(old, ConsentEvent::Given, now - DAY, TOWN))
        .await;
    let by_new = json!({"subject": hash_text(&new)});
    assert!(found(&running, by_new.clone()).await.is_empty());
    let linked = running.accept(&link(old, new)).await;
    let after = running.accept(&access(&[new], now - 1_000)).await;
    running
        .accept(&consent(new, ConsentEvent::Withdrawn, now, TOWN))
        .await;
    for question in [
        by_new.clone(),
        json!({"subject": hash_text(&old)}),
        json!({"household": hash_text(&person(9))}),
    ] {
        assert_eq!(found(&running, question).await, [after, before]);
    }
    assert_eq!(
        ask(&running, "/v1/usage", by_new.clone()).await["totalUsages"],
        2
    );
    for of in [old, new] {
        for record in [json!(null), json!("r-1")] {
            let mut question = json!({"subject": hash_text(&of)});
            if record.is_string() {
                question["record"] = record;
            }
            let records = ask(&running, "/v1/consents/search", question).await;
            assert_eq!(records["items"].as_array().unwrap().len(), 1);
            assert_eq!(records["items"][0]["status"], "withdrawn");
            assert_eq!(records["items"][0]["events"].as_array().unwrap().len(), 2);
        }
    }
    // A receipt holds the events under both refs, whichever is asked for.
    let record = json!({"subject": hash_text(&new), "record": "r-1"});
    ask(&running, "/v1/consents/receipt", record).await;
    // The reading stands under both refs, and so does the link.
    for of in [old, new] {
        let question = json!({"subject": hash_text(&of), "types": ["read", "link"]});
        let answer = running
            .post_as("/v1/accesses/search", &question, AUTHORITY, Role::Authority)
            .await;
        let items = answer.json()["items"].as_array().unwrap().clone();
        let count = |kind: &str| items.iter().filter(|item| item["type"] == kind).count();
        assert!(count("read") >= 3, "{items:?}");
        assert!(items.iter().any(|item| item["index"] == linked));
        // The search follows links: whom the reading names stands in itself.
        let mut reads = items.iter().map(|item| &item["body"]["read"]);
        let receipt = reads.find(|read| read["released"]["route"] == "/v1/consents/receipt");
        let named = receipt.unwrap()["subjects"].to_string();
        assert!(
            [old, new].iter().all(|of| named.contains(&hash_text(of))),
            "{named}"
        );
    }
    running.stop().await;
}

/// A query for 450 persons is three entries of one exchange; each person finds it once.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_in_parts_is_one_usage() {
    let running = Running::start().await;
    let many: Vec<AccessSubject> = (0..450u32)
        .map(|n| AccessSubject {
            person: Hash::of(&[&n.to_be_bytes()]),
            role: SubjectRole::Target,
            relation: None,
        })
        .collect();
    let last = many[449].person;
    let mut plain = access_of(&[]);
    plain.subjects = many;
    let parts = plain.clone().into_parts();
    assert_eq!(parts.len(), 3);
    let provider = PlainAccess {
        side: Side::Provider,
        ..plain
    };
    let mut indexes = Vec::new();
    for (id, plain) in parts
        .into_iter()
        .map(|part| (TOWN, part))
        .chain(provider.into_parts().into_iter().map(|part| (INPS, part)))
    {
        let entry = sign(id, now_ms(), Plain::Access(Box::new(plain)));
        let answer = running.submit(entry.to_wire()).await.json();
        assert_eq!(
            answer["findings"],
            json!(["purpose-not-allowed", "no-case"])
        );
        indexes.push(answer["index"].as_u64().unwrap());
    }
    let question = json!({"subject": hash_text(&last)});
    assert_eq!(
        found(&running, question.clone()).await,
        [indexes[5], indexes[2]]
    );
    assert_eq!(ask(&running, "/v1/usage", question).await["totalUsages"], 1);
    running.stop().await;
}
