// SPDX-License-Identifier: EUPL-1.2
//! Cuts in the store: bases over crashes and snapshots.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use ledger::admission::{Row, RowKind};
use ledger::erasure;
use ledger::fold::{Change, FoldReader, MemoryFold};
use ledger::retention::RETENTION_MS;
use ledger::state::StateKey;
use rocksdb::WriteBatch;

use super::folds::{SIZES, fold_at, fold_steps, fold_to_the_end, later, order, statement};
use super::*;
use crate::Direction;
use crate::store::db::Db;
use crate::store::erase;
use crate::store::fold::{self, Between, DbFold, Done, Progress};
use crate::store::keys::{self, state_cf, state_meta};
use crate::tasks::Halt;
use crate::testbed::{cut, institution, key, note_on, subject};

/// So many persons.
const PERSONS: u64 = 20;
/// Notes on them, some older than their retention when a cut comes.
const OLD: u64 = 60;
const YOUNG: u64 = 8;
/// Entries in the tree after the cut: a genesis and a state root are among them.
const SIZE: u64 = 1 + OLD + 1 + YOUNG + 1;

fn person(number: u64) -> u64 {
    number * 7 % PERSONS
}

fn batch(index: u64, stamp_ms: u64, entries: &[SubmittedEntry]) -> RaftEntry {
    let items = entries
        .iter()
        .map(|entry| BatchItem::new(entry.encode().into(), [index as u8; 32], None));
    later(index, Batch::new(stamp_ms, items.collect()))
}

/// What was there long ago, then what came since, and the cut.
fn told() -> (Vec<RaftEntry>, Vec<RaftEntry>) {
    told_before(SIZE - 1)
}

/// The same, with a cut of what stands before an index.
fn told_before(before: u64) -> (Vec<RaftEntry>, Vec<RaftEntry>) {
    let founded = genesis(&[(1, "127.0.0.1:1".parse().unwrap())].into());
    let then_ms = Clock::system().now_ms();
    let at = |now_ms, numbers: std::ops::Range<u64>| {
        let notes = numbers.map(|number| note_on(now_ms, 100 + number, person(number)));
        notes.collect::<Vec<_>>()
    };
    let old = vec![
        batch(0, then_ms, &[founded]),
        batch(1, then_ms, &at(then_ms, 0..OLD)),
    ];
    let now_ms = then_ms + RETENTION_MS + 60_000;
    let mut young = at(now_ms, OLD..OLD + YOUNG);
    young.push(cut(now_ms, 99, before));
    (old, vec![batch(4, now_ms, &young), order(5)])
}

fn changes(db: &Db) -> Vec<Change> {
    (0..)
        .map_while(|index| db.get(state_cf::CHANGES, &keys::number(index)).unwrap())
        .map(|change| Change::decode(&change).unwrap())
        .collect()
}

/// Values, rows and changes are what a fold in memory holds.
fn agree(machine: &Machine, memory: &MemoryFold) {
    let db = machine.state();
    assert_eq!(Hash(Done::read(&*db).unwrap().root), memory.root());
    for (key, value) in memory.iter() {
        assert_eq!(DbFold(&*db).value(key).unwrap().as_ref(), Some(value));
    }
    let mut rows: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (change, _) in memory.held() {
        let stored = db.get(state_cf::CHANGES, &keys::number(change.index.0));
        let stored = Change::decode(&stored.unwrap().unwrap()).unwrap();
        assert_eq!(stored.lists, change.lists);
        for number in 0..PERSONS {
            if change.lists.contains(&(RowKind::Subject, subject(number))) {
                rows.entry(number).or_default().push(change.index.0);
            }
        }
    }
    let view = machine.view().unwrap();
    for number in 0..PERSONS {
        let found = view
            .rows(
                RowKind::Subject,
                &subject(number),
                0..SIZE,
                Direction::Up,
                999,
            )
            .unwrap();
        let found: Vec<u64> = found.into_iter().map(|index| index.0).collect();
        assert_eq!(
            found,
            rows.remove(&number).unwrap_or_default(),
            "of {number}"
        );
    }
    let standing: usize = changes(&db).iter().map(|change| change.lists.len()).sum();
    assert_eq!(standing as u64, YOUNG);
    assert!(db.get(state_cf::META, state_meta::CUTS).unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_that_is_killed_or_copied_after_any_step_moves_each_base_once() {
    let start = tempfile::tempdir().unwrap();
    let (old, young) = told();
    let memory = {
        let (mut log, mut machine) = open_in(start.path()).unwrap();
        fill(&mut log, &mut machine, old).await;
        fold_at(2, &mut log, &mut machine).await;
        let stated = statement(3, &machine, &key("node 1"));
        fill(&mut log, &mut machine, vec![stated]).await;
        fill(&mut log, &mut machine, young).await;
        machine.flush().unwrap();
        let mut memory = MemoryFold::new();
        memory.apply_all(&changes(&machine.state()));
        memory
    };
    for steps in 1.. {
        let (dir, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        copy(start.path(), dir.path());
        let ended = {
            let (_log, machine) = open_in(dir.path()).unwrap();
            let ended = fold_steps(&machine, steps);
            machine.flush().unwrap();
            ended
        };
        let (_log, mut machine) = open_in(dir.path()).unwrap();
        let snapshot = machine
            .get_snapshot_builder()
            .await
            .build_snapshot()
            .await
            .unwrap();
        fold_to_the_end(&machine).await;
        agree(&machine, &memory);
        let (_other_log, mut other) = open_in(to.path()).unwrap();
        other
            .install_snapshot(&snapshot.meta, snapshot.snapshot)
            .await
            .unwrap();
        fold_to_the_end(&other).await;
        agree(&other, &memory);
        if ended {
            assert!(steps > 2, "only {steps} steps");
            break;
        }
    }
}

/// A fold asks whether to go on while it looks for what a cut takes, and leaves nothing behind when it is not to.
#[tokio::test(flavor = "multi_thread")]
async fn a_fold_is_stopped_while_it_looks_for_what_a_cut_takes() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, mut machine) = open_in(dir.path()).unwrap();
    cut_due(&mut log, &mut machine, SIZE - 1).await;
    let db = machine.state();
    let order = fold::Order::read(&*db, 2).unwrap().unwrap();
    for stop_at in 1..=OLD / fold::LOOK_PERIOD {
        let mut looks = 0;
        let folded = fold::run(&db, &order, SIZES, |between| {
            looks += 1;
            assert_eq!(between, Between::Reading);
            match looks == stop_at {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        assert_eq!(folded.unwrap(), None);
        assert_eq!(Progress::read(&*db).unwrap(), None);
    }
}

/// Folds what was there long ago, and applies what came since: a cut of what stands before an index, and the order to fold it.
async fn cut_due(log: &mut Log, machine: &mut Machine, before: u64) {
    let (old, young) = told_before(before);
    fill(log, machine, old).await;
    fold_at(2, log, machine).await;
    let stated = statement(3, machine, &key("node 1"));
    fill(log, machine, vec![stated]).await;
    fill(log, machine, young).await;
}

/// What is kept of an exchange that is not settled goes with its entry: an entry that stands tells of it, however old it is.
#[tokio::test(flavor = "multi_thread")]
async fn an_unsettled_pair_is_forgotten_when_retention_took_its_entry() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, mut machine) = open_in(dir.path()).unwrap();
    cut_due(&mut log, &mut machine, OLD / 2).await;
    let unsettled = |machine: &Machine| -> Vec<u64> {
        let found = machine.view().unwrap().unsettled(SIZE, 99).unwrap();
        found.into_iter().map(|(index, _)| index.0).collect()
    };
    // As admission notes them: beside what the cut takes, what is as old and stays, and what is young.
    let db = machine.state();
    let mut batch = WriteBatch::default();
    for index in [1, OLD, SIZE - 2] {
        let key = StateKey::unsettled(EntryIndex(index)).encode();
        let value = ledger::bytes::sides::Unsettled::Corrected.encode();
        batch.put_cf(db.cf(state_cf::STATE).unwrap(), key, value);
    }
    db.write(batch, false).unwrap();
    let mut builder = machine.get_snapshot_builder().await;
    builder.build_snapshot().await.unwrap();
    assert_eq!(unsettled(&machine), [SIZE - 2, OLD, 1]);
    fold_to_the_end(&machine).await;
    let order = erasure::order_at(&machine.view().unwrap(), 0).unwrap();
    let done = erase::Progress { orders: 1 };
    assert!(erase::carry_out(&db, std::slice::from_ref(&order), done, &Halt::never()).unwrap());
    assert_eq!(unsettled(&machine), [SIZE - 2, OLD]);
    assert_eq!(db.get(state_cf::CHANGES, &keys::number(1)).unwrap(), None);
    // What stays keeps its row, also where that shared a record with rows that go.
    let (view, Row { kind, of }) = (machine.view().unwrap(), Row::institution(&institution()));
    let rows = view.rows(kind, &of, 0..SIZE, Direction::Up, 999).unwrap();
    let stands = |index: &u64| {
        let change = db.get(state_cf::CHANGES, &keys::number(*index));
        change.unwrap().is_some()
    };
    let standing: Vec<EntryIndex> = (0..SIZE).filter(stands).map(EntryIndex).collect();
    assert!(!stands(&(OLD / 2 - 1)) && stands(&(OLD / 2)));
    assert_eq!(rows, standing);
    // Carried out again it finds nothing to take out of the files, and leaves those of rows and changes as they are.
    let tables = || {
        let files = db.raw().live_files().unwrap().into_iter();
        let of = |family: &str| [state_cf::ROWS, state_cf::CHANGES].contains(&family);
        let names = files.filter(|file| of(&file.column_family_name));
        names.map(|file| file.name).collect::<BTreeSet<_>>()
    };
    let before = tables();
    assert!(erase::carry_out(&db, &[order], done, &Halt::never()).unwrap());
    assert_eq!(tables(), before);
}

/// The cut at hand may free what another one took, which reached further.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_nearer_cut_frees_leaves_the_rows_too() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, mut machine) = open_in(dir.path()).unwrap();
    cut_due(&mut log, &mut machine, OLD / 2).await;
    let mut builder = machine.get_snapshot_builder().await;
    builder.build_snapshot().await.unwrap();
    fold_to_the_end(&machine).await;
    let order = erasure::order_at(&machine.view().unwrap(), 0).unwrap();
    let done = erase::Progress { orders: 1 };
    let db = machine.state();
    assert!(erase::carry_out(&db, std::slice::from_ref(&order), done, &Halt::never()).unwrap());
    // As a fold leaves it that takes the last item of an entry.
    let freed = OLD / 2 - 1;
    let row = keys::row(RowKind::Institution as u8, &subject(1), freed);
    assert_eq!(
        db.get(state_cf::CHANGES, &keys::number(freed)).unwrap(),
        None
    );
    let mut batch = WriteBatch::default();
    batch.put_cf(db.cf(state_cf::ROWS).unwrap(), row, b"");
    batch.put_cf(db.cf(state_cf::META).unwrap(), state_meta::RETIRED, b"");
    db.write(batch, false).unwrap();
    let mut nearer = order;
    nearer.scope = erasure::Scope::Before(2, Vec::new());
    assert!(erase::carry_out(&db, &[nearer], done, &Halt::never()).unwrap());
    assert_eq!(db.get(state_cf::ROWS, &row).unwrap(), None);
}
