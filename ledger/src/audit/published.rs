// SPDX-License-Identifier: EUPL-1.2
//! What the ledger publishes of itself: state roots, which follow from what was replayed, and checkpoints, of the tree as replayed and signed
//! by those whom the replayed registry names.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use super::{Audit, Evidence, Place, Unproven, beyond::resting};
use crate::{
    checkpoint::Checkpoint,
    fold::Change,
    id::KeyId,
    note::{KeyName, Note, SignatureType, VerifierKey},
    number::{EntryIndex, TreeSize},
    policy::Policy,
    state::registry,
};

impl Audit {
    /// The state root that was just admitted is the one of its size.
    pub(super) fn check_state_root(&mut self, index: EntryIndex) -> Result<(), Evidence> {
        let said = registry::state_root(&self.state);
        let Ok(Some(said)) = said else {
            return Ok(());
        };
        if let Some(beyond) = &mut self.beyond {
            beyond.told &= said.size < beyond.size;
        }
        let folded = self
            .pending
            .partition_point(|change| said.size.holds(change.index));
        let changes: Vec<Change> = self.pending.drain(..folded).collect();
        if let Some(retired) = &mut self.report.retired {
            retired.state_roots += 1;
            let cuts = changes.iter().filter_map(Change::cut);
            cuts.for_each(|cut| self.excuse_retired(&cut));
            return Ok(());
        }
        self.fold.apply_all(&changes);
        // A cut takes entries before the start by what the start told of them.
        let cut = self.beyond.is_some() && changes.iter().any(|change| change.reach.is_some());
        let on: &[Unproven] = if cut { &[Unproven::Terms] } else { &[] };
        if self.fold.root() != said.root {
            let lie = Evidence {
                at: Place::Entry(index),
                what: "the state root",
                said: said.root.to_string(),
                computed: self.fold.root().to_string(),
            };
            return Err(resting(lie, on));
        }
        self.report.rest(index, on);
        self.report.state_roots += 1;
        Ok(())
    }

    pub(super) fn take_checkpoint(&mut self, note: &Note) -> Result<(), Evidence> {
        let checkpoint = Checkpoint::parse(note.text());
        let size = checkpoint
            .as_ref()
            .map_or(self.size(), |checkpoint| checkpoint.size);
        let lie = |what, said: String, computed: String| Evidence {
            at: Place::Checkpoint(size),
            what,
            said,
            computed,
        };
        let no_note =
            |error: &dyn fmt::Display| lie("a checkpoint", error.to_string(), "one".into());
        let checkpoint = checkpoint.map_err(|error| no_note(&error))?;
        if size != self.size() {
            // Where it should stand, only a whole replay can tell.
            return Err(lie(
                "its place",
                format!("after {} entries", self.size()),
                format!("after {size}"),
            ));
        }
        if checkpoint.root != self.tree.root() {
            let (said, computed) = (checkpoint.root, self.tree.root());
            return Err(lie(
                "the root of the tree",
                said.to_string(),
                computed.to_string(),
            ));
        }
        self.check_signatures(note, size)?;
        self.report.checkpoints += 1;
        self.report.published = size.0;
        Ok(())
    }

    /// Whether the nodes in force at this size signed it, and those whom the policy file names.
    pub(super) fn check_signatures(&self, note: &Note, size: TreeSize) -> Result<(), Evidence> {
        let lie = |what, said: String, computed: String| Evidence {
            at: Place::Checkpoint(size),
            what,
            said,
            computed,
        };
        let quorum = self
            .quorum(size)
            .map_err(|error| lie("the registry", "sound".into(), error))?;
        quorum
            .verify(note)
            .map_err(|error| lie("its signatures", "enough".into(), error.to_string()))?;
        if self.policies.at_size(size).is_some() {
            let verified = self.policies.verify(note);
            verified.map_err(|error| {
                lie(
                    "its signatures",
                    "enough for the policy file".into(),
                    error.to_string(),
                )
            })?;
        }
        Ok(())
    }

    /// The log key and a majority of the nodes in force at this size, out of the replayed registry.
    fn quorum(&self, size: TreeSize) -> Result<Policy, String> {
        let text = |error: &dyn fmt::Display| error.to_string();
        let Some(ledger) = &self.ledger else {
            return Err("empty".into());
        };
        let key = |name: String, id: &KeyId, signature_type| -> Result<VerifierKey, String> {
            let name = KeyName::parse(&name).map_err(|error| text(&error))?;
            let record = registry::key(&self.state, id).map_err(|error| text(&error))?;
            let record = record.ok_or_else(|| format!("without key {id}"))?;
            Ok(VerifierKey::new(name, signature_type, record.public_key))
        };
        let log = registry::log_key_at(&self.state, size).map_err(|error| text(&error))?;
        let log = log.ok_or("without a log key")?;
        let origin = format!("{}/{}", ledger.name, ledger.shard);
        let log = key(origin, &log, SignatureType::Ed25519)?;
        let mut nodes = Vec::new();
        for node in registry::nodes_at(&self.state, size).map_err(|error| text(&error))? {
            let current = registry::current_key(&self.state, &node.cosign_key, EntryIndex(size.0));
            let current = current.map_err(|error| text(&error))?;
            let name = format!("{}/node/{}", ledger.name, node.node);
            nodes.push((node.node, key(name, &current, SignatureType::Cosignature)?));
        }
        Policy::majority(&log, &nodes).map_err(|error| text(&error))
    }
}
