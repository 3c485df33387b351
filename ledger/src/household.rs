// SPDX-License-Identifier: EUPL-1.2
//! Households: compositions become spells of membership.
//!
//! A `household` entry says who belongs from `validFrom` on, and holds until the next composition begins. Of two with one `validFrom` the
//! later index wins: it corrects the earlier. What a household's answer shows of a member is the member's list cut to these spells.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{hash::Hash, number::EntryIndex};

/// A composition: who belongs from a time on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composition {
    /// Where it was said.
    pub index: EntryIndex,
    /// From when it holds, ms since the epoch.
    pub valid_from_ms: u64,
    /// Refs of the members.
    pub members: Vec<Hash>,
}

/// A time of membership: from (included) until (excluded; open if the person still belongs).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spell {
    /// The member.
    pub person: Hash,
    /// From when, ms since the epoch.
    pub from_ms: u64,
    /// Until when, ms since the epoch.
    pub until_ms: Option<u64>,
}

impl Spell {
    /// Whether the person belonged at this time.
    pub fn holds(&self, time_ms: u64) -> bool {
        self.from_ms <= time_ms && self.until_ms.is_none_or(|until| time_ms < until)
    }
}

/// The spells that the compositions of one household make, by person and time. They may come in any order; to see what was known at an
/// index, leave out what stands after it.
pub fn membership(compositions: &[Composition]) -> Vec<Spell> {
    let in_force = by_time(compositions);
    let mut spells = Vec::new();
    // Who belongs, and since when.
    let mut since: BTreeMap<Hash, u64> = BTreeMap::new();
    for (from_ms, composition) in &in_force {
        let (stay, left) = since
            .into_iter()
            .partition(|(person, _)| composition.members.contains(person));
        since = stay;
        let left: BTreeMap<Hash, u64> = left;
        spells.extend(left.into_iter().map(|(person, began)| Spell {
            person,
            from_ms: began,
            until_ms: Some(*from_ms),
        }));
        for person in &composition.members {
            since.entry(*person).or_insert(*from_ms);
        }
    }
    spells.extend(since.into_iter().map(|(person, began)| Spell {
        person,
        from_ms: began,
        until_ms: None,
    }));
    spells.sort();
    spells
}

/// Who belonged at a time; empty before the first composition.
pub fn members_at(compositions: &[Composition], time_ms: u64) -> Vec<Hash> {
    by_time(compositions)
        .range(..=time_ms)
        .next_back()
        .map(|(_, composition)| composition.members.clone())
        .unwrap_or_default()
}

fn by_time(compositions: &[Composition]) -> BTreeMap<u64, &Composition> {
    let mut in_force: BTreeMap<u64, &Composition> = BTreeMap::new();
    for composition in compositions {
        let place = in_force
            .entry(composition.valid_from_ms)
            .or_insert(composition);
        if place.index < composition.index {
            *place = composition;
        }
    }
    in_force
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn person(n: u8) -> Hash {
        Hash([n; 32])
    }

    fn composition(index: u64, valid_from_ms: u64, members: &[u8]) -> Composition {
        Composition {
            index: EntryIndex(index),
            valid_from_ms,
            members: members.iter().map(|n| person(*n)).collect(),
        }
    }

    fn spell(n: u8, from_ms: u64, until_ms: Option<u64>) -> Spell {
        Spell {
            person: person(n),
            from_ms,
            until_ms,
        }
    }

    #[test]
    fn births_moves_and_separations() {
        // 1 and 2 live together; 3 is born; 2 leaves with 3; 2 comes back alone.
        let told = [
            composition(5, 100, &[1, 2]),
            composition(9, 200, &[1, 2, 3]),
            composition(12, 300, &[1]),
            composition(20, 400, &[1, 2]),
        ];
        assert_eq!(
            membership(&told),
            vec![
                spell(1, 100, None),
                spell(2, 100, Some(300)),
                spell(2, 400, None),
                spell(3, 200, Some(300))
            ]
        );
        assert_eq!(members_at(&told, 99), vec![]);
        assert_eq!(
            members_at(&told, 200),
            vec![person(1), person(2), person(3)]
        );
        assert_eq!(
            members_at(&told, 299),
            vec![person(1), person(2), person(3)]
        );
        assert_eq!(members_at(&told, 300), vec![person(1)]);
    }

    #[test]
    fn of_one_valid_from_the_later_index_wins_in_any_order() {
        let told = [composition(7, 100, &[1, 2]), composition(3, 100, &[1, 9])];
        let turned = [told[1].clone(), told[0].clone()];
        assert_eq!(
            membership(&told),
            vec![spell(1, 100, None), spell(2, 100, None)]
        );
        assert_eq!(membership(&told), membership(&turned));
    }

    #[test]
    fn a_composition_told_late_takes_its_place_in_time() {
        let told = [
            composition(1, 100, &[1, 2]),
            composition(2, 300, &[1, 2]),
            composition(8, 200, &[1]),
        ];
        assert_eq!(
            membership(&told),
            vec![
                spell(1, 100, None),
                spell(2, 100, Some(200)),
                spell(2, 300, None)
            ]
        );
    }

    #[test]
    fn an_empty_household_has_ended() {
        assert_eq!(
            membership(&[composition(1, 100, &[1]), composition(2, 150, &[])]),
            vec![spell(1, 100, Some(150))]
        );
        assert!(membership(&[]).is_empty());
    }

    #[test]
    fn a_spell_holds_from_its_first_moment_to_before_its_end() {
        let spell = spell(1, 100, Some(200));
        assert_eq!(
            [99, 100, 199, 200].map(|time| spell.holds(time)),
            [false, true, true, false]
        );
    }
}
