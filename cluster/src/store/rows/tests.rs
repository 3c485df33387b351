// SPDX-License-Identifier: EUPL-1.2
//! Records of rows against plain sets.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;
use crate::store::applied::Applied;
use crate::store::check;
use crate::store::db::{Resources, encode};
use crate::store::keys::state_meta;

/// Three lists, by number: two of a kind, and one whose rows stand each by itself.
fn row(list: u8) -> Row {
    let kind = [RowKind::Type, RowKind::Type, RowKind::Subject];
    Row {
        kind: kind[usize::from(list)],
        of: Hash([list; 32]),
    }
}

/// Which entries of a ledger stand in which list, and where its raft_entries end.
#[derive(Clone, Debug)]
struct Told {
    rows: BTreeSet<(u8, u64)>,
    ends: BTreeSet<u64>,
}

const SIZE: u64 = 900;

fn told() -> impl Strategy<Value = Told> {
    // Lists of a few far apart, and full ones.
    let density = (0.0..1.0f64, 0.0..0.05f64, 0.0..0.3f64);
    let drawn = prop::collection::vec(0.0..1.0f64, SIZE as usize * 3);
    let ends = prop::collection::btree_set(0..SIZE, 0..9);
    (density, drawn, ends).prop_map(|(density, drawn, ends)| {
        let density = [density.0, density.1, density.2];
        let places = (0..3).flat_map(|list| (0..SIZE).map(move |index| (list, index)));
        let stands = places.zip(drawn);
        let stands = stands.filter(|((list, _), drawn)| *drawn < density[usize::from(*list)]);
        Told {
            rows: stands.map(|(place, _)| place).collect(),
            ends,
        }
    })
}

impl Told {
    fn records(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut pending = Pending::default();
        let mut ends = self.ends.iter().peekable();
        for index in 0..SIZE {
            while ends.next_if(|end| **end <= index).is_some() {
                pending.end();
            }
            for list in (0..3).filter(|list| self.rows.contains(&(*list, index))) {
                pending.push(row(list), index);
            }
        }
        let mut records = BTreeMap::new();
        pending.records(|key, value| {
            let last = records.keys().next_back();
            assert!(last.is_none_or(|last: &Vec<u8>| last[..] < key[..]));
            records.insert(key.to_vec(), value.to_vec());
        });
        records
    }

    fn list(&self, list: u8) -> Vec<u64> {
        let rows = self.rows.range((list, 0)..(list + 1, 0));
        rows.map(|(_, index)| *index).collect()
    }
}

fn open(dir: &tempfile::TempDir) -> Arc<Db> {
    let resources = Resources {
        cache_bytes: 1 << 20,
        write_buffer_bytes: 1 << 20,
        background_bytes_per_s: None,
    };
    let db = Db::open_state(&dir.path().join("state"), resources).unwrap();
    let applied = Applied {
        tree_size: SIZE,
        ..Applied::nothing()
    };
    let mut batch = WriteBatch::default();
    let meta = db.cf(state_cf::META).unwrap();
    batch.put_cf(meta, state_meta::APPLIED, encode(&applied).unwrap());
    db.write(batch, false).unwrap();
    Arc::new(db)
}

/// Has a database hold these rows alone.
fn fill(db: &Db, told: &Told) {
    let rows = db.cf(state_cf::ROWS).unwrap();
    let mut batch = WriteBatch::default();
    batch.delete_range_cf(rows, vec![0], vec![u8::MAX]);
    for (key, value) in told.records() {
        batch.put_cf(rows, key, value);
    }
    db.write(batch, false).unwrap();
}

fn all(db: &Arc<Db>, list: u8) -> Vec<u64> {
    asked(db, list, 0..u64::MAX, Direction::Up, usize::MAX)
}

fn asked(
    db: &Arc<Db>,
    list: u8,
    range: Range<u64>,
    direction: Direction,
    limit: usize,
) -> Vec<u64> {
    let (view, Row { kind, of }) = (View::new(db.clone()).unwrap(), row(list));
    let rows = view.rows(kind, &of, range, direction, limit).unwrap();
    rows.into_iter().map(|index| index.0).collect()
}

fn scrub(db: &Arc<Db>) -> Result<(), Error> {
    check::rows(|| Some(db.clone()), || ()).map(drop)
}

proptest! {
    #[test]
    fn records_say_the_rows_that_they_were_made_of(told in told()) {
        let mut rows = BTreeSet::new();
        let mut last: Option<(u8, Run)> = None;
        let raft_entry = |index: u64| told.ends.range(..=index).count();
        for (key, value) in told.records() {
            let run = Run::decode(&key, &value).unwrap();
            let list = key[1];
            prop_assert!(is_shared(row(list).kind) || value.is_empty());
            let indexes: Vec<u64> = run.indexes().collect();
            prop_assert!(indexes.is_sorted());
            prop_assert!(run.indexes().rev().eq(indexes.iter().rev().copied()));
            let of = indexes.iter().map(|index| raft_entry(*index));
            prop_assert!(of.clone().all(|of| of == raft_entry(run.first())));
            if let Some((before, last)) = last {
                prop_assert!(run.is_behind(&last) && !last.is_behind(&run));
                // Two records are of two lists or raft_entries, or too far apart.
                let one = before == list && raft_entry(last.first()) == raft_entry(run.first());
                let together = one && is_shared(row(list).kind);
                prop_assert!(!together || run.first() - last.first() > REACH);
            }
            rows.extend(indexes.into_iter().map(|index| (list, index)));
            last = Some((list, run));
        }
        prop_assert_eq!(rows, told.rows);
    }

    /// One spelling, and nothing that is decoded reaches past the last index.
    #[test]
    fn what_is_decoded_is_spelled_so(
        of: [u8; 32],
        kind in prop::sample::select(vec![1, 0x41, 0x42, 0x45, 0x46, 0x7F]),
        first in prop_oneof![any::<u64>(), u64::MAX - 300..=u64::MAX],
        value in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let key = keys::row(kind, &Hash(of), first);
        if let Some(run) = Run::decode(&key, &value) {
            let mut again = Run::new(run.list, first);
            prop_assert!(run.indexes().skip(1).all(|index| again.take(index)));
            prop_assert_eq!(again.record(), (key, &value[..]));
        } else {
            prop_assert!(!value.is_empty());
        }
    }
}

#[test]
fn any_range_is_answered_both_ways_as_by_a_set() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    let edge = || 0..SIZE + 2;
    let asks = prop::collection::vec((0..3u8, edge(), edge(), 0..SIZE as usize), 24);
    let run = TestRunner::default().run(&(told(), asks), |(told, asks)| {
        fill(&db, &told);
        scrub(&db).unwrap();
        for (list, from, to, limit) in asks {
            let within = told.list(list);
            let mut within: Vec<u64> = within
                .into_iter()
                .filter(|index| (from..to).contains(index))
                .collect();
            for direction in [Direction::Up, Direction::Down] {
                let expected = &within[..within.len().min(limit)];
                prop_assert_eq!(asked(&db, list, from..to, direction, limit), expected);
                within.reverse();
            }
        }
        Ok(())
    });
    run.unwrap();
}

#[test]
fn rows_that_are_removed_leave_all_others() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    let gone = prop::collection::btree_set(0..SIZE, 0..200);
    let run = TestRunner::default().run(&(told(), gone, 0..3u8), |(told, gone, from)| {
        fill(&db, &told);
        let mut expected: Vec<Vec<u64>> = (0..3).map(|list| told.list(list)).collect();
        expected[usize::from(from)].retain(|index| !gone.contains(index));
        let (mut batch, mut touched) = (WriteBatch::default(), BTreeSet::new());
        let before = told.records();
        remove(&db, &row(from), &gone, &mut batch, |key| {
            touched.insert(key.to_vec());
        })
        .unwrap();
        db.write(batch, false).unwrap();
        for list in 0..3 {
            prop_assert_eq!(&all(&db, list), &expected[usize::from(list)]);
        }
        scrub(&db).unwrap();
        // What is not touched is as it was: its file need not be written anew.
        for (key, value) in before.into_iter().filter(|(key, _)| !touched.contains(key)) {
            prop_assert_eq!(db.get(state_cf::ROWS, &key).unwrap(), Some(value));
        }
        Ok(())
    });
    run.unwrap();
}

#[test]
fn a_row_by_itself_has_no_value_and_a_batch_has_one_record_a_list() {
    let mut pending = Pending::default();
    pending.push(row(0), 6);
    pending.end();
    for index in 7..107 {
        pending.push(row(0), index);
        pending.push(row(2), index);
    }
    pending.end();
    let mut records = Vec::new();
    pending.records(|key, value| records.push((key.to_vec(), value.len())));
    let key = |list: u8, index| keys::row(row(list).kind.code(), &row(list).of, index).to_vec();
    let alone = (7..107).map(|index| (key(2, index), 0));
    let shared = [(key(0, 6), 0), (key(0, 7), 13)];
    assert_eq!(records, alone.chain(shared).collect::<Vec<_>>());
}

#[test]
fn damage_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    let put = |list: u8, index, value: &[u8]| {
        let told = Told {
            rows: [(list, 4)].into(),
            ends: BTreeSet::new(),
        };
        fill(&db, &told);
        let key = keys::row(row(list).kind.code(), &row(list).of, index);
        let family = db.cf(state_cf::ROWS).unwrap();
        db.raw().put_cf(family, key, value).unwrap();
    };
    put(0, 6, &[1]);
    scrub(&db).unwrap();
    assert_eq!(all(&db, 0), [4, 6, 7]);
    let too_long = [1; FURTHER_BYTES_MAX + 1];
    let damaged: [(u8, &[u8]); 4] = [(0, &[0]), (0, &[1, 0]), (0, &too_long), (2, &[1])];
    for (list, value) in damaged {
        put(list, 6, value);
        let (view, Row { kind, of }) = (View::new(db.clone()).unwrap(), row(list));
        let read = view.rows(kind, &of, 0..SIZE, Direction::Down, 9);
        for error in [read.unwrap_err(), scrub(&db).unwrap_err()] {
            assert_eq!(error.kind(), crate::ErrorKind::Corrupt);
            let told = format!("a key of kind {} holds no rows", kind.code());
            assert!(error.to_string().contains(&told), "{error}");
        }
    }
    // Two records of one row.
    put(0, 3, &[1]);
    let error = scrub(&db).unwrap_err().to_string();
    assert!(error.contains("a row of the record before"), "{error}");
}

#[test]
fn two_records_of_a_row_are_told_where_a_step_ends_between_them() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    let last = 2 * (check::STEP - 1);
    let told = Told {
        rows: (0..=last).step_by(2).map(|index| (0, index)).collect(),
        ends: (0..SIZE).collect(),
    };
    fill(&db, &told);
    scrub(&db).unwrap();
    let put = |index, value: &[u8]| {
        let key = keys::row(row(0).kind.code(), &row(0).of, index);
        let family = db.cf(state_cf::ROWS).unwrap();
        db.raw().put_cf(family, key, value).unwrap();
    };
    put(last, &[1]);
    scrub(&db).unwrap();
    put(last + 1, &[]);
    let error = scrub(&db).unwrap_err().to_string();
    assert!(error.contains("a row of the record before"), "{error}");
}
