// SPDX-License-Identifier: EUPL-1.2
//! `POST /v1/consents/status`: where one consent record stands, if asked for with its proof.

use std::sync::Arc;

use axum::{Extension, Json, body::Body, extract::State, http::HeaderMap};
use ledger::{hash::Hash, state::StateKey, time};
use wire::consent::ConsentStatus;

use super::consents::Person;
use crate::{
    access,
    app::{App, blocking, now_ms},
    body::{self, QUERY_BYTES_MAX},
    form::{Form, bad},
    observe::Notes,
    problem::Fault,
    prove,
    release::Release,
    search::refs_of,
};

/// Shows the status of a consent record.
///
/// At a time; the status folds every event on record, whoever received it, also where bodies are erased. With `proof` the last event is proven under a state root that covers everything acknowledged before. A read entry is committed before the answer leaves.
#[utoipa::path(
    post,
    path = "/v1/consents/status",
    tag = "consents",
    operation_id = "showConsentStatus",
    request_body = wire::consent::ConsentStatusQuery,
    security(("reader" = [])),
    responses((status = 200, description = "The record and its status", body = ConsentStatus))
)]
pub async fn show(
    State(app): State<Arc<App>>,
    Extension(notes): Extension<Notes>,
    headers: HeaderMap,
    request_body: Body,
) -> Result<Json<ConsentStatus>, Fault> {
    body::demand_json(&headers)?;
    let view = app.node.view()?;
    let reader = app.reader(&headers, &view, &notes)?;
    access::demand_reader_of_entries(&reader)?;
    let read = app.bodies.read(request_body, QUERY_BYTES_MAX).await?;
    let mut form = Form::parse(&read.bytes)?;
    let subject = form
        .hash("subject")?
        .ok_or_else(|| bad("subject", "the ref of a person"))?;
    let record = form
        .text("record")?
        .ok_or_else(|| bad("record", "the name of a record"))?;
    let at_ms = form.time("at")?.unwrap_or_else(now_ms);
    let proven = form.flag("proof")?.unwrap_or(false);
    form.end()?;

    // The status and its proof are of one tree.
    let folded = if proven {
        Some(app.node.fold(app.timeouts.submit).await?)
    } else {
        None
    };
    let (view, size) = match &folded {
        Some(folded) => (folded.view().clone(), folded.state_root().size),
        None => (view.clone(), view.size()),
    };
    let (looking_view, looking_reader, name) = (view.clone(), reader.clone(), record.clone());
    let look = move || {
        let person = Person::new(&looking_view, &looking_reader, &subject)?;
        let (found, rows) = person.at(size, at_ms)?.record(&name)?;
        Ok((found.ok_or(Fault::NotFound)?, rows))
    };
    let found = app.search(&reader, look).await?;
    let refs = refs_of(&view, &subject)?;
    let release = Release {
        route: "/v1/consents/status",
        question: Hash::of(&[
            subject.as_bytes(),
            record.as_bytes(),
            b"\n",
            &at_ms.to_be_bytes(),
        ]),
        count: 1,
        tree_size: size,
        subjects: refs.clone(),
        view,
        rests_on: found.rests_on(),
    };
    let recorded = app.recorder.record(&app.node, &reader, &release).await?;
    blocking(move || {
        let keys = refs.iter().map(|of| StateKey::consent(of, &record));
        let proof = folded.map(|folded| prove::state(&folded, keys.collect()));
        Ok(Json(ConsentStatus {
            record: found.show(at_ms, &recorded),
            at: time::format_timestamp(at_ms),
            tree_size: size.0,
            proof: proof.transpose()?,
        }))
    })
    .await
}
