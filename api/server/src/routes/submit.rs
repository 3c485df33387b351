// SPDX-License-Identifier: EUPL-1.2
//! `POST /v1/entries`: the door for entries, one or a batch.
//!
//! An entry proves itself by its signatures; no token is asked. It is parsed and verified here, so that a refusal costs no Raft round, and
//! judged again by every node: verification at the door is an optimisation.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use axum::{
    Extension, Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use cluster::{Outcome, Until};
use ledger::{
    entry::{SubmittedEntry, VerifiedEntry},
    id::{InstitutionId, KeyId},
    number::EntryIndex,
    state::registry,
    time,
};
use parking_lot::RwLock;
use wire::{
    BATCH_ENTRIES_MAX,
    entry::{Accepted, EntryState, LineOutcome},
};

use crate::{
    app::{App, blocking},
    body::{self, BATCH_BYTES_MAX, ENTRY_BYTES_MAX},
    extract::Query,
    observe::Notes,
    present::{finding_names, hash_text},
    problem::{Fault, RequestFault},
};

/// How far to wait.
#[derive(Clone, Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wait {
    /// `published` (the default): until a majority of nodes cosigned, with the receipt. `committed`: until it is durable on a majority.
    /// `Prefer: return=minimal` asks the same.
    #[param(example = "published")]
    pub until: Option<String>,
}

impl Wait {
    fn until(&self, headers: &HeaderMap) -> Result<Until, Fault> {
        let minimal = headers
            .get_all("prefer")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|preference| preference.trim().eq_ignore_ascii_case("return=minimal"));
        match self.until.as_deref() {
            None if minimal => Ok(Until::Committed),
            None | Some("published") => Ok(Until::Published),
            Some("committed") => Ok(Until::Committed),
            Some(_) => {
                Err(RequestFault::Member("until".to_owned(), "published or committed").into())
            }
        }
    }
}

/// Submits an entry or a batch of entries.
///
/// One entry as application/json, or up to 1000 as application/x-ndjson, one a line, answered by one outcome a line. 201 brings the receipt;
/// 202 says that the entry is durable and its receipt follows; 200 that the very same entry was accepted before, with its first receipt.
#[utoipa::path(
    post,
    path = "/v1/entries",
    tag = "entries",
    operation_id = "submitEntries",
    params(Wait),
    request_body(
        description = "A signed entry, or a batch of them",
        content((wire::entry::Submission = "application/json"), (String = "application/x-ndjson")),
    ),
    responses(
        (status = 201, description = "Accepted", body = Accepted),
        (status = 200, description = "Accepted before (application/json), or the outcomes of a batch (application/x-ndjson)",
            content((Accepted = "application/json"), (LineOutcome = "application/x-ndjson"))),
        (status = 202, description = "Accepted and durable; not published yet", body = Accepted),
    )
)]
pub async fn submit(
    State(app): State<Arc<App>>,
    Extension(notes): Extension<Notes>,
    Query(wait): Query<Wait>,
    headers: HeaderMap,
    request_body: Body,
) -> Result<Response, Fault> {
    let until = wait.until(&headers)?;
    match body::media_type(&headers)?.as_str() {
        wire::JSON => {
            let read = app.bodies.read(request_body, ENTRY_BYTES_MAX).await?;
            let outcome = submit_lines(&app, &notes, vec![read.bytes.clone()], until)
                .await?
                .pop();
            let (status, accepted) = outcome.unwrap_or(Err(Fault::Internal))?;
            Ok((status, Json(accepted)).into_response())
        }
        wire::NDJSON => {
            let read = app.bodies.read(request_body, BATCH_BYTES_MAX).await?;
            let lines = lines(&read.bytes)?;
            let outcomes = submit_lines(&app, &notes, lines, until).await?;
            let mut answer = Vec::new();
            for (place, outcome) in outcomes.into_iter().enumerate() {
                let line = line_outcome(place, outcome);
                serde_json::to_writer(&mut answer, &line).map_err(Fault::internal)?;
                answer.push(b'\n');
            }
            Ok(([(header::CONTENT_TYPE, wire::NDJSON)], answer).into_response())
        }
        _ => Err(RequestFault::MediaType.into()),
    }
}

/// What became of one line: what was accepted and with which status, or why not.
type Line = Result<(StatusCode, Accepted), Fault>;

fn line_outcome(place: usize, outcome: Line) -> LineOutcome {
    let line = u64::try_from(place).unwrap_or(u64::MAX).saturating_add(1);
    match outcome {
        Ok((status, accepted)) => LineOutcome {
            line,
            status: status.as_u16(),
            accepted: Some(accepted),
            problem: None,
        },
        Err(fault) => LineOutcome {
            line,
            status: fault.status().as_u16(),
            accepted: None,
            problem: Some(fault.problem()),
        },
    }
}

/// The lines of a batch, not copied. The last may end without a line feed; an empty line is an entry that cannot be read.
fn lines(batch: &Bytes) -> Result<Vec<Bytes>, Fault> {
    let text = batch.strip_suffix(b"\n").unwrap_or(batch);
    if text.is_empty() {
        return Err(RequestFault::BatchEmpty.into());
    }
    let lines: Vec<Bytes> = text
        .split(|byte| *byte == b'\n')
        .take(BATCH_ENTRIES_MAX + 1)
        .map(|line| batch.slice_ref(line))
        .collect();
    if lines.len() > BATCH_ENTRIES_MAX {
        return Err(RequestFault::BatchTooLong.into());
    }
    Ok(lines)
}

async fn submit_lines(
    app: &App,
    notes: &Notes,
    lines: Vec<Bytes>,
    until: Until,
) -> Result<Vec<Line>, Fault> {
    let verified = verify_lines(app, lines).await?;
    let payers = payers(app, &verified).await?;
    charge(app, notes, &payers)?;
    let mut outcomes: Vec<Option<Line>> = Vec::with_capacity(verified.len());
    let mut entries = Vec::with_capacity(verified.len());
    for entry in verified {
        match entry {
            Ok(entry) => {
                entries.push(entry);
                outcomes.push(None);
            }
            Err(fault) => outcomes.push(Some(Err(fault))),
        }
    }
    let deadline = match until {
        Until::Committed => app.timeouts.submit,
        Until::Published => app.timeouts.submit + app.timeouts.publish,
    };
    let submitted = if entries.is_empty() {
        Vec::new()
    } else {
        app.node.submit(entries, until, deadline).await
    };
    let mut answered = answers(app, submitted).await.into_iter();
    let lines: Vec<Line> = outcomes
        .into_iter()
        .map(|outcome| {
            outcome
                .or_else(|| answered.next())
                .unwrap_or(Err(Fault::OutcomeUnknown))
        })
        .collect();
    settle(app, notes, &payers, &lines);
    Ok(lines)
}

/// Whose keys signed lately: each was looked up once. A key never changes its institution.
#[derive(Default)]
pub struct Payers(RwLock<HashMap<KeyId, InstitutionId>>);

/// Keys that are remembered; when there are more, all are forgotten and looked up again.
const PAYERS_MAX: usize = 100_000;

impl Payers {
    /// None if one of them is not remembered.
    fn of(&self, signers: &[Option<KeyId>]) -> Option<Vec<Option<InstitutionId>>> {
        let known = self.0.read();
        let payer = |signer: &Option<KeyId>| match signer {
            None => Some(None),
            Some(id) => known.get(id).cloned().map(Some),
        };
        signers.iter().map(payer).collect()
    }

    fn remember(&self, found: HashMap<KeyId, InstitutionId>) {
        let mut known = self.0.write();
        if known.len() + found.len() > PAYERS_MAX {
            known.clear();
        }
        known.extend(found);
    }
}

/// Who pays for each line: the institution whose key signed first. Not the one that the body names: whoever signs could empty another's
/// bucket by naming it. None for a line that was refused.
async fn payers(
    app: &App,
    entries: &[Result<VerifiedEntry, Fault>],
) -> Result<Vec<Option<InstitutionId>>, Fault> {
    let signers: Vec<Option<KeyId>> = entries
        .iter()
        .map(|entry| entry.as_ref().ok()?.signers().next())
        .collect();
    if let Some(payers) = app.payers.of(&signers) {
        return Ok(payers);
    }
    let view = app.node.view()?;
    let asked = signers.clone();
    let found = blocking(move || {
        let mut found = HashMap::new();
        for id in asked.into_iter().flatten() {
            if !found.contains_key(&id)
                && let Some(terms) = registry::key_terms(&view, &id)?
            {
                found.insert(id, terms.institution);
            }
        }
        Ok(found)
    })
    .await?;
    let payers = signers
        .iter()
        .map(|signer| signer.as_ref().and_then(|id| found.get(id).cloned()))
        .collect();
    app.payers.remember(found);
    Ok(payers)
}

/// Charges who pays, the whole batch or nothing.
fn charge(app: &App, notes: &Notes, payers: &[Option<InstitutionId>]) -> Result<(), Fault> {
    let mut counts: BTreeMap<&InstitutionId, u32> = BTreeMap::new();
    for payer in payers.iter().flatten() {
        *counts.entry(payer).or_default() += 1;
    }
    if let Some(payer) = payers.iter().flatten().next() {
        notes.consumer(payer.as_str());
    }
    let mut charged = Vec::with_capacity(counts.len());
    for (payer, count) in counts {
        if let Err(fault) = app.charge(payer, count, notes) {
            for (payer, count) in charged {
                app.give_back(payer, count);
            }
            // The signatures were verified all the same.
            app.charge_client(lines_beyond_the_first(payers.len()), notes);
            return Err(fault);
        }
        charged.push((payer, count));
    }
    Ok(())
}

/// What was accepted before costs its institution nothing: anybody who holds the entry can send it again. That, and what was refused, is the
/// client's to pay.
fn settle(app: &App, notes: &Notes, payers: &[Option<InstitutionId>], lines: &[Line]) {
    let mut idle = 0;
    for (payer, line) in payers.iter().zip(lines) {
        match line {
            Ok((_, accepted)) if accepted.again => {
                idle += 1;
                if let Some(payer) = payer {
                    app.give_back(payer, 1);
                }
            }
            Err(Fault::Refused(_)) => idle += 1,
            Ok(_) | Err(_) => {}
        }
    }
    app.charge_client(lines_beyond_the_first(idle), notes);
}

/// The request itself is charged already.
fn lines_beyond_the_first(count: usize) -> u32 {
    u32::try_from(count.saturating_sub(1)).unwrap_or(u32::MAX)
}

/// So much is parsed in the time that it takes to wake another thread for it.
const PARSED_HERE_BYTES_MAX: usize = 8 * 1024;

/// Parses and verifies; the node catches up before it calls a key unknown.
async fn verify_lines(
    app: &App,
    lines: Vec<Bytes>,
) -> Result<Vec<Result<VerifiedEntry, Fault>>, Fault> {
    let small = lines.iter().map(Bytes::len).sum::<usize>() <= PARSED_HERE_BYTES_MAX;
    let parse = move || -> Vec<_> {
        lines
            .iter()
            .map(|line| SubmittedEntry::from_wire(line))
            .collect()
    };
    let parsed = if small {
        parse()
    } else {
        app.parse(move || Ok(parse())).await?
    };
    let mut outcomes: Vec<Result<VerifiedEntry, Fault>> = Vec::with_capacity(parsed.len());
    let (mut places, mut entries) = (Vec::new(), Vec::new());
    for (place, entry) in parsed.into_iter().enumerate() {
        outcomes.push(match entry {
            Ok(entry) => {
                places.push(place);
                entries.push(entry);
                Err(Fault::Internal)
            }
            Err(refused) => Err(refused.into()),
        });
    }
    for (place, entry) in places.into_iter().zip(app.node.verify(entries).await?) {
        if let Some(slot) = outcomes.get_mut(place) {
            *slot = entry.map_err(Fault::Refused);
        }
    }
    Ok(outcomes)
}

async fn answers(app: &App, outcomes: Vec<Outcome>) -> Vec<Line> {
    let published: Vec<EntryIndex> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Outcome::Accepted(accepted) if accepted.state == Until::Published => {
                Some(accepted.index)
            }
            _ => None,
        })
        .collect();
    // They are written, whatever becomes of the receipts: a failure here must not be told as one of the entries.
    let receipts = receipts(app, published).await.unwrap_or_else(|error| {
        tracing::error!(%error, "entries are accepted, and their receipts cannot be read");
        HashMap::new()
    });
    outcomes
        .into_iter()
        .map(|outcome| match outcome {
            Outcome::Accepted(accepted) => {
                // Not taken out: the same entry may stand in a batch twice.
                let receipt = receipts.get(&accepted.index).cloned();
                Ok(answer(accepted, receipt))
            }
            Outcome::Refused(refused) => Err(refused.into()),
            Outcome::Failed(failure) => Err(failure.into()),
            Outcome::Unknown => Err(Fault::OutcomeUnknown),
        })
        .collect()
}

fn answer(accepted: cluster::Accepted, receipt: Option<String>) -> (StatusCode, Accepted) {
    let published = accepted.state == Until::Published && receipt.is_some();
    let status = match (accepted.again, published) {
        (true, _) => StatusCode::OK,
        (false, true) => StatusCode::CREATED,
        (false, false) => StatusCode::ACCEPTED,
    };
    let told = Accepted {
        index: accepted.index.0,
        leaf_hash: hash_text(&accepted.leaf_hash),
        accepted_at: time::format_timestamp(accepted.accepted_at_ms),
        findings: finding_names(accepted.findings),
        state: if published {
            EntryState::Published
        } else {
            EntryState::Committed
        },
        again: accepted.again,
        receipt,
    };
    (status, told)
}

/// The receipts of published entries. Where another node published, its note may be a moment away from this one.
async fn receipts(
    app: &App,
    mut indexes: Vec<EntryIndex>,
) -> Result<HashMap<EntryIndex, String>, cluster::Error> {
    const PATIENCE: Duration = Duration::from_secs(1);
    indexes.sort_unstable();
    indexes.dedup();
    let Some(last) = indexes.last() else {
        return Ok(HashMap::new());
    };
    // Late or not, whatever is published here by then has its receipt.
    let _ = app.node.published_at_least(last.size(), PATIENCE).await;
    let receipts = app.node.receipts(indexes.clone()).await?;
    Ok(indexes
        .into_iter()
        .zip(receipts)
        .filter_map(|(index, receipt)| Some((index, receipt?)))
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_batch_is_split_into_lines_and_bounded() {
        let split = |text: &str| {
            lines(&Bytes::from(text.to_owned())).map(|lines| {
                lines
                    .iter()
                    .map(|line| String::from_utf8(line.to_vec()).unwrap())
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(split("a\nb\n").unwrap(), ["a", "b"]);
        assert_eq!(split("a\n\nb").unwrap(), ["a", "", "b"]);
        assert_eq!(split(""), Err(RequestFault::BatchEmpty.into()));
        assert_eq!(split("\n"), Err(RequestFault::BatchEmpty.into()));
        let full = "x\n".repeat(BATCH_ENTRIES_MAX);
        assert_eq!(split(&full).unwrap().len(), BATCH_ENTRIES_MAX);
        assert_eq!(
            split(&format!("{full}x")),
            Err(RequestFault::BatchTooLong.into())
        );
    }

    #[test]
    fn waiting_is_asked_by_query_or_preference() {
        let until = |query: Option<&str>, prefer: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(prefer) = prefer {
                headers.insert("prefer", header::HeaderValue::from_static(prefer));
            }
            let until = query.map(str::to_owned);
            Wait { until }.until(&headers).map_err(|fault| fault.code())
        };
        assert_eq!(until(None, None), Ok(Until::Published));
        assert_eq!(until(Some("committed"), None), Ok(Until::Committed));
        assert_eq!(
            until(None, Some("wait=5, return=minimal")),
            Ok(Until::Committed)
        );
        assert_eq!(
            until(Some("published"), Some("return=minimal")),
            Ok(Until::Published)
        );
        assert_eq!(until(Some("soon"), None), Err("request-member"));
    }
}
