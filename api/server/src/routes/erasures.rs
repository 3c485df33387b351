// SPDX-License-Identifier: EUPL-1.2
//! `GET /v1/erasures`: what was ordered away, by whom, why, and which nodes have done it.
//!
//! The authority sees every order. A privacy officer sees the own institution's, every cut, and those on entries in which the own institution
//! took part: that is how the other side of an exchange learns that its twin is gone. Persons are not named, so no reading is recorded.

use std::sync::Arc;

use axum::{Extension, Json, extract::State, http::HeaderMap};
use cluster::{Direction, View};
use ledger::{
    admission::{Row, RowKind},
    erasure::{self, Order, Scope},
    hash::Hash,
    id::InstitutionId,
    number::{EntryIndex, TreeSize},
    state::registry,
    time,
};
use wire::{
    PAGE_ITEMS_MAX,
    erasure::{ErasedBy, Erasure, ErasureNode, ErasurePage, ErasureTwin, NodeErased},
    token::Role,
};

use crate::{
    access,
    app::{App, Consistency, now_ms},
    auth::Reader,
    cursor,
    extract::Query,
    observe::Notes,
    present::StoredAt,
    problem::{Fault, RequestFault},
};

/// Items on a page when the query does not say.
const ITEMS_DEFAULT: u32 = 20;
/// Most orders looked at for one page: a page may be short and still have a next one.
const ORDERS_PER_PAGE_MAX: u64 = 1_000;

/// Which erasures.
#[derive(Clone, Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ErasureQuery {
    /// `open`: some node has not done it yet; `done`; both when absent.
    #[param(example = "open")]
    pub state: Option<String>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Most items on the page; 20 when absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100, example = 20)]
    pub limit: Option<String>,
}

/// Lists erasures, newest first.
///
/// For the authority, and for privacy officers: those of their institution, and those on entries in which it took part.
#[utoipa::path(
    get,
    path = "/v1/erasures",
    tag = "erasures",
    operation_id = "listErasures",
    params(ErasureQuery, Consistency),
    security(("reader" = [])),
    responses((status = 200, description = "A page of erasures", body = ErasurePage))
)]
pub async fn list(
    State(app): State<Arc<App>>,
    Extension(notes): Extension<Notes>,
    Query(query): Query<ErasureQuery>,
    Query(consistency): Query<Consistency>,
    headers: HeaderMap,
) -> Result<Json<ErasurePage>, Fault> {
    let view = app.view(&consistency).await?;
    let reader = app.reader(&headers, &view, &notes)?;
    access::demand_citizens_desk(&reader)?;
    let wanted = match query.state.as_deref() {
        None => None,
        Some("open") => Some(true),
        Some("done") => Some(false),
        Some(_) => {
            return Err(RequestFault::Member("state".to_owned(), "`open` or `done`").into());
        }
    };
    let limit = match query.limit.as_deref() {
        None => ITEMS_DEFAULT,
        Some(limit) => limit
            .parse()
            .ok()
            .filter(|limit| (1..=PAGE_ITEMS_MAX).contains(limit))
            .ok_or_else(|| RequestFault::Member("limit".to_owned(), "a number from 1 to 100"))?,
    };
    let question = Hash::of(&[b"erasures ", query.state.unwrap_or_default().as_bytes()]);
    let before = match query.cursor.as_deref() {
        None => None,
        Some(text) => Some(cursor::parse(text, &question, &reader)?),
    };
    let asking = reader.clone();
    let found = app.search(&reader, move || {
        let from = before
            .unwrap_or(u64::MAX)
            .min(erasure::orders_count(&view)?);
        let least = from.saturating_sub(ORDERS_PER_PAGE_MAX);
        let mut items = Vec::new();
        let mut next = least;
        for place in (least..from).rev() {
            let order = erasure::order_at(&view, place)?;
            let shown = show(&view, &asking, &order)?;
            items.extend(shown.filter(|item| wanted.is_none_or(|open| item.open == open)));
            if items.len() >= limit as usize {
                next = place;
                break;
            }
        }
        let looked_at = usize::try_from(from - next).unwrap_or(usize::MAX);
        let page = ErasurePage {
            items,
            limit,
            next_cursor: (next > 0).then(|| cursor::format(next, &question, &asking)),
            tree_size: view.size().0,
        };
        Ok((page, looked_at))
    });
    found.await.map(Json)
}

/// An order as its reader may see it; none if it is not for the reader.
fn show(view: &View, reader: &Reader, order: &Order) -> Result<Option<Erasure>, Fault> {
    let own = reader.institution();
    let sees_all = reader.role() == Role::Authority || *own == order.institution;
    let (entries, one_person, before, types) = match &order.scope {
        Scope::Entries(entries) => (entries.clone(), false, None, Vec::new()),
        Scope::Subject(entries, _) => (entries.clone(), true, None, Vec::new()),
        Scope::Before(before, types) => (Vec::new(), false, Some(*before), types.clone()),
    };
    let mut seen = Vec::new();
    for entry in entries {
        if sees_all || took_part(view, own, EntryIndex(entry))? {
            seen.push(entry);
        }
    }
    if !sees_all && seen.is_empty() && before.is_none() {
        return Ok(None);
    }
    let mut twins = Vec::new();
    for entry in &seen {
        twins.extend(own_twins(view, own, *entry)?);
    }
    let nodes = nodes(view, order)?;
    let open = nodes.iter().any(|node| node.erased.is_none());
    let open_ms = now_ms().saturating_sub(order.accepted_at_ms);
    Ok(Some(Erasure {
        index: order.index.0,
        institution: order.institution.to_string(),
        accepted_at: time::format_timestamp(order.accepted_at_ms),
        ground: order.ground.as_str().to_owned(),
        entries: seen,
        one_person,
        before,
        types: types.iter().map(|of| of.as_str().to_owned()).collect(),
        open,
        open_seconds: open.then_some(open_ms / 1000),
        nodes,
        twins,
    }))
}

/// The nodes that have to carry it out, and those that did.
fn nodes(view: &View, order: &Order) -> Result<Vec<ErasureNode>, Fault> {
    let mut nodes = Vec::new();
    for node in registry::nodes_at(view, TreeSize(order.index.0.saturating_add(1)))? {
        let report = erasure::report(view, order.index, node.node)?;
        if node.removed.is_some() && report.is_none() {
            continue;
        }
        nodes.push(ErasureNode {
            node: node.node.0,
            erased: report.map(|report| NodeErased {
                index: report.index.0,
                at: time::format_timestamp(report.accepted_at_ms),
                done: report.done,
                spared: report.spared,
            }),
        });
    }
    Ok(nodes)
}

/// Whether an institution signed an entry, is its controller or was named as a side of it: told by the index, which outlives the body.
///
/// # Errors
/// The store's own.
pub fn took_part(
    view: &View,
    institution: &InstitutionId,
    entry: EntryIndex,
) -> Result<bool, Fault> {
    let row = Row::institution(institution);
    let range = entry.0..entry.0.saturating_add(1);
    Ok(!view
        .rows(row.kind, &row.of, range, Direction::Up, 1)?
        .is_empty())
}

/// The reader's own entries that tell of the same exchange as an erased one.
fn own_twins(view: &View, own: &InstitutionId, erased: u64) -> Result<Vec<ErasureTwin>, Fault> {
    let of = Row::twin(EntryIndex(erased)).of;
    let mut twins = Vec::new();
    for index in view.rows(RowKind::Twin, &of, 0..u64::MAX, Direction::Up, TWINS_MAX)? {
        let entry = StoredAt::read(view, index)?;
        let is_own = entry
            .as_ref()
            .and_then(StoredAt::body)
            .is_some_and(|body| body.common.institution == *own);
        if is_own {
            twins.push(ErasureTwin {
                erased,
                own: index.0,
            });
        }
    }
    Ok(twins)
}

/// An exchange has two sides, each perhaps in parts.
const TWINS_MAX: usize = 32;

/// What is told of the orders that were carried out on an entry.
///
/// # Errors
/// The store's own.
pub fn erased_by(view: &View, orders: &[EntryIndex]) -> Result<Vec<ErasedBy>, Fault> {
    let mut told = Vec::new();
    for index in orders {
        told.extend(erasure::order(view, *index)?.map(|order| ErasedBy {
            index: index.0,
            institution: order.institution.to_string(),
            on: time::format_timestamp(order.accepted_at_ms),
            ground: order.ground.as_str().to_owned(),
        }));
    }
    Ok(told)
}
