// SPDX-License-Identifier: EUPL-1.2
//! `visto audit`: replay a whole ledger, from a node or from what an earlier audit kept, and stop at the first lie.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, Permissions},
    io::{BufRead, BufReader, IsTerminal, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
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
/// Empty pages that are taken before the end that was shown.
const EMPTY_PAGES_MAX: u32 = 8;
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
    /// Which they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unjudged_at: Vec<u64>,
    /// Erased entries that orders name, of which it cannot be told whether the signers might ask that.
    untold: u64,
    /// Why nothing can be told of the whole ledger: what was fed ends too early.
    #[serde(skip_serializing_if = "Option::is_none")]
    unfinished: Option<String>,
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
    let ended = describe(&replay.audit, lie, replay.newest);
    output::one(output, &ended, human)?;
    Ok(match (&ended.lie, &ended.unfinished) {
        (Some(_), _) => Exit::Failed,
        (None, Some(_)) => Exit::CannotCheck,
        (None, None) => Exit::Ok,
    })
}

/// An audit under way, and where it is written down.
struct Replay {
    audit: Audit,
    state: Option<PathBuf>,
    keep: Option<PathBuf>,
    saved: u64,
    /// Size of the checkpoint that the nodes showed before they fed anything.
    newest: u64,
    bar: ProgressBar,
}

impl Replay {
    fn begin(
        state: Option<PathBuf>,
        keep: Option<PathBuf>,
        policies: PolicySet,
    ) -> Result<Replay, Failure> {
        for folder in state.iter().chain(&keep) {
            // What is kept holds what only the authority may read.
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|error| at(folder, &error))?;
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
            newest: 0,
            bar,
        })
    }

    /// Replays what nodes feed, up to what they published.
    async fn replay_node(
        &mut self,
        client: &Client,
        connection: &Connection,
    ) -> Result<Option<Evidence>, Failure> {
        let newest = newest(client, self.audit.policies()).await?;
        self.newest = size_of(&newest);
        self.bar.set_length(self.newest);
        let mut empty = 0;
        loop {
            let from = self.audit.size().0;
            // A token lives five minutes and pages may be many: a fresh one each time.
            let page = client.audit_entries(&connection.token()?, from).await;
            let page = page.map_err(Failure::of_client)?;
            if page.is_empty() {
                let lie = self.take_last(client).await?;
                // More was published meanwhile; a node that keeps that back is not asked for ever.
                if lie.is_none() && self.newest > from && empty < EMPTY_PAGES_MAX {
                    empty += 1;
                    continue;
                }
                return Ok(lie);
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

    /// The checkpoint of what was fed, where it was published only after the page was made.
    async fn take_last(&mut self, client: &Client) -> Result<Option<Evidence>, Failure> {
        let size = self.audit.size().0;
        if size == 0 || self.audit.report().published == size {
            return Ok(None);
        }
        let last = newest(client, self.audit.policies()).await?;
        self.newest = self.newest.max(size_of(&last));
        if size_of(&last) != size {
            return Ok(None);
        }
        let line = Line::Checkpoint(last).to_json();
        if let Some(folder) = &self.keep {
            let file = folder.join(format!("entries-{size:020}.ndjson"));
            write_whole(&file, format!("{line}\n").as_bytes())?;
        }
        self.take(&line)
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
                // One that is none was never taken: the audit stops at it.
                Checkpoint::parse(note.text())
                    .is_ok_and(|of| of.size.0 <= self.audit.report().published)
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
        to.set_permissions(Permissions::from_mode(0o600))?;
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

/// The checkpoint that the nodes show now, believed under the policy file.
async fn newest(client: &Client, policies: &PolicySet) -> Result<Note, Failure> {
    let shown = client.checkpoint().await.map_err(Failure::of_client)?;
    let bad = |error: &dyn std::fmt::Display| {
        Failure::cannot_check(format!("the newest checkpoint: {error}"))
    };
    let note = Note::parse(shown.as_bytes()).map_err(|error| bad(&error))?;
    policies.verify(&note).map_err(|error| bad(&error))?;
    Ok(note)
}

fn size_of(note: &Note) -> u64 {
    Checkpoint::parse(note.text()).map_or(0, |of| of.size.0)
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
    } else {
        None
    }
}

fn describe(audit: &Audit, lie: Option<Evidence>, newest: u64) -> Ended {
    let report = audit.report();
    let unfinished = unfinished(audit, newest);
    Ended {
        ok: lie.is_none() && unfinished.is_none(),
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
        unjudged_at: report.unjudged_at.clone(),
        untold: report.untold,
        unfinished,
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
    match (&ended.lie, &ended.unfinished) {
        (Some(lie), _) => lines.extend([
            format!("LIE at {} {}: {}", lie.at, lie.number, lie.what),
            format!("said       {}", lie.said),
            format!("computed   {}", lie.computed),
        ]),
        (None, Some(why)) => lines.push(format!("UNFINISHED: {why}")),
        (None, None) => lines.push(format!(
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
        let at: Vec<String> = ended.unjudged_at.iter().map(u64::to_string).collect();
        if !at.is_empty() {
            lines.push(format!("unjudged   {}", at.join(", ")));
        }
    }
    if ended.untold > 0 {
        lines.push(format!(
            "NOT TOLD: of {} erased entries whether those who ordered it might ask that; the bodies that would tell are gone",
            ended.untold
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ledger::{
        key::PublicKey,
        note::{KeyName, SignatureType, VerifierKey},
    };

    use super::*;

    /// A feed that ends before anything was published proves nothing, and does not pass for a proof.
    #[test]
    fn a_feed_that_ends_too_early_is_no_proof() {
        let folder = tempfile::tempdir().unwrap();
        let (state, fed) = (folder.path().join("state"), folder.path().join("fed"));
        fs::create_dir(&fed).unwrap();
        let mut point = [0x66; 32];
        point[0] = 0x58;
        let key = VerifierKey::new(
            KeyName::parse("a.example/0").unwrap(),
            SignatureType::Ed25519,
            PublicKey::from_bytes(point).unwrap(),
        );
        let policy = format!("log {key}\nquorum none\n");
        let policies = PolicySet::parse(policy.as_bytes()).unwrap();
        let mut replay = Replay::begin(Some(state.clone()), None, policies).unwrap();
        fs::write(fed.join("entries-0.ndjson"), "").unwrap();
        assert_eq!(replay.replay_folder(&fed).unwrap(), None);
        let mut ended = describe(&replay.audit, None, replay.newest);
        assert!(!ended.ok);
        assert_eq!(
            human(&ended).lines().next(),
            Some("UNFINISHED: nothing was fed")
        );
        assert!(!human(&ended).contains("NOT TOLD"));
        ended.untold = 2;
        assert!(human(&ended).contains("NOT TOLD: of 2 erased entries"));
        // What is put down is for nobody else's eyes.
        replay.save().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&state), mode(&state.join(PROGRESS))), (0o700, 0o600));
        // A checkpoint that is none is judged, not passed over.
        let none = "text\n\n\u{2014} a.example AAAAAAAA\n";
        let line = Line::Checkpoint(Note::parse(none.as_bytes()).unwrap());
        let lie = replay.take(&line.to_json()).unwrap().unwrap();
        assert_eq!(lie.what, "a checkpoint");
    }
}
