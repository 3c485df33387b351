// SPDX-License-Identifier: EUPL-1.2
//! Values that travel outside the body (RFC 9901, array-element form; the payload is Visto's own, not an SD-JWT).
//!
//! `disclosure = b64u(UTF-8 JSON [salt, value])`, the body holds `[{"...": digest}]` with `digest = b64u(H(ASCII(disclosure)))`.

use alloc::{string::String, vec::Vec};
use core::fmt;

use crate::{
    base64,
    hash::Hash,
    json::{self, Limits, Value},
    refusal::{Refusal, Refused},
};

/// Fewest bytes of a salt.
pub const SALT_BYTES_MIN: usize = 16;
/// Most bytes of a salt.
pub const SALT_BYTES_MAX: usize = 32;

/// Makes a disclosure of a value; `salt` is 16 to 32 fresh random bytes.
pub fn make(salt: &[u8], value: &Value<'_>) -> String {
    let mut text = String::from("[\"");
    base64::url_encode_onto(salt, &mut text);
    text.push_str("\",");
    text.push_str(&json::format(value));
    text.push(']');
    base64::url_encode(text.as_bytes())
}

/// The digest that stands in the body.
pub fn digest(disclosure: &str) -> Hash {
    Hash::of(&[disclosure.as_bytes()])
}

/// A disclosure with what everybody who reads its entry asks for, computed once.
#[derive(Clone, PartialEq, Eq)]
pub struct Disclosure {
    text: String,
    opened: Opened,
}

/// What is computed of a disclosure's text.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Opened {
    /// The digest that stands in the body.
    pub(crate) digest: Hash,
    /// The bytes that [`open`] reads; `None` where the text is no canonical base64url.
    pub(crate) decoded: Option<Vec<u8>>,
}

impl Opened {
    /// Of a text, whatever it is.
    pub(crate) fn of(text: &str) -> Self {
        Self {
            digest: digest(text),
            decoded: base64::url_decode(text),
        }
    }
}

impl Disclosure {
    /// What a text discloses, whatever it is.
    pub fn new(text: String) -> Self {
        let opened = Opened::of(&text);
        Self::with(text, opened)
    }

    /// The one whose text is the base64url of these bytes.
    pub(crate) fn of(decoded: Vec<u8>) -> Self {
        let text = base64::url_encode(&decoded);
        let opened = Opened {
            digest: digest(&text),
            decoded: Some(decoded),
        };
        Self::with(text, opened)
    }

    /// Of a text and what was computed of it.
    pub(crate) fn with(text: String, opened: Opened) -> Self {
        Self { text, opened }
    }

    /// What was computed of its text.
    pub(crate) fn opened(&self) -> &Opened {
        &self.opened
    }

    /// As it was sent.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The digest that stands in the body.
    pub fn digest(&self) -> Hash {
        self.opened.digest
    }

    /// The bytes that [`open`] reads; `None` where the text is no canonical base64url.
    pub fn decoded(&self) -> Option<&[u8]> {
        self.opened.decoded.as_deref()
    }
}

/// Prints the digest alone: the value is personal data.
impl fmt::Debug for Disclosure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disclosure({})", self.digest())
    }
}

/// Reads the bytes that a disclosure is the base64url of: the value, strictly.
///
/// # Errors
/// The JSON's own, `disclosure-form`, `salt`, or `digest-place` where a digest stands inside.
pub fn open(decoded: &[u8]) -> Result<Value<'_>, Refused> {
    let limits = Limits {
        bytes_max: crate::bytes::DISCLOSURES_BYTES_MAX,
        depth_max: crate::bytes::BODY_DEPTH_MAX,
    };
    let Value::List(pair) = json::parse(decoded, limits)? else {
        return Err(Refusal::DisclosureForm.into());
    };
    let Ok([salt, value]) = <[Value<'_>; 2]>::try_from(pair) else {
        return Err(Refusal::DisclosureForm.into());
    };
    let salt_bytes = salt
        .as_text()
        .and_then(base64::url_decoded_len::<{ SALT_BYTES_MAX + 4 }>);
    if !salt_bytes.is_some_and(|n| (SALT_BYTES_MIN..=SALT_BYTES_MAX).contains(&n)) {
        return Err(Refused::from(Refusal::Salt).at_index(0));
    }
    refuse_digests(&value).map_err(|refused| refused.at_index(1))?;
    Ok(value)
}

/// Refuses [`Refusal::DigestPlace`] where a member is named `...`, at any depth.
pub(crate) fn refuse_digests(value: &Value<'_>) -> Result<(), Refused> {
    match value {
        Value::List(values) => values.iter().enumerate().try_for_each(|(at, value)| {
            refuse_digests(value).map_err(|refused| refused.at_index(at))
        }),
        Value::Object(members) => members.iter().try_for_each(|(name, value)| {
            if name == "..." {
                return Err(Refused::from(Refusal::DigestPlace).at(name));
            }
            refuse_digests(value).map_err(|refused| refused.at(name))
        }),
        _ => Ok(()),
    }
}
