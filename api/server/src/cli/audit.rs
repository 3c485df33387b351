// SPDX-License-Identifier: EUPL-1.2
//! `visto audit`: replay a ledger, from a node or from what an earlier audit kept, and stop at the first lie.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io::{self, BufRead, BufReader, IsTerminal, Read, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use client::http::Client;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ledger::{
    audit::{Audit, Evidence, Line},
    checkpoint::Checkpoint,
    note::Note,
    policy::PolicySet,
};

use super::{
    Connection,
    exit::{Exit, Failure},
    output::{self, Output},
};

mod begin;
mod ended;

use ended::{describe, human};

/// Entries after which progress is written down.
const SAVE_EVERY: u64 = 50_000;
/// Empty pages that are taken before the end that was shown.
const EMPTY_PAGES_MAX: u32 = 8;
/// Where progress is written down, within the state folder.
const PROGRESS: &str = "audit.progress";

/// Replay a ledger and recompute everything that it says of itself; stop at the first lie.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// A node to be fed by (its authority's token is needed), or a folder that --keep filled.
    #[arg(long, value_name = "URL|DIR")]
    from: String,
    /// Where a new audit begins. At the newest state root the state is what the root proves; what admission reads beyond it is named, and how the entries before were judged is not told.
    #[arg(long, value_name = "PLACE", default_value = "genesis", value_enum)]
    begin_at: BeginAt,
    /// Folder for the audit's progress: it goes on from there, and leaves it there. It then holds what the ledger's state holds.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Keep what is fed in this folder, to be replayed offline.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// Where an audit begins.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum BeginAt {
    /// Entry 0: everything is recomputed.
    Genesis,
    /// The newest published state root.
    StateRoot,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    let mut connection = arguments.connection.resolve()?;
    let policies = PolicySet::parse(connection.policy_text()?.as_bytes())
        .map_err(|error| Failure::cannot_check(format!("policy: {error}")))?;
    let folder = Path::new(&arguments.from);
    let mut replay = Replay::begin(arguments.state, arguments.keep, policies)?;
    let at_root = arguments.begin_at == BeginAt::StateRoot && replay.audit.size().0 == 0;
    let lie = if folder.is_dir() {
        let lie = if at_root {
            replay.begin_from_folder(folder)?
        } else {
            None
        };
        match lie {
            None => replay.replay_folder(folder)?,
            lie => lie,
        }
    } else {
        connection.urls = vec![arguments.from];
        let client = connection.client()?;
        let lie = if at_root {
            replay.begin_from_node(&client, &connection).await?
        } else {
            None
        };
        match lie {
            None => replay.replay_node(&client, &connection).await?,
            lie => lie,
        }
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
    Ok(ended.exit())
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
                if let Some(lie) = self.take(line.as_bytes())? {
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
        self.take(line.as_bytes())
    }

    /// Replays what an earlier audit kept, file by file in their order.
    fn replay_folder(&mut self, folder: &Path) -> Result<Option<Evidence>, Failure> {
        let listed = fs::read_dir(folder).map_err(|error| at(folder, &error))?;
        let mut files = Vec::new();
        for file in listed {
            let file = file.map_err(|error| at(folder, &error))?.path();
            let lines = file
                .extension()
                .is_some_and(|extension| extension == "ndjson");
            if lines && !file.ends_with(begin::START) {
                files.push(file);
            }
        }
        files.sort();
        self.begins_there(folder, &files)?;
        for file in files {
            let mut fed = BufReader::new(File::open(&file).map_err(|error| at(&file, &error))?);
            while let Some(line) = next_line(&mut fed).map_err(|error| at(&file, &error))? {
                if let Some(lie) = self.take(&line)? {
                    return Ok(Some(lie));
                }
            }
            self.save_sometimes()?;
        }
        Ok(None)
    }

    /// Takes a line, unless it was taken before: pages that were kept may overlap with what was replayed.
    fn take(&mut self, line: &[u8]) -> Result<Option<Evidence>, Failure> {
        let line = Line::parse(line)
            .map_err(|why| Failure::cannot_check(format!("a line that is none: {why}")))?;
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

/// The next line, without its break. Memory holds one line, and no line is longer than a ledger's longest.
fn next_line(from: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let longest = Line::BYTES_MAX as u64;
    from.take(longest + 1).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.pop_if(|last| *last == b'\n').is_none() && line.len() as u64 > longest {
        let why = format!("a line of more than {longest} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(Some(line))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ledger::{
        key::PublicKey,
        note::{KeyName, SignatureType, VerifierKey},
    };

    use super::{
        ended::{RETIRED, Retired},
        *,
    };

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
        assert_eq!(ended.exit(), Exit::CannotCheck);
        ended.untold = 2;
        assert!(human(&ended).contains("NOT TOLD: of 2 erased entries"));
        // What a cut took is neither true nor a lie.
        ended.unfinished = None;
        ended.retired = Some(Retired {
            first: 7,
            count: 3,
            until: "2026-01-01T00:00:00.000Z".into(),
            state_roots: 2,
            not_told: RETIRED,
        });
        assert_eq!(ended.exit(), Exit::CannotCheck);
        let told = human(&ended);
        assert!(
            told.starts_with("CANNOT BE REPLAYED FROM HERE: what was cut of before 2026"),
            "{told}"
        );
        assert!(told.contains("NOT TOLD of 2 state roots") && told.contains("--begin-at"));
        // A line without an end is not read to its end.
        let long = fed.join("entries-1.ndjson");
        let file = File::create(&long).unwrap();
        file.set_len(Line::BYTES_MAX as u64 + 2).unwrap();
        let why = replay.replay_folder(&fed).unwrap_err().text;
        assert!(
            why.contains("entries-1.ndjson: a line of more than"),
            "{why}"
        );
        fs::remove_file(long).unwrap();
        // What is put down is for nobody else's eyes.
        replay.save().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&state), mode(&state.join(PROGRESS))), (0o700, 0o600));
        // A checkpoint that is none is judged, not passed over.
        let none = "text\n\n\u{2014} a.example AAAAAAAA\n";
        let line = Line::Checkpoint(Note::parse(none.as_bytes()).unwrap());
        let lie = replay.take(line.to_json().as_bytes()).unwrap().unwrap();
        assert_eq!(lie.what, "a checkpoint");
    }
}
