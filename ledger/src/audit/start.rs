// SPDX-License-Identifier: EUPL-1.2
//! What an audit that begins at a state root is fed first, a line each, in this order. [`super::Beginning`] takes it.
//!
//! ```text
//! {"start": size, "folded": size of the state root, "peaks": [hash], "checkpoint": signed note}
//! {"cut": bytes}                                                             ascending: each cut that stands
//! {"held": bytes}                                                            ascending: each change below `folded` that stands in a list
//! {"change": bytes}                                                          of each entry from `folded` up to `start`
//! {"index", "meta", "bodySalt", "path": [hash], "envelope", "disclosures"}   governance entries, and the state-root entry, ascending
//! {"key": bytes, "value": bytes}                                             ascending: what stands under the root, then the local tables
//! {"end": lines before}
//! ```
//!
//! `peaks` are those of the tree of `folded` leaves, and so is a `path`; one of an entry behind it is empty, since its change names its leaf.
//! Values of kinds under the root are as of `folded`, and so are the cuts that stand; the local ones as of `start`.

use alloc::{borrow::Cow, boxed::Box, string::String, vec::Vec};

use super::{
    Fed, Line, NoLine,
    line::{binary, binary_of},
};
use crate::{
    body::{
        EntryType,
        members::{Members, count, digest, list, words},
    },
    bytes::state::{StateKey, kind},
    fold::Change,
    hash::Hash,
    json::{self, Limits, Value},
    note::Note,
    number::TreeSize,
    refusal::{Refusal, Refused},
    retention::Cut,
};

/// What the registry is made of: entries of these types are in a start, all of them.
pub const GOVERNANCE: [EntryType; 8] = [
    EntryType::Genesis,
    EntryType::Institution,
    EntryType::Key,
    EntryType::Role,
    EntryType::Delegation,
    EntryType::Node,
    EntryType::Policy,
    EntryType::Rules,
];

/// The local tables that are in a start, ascending: what admission reads beyond the root and the registry. Ids used before are not: no entry
/// that was accepted is judged otherwise by them, and nobody could tell whether one is missing.
pub const LOCAL: [u8; 8] = [
    kind::EXCHANGE,
    kind::CONSENT_FOLD,
    kind::SEALED_ENTRY,
    kind::LINK,
    kind::ERASURE,
    kind::CEASED,
    kind::COMPOSITION,
    kind::CUTS,
];

/// One line of a start.
#[derive(Clone, Debug, PartialEq)]
pub enum StartLine {
    /// Which start it is.
    Head(Head),
    /// A cut that stands.
    Cut(Cut),
    /// An entry before the state root's size that stands in lists.
    Held(Box<Change>),
    /// What an entry after the state root's size changed.
    Change(Box<Change>),
    /// An entry, and the path of its leaf.
    Record(Box<Fed>, Vec<Hash>),
    /// A value of the state.
    Value(StateKey, Vec<u8>),
    /// The end, and how many lines came before it.
    End(u64),
}

/// Where a start lies, and what proves it.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Entries before the first that is replayed.
    pub size: TreeSize,
    /// Entries that the state root speaks of.
    pub folded: TreeSize,
    /// Roots of the complete subtrees that a tree of `folded` leaves is made of, largest first.
    pub peaks: Vec<Hash>,
    /// A published checkpoint that holds the `state-root` entry.
    pub checkpoint: Note,
}

impl StartLine {
    /// Parses a line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &[u8]) -> Result<StartLine, NoLine> {
        let limits = Limits {
            bytes_max: Line::BYTES_MAX,
            depth_max: 4,
        };
        let value = json::parse(line, limits)?;
        let mut m = Members::open(&value)?;
        if let Some(size) = m.optional("start", count)? {
            let head = Head {
                size: TreeSize(size),
                folded: TreeSize(m.required("folded", count)?),
                peaks: m.required("peaks", |value| list(value, digest))?,
                checkpoint: m.required("checkpoint", |value| {
                    words(value, |text| Note::parse(text.as_bytes()).ok())
                })?,
            };
            return Ok(m.close(StartLine::Head(head))?);
        }
        if let Some(lines) = m.optional("end", count)? {
            return Ok(m.close(StartLine::End(lines))?);
        }
        if let Some(key) = m.optional("key", binary_of)? {
            let key = StateKey::decode(&key).ok_or(Refused::from(Refusal::Members))?;
            let value = m.required("value", binary_of)?;
            return Ok(m.close(StartLine::Value(key, value))?);
        }
        if let Some(path) = m.optional("path", |value| list(value, digest))? {
            let fed = Fed::read(&mut m)?;
            return Ok(m.close(StartLine::Record(Box::new(fed), path))?);
        }
        if let Some(cut) = m.optional("cut", binary_of)? {
            let cut = Cut::decode(&cut).ok_or(Refused::from(Refusal::Members))?;
            return Ok(m.close(StartLine::Cut(cut))?);
        }
        if let Some(held) = m.optional("held", binary_of)? {
            let held = Change::decode(&held)?;
            return Ok(m.close(StartLine::Held(Box::new(held)))?);
        }
        let change = Change::decode(&m.required("change", binary_of)?)?;
        Ok(m.close(StartLine::Change(Box::new(change)))?)
    }

    /// The line, without a line break.
    pub fn to_json(&self) -> String {
        let number = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
        let hashes = |hashes: &[Hash]| {
            let hashes = hashes.iter().map(|hash| binary(hash.as_bytes()));
            Value::List(hashes.collect())
        };
        let line = match self {
            StartLine::Head(head) => Value::object([
                ("start", number(head.size.0)),
                ("folded", number(head.folded.0)),
                ("peaks", hashes(&head.peaks)),
                (
                    "checkpoint",
                    Value::text(alloc::format!("{}", head.checkpoint)),
                ),
            ]),
            StartLine::Cut(cut) => Value::object([("cut", binary(&cut.encode()))]),
            StartLine::Held(change) => Value::object([("held", binary(&change.encode()))]),
            StartLine::Change(change) => Value::object([("change", binary(&change.encode()))]),
            StartLine::Record(fed, path) => {
                return fed.to_json(Vec::from([(Cow::Borrowed("path"), hashes(path))]));
            }
            StartLine::Value(key, value) => {
                Value::object([("key", binary(&key.encode())), ("value", binary(value))])
            }
            StartLine::End(lines) => Value::object([("end", number(*lines))]),
        };
        json::format(&line)
    }
}
