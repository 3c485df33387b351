// SPDX-License-Identifier: EUPL-1.2
//! `POST /v1/consents/search`: where a person's consents stand at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{Json, extract::State};
use cluster::{Direction, View};
use ledger::{
    admission::Row,
    body::{Content, EntryType},
    consent::{ConsentState, ConsentStatus},
    hash::Hash,
    number::{EntryIndex, TreeSize},
    state::registry,
    time,
};
use wire::{
    PAGE_ITEMS_MAX,
    consent::{ConsentEvent, ConsentPage, ConsentRecord},
};

use self::standing::Standing;
use super::asked::{Asked, Question};
use crate::{
    access,
    app::{App, Consistency, now_ms},
    auth::Reader,
    cursor,
    form::{Form, bad},
    present::{Seen, StoredAt},
    problem::Fault,
    release::{Recorded, Release},
    search::{
        GRID, PAGE_ITEMS_DEFAULT, ROWS_PER_PAGE_MAX, list_of, refs_of,
        rows::{Entries, Rows},
    },
};

mod standing;

/// Most events of a record that are told, the newest. Where the record stands does not depend on it.
const EVENTS_MAX: usize = 1_000;
/// How many of the first are told besides, under each ref.
const FIRST_EVENTS: usize = 16;
/// Entries read at a time.
const READ_AT_ONCE: usize = 64;

/// Searches a person's consents.
///
/// Each record with its status at the time asked for. The status folds every event on record, whoever received it: a withdrawal at any desk counts, also once its
/// body is erased. Listed are the events that the reader may see; a record of which no body is left is found by its name alone. A page may be short and still have a
/// next one. A read entry is committed before the answer leaves.
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
        let person = Person::new(&looking_view, &looking_reader, &subject)?;
        let asked = person.at(looking_view.size(), at_ms)?;
        match &record {
            Some(name) => asked.one(name, before),
            None => asked.page(before, usize::try_from(limit).unwrap_or(usize::MAX)),
        }
    };
    let (page, next) = app.search(&reader, look).await?;
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
        next_cursor: next.map(|position| cursor::format(position, &question, &reader)),
        at: time::format_timestamp(at_ms),
        tree_size: view.size().0,
        checkpoint: app.node.published().map(|newest| newest.note.to_string()),
    }))
}

/// The events of one record that the reader may see and whose bodies are there, where the record stands by all of them, and how many rows were
/// looked at.
///
/// # Errors
/// `not-found` if there is none that the reader may see; else the store's own.
pub(super) fn record(
    view: &View,
    reader: &Reader,
    subject: &Hash,
    name: &str,
    at_ms: u64,
) -> Result<((Vec<Seen>, ConsentStatus), usize), Fault> {
    let person = Person::new(view, reader, subject)?;
    let (record, looked_at) = person.at(view.size(), at_ms)?.record(name)?;
    let record = record.ok_or(Fault::NotFound)?;
    let status = record.status(at_ms);
    let mut events = record.events;
    events.retain(|seen| seen.body().is_some());
    if events.is_empty() {
        return Err(Fault::NotFound);
    }
    Ok(((events, status), looked_at))
}

/// A record that the reader may see, not yet shown.
pub(super) struct Record {
    name: String,
    standing: Standing,
    /// The last event under each ref of the person, as the state knows it.
    states: Vec<ConsentState>,
    /// The events that the reader may see, oldest first.
    events: Vec<Seen>,
    /// Whether there are others, too many to look at.
    more: bool,
}

impl Record {
    /// Index of the first event that the reader may see and read: a record keeps its place while the ledger grows, and new ones come before it.
    fn began(&self) -> u64 {
        let first = self.events.iter().find(|seen| seen.body().is_some());
        first
            .or(self.events.first())
            .map_or(0, |seen| seen.index().0)
    }

    #[cfg(test)]
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn status(&self, at_ms: u64) -> ConsentStatus {
        let state = self.standing.state.as_ref();
        state.map_or(ConsentStatus::Unknown, |state| state.status(at_ms))
    }

    /// The entries whose bodies it is shown by.
    pub(super) fn rests_on(&self) -> Vec<EntryIndex> {
        self.events.iter().map(Seen::index).collect()
    }

    pub(super) fn show(&self, at_ms: u64, _recorded: &Recorded) -> ConsentRecord {
        // A record that was only refused or withdrawn never had a scope, nor times.
        // What another institution renewed it to is not this reader's to see, and what was erased is nobody's: the status alone is told.
        let seen = |scope| self.events.iter().any(|seen| seen.index() == scope);
        let scoped = self.standing.state.as_ref();
        let scoped = scoped.filter(|_| self.standing.scope.is_some_and(seen));
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
            events: self.events.iter().map(|seen| self.event(seen)).collect(),
            more_events: self.more,
        }
    }

    fn event(&self, seen: &Seen) -> ConsentEvent {
        let index = seen.index();
        let accepted_at = time::format_timestamp(seen.accepted_at_ms());
        if let Some(body) = seen.body()
            && let Content::Consent(consent) = &body.content
        {
            return ConsentEvent {
                index: index.0,
                event: Some(consent.event.as_str().to_owned()),
                occurred_at: Some(time::format_timestamp(body.common.occurred_at_ms)),
                accepted_at,
                institution: Some(body.common.institution.as_str().to_owned()),
                erased: false,
            };
        }
        // What the state needs for later judgements it kept; the rest went with the body.
        let known = self.states.iter().find(|state| state.index == index);
        ConsentEvent {
            index: index.0,
            event: known.map(|state| state.event.as_str().to_owned()),
            occurred_at: None,
            accepted_at,
            institution: None,
            erased: true,
        }
    }
}

/// Whose consents a reader asks for.
pub(super) struct Person<'v> {
    view: &'v View,
    reader: &'v Reader,
    /// One record of one person, whatever ref an event came under.
    refs: Vec<Hash>,
}

impl<'v> Person<'v> {
    pub(super) fn new(
        view: &'v View,
        reader: &'v Reader,
        person: &Hash,
    ) -> Result<Person<'v>, Fault> {
        Ok(Person {
            view,
            reader,
            refs: refs_of(view, person)?,
        })
    }

    /// Their consents in a tree of `size`, at a time.
    pub(super) fn at(self, size: TreeSize, at_ms: u64) -> Result<Consents<'v>, Fault> {
        let newest = size.0.checked_sub(1).map(EntryIndex);
        let newest_ms = match newest {
            Some(newest) => self.view.accepted_at(newest)?,
            None => None,
        };
        // Times of acceptance never fall.
        let end = match newest_ms {
            Some(newest_ms) if at_ms < newest_ms => {
                let later = self.view.index_at_time(at_ms.saturating_add(1))?;
                later.0.min(size.0)
            }
            _ => size.0,
        };
        Ok(Consents {
            person: self,
            size: size.0,
            end,
            rows_max: ROWS_PER_PAGE_MAX,
        })
    }
}

/// A person's consents in a tree, at a time.
pub(super) struct Consents<'v> {
    person: Person<'v>,
    size: u64,
    /// The first entry that was accepted later.
    end: u64,
    /// Most rows looked at for one page, and as many for its records.
    rows_max: usize,
}

/// Records, and below which index the next ones begin.
type Page = (Vec<Record>, Option<u64>);

impl Consents<'_> {
    /// The record of that name, if the reader may see an event of it; and how many rows were looked at.
    ///
    /// # Errors
    /// The store's own.
    pub(super) fn record(&self, name: &str) -> Result<(Option<Record>, usize), Fault> {
        let Person { view, reader, refs } = &self.person;
        let mut states = Vec::new();
        for of in refs {
            states.extend(registry::consent(*view, of, name)?);
        }
        let lists: Vec<Row> = refs.iter().map(|of| Row::consent(of, name)).collect();
        let (standing, looked_at) = Standing::below(self.end, view, &lists, &states)?;
        states.retain(|state| state.index.0 < self.size);
        let (mut indexes, more) = self.told(lists)?;
        indexes.extend(states.iter().map(|state| state.index));
        indexes.extend(standing.rests_on());
        let indexes: Vec<EntryIndex> = indexes.into_iter().collect();
        let mut events = Vec::new();
        for some in indexes.chunks(READ_AT_ONCE) {
            for entry in StoredAt::read_all(view, some)?.into_iter().flatten() {
                events.extend(entry.look(view, reader)?);
            }
        }
        let record = Record {
            name: name.to_owned(),
            standing,
            states,
            events,
            more,
        };
        let record = Some(record).filter(|record| !record.events.is_empty());
        Ok((record, looked_at + indexes.len()))
    }

    /// The events of a record that are told: the newest, and the first, so that strangers' many hide nobody's own. Whether there are others.
    fn told(&self, lists: Vec<Row>) -> Result<(BTreeSet<EntryIndex>, bool), Fault> {
        let view = self.person.view;
        let mut indexes = BTreeSet::new();
        let mut rows = Rows::new(view, lists.clone(), self.size);
        while let Some(index) = rows.take_newest()? {
            if indexes.len() == EVENTS_MAX {
                for list in lists {
                    let range = 0..self.size;
                    indexes.extend(view.rows(
                        list.kind,
                        &list.of,
                        range,
                        Direction::Up,
                        FIRST_EVENTS,
                    )?);
                }
                return Ok((indexes, true));
            }
            indexes.insert(index);
        }
        Ok((indexes, false))
    }

    /// The one record of that name, if it began below an index.
    fn one(&self, name: &str, before: u64) -> Result<(Page, usize), Fault> {
        let (record, looked_at) = self.record(name)?;
        let record = record.filter(|record| record.began() < before);
        Ok(((record.into_iter().collect(), None), looked_at))
    }

    /// The same, with pages that end after so many rows.
    #[cfg(test)]
    pub(super) fn with_rows_max(self, rows_max: usize) -> Self {
        Self { rows_max, ..self }
    }

    /// The records that began below an index, the latest begun first. However long the person's list is, a page ends after so many rows, as
    /// that of a search for accesses does.
    pub(super) fn page(&self, before: u64, limit: usize) -> Result<(Page, usize), Fault> {
        let Person { view, reader, refs } = &self.person;
        let mut entries = Entries::new(
            view,
            refs.iter().map(list_of).collect(),
            before.min(self.size),
        );
        let (mut rows, mut of_records) = (0, 0);
        let mut end = None;
        let mut known: BTreeSet<String> = BTreeSet::new();
        // Looked up, and begun further down.
        let mut begun: BTreeMap<u64, Record> = BTreeMap::new();
        let mut page = Vec::new();
        let mut next = None;
        while let Some((index, entry)) = entries.take_newest(usize::MAX)? {
            if end.is_some_and(|end| index.0 < end) {
                next = end;
                break;
            }
            rows += 1;
            if rows == self.rows_max {
                end = Some(index.0 - index.0 % GRID);
            }
            let is_event = |entry: &StoredAt| entry.stored.meta.entry_type == EntryType::Consent;
            let Some(entry) = entry.filter(is_event) else {
                continue;
            };
            let Some(seen) = entry.look(view, reader)? else {
                continue;
            };
            let Some(name) = name_of(&seen) else {
                continue;
            };
            if !known.contains(name) {
                if of_records >= self.rows_max {
                    // Below an entry that the reader may see.
                    next = Some(index.0.saturating_add(1));
                    break;
                }
                let (record, looked_at) = self.record(name)?;
                of_records += looked_at;
                begun.extend(record.map(|record| (record.began(), record)));
                known.insert(name.to_owned());
            }
            if let Some(record) = begun.remove(&index.0) {
                if page.len() == limit {
                    next = Some(index.0.saturating_add(1));
                    break;
                }
                page.push(record);
            }
        }
        Ok(((page, next), rows + of_records))
    }
}

/// Whose record an event is, if its body is there to say so.
fn name_of(seen: &Seen) -> Option<&str> {
    match &seen.body()?.content {
        Content::Consent(consent) => Some(&consent.record),
        _ => None,
    }
}
