// SPDX-License-Identifier: EUPL-1.2
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
use alloc::{string::ToString, vec, vec::Vec};

use proptest::prelude::*;

use super::*;
use crate::{
    body::{
        Disclosed,
        access::{AccessSubject, Action, EService, Part, Visibility},
    },
    bytes::{
        sides::{FirstTold, Sides, Unsettled},
        state::StateKey,
    },
};

const NOW: u64 = 1_780_000_000_000;

fn person(n: u8) -> Hash {
    Hash([n; 32])
}

fn institution(name: &str) -> InstitutionId {
    InstitutionId::parse(name).unwrap()
}

fn disclosed<T>(value: T) -> Disclosed<T> {
    Disclosed {
        digest: Hash::ZERO,
        value: Some(value),
    }
}

/// An access of one side about targets and incidental persons.
fn access(side: Side, targets: &[u8], incidental: &[u8]) -> Access {
    let subject = |role| {
        move |n: &u8| {
            disclosed(AccessSubject {
                person: person(*n),
                role,
                relation: None,
            })
        }
    };
    Access {
        side,
        exchange: [7; 16],
        consumer: institution("ipa:c_m109"),
        consumer_client_id: None,
        provider: institution("ipa:inps"),
        eservice: EService {
            eservice_id: "isee".to_string(),
            descriptor_id: None,
            name: None,
            version: None,
            operation: None,
        },
        user_id: disclosed("u".to_string()),
        user_role: "r".to_string(),
        user_location: disclosed("l".to_string()),
        loa: None,
        purpose_id: None,
        purpose: "dpv-ps:SocialWelfareProvision".to_string(),
        legal_basis: "dpv-gdpr:A6-1-e".to_string(),
        legal_reference: None,
        reason: disclosed("why".to_string()),
        case_ref: None,
        consent_refs: Vec::new(),
        action: Action::Query,
        outcome: "success".to_string(),
        status_code: None,
        data_categories: Vec::new(),
        personal_data_types: Vec::new(),
        subjects: targets
            .iter()
            .map(subject(SubjectRole::Target))
            .chain(incidental.iter().map(subject(SubjectRole::Incidental)))
            .collect(),
        part: None,
        result_count: None,
        emergency: None,
        visibility: Visibility::Visible,
        evidence: None,
    }
}

fn told(index: u64, access: &Access) -> Told<'_> {
    Told {
        index: EntryIndex(index),
        accepted_at_ms: NOW + index,
        occurred_at_ms: NOW,
        findings: Findings::COVERED,
        access,
    }
}

fn note(index: u64, by: &str, kind: NoteKind, on: u64, subjects: &[u8]) -> Remark {
    Remark {
        index: EntryIndex(index),
        by: institution(by),
        findings: Findings::COVERED,
        kind,
        on: EntryIndex(on),
        subjects: subjects.iter().map(|n| person(*n)).collect(),
    }
}

/// What is changed on one side, and the differences that it makes.
type Case = (&'static str, fn(&mut Access), &'static [Difference]);

#[test]
fn either_side_may_come_first_and_alone_it_waits() {
    let (consumer, provider) = (
        access(Side::Consumer, &[1], &[]),
        access(Side::Provider, &[1], &[2, 3]),
    );
    let unpaired = |told, since_ms| PairState::Unpaired { told, since_ms };
    assert_eq!(
        compare(&[told(4, &consumer)], &[]).state,
        unpaired(Side::Consumer, NOW + 4)
    );
    assert_eq!(
        compare(&[told(9, &provider)], &[]).state,
        unpaired(Side::Provider, NOW + 9)
    );
    // Incidental persons are the provider's alone to name.
    for both in [
        [told(4, &consumer), told(9, &provider)],
        [told(9, &consumer), told(4, &provider)],
    ] {
        let judged = compare(&both, &[]);
        assert_eq!(judged.state, PairState::Paired);
        assert_eq!(judged.since_ms(), Some(NOW + 4));
    }
}

#[test]
fn each_thing_that_is_compared_shows_by_its_name() {
    let consumer = access(Side::Consumer, &[1], &[]);
    let cases: [Case; 9] = [
        ("nothing", |_| {}, &[]),
        (
            "another person",
            |it| it.subjects[0].value.as_mut().unwrap().person = person(2),
            &[Difference::Subjects],
        ),
        (
            "a target as incidental",
            |it| it.subjects[0].value.as_mut().unwrap().role = SubjectRole::Incidental,
            &[Difference::Subjects],
        ),
        (
            "one target more",
            |it| {
                it.subjects
                    .extend(access(Side::Provider, &[2], &[]).subjects)
            },
            &[Difference::Subjects],
        ),
        ("a withheld subject", |it| it.subjects[0].value = None, &[]),
        ("purpose", |it| it.purpose.push('x'), &[Difference::Purpose]),
        (
            "a PDND purpose that one side alone names",
            |it| it.purpose_id = Some("d2b9".to_string()),
            &[],
        ),
        ("outcome", |it| it.outcome.push('x'), &[Difference::Outcome]),
        (
            "a status code that one side alone names",
            |it| it.status_code = Some(200),
            &[],
        ),
    ];
    for (name, change, what) in cases {
        let mut provider = access(Side::Provider, &[1], &[]);
        change(&mut provider);
        let judged = compare(&[told(0, &consumer), told(1, &provider)], &[]);
        let expected = if what.is_empty() {
            PairState::Paired
        } else {
            PairState::Differing(what.to_vec())
        };
        assert_eq!(judged.state, expected, "{name}");
    }
}

#[test]
fn five_minutes_are_one_call() {
    let (consumer, provider) = (
        access(Side::Consumer, &[1], &[]),
        access(Side::Provider, &[1], &[]),
    );
    for (apart, state) in [
        (APART_MS_MAX, PairState::Paired),
        (
            APART_MS_MAX + 1,
            PairState::Differing(vec![Difference::Time]),
        ),
    ] {
        for occurred_at_ms in [NOW - apart, NOW + apart] {
            let later = Told {
                occurred_at_ms,
                ..told(1, &provider)
            };
            assert_eq!(compare(&[told(0, &consumer), later], &[]).state, state);
        }
    }
}

#[test]
fn parts_of_one_side_count_as_one_when_all_are_there() {
    let part = |k, n, targets: &[u8]| Access {
        part: Some(Part { k, n }),
        ..access(Side::Consumer, targets, &[])
    };
    let parts = [
        part(2, 3, &[2]),
        part(1, 3, &[1]),
        part(3, 3, &[3]),
        // Told again, in another number of parts, and beside the parts.
        part(2, 3, &[9]),
        part(1, 2, &[9]),
        access(Side::Consumer, &[9], &[]),
    ];
    let provider = access(Side::Provider, &[1, 2, 3], &[4]);
    let mut entries: Vec<Told<'_>> = parts
        .iter()
        .zip(1..)
        .map(|(part, index)| told(index, part))
        .collect();
    entries.push(told(0, &provider));
    let judged = compare(&entries, &[]);
    assert_eq!(judged.state, PairState::Paired);
    assert_eq!(judged.again, [EntryIndex(4), EntryIndex(5), EntryIndex(6)]);
    assert_eq!(
        judged.consumer.unwrap().entries,
        [EntryIndex(1), EntryIndex(2), EntryIndex(3)]
    );
    // Without the last part the consumer's side is not there yet.
    entries.retain(|told| told.index != EntryIndex(3));
    assert_eq!(
        compare(&entries, &[]).state,
        PairState::Unpaired {
            told: Side::Provider,
            since_ms: NOW
        }
    );
}

#[test]
fn who_may_not_speak_for_a_side_spoils_nothing() {
    let mut consumer = access(Side::Consumer, &[1], &[]);
    let provider = access(Side::Provider, &[1], &[]);
    consumer.purpose.push('x');
    let stranger = Told {
        findings: Findings(1 << Finding::DelegationMissing as u8),
        ..told(0, &consumer)
    };
    let right = access(Side::Consumer, &[1], &[]);
    let judged = compare(&[stranger, told(1, &provider), told(2, &right)], &[]);
    assert_eq!(judged.state, PairState::Paired);
    assert!(judged.again.is_empty());
}

#[test]
fn a_side_s_own_notes_change_what_is_seen() {
    let (consumer, provider) = (
        access(Side::Consumer, &[1], &[]),
        access(Side::Provider, &[2], &[]),
    );
    let entries = [told(0, &consumer), told(1, &provider)];
    let state = |remarks: &[Remark]| compare(&entries, remarks).state;
    let differing = PairState::Differing(vec![Difference::Subjects]);
    assert_eq!(state(&[]), differing);
    let correct = |by, on, subjects| note(5, by, NoteKind::Correct, on, subjects);
    assert_eq!(state(&[correct("ipa:c_m109", 0, &[2])]), PairState::Paired);
    assert_eq!(state(&[correct("ipa:inps", 1, &[1])]), PairState::Paired);
    // Not the other side's, nor a note without persons, nor another kind; and the last one counts.
    assert_eq!(state(&[correct("ipa:inps", 0, &[2])]), differing);
    assert_eq!(state(&[correct("ipa:c_m109", 0, &[])]), differing);
    for kind in [NoteKind::Complete, NoteKind::Dispute, NoteKind::Decide] {
        assert_eq!(state(&[note(5, "ipa:c_m109", kind, 0, &[2])]), differing);
    }
    let later = note(6, "ipa:c_m109", NoteKind::Correct, 0, &[3]);
    assert_eq!(state(&[later, correct("ipa:c_m109", 0, &[2])]), differing);
    // What is completed is incidental.
    let completed = compare(
        &entries,
        &[note(5, "ipa:inps", NoteKind::Complete, 1, &[2, 3])],
    );
    let provider = completed.provider.unwrap();
    assert_eq!(provider.incidental, [person(3)].into());
    assert_eq!(provider.notes, [EntryIndex(5)]);
    // Nor does the side show that somebody else noted something, which may be sealed.
    let another = note(5, "ipa:garante", NoteKind::Dispute, 1, &[2]);
    let provider = compare(&entries, &[another]).provider.unwrap();
    assert_eq!(provider.notes, []);
}

fn any_access(side: Side) -> impl Strategy<Value = (Access, u64)> {
    (
        proptest::collection::vec(1..4u8, 1..3),
        proptest::collection::vec(4..6u8, 0..2),
        proptest::option::of(0..2u8),
        0..2u8,
        0..2u8,
        proptest::option::of(0..2u64),
        prop_oneof![Just(0), 0..APART_MS_MAX * 2],
    )
        .prop_map(
            move |(targets, incidental, id, purpose, outcome, status, ago)| {
                let mut access = access(side, &targets, &incidental);
                access.purpose_id = id.map(|id| id.to_string());
                access.purpose = purpose.to_string();
                access.outcome = outcome.to_string();
                access.status_code = status;
                (access, NOW - ago)
            },
        )
}

proptest! {
    /// What admission settles at once is what the entries say.
    #[test]
    fn the_gist_agrees_where_the_entries_do(
        (consumer, asked_ms) in any_access(Side::Consumer),
        (provider, answered_ms) in any_access(Side::Provider),
    ) {
        let entries = [
            Told { occurred_at_ms: asked_ms, ..told(0, &consumer) },
            Told { occurred_at_ms: answered_ms, ..told(1, &provider) },
        ];
        let paired = compare(&entries, &[]).state == PairState::Paired;
        let (one, other) = (Gist::of(&consumer, asked_ms), Gist::of(&provider, answered_ms));
        prop_assert_eq!(one.agrees(&other), paired);
        prop_assert_eq!(other.agrees(&one), paired);
    }

    /// Values come back as they were; cut short or with something after them they do not.
    #[test]
    fn what_is_kept_comes_back((access, occurred_ms) in any_access(Side::Consumer), index: u64, parts: u64) {
        let kept = FirstTold { index: EntryIndex(index), parts, gist: Gist::of(&access, occurred_ms) };
        let bytes = kept.encode();
        prop_assert_eq!(FirstTold::decode(&bytes), Some(kept));
        prop_assert_eq!(FirstTold::decode(&bytes[1..]), None);
        prop_assert_eq!(FirstTold::decode(&[bytes, vec![0]].concat()), None);
        for sides in [Sides::Only(Side::Consumer), Sides::Only(Side::Provider), Sides::Compare] {
            let why = Unsettled::Pair(sides, Pair::of(&access));
            let bytes = why.encode();
            prop_assert_eq!(Unsettled::decode(&bytes), Some(why));
            prop_assert_eq!(Unsettled::decode(&bytes[..20]), None);
        }
        prop_assert_eq!(StateKey::unsettled(EntryIndex(index)).unsettled_index(), Some(EntryIndex(index)));
    }
}

#[test]
fn forgotten_eras_are_one_range() {
    use crate::bytes::sides::{ERA_MS, era};
    let pair = Pair::of(&access(Side::Consumer, &[1], &[]));
    let key = |ms| StateKey::exchange(era(ms), &pair, Side::Provider, 3).encode();
    let now = 1_780_000_000_000;
    let (start, end) = (
        StateKey::exchanges_start().encode(),
        StateKey::exchanges_end(now).encode(),
    );
    assert!(key(now) > end && key(now - ERA_MS) > end);
    assert!(start < key(now - 2 * ERA_MS) && key(now - 2 * ERA_MS) < end);
}
