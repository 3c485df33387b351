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

#[test]
fn what_was_learnt_is_there_again_and_its_file_shows_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("refs");
    let (anna, other) = (code("RSSMRA85T10A562S"), code("RSSMRA85T50A562W"));
    let mut cache = open(&path).unwrap();
    assert!(cache.is_empty());
    cache.put(&anna, Hash([9; 32]));
    cache.save().unwrap();
    cache.put(&other, Hash([8; 32]));
    cache.save().unwrap();
    let again = open(&path).unwrap();
    assert_eq!(again.len(), 2);
    assert_eq!(again.get(&anna), Some(Hash([9; 32])));
    assert_eq!(again.get(&other), Some(Hash([8; 32])));
    assert_eq!(again.get(&code("RSSMRA85T10A56NH")), None);
    let bytes = fs::read(&path).unwrap();
    for hidden in [b"RSSMRA85".as_slice(), &[9; 16], &[8; 16], &KEY] {
        assert!(!bytes.windows(hidden.len()).any(|window| window == hidden));
    }
    let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    // The same content is sealed anew each time.
    again.save().unwrap();
    assert_ne!(fs::read(&path).unwrap(), bytes);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
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

    #[test]
    fn any_change_to_the_file_is_noticed(at in any::<prop::sample::Index>(), bit in 0..8u32, cut in any::<bool>()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("refs");
        let mut cache = open(&path).unwrap();
        cache.put(&code("RSSMRA85T10A562S"), Hash([9; 32]));
        cache.save().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        fs::write(&path, &bytes).unwrap();
        prop_assert!(matches!(open(&path), Err(CacheError::Sealed(_))));
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
