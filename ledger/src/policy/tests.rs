// SPDX-License-Identifier: EUPL-1.2
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::cosignature::cosign;
use crate::hash::Hash;
use crate::id::NodeNumber;
use crate::key::SigningKey;
use crate::note::SignatureLine;
use crate::number::TreeSize;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32])
}

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

fn log_key(seed: u8) -> VerifierKey {
    VerifierKey::new(
        name("log.example/1"),
        SignatureType::Ed25519,
        key(seed).public(),
    )
}

fn witness_key(seed: u8) -> VerifierKey {
    VerifierKey::new(
        name(&format!("w{seed}.example")),
        SignatureType::Cosignature,
        key(seed).public(),
    )
}

/// `w1` … `w6` of seeds 1 … 6, a log of seed 100; what follows says the quorum.
fn file(rest: &str) -> String {
    let mut text = format!("log {}\n", log_key(100));
    for seed in 1..=6 {
        text.push_str(&format!("witness w{seed} {}\n", witness_key(seed)));
    }
    text + rest
}

/// A checkpoint of that size with the log's line and the cosignatures of these seeds.
fn note(size: u64, log: u8, witnesses: &[u8]) -> Note {
    let text = Checkpoint {
        origin: name("log.example/1"),
        size: TreeSize(size),
        root: Hash([7; 32]),
    }
    .to_text();
    let mut lines = alloc::vec![SignatureLine::sign(
        &name("log.example/1"),
        &key(log),
        &text
    )];
    for seed in witnesses {
        lines.push(cosign(
            witness_key(*seed).name(),
            &key(*seed),
            &text,
            1000 + u64::from(*seed),
        ));
    }
    Note::new(text, lines).unwrap()
}

#[test]
fn groups_of_groups_make_a_quorum() {
    let text = file(
        "# the specification's example, with six witnesses\n\ngroup X 2 w1 w2 w3\n  group\tY any w4 w5 w6\ngroup X-and-Y all X Y\nquorum X-and-Y\n",
    );
    let policy = Policy::parse(text.as_bytes()).unwrap();
    for (witnesses, expected) in [
        (&[1, 2, 4][..], Ok(3)),
        (&[6, 3, 1], Ok(3)),
        (&[1, 2, 3, 4, 5, 6], Ok(6)),
        (&[1, 2, 3], Err(VerifyError::Quorum { cosigned: 3 })),
        (&[1, 4, 5, 6], Err(VerifyError::Quorum { cosigned: 4 })),
        (&[], Err(VerifyError::Quorum { cosigned: 0 })),
        (&[1, 2, 2, 9], Err(VerifyError::Quorum { cosigned: 2 })),
    ] {
        let verified = policy.verify(&note(7, 100, witnesses));
        assert_eq!(
            verified.map(|verified| verified.cosignatures().len()),
            expected,
            "{witnesses:?}"
        );
    }
    let verified = policy.verify(&note(7, 100, &[1, 2, 4])).unwrap();
    assert_eq!(verified.checkpoint().size, TreeSize(7));
    assert_eq!(
        verified.cosignatures()[2],
        Cosigned {
            name: name("w4.example"),
            time_s: 1004
        }
    );
}

#[test]
fn one_witness_none_or_a_number_make_a_quorum() {
    for (quorum, witnesses, holds) in [
        ("quorum w3", &[3][..], true),
        ("quorum w3", &[1, 2], false),
        ("quorum none", &[], true),
        (
            "group g 6 w1 w2 w3 w4 w5 w6\nquorum g",
            &[1, 2, 3, 4, 5],
            false,
        ),
        ("group g any w1\nquorum g", &[1], true),
    ] {
        let policy = Policy::parse(file(&format!("{quorum}\n")).as_bytes()).unwrap();
        assert_eq!(
            policy.verify(&note(7, 100, witnesses)).is_ok(),
            holds,
            "{quorum}"
        );
    }
}

#[test]
fn the_log_must_sign_and_no_known_line_may_fail() {
    let policy = Policy::parse(file("quorum w1\n").as_bytes()).unwrap();
    assert_eq!(
        policy.verify(&note(7, 101, &[1])),
        Err(VerifyError::Checkpoint(CheckpointError::NotByLog))
    );
    let good = note(7, 100, &[1, 2]);
    let mut lines = good.signatures().to_vec();
    lines[2].signature[20] ^= 1;
    let bad = Note::new(good.text().to_string(), lines).unwrap();
    assert_eq!(
        policy.verify(&bad),
        Err(VerifyError::Checkpoint(CheckpointError::Note(
            NoteError::Signature
        )))
    );
    let other_origin = good.text().replace("log.example/1", "log.example/2");
    let signed = SignatureLine::sign(&name("log.example/1"), &key(100), &other_origin);
    let other = Note::new(other_origin, alloc::vec![signed]).unwrap();
    assert_eq!(
        policy.verify(&other),
        Err(VerifyError::Checkpoint(CheckpointError::NotByLog))
    );
}

#[test]
fn malformed_policies_are_refused_with_their_line() {
    let (log, witness) = (log_key(100), witness_key(1));
    let twin = VerifierKey::new(name("other"), SignatureType::Cosignature, key(1).public());
    for (text, line, cause) in [
        (String::new(), 1, PolicyCause::QuorumMissing),
        ("quorum none".into(), 1, PolicyCause::Unterminated),
        (
            "quorum none\nquorum none\n".into(),
            2,
            PolicyCause::QuorumTwice,
        ),
        ("quorum\n".into(), 1, PolicyCause::Line),
        ("quorum none none\n".into(), 1, PolicyCause::Line),
        ("Quorum none\n".into(), 1, PolicyCause::Line),
        ("quorum later\n".into(), 1, PolicyCause::Unknown),
        ("quorum none\r\n".into(), 1, PolicyCause::Character),
        ("#\x7f\nquorum none\n".into(), 1, PolicyCause::Character),
        (format!("log {log} u v\n"), 1, PolicyCause::Line),
        (format!("log {log}\nlog {log}\n"), 2, PolicyCause::KeyTwice),
        (
            format!("log {witness}\n"),
            1,
            PolicyCause::Key(NoteError::Type),
        ),
        (
            "log nonsense\n".into(),
            1,
            PolicyCause::Key(NoteError::VerifierKey),
        ),
        (
            format!("witness w {log}\n"),
            1,
            PolicyCause::Key(NoteError::Type),
        ),
        (
            format!("witness none {witness}\n"),
            1,
            PolicyCause::NameTwice,
        ),
        (
            format!("witness w {witness}\nwitness v {twin}\n"),
            2,
            PolicyCause::KeyTwice,
        ),
        (
            format!("witness w {witness}\nwitness w {}\n", witness_key(2)),
            2,
            PolicyCause::NameTwice,
        ),
        (
            format!("witness w {witness}\ngroup w any w\n"),
            2,
            PolicyCause::NameTwice,
        ),
        (
            format!("witness w {witness}\ngroup g 0 w\n"),
            2,
            PolicyCause::Threshold,
        ),
        (
            format!("witness w {witness}\ngroup g 2 w\n"),
            2,
            PolicyCause::Threshold,
        ),
        (
            format!("witness w {witness}\ngroup g 01 w\n"),
            2,
            PolicyCause::Threshold,
        ),
        (
            format!("witness w {witness}\ngroup g 1 w w\n"),
            2,
            PolicyCause::MemberTwice,
        ),
        (
            format!("witness w {witness}\ngroup g 1 w\ngroup h 1 w\n"),
            3,
            PolicyCause::MemberTwice,
        ),
        (
            format!("witness w {witness}\ngroup g 1 none\n"),
            2,
            PolicyCause::Unknown,
        ),
        ("group g any g\n".into(), 1, PolicyCause::Unknown),
        ("group g any\n".into(), 1, PolicyCause::Line),
    ] {
        assert_eq!(
            Policy::parse(text.as_bytes()),
            Err(PolicyError { line, cause }),
            "{text}"
        );
    }
    let large = "#\n".repeat(POLICY_BYTES_MAX);
    assert_eq!(
        Policy::parse(large.as_bytes()),
        Err(PolicyError {
            line: 0,
            cause: PolicyCause::Size
        })
    );
}

#[test]
fn at_least_32_of_each_are_taken() {
    let mut text = String::new();
    let mut names = String::new();
    for seed in 1..=32 {
        text.push_str(&format!(
            "log {}\nwitness w{seed} {} https://w{seed}.example/ \n",
            log_key(seed + 100),
            witness_key(seed)
        ));
        text.push_str(&format!("group g{seed} all w{seed}\n"));
        names.push_str(&format!(" g{seed}"));
    }
    text.push_str(&format!("group all 17{names}\nquorum all\n"));
    let policy = Policy::parse(text.as_bytes()).unwrap();
    let most: Vec<u8> = (1..=17).collect();
    assert!(policy.verify(&note(1, 117, &most)).is_ok());
    assert!(policy.verify(&note(1, 117, &most[1..])).is_err());
    assert_eq!(Policy::parse(&policy.format()), Ok(policy));
}

#[test]
fn names_comments_and_urls_are_octets() {
    let mut text = format!("# caf\u{e9}\nwitness K {}\n", witness_key(1)).into_bytes();
    text.extend_from_slice(b"# \xff\xfe\nwitness \xe2\x84\xaa ");
    text.extend_from_slice(witness_key(2).to_string().as_bytes());
    text.extend_from_slice(b" \xff://url\nquorum \xe2\x84\xaa\n");
    let policy = Policy::parse(&text).unwrap();
    assert_eq!(
        policy.witnesses[1].url.as_deref(),
        Some(b"\xff://url".as_slice())
    );
    assert_eq!(policy.quorum, Some(Member::Witness(1)));
    assert_eq!(Policy::parse(&policy.format()), Ok(policy));
}

#[test]
fn a_set_chooses_by_tree_size() {
    let [old, new] = [1, 4].map(|first| {
        let nodes: Vec<_> = (first..first + 3)
            .map(|seed| (NodeNumber(u64::from(seed)), witness_key(seed)))
            .collect();
        Policy::majority(&log_key(100 + first), &nodes).unwrap()
    });
    let set = PolicySet::from(old.clone())
        .with_genesis(Hash([0xab; 32]))
        .with_policy_from(TreeSize(1000), new.clone())
        .unwrap();
    assert_eq!(set.at_size(TreeSize(0)), Some(&old));
    assert_eq!(set.at_size(TreeSize(999)), Some(&old));
    assert_eq!(set.at_size(TreeSize(1000)), Some(&new));
    assert_eq!(set.at_size(TreeSize(u64::MAX)), Some(&new));
    assert!(set.verify(&note(999, 101, &[1, 3])).is_ok());
    assert!(set.verify(&note(999, 104, &[4, 5])).is_err());
    assert!(set.verify(&note(1000, 104, &[5, 6])).is_ok());
    assert!(set.verify(&note(1000, 101, &[1, 2, 3])).is_err());
    assert!(
        set.clone()
            .with_policy_from(TreeSize(1000), old.clone())
            .is_none()
    );
    let file = set.format();
    let text = core::str::from_utf8(&file).unwrap();
    assert!(text.starts_with("# visto: genesis abab"));
    assert!(text.contains("\n# visto: from size 1000\nlog "));
    assert_eq!(PolicySet::parse(&file), Ok(set));
    // One policy in a file is a plain tlog-policy, and a plain tlog-policy is a file.
    let one = PolicySet::from(old.clone()).with_genesis(Hash([1; 32]));
    assert_eq!(Policy::parse(&one.format()), Ok(old.clone()));
    assert_eq!(PolicySet::parse(&old.format()), Ok(PolicySet::from(old)));
}

#[test]
fn a_set_that_begins_later_says_nothing_before() {
    let text = format!(
        "# a comment\n\n# visto: from size 5\n{}",
        file("quorum w1\n")
    );
    let set = PolicySet::parse(text.as_bytes()).unwrap();
    assert_eq!(set.verify(&note(4, 100, &[1])), Err(VerifyError::NoPolicy));
    assert!(set.verify(&note(5, 100, &[1])).is_ok());
    assert_eq!(PolicySet::parse(&set.format()), Ok(set));
}

#[test]
fn malformed_sets_are_refused_with_their_line() {
    let hash = "ab".repeat(32);
    for (text, line, cause) in [
        (
            "# visto: from size 5\n# visto: from size 6\nquorum none\n".into(),
            2,
            PolicyCause::Directive,
        ),
        (
            "quorum none\n# visto: from size 0\nquorum none\n".into(),
            2,
            PolicyCause::Directive,
        ),
        (
            "quorum none\n# visto: from size 5\nquorum none\n# visto: from size 5\nquorum none\n"
                .into(),
            4,
            PolicyCause::Directive,
        ),
        (
            "quorum none\n# visto: from size 05\nquorum none\n".into(),
            2,
            PolicyCause::Directive,
        ),
        (
            "quorum none\n# visto: from size 5\n".into(),
            3,
            PolicyCause::QuorumMissing,
        ),
        (
            "quorum none\n# visto: from size 5\n\nquorum w\n".into(),
            4,
            PolicyCause::Unknown,
        ),
        (
            "quorum none\n#visto: until size 5\n".into(),
            2,
            PolicyCause::Directive,
        ),
        (
            format!("# visto: genesis {hash}0\nquorum none\n"),
            1,
            PolicyCause::Directive,
        ),
        (
            format!("# visto: genesis {}\nquorum none\n", hash.to_uppercase()),
            1,
            PolicyCause::Directive,
        ),
        (
            format!("# visto: genesis {hash}\n# visto: genesis {hash}\nquorum none\n"),
            2,
            PolicyCause::Directive,
        ),
        (
            format!("quorum none\n# visto: genesis {hash}\n"),
            2,
            PolicyCause::Directive,
        ),
        (
            "quorum none\nquorum none\n".into(),
            2,
            PolicyCause::QuorumTwice,
        ),
    ] {
        assert_eq!(
            PolicySet::parse(text.as_bytes()),
            Err(PolicyError { line, cause }),
            "{text}"
        );
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = (Policy::parse(&bytes), PolicySet::parse(&bytes));
    }

    #[test]
    fn shuffled_words_never_panic(words in prop::collection::vec(prop::sample::select(&["log", "witness", "group", "quorum", "none", "any", "all", "1", "2", "w", "g",
            "# visto: from size 3", "# visto: genesis ab", "witness.visto.example/w1+b942ee63+BIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU", "\n", "\n"][..]), 0..40)) {
        let text = words.join(" ");
        if let Ok(set) = PolicySet::parse(text.as_bytes()) {
            prop_assert_eq!(PolicySet::parse(&set.format()), Ok(set));
        }
    }
}
