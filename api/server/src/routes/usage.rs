// SPDX-License-Identifier: EUPL-1.2
//! `/v1/usage`: who used a person's data, as Estonia's Data Tracker asks for it.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use cluster::View;
use ledger::{
    body::{
        Content,
        access::{Access, Side},
    },
    hash::Hash,
    id::InstitutionId,
    number::EntryIndex,
    state::registry,
    time,
};
use wire::usage::{Heartbeat, USAGES_MAX, Usage, UsagePeriod, Usages};

use super::asked::{Asked, Question};
use crate::{
    access::{self, citizen::Citizen},
    app::{App, Consistency, blocking},
    form::{Form, bad},
    present::StoredAt,
    problem::Fault,
    release::{Recorded, Release},
    search::{is_before, list_of, refs_of, rows::Entries},
};

/// Most rows of a list that are looked at: a count of a part would be wrong, so a period with more is refused. It is twice what two years bring
/// about a person of whom much is asked.
const ROWS_MAX: usize = 50_000;

/// Finds usages of a person's data.
///
/// As the citizen may see them: when, why and by whom, newest first; both sides and all parts of one exchange are one usage. For privacy officers, who answer citizens. A read entry is committed before the answer leaves.
#[utoipa::path(
    post,
    path = "/v1/usage",
    tag = "accesses",
    operation_id = "findUsage",
    params(Consistency),
    request_body = wire::usage::UsageSearch,
    security(("reader" = [])),
    responses((status = 200, description = "Usages, newest first", body = Usages))
)]
pub async fn find(State(app): State<Arc<App>>, question: Question) -> Result<Json<Usages>, Fault> {
    let Asked { view, reader, read } = question.asked(&app, access::demand_citizens_desk).await?;
    let mut form = Form::parse(&read.bytes)?;
    let subject = form
        .hash("subject")?
        .ok_or_else(|| bad("subject", "the ref of a person"))?;
    let period = Period {
        from_ms: form.time("periodStart")?.unwrap_or(0),
        to_ms: form.time("periodEnd")?.unwrap_or(u64::MAX),
    };
    let offset = form
        .number("offset", 0..=50_000, "a number from 0 to 50000")?
        .unwrap_or(0);
    let limit = form
        .number("limit", 1..=USAGES_MAX, "a number from 1 to 1000")?
        .unwrap_or(USAGES_MAX);
    form.end()?;

    let looking_view = view.clone();
    let look = move || {
        let refs = refs_of(&looking_view, &subject)?;
        let (found, rows) = exchanges(&looking_view, &refs, &period, ROWS_MAX)?;
        Ok(((refs, found), rows))
    };
    let (refs, found) = app.search(&reader, look).await?;
    let total = found.len();
    let page: Vec<Found> = found
        .into_iter()
        .skip(usize::try_from(offset).unwrap_or(usize::MAX))
        .take(usize::try_from(limit).unwrap_or(usize::MAX))
        .collect();
    let numbers = [period.from_ms, period.to_ms, offset.into(), limit.into()];
    let mut question = subject.as_bytes().to_vec();
    question.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
    let release = Release {
        route: "/v1/usage",
        question: Hash::of(&[&question]),
        count: u64::try_from(page.len()).unwrap_or(u64::MAX),
        tree_size: view.size(),
        subjects: refs,
        view: view.clone(),
        rests_on: page.iter().map(|found| found.index).collect(),
    };
    let recorded = app.recorder.record(&app.node, &reader, &release).await?;
    blocking(move || {
        let usages = page
            .iter()
            .map(|found| found.show(&view, &recorded))
            .collect::<Result<_, _>>()?;
        Ok(Json(Usages {
            total_usages: u32::try_from(total).unwrap_or(u32::MAX),
            usages,
            tree_size: view.size().0,
        }))
    })
    .await
}

/// Shows since when usages are on record.
///
/// From the ledger's first entry to the newest one known here. Estonia's `usagePeriod`; names nobody, so no token is needed.
#[utoipa::path(
    get,
    path = "/v1/usage/period",
    tag = "accesses",
    operation_id = "showUsagePeriod",
    responses((status = 200, description = "The period", body = UsagePeriod))
)]
pub async fn period(State(app): State<Arc<App>>) -> Result<Json<UsagePeriod>, Fault> {
    let view = app.node.view()?;
    blocking(move || {
        let first = view.accepted_at(EntryIndex(0))?.ok_or(Fault::NotFound)?;
        let last = match view.size().0.checked_sub(1) {
            Some(last) => view.accepted_at(EntryIndex(last))?,
            None => None,
        };
        Ok(Json(UsagePeriod {
            period_start: time::format_timestamp(first),
            period_end: last.map(time::format_timestamp),
        }))
    })
    .await
}

/// Shows whether usages can be asked for.
///
/// `OK` while the node knows a leader. Estonia's `heartbeat`; no token is needed.
#[utoipa::path(
    get,
    path = "/v1/usage/heartbeat",
    tag = "accesses",
    operation_id = "showUsageHeartbeat",
    responses((status = 200, description = "The heartbeat", body = Heartbeat))
)]
pub async fn heartbeat(State(app): State<Arc<App>>) -> Json<Heartbeat> {
    let healthy = app.node.status().healthy;
    Json(Heartbeat {
        status: if healthy { "OK" } else { "FAIL" }.to_owned(),
        message: (!healthy).then(|| "the node knows no leader".to_owned()),
    })
}

#[derive(Clone, Copy)]
pub(super) struct Period {
    pub(super) from_ms: u64,
    pub(super) to_ms: u64,
}

/// An exchange that used the person's data, by the consumer's word where there is one.
pub(super) struct Found {
    /// The entry that is told of it.
    index: EntryIndex,
    occurred_at_ms: u64,
    consumer: InstitutionId,
    system: Option<String>,
    reason: Option<String>,
    side: Side,
}

impl Found {
    fn show(&self, view: &View, _recorded: &Recorded) -> Result<Usage, Fault> {
        let code = self.consumer.as_str().to_owned();
        Ok(Usage {
            logtime: time::format_timestamp(self.occurred_at_ms),
            action: self.reason.clone().unwrap_or_default(),
            receiver_name: registry::institution(view, &self.consumer)?.map(|record| record.name),
            receiver_system: self.system.clone().unwrap_or_else(|| code.clone()),
            receiver_code: code,
        })
    }
}

/// The exchanges that stand in the lists of a person, newest first, and how many rows were looked at. What is sealed stands in no list.
pub(super) fn exchanges(
    view: &View,
    refs: &[Hash],
    period: &Period,
    rows_max: usize,
) -> Result<(Vec<Found>, usize), Fault> {
    let citizen = Citizen::new(refs.iter().copied());
    let lists = refs.iter().map(list_of).collect();
    let mut entries = Entries::new(view, lists, view.size().0);
    let mut found: BTreeMap<([u8; 16], InstitutionId, InstitutionId), Found> = BTreeMap::new();
    let mut looked_at = 0;
    while let Some((_, entry)) = entries.take_newest(usize::MAX)? {
        let Some(entry) = entry else {
            continue;
        };
        if is_before(entry.accepted_at_ms(), period.from_ms) {
            break;
        }
        looked_at += 1;
        if looked_at > rows_max {
            return Err(bad(
                "periodStart",
                "a time since which the person has at most 50000 entries; or ask for an export",
            ));
        }
        let released = match entry.releases() {
            Some(released) => StoredAt::read(view, released.index)?,
            None => Some(entry),
        };
        let Some(entry) = released else {
            continue;
        };
        let Some(body) = entry.body() else {
            continue;
        };
        let Content::Access(access) = &body.content else {
            continue;
        };
        let opening = citizen.opening(&entry.at(), body);
        let told = Found {
            index: entry.index,
            occurred_at_ms: body.common.occurred_at_ms,
            consumer: access.consumer.clone(),
            system: access.consumer_client_id.clone(),
            reason: access
                .reason
                .value
                .clone()
                .filter(|_| opening.shows(&access.reason.digest)),
            side: access.side,
        };
        let exchange = (
            access.exchange,
            access.consumer.clone(),
            access.provider.clone(),
        );
        match found.entry(exchange) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(told);
            }
            std::collections::btree_map::Entry::Occupied(mut place) => {
                if prefers(place.get(), access) {
                    place.insert(told);
                }
            }
        }
    }
    let mut found: Vec<Found> = found
        .into_values()
        .filter(|found| (period.from_ms..period.to_ms).contains(&found.occurred_at_ms))
        .collect();
    found.sort_by_key(|found| std::cmp::Reverse(found.occurred_at_ms));
    Ok((found, looked_at))
}

/// The consumer knows why it asked; of two words of one side the first counts, which is met last.
fn prefers(known: &Found, access: &Access) -> bool {
    access.side == Side::Consumer || known.side == Side::Provider
}
