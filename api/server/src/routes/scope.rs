// SPDX-License-Identifier: EUPL-1.2
//! `POST /v1/operators/subjects`: every subject that one person's accesses touched (Art. 33 and 34 GDPR), without reading a single body:
//! whom an entry names, and when it was accepted, stands in what it changes under the state root.

use std::{collections::HashMap, convert::Infallible, sync::Arc};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use cluster::{Direction, View};
use futures::stream;
use ledger::{
    admission::{Row, RowKind},
    export::persons,
    fold::Change,
    hash::Hash,
    id::InstitutionId,
    number::EntryIndex,
    time::format_timestamp,
};
use serde::Serialize;
use wire::{
    scope::{ScopeEnd, ScopeQuery, Touched},
    token::Role,
};

use crate::{
    access,
    app::App,
    auth::Reader,
    body::{self, QUERY_BYTES_MAX},
    form::{Form, bad},
    observe::Notes,
    present::hash_text,
    problem::Fault,
    release::Release,
};

/// Rows and changes that are read at a time.
const CHUNK: usize = 4_096;
/// Lines that are sent at a time.
const LINES: usize = 1_024;

/// Lists every subject that one person of an institution touched.
///
/// For notifications under Art. 33 and 34 GDPR. A line for each subject, in the order of refs, and a last line with the sums. Open to the
/// institution's privacy officer, and to the authority, who sees sealed accesses too. A read entry is committed before the answer leaves; it
/// names nobody: the persons are to be told anyway.
#[utoipa::path(
    post,
    path = "/v1/operators/subjects",
    tag = "audit",
    operation_id = "listTouched",
    request_body = ScopeQuery,
    security(("reader" = [])),
    responses((status = 200, description = "Lines of subjects, then the sums", body = Touched, content_type = "application/x-ndjson"))
)]
pub async fn subjects(
    State(app): State<Arc<App>>,
    Extension(notes): Extension<Notes>,
    headers: HeaderMap,
    request_body: Body,
) -> Result<Response, Fault> {
    body::demand_json(&headers)?;
    let view = app.node.view()?;
    let reader = app.reader(&headers, &view, &notes)?;
    access::demand_reader_of_entries(&reader)?;
    let read = app.bodies.read(request_body, QUERY_BYTES_MAX).await?;
    let mut form = Form::parse(&read.bytes)?;
    let (institution, operator) = (form.text("institution")?, form.text("operator")?);
    form.end()?;
    let institution = institution
        .as_deref()
        .and_then(InstitutionId::parse)
        .ok_or_else(|| bad("institution", "ipa:<code> or cf:<11 digits>"))?;
    let operator = operator.ok_or_else(|| bad("operator", "the id of a person"))?;
    access::demand_reader_of_operator(&reader, &institution)?;
    let of = Row::operator(&institution, &operator).of;

    let (looking_view, looking_reader) = (view.clone(), reader.clone());
    let look = move || {
        let scope = Scope::look(&looking_view, &looking_reader, &of)?;
        let rows = usize::try_from(scope.entries).unwrap_or(usize::MAX);
        // A row costs a small part of what it costs where its body is read.
        Ok((scope, rows / 64))
    };
    let scope = app.search(&reader, look).await?;
    let release = Release {
        route: "/v1/operators/subjects",
        question: of,
        count: scope.entries,
        tree_size: view.size(),
        subjects: Vec::new(),
        view: view.clone(),
        rests_on: scope.opened.clone(),
    };
    // Without the commit nothing leaves.
    let _recorded = app.recorder.record(&app.node, &reader, &release).await?;
    let lines = scope.lines(view.size().0)?;
    let body = Body::from_stream(stream::iter(lines.into_iter().map(Ok::<_, Infallible>)));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// Whom a person touched, how often, and between when and when.
#[derive(Default)]
struct Scope {
    touched: HashMap<Hash, Times>,
    entries: u64,
    untold: u64,
    /// Entries whose bodies were read; all else stands in the state, and stays there.
    opened: Vec<EntryIndex>,
}

#[derive(Clone, Copy)]
struct Times {
    count: u64,
    first_ms: u64,
    last_ms: u64,
}

impl Scope {
    fn look(view: &View, reader: &Reader, operator: &Hash) -> Result<Scope, Fault> {
        let mut scope = Scope::default();
        let mut from = 0;
        loop {
            let range = from..view.size().0;
            let rows = view.rows(RowKind::Operator, operator, range, Direction::Up, CHUNK)?;
            let Some(last) = rows.last() else {
                return Ok(scope);
            };
            from = last.0 + 1;
            for (index, change) in rows.iter().zip(view.changes(&rows)?) {
                scope.entries += 1;
                match change {
                    Some(change) => scope.take(view, reader, *index, &change)?,
                    None => scope.untold += 1,
                }
            }
        }
    }

    fn take(
        &mut self,
        view: &View,
        reader: &Reader,
        index: EntryIndex,
        change: &Change,
    ) -> Result<(), Fault> {
        let kind = |kind| move |list: &&(RowKind, Hash)| list.0 == kind;
        let sealed = change.lists.iter().any(|list| kind(RowKind::Sealed)(&list));
        if !sealed {
            let named = change.lists.iter().filter(kind(RowKind::Subject));
            named.for_each(|(_, of)| self.count(*of, change.accepted_at_ms));
            return Ok(());
        }
        // Whom a sealed access names stands in its body alone.
        let body = match (reader.role(), view.entry(index)?) {
            (Role::Authority, Some(stored)) => stored.parse_body().map_err(Fault::internal)?,
            _ => None,
        };
        match body {
            Some(body) => {
                self.opened.push(index);
                for of in persons(&body) {
                    self.count(of, change.accepted_at_ms);
                }
            }
            None => self.untold += 1,
        }
        Ok(())
    }

    fn count(&mut self, of: Hash, at_ms: u64) {
        let times = self.touched.entry(of).or_insert(Times {
            count: 0,
            first_ms: at_ms,
            last_ms: at_ms,
        });
        times.count += 1;
        times.last_ms = at_ms;
    }

    /// The answer, some lines at a time.
    fn lines(self, tree_size: u64) -> Result<Vec<Bytes>, Fault> {
        let end = ScopeEnd {
            subjects: self.touched.len() as u64,
            entries: self.entries,
            untold: self.untold,
            tree_size,
        };
        let mut touched: Vec<(Hash, Times)> = self.touched.into_iter().collect();
        touched.sort_unstable_by_key(|(of, _)| *of);
        let mut parts = Vec::new();
        for some in touched.chunks(LINES) {
            let mut text = Vec::new();
            for (of, times) in some {
                let line = Touched {
                    subject: hash_text(of),
                    count: times.count,
                    first: format_timestamp(times.first_ms),
                    last: format_timestamp(times.last_ms),
                };
                put(&line, &mut text)?;
            }
            parts.push(Bytes::from(text));
        }
        let mut text = Vec::new();
        put(&end, &mut text)?;
        parts.push(Bytes::from(text));
        Ok(parts)
    }
}

fn put(line: &impl Serialize, text: &mut Vec<u8>) -> Result<(), Fault> {
    serde_json::to_writer(&mut *text, line).map_err(Fault::internal)?;
    text.push(b'\n');
    Ok(())
}
