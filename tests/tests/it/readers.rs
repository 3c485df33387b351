// SPDX-License-Identifier: EUPL-1.2
//! Two readers with different rights see different things of one ledger; both readings are on the record before anything leaves.

use serde_json::{Value, json};
use tests::{cluster::Cluster, http::Answer, wait, world};
use wire::token::Role;

#[tokio::test(flavor = "multi_thread")]
async fn each_reader_sees_what_its_rights_allow_and_is_recorded() {
    let cluster = Cluster::start().await;
    let (anna, rossi) = (world::person("anna"), world::household("rossi"));
    let family = world::family(
        &rossi,
        &[&anna, &world::person("bruno")],
        "2026-01-01T00:00:00Z",
    );
    cluster.accept(1, &family.line()).await;
    let (index, leaf_hash) = cluster.accept(1, &world::access(&anna).line()).await;
    cluster.published(2, index + 1).await;

    // The authority asks by household, and gets the access with persons.
    let search = json!({"household": rossi});
    let page = ok(search_as(&cluster, world::GARANTE, Role::Authority, &search).await);
    let items = page["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{page}");
    assert_eq!(
        (items[0]["index"].as_u64(), items[0]["leafHash"].as_str()),
        (Some(index), Some(leaf_hash.as_str()))
    );
    assert_eq!(
        items[0]["body"]["access"]["subjects"][0]["ref"], anna,
        "the authority sees persons: {page}"
    );

    // A provider's privacy officer sees the access, since INPS took part; an institution that did not sees nothing.
    let search = json!({"subject": anna});
    let own = ok(search_as(&cluster, world::INPS, Role::Dpo, &search).await);
    assert_eq!(own["items"].as_array().unwrap().len(), 1, "{own}");
    let stranger = search_as(&cluster, world::ASL, Role::Institution, &search).await;
    assert!(
        stranger.status == 403 || stranger.json()["items"] == json!([]),
        "{}",
        stranger.text
    );

    // Not there and not yours are one answer.
    let token = world::token(world::ASL, Role::Institution);
    let not_yours = cluster
        .http
        .get(
            &cluster.url(1, &format!("/v1/entries/{index}")),
            Some(&token),
        )
        .await
        .unwrap();
    let not_there = cluster
        .http
        .get(&cluster.url(1, "/v1/entries/999999"), Some(&token))
        .await
        .unwrap();
    assert_eq!(not_yours.status, 404, "{}", not_yours.text);
    assert_eq!(
        (not_yours.status, not_yours.problem()),
        (not_there.status, not_there.problem())
    );
    let (mut a, mut b) = (not_yours.json(), not_there.json());
    for body in [&mut a, &mut b] {
        body.as_object_mut().unwrap().remove("instance");
    }
    assert_eq!(a, b);

    // An operator runs nodes and reads nobody's data.
    let operator = search_as(&cluster, world::INPS, Role::Operator, &search).await;
    assert_eq!(operator.status, 403, "{}", operator.text);
    // A role that the registry did not grant is not taken from the token.
    let usurper = search_as(&cluster, world::ASL, Role::Authority, &search).await;
    assert_eq!(usurper.status, 403, "{}", usurper.text);

    // The answered readings are entries, older than their answers.
    let reads = wait::until("the readings on the record", async || {
        let search = json!({"subject": anna, "types": ["read"]});
        let page = search_as(&cluster, world::GARANTE, Role::Authority, &search)
            .await
            .json();
        page["items"]
            .as_array()
            .cloned()
            .filter(|items| items.len() >= 2)
    })
    .await;
    assert!(reads.iter().all(|read| read["type"] == "read"), "{reads:?}");
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_not_pinned_down_open_nothing() {
    let cluster = Cluster::start().await;
    let anna = world::person("anna");
    cluster.accept(1, &world::access(&anna).line()).await;
    let search = json!({"subject": anna});
    let good = world::token(world::GARANTE, Role::Authority);
    let url = cluster.url(1, "/v1/accesses/search");

    let parts: Vec<&str> = good.split('.').collect();
    let encode = |value: &Value| ledger::base64::url_encode(value.to_string().as_bytes());
    let unsigned_head = encode(&json!({"alg": "none", "typ": "JWT"}));
    let symmetric_head = encode(
        &json!({"alg": "HS256", "typ": "JWT", "kid": world::key_id(&world::key(world::GARANTE, "token"))}),
    );
    let mut tampered = ledger::base64::url_decode(parts[1]).unwrap();
    let place = tampered
        .windows(11)
        .position(|w| w == b"ipa:garante")
        .unwrap();
    tampered[place + 4..place + 11].copy_from_slice(b"garantf");
    let bad = [
        ("no token", None),
        ("nonsense", Some("abc".to_owned())),
        ("alg none", Some(format!("{unsigned_head}.{}.", parts[1]))),
        (
            "alg HS256",
            Some(format!("{symmetric_head}.{}.{}", parts[1], parts[2])),
        ),
        (
            "changed claims",
            Some(format!(
                "{}.{}.{}",
                parts[0],
                ledger::base64::url_encode(&tampered),
                parts[2]
            )),
        ),
        (
            "an entry key",
            Some(world::token_signed_by(
                world::GARANTE,
                Role::Authority,
                &world::key(world::GARANTE, "entry"),
            )),
        ),
        (
            "another institution's key",
            Some(world::token_signed_by(
                world::GARANTE,
                Role::Authority,
                &world::key(world::INPS, "token"),
            )),
        ),
    ];
    for (what, token) in bad {
        let answer = cluster
            .http
            .post(&url, token.as_deref(), &search)
            .await
            .unwrap();
        assert_eq!(answer.status, 401, "{what}: {}", answer.text);
        assert!(
            answer.header("www-authenticate").starts_with("Bearer"),
            "{what}"
        );
    }
    assert_eq!(
        cluster
            .http
            .post(&url, Some(&good), &search)
            .await
            .unwrap()
            .status,
        200
    );
    cluster.finish().await;
}

async fn search_as(cluster: &Cluster, institution: &str, role: Role, search: &Value) -> Answer {
    let token = world::token(institution, role);
    cluster
        .http
        .post(&cluster.url(2, "/v1/accesses/search"), Some(&token), search)
        .await
        .unwrap()
}

fn ok(answer: Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}
