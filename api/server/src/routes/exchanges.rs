// SPDX-License-Identifier: EUPL-1.2
//! `GET /v1/exchanges`: which calls only one side told, and which the two sides tell differently.

use std::{str::FromStr, sync::Arc};

use axum::{Extension, Json, extract::State, http::HeaderMap};
use ledger::{body::access::Side, hash::Hash, time};
use wire::{
    PAGE_ITEMS_MAX,
    exchange::{ExchangePage, ExchangeState},
};

use crate::{
    access,
    app::{App, Consistency, now_ms},
    auth::Reader,
    cursor,
    exchanges::Query,
    extract::Query as UrlQuery,
    observe::Notes,
    problem::{Fault, RequestFault},
    release::Release,
    search::PAGE_ITEMS_DEFAULT,
};

/// Which exchanges. None of it names a person, so it may stand in a URL.
#[derive(Clone, Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub struct Filters {
    /// Only exchanges in this state; all when absent.
    #[param(example = "unpaired")]
    state: Option<String>,
    /// Only unpaired ones of which this side was told.
    #[param(example = "provider")]
    side: Option<String>,
    /// First entry accepted at or after.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// First entry accepted before.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    /// First entry accepted so many seconds ago or earlier.
    #[param(value_type = Option<u32>, format = Int32, minimum = 0)]
    older_than: Option<String>,
    /// `next_cursor` of the page before; bound to the filters and the reader.
    cursor: Option<String>,
    /// Most items on the page, 1 to 100; 50 when absent.
    #[param(value_type = Option<u32>, format = Int32, minimum = 1, maximum = 100)]
    limit: Option<String>,
}

/// Lists exchanges and whether their two sides agree.
///
/// A pair is (exchange, consumer, provider). Target subjects, purpose, time and outcome are compared; incidental subjects never differ. An institution sees the exchanges that it took
/// part in, the authority all. A read entry is committed before the answer leaves; it names nobody, as the answer does not.
#[utoipa::path(
    get,
    path = "/v1/exchanges",
    tag = "exchanges",
    operation_id = "listExchanges",
    params(Filters, Consistency),
    security(("reader" = [])),
    responses((status = 200, description = "A page of exchanges", body = ExchangePage))
)]
pub async fn list(
    State(app): State<Arc<App>>,
    Extension(notes): Extension<Notes>,
    UrlQuery(filters): UrlQuery<Filters>,
    UrlQuery(consistency): UrlQuery<Consistency>,
    headers: HeaderMap,
) -> Result<Json<ExchangePage>, Fault> {
    let view = app.view(&consistency).await?;
    let reader = app.reader(&headers, &view, &notes)?;
    access::demand_reader_of_entries(&reader)?;
    let at_ms = now_ms();
    let question = filters.question()?;
    let (query, limit) = filters.query(&question, &reader, at_ms)?;
    let before = query.before;
    let (selecting_view, selecting_reader) = (view.clone(), reader.clone());
    let select = move || {
        let selection = query.select(&selecting_view, &selecting_reader)?;
        let read = selection.read;
        Ok((selection, read))
    };
    let selection = app.search(&reader, select).await?;
    let release = Release {
        route: "/v1/exchanges",
        question: Hash::of(&[question.as_bytes(), &before.to_be_bytes()]),
        count: u64::try_from(selection.len()).unwrap_or(u64::MAX),
        tree_size: view.size(),
        subjects: Vec::new(),
        view: view.clone(),
        rests_on: selection.rests_on(),
    };
    let recorded = app.recorder.record(&app.node, &reader, &release).await?;
    Ok(Json(ExchangePage {
        items: selection.show(at_ms, &recorded),
        limit,
        next_cursor: selection
            .next
            .map(|position| cursor::format(position, &question, &reader)),
        at: time::format_timestamp(at_ms),
        tree_size: view.size().0,
        checkpoint: app.node.published().map(|newest| newest.note.to_string()),
    }))
}

impl Filters {
    /// What is asked, without page and limit.
    fn question(&self) -> Result<Hash, Fault> {
        let asked = [
            &self.state,
            &self.side,
            &self.from,
            &self.to,
            &self.older_than,
        ];
        let asked = serde_json::to_vec(&asked).map_err(Fault::internal)?;
        Ok(Hash::of(&[&asked]))
    }

    fn query(&self, question: &Hash, reader: &Reader, now_ms: u64) -> Result<(Query, u32), Fault> {
        let state = match self.state.as_deref() {
            None => None,
            Some("unpaired") => Some(ExchangeState::Unpaired),
            Some("paired") => Some(ExchangeState::Paired),
            Some("differing") => Some(ExchangeState::Differing),
            Some(_) => return bad("state", "unpaired, paired or differing"),
        };
        let side = match self.side.as_deref() {
            None => None,
            Some("consumer") => Some(Side::Consumer),
            Some("provider") => Some(Side::Provider),
            Some(_) => return bad("side", "consumer or provider"),
        };
        let from_ms = parse_time("from", self.from.as_deref())?.unwrap_or(0);
        let to_ms = parse_time("to", self.to.as_deref())?.unwrap_or(u64::MAX);
        let older_than: Option<u32> = parse_number(
            "olderThan",
            self.older_than.as_deref(),
            "a number of seconds",
        )?;
        let begun_before = older_than.map_or(u64::MAX, |seconds| {
            now_ms
                .saturating_sub(u64::from(seconds) * 1000)
                .saturating_add(1)
        });
        const LIMIT: &str = "a number from 1 to 100";
        let limit =
            parse_number("limit", self.limit.as_deref(), LIMIT)?.unwrap_or(PAGE_ITEMS_DEFAULT);
        if !(1..=PAGE_ITEMS_MAX).contains(&limit) {
            return bad("limit", LIMIT);
        }
        let before = match &self.cursor {
            Some(cursor) => cursor::parse(cursor, question, reader)?,
            None => u64::MAX,
        };
        let query = Query {
            state,
            side,
            from_ms,
            to_ms: to_ms.min(begun_before),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            before,
        };
        Ok((query, limit))
    }
}

fn parse_time(name: &str, text: Option<&str>) -> Result<Option<u64>, Fault> {
    match text {
        None => Ok(None),
        Some(text) => match time::parse_timestamp(text) {
            Some(ms) => Ok(Some(ms)),
            None => bad(name, "a time as YYYY-MM-DDTHH:MM:SS[.sss]Z"),
        },
    }
}

fn parse_number<T: FromStr>(
    name: &str,
    text: Option<&str>,
    expected: &'static str,
) -> Result<Option<T>, Fault> {
    match text {
        None => Ok(None),
        Some(text) => match text.parse() {
            Ok(number) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Some(number)),
            _ => bad(name, expected),
        },
    }
}

fn bad<T>(name: &str, expected: &'static str) -> Result<T, Fault> {
    Err(RequestFault::Member(name.to_owned(), expected).into())
}
