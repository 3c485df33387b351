// SPDX-License-Identifier: EUPL-1.2
//! Keys: one key, one use, one institution, for ever.

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

/// An Ed25519 public key that is not weak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);
