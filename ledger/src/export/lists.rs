// SPDX-License-Identifier: EUPL-1.2
//! Folding a list: its items, one after the other, must lead from its base to the head under the state root, and each that is opened must
//! be the list's own.

use alloc::{collections::BTreeMap, format, vec::Vec};

use super::{Erased, Fault, Item, Lie, List, Opened, Why, ground::Ground};
use crate::{
    admission::RowKind,
    body::{Body, Content, Disclosed, access::Visibility},
    bytes::{self, ListValue, Meta},
    entry::Verifier,
    finding::Findings,
    hash::Hash,
    household::Spell,
    id::KeyId,
    key::PublicKey,
    number::EntryIndex,
};

/// What a list that holds is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Which list.
    pub kind: RowKind,
    /// Whose.
    pub of: Hash,
    /// Entries ever in it.
    pub count: u64,
    /// Of these, how many retention deleted.
    pub base_count: u64,
    /// Items that are opened.
    pub opened: u64,
    /// Items whose body was erased.
    pub erased: u64,
    /// Items that are withheld, by the reason given.
    pub withheld: BTreeMap<Option<Why>, u64>,
    /// Of the opened and the erased ones: how many accesses carry which findings (the bits of [`Findings`]; 0 = covered).
    pub accesses: BTreeMap<u32, u64>,
}

/// A list that holds, and the bodies in it that say something of other lists.
pub(super) struct Folded {
    pub counted: Counted,
    /// Household, link and release entries.
    pub telling: Vec<(EntryIndex, Body)>,
    pub erased: Vec<Erased>,
}

/// When the entries that are shown beside the lists happened, by place and leaf.
pub(super) type Beside = BTreeMap<(EntryIndex, Hash), u64>;

/// Checks the list under the state root. `spells`: when the list's person belonged to the household asked about. `beside`: what releases
/// are about.
pub(super) fn fold(
    list: &List,
    spells: Option<&[Spell]>,
    beside: &Beside,
    ground: &Ground<'_>,
    verifier: &mut Verifier<'_, BTreeMap<KeyId, PublicKey>>,
) -> Result<Folded, Fault> {
    let head = &list.head;
    let value = head.value.map(|value| value.encode());
    ground.prove(
        &head.key(),
        value.as_ref().map(<[u8; 80]>::as_slice),
        &head.proof,
    )?;
    let value = head.value.unwrap_or(ListValue::EMPTY);
    let due = value.count.checked_sub(value.base_count).ok_or_else(|| {
        Fault::new(Lie::Changed, "a list cannot begin behind its end").at("value")
    })?;
    let mut folding = Folding {
        list,
        spells,
        beside,
        ground,
        folded: Folded {
            counted: Counted {
                kind: head.kind,
                of: head.of,
                count: value.count,
                base_count: value.base_count,
                opened: 0,
                erased: 0,
                withheld: BTreeMap::new(),
                accesses: BTreeMap::new(),
            },
            telling: Vec::new(),
            erased: Vec::new(),
        },
        fold: ListValue {
            count: value.base_count,
            head: value.base_head,
            ..value
        },
        last: None,
    };
    for (at, item) in list.items.iter().enumerate() {
        folding
            .take(item, verifier)
            .map_err(|fault| fault.at(at).at("items"))?;
    }
    let given = u64::try_from(list.items.len()).unwrap_or(u64::MAX);
    if given != due {
        let (lie, word) = if given < due {
            (Lie::Missing, "only ")
        } else {
            (Lie::Added, "")
        };
        let why = format!("the ledger's list has {due} items, and {word}{given} are in here");
        return Err(Fault::new(lie, why).at("items"));
    }
    if folding.fold.head != value.head {
        let why = "the items lead to another head than the ledger's: one was left out and another put in its place";
        return Err(Fault::new(Lie::Changed, why).at("items"));
    }
    Ok(folding.folded)
}

struct Folding<'a, 'e> {
    list: &'a List,
    spells: Option<&'a [Spell]>,
    beside: &'a Beside,
    ground: &'a Ground<'e>,
    folded: Folded,
    fold: ListValue,
    /// Index of the last item that shows it.
    last: Option<EntryIndex>,
}

impl Folding<'_, '_> {
    fn take(
        &mut self,
        item: &Item,
        verifier: &mut Verifier<'_, BTreeMap<KeyId, PublicKey>>,
    ) -> Result<(), Fault> {
        let of = self.list.head.of;
        let item = match item {
            Item::Withheld(withheld) => {
                let counted = &mut self.folded.counted.withheld;
                *counted.entry(withheld.why).or_default() += 1;
                withheld.item
            }
            Item::Erased(erased) => {
                self.ground.bridge(erased)?;
                self.ascend(erased.index)?;
                self.folded.counted.erased += 1;
                self.count_findings(&erased.meta);
                self.folded.erased.push((**erased).clone());
                bytes::item(&erased.meta_salt, &of, &erased.leaf_hash())
            }
            Item::Opened(opened) => {
                let body = self.ground.open(opened, verifier)?;
                self.own(opened, &body)?;
                self.ascend(opened.index)?;
                self.folded.counted.opened += 1;
                self.count_findings(&opened.meta);
                if matches!(
                    body.content,
                    Content::Household(_) | Content::Link(_) | Content::Release(_)
                ) {
                    self.folded.telling.push((opened.index, body));
                }
                bytes::item(&opened.meta_salt(), &of, &opened.leaf_hash())
            }
        };
        self.fold = self.fold.with(&item);
        Ok(())
    }

    /// Items stand in the order of the ledger, each once.
    fn ascend(&mut self, index: EntryIndex) -> Result<(), Fault> {
        let last = self.last.replace(index);
        match last {
            Some(last) if last == index => Err(Fault::new(
                Lie::Added,
                format!("entry {index} stands twice"),
            )),
            Some(last) if last > index => {
                let why = format!("entry {index} stands after entry {last}");
                Err(Fault::new(Lie::Reordered, why))
            }
            _ => Ok(()),
        }
    }

    /// The entry discloses this list's ref, and happened while its person belonged.
    fn own(&self, opened: &Opened, body: &Body) -> Result<(), Fault> {
        let head = &self.list.head;
        let own = match head.kind {
            RowKind::Household => household_of(body) == Some(head.of),
            RowKind::Sealed => sealed_for(body, &head.of),
            _ => persons(body).contains(&head.of),
        };
        let index = opened.index;
        if !own {
            let why = format!("entry {index} does not name the one whose list this is");
            return Err(Fault::new(Lie::Anothers, why));
        }
        let holds = |at_ms| {
            self.spells
                .is_none_or(|spells| spells.iter().any(|spell| spell.holds(at_ms)))
        };
        if self.happened_at_ms(body).is_some_and(|at_ms| !holds(at_ms)) {
            let why = format!("entry {index} happened outside of the membership");
            return Err(Fault::new(Lie::OutsideMembership, why));
        }
        Ok(())
    }

    /// When that happened which the membership is held against. A link tells who the person is, at any time. A release counts when what
    /// it releases does; where that is not shown, nobody can tell.
    fn happened_at_ms(&self, body: &Body) -> Option<u64> {
        match (&body.content, &body.common.refers_to) {
            (Content::Link(_), _) => None,
            (Content::Release(_), Some(of)) => self.beside.get(&(of.index, of.leaf)).copied(),
            _ => Some(body.common.occurred_at_ms),
        }
    }

    fn count_findings(&mut self, meta: &Meta) {
        if meta.entry_type == crate::body::EntryType::Access {
            let Findings(bits) = meta.findings;
            *self.folded.counted.accesses.entry(bits).or_default() += 1;
        }
    }
}

/// The household that an entry discloses.
fn household_of(body: &Body) -> Option<Hash> {
    match &body.content {
        Content::Household(household) => household.household.value,
        _ => None,
    }
}

/// Whether an access is sealed for the authority of this list. What else stands there (notes on sealed entries) shows by the fold alone.
fn sealed_for(body: &Body, of: &Hash) -> bool {
    let Content::Access(access) = &body.content else {
        return true;
    };
    let authority = match &access.visibility {
        Visibility::Visible => return false,
        Visibility::Deferred { authority, .. } => {
            authority.as_ref().unwrap_or(&body.common.institution)
        }
        Visibility::Hidden { authority, .. } => authority,
    };
    bytes::sealed_ref(authority) == *of
}

/// The persons whom an entry discloses, as far as the disclosures at hand say.
pub fn persons(body: &Body) -> Vec<Hash> {
    persons_shown(body, |_| true)
}

/// Those of them whose own disclosure is shown, by its digest.
pub fn persons_shown(body: &Body, shows: impl Fn(&Hash) -> bool) -> Vec<Hash> {
    let of = |one: &Disclosed<Hash>| one.value.filter(|_| shows(&one.digest));
    let values = |all: &[Disclosed<Hash>]| all.iter().filter_map(of).collect();
    match &body.content {
        Content::Access(access) => access
            .subjects
            .iter()
            .filter(|subject| shows(&subject.digest))
            .filter_map(|subject| subject.value.as_ref())
            .map(|subject| subject.person)
            .collect(),
        Content::Consent(consent) => of(&consent.subject).into_iter().collect(),
        Content::Household(household) => household
            .members
            .iter()
            .filter(|member| shows(&member.digest))
            .filter_map(|member| member.value.as_ref())
            .map(|member| member.person)
            .collect(),
        Content::Note(note) => values(&note.subjects),
        Content::Read(read) => values(&read.subjects),
        Content::Disclosure(disclosure) => values(&disclosure.subjects),
        Content::Release(release) => values(&release.subjects),
        Content::Erasure(order) => order.subject.iter().filter_map(of).collect(),
        Content::Link(link) => [&link.old, &link.new].into_iter().filter_map(of).collect(),
        _ => Vec::new(),
    }
}
