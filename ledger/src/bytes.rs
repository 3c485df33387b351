// SPDX-License-Identifier: EUPL-1.2
//! What is signed, hashed or stored: the one home of every layout and domain string of Visto's own (byte specification, version 1).
//!
//! Here: what is signed and hashed. [`state`]: names and values of the state. [`stored`]: entries as nodes keep and send them, in
//! [`shorthand`] where they are kept. `change`: what they change under the state root.
//! C2SP's text formats stand in their own modules. `H` = SHA-256, `‖` joins, integers are big-endian.

use alloc::{format, vec::Vec};

use crate::{
    body::EntryType,
    finding::Findings,
    hash::Hash,
    id::{InstitutionId, KeyId},
    key::KeyUse,
    signature::SIGS_MAX,
};

mod change;
pub mod shorthand;
pub mod sides;
pub mod state;
pub mod stored;

pub use crate::merkle::leaf_hash;
pub use stored::Malformed;

/// DSSE payload type of entries: 35 characters.
pub const PAYLOAD_TYPE: &str = "application/vnd.visto.entry.v1+json";
/// Longest body in bytes.
pub const BODY_BYTES_MAX: usize = 16_384;
/// Deepest nesting of a body.
pub const BODY_DEPTH_MAX: usize = 16;
/// Most disclosures of an entry.
pub const DISCLOSURES_MAX: usize = 256;
/// Longest disclosures of an entry together, in characters.
pub const DISCLOSURES_BYTES_MAX: usize = 131_072;
/// Longest wire line in bytes: what the bounds above allow, and room for white space.
pub const WIRE_BYTES_MAX: usize = 196_608;
/// Most values in a wire line. The bounds above allow a third: the line, the envelope, its three members and the list of disclosures, each
/// signature with its three members, and each disclosure. The rest is for whoever sends too many of something, to be told of what.
pub const WIRE_VALUES_MAX: usize = 3 * (6 + 4 * SIGS_MAX + DISCLOSURES_MAX);

/// Length of [`batch_message`].
pub const BATCH_MESSAGE_BYTES: usize = 49;
/// Length of [`meta_encode`].
pub const META_BYTES: usize = 47;
/// Length of a leaf.
pub const LEAF_BYTES: usize = 78;
/// Length of [`extra_encode`].
pub const EXTRA_BYTES: usize = 80;

/// What the progress of an audit begins with.
pub const AUDIT_HEAD: &[u8] = b"visto/audit/v6\n";

/// Bytes of a leaf: `"visto/leaf/v1\n" ‖ meta_commit ‖ body_commit`, opaque.
pub type Leaf = [u8; LEAF_BYTES];

/// `H("visto/key/v1\n" ‖ u8(1) ‖ public key)`; alg 0x81 uses the same key pair and the same id.
pub fn key_id(public_key: &[u8; 32]) -> KeyId {
    KeyId(Hash::of(&[b"visto/key/v1\n\x01", public_key]))
}

/// DSSE's pre-authentication encoding of a body: what is signed.
pub fn pae(body: &[u8]) -> Vec<u8> {
    let mut out = pae_head(body.len());
    out.extend_from_slice(body);
    out
}

/// What stands before a body of this length in its PAE, with room for the body.
pub fn pae_head(body_bytes: usize) -> Vec<u8> {
    let head = format!("DSSEv1 {} {PAYLOAD_TYPE} {body_bytes} ", PAYLOAD_TYPE.len());
    let mut out = Vec::with_capacity(head.len() + body_bytes);
    out.extend_from_slice(head.as_bytes());
    out
}

/// `H("visto/stream/v1\n" ‖ PAE)`: what the next entry of a stream carries as `prev`.
pub fn stream_prev(previous_pae: &[u8]) -> Hash {
    Hash::of(&[b"visto/stream/v1\n", previous_pae])
}

/// What a batch signature signs: `"visto/batch/v1\n" ‖ u16(count) ‖ root`, the root over the PAEs as RFC 6962 leaves.
pub fn batch_message(count: u16, root: &Hash) -> [u8; BATCH_MESSAGE_BYTES] {
    join(&[b"visto/batch/v1\n", &count.to_be_bytes(), root.as_bytes()])
}

/// What a new key signs to prove possession: `"visto/possession/v1\n" ‖ u8(use) ‖ ledger name ‖ 0x0A ‖ institution`.
pub fn possession_message(ledger: &str, key_use: KeyUse, institution: &InstitutionId) -> Vec<u8> {
    [
        b"visto/possession/v1\n",
        &[key_use.code()][..],
        ledger.as_bytes(),
        b"\n",
        institution.as_bytes(),
    ]
    .concat()
}

/// `H("visto/body/v1\n" ‖ body_salt ‖ u32(len PAE) ‖ PAE ‖ sigs)`.
pub fn body_commit(body_salt: &[u8; 32], pae: &[u8], sigs: &[u8]) -> Hash {
    // A PAE is far below 2^32 bytes.
    Hash::of(&[
        b"visto/body/v1\n",
        body_salt,
        &(pae.len() as u32).to_be_bytes(),
        pae,
        sigs,
    ])
}

/// What stays provable of an entry when its body is erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// When the ledger accepted it, milliseconds since the epoch; never falls from one index to the next.
    pub accepted_at_ms: u64,
    /// Its type.
    pub entry_type: EntryType,
    /// The judgement at acceptance.
    pub findings: Findings,
    /// Number of the rule set that judged.
    pub rules: u16,
    /// Key of the first signature.
    pub first_key: KeyId,
}

/// `u64(accepted_at_ms) ‖ u8(type) ‖ u32(findings) ‖ u16(rules) ‖ key_id of the first signature`.
pub fn meta_encode(meta: &Meta) -> [u8; META_BYTES] {
    join(&[
        &meta.accepted_at_ms.to_be_bytes(),
        &[meta.entry_type.code()],
        &meta.findings.0.to_be_bytes(),
        &meta.rules.to_be_bytes(),
        meta.first_key.0.as_bytes(),
    ])
}

/// Decodes what [`meta_encode`] writes; `None` for a type that is not one.
pub fn meta_decode(data: &[u8; META_BYTES]) -> Option<Meta> {
    let mut rest = stored::Reader::new(data);
    let meta = Meta {
        accepted_at_ms: rest.u64()?,
        entry_type: EntryType::from_code(rest.u8()?)?,
        findings: Findings(rest.u32()?),
        rules: rest.u16()?,
        first_key: KeyId(rest.hash()?),
    };
    rest.is_empty().then_some(meta)
}

/// `H("visto/meta-salt/v1\n" ‖ body_salt)`: survives the erasure of the body.
pub fn meta_salt(body_salt: &[u8; 32]) -> Hash {
    Hash::of(&[b"visto/meta-salt/v1\n", body_salt])
}

/// `H("visto/meta/v1\n" ‖ meta_salt ‖ meta)`.
pub fn meta_commit(meta_salt: &Hash, meta: &Meta) -> Hash {
    Hash::of(&[b"visto/meta/v1\n", meta_salt.as_bytes(), &meta_encode(meta)])
}

/// `"visto/leaf/v1\n" ‖ meta_commit ‖ body_commit`.
pub fn leaf(meta_commit: &Hash, body_commit: &Hash) -> Leaf {
    join(&[
        b"visto/leaf/v1\n",
        meta_commit.as_bytes(),
        body_commit.as_bytes(),
    ])
}

/// An entry's place in a list that shows it: `H("visto/item/v1\n" ‖ H("visto/item-salt/v1\n" ‖ meta_salt ‖ ref) ‖ leaf hash)`.
pub fn item(meta_salt: &Hash, list_ref: &Hash, leaf_hash: &Hash) -> Hash {
    let salt = Hash::of(&[
        b"visto/item-salt/v1\n",
        meta_salt.as_bytes(),
        list_ref.as_bytes(),
    ]);
    Hash::of(&[b"visto/item/v1\n", salt.as_bytes(), leaf_hash.as_bytes()])
}

/// The head of a list after one more item: `H("visto/head/v1\n" ‖ head ‖ item)`; the head of an empty list is [`Hash::ZERO`].
pub fn head(head: &Hash, item: &Hash) -> Hash {
    Hash::of(&[b"visto/head/v1\n", head.as_bytes(), item.as_bytes()])
}

/// A list as it stands in the state map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListValue {
    /// Items folded so far.
    pub count: u64,
    /// Head over all of them.
    pub head: Hash,
    /// Items that retention deleted.
    pub base_count: u64,
    /// Head over those.
    pub base_head: Hash,
}

impl ListValue {
    /// The empty list; it stands in no map.
    pub const EMPTY: ListValue = ListValue {
        count: 0,
        head: Hash::ZERO,
        base_count: 0,
        base_head: Hash::ZERO,
    };

    /// The list with one more item.
    #[must_use]
    pub fn with(self, next: &Hash) -> Self {
        Self {
            count: self.count.saturating_add(1),
            head: head(&self.head, next),
            ..self
        }
    }

    /// `u64(count) ‖ head ‖ u64(base_count) ‖ base_head`.
    pub fn encode(&self) -> [u8; 80] {
        join(&[
            &self.count.to_be_bytes(),
            self.head.as_bytes(),
            &self.base_count.to_be_bytes(),
            self.base_head.as_bytes(),
        ])
    }

    /// Decodes what [`ListValue::encode`] writes.
    pub fn decode(data: &[u8]) -> Option<Self> {
        let mut rest = stored::Reader::new(data);
        let value = Self {
            count: rest.u64()?,
            head: rest.hash()?,
            base_count: rest.u64()?,
            base_head: rest.hash()?,
        };
        rest.is_empty().then_some(value)
    }
}

/// The list of a sealing authority: `H("visto/sealed/v1\n" ‖ institution)`.
pub fn sealed_ref(institution: &InstitutionId) -> Hash {
    Hash::of(&[b"visto/sealed/v1\n", institution.as_bytes()])
}

/// Kinds of person or family code that a ref is drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum CodeKind {
    Cf = 1,
    IdAnpr = 2,
    Stp = 3,
    Eni = 4,
    Anagrafica = 5,
    Isee = 6,
}

impl CodeKind {
    /// Every kind.
    pub const ALL: [CodeKind; 6] = [
        CodeKind::Cf,
        CodeKind::IdAnpr,
        CodeKind::Stp,
        CodeKind::Eni,
        CodeKind::Anagrafica,
        CodeKind::Isee,
    ];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            CodeKind::Cf => "cf",
            CodeKind::IdAnpr => "idANPR",
            CodeKind::Stp => "stp",
            CodeKind::Eni => "eni",
            CodeKind::Anagrafica => "anagrafica",
            CodeKind::Isee => "isee",
        }
    }

    /// The kind of a word.
    pub fn parse(word: &str) -> Option<CodeKind> {
        CodeKind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// `info` of DeriveKeyPair (RFC 9497) for the key of the pseudonyms.
pub(crate) const OPRF_KEY_INFO: &[u8] = b"visto/oprf/v1";
/// What a blind is expanded from, with 32 random bytes.
pub(crate) const OPRF_BLIND: &[u8] = b"visto/oprf-blind/v1\n";
/// What a proof's nonce is expanded from, with key, 32 random bytes and the blinded elements.
pub(crate) const OPRF_NONCE: &[u8] = b"visto/oprf-nonce/v1\n";

/// A pseudonym: `H("visto/ref/v1\n" ‖ u8(kind of code) ‖ VOPRF output[64])`.
pub fn person_ref(kind: CodeKind, output: &[u8; 64]) -> Hash {
    Hash::of(&[b"visto/ref/v1\n", &[kind as u8], output])
}

/// The `extra` line of a receipt: `u8(1) ‖ meta ‖ body_salt`.
pub fn extra_encode(meta: &Meta, body_salt: &[u8; 32]) -> [u8; EXTRA_BYTES] {
    join(&[&[1], &meta_encode(meta), body_salt])
}

/// Decodes what [`extra_encode`] writes and nothing else.
pub fn extra_decode(data: &[u8]) -> Option<(Meta, [u8; 32])> {
    let mut rest = stored::Reader::new(data);
    if rest.u8()? != 1 {
        return None;
    }
    let extra = (meta_decode(rest.array()?)?, *rest.array()?);
    rest.is_empty().then_some(extra)
}

/// What `evidence.requestDigest` of an access holds: `H("visto/request/v1\n" ‖ method ‖ 0x0A ‖ target ‖ 0x0A ‖ body)`.
///
/// `method` is HTTP's, in the case sent (`GET`). `target` is path and query as the provider's service gets them in the request line, byte by
/// byte, percent-encoding as sent, from the first `/` on, without scheme, host and fragment. `body` is the content after any transfer coding
/// was taken off and with its content coding as sent; empty where there is none. Neither a method nor a target can hold a line feed, so no two
/// requests give the same bytes.
pub fn request_digest(method: &str, target: &str, body: &[u8]) -> Hash {
    Hash::of(&[
        b"visto/request/v1\n",
        method.as_bytes(),
        b"\n",
        target.as_bytes(),
        b"\n",
        body,
    ])
}

/// What `evidence.responseDigest` of an access holds: `H("visto/response/v1\n" ‖ u16(status) ‖ body)`, the body as in [`request_digest`].
pub fn response_digest(status: u16, body: &[u8]) -> Hash {
    Hash::of(&[b"visto/response/v1\n", &status.to_be_bytes(), body])
}

/// Puts parts that are `N` bytes together one after the other.
fn join<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    debug_assert_eq!(parts.iter().map(|part| part.len()).sum::<usize>(), N);
    let mut out = [0; N];
    let bytes = parts.iter().flat_map(|part| part.iter());
    out.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    out
}

#[cfg(test)]
mod tests;
