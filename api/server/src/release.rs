// SPDX-License-Identifier: EUPL-1.2
//! The reader is on the record too: before personal data leaves, a `read` entry is committed.
//!
//! [`Recorded`] cannot be made any other way, and every function that builds a personal answer ([`crate::present`]) demands one: a route
//! that forgets to record does not compile. An answer shows the state before its own `read` entry, but nothing that was ordered erased before
//! that entry, be this node ever so far behind: each [`Release`] says what it rests on, and there is no [`Recorded`] where some of it went.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use cluster::{Failure, Node, Outcome, Until, View};
use ledger::{
    body::{
        Content, Disclosed,
        system::{Disclosure, Read, Reader as ReaderValue},
    },
    disclosure, erasure,
    hash::Hash,
    json::Value,
    number::{EntryIndex, TreeSize},
};
use parking_lot::Mutex;

use crate::{app::blocking, auth::Reader, problem::Fault};

/// A poll that asks the same again within this time shares the `read` entry of the first, as long as it releases no more than that one tells.
const POLL: Duration = Duration::from_secs(60);
/// Most persons that one `read` entry names; an answer about more has several.
pub const READ_SUBJECTS_MAX: usize = 200;
/// Most polls remembered; beyond that every answer has a `read` entry of its own.
const POLLS_MAX: usize = 16_384;

/// Entries that are looked at again at a time.
const CHUNK: usize = 64;

/// Proof that a `read` entry for this answer is committed, and that all that the answer rests on stood until then. [`Recorder`] alone makes
/// one.
pub struct Recorded(View);

impl Recorded {
    /// A view that holds the `read` entry: for what is read only now.
    pub fn view(&self) -> &View {
        &self.0
    }

    /// Looks the answer through again in a view that holds its `read` entry. Nobody is shown a part: whoever asks again gets what is left.
    async fn of(release: &Release, view: View) -> Result<Recorded, Fault> {
        let (before, now) = (release.view.clone(), view.clone());
        let entries = release.rests_on.clone();
        let standing = blocking(move || {
            // Without a new order nothing is erased that was not before.
            if erasure::orders_count(&now)? == erasure::orders_count(&before)? {
                return Ok(true);
            }
            let new = |order: &EntryIndex| !before.size().holds(*order);
            for some in entries.chunks(CHUNK) {
                let mut entries = now.entries(some)?.into_iter();
                if entries.any(|entry| entry.is_none_or(|entry| entry.erased.iter().any(new))) {
                    return Ok(false);
                }
            }
            Ok(true)
        });
        if standing.await? {
            Ok(Recorded(view))
        } else {
            Err(Fault::Overtaken)
        }
    }
}

/// What is about to be released.
#[derive(Clone)]
pub struct Release {
    /// Route, as a template.
    pub route: &'static str,
    /// What was asked: the same reader asking the same within a minute, for no more entries, is a poll.
    pub question: Hash,
    /// How many entries are released.
    pub count: u64,
    /// Tree size that the answer reflects.
    pub tree_size: TreeSize,
    /// Persons that were asked for, and those whose data is released; their lists will show the reading.
    pub subjects: Vec<Hash>,
    /// What the answer was chosen from.
    pub view: View,
    /// The entries there whose bodies the answer tells of; none where they are read only once the reading is on record.
    pub rests_on: Vec<EntryIndex>,
}

/// An export that is about to be handed out.
#[derive(Clone, Copy, Debug)]
pub struct Exported<'a> {
    /// SHA-256 of `export.json`.
    pub digest: &'a Hash,
    /// On which ground, and as what the one who asked got it; nothing personal, it stands in clear.
    pub ground: &'a str,
    /// Whose lists are in it.
    pub persons: &'a [Hash],
}

/// What the `read` entry tells that polls share.
#[derive(Clone, Copy)]
struct Shared {
    committed: Instant,
    count: u64,
}

impl Shared {
    fn is_young(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.committed) < POLL
    }
}

/// Writes `read` entries.
pub struct Recorder {
    polls: Mutex<HashMap<Hash, Shared>>,
    deadline: Duration,
}

impl Recorder {
    /// A recorder that waits up to `deadline` for an entry to be committed.
    pub fn new(deadline: Duration) -> Recorder {
        Recorder {
            polls: Mutex::new(HashMap::new()),
            deadline,
        }
    }

    /// Commits the `read` entry of an answer, unless the same poll did within the last minute and released as much. Beyond [`READ_SUBJECTS_MAX`] persons there
    /// are several entries, submitted together, and all are committed before anything leaves.
    ///
    /// A crash after a commit and before the answer leaves a reading, or a part of one, on record that nobody got: the safe side.
    ///
    /// # Errors
    /// The entry is not committed, or that cannot be told, or something that the answer rests on is gone: nothing may be released.
    pub async fn record(
        &self,
        node: &Node,
        reader: &Reader,
        release: &Release,
    ) -> Result<Recorded, Fault> {
        let poll = poll(reader, release);
        let now = Instant::now();
        let shared = self.polls.lock().get(&poll).copied();
        if shared.is_some_and(|shared| shared.is_young(now) && release.count <= shared.count) {
            return Recorded::of(release, node.view()?).await;
        }
        let entries = chunks(&release.subjects)
            .into_iter()
            .map(|subjects| content(reader, release, subjects, None))
            .collect::<Result<_, _>>()?;
        let size = self.commit(node, entries).await?;
        let view = node.view_at_least(size, self.deadline).await?;
        let shared = Shared {
            committed: now,
            count: release.count,
        };
        self.remember(poll, shared, now);
        Recorded::of(release, view).await
    }

    /// Commits the `read` entries and the `disclosure` entries of an export: who took it, and that it was handed out, with the digest that
    /// tells this export from any other. Each export is one of its own, however often it is asked for.
    ///
    /// All are submitted together, and committed before anything leaves. A crash before the answer, or one entry of them that fails, leaves the
    /// others on record, a reading or a handing out that nobody got: the safe side.
    ///
    /// # Errors
    /// As [`Recorder::record`].
    pub async fn record_export(
        &self,
        node: &Node,
        reader: &Reader,
        release: &Release,
        export: &Exported<'_>,
    ) -> Result<Recorded, Fault> {
        let read = chunks(&release.subjects)
            .into_iter()
            .map(|subjects| content(reader, release, subjects, Some(*export.digest)));
        let handed_out = export
            .persons
            .chunks(READ_SUBJECTS_MAX)
            .map(|persons| handed_out(reader, export, persons));
        let entries = read.chain(handed_out).collect::<Result<_, _>>()?;
        let size = self.commit(node, entries).await?;
        let view = node.view_at_least(size, self.deadline).await?;
        Recorded::of(release, view).await
    }

    /// Commits entries together, in one commit where Raft takes them so. The size of a tree that holds them all.
    async fn commit(
        &self,
        node: &Node,
        entries: Vec<(Content, Vec<String>)>,
    ) -> Result<TreeSize, Fault> {
        let count = entries.len();
        let outcomes = node
            .write_all_own(entries, Until::Committed, self.deadline)
            .await;
        if outcomes.len() != count {
            return Err(Fault::internal("an entry of its own has no outcome"));
        }
        outcomes
            .into_iter()
            .try_fold(TreeSize::EMPTY, |size, outcome| {
                Ok(size.max(committed(outcome)?))
            })
    }

    fn remember(&self, poll: Hash, shared: Shared, now: Instant) {
        let mut polls = self.polls.lock();
        if polls.len() >= POLLS_MAX {
            polls.retain(|_, shared| shared.is_young(now));
        }
        if polls.len() < POLLS_MAX {
            polls.insert(poll, shared);
        }
    }
}

/// The persons by entry; an answer about nobody in particular has an entry too.
fn chunks(subjects: &[Hash]) -> Vec<&[Hash]> {
    if subjects.is_empty() {
        vec![subjects]
    } else {
        subjects.chunks(READ_SUBJECTS_MAX).collect()
    }
}

/// Size of the tree that ends with the entry.
fn committed(outcome: Outcome) -> Result<TreeSize, Fault> {
    match outcome {
        Outcome::Accepted(accepted) => Ok(accepted.index.size()),
        Outcome::Refused(refused) => Err(Fault::internal(format_args!(
            "a read entry was refused: {}",
            refused.refusal
        ))),
        Outcome::Failed(failure) => Err(failure.into()),
        // Nothing was asked to be written, so to the reader this is a failure to answer, not an unknown outcome.
        Outcome::Unknown => Err(Fault::NoQuorum),
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Fault {
        match failure {
            Failure::NoQuorum => Fault::NoQuorum,
            Failure::Overloaded => Fault::Overloaded,
            Failure::ShuttingDown => Fault::ShuttingDown,
        }
    }
}

/// Who asks what: all that the `read` entry says of it but count and size.
fn poll(reader: &Reader, release: &Release) -> Hash {
    let texts = [
        reader.institution().as_str(),
        reader.person(),
        reader.role().as_str(),
        reader.purpose(),
        reader.case().unwrap_or_default(),
        release.route,
    ];
    let mut hashes: Vec<Hash> = texts
        .iter()
        .map(|text| Hash::of(&[text.as_bytes()]))
        .collect();
    hashes.push(release.question);
    // A poll that comes to show another person's data is a reading of its own.
    hashes.extend(&release.subjects);
    let parts: Vec<&[u8]> = hashes
        .iter()
        .map(|hash| hash.as_bytes().as_slice())
        .collect();
    Hash::of(&parts)
}

fn content(
    reader: &Reader,
    release: &Release,
    named: &[Hash],
    export_digest: Option<Hash>,
) -> Result<(Content, Vec<String>), Fault> {
    let mut disclosures = Vec::new();
    let mut disclose = |value: &Value<'_>| -> Result<Hash, Fault> {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(Fault::internal)?;
        let disclosure = disclosure::make(&salt, value);
        let digest = disclosure::digest(&disclosure);
        disclosures.push(disclosure);
        Ok(digest)
    };
    let person = ReaderValue {
        person: reader.person().to_owned(),
        role: reader.role().as_str().to_owned(),
    };
    let institution = reader.institution().clone();
    let digest = disclose(&Value::object([
        ("person", Value::text(person.person.as_str())),
        ("role", Value::text(person.role.as_str())),
    ]))?;
    let reader_disclosed = Disclosed {
        digest,
        value: Some(person),
    };
    // It would still be good for minutes in the hands of whoever reads this entry: until then it stays closed, see `access`.
    let token = Disclosed {
        digest: disclose(&Value::text(reader.token()))?,
        value: Some(reader.token().to_owned()),
    };
    let case_ref = match reader.case() {
        Some(case) => Some(Disclosed {
            digest: disclose(&Value::text(case))?,
            value: Some(case.to_owned()),
        }),
        None => None,
    };
    let (subjects, told) = seal_all(named)?;
    disclosures.extend(told);
    let read = Read {
        institution,
        reader: reader_disclosed,
        token: Some(token),
        purpose: reader.purpose().to_owned(),
        case_ref,
        route: release.route.to_owned(),
        count: release.count,
        tree_size: release.tree_size.0,
        subjects,
        export_digest,
    };
    Ok((Content::Read(read), disclosures))
}

fn handed_out(
    reader: &Reader,
    export: &Exported<'_>,
    persons: &[Hash],
) -> Result<(Content, Vec<String>), Fault> {
    let (subjects, disclosures) = seal_all(persons)?;
    let disclosure = Disclosure {
        institution: reader.institution().clone(),
        export_digest: *export.digest,
        subjects,
        ground: export.ground.to_owned(),
    };
    Ok((Content::Disclosure(disclosure), disclosures))
}

/// Refs as an entry names them, each under a salt of its own.
///
/// # Errors
/// The system has no randomness to give.
pub fn seal_all(persons: &[Hash]) -> Result<(Vec<Disclosed<Hash>>, Vec<String>), Fault> {
    let mut sealed = Vec::with_capacity(persons.len());
    for person in persons {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(Fault::internal)?;
        sealed.push(Disclosed::seal(&salt, *person));
    }
    Ok(sealed.into_iter().unzip())
}
