// SPDX-License-Identifier: EUPL-1.2
//! Where two things are wrong, the one of higher precedence is told: every pair of faults, each alone, none at all.

use ledger::{
    base64, bytes, disclosure,
    entry::{Stop, SubmittedEntry, verify},
    json::Value,
    refusal::Refusal,
    signature::{Signature, Signed, Sigs, sign_single},
};

use crate::file::{keys, ledger, signing_key};

/// A household entry that can be wrong in many ways at once.
struct Draft {
    ledger: String,
    id: &'static str,
    occurred_at: &'static str,
    kind: &'static str,
    ext: &'static str,
    /// Which disclosures stand as members.
    members: Vec<usize>,
    after_body: &'static str,
    /// Which disclosures are sent along.
    sent: Vec<usize>,
    signers: Vec<&'static str>,
    stranger: bool,
    flipped: bool,
    backwards: bool,
    alg: &'static str,
    payload_type: &'static str,
    padding: &'static str,
    envelope_member: &'static str,
    after_line: &'static str,
}

impl Draft {
    fn good() -> Self {
        Self {
            ledger: ledger().to_owned(),
            id: "019dc12c-507b-77f7-9a44-fca08938cfa4",
            occurred_at: "2026-05-30T08:26:40Z",
            kind: "isee",
            ext: "1",
            members: vec![1, 2],
            after_body: "",
            sent: vec![0, 1, 2],
            signers: vec!["inps", "voghera"],
            stranger: false,
            flipped: false,
            backwards: false,
            alg: "",
            payload_type: bytes::PAYLOAD_TYPE,
            padding: "",
            envelope_member: "",
            after_line: "",
        }
    }

    fn line(&self) -> String {
        let values: Vec<_> = (0..4)
            .map(|n| disclosure::make(&[n; 16], &one_ref(n)))
            .collect();
        let digest = |n: usize| {
            format!(
                "{{\"...\":\"{}\"}}",
                base64::url_encode(disclosure::digest(&values[n]).as_bytes())
            )
        };
        let members: Vec<_> = self.members.iter().map(|&n| digest(n)).collect();
        let body = format!(
            "{{\"v\":1,\"ledger\":\"{}\",\"id\":\"{}\",\"institution\":\"ipa:inps\",\"type\":\"household\",\"occurredAt\":\"{}\",\
             \"household\":{{\"household\":[{}],\"kind\":\"{}\",\"members\":[{}],\"validFrom\":\"2026-01-01T00:00:00Z\"}},\"ext\":{{\"a\":{}}}}}{}",
            self.ledger,
            self.id,
            self.occurred_at,
            digest(0),
            self.kind,
            members.join(","),
            self.ext,
            self.after_body
        );
        let pae = bytes::pae(body.as_bytes());
        let mut rows = Vec::new();
        for name in &self.signers {
            let key = signing_key(name);
            let Signature::Single(mut ed25519) = sign_single(&key, &pae) else {
                panic!("single")
            };
            ed25519[40] ^= u8::from(self.flipped);
            rows.push(Signed {
                key_id: key.key_id(),
                signature: Signature::Single(ed25519),
            });
        }
        if self.stranger {
            let key = ledger::key::SigningKey::from_seed([9; 32]);
            rows.push(Signed {
                key_id: key.key_id(),
                signature: sign_single(&key, &pae),
            });
        }
        let mut rows = Sigs::sorted(rows).unwrap().rows().to_vec();
        if self.backwards {
            rows.reverse();
        }
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                format!(
                    "{{\"keyid\":\"{}\",\"sig\":\"{}\"{}}}",
                    row.key_id,
                    base64::encode(&row.signature.encode()),
                    self.alg
                )
            })
            .collect();
        let sent: Vec<_> = self
            .sent
            .iter()
            .map(|&n| format!("\"{}\"", values[n]))
            .collect();
        format!(
            "{{\"envelope\":{{\"payloadType\":\"{}\",\"payload\":\"{}{}\",\"signatures\":[{}]{}}},\"disclosures\":[{}]}}{}",
            self.payload_type,
            base64::encode(body.as_bytes()),
            self.padding,
            rows.join(","),
            self.envelope_member,
            sent.join(","),
            self.after_line
        )
    }

    fn judged(&self) -> Result<(), Refusal> {
        let entry =
            SubmittedEntry::from_wire(self.line().as_bytes()).map_err(|refused| refused.refusal)?;
        match verify(entry, ledger(), &keys()) {
            Ok(_) => Ok(()),
            Err(Stop::Refused(refused)) => Err(refused.refusal),
            Err(Stop::Failed(never)) => match never {},
        }
    }
}

fn one_ref(n: u8) -> Value<'static> {
    Value::object([("ref", Value::text(base64::url_encode(&[n; 32])))])
}

type Fault = (Refusal, fn(&mut Draft));

/// One fault each, by precedence.
const FAULTS: &[Fault] = &[
    (Refusal::Json, |draft| draft.after_line = "x"),
    (Refusal::Members, |draft| draft.envelope_member = ",\"x\":1"),
    (Refusal::PayloadType, |draft| {
        draft.payload_type = "application/json"
    }),
    (Refusal::Base64, |draft| draft.padding = "="),
    (Refusal::Alg, |draft| draft.alg = ",\"alg\":2"),
    (Refusal::Sigs, |draft| draft.backwards = true),
    (Refusal::KeyUnknown, |draft| draft.stranger = true),
    (Refusal::Signature, |draft| draft.flipped = true),
    (Refusal::Json, |draft| draft.after_body = "x"),
    (Refusal::Ledger, |draft| draft.ledger.push('x')),
    (Refusal::IdForm, |draft| draft.id = "019dc12c"),
    (Refusal::Time, |draft| draft.occurred_at = "2026-05-30"),
    (Refusal::Members, |draft| draft.kind = "ISEE"),
    (Refusal::DigestPlace, |draft| draft.ext = "{\"...\":1}"),
    (Refusal::DigestRepeated, |draft| draft.members.push(1)),
    (Refusal::DisclosureSpare, |draft| draft.sent.push(3)),
    (Refusal::DisclosureMissing, |draft| {
        draft.sent.remove(0);
    }),
];

#[test]
fn the_first_of_two_faults_is_told() {
    assert_eq!(Draft::good().judged(), Ok(()));
    for (place, (first, one)) in FAULTS.iter().enumerate() {
        for (_, other) in &FAULTS[place..] {
            let mut draft = Draft::good();
            one(&mut draft);
            other(&mut draft);
            assert_eq!(draft.judged(), Err(*first));
        }
    }
}
