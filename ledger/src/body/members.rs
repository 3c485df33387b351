// SPDX-License-Identifier: EUPL-1.2
//! Reading and writing the members of JSON objects: closed, so that nothing is signed that nobody reads.

use alloc::{
    borrow::{Cow, ToOwned},
    string::{String, ToString},
    vec::Vec,
};

use super::disclosed::Disclosed;
use crate::{
    base64,
    hash::Hash,
    id::{InstitutionId, KeyId},
    json::Value,
    refusal::{Refusal, Refused},
    time,
};

/// Members of one object, each to be met once. What is not met when it is closed belongs to no type.
pub(crate) struct Members<'v, 'a> {
    members: &'v [(Cow<'a, str>, Value<'a>)],
    /// Bit *i*: member *i* was met.
    met: u64,
    /// Where to look first: senders mostly write members in our order.
    next: usize,
}

impl<'v, 'a> Members<'v, 'a> {
    pub(crate) fn open(value: &'v Value<'a>) -> Result<Self, Refused> {
        match value {
            // No type has more than 64 members in one object.
            Value::Object(members) if members.len() <= 64 => Ok(Self {
                members,
                met: 0,
                next: 0,
            }),
            _ => Err(Refusal::Members.into()),
        }
    }

    fn find(&mut self, name: &str) -> Option<&'v Value<'a>> {
        let (before, after) = self
            .members
            .split_at_checked(self.next)
            .unwrap_or((self.members, &[]));
        let after = after.iter().zip(self.next..);
        let (found, at) = after
            .chain(before.iter().zip(0..))
            .find(|((candidate, _), _)| candidate == name)?;
        self.met |= 1 << at;
        self.next = at + 1;
        Some(&found.1)
    }

    pub(crate) fn required<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&'v Value<'a>) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        match self.find(name) {
            Some(value) => parse(value).map_err(|refused| refused.at(name)),
            None => Err(Refused::from(Refusal::Members).at(name)),
        }
    }

    pub(crate) fn optional<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&'v Value<'a>) -> Result<T, Refused>,
    ) -> Result<Option<T>, Refused> {
        self.find(name)
            .map(|value| parse(value).map_err(|refused| refused.at(name)))
            .transpose()
    }

    /// Hands out what was read if nothing else is there.
    pub(crate) fn close<T>(self, read: T) -> Result<T, Refused> {
        let unknown = self
            .members
            .iter()
            .enumerate()
            .filter(|(at, _)| self.met >> at & 1 == 0)
            .map(|(_, (name, _))| &**name);
        match unknown.min_by_key(|&name| name != "...") {
            None => Ok(read),
            Some("...") => Err(Refused::from(Refusal::DigestPlace).at("...")),
            Some(name) => Err(Refused::from(Refusal::Members).at(name)),
        }
    }
}

pub(crate) fn text(value: &Value<'_>) -> Result<String, Refused> {
    value
        .as_text()
        .map(ToOwned::to_owned)
        .ok_or_else(|| Refusal::Members.into())
}

/// An integer ≥ 0.
pub(crate) fn count(value: &Value<'_>) -> Result<u64, Refused> {
    value.as_count().ok_or_else(|| Refusal::Members.into())
}

/// An integer from 1 on.
pub(crate) fn number(value: &Value<'_>) -> Result<u64, Refused> {
    value
        .as_count()
        .filter(|&number| number > 0)
        .ok_or_else(|| Refusal::Members.into())
}

pub(crate) fn small(value: &Value<'_>) -> Result<u16, Refused> {
    value
        .as_count()
        .and_then(|number| u16::try_from(number).ok())
        .ok_or_else(|| Refusal::Members.into())
}

/// The value `true`: its opposite is to leave the member out.
pub(crate) fn true_only(value: &Value<'_>) -> Result<bool, Refused> {
    if *value == Value::Bool(true) {
        Ok(true)
    } else {
        Err(Refusal::Members.into())
    }
}

pub(crate) fn words<T>(value: &Value<'_>, parse: fn(&str) -> Option<T>) -> Result<T, Refused> {
    value
        .as_text()
        .and_then(parse)
        .ok_or_else(|| Refusal::Members.into())
}

pub(crate) fn institution(value: &Value<'_>) -> Result<InstitutionId, Refused> {
    words(value, InstitutionId::parse)
}

/// Milliseconds since the epoch.
pub(crate) fn timestamp(value: &Value<'_>) -> Result<u64, Refused> {
    value
        .as_text()
        .and_then(time::parse_timestamp)
        .ok_or_else(|| Refusal::Time.into())
}

pub(crate) fn date(value: &Value<'_>) -> Result<String, Refused> {
    let text = text(value)?;
    if time::parse_date(&text).is_some() {
        Ok(text)
    } else {
        Err(Refusal::Time.into())
    }
}

/// Exactly `N` bytes in base64url: `base64url` if it is none, `members` if it has another length.
pub(crate) fn fixed<const N: usize>(value: &Value<'_>) -> Result<[u8; N], Refused> {
    let text = value.as_text().ok_or(Refusal::Members)?;
    base64::url_decode_array(text).ok_or_else(|| {
        if base64::url_decode(text).is_some() {
            Refusal::Members
        } else {
            Refusal::Base64Url
        }
        .into()
    })
}

pub(crate) fn digest(value: &Value<'_>) -> Result<Hash, Refused> {
    fixed(value).map(Hash)
}

pub(crate) fn key_id(value: &Value<'_>) -> Result<KeyId, Refused> {
    digest(value).map(KeyId)
}

pub(crate) fn list<T>(
    value: &Value<'_>,
    parse: impl Fn(&Value<'_>) -> Result<T, Refused>,
) -> Result<Vec<T>, Refused> {
    let Value::List(values) = value else {
        return Err(Refusal::Members.into());
    };
    values
        .iter()
        .enumerate()
        .map(|(at, value)| parse(value).map_err(|refused| refused.at_index(at)))
        .collect()
}

/// An object that is being written, members in order; an absent value writes nothing.
pub(crate) struct Writer<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

impl<'a> Writer<'a> {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn put(&mut self, name: &'a str, value: impl Written<'a>) {
        if let Some(value) = value.written() {
            self.0.push((Cow::Borrowed(name), value));
        }
    }

    /// A list that is left out when empty.
    pub(crate) fn put_some<T>(&mut self, name: &'a str, values: &'a [T])
    where
        &'a [T]: Written<'a>,
    {
        if !values.is_empty() {
            self.put(name, values);
        }
    }
}

impl<'a> From<Writer<'a>> for Value<'a> {
    fn from(writer: Writer<'a>) -> Self {
        Value::Object(writer.0)
    }
}

/// What can stand as a member.
pub(crate) trait Written<'a> {
    fn written(self) -> Option<Value<'a>>;
}

impl<'a> Written<'a> for &'a str {
    fn written(self) -> Option<Value<'a>> {
        Some(Value::Text(Cow::Borrowed(self)))
    }
}

impl<'a> Written<'a> for String {
    fn written(self) -> Option<Value<'a>> {
        Some(Value::Text(Cow::Owned(self)))
    }
}

impl<'a> Written<'a> for &'a String {
    fn written(self) -> Option<Value<'a>> {
        self.as_str().written()
    }
}

impl<'a> Written<'a> for &'a InstitutionId {
    fn written(self) -> Option<Value<'a>> {
        self.as_str().written()
    }
}

impl<'a> Written<'a> for Hash {
    fn written(self) -> Option<Value<'a>> {
        base64::url_encode(self.as_bytes()).written()
    }
}

impl<'a> Written<'a> for KeyId {
    fn written(self) -> Option<Value<'a>> {
        self.to_string().written()
    }
}

impl<'a> Written<'a> for u64 {
    /// Bodies hold integers up to 2^53 − 1; more than fits is written as the largest integer and refused when it is read.
    fn written(self) -> Option<Value<'a>> {
        Some(Value::Int(i64::try_from(self).unwrap_or(i64::MAX)))
    }
}

impl<'a> Written<'a> for u16 {
    fn written(self) -> Option<Value<'a>> {
        u64::from(self).written()
    }
}

impl<'a> Written<'a> for bool {
    fn written(self) -> Option<Value<'a>> {
        Some(Value::Bool(self))
    }
}

impl<'a> Written<'a> for Writer<'a> {
    fn written(self) -> Option<Value<'a>> {
        Some(self.into())
    }
}

impl<'a> Written<'a> for Value<'a> {
    fn written(self) -> Option<Value<'a>> {
        Some(self)
    }
}

impl<'a, T: Written<'a>> Written<'a> for Option<T> {
    fn written(self) -> Option<Value<'a>> {
        self.and_then(Written::written)
    }
}

impl<'a, T> Written<'a> for &'a Option<T>
where
    &'a T: Written<'a>,
{
    fn written(self) -> Option<Value<'a>> {
        self.as_ref().and_then(Written::written)
    }
}

impl<'a> Written<'a> for &'a [String] {
    fn written(self) -> Option<Value<'a>> {
        Some(Value::List(
            self.iter().filter_map(Written::written).collect(),
        ))
    }
}

impl<'a> Written<'a> for &'a [u64] {
    fn written(self) -> Option<Value<'a>> {
        Some(Value::List(
            self.iter().filter_map(|number| number.written()).collect(),
        ))
    }
}

impl<'a> Written<'a> for &'a Vec<String> {
    fn written(self) -> Option<Value<'a>> {
        self.as_slice().written()
    }
}

impl<'a> Written<'a> for Vec<Writer<'a>> {
    fn written(self) -> Option<Value<'a>> {
        Some(Value::List(self.into_iter().map(Value::from).collect()))
    }
}

impl<'a, T> Written<'a> for &'a Disclosed<T> {
    fn written(self) -> Option<Value<'a>> {
        Some(Value::List(Vec::from([digest_value(self.digest)])))
    }
}

impl<'a, T> Written<'a> for &'a [Disclosed<T>] {
    fn written(self) -> Option<Value<'a>> {
        Some(Value::List(
            self.iter()
                .map(|disclosed| digest_value(disclosed.digest))
                .collect(),
        ))
    }
}

impl<'a, T> Written<'a> for &'a Vec<Disclosed<T>> {
    fn written(self) -> Option<Value<'a>> {
        self.as_slice().written()
    }
}

fn digest_value(digest: Hash) -> Value<'static> {
    Value::object([("...", Value::text(base64::url_encode(digest.as_bytes())))])
}
