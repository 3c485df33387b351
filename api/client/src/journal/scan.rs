// SPDX-License-Identifier: BSD-3-Clause
//! Reading a segment back: whole records, and where they end.

use std::path::Path;

use super::{FRAME_BYTES, HEAD, JournalError, MAGIC, PAYLOAD_BYTES_MAX, Place, checksum, contents};

/// Hands every whole record of a segment to `each`; answers with how many bytes of the file are good. Only the last segment may end in a torn
/// record, and only if no record behind it says that it was durable.
pub(super) fn scan(
    path: &Path,
    number: u64,
    last: bool,
    each: &mut impl FnMut(Place, &[u8]),
) -> Result<u64, JournalError> {
    let bytes = contents(path)?;
    let damaged = |offset: usize| JournalError::Damaged {
        path: path.to_owned(),
        offset: offset as u64,
    };
    if !bytes.starts_with(HEAD) {
        // Made and not yet written: anything else is not a segment of ours.
        return if last && HEAD.starts_with(&bytes) {
            Ok(0)
        } else {
            Err(damaged(0))
        };
    }
    let mut at = HEAD.len();
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let Some((_, payload)) = record(rest, number, at as u64) else {
            if !last || durable_beyond(&bytes, number, at) {
                return Err(damaged(at));
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
