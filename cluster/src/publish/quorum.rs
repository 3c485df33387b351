// SPDX-License-Identifier: EUPL-1.2
//! Whose signatures make a checkpoint of some size a published one: the log key and the nodes in force there, out of the state.

use std::collections::{BTreeMap, BTreeSet};

use ledger::{
    checkpoint::{Checkpoint, SignedCheckpoint},
    hash::Hash,
    id::{KeyId, NodeNumber},
    key::PublicKey,
    note::{KeyName, Note, SignatureLine, SignatureType, VerifierKey},
    number::TreeSize,
    state::{
        State,
        registry::{self, NodeRecord},
    },
};

use crate::face::Published;

/// Every key that ever signed checkpoints, as the registry has them: which are in force at which size follows from them alone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CheckpointKeys {
    /// As [`registry::log_keys`].
    log: Vec<(u64, Option<PublicKey>)>,
    nodes: Vec<NodeKeys>,
}

/// A node with its cosigning keys.
#[derive(Debug, PartialEq, Eq)]
struct NodeKeys {
    record: NodeRecord,
    first: Option<PublicKey>,
    /// As [`registry::later_keys`].
    later: Vec<(u64, Option<PublicKey>)>,
}

impl CheckpointKeys {
    /// Reads them. A key that the registry does not know is none.
    pub(crate) fn read<S: State>(state: &S) -> Result<CheckpointKeys, S::Error> {
        let key = |id: &KeyId| {
            let record = registry::key(state, id);
            record.map(|record| Some(record?.public_key))
        };
        let keys = |ids: Vec<(u64, KeyId)>| {
            let keys = ids.into_iter().map(|(from, id)| Ok((from, key(&id)?)));
            keys.collect::<Result<Vec<_>, S::Error>>()
        };
        let node = |record: NodeRecord| {
            let first = key(&record.cosign_key)?;
            let later = keys(registry::later_keys(state, &record.cosign_key)?)?;
            Ok(NodeKeys {
                record,
                first,
                later,
            })
        };
        Ok(CheckpointKeys {
            log: keys(registry::log_keys(state)?)?,
            nodes: registry::nodes(state)?
                .into_iter()
                .map(node)
                .collect::<Result<_, S::Error>>()?,
        })
    }
}

impl NodeKeys {
    /// The key that cosigns trees of this size.
    fn at(&self, size: TreeSize) -> Option<PublicKey> {
        let reached = self.later.iter().take_while(|(first, _)| *first <= size.0);
        reached.last().map_or(self.first, |(_, key)| *key)
    }
}

/// The keys in force at one tree size.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Quorum {
    pub(crate) origin: KeyName,
    /// `None` before genesis, and for a key that the registry does not know.
    pub(crate) log: Option<VerifierKey>,
    /// The nodes in force: added below this size and not removed.
    in_force: BTreeMap<NodeNumber, VerifierKey>,
    /// Others whose cosignatures are wanted besides: nodes that are removed, and still vote until Raft's membership follows.
    others: BTreeMap<NodeNumber, VerifierKey>,
}

impl Quorum {
    /// Finds the keys. They may be those of a state that is newer than the tree of this size, never older.
    pub(crate) fn at(
        keys: &CheckpointKeys,
        names: &Names,
        size: TreeSize,
        also: &BTreeSet<NodeNumber>,
    ) -> Quorum {
        let (mut in_force, mut others) = (BTreeMap::new(), BTreeMap::new());
        for node in &keys.nodes {
            let NodeRecord { node: number, .. } = node.record;
            let map = match (node.record.in_force_at(size), also.contains(&number)) {
                (true, _) => &mut in_force,
                (false, true) => &mut others,
                (false, false) => continue,
            };
            if let (Some(key), Some(name)) = (node.at(size), names.node(number)) {
                let key = VerifierKey::new(name, SignatureType::Cosignature, key);
                map.insert(number, key);
            }
        }
        let log = registry::in_force(&keys.log, size).copied().flatten();
        let log =
            log.map(|key| VerifierKey::new(names.origin.clone(), SignatureType::Ed25519, key));
        Quorum {
            origin: names.origin.clone(),
            log,
            in_force,
            others,
        }
    }

    /// Everybody whose cosignature is wanted.
    pub(crate) fn asked(&self) -> impl Iterator<Item = NodeNumber> {
        self.in_force.keys().chain(self.others.keys()).copied()
    }

    /// Whether a node's cosignature belongs under a published note.
    pub(crate) fn is_in_force(&self, node: NodeNumber) -> bool {
        self.in_force.contains_key(&node)
    }

    /// A node's cosigning key.
    pub(crate) fn key(&self, node: NodeNumber) -> Option<&VerifierKey> {
        self.in_force.get(&node).or_else(|| self.others.get(&node))
    }

    /// Whether these nodes are a majority of those in force.
    pub(crate) fn is_met_by(&self, signed: &BTreeSet<NodeNumber>) -> bool {
        is_majority(signed, &self.in_force.keys().copied().collect())
    }

    /// Takes a cosignature of a node for a checkpoint's text only if it holds.
    pub(crate) fn verify_line(
        &self,
        node: NodeNumber,
        text: &str,
        line: &str,
    ) -> Option<SignatureLine> {
        let key = self.key(node)?;
        let line = SignatureLine::parse(line).ok()?;
        let note = Note::new(text.to_owned(), vec![line.clone()]).ok()?;
        note.verify(std::slice::from_ref(key)).ok()?;
        Some(line)
    }

    /// Opens a note as a published checkpoint: the log signed it, and a majority of the nodes in force. Lines of others are passed over.
    pub(crate) fn open(&self, note: &str) -> Result<Published, NotPublished> {
        let parsed = Note::parse(note.as_bytes()).map_err(|_| NotPublished::Malformed)?;
        let keys: Vec<VerifierKey> = self.in_force.values().chain(&self.log).cloned().collect();
        let signed = SignedCheckpoint::open(&parsed, &keys).map_err(|_| NotPublished::Signature)?;
        let signers: BTreeSet<NodeNumber> = signed
            .cosigners()
            .filter_map(|(key, _)| {
                self.in_force
                    .iter()
                    .find(|(_, own)| *own == key)
                    .map(|(node, _)| *node)
            })
            .collect();
        if !self.is_met_by(&signers) {
            return Err(NotPublished::NoMajority);
        }
        let Checkpoint { origin, size, root } = signed.checkpoint().clone();
        if origin != self.origin {
            return Err(NotPublished::OtherLog);
        }
        Ok(Published {
            size,
            root,
            note: note.into(),
        })
    }
}

/// The size that a note states; nothing about it is believed yet.
pub(crate) fn stated_size(note: &str) -> Option<TreeSize> {
    let note = Note::parse(note.as_bytes()).ok()?;
    Checkpoint::parse(note.text())
        .ok()
        .map(|checkpoint| checkpoint.size)
}

/// More than half of `all`; nobody is a majority of nobody.
pub(crate) fn is_majority(some: &BTreeSet<NodeNumber>, all: &BTreeSet<NodeNumber>) -> bool {
    some.intersection(all).count() * 2 > all.len()
}

/// Names under which a ledger's keys sign.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    ledger: String,
    /// Ledger name `/` shard: the log's name.
    pub(crate) origin: KeyName,
}

impl Names {
    /// `None` if the ledger's name cannot be a key name.
    pub(crate) fn new(ledger: &str, shard: u64) -> Option<Names> {
        let origin = KeyName::parse(&format!("{ledger}/{shard}")).ok()?;
        Some(Names {
            ledger: ledger.to_owned(),
            origin,
        })
    }

    /// The name under which a node cosigns.
    pub(crate) fn node(&self, node: NodeNumber) -> Option<KeyName> {
        KeyName::parse(&format!("{}/node/{}", self.ledger, node.0)).ok()
    }

    /// The text that is signed for a size.
    pub(crate) fn checkpoint_text(&self, size: TreeSize, root: Hash) -> String {
        Checkpoint {
            origin: self.origin.clone(),
            size,
            root,
        }
        .to_text()
    }
}

/// Why a note is no published checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotPublished {
    #[error("it is no note")]
    Malformed,
    #[error("a signature does not hold, or the log did not sign")]
    Signature,
    #[error("no majority of the nodes in force cosigned it")]
    NoMajority,
    #[error("it is another log's")]
    OtherLog,
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )]
    use ledger::{
        admission::{self, Applied, LedgerInfo, Stamp},
        cosignature,
        entry::{genesis_keys, verify},
        number::EntryIndex,
        state::{MemoryState, StateError, StateKey},
    };

    use super::*;
    use crate::testbed::{self, LEDGER};

    const SIZE: TreeSize = TreeSize(1);
    const ROOT: Hash = Hash([5; 32]);

    #[test]
    fn opens_what_the_log_and_a_majority_signed() {
        let (names, quorum) = three();
        for (signers, expected) in [
            (&[1, 2][..], Ok(())),
            (&[1, 2, 3], Ok(())),
            (&[2, 3], Ok(())),
            (&[1], Err(NotPublished::NoMajority)),
            (&[], Err(NotPublished::NoMajority)),
            (&[2, 2], Err(NotPublished::NoMajority)),
            (&[2, 4, 5], Err(NotPublished::NoMajority)),
        ] {
            let opened = quorum.open(&note(&names, true, signers));
            assert_eq!(opened.clone().map(drop), expected, "{signers:?}");
            if let Ok(published) = opened {
                assert_eq!((published.size, published.root), (SIZE, ROOT));
            }
        }
    }

    #[test]
    fn the_log_must_sign_and_every_known_line_must_hold() {
        let (names, quorum) = three();
        assert_eq!(
            quorum.open(&note(&names, false, &[1, 2, 3])),
            Err(NotPublished::Signature)
        );
        let good = note(&names, true, &[1, 2, 3]);
        let other_root = good.replacen(
            &names.checkpoint_text(SIZE, ROOT),
            &names.checkpoint_text(SIZE, Hash([6; 32])),
            1,
        );
        assert_eq!(quorum.open(&other_root), Err(NotPublished::Signature));
        let shard = Names::new(LEDGER, 2).unwrap();
        assert!(
            quorum.open(&note(&shard, true, &[1, 2, 3])).is_err(),
            "another shard's"
        );
        assert_eq!(quorum.open("no note"), Err(NotPublished::Malformed));
        assert_eq!(stated_size(&good), Some(SIZE));
        assert_eq!(stated_size("no note"), None);
    }

    #[test]
    fn a_line_counts_for_its_node_alone() {
        let (names, quorum) = three();
        let text = names.checkpoint_text(SIZE, ROOT);
        let line = cosign(&names, 2, &text).to_string();
        assert!(quorum.verify_line(NodeNumber(2), &text, &line).is_some());
        assert!(quorum.verify_line(NodeNumber(1), &text, &line).is_none());
        assert!(quorum.verify_line(NodeNumber(4), &text, &line).is_none());
        assert!(
            quorum
                .verify_line(
                    NodeNumber(2),
                    &names.checkpoint_text(TreeSize(2), ROOT),
                    &line
                )
                .is_none()
        );
    }

    #[test]
    fn majorities() {
        let set = |nodes: &[u64]| {
            nodes
                .iter()
                .copied()
                .map(NodeNumber)
                .collect::<BTreeSet<_>>()
        };
        assert!(!is_majority(&set(&[]), &set(&[])));
        assert!(is_majority(&set(&[1]), &set(&[1])));
        assert!(!is_majority(&set(&[1, 2]), &set(&[1, 2, 3, 4])));
        assert!(is_majority(&set(&[1, 2, 4]), &set(&[1, 2, 3, 4])));
        assert!(!is_majority(&set(&[1, 8, 9]), &set(&[1, 2, 3])));
    }

    /// The quorum of a ledger that three nodes founded.
    fn three() -> (Names, Quorum) {
        let peers = [1, 2, 3]
            .map(|node| (node, "127.0.0.1:1".parse().unwrap()))
            .into();
        let genesis = testbed::genesis(&peers);
        let entry = verify(genesis.clone(), LEDGER, &genesis_keys(&genesis).unwrap())
            .unwrap_or_else(|_| panic!("genesis"));
        let stamp = Stamp {
            index: EntryIndex(0),
            accepted_at_ms: entry.body().common.occurred_at_ms,
            body_salt: [0; 32],
        };
        let mut state = MemoryState::default();
        let ledger = LedgerInfo {
            name: LEDGER.to_owned(),
            shard: 1,
        };
        let Applied::Accepted(effects) = admission::apply(&state, entry, stamp, &ledger).unwrap()
        else {
            panic!("genesis")
        };
        state.write(&effects.writes);
        let names = Names::new(LEDGER, 1).unwrap();
        let keys = CheckpointKeys::read(&RegistryOf(&state)).unwrap();
        let quorum = Quorum::at(&keys, &names, SIZE, &BTreeSet::new());
        (names, quorum)
    }

    /// A state of which nothing but the registry may be asked: the keys are kept until that changes.
    struct RegistryOf<'a>(&'a MemoryState);

    impl State for RegistryOf<'_> {
        type Error = StateError;

        fn get(&self, key: &StateKey) -> Result<Option<Vec<u8>>, StateError> {
            assert!(registry::holds(key), "{key:?}");
            self.0.get(key)
        }
    }

    fn note(names: &Names, by_log: bool, signers: &[u64]) -> String {
        let text = names.checkpoint_text(SIZE, ROOT);
        let log = SignatureLine::sign(&names.origin, &testbed::key("log"), &text);
        let lines = by_log
            .then_some(log)
            .into_iter()
            .chain(signers.iter().map(|node| cosign(names, *node, &text)));
        let lines: Vec<_> = lines.collect();
        Note::new(text, lines).unwrap().to_string()
    }

    fn cosign(names: &Names, node: u64, text: &str) -> SignatureLine {
        let key = testbed::key(&format!("cosign {node}"));
        cosignature::cosign(
            &names.node(NodeNumber(node)).unwrap(),
            &key,
            text,
            1_700_000_000,
        )
    }
}
