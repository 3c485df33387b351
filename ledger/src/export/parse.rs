// SPDX-License-Identifier: EUPL-1.2
//! Reading an export: strict, closed, and linear in its length.

use alloc::{boxed::Box, vec::Vec};

use super::{
    About, AboutKind, Audience, Binding, EXPORT_BYTES_MAX, Erased, Export, Fact, Head, Item, List,
    ListHead, NotOpened, Opened, Restricted, Why, Withheld,
};
use crate::{
    admission::RowKind,
    base64,
    body::members::{Members, count, digest, fixed, list, text, timestamp, words},
    bytes::{self, CodeKind, ListValue, META_BYTES, Meta},
    entry::SubmittedEntry,
    hash::Hash,
    json::{self, Limits, Value},
    merkle::PROOF_HASHES_MAX,
    note::{KeyName, Note},
    number::EntryIndex,
    refusal::{Refusal, Refused},
    state::StateKey,
    state_map::MapProof,
};

/// Export, lists, list, items, item, envelope, signatures, signature.
const DEPTH_MAX: usize = 8;

impl Export {
    /// Parses an export.
    ///
    /// # Errors
    /// What is not an export's, with the pointer of the member.
    pub fn parse(data: &[u8]) -> Result<Export, Refused> {
        let limits = Limits {
            bytes_max: EXPORT_BYTES_MAX,
            depth_max: DEPTH_MAX,
        };
        Export::of_value(&json::parse(data, limits)?)
    }

    fn of_value(value: &Value<'_>) -> Result<Export, Refused> {
        let mut m = Members::open(value)?;
        m.required("export", |value| match value {
            Value::Int(1) => Ok(()),
            _ => Err(Refusal::Members.into()),
        })?;
        let head = Head {
            origin: m.required("origin", |value| {
                words(value, |text| KeyName::parse(text).ok())
            })?,
            audience: m.required("audience", |value| words(value, Audience::parse))?,
            about: m.required("about", about)?,
            binding: m.optional("binding", binding)?,
            checkpoint: m.required("checkpoint", |value| {
                words(value, |text| Note::parse(text.as_bytes()).ok())
            })?,
            state_root: m.required("stateRoot", opened)?,
        };
        let export = Export {
            head,
            lists: m.required("lists", |value| list(value, list_of_items))?,
            facts: m.required("facts", |value| list(value, fact))?,
            records: m.required("records", |value| list(value, opened))?,
            not_opened: m.required("notOpened", |value| list(value, not_opened))?,
            restricted: m.required("restricted", |value| list(value, restricted))?,
        };
        m.close(export)
    }
}

fn about(value: &Value<'_>) -> Result<About, Refused> {
    let mut m = Members::open(value)?;
    let about = About {
        kind: m.required("kind", |value| words(value, AboutKind::parse))?,
        of: m.required("ref", digest)?,
    };
    m.close(about)
}

fn binding(value: &Value<'_>) -> Result<Binding, Refused> {
    let mut m = Members::open(value)?;
    let binding = Binding {
        kind: m.required("kind", |value| words(value, CodeKind::parse))?,
        blind: m.required("blind", fixed)?,
        evaluated: m.required("evaluated", fixed)?,
        proof: m.required("proof", fixed)?,
    };
    m.close(binding)
}

fn list_of_items(value: &Value<'_>) -> Result<List, Refused> {
    let mut m = Members::open(value)?;
    let head = ListHead {
        kind: m.required("kind", |value| {
            let kind = value
                .as_count()
                .and_then(|code| RowKind::from_code(u8::try_from(code).ok()?));
            kind.filter(|kind| kind.under_root())
                .ok_or_else(|| Refusal::Members.into())
        })?,
        of: m.required("ref", digest)?,
        value: m.required("value", |value| {
            or_null(value, |value| {
                ListValue::decode(&fixed::<80>(value)?).ok_or_else(|| Refusal::Members.into())
            })
        })?,
        proof: m.required("proof", map_proof)?,
    };
    let items = m.required("items", |value| list(value, item))?;
    m.close(List { head, items })
}

fn item(value: &Value<'_>) -> Result<Item, Refused> {
    if value.member("envelope").is_some() {
        return Ok(Item::Opened(Box::new(opened(value)?)));
    }
    if value.member("erased").is_some() {
        return Ok(Item::Erased(Box::new(erased(value)?)));
    }
    let mut m = Members::open(value)?;
    let withheld = Withheld {
        item: m.required("item", digest)?,
        why: m.optional("why", |value| words(value, Why::parse))?,
    };
    m.close(Item::Withheld(withheld))
}

fn opened(value: &Value<'_>) -> Result<Opened, Refused> {
    let mut m = Members::open(value)?;
    let (index, meta) = (m.required("index", index)?, m.required("meta", meta)?);
    let body_salt = m.required("bodySalt", fixed)?;
    let path = m.required("path", path)?;
    let envelope = m.required("envelope", Ok)?;
    let disclosures = m.required("disclosures", |value| list(value, text))?;
    m.close(Opened {
        index,
        meta,
        body_salt,
        path,
        entry: SubmittedEntry::of_members(envelope, disclosures)?,
    })
}

fn erased(value: &Value<'_>) -> Result<Erased, Refused> {
    let mut m = Members::open(value)?;
    let (index_, meta) = (m.required("index", index)?, m.required("meta", meta)?);
    let meta_salt = m.required("metaSalt", digest)?;
    let body_commit = m.required("bodyCommit", digest)?;
    let path = m.required("path", path)?;
    let (by, on_ms, ground) = m.required("erased", |value| {
        let mut m = Members::open(value)?;
        let erased = (
            m.required("by", index)?,
            m.optional("on", timestamp)?,
            m.optional("ground", text)?,
        );
        m.close(erased)
    })?;
    m.close(Erased {
        index: index_,
        meta,
        meta_salt,
        body_commit,
        path,
        by,
        on_ms,
        ground,
    })
}

fn fact(value: &Value<'_>) -> Result<Fact, Refused> {
    let mut m = Members::open(value)?;
    let fact = Fact {
        key: StateKey {
            kind: m.required("kind", |value| {
                let kind = value.as_count().and_then(|kind| u8::try_from(kind).ok());
                kind.ok_or_else(|| Refusal::Members.into())
            })?,
            name: m.required("name", binary)?,
        },
        value: m.required("value", |value| or_null(value, binary))?,
        proof: m.required("proof", map_proof)?,
    };
    m.close(fact)
}

fn not_opened(value: &Value<'_>) -> Result<NotOpened, Refused> {
    let mut m = Members::open(value)?;
    let not_opened = NotOpened {
        of: m.required("ref", digest)?,
        why: m.required("why", text)?,
    };
    m.close(not_opened)
}

fn restricted(value: &Value<'_>) -> Result<Restricted, Refused> {
    let mut m = Members::open(value)?;
    let restricted = Restricted {
        ground: m.required("ground", text)?,
        count: m.required("count", count)?,
    };
    m.close(restricted)
}

fn index(value: &Value<'_>) -> Result<EntryIndex, Refused> {
    count(value).map(EntryIndex)
}

fn meta(value: &Value<'_>) -> Result<Meta, Refused> {
    bytes::meta_decode(&fixed::<META_BYTES>(value)?).ok_or_else(|| Refusal::Members.into())
}

fn path(value: &Value<'_>) -> Result<Vec<Hash>, Refused> {
    match value {
        Value::List(hashes) if hashes.len() <= PROOF_HASHES_MAX => list(value, digest),
        _ => Err(Refusal::Members.into()),
    }
}

fn map_proof(value: &Value<'_>) -> Result<MapProof, Refused> {
    MapProof::decode(&binary(value)?).map_err(|_| Refusal::Members.into())
}

fn binary(value: &Value<'_>) -> Result<Vec<u8>, Refused> {
    let text: &str = value.as_text().ok_or(Refusal::Members)?;
    base64::url_decode(text).ok_or_else(|| Refusal::Base64Url.into())
}

fn or_null<T>(
    value: &Value<'_>,
    parse: impl FnOnce(&Value<'_>) -> Result<T, Refused>,
) -> Result<Option<T>, Refused> {
    match value {
        Value::Null => Ok(None),
        value => parse(value).map(Some),
    }
}
