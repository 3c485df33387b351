// SPDX-License-Identifier: EUPL-1.2
//! SHA-256 values. The domain strings that go into them live in [`crate::bytes`].

use core::fmt;
use sha2::{Digest, Sha256};

/// A SHA-256 value, or any other 32 bytes that name something (a ref, a root, a `prev`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// 32 zero bytes: the head of an empty list, the `prev` of a stream's first entry.
    pub const ZERO: Hash = Hash([0; 32]);

    /// SHA-256 over the parts, one after the other.
    pub fn of(parts: &[&[u8]]) -> Hash {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Hash(hasher.finalize().into())
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// As a line of the C2SP formats: padded base64, 44 characters.
    pub fn to_base64(&self) -> alloc::string::String {
        crate::base64::encode(&self.0)
    }

    /// Parses what [`Hash::to_base64`] writes and nothing else.
    pub fn from_base64(text: &str) -> Option<Hash> {
        // Longer text is not even decoded.
        if text.len() == 44 {
            Self::from_slice(&crate::base64::decode(text)?)
        } else {
            None
        }
    }

    /// From a slice of exactly 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Hash> {
        bytes.try_into().ok().map(Hash)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Lower-case hexadecimal.
impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
