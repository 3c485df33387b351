// SPDX-License-Identifier: EUPL-1.2
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
use super::*;

const HEAD: &str = "date,purpose_id,status,token_id,requests_count\n";

fn bad(text: &str) -> BadFile {
    parse(text.as_bytes()).expect_err(text)
}

#[test]
fn a_day_of_italy_has_23_24_or_25_hours() {
    const HOUR_MS: u64 = 3_600_000;
    for (day, began, hours) in [
        ("2026-03-28", "2026-03-27T23:00:00Z", 24),
        ("2026-03-29", "2026-03-28T23:00:00Z", 23),
        ("2026-03-30", "2026-03-29T22:00:00Z", 24),
        ("2026-10-24", "2026-10-23T22:00:00Z", 24),
        ("2026-10-25", "2026-10-24T22:00:00Z", 25),
        ("2026-10-26", "2026-10-25T23:00:00Z", 24),
        ("2027-03-28", "2027-03-27T23:00:00Z", 23),
        ("2027-10-31", "2027-10-30T22:00:00Z", 25),
    ] {
        let (from, to) = day_in_italy(day.parse().unwrap()).unwrap();
        assert_eq!(from, time::parse_timestamp(began).unwrap(), "{day}");
        assert_eq!(to - from, hours * HOUR_MS, "{day}");
    }
    // One day ends where the next begins, for years.
    let mut day: Date = "2024-01-01".parse().unwrap();
    for _ in 0..3_000 {
        let next = day.tomorrow().unwrap();
        assert_eq!(day_in_italy(day).unwrap().1, day_in_italy(next).unwrap().0);
        day = next;
    }
}

#[test]
fn a_file_is_read_whole_or_not_at_all() {
    let good = format!("{HEAD}2026-10-25,D2B9,200,t-1,3\n2026-10-25,d2b9,404,t-1,1\r\n\n");
    let file = parse(good.as_bytes()).unwrap();
    assert_eq!(file.counts.len(), 2);
    let key = Key {
        purpose_id: "d2b9".into(),
        status: 200,
        token_id: "t-1".into(),
    };
    assert_eq!(file.counts[&key], (3, 2));

    let line = |row: &str| format!("{HEAD}2026-10-25,p,200,t,1\n{row}\n");
    for (row, column) in [
        ("2026-02-30,p,404,t,1", Some("date")),
        ("25/10/2026,p,404,t,1", Some("date")),
        ("2026-10-26,p,404,t,1", Some("date")),
        ("2026-10-25,,404,t,1", Some("purpose_id")),
        ("2026-10-25,a b,404,t,1", Some("purpose_id")),
        ("2026-10-25,p,99,t,1", Some("status")),
        ("2026-10-25,p,600,t,1", Some("status")),
        ("2026-10-25,p,0404,t,1", Some("status")),
        ("2026-10-25,p,404,,1", Some("token_id")),
        ("2026-10-25,p,404,t,0", Some("requests_count")),
        ("2026-10-25,p,404,t,-1", Some("requests_count")),
        ("2026-10-25,p,404,t,1.0", Some("requests_count")),
        (
            "2026-10-25,p,404,t,9007199254740992",
            Some("requests_count"),
        ),
        ("2026-10-25,p,404,t", None),
        ("2026-10-25,p,404,t,1,", None),
        ("2026-10-25,P,200,t,2", None),
    ] {
        let fault = bad(&line(row));
        assert_eq!((fault.line, fault.column), (3, column), "{row}: {fault:?}");
    }
    // Quoted, a row is still one line; a blank line is none, but at the end.
    assert_eq!(bad(&line("2026-10-25,\"p\n\",404,t,1")).line, 3);
    assert_eq!(bad(&format!("{HEAD}\r\n2026-10-25,p,404,t,1\n")).line, 2);
    for none in ["", HEAD, "\n\n"] {
        bad(none);
    }
    assert_eq!(
        bad("date;purpose_id;status;token_id;requests_count\n").line,
        1
    );
    assert_eq!(
        bad("purpose_id,date,status,token_id,requests_count\n").line,
        1
    );
    assert!(parse(b"\xff\xfe").is_err());
    let many: String = (0..=ROWS_MAX)
        .map(|n| format!("2026-10-25,p,200,t{n},1\n"))
        .collect();
    assert_eq!(bad(&format!("{HEAD}{many}")).expected, "at most 50000 rows");
}

/// What was told of a day, drawn from a seed; the file of the same calls has no differences, and each change of it shows as what it is.
mod generated {
    use client::build::{Draft, Head, Plain};
    use ledger::{hash::Hash, key::SigningKey};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::running::plain_access;

    /// A call: purpose, status, token and second of the day of 25 hours at most.
    type Call = (u8, u8, u8, u32);

    fn call_key(call: &Call) -> Key {
        Key {
            purpose_id: format!("d2b9a653-{}", call.0),
            status: [200, 404, 500][usize::from(call.1)],
            token_id: format!("token-{}", call.2),
        }
    }

    fn told(calls: &[Call], day: Date) -> (InstitutionId, Vec<Body>, (u64, u64)) {
        let bounds = day_in_italy(day).unwrap();
        let institution = InstitutionId::parse(crate::testing::INPS).unwrap();
        let bodies = calls.iter().map(|call| {
            let key = call_key(call);
            let Plain::Access(mut access) = plain_access(&[Hash([1; 32])]) else {
                unreachable!("an access");
            };
            access.side = Side::Provider;
            access.purpose_id = Some(key.purpose_id.to_ascii_uppercase());
            access.status_code = Some(u64::from(key.status));
            access.evidence.get_or_insert_default().voucher_jti = Some(key.token_id);
            let head = Head::new("ledger", &institution, bounds.0 + u64::from(call.3) * 1000);
            let draft = Draft::new(head, Plain::Access(access), bounds.0).unwrap();
            let signed = draft.sign(&[&SigningKey::from_seed([7; 32])]).unwrap();
            Body::parse(signed.payload(), signed.disclosures()).unwrap()
        });
        (institution.clone(), bodies.collect(), bounds)
    }

    fn file(calls: &[Call], day: Date, within_s: u64) -> File {
        let mut counts: BTreeMap<Key, u64> = BTreeMap::new();
        for call in calls.iter().filter(|call| u64::from(call.3) < within_s) {
            *counts.entry(call_key(call)).or_default() += 1;
        }
        let mut text = HEAD.to_owned();
        for (key, count) in counts {
            text += &format!(
                "{day},{},{},{},{count}\n",
                key.purpose_id, key.status, key.token_id
            );
        }
        parse(text.as_bytes()).unwrap()
    }

    fn reconcile(
        (institution, bodies, bounds): &(InstitutionId, Vec<Body>, (u64, u64)),
        file: &File,
    ) -> Reconciliation {
        let mut day = Day::new(institution, Some(Side::Provider), *bounds);
        for (body, index) in bodies.iter().zip(10..) {
            let ledger::body::Content::Access(access) = &body.content else {
                unreachable!("an access");
            };
            day.add(EntryIndex(index), body, access);
            // Told again, or in parts: one call all the same.
            day.add(EntryIndex(index + 1000), body, access);
        }
        day.reconcile(file, 5_000)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_difference_is_told_and_nothing_else(
            mut calls in proptest::collection::vec((0..3u8, 0..3u8, 0..4u8, 0..90_000u32), 1..60),
            day in prop_oneof![Just("2026-03-29"), Just("2026-10-25"), Just("2026-11-24")],
        ) {
            let day: Date = day.parse().unwrap();
            // One is in the day for sure, one in its last second, one in the next day's first.
            calls[0].3 = 0;
            let (from, to) = day_in_italy(day).unwrap();
            let seconds = (to - from) / 1000;
            calls.push((0, 0, 0, u32::try_from(seconds - 1).unwrap()));
            calls.push((1, 1, 1, u32::try_from(seconds).unwrap()));
            let told = told(&calls, day);
            let file = file(&calls, day, seconds);
            let same = reconcile(&told, &file);
            prop_assert!(same.agrees, "{:?}", same.differences);
            prop_assert_eq!(same.requests_in_file, same.requests_in_ledger);

            let (key, (count, line)) = file.counts.iter().next().map(|(key, at)| (key.clone(), *at)).unwrap();
            let only = |changed: &File| {
                let found = reconcile(&told, changed);
                assert_eq!(found.differences.len(), 1, "{:?}", found.differences);
                assert!(!found.agrees);
                found.differences[0].clone()
            };
            let mut more = file.clone();
            more.counts.insert(key.clone(), (count + 1, line));
            let other = only(&more);
            prop_assert_eq!((other.kind, other.in_file, other.in_ledger, other.line), (TracingKind::OtherCount, count + 1, count, Some(line)));

            let mut less = file.clone();
            less.counts.remove(&key);
            let missing = only(&less);
            prop_assert_eq!((missing.kind, missing.in_file, missing.in_ledger), (TracingKind::MissingInFile, 0, count));
            prop_assert_eq!(u64::try_from(missing.entries.len()).unwrap(), count.min(10));

            let mut unknown = file.clone();
            let stranger = Key { token_id: "stranger".into(), ..key };
            unknown.counts.insert(stranger, (7, 99));
            let missing = only(&unknown);
            prop_assert_eq!((missing.kind, missing.in_file, missing.in_ledger, missing.line), (TracingKind::MissingInLedger, 7, 0, Some(99)));
        }
    }

    #[test]
    fn what_names_no_voucher_is_listed_and_others_calls_are_not_counted() {
        let day: Date = "2026-10-25".parse().unwrap();
        let mut told = told(&[(0, 0, 0, 5), (0, 0, 0, 6)], day);
        let file = file(&[(0, 0, 0, 5)], day, 90_000);
        if let ledger::body::Content::Access(access) = &mut told.1[1].content {
            access.evidence = None;
        }
        let found = reconcile(&told, &file);
        assert!(found.differences.is_empty() && !found.agrees);
        assert_eq!(found.not_comparable, [11]);
        let consumer = InstitutionId::parse(crate::testing::TOWN).unwrap();
        let mut other = Day::new(&consumer, None, told.2);
        let ledger::body::Content::Access(access) = &told.1[0].content else {
            unreachable!("an access");
        };
        other.add(EntryIndex(3), &told.1[0], access);
        assert_eq!(other.reconcile(&file, 9).requests_in_ledger, 0);
    }
}
