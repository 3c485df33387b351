// SPDX-License-Identifier: EUPL-1.2
//! Entries as nodes keep them and send them to each other, each with a byte that tells the version.
//!
//! Submitted ones are decoded strictly: what comes out, encoded again, gives the same bytes.
//!
//! ```text
//! submitted = u8(1) ‖ payload ‖ sigs ‖ disclosures
//! payload   = u32(len) ‖ bytes          sigs = u32(len) ‖ bytes          disclosures = u16(n) ‖ n × (u32(len) ‖ ASCII)
//! ```
//!
//! Of stored ones nothing is kept that follows from the rest. While the body is there, both commitments and the first key are computed from it,
//! and a digest in the body from its disclosure: whether they are those that were accepted, the leaf in the tree says. Texts are in
//! [`super::shorthand`], disclosures as the JSON that they are the base64url of; one that is no such thing stands whole.
//!
//! ```text
//! stored = (text: n × disclosure ‖ payload?,  bytes: u8(16 + there) ‖ meta[..15] ‖ (body_salt[32] | gone) ‖ erased? ‖ u16(n) ‖ shorthand's ‖ sigs?)
//! there  = 1 for the body + 2 for erased          gone = key_id[32] ‖ meta_salt[32] ‖ body_commit[32]          sigs = u16(len) ‖ bytes
//! erased = u16(n > 0) ‖ n × u64(index of the erasure that was carried out)
//! ```

use alloc::{string::String, vec::Vec};
use core::fmt;

use super::{
    BODY_BYTES_MAX, DISCLOSURES_BYTES_MAX, DISCLOSURES_MAX, META_BYTES, body_commit, meta_decode,
    meta_encode, pae,
    shorthand::{self, Shorthand},
};
use crate::{
    disclosure::Disclosure,
    entry::{StoredBody, StoredEntry, SubmittedEntry},
    hash::Hash,
    number::EntryIndex,
    signature::Sigs,
};

const VERSION: u8 = 1;
/// Of a stored entry, with the bits of what is there.
const STORED_VERSION: u8 = 0x10;
/// Of a stored entry: the body is there.
const BODY: u8 = 1;
/// Of a stored entry: erasures were carried out on it.
const ERASED: u8 = 2;
/// `meta` ends with the first key.
const KEY_ID_BYTES: usize = 32;
/// Room that is most often enough for a payload, and for what a disclosure is the base64url of.
const BODY_ROOM: usize = 1_280;
const DISCLOSURE_ROOM: usize = 96;
const STORED: Malformed = Malformed("stored entry");

/// Bytes that no encoder of ours wrote: damaged, or of a newer version. Names what was to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed {}", self.0)
    }
}

impl core::error::Error for Malformed {}

impl SubmittedEntry {
    /// The binary form, for the Raft log and between peers.
    pub fn encode(&self) -> Vec<u8> {
        let sigs = self.sigs().encode();
        let size = 16
            + self.payload().len()
            + sigs.len()
            + self
                .disclosures()
                .iter()
                .map(|text| 4 + text.len())
                .sum::<usize>();
        let mut out = Vec::with_capacity(size);
        out.push(VERSION);
        put(self.payload(), &mut out);
        put(&sigs, &mut out);
        put_disclosures(self.disclosures(), &mut out);
        out
    }

    /// Decodes what [`SubmittedEntry::encode`] writes and nothing else.
    ///
    /// # Errors
    /// Other bytes; a node must not go on with them.
    pub fn decode(data: &[u8]) -> Result<Self, Malformed> {
        submitted(data).ok_or(Malformed("submitted entry"))
    }
}

impl StoredEntry {
    /// The form that a node keeps under the entry's index. Only entries whose commitments hold come out of it again as they went in, as those do
    /// that were sequenced, and what erasure leaves of them.
    pub fn encode(&self) -> Shorthand {
        let mut out = Shorthand::default();
        let body = if self.body.is_some() { BODY } else { 0 };
        let erased = if self.erased.is_empty() { 0 } else { ERASED };
        out.bytes.push(STORED_VERSION | body | erased);
        let meta = meta_encode(&self.meta);
        let (meta, key) = meta.split_at(META_BYTES - KEY_ID_BYTES);
        out.bytes.extend_from_slice(meta);
        if let Some(body) = &self.body {
            out.bytes.extend_from_slice(&body.body_salt);
        } else {
            out.bytes.extend_from_slice(key);
            out.bytes.extend_from_slice(self.meta_salt.as_bytes());
            out.bytes.extend_from_slice(self.body_commit.as_bytes());
        }
        if !self.erased.is_empty() {
            // At most one order for the body and one for each disclosure.
            let orders = self.erased.iter();
            out.put_count(orders.len());
            orders.for_each(|order| out.bytes.extend_from_slice(&order.0.to_be_bytes()));
        }
        out.put_count(self.disclosures.len());
        for one in &self.disclosures {
            match one.decoded().filter(|json| shorthand::is_plain(json)) {
                Some(json) => out.put_plain(json, &[]),
                None => out.put_whole(one.text().as_bytes()),
            }
        }
        if let Some(body) = &self.body {
            if shorthand::is_plain(&body.payload) {
                out.put_plain(&body.payload, &digests(&self.disclosures));
            } else {
                out.put_whole(&body.payload);
            }
            let sigs = body.sigs.encode();
            out.put_count(sigs.len());
            out.bytes.extend_from_slice(&sigs);
        }
        out
    }

    /// Decodes what [`StoredEntry::encode`] writes. Whether it is the entry that was accepted, its leaf says.
    ///
    /// # Errors
    /// Other bytes: the store is damaged, and the node must stop and name the index.
    pub fn decode(text: &[u8], bytes: &[u8]) -> Result<Self, Malformed> {
        let (entry, rest) = Self::decode_front(text, bytes)?;
        if rest.is_empty() {
            Ok(entry)
        } else {
            Err(STORED)
        }
    }

    /// As [`StoredEntry::decode`], where other bytes may follow: hands them back.
    ///
    /// # Errors
    /// Bytes that no entry begins.
    pub fn decode_front<'a>(text: &[u8], bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let mut rest = Reader::new(bytes);
        let entry = stored(&mut Reader::new(text), &mut rest).ok_or(STORED)?;
        Ok((entry, rest.rest()))
    }
}

fn submitted(data: &[u8]) -> Option<SubmittedEntry> {
    let mut rest = Reader::new(data);
    if rest.u8()? != VERSION {
        return None;
    }
    let (payload, sigs) = (
        rest.field(BODY_BYTES_MAX)?,
        Sigs::decode(rest.field(usize::MAX)?).ok()?,
    );
    let entry = SubmittedEntry::new(payload, sigs, rest.disclosures()?).ok()?;
    rest.is_empty().then_some(entry)
}

fn stored(text: &mut Reader<'_>, bytes: &mut Reader<'_>) -> Option<StoredEntry> {
    let there = bytes.u8()? ^ STORED_VERSION;
    if there & !(BODY | ERASED) != 0 {
        return None;
    }
    let mut meta = [0; META_BYTES];
    let (front, key) = meta.split_at_mut(META_BYTES - KEY_ID_BYTES);
    front.copy_from_slice(bytes.take(META_BYTES - KEY_ID_BYTES)?);
    let is_there = there & BODY != 0;
    let (mut body_salt, mut gone) = ([0; 32], None);
    if is_there {
        body_salt = *bytes.array()?;
    } else {
        key.copy_from_slice(bytes.take(KEY_ID_BYTES)?);
        gone = Some((bytes.hash()?, bytes.hash()?));
    }
    let mut erased = Vec::new();
    if there & ERASED != 0 {
        let orders = bytes.u16()?;
        for _ in 0..orders {
            erased.push(EntryIndex(bytes.u64()?));
        }
        if erased.is_empty() {
            return None;
        }
    }
    let disclosures = stored_disclosures(text, bytes)?;
    let (mut body, mut first_key) = (None, None);
    if is_there {
        let (payload, _) = shorthand::take(
            text,
            bytes,
            &digests(&disclosures),
            BODY_BYTES_MAX,
            BODY_ROOM,
        )?;
        let len = usize::from(bytes.u16()?);
        let sigs = Sigs::decode(bytes.take(len)?).ok()?;
        first_key = Some(sigs.first());
        gone = Some((
            super::meta_salt(&body_salt),
            body_commit(&body_salt, &pae(&payload), &sigs.encode()),
        ));
        body = Some(StoredBody {
            body_salt,
            payload,
            sigs,
        });
    }
    let mut meta = meta_decode(&meta)?;
    meta.first_key = first_key.unwrap_or(meta.first_key);
    let (meta_salt, body_commit) = gone?;
    let entry = StoredEntry {
        meta,
        meta_salt,
        body_commit,
        body,
        disclosures,
        erased,
    };
    text.is_empty().then_some(entry)
}

fn stored_disclosures(text: &mut Reader<'_>, bytes: &mut Reader<'_>) -> Option<Vec<Disclosure>> {
    let n = usize::from(bytes.u16()?);
    if n > DISCLOSURES_MAX {
        return None;
    }
    let mut disclosures = Vec::with_capacity(n);
    let mut left = DISCLOSURES_BYTES_MAX;
    for _ in 0..n {
        let (read, whole) = shorthand::take(text, bytes, &[], left, DISCLOSURE_ROOM)?;
        let disclosure = if whole {
            Disclosure::new(String::from_utf8(read).ok()?)
        } else {
            Disclosure::of(read)
        };
        left = left.checked_sub(disclosure.text().len())?;
        disclosures.push(disclosure);
    }
    Some(disclosures)
}

fn digests(disclosures: &[Disclosure]) -> Vec<Hash> {
    disclosures.iter().map(Disclosure::digest).collect()
}

pub(super) fn put(field: &[u8], out: &mut Vec<u8>) {
    // Every field is bounded far below 2^32 bytes.
    out.extend_from_slice(&(field.len() as u32).to_be_bytes());
    out.extend_from_slice(field);
}

fn put_disclosures(disclosures: &[String], out: &mut Vec<u8>) {
    out.extend_from_slice(&(disclosures.len() as u16).to_be_bytes());
    disclosures
        .iter()
        .for_each(|text| put(text.as_bytes(), out));
}

/// Takes big-endian numbers and fields from the front of a slice; `None` where too little is left.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes for as long as they are of some kind.
    pub(crate) fn take_while(&mut self, is: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|byte| !is(*byte));
        self.take(end.unwrap_or(self.0.len())).unwrap_or_default()
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.0)
    }

    pub(crate) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(|&[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(|bytes| u16::from_be_bytes(*bytes))
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(|bytes| u32::from_be_bytes(*bytes))
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(|bytes| u64::from_be_bytes(*bytes))
    }

    pub(crate) fn hash(&mut self) -> Option<Hash> {
        self.array().map(|bytes| Hash(*bytes))
    }

    /// `u32(len) ‖ bytes`, at most `bytes_max` of them.
    pub(crate) fn field(&mut self, bytes_max: usize) -> Option<&'a [u8]> {
        let len = usize::try_from(self.u32()?).ok()?;
        if len > bytes_max {
            None
        } else {
            self.take(len)
        }
    }

    fn disclosures(&mut self) -> Option<Vec<String>> {
        let n = usize::from(self.u16()?);
        if n > DISCLOSURES_MAX {
            return None;
        }
        let mut disclosures = Vec::with_capacity(n);
        let mut left = DISCLOSURES_BYTES_MAX;
        for _ in 0..n {
            let text = core::str::from_utf8(self.field(left)?).ok()?;
            left -= text.len();
            disclosures.push(String::from(text));
        }
        Some(disclosures)
    }
}
