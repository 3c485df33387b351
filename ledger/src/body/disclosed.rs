// SPDX-License-Identifier: EUPL-1.2
//! Members that are disclosed: the body holds a digest, the value travels outside ([`crate::disclosure`]).

use alloc::{borrow::Cow, string::String, vec::Vec};
use core::fmt;

use super::members::{Members, digest, text};
use crate::{
    base64,
    disclosure::{self, Disclosure, Opened},
    hash::Hash,
    json::Value,
    refusal::{Refusal, Refused},
};

/// Most values in one disclosed member.
pub const DISCLOSED_MAX: usize = 200;

/// A value that travels outside the body (RFC 9901 array-element form): the body holds its digest.
#[derive(Clone, PartialEq, Eq)]
pub struct Disclosed<T> {
    /// SHA-256 of the disclosure's ASCII.
    pub digest: Hash,
    /// The value; `None` where it is withheld or erased. In a [`crate::entry::VerifiedEntry`] every value is there.
    pub value: Option<T>,
}

impl<T: DisclosedValue> Disclosed<T> {
    /// Makes the disclosure of a value, to be sent along. `salt` is 16 to 32 fresh random bytes.
    pub fn seal(salt: &[u8], value: T) -> (Self, String) {
        let disclosure = disclosure::make(salt, &value.to_value());
        (
            Self {
                digest: disclosure::digest(&disclosure),
                value: Some(value),
            },
            disclosure,
        )
    }
}

/// Prints the digest alone: values are personal data.
impl<T> fmt::Debug for Disclosed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disclosed({})", self.digest)
    }
}

/// A value that can be disclosed.
pub trait DisclosedValue: Sized {
    /// Reads the value of a disclosure.
    ///
    /// # Errors
    /// `members` and the like, where the value is not of this type.
    fn parse(value: &Value<'_>) -> Result<Self, Refused>;

    /// The value as it stands in a disclosure.
    fn to_value(&self) -> Value<'_>;
}

impl DisclosedValue for String {
    fn parse(value: &Value<'_>) -> Result<Self, Refused> {
        text(value)
    }

    fn to_value(&self) -> Value<'_> {
        Value::Text(Cow::Borrowed(self))
    }
}

/// A person or household: `{ref}`.
impl DisclosedValue for Hash {
    fn parse(value: &Value<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let of = m.required("ref", digest)?;
        m.close(of)
    }

    fn to_value(&self) -> Value<'_> {
        Value::object([("ref", Value::text(base64::url_encode(self.as_bytes())))])
    }
}

/// The disclosures of one entry, while its body is parsed. Faults of disclosures are told after those of the body.
pub(super) struct Slots<'d> {
    disclosures: Vec<Slot<'d>>,
    /// Places in `disclosures` by digest, sorted: a body of 200 subjects costs no square.
    by_digest: Vec<(Hash, usize)>,
    /// Every digest met in the body.
    met: Vec<Hash>,
    /// A digest that no disclosure has.
    missing: bool,
}

struct Slot<'d> {
    opened: Cow<'d, Opened>,
    met: bool,
    refused: Option<Refused>,
}

impl<'d> Slots<'d> {
    /// Of texts that nobody looked at before.
    pub(super) fn new(disclosures: &[String]) -> Self {
        let opened = disclosures.iter().map(|text| Opened::of(text));
        Self::of(opened.map(Cow::Owned))
    }

    /// Of what is known already.
    pub(super) fn kept(disclosures: &'d [Disclosure]) -> Self {
        Self::of(disclosures.iter().map(|one| Cow::Borrowed(one.opened())))
    }

    fn of(disclosures: impl ExactSizeIterator<Item = Cow<'d, Opened>>) -> Self {
        let mut by_digest = Vec::with_capacity(disclosures.len());
        let mut slots = Vec::with_capacity(disclosures.len());
        for (at, opened) in disclosures.enumerate() {
            by_digest.push((opened.digest, at));
            slots.push(Slot {
                opened,
                met: false,
                refused: None,
            });
        }
        by_digest.sort_unstable();
        Self {
            disclosures: slots,
            by_digest,
            met: Vec::new(),
            missing: false,
        }
    }

    fn open<T: DisclosedValue>(&mut self, digest: Hash) -> Disclosed<T> {
        self.met.push(digest);
        let place = self
            .by_digest
            .partition_point(|(candidate, _)| *candidate < digest);
        let place = self
            .by_digest
            .get(place)
            .filter(|(candidate, _)| *candidate == digest);
        let Some(slot) = place.and_then(|&(_, at)| self.disclosures.get_mut(at)) else {
            self.missing = true;
            return Disclosed {
                digest,
                value: None,
            };
        };
        slot.met = true;
        let value = slot.opened.decoded.as_deref().and_then(|decoded| {
            let value = disclosure::open(decoded)
                .and_then(|value| T::parse(&value).map_err(|refused| refused.at_index(1)));
            value.map_err(|refused| slot.refused = Some(refused)).ok()
        });
        Disclosed { digest, value }
    }

    /// Refuses what is wrong with the digests and disclosures together, or gives what was found out of each disclosure. `withheld`: some may be
    /// missing.
    pub(super) fn close(mut self, withheld: bool) -> Result<Vec<Cow<'d, Opened>>, Refused> {
        self.met.sort_unstable();
        if self.met.array_windows().any(|[a, b]| a == b) {
            return Err(Refusal::DigestRepeated.into());
        }
        let mut opened = Vec::with_capacity(self.disclosures.len());
        for (at, slot) in self.disclosures.into_iter().enumerate() {
            let refused = if slot.opened.decoded.is_none() {
                Some(Refusal::Base64Url.into())
            } else if !slot.met {
                Some(Refusal::DisclosureSpare.into())
            } else {
                slot.refused
            };
            if let Some(refused) = refused {
                return Err(refused.at_index(at).at("disclosures"));
            }
            opened.push(slot.opened);
        }
        if self.missing && !withheld {
            Err(Refusal::DisclosureMissing.into())
        } else {
            Ok(opened)
        }
    }
}

/// A disclosed member of exactly one value: `[{"...": digest}]`.
pub(super) fn one<T: DisclosedValue>(
    value: &Value<'_>,
    slots: &mut Slots<'_>,
) -> Result<Disclosed<T>, Refused> {
    match value {
        Value::List(values) => match values.as_slice() {
            [value] => open(value, slots).map_err(|refused| refused.at_index(0)),
            _ => Err(Refusal::Members.into()),
        },
        _ => Err(Refusal::Members.into()),
    }
}

/// A disclosed member of 1 to 200 values.
pub(super) fn some<T: DisclosedValue>(
    value: &Value<'_>,
    slots: &mut Slots<'_>,
) -> Result<Vec<Disclosed<T>>, Refused> {
    match value {
        Value::List(values) if (1..=DISCLOSED_MAX).contains(&values.len()) => values
            .iter()
            .enumerate()
            .map(|(at, value)| open(value, slots).map_err(|refused| refused.at_index(at)))
            .collect(),
        _ => Err(Refusal::Members.into()),
    }
}

fn open<T: DisclosedValue>(
    value: &Value<'_>,
    slots: &mut Slots<'_>,
) -> Result<Disclosed<T>, Refused> {
    match value {
        Value::Object(members) => match members.as_slice() {
            [(name, value)] if name == "..." => {
                Ok(slots.open(digest(value).map_err(|refused| refused.at("..."))?))
            }
            _ => Err(Refusal::Members.into()),
        },
        _ => Err(Refusal::Members.into()),
    }
}
