// SPDX-License-Identifier: EUPL-1.2
//! An export against an earlier one: what was in a list is still at its beginning, and sizes do not go back. What retention took since is not
//! there to be compared; it must have been old enough.

use alloc::{collections::BTreeSet, format, vec::Vec};

use super::{Asked, Export, Fault, Item, Lie, List, Verified, verify::verify};
use crate::{
    admission::RowKind,
    bytes::{self, ListValue, Meta},
    hash::Hash,
    number::EntryIndex,
    policy::PolicySet,
    retention,
};

/// Entries of the earlier export that are not there to be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) count: u64,
    /// How many of them it withheld, so that whether they were old enough nobody sees.
    pub(super) unseen: u64,
}

impl Gone {
    fn add(&mut self, other: Gone) {
        self.count += other.count;
        self.unseen += other.unseen;
    }
}

/// Holds an export that was verified against an earlier one, which is verified too. For which entries of the earlier one there was nothing to
/// compare with.
pub(super) fn compare(
    old: &Export,
    new: &Export,
    verified: &Verified,
    policies: &PolicySet,
) -> Result<Gone, Fault> {
    let mut not_compared = Gone::default();
    let earlier = verify(old, policies, Asked::default()).map_err(|fault| Fault {
        why: format!("the earlier export does not hold: {}", fault.why),
        ..fault
    })?;
    if old.head.origin != new.head.origin || old.head.about != new.head.about {
        let why = "the earlier export is about another person, household or ledger";
        return Err(Fault::new(Lie::Anothers, why).at("about"));
    }
    if verified.size < earlier.size {
        let why = format!(
            "the state root covers {} entries, and that of the earlier export {}",
            verified.size, earlier.size
        );
        return Err(Fault::new(Lie::OldRoot, why).at("stateRoot"));
    }
    if verified.size == earlier.size && verified.version != earlier.version {
        let why = "two state roots of one size";
        return Err(Fault::new(Lie::Changed, why).at("stateRoot"));
    }
    for before in &old.lists {
        let same =
            |list: &&List| (list.head.kind, list.head.of) == (before.head.kind, before.head.of);
        match new.lists.iter().enumerate().find(|(_, list)| same(list)) {
            Some((at, after)) => {
                let missed = continues(before, after, &earlier, verified.time_ms);
                not_compared.add(missed.map_err(|fault| fault.at(at).at("lists"))?);
            }
            // A member whose list is no longer opened is told by name among those who are not.
            None if new
                .not_opened
                .iter()
                .any(|member| member.of == before.head.of) => {}
            // Nor can one be told of whose membership is older than what retention left of the household's list.
            None if is_forgotten(before, old, new, verified) => {
                let held = before.head.value.unwrap_or(ListValue::EMPTY);
                not_compared.add(Gone {
                    count: held.count - held.base_count,
                    unseen: unseen(before, before.items.len(), &earlier, verified.time_ms),
                });
            }
            None => {
                let why = "a list of the earlier export is not in here";
                return Err(Fault::new(Lie::Missing, why).at("lists"));
            }
        }
    }
    Ok(not_compared)
}

/// Whether a member's list may be missing: the compositions that named the person were removed from the household's list, and none that is
/// left names the person.
fn is_forgotten(before: &List, old: &Export, new: &Export, verified: &Verified) -> bool {
    let base = |export: &Export| {
        let mut lists = export.lists.iter().map(|list| &list.head);
        let own = lists.find(|head| head.kind == RowKind::Household);
        own.map(|head| head.value.unwrap_or(ListValue::EMPTY).base_count)
    };
    let is_member = |spell: &crate::household::Spell| spell.person == before.head.of;
    before.head.kind == RowKind::Subject
        && base(old).zip(base(new)).is_some_and(|(old, new)| old < new)
        && !verified.spells().iter().any(is_member)
}

/// The later list passes through the head of the earlier one, or through as much of it as retention left by `time_ms`. How many of its
/// items are not there any more.
fn continues(before: &List, after: &List, earlier: &Verified, time_ms: u64) -> Result<Gone, Fault> {
    let old = before.head.value.unwrap_or(ListValue::EMPTY);
    let new = after.head.value.unwrap_or(ListValue::EMPTY);
    let refuse = |lie, why| Err(Fault::new(lie, why).at("value"));
    let passes = |count, head| heads(after, &new).any(|at| at == (count, head));
    // Where both hold items, they must be the same ones.
    let goes_on = old.base_count <= new.base_count
        && old.count <= new.count
        && (old.count < new.base_count || passes(old.count, old.head));
    let gone = if goes_on {
        new.base_count.min(old.count) - old.base_count
    } else {
        old.count - old.base_count
    };
    let places = usize::try_from(gone).unwrap_or(usize::MAX);
    let taken = before.items.iter().take(places);
    let old_enough = |item: &Item| {
        shown(item).is_none_or(|(_, meta)| retention::is_old(meta.accepted_at_ms, time_ms))
    };
    if !taken.clone().all(old_enough) {
        return if !goes_on && new.count >= old.count {
            refuse(
                Lie::Changed,
                "the list does not begin as it did in the earlier export",
            )
        } else {
            refuse(
                Lie::Missing,
                "what the earlier export shows is not in the list, and was not old enough to be removed",
            )
        };
    }
    let left = Gone {
        count: gone,
        unseen: unseen(before, places, earlier, time_ms),
    };
    if !goes_on {
        // All of it was removed since, and the list began anew: with what came later. An item is the same wherever it is withheld.
        let of = after.head.of;
        let old: BTreeSet<Hash> = before.items.iter().map(|item| folded(item, &of)).collect();
        let stood = |item: &Item| {
            let told_before = shown(item).is_some_and(|(index, _)| earlier.size.holds(index));
            told_before || old.contains(&folded(item, &of))
        };
        if after.items.iter().any(stood) {
            return refuse(
                Lie::Changed,
                "the list does not begin as it did in the earlier export",
            );
        }
        return Ok(left);
    }
    // And where the later one begins, the earlier one passed.
    let mut earlier = heads(before, &old);
    let began = earlier.find(|(count, _)| *count == new.base_count);
    if began.is_some_and(|(_, head)| head != new.base_head) {
        return refuse(
            Lie::Changed,
            "the list's base is not where the earlier export passed",
        );
    }
    Ok(left)
}

/// Of the first so many items of a list, the last ones that are withheld: an item is no younger than a later one, and none than its export,
/// but where those are young, too, nobody sees how old it was.
fn unseen(list: &List, places: usize, earlier: &Verified, time_ms: u64) -> u64 {
    let taken = list.items.iter().take(places).rev();
    let withheld = taken.take_while(|item| shown(item).is_none()).count();
    let next = list.items.iter().skip(places).find_map(shown);
    let latest_ms = next.map_or(earlier.time_ms, |(_, meta)| meta.accepted_at_ms);
    if retention::is_old(latest_ms, time_ms) {
        0
    } else {
        withheld as u64
    }
}

/// Where an item's entry stands and what its leaf says, unless it is withheld.
fn shown(item: &Item) -> Option<(EntryIndex, &Meta)> {
    match item {
        Item::Withheld(_) => None,
        Item::Opened(opened) => Some((opened.index, &opened.meta)),
        Item::Erased(erased) => Some((erased.index, &erased.meta)),
    }
}

/// Count and head after each item, from the base on.
fn heads<'l>(list: &'l List, value: &ListValue) -> impl Iterator<Item = (u64, Hash)> + 'l {
    let of = list.head.of;
    let base = ListValue {
        count: value.base_count,
        head: value.base_head,
        ..*value
    };
    let items: Vec<Hash> = list.items.iter().map(|item| folded(item, &of)).collect();
    let mut fold = base;
    core::iter::once((base.count, base.head)).chain(items.into_iter().map(move |item| {
        fold = fold.with(&item);
        (fold.count, fold.head)
    }))
}

fn folded(item: &Item, of: &Hash) -> Hash {
    match item {
        Item::Withheld(withheld) => withheld.item,
        Item::Opened(opened) => bytes::item(&opened.meta_salt(), of, &opened.leaf_hash()),
        Item::Erased(erased) => bytes::item(&erased.meta_salt, of, &erased.leaf_hash()),
    }
}
