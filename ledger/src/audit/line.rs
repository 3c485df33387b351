// SPDX-License-Identifier: EUPL-1.2
//! What an auditor is fed, a line each: entries as nodes keep them, in the order of the ledger, and after the last entry of its tree each
//! published checkpoint.
//!
//! ```text
//! {"index", "meta", "bodySalt", "change"?, "envelope", "disclosures"}       whole, or with disclosures erased
//! {"index", "meta", "metaSalt", "bodyCommit", "change"}                     its body erased
//! {"checkpoint": signed note}
//! ```

use alloc::{
    borrow::Cow,
    boxed::Box,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use crate::{
    base64,
    body::members::{Members, count, digest, fixed, list, text, words},
    bytes::{self, META_BYTES, Malformed, Meta, WIRE_BYTES_MAX, meta_encode},
    entry::{StoredEntry, SubmittedEntry},
    fold::Change,
    hash::Hash,
    json::{self, Limits, Value},
    note::{NOTE_BYTES_MAX, Note},
    number::EntryIndex,
    refusal::{Refusal, Refused},
};

/// One line of what an auditor is fed.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// The next entry.
    Entry(Box<Fed>),
    /// The checkpoint of all entries before.
    Checkpoint(Note),
}

/// What was fed is no line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoLine {
    /// No JSON of that shape.
    Refused(Refused),
    /// What an entry changed is in no form that this build reads.
    Change(Malformed),
}

impl fmt::Display for NoLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoLine::Refused(refused) => refused.fmt(f),
            NoLine::Change(malformed) => malformed.fmt(f),
        }
    }
}

impl core::error::Error for NoLine {}

impl From<Refused> for NoLine {
    fn from(refused: Refused) -> NoLine {
        NoLine::Refused(refused)
    }
}

impl From<Malformed> for NoLine {
    fn from(malformed: Malformed) -> NoLine {
        NoLine::Change(malformed)
    }
}

/// An entry as a node keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct Fed {
    /// Its place.
    pub index: EntryIndex,
    /// What its leaf says of it.
    pub meta: Meta,
    /// Salt of `meta` and of the list items.
    pub meta_salt: Hash,
    /// Commitment to the body.
    pub body_commit: Hash,
    /// The salt that the leader drew, and the entry as sent, some disclosures perhaps erased; none once the body is.
    pub body: Option<([u8; 32], SubmittedEntry)>,
    /// What it changed under the state root, by the node's own word.
    pub change: Option<Change>,
}

impl Fed {
    /// What is fed of a stored entry.
    pub fn of(index: EntryIndex, stored: &StoredEntry, change: Option<Change>) -> Fed {
        let salt = stored.body.as_ref().map(|body| body.body_salt);
        Fed {
            index,
            meta: stored.meta,
            meta_salt: stored.meta_salt,
            body_commit: stored.body_commit,
            body: salt.zip(stored.submitted()),
            change,
        }
    }

    /// Reads the members of a line.
    pub(super) fn read(m: &mut Members<'_, '_>) -> Result<Fed, NoLine> {
        let index = m.required("index", count)?;
        let meta = m.required("meta", |value| {
            bytes::meta_decode(&fixed::<META_BYTES>(value)?).ok_or_else(|| Refusal::Members.into())
        })?;
        let change = m.optional("change", binary_of)?;
        let change = change.map(|data| Change::decode(&data)).transpose()?;
        let (meta_salt, body_commit, body) = if let Some(salt) = m.optional("bodySalt", fixed)? {
            let envelope = m.required("envelope", Ok)?;
            let disclosures = m.required("disclosures", |value| list(value, text))?;
            let entry = SubmittedEntry::of_members(envelope, disclosures)?;
            let commit = bytes::body_commit(&salt, entry.pae(), &entry.sigs().encode());
            (bytes::meta_salt(&salt), commit, Some((salt, entry)))
        } else {
            let meta_salt = m.required("metaSalt", digest)?;
            (meta_salt, m.required("bodyCommit", digest)?, None)
        };
        Ok(Fed {
            index: EntryIndex(index),
            meta,
            meta_salt,
            body_commit,
            body,
            change,
        })
    }

    /// The line, without a line break, with these members more.
    pub(super) fn to_json(&self, more: Vec<(Cow<'_, str>, Value<'_>)>) -> String {
        let index = i64::try_from(self.index.0).unwrap_or(i64::MAX);
        let mut members: Vec<(Cow<'_, str>, Value<'_>)> = Vec::from([
            ("index".into(), Value::Int(index)),
            ("meta".into(), binary(&meta_encode(&self.meta))),
        ]);
        match &self.body {
            Some((salt, _)) => members.push(("bodySalt".into(), binary(salt))),
            None => members.extend([
                ("metaSalt".into(), binary(self.meta_salt.as_bytes())),
                ("bodyCommit".into(), binary(self.body_commit.as_bytes())),
            ]),
        }
        if let Some(change) = &self.change {
            members.push(("change".into(), binary(&change.encode())));
        }
        members.extend(more);
        let mut text = json::format(&Value::Object(members));
        if let Some((_, entry)) = &self.body {
            // Its own members and those of the wire line are one object.
            text.pop();
            let wire = entry.to_wire();
            text.push(',');
            text.push_str(wire.strip_prefix('{').unwrap_or(&wire));
        }
        text
    }

    /// The hash of its leaf, from the two commitments.
    pub fn leaf_hash(&self) -> Hash {
        let meta_commit = bytes::meta_commit(&self.meta_salt, &self.meta);
        bytes::leaf_hash(&bytes::leaf(&meta_commit, &self.body_commit))
    }
}

impl Line {
    /// Longest line in bytes: an entry's, and a change of some hundred lists.
    pub const BYTES_MAX: usize = WIRE_BYTES_MAX + NOTE_BYTES_MAX;

    /// Parses a line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &[u8]) -> Result<Line, NoLine> {
        let limits = Limits {
            bytes_max: Line::BYTES_MAX,
            depth_max: 4,
        };
        let value = json::parse(line, limits)?;
        let mut m = Members::open(&value)?;
        let note = m.optional("checkpoint", |value| {
            words(value, |text| Note::parse(text.as_bytes()).ok())
        })?;
        if let Some(note) = note {
            return Ok(m.close(Line::Checkpoint(note))?);
        }
        let fed = Fed::read(&mut m)?;
        Ok(m.close(Line::Entry(Box::new(fed)))?)
    }

    /// The line, without a line break.
    pub fn to_json(&self) -> String {
        let fed = match self {
            Line::Checkpoint(note) => {
                let note = Value::text(note.to_string());
                return json::format(&Value::object([("checkpoint", note)]));
            }
            Line::Entry(fed) => fed,
        };
        fed.to_json(Vec::new())
    }
}

pub(super) fn binary_of(value: &Value<'_>) -> Result<Vec<u8>, Refused> {
    let text = value.as_text().ok_or(Refusal::Members)?;
    base64::url_decode(text).ok_or_else(|| Refusal::Base64Url.into())
}

pub(super) fn binary(data: &[u8]) -> Value<'static> {
    Value::text(base64::url_encode(data))
}
