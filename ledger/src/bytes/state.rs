// SPDX-License-Identifier: EUPL-1.2
//! State keys and their values: kinds 1 to 12 under the state root (byte specification, *Lists, and the state root*), and the local tables
//! from 0x80 on, under no root.

use alloc::vec::Vec;

use crate::hash::Hash;

/// Kinds of state keys.
pub mod kind {
    /// A person's list: ref → count, head, base.
    pub const SUBJECT: u8 = 1;
    /// A household's list: ref → count, head, base.
    pub const HOUSEHOLD: u8 = 2;
    /// A key: key id → what it is, for whom, from when to when.
    pub const KEY: u8 = 3;
    /// An institution → `at`.
    pub const INSTITUTION: u8 = 4;
    /// A role of an institution → `at`; gone when revoked.
    pub const ROLE: u8 = 5;
    /// A consent record: ref and record → `at` and its last event.
    pub const CONSENT: u8 = 6;
    /// A stream: institution and name → the last number and the `prev` that the next must carry.
    pub const STREAM: u8 = 7;
    /// A node: number → `at`; gone when removed.
    pub const NODE: u8 = 8;
    /// The rule set in force.
    pub const RULES: u8 = 9;
    /// The list of a sealing authority.
    pub const SEALED: u8 = 10;
    /// A delegation: controller and submitter → `at`; gone when revoked.
    pub const DELEGATION: u8 = 11;
    /// The trust policy's text, hashed.
    pub const POLICY: u8 = 12;

    /// The first kind that stands under no root.
    pub const LOCAL: u8 = 0x80;
    /// Entry ids: day, institution, id → index and what stands there.
    pub const ENTRY_ID: u8 = 0x80;
    /// Exchanges: exchange, side, part, institution → index.
    pub const EXCHANGE: u8 = 0x81;
    /// What the registry knows of a name beyond `at`.
    pub const DETAIL: u8 = 0x82;
    /// A consent record folded: scope and times.
    pub const CONSENT_FOLD: u8 = 0x83;
    /// The governance entry last in force, and the founders' threshold.
    pub const GOVERNANCE: u8 = 0x84;
    /// Registry lists that only grow: length, and items by place.
    pub const LIST: u8 = 0x85;
    /// Sealed entries: index → leaf hash and sealing authority.
    pub const SEALED_ENTRY: u8 = 0x86;
    /// The last `state-root` entry.
    pub const STATE_ROOT: u8 = 0x87;
    /// Refs of one person, joined by `link` entries.
    pub const LINK: u8 = 0x88;
    /// The key that replaced a key.
    pub const SUCCESSOR: u8 = 0x89;
}

/// A typed key: `u8(kind) ‖ name` in the store, hashed in the state map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateKey {
    /// One of [`kind`].
    pub kind: u8,
    /// The name, laid out as the kind demands.
    pub name: Vec<u8>,
}

impl StateKey {
    /// `u8(kind) ‖ name`, as it stands in the store.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + self.name.len());
        bytes.push(self.kind);
        bytes.extend_from_slice(&self.name);
        bytes
    }

    /// The key that [`StateKey::encode`] laid out.
    pub fn decode(bytes: &[u8]) -> Option<StateKey> {
        bytes.split_first().map(|(kind, name)| StateKey {
            kind: *kind,
            name: name.to_vec(),
        })
    }

    /// The key in the state map: `H("visto/state-key/v1\n" ‖ u8(kind) ‖ name)`.
    pub fn hash(&self) -> Hash {
        Hash::of(&[b"visto/state-key/v1\n", &[self.kind], &self.name])
    }

    /// Whether the key stands under the state root.
    pub fn under_root(&self) -> bool {
        self.kind < kind::LOCAL
    }
}
