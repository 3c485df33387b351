// SPDX-License-Identifier: EUPL-1.2
//! The file of vectors, and short ways into it.

use std::{collections::BTreeMap, sync::LazyLock};

use ledger::{
    hash::Hash,
    id::KeyId,
    key::{KeyUse, PublicKey, SigningKey},
};
pub(crate) use serde_json::Value;

static FILE: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../data/visto-v1.json"))
        .expect("the file of vectors is JSON")
});

/// A member of the file.
pub(crate) fn section(name: &str) -> &'static Value {
    FILE.get(name)
        .unwrap_or_else(|| panic!("no section {name}"))
}

/// The cases of a section, never none.
pub(crate) fn cases(name: &str) -> &'static [Value] {
    list(section(name))
}

pub(crate) fn list(value: &Value) -> &[Value] {
    let list = value.as_array().expect("a list");
    assert!(!list.is_empty());
    list
}

pub(crate) fn text<'v>(case: &'v Value, name: &str) -> &'v str {
    case[name]
        .as_str()
        .unwrap_or_else(|| panic!("no text {name}"))
}

pub(crate) fn number(case: &Value, name: &str) -> u64 {
    case[name]
        .as_u64()
        .unwrap_or_else(|| panic!("no number {name}"))
}

pub(crate) fn bytes(case: &Value, name: &str) -> Vec<u8> {
    unhex(&case[name])
}

pub(crate) fn unhex(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("hexadecimal text")).expect("hexadecimal text")
}

pub(crate) fn array<const N: usize>(case: &Value, name: &str) -> [u8; N] {
    bytes(case, name)
        .try_into()
        .unwrap_or_else(|_| panic!("{name} is not {N} bytes"))
}

pub(crate) fn hash(case: &Value, name: &str) -> Hash {
    Hash(array(case, name))
}

/// The ledger of the vectors.
pub(crate) fn ledger() -> &'static str {
    section("ledger").as_str().expect("a name")
}

/// The secret key of a name.
pub(crate) fn signing_key(name: &str) -> SigningKey {
    let case = cases("keys")
        .iter()
        .find(|case| case["name"] == name)
        .unwrap_or_else(|| panic!("no key {name}"));
    SigningKey::from_seed(array(case, "secret"))
}

/// All registered keys.
pub(crate) fn keys() -> BTreeMap<KeyId, PublicKey> {
    let key = |case| PublicKey::from_bytes(array(case, "public")).expect("a good key");
    cases("keys")
        .iter()
        .map(|case| (KeyId(hash(case, "key_id")), key(case)))
        .collect()
}

/// The use of a registered key.
pub(crate) fn key_use(id: &KeyId) -> KeyUse {
    let case = cases("keys")
        .iter()
        .find(|case| hash(case, "key_id") == id.0)
        .expect("a registered key");
    KeyUse::parse(text(case, "use")).expect("a use")
}

/// An entry of the vectors.
pub(crate) fn entry(name: &str) -> &'static Value {
    cases("entries")
        .iter()
        .find(|case| case["name"] == name)
        .unwrap_or_else(|| panic!("no entry {name}"))
}
