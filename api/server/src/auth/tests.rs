// SPDX-License-Identifier: EUPL-1.2
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use ledger::{base64, key::SigningKey, state::MemoryState};
use serde_json::{Value, json};

use super::*;
use crate::{
    app::now_ms,
    testing::{self, AUTHORITY, INPS, LEDGER, TOWN, claims, header, signing_key, token},
};

struct Bench {
    state: MemoryState,
    size: TreeSize,
    key: SigningKey,
}

impl Bench {
    fn new() -> Bench {
        let (state, size) = testing::state();
        let key = signing_key(TOWN, KeyUse::Token);
        Bench { state, size, key }
    }

    fn try_token(&self, token: &str) -> Result<Reader, Fault> {
        verify(token, LEDGER, now_ms() / 1000, self.size, &self.state)
    }

    /// The good token of the town's privacy officer with some claims changed; null takes a claim out.
    fn with_claims(&self, changes: &Value) -> Result<Reader, Fault> {
        let mut claims = serde_json::to_value(claims(TOWN, Role::Dpo)).unwrap();
        change(&mut claims, changes);
        self.try_token(&token(&header(&self.key), &claims, &self.key))
    }

    fn with_header(&self, changes: &Value) -> Result<Reader, Fault> {
        let mut header = header(&self.key);
        change(&mut header, changes);
        let claims = serde_json::to_value(claims(TOWN, Role::Dpo)).unwrap();
        self.try_token(&token(&header, &claims, &self.key))
    }
}

fn change(value: &mut Value, changes: &Value) {
    for (name, change) in changes.as_object().unwrap() {
        if change.is_null() {
            value.as_object_mut().unwrap().remove(name);
        } else {
            value[name] = change.clone();
        }
    }
}

fn refused(fault: TokenFault) -> Result<Reader, Fault> {
    Err(Fault::Token(fault))
}

#[test]
fn a_good_token_makes_a_reader() {
    let bench = Bench::new();
    let reader = bench.with_claims(&json!({})).unwrap();
    assert_eq!(reader.institution().as_str(), TOWN);
    assert_eq!(reader.person(), "operator-7");
    assert_eq!(reader.role(), Role::Dpo);
    assert_eq!(reader.purpose(), "dpv:ServiceProvision");
    assert_eq!(reader.case(), Some("2026/114"));
    let reader = bench.with_claims(&json!({"case": null})).unwrap();
    assert_eq!(reader.case(), None);
}

#[test]
fn claims_are_pinned() {
    let bench = Bench::new();
    let now = now_ms() / 1000;
    let table = [
        (json!({"aud": "ledger.other.test"}), TokenFault::Audience),
        (json!({"aud": [LEDGER]}), TokenFault::Malformed),
        (json!({"iss": INPS}), TokenFault::Issuer),
        (json!({"iss": "ipa:nobody"}), TokenFault::Issuer),
        (
            json!({"iat": now - 400, "exp": now - 100}),
            TokenFault::Expired,
        ),
        (json!({"exp": now}), TokenFault::Expired),
        (json!({"iat": now, "exp": now + 301}), TokenFault::Life),
        (
            json!({"iat": now - 3600, "exp": now + 60}),
            TokenFault::Life,
        ),
        (json!({"iat": now + 20, "exp": now + 10}), TokenFault::Life),
        (
            json!({"iat": now + 120, "exp": now + 300}),
            TokenFault::Time,
        ),
        (json!({"exp": null}), TokenFault::Malformed),
        (json!({"iat": null}), TokenFault::Malformed),
        (json!({"jti": null}), TokenFault::Malformed),
        (json!({"jti": ""}), TokenFault::Malformed),
        (json!({"sub": null}), TokenFault::Malformed),
        (json!({"sub": ""}), TokenFault::Malformed),
        (json!({"sub": "x".repeat(257)}), TokenFault::Malformed),
        (json!({"purpose": null}), TokenFault::Malformed),
        (json!({"exp": -1}), TokenFault::Malformed),
        (json!({"exp": "soon"}), TokenFault::Malformed),
        (json!({"role": "root"}), TokenFault::Malformed),
        (json!({"admin": true}), TokenFault::Malformed),
        (json!({"role": "authority"}), TokenFault::Role),
    ];
    for (changes, fault) in table {
        assert_eq!(bench.with_claims(&changes), refused(fault), "{changes}");
    }
}

#[test]
fn roles_count_only_where_the_registry_grants_them() {
    let bench = Bench::new();
    let table = [
        (TOWN, Role::Institution, true),
        (TOWN, Role::Dpo, true),
        (TOWN, Role::Operator, true),
        (TOWN, Role::Authority, false),
        (INPS, Role::Institution, true),
        (INPS, Role::Dpo, false),
        (INPS, Role::Operator, false),
        (INPS, Role::Authority, false),
        (AUTHORITY, Role::Authority, true),
        (AUTHORITY, Role::Dpo, false),
    ];
    for (institution, role, granted) in table {
        let outcome = bench.try_token(&testing::good_token(institution, role));
        if granted {
            assert_eq!(outcome.map(|reader| reader.role()), Ok(role));
        } else {
            assert_eq!(outcome, refused(TokenFault::Role), "{institution} {role:?}");
        }
    }
}

#[test]
fn the_algorithm_is_fixed() {
    let bench = Bench::new();
    for alg in [
        "none", "None", "HS256", "RS256", "ES256", "PS256", "HS512", "x",
    ] {
        assert_eq!(
            bench.with_header(&json!({"alg": alg})),
            refused(TokenFault::Algorithm),
            "{alg}"
        );
    }
    // The classic: HMAC with the public key as its secret.
    let claims = serde_json::to_value(claims(TOWN, Role::Dpo)).unwrap();
    let mut forged_header = jsonwebtoken::Header::new(Algorithm::HS256);
    forged_header.kid = Some(base64::url_encode(bench.key.key_id().0.as_bytes()));
    let secret = jsonwebtoken::EncodingKey::from_secret(bench.key.public().as_bytes());
    let forged = jsonwebtoken::encode(&forged_header, &claims, &secret).unwrap();
    assert_eq!(bench.try_token(&forged), refused(TokenFault::Algorithm));
    // No signature at all.
    let good = testing::good_token(TOWN, Role::Dpo);
    let (unsigned, _) = good.rsplit_once('.').unwrap();
    assert_eq!(
        bench.try_token(&format!("{unsigned}.")),
        refused(TokenFault::Signature)
    );
}

#[test]
fn the_header_brings_no_key_of_its_own() {
    let bench = Bench::new();
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": base64::url_encode(bench.key.public().as_bytes())});
    let table = [
        json!({"jwk": jwk}),
        json!({"jku": "https://example.org/keys"}),
        json!({"x5u": "https://example.org/cert"}),
        json!({"crit": ["exp"]}),
        json!({"b64": false}),
        json!({"typ": "at+jwt"}),
        json!({"typ": null}),
    ];
    for changes in table {
        assert_eq!(
            bench.with_header(&changes),
            refused(TokenFault::Malformed),
            "{changes}"
        );
    }
}

#[test]
fn the_key_is_a_registered_token_key() {
    let bench = Bench::new();
    let claims = serde_json::to_value(claims(TOWN, Role::Dpo)).unwrap();
    for key_use in KeyUse::ALL {
        let key = signing_key(TOWN, key_use);
        let outcome = bench.try_token(&token(&header(&key), &claims, &key));
        assert_eq!(outcome.is_ok(), key_use == KeyUse::Token, "{key_use:?}");
        if key_use != KeyUse::Token {
            assert_eq!(outcome, refused(TokenFault::Key));
        }
    }
    let stranger = SigningKey::from_seed([9; 32]);
    assert_eq!(
        bench.try_token(&token(&header(&stranger), &claims, &stranger)),
        refused(TokenFault::Key)
    );
    // A stranger's signature under the registered key's id.
    assert_eq!(
        bench.try_token(&token(&header(&bench.key), &claims, &stranger)),
        refused(TokenFault::Signature)
    );
    for kid in [json!(null), json!(""), json!("x"), json!(5)] {
        assert!(bench.with_header(&json!({"kid": kid})).is_err());
    }
    // A key that comes into force later than the next index, or is over.
    let early = verify(
        &testing::good_token(TOWN, Role::Dpo),
        LEDGER,
        now_ms() / 1000,
        TreeSize(0),
        &bench.state,
    );
    let first = registry::key(&bench.state, &bench.key.key_id())
        .unwrap()
        .unwrap()
        .first;
    assert_eq!(early.is_ok(), first == 0);
}

#[test]
fn any_changed_byte_is_refused() {
    let bench = Bench::new();
    let good = testing::good_token(TOWN, Role::Dpo);
    for place in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        if let Ok(changed) = String::from_utf8(bytes)
            && changed != good
        {
            assert!(bench.try_token(&changed).is_err(), "byte {place}");
        }
    }
    for bad in ["", ".", "..", "a.b.c", &"a".repeat(5000)] {
        assert_eq!(
            bench.try_token(bad),
            refused(TokenFault::Malformed),
            "{bad}"
        );
    }
}
