// SPDX-License-Identifier: EUPL-1.2
//! An export against an earlier one: what was in a list is still at its beginning, and sizes do not go back. What retention took since is not
//! there to be compared; it must have been old enough.

use alloc::{format, vec::Vec};

use super::{Asked, Export, Fault, Item, Lie, List, Verified, verify::verify};
use crate::{
    admission::RowKind,
    bytes::{self, ListValue, Meta},
    hash::Hash,
    number::{EntryIndex, TreeSize},
    policy::PolicySet,
    retention,
};

/// Holds an export that was verified against an earlier one, which is verified too. How many entries of the earlier one there was nothing to
/// compare with.
pub(super) fn compare(
    old: &Export,
    new: &Export,
    verified: &Verified,
    policies: &PolicySet,
) -> Result<u64, Fault> {
    let mut not_compared = 0;
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
                let missed = continues(before, after, earlier.size, verified.time_ms);
                not_compared += missed.map_err(|fault| fault.at(at).at("lists"))?;
            }
            // A member whose list is no longer opened is told by name among those who are not.
            None if new
                .not_opened
                .iter()
                .any(|member| member.of == before.head.of) => {}
            // Nor can one be told of whose membership is older than what retention left of the household's list.
            None if is_forgotten(before, old, new, verified) => {
                let held = before.head.value.unwrap_or(ListValue::EMPTY);
                not_compared += held.count - held.base_count;
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
fn continues(before: &List, after: &List, earlier: TreeSize, time_ms: u64) -> Result<u64, Fault> {
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
    let taken = before
        .items
        .iter()
        .take(usize::try_from(gone).unwrap_or(usize::MAX));
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
    if !goes_on {
        // All of it was removed since, and the list began anew: with what came later.
        let mut first = after.items.iter().filter_map(shown);
        if first.any(|(index, _)| earlier.holds(index)) {
            return refuse(
                Lie::Changed,
                "the list does not begin as it did in the earlier export",
            );
        }
        return Ok(gone);
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
    Ok(gone)
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
