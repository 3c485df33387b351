// SPDX-License-Identifier: EUPL-1.2
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use wire::token::Role;

use super::*;

fn parse(body: &serde_json::Value, role: Role) -> Result<Query, Fault> {
    let reader = Reader::for_tests("ipa:c_m109", role);
    Query::parse(body.to_string().as_bytes(), &reader)
}

const REF: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

#[test]
fn a_query_has_one_target() {
    let table = [
        (serde_json::json!({"household": REF}), true),
        (serde_json::json!({"subject": REF}), true),
        (serde_json::json!({"institution": "ipa:inps"}), true),
        (
            serde_json::json!({"institution": "ipa:c_m109", "operator": "u1"}),
            true,
        ),
        (serde_json::json!({"operator": "u1"}), false),
        (serde_json::json!({"household": REF, "subject": REF}), false),
        (serde_json::json!({"subject": REF, "operator": "u1"}), false),
        (serde_json::json!({}), false),
        (serde_json::json!({"institution": "INPS"}), false),
        (serde_json::json!({"subject": REF, "limit": 0}), false),
        (serde_json::json!({"subject": REF, "limit": 101}), false),
        (serde_json::json!({"subject": REF, "finding": "odd"}), false),
        (serde_json::json!({"subject": REF, "types": ["x"]}), false),
        (serde_json::json!({"subject": REF, "types": []}), false),
        (serde_json::json!({"subject": REF, "page": 2}), false),
        (serde_json::json!({"subject": REF, "cursor": "AAAA"}), false),
    ];
    for (body, good) in table {
        assert_eq!(parse(&body, Role::Dpo).is_ok(), good, "{body}");
    }
}

#[test]
fn only_those_who_may_ask_for_a_person() {
    let own = serde_json::json!({"institution": "ipa:c_m109", "operator": "u1"});
    let other = serde_json::json!({"institution": "ipa:inps", "operator": "u1"});
    assert_eq!(parse(&own, Role::Institution), Err(Fault::Forbidden));
    assert_eq!(parse(&other, Role::Dpo), Err(Fault::Forbidden));
    assert!(parse(&other, Role::Authority).is_ok());
    assert_eq!(
        parse(&serde_json::json!({"subject": REF}), Role::Operator),
        Err(Fault::Forbidden)
    );
}

#[test]
fn the_question_is_the_query_without_page_and_limit() {
    let question = |body: serde_json::Value| parse(&body, Role::Dpo).unwrap().question;
    let plain = question(serde_json::json!({"subject": REF, "finding": "any"}));
    assert_eq!(
        plain,
        question(serde_json::json!({"finding": "any", "subject": REF, "limit": 7}))
    );
    assert_ne!(plain, question(serde_json::json!({"subject": REF})));
    let cursor = cursor::format(5, &plain, &Reader::for_tests("ipa:c_m109", Role::Dpo));
    let next = parse(
        &serde_json::json!({"subject": REF, "finding": "any", "cursor": cursor}),
        Role::Dpo,
    )
    .unwrap();
    assert_eq!(next.before, Some(5));
    let moved = serde_json::json!({"subject": REF, "finding": "none", "cursor": cursor});
    assert_eq!(parse(&moved, Role::Dpo), Err(RequestFault::Cursor.into()));
}

#[test]
fn of_times_that_are_not_known_nothing_is_left_of_a_spell() {
    let spell = |from_ms: u64, until_ms: Option<u64>| Spell {
        person: Hash([1; 32]),
        from_ms,
        until_ms,
    };
    let cut = |whole: Spell, times: &[Range<u64>]| -> Vec<(u64, Option<u64>)> {
        let left = without(&whole, &joined(times.to_vec()));
        left.iter().map(|it| (it.from_ms, it.until_ms)).collect()
    };
    let (ended, open) = (spell(10, Some(20)), spell(10, None));
    assert_eq!(cut(ended, &[]), [(10, Some(20))]);
    assert_eq!(cut(ended, &[0..10, 20..30]), [(10, Some(20))]);
    assert_eq!(cut(ended, &[0..11, 19..30]), [(11, Some(19))]);
    assert_eq!(
        cut(ended, &[12..14, 13..15]),
        [(10, Some(12)), (15, Some(20))]
    );
    assert_eq!(cut(ended, &[15..20, 9..15]), []);
    assert_eq!(cut(open, &[12..13, 13..14]), [(10, Some(12)), (14, None)]);
    assert_eq!(cut(open, &[2..3, 12..u64::MAX]), [(10, Some(12))]);
    assert_eq!(cut(open, &[0..u64::MAX, 5..5]), []);
}
