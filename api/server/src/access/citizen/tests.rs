// SPDX-License-Identifier: EUPL-1.2
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use ledger::{
    body::{
        Disclosed,
        access::{AccessSubject, Action, CaseRef, EService, Evidence, Side, Visibility},
        household::{HouseholdKind, Member},
        system::{Link, Note, NoteKind, Read, Reader as Person, Release},
    },
    number::EntryIndex,
};

use super::*;
use crate::testing::{INPS, TOWN, common, institution};

const ANNA: u8 = 101;
const BRUNO: u8 = 102;
const CARLA: u8 = 103;

fn person(n: u8) -> Hash {
    Hash([n; 32])
}

fn disclosed<T>(digest: u8, value: T) -> Disclosed<T> {
    Disclosed {
        digest: Hash([digest; 32]),
        value: Some(value),
    }
}

fn at(index: u64) -> Reference {
    Reference {
        index: EntryIndex(index),
        leaf: Hash([200; 32]),
    }
}

fn citizen(n: u8) -> Citizen {
    Citizen::new([person(n)])
}

/// The digests from 1 to 15 that stand in a body and are shown.
fn shown(citizen: &Citizen, at: &Reference, body: &Body) -> Vec<u8> {
    let opening = citizen.opening(at, body);
    let json = body.to_json();
    (1..=15)
        .filter(|n| {
            let digest = Hash([*n; 32]);
            json.contains(&crate::present::hash_text(&digest)) && opening.shows(&digest)
        })
        .collect()
}

/// The town asked for two persons at once and met a third. 1 userID, 2 location, 3 reason, 4 evidence, 5 case, 6 to 8 the three.
fn bulk(location: &str) -> Body {
    let subject = |digest, person, role| {
        disclosed(
            digest,
            AccessSubject {
                person: Hash([person; 32]),
                role,
                relation: None,
            },
        )
    };
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
            user_location: disclosed(2, location.to_owned()),
            loa: None,
            purpose_id: None,
            purpose: "dpv:ServiceProvision".to_owned(),
            legal_basis: "dpv-gdpr:A6-1-e".to_owned(),
            legal_reference: None,
            reason: disclosed(3, "r".to_owned()),
            case_ref: Some(disclosed(
                5,
                CaseRef {
                    protocollo: "2026/1".to_owned(),
                    prestazione: None,
                    stato: None,
                },
            )),
            consent_refs: Vec::new(),
            action: Action::Read,
            outcome: "ok".to_owned(),
            status_code: None,
            data_categories: Vec::new(),
            personal_data_types: Vec::new(),
            subjects: vec![
                subject(6, ANNA, SubjectRole::Target),
                subject(7, BRUNO, SubjectRole::Target),
                subject(8, CARLA, SubjectRole::Incidental),
            ],
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

/// An institution's note on entry 5 about these persons: 10 the text, 11 and on the persons.
fn note(by: &str, kind: NoteKind, persons: &[u8], opens: &[NoteOpens]) -> Body {
    let mut common = common(by, 1);
    common.refers_to = Some(at(5));
    Body {
        common,
        content: Content::Note(Note {
            kind,
            text: Some(disclosed(10, "because".to_owned())),
            subjects: persons
                .iter()
                .zip(11..)
                .map(|(n, digest)| disclosed(digest, person(*n)))
                .collect(),
            opens: opens.to_vec(),
        }),
    }
}

#[test]
fn of_a_bulk_query_each_sees_only_the_own_part() {
    let body = bulk("pc-0147");
    for (who, expected) in [
        (ANNA, vec![3, 5, 6]),
        (BRUNO, vec![3, 5, 7]),
        // Met in the answer: the case is the others'.
        (CARLA, vec![3, 8]),
    ] {
        assert_eq!(shown(&citizen(who), &at(5), &body), expected, "{who}");
    }
    // By any of two refs of one person.
    let both = Citizen::new([person(99), person(ANNA)]);
    assert_eq!(shown(&both, &at(5), &body), [3, 5, 6]);
    assert_eq!(shown(&citizen(99), &at(5), &body), [3]);
}

#[test]
fn a_location_is_open_if_it_is_an_office() {
    for (location, open) in [
        ("uo:UF4X2A", true),
        ("uo:A1B2C3D", true),
        ("pc-0147", false),
        ("Voghera/sportello 3", false),
        ("uo:uf4x2a", false),
        ("uo:UF4X2", false),
        ("uo:UF4X2A/pc-1", false),
        ("UF4X2A", false),
    ] {
        let shown = shown(&citizen(ANNA), &at(5), &bulk(location));
        assert_eq!(shown.contains(&2), open, "{location}");
    }
}

#[test]
fn who_caused_an_access_is_opened_by_the_consumers_own_decision_alone() {
    use NoteOpens::{Restriction, UserId, UserLocation};
    let town = || vec![institution(TOWN)];
    let covered = Findings::COVERED;
    let decide = NoteKind::Decide;
    let mut unvouched = Findings::COVERED;
    unvouched.insert(Finding::DelegationMissing);
    // (note, findings, signers, what it opens beyond reason, case and own ref)
    let table: [(Body, Findings, Vec<InstitutionId>, &[u8]); 9] = [
        (
            note(TOWN, decide, &[ANNA], &[UserId]),
            covered,
            town(),
            &[1],
        ),
        (
            note(TOWN, decide, &[ANNA], &[UserId, UserLocation]),
            covered,
            town(),
            &[1, 2],
        ),
        (
            note(TOWN, decide, &[BRUNO, ANNA], &[UserLocation]),
            covered,
            town(),
            &[2],
        ),
        (
            note(TOWN, decide, &[BRUNO], &[UserId]),
            covered,
            town(),
            &[],
        ),
        (note(TOWN, decide, &[ANNA], &[]), covered, town(), &[]),
        (
            note(TOWN, decide, &[ANNA], &[Restriction]),
            covered,
            town(),
            &[],
        ),
        // The provider, somebody who submits for the town, and somebody whom nobody vouches for.
        (
            note(INPS, decide, &[ANNA], &[UserId]),
            covered,
            vec![institution(INPS)],
            &[],
        ),
        (
            note(TOWN, decide, &[ANNA], &[UserId]),
            covered,
            vec![institution(INPS)],
            &[],
        ),
        (
            note(TOWN, decide, &[ANNA], &[UserId]),
            unvouched,
            vec![institution(INPS), institution(TOWN)],
            &[],
        ),
    ];
    for (place, (note, findings, signers, opened)) in table.iter().enumerate() {
        let mut anna = citizen(ANNA);
        anna.hear(note, *findings, signers);
        let mut expected = [opened, &[3u8, 5, 6][..]].concat();
        expected.sort_unstable();
        assert_eq!(shown(&anna, &at(5), &bulk("pc")), expected, "{place}");
        assert!(
            !shown(&anna, &at(6), &bulk("pc")).contains(&1),
            "another access"
        );
        let other_leaf = Reference {
            leaf: Hash([201; 32]),
            ..at(5)
        };
        assert!(!shown(&anna, &other_leaf, &bulk("pc")).contains(&1));
    }
}

#[test]
fn text_that_may_speak_of_others_stays_closed() {
    let alone = note(TOWN, NoteKind::Correct, &[ANNA], &[]);
    assert_eq!(shown(&citizen(ANNA), &at(9), &alone), [10, 11]);
    let several = note(TOWN, NoteKind::Correct, &[BRUNO, ANNA], &[]);
    assert_eq!(shown(&citizen(ANNA), &at(9), &several), [12]);
    let family = Citizen::new([person(ANNA), person(BRUNO)]);
    assert_eq!(shown(&family, &at(9), &several), [10, 11, 12]);
}

#[test]
fn a_household_is_open_to_its_members_and_in_a_persons_list_the_own_membership_alone() {
    let member = |digest, n| {
        disclosed(
            digest,
            Member {
                person: person(n),
                relation: None,
            },
        )
    };
    let body = Body {
        common: common(TOWN, 1),
        content: Content::Household(Household {
            household: disclosed(1, Hash([90; 32])),
            kind: HouseholdKind::Anagrafica,
            members: vec![member(2, ANNA), member(3, BRUNO)],
            valid_from_ms: 1,
        }),
    };
    assert_eq!(shown(&citizen(ANNA), &at(1), &body), [1, 2]);
    let home = Citizen::of_household(Hash([90; 32]), [person(ANNA)]);
    assert_eq!(shown(&home, &at(1), &body), [1, 2, 3]);
    let elsewhere = Citizen::of_household(Hash([91; 32]), [person(ANNA)]);
    assert_eq!(shown(&elsewhere, &at(1), &body), [1, 2]);
}

/// Who read, with which token, stays closed; whom a release or link is about besides, too.
#[test]
fn readings_releases_and_links() {
    let read = |persons: &[u8]| Body {
        common: common(TOWN, 1),
        content: Content::Read(Read {
            institution: institution(INPS),
            reader: disclosed(
                1,
                Person {
                    person: "p".to_owned(),
                    role: "dpo".to_owned(),
                },
            ),
            token: Some(disclosed(2, "t".to_owned())),
            purpose: "dpv:ServiceProvision".to_owned(),
            case_ref: Some(disclosed(3, "2026/1".to_owned())),
            route: "/v1/accesses/search".to_owned(),
            count: 1,
            tree_size: 1,
            subjects: persons
                .iter()
                .zip(4..)
                .map(|(n, digest)| disclosed(digest, person(*n)))
                .collect(),
            export_digest: None,
        }),
    };
    assert_eq!(shown(&citizen(ANNA), &at(1), &read(&[ANNA])), [3, 4]);
    assert_eq!(shown(&citizen(ANNA), &at(1), &read(&[ANNA, BRUNO])), [4]);
    let release = Body {
        common: common(TOWN, 1),
        content: Content::Release(Release {
            subjects: vec![disclosed(1, person(ANNA)), disclosed(2, person(BRUNO))],
        }),
    };
    assert_eq!(shown(&citizen(BRUNO), &at(1), &release), [2]);
    let link = Body {
        common: common(TOWN, 1),
        content: Content::Link(Link {
            old: disclosed(1, person(ANNA)),
            new: disclosed(2, person(99)),
            proof: "p".to_owned(),
        }),
    };
    let both = Citizen::new([person(ANNA), person(99)]);
    assert_eq!(shown(&both, &at(1), &link), [1, 2]);
    assert_eq!(shown(&citizen(ANNA), &at(1), &link), [1]);
}
