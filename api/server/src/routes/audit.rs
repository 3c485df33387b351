// SPDX-License-Identifier: EUPL-1.2
//! `GET /v1/audit/entries`: what an auditor replays, a page at a time; `GET /v1/audit/start`: what it begins with at a state root. For the
//! supervisory authority alone: it is everything.

use std::sync::Arc;

use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use cluster::Folded;
use ledger::{
    audit::{Fed, Line},
    body::EntryType,
    entry::StoredEntry,
    hash::Hash,
    note::Note,
    number::{EntryIndex, TreeSize},
    state::registry,
};

use crate::{
    access,
    app::{App, blocking, now_ms},
    audit_start,
    extract::Query,
    observe::Notes,
    problem::{Fault, RequestFault},
    release::{Recorded, Release},
};

/// Most entries on a page.
const PAGE_ENTRIES: u64 = 2_000;
/// Bytes after which a page ends, at its next entry.
const PAGE_BYTES: usize = 8 * 1024 * 1024;
/// How often a node that is folding is looked at.
const LOOKS: u32 = 8;
/// Changes and checkpoints that are read at a time.
const CHUNK: u64 = 256;

/// From which entry on.
#[derive(Clone, Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct From {
    /// Index of the first entry wanted; 0 when absent.
    #[param(value_type = Option<u64>, minimum = 0, example = 0)]
    pub from: Option<String>,
}

/// Feeds an auditor.
///
/// Entries as the nodes keep them, from an index on up to the published size, a line each; after the last entry of its tree each published
/// checkpoint. A page ends where it is full: ask again from where it ended; an empty page is the end. A read entry is committed before the first
/// page leaves, and once a minute.
#[utoipa::path(
    get,
    path = "/v1/audit/entries",
    tag = "audit",
    operation_id = "feedAuditor",
    params(From),
    security(("reader" = [])),
    responses((status = 200, description = "Lines of entries and checkpoints", body = String, content_type = "application/x-ndjson"))
)]
pub async fn entries(
    State(app): State<Arc<App>>,
    Extension(notes): Extension<Notes>,
    Query(from): Query<From>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let view = app.node.view()?;
    let reader = app.reader(&headers, &view, &notes)?;
    access::demand_authority(&reader)?;
    // Of the same view as the entries: a page must not end at a checkpoint that the view does not hold yet.
    let end = view.newest_published()?.ok_or(Fault::NotFound)?.size;
    let from = match from.from.as_deref() {
        None => 0,
        Some(from) => from
            .parse()
            .ok()
            .filter(|from| *from <= end.0)
            .ok_or_else(|| RequestFault::Member("from".to_owned(), "an index within the tree"))?,
    };
    let release = Release {
        route: "/v1/audit/entries",
        // A replay is one reading, however many pages it takes.
        question: Hash::of(&[b"audit"]),
        count: end.0 - from,
        tree_size: end,
        subjects: Vec::new(),
        view,
        rests_on: Vec::new(),
    };
    let recorded = app.recorder.record(&app.node, &reader, &release).await?;
    let page = blocking(move || page(&recorded, from, end)).await?;
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], page).into_response())
}

/// Begins an audit at the newest state root.
///
/// What an auditor is fed before entries, if it does not begin at genesis: where it begins, the registry's entries, all that stands under the
/// newest state root, and what admission reads beyond it, which no root proves. The entries after follow at `/v1/audit/entries`. A read entry
/// is committed before the first byte leaves.
#[utoipa::path(
    get,
    path = "/v1/audit/start",
    tag = "audit",
    operation_id = "beginAudit",
    security(("reader" = [])),
    responses((status = 200, description = "Lines of the start", body = String, content_type = "application/x-ndjson"))
)]
pub async fn start(
    State(app): State<Arc<App>>,
    Extension(notes): Extension<Notes>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let view = app.node.view()?;
    let reader = app.reader(&headers, &view, &notes)?;
    access::demand_authority(&reader)?;
    // Held until the last byte left, as an export's.
    let place = app.exports.take(reader.institution()).await?;
    let size = view.size();
    let release = Release {
        route: "/v1/audit/start",
        question: Hash::of(&[b"audit"]),
        count: size.0,
        tree_size: size,
        subjects: Vec::new(),
        view,
        rests_on: Vec::new(),
    };
    let recorded = app.recorder.record(&app.node, &reader, &release).await?;
    drop(release);
    let folded = last_folded(&app).await?;
    let began = folded.view().size();
    let made = blocking(move || audit_start::make(&folded, &recorded)).await?;
    // Whoever asks for the entries after it must find them published.
    app.node
        .published_at_least(began, app.timeouts.submit)
        .await?;
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson".to_owned()),
        (header::CONTENT_LENGTH, made.length.to_string()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, place.send(made.file, made.length)).into_response())
}

/// A fold that holds all that was acknowledged before, in a view that knows no later state root: the next one follows from it.
async fn last_folded(app: &App) -> Result<Folded, Fault> {
    for _ in 0..LOOKS {
        let folded = app.node.fold(app.timeouts.submit).await?;
        if registry::state_root(folded.view())? == Some(folded.state_root()) {
            return Ok(folded);
        }
    }
    Err(Fault::Overloaded)
}

/// Read from a view that holds the `read` entry, which holds all that the one before it did: what was erased until then is closed.
fn page(recorded: &Recorded, from: u64, end: TreeSize) -> Result<String, Fault> {
    let view = recorded.view();
    let mut text = String::new();
    let end = end.0.min(from.saturating_add(PAGE_ENTRIES));
    let mut next = from;
    while next < end && text.len() < PAGE_BYTES {
        let indexes: Vec<EntryIndex> = (next..end.min(next + CHUNK)).map(EntryIndex).collect();
        let limit = usize::try_from(CHUNK).unwrap_or(usize::MAX);
        let mut published = view
            .published_after(TreeSize(next), limit)?
            .into_iter()
            .peekable();
        for (index, change) in indexes.iter().zip(view.changes(&indexes)?) {
            let stored = view.entry(*index)?.ok_or(Fault::NotFound)?;
            let fed = Fed::of(*index, &closed(stored, recorded)?, change);
            put(&Line::Entry(Box::new(fed)), &mut text);
            while let Some(published) = published.next_if(|next| next.size <= index.size()) {
                let note = Note::parse(published.note.as_bytes()).map_err(Fault::internal)?;
                put(&Line::Checkpoint(note), &mut text);
            }
            next = index.0 + 1;
            if text.len() >= PAGE_BYTES {
                break;
            }
        }
    }
    Ok(text)
}

fn put(line: &Line, text: &mut String) {
    text.push_str(&line.to_json());
    text.push('\n');
}

/// The entry without a token that may still let somebody in: nothing is judged by it.
fn closed(mut stored: StoredEntry, _recorded: &Recorded) -> Result<StoredEntry, Fault> {
    if stored.meta.entry_type == EntryType::Read
        && let Some(body) = stored.parse_body().map_err(Fault::internal)?
    {
        let age_ms = now_ms().saturating_sub(stored.meta.accepted_at_ms);
        let token = access::live_token(&body, age_ms);
        stored.disclosures.retain(|one| token != Some(one.digest()));
    }
    Ok(stored)
}
