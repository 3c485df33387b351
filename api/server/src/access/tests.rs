// SPDX-License-Identifier: EUPL-1.2
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use ledger::body::{
    Disclosed,
    access::{Access, Action, EService, Evidence, Side, Visibility},
    consent::{Consent, ConsentEvent},
    household::{Household, HouseholdKind},
    system::{Read, Reader as Person},
};

use super::*;
use crate::testing::{AUTHORITY, INPS, TOWN, common, institution};

const STRANGER: &str = "ipa:c_f205";

fn disclosed<T>(digest: u8, value: T) -> Disclosed<T> {
    Disclosed {
        digest: Hash([digest; 32]),
        value: Some(value),
    }
}

/// The town asked, INPS answered, the town signed.
fn access() -> Body {
    Body {
        common: common(TOWN, 1),
        content: Content::Access(Box::new(Access {
            side: Side::Consumer,
            exchange: [1; 16],
            consumer: institution(TOWN),
            consumer_client_id: None,
            provider: institution(INPS),
            eservice: EService {
                eservice_id: "isee".to_owned(),
                descriptor_id: None,
                name: None,
                version: None,
                operation: None,
            },
            user_id: disclosed(1, "u".to_owned()),
            user_role: "assistente".to_owned(),
            user_location: disclosed(2, "l".to_owned()),
            loa: None,
            purpose_id: None,
            purpose: "dpv:ServiceProvision".to_owned(),
            legal_basis: "dpv-gdpr:A6-1-e".to_owned(),
            legal_reference: None,
            reason: disclosed(3, "r".to_owned()),
            case_ref: None,
            consent_refs: Vec::new(),
            action: Action::Read,
            outcome: "ok".to_owned(),
            status_code: None,
            data_categories: Vec::new(),
            personal_data_types: Vec::new(),
            subjects: Vec::new(),
            part: None,
            result_count: None,
            emergency: None,
            visibility: Visibility::Visible,
            evidence: Some(Evidence {
                jws: Some(disclosed(4, "jws".to_owned())),
                ..Evidence::default()
            }),
        })),
    }
}

/// The town received it; INPS is its recipient.
fn consent() -> Body {
    Body {
        common: common(TOWN, 1),
        content: Content::Consent(Box::new(Consent {
            record: "r1".to_owned(),
            subject: disclosed(1, Hash([9; 32])),
            event: ConsentEvent::Given,
            entity: None,
            purposes: Some(Vec::new()),
            recipients: Some(vec![INPS.to_owned()]),
            data_categories: Some(Vec::new()),
            valid_from_ms: Some(1),
            valid_until_ms: None,
            notice: None,
            loa: None,
            indication: None,
        })),
    }
}

fn household() -> Body {
    Body {
        common: common(TOWN, 1),
        content: Content::Household(Household {
            household: disclosed(1, Hash([8; 32])),
            kind: HouseholdKind::Anagrafica,
            members: Vec::new(),
            valid_from_ms: 1,
        }),
    }
}

/// INPS read; the town's node wrote it down.
fn read() -> Body {
    let person = Person {
        person: "p".to_owned(),
        role: "institution".to_owned(),
    };
    Body {
        common: common(TOWN, 1),
        content: Content::Read(Read {
            institution: institution(INPS),
            reader: disclosed(1, person),
            token: None,
            purpose: "dpv:ServiceProvision".to_owned(),
            case_ref: None,
            route: "/v1/accesses/search".to_owned(),
            count: 1,
            tree_size: 1,
            subjects: Vec::new(),
            export_digest: None,
        }),
    }
}

/// Those of the digests 1 to 4 that stand in a body and stay closed.
fn closed_in(body: &Body, opening: &Opening) -> Vec<Hash> {
    let json = body.to_json();
    (1..=4)
        .map(|n| Hash([n; 32]))
        .filter(|digest| {
            json.contains(&crate::present::hash_text(digest)) && !opening.shows(digest)
        })
        .collect()
}

fn digests(numbers: &[u8]) -> Option<Vec<Hash>> {
    Some(numbers.iter().map(|n| Hash([*n; 32])).collect())
}

/// Role by role and entry by entry: nothing, or what stays closed.
#[test]
fn who_sees_what() {
    let none = None;
    let all = || digests(&[]);
    // (entry, signer, [by institution, by privacy officer] of town, INPS and a stranger)
    let table = [
        (
            access(),
            TOWN,
            [
                (TOWN, digests(&[1, 2, 4]), all()),
                (INPS, digests(&[1, 2, 4]), all()),
                (STRANGER, none.clone(), none.clone()),
            ],
        ),
        (
            consent(),
            TOWN,
            [
                (TOWN, all(), all()),
                (INPS, all(), all()),
                (STRANGER, none.clone(), none.clone()),
            ],
        ),
        (
            household(),
            TOWN,
            [
                (TOWN, all(), all()),
                (INPS, none.clone(), none.clone()),
                (STRANGER, none.clone(), none.clone()),
            ],
        ),
        (
            read(),
            TOWN,
            [
                (TOWN, none.clone(), none.clone()),
                (INPS, digests(&[1]), all()),
                (STRANGER, none.clone(), none.clone()),
            ],
        ),
    ];
    for (body, signer, readers) in table {
        let entry_type = body.entry_type();
        let signers = [institution(signer)];
        let closed = |id: &str, role| {
            opening(
                &Reader::for_tests(id, role),
                entry_type,
                Some(&body),
                &signers,
            )
            .map(|opening| closed_in(&body, &opening))
        };
        for (id, by_institution, by_dpo) in readers {
            assert_eq!(
                closed(id, Role::Institution),
                by_institution,
                "{id} {entry_type:?}"
            );
            assert_eq!(closed(id, Role::Dpo), by_dpo, "dpo of {id} {entry_type:?}");
            assert_eq!(
                closed(id, Role::Operator),
                None,
                "operator at {id} {entry_type:?}"
            );
        }
        assert_eq!(closed(AUTHORITY, Role::Authority), all(), "{entry_type:?}");
        assert_eq!(public_opening(entry_type), None);
    }
}

#[test]
fn of_an_erased_entry_the_signer_alone_is_known() {
    let signers = [institution(TOWN)];
    let sees = |id: &str, role| {
        opening(
            &Reader::for_tests(id, role),
            EntryType::Access,
            None,
            &signers,
        )
        .is_some()
    };
    assert!(sees(TOWN, Role::Institution));
    assert!(!sees(INPS, Role::Institution));
    assert!(sees(AUTHORITY, Role::Authority));
    assert!(!sees(TOWN, Role::Operator));
}

#[test]
fn what_the_ledger_says_of_itself_is_open_to_all() {
    let reader = Reader::for_tests(STRANGER, Role::Operator);
    for entry_type in [
        EntryType::Genesis,
        EntryType::Key,
        EntryType::Policy,
        EntryType::StateRoot,
    ] {
        assert!(public_opening(entry_type).is_some());
        assert!(opening(&reader, entry_type, None, &[]).is_some());
    }
}

#[test]
fn roles_and_routes() {
    let table = [
        (Role::Institution, true, false, false),
        (Role::Dpo, true, true, false),
        (Role::Authority, true, true, false),
        (Role::Operator, false, false, true),
    ];
    for (role, entries, persons, admin) in table {
        let reader = Reader::for_tests(TOWN, role);
        assert_eq!(demand_reader_of_entries(&reader).is_ok(), entries);
        assert_eq!(
            demand_reader_of_operator(&reader, &institution(TOWN)).is_ok(),
            persons
        );
        assert_eq!(
            demand_reader_of_operator(&reader, &institution(INPS)).is_ok(),
            role == Role::Authority
        );
        assert_eq!(demand_operator(&reader).is_ok(), admin);
    }
}

#[test]
fn a_token_stays_closed_while_it_lets_somebody_in() {
    let mut body = read();
    assert_eq!(live_token(&body, 0), None);
    let Content::Read(read) = &mut body.content else {
        panic!("a read entry")
    };
    read.token = Some(disclosed(5, "token".to_owned()));
    assert_eq!(live_token(&body, 0), Some(Hash([5; 32])));
    assert_eq!(live_token(&body, 330_000), Some(Hash([5; 32])));
    assert_eq!(live_token(&body, 360_000), None);
}
