// SPDX-License-Identifier: EUPL-1.2
//! C2SP tlog-checkpoint: origin, tree size and root, three lines and no more.
//!
//! Extension lines are refused: witnesses refuse them too, and later cosignature formats do not cover them.

use alloc::string::{String, ToString};
use core::fmt;

use crate::hash::Hash;
use crate::merkle::empty_root;
use crate::note::{KeyName, Note, NoteError, SignatureType, VerifiedLine, VerifierKey};
use crate::number::{TreeSize, parse_decimal};

/// What a log states of itself: this is my tree at this size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log: its name, and that of its key.
    pub origin: KeyName,
    /// Number of leaves.
    pub size: TreeSize,
    /// Root over them.
    pub root: Hash,
}

impl Checkpoint {
    /// Parses the text of a checkpoint's note. Formatting it gives the same text.
    ///
    /// # Errors
    /// Malformed, extension lines, or a root of the empty tree that is not.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let malformed = CheckpointError::Malformed;
        let (origin, rest) = text.split_once('\n').ok_or(malformed)?;
        let (size, rest) = rest.split_once('\n').ok_or(malformed)?;
        let (root, rest) = rest.split_once('\n').ok_or(malformed)?;
        if !rest.is_empty() {
            return Err(CheckpointError::Extension);
        }
        let origin = KeyName::parse(origin).map_err(CheckpointError::Note)?;
        let size = TreeSize(parse_decimal(size).ok_or(malformed)?);
        let root = Hash::from_base64(root).ok_or(malformed)?;
        if size == TreeSize::EMPTY && root != empty_root() {
            return Err(CheckpointError::EmptyRoot);
        }
        Ok(Self { origin, size, root })
    }

    /// The text that log and witnesses sign.
    pub fn to_text(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}\n{}\n{}",
            self.origin,
            self.size,
            self.root.to_base64()
        )
    }
}

/// A checkpoint whose log signature holds, with all other known lines under it. Only [`SignedCheckpoint::open`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint<'k> {
    checkpoint: Checkpoint,
    lines: alloc::vec::Vec<VerifiedLine<'k>>,
}

impl<'k> SignedCheckpoint<'k> {
    /// Parses a checkpoint and verifies it under the keys given: one of type 0x01 whose name is the origin must have signed, and no line
    /// of a key given may fail.
    ///
    /// # Errors
    /// Malformed, or not signed like that.
    pub fn open(note: &Note, keys: &'k [VerifierKey]) -> Result<Self, CheckpointError> {
        let checkpoint = Checkpoint::parse(note.text())?;
        let lines = note.verify(keys).map_err(CheckpointError::Note)?;
        let by_log = |line: &VerifiedLine<'_>| {
            line.key.signature_type() == SignatureType::Ed25519
                && *line.key.name() == checkpoint.origin
        };
        if !lines.iter().any(by_log) {
            return Err(CheckpointError::NotByLog);
        }
        Ok(Self { checkpoint, lines })
    }

    /// What the log stated.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The lines of known keys, all of which hold: the log's and the cosigners'.
    pub fn lines(&self) -> &[VerifiedLine<'k>] {
        &self.lines
    }

    /// The cosigners and their times, in POSIX seconds.
    pub fn cosigners(&self) -> impl Iterator<Item = (&'k VerifierKey, u64)> + '_ {
        self.lines
            .iter()
            .filter_map(|line| line.time.map(|time_s| (line.key, time_s)))
    }
}

/// Why a checkpoint is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointError {
    /// Not origin, size and root.
    Malformed,
    /// More than three lines.
    Extension,
    /// Size 0 with another root than that of the empty tree.
    EmptyRoot,
    /// The note around it.
    Note(NoteError),
    /// No known key of type 0x01 signed it under the origin's name.
    NotByLog,
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckpointError::Malformed => f.write_str("the checkpoint is malformed"),
            CheckpointError::Extension => f.write_str("the checkpoint has extension lines"),
            CheckpointError::EmptyRoot => {
                f.write_str("the checkpoint has a false root of the empty tree")
            }
            CheckpointError::Note(cause) => cause.fmt(f),
            CheckpointError::NotByLog => f.write_str("the log itself did not sign the checkpoint"),
        }
    }
}

impl core::error::Error for CheckpointError {}
