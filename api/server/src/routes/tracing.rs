// SPDX-License-Identifier: EUPL-1.2
//! `POST /v1/tracing/reconciliations`: a day's tracing file of the national platform (PDND) held against the ledger.

use std::sync::Arc;

use axum::{Extension, Json, body::Body, extract::State, http::HeaderMap};
use cluster::{Direction, View};
use ledger::{
    admission::Row,
    body::{Content, EntryType, access::Side},
    hash::Hash,
    id::{InstitutionId, WINDOW_MS},
    number::EntryIndex,
    time::{AHEAD_MS_MAX, DAY_MS},
};
use wire::{token::Role, tracing::Reconciliation};

use crate::{
    access,
    app::{App, Consistency},
    auth::Reader,
    body,
    extract::Query as UrlQuery,
    observe::Notes,
    present::Seen,
    problem::{Fault, RequestFault},
    reconcile::{self, BadFile, Day, FILE_BYTES_MAX, File},
    release::Release,
};

/// Most entries of the institution that are looked at, of the day and of the 36 days after it: late entries count for the day on which they occurred.
const ENTRIES_MAX: usize = 200_000;
/// Rows fetched at a time.
const FETCHED: usize = 1_024;

/// Whose calls.
#[derive(Clone, Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub struct Whose {
    /// The institution whose calls the file counts: the reader's own when absent; only the authority may name another.
    #[param(example = "ipa:inps")]
    institution: Option<String>,
    /// Count only what it told as this side; both when absent.
    #[param(example = "provider")]
    side: Option<String>,
}

/// Holds a day's tracing file (PDND) against the ledger.
///
/// The file is CSV, `date,purpose_id,status,token_id,requests_count`, of one day in Europe/Rome. Each call is counted once by `purposeId`, `statusCode` and `evidence.voucherJti`.
/// Every difference is listed. A read entry is committed before the answer leaves.
#[utoipa::path(
    post,
    path = "/v1/tracing/reconciliations",
    tag = "tracing",
    operation_id = "reconcileTracing",
    params(Whose, Consistency),
    request_body(content = String, content_type = "text/csv", description = "A day's tracing file, at most 50 000 rows and 4 MiB",
        example = "date,purpose_id,status,token_id,requests_count\n2026-10-25,d2b9a653-c497-45c6-b8f1-5bdf124c9d3a,200,c4f5d7e2-b7c8-40f6-9b6a-dc9a4f5aeb57,3\n"),
    security(("reader" = [])),
    responses((status = 200, description = "What file and ledger say of the same calls", body = Reconciliation))
)]
pub async fn reconcile(
    State(app): State<Arc<App>>,
    Extension(notes): Extension<Notes>,
    UrlQuery(whose): UrlQuery<Whose>,
    UrlQuery(consistency): UrlQuery<Consistency>,
    headers: HeaderMap,
    request_body: Body,
) -> Result<Json<Reconciliation>, Fault> {
    if body::media_type(&headers)? != wire::CSV {
        return Err(RequestFault::MediaType.into());
    }
    let view = app.view(&consistency).await?;
    let reader = app.reader(&headers, &view, &notes)?;
    access::demand_reader_of_entries(&reader)?;
    let (institution, side) = whose.read(&reader)?;
    let read = app.bodies.read(request_body, FILE_BYTES_MAX).await?;
    let file = reconcile::parse(&read.bytes).map_err(complain)?;
    let question = Hash::of(&[
        institution.as_bytes(),
        b"\n",
        whose.side.as_deref().unwrap_or_default().as_bytes(),
        b"\n",
        &read.bytes,
    ]);
    drop(read);
    let (counting_view, counting_reader) = (view.clone(), reader.clone());
    let count = move || reconciled(&counting_view, &counting_reader, &institution, side, &file);
    let (answer, rests_on) = app.search(&reader, count).await?;
    let release = Release {
        route: "/v1/tracing/reconciliations",
        question,
        count: answer.requests_in_ledger,
        tree_size: view.size(),
        subjects: Vec::new(),
        view,
        rests_on,
    };
    // Counts, purposes and vouchers, and nobody's ref: the record names no person.
    app.recorder.record(&app.node, &reader, &release).await?;
    Ok(Json(answer))
}

impl Whose {
    fn read(&self, reader: &Reader) -> Result<(InstitutionId, Option<Side>), Fault> {
        let side = match self.side.as_deref() {
            None => None,
            Some("consumer") => Some(Side::Consumer),
            Some("provider") => Some(Side::Provider),
            Some(_) => {
                return Err(RequestFault::Member("side".to_owned(), "consumer or provider").into());
            }
        };
        let Some(institution) = &self.institution else {
            return Ok((reader.institution().clone(), side));
        };
        let institution = InstitutionId::parse(institution).ok_or_else(|| {
            RequestFault::Member("institution".to_owned(), "ipa:<code> or cf:<11 digits>")
        })?;
        if reader.role() != Role::Authority && institution != *reader.institution() {
            return Err(Fault::Forbidden);
        }
        Ok((institution, side))
    }
}

fn complain(bad: BadFile) -> Fault {
    let place = match bad.column {
        Some(column) => format!("line {}, {column}", bad.line),
        None => format!("line {}", bad.line),
    };
    RequestFault::Member(place, bad.expected).into()
}

/// What the institution told of the day, against the file; and the entries that were counted; and how many were looked at.
fn reconciled(
    view: &View,
    reader: &Reader,
    institution: &InstitutionId,
    side: Option<Side>,
    file: &File,
) -> Result<((Reconciliation, Vec<EntryIndex>), usize), Fault> {
    let day = reconcile::day_in_italy(file.date)
        .ok_or_else(|| RequestFault::Member("date".to_owned(), "a day of this calendar"))?;
    let (from_ms, to_ms) = day;
    let mut counts = Day::new(institution, side, day);
    let row = Row::institution(institution);
    let mut next = view.index_at_time(from_ms.saturating_sub(AHEAD_MS_MAX))?.0;
    let end = view
        .index_at_time(to_ms.saturating_add(WINDOW_MS + DAY_MS))?
        .0;
    let (mut counted, mut looked_at) = (Vec::new(), 0);
    loop {
        let rows = view.rows(row.kind, &row.of, next..end, Direction::Up, FETCHED)?;
        looked_at += rows.len();
        if looked_at > ENTRIES_MAX {
            return Err(RequestFault::Member(
                String::new(),
                "a day after which the institution has at most 200000 entries within 36 days",
            )
            .into());
        }
        for index in &rows {
            let Some(seen) = Seen::look(view, reader, *index)? else {
                continue;
            };
            match seen.body() {
                Some(body) => {
                    if let Content::Access(access) = &body.content {
                        counts.add(*index, body, access);
                        counted.push(*index);
                    }
                }
                None => {
                    let of_that_day =
                        (from_ms..to_ms.saturating_add(DAY_MS)).contains(&seen.accepted_at_ms());
                    if seen.entry_type() == EntryType::Access && of_that_day {
                        counts.add_erased(*index);
                    }
                }
            }
        }
        match rows.last() {
            Some(last) if rows.len() == FETCHED => next = last.0 + 1,
            _ => break,
        }
    }
    let answer = counts.reconcile(file, view.size().0);
    Ok(((answer, counted), looked_at))
}
