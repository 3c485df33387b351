// SPDX-License-Identifier: EUPL-1.2
//! A town of Voghera's size, the same for the same seed: persons with tax codes, families with registry codes, and what changes in them.
//!
//! Codes have the real forms (codice fiscale with its check letter, family numbers of the municipal registry, INPS's DSU protocol).
//! Surnames are made of syllables, so that no line is likely to name a living person.

use std::collections::HashSet;

use client::tax_code::{Sex, TaxCode};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

/// A town: who lives there, and in which families.
pub(crate) struct Town {
    pub(crate) persons: Vec<Person>,
    pub(crate) families: Vec<Family>,
    codes_taken: HashSet<TaxCode>,
    random: ChaCha12Rng,
}

/// Place of a person in [`Town::persons`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct PersonNumber(pub(crate) usize);

/// Place of a family in [`Town::families`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FamilyNumber(pub(crate) usize);

/// A person as the registry knows one.
pub(crate) struct Person {
    pub(crate) tax_code: TaxCode,
    pub(crate) surname: String,
    pub(crate) name: &'static str,
    pub(crate) born_in: u16,
}

/// A family as the municipal registry (*anagrafe*) knows one.
pub(crate) struct Family {
    /// ISTAT code of the municipality and number of the family sheet.
    pub(crate) code: String,
    /// Protocol number of the family's ISEE declaration (DSU), if it filed one.
    pub(crate) dsu: Option<String>,
    pub(crate) members: Vec<Member>,
}

/// A member of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) person: PersonNumber,
    pub(crate) relation: Relation,
}

/// Relation to the head of the family sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    Head,
    Spouse,
    Child,
}

/// What changes in a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A child is born into it.
    Birth,
    /// The spouse leaves and opens a family sheet.
    Separation,
    /// The eldest child leaves and opens a family sheet.
    Move,
}

impl Town {
    /// The town of this seed.
    pub(crate) fn generate(seed: u64, households: usize) -> Town {
        let mut town = Town {
            persons: Vec::with_capacity(households * 9 / 4),
            families: Vec::with_capacity(households),
            codes_taken: HashSet::with_capacity(households * 9 / 4),
            random: ChaCha12Rng::seed_from_u64(seed),
        };
        for _ in 0..households {
            let shape = town.random.random_range(0..100_u32);
            town.settle(shape);
        }
        town
    }

    /// Applies a change and names the families whose composition it altered; empty where the family has nobody whom it could befall.
    pub(crate) fn change(&mut self, family: FamilyNumber, change: Change) -> Vec<FamilyNumber> {
        match change {
            Change::Birth => {
                let Some(head) = self
                    .families
                    .get(family.0)
                    .and_then(|family| family.members.first())
                else {
                    return Vec::new();
                };
                let surname = self
                    .persons
                    .get(head.person.0)
                    .map(|head| head.surname.clone())
                    .unwrap_or_default();
                let child = self.person(surname, 2026..2027);
                if let Some(family) = self.families.get_mut(family.0) {
                    family.members.push(Member {
                        person: child,
                        relation: Relation::Child,
                    });
                }
                vec![family]
            }
            Change::Separation => self.leave(family, Relation::Spouse),
            Change::Move => self.leave(family, Relation::Child),
        }
    }

    /// The first family at or after `from`, in number, with a head, a spouse and at least two children.
    pub(crate) fn family_of_four(&self, from: FamilyNumber) -> Option<FamilyNumber> {
        let of_four = |family: &Family| {
            let count = |relation| {
                family
                    .members
                    .iter()
                    .filter(|member| member.relation == relation)
                    .count()
            };
            count(Relation::Spouse) == 1 && count(Relation::Child) >= 2
        };
        self.families
            .iter()
            .enumerate()
            .skip(from.0)
            .find(|(_, family)| of_four(family))
            .map(|(place, _)| FamilyNumber(place))
    }

    fn leave(&mut self, family: FamilyNumber, relation: Relation) -> Vec<FamilyNumber> {
        let Some(members) = self
            .families
            .get_mut(family.0)
            .map(|family| &mut family.members)
        else {
            return Vec::new();
        };
        let Some(place) = members
            .iter()
            .position(|member| member.relation == relation)
        else {
            return Vec::new();
        };
        let leaver = members.remove(place);
        let opened = self.open_sheet(vec![Member {
            person: leaver.person,
            relation: Relation::Head,
        }]);
        vec![family, opened]
    }

    /// A family by the shares that ISTAT counts in northern towns: 37 % alone, 28 % two, 19 % three, 13 % four, 3 % five.
    fn settle(&mut self, shape: u32) {
        let surname = self.surname();
        let head_born = self.random.random_range(1936..2002_u16);
        let head = self.person(surname.clone(), head_born..head_born + 1);
        let mut members = vec![Member {
            person: head,
            relation: Relation::Head,
        }];
        let (with_spouse, children) = match shape {
            0..37 => (false, 0),
            37..57 => (true, 0),
            57..65 => (false, 1),
            65..82 => (true, 1),
            82..84 => (false, 2),
            84..97 => (true, 2),
            _ => (true, 3),
        };
        if with_spouse {
            let spouse_surname = self.surname();
            let spouse = self.person(spouse_surname, head_born.saturating_sub(6)..head_born + 6);
            members.push(Member {
                person: spouse,
                relation: Relation::Spouse,
            });
        }
        for _ in 0..children {
            let child = self.person(
                surname.clone(),
                (head_born + 22).min(2024)..(head_born + 38).min(2026),
            );
            members.push(Member {
                person: child,
                relation: Relation::Child,
            });
        }
        self.open_sheet(members);
    }

    fn open_sheet(&mut self, members: Vec<Member>) -> FamilyNumber {
        let number = FamilyNumber(self.families.len());
        // About a third of the families files an ISEE declaration.
        let dsu = self.random.random_bool(0.35).then(|| {
            let letter = char::from(b'A' + self.random.random_range(0..26_u8));
            format!(
                "INPS-ISEE-2026-{:08}{letter}-00",
                self.random.random_range(0..100_000_000_u32)
            )
        });
        self.families.push(Family {
            code: format!("{ISTAT_CODE}{:08}", number.0 + 1),
            dsu,
            members,
        });
        number
    }

    fn person(&mut self, surname: String, born_in: std::ops::Range<u16>) -> PersonNumber {
        let sex = if self.random.random_bool(0.515) {
            Sex::Female
        } else {
            Sex::Male
        };
        let names: &[&'static str] = match sex {
            Sex::Female => &NAMES_FEMALE,
            Sex::Male => &NAMES_MALE,
        };
        let name = pick(&mut self.random, names);
        let tax_code = loop {
            let born = (
                self.random.random_range(born_in.clone()),
                self.random.random_range(1..=12_u8),
                self.random.random_range(1..=28_u8),
            );
            // Most are born here or in the neighbourhood.
            let place = if self.random.random_bool(0.6) {
                CADASTRAL_CODE
            } else {
                pick(&mut self.random, &BIRTHPLACES)
            };
            let Some(code) = TaxCode::compute(&surname, name, sex, born, place) else {
                continue;
            };
            // Two persons with the same data: the registry tells them apart by omocodia, from the last digit backwards.
            let free = (0..=7)
                .map(|replaced| code.with_omocodia(replaced))
                .find(|code| !self.codes_taken.contains(code));
            if let Some(code) = free {
                break (code, born.0);
            }
        };
        let (tax_code, born_in) = tax_code;
        self.codes_taken.insert(tax_code.clone());
        self.persons.push(Person {
            tax_code,
            surname,
            name,
            born_in,
        });
        PersonNumber(self.persons.len() - 1)
    }

    fn surname(&mut self) -> String {
        let (first, middle, last) = (
            pick(&mut self.random, &SYLLABLES_FIRST),
            pick(&mut self.random, &SYLLABLES_MIDDLE),
            pick(&mut self.random, &SYLLABLES_LAST),
        );
        format!("{first}{middle}{last}")
    }
}

impl Relation {
    /// As the registry writes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Relation::Head => "intestatario",
            Relation::Spouse => "coniuge",
            Relation::Child => "figlio",
        }
    }
}

/// One of a non-empty list.
pub(super) fn pick<T: Copy + Default>(random: &mut impl Rng, list: &[T]) -> T {
    let place = random.random_range(0..list.len().max(1));
    list.get(place).copied().unwrap_or_default()
}

/// Voghera in ISTAT's and the land registry's lists.
const ISTAT_CODE: &str = "018182";
const CADASTRAL_CODE: &str = "M109";
/// Pavia, Tortona, Milan, Alessandria, Genoa, Turin, Naples, Palermo; Romania, Albania, Morocco, Ecuador.
const BIRTHPLACES: [&str; 12] = [
    "G388", "L304", "F205", "A182", "D969", "L219", "F839", "G273", "Z129", "Z100", "Z330", "Z605",
];
const NAMES_FEMALE: [&str; 20] = [
    "Anna",
    "Giulia",
    "Francesca",
    "Chiara",
    "Elena",
    "Laura",
    "Sara",
    "Paola",
    "Silvia",
    "Alessia",
    "Martina",
    "Beatrice",
    "Lucia",
    "Teresa",
    "Giovanna",
    "Rita",
    "Camilla",
    "Aurora",
    "Ginevra",
    "Carla",
];
const NAMES_MALE: [&str; 20] = [
    "Andrea", "Luca", "Marco", "Paolo", "Giorgio", "Stefano", "Davide", "Matteo", "Lorenzo",
    "Pietro", "Carlo", "Franco", "Enrico", "Tommaso", "Riccardo", "Edoardo", "Gabriele", "Antonio",
    "Bruno", "Sergio",
];
const SYLLABLES_FIRST: [&str; 24] = [
    "Bal", "Bre", "Cor", "Cra", "Dal", "Fer", "Gal", "Gri", "Lan", "Mal", "Mor", "Nar", "Or",
    "Pal", "Pre", "Quar", "Ram", "Sal", "Stra", "Tor", "Tra", "Val", "Ver", "Zan",
];
const SYLLABLES_MIDDLE: [&str; 16] = [
    "ba", "be", "bi", "de", "di", "do", "fa", "ga", "go", "la", "me", "na", "ra", "ta", "vi", "zu",
];
const SYLLABLES_LAST: [&str; 16] = [
    "bolli", "cchetti", "ddori", "gnasco", "lenghi", "mbrizi", "ndelli", "nzago", "ppari",
    "rdelli", "schini", "ssandri", "stelli", "tturri", "vaschi", "zzoni",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn the_same_seed_builds_the_same_town() {
        let (one, again, other) = (
            Town::generate(7, 300),
            Town::generate(7, 300),
            Town::generate(8, 300),
        );
        let codes = |town: &Town| {
            town.persons
                .iter()
                .map(|person| person.tax_code.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(codes(&one), codes(&again));
        assert_ne!(codes(&one), codes(&other));
        assert_eq!(one.families[17].code, "01818200000018");
    }

    #[test]
    fn codes_are_real_in_form_and_never_shared() {
        let town = Town::generate(1, 4000);
        let mut seen = HashSet::new();
        for person in &town.persons {
            assert!(TaxCode::parse(person.tax_code.expose()).is_ok());
            assert!(seen.insert(person.tax_code.clone()));
        }
        let families: HashSet<_> = town.families.iter().map(|family| &family.code).collect();
        assert_eq!(families.len(), 4000);
        let mean = town.persons.len() as f64 / town.families.len() as f64;
        assert!((2.0..2.4).contains(&mean), "{mean}");
    }

    #[test]
    fn each_person_lives_in_one_family_whatever_changes() {
        let mut town = Town::generate(3, 500);
        for number in 0..500 {
            let change = [Change::Birth, Change::Separation, Change::Move][number % 3];
            let touched = town.change(FamilyNumber(number), change);
            assert!(touched.len() <= 2);
        }
        let mut homes = vec![0; town.persons.len()];
        for member in town.families.iter().flat_map(|family| &family.members) {
            homes[member.person.0] += 1;
        }
        assert!(homes.iter().all(|count| *count == 1));
    }

    #[test]
    fn a_separation_opens_a_sheet_for_the_spouse() {
        let mut town = Town::generate(3, 200);
        let family = town.family_of_four(FamilyNumber(0)).unwrap();
        let before = town.families[family.0].members.clone();
        let touched = town.change(family, Change::Separation);
        assert_eq!(touched[0], family);
        let opened = &town.families[touched[1].0];
        assert_eq!(opened.members.len(), 1);
        assert_eq!(opened.members[0].relation, Relation::Head);
        assert!(
            before
                .iter()
                .any(|member| member.person == opened.members[0].person
                    && member.relation == Relation::Spouse)
        );
        assert_eq!(town.families[family.0].members.len(), before.len() - 1);
    }
}
