// SPDX-License-Identifier: EUPL-1.2
//! `GET /v1/entries/{index}` and its receipt.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use ledger::{
    hash::Hash,
    number::{EntryIndex, parse_decimal},
};
use wire::entry::Entry;

use crate::{
    access,
    app::{App, Consistency, blocking},
    extract::{Path, Query},
    observe::Notes,
    present::{Seen, Shown, StoredAt},
    problem::Fault,
    release::Release,
};

/// Shows an entry.
///
/// What the governance and the nodes wrote is open to everybody; else a reader's token is needed, and a read entry is committed before the answer leaves.
#[utoipa::path(
    get,
    path = "/v1/entries/{index}",
    tag = "entries",
    operation_id = "showEntry",
    params(("index" = u64, Path, description = "Place in the ledger, from 0", minimum = 0, example = 0), Consistency),
    security((), ("reader" = [])),
    responses((status = 200, description = "The entry, opened as far as the reader may see", body = Entry))
)]
pub async fn show(
    State(app): State<Arc<App>>,
    Extension(notes): Extension<Notes>,
    Path(index): Path,
    Query(consistency): Query<Consistency>,
    headers: HeaderMap,
) -> Result<Json<Shown>, Fault> {
    let index = entry_index(&index)?;
    let view = app.view(&consistency).await?;
    let public_view = view.clone();
    let public = blocking(move || {
        Seen::look_public(&public_view, index)?
            .map(|seen| seen.show_public(&public_view))
            .transpose()
    });
    if let Some(entry) = public.await? {
        return Ok(Json(entry));
    }
    let reader = app.reader(&headers, &view, &notes)?;
    access::demand_reader_of_entries(&reader)?;
    let (looking_view, looking_reader) = (view.clone(), reader.clone());
    let seen = blocking(move || Seen::look(&looking_view, &looking_reader, index))
        .await?
        .ok_or(Fault::NotFound)?;
    let release = Release {
        route: "/v1/entries/{index}",
        question: Hash::of(&[&index.0.to_be_bytes()]),
        count: 1,
        tree_size: view.size(),
        subjects: seen.persons_to_name(),
        view: view.clone(),
        rests_on: vec![index],
    };
    let recorded = app.recorder.record(&app.node, &reader, &release).await?;
    blocking(move || seen.show(&view, &recorded))
        .await
        .map(Json)
}

/// Shows the receipt of an entry (C2SP tlog-proof).
///
/// The receipt at the first published checkpoint that holds the entry: always the same. For those who may see the entry; a receipt opens nothing, so no reading is recorded.
#[utoipa::path(
    get,
    path = "/v1/entries/{index}/receipt",
    tag = "entries",
    operation_id = "showReceipt",
    params(("index" = u64, Path, description = "Place in the ledger, from 0", minimum = 0, example = 0)),
    security((), ("reader" = [])),
    responses((status = 200, description = "The receipt", body = String, content_type = "text/plain"))
)]
pub async fn receipt(
    State(app): State<Arc<App>>,
    Extension(notes): Extension<Notes>,
    Path(index): Path,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let index = entry_index(&index)?;
    let view = app.node.view()?;
    let reading_view = view.clone();
    let stored = blocking(move || StoredAt::read(&reading_view, index)).await?;
    let public = stored.as_ref().is_some_and(StoredAt::is_public);
    // Who may not see an entry is not told whether it is there.
    let reader = if public {
        None
    } else {
        let reader = app.reader(&headers, &view, &notes)?;
        access::demand_reader_of_entries(&reader)?;
        Some(reader)
    };
    let stored = stored.ok_or(Fault::NotFound)?;
    let receipt = blocking(move || match reader {
        None => stored.receipt(&view),
        Some(reader) => match stored.look(&view, &reader)? {
            Some(seen) => seen.receipt(&view),
            None => Ok(None),
        },
    })
    .await?
    .ok_or(Fault::NotFound)?;
    Ok((
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
        receipt.to_string(),
    )
        .into_response())
}

/// An index has one spelling; anything else names nothing.
///
/// # Errors
/// `not-found`.
pub fn entry_index(text: &str) -> Result<EntryIndex, Fault> {
    parse_decimal(text).map(EntryIndex).ok_or(Fault::NotFound)
}
