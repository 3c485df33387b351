// SPDX-License-Identifier: EUPL-1.2
//! What happens in the town, as entries: families and their changes, consents and withdrawals, accesses of both sides.

use std::sync::Arc;

use client::{
    build::{Draft, Head, Plain, PlainConsent, PlainHousehold},
    pseudonym::Code,
};
use ledger::{
    body::{
        consent::{ConsentEntity, ConsentEvent},
        household::{HouseholdKind, Member},
    },
    bytes::CodeKind,
    hash::Hash,
    key::SigningKey,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::{
    batches::Batches,
    calls::Field,
    founders::{FOUNDERS, HEALTH, INPS, LEDGER, Place, TOWN, institution},
    load::Outlet,
    refs::Refs,
    services::{CONSENT_DATA, CONSENT_PURPOSE},
    town::{self, Change, Family, FamilyNumber, PersonNumber, Relation, Town, pick},
};
use crate::cli::{exit::Failure, now_ms};

mod accesses;

/// Everything that is made from, and the one source of chance.
pub(super) struct Plan {
    pub(super) town: Town,
    refs: Refs,
    field: Field,
    keys: Arc<Vec<(&'static str, SigningKey)>>,
    random: ChaCha12Rng,
    /// Consent records, their person and what became of them.
    consents: Vec<(String, PersonNumber, ConsentEvent)>,
    started_ms: u64,
    /// Where each person lives, by number, once accesses are made.
    homes: Vec<FamilyNumber>,
    /// The star family before the separation.
    star_before: Vec<town::Member>,
    pub(super) star: Star,
}

/// The family that the demo follows.
#[derive(Clone, Copy)]
pub(super) struct Star {
    pub(super) family: FamilyNumber,
    /// Where the spouse lives after the separation.
    pub(super) opened: FamilyNumber,
    /// When the spouse left.
    pub(super) separated_ms: u64,
    /// Who withdrew a consent and was asked for all the same.
    pub(super) head: PersonNumber,
    pub(super) spouse: PersonNumber,
}

impl Plan {
    pub(super) fn new(
        seed: u64,
        households: usize,
        place: &Place,
        refs: Refs,
    ) -> Result<Plan, Failure> {
        let town = Town::generate(seed, households);
        let family = town
            .family_of_four(FamilyNumber(0))
            .ok_or_else(|| Failure::usage("--households: too few to have a family of four"))?;
        let member = |relation| {
            let members = town
                .families
                .get(family.0)
                .map(|family| family.members.as_slice())
                .unwrap_or_default();
            members
                .iter()
                .find(|member| member.relation == relation)
                .map(|member| member.person)
                .unwrap_or(PersonNumber(0))
        };
        let keys = FOUNDERS
            .iter()
            .map(|founder| Ok((founder.id, place.key(founder.id, "entry")?)))
            .collect::<Result<Vec<_>, Failure>>()?;
        let started_ms = now_ms();
        let (head, spouse) = (member(Relation::Head), member(Relation::Spouse));
        let star_before = town
            .families
            .get(family.0)
            .map(|family| family.members.clone())
            .unwrap_or_default();
        Ok(Plan {
            star: Star {
                family,
                opened: FamilyNumber(town.families.len()),
                separated_ms: started_ms - 10 * HOUR_MS,
                head,
                spouse,
            },
            town,
            refs,
            field: Field::new(&place.path("callers"))?,
            keys: Arc::new(keys),
            random: ChaCha12Rng::seed_from_u64(seed ^ 0x5eed),
            consents: Vec::new(),
            started_ms,
            homes: Vec::new(),
            star_before,
        })
    }

    /// What the star family's members are called, the head first, as they were before the separation.
    pub(super) fn star_names(&self) -> String {
        let name = |member: &town::Member| {
            let person = self.town.persons.get(member.person.0);
            person
                .map(|person| format!("{} {}", person.name, person.surname))
                .unwrap_or_default()
        };
        self.star_before
            .iter()
            .map(name)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Learns the refs of all persons and families that are not known yet; how many those were.
    pub(super) async fn learn_refs(&mut self) -> Result<usize, Failure> {
        let persons = self.town.persons.iter().map(|it| Code::from(&it.tax_code));
        let families = self.town.families.iter();
        let sheets = families.clone().map(|it| (CodeKind::Anagrafica, &it.code));
        let filed = families.filter_map(|it| Some((CodeKind::Isee, it.dsu.as_ref()?)));
        let households = sheets
            .chain(filed)
            .map(|(kind, code)| Code::parse(kind, code))
            .collect::<Result<Vec<_>, _>>()
            .map_err(Failure::failed)?;
        self.refs.learn(persons.chain(households)).await
    }

    pub(super) fn person_ref(&self, person: PersonNumber) -> Result<Hash, Failure> {
        let person = self.town.persons.get(person.0);
        let person = person.ok_or_else(|| Failure::failed("there is no such person"))?;
        self.refs.of(&Code::from(&person.tax_code))
    }

    pub(super) fn family_ref(&self, family: FamilyNumber) -> Result<Hash, Failure> {
        let family = self.town.families.get(family.0);
        let family = family.ok_or_else(|| Failure::failed("there is no such family"))?;
        self.household_ref(CodeKind::Anagrafica, &family.code)
    }

    fn household_ref(&self, kind: CodeKind, code: &str) -> Result<Hash, Failure> {
        self.refs
            .of(&Code::parse(kind, code).map_err(Failure::failed)?)
    }

    /// Every family as the registry has it: one `household` entry each, signed by the registry authority.
    pub(super) fn families(&mut self, outlet: &Outlet) -> Result<(), Failure> {
        let mut batches = Batches::new(self.keys.clone(), outlet);
        for number in 0..self.town.families.len() {
            batches.put(
                TOWN,
                self.composition(
                    FamilyNumber(number),
                    REGISTRY_SINCE_MS,
                    self.started_ms - DAY_MS / 2,
                )?,
            )?;
        }
        batches.flush()
    }

    /// ISEE nuclei of the first families that filed a declaration, signed by INPS: another registry's idea of a household.
    pub(super) fn nuclei(&mut self, count: usize, outlet: &Outlet) -> Result<(), Failure> {
        let mut batches = Batches::new(self.keys.clone(), outlet);
        let filed = self
            .town
            .families
            .iter()
            .filter_map(|family| Some((family.dsu.as_ref()?, family)));
        for (dsu, family) in filed.take(count) {
            let plain = PlainHousehold {
                household: self.household_ref(CodeKind::Isee, dsu)?,
                kind: HouseholdKind::Isee,
                members: self.members(family)?,
                valid_from_ms: self.started_ms - 20 * HOUR_MS,
            };
            batches.put(
                INPS,
                self.draft(
                    INPS,
                    self.started_ms - 20 * HOUR_MS,
                    Plain::Household(plain),
                )?,
            )?;
        }
        batches.flush()
    }

    /// Births, separations and moves of today; the star family's separation first.
    pub(super) fn changes(&mut self, count: usize, outlet: &Outlet) -> Result<(), Failure> {
        let mut families = Vec::new();
        families.extend(
            self.town
                .change(self.star.family, Change::Separation)
                .into_iter()
                .map(|family| (family, self.star.separated_ms)),
        );
        for _ in 1..count {
            let family = FamilyNumber(self.random.random_range(0..self.town.families.len()));
            let change = match self.random.random_range(0..3_u32) {
                0 => Change::Birth,
                1 => Change::Separation,
                _ => Change::Move,
            };
            if family != self.star.family && family != self.star.opened {
                let at_ms = self.started_ms - self.random.random_range(HOUR_MS..20 * HOUR_MS);
                families.extend(
                    self.town
                        .change(family, change)
                        .into_iter()
                        .map(|family| (family, at_ms)),
                );
            }
        }
        // Who was born today, and who opened a family sheet, has a code that was never evaluated.
        tokio::runtime::Handle::current().block_on(self.learn_refs())?;
        let mut batches = Batches::new(self.keys.clone(), outlet);
        for (family, at_ms) in families {
            batches.put(TOWN, self.composition(family, at_ms, at_ms)?)?;
        }
        batches.flush()
    }

    /// Consents given at the health authority's desk. The star family's head is among them.
    pub(super) fn consents_given(&mut self, count: usize, outlet: &Outlet) -> Result<(), Failure> {
        let adults = self.adults();
        let mut batches = Batches::new(self.keys.clone(), outlet);
        for number in 0..count {
            let person = if number == 0 {
                self.star.head
            } else {
                pick(&mut self.random, &adults)
            };
            let record = format!("ASST-2026-{:06}", number + 1);
            let occurred_ms =
                self.started_ms - self.random.random_range(18 * HOUR_MS..23 * HOUR_MS);
            let plain = PlainConsent {
                purposes: Some(vec![CONSENT_PURPOSE.to_owned()]),
                recipients: Some(vec![HEALTH.to_owned()]),
                data_categories: Some(
                    CONSENT_DATA
                        .iter()
                        .map(|category| (*category).to_owned())
                        .collect(),
                ),
                valid_from_ms: Some(occurred_ms),
                valid_until_ms: Some(occurred_ms + 365 * DAY_MS),
                loa: Some("https://www.spid.gov.it/SpidL2".to_owned()),
                indication: Some("firma su tavoletta grafica allo sportello".to_owned()),
                ..consent(&record, self.person_ref(person)?, ConsentEvent::Given)
            };
            batches.put(
                HEALTH,
                self.draft(HEALTH, occurred_ms, Plain::Consent(Box::new(plain)))?,
            )?;
            self.consents.push((record, person, ConsentEvent::Given));
        }
        batches.flush()
    }

    /// Withdrawals at the town's desk (any participant may record one) and renewals; the star family's head withdraws first.
    pub(super) fn consents_changed(
        &mut self,
        count: usize,
        outlet: &Outlet,
    ) -> Result<(), Failure> {
        let mut batches = Batches::new(self.keys.clone(), outlet);
        for number in 0..count.min(self.consents.len()) {
            let occurred_ms = if number == 0 {
                self.star.separated_ms + HOUR_MS
            } else {
                self.started_ms - self.random.random_range(6 * HOUR_MS..16 * HOUR_MS)
            };
            let renewed = number % 5 == 4;
            let Some((record, person, event)) = self.consents.get_mut(number) else {
                break;
            };
            *event = if renewed {
                ConsentEvent::Renewed
            } else {
                ConsentEvent::Withdrawn
            };
            let (record, person, event) = (record.clone(), *person, *event);
            let mut plain = consent(&record, self.person_ref(person)?, event);
            if renewed {
                plain.purposes = Some(vec![CONSENT_PURPOSE.to_owned()]);
                plain.recipients = Some(vec![HEALTH.to_owned()]);
                plain.data_categories = Some(
                    CONSENT_DATA
                        .iter()
                        .map(|category| (*category).to_owned())
                        .collect(),
                );
                plain.valid_from_ms = Some(occurred_ms);
                plain.valid_until_ms = Some(occurred_ms + 730 * DAY_MS);
            }
            let desk = if renewed { HEALTH } else { TOWN };
            batches.put(
                desk,
                self.draft(desk, occurred_ms, Plain::Consent(Box::new(plain)))?,
            )?;
        }
        batches.flush()
    }

    fn composition(
        &self,
        family: FamilyNumber,
        valid_from_ms: u64,
        occurred_ms: u64,
    ) -> Result<Draft, Failure> {
        let members = self.town.families.get(family.0);
        let plain = PlainHousehold {
            household: self.family_ref(family)?,
            kind: HouseholdKind::Anagrafica,
            members: members
                .map(|family| self.members(family))
                .transpose()?
                .unwrap_or_default(),
            valid_from_ms,
        };
        self.draft(TOWN, occurred_ms, Plain::Household(plain))
    }

    fn members(&self, family: &Family) -> Result<Vec<Member>, Failure> {
        let member = |member: &town::Member| {
            Ok(Member {
                person: self.person_ref(member.person)?,
                relation: Some(member.relation.as_str().to_owned()),
            })
        };
        family.members.iter().map(member).collect()
    }

    fn draft(
        &self,
        institution_id: &str,
        occurred_ms: u64,
        plain: Plain,
    ) -> Result<Draft, Failure> {
        let head = Head::new(LEDGER, &institution(institution_id)?, occurred_ms);
        Draft::new(head, plain, now_ms()).map_err(Failure::failed)
    }

    fn adults(&self) -> Vec<PersonNumber> {
        let born_before = |limit: u16| {
            self.town
                .persons
                .iter()
                .enumerate()
                .filter(move |(_, person)| person.born_in < limit)
        };
        born_before(2008)
            .map(|(number, _)| PersonNumber(number))
            .collect()
    }
}

fn consent(record: &str, subject: Hash, event: ConsentEvent) -> PlainConsent {
    PlainConsent {
        record: record.to_owned(),
        subject,
        event,
        entity: Some(ConsentEntity::Myself),
        purposes: None,
        recipients: None,
        data_categories: None,
        valid_from_ms: None,
        valid_until_ms: None,
        notice: None,
        loa: None,
        indication: None,
    }
}

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// 2024-01-01: since when the generated families live together.
const REGISTRY_SINCE_MS: u64 = 1_704_067_200_000;
