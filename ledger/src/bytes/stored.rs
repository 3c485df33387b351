// SPDX-License-Identifier: EUPL-1.2
//! Entries as nodes keep them and send them to each other. Each begins with a version byte and is decoded strictly: what comes out,
//! encoded again, gives the same bytes.
//!
//! ```text
//! submitted = u8(1) ‖ payload ‖ sigs ‖ disclosures
//! stored    = u8(1) ‖ u8(there) ‖ meta[47] ‖ meta_salt[32] ‖ body_commit[32] ‖ (body_salt[32] ‖ payload ‖ sigs)? ‖ disclosures ‖ erased?
//! there     = 1 for the body + 2 for erased
//! payload   = u32(len) ‖ bytes          sigs = u32(len) ‖ bytes          disclosures = u16(n) ‖ n × (u32(len) ‖ ASCII)
//! erased    = u16(n > 0) ‖ n × u64(index of the erasure that was carried out)
//! ```

use alloc::{string::String, vec::Vec};
use core::fmt;

use super::{BODY_BYTES_MAX, DISCLOSURES_BYTES_MAX, DISCLOSURES_MAX, meta_decode, meta_encode};
use crate::{
    entry::{StoredBody, StoredEntry, SubmittedEntry},
    hash::Hash,
    number::EntryIndex,
    signature::Sigs,
};

const VERSION: u8 = 1;
/// Of a stored entry: the body is there.
const BODY: u8 = 1;
/// Of a stored entry: erasures were carried out on it.
const ERASED: u8 = 2;

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
    /// The binary form that a node keeps under the entry's index.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.push(VERSION);
        let body = if self.body.is_some() { BODY } else { 0 };
        let erased = if self.erased.is_empty() { 0 } else { ERASED };
        out.push(body | erased);
        out.extend_from_slice(&meta_encode(&self.meta));
        out.extend_from_slice(self.meta_salt.as_bytes());
        out.extend_from_slice(self.body_commit.as_bytes());
        if let Some(body) = &self.body {
            out.extend_from_slice(&body.body_salt);
            put(&body.payload, &mut out);
            put(&body.sigs.encode(), &mut out);
        }
        put_disclosures(&self.disclosures, &mut out);
        if !self.erased.is_empty() {
            // At most one order for the body and one for each disclosure.
            out.extend_from_slice(&(self.erased.len() as u16).to_be_bytes());
            let orders = self.erased.iter();
            orders.for_each(|order| out.extend_from_slice(&order.0.to_be_bytes()));
        }
        out
    }

    /// Decodes what [`StoredEntry::encode`] writes and nothing else. Whether the commitments hold, [`StoredEntry::verify`] says.
    ///
    /// # Errors
    /// Other bytes: the store is damaged, and the node must stop and name the index.
    pub fn decode(data: &[u8]) -> Result<Self, Malformed> {
        stored(data).ok_or(Malformed("stored entry"))
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

fn stored(data: &[u8]) -> Option<StoredEntry> {
    let mut rest = Reader::new(data);
    let there = match (rest.u8()?, rest.u8()?) {
        (VERSION, there) if there & !(BODY | ERASED) == 0 => there,
        _ => return None,
    };
    let (meta, meta_salt, body_commit) = (meta_decode(rest.array()?)?, rest.hash()?, rest.hash()?);
    let body = if there & BODY != 0 {
        let (body_salt, payload) = (*rest.array()?, rest.field(BODY_BYTES_MAX)?.to_vec());
        Some(StoredBody {
            body_salt,
            payload,
            sigs: Sigs::decode(rest.field(usize::MAX)?).ok()?,
        })
    } else {
        None
    };
    let disclosures = rest.disclosures()?;
    let mut erased = Vec::new();
    if there & ERASED != 0 {
        let orders = rest.u16()?;
        for _ in 0..orders {
            erased.push(EntryIndex(rest.u64()?));
        }
        if erased.is_empty() {
            return None;
        }
    }
    let entry = StoredEntry {
        meta,
        meta_salt,
        body_commit,
        body,
        disclosures,
        erased,
    };
    rest.is_empty().then_some(entry)
}

fn put(field: &[u8], out: &mut Vec<u8>) {
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
