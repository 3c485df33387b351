// SPDX-License-Identifier: EUPL-1.2
//! `POST /v1/households/composition`: who belongs to a household at a time.

use std::sync::Arc;

use axum::{Json, extract::State};
use ledger::{body::Content, export::persons, hash::Hash};
use wire::household::Composition;

use super::asked::{Asked, Question};
use crate::{
    access,
    app::{App, Consistency, now_ms},
    form::{Form, bad},
    present::Seen,
    problem::Fault,
    release::Release,
    search::{Compositions, compositions},
};

/// Shows who belongs to a household at a time.
///
/// As the registry authority of its kind said; of two compositions from the same time on, the later entry counts. A time at which an erased one may have held is refused. A read entry is committed before the answer leaves.
#[utoipa::path(
    post,
    path = "/v1/households/composition",
    tag = "households",
    operation_id = "showComposition",
    params(Consistency),
    request_body = wire::household::CompositionQuery,
    security(("reader" = [])),
    responses((status = 200, description = "The composition in force at that time", body = Composition))
)]
pub async fn composition(
    State(app): State<Arc<App>>,
    question: Question,
) -> Result<Json<Composition>, Fault> {
    let Asked { view, reader, read } = question
        .asked(&app, access::demand_reader_of_entries)
        .await?;
    let mut form = Form::parse(&read.bytes)?;
    let household = form
        .hash("household")?
        .ok_or_else(|| bad("household", "the ref of a household"))?;
    let at = form.time("at")?;
    form.end()?;
    let at_ms = at.unwrap_or_else(now_ms);

    let (looking_view, looking_reader) = (view.clone(), reader.clone());
    let look = move || {
        let Compositions { said, unknown } =
            compositions(&looking_view, &looking_reader, &household)?;
        if unknown.iter().any(|gone| gone.contains(&at_ms)) {
            return Err(bad(
                "at",
                "a time whose composition is on record: one that may have held then is erased",
            ));
        }
        let rows = said.len();
        Ok((in_force(said, at_ms).ok_or(Fault::NotFound)?, rows))
    };
    let seen = app.search(&reader, look).await?;
    let release = Release {
        route: "/v1/households/composition",
        question: Hash::of(&[household.as_bytes(), &at.unwrap_or(u64::MAX).to_be_bytes()]),
        count: 1,
        tree_size: view.size(),
        subjects: seen.body().map(persons).unwrap_or_default(),
        view: view.clone(),
        rests_on: vec![seen.index()],
    };
    let recorded = app.recorder.record(&app.node, &reader, &release).await?;
    let checkpoint = app.node.published().map(|newest| newest.note.to_string());
    seen.show_composition(at_ms, view.size(), checkpoint, &recorded)
        .map(Json)
        .ok_or(Fault::NotFound)
}

/// The composition in force at a time: the last to begin by then; of several that begin at once, the last of the ledger.
fn in_force(compositions: Vec<Seen>, at_ms: u64) -> Option<Seen> {
    let begins = |seen: &Seen| match seen.body().map(|body| &body.content) {
        Some(Content::Household(household)) => Some(household.valid_from_ms),
        _ => None,
    };
    compositions
        .into_iter()
        .filter(|seen| begins(seen).is_some_and(|from_ms| from_ms <= at_ms))
        .max_by_key(|seen| (begins(seen), seen.index()))
}
