// SPDX-License-Identifier: EUPL-1.2
//! The two sides of each call on real nodes: who told what, what differs, since when; and a day's tracing file held against it.

use ledger::{base64, time::format_timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{
    cluster::Cluster,
    sign::{Draft, random},
    wait, world,
};
use wire::token::Role;

/// One side of a call about targets and persons met in the answer.
fn side(side: &str, exchange: &str, targets: &[&str], incidental: &[&str]) -> Draft {
    let mut draft = world::access_draft(&world::person("nobody"));
    draft.disclosures.pop();
    let subjects = targets.iter().map(|name| (name, "target"));
    let subjects = subjects.chain(incidental.iter().map(|name| (name, "incidental")));
    let subjects: Vec<Value> = subjects
        .map(|(name, role)| draft.disclosed(json!({"ref": world::person(name), "role": role})))
        .collect();
    draft.content["subjects"] = json!(subjects);
    draft.content["side"] = json!(side);
    draft.content["exchange"] = json!(exchange);
    if side == "provider" {
        draft.institution = world::INPS.into();
    }
    draft
}

async fn tell(cluster: &Cluster, draft: &Draft) -> (u64, String) {
    let key = world::key(&draft.institution, "entry");
    cluster.accept(1, &draft.sign(&[&key]).line()).await
}

fn exchange() -> String {
    base64::url_encode(&random::<16>())
}

async fn listed(cluster: &Cluster, who: (&str, Role), query: &str) -> Vec<Value> {
    let token = world::token(who.0, who.1);
    let url = cluster.url(
        2,
        &format!("/v1/exchanges?consistency=linearizable&{query}"),
    );
    let answer = cluster.http.get(&url, Some(&token)).await.unwrap();
    assert_eq!(answer.status, 200, "{query}: {}", answer.text);
    answer.json()["items"].as_array().unwrap().clone()
}

/// The one exchange of that name, whatever it comes to.
async fn one(cluster: &Cluster, exchange: &str) -> Value {
    let all = listed(cluster, (world::GARANTE, Role::Authority), "limit=100").await;
    let mut found = all
        .into_iter()
        .filter(|item| item["exchange"] == exchange)
        .collect::<Vec<_>>();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn names(items: &[Value]) -> Vec<&str> {
    let names = items.iter().map(|item| item["exchange"].as_str().unwrap());
    names.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_differing_side_shows_by_itself() {
    let cluster = Cluster::start().await;
    let authority = (world::GARANTE, Role::Authority);

    // Alone, either side waits, and its age is told.
    let (asked, answered) = (exchange(), exchange());
    tell(&cluster, &side("consumer", &asked, &["anna"], &[])).await;
    let (first, _) = tell(
        &cluster,
        &side("provider", &answered, &["anna"], &["bruno"]),
    )
    .await;
    let unpaired = listed(&cluster, authority, "state=unpaired").await;
    assert_eq!(
        names(&unpaired),
        [&answered, &asked],
        "the last begun first"
    );
    assert_eq!(unpaired[0]["providerSide"]["entries"], json!([first]));
    assert_eq!(unpaired[0]["consumerSide"], Value::Null);
    assert_eq!(unpaired[0]["providerSide"]["incidental"], 1);
    let only = listed(&cluster, authority, "state=unpaired&side=provider").await;
    assert_eq!(names(&only), [&answered]);
    wait::until("the age of an unpaired side", async || {
        let old = listed(&cluster, authority, "state=unpaired&olderThan=1").await;
        (old.len() == 2 && old[1]["ageSeconds"].as_u64()? >= 1).then_some(())
    })
    .await;
    let old = listed(&cluster, authority, "state=unpaired&olderThan=3600").await;
    assert!(old.is_empty(), "{old:?}");

    // The other side comes: incidental persons, the provider's alone to name, do not part them.
    tell(
        &cluster,
        &side("provider", &asked, &["anna"], &["bruno", "carla"]),
    )
    .await;
    tell(&cluster, &side("consumer", &answered, &["anna"], &[])).await;
    assert!(
        listed(&cluster, authority, "state=unpaired")
            .await
            .is_empty()
    );
    let paired = listed(&cluster, authority, "state=paired").await;
    assert_eq!(names(&paired), [&answered, &asked]);
    assert!(
        listed(&cluster, authority, "state=differing")
            .await
            .is_empty()
    );

    // What differs is named.
    let (persons, purposes, both) = (exchange(), exchange(), exchange());
    tell(&cluster, &side("consumer", &persons, &["anna"], &[])).await;
    let (wrong, leaf) = tell(&cluster, &side("provider", &persons, &["bruno"], &[])).await;
    let mut other = side("provider", &purposes, &["anna"], &[]);
    other.content["purpose"] = json!("dpv-ps:SocialWelfareProvision");
    tell(&cluster, &side("consumer", &purposes, &["anna"], &[])).await;
    tell(&cluster, &other).await;
    let mut other = side("consumer", &both, &["anna"], &[]);
    other.content["outcome"] = json!("failure");
    other.occurred_at = format_timestamp(world::now_ms() - 600_000);
    tell(&cluster, &side("provider", &both, &["anna"], &[])).await;
    tell(&cluster, &other).await;
    let differing = listed(&cluster, authority, "state=differing").await;
    let told: Vec<&Value> = differing.iter().map(|item| &item["differences"]).collect();
    assert_eq!(names(&differing), [&both, &purposes, &persons]);
    assert_eq!(
        told,
        [
            &json!(["time", "outcome"]),
            &json!(["purpose"]),
            &json!(["subjects"])
        ]
    );

    // A note of the side's own institution corrects the view; one that completes changes nothing but the incidental persons.
    let note = |kind: &str, on: (u64, &str), name: &str| {
        let mut draft = Draft::new(world::INPS, "note");
        let subject = draft.disclosed(json!({"ref": world::person(name)}));
        draft.content = json!({"kind": kind, "subjects": [subject]});
        draft
            .more
            .push(("refersTo".into(), json!({"index": on.0, "leaf": on.1})));
        draft
    };
    let (completing, _) = tell(&cluster, &note("complete", (wrong, &leaf), "dario")).await;
    let completed = one(&cluster, &persons).await;
    assert_eq!(completed["state"], "differing");
    assert_eq!(completed["providerSide"]["incidental"], 1);
    assert_eq!(completed["providerSide"]["notes"], json!([completing]));
    tell(&cluster, &note("correct", (wrong, &leaf), "anna")).await;
    assert_eq!(one(&cluster, &persons).await["state"], "paired");
    let differing = listed(&cluster, authority, "state=differing").await;
    assert_eq!(names(&differing), [&both, &purposes]);
    // And may part what agreed.
    let (agreed, leaf) = tell(&cluster, &side("provider", &exchange(), &["anna"], &[])).await;
    let name = listed(&cluster, authority, "state=unpaired").await[0]["exchange"].clone();
    let name = name.as_str().unwrap();
    tell(&cluster, &side("consumer", name, &["anna"], &[])).await;
    assert_eq!(one(&cluster, name).await["state"], "paired");
    tell(&cluster, &note("correct", (agreed, &leaf), "bruno")).await;
    let differing = listed(&cluster, authority, "state=differing").await;
    assert_eq!(names(&differing), [name, &both, &purposes]);

    // Parts of a side are one, once all are there; a third telling of a side changes nothing and is named.
    let parts = exchange();
    let part = |k: u64, name| {
        let mut draft = side("consumer", &parts, &[name], &[]);
        draft.content["part"] = json!({"k": k, "n": 2});
        draft
    };
    tell(&cluster, &part(1, "anna")).await;
    tell(&cluster, &side("provider", &parts, &["anna", "bruno"], &[])).await;
    assert_eq!(one(&cluster, &parts).await["state"], "unpaired");
    tell(&cluster, &part(2, "bruno")).await;
    let (again, _) = tell(&cluster, &side("provider", &parts, &["carla"], &[])).await;
    let paired = one(&cluster, &parts).await;
    assert_eq!(
        (&paired["state"], &paired["again"]),
        (&json!("paired"), &json!([again]))
    );
    assert_eq!(paired["consumerSide"]["parts"], 2);

    // Both institutions see both sides, also of a call that is kept from the persons; a third sees nothing, an operator may not ask.
    let sealed = exchange();
    let mut hidden = side("consumer", &sealed, &["anna"], &[]);
    hidden.content["visibility"] =
        json!({"hidden": true, "legalReference": "art. 2-undecies", "authority": world::GARANTE});
    tell(&cluster, &hidden).await;
    for reader in [
        (world::VOGHERA, Role::Institution),
        (world::INPS, Role::Dpo),
    ] {
        let own = listed(&cluster, reader, "state=unpaired").await;
        assert_eq!(names(&own), [&sealed]);
        assert!(!own[0].to_string().contains(&world::person("anna")));
    }
    for query in [
        "state=unpaired",
        "state=paired",
        "state=differing",
        "limit=100",
    ] {
        let none = listed(&cluster, (world::ASL, Role::Institution), query).await;
        assert!(none.is_empty(), "{none:?}");
    }
    let token = world::token(world::ASL, Role::Operator);
    let url = cluster.url(1, "/v1/exchanges");
    let refused = cluster.http.get(&url, Some(&token)).await.unwrap();
    assert_eq!(refused.status, 403);

    // Pages join without gap or repetition.
    let all = listed(&cluster, authority, "limit=100").await;
    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let token = world::token(world::GARANTE, Role::Authority);
        let url = cluster.url(
            1,
            &format!("/v1/exchanges?consistency=linearizable&limit=2{cursor}"),
        );
        let page = cluster.http.get(&url, Some(&token)).await.unwrap().json();
        paged.extend(page["items"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(names(&paged), names(&all));
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tracing_file_is_held_against_the_day_s_calls() {
    let cluster = Cluster::start().await;
    // Calls of now, at most some moments apart: both ends of the scenario must lie in one day of Italy.
    let purpose = "d2b9a653-c497-45c6-b8f1-5bdf124c9d3a";
    let at_ms = world::now_ms() - 60_000;
    let call = |who: &str, token: &str, status: u64| {
        let mut draft = side(who, &exchange(), &["anna"], &[]);
        draft.occurred_at = format_timestamp(at_ms);
        draft.content["purposeId"] = json!(purpose);
        draft.content["statusCode"] = json!(status);
        draft.content["evidence"] = json!({"voucherJti": token});
        draft
    };
    for (token, status) in [("t-1", 200), ("t-1", 200), ("t-1", 404), ("t-2", 200)] {
        tell(&cluster, &call("provider", token, status)).await;
    }
    tell(&cluster, &call("consumer", "t-1", 200)).await;
    let day = day_of_italy(&cluster, at_ms).await;
    let check = async |rows: &[String], query: &str| {
        let csv = format!(
            "date,purpose_id,status,token_id,requests_count\n{}",
            rows.concat()
        );
        let token = world::token(world::INPS, Role::Institution);
        let url = cluster.url(
            2,
            &format!("/v1/tracing/reconciliations?consistency=linearizable{query}"),
        );
        cluster
            .http
            .send(Method::POST, &url, Some(&token), Some(("text/csv", csv)))
            .await
            .unwrap()
    };
    let row = |status: u64, token: &str, count: u64| {
        format!("{day},{purpose},{status},{token},{count}\n")
    };
    let whole = [row(200, "t-1", 2), row(404, "t-1", 1), row(200, "t-2", 1)];
    let same = check(&whole, "").await;
    assert_eq!(same.status, 200, "{}", same.text);
    let same = same.json();
    assert_eq!(
        (&same["agrees"], &same["requestsInLedger"]),
        (&json!(true), &json!(4)),
        "{same}"
    );

    // One of each kind.
    let found = check(
        &[row(200, "t-1", 3), row(404, "t-1", 1), row(500, "t-3", 1)],
        "&side=provider",
    )
    .await
    .json();
    let told: Vec<(&str, &str, u64, u64)> = found["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let count = |name: &str| one[name].as_u64().unwrap();
            (
                one["kind"].as_str().unwrap(),
                one["tokenId"].as_str().unwrap(),
                count("inFile"),
                count("inLedger"),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("missing-in-ledger", "t-3", 1, 0),
            ("missing-in-file", "t-2", 0, 1),
            ("other-count", "t-1", 3, 2),
        ]
    );
    assert_eq!(found["agrees"], json!(false));

    // What cannot be read is refused with the line; whose calls they are is not for everybody to choose.
    let bad = check(&[row(200, "t-1", 2), row(200, "t-1", 0)], "").await;
    assert_eq!(
        (bad.status, bad.json()["errors"][0]["pointer"].clone()),
        (400, json!("line 3, requests_count"))
    );
    let foreign = check(&whole, &format!("&institution={}", world::VOGHERA)).await;
    assert_eq!(foreign.status, 403, "{}", foreign.text);
    cluster.finish().await;
}

/// The day of Italy of a time, as the ledger itself says where it begins and ends: one of the two days that it can be.
async fn day_of_italy(cluster: &Cluster, at_ms: u64) -> String {
    let token = world::token(world::INPS, Role::Institution);
    for ms in [at_ms, at_ms + 7_200_000] {
        let day = format_timestamp(ms)[..10].to_owned();
        let csv = format!("date,purpose_id,status,token_id,requests_count\n{day},p,200,t,1\n");
        let url = cluster.url(1, "/v1/tracing/reconciliations");
        let answer = cluster
            .http
            .send(Method::POST, &url, Some(&token), Some(("text/csv", csv)))
            .await
            .unwrap()
            .json();
        let at = format_timestamp(at_ms);
        if answer["from"].as_str().unwrap() <= at.as_str()
            && at.as_str() < answer["to"].as_str().unwrap()
        {
            return day;
        }
    }
    panic!("no day holds {at_ms}");
}
