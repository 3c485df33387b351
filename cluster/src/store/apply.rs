// SPDX-License-Identifier: EUPL-1.2
//! What a committed raft_entry does to the state. Judging is the ledger's; this file gives it the state, and writes what it says.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use ledger::admission::{self, LedgerInfo, Stamp};
use ledger::body::system::StateRoot;
use ledger::body::{Content, EntryType};
use ledger::fold::Change;
use ledger::merkle::{self, Frontier};
use ledger::number::{EntryIndex, TreeSize};
use ledger::refusal::{Refusal, Refused};
use ledger::state::{StateKey, registry};
use openraft::{EntryPayload, StoredMembership};
use rocksdb::WriteBatch;

use super::applied::Applied;
use super::db::{Db, encode};
use super::fold::{Done, Folds, Order, Stated};
use super::keys::{self, state_cf, state_meta};
use super::known::Known;
use super::packing::Packer;
use super::receipts::Said;
use super::rows::Pending;
use super::state_dir::read_applied;
use super::tiles::Edge;
use super::verify::VerifyPool;
use super::view::{AppliedState, DbState, db_nodes, read_entry};
use crate::error::{Error, ErrorKind};
use crate::publish::quorum::{Names, Quorum, stated_size};
use crate::raft_types::{Batch, BatchResult, ItemResult, RaftEntry, Word};

/// A write is handed to RocksDB when it has grown to this, at the end of a raft_entry: a long run of them must not all be held in memory.
const WRITE_BYTES: usize = 8 * 1024 * 1024;

/// The state and where it stands. One at a time: [`super::machine`] holds the lock.
pub(crate) struct Apply {
    db: Arc<Db>,
    applied: Applied,
    frontier: Frontier,
    /// Where the tree is kept.
    edge: Edge,
    packer: Packer,
    /// The fold last ordered.
    ordered: Option<Order>,
}

impl Apply {
    pub(crate) fn open(db: Arc<Db>) -> Result<Apply, Error> {
        let applied = read_applied(&db)?;
        let size = TreeSize(applied.tree_size);
        let frontier = Frontier::read(size, &db_nodes(&db))?;
        let edge = Edge::read(size, &db)?;
        let ordered = Folds::read(&*db)?.ordered;
        Ok(Apply {
            db,
            applied,
            frontier,
            edge,
            packer: Packer::new()?,
            ordered,
        })
    }

    pub(crate) fn applied(&self) -> &Applied {
        &self.applied
    }

    /// The fold last ordered.
    pub(crate) fn ordered(&self) -> Option<Order> {
        self.ordered
    }

    /// Deletes the ids of entries that left the window, and exchanges of eras long past. Admission does not look for any of it any more, so
    /// nodes may do this when they like.
    pub(crate) fn forget_old_ids(&self) -> Result<(), Error> {
        let mut batch = WriteBatch::default();
        let now_ms = self.applied.accepted_at_ms;
        for (from, to) in [
            (StateKey::entry_ids_start(), StateKey::entry_ids_end(now_ms)),
            (StateKey::exchanges_start(), StateKey::exchanges_end(now_ms)),
        ] {
            batch.delete_range_cf(self.db.cf(state_cf::STATE)?, from.encode(), to.encode());
        }
        self.db.write(batch, false)
    }

    /// Applies raft_entries in order and answers each. After an error the state on disk is that of some raft_entry before; the caller stops
    /// the node, and what is in memory here is not used again.
    pub(crate) fn run(
        &mut self,
        entries: Vec<RaftEntry>,
        ledger: &LedgerInfo,
        verifier: &VerifyPool,
    ) -> Result<Vec<BatchResult>, Error> {
        let mut results = Vec::with_capacity(entries.len());
        let mut write = Write::default();
        for entry in entries {
            // openraft applies each raft_entry once; an append-only tree is lost if it ever does not.
            if self
                .applied
                .raft_log_id
                .is_some_and(|applied| entry.log_id.index <= applied.index)
            {
                return Err(Error::corrupt(format!(
                    "raft_entry {} was handed over to be applied twice",
                    entry.log_id
                )));
            }
            let result = match entry.payload {
                EntryPayload::Blank => BatchResult::default(),
                EntryPayload::Membership(membership) => {
                    write.flush = true;
                    self.applied.membership = StoredMembership::new(Some(entry.log_id), membership);
                    BatchResult::default()
                }
                EntryPayload::Normal(batch) => match &batch.word {
                    Word::Nothing => self.batch(&batch, &mut write, ledger, verifier)?,
                    Word::Fold => {
                        self.order_fold(&mut write)?;
                        BatchResult::default()
                    }
                    Word::Note(note) => {
                        // The tree is read back to check the note, so what is pending of it is written first: with the raft_log_id of the
                        // raft_entry before, to which it belongs. That is why a note travels without submissions.
                        self.commit(std::mem::take(&mut write))?;
                        self.publish(note, &mut write, ledger)?;
                        BatchResult::default()
                    }
                },
            };
            results.push(result);
            self.applied.raft_log_id = Some(entry.log_id);
            if write.bytes() >= WRITE_BYTES {
                self.commit(std::mem::take(&mut write))?;
            }
        }
        self.commit(write)?;
        Ok(results)
    }

    /// One write holds the effects and the raft_log_id that they belong to. A crash leaves all of it or nothing, and takes back what was not
    /// flushed yet: the Raft log has it, and is purged only up to what was.
    fn commit(&mut self, write: Write) -> Result<(), Error> {
        self.applied.root = *self.frontier.root().as_bytes();
        let Write {
            mut batch,
            known,
            rows,
            fresh,
            erasure,
            flush,
            ..
        } = write;
        let cf = self.db.cf(state_cf::NODES)?;
        self.edge.grown(|key, tile| batch.put_cf(cf, key, tile));
        let cf = self.db.cf(state_cf::ROWS)?;
        rows.records(|key, further| batch.put_cf(cf, key, further));
        let cf = self.db.cf(state_cf::STATE)?;
        let writes = known.into_writes();
        if writes.iter().any(|(key, _)| registry::holds(key)) {
            self.db.registry.changes_at(self.applied.tree_size);
        }
        for (key, value) in writes {
            match value {
                Some(value) => batch.put_cf(cf, key.encode(), value),
                None => batch.delete_cf(cf, key.encode()),
            }
        }
        batch.put_cf(
            self.db.cf(state_cf::META)?,
            state_meta::APPLIED,
            encode(&self.applied)?,
        );
        if erasure {
            self.db.fresh.ordered();
        }
        self.db.write(batch, false)?;
        // Which of them the order takes, if there is one, is not known here.
        if !erasure && let Some((first, said)) = fresh {
            self.db.fresh.written(first, said);
        }
        if flush {
            self.db.flush()?;
        }
        Ok(())
    }

    fn batch(
        &mut self,
        batch: &Batch,
        write: &mut Write,
        ledger: &LedgerInfo,
        verifier: &VerifyPool,
    ) -> Result<BatchResult, Error> {
        verifier.finish(batch)?;
        let db = self.db.clone();
        let state = AppliedState {
            db: &db,
            size: self.applied.tree_size,
        };
        let accepted_at_ms = self.applied.accepted_at_ms.max(batch.stamp_ms);
        let asked = batch.items.iter().flat_map(|item| {
            let verified = item.verified.lock();
            let entry = verified
                .as_ref()
                .and_then(|verified| verified.as_ref().ok());
            entry.map_or(Vec::new(), |entry| admission::asked(entry, accepted_at_ms))
        });
        write
            .known
            .fetch(asked, |keys| DbState::new(&db).values_of(keys))?;
        let mut results = Vec::with_capacity(batch.items.len());
        for item in &batch.items {
            let first = self.applied.tree_size == 0;
            let verified = verifier.take(item, &write.known.over(&state), first)?;
            let stamp = Stamp {
                index: EntryIndex(self.applied.tree_size),
                accepted_at_ms,
                body_salt: item.body_salt,
            };
            results.push(match verified {
                Ok(entry) => {
                    let judged = admission::apply(&write.known.over(&state), entry, stamp, ledger)?;
                    self.entry(judged, write)?
                }
                Err(refused) => refusal(&refused),
            });
        }
        write.rows.end();
        Ok(BatchResult(results))
    }

    fn entry(
        &mut self,
        judged: admission::Applied,
        write: &mut Write,
    ) -> Result<ItemResult, Error> {
        let effects = match judged {
            admission::Applied::Accepted(effects) => effects,
            admission::Applied::Known { index } => return self.known(index, write),
            admission::Applied::Refused(refused) => return Ok(refusal(&refused)),
        };
        if let Content::StateRoot(root) = &effects.entry.entry().body().content {
            match self.state_root(root, effects.entry.index(), write)? {
                Ok(()) => {}
                Err(refused) => return Ok(refusal(&refused)),
            }
        }
        write.flush |= matches!(
            effects.entry.meta().entry_type,
            EntryType::Genesis | EntryType::Key | EntryType::Node
        );
        write.erasure |= effects.entry.meta().entry_type == EntryType::Erasure;
        let index = effects.entry.index().0;
        let accepted_at_ms = effects.entry.meta().accepted_at_ms;
        let change = Change::of(&effects).encode();
        let result = ItemResult::Accepted {
            index,
            leaf_hash: *effects.entry.leaf_hash().as_bytes(),
            accepted_at_ms,
            findings: effects.entry.meta().findings.0,
            again: false,
        };
        let db = &self.db;
        let nodes = db.cf(state_cf::NODES)?;
        self.frontier
            .append(effects.entry.leaf_hash(), |level, _, hash| {
                self.edge.push(level, hash, |key, tile| {
                    write.batch.put_cf(nodes, key, tile)
                });
            });
        for row in effects.rows {
            write.rows.push(row, index);
        }
        for (key, value) in effects.writes {
            write.known.put(key, value);
        }
        let stored = effects.entry.into_stored();
        let said = Said::of(&stored);
        let fresh = &mut write
            .fresh
            .get_or_insert_with(|| (EntryIndex(index), Vec::new()))
            .1;
        fresh.extend(said);
        write.batch.put_cf(
            db.cf(state_cf::BODIES)?,
            keys::number(index),
            self.packer.pack(&stored)?,
        );
        write
            .batch
            .put_cf(db.cf(state_cf::CHANGES)?, keys::number(index), change);
        write.accepted.insert(index, result.clone());
        self.applied.tree_size = index + 1;
        self.applied.accepted_at_ms = accepted_at_ms;
        Ok(result)
    }

    /// Notes that all that is applied is to be folded, unless the fold before has no `state-root` entry yet. What makes that decision is the
    /// same on every node, whichever leaders proposed it.
    fn order_fold(&mut self, write: &mut Write) -> Result<(), Error> {
        let open = self.ordered.is_some_and(|order| order.stated.is_none());
        if open || self.applied.tree_size == 0 {
            return Ok(());
        }
        let order = Order {
            version: self.ordered.map_or(0, |last| last.version) + 1,
            size: self.applied.tree_size,
            stated: None,
        };
        order.put(&self.db, &mut write.batch)?;
        self.ordered = Some(order);
        Ok(())
    }

    /// A `state-root` entry speaks of the fold that was ordered, or it is refused, on every node alike. Were it not, one node could state a
    /// root of a size that nobody folds, and no other could ever cosign past it. The order is Raft's, not the ledger's: an auditor has only
    /// the entries, and needs no more, since whatever is stated is to be the root of its size.
    ///
    /// A wrong root of the size ordered is accepted: whether it is wrong is found by folding, off this path. Then every honest node stops,
    /// and says which entry states what. Only a rogue leader can bring that about, and Raft trusts its leader anyway: an honest one asks a
    /// majority before it states anything, and lets in no other root than its own, whoever submits it.
    ///
    /// # Errors
    /// `Diverged` if this node folded another root.
    fn state_root(
        &mut self,
        root: &StateRoot,
        index: EntryIndex,
        write: &mut Write,
    ) -> Result<Result<(), Refused>, Error> {
        let ordered = self.ordered.filter(|order| {
            order.stated.is_none() && (order.version, order.size) == (root.version, root.size)
        });
        let Some(mut order) = ordered else {
            let pointer = "/envelope/payload/state-root".to_owned();
            return Ok(Err(Refused::new(Refusal::StateRoot, pointer)));
        };
        order.stated = Some(Stated {
            index: index.0,
            root: root.root.0,
        });
        let done = Done::read(&*self.db)?;
        if done.version == order.version {
            order.judge(&done.root)?;
        }
        order.put(&self.db, &mut write.batch)?;
        self.ordered = Some(order);
        Ok(Ok(()))
    }

    /// Keeps a checkpoint as published, if it is one: the log and a majority of the nodes in force signed it, and it is newer than the last.
    /// Which ones a ledger keeps is so the same on every node.
    ///
    /// # Errors
    /// `Diverged` if its root is not this node's own: a majority computed another tree.
    fn publish(&mut self, note: &str, write: &mut Write, ledger: &LedgerInfo) -> Result<(), Error> {
        let opened = stated_size(note).filter(|size| {
            (self.applied.published_size + 1..=self.applied.tree_size).contains(&size.0)
        });
        let (Some(size), Some(names)) = (opened, Names::new(&ledger.name, ledger.shard)) else {
            return Ok(());
        };
        let state = AppliedState {
            db: &self.db,
            size: self.applied.tree_size,
        };
        let quorum = Quorum::at(&*state.checkpoint_keys()?, &names, size, &BTreeSet::new());
        let published = match quorum.open(note) {
            Ok(published) => published,
            Err(reason) => {
                tracing::error!(%reason, size = size.0, "a leader proposed a checkpoint that is not published");
                return Ok(());
            }
        };
        if published.root != merkle::root(size, &db_nodes(&self.db))? {
            return Err(Error::new(
                ErrorKind::Diverged,
                format!(
                    "a majority of nodes published another root at size {size} than this node computed"
                ),
            ));
        }
        write.batch.put_cf(
            self.db.cf(state_cf::PUBLISHED)?,
            keys::number(size.0),
            published.encode()?,
        );
        self.applied.published_size = size.0;
        Ok(())
    }

    /// The answer that the entry got when it came first.
    fn known(&self, index: EntryIndex, write: &Write) -> Result<ItemResult, Error> {
        let mut result = match write.accepted.get(&index.0) {
            Some(result) => result.clone(),
            None => {
                let stored = read_entry(&self.db, index)?
                    .ok_or_else(|| Error::corrupt(format!("entry {index} is missing")))?;
                ItemResult::Accepted {
                    index: index.0,
                    leaf_hash: *stored.leaf_hash().as_bytes(),
                    accepted_at_ms: stored.meta.accepted_at_ms,
                    findings: stored.meta.findings.0,
                    again: true,
                }
            }
        };
        if let ItemResult::Accepted { again, .. } = &mut result {
            *again = true;
        }
        Ok(result)
    }
}

fn refusal(refused: &Refused) -> ItemResult {
    ItemResult::Refused {
        code: refused.refusal.code().into(),
        pointer: refused.pointer.clone(),
    }
}

/// What is to be written, and what of it later entries of the same write must see.
#[derive(Default)]
struct Write {
    batch: WriteBatch,
    known: Known,
    rows: Pending,
    accepted: HashMap<u64, ItemResult>,
    /// What receipts say of the entries, and the index of the first.
    fresh: Option<(EntryIndex, Vec<Said>)>,
    /// Whether an order of erasure is among them.
    erasure: bool,
    /// Whether it is to be on disk before it is shown: a node starts with the keys and peers that its state knows, so a start must not find
    /// fewer of them than an operator saw when he put a new key file in place or took a node away.
    flush: bool,
}

impl Write {
    /// About how many bytes of memory it holds.
    fn bytes(&self) -> usize {
        /// What a key of the state and its value take, roughly.
        const STATE_BYTES: usize = 256;
        self.batch.size_in_bytes() + self.rows.bytes() + self.known.len() * STATE_BYTES
    }
}
