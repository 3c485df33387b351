// SPDX-License-Identifier: EUPL-1.2
//! `POST /v1/consents/search`: where a person's consents stand at a time.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use cluster::View;
use ledger::{
    admission::{Row, RowKind},
    body::{Content, EntryType, consent::ConsentEvent as ConsentWord},
    consent::{ConsentState, ConsentStatus, counts, fold},
    hash::Hash,
    number::{EntryIndex, TreeSize},
    time,
};
use wire::{
    PAGE_ITEMS_MAX,
    consent::{ConsentEvent, ConsentPage, ConsentRecord},
};

use super::asked::{Asked, Question};
use crate::{
    access,
    app::{App, Consistency, now_ms},
    auth::Reader,
    cursor,
    form::{Form, bad},
    present::Seen,
    problem::Fault,
    release::{Recorded, Release},
    search::{PAGE_ITEMS_DEFAULT, refs_of, rows::Rows},
};

/// Most rows of a list that are looked at for consents. A list that is longer is refused: a status folded from a part of it might be wrong.
const ROWS_MAX: usize = 20_000;

/// Searches a person's consents.
///
/// Each record with its status at the time asked for. The status folds every event on record, whoever received it: a withdrawal at any desk counts. Listed are
/// the events that the reader may see. A read entry is committed before the answer leaves.
#[utoipa::path(
    post,
    path = "/v1/consents/search",
    tag = "consents",
    operation_id = "searchConsents",
    params(Consistency),
    request_body = wire::consent::ConsentSearch,
    security(("reader" = [])),
    responses((status = 200, description = "A page of consent records", body = ConsentPage))
)]
pub async fn search(
    State(app): State<Arc<App>>,
    question: Question,
) -> Result<Json<ConsentPage>, Fault> {
    let Asked { view, reader, read } = question
        .asked(&app, access::demand_reader_of_entries)
        .await?;
    let mut form = Form::parse(&read.bytes)?;
    let subject = form
        .hash("subject")?
        .ok_or_else(|| bad("subject", "the ref of a person"))?;
    let record = form.text("record")?;
    let at = form.time("at")?;
    let cursor = form.text("cursor")?;
    let limit = form
        .number("limit", 1..=PAGE_ITEMS_MAX, "a number from 1 to 100")?
        .unwrap_or(PAGE_ITEMS_DEFAULT);
    form.end()?;
    let question = Hash::of(&[
        subject.as_bytes(),
        &at.unwrap_or(u64::MAX).to_be_bytes(),
        record.as_deref().unwrap_or_default().as_bytes(),
    ]);
    let before = match cursor {
        Some(cursor) => cursor::parse(&cursor, &question, &reader)?,
        None => u64::MAX,
    };
    let at_ms = at.unwrap_or_else(now_ms);

    let (looking_view, looking_reader) = (view.clone(), reader.clone());
    let look = move || {
        records(
            &looking_view,
            looking_view.size(),
            &looking_reader,
            &subject,
            record.as_deref(),
            at_ms,
        )
    };
    let found = app.search(&reader, look).await?;
    let mut page: Vec<Record> = found
        .into_iter()
        .filter(|record| record.began() < before)
        .collect();
    let limit_items = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = page.len() > limit_items;
    page.truncate(limit_items);
    let next = page.last().filter(|_| more).map(Record::began);
    let release = Release {
        route: "/v1/consents/search",
        question: Hash::of(&[question.as_bytes(), &before.to_be_bytes()]),
        count: u64::try_from(page.len()).unwrap_or(u64::MAX),
        tree_size: view.size(),
        subjects: refs_of(&view, &subject)?,
        view: view.clone(),
        rests_on: page.iter().flat_map(Record::rests_on).collect(),
    };
    let recorded = app.recorder.record(&app.node, &reader, &release).await?;
    Ok(Json(ConsentPage {
        items: page
            .iter()
            .map(|record| record.show(at_ms, &recorded))
            .collect(),
        limit,
        next_cursor: next.map(|began| cursor::format(began, &question, &reader)),
        at: time::format_timestamp(at_ms),
        tree_size: view.size().0,
        checkpoint: app.node.published().map(|newest| newest.note.to_string()),
    }))
}

/// The events of one record that the reader may see, where the record stands by all of them, and how many rows were looked at.
///
/// # Errors
/// `not-found` if the reader may see none; else the store's own.
pub(super) fn record(
    view: &View,
    reader: &Reader,
    subject: &Hash,
    name: &str,
    at_ms: u64,
) -> Result<((Vec<Seen>, ConsentStatus), usize), Fault> {
    let (records, looked_at) = records(view, view.size(), reader, subject, Some(name), at_ms)?;
    let record = records
        .into_iter()
        .find(|record| record.name == name)
        .ok_or(Fault::NotFound)?;
    let status = record.status(at_ms);
    Ok(((record.events, status), looked_at))
}

/// A record that the reader may see, not yet shown.
pub(super) struct Record {
    name: String,
    /// Folded over the events accepted by the time asked for.
    state: Option<ConsentState>,
    /// The events that the reader may see.
    events: Vec<Seen>,
    /// Whether the event that the scope comes from is among them.
    scope_seen: bool,
}

impl Record {
    /// Index of the first event that the reader may see: a record keeps its place while the ledger grows, and new ones come before it.
    fn began(&self) -> u64 {
        self.events.first().map_or(0, |seen| seen.index().0)
    }

    fn status(&self, at_ms: u64) -> ConsentStatus {
        let state = self.state.as_ref();
        state.map_or(ConsentStatus::Unknown, |state| state.status(at_ms))
    }

    /// The entries whose bodies it is shown by.
    pub(super) fn rests_on(&self) -> Vec<EntryIndex> {
        self.events.iter().map(Seen::index).collect()
    }

    pub(super) fn show(&self, at_ms: u64, _recorded: &Recorded) -> ConsentRecord {
        let state = self.state.as_ref();
        // A record that was only refused or withdrawn never had a scope, nor times.
        // What another institution renewed it to is not this reader's to see: the status alone is told.
        let scoped = state.filter(|state| self.scope_seen && !state.purposes.is_empty());
        ConsentRecord {
            record: self.name.clone(),
            status: self.status(at_ms).as_str().to_owned(),
            purposes: scoped
                .map(|state| state.purposes.clone())
                .unwrap_or_default(),
            recipients: scoped
                .map(|state| state.recipients.clone())
                .unwrap_or_default(),
            data_categories: scoped
                .map(|state| state.data_categories.clone())
                .unwrap_or_default(),
            valid_from: scoped.map(|state| time::format_timestamp(state.valid_from_ms)),
            valid_until: scoped
                .and_then(|state| state.valid_until_ms)
                .map(time::format_timestamp),
            events: self.events.iter().filter_map(event).collect(),
        }
    }
}

fn event(seen: &Seen) -> Option<ConsentEvent> {
    let body = seen.body()?;
    let Content::Consent(consent) = &body.content else {
        return None;
    };
    Some(ConsentEvent {
        index: seen.index().0,
        event: consent.event.as_str().to_owned(),
        occurred_at: time::format_timestamp(body.common.occurred_at_ms),
        accepted_at: time::format_timestamp(seen.accepted_at_ms()),
        institution: body.common.institution.as_str().to_owned(),
    })
}

/// The person's records in a tree of `size` of which the reader may see an event, the latest begun first, and how many rows were looked at.
/// The status folds all events that were accepted by `at_ms`.
pub(super) fn records(
    view: &View,
    size: TreeSize,
    reader: &Reader,
    subject: &Hash,
    record: Option<&str>,
    at_ms: u64,
) -> Result<(Vec<Record>, usize), Fault> {
    // One record of one person, whatever ref an event came under.
    let lists = refs_of(view, subject)?
        .into_iter()
        .map(|of| match record {
            Some(record) => Row::consent(&of, record),
            None => Row {
                kind: RowKind::Subject,
                of,
            },
        })
        .collect();
    let mut rows = Rows::new(view, lists, size.0);
    let mut indexes = Vec::new();
    while let Some(index) = rows.take_newest()? {
        if indexes.len() == ROWS_MAX {
            return Err(bad(
                "record",
                "one record: this person has too many entries for all",
            ));
        }
        indexes.push(index);
    }
    let looked_at = indexes.len();
    let mut records: BTreeMap<String, Record> = BTreeMap::new();
    for index in indexes.into_iter().rev() {
        let Some(stored) = view.entry(index)? else {
            continue;
        };
        if stored.meta.entry_type != EntryType::Consent {
            continue;
        }
        let Some(body) = stored.parse_body().map_err(Fault::internal)? else {
            continue;
        };
        let Content::Consent(consent) = &body.content else {
            continue;
        };
        let entry = records
            .entry(consent.record.clone())
            .or_insert_with(|| Record {
                name: consent.record.clone(),
                state: None,
                events: Vec::new(),
                scope_seen: false,
            });
        let seen = Seen::look(view, reader, index)?;
        let meta = &stored.meta;
        if counts(consent.event, meta.findings) && meta.accepted_at_ms <= at_ms {
            entry.state = Some(fold(
                entry.state.take(),
                consent,
                index,
                meta.accepted_at_ms,
            ));
            if matches!(consent.event, ConsentWord::Given | ConsentWord::Renewed) {
                entry.scope_seen = seen.is_some();
            }
        }
        entry.events.extend(seen);
    }
    let mut seen: Vec<Record> = records
        .into_values()
        .filter(|record| !record.events.is_empty())
        .collect();
    seen.sort_by_key(|record| std::cmp::Reverse(record.began()));
    Ok((seen, looked_at))
}
