// SPDX-License-Identifier: EUPL-1.2
//! The dictionaries that entries are packed with, by number. Whoever searches a disk for plaintext reads them here too.
//!
//! Each is a text that is written by hand: what entries of each type look like, as this project's client writes them and with members sorted, and
//! nobody's data. What is met most often stands last. A trained one saves another tenth, and nobody can read it. One that a ledger was kept with
//! never changes.

/// What new entries are packed with.
pub(super) const NEWEST: u8 = 1;

/// The bytes of a dictionary; none for a number that has none.
pub(super) fn dictionary(number: u8) -> Option<Vec<u8>> {
    match number {
        1 => Some(bytes(include_str!("words-1.txt"))),
        _ => None,
    }
}

/// In the file, marks of shorthand are Unicode's pictures of control characters, and lines are there for the reader.
fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for letter in text.lines().flat_map(str::chars) {
        match u32::from(letter).checked_sub(0x2400) {
            Some(mark @ 0..=0x1f) => bytes.push(mark as u8),
            _ => bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}
