// SPDX-License-Identifier: EUPL-1.2
//! Big ledgers, fast: fills the folders of nodes that do not run. For `tests/loader` and this crate's tests alone.
//!
//! Entries go the way that they go on every node from *committed* on: verified, judged and applied in raft_entries ([`Machine`]), folded, their
//! state roots stated by the first node, published under the cosignatures of all. Left out are HTTP, Raft and what comes before it, and the
//! Raft log: at its end each node has what a raft_snapshot of the built state left there, installed as any other, and a log that is purged
//! through the last raft_entry in it. So nodes that are started there find nothing that they could not have come to by themselves.
//!
//! The built folder and those of all nodes share table and blob files by hard links: however many nodes, the state is on the disk once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ledger::admission::LedgerInfo;
use ledger::body::{Body, Common, Content, system::StateRoot};
use ledger::entry::SubmittedEntry;
use ledger::id::{EntryId, NodeNumber};
use ledger::note::{Note, SignatureLine};
use ledger::state::registry;
use ledger::{cosignature, state_map};
use openraft::storage::{RaftLogStorage, RaftStateMachine};
use openraft::{
    CommittedLeaderId, EntryPayload, LogId, Membership, RaftSnapshotBuilder, StorageError, Vote,
};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind};
use crate::face::{NodeKeys, Tuning};
use crate::node::open::Founding;
use crate::publish::quorum::Names;
use crate::raft_types::{Batch, BatchItem, ItemResult, RaftEntry, RaftLogId};
use crate::store::{self, db::Resources, fatal::Fatal, fold::Sizes, log::Log, snapshot};
use crate::store::{machine::Machine, verify::VerifyPool};

/// The term in which all of it was committed, led by the first node.
const TERM: u64 = 1;

/// A node of genesis whose folder is to be filled.
pub struct Member {
    /// Its number.
    pub node: NodeNumber,
    /// Its data folder; nothing is in it yet.
    pub data: PathBuf,
    /// Its keys.
    pub keys: NodeKeys,
}

/// A ledger that is being built.
pub struct Loader {
    dir: PathBuf,
    ledger: LedgerInfo,
    names: Names,
    members: Vec<Member>,
    machine: Machine,
    tuning: Tuning,
    /// Raft index of the next raft_entry.
    next: u64,
    fatal: Fatal,
}

impl Loader {
    /// Begins a ledger with its genesis in a fresh folder `dir`, on the disk where the members' folders are. The members are all nodes of the
    /// genesis, in the order of their numbers.
    ///
    /// # Errors
    /// The genesis is not valid, or the folder cannot be written.
    pub async fn create(
        dir: &Path,
        ledger: &str,
        genesis: SubmittedEntry,
        members: Vec<Member>,
    ) -> Result<Loader, Error> {
        let founding = Founding::read(&genesis, ledger)?;
        let ledger = LedgerInfo {
            name: ledger.into(),
            shard: founding.content.shard,
        };
        let names = Names::new(&ledger.name, ledger.shard)
            .ok_or_else(|| config("the ledger's name cannot sign"))?;
        let first = members
            .first()
            .map(|member| member.node.0)
            .ok_or_else(|| config("a ledger without nodes"))?;
        let (tuning, fatal) = (Tuning::default(), Fatal::new());
        let (_log, machine) = open(dir, first, &ledger, &tuning, &fatal)?;
        let voters: BTreeSet<u64> = members.iter().map(|member| member.node.0).collect();
        let mut loader = Loader {
            dir: dir.into(),
            ledger,
            names,
            members,
            machine,
            tuning,
            next: 0,
            fatal,
        };
        let voters = EntryPayload::Membership(Membership::new(vec![voters], None));
        loader.apply(voters).await?;
        let item = BatchItem::new(Bytes::from(genesis.encode()), founding.salt(), None);
        let founded = Batch::new(founding.stamp_ms(), vec![item]);
        loader.apply(EntryPayload::Normal(founded)).await?;
        Ok(loader)
    }

    /// Appends entries, in one raft_entry, and publishes a checkpoint that covers them.
    ///
    /// # Errors
    /// One is refused: then none of a later call counts either.
    pub async fn append(&mut self, entries: &[SubmittedEntry]) -> Result<(), Error> {
        let mut items = Vec::with_capacity(entries.len());
        for entry in entries {
            let mut salt = [0; 32];
            fill(&mut salt)?;
            items.push(BatchItem::new(Bytes::from(entry.encode()), salt, None));
        }
        self.apply(EntryPayload::Normal(Batch::new(now_ms(), items)))
            .await?;
        self.publish().await
    }

    /// Number of entries so far.
    pub fn size(&self) -> u64 {
        self.machine.applied().borrow().tree_size
    }

    /// Folds all that is applied, and states the root.
    ///
    /// # Errors
    /// The store's own.
    pub async fn fold(&mut self) -> Result<(), Error> {
        self.apply(EntryPayload::Normal(Batch::of_fold())).await?;
        let sizes = Sizes {
            pass_keys: self.tuning.fold_pass_keys,
            step_keys: self.tuning.fold_pass_keys,
        };
        self.machine.fold(sizes, CancellationToken::new()).await?;
        let done = self.machine.folds().borrow().done;
        let view = self.machine.view()?;
        let last = registry::state_root(&view)?;
        let root = StateRoot {
            size: done.size,
            version: done.version,
            root: ledger::hash::Hash(done.root),
            previous: last.map_or(state_map::EMPTY, |last| last.root),
        };
        let member = self
            .members
            .first()
            .ok_or_else(|| config("a ledger without nodes"))?;
        let record = registry::node(&view, member.node)?
            .ok_or_else(|| config("the genesis does not name the first node"))?;
        let (now_ms, mut random) = (now_ms(), [0; 10]);
        fill(&mut random)?;
        let body = Body {
            common: Common {
                ledger: self.ledger.name.clone(),
                id: EntryId::from_parts(now_ms, &random),
                institution: record.institution,
                occurred_at_ms: now_ms,
                refers_to: None,
                stream: None,
            },
            content: Content::StateRoot(root),
        };
        let signed = SubmittedEntry::sign(body.to_json().as_bytes(), &[&member.keys.node], vec![]);
        let signed = signed.map_err(|refused| {
            Error::with_source(
                ErrorKind::Config,
                "the state root cannot be signed",
                refused,
            )
        })?;
        drop(view);
        self.append(&[signed]).await
    }

    /// Folds the rest, and gives each member its folder. The folder it was built in is removed. Returns the number of entries.
    ///
    /// # Errors
    /// The store's own.
    pub async fn finish(mut self) -> Result<u64, Error> {
        self.fold().await?;
        // As it is some time after the last write, and not in the midst of compactions that the nodes would each do again.
        let (machine, size) = (self.machine.clone(), self.size());
        machine.flush_beside().await?;
        let settled = tokio::task::spawn_blocking(move || {
            let db = machine.state();
            db.raw()
                .wait_for_compact(&rocksdb::WaitForCompactOptions::default())
                .map_err(|error| Error::io("wait for compactions", error))
        });
        joined(settled.await)??;
        let mut builder = self.machine.get_snapshot_builder().await;
        let built = builder.build_snapshot().await.map_err(storage)?;
        let manifest = built
            .snapshot
            .manifest()
            .ok_or_else(|| Error::corrupt("the snapshot has no manifest"))?;
        let first = self.members.first().map_or(0, |member| member.node.0);
        for member in &self.members {
            let (mut log, mut machine) = open(
                &member.data,
                member.node.0,
                &self.ledger,
                &self.tuning,
                &self.fatal,
            )?;
            let received = machine.begin_receiving_snapshot().await.map_err(storage)?;
            std::fs::remove_dir(received.path())
                .map_err(|error| Error::io("make place for a snapshot", error))?;
            snapshot::clone_files(built.snapshot.path(), received.path())?;
            received.finish((*manifest).clone())?;
            machine
                .install_snapshot(&built.meta, received)
                .await
                .map_err(storage)?;
            // In this order: a log that ends somewhere was written by somebody who was voted for.
            log.save_vote(&Vote::new_committed(TERM, first))
                .await
                .map_err(storage)?;
            if let Some(last) = built.meta.last_log_id {
                log.purge(last).await.map_err(storage)?;
            }
        }
        let Loader { dir, machine, .. } = self;
        drop((built, machine));
        std::fs::remove_dir_all(&dir)
            .map_err(|error| Error::io(format!("remove {}", dir.display()), error))?;
        Ok(size)
    }

    /// Publishes the tree as it is, cosigned by all members.
    async fn publish(&mut self) -> Result<(), Error> {
        let view = self.machine.view()?;
        let text = self.names.checkpoint_text(view.size(), view.root());
        drop(view);
        let log_key = self
            .members
            .first()
            .and_then(|member| member.keys.log.first());
        let log_key = log_key.ok_or_else(|| config("no log key"))?;
        let mut lines = vec![SignatureLine::sign(&self.names.origin, log_key, &text)];
        for member in &self.members {
            let name = self.names.node(member.node);
            let name = name.ok_or_else(|| config("the ledger's name cannot sign"))?;
            let time_s = now_ms() / 1000;
            lines.push(cosignature::cosign(
                &name,
                &member.keys.cosign,
                &text,
                time_s,
            ));
        }
        let note = Note::new(text, lines)
            .map_err(|error| Error::with_source(ErrorKind::Config, "sign a checkpoint", error))?;
        self.apply(EntryPayload::Normal(Batch::of_note(note.to_string())))
            .await
    }

    /// As a node applies what is committed.
    async fn apply(
        &mut self,
        payload: EntryPayload<crate::raft_types::TypeConfig>,
    ) -> Result<(), Error> {
        let leader = self.members.first().map_or(0, |member| member.node.0);
        let log_id: RaftLogId = LogId::new(CommittedLeaderId::new(TERM, leader), self.next);
        self.next += 1;
        if let EntryPayload::Normal(batch) = &payload {
            batch.mark_committed();
        }
        let entry = RaftEntry { log_id, payload };
        let results = RaftStateMachine::apply(&mut self.machine, [entry])
            .await
            .map_err(storage)?;
        for result in results.into_iter().flat_map(|result| result.0) {
            match result {
                ItemResult::Accepted { again: false, .. } => {}
                ItemResult::Accepted { .. } => return Err(config("an entry came twice")),
                ItemResult::Refused { code, pointer } => {
                    let why = format!("an entry was refused: {code} {pointer}");
                    return Err(Error::new(ErrorKind::Config, why));
                }
            }
        }
        Ok(())
    }
}

fn open(
    dir: &Path,
    node: u64,
    ledger: &LedgerInfo,
    tuning: &Tuning,
    fatal: &Fatal,
) -> Result<(Log, Machine), Error> {
    let options = store::Options {
        resources: Resources {
            cache_bytes: tuning.cache_bytes,
            write_buffer_bytes: tuning.write_buffer_bytes,
            background_bytes_per_s: None,
        },
        tail_bytes: tuning.tail_bytes,
        scrub_bytes: 0,
    };
    let verifier = VerifyPool::new(&ledger.name);
    store::open(dir, node, ledger.clone(), &options, fatal, &verifier)
}

fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn fill(random: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(random).map_err(|error| Error::with_source(ErrorKind::Io, "randomness", error))
}

fn config(what: &str) -> Error {
    Error::new(ErrorKind::Config, what)
}

fn storage(error: StorageError<u64>) -> Error {
    Error::with_source(ErrorKind::Io, "the store", error)
}

fn joined<T>(result: Result<T, tokio::task::JoinError>) -> Result<T, Error> {
    result.map_err(|error| Error::with_source(ErrorKind::Io, "a task was cut short", error))
}
