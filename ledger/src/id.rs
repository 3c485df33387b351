// SPDX-License-Identifier: EUPL-1.2
//! Names: institutions, entries, keys, nodes, the ledger itself.

use alloc::{borrow::ToOwned, string::String};
use core::fmt;

use crate::{
    base64, bytes,
    hash::Hash,
    refusal::Refusal,
    time::{AHEAD_MS_MAX, DAY_MS},
};

/// How far back of its acceptance the time in an entry's id may lie, in milliseconds: 35 days.
pub const WINDOW_MS: u64 = 35 * DAY_MS;

/// `ipa:<code, lower case>` or `cf:<11 digits>`. Only [`InstitutionId::parse`] makes one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstitutionId(String);

impl InstitutionId {
    /// `ipa:` and 1 to 64 of `a-z 0-9 _ -`, or `cf:` and 11 digits.
    pub fn parse(text: &str) -> Option<Self> {
        let good = if let Some(code) = text.strip_prefix("ipa:") {
            (1..=64).contains(&code.len())
                && code
                    .bytes()
                    .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
        } else if let Some(number) = text.strip_prefix("cf:") {
            number.len() == 11 && number.bytes().all(|byte| byte.is_ascii_digit())
        } else {
            false
        };
        good.then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The bytes of the text, as they stand in state names.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for InstitutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// UUIDv7, its 16 bytes. Only [`EntryId::parse`] and [`EntryId::from_parts`] make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId([u8; 16]);

impl EntryId {
    /// Lower-case hexadecimal with hyphens, version 7, variant 10.
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_bytes(bytes::shorthand::uuid_bytes(text.as_bytes())?)
    }

    /// From its 16 bytes, where they were stored.
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        let [_, _, _, _, _, _, version, _, variant, ..] = bytes;
        (version >> 4 == 7 && variant >> 6 == 0b10).then_some(Self(bytes))
    }

    /// A new id of a moment (milliseconds, 48 bits of them) and 10 random bytes, of which 74 bits are kept.
    pub fn from_parts(ms: u64, random: &[u8; 10]) -> Self {
        let [_, _, m0, m1, m2, m3, m4, m5] = ms.to_be_bytes();
        let [r0, r1, r2, r3, r4, r5, r6, r7, r8, r9] = *random;
        Self([
            m0,
            m1,
            m2,
            m3,
            m4,
            m5,
            0x70 | r0 & 0x0f,
            r1,
            0x80 | r2 & 0x3f,
            r3,
            r4,
            r5,
            r6,
            r7,
            r8,
            r9,
        ])
    }

    /// The time inside, milliseconds since the epoch.
    pub fn time_ms(&self) -> u64 {
        let [m0, m1, m2, m3, m4, m5, ..] = self.0;
        u64::from_be_bytes([0, 0, m0, m1, m2, m3, m4, m5])
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Refuses [`Refusal::IdOutOfWindow`] where the time inside is not in [accepted_at − 35 days, accepted_at + 5 minutes].
    ///
    /// # Errors
    /// The sender should sign the entry anew with an id of today; the old one can no longer be told from a duplicate.
    pub fn refuse_outside_window(&self, accepted_at_ms: u64) -> Result<(), Refusal> {
        let window =
            accepted_at_ms.saturating_sub(WINDOW_MS)..=accepted_at_ms.saturating_add(AHEAD_MS_MAX);
        if window.contains(&self.time_ms()) {
            Ok(())
        } else {
            Err(Refusal::IdOutOfWindow)
        }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// `H("visto/key/v1\n" ‖ u8(alg) ‖ public key)`, see [`crate::bytes::key_id`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub Hash);

impl KeyId {
    /// Base64url of 32 bytes, as `keyid` and `kid` have it.
    pub fn parse(text: &str) -> Option<Self> {
        base64::url_decode_array(text).map(|bytes| Self(Hash(bytes)))
    }
}

/// Base64url, as [`KeyId::parse`] reads it.
impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64::url_encode(self.0.as_bytes()))
    }
}

/// Number of a node, from 1; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeNumber(pub u64);

impl fmt::Display for NodeNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn institutions() {
        for good in ["ipa:inps", "ipa:c_m109", "ipa:a", "cf:01234567890"] {
            assert_eq!(
                InstitutionId::parse(good)
                    .map(|id| id.to_string())
                    .as_deref(),
                Some(good)
            );
        }
        let long = alloc::format!("ipa:{}", "a".repeat(65));
        for bad in [
            "ipa:",
            "ipa:C_M109",
            "cf:0123456789",
            "cf:0123456789a",
            "inps",
            "",
            "ipa:a\n",
            "ipa:è",
            &long,
        ] {
            assert_eq!(InstitutionId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn entry_ids_come_back() {
        let id = EntryId::from_parts(1_780_000_000_123, &[0xff; 10]);
        assert_eq!(id.time_ms(), 1_780_000_000_123);
        assert_eq!(EntryId::parse(&id.to_string()), Some(id));
        assert_eq!(EntryId::from_bytes(*id.as_bytes()), Some(id));
    }

    #[test]
    fn window_bounds_are_inside() {
        let at = 1_780_000_000_000;
        let of = |ms| EntryId::from_parts(ms, &[0; 10]);
        assert!(of(at - WINDOW_MS).refuse_outside_window(at).is_ok());
        assert!(of(at - WINDOW_MS - 1).refuse_outside_window(at).is_err());
        assert!(of(at + AHEAD_MS_MAX).refuse_outside_window(at).is_ok());
        assert!(of(at + AHEAD_MS_MAX + 1).refuse_outside_window(at).is_err());
    }
}
