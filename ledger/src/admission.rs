// SPDX-License-Identifier: EUPL-1.2
//! Admission: a verified entry, judged against the state, becomes writes and rows or a refusal.

use alloc::string::String;

use crate::{hash::Hash, number::EntryIndex};

/// How long before its acceptance an entry's id may be dated: 35 days, in milliseconds.
pub const ID_WINDOW_MS: u64 = 35 * 86_400_000;
/// How far ahead of its acceptance an entry's id and `occurredAt` may be dated: 5 minutes, in milliseconds.
pub const AHEAD_MS: u64 = 5 * 60_000;

/// What the proposing leader fixes for an entry; it travels with it, because [`apply`] knows no clock and no chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The place that the entry takes if it is accepted.
    pub index: EntryIndex,
    /// `max(previous, leader's clock)`, in milliseconds since the epoch.
    pub accepted_at_ms: u64,
    /// 32 random bytes drawn by the leader.
    pub body_salt: [u8; 32],
}

/// Which ledger, and which shard of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerInfo {
    /// Stable name, such as `ledger.visto.example`; it is what bodies carry.
    pub name: String,
    /// Shard number, from 1.
    pub shard: u64,
}

/// A row of the index: this entry belongs to the list of `of`. Blind appends; the store adds the entry's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row {
    /// Which index.
    pub kind: RowKind,
    /// Whose list.
    pub of: Hash,
}

/// Kinds of rows. The first three fold into list heads under the state root, the others serve searches alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RowKind {
    /// A person's ref.
    Subject = 1,
    /// A household's ref.
    Household = 2,
    /// The sealed ref of an authority.
    Sealed = 10,
    /// An institution that signed or took part: [`Row::institution`].
    Institution = 0x41,
    /// The operator of an access: [`Row::operator`].
    Operator = 0x42,
    /// An event of a consent record: [`Row::consent`].
    Consent = 0x43,
    /// An exchange: [`Row::exchange`].
    Exchange = 0x44,
    /// An entry type: [`Row::entry_type`].
    Type = 0x45,
    /// A finding: [`Row::finding`], and [`Row::any_finding`] once.
    Finding = 0x46,
    /// An access that rests on a consent record: [`Row::consent_use`].
    ConsentUse = 0x47,
}
