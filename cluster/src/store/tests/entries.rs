// SPDX-License-Identifier: EUPL-1.2
//! Entries read together are the entries read one by one, and are refused as those are.

use ledger::admission::RowKind;
use ledger::id::KeyId;
use ledger::number::TreeSize;
use ledger::state::{State, StateKey};
use ledger::tile::{Bundle, Tile};

use super::*;
use crate::Published;
use crate::error::ErrorKind;
use crate::store::db::Db;
use crate::store::keys::{self, raft_cf, raft_meta, state_cf};
use crate::store::view::{Direction, View};

#[tokio::test(flavor = "multi_thread")]
async fn entries_read_together_are_those_read_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let (_log, machine, shown) = fill_in(dir.path()).await;
    let view = machine.view().unwrap();
    let rising = (0..shown.size + 3).map(EntryIndex);
    let falling = rising.clone().rev().filter(|index| index.0 % 3 != 1);
    let some = [7, u64::MAX, 3, 7, shown.size, 0].map(EntryIndex);
    for indexes in [
        rising.collect(),
        falling.collect(),
        some.to_vec(),
        Vec::new(),
    ] {
        let alone: Vec<_> = indexes
            .iter()
            .map(|index| view.entry(*index).unwrap())
            .collect();
        assert!(view.entries(&indexes).unwrap() == alone, "{indexes:?}");
        let there = alone.iter().filter(|entry| entry.is_some()).count();
        let held = indexes.iter().filter(|index| index.0 < shown.size).count();
        assert_eq!(there, held);
    }
}

/// The order itself is not there, so whoever looks for it comes to a halt.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_on_an_entry_is_looked_for_also_when_many_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let (_log, machine, _) = fill_in(dir.path()).await;
    let db = machine.state();
    let named = StateKey::erasures_of(EntryIndex(6)).encode();
    let state = db.cf(state_cf::STATE).unwrap();
    db.raw().put_cf(state, named, 7_u64.to_be_bytes()).unwrap();
    let view = machine.view().unwrap();
    let refused = view.entry(EntryIndex(6)).unwrap_err().to_string();
    let together = view.entries(&[5, 6, 7].map(EntryIndex)).unwrap_err();
    assert_eq!(together.to_string(), refused);
    assert!(view.entries(&[5, 7].map(EntryIndex)).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn state_that_was_fetched_is_the_state() {
    let dir = tempfile::tempdir().unwrap();
    let (_log, machine, _) = fill_in(dir.path()).await;
    let view = machine.view().unwrap();
    let there = [StateKey::governance(), StateKey::rules()];
    let absent = [7, 0].map(|index| StateKey::sealed_entry(EntryIndex(index)));
    let keys = || absent.iter().chain(&there);
    // What is written since does not show.
    let db = machine.state();
    let state = db.cf(state_cf::STATE).unwrap();
    for key in keys() {
        db.raw().put_cf(state, key.encode(), b"later").unwrap();
    }
    for fetched in [view.fetched(keys().cloned()), view.fetched([].into_iter())] {
        let fetched = fetched.unwrap();
        for key in keys() {
            let value = State::get(&view, key).unwrap();
            assert_eq!(value.is_some(), there.contains(key), "{key:?}");
            assert_eq!(State::get(&fetched, key).unwrap(), value, "{key:?}");
        }
    }
}

/// Bodies and leaves that are well-formed and another entry's pass RocksDB's own checks.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_tree_does_not_vouch_for_is_never_read() {
    type Change = fn(&Db);
    let changes: [(&str, Change); 5] = [
        ("bodies 6 is not", |db| {
            exchange(db, state_cf::BODIES, &keys::number(6), &keys::number(5));
        }),
        ("bodies 6 is not", |db| {
            with_tile(db, |tile| tile.copy_within(5 * 32..6 * 32, 6 * 32));
        }),
        ("bodies 6: it is packed with dictionary 9", |db| {
            let mut body = db.get(state_cf::BODIES, &keys::number(6)).unwrap().unwrap();
            body[0] = 9;
            let bodies = db.cf(state_cf::BODIES).unwrap();
            db.raw().put_cf(bodies, keys::number(6), body).unwrap();
        }),
        ("bodies 6 is missing", |db| {
            let bodies = db.cf(state_cf::BODIES).unwrap();
            db.raw().delete_cf(bodies, keys::number(6)).unwrap();
        }),
        ("tile 0 of level 0 does not hold", |db| {
            with_tile(db, |tile| tile.truncate(6 * 32));
        }),
    ];
    for (named, change) in changes {
        let dir = tempfile::tempdir().unwrap();
        let (_log, machine, _) = fill_in(dir.path()).await;
        change(&machine.state());
        let view = machine.view().unwrap();
        let together = [5, 6, 7].map(EntryIndex);
        for refused in [
            view.entry(EntryIndex(6)).err(),
            view.entries(&together).err(),
        ] {
            let refused = refused.unwrap();
            assert_eq!(refused.kind(), ErrorKind::Corrupt);
            assert!(refused.to_string().contains(named), "{refused}");
        }
        assert!(view.entry(EntryIndex(5)).unwrap().is_some());
        assert!(machine.view().is_err(), "the node stops");
    }
}

/// Changes the first tile of the leaves.
fn with_tile(db: &Db, change: impl FnOnce(&mut Vec<u8>)) {
    let key = keys::tile(0, 0);
    let mut tile = db.get(state_cf::NODES, &key).unwrap().unwrap();
    change(&mut tile);
    let nodes = db.cf(state_cf::NODES).unwrap();
    db.raw().put_cf(nodes, key, tile).unwrap();
}

/// Writes what stands under one key under another.
fn exchange(db: &Db, family: &str, key: &[u8], from: &[u8]) {
    let other = db.get(family, from).unwrap().unwrap();
    let family = db.cf(family).unwrap();
    db.raw().put_cf(family, key, other).unwrap();
}

/// As a state may hold it that a peer sent: who asks for a receipt is told, and gets none that cannot hold.
#[tokio::test(flavor = "multi_thread")]
async fn a_stored_checkpoint_that_is_no_note_is_in_no_receipt() {
    let dir = tempfile::tempdir().unwrap();
    let (_log, machine, shown) = fill_in(dir.path()).await;
    let (db, size) = (machine.state(), TreeSize(shown.size));
    let published = Published {
        size,
        root: machine.view().unwrap().root(),
        note: "no note".into(),
    };
    let kept = db.cf(state_cf::PUBLISHED).unwrap();
    let at = keys::number(size.0);
    let published = published.encode().unwrap();
    db.raw().put_cf(kept, at, published).unwrap();
    let refused = machine.view().unwrap().receipt(EntryIndex(3)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    assert!(refused.to_string().contains("is no note"), "{refused}");
    assert!(machine.view().is_err(), "the node stops");
}

/// Whoever meets it first, and whatever is read: the node does not go on to vote and to lead with what it does not know.
#[tokio::test(flavor = "multi_thread")]
async fn damage_that_any_read_finds_stops_the_node() {
    let dir = tempfile::tempdir().unwrap();
    let (_log, machine, _) = fill_in(dir.path()).await;
    let (db, view) = (machine.state(), machine.view().unwrap());
    let of = view.lists(RowKind::Type, None, 1).unwrap()[0];
    let rows = |view: &View| view.rows(RowKind::Type, &of, 0..9, Direction::Up, 9);
    let row = keys::row(RowKind::Type.code(), &of, rows(&view).unwrap()[0].0);
    let (six, eight, signer) = (EntryIndex(6), TreeSize(8), KeyId(Hash([7; 32])));
    let number = |n| keys::number(n).to_vec();
    let leaves = || keys::tile(0, 0).to_vec();
    let tile = Tile::in_tree(0, 0, eight).unwrap();
    let bundle = Bundle::in_tree(0, eight).unwrap();
    type Read<'a> = &'a dyn Fn(&View) -> Result<(), Error>;
    let reads: [(&str, Vec<u8>, Read<'_>); 17] = [
        (state_cf::BODIES, number(6), &|view| {
            view.entry(six).map(drop)
        }),
        (state_cf::BODIES, number(6), &|view| {
            view.entries(&[six]).map(drop)
        }),
        (state_cf::BODIES, number(6), &|view| {
            view.accepted_at(six).map(drop)
        }),
        (state_cf::BODIES, number(6), &|view| {
            view.bundle(&bundle).map(drop)
        }),
        (state_cf::NODES, leaves(), &|view| view.entry(six).map(drop)),
        (state_cf::NODES, leaves(), &|view| {
            view.root_at(eight).map(drop)
        }),
        (state_cf::NODES, leaves(), &|view| {
            view.inclusion(six, eight).map(drop)
        }),
        (state_cf::NODES, leaves(), &|view| {
            view.tile(&tile).map(drop)
        }),
        (state_cf::ROWS, row.to_vec(), &|view| rows(view).map(drop)),
        (state_cf::PUBLISHED, number(8), &|view| {
            view.published(eight).map(drop)
        }),
        (state_cf::PUBLISHED, number(8), &|view| {
            view.newest_published().map(drop)
        }),
        (state_cf::PUBLISHED, number(8), &|view| {
            view.published_after(TreeSize::EMPTY, 1).map(drop)
        }),
        (state_cf::PUBLISHED, number(8), &|view| {
            view.first_published_after(six).map(drop)
        }),
        (state_cf::CHANGES, number(6), &|view| {
            view.change(six).map(drop)
        }),
        (state_cf::CHANGES, number(6), &|view| {
            view.standing(0..9, 9).map(drop)
        }),
        (
            state_cf::STATE,
            StateKey::unsettled(six).encode(),
            &|view| view.unsettled(9, 9).map(drop),
        ),
        (state_cf::STATE, StateKey::key(&signer).encode(), &|view| {
            view.signer(&signer).map(drop)
        }),
    ];
    for (number, (family, key, read)) in reads.into_iter().enumerate() {
        let kept = db.get(family, &key).unwrap();
        let column = db.cf(family).unwrap();
        db.raw().put_cf(column, &key, [0xff, 0]).unwrap();
        let fatal = Fatal::new();
        let view = View::guarded(db.clone(), fatal.clone()).unwrap();
        let refused = read(&view).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt, "{number}: {refused}");
        let latched = fatal.check().unwrap_err();
        assert_eq!(latched.to_string(), refused.to_string(), "{number}");
        match kept {
            Some(kept) => db.raw().put_cf(column, &key, kept).unwrap(),
            None => db.raw().delete_cf(column, &key).unwrap(),
        }
    }
    assert!(machine.view().is_ok(), "who looks apart stops nobody");
}

/// What this node cosigned is no part of the state.
#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_log_stops_the_node_too() {
    let dir = tempfile::tempdir().unwrap();
    let (log, machine, _) = fill_in(dir.path()).await;
    let meta = log.db().cf(raft_cf::META).unwrap();
    let raw = log.db().raw();
    raw.put_cf(meta, raft_meta::COSIGNED, [0xff]).unwrap();
    assert!(log.cosigned::<u64>().is_err());
    assert!(machine.view().is_err());
}
