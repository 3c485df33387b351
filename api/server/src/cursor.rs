// SPDX-License-Identifier: EUPL-1.2
//! Cursors: where the next page of a query begins. Opaque, index-based (so stable while the ledger grows), and bound to query and reader.
//!
//! A cursor opens nothing: the rules of reading are asked again for each entry. The binding keeps a cursor from being mixed up with another query.

use ledger::{base64, hash::Hash};

use crate::{
    auth::Reader,
    problem::{Fault, RequestFault},
};

/// The cursor of a page that begins below `position`.
pub fn format(position: u64, question: &Hash, reader: &Reader) -> String {
    let mut bytes = position.to_be_bytes().to_vec();
    bytes.extend(binding(position, question, reader));
    base64::url_encode(&bytes)
}

/// The position in a cursor.
///
/// # Errors
/// `cursor` if it was made for another query or reader, or by nobody.
pub fn parse(text: &str, question: &Hash, reader: &Reader) -> Result<u64, Fault> {
    let bytes = base64::url_decode(text).ok_or(RequestFault::Cursor)?;
    let (position, bound) = bytes.split_first_chunk::<8>().ok_or(RequestFault::Cursor)?;
    let position = u64::from_be_bytes(*position);
    if bound == binding(position, question, reader) {
        Ok(position)
    } else {
        Err(RequestFault::Cursor.into())
    }
}

fn binding(position: u64, question: &Hash, reader: &Reader) -> [u8; 16] {
    let institution = Hash::of(&[reader.institution().as_bytes()]);
    let hash = Hash::of(&[
        &position.to_be_bytes(),
        question.as_bytes(),
        institution.as_bytes(),
        reader.role().as_str().as_bytes(),
    ]);
    let mut bound = [0; 16];
    bound
        .iter_mut()
        .zip(hash.as_bytes())
        .for_each(|(to, from)| *to = *from);
    bound
}

#[cfg(test)]
mod tests {
    use wire::token::Role;

    use super::*;

    #[test]
    fn a_cursor_is_good_for_its_query_and_reader_alone() {
        let reader = Reader::for_tests("ipa:a", Role::Dpo);
        let question = Hash([1; 32]);
        let cursor = format(17, &question, &reader);
        assert_eq!(parse(&cursor, &question, &reader), Ok(17));
        let refused = Err(RequestFault::Cursor.into());
        assert_eq!(parse(&cursor, &Hash([2; 32]), &reader), refused);
        let other = Reader::for_tests("ipa:b", Role::Dpo);
        assert_eq!(parse(&cursor, &question, &other), refused);
        let other = Reader::for_tests("ipa:a", Role::Institution);
        assert_eq!(parse(&cursor, &question, &other), refused);
        for bad in ["", "A", "AAAAAAAAAAA", &cursor.to_uppercase()] {
            assert_eq!(parse(bad, &question, &reader), refused, "{bad}");
        }
    }
}
