// SPDX-License-Identifier: EUPL-1.2
//! Evaluates blinded codes, and shows operators who asked for how many.

use std::sync::Arc;

use axum::{Extension, Json, body::Body, extract::State, http::HeaderMap};
use ledger::{
    base64,
    oprf::{Element, OprfPublicKey},
    state::registry,
    time,
};
use wire::pseudonym::{EVALUATIONS_MAX, Evaluations, InstitutionUse, PseudonymUse, Share};

use crate::{
    access,
    app::{App, now_ms},
    body,
    form::{Form, bad, bad_item},
    observe::Notes,
    problem::Fault,
};

/// Longest question: 1000 elements of 43 letters each, and white space to spare.
const QUESTION_BYTES_MAX: usize = 64 * 1024;

/// Evaluates blinded codes.
///
/// For systems of institutions, which make refs of the codes that they hold: they blind, check the proof against the ledger's key, and unblind. The node learns neither code nor ref. Limited and counted by institution: each element costs one of its rate for pseudonyms.
#[utoipa::path(
    post,
    path = "/v1/pseudonyms/evaluations",
    tag = "pseudonyms",
    operation_id = "evaluatePseudonyms",
    request_body = wire::pseudonym::EvaluationRequest,
    security(("reader" = [])),
    responses((status = 200, description = "The evaluations and their proof", body = Evaluations))
)]
pub async fn evaluate(
    State(app): State<Arc<App>>,
    Extension(notes): Extension<Notes>,
    headers: HeaderMap,
    request_body: Body,
) -> Result<Json<Evaluations>, Fault> {
    body::demand_json(&headers)?;
    let view = app.node.view()?;
    let reader = app.reader(&headers, &view, &notes)?;
    access::demand_system(&reader)?;
    let read = app.bodies.read(request_body, QUESTION_BYTES_MAX).await?;
    let mut form = Form::parse_within(&read.bytes, QUESTION_BYTES_MAX)?;
    const EXPECTED: &str = "1 to 1000 elements";
    let blinded = form
        .list_of_32("blinded", EVALUATIONS_MAX, EXPECTED)?
        .ok_or_else(|| bad("blinded", EXPECTED))?;
    let wanted = form.hash("key")?;
    form.end()?;

    let unknown = || bad("key", "a key of this ledger");
    let wanted = wanted
        .map(|key| OprfPublicKey::from_bytes(key.as_bytes()).map_err(|_| unknown()))
        .transpose()?;
    let named = registry::oprf_keys(&view)?;
    if wanted.is_some_and(|wanted| !named.contains(&wanted)) {
        return Err(unknown());
    }
    let key = app
        .pseudonyms
        .key(&named, wanted.as_ref())
        .map_err(Fault::Pseudonyms)?;
    let count = blinded.len();
    app.pseudonyms.charge(reader.institution(), count, &notes)?;
    let public_key = base64::url_encode(key.public().as_bytes());
    let evaluation = app
        .pseudonyms
        .evaluate(key, app.timeouts.submit, move || elements(&blinded))
        .await?;
    app.pseudonyms.count(reader.institution(), count, now_ms());
    let evaluated = evaluation.evaluated.iter();
    Ok(Json(Evaluations {
        shares: vec![Share {
            node: app.node.status().node.0,
            public_key: public_key.clone(),
            evaluated: evaluated
                .map(|element| base64::url_encode(element.as_bytes()))
                .collect(),
            proof: base64::url_encode(&evaluation.proof.0),
        }],
        public_key,
    }))
}

/// Shows who had how many codes evaluated.
///
/// For operators: by this node, since its start. One institution that has very many evaluated may be trying codes.
#[utoipa::path(
    get,
    path = "/admin/v1/pseudonyms",
    tag = "admin",
    operation_id = "showPseudonymUse",
    security(("reader" = [])),
    responses((status = 200, description = "The counts", body = PseudonymUse))
)]
pub async fn used(
    State(app): State<Arc<App>>,
    Extension(notes): Extension<Notes>,
    headers: HeaderMap,
) -> Result<Json<PseudonymUse>, Fault> {
    let view = app.node.view()?;
    access::demand_operator(&app.reader(&headers, &view, &notes)?)?;
    let standing = app.pseudonyms.standing(&registry::oprf_keys(&view)?);
    let asked = app.pseudonyms.asked(now_ms()).into_iter();
    Ok(Json(PseudonymUse {
        node: app.node.status().node.0,
        serving: standing.is_ok(),
        detail: match standing {
            Ok(key) => base64::url_encode(key.as_bytes()),
            Err(cause) => cause.to_string(),
        },
        since: time::format_timestamp(app.pseudonyms.since_ms()),
        alarm_per_hour: app.pseudonyms.alarm_per_hour(),
        institutions: asked
            .map(|(institution, asked)| InstitutionUse {
                institution: institution.as_str().to_owned(),
                evaluated: asked.total,
                this_hour: asked.this_hour,
                alarms: asked.alarms,
            })
            .collect(),
    }))
}

/// The elements of their encodings; the first that is none is named by its place.
fn elements(encoded: &[[u8; 32]]) -> Result<Vec<Element>, Fault> {
    let elements = encoded.iter().enumerate().map(|(place, bytes)| {
        Element::from_bytes(bytes).map_err(|_| {
            let expected = "an element of ristretto255 in its canonical encoding, not the identity";
            bad_item("blinded", place, expected)
        })
    });
    elements.collect()
}
