// SPDX-License-Identifier: EUPL-1.2
//! Health and metrics. The status code is the contract, the words are for people.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use wire::{
    Problem,
    admin::{Check, Readiness},
    problem::TYPE_PREFIX,
};

use ledger::state::registry;

use crate::{app::App, extract::Query, monitoring, problem::Fault, pseudonyms::Unserved};

/// Shows whether the service works.
///
/// A problem document either way, as the Italian interoperability guideline asks.
#[utoipa::path(
    get,
    path = "/status",
    tag = "health",
    operation_id = "showStatus",
    responses((status = 200, description = "It works", body = Problem, content_type = "application/problem+json"))
)]
pub async fn status(State(app): State<Arc<App>>) -> Result<Response, Fault> {
    if failing(&app).is_some() {
        return Err(Fault::NotReady(Vec::new()));
    }
    let fine = Problem {
        kind: format!("{TYPE_PREFIX}none"),
        title: "The service works".to_owned(),
        status: 200,
        detail: None,
        instance: None,
        remedy: None,
        errors: Vec::new(),
    };
    let body = serde_json::to_vec(&fine).map_err(Fault::internal)?;
    Ok(([(header::CONTENT_TYPE, wire::PROBLEM_JSON)], body).into_response())
}

/// Shows that the process lives.
///
/// It says nothing about the cluster: a process that lives but is not ready must not be restarted for that.
#[utoipa::path(
    get,
    path = "/livez",
    tag = "health",
    operation_id = "showLiveness",
    responses((status = 200, description = "It lives", body = String, content_type = "text/plain"))
)]
pub async fn livez() -> &'static str {
    "ok\n"
}

/// How much to tell.
#[derive(Clone, Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Verbose {
    /// Names every check.
    #[param(allow_reserved)]
    pub verbose: Option<String>,
}

/// Shows whether this node can serve.
///
/// With `verbose`, check by check.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    operation_id = "showReadiness",
    params(Verbose),
    responses((status = 200, description = "It can serve", body = Readiness))
)]
pub async fn readyz(
    State(app): State<Arc<App>>,
    Query(verbose): Query<Verbose>,
) -> Result<Json<Readiness>, Fault> {
    let checks = checks(&app);
    let failing: Vec<String> = checks
        .iter()
        .filter(|check| !check.ok && check.name != PSEUDONYMS)
        .map(|check| check.name.clone())
        .collect();
    if !failing.is_empty() {
        return Err(Fault::NotReady(failing));
    }
    Ok(Json(Readiness {
        ready: true,
        checks: verbose.verbose.map(|_| checks).unwrap_or_default(),
    }))
}

fn failing(app: &App) -> Option<Check> {
    checks(app)
        .into_iter()
        .find(|check| !check.ok && check.name != PSEUDONYMS)
}

/// The check that a node may fail and still be ready: all else is served, and whoever asks for pseudonyms is told to ask another node.
const PSEUDONYMS: &str = "pseudonyms";

fn checks(app: &App) -> Vec<Check> {
    let status = app.node.status();
    let check = |name: &str, ok: bool, detail: String| Check {
        name: name.to_owned(),
        ok,
        detail,
    };
    let leader = status.leader.map_or("none is known".to_owned(), |node| {
        format!("node {}", node.0)
    });
    vec![
        check(
            "node",
            status.healthy,
            "no fatal error, and a leader is known".to_owned(),
        ),
        check("leader", status.leader.is_some(), leader),
        check(
            "genesis",
            status.applied_size.0 > 0,
            format!("{} entries applied", status.applied_size),
        ),
        check(
            "published",
            status.published_size.0 > 0,
            format!("{} entries published", status.published_size),
        ),
        pseudonyms(app),
    ]
}

fn pseudonyms(app: &App) -> Check {
    let named = app
        .node
        .view()
        .and_then(|view| registry::oprf_keys(&view))
        .unwrap_or_default();
    let standing = app.pseudonyms.standing(&named);
    Check {
        name: PSEUDONYMS.to_owned(),
        ok: matches!(standing, Ok(_) | Err(Unserved::NotHere)),
        detail: match standing {
            Ok(_) => "evaluated with the key in force".to_owned(),
            Err(cause) => cause.to_string(),
        },
    }
}

/// Shows metrics in Prometheus' text format.
///
/// Counts and times alone, nothing personal.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "health",
    operation_id = "showMetrics",
    responses((status = 200, description = "The metrics", body = String, content_type = "text/plain"))
)]
pub async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Fault> {
    let recorded = app.metrics.as_ref().ok_or(Fault::NotFound)?;
    Ok((
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        monitoring::page(recorded, &app.node),
    )
        .into_response())
}
