// SPDX-License-Identifier: BSD-3-Clause
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use ledger::oprf::OprfSecretKey;
use proptest::prelude::*;
use wire::pseudonym::Share;

use super::*;

const KEY: [u8; 32] = [5; 32];

fn epoch(seed: u8) -> OprfPublicKey {
    OprfSecretKey::derive(&[seed; 32]).unwrap().public()
}

fn code(text: &str) -> Code {
    Code::parse(CodeKind::Cf, text).unwrap()
}

fn open(path: &Path) -> Result<Cache, CacheError> {
    Cache::open(path, &KEY, &epoch(1))
}

#[test]
fn codes_are_checked_as_far_as_their_kind_allows() {
    let parsed = code(" rssmra85t10a562s\n");
    assert_eq!(parsed.expose(), "RSSMRA85T10A562S");
    assert_eq!(format!("{parsed:?}"), "Code(cf, ..)");
    // An omocode is another code, and stays one.
    assert_eq!(code("RSSMRA85T10A56NH").expose(), "RSSMRA85T10A56NH");
    let wrong = Code::parse(CodeKind::Cf, "RSSMRA85T10A562T");
    assert_eq!(wrong, Err(CodeError::TaxCode(TaxCodeError::CheckLetter)));
    assert!(Code::parse(CodeKind::IdAnpr, "ab12345cd").is_ok());
    for text in ["", " ", "a b", "è", &"A".repeat(65)] {
        let parsed = Code::parse(CodeKind::Stp, text);
        assert_eq!(parsed, Err(CodeError::Form), "{text:?}");
    }
}

/// Another code each: kinds without a check letter take any text.
fn some(n: u32) -> Code {
    Code::parse(CodeKind::IdAnpr, &format!("ANPR{n}")).unwrap()
}

fn reference(n: u32) -> Hash {
    Hash::of(&[&n.to_be_bytes()])
}

/// Learns these, each in a record of its own.
fn learn(cache: &mut Cache, codes: impl IntoIterator<Item = u32>) {
    for n in codes {
        cache.put(&some(n), reference(n));
        cache.save().unwrap();
    }
}

/// Which of the first few it knows; none may have another's ref.
fn known(cache: &Cache, most: u32) -> Vec<u32> {
    let known = (0..most).filter(|n| match cache.get(&some(*n)) {
        None => false,
        Some(found) => {
            assert_eq!(found, reference(*n));
            true
        }
    });
    known.collect()
}

fn names(folder: &Path) -> Vec<String> {
    let items = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = items
        .map(|item| item.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_was_learnt_is_there_again_and_its_file_shows_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("refs");
    let (anna, other) = (code("RSSMRA85T10A562S"), code("RSSMRA85T50A562W"));
    let mut cache = open(&path).unwrap();
    assert!(cache.is_empty());
    cache.put(&anna, Hash([9; 32]));
    cache.save().unwrap();
    let before = fs::read(&path).unwrap();
    cache.put(&other, Hash([8; 32]));
    cache.put(&anna, Hash([9; 32]));
    cache.save().unwrap();
    let bytes = fs::read(&path).unwrap();
    assert!(bytes.starts_with(&before), "put behind what was there");
    assert_eq!(bytes.len() - before.len(), 24 + 32 + 64 + 16, "one ref");
    let mut again = open(&path).unwrap();
    assert_eq!(again.len(), 2);
    assert_eq!(again.get(&anna), Some(Hash([9; 32])));
    assert_eq!(again.get(&other), Some(Hash([8; 32])));
    assert_eq!(again.get(&code("RSSMRA85T10A56NH")), None);
    for hidden in [b"RSSMRA85".as_slice(), &[9; 16], &[8; 16], &KEY] {
        assert!(!bytes.windows(hidden.len()).any(|window| window == hidden));
    }
    let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    // Nothing new, nothing written.
    again.put(&anna, Hash([9; 32]));
    again.save().unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!(names(folder.path()), ["refs", "refs.lock"]);
    // A file that somebody took away is written whole.
    fs::remove_file(&path).unwrap();
    learn(&mut again, [1]);
    assert_eq!(open(&path).unwrap().len(), 3);
}

#[test]
fn two_processes_lose_nothing_of_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("refs");
    let (mut one, mut other) = (open(&path).unwrap(), open(&path).unwrap());
    learn(&mut one, [0]);
    learn(&mut other, [0, 1]);
    learn(&mut one, [2]);
    learn(&mut other, [3]);
    assert_eq!(known(&open(&path).unwrap(), 9), [0, 1, 2, 3]);
    assert_eq!(known(&other, 9), [0, 1, 2, 3]);
    // One writes the file anew between two writings of the other.
    let before = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    learn(&mut one, [4]);
    assert!(!fs::read(&path).unwrap().starts_with(&before[..100]));
    learn(&mut other, [5]);
    assert_eq!(known(&open(&path).unwrap(), 9), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_torn_tail_is_dropped_and_its_refs_are_learnt_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("refs");
    let mut cache = open(&path).unwrap();
    learn(&mut cache, [0, 1]);
    let whole = fs::read(&path).unwrap();
    learn(&mut cache, [2]);
    let longer = fs::read(&path).unwrap();
    for torn in [whole.len() + 1, whole.len() + 30, longer.len() - 1] {
        // The end never came, or came as the zeros of blocks that were not written.
        let zeros = vec![0; longer.len() - torn];
        let more = [&longer[..torn], &[7; 500]].concat();
        for bytes in [
            longer[..torn].to_vec(),
            [&longer[..torn], &zeros].concat(),
            more,
        ] {
            fs::write(&path, &bytes).unwrap();
            let mut again = open(&path).unwrap();
            assert_eq!(known(&again, 9), [0, 1], "{torn}");
            assert_eq!(fs::read(&path).unwrap(), bytes, "reading mends nothing");
            learn(&mut again, [3]);
            let mended = fs::read(&path).unwrap();
            assert!(mended.starts_with(&whole) && mended.len() == longer.len());
            assert_eq!(known(&open(&path).unwrap(), 9), [0, 1, 3], "{torn}");
        }
    }
}

#[test]
fn a_file_that_is_half_something_else_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("refs");
    let mut cache = open(&path).unwrap();
    // A crash in an earlier writing left this beside it.
    fs::write(folder.path().join("refs.partial"), "half a fi").unwrap();
    let (mut before, mut learnt) = (Vec::new(), 0);
    loop {
        learn(&mut cache, [learnt]);
        learnt += 1;
        let now = fs::read(&path).unwrap();
        if now.len() < before.len() {
            break;
        }
        assert!(learnt < 2_000 && (learnt == 1 || now.starts_with(&before)));
        before = now;
    }
    // 64 KiB of records of one ref each, and then of refs alone.
    assert!(
        (64 * 1024..65 * 1024).contains(&before.len()),
        "{}",
        before.len()
    );
    let anew = fs::read(&path).unwrap();
    assert!(anew.len() < learnt as usize * 64 + 256, "{}", anew.len());
    assert_eq!(known(&open(&path).unwrap(), 2_000).len(), learnt as usize);
    assert_eq!(names(folder.path()), ["refs", "refs.lock"]);
    let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);

    // A crash before the rename: the file before, whole, and a whole new one that is not believed.
    fs::write(&path, &before).unwrap();
    fs::write(folder.path().join("refs.partial"), &anew).unwrap();
    let mut again = open(&path).unwrap();
    assert_eq!(known(&again, 2_000).len(), learnt as usize - 1);
    learn(&mut again, [learnt - 1, learnt]);
    assert_eq!(
        known(&open(&path).unwrap(), 2_000).len(),
        learnt as usize + 1
    );
    assert_eq!(names(folder.path()), ["refs", "refs.lock"]);
}

#[test]
fn a_record_holds_in_its_place_and_file_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("refs");
    let mut cache = open(&path).unwrap();
    learn(&mut cache, [0]);
    let first = fs::read(&path).unwrap().len();
    learn(&mut cache, [1, 2]);
    let bytes = fs::read(&path).unwrap();
    let record = (bytes.len() - first) / 2;
    let payload = |at: usize| bytes[at + 24..at + record].to_vec();
    let framed = |payloads: [Vec<u8>; 2]| {
        let mut out = bytes[..first].to_vec();
        for payload in payloads {
            let durable = out.len() as u64;
            crate::journal::segment::frame(1, 0, durable, &payload, &mut out);
        }
        fs::write(&path, out).unwrap();
        open(&path)
    };
    let (one, two) = (payload(first), payload(first + record));
    assert_eq!(
        known(&framed([one.clone(), two.clone()]).unwrap(), 9),
        [0, 1, 2]
    );
    assert!(matches!(framed([two, one]), Err(CacheError::Sealed(_))));
    // Under the same key, of another file.
    let elsewhere = folder.path().join("others");
    learn(&mut open(&elsewhere).unwrap(), [0, 1]);
    let others = fs::read(&elsewhere).unwrap();
    fs::write(&path, [&bytes[..first], &others[first..]].concat()).unwrap();
    assert!(matches!(open(&path), Err(CacheError::Sealed(_))));
}

#[test]
fn a_wrong_key_or_epoch_is_an_error_and_no_empty_cache() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("refs");
    open(&path).unwrap().save().unwrap();
    let wrong = Cache::open(&path, &[6; 32], &epoch(1));
    assert!(matches!(wrong, Err(CacheError::Sealed(_))), "{wrong:?}");
    let wrong = Cache::open(&path, &KEY, &epoch(2));
    assert!(matches!(wrong, Err(CacheError::Epoch(_))), "{wrong:?}");
    for (bytes, is_old) in [
        ("", false),
        ("visto-journal-1\n", false),
        ("visto refs 1\n…", true),
    ] {
        fs::write(&path, bytes).unwrap();
        let wrong = open(&path);
        match is_old {
            false => assert!(matches!(wrong, Err(CacheError::Sealed(_))), "{wrong:?}"),
            true => assert!(matches!(wrong, Err(CacheError::Old(_))), "{wrong:?}"),
        }
        assert_eq!(fs::read(&path).unwrap(), bytes.as_bytes());
    }
}

#[test]
fn an_answer_in_other_shares_is_not_guessed_at() {
    let share = Share {
        node: 1,
        public_key: String::new(),
        evaluated: Vec::new(),
        proof: base64::url_encode(&[0; 64]),
    };
    let mut answer = Evaluations {
        public_key: String::new(),
        shares: vec![share.clone(), share.clone()],
    };
    assert!(matches!(read(&answer), Err(Error::Shares(2))));
    // The identity is no evaluation.
    let identity = base64::url_encode(&[0; 32]);
    answer.shares = vec![Share {
        evaluated: vec![identity],
        ..share
    }];
    let read = read(&answer);
    let expected = OprfError::Element;
    assert!(matches!(read, Err(Error::Evaluation { node: 1, cause }) if cause == expected));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What cannot be a torn tail is an error; what can be costs the refs behind it, which are asked for again. No ref is ever another's.
    #[test]
    fn any_change_to_the_file_is_noticed(at in any::<prop::sample::Index>(), bit in 0..8u32, cut in any::<bool>()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("refs");
        let mut cache = open(&path).unwrap();
        cache.save().unwrap();
        let mut ends = vec![fs::metadata(&path).unwrap().len()];
        for n in 0..3 {
            learn(&mut cache, [n]);
            ends.push(fs::metadata(&path).unwrap().len());
        }
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        fs::write(&path, &bytes).unwrap();
        let before = ends.iter().filter(|end| **end <= at as u64).count();
        let is_tail = if cut { before >= 1 } else { before == 3 };
        match open(&path) {
            Ok(again) => {
                prop_assert!(is_tail);
                prop_assert_eq!(known(&again, 9).len(), before - 1);
            }
            Err(error) => {
                prop_assert!(!is_tail);
                prop_assert!(matches!(error, CacheError::Sealed(_)));
            }
        }
    }
}

/// A gate asks from tasks that may move between threads.
#[test]
fn asking_can_be_spawned() {
    fn send<T: Send>(_: &T) {}
    let http = Client::new(
        &["http://127.0.0.1:1".to_owned()],
        std::time::Duration::ZERO,
    )
    .unwrap();
    let pseudonyms = Pseudonyms::new(http, epoch(1), Box::new(|| Ok(String::new())));
    let codes = [code("RSSMRA85T10A562S")];
    send(&pseudonyms.refs(&codes));
}
