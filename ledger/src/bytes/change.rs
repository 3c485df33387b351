// SPDX-License-Identifier: EUPL-1.2
//! What an entry changes under the state root, as a node keeps it until it is folded. Begins with a version byte and is decoded strictly:
//! what comes out, encoded again, gives the same bytes.
//!
//! ```text
//! change = u8(1) ‖ u64(index) ‖ u64(accepted_at_ms) ‖ meta_salt[32] ‖ leaf_hash[32] ‖ u32(n) ‖ n × list ‖ u32(m) ‖ m × write
//! list   = u8(kind) ‖ ref[32]                                                       strictly ascending
//! write  = u32(len) ‖ state key ‖ u8(0 removes, 1 puts) ‖ (u32(len) ‖ value)?       keys strictly ascending
//! ```

use alloc::vec::Vec;

use super::{
    Malformed,
    state::{StateKey, Writer, kind},
    stored::Reader,
};
use crate::{admission::RowKind, fold::Change, hash::Hash, number::EntryIndex};

const VERSION: u8 = 1;

impl Change {
    /// The binary form that a node keeps under the entry's index.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u8(VERSION)
            .u64(self.index.0)
            .u64(self.accepted_at_ms)
            .hash(&self.meta_salt)
            .hash(&self.leaf_hash);
        count(self.lists.len(), &mut out);
        for (kind, of) in &self.lists {
            out.u8(kind.code()).hash(of);
        }
        count(self.writes.len(), &mut out);
        for (key, value) in &self.writes {
            field(&key.encode(), &mut out);
            match value {
                None => {
                    out.u8(0);
                }
                Some(value) => field(value, out.u8(1)),
            }
        }
        out.done()
    }

    /// Decodes what [`Change::encode`] writes and nothing else.
    ///
    /// # Errors
    /// Other bytes: the store is damaged, and the node must stop and name the index.
    pub fn decode(data: &[u8]) -> Result<Change, Malformed> {
        Reader::all(data, change).ok_or(Malformed("change"))
    }
}

fn change(from: &mut Reader<'_>) -> Option<Change> {
    if from.u8()? != VERSION {
        return None;
    }
    let (index, accepted_at_ms) = (EntryIndex(from.u64()?), from.u64()?);
    let (meta_salt, leaf_hash) = (from.hash()?, from.hash()?);
    let n = from.u32()?;
    let lists: Vec<(RowKind, Hash)> = (0..n).map(|_| list(from)).collect::<Option<_>>()?;
    let m = from.u32()?;
    let writes: Vec<_> = (0..m).map(|_| write(from)).collect::<Option<_>>()?;
    let ascending = lists.is_sorted_by(|a, b| a < b) && writes.is_sorted_by(|a, b| a.0 < b.0);
    ascending.then_some(Change {
        index,
        accepted_at_ms,
        meta_salt,
        leaf_hash,
        lists,
        writes,
    })
}

fn list(from: &mut Reader<'_>) -> Option<(RowKind, Hash)> {
    let kind = RowKind::from_code(from.u8()?)?;
    kind.under_root().then_some((kind, from.hash()?))
}

fn write(from: &mut Reader<'_>) -> Option<(StateKey, Option<Vec<u8>>)> {
    let key = StateKey::decode(from.field(usize::MAX)?)?;
    // Lists are folded from items; nothing else writes them.
    let list = matches!(key.kind, kind::SUBJECT | kind::HOUSEHOLD | kind::SEALED);
    if list || !key.under_root() {
        return None;
    }
    let value = match from.u8()? {
        0 => None,
        1 => Some(from.field(usize::MAX)?.to_vec()),
        _ => return None,
    };
    Some((key, value))
}

/// An entry is bounded far below 2^32 of anything.
fn count(n: usize, out: &mut Writer) {
    out.raw(&u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes());
}

fn field(bytes: &[u8], out: &mut Writer) {
    count(bytes.len(), out);
    out.raw(bytes);
}
