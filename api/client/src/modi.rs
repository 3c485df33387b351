// SPDX-License-Identifier: BSD-3-Clause
//! Calls as Italian e-services receive them: the `Agid-JWT-TrackingEvidence` JWS of ModI's AUDIT_REST_02 pattern and the PDND voucher.
//!
//! [`open`] checks both and gives what an `access` entry needs. It is strict where trust hangs on it (signatures, algorithms, digest,
//! purpose, times) and lenient where real callers differ: `LoA` or `loa`, `dnonce` as number or string, `aud` as text or list, an absent
//! `nbf`, an absent `userLocation`, and any number of further claims.

use std::fmt;

use serde::Deserialize;
use serde_json::{Map, Value};

use ledger::{base64, hash::Hash};

mod jwk;
pub use jwk::{KeyArchive, KeySet, PublicJwk};

/// What the caller of [`open`] knows besides the two tokens.
#[derive(Clone, Debug)]
pub struct Checks {
    /// Now, in seconds since the epoch.
    pub now_s: u64,
    /// How far the clocks may differ, in seconds.
    pub leeway_s: u64,
    /// The audience that the evidence must carry; `None` where the caller has checked it.
    pub audience: Option<String>,
    /// The issuer that the voucher must carry (PDND's), `None` where the caller has checked it.
    pub voucher_issuer: Option<String>,
}

/// A call whose evidence and voucher hold and belong together.
#[derive(Clone, Debug)]
pub struct Call {
    /// Claims of the evidence.
    pub evidence: TrackingEvidence,
    /// Claims of the voucher.
    pub voucher: Voucher,
    /// SHA-256 of the evidence as serialised; the voucher carries it in hexadecimal.
    pub digest: Hash,
    /// The evidence as received: what a court would want to see.
    pub jws: String,
    /// The key that signed the evidence, to be kept in a [`KeyArchive`].
    pub jwk: PublicJwk,
}

/// Claims of `Agid-JWT-TrackingEvidence`.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct TrackingEvidence {
    pub issuer: Option<String>,
    pub audiences: Vec<String>,
    pub jti: String,
    pub issued_at_s: u64,
    pub expires_at_s: u64,
    pub purpose_id: String,
    pub dnonce: Option<String>,
    /// The consumer's own id of the person who caused the request.
    pub user_id: String,
    /// Workstation; required by the guideline, absent in some of its own examples.
    pub user_location: Option<String>,
    /// Level of assurance, as sent.
    pub loa: Option<String>,
    /// Every other claim, as sent.
    pub further: Map<String, Value>,
}

/// Claims of the voucher (`at+jwt`) that bear on the call.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Voucher {
    pub issuer: Option<String>,
    pub jti: String,
    pub client_id: Option<String>,
    pub purpose_id: String,
    pub consumer_id: Option<String>,
    pub producer_id: Option<String>,
    pub eservice_id: Option<String>,
    pub descriptor_id: Option<String>,
}

/// Which of the two tokens an error speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Token {
    Evidence,
    Voucher,
}

/// Why a call is not believed. The text names the token and the claim, and repeats no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Larger than 16 KiB, not three parts, not base64url, or not JSON objects.
    #[error("the {0} is not a signed JWT of at most 16 KiB")]
    Form(Token),
    /// `alg` is absent, `none`, symmetric, or another than RS256, ES256 and EdDSA; or the key is of another kind.
    #[error("the {0} is not signed by RS256, ES256 or EdDSA with a key of that kind")]
    Algorithm(Token),
    /// No `kid`, or the key set has no such key. Fetch the set again: keys rotate.
    #[error(
        "the key that signed the {0} is not in the given key set: fetch the set again, keys rotate"
    )]
    KeyUnknown(Token),
    /// The key is there and the signature is not its.
    #[error("the signature of the {0} does not hold")]
    Signature(Token),
    /// A claim is absent, or of another type.
    #[error("the claim `{1}` of the {0} is absent or of another type")]
    Claim(Token, &'static str),
    /// `exp` has passed.
    #[error("the {0} has expired")]
    Expired(Token),
    /// `nbf` or `iat` lies ahead.
    #[error("the {0} is not valid yet: compare the clocks")]
    NotYet(Token),
    /// Made for another audience, or by another issuer.
    #[error("the {0} is for another audience or of another issuer")]
    Audience(Token),
    /// `digest` is absent, `alg` is not `SHA256`, or `value` is not 64 hexadecimal digits (base64 is a common mistake).
    #[error("the voucher's `digest` is not {{alg: SHA256, value: 64 hexadecimal digits}}")]
    DigestForm,
    /// The voucher was issued for another evidence.
    #[error("the voucher's digest is that of another evidence")]
    DigestMismatch,
    /// The two tokens name different purposes.
    #[error("`purposeId` differs between evidence and voucher")]
    PurposeMismatch,
    /// `iss` of the evidence is not `client_id` of the voucher.
    #[error("evidence and voucher belong to different clients")]
    ClientMismatch,
}

/// Opens a call: parses and checks the evidence by the consumer's keys, the voucher by PDND's, and that they belong together.
///
/// # Errors
/// The first [`CallError`] met, evidence before voucher. A replayed `jti` is not noticed here: whoever serves calls keeps those.
pub fn open(
    evidence: &str,
    voucher: &str,
    consumer_keys: &KeySet,
    pdnd_keys: &KeySet,
    checks: &Checks,
) -> Result<Call, CallError> {
    let (evidence_claims, jwk) = verified_claims(Token::Evidence, evidence, consumer_keys)?;
    let tracking = evidence_claims.tracking(checks)?;
    let (voucher_claims, _) = verified_claims(Token::Voucher, voucher, pdnd_keys)?;
    let digest_claimed = voucher_claims.digest()?;
    let voucher = voucher_claims.voucher(checks)?;
    let digest = Hash::of(&[evidence.as_bytes()]);
    if digest != digest_claimed {
        return Err(CallError::DigestMismatch);
    }
    if tracking.purpose_id != voucher.purpose_id {
        return Err(CallError::PurposeMismatch);
    }
    if let (Some(issuer), Some(client)) = (&tracking.issuer, &voucher.client_id)
        && issuer != client
    {
        return Err(CallError::ClientMismatch);
    }
    Ok(Call {
        evidence: tracking,
        voucher,
        digest,
        jws: evidence.to_owned(),
        jwk,
    })
}

/// Opens a voucher alone, for a service that is called without tracking evidence: PDND's signature, issuer and times. That it belongs to an
/// evidence is not looked at.
///
/// # Errors
/// The first [`CallError`] met.
pub fn open_voucher(
    voucher: &str,
    pdnd_keys: &KeySet,
    checks: &Checks,
) -> Result<Voucher, CallError> {
    let (claims, _) = verified_claims(Token::Voucher, voucher, pdnd_keys)?;
    let audience = match &checks.audience {
        None => true,
        Some(expected) => match claims.map.get("aud") {
            Some(Value::String(text)) => text == expected,
            Some(Value::Array(list)) => list.iter().any(|it| it.as_str() == Some(expected)),
            _ => false,
        },
    };
    if !audience {
        return Err(CallError::Audience(Token::Voucher));
    }
    claims.voucher(checks)
}

/// Claims whose signature held.
struct Claims {
    token: Token,
    map: Map<String, Value>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// RFC 7515: a header parameter that must be understood. None is, here.
    crit: Option<Value>,
}

fn verified_claims(
    token: Token,
    jws: &str,
    keys: &KeySet,
) -> Result<(Claims, PublicJwk), CallError> {
    let form = || CallError::Form(token);
    if jws.len() > TOKEN_BYTES_MAX {
        return Err(form());
    }
    let (signed, signature) = jws.rsplit_once('.').ok_or_else(form)?;
    let (header, payload) = signed.split_once('.').ok_or_else(form)?;
    let header: Header = decode_json(header).ok_or_else(form)?;
    if header.crit.is_some() {
        return Err(form());
    }
    let map: Map<String, Value> = decode_json(payload).ok_or_else(form)?;
    let algorithm = jwk::Algorithm::parse(&header.alg).ok_or(CallError::Algorithm(token))?;
    let kid = header.kid.ok_or(CallError::KeyUnknown(token))?;
    let key = keys.find(&kid).ok_or(CallError::KeyUnknown(token))?;
    if key.algorithm() != algorithm {
        return Err(CallError::Algorithm(token));
    }
    let signature = base64::url_decode(signature).ok_or_else(form)?;
    if !key.verifies(signed.as_bytes(), &signature) {
        return Err(CallError::Signature(token));
    }
    Ok((Claims { token, map }, key.clone()))
}

fn decode_json<T: for<'a> Deserialize<'a>>(part: &str) -> Option<T> {
    serde_json::from_slice(&base64::url_decode(part)?).ok()
}

impl Claims {
    fn tracking(mut self, checks: &Checks) -> Result<TrackingEvidence, CallError> {
        let (issued_at_s, expires_at_s) = self.times(checks)?;
        let audiences = self.take_audiences()?;
        if let Some(expected) = &checks.audience
            && !audiences.contains(expected)
        {
            return Err(CallError::Audience(self.token));
        }
        Ok(TrackingEvidence {
            issuer: self.take_text("iss")?,
            audiences,
            jti: self.need_text("jti")?,
            issued_at_s,
            expires_at_s,
            purpose_id: self.need_text("purposeId")?,
            dnonce: match self.map.remove("dnonce") {
                None => None,
                Some(Value::String(text)) => Some(text),
                Some(Value::Number(number)) => Some(number.to_string()),
                Some(_) => return Err(CallError::Claim(self.token, "dnonce")),
            },
            user_id: self.need_text("userID")?,
            user_location: self.take_text("userLocation")?,
            // The guideline writes LoA, its own example loa, callers anything between.
            loa: match self
                .map
                .keys()
                .find(|name| name.eq_ignore_ascii_case("loa"))
                .cloned()
            {
                None => None,
                Some(name) => match self.map.remove(&name) {
                    Some(Value::String(text)) => Some(text),
                    Some(Value::Number(number)) => Some(number.to_string()),
                    _ => return Err(CallError::Claim(self.token, "LoA")),
                },
            },
            further: self.map,
        })
    }

    fn voucher(mut self, checks: &Checks) -> Result<Voucher, CallError> {
        self.times(checks)?;
        let issuer = self.take_text("iss")?;
        if let Some(expected) = &checks.voucher_issuer
            && issuer.as_ref() != Some(expected)
        {
            return Err(CallError::Audience(self.token));
        }
        Ok(Voucher {
            issuer,
            jti: self.need_text("jti")?,
            client_id: self.take_text("client_id")?,
            purpose_id: self.need_text("purposeId")?,
            consumer_id: self.take_text("consumerId")?,
            producer_id: self.take_text("producerId")?,
            eservice_id: self.take_text("eserviceId")?,
            descriptor_id: self.take_text("descriptorId")?,
        })
    }

    fn digest(&self) -> Result<Hash, CallError> {
        let digest = self.map.get("digest").and_then(Value::as_object);
        let text = |name| {
            digest
                .and_then(|digest| digest.get(name))
                .and_then(Value::as_str)
        };
        match (text("alg"), text("value").and_then(parse_hex)) {
            (Some("SHA256"), Some(value)) => Ok(value),
            _ => Err(CallError::DigestForm),
        }
    }

    /// Takes `iat`, `exp` and `nbf`, and holds them against the clock.
    fn times(&mut self, checks: &Checks) -> Result<(u64, u64), CallError> {
        let issued_at_s = self
            .take_seconds("iat")?
            .ok_or(CallError::Claim(self.token, "iat"))?;
        let expires_at_s = self
            .take_seconds("exp")?
            .ok_or(CallError::Claim(self.token, "exp"))?;
        let not_before_s = self.take_seconds("nbf")?.unwrap_or(issued_at_s);
        if expires_at_s.saturating_add(checks.leeway_s) <= checks.now_s {
            return Err(CallError::Expired(self.token));
        }
        if issued_at_s.max(not_before_s) > checks.now_s.saturating_add(checks.leeway_s) {
            return Err(CallError::NotYet(self.token));
        }
        Ok((issued_at_s, expires_at_s))
    }

    fn take_seconds(&mut self, name: &'static str) -> Result<Option<u64>, CallError> {
        let wrong = CallError::Claim(self.token, name);
        match self.map.remove(name) {
            None => Ok(None),
            // RFC 7519 allows fractions; ISO dates, as one integrator sent them, it does not.
            Some(Value::Number(number)) => {
                let seconds = number.as_u64().or_else(|| {
                    let seconds = number.as_f64()?;
                    (0.0..SECONDS_MAX)
                        .contains(&seconds)
                        .then_some(seconds as u64)
                });
                seconds.map(Some).ok_or(wrong)
            }
            Some(_) => Err(wrong),
        }
    }

    fn take_audiences(&mut self) -> Result<Vec<String>, CallError> {
        let wrong = CallError::Claim(self.token, "aud");
        match self.map.remove("aud") {
            Some(Value::String(text)) => Ok(vec![text]),
            Some(Value::Array(list)) if !list.is_empty() => list
                .into_iter()
                .map(|value| match value {
                    Value::String(text) => Ok(text),
                    _ => Err(wrong),
                })
                .collect(),
            _ => Err(wrong),
        }
    }

    fn take_text(&mut self, name: &'static str) -> Result<Option<String>, CallError> {
        match self.map.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(_) => Err(CallError::Claim(self.token, name)),
        }
    }

    fn need_text(&mut self, name: &'static str) -> Result<String, CallError> {
        let wrong = CallError::Claim(self.token, name);
        self.take_text(name)?.ok_or(wrong)
    }
}

/// 64 hexadecimal digits, in either case.
fn parse_hex(text: &str) -> Option<Hash> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            *byte = (*byte << 4) | char::from(*digit).to_digit(16)? as u8;
        }
    }
    Some(Hash(bytes))
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Token::Evidence => "tracking evidence",
            Token::Voucher => "voucher",
        })
    }
}

/// Far above any real one (about 1 KiB), far below what would hurt.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Year 10 000 or so.
const SECONDS_MAX: f64 = 253_402_300_800.0;

#[cfg(test)]
mod tests;
