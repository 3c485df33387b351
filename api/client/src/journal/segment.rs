// SPDX-License-Identifier: BSD-3-Clause
//! A segment's bytes: records behind each other, and where the whole ones end. Also the form of the cache of refs, which is one such file.

use ledger::hash::Hash;

use super::{PAYLOAD_BYTES_MAX, Place};

/// First line of a segment.
pub(crate) const HEAD: &[u8] = b"visto-journal-1\n";
/// First bytes of a record.
const MAGIC: &[u8; 4] = b"VjR1";
/// Bytes before a record's payload.
pub(crate) const FRAME_BYTES: usize = 24;

/// Puts a record behind what the buffer holds, which comes at `at` in the segment. `durable`: how much of the segment is on disk by then.
pub(crate) fn frame(
    segment: u64,
    at: u64,
    durable: u64,
    payload: &[u8],
    buffer: &mut Vec<u8>,
) -> Place {
    let place = Place {
        segment,
        offset: at + buffer.len() as u64,
        // Bounded by whoever appends.
        len: payload.len() as u32,
    };
    buffer.extend_from_slice(MAGIC);
    buffer.extend_from_slice(&place.len.to_be_bytes());
    buffer.extend_from_slice(&durable.to_be_bytes());
    buffer.extend_from_slice(&checksum(place, durable, payload));
    buffer.extend_from_slice(payload);
    place
}

/// Hands every whole record of a segment to `each`; answers with how many bytes of it are good. Only the last segment may end in a torn
/// record, and only if no record behind it says that it was durable.
///
/// # Errors
/// The place of the damage.
pub(crate) fn scan(
    bytes: &[u8],
    number: u64,
    last: bool,
    each: &mut impl FnMut(Place, &[u8]),
) -> Result<u64, u64> {
    if !bytes.starts_with(HEAD) {
        // Made and not yet written: anything else is not a segment of ours.
        return if last && HEAD.starts_with(bytes) {
            Ok(0)
        } else {
            Err(0)
        };
    }
    let mut at = HEAD.len();
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let Some((_, payload)) = record(rest, number, at as u64) else {
            if !last || durable_beyond(bytes, number, at) {
                return Err(at as u64);
            }
            return Ok(at as u64);
        };
        let place = Place {
            segment: number,
            offset: at as u64,
            len: payload.len() as u32,
        };
        each(place, payload);
        at = usize::try_from(place.end()).unwrap_or(usize::MAX);
    }
    Ok(at as u64)
}

/// The record at the head of these bytes, whole and unspoiled: how much was durable when it was written, and its payload.
pub(super) fn record(bytes: &[u8], segment: u64, offset: u64) -> Option<(u64, &[u8])> {
    let rest = bytes.strip_prefix(MAGIC.as_slice())?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (durable, rest) = rest.split_first_chunk::<8>()?;
    let (sum, rest) = rest.split_first_chunk::<8>()?;
    let len = u32::from_be_bytes(*len);
    let durable = u64::from_be_bytes(*durable);
    if len as usize > PAYLOAD_BYTES_MAX {
        return None;
    }
    let payload = rest.get(..len as usize)?;
    let place = Place {
        segment,
        offset,
        len,
    };
    (checksum(place, durable, payload) == *sum).then_some((durable, payload))
}

/// Whether a whole record behind the broken one at `broken` was written when the disk had that place already.
fn durable_beyond(bytes: &[u8], number: u64, broken: usize) -> bool {
    let mut at = broken + 1;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= FRAME_BYTES) {
        let Some(next) = rest
            .windows(MAGIC.len())
            .position(|window| window == MAGIC.as_slice())
        else {
            return false;
        };
        at += next;
        let found = bytes
            .get(at..)
            .and_then(|rest| record(rest, number, at as u64));
        if found.is_some_and(|(durable, _)| durable > broken as u64) {
            return true;
        }
        at += 1;
    }
    false
}

fn checksum(place: Place, durable: u64, payload: &[u8]) -> [u8; 8] {
    let hash = Hash::of(&[
        &place.segment.to_be_bytes(),
        &place.offset.to_be_bytes(),
        &place.len.to_be_bytes(),
        &durable.to_be_bytes(),
        payload,
    ]);
    let mut first = [0; 8];
    first
        .iter_mut()
        .zip(hash.as_bytes())
        .for_each(|(to, from)| *to = *from);
    first
}
