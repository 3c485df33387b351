// SPDX-License-Identifier: EUPL-1.2
//! How an audit ended, for programs and for people.

use std::collections::BTreeMap;

use ledger::{
    audit::{Audit, Beyond, Evidence, Place},
    time::format_timestamp,
};
use serde::Serialize;

use super::Exit;

/// What an audit that begins at a state root says nothing of.
const NOT_TOLD: &str = "how the entries before were judged, and whether all of them were admitted rightly; what stood under the state root then is what its entry states, and the registry follows from its own entries from genesis on";

/// What an audit says nothing of that met what a cut took.
pub(super) const RETIRED: &str = "what stood in lists from there on, and whether the state roots are those of it; consents and numbers of streams that these entries told of. Begin at a state root (--begin-at state-root, with a folder of its own for --state)";

/// How an audit ended.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ended {
    pub(super) ok: bool,
    /// Where it began, if not at genesis.
    #[serde(skip_serializing_if = "Option::is_none")]
    began: Option<Began>,
    /// Entries replayed, and before where it began.
    size: u64,
    /// Root of the state as folded last.
    folded: String,
    /// Size of the largest checkpoint among them.
    published: u64,
    signatures: u64,
    state_roots: u64,
    checkpoints: u64,
    types: BTreeMap<&'static str, u64>,
    findings: BTreeMap<&'static str, u64>,
    /// Entries of which something was erased: not recomputable.
    erased: u64,
    /// Entries that were judged by what is erased now.
    unjudged: u64,
    /// Which they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unjudged_at: Vec<u64>,
    /// Erased entries that orders name, of which it cannot be told whether the signers might ask that, or whether what they said held yet.
    pub(super) untold: u64,
    /// Entries whose judgement rests on what a state root does not prove.
    not_recomputed: Vec<NotRecomputed>,
    /// How many they are.
    not_recomputed_entries: u64,
    /// Why nothing can be told of the whole ledger: what was fed ends too early, or before a state root holds a cut that nodes tell of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unfinished: Option<String>,
    /// Why it cannot be replayed from where it began: what a cut took tells nothing any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retired: Option<Retired>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lie: Option<Lie>,
}

/// Entries that a cut took out of their lists. Each is one that a cut may take; of how many it cannot be told, `untold` says.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Retired {
    /// The first of them: lists and state roots are recomputed up to it.
    pub(super) first: u64,
    pub(super) count: u64,
    /// The youngest was accepted then.
    pub(super) until: String,
    /// State roots behind them, none of which is recomputed.
    pub(super) state_roots: u64,
    /// What this audit does not tell, and what to do.
    pub(super) not_told: &'static str,
}

/// The state root at which an audit began.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Began {
    /// Entries before the first that was replayed.
    at: u64,
    /// Index of the `state-root` entry.
    state_root: u64,
    /// Entries that it speaks of.
    of_size: u64,
    version: u64,
    /// What this audit does not tell.
    not_told: &'static str,
}

/// Entries whose judgement rests on one table of the start.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NotRecomputed {
    table: &'static str,
    /// What is not recomputed of them.
    why: &'static str,
    /// Which they are: from the first index of each range to before its second.
    entries: Vec<(u64, u64)>,
    count: u64,
    /// From when on no entry rests on it any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

/// The first lie.
#[derive(Serialize)]
pub(super) struct Lie {
    at: &'static str,
    number: u64,
    what: &'static str,
    said: String,
    computed: String,
}

impl Ended {
    /// What scripts see: only a whole ledger is proven, only a lie is proven false.
    pub(super) fn exit(&self) -> Exit {
        match &self.lie {
            Some(_) => Exit::Failed,
            None if self.ok => Exit::Ok,
            None => Exit::CannotCheck,
        }
    }
}

/// Why what was replayed is not the ledger as published: it ends before it, or where nobody published it.
fn unfinished(audit: &Audit, newest: u64) -> Option<String> {
    let (size, published) = (audit.size().0, audit.report().published);
    if size == 0 {
        Some("nothing was fed".to_owned())
    } else if size < newest {
        Some(format!(
            "{size} entries were fed, and {newest} are published"
        ))
    } else if published != size {
        Some(format!(
            "{size} entries were fed, and the last checkpoint among them is of {published}"
        ))
    } else if audit.waiting() > 0 {
        Some(format!(
            "{} entries are said to have left their lists by a cut that no state root among them holds yet; audit again once one is published",
            audit.waiting()
        ))
    } else {
        None
    }
}

fn began(beyond: &Beyond) -> Began {
    let root = beyond.state_root();
    Began {
        at: beyond.size().0,
        state_root: root.index.0,
        of_size: root.size.0,
        version: root.version,
        not_told: NOT_TOLD,
    }
}

fn not_recomputed(audit: &Audit) -> Vec<NotRecomputed> {
    let tables = audit.report().not_recomputed.iter();
    tables
        .map(|(table, ranges)| NotRecomputed {
            table: table.as_str(),
            why: table.question(),
            entries: ranges.clone(),
            count: ranges.iter().map(|(from, to)| to - from).sum(),
            until: audit
                .beyond()
                .and_then(|beyond| beyond.until(*table))
                .map(format_timestamp),
        })
        .collect()
}

pub(super) fn describe(audit: &Audit, lie: Option<Evidence>, newest: u64) -> Ended {
    let report = audit.report();
    let unfinished = unfinished(audit, newest);
    Ended {
        ok: lie.is_none() && unfinished.is_none() && report.retired.is_none(),
        began: audit.beyond().map(began),
        size: audit.size().0,
        folded: audit.state_root().to_string(),
        published: report.published,
        signatures: report.signatures,
        state_roots: report.state_roots,
        checkpoints: report.checkpoints,
        types: report
            .types
            .iter()
            .map(|(of, count)| (of.as_str(), *count))
            .collect(),
        findings: report
            .findings
            .iter()
            .map(|(finding, count)| (finding.name(), *count))
            .collect(),
        erased: report.erased,
        unjudged: report.unjudged,
        unjudged_at: report.unjudged_at.clone(),
        untold: report.untold,
        not_recomputed: not_recomputed(audit),
        not_recomputed_entries: report.not_recomputed_count,
        unfinished,
        retired: report.retired.map(|retired| Retired {
            first: retired.first.0,
            count: retired.count,
            until: format_timestamp(retired.until_ms),
            state_roots: retired.state_roots,
            not_told: RETIRED,
        }),
        lie: lie.map(|lie| {
            let (at, number) = match lie.at {
                Place::Entry(index) => ("entry", index.0),
                Place::Checkpoint(size) => ("checkpoint", size.0),
                Place::Start(size) => ("start", size.0),
            };
            Lie {
                at,
                number,
                what: lie.what,
                said: lie.said,
                computed: lie.computed,
            }
        }),
    }
}

pub(super) fn human(ended: &Ended) -> String {
    let mut lines = Vec::new();
    let from = ended.began.as_ref().map_or(0, |began| began.at);
    match (&ended.lie, &ended.unfinished, &ended.retired) {
        (Some(lie), ..) => lines.extend([
            format!("LIE at {} {}: {}", lie.at, lie.number, lie.what),
            format!("said       {}", lie.said),
            format!("computed   {}", lie.computed),
        ]),
        (None, Some(why), _) => lines.push(format!("UNFINISHED: {why}")),
        (None, None, Some(retired)) => lines.extend([
            format!(
                "CANNOT BE REPLAYED FROM HERE: what was cut of before {} is gone, {} entries, the first of them {}",
                retired.until, retired.count, retired.first
            ),
            format!(
                "NOT TOLD of {} state roots: {}",
                retired.state_roots, retired.not_told
            ),
            format!(
                "All else of {} entries, {} of them published, says nothing that does not follow; each that is gone must be one that a cut may take",
                ended.size, ended.published
            ),
        ]),
        (None, None, None) if from > 0 => lines.push(format!(
            "TRUE so far: of {} entries, {} of them published, those from {from} on say nothing that does not follow{}",
            ended.size,
            ended.published,
            if ended.not_recomputed.is_empty() { "" } else { ", but for what is not recomputed" }
        )),
        (None, None, None) => lines.push(format!(
            "TRUE so far: {} entries, {} of them published, say nothing that does not follow",
            ended.size, ended.published
        )),
    }
    if let Some(began) = &ended.began {
        lines.push(format!(
            "begun      at entry {}, with state root {} of size {}, stated by entry {}",
            began.at, began.version, began.of_size, began.state_root
        ));
        lines.push(format!("NOT TOLD: {}", began.not_told));
    }
    lines.push(format!(
        "recomputed {} signatures, {} state roots, {} checkpoints with their cosignatures",
        ended.signatures, ended.state_roots, ended.checkpoints
    ));
    let counts = |of: &BTreeMap<&str, u64>| -> String {
        let counts: Vec<String> = of
            .iter()
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        counts.join(", ")
    };
    lines.push(format!("entries    {}", counts(&ended.types)));
    if !ended.findings.is_empty() {
        lines.push(format!("findings   {}", counts(&ended.findings)));
    }
    if ended.erased > 0 {
        lines.push(format!(
            "NOT RECOMPUTABLE: {} entries of which something was erased, bridged by what they changed; {} that were judged by them",
            ended.erased, ended.unjudged
        ));
        let at: Vec<String> = ended.unjudged_at.iter().map(u64::to_string).collect();
        if !at.is_empty() {
            lines.push(format!("unjudged   {}", at.join(", ")));
        }
    }
    if ended.not_recomputed_entries > 0 {
        lines.push(format!(
            "NOT RECOMPUTED: of {} entries what rests on the word of the nodes at the start",
            ended.not_recomputed_entries
        ));
    }
    for table in &ended.not_recomputed {
        let until = table
            .until
            .as_ref()
            .map(|until| format!("; none from {until} on"));
        lines.push(format!(
            "{:<11}{} entries: {}{}",
            table.table,
            table.count,
            table.why,
            until.unwrap_or_default()
        ));
    }
    if ended.untold > 0 {
        lines.push(format!(
            "NOT TOLD: of {} erased entries whether those who ordered it might ask that, or whether what they said held yet; what would tell is gone",
            ended.untold
        ));
    }
    lines.join("\n")
}
