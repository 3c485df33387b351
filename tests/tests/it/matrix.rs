// SPDX-License-Identifier: EUPL-1.2
//! Role × route: every route of the API's own description, asked as every kind of caller. A route that is not in the table fails.

use std::{collections::BTreeSet, fs};

use reqwest::Method;
use serde_json::{Value, json};
use tests::{cluster::Cluster, oprf, world};
use wire::token::Role;

use crate::governance::Governance;

/// Who calls.
const CALLERS: [(&str, Option<(&str, Role)>); 5] = [
    ("nobody", None),
    ("institution", Some((world::VOGHERA, Role::Institution))),
    ("dpo", Some((world::VOGHERA, Role::Dpo))),
    ("authority", Some((world::GARANTE, Role::Authority))),
    ("operator", Some((world::VOGHERA, Role::Operator))),
];
const EVERYBODY: &[&str] = &["nobody", "institution", "dpo", "authority", "operator"];
const READERS: &[&str] = &["institution", "dpo", "authority"];
const OPERATORS: &[&str] = &["operator"];

/// Method, route, and who may call it. Whoever may not is told 401 without a token, and 403 with one.
const TABLE: &[(&str, &str, &[&str])] = &[
    ("post", "/v1/entries", EVERYBODY),
    ("get", "/v1/entries/{index}", READERS),
    ("get", "/v1/entries/{index}/receipt", READERS),
    ("get", "/v1/entries/{index}/proof", EVERYBODY),
    ("get", "/v1/consistency", EVERYBODY),
    ("post", "/v1/accesses/search", READERS),
    ("get", "/v1/exchanges", READERS),
    ("post", "/v1/tracing/reconciliations", READERS),
    ("post", "/v1/usage", &["dpo", "authority"]),
    ("get", "/v1/usage/period", EVERYBODY),
    ("get", "/v1/usage/heartbeat", EVERYBODY),
    ("post", "/v1/exports", READERS),
    ("get", "/v1/erasures", &["dpo", "authority"]),
    ("post", "/v1/consents/search", READERS),
    ("post", "/v1/consents/status", READERS),
    ("post", "/v1/consents/receipt", READERS),
    ("post", "/v1/households/composition", READERS),
    ("get", "/v1/audit/entries", &["authority"]),
    ("get", "/v1/audit/start", &["authority"]),
    ("post", "/v1/operators/subjects", &["dpo", "authority"]),
    ("post", "/v1/pseudonyms/evaluations", &["institution"]),
    ("get", "/v1/institutions", EVERYBODY),
    ("get", "/v1/institutions/{institution}", EVERYBODY),
    ("get", "/v1/keys/{key_id}", EVERYBODY),
    ("get", "/v1/nodes", EVERYBODY),
    ("get", "/v1/policy", EVERYBODY),
    ("get", "/v1/rules", EVERYBODY),
    ("get", "/v1/governance", EVERYBODY),
    ("get", "/checkpoint", EVERYBODY),
    ("get", "/tile/{level}/{index}", EVERYBODY),
    ("get", "/admin/v1/cluster", OPERATORS),
    ("get", "/admin/v1/cluster/roots", OPERATORS),
    ("get", "/admin/v1/pseudonyms", OPERATORS),
    ("get", "/status", EVERYBODY),
    ("get", "/livez", EVERYBODY),
    ("get", "/readyz", EVERYBODY),
    ("get", "/metrics", EVERYBODY),
    ("get", "/openapi.json", EVERYBODY),
    ("get", "/docs/api", EVERYBODY),
];
/// What serves and is not described: the page that shows the description.
const UNDESCRIBED: &[&str] = &["/docs/api"];

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_open_to_whom_the_table_says_and_to_nobody_else() {
    let cluster = Cluster::start().await;
    let anna = world::person("anna");
    let rossi = world::household("rossi");
    cluster
        .accept(
            1,
            &world::family(&rossi, &[&anna], "2026-01-01T00:00:00Z").line(),
        )
        .await;
    let given = world::consent("consent-1", &anna, "given");
    cluster.accept(1, &given.line()).await;
    let (index, _) = cluster.accept(1, &world::access(&anna).line()).await;
    let mut governance = Governance::after_genesis(&cluster).await;
    let policy = fs::read_to_string(cluster.policy_file()).unwrap();
    governance
        .decide(&cluster, 1, "policy", json!({"text": policy}))
        .await;
    cluster.published(1, index + 1).await;

    let description = cluster
        .http
        .get(&cluster.url(1, "/openapi.json"), None)
        .await
        .unwrap()
        .json();
    let mut described = operations(&description);
    described.extend(
        UNDESCRIBED
            .iter()
            .map(|route| ("get".to_owned(), (*route).to_owned())),
    );
    let listed: BTreeSet<(String, String)> = TABLE
        .iter()
        .map(|(method, route, _)| ((*method).to_owned(), (*route).to_owned()))
        .collect();
    assert_eq!(
        described, listed,
        "a route without a row here, or a row without a route"
    );

    let mut wrong = Vec::new();
    for (method, route, allowed) in TABLE {
        let path = route
            .replace("{level}/{index}", &format!("0/000.p/{}", index + 1))
            .replace("{index}", &index.to_string())
            .replace("{institution}", world::VOGHERA)
            .replace(
                "{key_id}",
                &world::key_id(&world::key(world::VOGHERA, "entry")),
            );
        let query = match *route {
            "/v1/entries/{index}/proof" => format!("?tree_size={}", index + 1),
            "/v1/consistency" => format!("?from=1&to={}", index + 1),
            "/admin/v1/cluster/roots" => format!("?size={}", index + 1),
            _ => String::new(),
        };
        let body = match *route {
            "/v1/entries" => Some(("application/json", world::access(&anna).line())),
            "/v1/accesses/search" | "/v1/consents/search" | "/v1/usage" => {
                Some(("application/json", json!({"subject": anna}).to_string()))
            }
            "/v1/consents/status" | "/v1/consents/receipt" => {
                let query = json!({"subject": anna, "record": "consent-1"});
                Some(("application/json", query.to_string()))
            }
            "/v1/exports" => {
                let order =
                    json!({"subject": anna, "audience": "reader", "ground": "dpv-gdpr:A15"});
                Some(("application/json", order.to_string()))
            }
            "/v1/tracing/reconciliations" => {
                let csv = "date,purpose_id,status,token_id,requests_count\n2026-11-24,p,200,t,1\n";
                Some(("text/csv", csv.to_owned()))
            }
            "/v1/operators/subjects" => {
                let query = json!({"institution": world::VOGHERA, "operator": world::CLERK});
                Some(("application/json", query.to_string()))
            }
            "/v1/pseudonyms/evaluations" => {
                // Any element of the group will do, such as a public key.
                let blinded = json!({"blinded": [oprf::public(1)]});
                Some(("application/json", blinded.to_string()))
            }
            "/v1/households/composition" => {
                Some(("application/json", json!({"household": rossi}).to_string()))
            }
            _ => None,
        };
        for (caller, who) in CALLERS {
            let token = who.map(|(institution, role)| world::token(institution, role));
            let verb = if *method == "post" {
                Method::POST
            } else {
                Method::GET
            };
            let url = cluster.url(1, &format!("{path}{query}"));
            let answer = cluster
                .http
                .send(verb, &url, token.as_deref(), body.clone())
                .await
                .unwrap();
            let may = allowed.contains(&caller);
            let fits = match answer.status {
                200..=299 => may,
                401 => !may && who.is_none(),
                403 => !may && who.is_some(),
                _ => false,
            };
            if !fits {
                wrong.push(format!(
                    "{caller}, {method} {route}: {} {}",
                    answer.status,
                    answer.text.chars().take(120).collect::<String>()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    cluster.finish().await;
}

fn operations(description: &Value) -> BTreeSet<(String, String)> {
    let paths = description["paths"].as_object().expect("paths");
    let methods = [
        "get", "put", "post", "delete", "patch", "head", "options", "trace",
    ];
    paths
        .iter()
        .flat_map(|(route, item)| {
            let item = item.as_object().expect("an item");
            let found: Vec<(String, String)> = item
                .keys()
                .filter(|key| methods.contains(&key.as_str()))
                .map(|method| (method.clone(), route.clone()))
                .collect();
            found
        })
        .collect()
}
