// SPDX-License-Identifier: BSD-3-Clause
//! Readers' tokens: JWTs of at most five minutes, EdDSA, signed with a registered `token` key.

use std::time::{SystemTime, UNIX_EPOCH};

use ledger::{base64, id::InstitutionId, key::SigningKey};
use serde_json::json;
use wire::token::{Claims, LIFE_SECONDS_MAX, Role};

/// Who reads, in which role, what for.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The reader's institution; the key must be registered for it.
    pub institution: InstitutionId,
    /// The institution's own id of the person.
    pub person: String,
    /// In which role; all but [`Role::Institution`] must be granted to the institution by the governance.
    pub role: Role,
    /// Purpose, a CURIE.
    pub purpose: String,
    /// The case that the reading serves.
    pub case: Option<String>,
}

/// Makes a token for the named ledger, valid from `now_s` (seconds since the epoch) for [`LIFE_SECONDS_MAX`] seconds.
///
/// # Errors
/// Where the system has no randomness for the `jti`.
pub fn make(
    reader: &Reader,
    ledger: &str,
    key: &SigningKey,
    now_s: u64,
) -> Result<String, getrandom::Error> {
    let mut jti = [0; 16];
    getrandom::fill(&mut jti)?;
    let header =
        json!({"alg": "EdDSA", "typ": "JWT", "kid": base64::url_encode(key.key_id().0.as_bytes())});
    let claims = Claims {
        iss: reader.institution.as_str().to_owned(),
        aud: ledger.to_owned(),
        sub: reader.person.clone(),
        role: reader.role,
        purpose: reader.purpose.clone(),
        case: reader.case.clone(),
        iat: now_s,
        exp: now_s + LIFE_SECONDS_MAX,
        jti: base64::url_encode(&jti),
    };
    let claims = json!(claims);
    let signed = format!(
        "{}.{}",
        base64::url_encode(header.to_string().as_bytes()),
        base64::url_encode(claims.to_string().as_bytes()),
    );
    let signature = key.sign(signed.as_bytes());
    Ok(format!("{signed}.{}", base64::url_encode(&signature)))
}

/// Seconds since the epoch, by this machine's clock.
pub fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
    use serde_json::Value;

    use super::*;

    #[test]
    fn another_librarys_verifier_accepts_it() {
        let key = SigningKey::from_seed([7; 32]);
        let reader = Reader {
            institution: InstitutionId::parse("ipa:c_m109").unwrap(),
            person: "as-0147".to_owned(),
            role: Role::Dpo,
            purpose: "dpv:DataSubjectRightsManagement".to_owned(),
            case: Some("2026/004512".to_owned()),
        };
        let token = make(&reader, "ledger.visto.example", &key, now_s()).unwrap();
        let header = decode_header(&token).unwrap();
        assert_eq!(
            header.kid.unwrap(),
            base64::url_encode(key.key_id().0.as_bytes())
        );
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&["ledger.visto.example"]);
        validation.set_issuer(&["ipa:c_m109"]);
        let decoding = DecodingKey::from_ed_der(key.public().as_bytes());
        let claims: Value = decode(&token, &decoding, &validation).unwrap().claims;
        let seconds = |name| claims.get(name).and_then(Value::as_u64).unwrap();
        assert_eq!(seconds("exp") - seconds("iat"), LIFE_SECONDS_MAX);
        assert_eq!(claims.get("role").unwrap(), "dpo");
        assert_eq!(claims.get("case").unwrap(), "2026/004512");
        let other = DecodingKey::from_ed_der(SigningKey::from_seed([8; 32]).public().as_bytes());
        assert!(decode::<Value>(&token, &other, &validation).is_err());
    }
}
