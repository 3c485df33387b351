// SPDX-License-Identifier: EUPL-1.2
//! The body of an entry: what an institution, a node or the governance says. One struct per type; `parse` is the only way in.

use alloc::{
    borrow::Cow,
    boxed::Box,
    string::{String, ToString},
    vec::Vec,
};

use crate::{
    bytes::{BODY_BYTES_MAX, BODY_DEPTH_MAX},
    disclosure::{self, Opened, refuse_digests},
    hash::Hash,
    id::{EntryId, InstitutionId},
    json::{self, Limits, Value},
    number::EntryIndex,
    refusal::{Refusal, Refused},
    time::format_timestamp,
};
use disclosed::Slots;
use members::{Members, Writer, count, digest, institution, number, text, timestamp, words};

/// A closed list of words, each with its variant.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident $word:literal),* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)]
        pub enum $name { $($variant),* }

        impl $name {
            /// All of them.
            pub const ALL: &[$name] = &[$($name::$variant),*];

            /// The word in bodies.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }

            /// The variant of a word.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($word => Some($name::$variant),)* _ => None }
            }
        }
    };
}

pub mod access;
pub mod consent;
mod disclosed;
pub mod governance;
pub mod household;
pub(crate) mod members;
pub mod system;

pub use disclosed::{DISCLOSED_MAX, Disclosed, DisclosedValue};

/// A parsed body: the common members and the one member named after the type. `ext` is checked and not kept here: it stays in the payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    /// Members that every type has.
    pub common: Common,
    /// The member named after the type ([`EntryType::member`]).
    pub content: Content,
}

/// Members that every body has (`v` = 1 is implied).
#[derive(Clone, Debug, PartialEq)]
pub struct Common {
    /// Name of the ledger that the entry is for.
    pub ledger: String,
    /// UUIDv7, unique per institution within the id window.
    pub id: EntryId,
    /// The controller; who signed is shown by the key.
    pub institution: InstitutionId,
    /// When it happened, in milliseconds since the epoch, by the signer's clock.
    pub occurred_at_ms: u64,
    /// Another entry that this one is about.
    pub refers_to: Option<Reference>,
    /// Place in a stream of the signer's.
    pub stream: Option<StreamPlace>,
}

/// Another entry, named by its place and its leaf hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Where it stands.
    pub index: EntryIndex,
    /// Its leaf hash.
    pub leaf: Hash,
}

/// Place of an entry in a stream: `n` counts from 1, `prev` chains to the PAE before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPlace {
    /// Name of the stream, chosen by the signer.
    pub name: String,
    /// Number of this entry in the stream, from 1.
    pub n: u64,
    /// `H("visto/stream/v1\n" ‖ PAE of the entry before)`; zero for the first.
    pub prev: Hash,
}

/// The member named after the type.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Content {
    Genesis(Box<governance::Genesis>),
    Access(Box<access::Access>),
    Consent(Box<consent::Consent>),
    Household(household::Household),
    Institution(governance::Institution),
    Key(governance::Key),
    Role(governance::Role),
    Delegation(governance::Delegation),
    Node(governance::Node),
    Policy(governance::PolicyText),
    Rules(governance::Rules),
    Note(system::Note),
    Read(system::Read),
    Disclosure(system::Disclosure),
    Erasure(system::Erasure),
    Erased(system::Erased),
    Release(system::Release),
    Link(system::Link),
    StateRoot(system::StateRoot),
}

/// Type of an entry; the number stands in `meta`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum EntryType {
    Genesis = 1,
    Access = 2,
    Consent = 3,
    Household = 4,
    Institution = 5,
    Key = 6,
    Role = 7,
    Delegation = 8,
    Node = 9,
    Policy = 10,
    Rules = 11,
    Note = 12,
    Read = 13,
    Disclosure = 14,
    Erasure = 15,
    Erased = 16,
    Release = 17,
    Link = 18,
    StateRoot = 19,
}

impl Body {
    /// Parses a body and all its disclosures.
    ///
    /// # Errors
    /// Whatever is wrong with the bytes, by the precedence of [`Refusal`], with a pointer into the wire line.
    pub fn parse(payload: &[u8], disclosures: &[String]) -> Result<Self, Refused> {
        let parsed = Self::parse_with(payload, Slots::new(disclosures), false, None);
        Ok(parsed?.0)
    }

    /// As [`Body::parse`], for one ledger: what another version of another ledger says is refused as that ledger's. With what was computed of
    /// the disclosures, in their order.
    pub(crate) fn parse_for(
        ledger: &str,
        payload: &[u8],
        disclosures: &[String],
    ) -> Result<(Self, Vec<Opened>), Refused> {
        let slots = Slots::new(disclosures);
        let (body, opened) = Self::parse_with(payload, slots, false, Some(ledger))?;
        Ok((body, opened.into_iter().map(Cow::into_owned).collect()))
    }

    /// As [`Body::parse`], where disclosures may be withheld or erased: their values are `None`.
    ///
    /// # Errors
    /// As [`Body::parse`], without `disclosure-missing`.
    pub fn parse_partial(payload: &[u8], disclosures: &[String]) -> Result<Self, Refused> {
        let parsed = Self::parse_with(payload, Slots::new(disclosures), true, None);
        Ok(parsed?.0)
    }

    /// As [`Body::parse_partial`], of disclosures that are decoded and hashed already.
    ///
    /// # Errors
    /// As [`Body::parse_partial`].
    pub(crate) fn parse_kept(
        payload: &[u8],
        disclosures: &[disclosure::Disclosure],
    ) -> Result<Self, Refused> {
        let parsed = Self::parse_with(payload, Slots::kept(disclosures), true, None);
        Ok(parsed?.0)
    }

    /// The JSON text, digests in the place of what is disclosed. Read again it gives the same body.
    pub fn to_json(&self) -> String {
        let Common {
            ledger,
            id,
            institution,
            occurred_at_ms,
            refers_to,
            stream,
        } = &self.common;
        let mut w = Writer::new();
        w.put("v", 1u64);
        w.put("ledger", ledger);
        w.put("id", id.to_string());
        w.put("institution", institution);
        w.put("type", self.entry_type().as_str());
        w.put("occurredAt", format_timestamp(*occurred_at_ms));
        w.put(
            "refersTo",
            refers_to.map(|reference| {
                let mut w = Writer::new();
                w.put("index", reference.index.0);
                w.put("leaf", reference.leaf);
                w
            }),
        );
        w.put(
            "stream",
            stream.as_ref().map(|place| {
                let mut w = Writer::new();
                w.put("name", &place.name);
                w.put("n", place.n);
                w.put("prev", place.prev);
                w
            }),
        );
        w.put(self.entry_type().member(), self.content.to_value());
        json::format(&w.into())
    }

    /// Its type.
    pub fn entry_type(&self) -> EntryType {
        self.content.entry_type()
    }

    fn parse_with<'d>(
        payload: &[u8],
        mut slots: Slots<'d>,
        withheld: bool,
        expected: Option<&str>,
    ) -> Result<(Self, Vec<Cow<'d, Opened>>), Refused> {
        let in_payload = |refused: Refused| refused.at("payload").at("envelope");
        let limits = Limits {
            bytes_max: BODY_BYTES_MAX,
            depth_max: BODY_DEPTH_MAX,
        };
        let value = json::parse(payload, limits).map_err(in_payload)?;
        let body = Self::parse_value(&value, &mut slots, expected).map_err(in_payload)?;
        Ok((body, slots.close(withheld)?))
    }

    fn parse_value(
        value: &Value<'_>,
        slots: &mut Slots<'_>,
        expected: Option<&str>,
    ) -> Result<Self, Refused> {
        if !matches!(value, Value::Object(_)) {
            return Err(Refusal::Json.into());
        }
        let mut m = Members::open(value)?;
        m.required("v", |value| {
            if *value == Value::Int(1) {
                Ok(())
            } else {
                Err(Refusal::Members.into())
            }
        })?;
        let ledger = m.required("ledger", text)?;
        if expected.is_some_and(|expected| expected != ledger) {
            return Err(Refused::from(Refusal::Ledger).at("ledger"));
        }
        let id = m.required("id", |value| {
            value
                .as_text()
                .and_then(EntryId::parse)
                .ok_or_else(|| Refusal::IdForm.into())
        })?;
        let institution = m.required("institution", institution)?;
        let entry_type = m.required("type", |value| words(value, EntryType::parse))?;
        let occurred_at_ms = m.required("occurredAt", timestamp)?;
        let refers_to = m.optional("refersTo", Reference::parse)?;
        let stream = m.optional("stream", StreamPlace::parse)?;
        let content = m.required(entry_type.member(), |value| {
            Content::parse(entry_type, value, slots)
        })?;
        m.optional("ext", |value| match value {
            Value::Object(_) => refuse_digests(value),
            _ => Err(Refusal::Members.into()),
        })?;
        if matches!(entry_type, EntryType::Note | EntryType::Release) && refers_to.is_none() {
            return Err(Refused::from(Refusal::Members).at("refersTo"));
        }
        m.close(Self {
            common: Common {
                ledger,
                id,
                institution,
                occurred_at_ms,
                refers_to,
                stream,
            },
            content,
        })
    }
}

impl Reference {
    fn parse(value: &Value<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let reference = Self {
            index: EntryIndex(m.required("index", count)?),
            leaf: m.required("leaf", digest)?,
        };
        m.close(reference)
    }
}

impl StreamPlace {
    fn parse(value: &Value<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let place = Self {
            name: m.required("name", text)?,
            n: m.required("n", number)?,
            prev: m.required("prev", digest)?,
        };
        m.close(place)
    }
}

impl Content {
    fn parse(
        entry_type: EntryType,
        value: &Value<'_>,
        slots: &mut Slots<'_>,
    ) -> Result<Self, Refused> {
        Ok(match entry_type {
            EntryType::Genesis => Content::Genesis(Box::new(governance::Genesis::parse(value)?)),
            EntryType::Access => Content::Access(Box::new(access::Access::parse(value, slots)?)),
            EntryType::Consent => {
                Content::Consent(Box::new(consent::Consent::parse(value, slots)?))
            }
            EntryType::Household => Content::Household(household::Household::parse(value, slots)?),
            EntryType::Institution => Content::Institution(governance::Institution::parse(value)?),
            EntryType::Key => Content::Key(governance::Key::parse(value)?),
            EntryType::Role => Content::Role(governance::Role::parse(value)?),
            EntryType::Delegation => Content::Delegation(governance::Delegation::parse(value)?),
            EntryType::Node => Content::Node(governance::Node::parse(value)?),
            EntryType::Policy => Content::Policy(governance::PolicyText::parse(value)?),
            EntryType::Rules => Content::Rules(governance::Rules::parse(value)?),
            EntryType::Note => Content::Note(system::Note::parse(value, slots)?),
            EntryType::Read => Content::Read(system::Read::parse(value, slots)?),
            EntryType::Disclosure => Content::Disclosure(system::Disclosure::parse(value, slots)?),
            EntryType::Erasure => Content::Erasure(system::Erasure::parse(value, slots)?),
            EntryType::Erased => Content::Erased(system::Erased::parse(value)?),
            EntryType::Release => Content::Release(system::Release::parse(value, slots)?),
            EntryType::Link => Content::Link(system::Link::parse(value, slots)?),
            EntryType::StateRoot => Content::StateRoot(system::StateRoot::parse(value)?),
        })
    }

    fn to_value(&self) -> Value<'_> {
        match self {
            Content::Genesis(content) => content.to_value(),
            Content::Access(content) => content.to_value(),
            Content::Consent(content) => content.to_value(),
            Content::Household(content) => content.to_value(),
            Content::Institution(content) => content.to_value(),
            Content::Key(content) => content.to_value(),
            Content::Role(content) => content.to_value(),
            Content::Delegation(content) => content.to_value(),
            Content::Node(content) => content.to_value(),
            Content::Policy(content) => content.to_value(),
            Content::Rules(content) => content.to_value(),
            Content::Note(content) => content.to_value(),
            Content::Read(content) => content.to_value(),
            Content::Disclosure(content) => content.to_value(),
            Content::Erasure(content) => content.to_value(),
            Content::Erased(content) => content.to_value(),
            Content::Release(content) => content.to_value(),
            Content::Link(content) => content.to_value(),
            Content::StateRoot(content) => content.to_value(),
        }
    }

    /// Its type.
    pub fn entry_type(&self) -> EntryType {
        match self {
            Content::Genesis(_) => EntryType::Genesis,
            Content::Access(_) => EntryType::Access,
            Content::Consent(_) => EntryType::Consent,
            Content::Household(_) => EntryType::Household,
            Content::Institution(_) => EntryType::Institution,
            Content::Key(_) => EntryType::Key,
            Content::Role(_) => EntryType::Role,
            Content::Delegation(_) => EntryType::Delegation,
            Content::Node(_) => EntryType::Node,
            Content::Policy(_) => EntryType::Policy,
            Content::Rules(_) => EntryType::Rules,
            Content::Note(_) => EntryType::Note,
            Content::Read(_) => EntryType::Read,
            Content::Disclosure(_) => EntryType::Disclosure,
            Content::Erasure(_) => EntryType::Erasure,
            Content::Erased(_) => EntryType::Erased,
            Content::Release(_) => EntryType::Release,
            Content::Link(_) => EntryType::Link,
            Content::StateRoot(_) => EntryType::StateRoot,
        }
    }
}

impl EntryType {
    /// All types, by number.
    pub const ALL: [EntryType; 19] = [
        EntryType::Genesis,
        EntryType::Access,
        EntryType::Consent,
        EntryType::Household,
        EntryType::Institution,
        EntryType::Key,
        EntryType::Role,
        EntryType::Delegation,
        EntryType::Node,
        EntryType::Policy,
        EntryType::Rules,
        EntryType::Note,
        EntryType::Read,
        EntryType::Disclosure,
        EntryType::Erasure,
        EntryType::Erased,
        EntryType::Release,
        EntryType::Link,
        EntryType::StateRoot,
    ];

    /// The number in `meta`.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The type of a number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }

    /// The word in bodies.
    pub fn as_str(self) -> &'static str {
        match self {
            EntryType::Genesis => "genesis",
            EntryType::Access => "access",
            EntryType::Consent => "consent",
            EntryType::Household => "household",
            EntryType::Institution => "institution",
            EntryType::Key => "key",
            EntryType::Role => "role",
            EntryType::Delegation => "delegation",
            EntryType::Node => "node",
            EntryType::Policy => "policy",
            EntryType::Rules => "rules",
            EntryType::Note => "note",
            EntryType::Read => "read",
            EntryType::Disclosure => "disclosure",
            EntryType::Erasure => "erasure",
            EntryType::Erased => "erased",
            EntryType::Release => "release",
            EntryType::Link => "link",
            EntryType::StateRoot => "state-root",
        }
    }

    /// The member of the body that holds its content. It is named after the type, but for `institution`, whose name the controller has
    /// in every body: there it is `registration`.
    pub fn member(self) -> &'static str {
        match self {
            EntryType::Institution => "registration",
            other => other.as_str(),
        }
    }

    /// The type of a word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|candidate| candidate.as_str() == text)
    }
}

#[cfg(test)]
mod tests;
