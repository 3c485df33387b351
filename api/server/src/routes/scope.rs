// SPDX-License-Identifier: EUPL-1.2
//! `POST /v1/operators/subjects`: every subject that one person's accesses touched (Art. 33 and 34 GDPR), without reading a single body:
//! whom an entry names, and when it was accepted, stands in what it changes under the state root.

use std::{
    fs::File,
    io::{self, BufWriter, Seek, Write},
    sync::Arc,
};

use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use cluster::{Direction, View};
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

mod tally;

use tally::Tally;

/// Rows and changes that are read at a time.
const CHUNK: usize = 4_096;

/// Lists every subject that one person of an institution touched.
///
/// For notifications under Art. 33 and 34 GDPR. A line for each subject, in the order of refs, 4000000 at most, and a last line with the sums. Open to the
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

    // The answer is made in a file, as exports are, and takes one of their places.
    let place = app.exports.take(reader.institution()).await?;
    let (looking_view, looking_reader) = (view.clone(), reader.clone());
    let look = move || {
        let scope = Scope::look(&looking_view, &looking_reader, &of)?;
        let made = scope.write(looking_view.size().0)?;
        let rows = usize::try_from(made.entries).unwrap_or(usize::MAX);
        // A row costs a small part of what it costs where its body is read.
        Ok((made, rows / 64))
    };
    let made = app.search(&reader, look).await?;
    let release = Release {
        route: "/v1/operators/subjects",
        question: of,
        count: made.entries,
        tree_size: view.size(),
        subjects: Vec::new(),
        view: view.clone(),
        rests_on: made.rests_on.clone(),
    };
    // Without the commit nothing leaves.
    let _recorded = app.recorder.record(&app.node, &reader, &release).await?;
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-ndjson"),
        ),
        (header::CONTENT_LENGTH, HeaderValue::from(made.length)),
    ];
    Ok((headers, place.send(made.file, made.length)).into_response())
}

/// Whom a person touched.
struct Scope {
    touched: Tally,
    entries: u64,
    untold: u64,
    /// Entries whose bodies were read.
    opened: Vec<EntryIndex>,
}

/// An answer that is ready to leave, once it is on record.
struct Made {
    file: File,
    length: u64,
    entries: u64,
    /// Entries whose bodies were read; all else stands in the state, and stays there.
    rests_on: Vec<EntryIndex>,
}

impl Scope {
    fn look(view: &View, reader: &Reader, operator: &Hash) -> Result<Scope, Fault> {
        let mut scope = Scope {
            touched: Tally::new(),
            entries: 0,
            untold: 0,
            opened: Vec::new(),
        };
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
        let at_ms = change.accepted_at_ms;
        let kind = |kind| move |list: &&(RowKind, Hash)| list.0 == kind;
        let sealed = change.lists.iter().any(|list| kind(RowKind::Sealed)(&list));
        if !sealed {
            let mut named = change.lists.iter().filter(kind(RowKind::Subject));
            return named.try_for_each(|(_, of)| self.touched.count(*of, at_ms));
        }
        // Whom a sealed access names stands in its body alone.
        let body = match (reader.role(), view.entry(index)?) {
            (Role::Authority, Some(stored)) => stored.parse_body().map_err(Fault::internal)?,
            _ => None,
        };
        let Some(body) = body else {
            self.untold += 1;
            return Ok(());
        };
        self.opened.push(index);
        let mut named = persons(&body).into_iter();
        named.try_for_each(|of| self.touched.count(of, at_ms))
    }

    /// Writes the answer.
    fn write(self, tree_size: u64) -> Result<Made, Fault> {
        let mut out = BufWriter::new(tempfile::tempfile().map_err(Fault::internal)?);
        let subjects = self.touched.each(|of, times| {
            let line = Touched {
                subject: hash_text(of),
                count: times.count,
                first: format_timestamp(times.first_ms),
                last: format_timestamp(times.last_ms),
            };
            put(&line, &mut out)
        })?;
        let end = ScopeEnd {
            subjects,
            entries: self.entries,
            untold: self.untold,
            tree_size,
        };
        put(&end, &mut out)?;
        let file = out.into_inner().map_err(io::IntoInnerError::into_error);
        let mut file = file.map_err(Fault::internal)?;
        let length = file.stream_position().map_err(Fault::internal)?;
        file.rewind().map_err(Fault::internal)?;
        Ok(Made {
            file,
            length,
            entries: self.entries,
            rests_on: self.opened,
        })
    }
}

fn put(line: &impl Serialize, out: &mut impl Write) -> Result<(), Fault> {
    serde_json::to_writer(&mut *out, line).map_err(Fault::internal)?;
    out.write_all(b"\n").map_err(Fault::internal)
}
