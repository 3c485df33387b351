// SPDX-License-Identifier: EUPL-1.2
//! Types 12 to 19: notes, and what the nodes themselves write.

use alloc::{string::String, vec::Vec};

use super::{
    Disclosed, EntryType,
    disclosed::{DisclosedValue, Slots, one, some},
    members::{Members, Writer, count, digest, institution, list, number, text, words},
};
use crate::{
    erasure::ENTRIES_MAX,
    hash::Hash,
    id::{InstitutionId, NodeNumber},
    json::Value,
    refusal::{Refusal, Refused},
    retention::is_cut,
};

/// `note`, type 12: on another entry, never changing it. JSON: `{kind, text? d, subjects? d[] {ref}, opens?[]}`, `refersTo` required.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Note {
    pub kind: NoteKind,
    pub text: Option<Disclosed<String>>,
    pub subjects: Vec<Disclosed<Hash>>,
    /// What of the other entry a decision opens to the persons named, each once. Only beside `kind` decide, the reason as `text`, and
    /// `subjects`: nothing is opened without saying why and to whom.
    pub opens: Vec<NoteOpens>,
}

words! {
    /// What a note does.
    NoteKind { Correct "correct", Complete "complete", Decide "decide", Dispute "dispute" }
}

words! {
    /// What a decision can open: who caused an access, from which desk (both decided by the consumer), or that an access is kept from the
    /// persons named at all (decided by the authority that seals it).
    NoteOpens { UserId "userID", UserLocation "userLocation", Restriction "restriction" }
}

/// `read`, type 13: a reader saw personal data through the API; committed before the data leaves.
/// JSON: `{institution, reader d {person, role}, token? d, purpose, caseRef? d, released {route, count, treeSize}, subjects? d[] {ref},
/// exportDigest?}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// The reader's institution, in clear.
    pub institution: InstitutionId,
    /// The person behind the token.
    pub reader: Disclosed<Reader>,
    /// The token itself, signed by the reader's institution: its own word that this person asked. Expired when others can read it.
    pub token: Option<Disclosed<String>>,
    /// Purpose that the token carries.
    pub purpose: String,
    /// Case that the token carries.
    pub case_ref: Option<Disclosed<String>>,
    /// Which route released (a template, never a value).
    pub route: String,
    /// How many entries were released.
    pub count: u64,
    /// Tree size that the answer reflects.
    pub tree_size: u64,
    /// Whose data was asked for (subjects' refs); kept disclosed so that the person's list shows the read.
    pub subjects: Vec<Disclosed<Hash>>,
    /// Digest of an export that was released.
    pub export_digest: Option<Hash>,
}

/// The person behind a reader's token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Reader {
    pub person: String,
    pub role: String,
}

/// `disclosure`, type 14: an export was handed out. JSON: `{institution, exportDigest, subjects d[] {ref}, ground}`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Disclosure {
    pub institution: InstitutionId,
    pub export_digest: Hash,
    pub subjects: Vec<Disclosed<Hash>>,
    pub ground: String,
}

/// `erasure`, type 15: the controller orders it, or the authority. JSON: `{entries[] (1 to 256 indexes, ascending), subject? d {ref}, ground}`
/// or `{before (index), types[]?, ground}`. [`crate::erasure`] says what it does, and whose entries it touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// The entries, ascending; none if this is a cut.
    pub entries: Vec<u64>,
    /// The one person whose disclosure alone is to go from those entries.
    pub subject: Option<Disclosed<Hash>>,
    /// A cut: everything before this index that is old enough.
    pub before: Option<u64>,
    /// The types that a cut takes; all that a cut can take, if none is named.
    pub types: Vec<EntryType>,
    /// Why. A closed list: an order is kept for ever, so it has no room for a text that names somebody.
    pub ground: Ground,
}

words! {
    /// Grounds of an erasure: the letters of Art. 17(1) GDPR, and the end of retention, Art. 5(1)(e).
    Ground {
        RetentionEnded "retention-ended", NotNecessary "not-necessary", ConsentWithdrawn "consent-withdrawn", Objection "objection",
        Unlawful "unlawful", LegalObligation "legal-obligation", Child "child"
    }
}

/// `erased`, type 16: done by this node, how far. JSON: `{node, erasure (index), through (index), done, spared}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erased {
    /// The node that speaks, of its own disks alone.
    pub node: NodeNumber,
    /// The order.
    pub erasure: u64,
    /// The last index that was looked at.
    pub through: u64,
    /// Entries of which what was ordered is gone.
    pub done: u64,
    /// Entries named that stay as they are: not the signer's, of a type that is not erased, or without such a person.
    pub spared: u64,
}

/// `release`, type 17: a deferred entry joins its subjects' lists. JSON: `{subjects d[] {ref}}`, `refersTo` required.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Release {
    pub subjects: Vec<Disclosed<Hash>>,
}

/// `link`, type 18: an old and a new ref are one person. JSON: `{old d {ref}, new d {ref}, proof}`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Link {
    pub old: Disclosed<Hash>,
    pub new: Disclosed<Hash>,
    pub proof: String,
}

/// `state-root`, type 19. JSON: `{size, version, root, previous}`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct StateRoot {
    pub size: u64,
    pub version: u64,
    pub root: Hash,
    pub previous: Hash,
}

impl Note {
    pub(super) fn parse(value: &Value<'_>, slots: &mut Slots<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let note = Self {
            kind: m.required("kind", |value| words(value, NoteKind::parse))?,
            text: m.optional("text", |value| one(value, slots))?,
            subjects: m
                .optional("subjects", |value| some(value, slots))?
                .unwrap_or_default(),
            opens: m
                .optional("opens", NoteOpens::parse_list)?
                .unwrap_or_default(),
        };
        let decided =
            note.kind == NoteKind::Decide && note.text.is_some() && !note.subjects.is_empty();
        if !note.opens.is_empty() && !decided {
            return Err(Refused::from(Refusal::Members).at("opens"));
        }
        m.close(note)
    }

    pub(super) fn to_value(&self) -> Value<'_> {
        let mut w = Writer::new();
        w.put("kind", self.kind.as_str());
        w.put("text", &self.text);
        w.put_some("subjects", &self.subjects);
        let opens: Vec<Value<'_>> = self
            .opens
            .iter()
            .map(|opens| Value::text(opens.as_str()))
            .collect();
        w.put("opens", (!opens.is_empty()).then_some(Value::List(opens)));
        w.into()
    }
}

impl NoteOpens {
    /// At least one word, none twice.
    fn parse_list(value: &Value<'_>) -> Result<Vec<Self>, Refused> {
        let opens = list(value, |value| words(value, NoteOpens::parse))?;
        let mut distinct = opens.clone();
        distinct.sort_unstable();
        distinct.dedup();
        if opens.is_empty() || distinct.len() != opens.len() {
            return Err(Refusal::Members.into());
        }
        Ok(opens)
    }
}

impl Read {
    pub(super) fn parse(value: &Value<'_>, slots: &mut Slots<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let institution = m.required("institution", institution)?;
        let reader = m.required("reader", |value| one(value, slots))?;
        let token = m.optional("token", |value| one(value, slots))?;
        let purpose = m.required("purpose", text)?;
        let case_ref = m.optional("caseRef", |value| one(value, slots))?;
        let (route, count, tree_size) = m.required("released", |value| {
            let mut m = Members::open(value)?;
            let released = (
                m.required("route", text)?,
                m.required("count", count)?,
                m.required("treeSize", count)?,
            );
            m.close(released)
        })?;
        let subjects = m
            .optional("subjects", |value| some(value, slots))?
            .unwrap_or_default();
        let export_digest = m.optional("exportDigest", digest)?;
        m.close(Self {
            institution,
            reader,
            token,
            purpose,
            case_ref,
            route,
            count,
            tree_size,
            subjects,
            export_digest,
        })
    }

    pub(super) fn to_value(&self) -> Value<'_> {
        let mut w = Writer::new();
        w.put("institution", &self.institution);
        w.put("reader", &self.reader);
        w.put("token", &self.token);
        w.put("purpose", &self.purpose);
        w.put("caseRef", &self.case_ref);
        let mut released = Writer::new();
        released.put("route", &self.route);
        released.put("count", self.count);
        released.put("treeSize", self.tree_size);
        w.put("released", released);
        w.put_some("subjects", &self.subjects);
        w.put("exportDigest", self.export_digest);
        w.into()
    }
}

impl DisclosedValue for Reader {
    fn parse(value: &Value<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let reader = Self {
            person: m.required("person", text)?,
            role: m.required("role", text)?,
        };
        m.close(reader)
    }

    fn to_value(&self) -> Value<'_> {
        let mut w = Writer::new();
        w.put("person", &self.person);
        w.put("role", &self.role);
        w.into()
    }
}

impl Disclosure {
    pub(super) fn parse(value: &Value<'_>, slots: &mut Slots<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let disclosure = Self {
            institution: m.required("institution", institution)?,
            export_digest: m.required("exportDigest", digest)?,
            subjects: m.required("subjects", |value| some(value, slots))?,
            ground: m.required("ground", text)?,
        };
        m.close(disclosure)
    }

    pub(super) fn to_value(&self) -> Value<'_> {
        let mut w = Writer::new();
        w.put("institution", &self.institution);
        w.put("exportDigest", self.export_digest);
        w.put("subjects", &self.subjects);
        w.put("ground", &self.ground);
        w.into()
    }
}

impl Erasure {
    /// Whether the order names the entry at this index: by itself, or as one before its cut. Whether it may, the entry itself decides.
    pub fn names(&self, index: u64) -> bool {
        self.entries.contains(&index) || self.before.is_some_and(|before| index < before)
    }

    pub(super) fn parse(value: &Value<'_>, slots: &mut Slots<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let erasure = Self {
            entries: m.optional("entries", entries)?.unwrap_or_default(),
            subject: m.optional("subject", |value| one(value, slots))?,
            before: m.optional("before", count)?,
            types: m.optional("types", cut_types)?.unwrap_or_default(),
            ground: m.required("ground", |value| words(value, Ground::parse))?,
        };
        let named = !erasure.entries.is_empty();
        let fits = match erasure.before {
            None => named && erasure.types.is_empty(),
            Some(_) => !named && erasure.subject.is_none(),
        };
        if !fits {
            return Err(Refusal::Members.into());
        }
        m.close(erasure)
    }

    pub(super) fn to_value(&self) -> Value<'_> {
        let mut w = Writer::new();
        w.put_some("entries", &self.entries);
        w.put("subject", &self.subject);
        w.put("before", self.before);
        let types = self.types.iter().map(|of| Value::text(of.as_str()));
        if !self.types.is_empty() {
            w.put("types", Value::List(types.collect()));
        }
        w.put("ground", self.ground.as_str());
        w.into()
    }
}

impl Erased {
    pub(super) fn parse(value: &Value<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let erased = Self {
            node: NodeNumber(m.required("node", number)?),
            erasure: m.required("erasure", count)?,
            through: m.required("through", count)?,
            done: m.required("done", count)?,
            spared: m.required("spared", count)?,
        };
        m.close(erased)
    }

    pub(super) fn to_value(&self) -> Value<'_> {
        let mut w = Writer::new();
        w.put("node", self.node.0);
        w.put("erasure", self.erasure);
        w.put("through", self.through);
        w.put("done", self.done);
        w.put("spared", self.spared);
        w.into()
    }
}

/// Indexes that an erasure names: each once, so that the counts of its `erased` entries mean something.
fn entries(value: &Value<'_>) -> Result<Vec<u64>, Refused> {
    let entries = list(value, count)?;
    if entries.len() > ENTRIES_MAX {
        return Err(Refusal::Size.into());
    }
    let ascending = entries.is_sorted_by(|one, next| one < next);
    if entries.is_empty() || !ascending {
        return Err(Refusal::Members.into());
    }
    Ok(entries)
}

/// Types that a cut may take, in the order of their numbers.
fn cut_types(value: &Value<'_>) -> Result<Vec<EntryType>, Refused> {
    let types = list(value, |value| {
        words(value, EntryType::parse).and_then(|of| {
            if is_cut(of) {
                Ok(of)
            } else {
                Err(Refusal::Members.into())
            }
        })
    })?;
    if types.is_empty() || !types.is_sorted_by(|one, next| one < next) {
        return Err(Refusal::Members.into());
    }
    Ok(types)
}

impl Release {
    pub(super) fn parse(value: &Value<'_>, slots: &mut Slots<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let release = Self {
            subjects: m.required("subjects", |value| some(value, slots))?,
        };
        m.close(release)
    }

    pub(super) fn to_value(&self) -> Value<'_> {
        let mut w = Writer::new();
        w.put("subjects", &self.subjects);
        w.into()
    }
}

impl Link {
    pub(super) fn parse(value: &Value<'_>, slots: &mut Slots<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let link = Self {
            old: m.required("old", |value| one(value, slots))?,
            new: m.required("new", |value| one(value, slots))?,
            proof: m.required("proof", text)?,
        };
        m.close(link)
    }

    pub(super) fn to_value(&self) -> Value<'_> {
        let mut w = Writer::new();
        w.put("old", &self.old);
        w.put("new", &self.new);
        w.put("proof", &self.proof);
        w.into()
    }
}

impl StateRoot {
    pub(super) fn parse(value: &Value<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let root = Self {
            size: m.required("size", count)?,
            version: m.required("version", count)?,
            root: m.required("root", digest)?,
            previous: m.required("previous", digest)?,
        };
        m.close(root)
    }

    pub(super) fn to_value(&self) -> Value<'_> {
        let mut w = Writer::new();
        w.put("size", self.size);
        w.put("version", self.version);
        w.put("root", self.root);
        w.put("previous", self.previous);
        w.into()
    }
}
