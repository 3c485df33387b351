// SPDX-License-Identifier: EUPL-1.2
use ledger::{
    base64,
    bytes::CodeKind,
    oprf::{Blinding, Element, Evaluation, Proof, finalize},
};
use serde_json::{Value, json};
use wire::token::Role;

use crate::{
    config::Limits,
    testing::{
        AUTHORITY, INPS, TOWN, oprf_key,
        running::{Answer, Running},
    },
};

const ROUTE: &str = "/v1/pseudonyms/evaluations";

fn blinding(code: &str, random: u8) -> Blinding {
    Blinding::new(CodeKind::Cf, code, &[random; 32]).unwrap()
}

fn text(element: Element) -> String {
    base64::url_encode(element.as_bytes())
}

fn evaluation(answer: &Answer) -> Evaluation {
    let share = &answer.json()["shares"][0];
    let elements = share["evaluated"].as_array().unwrap().iter();
    let element = |text: &Value| {
        let bytes = base64::url_decode_array(text.as_str().unwrap()).unwrap();
        Element::from_bytes(&bytes).unwrap()
    };
    Evaluation {
        evaluated: elements.map(element).collect(),
        proof: Proof(base64::url_decode_array(share["proof"].as_str().unwrap()).unwrap()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_evaluated_in_order_and_proven_with_the_ledgers_key() {
    let running = Running::start().await;
    let codes = ["RSSMRA85T10A562S", "RSSMRA85T50A562W"];
    let blindings = [blinding(codes[0], 1), blinding(codes[1], 2)];
    let blinded: Vec<String> = blindings.iter().map(|it| text(it.blinded())).collect();
    let question = json!({"blinded": blinded});
    let answer = running
        .post_as(ROUTE, &question, TOWN, Role::Institution)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let key = oprf_key().public();
    let named = base64::url_encode(key.as_bytes());
    let body = answer.json();
    assert_eq!(body["publicKey"], json!(named));
    assert_eq!(body["shares"][0]["publicKey"], json!(named));
    assert_eq!(body["shares"][0]["node"], json!(1));
    let refs = finalize(&blindings, &evaluation(&answer), &key).unwrap();
    // Another institution, another blind, alone: the same ref.
    let again = blinding(&codes[1].to_lowercase(), 3);
    let question = json!({"blinded": [text(again.blinded())], "key": named});
    let answer = running
        .post_as(ROUTE, &question, INPS, Role::Institution)
        .await;
    let alone = finalize(&[again], &evaluation(&answer), &key).unwrap();
    assert_eq!(alone[0], refs[1]);
    assert_ne!(refs[0], refs[1]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_question_is_refused_by_its_place() {
    let running = Running::start().await;
    let good = text(blinding("RSSMRA85T10A562S", 1).blinded());
    let identity = base64::url_encode(&[0; 32]);
    // The field's prime, a second spelling of zero: not canonical.
    let mut prime = [0xff; 32];
    (prime[0], prime[31]) = (0xed, 0x7f);
    let prime = base64::url_encode(&prime);
    let many = vec![good.as_str(); 1001];
    let other_key = good.clone();
    let cases = [
        (json!({}), "request-member", "/blinded"),
        (json!({"blinded": []}), "request-member", "/blinded"),
        (json!({"blinded": many}), "request-member", "/blinded"),
        (json!({"blinded": good}), "request-member", "/blinded"),
        (
            json!({"blinded": [good, 7]}),
            "request-member",
            "/blinded/1",
        ),
        (
            json!({"blinded": [good, "AA"]}),
            "request-member",
            "/blinded/1",
        ),
        (
            json!({"blinded": [good, good, identity]}),
            "request-member",
            "/blinded/2",
        ),
        (json!({"blinded": [prime]}), "request-member", "/blinded/0"),
        (
            json!({"blinded": [good], "key": other_key}),
            "request-member",
            "/key",
        ),
        (
            json!({"blinded": [good], "code": "x"}),
            "request-member",
            "/code",
        ),
    ];
    for (question, code, pointer) in cases {
        let answer = running
            .post_as(ROUTE, &question, TOWN, Role::Institution)
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.problem().as_str()),
            (400, code)
        );
        assert_eq!(answer.json()["errors"][0]["pointer"], json!(pointer));
    }
    let question = json!({"blinded": [good]});
    for (who, role) in [
        (TOWN, Role::Dpo),
        (TOWN, Role::Operator),
        (AUTHORITY, Role::Authority),
    ] {
        let answer = running.post_as(ROUTE, &question, who, role).await;
        assert_eq!(
            (answer.status.as_u16(), answer.problem().as_str()),
            (403, "forbidden")
        );
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_element_counts_for_its_institution_and_its_rate() {
    let limits = Limits {
        pseudonyms_per_second: 1,
        pseudonyms_burst: 5,
        pseudonyms_alarm_per_hour: 3,
        ..Limits::default()
    };
    let running = Running::start_with(limits).await;
    let good = text(blinding("RSSMRA85T10A562S", 1).blinded());
    let ask = |who: &'static str, count: usize| {
        let question = json!({"blinded": vec![good.as_str(); count]});
        let running = &running;
        async move {
            running
                .post_as(ROUTE, &question, who, Role::Institution)
                .await
        }
    };
    assert_eq!(ask(TOWN, 4).await.status, 200);
    let refused = ask(TOWN, 5).await;
    assert_eq!(
        (refused.status.as_u16(), refused.problem().as_str()),
        (429, "too-fast")
    );
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(
        ask(INPS, 3).await.status,
        200,
        "each institution has its own rate"
    );
    let used = running
        .get_as("/admin/v1/pseudonyms", TOWN, Role::Operator)
        .await;
    let used = used.json();
    assert_eq!(used["serving"], json!(true));
    let counts = used["institutions"].as_array().unwrap();
    let expected = [
        json!({"institution": TOWN, "evaluated": 4, "thisHour": 4, "alarms": 1}),
        json!({"institution": INPS, "evaluated": 3, "thisHour": 3, "alarms": 0}),
    ];
    assert_eq!(counts.len(), expected.len());
    for line in expected {
        assert!(counts.contains(&line), "{line} in {used}");
    }
    let closed = running
        .get_as("/admin/v1/pseudonyms", TOWN, Role::Dpo)
        .await;
    assert_eq!(closed.status, 403);
    running.stop().await;
}
