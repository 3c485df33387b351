// SPDX-License-Identifier: EUPL-1.2
//! What this node cosigns. The rules, each of which keeps a lie from getting a signature:
//!
//! 1. only a tree that this node computed itself, from entries whose signatures it verified itself;
//! 2. only after its own Raft log is fsynced through that tree: the signature promises durability here;
//! 3. never below what it cosigned before, which is on disk before a signature leaves, so that no restart forgets it;
//! 4. never a tree that ends more than two seconds in its future: a leader whose clock runs ahead is not backed;
//! 5. nothing past a `state-root` entry before this node's own fold of its size is done: the two are compared then, and a node that folded
//!    another root has stopped;
//! 6. only as a node of the registry, with the key that the registry has for it.

use std::collections::BTreeSet;

use ledger::{
    cosignature,
    hash::Hash,
    id::NodeNumber,
    key::SigningKey,
    number::{EntryIndex, TreeSize},
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::quorum::{Names, Quorum};
use crate::{
    clock::{CLOCK_OFF_MS_MAX, Clock},
    error::Error,
    store::{fold::first_unfolded, log::Log, machine::Machine},
};

/// The checkpoint that this node cosigned last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastCosigned {
    pub(crate) size: u64,
    pub(crate) root: [u8; 32],
}

/// What a decision is made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// What is asked for.
    pub(crate) size: TreeSize,
    /// The asker's root at that size.
    pub(crate) asked_root: Hash,
    /// This node's own.
    pub(crate) own_root: Hash,
    /// When the last entry of that tree was accepted.
    pub(crate) ends_at_ms: u64,
    /// The first `state-root` entry whose fold is not done here.
    pub(crate) unfolded: Option<EntryIndex>,
    /// Whether this node's Raft log is fsynced through that tree.
    pub(crate) fsynced: bool,
    pub(crate) last: Option<LastCosigned>,
    pub(crate) now_ms: u64,
}

/// Decides, and touches nothing.
pub(crate) fn judge(case: &Case) -> Result<(), CosignRefusal> {
    if case.size == TreeSize::EMPTY {
        return Err(CosignRefusal::Empty);
    }
    if !case.fsynced {
        return Err(CosignRefusal::NotFsynced);
    }
    if case.unfolded.is_some_and(|index| case.size.holds(index)) {
        return Err(CosignRefusal::NotFolded);
    }
    if case.own_root != case.asked_root {
        return Err(CosignRefusal::OtherRoot);
    }
    if let Some(last) = case.last {
        if case.size.0 < last.size {
            return Err(CosignRefusal::Below(TreeSize(last.size)));
        }
        // Own state went back and was rebuilt differently: never to happen, never to be signed.
        if case.size.0 == last.size && case.own_root.0 != last.root {
            return Err(CosignRefusal::Contradiction);
        }
    }
    if case.ends_at_ms > case.now_ms.saturating_add(CLOCK_OFF_MS_MAX) {
        return Err(CosignRefusal::Future);
    }
    Ok(())
}

/// Why this node does not cosign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CosignRefusal {
    #[error("the empty tree is not cosigned")]
    Empty,
    #[error("its Raft log is not fsynced so far")]
    NotFsynced,
    #[error("its own fold for a state root in that tree is not done")]
    NotFolded,
    #[error("it has not applied so much")]
    Behind,
    #[error("it computed another root")]
    OtherRoot,
    #[error("it cosigned size {0} already")]
    Below(TreeSize),
    #[error("it cosigned another root at this size before")]
    Contradiction,
    #[error("the tree ends more than two seconds in its future")]
    Future,
    #[error("the registry does not know this node, or another cosigning key for it")]
    OtherKey,
}

/// This node's cosigning key and its memory of what it signed.
pub(crate) struct Cosigner {
    node: NodeNumber,
    names: Names,
    key: SigningKey,
    clock: Clock,
    log: Log,
    machine: Machine,
    /// One signature at a time: deciding and remembering must not interleave.
    signing: Mutex<()>,
}

impl Cosigner {
    pub(crate) fn new(
        node: NodeNumber,
        names: Names,
        key: SigningKey,
        clock: Clock,
        log: Log,
        machine: Machine,
    ) -> Cosigner {
        Cosigner {
            node,
            names,
            key,
            clock,
            log,
            machine,
            signing: Mutex::new(()),
        }
    }

    /// The signature line for a size, or why not. Blocks on disk.
    pub(crate) fn cosign(
        &self,
        size: TreeSize,
        asked_root: Hash,
    ) -> Result<Result<String, CosignRefusal>, Error> {
        let view = self.machine.view()?;
        let own_root = if size == view.size() {
            Some(view.root())
        } else {
            view.root_at(size)?
        };
        let Some(own_root) = own_root else {
            return Ok(Err(CosignRefusal::Behind));
        };
        let ends_at_ms = match size.0.checked_sub(1) {
            _ if size == view.size() => view.applied().accepted_at_ms,
            Some(last) => view.accepted_at(EntryIndex(last))?.unwrap_or(u64::MAX),
            None => 0,
        };
        // What is applied stands in the Raft log at or before this raft_index.
        let fsynced = self.log.fsynced() >= view.applied().raft_log_id;
        let unfolded = view.sound(first_unfolded(&view))?.map(EntryIndex);
        let keys = view.checkpoint_keys()?;
        let quorum = Quorum::at(&keys, &self.names, size, &BTreeSet::from([self.node]));

        let _signing = self.signing.lock();
        let last = self.log.cosigned::<LastCosigned>()?;
        let now_ms = self.clock.now_ms();
        let case = Case {
            size,
            asked_root,
            own_root,
            ends_at_ms,
            unfolded,
            fsynced,
            last,
            now_ms,
        };
        if let Err(refusal) = judge(&case) {
            return Ok(Err(refusal));
        }
        let name = match (quorum.key(self.node), self.names.node(self.node)) {
            (Some(key), Some(name)) if *key.public() == self.key.public() => name,
            _ => return Ok(Err(CosignRefusal::OtherKey)),
        };
        let own = LastCosigned {
            size: size.0,
            root: own_root.0,
        };
        if last != Some(own) {
            // Dying after this line and before the answer leaves a memory of a signature that nobody has: harmless.
            self.log.put_cosigned(&own)?;
        }
        let text = self.names.checkpoint_text(size, own_root);
        Ok(Ok(cosignature::cosign(
            &name,
            &self.key,
            &text,
            now_ms / 1000,
        )
        .to_string()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )]
    use super::*;

    const ROOT: Hash = Hash([1; 32]);
    const OTHER: Hash = Hash([2; 32]);

    fn case() -> Case {
        Case {
            size: TreeSize(10),
            asked_root: ROOT,
            own_root: ROOT,
            ends_at_ms: 1_000_000,
            unfolded: None,
            fsynced: true,
            last: Some(LastCosigned {
                size: 9,
                root: OTHER.0,
            }),
            now_ms: 1_000_000,
        }
    }

    fn last(size: u64, root: Hash) -> Option<LastCosigned> {
        Some(LastCosigned { size, root: root.0 })
    }

    #[test]
    fn each_rule() {
        let table = [
            (case(), Ok(())),
            (
                Case {
                    last: None,
                    ..case()
                },
                Ok(()),
            ),
            (
                Case {
                    last: last(10, ROOT),
                    ..case()
                },
                Ok(()),
            ),
            (
                Case {
                    last: last(10, OTHER),
                    ..case()
                },
                Err(CosignRefusal::Contradiction),
            ),
            (
                Case {
                    last: last(11, ROOT),
                    ..case()
                },
                Err(CosignRefusal::Below(TreeSize(11))),
            ),
            (
                Case {
                    asked_root: OTHER,
                    ..case()
                },
                Err(CosignRefusal::OtherRoot),
            ),
            (
                Case {
                    fsynced: false,
                    ..case()
                },
                Err(CosignRefusal::NotFsynced),
            ),
            (
                Case {
                    unfolded: Some(EntryIndex(9)),
                    ..case()
                },
                Err(CosignRefusal::NotFolded),
            ),
            (
                Case {
                    unfolded: Some(EntryIndex(10)),
                    ..case()
                },
                Ok(()),
            ),
            (
                Case {
                    size: TreeSize(0),
                    ..case()
                },
                Err(CosignRefusal::Empty),
            ),
            (
                Case {
                    ends_at_ms: 1_002_000,
                    ..case()
                },
                Ok(()),
            ),
            (
                Case {
                    ends_at_ms: 1_002_001,
                    ..case()
                },
                Err(CosignRefusal::Future),
            ),
            (
                Case {
                    ends_at_ms: 0,
                    ..case()
                },
                Ok(()),
            ),
        ];
        for (case, expected) in table {
            assert_eq!(judge(&case), expected, "{case:?}");
        }
    }
}
