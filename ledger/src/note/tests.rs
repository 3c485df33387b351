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
use crate::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
use crate::cosignature::cosign;
use crate::merkle::{MemoryNodes, empty_root, leaf_hash};
use crate::number::TreeSize;

const LOG: &str = "ledger.visto.example/log1+f6834349+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c";
const WITNESS: &str =
    "witness.visto.example/w1+b942ee63+BIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU";
const CHECKPOINT: &str = "ledger.visto.example/log1
7
UqNaj6ciFXHfXX+mjCCdbUvDzBnIARG+1MNYkIyT9ZM=

— ledger.visto.example/log1 9oNDSWFudzJPmh2QQbCP2IPZIkPIowdpoynCfwa4S7btqTV6nx1IAtgSkAW2iMxQHViBphWYf3sdFLjeJ09MBsSkOQ8=
— witness.visto.example/w1 uULuYwAAAABlU/EA64NEpN12WK7kyh22p2vBp6zpa7//6h0PMkXR6gEPxhP7wype7Snxv6tlLzYR8KrZ6UNTfE1O6JebY+0nRq4nCA==
";

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

fn keys() -> [VerifierKey; 2] {
    [
        VerifierKey::parse(LOG).unwrap(),
        VerifierKey::parse(WITNESS).unwrap(),
    ]
}

#[test]
fn golden_checkpoint_is_made_again() {
    let (log, witness) = (
        SigningKey::from_seed([1; 32]),
        SigningKey::from_seed([2; 32]),
    );
    let tree = MemoryNodes::from_leaf_hashes(
        (0..7).map(|n| leaf_hash(format!("visto-leaf-{n}").as_bytes())),
    );
    let origin = name("ledger.visto.example/log1");
    let text = Checkpoint {
        origin: origin.clone(),
        size: tree.size(),
        root: tree.root(),
    }
    .to_text();
    let lines = vec![
        SignatureLine::sign(&origin, &log, &text),
        cosign(
            &name("witness.visto.example/w1"),
            &witness,
            &text,
            1_700_000_000,
        ),
    ];
    let note = Note::new(text, lines).unwrap();
    assert_eq!(note.to_string(), CHECKPOINT);
    assert_eq!(Note::parse(CHECKPOINT.as_bytes()), Ok(note));
    assert_eq!(
        VerifierKey::new(origin, SignatureType::Ed25519, log.public()).to_string(),
        LOG
    );
    assert_eq!(keys()[1].to_string(), WITNESS);
}

#[test]
fn golden_checkpoint_opens() {
    let (note, keys) = (Note::parse(CHECKPOINT.as_bytes()).unwrap(), keys());
    let signed = SignedCheckpoint::open(&note, &keys).unwrap();
    assert_eq!(signed.checkpoint().size, TreeSize(7));
    assert_eq!(
        signed.cosigners().collect::<Vec<_>>(),
        [(&keys[1], 1_700_000_000)]
    );
    assert_eq!(
        SignedCheckpoint::open(&note, &keys[1..]),
        Err(CheckpointError::NotByLog)
    );
    assert_eq!(
        SignedCheckpoint::open(&note, &[]),
        Err(CheckpointError::Note(NoteError::NoKnownKey))
    );
}

#[test]
fn the_specification_s_own_example_opens() {
    let key =
        VerifierKey::parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
            .unwrap();
    let note = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
    let note = Note::parse(note.as_bytes()).unwrap();
    assert_eq!(
        note.verify(core::slice::from_ref(&key)).unwrap()[0].key,
        &key
    );
    assert_eq!(
        Checkpoint::parse(note.text()),
        Err(CheckpointError::Malformed)
    );
}

#[test]
fn every_changed_byte_shows() {
    let keys = keys();
    for at in 0..CHECKPOINT.len() {
        let mut bytes = CHECKPOINT.as_bytes().to_vec();
        bytes[at] ^= 1;
        // Both signed before; afterwards the note does not parse, does not hold, or one of the two is unknown.
        let both = Note::parse(&bytes)
            .ok()
            .and_then(|note| note.verify(&keys).ok().map(|lines| lines.len() == 2));
        assert_ne!(both, Some(true), "byte {at}");
    }
}

#[test]
fn a_failing_line_of_a_known_key_spoils_the_note() {
    let [log, witness] = keys();
    let forged = CHECKPOINT.replace("q4nCA==", "q4nCQ==");
    let forged = Note::parse(forged.as_bytes()).unwrap();
    assert_eq!(
        forged.verify(&[log.clone(), witness]),
        Err(NoteError::Signature)
    );
    assert_eq!(
        forged.verify(&[log]).unwrap().len(),
        1,
        "an unknown key's line is passed over"
    );
}

#[test]
fn unknown_lines_are_passed_over_even_if_name_or_id_is_known() {
    let [log, _] = keys();
    let line = Note::parse(CHECKPOINT.as_bytes()).unwrap().signatures()[0].clone();
    let other_name = SignatureLine {
        name: name("other.example"),
        ..line.clone()
    };
    let other_id = SignatureLine {
        key_id: NoteKeyId([0; 4]),
        ..line.clone()
    };
    let text = Note::parse(CHECKPOINT.as_bytes())
        .unwrap()
        .text()
        .to_string();
    let note = Note::new(
        text.clone(),
        vec![other_name.clone(), other_id, line.clone()],
    )
    .unwrap();
    assert_eq!(note.verify(core::slice::from_ref(&log)).unwrap().len(), 1);
    let unknown = Note::new(text.clone(), vec![other_name]).unwrap();
    assert_eq!(
        unknown.verify(core::slice::from_ref(&log)),
        Err(NoteError::NoKnownKey)
    );
    let twice = Note::new(text, vec![line.clone(), line]).unwrap();
    assert_eq!(
        twice.verify(core::slice::from_ref(&log)).unwrap().len(),
        1,
        "a key counts once"
    );
}

#[test]
fn many_and_large_signatures_are_taken() {
    let big = SignatureLine {
        name: name("pq"),
        key_id: NoteKeyId([9; 4]),
        signature: vec![7; 5000],
    };
    let note = Note::new("text\n".into(), vec![big.clone(); 16]).unwrap();
    assert_eq!(Note::parse(note.to_string().as_bytes()), Ok(note));
    let most = Note::new(
        "text\n".into(),
        vec![
            SignatureLine {
                signature: vec![1],
                ..big.clone()
            };
            SIGNATURES_MAX
        ],
    )
    .unwrap();
    let mut text = most.to_string();
    assert_eq!(Note::parse(text.as_bytes()), Ok(most));
    text.push_str("— pq CQkJCQE=\n");
    assert_eq!(Note::parse(text.as_bytes()), Err(NoteError::Lines));
    assert_eq!(
        Note::parse(&vec![b'a'; NOTE_BYTES_MAX + 1]),
        Err(NoteError::Size)
    );
}

#[test]
fn what_is_made_can_be_read_again() {
    let line = |bytes| SignatureLine {
        name: name("a"),
        key_id: NoteKeyId([9; 4]),
        signature: vec![7; bytes],
    };
    let fill = |bytes| Note::new(format!("{}\n", "a".repeat(bytes)), vec![line(1), line(100)]);
    let largest = (0..NOTE_BYTES_MAX)
        .rev()
        .find_map(|bytes| fill(bytes).ok())
        .unwrap();
    assert_eq!(largest.to_string().len(), NOTE_BYTES_MAX);
    assert_eq!(Note::parse(largest.to_string().as_bytes()), Ok(largest));
    assert_eq!(fill(NOTE_BYTES_MAX), Err(NoteError::Size));
    assert_eq!(Note::new("a\n".into(), vec![line(0)]), Err(NoteError::Line));
}

#[test]
fn malformed_notes_are_refused() {
    let line = "— a CQkJCQE=\n";
    for (note, expected) in [
        ("", NoteError::Lines),
        ("text\n", NoteError::Lines),
        ("text\n\n", NoteError::Lines),
        ("text\n\n— a CQkJCQE=", NoteError::Lines),
        ("te\txt\n\n— a CQkJCQE=\n", NoteError::Text),
        ("te\rxt\n\n— a CQkJCQE=\n", NoteError::Text),
        ("te\0xt\n\n— a CQkJCQE=\n", NoteError::Text),
        ("text\n\n- a CQkJCQE=\n", NoteError::Line),
        ("text\n\n— a  CQkJCQE=\n", NoteError::Line),
        ("text\n\n— a CQkJCQE= \n", NoteError::Line),
        ("text\n\n— a CQkJCQE\n", NoteError::Line),
        ("text\n\n— a CQkJCQF=\n", NoteError::Line),
        ("text\n\n— a CQkJCQ==\n", NoteError::Line),
        ("text\n\n— a CQkJ\n", NoteError::Line),
        ("text\n\n—  CQkJCQE=\n", NoteError::Name),
        ("text\n\n— a+b CQkJCQE=\n", NoteError::Name),
        ("text\n\n— a\u{2003}b CQkJCQE=\n", NoteError::Name),
    ] {
        assert_eq!(Note::parse(note.as_bytes()), Err(expected), "{note:?}");
    }
    assert_eq!(Note::parse(b"\xff\n\n"), Err(NoteError::Utf8));
    let inner = format!("a\n\nb\n\n\n{line}");
    assert_eq!(Note::parse(inner.as_bytes()).unwrap().text(), "a\n\nb\n\n");
    assert_eq!(KeyName::parse(&"a".repeat(256)), Err(NoteError::Name));
}

#[test]
fn malformed_keys_are_refused() {
    for (text, expected) in [
        ("", NoteError::VerifierKey),
        ("a+b", NoteError::VerifierKey),
        (&LOG.replace("f6834349", "f6834348"), NoteError::KeyId),
        (&LOG.replace("f6834349", "F6834349"), NoteError::KeyId),
        (&LOG.replace("f6834349", "0f6834349"), NoteError::KeyId),
        (&LOG.replace("D29c", "D29"), NoteError::VerifierKey),
        (&LOG.replace("+AYqI", "+BoqI"), NoteError::Type),
        (&LOG.replace("ledger", "led ger"), NoteError::Name),
        (
            "a+00000000+AQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            NoteError::WeakKey,
        ),
    ] {
        assert_eq!(VerifierKey::parse(text), Err(expected), "{text}");
    }
}

#[test]
fn malformed_checkpoints_are_refused() {
    let root = "UqNaj6ciFXHfXX+mjCCdbUvDzBnIARG+1MNYkIyT9ZM=";
    let empty = crate::base64::encode(&empty_root().0);
    assert_eq!(empty, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    assert!(Checkpoint::parse(&format!("o\n0\n{empty}\n")).is_ok());
    for (text, expected) in [
        (String::new(), CheckpointError::Malformed),
        (format!("o\n7\n{root}"), CheckpointError::Malformed),
        (format!("o\n07\n{root}\n"), CheckpointError::Malformed),
        (format!("o\n-7\n{root}\n"), CheckpointError::Malformed),
        (
            format!("o\n18446744073709551616\n{root}\n"),
            CheckpointError::Malformed,
        ),
        (
            format!("o\n7\n{}\n", &root[..43]),
            CheckpointError::Malformed,
        ),
        (format!("o\n7\n{root}=\n"), CheckpointError::Malformed),
        (format!("o\n7\n{root}\nmore\n"), CheckpointError::Extension),
        (format!("o\n7\n{root}\n\n"), CheckpointError::Extension),
        (
            format!("\n7\n{root}\n"),
            CheckpointError::Note(NoteError::Name),
        ),
        (format!("o\n0\n{root}\n"), CheckpointError::EmptyRoot),
    ] {
        assert_eq!(Checkpoint::parse(&text), Err(expected), "{text:?}");
    }
}

#[test]
fn a_cosignature_is_of_its_time_and_text() {
    let key = SigningKey::from_seed([2; 32]);
    let witness = keys()[1].clone();
    let witness_name = witness.name().clone();
    let verify = |line, text: &str| {
        Note::new(text.into(), vec![line])
            .unwrap()
            .verify(core::slice::from_ref(&witness))
            .map(|lines| lines[0].time)
    };
    let line = cosign(&witness_name, &key, "a\n", 5);
    assert_eq!(verify(line.clone(), "a\n"), Ok(Some(5)));
    assert_eq!(verify(line.clone(), "b\n"), Err(NoteError::Signature));
    let mut later = line.clone();
    later.signature[7] = 6;
    assert_eq!(verify(later, "a\n"), Err(NoteError::Signature));
    let mut short = line;
    short.signature.pop();
    assert_eq!(verify(short, "a\n"), Err(NoteError::Signature));
    assert_eq!(
        verify(cosign(&witness_name, &key, "a\n", u64::MAX), "a\n"),
        Ok(Some(i64::MAX as u64))
    );
    let bare = SignatureLine {
        signature: key.sign(b"a\n").to_vec(),
        ..cosign(&witness_name, &key, "a\n", 5)
    };
    assert_eq!(
        verify(bare, "a\n"),
        Err(NoteError::Signature),
        "a bare signature under a cosigner's key"
    );
}

proptest! {
    #[test]
    fn notes_round_trip(text in "([ -~à-ÿ\n]{0,40}\n)", lines in prop::collection::vec(("[a-z./]{1,20}", any::<[u8; 4]>(), prop::collection::vec(any::<u8>(), 1..100)), 1..20)) {
        let lines: Vec<_> = lines.into_iter()
            .map(|(text, id, signature)| SignatureLine { name: name(&text), key_id: NoteKeyId(id), signature })
            .collect();
        let note = Note::new(text, lines).unwrap();
        prop_assert_eq!(Note::parse(note.to_string().as_bytes()), Ok(note));
    }

    #[test]
    fn checkpoints_and_keys_round_trip(origin in "[a-z0-9./]{1,30}", size in 1u64.., root: [u8; 32], seed: [u8; 32], cosigner: bool) {
        let checkpoint = Checkpoint { origin: name(&origin), size: TreeSize(size), root: Hash(root) };
        prop_assert_eq!(Checkpoint::parse(&checkpoint.to_text()), Ok(checkpoint));
        let signature_type = if cosigner { SignatureType::Cosignature } else { SignatureType::Ed25519 };
        let key = VerifierKey::new(name(&origin), signature_type, SigningKey::from_seed(seed).public());
        prop_assert_eq!(VerifierKey::parse(&key.to_string()), Ok(key));
    }

    #[test]
    fn what_parses_formats_to_the_same(cut in 0..CHECKPOINT.len(), at in 0..CHECKPOINT.len(), byte: u8, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut changed = CHECKPOINT.as_bytes().to_vec();
        changed[at] = byte;
        for input in [&changed[..], &changed[cut..], &changed[..cut], &bytes] {
            if let Ok(note) = Note::parse(input) {
                let again = note.to_string();
                prop_assert_eq!(again.as_bytes(), input);
            }
            if let Ok(text) = core::str::from_utf8(input) {
                let _ = (Checkpoint::parse(text), VerifierKey::parse(text), SignatureLine::parse(text));
            }
        }
    }
}
