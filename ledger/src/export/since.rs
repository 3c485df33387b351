// SPDX-License-Identifier: EUPL-1.2
//! An export against an earlier one: what was in a list is still at its beginning, and sizes do not go back.

use alloc::{format, vec::Vec};

use super::{Asked, Export, Fault, Item, Lie, List, Verified, verify::verify};
use crate::{bytes, bytes::ListValue, hash::Hash, policy::PolicySet};

/// Holds an export that was verified against an earlier one, which is verified too.
pub(super) fn compare(
    old: &Export,
    new: &Export,
    verified: &Verified,
    policies: &PolicySet,
) -> Result<(), Fault> {
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
                continues(before, after).map_err(|fault| fault.at(at).at("lists"))?;
            }
            // A member whose list is no longer opened is told by name among those who are not.
            None if new
                .not_opened
                .iter()
                .any(|member| member.of == before.head.of) => {}
            None => {
                let why = "a list of the earlier export is not in here";
                return Err(Fault::new(Lie::Missing, why).at("lists"));
            }
        }
    }
    Ok(())
}

/// The later list passes through the head of the earlier one, or through as much of it as retention left.
fn continues(before: &List, after: &List) -> Result<(), Fault> {
    let old = before.head.value.unwrap_or(ListValue::EMPTY);
    let new = after.head.value.unwrap_or(ListValue::EMPTY);
    let refuse = |lie, why| Err(Fault::new(lie, why).at("value"));
    if new.base_count < old.base_count || new.count < old.count {
        return refuse(
            Lie::Missing,
            "the list is shorter than in the earlier export",
        );
    }
    // Both lists hold; where they meet, their heads must be one.
    let meet = old.count.max(new.base_count);
    let (from, at) = if new.base_count <= old.count {
        (old, meet)
    } else {
        // All that the earlier export showed is gone by retention: nothing is left to compare.
        return Ok(());
    };
    let mut heads = heads(after, &new);
    let reached = heads.find(|(count, _)| *count == at).map(|(_, head)| head);
    if reached != Some(from.head) {
        return refuse(
            Lie::Changed,
            "the list does not begin as it did in the earlier export",
        );
    }
    // And where the later one begins, the earlier one passed.
    let mut earlier = self::heads(before, &old);
    let began = earlier.find(|(count, _)| *count == new.base_count);
    if began.is_some_and(|(_, head)| head != new.base_head) {
        return refuse(
            Lie::Changed,
            "the list's base is not where the earlier export passed",
        );
    }
    Ok(())
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
