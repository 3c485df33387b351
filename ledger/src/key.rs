// SPDX-License-Identifier: EUPL-1.2
//! Keys: one key, one use, one institution, for ever.

use core::fmt;

use ed25519_dalek::{Signature, Signer, VerifyingKey};
use zeroize::Zeroize;

use crate::{bytes, id::KeyId, refusal::Refusal};

/// What a key may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum KeyUse {
    Entry = 1,
    Token = 2,
    Governance = 3,
    Node = 4,
    Cosign = 5,
    Log = 6,
}

impl KeyUse {
    /// All uses.
    pub const ALL: [KeyUse; 6] = [
        KeyUse::Entry,
        KeyUse::Token,
        KeyUse::Governance,
        KeyUse::Node,
        KeyUse::Cosign,
        KeyUse::Log,
    ];

    /// The number in state values.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The use of a number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|candidate| candidate.code() == code)
    }

    /// The word in bodies.
    pub fn as_str(self) -> &'static str {
        match self {
            KeyUse::Entry => "entry",
            KeyUse::Token => "token",
            KeyUse::Governance => "governance",
            KeyUse::Node => "node",
            KeyUse::Cosign => "cosign",
            KeyUse::Log => "log",
        }
    }

    /// The use of a word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|candidate| candidate.as_str() == text)
    }

    /// Whether a key of this use may sign an entry at all; which type it may sign is admission's to say.
    pub fn signs_entries(self) -> bool {
        matches!(self, KeyUse::Entry | KeyUse::Governance | KeyUse::Node)
    }
}

/// An Ed25519 public key that is a point, canonical and not weak. Only [`PublicKey::from_bytes`] makes one; it keeps the point decoded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Decodes and judges the 32 bytes.
    ///
    /// # Errors
    /// [`Refusal::KeyWeak`] for no point, a second spelling of one, or one of small order.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, Refusal> {
        // y ≥ 2^255 − 19 would be a second spelling of a small y.
        let [low, middle @ .., high] = bytes;
        if high & 0x7f == 0x7f && low >= 0xed && middle.iter().all(|&byte| byte == 0xff) {
            return Err(Refusal::KeyWeak);
        }
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| Refusal::KeyWeak)?;
        if key.is_weak() {
            Err(Refusal::KeyWeak)
        } else {
            Ok(Self(key))
        }
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Its key id; that of alg 0x81 is the same.
    pub fn key_id(&self) -> KeyId {
        bytes::key_id(self.as_bytes())
    }

    /// Strict Ed25519 (RFC 8032 without cofactor, S < L, neither A nor R of small order): nodes and verifiers run the same check.
    ///
    /// # Errors
    /// [`Refusal::Signature`] if it does not hold.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), Refusal> {
        self.0
            .verify_strict(message, &Signature::from_bytes(signature))
            .map_err(|_| Refusal::Signature)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.key_id())
    }
}

/// An Ed25519 key pair. Erased from memory when dropped, and never printed.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// From its 32 secret bytes; the caller's copy is the caller's to erase.
    pub fn from_seed(mut seed: [u8; 32]) -> Self {
        let key = Self(ed25519_dalek::SigningKey::from_bytes(&seed));
        seed.zeroize();
        key
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Its key id.
    pub fn key_id(&self) -> KeyId {
        self.public().key_id()
    }

    /// Signs a message (deterministic, RFC 8032).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// The secret bytes, for writing a key file; they erase themselves when dropped.
    pub fn to_seed(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_bytes())
    }
}

/// Names the key, keeps the secret.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.key_id())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use alloc::format;

    use super::*;

    #[test]
    fn signs_and_verifies_and_prints_no_secret() {
        let key = SigningKey::from_seed([7; 32]);
        let mut signature = key.sign(b"visto");
        assert_eq!(key.public().verify(b"visto", &signature), Ok(()));
        assert_eq!(
            key.public().verify(b"visto!", &signature),
            Err(Refusal::Signature)
        );
        signature[63] ^= 1;
        assert_eq!(
            key.public().verify(b"visto", &signature),
            Err(Refusal::Signature)
        );
        let shown = format!("{key:?}");
        assert!(
            !shown.contains("07070707")
                && !shown.contains("7, 7, 7")
                && shown.contains(&format!("{}", key.key_id()))
        );
        assert_eq!(*key.to_seed(), [7; 32]);
    }

    #[test]
    fn weak_or_misspelt_points_are_no_keys() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(PublicKey::from_bytes(identity), Err(Refusal::KeyWeak));
        let mut above_p = [0xff; 32];
        above_p[0] = 0xf0;
        above_p[31] = 0x7f;
        assert_eq!(PublicKey::from_bytes(above_p), Err(Refusal::KeyWeak));
    }

    #[test]
    fn uses_have_numbers_and_words() {
        for (number, key_use) in (1..).zip(KeyUse::ALL) {
            assert_eq!(key_use.code(), number);
            assert_eq!(KeyUse::from_code(number), Some(key_use));
            assert_eq!(KeyUse::parse(key_use.as_str()), Some(key_use));
        }
        assert_eq!(KeyUse::from_code(0), None);
        assert_eq!(KeyUse::from_code(7), None);
    }
}
