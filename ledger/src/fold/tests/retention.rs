// SPDX-License-Identifier: EUPL-1.2
//! Bases that cuts move, against a model that keeps every item and every cut.

use super::*;
use crate::retention::{Cut, Cuts};
use crate::time::DAY_MS;

const TYPES: [EntryType; 7] = [
    EntryType::Access,
    EntryType::Note,
    EntryType::Read,
    EntryType::Release,
    EntryType::Consent,
    EntryType::Household,
    EntryType::Link,
];

/// What one entry is drawn as.
#[derive(Clone, Debug)]
struct Drawn {
    salt: [u8; 32],
    days: u64,
    entry_type: usize,
    institution: usize,
    held: Option<(usize, Option<u64>)>,
    lists: Vec<(usize, u8)>,
    /// An earlier entry that ceases so many days from then, and whether it is this one itself.
    ceases: Option<(prop::sample::Index, u64)>,
    /// Before which, the authority's, of which types.
    cut: Option<(prop::sample::Index, bool, Vec<usize>)>,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let held = prop::option::weighted(0.2, (0usize..3, prop::option::of(0u64..2_000)));
    let lists = prop::collection::btree_set((0usize..3, 0u8..4), 0..4);
    let ceases = prop::option::weighted(0.4, (any::<prop::sample::Index>(), 0u64..400));
    let types = prop::collection::btree_set(0usize..TYPES.len(), 0..3);
    let types = types.prop_map(|types| types.into_iter().collect());
    let cut = (
        any::<prop::sample::Index>(),
        prop::bool::weighted(0.3),
        types,
    );
    (
        any::<[u8; 32]>(),
        0u64..200,
        0..TYPES.len(),
        0usize..3,
        held,
        lists.prop_map(|lists| lists.into_iter().collect()),
        ceases,
        prop::option::weighted(0.3, cut),
    )
        .prop_map(
            |(salt, days, entry_type, institution, held, lists, ceases, cut)| Drawn {
                salt,
                days,
                entry_type,
                institution,
                held,
                lists,
                ceases,
                cut,
            },
        )
}

fn town() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec(drawn(), 0..40).prop_map(|drawn| {
        let (mut now_ms, mut ceased) = (0, BTreeMap::new());
        (0u64..)
            .zip(drawn)
            .map(|(index, drawn)| {
                now_ms += drawn.days * DAY_MS;
                build(index, now_ms, &drawn, &mut ceased)
            })
            .collect()
    })
}

fn build(index: u64, now_ms: u64, drawn: &Drawn, ceased: &mut BTreeMap<u64, u64>) -> Change {
    let mut writes = vec![];
    if let Some((of, days)) = &drawn.ceases {
        let of = of.index(index as usize + 1) as u64;
        let at_ms = now_ms + days * DAY_MS;
        // As admission does: the earliest stands.
        if ceased.get(&of).is_none_or(|known| at_ms < *known) {
            ceased.insert(of, at_ms);
            writes.push((
                StateKey::ceased(EntryIndex(of)),
                Some(at_ms.to_be_bytes().to_vec()),
            ));
        }
    }
    let reach = drawn.cut.as_ref().map(|(before, authority, types)| Reach {
        before: before.index(index as usize + 1) as u64,
        authority: *authority,
        types: types.iter().map(|of| TYPES[*of]).collect(),
    });
    let held = drawn.held.as_ref().map(|(by, due)| Held {
        by: institution(*by),
        due_ms: due.map(|days| days * DAY_MS),
    });
    let entry_type = match &reach {
        Some(_) => EntryType::Erasure,
        None => TYPES[drawn.entry_type],
    };
    Change {
        index: EntryIndex(index),
        accepted_at_ms: now_ms,
        meta_salt: Hash(drawn.salt),
        leaf_hash: Hash::of(&[&drawn.salt]),
        terms: Terms {
            entry_type,
            institution: institution(drawn.institution),
            held,
        },
        reach,
        left: 0,
        lists: drawn
            .lists
            .iter()
            .map(|(kind, of)| (LISTS[*kind], Hash([*of; 32])))
            .collect(),
        writes,
    }
}

/// A list with all that was ever in it since it last was empty.
#[derive(Clone, Default)]
struct Listed {
    items: Vec<(u64, Hash)>,
    gone: usize,
}

/// The plain rule, spelled out over all cuts ever given.
fn takes(cut: &Cut, change: &Change, ceased: &BTreeMap<u64, u64>) -> bool {
    let terms = &change.terms;
    let holds_on = matches!(terms.entry_type, EntryType::Consent | EntryType::Household);
    let since = if holds_on {
        let at_ms = ceased.get(&change.index.0);
        at_ms.map(|at_ms| *at_ms.max(&change.accepted_at_ms))
    } else if terms.entry_type == EntryType::Link || terms.entry_type == EntryType::Erasure {
        None
    } else {
        Some(change.accepted_at_ms)
    };
    let held = terms.held.as_ref();
    let holder = held.filter(|held| held.due_ms.is_none_or(|due| cut.accepted_at_ms < due));
    let may = holder.is_none_or(|held| held.by == cut.institution)
        && (cut.reach.authority || terms.institution == cut.institution);
    let types = &cut.reach.types;
    may && change.index.0 < cut.reach.before
        && since.is_some_and(|since| since + RETENTION_MS <= cut.accepted_at_ms)
        && (types.is_empty() || types.contains(&terms.entry_type))
}

/// The lists after all changes, folded by nothing of this crate's fold, a cut taking so many items of a list at most.
fn model(changes: &[Change], left_max: usize) -> BTreeMap<StateKey, ListValue> {
    let mut lists: BTreeMap<StateKey, Listed> = BTreeMap::new();
    let (mut ceased, mut cuts) = (BTreeMap::new(), Vec::new());
    for change in changes {
        for (kind, of) in &change.lists {
            let item = bytes::item(&change.meta_salt, of, &change.leaf_hash);
            let list = lists.entry(list_key(*kind, of)).or_default();
            list.items.push((change.index.0, item));
        }
        for (key, value) in &change.writes {
            let at_ms = u64::from_be_bytes(value.as_deref().unwrap().try_into().unwrap());
            ceased.insert(key.ceased_index().unwrap().0, at_ms);
        }
        let Some(cut) = change.cut() else { continue };
        cuts.push(cut);
        lists.retain(|_, list| {
            let taken = |(index, _): &(u64, Hash)| {
                // Its own item stands behind everything it takes.
                *index < change.index.0
                    && cuts
                        .iter()
                        .any(|cut| takes(cut, &changes[*index as usize], &ceased))
            };
            let stays = list.gone + left_max;
            while list.gone < stays && list.items.get(list.gone).is_some_and(taken) {
                list.gone += 1;
            }
            list.gone < list.items.len()
        });
    }
    let head = |items: &[(u64, Hash)]| {
        let items = items.iter();
        items.fold(Hash::ZERO, |head, (_, item)| bytes::head(&head, item))
    };
    lists
        .into_iter()
        .map(|(key, list)| {
            let value = ListValue {
                count: list.items.len() as u64,
                head: head(&list.items),
                base_count: list.gone as u64,
                base_head: head(&list.items[..list.gone]),
            };
            (key, value)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn bases_move_as_the_model_says(changes in town(), cut in any::<prop::sample::Index>()) {
        let model = model(&changes, LEFT_MAX);
        let rows = model.iter().map(|(key, list)| (key.clone(), list.encode().to_vec()));
        let mut one_by_one = MemoryFold::new();
        for change in &changes {
            one_by_one.apply(change);
        }
        prop_assert_eq!(one_by_one.root(), oracle(&rows.collect()));
        for (key, list) in &model {
            prop_assert_eq!(one_by_one.value(key), Some(&list.encode()[..]));
        }
        // What is held is what stands in lists, and nothing else.
        let held: usize = one_by_one.held().map(|(change, _)| change.lists.len()).sum();
        let standing: u64 = model.values().map(|list| list.count - list.base_count).sum();
        prop_assert_eq!(held as u64, standing);
        // In two folds, wherever the first ends, and begun anew from what is kept of it.
        let (first, second) = changes.split_at(cut.index(changes.len() + 1));
        let mut in_parts = MemoryFold::new();
        in_parts.apply_all(first);
        let values = in_parts.iter().map(|(key, value)| (*key, value.clone())).collect();
        let cuts = Cuts::decode(&in_parts.cuts().encode()).unwrap();
        let mut anew = MemoryFold::of_values(values).with_cuts(cuts);
        for (change, ceased_ms) in in_parts.held() {
            anew.hold(&Change::decode(&change.encode()).unwrap());
            if let Some(ceased_ms) = ceased_ms {
                anew.cease(change.index, ceased_ms);
            }
        }
        anew.apply_all(second);
        prop_assert_eq!(&anew, &one_by_one);
    }

    /// Wherever a fold before it ended, whatever fits in memory, however small the steps, wherever it dies.
    #[test]
    fn a_cut_fold_that_dies_at_any_step_comes_to_what_the_model_says(changes in town(), cut in any::<prop::sample::Index>(), pass_keys in 1usize..9, step_keys in 1usize..4, left_max in 1usize..4) {
        let (before, during) = changes.split_at(cut.index(changes.len() + 1));
        let parts = |pass_keys, step_keys| Parts { pass_keys, step_keys };
        let mut start = Disk::default();
        prop_assert!(fold_on(&mut start, before, parts(99, 99), left_max, usize::MAX));
        start.cursor = None;
        let mut whole = start.clone();
        prop_assert!(fold_on(&mut whole, during, parts(99, 99), left_max, usize::MAX));
        let model = model(&changes, left_max);
        let rows = model.iter().map(|(key, list)| (key.clone(), list.encode().to_vec()));
        prop_assert_eq!(whole.fold.root(), oracle(&rows.collect()));
        for life in 0.. {
            let mut disk = start.clone();
            let done = fold_on(&mut disk, during, parts(pass_keys, step_keys), left_max, life);
            agree(&disk.fold);
            prop_assert!(fold_on(&mut disk, during, parts(step_keys, pass_keys), left_max, usize::MAX));
            prop_assert_eq!(&disk.fold, &whole.fold);
            if done {
                break;
            }
        }
    }

    #[test]
    fn a_cut_change_comes_back_from_its_bytes(changes in town(), at in any::<prop::sample::Index>(), flip in 1u8..=255) {
        for change in changes {
            let mut bytes = change.encode();
            prop_assert_eq!(Change::decode(&bytes), Ok(change));
            let place = at.index(bytes.len());
            bytes[place] ^= flip;
            if let Ok(change) = Change::decode(&bytes) {
                prop_assert_eq!(change.encode(), bytes);
            }
        }
    }
}

/// An entry, and when its age begins to count.
type Aged = (EntryIndex, Option<u64>, Terms);

/// Cuts and entries that meet often: few institutions and types, and times of which each may lie between any two others.
fn met() -> impl Strategy<Value = (Vec<Cut>, Vec<Aged>)> {
    let types = prop::collection::btree_set(0usize..2, 0..3);
    let cut = (
        0u64..3,
        0usize..3,
        prop::bool::weighted(0.3),
        types,
        0u64..20,
    );
    let due = prop::option::of(0u64..2_000);
    let held = prop::option::weighted(0.7, (0usize..3, due));
    let entry = (
        0u64..20,
        prop::option::weighted(0.9, 0u64..1_000),
        0usize..2,
        0usize..3,
        held,
    );
    let cuts = prop::collection::vec(cut, 1..12).prop_map(|drawn| {
        let mut at_ms = 700 * DAY_MS;
        let cuts = (100u64..).zip(drawn);
        cuts.map(|(index, (step, by, authority, types, before))| {
            at_ms += step * 200 * DAY_MS;
            Cut {
                index: EntryIndex(index),
                accepted_at_ms: at_ms,
                institution: institution(by),
                reach: Reach {
                    before,
                    authority,
                    types: types.into_iter().map(|of| TYPES[of]).collect(),
                },
            }
        })
        .collect()
    });
    let entries = prop::collection::vec(entry, 1..40).prop_map(|drawn| {
        let entries = drawn.into_iter();
        entries
            .map(|(index, since, of, by, held)| {
                let terms = Terms {
                    entry_type: TYPES[of],
                    institution: institution(by),
                    held: held.map(|(by, due)| Held {
                        by: institution(by),
                        due_ms: due.map(|days| days * DAY_MS),
                    }),
                };
                (EntryIndex(index), since.map(|days| days * DAY_MS), terms)
            })
            .collect()
    });
    (cuts, entries)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// What was superseded decides nothing that the cuts which stand do not decide alike.
    #[test]
    fn the_cuts_that_stand_take_what_all_cuts_ever_given_take((cuts, entries) in met()) {
        let mut standing = Cuts::default();
        for (place, cut) in cuts.iter().enumerate() {
            standing.add(cut.clone());
            for (index, since_ms, terms) in &entries {
                let mut given = cuts[..=place].iter();
                let all = given.any(|cut| cut.takes(*index, *since_ms, terms));
                prop_assert_eq!(standing.take(*index, *since_ms, terms), all);
            }
        }
    }
}

/// One list may hold more than a cut takes at once: the next one goes on.
#[test]
fn a_cut_takes_so_many_items_of_a_list_and_no_more() {
    let items = LEFT_MAX as u64 + 3;
    let entry = |index: u64, days: u64, reach: Option<Reach>| Change {
        index: EntryIndex(index),
        accepted_at_ms: days * DAY_MS,
        lists: match reach {
            None => vec![(RowKind::Subject, Hash([5; 32]))],
            Some(_) => vec![],
        },
        reach,
        ..change(index, vec![], vec![])
    };
    let reach = || {
        Some(Reach {
            before: items,
            authority: false,
            types: vec![],
        })
    };
    let mut fold = MemoryFold::new();
    fold.apply_all(
        &(0..items)
            .map(|index| entry(index, 1, None))
            .collect::<Vec<_>>(),
    );
    let base = |fold: &MemoryFold| {
        let value = fold.value(&StateKey::subject(&Hash([5; 32])));
        value.map(|value| ListValue::decode(value).unwrap().base_count)
    };
    fold.apply(&entry(items, 800, reach()));
    assert_eq!(base(&fold), Some(LEFT_MAX as u64));
    fold.apply(&entry(items + 1, 801, reach()));
    assert_eq!(base(&fold), None);
    assert_eq!(fold.held().count(), 0);
    // However many are given, one stands.
    assert_eq!(fold.cuts().iter().count(), 1);
}
