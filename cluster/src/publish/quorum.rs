// SPDX-License-Identifier: EUPL-1.2
//! Whose signatures make a checkpoint of some size a published one: the log key and the nodes in force there, out of the state.

use std::collections::{BTreeMap, BTreeSet};

use ledger::{
    checkpoint::{Checkpoint, SignedCheckpoint},
    hash::Hash,
    id::{KeyId, NodeNumber},
    note::{KeyName, Note, SignatureLine, SignatureType, VerifierKey},
    number::{EntryIndex, TreeSize},
    state::{State, registry},
};

use crate::face::Published;

/// The keys in force at one tree size.
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
    /// Reads the keys. The state may be newer than the tree of this size, never older.
    pub(crate) fn at<S: State>(
        state: &S,
        names: &Names,
        size: TreeSize,
        also: &BTreeSet<NodeNumber>,
    ) -> Result<Quorum, S::Error> {
        let (mut in_force, mut others) = (BTreeMap::new(), BTreeMap::new());
        for record in registry::nodes(state)? {
            let map = match (record.in_force_at(size), also.contains(&record.node)) {
                (true, _) => &mut in_force,
                (false, true) => &mut others,
                (false, false) => continue,
            };
            let key_id = registry::current_key(state, &record.cosign_key, EntryIndex(size.0))?;
            if let Some(key) = verifier(
                state,
                &key_id,
                names.node(record.node),
                SignatureType::Cosignature,
            )? {
                map.insert(record.node, key);
            }
        }
        let log = match registry::log_key_at(state, size)? {
            Some(key_id) => verifier(
                state,
                &key_id,
                Some(names.origin.clone()),
                SignatureType::Ed25519,
            )?,
            None => None,
        };
        Ok(Quorum {
            origin: names.origin.clone(),
            log,
            in_force,
            others,
        })
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
    #[error("its root is not this node's own")]
    OtherRoot,
}

fn verifier<S: State>(
    state: &S,
    key_id: &KeyId,
    name: Option<KeyName>,
    signature_type: SignatureType,
) -> Result<Option<VerifierKey>, S::Error> {
    let record = registry::key(state, key_id)?;
    Ok(record
        .zip(name)
        .map(|(record, name)| VerifierKey::new(name, signature_type, record.public_key)))
}
