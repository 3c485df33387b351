// SPDX-License-Identifier: EUPL-1.2
//! State keys and their values: kinds 1 to 12 under the state root (byte specification, *Lists, and the state root*), and the local tables
//! from 0x80 on, under no root.

use alloc::{borrow::ToOwned, string::String, vec::Vec};

use super::stored::Reader;
use crate::{
    body::{Reference, consent::ConsentEvent},
    hash::Hash,
    id::{EntryId, InstitutionId, KeyId, NodeNumber, WINDOW_MS},
    key::{KeyUse, PublicKey},
    number::EntryIndex,
    time::DAY_MS,
};

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
    /// Exchanges: era, exchange, side, part, consumer, provider → what that side told first.
    pub const EXCHANGE: u8 = 0x81;
    /// What the registry knows of a name beyond `at`.
    pub const DETAIL: u8 = 0x82;
    /// A consent record folded: scope and times.
    pub const CONSENT_FOLD: u8 = 0x83;
    /// The governance entry last in force, and the founders' threshold.
    pub const GOVERNANCE: u8 = 0x84;
    /// Registry lists that only grow: length, and items by place.
    pub const LIST: u8 = 0x85;
    /// Sealed entries: index → leaf hash, date of release, sealing authority, and the persons not told yet.
    pub const SEALED_ENTRY: u8 = 0x86;
    /// The last `state-root` entry.
    pub const STATE_ROOT: u8 = 0x87;
    /// Refs of one person, joined by `link` entries.
    pub const LINK: u8 = 0x88;
    /// The key that replaced a key.
    pub const SUCCESSOR: u8 = 0x89;
    /// Entries whose exchange is not settled: index → why.
    pub const UNSETTLED: u8 = 0x8A;
    /// Erasures: index → who ordered what, and why.
    pub const ERASURE: u8 = 0x8B;
    /// What a node said of an erasure: index of the order and node → its `erased` entry.
    pub const ERASED: u8 = 0x8C;
    /// Erasures that name an entry: index → indexes of the orders.
    pub const ERASURES_OF: u8 = 0x8D;
    /// Entries that hold until something newer is said: index → since when they hold no more.
    pub const CEASED: u8 = 0x8E;
    /// A household's composition that begins last: ref → index and when it begins.
    pub const COMPOSITION: u8 = 0x8F;
    /// The cuts that stand, all of them and each institution's: indexes of their orders.
    pub const CUTS: u8 = 0x90;
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

    /// Whether a fold must know the key though it stands under no root: of what holds on, the age counts from when it ceased.
    pub fn for_retention(&self) -> bool {
        matches!(self.kind, kind::CEASED | kind::COMPOSITION)
    }

    /// Kind 1.
    pub fn subject(reference: &Hash) -> StateKey {
        StateKey::of(kind::SUBJECT, &[&reference.0])
    }

    /// Kind 2.
    pub fn household(reference: &Hash) -> StateKey {
        StateKey::of(kind::HOUSEHOLD, &[&reference.0])
    }

    /// Kind 10, by the sealed ref of the authority.
    pub fn sealed(reference: &Hash) -> StateKey {
        StateKey::of(kind::SEALED, &[&reference.0])
    }

    /// Kind 3.
    pub fn key(id: &KeyId) -> StateKey {
        StateKey::of(kind::KEY, &[&id.0.0])
    }

    /// Kind 4.
    pub fn institution(institution: &InstitutionId) -> StateKey {
        StateKey::of(kind::INSTITUTION, &[institution.as_str().as_bytes()])
    }

    /// Kind 5.
    pub fn role(institution: &InstitutionId, role: &str) -> StateKey {
        StateKey::of(
            kind::ROLE,
            &[institution.as_str().as_bytes(), b"\n", role.as_bytes()],
        )
    }

    /// Kind 6.
    pub fn consent(reference: &Hash, record: &str) -> StateKey {
        StateKey::of(kind::CONSENT, &[&reference.0, record.as_bytes()])
    }

    /// Kind 7.
    pub fn stream(institution: &InstitutionId, name: &str) -> StateKey {
        StateKey::of(
            kind::STREAM,
            &[institution.as_str().as_bytes(), b"\n", name.as_bytes()],
        )
    }

    /// Kind 8.
    pub fn node(node: NodeNumber) -> StateKey {
        StateKey::of(kind::NODE, &[&node.0.to_be_bytes()])
    }

    /// Kind 9.
    pub fn rules() -> StateKey {
        StateKey::of(kind::RULES, &[])
    }

    /// Kind 11.
    pub fn delegation(controller: &InstitutionId, submitter: &InstitutionId) -> StateKey {
        StateKey::of(
            kind::DELEGATION,
            &[
                controller.as_str().as_bytes(),
                b"\n",
                submitter.as_str().as_bytes(),
            ],
        )
    }

    /// Kind 12.
    pub fn policy() -> StateKey {
        StateKey::of(kind::POLICY, &[])
    }

    /// 0x80: `u32(day of the id) ‖ institution ‖ 0x0A ‖ id`. The day stands first, so that a day that left the window is one range.
    pub fn entry_id(institution: &InstitutionId, id: &EntryId) -> StateKey {
        let day = u32::try_from(id.time_ms() / DAY_MS).unwrap_or(u32::MAX);
        StateKey::of(
            kind::ENTRY_ID,
            &[
                &day.to_be_bytes(),
                institution.as_str().as_bytes(),
                b"\n",
                id.as_bytes(),
            ],
        )
    }

    /// Where [`kind::ENTRY_ID`] keys begin.
    pub fn entry_ids_start() -> StateKey {
        StateKey::of(kind::ENTRY_ID, &[])
    }

    /// The end of the ids that left the window of an entry accepted at this time: every [`kind::ENTRY_ID`] key below may be deleted.
    /// Admission looks at the window before it looks at ids, so when they go changes no answer.
    pub fn entry_ids_end(accepted_at_ms: u64) -> StateKey {
        let day = accepted_at_ms.saturating_sub(WINDOW_MS) / DAY_MS;
        StateKey::of(
            kind::ENTRY_ID,
            &[&u32::try_from(day).unwrap_or(u32::MAX).to_be_bytes()],
        )
    }

    /// 0x82: what is known beyond `at` of the name under another kind.
    pub fn detail(of: &StateKey) -> StateKey {
        StateKey::of(kind::DETAIL, &[&[of.kind], &of.name])
    }

    /// 0x83: `ref ‖ record`.
    pub fn consent_fold(reference: &Hash, record: &str) -> StateKey {
        StateKey::of(kind::CONSENT_FOLD, &[&reference.0, record.as_bytes()])
    }

    /// 0x84.
    pub fn governance() -> StateKey {
        StateKey::of(kind::GOVERNANCE, &[])
    }

    /// 0x85: the length of a list.
    pub fn list(name: &str) -> StateKey {
        StateKey::of(kind::LIST, &[name.as_bytes()])
    }

    /// 0x85: an item of a list, by its place from 0: `name ‖ 0x00 ‖ u64(place)`.
    pub fn list_item(name: &str, place: u64) -> StateKey {
        StateKey::of(kind::LIST, &[name.as_bytes(), &[0], &place.to_be_bytes()])
    }

    /// 0x86.
    pub fn sealed_entry(index: EntryIndex) -> StateKey {
        StateKey::of(kind::SEALED_ENTRY, &[&index.0.to_be_bytes()])
    }

    /// 0x87.
    pub fn state_root() -> StateKey {
        StateKey::of(kind::STATE_ROOT, &[])
    }

    /// 0x88.
    pub fn link(reference: &Hash) -> StateKey {
        StateKey::of(kind::LINK, &[&reference.0])
    }

    /// 0x89.
    pub fn successor(id: &KeyId) -> StateKey {
        StateKey::of(kind::SUCCESSOR, &[&id.0.0])
    }

    /// 0x8B.
    pub fn erasure(index: EntryIndex) -> StateKey {
        StateKey::of(kind::ERASURE, &[&index.0.to_be_bytes()])
    }

    /// 0x8C.
    pub fn erased(order: EntryIndex, node: NodeNumber) -> StateKey {
        StateKey::of(
            kind::ERASED,
            &[&order.0.to_be_bytes(), &node.0.to_be_bytes()],
        )
    }

    /// 0x8D.
    pub fn erasures_of(index: EntryIndex) -> StateKey {
        StateKey::of(kind::ERASURES_OF, &[&index.0.to_be_bytes()])
    }

    /// 0x8E.
    pub fn ceased(index: EntryIndex) -> StateKey {
        StateKey::of(kind::CEASED, &[&index.0.to_be_bytes()])
    }

    /// The index in a [`kind::CEASED`] key.
    pub fn ceased_index(&self) -> Option<EntryIndex> {
        let name: &[u8; 8] = self.name.as_slice().try_into().ok()?;
        (self.kind == kind::CEASED).then(|| EntryIndex(u64::from_be_bytes(*name)))
    }

    /// 0x8F.
    pub fn composition(household: &Hash) -> StateKey {
        StateKey::of(kind::COMPOSITION, &[&household.0])
    }

    /// 0x90.
    pub fn cuts() -> StateKey {
        StateKey::of(kind::CUTS, &[])
    }

    /// 0x90, of an institution.
    pub fn cuts_of(institution: &InstitutionId) -> StateKey {
        StateKey::of(kind::CUTS, &[institution.as_str().as_bytes()])
    }

    fn of(kind: u8, parts: &[&[u8]]) -> StateKey {
        StateKey {
            kind,
            name: parts.concat(),
        }
    }
}

/// What stands under [`kind::KEY`]: `u8(alg) ‖ public key[32] ‖ u8(use) ‖ u64(first) ‖ u64(first no longer, else 2^64−1) ‖ institution`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// The key.
    pub public_key: PublicKey,
    /// Its one use.
    pub key_use: KeyUse,
    /// First index at which it is in force.
    pub first: u64,
    /// First index at which it is no longer in force; `u64::MAX` while no end is set.
    pub until: u64,
    /// Its one institution.
    pub institution: InstitutionId,
}

impl KeyRecord {
    /// Whether an entry at this index may be signed with it.
    pub fn in_force_at(&self, index: EntryIndex) -> bool {
        self.first <= index.0 && index.0 < self.until
    }

    /// The value.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u8(ALG_ED25519)
            .raw(self.public_key.as_bytes())
            .u8(self.key_use.code())
            .u64(self.first)
            .u64(self.until);
        out.raw(self.institution.as_bytes()).done()
    }

    /// The record that [`KeyRecord::encode`] laid out.
    pub fn decode(value: &[u8]) -> Option<KeyRecord> {
        let (bytes, terms) = decode_key(value)?;
        let KeyTerms {
            key_use,
            first,
            until,
            institution,
        } = terms;
        Some(KeyRecord {
            public_key: PublicKey::from_bytes(*bytes).ok()?,
            key_use,
            first,
            until,
            institution,
        })
    }
}

/// A [`KeyRecord`] without the key itself: whoever only asks what a key may sign is spared the decoding of its point, which costs more
/// than all the rest of judging an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTerms {
    /// Its one use.
    pub key_use: KeyUse,
    /// First index at which it is in force.
    pub first: u64,
    /// First index at which it is no longer in force; `u64::MAX` while no end is set.
    pub until: u64,
    /// Its one institution.
    pub institution: InstitutionId,
}

impl KeyTerms {
    /// Whether an entry at this index may be signed with it.
    pub fn in_force_at(&self, index: EntryIndex) -> bool {
        self.first <= index.0 && index.0 < self.until
    }

    /// The terms of the record that [`KeyRecord::encode`] laid out.
    pub fn decode(value: &[u8]) -> Option<KeyTerms> {
        decode_key(value).map(|(_, terms)| terms)
    }
}

fn decode_key(value: &[u8]) -> Option<(&[u8; 32], KeyTerms)> {
    let mut from = Reader::new(value);
    let (alg, bytes) = (from.u8()?, from.array()?);
    let terms = KeyTerms {
        key_use: KeyUse::from_code(from.u8()?)?,
        first: from.u64()?,
        until: from.u64()?,
        institution: InstitutionId::parse(from.rest_text()?)?,
    };
    (alg == ALG_ED25519).then_some((bytes, terms))
}

const ALG_ED25519: u8 = 1;

/// `at = u64(index) ‖ leaf hash` of the entry last in force.
pub fn at(reference: &Reference) -> Vec<u8> {
    Writer::default().reference(reference).done()
}

/// What [`at`] laid out; `rest` bytes may follow.
pub fn decode_at(value: &[u8]) -> Option<Reference> {
    Reader::new(value).reference()
}

/// Value under [`kind::CONSENT`]: `at ‖ event`.
pub fn consent(reference: &Reference, event: ConsentEvent) -> Vec<u8> {
    Writer::default()
        .reference(reference)
        .raw(consent_event_name(event).as_bytes())
        .done()
}

fn consent_event_name(event: ConsentEvent) -> &'static str {
    match event {
        ConsentEvent::Given => "given",
        ConsentEvent::Refused => "refused",
        ConsentEvent::Withdrawn => "withdrawn",
        ConsentEvent::Renewed => "renewed",
    }
}

/// Value under [`kind::STREAM`]: `u64(n) ‖ prev` that n + 1 must carry.
pub fn stream(n: u64, prev: &Hash) -> Vec<u8> {
    Writer::default().u64(n).hash(prev).done()
}

/// What [`stream`] laid out.
pub fn decode_stream(value: &[u8]) -> Option<(u64, Hash)> {
    Reader::all(value, |from| Some((from.u64()?, from.hash()?)))
}

/// Value under [`kind::RULES`]: `at ‖ u16(rules)`.
pub fn rules(reference: &Reference, number: u16) -> Vec<u8> {
    Writer::default().reference(reference).u16(number).done()
}

/// The number that [`rules`] laid out.
pub fn decode_rules(value: &[u8]) -> Option<u16> {
    Reader::all(value, |from| {
        from.reference()?;
        from.u16()
    })
}

/// Value under [`kind::POLICY`]: `at ‖ H(policy text)`.
pub fn policy(reference: &Reference, text: &str) -> Vec<u8> {
    Writer::default()
        .reference(reference)
        .hash(&Hash::of(&[text.as_bytes()]))
        .done()
}

/// Value under [`kind::ENTRY_ID`]: `u64(index) ‖ digest`.
pub fn entry_id(index: EntryIndex, digest: &Hash) -> Vec<u8> {
    Writer::default().u64(index.0).hash(digest).done()
}

/// What [`entry_id`] laid out.
pub fn decode_entry_id(value: &[u8]) -> Option<(EntryIndex, Hash)> {
    Reader::all(value, |from| Some((EntryIndex(from.u64()?), from.hash()?)))
}

/// What identifies an entry beside its id, so that the same entry sent again is known: its PAE and who signed it, not with which
/// signature (the batch form and the single form of one key count as one).
pub fn entry_digest(pae: &[u8], signers: &[KeyId]) -> Hash {
    let mut parts: Vec<&[u8]> = Vec::with_capacity(signers.len() + 1);
    let pae_hash = Hash::of(&[pae]);
    parts.push(pae_hash.as_bytes());
    parts.extend(signers.iter().map(|signer| signer.0.as_bytes().as_slice()));
    Hash::of(&parts)
}

/// Writes values: integers big-endian, lists and texts with their length before them.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.raw(&[value])
    }

    pub(crate) fn u16(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn hash(&mut self, value: &Hash) -> &mut Self {
        self.raw(value.as_bytes())
    }

    pub(crate) fn reference(&mut self, value: &Reference) -> &mut Self {
        self.u64(value.index.0).hash(&value.leaf)
    }

    /// Bodies are bounded far below 2^32 bytes, so no length is ever cut.
    pub(crate) fn text(&mut self, value: &str) -> &mut Self {
        self.raw(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes())
            .raw(value.as_bytes())
    }

    /// With its length before it.
    pub(crate) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.raw(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes())
            .raw(value)
    }

    pub(crate) fn texts(&mut self, values: &[String]) -> &mut Self {
        self.raw(
            &u32::try_from(values.len())
                .unwrap_or(u32::MAX)
                .to_be_bytes(),
        );
        values.iter().for_each(|value| {
            self.text(value);
        });
        self
    }

    pub(crate) fn done(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.0)
    }
}

/// Reads what [`Writer`] wrote; `None` where the bytes are not that.
impl<'a> Reader<'a> {
    /// Reads all of a value: nothing may be left.
    pub(crate) fn all<T>(value: &'a [u8], read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let mut from = Self::new(value);
        let read = read(&mut from)?;
        from.is_empty().then_some(read)
    }

    pub(crate) fn reference(&mut self) -> Option<Reference> {
        Some(Reference {
            index: EntryIndex(self.u64()?),
            leaf: self.hash()?,
        })
    }

    pub(crate) fn text(&mut self) -> Option<String> {
        core::str::from_utf8(self.field(usize::MAX)?)
            .ok()
            .map(ToOwned::to_owned)
    }

    pub(crate) fn texts(&mut self) -> Option<Vec<String>> {
        let count = self.u32()?;
        (0..count).map(|_| self.text()).collect()
    }

    pub(crate) fn rest_text(&mut self) -> Option<&'a str> {
        core::str::from_utf8(self.rest()).ok()
    }
}
