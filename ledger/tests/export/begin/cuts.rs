// SPDX-License-Identifier: EUPL-1.2
//! Cuts and times in a start.

use ledger::retention::Cut;

use super::*;

/// Cuts that stand at the start are what the orders in it come to; and what is told to be a cut behind the root is one that was ordered.
#[test]
fn the_cuts_of_a_start_follow_from_its_orders() {
    let mut book = tell(20);
    story::cut(&mut book);
    book.cut("inps");
    let start = book.start(book.size());
    assert!(begin(book.policies(), &start).is_ok());
    // The municipality's, of the story, and the authority's.
    assert!(matches!(
        &start[1..4],
        [StartLine::Cut(_), StartLine::Cut(_), StartLine::Held(_)]
    ));
    let lies: &[(&str, Tamper)] = &[
        ("the cuts that stand", |start| {
            start.remove(2);
        }),
        ("the cuts that stand", |start| {
            told_cut(start).reach.before -= 1;
        }),
        ("the cuts that stand", |start| {
            told_cut(start).reach.authority = false;
        }),
        ("a time of acceptance", |start| {
            told_cut(start).accepted_at_ms -= 1_000 * 86_400_000;
        }),
        ("a cut", |start| {
            let more = start[2].clone();
            start.insert(3, more);
        }),
        ("a cut", |start| {
            // Superseded by the one that stands.
            let mut more = start[2].clone();
            let StartLine::Cut(earlier) = &mut more else {
                panic!("a cut");
            };
            earlier.index.0 -= 1;
            earlier.reach.before -= 1;
            start.insert(2, more);
        }),
        ("a cut", |start| {
            let more = start[2].clone();
            start.insert(3, more);
            let StartLine::Cut(later) = &mut start[3] else {
                panic!("a cut");
            };
            later.index.0 += 1_000;
        }),
        ("the cuts that stand", |start| {
            value(start, kind::CUTS).1.truncate(8);
        }),
        ("the cuts that stand", |start| {
            start.remove(place(start, kind::CUTS));
        }),
        ("the cuts that stand", |start| {
            let order = StateKey::erasure(told_cut(start).index);
            start.retain(|line| !matches!(line, StartLine::Value(key, _) if *key == order));
        }),
        ("what changed after the state root", |start| {
            let at = changes(start);
            let at = at
                .into_iter()
                .rfind(|at| change(start, *at).reach.is_some());
            change(start, at.unwrap()).reach = None;
        }),
    ];
    for (number, (what, lie)) in lies.iter().enumerate() {
        let mut start = start.clone();
        lie(&mut start);
        recount(&mut start);
        let evidence = begin(book.policies(), &start).expect_err(&format!("lie {number}: {what}"));
        assert_eq!(evidence.what, *what, "lie {number}: {evidence}");
    }
}

fn told_cut(start: &mut [StartLine]) -> &mut Cut {
    match &mut start[2] {
        StartLine::Cut(cut) => cut,
        other => panic!("{other:?} is no cut"),
    }
}

/// Told times never fall, over all lines of a start, and the first entry behind it is not older than the last before.
#[test]
fn no_time_of_a_start_falls() {
    let told = told();
    let policies = || told.book.policies();
    let mut start = told.start.clone();
    let last = *changes(&start).last().unwrap();
    // An hour later than all that comes after: proven by nothing, contradicted by the first entry that is replayed.
    change(&mut start, last).accepted_at_ms += 3_600_000;
    let evidence = replay(policies(), &start, &told.rest).unwrap_err();
    assert_eq!(evidence.what, "the time of acceptance");
    for (number, at) in changes(&start).into_iter().enumerate() {
        let mut start = told.start.clone();
        change(&mut start, at).accepted_at_ms -= 3_600_000;
        let evidence = begin(policies(), &start).expect_err(&format!("change {number}"));
        assert_eq!(evidence.what, "a time of acceptance", "{evidence}");
    }
}
