// SPDX-License-Identifier: EUPL-1.2
//! C2SP tlog-proof: index, path and checkpoint in one text, `.tlog-proof`.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write};

use crate::base64;
use crate::hash::Hash;
use crate::merkle::PROOF_HASHES_MAX;
use crate::note::{NOTE_BYTES_MAX, Note, NoteError};
use crate::number::{EntryIndex, parse_decimal};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
/// Longest extra data that is read, in bytes.
pub const EXTRA_BYTES_MAX: usize = 16 * 1024;
/// Longest proof that is read, in bytes: extra data, 65 hashes and a note fit.
pub const TLOG_PROOF_BYTES_MAX: usize = NOTE_BYTES_MAX + 2 * EXTRA_BYTES_MAX;

/// A parsed proof, believed in nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// What the application needs to recompute the leaf. Not authenticated by itself.
    pub extra: Option<Vec<u8>>,
    /// Place of the leaf.
    pub index: EntryIndex,
    /// Inclusion proof, the leaf's sibling first.
    pub path: Vec<Hash>,
    /// The checkpoint with its signatures.
    pub note: Note,
}

impl TlogProof {
    /// Parses a proof. Formatting it gives the same bytes again.
    ///
    /// # Errors
    /// Malformed, or larger than this module's limits.
    pub fn parse(proof: &[u8]) -> Result<Self, TlogProofError> {
        if proof.len() > TLOG_PROOF_BYTES_MAX {
            return Err(TlogProofError::Size);
        }
        let proof = core::str::from_utf8(proof).map_err(|_| TlogProofError::Utf8)?;
        let (head, note) = proof.split_once("\n\n").ok_or(TlogProofError::Lines)?;
        let mut lines = head.split('\n');
        if lines.next() != Some(FIRST_LINE) {
            return Err(TlogProofError::FirstLine);
        }
        let mut line = lines.next().ok_or(TlogProofError::Index)?;
        let mut extra = None;
        if let Some(data) = line.strip_prefix("extra ") {
            if data.len() > EXTRA_BYTES_MAX.div_ceil(3) * 4 {
                return Err(TlogProofError::Extra);
            }
            extra = Some(base64::decode(data).ok_or(TlogProofError::Extra)?);
            line = lines.next().ok_or(TlogProofError::Index)?;
        }
        let index = line
            .strip_prefix("index ")
            .and_then(parse_decimal)
            .ok_or(TlogProofError::Index)?;
        let mut path = Vec::new();
        for line in lines {
            if path.len() == PROOF_HASHES_MAX {
                return Err(TlogProofError::Hash);
            }
            path.push(Hash::from_base64(line).ok_or(TlogProofError::Hash)?);
        }
        let note = Note::parse(note.as_bytes()).map_err(TlogProofError::Note)?;
        Ok(Self {
            extra,
            index: EntryIndex(index),
            path,
            note,
        })
    }

    /// The bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extra = self.extra.as_deref();
        write(f, extra, self.index, &self.path, &self.note)
    }
}

/// Formats a proof from its parts, wherever they are kept.
pub(crate) fn write(
    f: &mut fmt::Formatter<'_>,
    extra: Option<&[u8]>,
    index: EntryIndex,
    path: &[Hash],
    note: &impl fmt::Display,
) -> fmt::Result {
    // In one piece: a formatter is slow at small ones.
    let mut head = String::with_capacity(256 + path.len() * 45);
    head.push_str(FIRST_LINE);
    head.push('\n');
    if let Some(extra) = extra {
        head.push_str("extra ");
        base64::encode_onto(extra, &mut head);
        head.push('\n');
    }
    writeln!(head, "index {index}")?;
    for hash in path {
        base64::encode_onto(hash.as_bytes(), &mut head);
        head.push('\n');
    }
    head.push('\n');
    f.write_str(&head)?;
    note.fmt(f)
}

/// Why a proof is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlogProofError {
    /// Larger than [`TLOG_PROOF_BYTES_MAX`].
    Size,
    /// Not UTF-8.
    Utf8,
    /// No empty line before the checkpoint.
    Lines,
    /// Another format, or another version of this one.
    FirstLine,
    /// Extra data that is not base64, or too long.
    Extra,
    /// No index, or not a decimal without leading zeroes.
    Index,
    /// A line of the path that is not a hash, or too many.
    Hash,
    /// The checkpoint's note.
    Note(NoteError),
}

impl fmt::Display for TlogProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlogProofError::Size => f.write_str("the proof is too large"),
            TlogProofError::Utf8 => f.write_str("the proof is not UTF-8"),
            TlogProofError::Lines => f.write_str("the proof has no checkpoint"),
            TlogProofError::FirstLine => f.write_str("this is no tlog-proof of version 1"),
            TlogProofError::Extra => f.write_str("the proof's extra line is malformed"),
            TlogProofError::Index => f.write_str("the proof's index line is missing or malformed"),
            TlogProofError::Hash => {
                f.write_str("a hash of the proof is malformed, or there are too many")
            }
            TlogProofError::Note(cause) => cause.fmt(f),
        }
    }
}

impl core::error::Error for TlogProofError {}

#[cfg(test)]
mod tests;
