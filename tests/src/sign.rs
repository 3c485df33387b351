// SPDX-License-Identifier: EUPL-1.2
//! Entries as an institution's own programmer would write them from the specification: JSON by hand, signed by hand. Only keys, hashes
//! and base64 come from `ledger`, so that a mistake in how `ledger` builds bodies cannot hide behind itself.

use ledger::{base64, hash::Hash, id::EntryId, key::SigningKey, time::format_timestamp};
use serde_json::{Value, json};

use crate::world;

/// Media type inside the envelope; part of what is signed.
pub const PAYLOAD_TYPE: &str = "application/vnd.visto.entry.v1+json";

/// An entry before it is signed. All members are open: tests spoil them.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Name of the ledger it is meant for.
    pub ledger: String,
    /// UUIDv7.
    pub id: String,
    /// The controller.
    pub institution: String,
    /// Type, also the name of the member that holds `content`.
    pub kind: String,
    /// When it happened.
    pub occurred_at: String,
    /// The member named after the type.
    pub content: Value,
    /// Any other members: `refersTo`, `stream`, `ext`.
    pub more: Vec<(String, Value)>,
    /// Disclosures, as sent.
    pub disclosures: Vec<String>,
}

/// A signed entry.
#[derive(Clone, Debug)]
pub struct Signed {
    /// Its id.
    pub id: String,
    /// The body's bytes.
    pub body: String,
    /// What was signed.
    pub pae: Vec<u8>,
    /// The envelope with its disclosures. Tests spoil it.
    pub wire: Value,
}

impl Draft {
    /// An entry of now, with a fresh id and no content yet.
    pub fn new(institution: &str, kind: &str) -> Draft {
        let now_ms = world::now_ms();
        Draft {
            ledger: world::LEDGER.into(),
            id: entry_id(now_ms),
            institution: institution.into(),
            kind: kind.into(),
            occurred_at: format_timestamp(now_ms),
            content: Value::Null,
            more: Vec::new(),
            disclosures: Vec::new(),
        }
    }

    /// Hides a value behind its digest: what goes into the body. The value travels with the entry.
    pub fn disclosed(&mut self, value: Value) -> Value {
        let salt = base64::url_encode(&random::<16>());
        let disclosure = base64::url_encode(json!([salt, value]).to_string().as_bytes());
        let digest = base64::url_encode(Hash::of(&[disclosure.as_bytes()]).as_bytes());
        self.disclosures.push(disclosure);
        json!({"...": digest})
    }

    /// The body's bytes.
    pub fn body(&self) -> String {
        let mut body = json!({
            "v": 1,
            "ledger": self.ledger,
            "id": self.id,
            "institution": self.institution,
            "type": self.kind,
            "occurredAt": self.occurred_at,
        });
        // The one type whose own member would collide with a common one.
        let member = match self.kind.as_str() {
            "institution" => "registration",
            kind => kind,
        };
        body[member] = self.content.clone();
        for (name, value) in &self.more {
            body[name.as_str()] = value.clone();
        }
        body.to_string()
    }

    /// Signs it with each key.
    pub fn sign(&self, keys: &[&SigningKey]) -> Signed {
        sign_body(&self.id, self.body(), &self.disclosures, keys)
    }
}

/// Signs a body as it stands, whatever it holds.
pub fn sign_body(id: &str, body: String, disclosures: &[String], keys: &[&SigningKey]) -> Signed {
    let pae = pae(body.as_bytes());
    let mut keys = keys.to_vec();
    keys.sort_by_key(|key| key.key_id());
    let signatures: Vec<Value> = keys
        .iter()
        .map(|key| json!({"keyid": base64::url_encode(key.key_id().0.as_bytes()), "sig": base64::encode(&key.sign(&pae))}))
        .collect();
    let wire = json!({
        "envelope": {"payloadType": PAYLOAD_TYPE, "payload": base64::encode(body.as_bytes()), "signatures": signatures},
        "disclosures": disclosures,
    });
    Signed {
        id: id.into(),
        body,
        pae,
        wire,
    }
}

impl Signed {
    /// The line to send.
    pub fn line(&self) -> String {
        self.wire.to_string()
    }
}

/// DSSE's pre-authentication encoding.
pub fn pae(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "DSSEv1 {} {PAYLOAD_TYPE} {} ",
        PAYLOAD_TYPE.len(),
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A fresh UUIDv7 of the given time.
pub fn entry_id(at_ms: u64) -> String {
    EntryId::from_parts(at_ms, &random::<10>()).to_string()
}

/// Bytes from the system's randomness.
///
/// # Panics
/// If it has none.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("randomness");
    bytes
}
