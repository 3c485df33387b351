// SPDX-License-Identifier: EUPL-1.2
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alloc::vec;

use jmt::mock::MockTreeStore;
use jmt::{KeyHash, Sha256Jmt};
use proptest::prelude::*;

use super::*;
use crate::body::EntryType;
use crate::id::InstitutionId;
use crate::retention::{Held, RETENTION_MS};
use crate::state::kind;
use crate::state_map::{leaves, verify_absence, verify_presence};

const LISTS: [RowKind; 3] = [RowKind::Subject, RowKind::Household, RowKind::Sealed];

/// Few refs and names, so that changes meet; indexes are given later.
fn changes() -> impl Strategy<Value = Vec<Change>> {
    let lists = prop::collection::btree_set((0usize..3, 0u8..12), 0..6);
    let value = prop::option::weighted(0.7, prop::collection::vec(any::<u8>(), 0..50));
    let writes = prop::collection::btree_map((3u8..10, 0u8..6), value, 0..5);
    let change = (any::<[u8; 32]>(), any::<[u8; 32]>(), lists, writes).prop_map(
        |(meta_salt, leaf_hash, lists, writes)| Change {
            index: EntryIndex(0),
            accepted_at_ms: 1_780_315_200_000,
            meta_salt: Hash(meta_salt),
            leaf_hash: Hash(leaf_hash),
            terms: terms(EntryType::Note),
            reach: None,
            left: 0,
            lists: lists
                .into_iter()
                .map(|(kind, of)| (LISTS[kind], Hash([of; 32])))
                .collect(),
            writes: writes
                .into_iter()
                .map(|((kind, name), value)| {
                    (
                        StateKey {
                            kind,
                            name: vec![name],
                        },
                        value,
                    )
                })
                .collect(),
        },
    );
    prop::collection::vec(change, 0..24).prop_map(|mut changes| {
        for (index, change) in (0..).zip(&mut changes) {
            change.index = EntryIndex(index);
        }
        changes
    })
}

/// What the keys come to, folded by nothing of this module.
fn expected(changes: &[Change]) -> BTreeMap<StateKey, Vec<u8>> {
    let mut rows = BTreeMap::new();
    let mut lists: BTreeMap<StateKey, ListValue> = BTreeMap::new();
    for change in changes {
        for (kind, of) in &change.lists {
            let list = lists.entry(list_key(*kind, of)).or_insert(ListValue::EMPTY);
            let item = bytes::item(&change.meta_salt, of, &change.leaf_hash);
            list.count += 1;
            list.head = bytes::head(&list.head, &item);
        }
        for (key, value) in &change.writes {
            match value {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
    }
    rows.extend(
        lists
            .iter()
            .map(|(key, list)| (key.clone(), list.encode().to_vec())),
    );
    rows
}

fn oracle(rows: &BTreeMap<StateKey, Vec<u8>>) -> Hash {
    if rows.is_empty() {
        return state_map::EMPTY;
    }
    let store = MockTreeStore::default();
    let rows = rows
        .iter()
        .map(|(key, value)| (KeyHash(key.hash().0), Some(value.clone())));
    let (root, _) = Sha256Jmt::new(&store).put_value_set(rows, 0).unwrap();
    Hash(root.0)
}

/// What survives a crash.
#[derive(Clone, Default)]
struct Disk {
    fold: MemoryFold,
    cursor: Option<Hash>,
}

/// What is no part of the result.
#[derive(Clone, Copy)]
struct Parts {
    pass_keys: usize,
    step_keys: usize,
}

/// Folds on from what the disk has, a cut taking so many items of a list at most; dies after so many steps. Whether it came to the end.
fn fold_on(
    disk: &mut Disk,
    changes: &[Change],
    Parts {
        pass_keys,
        step_keys,
    }: Parts,
    left_max: usize,
    mut life: usize,
) -> bool {
    // As apply keeps them: before anything of them is folded. Again, what left its lists would be back.
    if disk.cursor.is_none() {
        changes.iter().for_each(|change| disk.fold.hold(change));
    }
    let changes: Vec<&Change> = changes.iter().collect();
    let given = disk.fold.given(&changes);
    loop {
        let mut pass = Pass::new(disk.cursor, pass_keys, &given);
        pass.left_max = left_max;
        disk.fold.feed(&changes, &given, &mut pass).unwrap();
        assert!(pass.work.len() <= pass_keys);
        let last = pass.is_last();
        loop {
            if life == 0 {
                return false;
            }
            life -= 1;
            let Some(step) = pass.step(step_keys, &disk.fold).unwrap() else {
                break;
            };
            disk.cursor = Some(step.cursor);
            disk.fold.write(step.clone());
            assert_eq!(disk.fold.root(), step.root);
        }
        if last {
            disk.fold.stand(&given);
            return true;
        }
    }
}

fn agree(fold: &MemoryFold) {
    let leaves = leaves(None, usize::MAX, fold).unwrap();
    let values: Vec<_> = fold
        .values
        .iter()
        .map(|(key, value)| (*key, value_hash(value)))
        .collect();
    assert_eq!(leaves, values);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_change_comes_back_from_its_bytes(changes in changes()) {
        for change in changes {
            let bytes = change.encode();
            prop_assert_eq!(Change::decode(&bytes), Ok(change));
            prop_assert!(Change::decode(&bytes[..bytes.len() - 1]).is_err());
            prop_assert!(Change::decode(&[&bytes[..], &[0]].concat()).is_err());
        }
    }

    #[test]
    fn bytes_of_a_change_have_one_spelling(changes in changes(), at in any::<prop::sample::Index>(), flip in 1u8..=255, noise in prop::collection::vec(any::<u8>(), 0..200)) {
        for mut bytes in changes.iter().map(Change::encode).chain([noise]) {
            if !bytes.is_empty() {
                let place = at.index(bytes.len());
                bytes[place] ^= flip;
            }
            if let Ok(change) = Change::decode(&bytes) {
                prop_assert_eq!(change.encode(), bytes);
            }
        }
    }

    #[test]
    fn memory_folds_to_the_oracle_s_root(changes in changes(), cut in any::<prop::sample::Index>()) {
        let mut one_by_one = MemoryFold::new();
        for (folded, change) in changes.iter().enumerate() {
            prop_assert_eq!(one_by_one.root(), oracle(&expected(&changes[..folded])));
            one_by_one.apply(change);
        }
        let rows = expected(&changes);
        prop_assert_eq!(one_by_one.root(), oracle(&rows));
        // In two parts, wherever the cut is.
        let (first, second) = changes.split_at(cut.index(changes.len() + 1));
        let mut in_parts = MemoryFold::new();
        in_parts.apply_all(first);
        in_parts.apply_all(second);
        prop_assert_eq!(&in_parts, &one_by_one);
        for (key, value) in &rows {
            prop_assert_eq!(in_parts.value(key), Some(&value[..]));
            let proof = in_parts.prove(key);
            prop_assert_eq!(verify_presence(&in_parts.root(), &key.hash(), value, &proof), Ok(()));
        }
        let stranger = StateKey::subject(&Hash([200; 32]));
        prop_assert_eq!(in_parts.value(&stranger), None);
        prop_assert_eq!(verify_absence(&in_parts.root(), &stranger.hash(), &in_parts.prove(&stranger)), Ok(()));
    }

    /// Whatever fits in memory, however small the steps, wherever it dies: the same values, map and root.
    #[test]
    fn a_fold_that_dies_at_any_step_comes_to_the_same_root(changes in changes(), cut in any::<prop::sample::Index>(), pass_keys in 1usize..20, step_keys in 1usize..8) {
        let (before, during) = changes.split_at(cut.index(changes.len() + 1));
        let mut start = Disk::default();
        start.fold.apply_all(before);
        let mut whole = start.fold.clone();
        whole.apply_all(during);
        for life in 0.. {
            let mut disk = start.clone();
            let done = fold_on(&mut disk, during, Parts { pass_keys, step_keys }, LEFT_MAX, life);
            agree(&disk.fold);
            // Other sizes after the restart.
            let parts = Parts { pass_keys: step_keys, step_keys: pass_keys };
            prop_assert!(fold_on(&mut disk, during, parts, LEFT_MAX, usize::MAX));
            prop_assert_eq!(&disk.fold, &whole);
            if done {
                break;
            }
        }
    }

    #[test]
    fn leaves_come_in_parts(changes in changes(), limit in 1usize..7) {
        let mut fold = MemoryFold::new();
        fold.apply_all(&changes);
        let all = leaves(None, usize::MAX, &fold).unwrap();
        let mut parts: Vec<(Hash, Hash)> = Vec::new();
        loop {
            let after = parts.last().map(|(key, _)| *key);
            let part = leaves(after.as_ref(), limit, &fold).unwrap();
            prop_assert!(part.len() <= limit);
            if part.is_empty() {
                break;
            }
            parts.extend(part);
        }
        prop_assert_eq!(parts, all);
        agree(&fold);
    }
}

mod retention;

fn institution(number: usize) -> InstitutionId {
    InstitutionId::parse(["ipa:a", "ipa:b", "ipa:c"][number]).unwrap()
}

fn terms(entry_type: EntryType) -> Terms {
    Terms {
        entry_type,
        institution: institution(0),
        held: None,
    }
}

fn change(index: u64, lists: Vec<(RowKind, Hash)>, writes: Writes) -> Change {
    Change {
        index: EntryIndex(index),
        accepted_at_ms: 1_780_315_200_000,
        meta_salt: Hash([1; 32]),
        leaf_hash: Hash([2; 32]),
        terms: terms(EntryType::Note),
        reach: None,
        left: 0,
        lists,
        writes,
    }
}

#[test]
fn lists_twice_or_local_or_out_of_order_are_no_change() {
    let (one, two) = (Hash([1; 32]), Hash([2; 32]));
    let key = |kind| StateKey {
        kind,
        name: vec![7],
    };
    let subject = RowKind::Subject;
    for (lists, writes) in [
        (vec![(subject, one), (subject, one)], vec![]),
        (vec![(subject, two), (subject, one)], vec![]),
        (vec![(RowKind::Institution, one)], vec![]),
        (vec![], vec![(key(kind::KEY), None), (key(kind::KEY), None)]),
        (
            vec![],
            vec![(key(kind::ROLE), None), (key(kind::KEY), None)],
        ),
        (vec![], vec![(key(kind::SUBJECT), None)]),
        (vec![], vec![(key(kind::ENTRY_ID), None)]),
    ] {
        let change = change(1, lists, writes);
        assert!(Change::decode(&change.encode()).is_err(), "{change:?}");
    }
}

/// Whose an entry is that an earlier build kept would have to be guessed: it is refused, and the cause is named.
#[test]
fn a_change_of_an_earlier_build_is_refused_by_name() {
    let mut earlier = change(3, vec![], vec![]).encode();
    earlier[0] = 1;
    let why = Change::decode(&earlier).unwrap_err().0;
    assert!(why.contains("version 1, by an earlier build"), "{why}");
    assert!(why.contains("begin anew"), "{why}");
}

/// The layout, byte by byte.
#[test]
fn the_bytes_of_a_change() {
    let held = Held {
        by: institution(1),
        due_ms: Some(9),
    };
    let change = Change {
        terms: Terms {
            held: Some(held),
            ..terms(EntryType::Erasure)
        },
        reach: Some(Reach {
            before: 2,
            authority: true,
            types: vec![EntryType::Access, EntryType::Note],
        }),
        left: 7,
        ..change(
            3,
            vec![],
            vec![(StateKey::ceased(EntryIndex(1)), Some(vec![6; 8]))],
        )
    };
    let expected = [
        &[2, 0, 0, 0, 0, 0, 0, 0, 3][..],
        &[0, 0, 1, 158, 131, 14, 26, 0],
        &[1; 32],
        &[2; 32],
        &[15, 0, 0, 0, 5],
        b"ipa:a",
        &[2, 0, 0, 0, 5],
        b"ipa:b",
        &[0, 0, 0, 0, 0, 0, 0, 9],
        &[1, 0, 0, 0, 0, 0, 0, 0, 2, 1, 2, 2, 12],
        &[0, 0, 0, 7],
        &[0, 0, 0, 0, 0, 0, 0, 1],
        &[0, 0, 0, 9, 0x8E, 0, 0, 0, 0, 0, 0, 0, 1],
        &[1, 0, 0, 0, 8, 6, 6, 6, 6, 6, 6, 6, 6],
    ];
    assert_eq!(change.encode(), expected.concat());
    assert_eq!(Change::decode(&change.encode()), Ok(change));
}

#[test]
fn a_value_that_is_no_list_is_named() {
    let of = Hash([5; 32]);
    let mut fold = MemoryFold::new();
    fold.apply(&change(0, vec![(RowKind::Subject, of)], vec![]));
    let key = list_key(RowKind::Subject, &of).hash();
    fold.values.get_mut(&key).unwrap().pop();
    let next = change(1, vec![(RowKind::Subject, of)], vec![]);
    assert_eq!(
        Pass::new(None, 9, &Given::default()).add(&next, &fold),
        Err(FoldError::List(key))
    );
}
