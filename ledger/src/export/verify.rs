// SPDX-License-Identifier: EUPL-1.2
//! The offline verifier of exports: from the policy to the checkpoint, the state root, the facts, the lists, and who belongs in here.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};

use super::{
    About, AboutKind, Binding, Export, Fault, Lie, Verified,
    ground::Ground,
    lists::{Beside, Counted, Folded, fold, persons},
    since,
};
use crate::{
    admission::RowKind,
    body::{Body, Content, system::Erasure},
    bytes::Meta,
    entry::Verifier,
    erasure::is_erasable,
    hash::Hash,
    household::{Composition, Spell, membership},
    id::{InstitutionId, KeyId},
    key::PublicKey,
    number::{EntryIndex, TreeSize},
    oprf::{OprfError, OprfPublicKey},
    policy::PolicySet,
    retention,
    state::kind,
};

/// What a verifier wants to know beyond whether the export holds in itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// The state root covers a tree of at least this size.
    pub at_least: Option<TreeSize>,
    /// An earlier export: what it held is still there, and unchanged.
    pub since: Option<&'a Export>,
    /// The code that a citizen types: its ref is the one that the export is about.
    pub code: Option<&'a str>,
}

/// Verifies an export under a policy.
///
/// # Errors
/// The first thing that is wrong, by name.
pub fn verify(export: &Export, policies: &PolicySet, asked: Asked<'_>) -> Result<Verified, Fault> {
    let ground = Ground::of(export, policies)?;
    if asked.at_least.is_some_and(|size| ground.size() < size) {
        let why = format!(
            "the state root covers the first {} entries only",
            ground.size()
        );
        return Err(Fault::new(Lie::OldRoot, why).at("stateRoot"));
    }
    let keys = ground.public_keys();
    let mut verifier = Verifier::new(&ground.ledger, &keys);
    let mut checked = Checked {
        export,
        ground: &ground,
        lists: Vec::new(),
        records: BTreeMap::new(),
        beside: Beside::new(),
        spells: Vec::new(),
        remarks: Vec::new(),
    };
    let root = ground.open(&export.head.state_root, &mut verifier);
    root.map_err(|fault| fault.at("stateRoot"))?;
    checked.records(&mut verifier)?;
    match export.head.about.kind {
        AboutKind::Subject => checked.person(&mut verifier)?,
        AboutKind::Household => checked.household(&mut verifier)?,
    }
    let ordered = checked.erasures()?;
    checked.consents()?;
    checked.open_ends();
    let bound = checked.binding(asked.code)?;
    let mut verified = checked.verified(bound, ordered);
    if let Some(old) = asked.since {
        verified.not_compared = since::compare(old, export, &verified, policies)?;
    }
    Ok(verified)
}

/// What an export leaves open though it holds: told beside what it proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    /// Compositions of the household, or members in them, were deleted or erased: who belonged when is not all known.
    MembershipPartial,
    /// An order took a member from a composition.
    MemberErased {
        /// The composition.
        composition: EntryIndex,
        /// The order.
        by: EntryIndex,
    },
    /// A link joins a person to a ref that is not shown.
    LinkNotShown(EntryIndex),
    /// A release puts a person on notice of an access that is not shown.
    ReleasedNotShown(EntryIndex),
    /// Entries of a person's list are withheld: they may be links.
    LinksPartial,
}

/// Whether the ref was shown to be a code's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The export does not say how.
    No,
    /// It does, and no code was given to be held against it.
    NotAsked,
    /// It is the code's that was given.
    Yes,
}

struct Checked<'a, 'e> {
    export: &'e Export,
    ground: &'a Ground<'e>,
    lists: Vec<Folded>,
    records: BTreeMap<EntryIndex, Body>,
    beside: Beside,
    spells: Vec<Spell>,
    remarks: Vec<Remark>,
}

type Keys<'k> = Verifier<'k, BTreeMap<KeyId, PublicKey>>;

impl Checked<'_, '_> {
    fn records(&mut self, verifier: &mut Keys<'_>) -> Result<(), Fault> {
        for (at, record) in self.export.records.iter().enumerate() {
            let body = self.ground.open(record, verifier);
            let body = body.map_err(|fault| fault.at(at).at("records"))?;
            let at = (record.index, record.leaf_hash());
            self.beside.insert(at, body.common.occurred_at_ms);
            self.records.insert(record.index, body);
        }
        Ok(())
    }

    /// The person's list, and those of refs that links join to it.
    fn person(&mut self, verifier: &mut Keys<'_>) -> Result<(), Fault> {
        let of = self.export.head.about.of;
        self.persons(&BTreeMap::from([(of, None)]), verifier)
    }

    /// The household's list, and those of all who ever belonged, cut to when they did.
    fn household(&mut self, verifier: &mut Keys<'_>) -> Result<(), Fault> {
        let About { of, .. } = self.export.head.about;
        self.fold_lists(RowKind::Household, &BTreeMap::from([(of, None)]), verifier)?;
        if self.lists.is_empty() {
            let why = "the household's own list is not in here";
            return Err(Fault::new(Lie::Missing, why).at("lists"));
        }
        let mut compositions = Vec::new();
        for folded in &self.lists {
            let counted = &folded.counted;
            if !counted.withheld.is_empty() {
                let why = "a composition is withheld: who belonged cannot be told";
                return Err(Fault::new(Lie::Missing, why).at("lists"));
            }
            if counted.erased > 0 || counted.base_count > 0 {
                self.remarks.push(Remark::MembershipPartial);
            }
            for (index, body) in &folded.telling {
                let orders = self.members_erased(*index);
                let (told, whole) = composition(*index, body, orders.len())?;
                compositions.extend(told);
                if whole {
                    continue;
                }
                if !self.remarks.contains(&Remark::MembershipPartial) {
                    self.remarks.push(Remark::MembershipPartial);
                }
                let composition = *index;
                let erased = |by| Remark::MemberErased { composition, by };
                self.remarks.extend(orders.into_iter().map(erased));
            }
        }
        self.spells = membership(&compositions);
        let partial = self.remarks.contains(&Remark::MembershipPartial);
        let mut members: BTreeMap<Hash, Option<Vec<Spell>>> = BTreeMap::new();
        for spell in &self.spells {
            let spells = members
                .entry(spell.person)
                .or_insert_with(|| (!partial).then(Vec::new));
            if let Some(spells) = spells {
                spells.push(*spell);
            }
        }
        for (at, member) in self.export.not_opened.iter().enumerate() {
            if members.remove(&member.of).is_none() {
                let why = "who is not opened is no member, or stands twice";
                return Err(Fault::new(Lie::Anothers, why).at(at).at("notOpened"));
            }
        }
        self.persons(&members, verifier)
    }

    /// The orders among the records that took members' disclosures from a composition: each takes one person's.
    fn members_erased(&self, composition: EntryIndex) -> Vec<EntryIndex> {
        let orders = self.records.range(composition..).filter(|(_, body)| {
            matches!(&body.content, Content::Erasure(order)
                if order.subject.is_some() && order.names(composition.0))
        });
        orders.map(|(by, _)| *by).collect()
    }

    /// Folds the lists of these persons, then those of refs that are joined to theirs, until no new one is met. Every one must be there.
    fn persons(
        &mut self,
        persons: &BTreeMap<Hash, Option<Vec<Spell>>>,
        verifier: &mut Keys<'_>,
    ) -> Result<(), Fault> {
        let mut wanted = persons.clone();
        let mut done: BTreeSet<Hash> = BTreeSet::new();
        while !wanted.is_empty() {
            self.fold_lists(RowKind::Subject, &wanted, verifier)?;
            done.extend(wanted.keys());
            let mut joined = BTreeMap::new();
            for folded in &self.lists {
                let Some(spells) = wanted.get(&folded.counted.of) else {
                    continue;
                };
                for (index, body) in &folded.telling {
                    let Content::Link(link) = &body.content else {
                        continue;
                    };
                    match (link.old.value, link.new.value) {
                        (Some(old), Some(new)) => {
                            let new = [old, new].into_iter().filter(|of| !done.contains(of));
                            joined.extend(new.map(|of| (of, spells.clone())));
                        }
                        _ => self.remarks.push(Remark::LinkNotShown(*index)),
                    }
                }
            }
            wanted = joined;
        }
        for (at, list) in self.export.lists.iter().enumerate() {
            let asked = self.lists.iter().any(|folded| {
                (folded.counted.kind, folded.counted.of) == (list.head.kind, list.head.of)
            });
            if !asked {
                let why = "the list belongs to nobody whom the export is about";
                return Err(Fault::new(Lie::Anothers, why).at(at).at("lists"));
            }
        }
        Ok(())
    }

    fn fold_lists(
        &mut self,
        kind: RowKind,
        wanted: &BTreeMap<Hash, Option<Vec<Spell>>>,
        verifier: &mut Keys<'_>,
    ) -> Result<(), Fault> {
        let mut missing: BTreeSet<&Hash> = wanted.keys().collect();
        for (at, list) in self.export.lists.iter().enumerate() {
            let Some(spells) = wanted.get(&list.head.of).filter(|_| list.head.kind == kind) else {
                continue;
            };
            if !missing.remove(&list.head.of) {
                return Err(Fault::new(Lie::Added, "a list stands twice")
                    .at(at)
                    .at("lists"));
            }
            let folded = fold(list, spells.as_deref(), &self.beside, self.ground, verifier);
            self.lists
                .push(folded.map_err(|fault| fault.at(at).at("lists"))?);
        }
        if missing.is_empty() {
            return Ok(());
        }
        let why = format!(
            "the lists of {} whom the export is about are not in here",
            missing.len()
        );
        Err(Fault::new(Lie::Missing, why).at("lists"))
    }

    /// Each erased item names the order that erased it, and the order names it and may take such an entry. Whose entry it was is gone with
    /// the body, so who gave the orders is told: how many entries, by institution.
    fn erasures(&self) -> Result<BTreeMap<InstitutionId, u64>, Fault> {
        let mut ordered = BTreeMap::new();
        for erased in self.lists.iter().flat_map(|folded| &folded.erased) {
            let index = erased.index;
            let mut records = self.export.records.iter();
            let record = records.find(|record| record.index == erased.by);
            let (
                Some(Body {
                    content: Content::Erasure(order),
                    common,
                }),
                Some(record),
            ) = (self.records.get(&erased.by), record)
            else {
                let why = format!("the order that erased entry {index} is not among the records");
                return Err(Fault::new(Lie::Missing, why).at("records"));
            };
            let ground = erased.ground.as_deref();
            if erased.by <= index
                || !order.names(index.0)
                || !fits(order, &record.meta, &erased.meta)
                || ground.is_some_and(|ground| ground != order.ground.as_str())
            {
                let why = format!(
                    "entry {} does not order what is said of entry {index}",
                    erased.by
                );
                return Err(Fault::new(Lie::Changed, why).at("records"));
            }
            *ordered.entry(common.institution.clone()).or_default() += 1;
        }
        Ok(ordered)
    }

    /// What persons' lists leave open: accesses that were released to them and are not here, and links that may be among what is withheld.
    fn open_ends(&mut self) {
        let mut remarks = Vec::new();
        let persons = |folded: &&Folded| folded.counted.kind == RowKind::Subject;
        for folded in self.lists.iter().filter(persons) {
            for (index, body) in &folded.telling {
                if matches!(body.content, Content::Release(_))
                    && !self.released(body, &folded.counted.of)
                {
                    remarks.push(Remark::ReleasedNotShown(*index));
                }
            }
        }
        let withheld = |folded: &Folded| !folded.counted.withheld.is_empty();
        if self.lists.iter().filter(persons).any(withheld) {
            remarks.push(Remark::LinksPartial);
        }
        self.remarks.extend(remarks);
    }

    /// Whether the access that a release is about is among the records, and names this person.
    fn released(&self, release: &Body, of: &Hash) -> bool {
        let Some(of_what) = release.common.refers_to else {
            return false;
        };
        let mut records = self.export.records.iter();
        let there = records
            .any(|record| record.index == of_what.index && record.leaf_hash() == of_what.leaf);
        let access = self.records.get(&of_what.index);
        there
            && access.is_some_and(|body| {
                matches!(body.content, Content::Access(_)) && persons(body).contains(of)
            })
    }

    /// Consents that are shown are those of the persons whom the export is about.
    fn consents(&self) -> Result<(), Fault> {
        for (at, fact) in self.export.facts.iter().enumerate() {
            let own = |folded: &Folded| fact.key.name.starts_with(folded.counted.of.as_bytes());
            if fact.key.kind == kind::CONSENT && !self.lists.iter().any(own) {
                let why = "the consent is of nobody whom the export is about";
                return Err(Fault::new(Lie::Anothers, why).at(at).at("facts"));
            }
        }
        Ok(())
    }

    fn binding(&self, code: Option<&str>) -> Result<Bound, Fault> {
        match (&self.export.head.binding, code) {
            (None, None) => Ok(Bound::No),
            (None, Some(_)) => {
                let why = "the export does not say how its ref comes from a code";
                Err(Fault::new(Lie::Binding, why).at("binding"))
            }
            (Some(_), None) => Ok(Bound::NotAsked),
            (Some(binding), Some(code)) => self.bind(binding, code).map(|()| Bound::Yes),
        }
    }

    fn bind(&self, binding: &Binding, code: &str) -> Result<(), Fault> {
        let fault = |why: String| Fault::new(Lie::Binding, why).at("binding");
        let keys = self.oprf_keys();
        if keys.is_empty() {
            let why = "no entry that names the key of the pseudonyms is among the records";
            return Err(Fault::new(Lie::Missing, why).at("records"));
        }
        let mut failed = OprfError::Proof;
        for key in &keys {
            match binding.reference(code, key) {
                Ok(of) if of == self.export.head.about.of => return Ok(()),
                Ok(_) => return Err(fault("the code gives another ref".into())),
                Err(error) => failed = error,
            }
        }
        Err(fault(format!("{failed}, or it was made for another code")))
    }

    /// The keys of the pseudonyms, one an epoch, that the records name.
    fn oprf_keys(&self) -> Vec<OprfPublicKey> {
        let named = self
            .records
            .values()
            .filter_map(|body| match &body.content {
                Content::Genesis(genesis) => genesis.oprf_key,
                Content::Rules(rules) => rules.oprf_key,
                _ => None,
            });
        named
            .filter_map(|key| OprfPublicKey::from_bytes(key.as_bytes()).ok())
            .collect()
    }

    fn verified(self, bound: Bound, ordered: BTreeMap<InstitutionId, u64>) -> Verified {
        let lists: Vec<Counted> = self
            .lists
            .into_iter()
            .map(|folded| folded.counted)
            .collect();
        Verified {
            head: self.export.head.clone(),
            checkpoint: self.ground.checkpoint.clone(),
            size: self.ground.size(),
            version: self.ground.root.version,
            root_index: self.ground.root_index,
            time_ms: self.ground.root_meta.accepted_at_ms,
            lists,
            ordered,
            spells: self.spells,
            facts: self.export.facts.len(),
            records: self.records.len(),
            not_opened: self.export.not_opened.clone(),
            restricted: self.export.restricted.clone(),
            bound,
            not_compared: since::Gone::default(),
            remarks: self.remarks,
        }
    }
}

/// Whether an order takes entries like this one, which it names: by its type and, in a cut, by its age when the order was accepted.
fn fits(order: &Erasure, given: &Meta, erased: &Meta) -> bool {
    if order.entries.is_empty() {
        // Of what holds on, the age counts from later still.
        let since_ms = Some(erased.accepted_at_ms);
        retention::is_due(
            erased.entry_type,
            &order.types,
            since_ms,
            given.accepted_at_ms,
        )
    } else {
        is_erasable(erased.entry_type)
    }
}

/// What a household entry says, and whether all of it is left; every member must be disclosed, but for as many as orders took from it.
fn composition(
    index: EntryIndex,
    body: &Body,
    erased: usize,
) -> Result<(Option<Composition>, bool), Fault> {
    let Content::Household(household) = &body.content else {
        return Ok((None, true));
    };
    let members = household.members.iter();
    let members: Vec<Hash> = members
        .filter_map(|member| member.value.as_ref().map(|member| member.person))
        .collect();
    let missing = household.members.len().saturating_sub(members.len());
    if missing > erased {
        let why = format!("entry {index} says who belonged, and not all of them are disclosed");
        return Err(Fault::new(Lie::Missing, why).at("lists"));
    }
    let composition = Composition {
        index,
        valid_from_ms: household.valid_from_ms,
        members,
    };
    Ok((Some(composition), missing == 0))
}
