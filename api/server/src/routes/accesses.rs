// SPDX-License-Identifier: EUPL-1.2
//! `POST /v1/accesses/search`: who saw whose data.

use std::{ops::Range, sync::Arc};

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use ledger::time;
use wire::search::{EntryPage, Span, Spell};

use super::asked::{Asked, Question};
use crate::{
    app::{App, Consistency, blocking},
    body, cursor,
    present::{self, hash_text},
    problem::Fault,
    receipts::audit_event::{self, FHIR_JSON},
    release::Release,
    search::Query,
};

/// Searches accesses.
///
/// By household, person, institution, or one person of an institution, newest first. Refs and operator ids stand in the body, never in a URL. A read entry is committed before the
/// answer leaves; the answer shows the state before it. With `Accept: application/fhir+json` the page is a FHIR R4 bundle of audit events (IHE BALP, Privacy Disclosure); its link to the
/// next page carries the cursor.
#[utoipa::path(
    post,
    path = "/v1/accesses/search",
    tag = "accesses",
    operation_id = "searchAccesses",
    params(Consistency),
    request_body = wire::search::AccessSearch,
    security(("reader" = [])),
    responses((status = 200, description = "A page of entries", content(
        (EntryPage = "application/json"),
        (Object = "application/fhir+json"),
    )))
)]
pub async fn search(State(app): State<Arc<App>>, question: Question) -> Result<Response, Fault> {
    let as_audit_events =
        body::accepts_first(&question.headers, &[wire::JSON, FHIR_JSON]) == FHIR_JSON;
    let Asked { view, reader, read } = question.asked(&app, |_| Ok(())).await?;
    let query = Query::parse(&read.bytes, &reader)?;
    drop(read);

    let (limit, question, page_question) = (query.limit, query.question, query.page_question());
    let (selecting_view, selecting_reader) = (view.clone(), reader.clone());
    let select = move || {
        let selection = query.select(&selecting_view, &selecting_reader)?;
        let rows = selection.rows;
        Ok((selection, rows))
    };
    let selection = app.search(&reader, select).await?;
    let release = Release {
        route: "/v1/accesses/search",
        question: page_question,
        count: u64::try_from(selection.seen.len()).unwrap_or(u64::MAX),
        tree_size: view.size(),
        subjects: selection.subjects.clone(),
        view: view.clone(),
        rests_on: selection.rests_on(),
    };
    let recorded = app.recorder.record(&app.node, &reader, &release).await?;
    let checkpoint = app.node.published().map(|newest| newest.note.to_string());
    blocking(move || {
        let items = present::show_all(selection.seen, &view, &recorded)?;
        let next_cursor = selection
            .next
            .map(|position| cursor::format(position, &question, &reader));
        if as_audit_events {
            let bundle = audit_event::bundle(&items, next_cursor.as_deref());
            return Ok(([(header::CONTENT_TYPE, FHIR_JSON)], bundle.to_string()).into_response());
        }
        Ok(Json(EntryPage {
            items,
            limit,
            next_cursor,
            tree_size: view.size().0,
            checkpoint,
            members: selection.spells.map(|spells| {
                spells
                    .iter()
                    .map(|spell| Spell {
                        person: hash_text(&spell.person),
                        from: time::format_timestamp(spell.from_ms),
                        until: spell.until_ms.map(time::format_timestamp),
                    })
                    .collect()
            }),
            members_unknown: selection.unknown.into_iter().map(span).collect(),
        })
        .into_response())
    })
    .await
}

/// A span of time; its ends where the calendar has them.
fn span(time: Range<u64>) -> Span {
    Span {
        from: (time.start > 0).then(|| time::format_timestamp(time.start)),
        until: (time.end < u64::MAX).then(|| time::format_timestamp(time.end)),
    }
}
