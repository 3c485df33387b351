// SPDX-License-Identifier: EUPL-1.2
//! The published checkpoints of this node, as apply keeps them, for whoever waits for the next one.

use std::sync::Arc;

use ledger::{
    note::{Note, VerifierKey},
    number::TreeSize,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::cosigner::LastCosigned;
use crate::{
    error::{Error, ErrorKind},
    face::Published,
    store::{fatal::Fatal, log::Log, machine::Machine},
};

/// Shows the newest published checkpoint.
pub(crate) struct Keeper {
    machine: Machine,
    memory: Memory,
    tasks: TaskTracker,
    newest: watch::Sender<Option<Arc<Published>>>,
}

impl Keeper {
    /// Over what is stored. Blocks on disk.
    pub(crate) fn open(
        machine: Machine,
        memory: Memory,
        tasks: TaskTracker,
    ) -> Result<Keeper, Error> {
        let newest = machine.view()?.newest_published()?.map(Arc::new);
        Ok(Keeper {
            machine,
            memory,
            tasks,
            newest: watch::Sender::new(newest),
        })
    }

    /// The newest published checkpoint, and its successors as they come.
    pub(crate) fn newest(&self) -> watch::Receiver<Option<Arc<Published>>> {
        self.newest.subscribe()
    }

    /// Size of the newest; zero before the first.
    pub(crate) fn newest_size(&self) -> TreeSize {
        self.newest
            .borrow()
            .as_ref()
            .map_or(TreeSize::EMPTY, |newest| newest.size)
    }

    /// Shows what is applied, as it is applied, until `stop`.
    pub(crate) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut applied = self.machine.applied();
        let following = async {
            loop {
                let size = TreeSize(applied.borrow_and_update().published_size);
                if size > self.newest_size()
                    && let Err(error) = self.show().await
                {
                    // What is published would never show here, and nobody else would notice: not even the others, if this node leads.
                    self.memory.fatal.latch(error);
                    return;
                }
                if applied.changed().await.is_err() {
                    return;
                }
            }
        };
        stop.run_until_cancelled(following).await;
    }

    async fn show(self: &Arc<Self>) -> Result<(), Error> {
        let keeper = self.clone();
        let read = self.tasks.spawn_blocking(move || keeper.read()).await;
        let last =
            read.unwrap_or_else(|error| Err(Error::io("read published checkpoints", error)))?;
        if let Some(last) = last {
            self.newest.send_replace(Some(Arc::new(last)));
        }
        Ok(())
    }

    /// The last of those that are new. Each is looked at for what this node signed.
    fn read(&self) -> Result<Option<Published>, Error> {
        let view = self.machine.view()?;
        let mut last = None;
        let mut size = self.newest_size();
        loop {
            let new = view.published_after(size, READ_MAX)?;
            for published in &new {
                self.memory.recognise(published)?;
            }
            let Some(published) = new.into_iter().next_back() else {
                return Ok(last);
            };
            size = published.size;
            last = Some(published);
        }
    }
}

/// What this node knows to have signed, to notice that its data are older than that: restored from a copy, or lost in part. Such a node
/// would break what it promised, by its vote or by a second signature.
pub(crate) struct Memory {
    pub(crate) own_key: VerifierKey,
    pub(crate) log: Log,
    pub(crate) fatal: Fatal,
}

impl Memory {
    /// Stops the node if a checkpoint carries a cosignature of its own that it does not remember: each was durable before it left.
    fn recognise(&self, published: &Published) -> Result<(), Error> {
        let remembered = self
            .log
            .cosigned::<LastCosigned>()?
            .map_or(0, |last| last.size);
        // It may have signed what it remembers. Only beyond is a signature looked at: to verify one takes its time.
        if published.size.0 <= remembered {
            return Ok(());
        }
        let own = std::slice::from_ref(&self.own_key);
        if Note::parse(published.note.as_bytes()).is_ok_and(|note| note.verify(own).is_ok()) {
            let reason = format!(
                "this node's data are older than what it signed: it cosigned size {} and remembers {remembered}. It must not go on under \
                 its number: replace it by a node of a new one",
                published.size
            );
            return Err(self.fatal.latch(Error::new(ErrorKind::Corrupt, reason)));
        }
        Ok(())
    }
}

/// Waits until this node has applied so much; whether it did in time.
pub(crate) async fn applied_by(machine: &Machine, size: TreeSize, until: Instant) -> bool {
    let mut applied = machine.applied();
    let reached = timeout_at(
        until,
        applied.wait_for(|applied| applied.tree_size >= size.0),
    )
    .await;
    reached.is_ok_and(|reached| reached.is_ok())
}

const READ_MAX: usize = 256;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ledger::{
        cosignature,
        hash::Hash,
        id::NodeNumber,
        key::SigningKey,
        note::{SignatureLine, SignatureType},
        number::TreeSize,
    };
    use openraft::{EntryPayload, storage::RaftStateMachine};

    use super::*;
    use crate::{
        publish::quorum::Names,
        raft_types::{Batch, RaftEntry, RaftLogId},
        store::{
            keys::{self, state_cf},
            tests::{fill, open_in, raft_entries},
        },
        testbed::{self, LEDGER},
    };

    /// A note that one node cosigned.
    fn note(node: u64, size: u64) -> (VerifierKey, Published) {
        let (names, key) = (
            Names::new(LEDGER, 1).unwrap(),
            SigningKey::from_seed([node as u8; 32]),
        );
        let name = names.node(NodeNumber(node)).unwrap();
        let (size, root) = (TreeSize(size), Hash([1; 32]));
        let text = names.checkpoint_text(size, root);
        let line = cosignature::cosign(&name, &key, &text, 1);
        let note = Note::new(text, vec![line]).unwrap();
        let published = Published {
            size,
            root,
            note: note.to_string().into(),
        };
        let own = VerifierKey::new(name, SignatureType::Cosignature, key.public());
        (own, published)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn its_own_signature_beyond_what_it_remembers_stops_the_node() {
        let dir = tempfile::tempdir().unwrap();
        let (log, _machine) = open_in(dir.path()).unwrap();
        let recognise = |node, size| {
            let memory = Memory {
                own_key: note(1, 1).0,
                log: log.clone(),
                fatal: Fatal::new(),
            };
            let told = memory.recognise(&note(node, size).1);
            // What it tells is latched: nothing is promised after it.
            assert_eq!(told.is_err(), memory.fatal.check().is_err());
            told.map_err(|error| error.kind())
        };
        let stops = Err(ErrorKind::Corrupt);
        assert_eq!(recognise(1, 1), stops, "it remembers nothing");
        assert_eq!(recognise(2, 1), Ok(()), "another's");
        let last = LastCosigned {
            size: 7,
            root: [1; 32],
        };
        log.put_cosigned(&last).unwrap();
        for (node, size, expected) in [
            (1, 6, Ok(())),
            (1, 7, Ok(())),
            (1, 8, stops),
            (2, 8, Ok(())),
        ] {
            assert_eq!(recognise(node, size), expected, "node {node}, size {size}");
        }
    }

    /// A checkpoint of all that is applied, as the one node of the ledger publishes it.
    fn checkpoint(machine: &Machine) -> RaftEntry {
        let (names, view) = (Names::new(LEDGER, 1).unwrap(), machine.view().unwrap());
        let text = names.checkpoint_text(view.size(), view.root());
        let name = names.node(NodeNumber(1)).unwrap();
        let lines = vec![
            SignatureLine::sign(&names.origin, &testbed::key("log"), &text),
            cosignature::cosign(&name, &testbed::key("cosign 1"), &text, 1),
        ];
        let note = Note::new(text, lines).unwrap().to_string();
        let last = view.applied().raft_log_id.unwrap();
        RaftEntry {
            log_id: RaftLogId::new(last.leader_id, last.index + 1),
            payload: EntryPayload::Normal(Batch::of_note(note)),
        }
    }

    /// Else it goes on, perhaps as leader, and nobody who submits through it is ever told that an entry is published.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_keeper_that_cannot_read_what_is_published_stops_the_node() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, mut machine) = open_in(dir.path()).unwrap();
        fill(&mut log, &mut machine, raft_entries(2)).await;
        let fatal = Fatal::new();
        let memory = Memory {
            own_key: note(2, 1).0,
            log: log.clone(),
            fatal: fatal.clone(),
        };
        let keeper = Keeper::open(machine.clone(), memory, TaskTracker::new()).unwrap();
        let keeper = Arc::new(keeper);
        let published = checkpoint(&machine);
        machine.apply(vec![published]).await.unwrap();
        let db = machine.state();
        let kept = db.cf(state_cf::PUBLISHED).unwrap();
        let beyond = keys::number(u64::MAX);
        db.raw().put_cf(kept, beyond, b"no checkpoint").unwrap();
        keeper.clone().follow(CancellationToken::new()).await;
        let error = fatal.check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(keeper.newest_size(), TreeSize::EMPTY);
    }
}
