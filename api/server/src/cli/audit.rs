// SPDX-License-Identifier: EUPL-1.2
//! `visto audit`: replay a whole ledger, from a node or from what an earlier audit kept, and stop at the first lie.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader, IsTerminal, Write},
    path::{Path, PathBuf},
};

use client::http::Client;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ledger::{
    audit::{Audit, Evidence, Line, Place},
    checkpoint::Checkpoint,
    note::Note,
    policy::PolicySet,
};
use serde::Serialize;

use super::{
    Connection,
    exit::{Exit, Failure},
    output::{self, Output},
};

/// Entries after which progress is written down.
const SAVE_EVERY: u64 = 50_000;
/// Where progress is written down, within the state folder.
const PROGRESS: &str = "audit.progress";

/// Replay a whole ledger and recompute everything that it says of itself; stop at the first lie.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// A node to be fed by (its authority's token is needed), or a folder that --keep filled.
    #[arg(long, value_name = "URL|DIR")]
    from: String,
    /// Folder for the audit's progress: it goes on from there, and leaves it there. It then holds what the ledger's state holds.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Keep what is fed in this folder, to be replayed offline.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// How an audit ended.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ended {
    ok: bool,
    /// Entries replayed.
    size: u64,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    lie: Option<Lie>,
}

/// The first lie.
#[derive(Serialize)]
struct Lie {
    at: &'static str,
    number: u64,
    what: &'static str,
    said: String,
    computed: String,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let mut connection = arguments.connection.resolve()?;
    let policies = PolicySet::parse(connection.policy_text()?.as_bytes())
        .map_err(|error| Failure::cannot_check(format!("policy: {error}")))?;
    let folder = Path::new(&arguments.from);
    let mut replay = Replay::begin(arguments.state, arguments.keep, policies)?;
    let lie = if folder.is_dir() {
        replay.replay_folder(folder)?
    } else {
        connection.urls = vec![arguments.from];
        let client = connection.client()?;
        replay.replay_node(&client, &connection).await?
    };
    let lie = match lie {
        Some(lie) => Some(lie),
        None => {
            replay.save()?;
            replay.audit.end().err()
        }
    };
    replay.bar.finish_and_clear();
    let ended = describe(&replay.audit, lie);
    output::one(output, &ended, human)?;
    Ok(if ended.ok { Exit::Ok } else { Exit::Failed })
}

/// An audit under way, and where it is written down.
struct Replay {
    audit: Audit,
    state: Option<PathBuf>,
    keep: Option<PathBuf>,
    saved: u64,
    bar: ProgressBar,
}

impl Replay {
    fn begin(
        state: Option<PathBuf>,
        keep: Option<PathBuf>,
        policies: PolicySet,
    ) -> Result<Replay, Failure> {
        for folder in state.iter().chain(&keep) {
            fs::create_dir_all(folder).map_err(|error| at(folder, &error))?;
        }
        let progress = state.as_ref().map(|folder| folder.join(PROGRESS));
        let audit = match progress.filter(|file| file.exists()) {
            None => Audit::begin(policies),
            Some(file) => {
                let data = fs::read(&file).map_err(|error| at(&file, &error))?;
                Audit::decode(&data, policies).map_err(|error| at(&file, &error))?
            }
        };
        let bar = ProgressBar::new(0);
        if !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) =
            ProgressStyle::with_template("{bar:30} {pos}/{len} entries, {per_sec}, {eta} left")
        {
            bar.set_style(style);
        }
        Ok(Replay {
            saved: audit.size().0,
            audit,
            state,
            keep,
            bar,
        })
    }

    /// Replays what nodes feed, up to what they published.
    async fn replay_node(
        &mut self,
        client: &Client,
        connection: &Connection,
    ) -> Result<Option<Evidence>, Failure> {
        let published = client.checkpoint().await.map_err(Failure::of_client)?;
        self.bar.set_length(size_of(&published).unwrap_or(0));
        loop {
            let from = self.audit.size().0;
            // A token lives five minutes and pages may be many: a fresh one each time.
            let page = client.audit_entries(&connection.token()?, from).await;
            let page = page.map_err(Failure::of_client)?;
            if page.is_empty() {
                return Ok(None);
            }
            if let Some(folder) = &self.keep {
                let file = folder.join(format!("entries-{from:020}.ndjson"));
                write_whole(&file, page.as_bytes())?;
            }
            for line in page.lines() {
                if let Some(lie) = self.take(line)? {
                    return Ok(Some(lie));
                }
            }
            if self.audit.size().0 == from {
                return Err(Failure::cannot_check("a page without entries"));
            }
            self.save_sometimes()?;
        }
    }

    /// Replays what an earlier audit kept, file by file in their order.
    fn replay_folder(&mut self, folder: &Path) -> Result<Option<Evidence>, Failure> {
        let listed = fs::read_dir(folder).map_err(|error| at(folder, &error))?;
        let mut files = Vec::new();
        for file in listed {
            let file = file.map_err(|error| at(folder, &error))?.path();
            if file
                .extension()
                .is_some_and(|extension| extension == "ndjson")
            {
                files.push(file);
            }
        }
        files.sort();
        for file in files {
            let lines = BufReader::new(File::open(&file).map_err(|error| at(&file, &error))?);
            for line in lines.lines() {
                let line = line.map_err(|error| at(&file, &error))?;
                if let Some(lie) = self.take(&line)? {
                    return Ok(Some(lie));
                }
            }
            self.save_sometimes()?;
        }
        Ok(None)
    }

    /// Takes a line, unless it was taken before: pages that were kept may overlap with what was replayed.
    fn take(&mut self, line: &str) -> Result<Option<Evidence>, Failure> {
        let line = Line::parse(line.as_bytes())
            .map_err(|refused| Failure::cannot_check(format!("a line that is none: {refused}")))?;
        let size = self.audit.size();
        let before = match &line {
            Line::Entry(fed) => size.holds(fed.index),
            Line::Checkpoint(note) => {
                let stated = Checkpoint::parse(note.text()).map_or(0, |of| of.size.0);
                stated <= self.audit.report().published
            }
        };
        if before {
            return Ok(None);
        }
        let lie = self.audit.take(&line).err();
        self.bar.set_position(self.audit.size().0);
        Ok(lie)
    }

    fn save_sometimes(&mut self) -> Result<(), Failure> {
        if self.audit.size().0 - self.saved >= SAVE_EVERY {
            self.save()?;
        }
        Ok(())
    }

    fn save(&mut self) -> Result<(), Failure> {
        if let Some(folder) = &self.state {
            write_whole(&folder.join(PROGRESS), &self.audit.encode())?;
            self.saved = self.audit.size().0;
        }
        Ok(())
    }
}

/// A file is there whole, or as it was before: a crash in between leaves the old one.
fn write_whole(file: &Path, data: &[u8]) -> Result<(), Failure> {
    let partly = file.with_extension("partly");
    let written = File::create(&partly).and_then(|mut to| {
        to.write_all(data)?;
        to.sync_all()
    });
    written
        .and_then(|()| fs::rename(&partly, file))
        .map_err(|error| at(file, &error))
}

fn at(file: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::cannot_check(format!("{}: {error}", file.display()))
}

fn size_of(note: &str) -> Option<u64> {
    let note = Note::parse(note.as_bytes()).ok()?;
    Some(Checkpoint::parse(note.text()).ok()?.size.0)
}

fn describe(audit: &Audit, lie: Option<Evidence>) -> Ended {
    let report = audit.report();
    Ended {
        ok: lie.is_none(),
        size: audit.size().0,
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
        lie: lie.map(|lie| {
            let (at, number) = match lie.at {
                Place::Entry(index) => ("entry", index.0),
                Place::Checkpoint(size) => ("checkpoint", size.0),
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

fn human(ended: &Ended) -> String {
    let mut lines = Vec::new();
    match &ended.lie {
        Some(lie) => lines.extend([
            format!("LIE at {} {}: {}", lie.at, lie.number, lie.what),
            format!("said       {}", lie.said),
            format!("computed   {}", lie.computed),
        ]),
        None => lines.push(format!(
            "TRUE so far: {} entries, {} of them published, say nothing that does not follow",
            ended.size, ended.published
        )),
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
    }
    lines.join("\n")
}
