// SPDX-License-Identifier: EUPL-1.2
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::note::{KeyName, NoteKeyId, SignatureLine};
use crate::receipt::Receipt;

const NOTE: &str = "log\n1\nroot\n\n— log CQkJCQE=\n";

fn note() -> Note {
    Note::parse(NOTE.as_bytes()).unwrap()
}

#[test]
fn malformed_proofs_are_refused() {
    let hash = Hash([7; 32]).to_base64();
    let first = FIRST_LINE;
    for (text, expected) in [
        (String::new(), TlogProofError::Lines),
        (format!("{first}\nindex 0\n"), TlogProofError::Lines),
        (
            format!("c2sp.org/tlog-proof@v2\nindex 0\n\n{NOTE}"),
            TlogProofError::FirstLine,
        ),
        (
            format!(" {first}\nindex 0\n\n{NOTE}"),
            TlogProofError::FirstLine,
        ),
        (
            format!("{first}\r\nindex 0\n\n{NOTE}"),
            TlogProofError::FirstLine,
        ),
        (format!("{first}\n\n{NOTE}"), TlogProofError::Index),
        (
            format!("{first}\nextra AA==\n\n{NOTE}"),
            TlogProofError::Index,
        ),
        (
            format!("{first}\nextra AA\nindex 0\n\n{NOTE}"),
            TlogProofError::Extra,
        ),
        (
            format!("{first}\nextra AB==\nindex 0\n\n{NOTE}"),
            TlogProofError::Extra,
        ),
        (
            format!("{first}\nextra  AA==\nindex 0\n\n{NOTE}"),
            TlogProofError::Extra,
        ),
        (
            format!("{first}\nindex 0\nextra AA==\n\n{NOTE}"),
            TlogProofError::Hash,
        ),
        (
            format!("{first}\nindex 00\n\n{NOTE}"),
            TlogProofError::Index,
        ),
        (
            format!("{first}\nindex -1\n\n{NOTE}"),
            TlogProofError::Index,
        ),
        (
            format!("{first}\nindex  1\n\n{NOTE}"),
            TlogProofError::Index,
        ),
        (
            format!("{first}\nindex 18446744073709551616\n\n{NOTE}"),
            TlogProofError::Index,
        ),
        (
            format!("{first}\nindex 0\n{}\n\n{NOTE}", &hash[1..]),
            TlogProofError::Hash,
        ),
        (
            format!("{first}\nindex 0\n{hash} \n\n{NOTE}"),
            TlogProofError::Hash,
        ),
        (
            format!(
                "{first}\nindex 0\n{}\n{NOTE}",
                format!("{hash}\n").repeat(66)
            ),
            TlogProofError::Hash,
        ),
        (
            format!("{first}\nindex 0\n\nlog\n"),
            TlogProofError::Note(NoteError::Lines),
        ),
    ] {
        assert_eq!(TlogProof::parse(text.as_bytes()), Err(expected), "{text:?}");
    }
    let long = format!(
        "{FIRST_LINE}\nextra {}\nindex 0\n\n{NOTE}",
        "A".repeat(EXTRA_BYTES_MAX / 3 * 4 + 8)
    );
    assert_eq!(
        TlogProof::parse(long.as_bytes()),
        Err(TlogProofError::Extra)
    );
    assert_eq!(
        TlogProof::parse(&vec![b'a'; TLOG_PROOF_BYTES_MAX + 1]),
        Err(TlogProofError::Size)
    );
    assert_eq!(TlogProof::parse(b"\xff"), Err(TlogProofError::Utf8));
}

proptest! {
    #[test]
    fn proofs_round_trip(
        extra in prop::option::of(prop::collection::vec(any::<u8>(), 0..200)),
        index: u64,
        path in prop::collection::vec(any::<[u8; 32]>(), 0..=PROOF_HASHES_MAX),
        signatures in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..100), 1..20),
    ) {
        let line = |signature| SignatureLine { name: KeyName::parse("a").unwrap(), key_id: NoteKeyId([1; 4]), signature };
        let note = Note::new("text\n\nmore\n".into(), signatures.into_iter().map(line).collect()).unwrap();
        let path = path.into_iter().map(Hash).collect();
        let proof = TlogProof { extra, index: EntryIndex(index), path, note };
        prop_assert_eq!(TlogProof::parse(&proof.to_bytes()), Ok(proof));
    }

    #[test]
    fn what_parses_formats_to_the_same(
        at in any::<prop::sample::Index>(), byte: u8, bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let proof = TlogProof { extra: Some(vec![1; 80]), index: EntryIndex(70), path: vec![Hash([3; 32]); 2], note: note() };
        let mut changed = proof.to_bytes();
        let at = at.index(changed.len());
        changed[at] = byte;
        let spliced: Vec<u8> = [&changed[..at], &bytes, &changed[at..]].concat();
        for input in [changed, spliced, bytes] {
            if let Ok(proof) = TlogProof::parse(&input) {
                prop_assert_eq!(proof.to_string().into_bytes(), &input[..]);
            }
            if let Ok(receipt) = Receipt::parse(&input) {
                prop_assert_eq!(receipt.to_string().into_bytes(), &input[..]);
            }
        }
    }
}
