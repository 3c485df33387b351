// SPDX-License-Identifier: BSD-3-Clause
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
use std::sync::LazyLock;

use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use ledger::key::SigningKey;
use p256::{elliptic_curve::sec1::ToEncodedPoint, pkcs8::EncodePrivateKey};
use rsa::{RsaPrivateKey, pkcs1::EncodeRsaPrivateKey, rand_core::OsRng, traits::PublicKeyParts};
use serde_json::json;

use super::*;

type Change = Box<dyn Fn(&mut Value)>;

const NOW_S: u64 = 1_795_558_336;
const PURPOSE: &str = "d2b9a653-c497-45c6-b8f1-5bdf124c9d3a";
const CLIENT: &str = "82914b3f-60b2-4529-b4d6-3d4e67f0a933";

/// A caller's key: what it signs with, and its JWK.
struct Caller {
    algorithm: Algorithm,
    key: EncodingKey,
    jwk: Value,
}

static RSA: LazyLock<RsaPrivateKey> =
    LazyLock::new(|| RsaPrivateKey::new(&mut OsRng, 2048).unwrap());

fn rsa() -> Caller {
    let der = RSA.to_pkcs1_der().unwrap();
    let part = |number: &rsa::BigUint| base64::url_encode(&number.to_bytes_be());
    Caller {
        algorithm: Algorithm::RS256,
        key: EncodingKey::from_rsa_der(der.as_bytes()),
        jwk: json!({"kid": "key-RS256", "kty": "RSA", "use": "sig", "alg": "RS256", "n": part(RSA.n()), "e": part(RSA.e())}),
    }
}

fn ec() -> Caller {
    let secret = p256::SecretKey::random(&mut OsRng);
    let public = secret.public_key().to_encoded_point(false);
    let (x, y) = (
        base64::url_encode(public.x().unwrap()),
        base64::url_encode(public.y().unwrap()),
    );
    Caller {
        algorithm: Algorithm::ES256,
        key: EncodingKey::from_ec_der(secret.to_pkcs8_der().unwrap().as_bytes()),
        jwk: json!({"kid": "key-ES256", "kty": "EC", "crv": "P-256", "x": x, "y": y}),
    }
}

fn ed() -> Caller {
    let seed = [9; 32];
    let der = [
        &[
            0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
        ][..],
        &seed,
    ]
    .concat();
    let public = SigningKey::from_seed(seed).public();
    Caller {
        algorithm: Algorithm::EdDSA,
        key: EncodingKey::from_ed_der(&der),
        jwk: json!({"kid": "key-EdDSA", "kty": "OKP", "crv": "Ed25519", "x": base64::url_encode(public.as_bytes())}),
    }
}

impl Caller {
    fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| base64::url_encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = crypto::sign(signed.as_bytes(), &self.key, self.algorithm).unwrap();
        format!("{signed}.{signature}")
    }

    fn jws(&self, claims: &Value) -> String {
        self.sign(&self.header(), claims)
    }

    fn header(&self) -> Value {
        json!({"alg": format!("{:?}", self.algorithm), "kid": self.jwk["kid"], "typ": "JWT"})
    }

    fn keys(&self) -> KeySet {
        KeySet::parse(json!({"keys": [self.jwk]}).to_string().as_bytes()).unwrap()
    }
}

fn evidence_claims() -> Value {
    json!({
        "iss": CLIENT, "aud": "https://inps.example/isee/v2", "iat": NOW_S, "nbf": NOW_S, "exp": NOW_S + 300, "jti": "e-1",
        "purposeId": PURPOSE, "dnonce": 1_234_567_890_123_u64, "userID": "as-0147", "userLocation": "ufficio32", "LoA": "https://www.spid.gov.it/SpidL2",
    })
}

fn voucher_claims(evidence: &str) -> Value {
    json!({
        "iss": "uat.interop.pagopa.it", "aud": "https://inps.example/isee/v2", "sub": CLIENT, "client_id": CLIENT, "iat": NOW_S, "exp": NOW_S + 600,
        "jti": "v-1", "purposeId": PURPOSE, "digest": {"alg": "SHA256", "value": Hash::of(&[evidence.as_bytes()]).to_string()},
        "consumerId": "c", "producerId": "p", "eserviceId": "2303d392-6b30-462b-a9e6-6fe99498cc53", "descriptorId": "2935fbd0-bde4-4eb5-b0a4-40b647af3752",
    })
}

fn checks() -> Checks {
    Checks {
        now_s: NOW_S + 10,
        leeway_s: 30,
        audience: Some("https://inps.example/isee/v2".to_owned()),
        voucher_issuer: Some("uat.interop.pagopa.it".to_owned()),
    }
}

/// Opens a call whose tokens are these claims, both signed by the same caller, after the two functions changed them.
fn open_with(
    change_evidence: impl Fn(&mut Value),
    change_voucher: impl Fn(&mut Value),
) -> Result<Call, CallError> {
    let caller = ed();
    let mut claims = evidence_claims();
    change_evidence(&mut claims);
    let evidence = caller.jws(&claims);
    let mut claims = voucher_claims(&evidence);
    change_voucher(&mut claims);
    open(
        &evidence,
        &caller.jws(&claims),
        &caller.keys(),
        &caller.keys(),
        &checks(),
    )
}

fn as_is(_: &mut Value) {}

fn without(name: &'static str) -> impl Fn(&mut Value) {
    move |claims| {
        claims.as_object_mut().unwrap().remove(name);
    }
}

fn with(name: &'static str, value: Value) -> impl Fn(&mut Value) {
    move |claims| claims[name] = value.clone()
}

#[test]
fn the_three_algorithms_are_verified() {
    let pdnd = rsa();
    for caller in [rsa(), ec(), ed()] {
        let evidence = caller.jws(&evidence_claims());
        let voucher = pdnd.jws(&voucher_claims(&evidence));
        let call = open(&evidence, &voucher, &caller.keys(), &pdnd.keys(), &checks()).unwrap();
        assert_eq!(call.evidence.user_id, "as-0147");
        assert_eq!(call.evidence.dnonce.as_deref(), Some("1234567890123"));
        assert_eq!(call.voucher.jti, "v-1");
        assert_eq!(call.digest, Hash::of(&[evidence.as_bytes()]));
        assert_eq!(call.jws, evidence);
        assert_eq!(
            call.jwk.thumbprint(),
            Hash::of(&[call.jwk.canonical().as_bytes()])
        );
        // One flipped bit of the signature, and it is over.
        let (signed, signature) = evidence.rsplit_once('.').unwrap();
        let mut bytes = base64::url_decode(signature).unwrap();
        bytes[7] ^= 1;
        let forged = format!("{signed}.{}", base64::url_encode(&bytes));
        let refused = open(&forged, &voucher, &caller.keys(), &pdnd.keys(), &checks());
        assert_eq!(refused.err(), Some(CallError::Signature(Token::Evidence)));
    }
}

#[test]
fn what_real_callers_vary_is_accepted() {
    let cases: [Change; 9] = [
        Box::new(with("dnonce", json!("1234567890123"))),
        Box::new(without("dnonce")),
        Box::new(|claims| {
            without("LoA")(claims);
            claims["loa"] = json!("substantial");
        }),
        Box::new(without("LoA")),
        Box::new(without("nbf")),
        Box::new(without("userLocation")),
        Box::new(with(
            "aud",
            json!(["https://other.example", "https://inps.example/isee/v2"]),
        )),
        Box::new(with("ufficio", json!({"code": 32, "more": [1, 2]}))),
        Box::new(with("iat", json!(NOW_S as f64 + 0.25))),
    ];
    for change in cases {
        open_with(change, as_is).unwrap();
    }
    let call = open_with(
        |claims| {
            without("LoA")(claims);
            claims["loa"] = json!("spid");
            claims["ufficio"] = json!("Servizi sociali");
        },
        as_is,
    )
    .unwrap();
    assert_eq!(call.evidence.loa.as_deref(), Some("spid"));
    assert_eq!(call.evidence.further["ufficio"], "Servizi sociali");
}

#[test]
fn what_breaks_trust_is_refused() {
    use Token::{Evidence, Voucher};
    let refused = |change: &dyn Fn(&mut Value)| open_with(change, as_is).err().unwrap();
    assert_eq!(
        refused(&with("exp", json!(NOW_S - 60))),
        CallError::Expired(Evidence)
    );
    assert_eq!(
        refused(&with("nbf", json!(NOW_S + 60))),
        CallError::NotYet(Evidence)
    );
    assert_eq!(
        refused(&with("iat", json!(NOW_S + 60))),
        CallError::NotYet(Evidence)
    );
    assert_eq!(
        refused(&with("iat", json!("2026-11-24T22:12:16Z"))),
        CallError::Claim(Evidence, "iat")
    );
    assert_eq!(refused(&without("exp")), CallError::Claim(Evidence, "exp"));
    assert_eq!(refused(&without("aud")), CallError::Claim(Evidence, "aud"));
    assert_eq!(
        refused(&with("aud", json!("https://other.example"))),
        CallError::Audience(Evidence)
    );
    assert_eq!(refused(&without("jti")), CallError::Claim(Evidence, "jti"));
    assert_eq!(
        refused(&without("userID")),
        CallError::Claim(Evidence, "userID")
    );
    assert_eq!(
        refused(&with("userID", json!(""))),
        CallError::Claim(Evidence, "userID")
    );
    assert_eq!(
        refused(&without("purposeId")),
        CallError::Claim(Evidence, "purposeId")
    );
    assert_eq!(
        refused(&with("purposeId", json!("another"))),
        CallError::PurposeMismatch
    );
    assert_eq!(
        refused(&with("iss", json!("another client"))),
        CallError::ClientMismatch
    );

    let refused = |change: &dyn Fn(&mut Value)| open_with(as_is, change).err().unwrap();
    assert_eq!(
        refused(&with("exp", json!(NOW_S - 60))),
        CallError::Expired(Voucher)
    );
    assert_eq!(
        refused(&with("iss", json!("another"))),
        CallError::Audience(Voucher)
    );
    assert_eq!(
        refused(&with("purposeId", json!("another"))),
        CallError::PurposeMismatch
    );
    assert_eq!(refused(&without("digest")), CallError::DigestForm);
    let digest = |value: String| with("digest", json!({"alg": "SHA256", "value": value}));
    assert_eq!(
        refused(&digest(Hash::ZERO.to_string())),
        CallError::DigestMismatch
    );
    // The mistake that integrators make: base64 instead of hexadecimal.
    assert_eq!(
        refused(&digest(base64::encode(Hash::ZERO.as_bytes()))),
        CallError::DigestForm
    );
    assert_eq!(
        refused(&with(
            "digest",
            json!({"alg": "SHA512", "value": Hash::ZERO.to_string()})
        )),
        CallError::DigestForm
    );
}

#[test]
fn headers_that_dodge_the_check_are_refused() {
    let caller = ed();
    let open_evidence = |evidence: &str| {
        let voucher = caller.jws(&voucher_claims(evidence));
        open(
            evidence,
            &voucher,
            &caller.keys(),
            &caller.keys(),
            &checks(),
        )
        .err()
        .unwrap()
    };
    let with_header = |header: Value| open_evidence(&caller.sign(&header, &evidence_claims()));
    let kid = &caller.jwk["kid"];
    for alg in ["none", "HS256", "PS256", "eddsa", ""] {
        assert_eq!(
            with_header(json!({"alg": alg, "kid": kid})),
            CallError::Algorithm(Token::Evidence),
            "{alg}"
        );
    }
    // The key says which algorithm it is for, not the header.
    assert_eq!(
        with_header(json!({"alg": "RS256", "kid": kid})),
        CallError::Algorithm(Token::Evidence)
    );
    assert_eq!(
        with_header(json!({"alg": "EdDSA", "kid": "KEY-EDDSA"})),
        CallError::KeyUnknown(Token::Evidence)
    );
    assert_eq!(
        with_header(json!({"alg": "EdDSA"})),
        CallError::KeyUnknown(Token::Evidence)
    );
    assert_eq!(
        with_header(json!({"kid": kid})),
        CallError::Form(Token::Evidence)
    );
    assert_eq!(
        with_header(json!({"alg": "EdDSA", "kid": kid, "crit": ["b64"], "b64": false})),
        CallError::Form(Token::Evidence)
    );
    for text in ["", "a", "a.b", "e30.e30.", "....", "!.!.!"] {
        let error = open_evidence(text);
        assert!(
            matches!(error, CallError::Form(Token::Evidence)),
            "{text}: {error}"
        );
    }
    assert_eq!(
        open_evidence(&"a".repeat(TOKEN_BYTES_MAX + 1)),
        CallError::Form(Token::Evidence)
    );
}

#[test]
fn key_sets_pass_over_what_they_cannot_use() {
    let parse = |value: Value| KeySet::parse(value.to_string().as_bytes());
    let sound = ed().jwk;
    let mut for_encryption = sound.clone();
    for_encryption["use"] = json!("enc");
    for_encryption["kid"] = json!("enc");
    let set = parse(json!({"keys": [
        {"kid": "oct", "kty": "oct", "k": "c2VjcmV0"},
        {"kid": "short", "kty": "RSA", "n": base64::url_encode(&[0xff; 128]), "e": "AQAB"},
        {"kid": "cut", "kty": "OKP", "crv": "Ed25519", "x": "AAAA"},
        {"kid": "p384", "kty": "EC", "crv": "P-384", "x": "AAAA", "y": "AAAA"},
        for_encryption,
        sound,
    ]}))
    .unwrap();
    for kid in ["oct", "short", "cut", "p384", "enc"] {
        assert!(set.find(kid).is_none(), "{kid}");
    }
    assert!(set.find("key-EdDSA").is_some());
    assert!(parse(json!({"keys": 1})).is_none());
    assert!(KeySet::parse(b"not json").is_none());
}

#[test]
fn the_thumbprint_is_the_rfcs() {
    // RFC 7638, section 3.1.
    let jwk = json!({
        "kty": "RSA", "alg": "RS256", "kid": "2011-04-29", "e": "AQAB",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    });
    let set = KeySet::parse(jwk.to_string().as_bytes()).unwrap();
    let thumbprint = set.find("2011-04-29").unwrap().thumbprint();
    assert_eq!(
        base64::url_encode(thumbprint.as_bytes()),
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    );
}

#[test]
fn a_key_is_kept_once_under_its_thumbprint() {
    let folder = tempfile::tempdir().unwrap();
    let archive = KeyArchive::open(&folder.path().join("callers")).unwrap();
    for caller in [rsa(), ec(), ed()] {
        let keys = caller.keys();
        let key = keys.find(caller.jwk["kid"].as_str().unwrap()).unwrap();
        assert!(archive.find(&key.thumbprint()).unwrap().is_none());
        archive.keep(key).unwrap();
        archive.keep(key).unwrap();
        let kept = archive.find(&key.thumbprint()).unwrap().unwrap();
        // What is kept still verifies what the key signed.
        let evidence = caller.jws(&evidence_claims());
        let (signed, signature) = evidence.rsplit_once('.').unwrap();
        assert!(kept.verifies(signed.as_bytes(), &base64::url_decode(signature).unwrap()));
    }
    assert_eq!(
        std::fs::read_dir(folder.path().join("callers"))
            .unwrap()
            .count(),
        3
    );
    // A file that is not the key of its name is not believed.
    let path = folder
        .path()
        .join("callers")
        .join(format!("{}.jwk", base64::url_encode(Hash::ZERO.as_bytes())));
    std::fs::write(path, ed().jwk.to_string()).unwrap();
    assert!(archive.find(&Hash::ZERO).unwrap().is_none());
}
