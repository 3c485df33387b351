// SPDX-License-Identifier: EUPL-1.2
//! What an export stands on: its checkpoint, the state root under it, and the facts under that. Entries are checked against these.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

use super::{Erased, Export, Fault, Lie, Opened};
use crate::{
    admission,
    body::{Body, Content, governance::Key, system::StateRoot},
    bytes::{Meta, state::decode_at},
    entry::Verifier,
    finding::Finding,
    hash::Hash,
    id::KeyId,
    key::{KeyUse, PublicKey},
    merkle,
    number::{EntryIndex, TreeSize},
    policy::{PolicySet, VerifiedCheckpoint, VerifyError},
    receipt::{ReceiptError, VerifiedNote},
    state::{KeyRecord, StateKey, kind},
    state_map::{self, MapProof},
};

/// The proven ground under an export's entries.
pub(super) struct Ground<'e> {
    pub checkpoint: VerifiedCheckpoint,
    /// Name of the ledger, as bodies carry it.
    pub ledger: String,
    /// What the policy file says entry 0 is.
    genesis: Option<Hash>,
    pub root: StateRoot,
    pub root_index: EntryIndex,
    pub root_meta: Meta,
    keys: BTreeMap<KeyId, KeyRecord>,
    /// Proven values, and proven absences.
    facts: BTreeMap<&'e StateKey, Option<&'e [u8]>>,
}

impl<'e> Ground<'e> {
    /// Verifies checkpoint, state root and facts, from the policy upwards.
    pub(super) fn of(export: &'e Export, policies: &PolicySet) -> Result<Ground<'e>, Fault> {
        let head = &export.head;
        let at = |fault: Fault| fault.at("checkpoint");
        let note = VerifiedNote::open(&head.checkpoint, policies).map_err(|error| {
            let lie = match error {
                ReceiptError::Checkpoint(VerifyError::NoPolicy) => Lie::NoPolicy,
                _ => Lie::Policy,
            };
            at(Fault::new(lie, format!("{error}")))
        })?;
        let checkpoint = note.checkpoint().clone();
        let origin = &checkpoint.checkpoint().origin;
        if *origin != head.origin {
            let why = format!("the checkpoint is that of {origin}");
            return Err(Fault::new(Lie::Changed, why).at("origin"));
        }
        // An origin is the ledger's name and the shard.
        let ledger = origin.as_str().rsplit_once('/').map(|(name, _)| name);
        let ledger = ledger.unwrap_or(origin.as_str()).into();
        let mut ground = Ground {
            checkpoint,
            ledger,
            genesis: policies.genesis(),
            root: StateRoot {
                size: 0,
                version: 0,
                root: state_map::EMPTY,
                previous: state_map::EMPTY,
            },
            root_index: head.state_root.index,
            root_meta: head.state_root.meta,
            keys: BTreeMap::new(),
            facts: BTreeMap::new(),
        };
        let root = ground.body(&head.state_root);
        match root.map_err(|fault| fault.at("stateRoot"))?.content {
            Content::StateRoot(root) => ground.root = root,
            other => {
                let why = format!("a {} entry is no state root", other.entry_type().as_str());
                return Err(Fault::new(Lie::Changed, why).at("stateRoot"));
            }
        }
        for (at, fact) in export.facts.iter().enumerate() {
            let proven = ground.prove(&fact.key, fact.value.as_deref(), &fact.proof);
            proven.map_err(|fault| fault.at(at).at("facts"))?;
            let twice = ground.facts.insert(&fact.key, fact.value.as_deref());
            if twice.is_some() {
                return Err(Fault::new(Lie::Malformed, "a fact stands twice")
                    .at(at)
                    .at("facts"));
            }
            ground
                .take_key(&fact.key, fact.value.as_deref())
                .map_err(|fault| fault.at(at).at("facts"))?;
        }
        Ok(ground)
    }

    fn take_key(&mut self, key: &StateKey, value: Option<&[u8]>) -> Result<(), Fault> {
        let (kind::KEY, Some(value)) = (key.kind, value) else {
            return Ok(());
        };
        let no_key = || Fault::new(Lie::Changed, "the value is no key's").at("value");
        let record = KeyRecord::decode(value).ok_or_else(no_key)?;
        let id = record.public_key.key_id();
        if id.0.as_bytes().as_slice() != key.name {
            return Err(no_key());
        }
        self.keys.insert(id, record);
        Ok(())
    }

    /// The map under the state root holds this value, or holds none.
    pub(super) fn prove(
        &self,
        key: &StateKey,
        value: Option<&[u8]>,
        proof: &MapProof,
    ) -> Result<(), Fault> {
        if !key.under_root() {
            return Err(Fault::new(
                Lie::Malformed,
                "such a fact stands under no root",
            ));
        }
        let (root, key) = (&self.root.root, key.hash());
        match value {
            Some(value) => state_map::verify_presence(root, &key, value, proof),
            None => state_map::verify_absence(root, &key, proof),
        }
        .map_err(|error| {
            let why = format!("{error}, not to that of state root {}", self.root.version);
            Fault::new(Lie::Changed, why).at("proof")
        })
    }

    /// A proven fact: `Some(None)` is a proven absence.
    pub(super) fn fact(&self, key: &StateKey) -> Option<Option<&'e [u8]>> {
        self.facts.get(key).copied()
    }

    /// The keys that are proven, to verify signatures with.
    pub(super) fn public_keys(&self) -> BTreeMap<KeyId, PublicKey> {
        let keys = self.keys.iter();
        keys.map(|(id, record)| (*id, record.public_key)).collect()
    }

    /// Checks an entry in full: leaf, path, body, signatures, and the right of whoever signed to do so. Answers with its body.
    pub(super) fn open(
        &self,
        opened: &Opened,
        verifier: &mut Verifier<'_, BTreeMap<KeyId, PublicKey>>,
    ) -> Result<Body, Fault> {
        let body = self.body(opened)?;
        for row in opened.entry.sigs().rows() {
            if !self.keys.contains_key(&row.key_id) {
                let why = format!("no fact proves key {}, which signed", row.key_id);
                return Err(Fault::new(Lie::Unproven, why).at("envelope"));
            }
        }
        verifier
            .verify_signatures(&opened.entry)
            .map_err(|stop| Fault::new(Lie::Signature, format!("{stop}")).at("envelope"))?;
        self.judge_signers(opened, &body)?;
        Ok(body)
    }

    /// The body of an entry whose leaf stands in the tree, and that agrees with its leaf.
    fn body(&self, opened: &Opened) -> Result<Body, Fault> {
        self.include(opened.index, opened.leaf_hash(), &opened.path)?;
        let changed = |member: &str, why: String| Err(Fault::new(Lie::Changed, why).at(member));
        let body = Body::parse_partial(opened.entry.payload(), opened.entry.disclosures());
        let body = body.map_err(|refused| {
            // The leaf commits to the body: what is wrong now is what travels outside of it.
            let why = format!("the disclosures are not those that were signed ({refused})");
            Fault::new(Lie::Changed, why).at("disclosures")
        })?;
        if body.common.ledger != self.ledger {
            let why = format!("the entry is for ledger {}", body.common.ledger);
            return Err(Fault::new(Lie::Anothers, why).at("envelope"));
        }
        if body.entry_type() != opened.meta.entry_type {
            return changed("meta", "the leaf says another type than the body".into());
        }
        if opened.meta.first_key != opened.entry.sigs().first() {
            return changed("meta", "the leaf names another signer".into());
        }
        if opened.index == EntryIndex(0)
            && self
                .genesis
                .is_some_and(|genesis| genesis != Hash::of(&[opened.entry.pae()]))
        {
            let why = "the policy file names another genesis entry";
            return Err(Fault::new(Lie::Policy, why).at("envelope"));
        }
        Ok(body)
    }

    /// Checks what is left of an erased entry.
    pub(super) fn bridge(&self, erased: &Erased) -> Result<(), Fault> {
        self.include(erased.index, erased.leaf_hash(), &erased.path)
    }

    fn include(&self, index: EntryIndex, leaf_hash: Hash, path: &[Hash]) -> Result<(), Fault> {
        let checkpoint = self.checkpoint.checkpoint();
        let root = merkle::verify_inclusion(index, checkpoint.size, leaf_hash, path);
        if root == Ok(checkpoint.root) {
            return Ok(());
        }
        let why = format!("what is shown of entry {index} is not what the ledger holds there");
        Err(Fault::new(Lie::Changed, why))
    }

    /// The keys were in force for this, and those who signed may speak for the institution named; or the ledger found that they may not.
    fn judge_signers(&self, opened: &Opened, body: &Body) -> Result<(), Fault> {
        let refuse = |lie, why: String| Err(Fault::new(lie, why).at("envelope"));
        let ids: Vec<KeyId> = opened
            .entry
            .sigs()
            .rows()
            .iter()
            .map(|row| row.key_id)
            .collect();
        let alone = match &body.content {
            Content::Key(Key::Rotated { replaces, .. }) => ids == [*replaces],
            Content::Key(Key::Revoked { key_id, .. }) => ids == [*key_id],
            _ => false,
        };
        let records = || self.keys.iter().filter(|(id, _)| ids.contains(id));
        for (id, record) in records() {
            if !record.in_force_at(opened.index) {
                let why = format!("key {id} was not in force at entry {}", opened.index);
                return refuse(Lie::Signature, why);
            }
            if !alone && !admission::may_sign(record.key_use, body.entry_type()) {
                let why = format!(
                    "key {id} may not sign {} entries",
                    body.entry_type().as_str()
                );
                return refuse(Lie::Signature, why);
            }
        }
        let controller = &body.common.institution;
        if opened.meta.findings.contains(Finding::DelegationMissing)
            || records().any(|(_, record)| record.institution == *controller)
        {
            return Ok(());
        }
        for (_, record) in records().filter(|(_, record)| record.key_use == KeyUse::Entry) {
            // A delegation may have ended since: that it stood then is the ledger's judgement, whose finding would say otherwise.
            match self.fact(&StateKey::delegation(controller, &record.institution)) {
                Some(Some(value)) if decode_at(value).is_some() => return Ok(()),
                Some(None) => return Ok(()),
                _ => {}
            }
        }
        let why = format!("no fact tells whether its signer may speak for {controller}");
        refuse(Lie::Unproven, why)
    }

    /// The first entries that are covered.
    pub(super) fn size(&self) -> TreeSize {
        TreeSize(self.root.size)
    }
}
