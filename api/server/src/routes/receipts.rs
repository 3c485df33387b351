// SPDX-License-Identifier: EUPL-1.2
//! `POST /v1/consents/receipt`: a consent record as ISO/IEC TS 27560 has it.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use cluster::View;
use ledger::{
    body::Content, consent::ConsentStatus, hash::Hash, id::InstitutionId, state::registry,
};

use super::{
    asked::{Asked, Question},
    consents,
};
use crate::{
    access,
    app::{App, Consistency, now_ms},
    form::{Form, bad},
    present::Seen,
    problem::Fault,
    receipts::consent_record::{ConsentRecord, Event, LD_JSON},
    release::{Recorded, Release},
    search::refs_of,
};

/// Shows a consent record and a receipt around it, by ISO/IEC TS 27560 and the Data Privacy Vocabulary.
///
/// JSON-LD with its context inside, so that nothing is fetched to read it. It holds the events of the record that the reader may see. The profile for the GDPR is claimed where all that it
/// demands is on record, among it the notice. A read entry is committed before the answer leaves.
#[utoipa::path(
    post,
    path = "/v1/consents/receipt",
    tag = "consents",
    operation_id = "showConsentReceipt",
    params(Consistency),
    request_body = wire::consent::ReceiptQuery,
    security(("reader" = [])),
    responses((status = 200, description = "The receipt, JSON-LD", body = Object, content_type = "application/ld+json"))
)]
pub async fn consent(State(app): State<Arc<App>>, question: Question) -> Result<Response, Fault> {
    let Asked { view, reader, read } = question
        .asked(&app, access::demand_reader_of_entries)
        .await?;
    let mut form = Form::parse(&read.bytes)?;
    let person = form
        .hash("subject")?
        .ok_or_else(|| bad("subject", "the ref of a person"))?;
    let record = form
        .text("record")?
        .ok_or_else(|| bad("record", "the name of a consent record"))?;
    form.end()?;
    let at_ms = now_ms();
    let (looking_view, looking_reader, name) = (view.clone(), reader.clone(), record.clone());
    let look = move || consents::record(&looking_view, &looking_reader, &person, &name, at_ms);
    let (events, status) = app.search(&reader, look).await?;
    let release = Release {
        route: "/v1/consents/receipt",
        question: Hash::of(&[person.as_bytes(), record.as_bytes()]),
        count: u64::try_from(events.len()).unwrap_or(u64::MAX),
        tree_size: view.size(),
        // Events under every ref of the person are shown.
        subjects: refs_of(&view, &person)?,
        view: view.clone(),
        rests_on: events.iter().map(Seen::index).collect(),
    };
    let recorded = app.recorder.record(&app.node, &reader, &release).await?;
    let document = show(&app, &view, (&events, status), person, &record, &recorded)?;
    let text = serde_json::to_string(&document).map_err(Fault::internal)?;
    Ok(([(header::CONTENT_TYPE, LD_JSON)], text).into_response())
}

fn show(
    app: &App,
    view: &View,
    (seen, status): (&[Seen], ConsentStatus),
    person: Hash,
    record: &str,
    _recorded: &Recorded,
) -> Result<serde_json::Value, Fault> {
    let events: Vec<Event<'_>> = seen.iter().filter_map(event).collect();
    let mut names = BTreeMap::new();
    let parties = events.iter().flat_map(|event| {
        let recipients = event.consent.recipients.iter().flatten();
        recipients.map(String::as_str).chain([event.institution])
    });
    for id in parties {
        if let Some(known) = InstitutionId::parse(id) {
            let found = registry::institution(view, &known)?;
            names.extend(found.map(|found| (id.to_owned(), found.name)));
        }
    }
    ConsentRecord {
        ledger: &app.info.name,
        person,
        record,
        events: &events,
        status,
        names: &names,
        at_ms: now_ms(),
    }
    .receipt()
    .ok_or(Fault::NotFound)
}

fn event(seen: &Seen) -> Option<Event<'_>> {
    let body = seen.body()?;
    match &body.content {
        Content::Consent(consent) => Some(Event {
            index: seen.index(),
            leaf: seen.leaf_hash(),
            accepted_at_ms: seen.accepted_at_ms(),
            occurred_at_ms: body.common.occurred_at_ms,
            institution: body.common.institution.as_str(),
            consent,
        }),
        _ => None,
    }
}
