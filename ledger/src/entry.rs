// SPDX-License-Identifier: EUPL-1.2
//! An entry on its way: submitted (bytes, believed in nothing) → verified ([`verify`] is the one constructor) → sequenced (has an index
//! and a leaf) → stored (what a node keeps, perhaps erased).

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

pub use crate::bytes::Meta;
use crate::{
    base64,
    body::{
        Body,
        members::{Members, list, text},
    },
    bytes::{
        self, BODY_BYTES_MAX, BODY_DEPTH_MAX, DISCLOSURES_BYTES_MAX, DISCLOSURES_MAX, Leaf,
        PAYLOAD_TYPE, WIRE_BYTES_MAX, WIRE_VALUES_MAX,
    },
    disclosure::Disclosure,
    finding::Findings,
    hash::Hash,
    id::KeyId,
    json::{self, Limits, Value},
    key::SigningKey,
    number::EntryIndex,
    refusal::{Refusal, Refused},
    signature::{ALG_SINGLE, SIGS_MAX, Signature, Signed, Sigs},
};

mod verified;

pub use verified::{KeySource, Remembered, Stop, VerifiedEntry, Verifier, genesis_keys, verify};

/// An entry as it was sent: well-formed outside, within its bounds, and believed in nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct SubmittedEntry {
    /// PAE, of which the payload is the end: what is signed is kept in one piece.
    pae: Vec<u8>,
    payload_at: usize,
    sigs: Sigs,
    disclosures: Vec<String>,
}

impl SubmittedEntry {
    /// From its parts.
    ///
    /// # Errors
    /// [`Refusal::Size`] where payload or disclosures exceed their bounds.
    pub fn new(payload: &[u8], sigs: Sigs, disclosures: Vec<String>) -> Result<Self, Refused> {
        if payload.len() > BODY_BYTES_MAX {
            return Err(Refused::new(Refusal::Size, "/envelope/payload"));
        }
        let pae = bytes::pae(payload);
        Self::of_pae(pae, payload.len(), sigs, disclosures)
    }

    /// Signs a payload with each of the keys.
    ///
    /// # Errors
    /// `size`, or `sigs` for no key, more than 16, or one twice.
    pub fn sign(
        payload: &[u8],
        keys: &[&SigningKey],
        disclosures: Vec<String>,
    ) -> Result<Self, Refused> {
        let sigs = Sigs::sign(keys, &bytes::pae(payload))?;
        Self::new(payload, sigs, disclosures)
    }

    /// Parses a wire line: `{"envelope": {"payloadType", "payload", "signatures": [{"keyid", "sig", "alg"?}]}, "disclosures": […]}`.
    ///
    /// # Errors
    /// What is wrong with the envelope; the payload is not looked into.
    pub fn from_wire(line: &[u8]) -> Result<Self, Refused> {
        let limits = Limits {
            bytes_max: WIRE_BYTES_MAX,
            depth_max: BODY_DEPTH_MAX,
        };
        let value = json::parse_few(line, limits, WIRE_VALUES_MAX)?;
        let mut m = Members::open(&value)?;
        let envelope = m.required("envelope", Envelope::parse)?;
        let disclosures = m.required("disclosures", |value| list(value, text))?;
        m.close(envelope)?.entry(disclosures)
    }

    /// As [`SubmittedEntry::from_wire`], where the two members stand in a larger document.
    pub(crate) fn of_members(
        envelope: &Value<'_>,
        disclosures: Vec<String>,
    ) -> Result<Self, Refused> {
        Envelope::parse(envelope)
            .map_err(|refused| refused.at("envelope"))?
            .entry(disclosures)
    }

    /// Writes the wire line, without a line break.
    pub fn to_wire(&self) -> String {
        let mut line = String::from("{");
        self.write_members(&mut line);
        line.push('}');
        line
    }

    /// The members of the wire line, for whoever has more in the same object. Written as they come: an export or an audit has thousands.
    pub(crate) fn write_members(&self, out: &mut String) {
        let texts = self.disclosures.iter().map(|text| text.len() + 3);
        out.reserve(self.payload().len() / 3 * 4 + 512 + texts.sum::<usize>());
        out.push_str("\"envelope\":{\"payloadType\":\"");
        out.push_str(PAYLOAD_TYPE);
        out.push_str("\",\"payload\":\"");
        base64::encode_onto(self.payload(), out);
        out.push_str("\",\"signatures\":[");
        for (at, row) in self.sigs.rows().iter().enumerate() {
            out.push_str(if at > 0 {
                ",{\"keyid\":\""
            } else {
                "{\"keyid\":\""
            });
            base64::url_encode_onto(row.key_id.0.as_bytes(), out);
            out.push_str("\",\"sig\":\"");
            base64::encode_onto(&row.signature.encode(), out);
            out.push('"');
            if row.signature.alg() != ALG_SINGLE {
                out.push_str(",\"alg\":");
                out.push_str(&row.signature.alg().to_string());
            }
            out.push('}');
        }
        out.push_str("]},\"disclosures\":[");
        for (at, text) in self.disclosures.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            // Of an entry that was only submitted, it may be any text.
            json::write_text(text, out);
        }
        out.push(']');
    }

    /// The body, byte by byte as it was signed.
    pub fn payload(&self) -> &[u8] {
        self.pae.get(self.payload_at..).unwrap_or_default()
    }

    /// What is signed.
    pub fn pae(&self) -> &[u8] {
        &self.pae
    }

    /// The signatures.
    pub fn sigs(&self) -> &Sigs {
        &self.sigs
    }

    /// The disclosures, in the order sent.
    pub fn disclosures(&self) -> &[String] {
        &self.disclosures
    }

    fn of_pae(
        pae: Vec<u8>,
        payload_bytes: usize,
        sigs: Sigs,
        disclosures: Vec<String>,
    ) -> Result<Self, Refused> {
        if disclosures.len() > DISCLOSURES_MAX
            || disclosures.iter().map(String::len).sum::<usize>() > DISCLOSURES_BYTES_MAX
        {
            return Err(Refused::new(Refusal::Size, "/disclosures"));
        }
        let payload_at = pae.len().saturating_sub(payload_bytes);
        Ok(Self {
            pae,
            payload_at,
            sigs,
            disclosures,
        })
    }
}

/// Prints sizes alone: the rest is personal data.
impl fmt::Debug for SubmittedEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (payload, sigs, disclosures) = (
            self.payload().len(),
            self.sigs.rows().len(),
            self.disclosures.len(),
        );
        write!(
            f,
            "SubmittedEntry({payload} bytes, {sigs} signatures, {disclosures} disclosures)"
        )
    }
}

struct Envelope<'v> {
    payload_type: &'v str,
    payload: &'v str,
    signatures: Vec<SignatureText<'v>>,
}

struct SignatureText<'v> {
    key_id: &'v str,
    sig: &'v str,
    alg: u64,
}

fn borrowed<'v>(value: &'v Value<'_>) -> Result<&'v str, Refused> {
    value.as_text().ok_or_else(|| Refusal::Members.into())
}

impl<'v> Envelope<'v> {
    fn parse(value: &'v Value<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let payload_type = m.required("payloadType", borrowed)?;
        let payload = m.required("payload", borrowed)?;
        let signatures = m.required("signatures", |value| {
            let Value::List(values) = value else {
                return Err(Refusal::Members.into());
            };
            let parse =
                |(at, value)| SignatureText::parse(value).map_err(|refused| refused.at_index(at));
            values
                .iter()
                .enumerate()
                .map(parse)
                .collect::<Result<Vec<_>, Refused>>()
        })?;
        m.close(Self {
            payload_type,
            payload,
            signatures,
        })
    }

    fn entry(self, disclosures: Vec<String>) -> Result<SubmittedEntry, Refused> {
        let (pae, payload_bytes, sigs) = self.open().map_err(|refused| refused.at("envelope"))?;
        SubmittedEntry::of_pae(pae, payload_bytes, sigs, disclosures)
    }

    /// PAE, length of its payload, and signatures.
    fn open(self) -> Result<(Vec<u8>, usize, Sigs), Refused> {
        if self.payload_type != PAYLOAD_TYPE {
            return Err(Refused::from(Refusal::PayloadType).at("payloadType"));
        }
        // Longer texts are too long whatever they say.
        if self.payload.len() > BODY_BYTES_MAX.div_ceil(3) * 4 {
            return Err(Refused::from(Refusal::Size).at("payload"));
        }
        let padding = self
            .payload
            .bytes()
            .rev()
            .take_while(|&byte| byte == b'=')
            .count();
        let payload_bytes = (self.payload.len() / 4 * 3).saturating_sub(padding);
        let mut pae = bytes::pae_head(payload_bytes);
        let head_bytes = pae.len();
        base64::decode_onto(self.payload, &mut pae)
            .filter(|()| pae.len() == head_bytes + payload_bytes)
            .ok_or_else(|| Refused::from(Refusal::Base64).at("payload"))?;
        if payload_bytes > BODY_BYTES_MAX {
            return Err(Refused::from(Refusal::Size).at("payload"));
        }
        let sigs = self.sigs().map_err(|refused| refused.at("signatures"))?;
        Ok((pae, payload_bytes, sigs))
    }

    fn sigs(self) -> Result<Sigs, Refused> {
        if !(1..=SIGS_MAX).contains(&self.signatures.len()) {
            return Err(Refusal::Sigs.into());
        }
        let mut rows = Vec::with_capacity(self.signatures.len());
        for (at, signature) in self.signatures.into_iter().enumerate() {
            rows.push(signature.open().map_err(|refused| refused.at_index(at))?);
        }
        Ok(Sigs::new(rows)?)
    }
}

impl<'v> SignatureText<'v> {
    fn parse(value: &'v Value<'_>) -> Result<Self, Refused> {
        let mut m = Members::open(value)?;
        let key_id = m.required("keyid", borrowed)?;
        let sig = m.required("sig", borrowed)?;
        let alg = m
            .optional("alg", crate::body::members::count)?
            .unwrap_or(u64::from(ALG_SINGLE));
        m.close(Self { key_id, sig, alg })
    }

    fn open(self) -> Result<Signed, Refused> {
        let key_id = KeyId::parse(self.key_id).ok_or_else(|| {
            let canonical = base64::url_decode(self.key_id).is_some();
            Refused::from(if canonical {
                Refusal::KeyUnknown
            } else {
                Refusal::Base64Url
            })
            .at("keyid")
        })?;
        let sig =
            base64::decode(self.sig).ok_or_else(|| Refused::from(Refusal::Base64).at("sig"))?;
        let alg = u8::try_from(self.alg).map_err(|_| Refused::from(Refusal::Alg).at("alg"))?;
        let member = |refusal: Refusal| {
            Refused::from(refusal).at(if refusal == Refusal::Alg {
                "alg"
            } else {
                "sig"
            })
        };
        Ok(Signed {
            key_id,
            signature: Signature::decode(alg, &sig).map_err(member)?,
        })
    }
}

/// A verified entry at its place in the tree. Only [`SequencedEntry::new`] makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct SequencedEntry {
    index: EntryIndex,
    meta: Meta,
    body_salt: [u8; 32],
    body_commit: Hash,
    leaf: Leaf,
    leaf_hash: Hash,
    entry: VerifiedEntry,
}

impl SequencedEntry {
    /// Gives a verified entry its place, its judgement and its leaf.
    pub fn new(
        entry: VerifiedEntry,
        index: EntryIndex,
        accepted_at_ms: u64,
        findings: Findings,
        rules: u16,
        body_salt: [u8; 32],
    ) -> Self {
        let submitted = entry.submitted();
        let meta = Meta {
            accepted_at_ms,
            entry_type: entry.entry_type(),
            findings,
            rules,
            first_key: submitted.sigs().first(),
        };
        let meta_commit = bytes::meta_commit(&bytes::meta_salt(&body_salt), &meta);
        let body_commit =
            bytes::body_commit(&body_salt, submitted.pae(), &submitted.sigs().encode());
        let leaf = bytes::leaf(&meta_commit, &body_commit);
        Self {
            index,
            meta,
            body_salt,
            body_commit,
            leaf,
            leaf_hash: bytes::leaf_hash(&leaf),
            entry,
        }
    }

    /// Its place.
    pub fn index(&self) -> EntryIndex {
        self.index
    }

    /// What stays provable of it.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The salt of its body, drawn by the leader.
    pub fn body_salt(&self) -> &[u8; 32] {
        &self.body_salt
    }

    /// The bytes of its leaf.
    pub fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// The hash of its leaf.
    pub fn leaf_hash(&self) -> Hash {
        self.leaf_hash
    }

    /// The entry.
    pub fn entry(&self) -> &VerifiedEntry {
        &self.entry
    }

    /// What a node keeps of it.
    pub fn into_stored(self) -> StoredEntry {
        let (entry, opened) = self.entry.into_parts();
        let disclosures = entry.disclosures.into_iter().zip(opened);
        // The payload is the end of the PAE: no second copy of a body is made.
        let mut payload = entry.pae;
        payload.drain(..entry.payload_at.min(payload.len()));
        StoredEntry {
            meta: self.meta,
            meta_salt: bytes::meta_salt(&self.body_salt),
            body_commit: self.body_commit,
            body: Some(StoredBody {
                body_salt: self.body_salt,
                payload,
                sigs: entry.sigs,
            }),
            disclosures: disclosures
                .map(|(text, opened)| Disclosure::with(text, opened))
                .collect(),
            erased: Vec::new(),
        }
    }
}

/// What a node keeps of an entry, under its index. The leaf can always be computed from it, whether the body was erased or not.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// Stays provable after erasure.
    pub meta: Meta,
    /// Salt of `meta` and of the list items.
    pub meta_salt: Hash,
    /// Commitment to the body.
    pub body_commit: Hash,
    /// `None` once erased.
    pub body: Option<StoredBody>,
    /// Disclosures that are still there.
    pub disclosures: Vec<Disclosure>,
    /// The erasures that were carried out on it, in that order: of its whole body, or of one person's disclosure.
    pub erased: Vec<EntryIndex>,
}

/// What erasure deletes.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredBody {
    /// Drawn by the leader.
    pub body_salt: [u8; 32],
    /// The body as signed.
    pub payload: Vec<u8>,
    /// The signatures.
    pub sigs: Sigs,
}

impl StoredEntry {
    /// The bytes of its leaf.
    pub fn leaf(&self) -> Leaf {
        bytes::leaf(
            &bytes::meta_commit(&self.meta_salt, &self.meta),
            &self.body_commit,
        )
    }

    /// The hash of its leaf.
    pub fn leaf_hash(&self) -> Hash {
        bytes::leaf_hash(&self.leaf())
    }

    /// The entry as it was sent, for whoever may see it; `None` once erased.
    pub fn submitted(&self) -> Option<SubmittedEntry> {
        self.submitted_with(|_| true)
    }

    /// As [`StoredEntry::submitted`], with those disclosures alone that are shown.
    pub(crate) fn submitted_with(
        &self,
        shows: impl Fn(&Disclosure) -> bool,
    ) -> Option<SubmittedEntry> {
        let body = self.body.as_ref()?;
        let shown = self.disclosures.iter().filter(|one| shows(one));
        let texts = shown.map(|one| one.text().into());
        SubmittedEntry::new(&body.payload, body.sigs.clone(), texts.collect()).ok()
    }

    /// The parsed body, with the disclosures that are still there; `None` once erased.
    ///
    /// # Errors
    /// Bytes that were never admitted: the store is damaged.
    pub fn parse_body(&self) -> Result<Option<Body>, Refused> {
        self.body
            .as_ref()
            .map(|body| Body::parse_kept(&body.payload, &self.disclosures))
            .transpose()
    }

    /// The item in the list of `list_ref` that shows this entry.
    pub fn item(&self, list_ref: &Hash) -> Hash {
        bytes::item(&self.meta_salt, list_ref, &self.leaf_hash())
    }

    /// Deletes body, signatures, salt and disclosures. The leaf stays the same.
    pub fn erase(&mut self) {
        self.body = None;
        self.disclosures.clear();
    }
}

/// Prints `meta` alone: the rest is personal data.
impl fmt::Debug for StoredEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let erased = self.body.is_none();
        f.debug_struct("StoredEntry")
            .field("meta", &self.meta)
            .field("erased", &erased)
            .finish_non_exhaustive()
    }
}

/// Prints its size alone.
impl fmt::Debug for StoredBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredBody({} bytes)", self.payload.len())
    }
}
