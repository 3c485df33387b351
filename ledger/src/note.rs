// SPDX-License-Identifier: EUPL-1.2
//! C2SP signed-note: a text, an empty line, and lines that sign the text.
//!
//! Two signature types are spoken: Ed25519 over the text (0x01, the log's own) and the timestamped cosignature of
//! [`crate::cosignature`] (0x04). Lines of other keys and types are kept and never believed.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::base64;
use crate::cosignature;
use crate::hash::Hash;
use crate::key::{PublicKey, SigningKey};

/// Longest note that is read, in bytes: 64 lines of post-quantum size fit.
pub const NOTE_BYTES_MAX: usize = 256 * 1024;
/// Most signature lines that are read. The specification asks for 16 at least.
pub const SIGNATURES_MAX: usize = 64;
/// Longest signature, with its key ID, in bytes: "up to nearly 5 kB" says the specification.
pub const SIGNATURE_BYTES_MAX: usize = 6 * 1024;
/// Longest key name, in bytes: what the length byte of later cosignature formats can hold.
pub const NAME_BYTES_MAX: usize = 255;

/// Name of a signer: not empty, no white space, no control character, no `+`. Only [`KeyName::parse`] makes one. A log's is its origin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// Takes a name that keeps the rules.
    ///
    /// # Errors
    /// [`NoteError::Name`]
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let bad = |c: char| c.is_whitespace() || c < ' ' || c == '+';
        if text.is_empty() || text.len() > NAME_BYTES_MAX || text.contains(bad) {
            return Err(NoteError::Name);
        }
        Ok(Self(text.to_string()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The first four bytes of a hash over name, type and key: finds a key, proves nothing. Shown as eight hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NoteKeyId(pub [u8; 4]);

impl fmt::Display for NoteKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

/// What kind of signature a key makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SignatureType {
    /// Over the note's text.
    Ed25519 = 0x01,
    /// Over a time and the note's text (C2SP tlog-cosignature, v1).
    Cosignature = 0x04,
}

impl SignatureType {
    fn from_code(code: u8) -> Option<Self> {
        [Self::Ed25519, Self::Cosignature]
            .into_iter()
            .find(|known| *known as u8 == code)
    }

    /// Bytes of a signature, without the key ID.
    pub fn signature_bytes(self) -> usize {
        match self {
            SignatureType::Ed25519 => 64,
            SignatureType::Cosignature => cosignature::COSIGNATURE_BYTES,
        }
    }
}

/// A public key under its name, as a *vkey* states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: KeyName,
    key_id: NoteKeyId,
    signature_type: SignatureType,
    public: PublicKey,
}

impl VerifierKey {
    /// The key that checks what `public`'s owner signs under this name.
    pub fn new(name: KeyName, signature_type: SignatureType, public: PublicKey) -> Self {
        let parts: [&[u8]; 4] = [
            name.as_str().as_bytes(),
            b"\n",
            &[signature_type as u8],
            public.as_bytes(),
        ];
        let [a, b, c, d, ..] = Hash::of(&parts).0;
        Self {
            name,
            key_id: NoteKeyId([a, b, c, d]),
            signature_type,
            public,
        }
    }

    /// Parses `<name>+<key ID, 8 lower-case hexadecimal digits>+<base64 of type and key>`.
    ///
    /// # Errors
    /// Malformed, a key ID that is not the key's, a type that is not spoken, a weak key.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let (name, rest) = text.split_once('+').ok_or(NoteError::VerifierKey)?;
        let (key_id, data) = rest.split_once('+').ok_or(NoteError::VerifierKey)?;
        if data.len() > 64 {
            return Err(NoteError::VerifierKey);
        }
        let data = base64::decode(data).ok_or(NoteError::VerifierKey)?;
        let (code, public) = data.split_first().ok_or(NoteError::VerifierKey)?;
        let signature_type = SignatureType::from_code(*code).ok_or(NoteError::Type)?;
        let public: [u8; 32] = public.try_into().map_err(|_| NoteError::VerifierKey)?;
        let public = PublicKey::from_bytes(public).map_err(|_| NoteError::WeakKey)?;
        let key = Self::new(KeyName::parse(name)?, signature_type, public);
        if key.key_id.to_string() != key_id {
            return Err(NoteError::KeyId);
        }
        Ok(key)
    }

    /// The signer's name.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The key's short ID.
    pub fn key_id(&self) -> NoteKeyId {
        self.key_id
    }

    /// What the key signs.
    pub fn signature_type(&self) -> SignatureType {
        self.signature_type
    }

    /// The key itself.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Checks one line over a text; answers with the time that a cosignature states (POSIX seconds).
    fn verify(&self, text: &str, signature: &[u8]) -> Result<Option<u64>, NoteError> {
        match self.signature_type {
            SignatureType::Ed25519 => {
                let signature: &[u8; 64] =
                    signature.try_into().map_err(|_| NoteError::Signature)?;
                self.public
                    .verify(text.as_bytes(), signature)
                    .map_err(|_| NoteError::Signature)?;
                Ok(None)
            }
            SignatureType::Cosignature => {
                cosignature::verify(&self.public, text, signature).map(Some)
            }
        }
    }
}

/// As a *vkey*.
impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut data = Vec::with_capacity(33);
        data.push(self.signature_type as u8);
        data.extend_from_slice(self.public.as_bytes());
        write!(f, "{}+{}+{}", self.name, self.key_id, base64::encode(&data))
    }
}

/// A line `— <name> <base64 of key ID and signature>`, believed in nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureLine {
    /// Who says to have signed.
    pub name: KeyName,
    /// With which key.
    pub key_id: NoteKeyId,
    /// The bytes after the key ID.
    pub signature: Vec<u8>,
}

impl SignatureLine {
    /// Signs a note's text (type 0x01).
    pub fn sign(name: &KeyName, key: &SigningKey, text: &str) -> Self {
        let verifier = VerifierKey::new(name.clone(), SignatureType::Ed25519, key.public());
        let signature = key.sign(text.as_bytes()).to_vec();
        Self {
            name: name.clone(),
            key_id: verifier.key_id,
            signature,
        }
    }

    /// Parses one line, without its line feed.
    ///
    /// # Errors
    /// [`NoteError::Line`], [`NoteError::Name`]
    pub fn parse(line: &str) -> Result<Self, NoteError> {
        let (name, data) = line
            .strip_prefix("— ")
            .and_then(|rest| rest.split_once(' '))
            .ok_or(NoteError::Line)?;
        if data.len() > SIGNATURE_BYTES_MAX.div_ceil(3) * 4 {
            return Err(NoteError::Line);
        }
        let data = base64::decode(data).ok_or(NoteError::Line)?;
        let (key_id, signature) = data.split_first_chunk::<4>().ok_or(NoteError::Line)?;
        if signature.is_empty() {
            return Err(NoteError::Line);
        }
        Ok(Self {
            name: KeyName::parse(name)?,
            key_id: NoteKeyId(*key_id),
            signature: signature.to_vec(),
        })
    }
}

/// Without its line feed.
impl fmt::Display for SignatureLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut data = Vec::with_capacity(4 + self.signature.len());
        data.extend_from_slice(&self.key_id.0);
        data.extend_from_slice(&self.signature);
        write!(f, "— {} {}", self.name, base64::encode(&data))
    }
}

/// A text and the lines under it, parsed and believed in nothing: [`Note::verify`] says which lines hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<SignatureLine>,
}

impl Note {
    /// A note of a text and its lines.
    ///
    /// # Errors
    /// The text does not end in a line feed or has other control characters; no line, or too many; larger than what is read again.
    pub fn new(text: String, signatures: Vec<SignatureLine>) -> Result<Self, NoteError> {
        if !text.ends_with('\n') || text.chars().any(|c| c < ' ' && c != '\n') {
            return Err(NoteError::Text);
        }
        if signatures.is_empty() || signatures.len() > SIGNATURES_MAX {
            return Err(NoteError::Lines);
        }
        if signatures.iter().any(|line| line.signature.is_empty()) {
            return Err(NoteError::Line);
        }
        let note = Self { text, signatures };
        if note.bytes() > NOTE_BYTES_MAX {
            return Err(NoteError::Size);
        }
        Ok(note)
    }

    /// Parses a note. Its formatting gives the same bytes again.
    ///
    /// # Errors
    /// Anything that the specification does not allow, or that is larger than this module's limits.
    pub fn parse(note: &[u8]) -> Result<Self, NoteError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteError::Size);
        }
        let note = core::str::from_utf8(note).map_err(|_| NoteError::Utf8)?;
        // The *last* empty line: a text may hold empty lines of its own.
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteError::Lines)?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Lines)?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() == SIGNATURES_MAX {
                return Err(NoteError::Lines);
            }
            signatures.push(SignatureLine::parse(line)?);
        }
        let mut text = text.to_string();
        text.push('\n');
        Self::new(text, signatures)
    }

    /// Length of the formatted note.
    fn bytes(&self) -> usize {
        // An em dash is three bytes; with two spaces and a line feed that makes six a line, besides name and base64.
        let line = |line: &SignatureLine| {
            6 + line.name.0.len() + (line.signature.len() + 4).div_ceil(3) * 4
        };
        self.text.len() + 1 + self.signatures.iter().map(line).sum::<usize>()
    }

    /// The text that is signed, with its last line feed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The lines, in order.
    pub fn signatures(&self) -> &[SignatureLine] {
        &self.signatures
    }

    /// Says which of these keys signed. Lines of unknown keys, by name *and* key ID, are passed over; a key that signed twice counts
    /// once, with its first line, though each line must hold.
    ///
    /// # Errors
    /// [`NoteError::Signature`] if a line of a known key does not hold, [`NoteError::NoKnownKey`] if there is none.
    pub fn verify<'k>(&self, keys: &'k [VerifierKey]) -> Result<Vec<VerifiedLine<'k>>, NoteError> {
        let mut verified: Vec<VerifiedLine<'k>> = Vec::new();
        for line in &self.signatures {
            let known = keys
                .iter()
                .find(|key| key.key_id == line.key_id && key.name == line.name);
            let Some(key) = known else { continue };
            let time = key.verify(&self.text, &line.signature)?;
            if !verified.iter().any(|earlier| earlier.key == key) {
                verified.push(VerifiedLine { key, time });
            }
        }
        if verified.is_empty() {
            Err(NoteError::NoKnownKey)
        } else {
            Ok(verified)
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures
            .iter()
            .try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// A key whose line under a note holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedLine<'k> {
    /// The key.
    pub key: &'k VerifierKey,
    /// When, in POSIX seconds, if the line is a cosignature.
    pub time: Option<u64>,
}

/// Why a note, a line or a key is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteError {
    /// Larger than [`NOTE_BYTES_MAX`].
    Size,
    /// Not UTF-8.
    Utf8,
    /// The text does not end in a line feed, or has another control character.
    Text,
    /// No empty line before the signatures, no signature, too many, or no line feed at the end.
    Lines,
    /// A line that is not `— <name> <base64>`.
    Line,
    /// A key name that is empty, too long, or has white space, control characters or `+`.
    Name,
    /// Not a verifier key.
    VerifierKey,
    /// A verifier key of a signature type that is not spoken here.
    Type,
    /// A public key of small order, or none at all.
    WeakKey,
    /// A verifier key whose key ID is not that of its name and key.
    KeyId,
    /// A line of a known key that does not hold.
    Signature,
    /// No line is of a known key.
    NoKnownKey,
}

impl fmt::Display for NoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoteError::Size => "the note is too large",
            NoteError::Utf8 => "the note is not UTF-8",
            NoteError::Text => "the note's text has a control character or no line feed at its end",
            NoteError::Lines => "the note has no signature lines, or too many",
            NoteError::Line => "a signature line of the note is malformed",
            NoteError::Name => "a key name is malformed",
            NoteError::VerifierKey => "a verifier key is malformed",
            NoteError::Type => "a verifier key is of an unknown type",
            NoteError::WeakKey => "a verifier key is weak",
            NoteError::KeyId => "a verifier key has another key's ID",
            NoteError::Signature => "a signature of a known key does not hold",
            NoteError::NoKnownKey => "no known key signed the note",
        })
    }
}

impl core::error::Error for NoteError {}

#[cfg(test)]
mod tests;
