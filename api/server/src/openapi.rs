// SPDX-License-Identifier: EUPL-1.2
//! The description of the API (OpenAPI 3.1): what `utoipa` reads off the handlers, completed by what every operation has in common.
//!
//! The committed copy is `api/server/openapi.json`; a test compares it (`REWRITE=1` writes it anew).

use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use crate::problem::Fault;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Visto",
        version = "0.1.0",
        description = "A ledger that several public institutions run together: who saw whose data, why and on what basis, and who consented. Each entry has a receipt, and each export a proof that nothing was left out; both are checked offline.",
        terms_of_service = "https://visto.example/terms",
        contact(name = "Visto maintainers", url = "https://visto.example", email = "api@visto.example"),
        license(name = "EUPL-1.2", identifier = "EUPL-1.2")
    ),
    servers((url = "https://ledger.visto.example", description = "A node of the ledger; all nodes answer alike")),
    tags(
        (name = "entries", description = "Submit entries, see them, get their receipts"),
        (name = "accesses", description = "Who saw whose data"),
        (name = "exports", description = "Answers that prove that nothing was left out"),
        (name = "exchanges", description = "The two sides of each call"),
        (name = "tracing", description = "Tracing files of the national platform (PDND), held against the ledger"),
        (name = "consents", description = "Where a person's consents stand"),
        (name = "audit", description = "Replaying the whole ledger, and whom one person touched"),
        (name = "erasures", description = "What was ordered away, and which nodes have done it"),
        (name = "households", description = "Who belongs to a household when"),
        (name = "pseudonyms", description = "Refs of codes, without showing the codes"),
        (name = "registry", description = "Institutions, keys, nodes, policy and rules"),
        (name = "proofs", description = "Inclusion and consistency (RFC 6962)"),
        (name = "tiles", description = "The log as C2SP tlog-tiles"),
        (name = "admin", description = "For operators of nodes"),
        (name = "health", description = "Health and metrics")
    ),
    components(schemas(wire::Problem, wire::ProblemError, wire::entry::LineOutcome))
)]
struct Base;

/// What stands before any route is added.
pub fn base() -> utoipa::openapi::OpenApi {
    Base::openapi()
}

/// The finished description.
///
/// # Errors
/// The description cannot be written as JSON.
pub fn complete(api: &utoipa::openapi::OpenApi) -> Result<Value, Fault> {
    let mut api = serde_json::to_value(api).map_err(Fault::internal)?;
    if let Some(Value::Object(info)) = api.get_mut("info") {
        info.insert(
            "x-summary".to_owned(),
            json!("Who saw this household, and who said yes"),
        );
        info.insert(
            "x-api-id".to_owned(),
            json!("0199b2c4-7d1e-7c3a-9f2b-3c4d5e6f7a8b"),
        );
    }
    if let Some(Value::Object(components)) = api.get_mut("components") {
        components.insert(
            "securitySchemes".to_owned(),
            json!({"reader": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "A reader's token: EdDSA, signed with a registered token key, at most 5 minutes"
            }}),
        );
    }
    if let Some(Value::Object(paths)) = api.get_mut("paths") {
        paths.insert("/tile/{level}/{index}".to_owned(), tile_path());
        paths.insert("/openapi.json".to_owned(), description_path());
        for (_, item) in paths.iter_mut() {
            for (_, operation) in item.as_object_mut().into_iter().flatten() {
                if let Value::Object(operation) = operation {
                    complete_operation(operation);
                }
            }
        }
    }
    Ok(api)
}

fn complete_operation(operation: &mut Map<String, Value>) {
    let id = operation
        .get("operationId")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    for parameter in operation
        .get_mut("parameters")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        name_values(&id, parameter);
    }
    let Some(Value::Object(responses)) = operation.get_mut("responses") else {
        return;
    };
    for (_, response) in responses.iter_mut() {
        if let Value::Object(response) = response {
            response.insert("headers".to_owned(), limit_headers());
        }
    }
    for status in failures(&id) {
        responses.insert(status.to_string(), failure(*status));
    }
}

/// Parameters that know a few words are read as text, so that a bad one is named; the description lists the words.
fn name_values(operation_id: &str, parameter: &mut Value) {
    let words: &[&str] = match parameter.get("name").and_then(Value::as_str) {
        Some("consistency") => &["local", "linearizable"],
        Some("until") => &["published", "committed"],
        Some("proof") => &["true", "false"],
        Some("state") if operation_id == "listErasures" => &["open", "done"],
        Some("state") => &["unpaired", "paired", "differing"],
        Some("side") => &["consumer", "provider"],
        _ => return,
    };
    if let Value::Object(parameter) = parameter {
        parameter.insert(
            "schema".to_owned(),
            json!({"type": "string", "enum": words}),
        );
    }
}

/// The failures that an operation documents, by its id.
fn failures(operation_id: &str) -> &'static [u16] {
    match operation_id {
        "submitEntries" => &[400, 408, 409, 413, 415, 422, 429, 500, 503, 504],
        "searchAccesses" | "searchConsents" | "showConsentStatus" | "showComposition"
        | "showConsentReceipt" | "findUsage" | "makeExport" | "reconcileTracing"
        | "listTouched" => &[400, 401, 403, 404, 408, 413, 415, 429, 500, 503],
        "beginAudit" => &[401, 403, 404, 429, 500, 503],
        "listExchanges" | "listErasures" | "feedAuditor" => &[400, 401, 403, 404, 429, 500, 503],
        "evaluatePseudonyms" => &[400, 401, 403, 408, 413, 415, 429, 500, 503],
        "showEntry" => &[400, 401, 403, 404, 429, 500, 503],
        "showReceipt" => &[401, 403, 404, 429, 500, 503],
        "showCluster" | "showRoot" | "showPseudonymUse" => &[400, 401, 403, 404, 429, 500, 503],
        "listInstitutions" | "showInstitution" | "showKey" | "listNodes" | "showPolicy"
        | "showRules" | "proveInclusion" | "proveConsistency" => &[400, 404, 429, 500, 503],
        "showCheckpoint" | "showTile" | "showUsagePeriod" => &[404, 429, 500, 503],
        "showStatus" | "showLiveness" | "showDescription" | "showUsageHeartbeat" => {
            &[429, 500, 503]
        }
        _ => &[400, 404, 429, 500, 503],
    }
}

fn failure(status: u16) -> Value {
    let description = match status {
        400 => "The request is not as specified",
        401 => "No token, or one that lets nobody in",
        403 => "Not open to this reader",
        404 => "Not there, or not the reader's to see",
        408 => "The body did not arrive in time",
        409 => "The id is used",
        413 => "Too long",
        415 => "Another media type",
        422 => "The entry is refused",
        429 => "Too many requests",
        500 => "The node failed",
        503 => "No quorum, too much work, or stopping: nothing was written",
        504 => "It cannot be told whether the entry was written",
        _ => "Failure",
    };
    let mut headers = limit_headers();
    if matches!(status, 429 | 503)
        && let Value::Object(headers) = &mut headers
    {
        headers.insert(
            "Retry-After".to_owned(),
            json!({
                "description": "Seconds after which the same request may pass",
                "schema": {"type": "integer", "format": "int32", "minimum": 1}
            }),
        );
    }
    json!({
        "description": description,
        "headers": headers,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    })
}

fn limit_headers() -> Value {
    let header = |description: &str| {
        json!({
            "description": description,
            "schema": {"type": "integer", "format": "int32", "minimum": 0}
        })
    };
    json!({
        "X-RateLimit-Limit": header("Requests that may be made at once"),
        "X-RateLimit-Remaining": header("Requests left now"),
        "X-RateLimit-Reset": header("Seconds until the limit is whole again")
    })
}

/// The tile routes have paths of varying depth, which OpenAPI cannot say; one level of them stands for all.
fn tile_path() -> Value {
    json!({"get": {
        "tags": ["tiles"],
        "summary": "Shows a tile of hashes or a bundle of entries (C2SP tlog-tiles).",
        "description": "`level` is 0 to 63 or `entries`. `index` is written in groups of three digits, all but the last after an `x` (`x001/x234/067`); \
                        `.p/<width>` asks for a partial tile. Leaves are opaque commitments. Published tiles never change.",
        "operationId": "showTile",
        "parameters": [
            {"name": "level", "in": "path", "required": true, "description": "Level, or `entries`", "schema": {"type": "string"}, "example": "entries"},
            {"name": "index", "in": "path", "required": true, "description": "Place and width", "schema": {"type": "string"}, "example": "000"}
        ],
        "responses": {"200": {
            "description": "The tile",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        }}
    }})
}

fn description_path() -> Value {
    json!({"get": {
        "tags": ["health"],
        "summary": "Shows this description.",
        "description": "OpenAPI 3.1.",
        "operationId": "showDescription",
        "responses": {"200": {
            "description": "The description",
            "content": {"application/json": {"schema": {"type": "object"}}}
        }}
    }})
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    /// Freshness of the committed copy.
    #[test]
    fn the_committed_description_is_that_of_the_code() {
        let (_, api) = crate::routes::described();
        let mut text = serde_json::to_string_pretty(&complete(&api).unwrap()).unwrap();
        text.push('\n');
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        if std::env::var_os("REWRITE").is_some() {
            std::fs::write(file, &text).unwrap();
        }
        let committed = std::fs::read_to_string(file).unwrap_or_default();
        assert!(
            committed == text,
            "api/server/openapi.json is stale: REWRITE=1 cargo test -p server writes it anew"
        );
    }

    #[test]
    fn the_description_has_the_version_of_the_crate() {
        assert_eq!(base().info.version, env!("CARGO_PKG_VERSION"));
    }
}
