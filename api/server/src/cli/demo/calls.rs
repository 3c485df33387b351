// SPDX-License-Identifier: EUPL-1.2
//! ModI calls as the field builds them: tracking evidence signed by the consumer's client (RS256, ES256 or EdDSA), a voucher signed by
//! PDND (RS256) over the evidence's digest, and both checked as a provider would before anything is logged.

use std::path::Path;

use client::{
    build::random,
    modi::{self, Call, Checks, KeyArchive, KeySet},
};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use ledger::{base64, hash::Hash, key::SigningKey};
use p256::{elliptic_curve::sec1::ToEncodedPoint, pkcs8::EncodePrivateKey};
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use rsa::{RsaPrivateKey, pkcs1::EncodeRsaPrivateKey, rand_core::OsRng, traits::PublicKeyParts};
use serde_json::{Value, json};

use super::founders::{HEALTH, REGION, TOWN};
use crate::cli::exit::Failure;

/// Makes and opens calls.
pub(super) struct Field {
    pdnd: Signer,
    clients: Vec<Client>,
    client_keys: KeySet,
    pdnd_keys: KeySet,
    /// Where a provider keeps the keys of callers, each once by thumbprint.
    archive: KeyArchive,
}

/// A consumer's client at PDND.
pub(super) struct Client {
    pub(super) institution: &'static str,
    id: String,
    signer: Signer,
}

/// What a call is about.
pub(super) struct Intent<'a> {
    pub(super) consumer: &'static str,
    pub(super) purpose_id: &'a str,
    pub(super) eservice_id: &'a str,
    pub(super) descriptor_id: &'a str,
    pub(super) audience: &'a str,
    pub(super) user_id: String,
    pub(super) user_location: String,
    pub(super) at_s: u64,
    /// Callers differ in spelling; which way this one does.
    pub(super) variant: u32,
    /// Further claims that the parties agreed on, an object.
    pub(super) agreed: Value,
}

struct Signer {
    kid: &'static str,
    key: Key,
    jwk: Value,
}

enum Key {
    /// Ten thousand signatures are asked of these: kept ready instead of parsed each time.
    Rsa(Box<RsaKeyPair>),
    Other(Algorithm, EncodingKey),
}

impl Field {
    /// Draws the keys of PDND and of three clients, one an algorithm.
    pub(super) fn new(archive: &Path) -> Result<Field, Failure> {
        let pdnd = Signer::rsa("pdnd-2026")?;
        let clients = vec![
            Client {
                institution: TOWN,
                id: uuid()?,
                signer: Signer::rsa("c_m109-rs256")?,
            },
            Client {
                institution: HEALTH,
                id: uuid()?,
                signer: Signer::ec("asst_pv-es256")?,
            },
            Client {
                institution: REGION,
                id: uuid()?,
                signer: Signer::ed("r_lombar-eddsa")?,
            },
        ];
        let keys = |signers: Vec<&Signer>| {
            let keys: Vec<&Value> = signers.iter().map(|signer| &signer.jwk).collect();
            KeySet::parse(json!({"keys": keys}).to_string().as_bytes())
                .ok_or_else(|| Failure::failed("the demo's JWKs do not parse"))
        };
        Ok(Field {
            client_keys: keys(clients.iter().map(|client| &client.signer).collect())?,
            pdnd_keys: keys(vec![&pdnd])?,
            pdnd,
            clients,
            archive: KeyArchive::open(archive).map_err(Failure::failed)?,
        })
    }

    /// Makes a call and opens it again, as its provider does.
    pub(super) fn call(&self, intent: &Intent<'_>) -> Result<Call, Failure> {
        let client = self
            .clients
            .iter()
            .find(|client| client.institution == intent.consumer)
            .ok_or_else(|| Failure::failed(format!("{} has no client at PDND", intent.consumer)))?;
        let evidence = client
            .signer
            .sign("JWT", &evidence_claims(client, intent)?)?;
        let voucher = self
            .pdnd
            .sign("at+jwt", &voucher_claims(client, intent, &evidence)?)?;
        let checks = Checks {
            now_s: intent.at_s + 1,
            leeway_s: 30,
            audience: Some(intent.audience.to_owned()),
            voucher_issuer: Some(PDND.to_owned()),
        };
        let call = modi::open(
            &evidence,
            &voucher,
            &self.client_keys,
            &self.pdnd_keys,
            &checks,
        )
        .map_err(Failure::failed)?;
        self.archive.keep(&call.jwk).map_err(Failure::failed)?;
        Ok(call)
    }
}

fn evidence_claims(client: &Client, intent: &Intent<'_>) -> Result<Value, Failure> {
    let dnonce = u64::from_be_bytes(random::<8>().map_err(Failure::failed)?) % 9_000_000_000_000
        + 1_000_000_000_000;
    let mut claims = json!({
        "iss": client.id, "aud": intent.audience, "iat": intent.at_s, "exp": intent.at_s + 120, "jti": uuid()?,
        "purposeId": intent.purpose_id, "userID": intent.user_id, "userLocation": intent.user_location,
    });
    let Some(members) = claims.as_object_mut() else {
        return Ok(claims);
    };
    members.extend(intent.agreed.as_object().cloned().unwrap_or_default());
    // GovWay sends a number and LoA; other integrators a text and loa.
    if intent.variant.is_multiple_of(3) {
        members.insert("dnonce".to_owned(), json!(dnonce.to_string()));
        members.insert("loa".to_owned(), json!("substantial"));
    } else {
        members.insert("dnonce".to_owned(), json!(dnonce));
        members.insert("nbf".to_owned(), json!(intent.at_s));
        members.insert("LoA".to_owned(), json!("https://www.spid.gov.it/SpidL2"));
    }
    Ok(claims)
}

fn voucher_claims(client: &Client, intent: &Intent<'_>, evidence: &str) -> Result<Value, Failure> {
    Ok(json!({
        "iss": PDND, "aud": intent.audience, "sub": client.id, "client_id": client.id, "iat": intent.at_s, "nbf": intent.at_s,
        "exp": intent.at_s + 600, "jti": uuid()?, "purposeId": intent.purpose_id,
        "digest": {"alg": "SHA256", "value": Hash::of(&[evidence.as_bytes()]).to_string()},
        "eserviceId": intent.eservice_id, "descriptorId": intent.descriptor_id,
    }))
}

impl Signer {
    fn rsa(kid: &'static str) -> Result<Signer, Failure> {
        let secret = RsaPrivateKey::new(&mut OsRng, 2048).map_err(Failure::failed)?;
        let part = |number: &rsa::BigUint| base64::url_encode(&number.to_bytes_be());
        let jwk = json!({"kid": kid, "kty": "RSA", "use": "sig", "alg": "RS256", "n": part(secret.n()), "e": part(secret.e())});
        let der = secret.to_pkcs1_der().map_err(Failure::failed)?;
        Ok(Signer {
            kid,
            key: Key::Rsa(Box::new(
                RsaKeyPair::from_der(der.as_bytes()).map_err(Failure::failed)?,
            )),
            jwk,
        })
    }

    fn ec(kid: &'static str) -> Result<Signer, Failure> {
        let secret = p256::SecretKey::random(&mut OsRng);
        let point = secret.public_key().to_encoded_point(false);
        let (Some(x), Some(y)) = (point.x(), point.y()) else {
            return Err(Failure::failed("a P-256 point at infinity"));
        };
        let jwk = json!({"kid": kid, "kty": "EC", "crv": "P-256", "use": "sig", "x": base64::url_encode(x), "y": base64::url_encode(y)});
        let der = secret.to_pkcs8_der().map_err(Failure::failed)?;
        Ok(Signer {
            kid,
            key: Key::Other(Algorithm::ES256, EncodingKey::from_ec_der(der.as_bytes())),
            jwk,
        })
    }

    fn ed(kid: &'static str) -> Result<Signer, Failure> {
        let seed: [u8; 32] = random().map_err(Failure::failed)?;
        let public = SigningKey::from_seed(seed).public();
        let jwk = json!({"kid": kid, "kty": "OKP", "crv": "Ed25519", "use": "sig", "x": base64::url_encode(public.as_bytes())});
        let der = [&client::keyfile::PKCS8_PREFIX[..], &seed].concat();
        Ok(Signer {
            kid,
            key: Key::Other(Algorithm::EdDSA, EncodingKey::from_ed_der(&der)),
            jwk,
        })
    }

    fn sign(&self, typ: &str, claims: &Value) -> Result<String, Failure> {
        let algorithm = match &self.key {
            Key::Rsa(_) => Algorithm::RS256,
            Key::Other(algorithm, _) => *algorithm,
        };
        let header = json!({"alg": format!("{algorithm:?}"), "kid": self.kid, "typ": typ});
        let part = |value: &Value| base64::url_encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(&header), part(claims));
        let signature = match &self.key {
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    signed.as_bytes(),
                    &mut signature,
                )
                .map_err(|_| Failure::failed("an RSA signature could not be made"))?;
                base64::url_encode(&signature)
            }
            Key::Other(algorithm, key) => {
                crypto::sign(signed.as_bytes(), key, *algorithm).map_err(Failure::failed)?
            }
        };
        Ok(format!("{signed}.{signature}"))
    }
}

/// A random UUID (version 4), as PDND's ids are.
pub(super) fn uuid() -> Result<String, Failure> {
    Ok(
        uuid::Builder::from_random_bytes(random().map_err(Failure::failed)?)
            .into_uuid()
            .to_string(),
    )
}

const PDND: &str = "interop.pagopa.it";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn calls_of_all_three_clients_open() {
        let folder = tempfile::tempdir().unwrap();
        let field = Field::new(folder.path()).unwrap();
        for (variant, consumer) in (0..).zip([TOWN, HEALTH, REGION]) {
            let intent = Intent {
                consumer,
                purpose_id: "d2b9a653-c497-45c6-b8f1-5bdf124c9d3a",
                eservice_id: "2303d392-6b30-462b-a9e6-6fe99498cc53",
                descriptor_id: "2935fbd0-bde4-4eb5-b0a4-40b647af3752",
                audience: "https://inps.example/isee/v2",
                user_id: "as-0147".to_owned(),
                user_location: "ufficio32".to_owned(),
                at_s: 1_795_558_336,
                variant,
                agreed: json!({"tipoIndicatore": "Ordinario"}),
            };
            let call = field.call(&intent).unwrap();
            assert_eq!(call.evidence.user_id, "as-0147");
            assert!(call.evidence.loa.is_some());
            assert_eq!(call.evidence.further["tipoIndicatore"], "Ordinario");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}
