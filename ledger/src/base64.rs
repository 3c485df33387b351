// SPDX-License-Identifier: EUPL-1.2
//! Strict, canonical base64 and base64url: one text per value, so that nothing signed has two spellings.

use alloc::{string::String, vec::Vec};

use ::base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

/// Standard alphabet, padded (`payload`, `sig`, and the C2SP formats).
pub fn encode(data: &[u8]) -> String {
    STANDARD.encode(data)
}

/// As [`encode`], appended to `to`.
pub(crate) fn encode_onto(data: &[u8], to: &mut String) {
    STANDARD.encode_string(data, to);
}

/// Decodes what [`encode`] writes and nothing else: `None` for other alphabets, missing or spare padding, or trailing bits.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// As [`decode`], appending to `to`; `None` leaves `to` in an unspecified state.
pub(crate) fn decode_onto(text: &str, to: &mut Vec<u8>) -> Option<()> {
    STANDARD.decode_vec(text, to).ok()
}

/// URL alphabet, without padding (refs, digests, key ids, disclosures).
pub fn url_encode(data: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(data)
}

/// As [`url_encode`], appended to `to`.
pub(crate) fn url_encode_onto(data: &[u8], to: &mut String) {
    URL_SAFE_NO_PAD.encode_string(data, to);
}

/// As [`url_encode`], of few bytes, appended to `to` as ASCII.
pub(crate) fn url_encode_bytes(data: &[u8], to: &mut Vec<u8>) {
    let start = to.len();
    to.resize(start + data.len().div_ceil(3) * 4, 0);
    let written = to
        .get_mut(start..)
        .and_then(|room| URL_SAFE_NO_PAD.encode_slice(data, room).ok());
    to.truncate(start + written.unwrap_or(0));
}

/// Decodes what [`url_encode`] writes and nothing else.
pub fn url_decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Decodes exactly `N` bytes without allocating; `None` if there are more, fewer, or the text is not canonical.
pub fn url_decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    let written = URL_SAFE_NO_PAD.decode_slice(text, &mut out).ok()?;
    (written == N).then_some(out)
}

/// How many bytes a text decodes to, without allocating; `None` where it is not canonical, or they are more than `ROOM`, a multiple of three.
pub(crate) fn url_decoded_len<const ROOM: usize>(text: &str) -> Option<usize> {
    URL_SAFE_NO_PAD.decode_slice(text, &mut [0; ROOM]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_only() {
        assert_eq!(decode("QQ=="), Some(alloc::vec![b'A']));
        for other in ["QQ", "QQ=", "QR==", "QQ==\n", "Q Q==", "QQ===", "-_=="] {
            assert_eq!(decode(other), None, "{other}");
        }
        assert_eq!(url_decode("QQ"), Some(alloc::vec![b'A']));
        for other in ["QQ==", "QR", "Q", "+/", "QQ "] {
            assert_eq!(url_decode(other), None, "{other}");
        }
    }

    #[test]
    fn lengths_are_those_of_what_is_decoded() {
        for bytes in 0..=40 {
            let text = url_encode(&alloc::vec![0xa5; bytes]);
            let len = url_decoded_len::<36>(&text);
            assert!(len.is_none_or(|len| len == bytes) && len.is_some() == (bytes <= 36));
        }
        assert_eq!(url_decoded_len::<36>("QR"), None);
    }

    #[test]
    fn arrays_have_one_length() {
        for data in [[0u8; 32], [0xff; 32], [0xa5; 32]] {
            let text = url_encode(&data);
            assert_eq!(url_decode_array::<32>(&text), Some(data));
            assert_eq!(url_decode_array::<31>(&text), None);
            assert_eq!(url_decode_array::<33>(&text), None);
        }
        assert_eq!(url_decode_array::<16>(&url_encode(&[7; 16])), Some([7; 16]));
        assert_eq!(
            url_decode_array::<32>(&alloc::format!("{}9", "A".repeat(42))),
            None
        );
    }
}
