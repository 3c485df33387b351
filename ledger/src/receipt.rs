// SPDX-License-Identifier: EUPL-1.2
//! Receipts: a tlog-proof whose extra data lets anyone who holds the entry recompute its leaf (byte specification, *Receipt*).
//!
//! A receipt promises: the entry is fsynced on a quorum, it stands in the tree of size N, and a majority of the nodes in force at N
//! computed that tree. A corrupt majority is caught by witnesses and other holders of receipts, not by one receipt.
//!
//! Many receipts stand under one checkpoint, and its signatures are what costs: [`VerifiedNote::open`] checks them once, and
//! [`Receipt::verify_in`] holds a receipt under it with hashes alone. [`verify`] is the two together.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::body::Body;
use crate::bytes::{self, Meta};
use crate::entry::SubmittedEntry;
use crate::hash::Hash;
use crate::merkle::{self, ProofError};
use crate::note::{Note, VerifierKey};
use crate::number::EntryIndex;
use crate::policy::{Cosigned, PolicySet, VerifiedCheckpoint, VerifyError};
use crate::signature::Sigs;
use crate::time::format_timestamp;
use crate::tlog_proof::{self, TlogProof, TlogProofError};

/// A parsed receipt, believed in nothing: [`verify`] and [`Receipt::verify_in`] say whether it holds. Whoever only hands it out keeps the
/// note as the text that it is (`N`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt<N = Note> {
    /// Place of the entry.
    pub index: EntryIndex,
    /// What the leaf's first commitment holds.
    pub meta: Meta,
    /// What opens both commitments.
    pub body_salt: [u8; 32],
    /// Inclusion proof, the leaf's sibling first.
    pub path: Vec<Hash>,
    /// The checkpoint with its signatures.
    pub note: N,
}

impl Receipt {
    /// Parses a `.tlog-proof` with Visto's extra data. Formatting it gives the same bytes again.
    ///
    /// # Errors
    /// No tlog-proof, or extra data that is not a receipt's.
    pub fn parse(receipt: &[u8]) -> Result<Self, ReceiptError> {
        let TlogProof {
            extra,
            index,
            path,
            note,
        } = TlogProof::parse(receipt).map_err(ReceiptError::Form)?;
        let (meta, body_salt) = extra
            .and_then(|extra| bytes::extra_decode(&extra))
            .ok_or(ReceiptError::Extra)?;
        Ok(Self {
            index,
            meta,
            body_salt,
            path,
            note,
        })
    }
}

/// As a `.tlog-proof`.
impl<N: fmt::Display> fmt::Display for Receipt<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extra = bytes::extra_encode(&self.meta, &self.body_salt);
        tlog_proof::write(f, Some(&extra), self.index, &self.path, &self.note)
    }
}

/// A receipt that holds for its entry under a policy. Only [`verify`] and [`Receipt::verify_in`] make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedReceipt {
    index: EntryIndex,
    meta: Meta,
    leaf_hash: Hash,
    checkpoint: VerifiedCheckpoint,
}

impl VerifiedReceipt {
    /// Place of the entry in the ledger.
    pub fn index(&self) -> EntryIndex {
        self.index
    }

    /// When the ledger accepted the entry, as what, under which rules and with which findings.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The entry's leaf hash.
    pub fn leaf_hash(&self) -> Hash {
        self.leaf_hash
    }

    /// The checkpoint that holds the entry, and who cosigned it when.
    pub fn checkpoint(&self) -> &VerifiedCheckpoint {
        &self.checkpoint
    }

    /// The earliest and the latest cosignature, in POSIX seconds: the entry was in the ledger by the latest, on its cosigner's word. None if
    /// the policy asks for no cosignature and there is none.
    pub fn cosigned_between_s(&self) -> Option<(u64, u64)> {
        let cosignatures = self.checkpoint.cosignatures();
        let times = || cosignatures.iter().map(|cosigned| cosigned.time_s);
        times().min().zip(times().max())
    }

    /// The entry's body speaks of the ledger that gave the receipt, and of itself as the ledger does. To be asked of every body that is
    /// believed because of a receipt.
    ///
    /// # Errors
    /// [`ReceiptError::Ledger`], [`ReceiptError::Type`]
    pub fn agree_with(&self, body: &Body) -> Result<(), ReceiptError> {
        let origin = self.checkpoint.checkpoint().origin.as_str();
        if origin.rsplit_once('/').map(|(name, _)| name) != Some(body.common.ledger.as_str()) {
            return Err(ReceiptError::Ledger);
        }
        if self.meta.entry_type == body.entry_type() {
            Ok(())
        } else {
            Err(ReceiptError::Type)
        }
    }

    /// What the receipt proves, a sentence a fact, for readers who know no formats.
    pub fn facts(&self) -> Vec<String> {
        let (meta, checkpoint) = (&self.meta, self.checkpoint.checkpoint());
        let accepted_at = format_timestamp(meta.accepted_at_ms);
        let mut facts = Vec::from([
            format!(
                "The entry is number {} of {}, leaf {}.",
                self.index, checkpoint.origin, self.leaf_hash
            ),
            format!(
                "The ledger accepted it at {accepted_at} under rule set {}.",
                meta.rules
            ),
            format!(
                "The log signed the tree of {} entries that holds it.",
                checkpoint.size
            ),
        ]);
        if meta.findings.is_covered() {
            facts.insert(2, "The ledger found nothing wrong with it.".into());
        }
        for finding in meta.findings.iter() {
            facts.insert(
                2,
                format!(
                    "The ledger found: {} ({}).",
                    finding.meaning(),
                    finding.name()
                ),
            );
        }
        for Cosigned { name, time_s } in self.checkpoint.cosignatures() {
            let time = format_timestamp(time_s.saturating_mul(1000));
            facts.push(format!("{name} cosigned that tree at {time}."));
        }
        facts
    }
}

/// A checkpoint's note, every known line of which holds under a policy file: what receipts can stand under. May be kept and used again for as
/// long as that policy file is the one to go by; [`VerifiedNote::key`] tells which note it is. Only [`VerifiedNote::open`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedNote {
    key: Hash,
    checkpoint: VerifiedCheckpoint,
    /// What the policy file names.
    genesis: Option<Hash>,
}

impl VerifiedNote {
    /// Verifies a note for receipts: as [`PolicySet::verify`], and no line is a damaged one of a known key.
    ///
    /// # Errors
    /// [`ReceiptError::Checkpoint`], [`ReceiptError::Line`]
    pub fn open(note: &Note, policies: &PolicySet) -> Result<Self, ReceiptError> {
        let checkpoint = policies.verify(note).map_err(ReceiptError::Checkpoint)?;
        // The policy was there a line ago.
        let keys = policies
            .at_size(checkpoint.checkpoint().size)
            .map(|policy| policy.keys())
            .unwrap_or_default();
        if !lines_are_clean(note, keys) {
            return Err(ReceiptError::Line);
        }
        Ok(Self {
            key: note_key(note),
            checkpoint,
            genesis: policies.genesis(),
        })
    }

    /// SHA-256 of the note's bytes, signature lines included: [`Receipt::note_key`] of every receipt under it.
    pub fn key(&self) -> Hash {
        self.key
    }

    /// What log and cosigners stated.
    pub fn checkpoint(&self) -> &VerifiedCheckpoint {
        &self.checkpoint
    }
}

/// SHA-256 of a note's bytes.
fn note_key(note: &Note) -> Hash {
    Hash::of(&[note.to_string().as_bytes()])
}

impl Receipt {
    /// SHA-256 of the bytes of the note that the receipt stands under: finds the [`VerifiedNote`] to give to [`Receipt::verify_in`].
    pub fn note_key(&self) -> Hash {
        note_key(&self.note)
    }

    /// Verifies that the receipt is this entry's, under a note that was verified before. No signature is checked again.
    ///
    /// # Errors
    /// [`ReceiptError::OtherNote`] where the receipt stands under another note, else why it proves nothing.
    pub fn verify_in(
        &self,
        note: &VerifiedNote,
        entry: &SubmittedEntry,
    ) -> Result<VerifiedReceipt, ReceiptError> {
        self.verify_signed_in(note, entry.pae(), entry.sigs())
    }

    /// As [`Receipt::verify_in`], for an entry of which only what is signed and the signatures are at hand.
    ///
    /// # Errors
    /// As [`Receipt::verify_in`].
    pub fn verify_signed_in(
        &self,
        note: &VerifiedNote,
        pae: &[u8],
        sigs: &Sigs,
    ) -> Result<VerifiedReceipt, ReceiptError> {
        if self.note_key() != note.key {
            return Err(ReceiptError::OtherNote);
        }
        if self.index == EntryIndex(0)
            && note
                .genesis
                .is_some_and(|genesis| genesis != Hash::of(&[pae]))
        {
            return Err(ReceiptError::Genesis);
        }
        let checkpoint = note.checkpoint.checkpoint();
        let meta_commit = bytes::meta_commit(&bytes::meta_salt(&self.body_salt), &self.meta);
        let body_commit = bytes::body_commit(&self.body_salt, pae, &sigs.encode());
        let leaf_hash = bytes::leaf_hash(&bytes::leaf(&meta_commit, &body_commit));
        let root = merkle::verify_inclusion(self.index, checkpoint.size, leaf_hash, &self.path)
            .map_err(ReceiptError::Proof)?;
        if root != checkpoint.root {
            return Err(ReceiptError::Proof(ProofError::OtherRoot));
        }
        // The leaf commits to both; a ledger whose leaf contradicts itself is not to be believed.
        if self.meta.first_key != sigs.first() {
            return Err(ReceiptError::Meta);
        }
        Ok(VerifiedReceipt {
            index: self.index,
            meta: self.meta,
            leaf_hash,
            checkpoint: note.checkpoint.clone(),
        })
    }
}

/// Verifies that the receipt is this entry's, and holds under the policy for its tree's size. Whether the entry's own signatures hold is
/// another question, which needs the signers' keys: [`crate::entry::verify`].
///
/// # Errors
/// Why it proves nothing.
pub fn verify(
    entry: &SubmittedEntry,
    receipt: &Receipt,
    policies: &PolicySet,
) -> Result<VerifiedReceipt, ReceiptError> {
    receipt.verify_in(&VerifiedNote::open(&receipt.note, policies)?, entry)
}

/// Whether no line is a known key's but for its name or its key ID. A signed note lets such lines pass as a stranger's; under a receipt
/// one is a damaged signature, and no byte of a receipt may change unseen. Lines of another length are other types', even under a known
/// name (a cosigner's post-quantum signature, for one), and pass.
fn lines_are_clean(note: &Note, keys: &[VerifierKey]) -> bool {
    note.signatures().iter().all(|line| {
        let same_name = |key: &&VerifierKey| *key.name() == line.name;
        let same_key_id = |key: &&VerifierKey| key.key_id() == line.key_id;
        let same_length =
            |key: &&VerifierKey| key.signature_type().signature_bytes() == line.signature.len();
        let known = keys.iter().any(|key| same_name(&key) && same_key_id(&key));
        known
            || !keys
                .iter()
                .any(|key| same_length(&key) && (same_name(&key) || same_key_id(&key)))
    })
}

/// Why a receipt proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptError {
    /// Not a tlog-proof.
    Form(TlogProofError),
    /// The extra data is missing, or not of version 1.
    Extra,
    /// The checkpoint is not to be believed.
    Checkpoint(VerifyError),
    /// A signature line under a known name with another key ID, or the other way round.
    Line,
    /// The receipt stands under another note than the one that was verified.
    OtherNote,
    /// The receipt is of a genesis entry, and the policy file names another.
    Genesis,
    /// The path does not lead from this entry to the checkpoint's root: another entry's, or changed.
    Proof(ProofError),
    /// The leaf names another key than the entry's first.
    Meta,
    /// The entry is for another ledger than the one that gave the receipt.
    Ledger,
    /// The ledger sequenced the entry as another type.
    Type,
}

impl fmt::Display for ReceiptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReceiptError::Form(cause) => cause.fmt(f),
            ReceiptError::Extra => f.write_str("the receipt's extra line is missing or malformed"),
            ReceiptError::Checkpoint(cause) => cause.fmt(f),
            ReceiptError::Line => f.write_str("a signature line of the receipt is damaged"),
            ReceiptError::OtherNote => f.write_str("the receipt stands under another checkpoint than the one verified"),
            ReceiptError::Genesis => f.write_str("the policy file names another genesis entry"),
            ReceiptError::Proof(ProofError::OtherRoot) => {
                f.write_str("the receipt does not lead from this entry to the checkpoint: it is another entry's, or was changed")
            }
            ReceiptError::Proof(cause) => cause.fmt(f),
            ReceiptError::Meta => f.write_str("the ledger's leaf names another signer than the entry"),
            ReceiptError::Ledger => f.write_str("the entry is for another ledger than the receipt's"),
            ReceiptError::Type => f.write_str("the ledger sequenced the entry as another type"),
        }
    }
}

impl core::error::Error for ReceiptError {}
