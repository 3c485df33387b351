// SPDX-License-Identifier: EUPL-1.2
//! Who asks: a reader's token becomes a [`Reader`], or nobody gets in.
//!
//! A token is a JWT signed with EdDSA by a registered, in-force key of use `token`. The key decides the institution, and the algorithm
//! is fixed here: the token's header is believed in nothing but the key id. Roles other than `institution` count only while the registry grants them.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey, Validation, errors::ErrorKind};
use ledger::{
    id::{InstitutionId, KeyId},
    key::KeyUse,
    number::TreeSize,
    state::{State, registry},
};
use wire::token::{Claims, LIFE_SECONDS_MAX, Role, SKEW_SECONDS_MAX};

use crate::problem::{Fault, TokenFault};

/// Longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 4096;
/// Longest claim, in bytes.
const CLAIM_BYTES_MAX: usize = 256;

/// A person who reads, as a verified token says. [`verify`] alone makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    institution: InstitutionId,
    person: String,
    role: Role,
    purpose: String,
    case: Option<String>,
    token: Token,
}

/// The token as it came; nothing prints it.
#[derive(Clone, PartialEq, Eq)]
struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Reader {
    /// The token, the institution's own word that this person asks; goes into the `read` entry. Never logged.
    pub fn token(&self) -> &str {
        &self.token.0
    }

    /// Institution of the reader.
    pub fn institution(&self) -> &InstitutionId {
        &self.institution
    }

    /// The person, by the institution's own id. Never logged.
    pub fn person(&self) -> &str {
        &self.person
    }

    /// What the person reads as.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Purpose of the reading, a CURIE.
    pub fn purpose(&self) -> &str {
        &self.purpose
    }

    /// The case that the reading serves.
    pub fn case(&self) -> Option<&str> {
        self.case.as_deref()
    }

    /// A reader of its own making, for tests of what readers may do.
    #[cfg(test)]
    pub(crate) fn for_tests(institution: &str, role: Role) -> Reader {
        #[allow(clippy::expect_used)]
        let institution = InstitutionId::parse(institution).expect("an institution");
        Reader {
            institution,
            person: "p1".to_owned(),
            role,
            purpose: "dpv:ServiceProvision".to_owned(),
            case: None,
            token: Token("t".to_owned()),
        }
    }
}

/// Verifies a token against the registry in `state`, which is that of a tree of `size`, at `now_s` seconds since the epoch.
///
/// # Errors
/// The first thing that is wrong with the token, or the state's own failure.
pub fn verify<S: State>(
    token: &str,
    ledger: &str,
    now_s: u64,
    size: TreeSize,
    state: &S,
) -> Result<Reader, Fault>
where
    S::Error: std::fmt::Display,
{
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenFault::Malformed.into());
    }
    let id = named_key(token)?;
    let key = registry::key(state, &id)
        .map_err(Fault::internal)?
        .filter(|key| key.key_use == KeyUse::Token && key.in_force_at(size.next_index()))
        .ok_or(TokenFault::Key)?;
    let claims = open(token, key.public_key.as_bytes())?;
    if claims.aud != ledger {
        return Err(TokenFault::Audience.into());
    }
    if claims.iss != key.institution.as_str() {
        return Err(TokenFault::Issuer.into());
    }
    if claims.iat > now_s.saturating_add(SKEW_SECONDS_MAX) {
        return Err(TokenFault::Time.into());
    }
    if claims.exp <= now_s {
        return Err(TokenFault::Expired.into());
    }
    if claims.exp <= claims.iat || claims.exp - claims.iat > LIFE_SECONDS_MAX {
        return Err(TokenFault::Life.into());
    }
    if !registry::is_participant(state, &key.institution).map_err(Fault::internal)? {
        return Err(TokenFault::Key.into());
    }
    let granted = match claims.role {
        Role::Institution => true,
        role => {
            registry::has_role(state, &key.institution, role.as_str()).map_err(Fault::internal)?
        }
    };
    if !granted {
        return Err(TokenFault::Role.into());
    }
    Ok(Reader {
        institution: key.institution,
        person: claims.sub,
        role: claims.role,
        purpose: claims.purpose,
        case: claims.case,
        token: Token(token.to_owned()),
    })
}

/// The key that the header names; the header must be that of a reader's token and carry no key of its own.
fn named_key(token: &str) -> Result<KeyId, TokenFault> {
    let header = jsonwebtoken::decode_header(token).map_err(|error| match error.kind() {
        // An algorithm that the library does not know, `none` among them.
        ErrorKind::InvalidAlgorithmName | ErrorKind::InvalidAlgorithm => TokenFault::Algorithm,
        ErrorKind::Json(_) if names_algorithm(token) => TokenFault::Algorithm,
        _ => TokenFault::Malformed,
    })?;
    if header.alg != Algorithm::EdDSA {
        return Err(TokenFault::Algorithm);
    }
    let plain = header.typ.as_deref() == Some("JWT")
        && header.cty.is_none()
        && header.jku.is_none()
        && header.jwk.is_none()
        && header.x5u.is_none()
        && header.x5c.is_none()
        && header.x5t.is_none()
        && header.x5t_s256.is_none()
        && header.crit.is_none()
        && header.enc.is_none()
        && header.zip.is_none()
        && header.url.is_none()
        && header.nonce.is_none()
        && header.extras.inner().is_empty();
    if !plain {
        return Err(TokenFault::Malformed);
    }
    header
        .kid
        .as_deref()
        .and_then(KeyId::parse)
        .ok_or(TokenFault::Key)
}

/// Whether the header at least has a text as `alg`, so that the complaint can be about it.
fn names_algorithm(token: &str) -> bool {
    token
        .split('.')
        .next()
        .and_then(ledger::base64::url_decode)
        .and_then(|header| serde_json::from_slice::<serde_json::Value>(&header).ok())
        .is_some_and(|header| header.get("alg").is_some_and(serde_json::Value::is_string))
}

fn open(token: &str, public_key: &[u8; 32]) -> Result<Claims, TokenFault> {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.algorithms = vec![Algorithm::EdDSA];
    // Times, audience and issuer are checked by the caller, each with its own complaint; here the signature and the form count.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let key = DecodingKey::from_ed_der(public_key);
    let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation)
        .map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => TokenFault::Signature,
            ErrorKind::InvalidAlgorithm => TokenFault::Algorithm,
            _ => TokenFault::Malformed,
        })?
        .claims;
    let texts = [
        Some(&claims.iss),
        Some(&claims.aud),
        Some(&claims.sub),
        Some(&claims.purpose),
        claims.case.as_ref(),
        Some(&claims.jti),
    ];
    let fits = |text: &&String| (1..=CLAIM_BYTES_MAX).contains(&text.len());
    if texts.iter().flatten().all(fits) {
        Ok(claims)
    } else {
        Err(TokenFault::Malformed)
    }
}

#[cfg(test)]
mod tests;
