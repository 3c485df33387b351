// SPDX-License-Identifier: BSD-3-Clause
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
use std::convert::Infallible;

use ledger::{
    body::access::SubjectRole,
    entry::{KeySource, verify},
    id::KeyId,
    key::PublicKey,
    signature::ALG_BATCH,
};

use super::*;

const LEDGER: &str = "ledger.visto.example";
const NOW_MS: u64 = 1_795_558_336_000;

struct Keys(Vec<PublicKey>);

impl KeySource for Keys {
    type Error = Infallible;

    fn public_key(&self, id: &KeyId) -> Result<Option<PublicKey>, Infallible> {
        Ok(self.0.iter().find(|key| key.key_id() == *id).copied())
    }
}

fn institution(id: &str) -> InstitutionId {
    InstitutionId::parse(id).unwrap()
}

pub(crate) fn access() -> PlainAccess {
    PlainAccess {
        side: Side::Consumer,
        exchange: [7; 16],
        consumer: institution("ipa:c_m109"),
        consumer_client_id: Some("82914b3f-60b2-4529-b4d6-3d4e67f0a933".to_owned()),
        provider: institution("ipa:inps"),
        eservice: EService {
            eservice_id: "2303d392-6b30-462b-a9e6-6fe99498cc53".to_owned(),
            descriptor_id: None,
            name: Some("Consultazione Attestazione Residenti ISEE".to_owned()),
            version: Some("2".to_owned()),
            operation: Some("attestazione".to_owned()),
        },
        user_id: "as-0147".to_owned(),
        user_role: "assistente_sociale".to_owned(),
        user_location: "ufficio32".to_owned(),
        loa: Some("https://www.spid.gov.it/SpidL2".to_owned()),
        purpose_id: Some("d2b9a653-c497-45c6-b8f1-5bdf124c9d3a".to_owned()),
        purpose: "dpv-ps:SocialWelfareEligibilityAssessment".to_owned(),
        legal_basis: "dpv-gdpr:A6-1-e-official-authority".to_owned(),
        legal_reference: Some("DPCM 159/2013, art. 11".to_owned()),
        reason: "Verifica ISEE per retta asilo nido".to_owned(),
        case_ref: Some(CaseRef {
            protocollo: "2026/004512".to_owned(),
            prestazione: Some("asilo-nido".to_owned()),
            stato: None,
        }),
        consent_refs: Vec::new(),
        action: Action::Query,
        outcome: "success".to_owned(),
        status_code: Some(200),
        data_categories: vec!["dpv-pd:Income".to_owned()],
        personal_data_types: vec!["WITH_IDENTIFYING_DATA".to_owned()],
        subjects: vec![
            AccessSubject {
                person: Hash([1; 32]),
                role: SubjectRole::Target,
                relation: None,
            },
            AccessSubject {
                person: Hash([2; 32]),
                role: SubjectRole::Incidental,
                relation: Some("figlio".to_owned()),
            },
        ],
        part: None,
        result_count: Some(1),
        emergency: None,
        visibility: Visibility::Visible,
        evidence: Some(PlainEvidence {
            jws: Some("a.b.c".to_owned()),
            ..PlainEvidence::default()
        }),
    }
}

fn draft(plain: Plain) -> Draft {
    Draft::new(
        Head::new(LEDGER, &institution("ipa:c_m109"), NOW_MS),
        plain,
        NOW_MS,
    )
    .unwrap()
}

fn plains() -> Vec<Plain> {
    vec![
        Plain::Access(Box::new(access())),
        Plain::Consent(Box::new(PlainConsent {
            record: "c-1".to_owned(),
            subject: Hash([1; 32]),
            event: ConsentEvent::Given,
            entity: Some(ConsentEntity::Parent),
            purposes: Some(vec!["dpv-ps:SocialWelfareProvision".to_owned()]),
            recipients: Some(vec!["ipa:c_m109".to_owned()]),
            data_categories: Some(vec!["dpv-pd:Income".to_owned()]),
            valid_from_ms: Some(NOW_MS),
            valid_until_ms: None,
            notice: None,
            loa: None,
            indication: None,
        })),
        Plain::Household(PlainHousehold {
            household: Hash([3; 32]),
            kind: HouseholdKind::Anagrafica,
            members: vec![Member {
                person: Hash([1; 32]),
                relation: Some("intestatario".to_owned()),
            }],
            valid_from_ms: NOW_MS,
        }),
    ]
}

#[test]
fn what_is_built_is_what_the_ledger_verifies() {
    let key = SigningKey::from_seed([5; 32]);
    let keys = Keys(vec![key.public()]);
    for plain in plains() {
        let entry = draft(plain).sign(&[&key]).unwrap();
        let line = entry.to_wire();
        let entry = SubmittedEntry::from_wire(line.as_bytes()).unwrap();
        verify(entry, LEDGER, &keys).unwrap();
    }
}

#[test]
fn nothing_personal_stands_in_the_body() {
    let draft = draft(Plain::Access(Box::new(access())));
    let payload = String::from_utf8(draft.payload.clone()).unwrap();
    for personal in [
        "as-0147",
        "ufficio32",
        "asilo nido",
        "2026/004512",
        "a.b.c",
        "figlio",
    ] {
        assert!(!payload.contains(personal), "{personal}");
    }
    assert_eq!(draft.disclosures.len(), 7);
}

#[test]
fn the_same_values_give_other_digests_each_time() {
    let (one, other) = (draft(plains().remove(2)), draft(plains().remove(2)));
    assert!(
        one.disclosures
            .iter()
            .all(|disclosure| !other.disclosures.contains(disclosure))
    );
}

#[test]
fn a_batch_of_more_than_1024_is_cut_and_each_entry_stands_alone() {
    let key = SigningKey::from_seed([5; 32]);
    let keys = Keys(vec![key.public()]);
    let drafts = (0..1030).map(|_| draft(plains().remove(2))).collect();
    let entries = sign_batch(drafts, &key).unwrap();
    assert_eq!(entries.len(), 1030);
    for place in [0, 1023, 1024, 1029] {
        assert_eq!(entries[place].sigs().rows()[0].signature.alg(), ALG_BATCH);
        verify(entries[place].clone(), LEDGER, &keys).unwrap();
    }
}

#[test]
fn too_long_a_body_is_an_error() {
    let mut access = access();
    access.outcome = "x".repeat(20_000);
    let error = draft(Plain::Access(Box::new(access)))
        .sign(&[&SigningKey::from_seed([5; 32])])
        .unwrap_err();
    assert!(matches!(error, Error::Setup(_)));
}
