// SPDX-License-Identifier: EUPL-1.2
//! Shorthand: JSON text with what is binary by nature taken out of it. A string that is nothing but 32 or 16 bytes in base64url, a UUID or a time
//! becomes one mark, and its bytes stand beside the text. What is left of an entry is words, which most entries share, and which pack well; the
//! bytes, a third longer as text, are mostly random and do not pack at all.
//!
//! ```text
//! text  = (characters | mark)* ‖ 0, or 6 ‖ 0: all of it stands beside, as u32(len) ‖ bytes
//! mark  = 1: bytes[32]   2: bytes[16]   3: UUID[16]   4 ‖ (u8(n) + "0"): digest of the nth disclosure, which stands nowhere   5: u48(time in ms)
//! ```
//!
//! Whatever goes in comes out again, byte by byte; texts that hold bytes below 7 themselves, as no JSON does, are not shortened.

use alloc::vec::Vec;
use core::str;

use super::stored::{Reader, put};
use crate::{base64, hash::Hash, time};

const END: u8 = 0;
const BYTES_32: u8 = 1;
const BYTES_16: u8 = 2;
const UUID: u8 = 3;
const DIGEST: u8 = 4;
const TIME: u8 = 5;
const WHOLE: u8 = 6;

/// So that a dictionary of texts can be read.
const FIRST_DISCLOSURE: u8 = b'0';

/// What an entry is written as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shorthand {
    /// Words, and marks.
    pub text: Vec<u8>,
    /// What the marks stand for, in their order, and what is no text.
    pub bytes: Vec<u8>,
}

/// Whether a text can be shortened.
pub(super) fn is_plain(text: &[u8]) -> bool {
    // Looked at to its end: so the compiler does it many bytes at a time.
    let marks = text.iter().map(|byte| *byte <= WHOLE);
    !marks.fold(false, |some, is| some | is)
}

impl Shorthand {
    /// Writes a text of which [`is_plain`] holds; `digests` are those of the entry's disclosures.
    pub(super) fn put_plain(&mut self, text: &[u8], digests: &[Hash]) {
        self.text.reserve(text.len() + 1);
        // What is to be shortened stands between quotes.
        for (at, piece) in text.split(|byte| *byte == b'"').enumerate() {
            if at > 0 {
                self.text.push(b'"');
            }
            if self.put_short(piece, digests).is_none() {
                self.text.extend_from_slice(piece);
            }
        }
        self.text.push(END);
    }

    /// `u16(n)`, for what is bounded below that.
    pub(super) fn put_count(&mut self, n: usize) {
        self.bytes.extend_from_slice(&(n as u16).to_be_bytes());
    }

    /// Writes a text as it is.
    pub(super) fn put_whole(&mut self, text: &[u8]) {
        self.text.extend_from_slice(&[WHOLE, END]);
        put(text, &mut self.bytes);
    }

    fn put_short(&mut self, piece: &[u8], digests: &[Hash]) -> Option<()> {
        match piece.len() {
            43 => {
                let bytes = base64::url_decode_array::<32>(str::from_utf8(piece).ok()?)?;
                let known = digests.iter().position(|digest| digest.0 == bytes);
                if let Some(Ok(known)) = known.map(u8::try_from) {
                    let of = [DIGEST, FIRST_DISCLOSURE.wrapping_add(known)];
                    self.text.extend_from_slice(&of);
                } else {
                    self.text.push(BYTES_32);
                    self.bytes.extend_from_slice(&bytes);
                }
            }
            22 => {
                let bytes = base64::url_decode_array::<16>(str::from_utf8(piece).ok()?)?;
                self.text.push(BYTES_16);
                self.bytes.extend_from_slice(&bytes);
            }
            36 => {
                let bytes = uuid_bytes(piece)?;
                self.text.push(UUID);
                self.bytes.extend_from_slice(&bytes);
            }
            24 => {
                let ms = time::parse_timestamp(str::from_utf8(piece).ok()?)?;
                if time::timestamp_text(ms) != piece {
                    return None;
                }
                let [_, _, ms @ ..] = ms.to_be_bytes();
                self.text.push(TIME);
                self.bytes.extend_from_slice(&ms);
            }
            _ => return None,
        }
        Some(())
    }
}

/// Reads one text from both, of at most `bytes_max`; `digests` as when it was written. `room`: what it most often comes to. Tells whether it
/// stood whole.
pub(super) fn take(
    text: &mut Reader<'_>,
    bytes: &mut Reader<'_>,
    digests: &[Hash],
    bytes_max: usize,
    room: usize,
) -> Option<(Vec<u8>, bool)> {
    let mut out = Vec::with_capacity(room);
    loop {
        out.extend_from_slice(text.take_while(|byte| byte > WHOLE));
        match text.u8()? {
            END => break,
            BYTES_32 => base64::url_encode_bytes(bytes.array::<32>()?, &mut out),
            BYTES_16 => base64::url_encode_bytes(bytes.array::<16>()?, &mut out),
            UUID => put_uuid(bytes.array()?, &mut out),
            DIGEST => {
                let of = text.u8()?.wrapping_sub(FIRST_DISCLOSURE);
                let digest = digests.get(usize::from(of))?;
                base64::url_encode_bytes(digest.as_bytes(), &mut out);
            }
            TIME => {
                let &[a, b, c, d, e, f] = bytes.array()?;
                let ms = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
                out.extend_from_slice(&time::timestamp_text(ms));
            }
            WHOLE if out.is_empty() && text.u8()? == END => {
                return Some((bytes.field(bytes_max)?.to_vec(), true));
            }
            _ => return None,
        }
        if out.len() > bytes_max {
            return None;
        }
    }
    (out.len() <= bytes_max).then_some((out, false))
}

/// The digits of a UUID's five groups.
const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Reads a UUID of any version, in lower case.
pub(crate) fn uuid_bytes(text: &[u8]) -> Option<[u8; 16]> {
    let mut out = [0; 16];
    let mut digits = 0;
    for (at, byte) in text.iter().enumerate() {
        if matches!(at, 8 | 13 | 18 | 23) {
            if *byte != b'-' {
                return None;
            }
            continue;
        }
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        let of = out.get_mut(digits / 2)?;
        *of = *of << 4 | digit;
        digits += 1;
    }
    (digits == 32).then_some(out)
}

fn put_uuid(bytes: &[u8; 16], out: &mut Vec<u8>) {
    let mut digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    for (at, group) in GROUPS.into_iter().enumerate() {
        if at > 0 {
            out.push(b'-');
        }
        let group = digits.by_ref().take(group);
        out.extend(group.filter_map(|digit| DIGITS.get(usize::from(digit))));
    }
}
