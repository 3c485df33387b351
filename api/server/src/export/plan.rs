// SPDX-License-Identifier: EUPL-1.2
//! Whose lists an export holds, and from when to when their items count. A verifier comes to the same from the export alone: from the
//! household's compositions to its members, and from a list's `link` entries to the other refs of its person.

use std::collections::{BTreeMap, BTreeSet};

use cluster::{Folded, View};
use ledger::{
    admission::{Row, RowKind},
    body::{Body, Content},
    erasure::{self, Scope},
    export::{AboutKind, Audience, NotOpened, persons},
    finding::Findings,
    hash::Hash,
    household::{Spell, membership},
    id::InstitutionId,
    number::EntryIndex,
    state::sealed,
};

use super::{ask::Ask, lists::Lists};
use crate::{
    access::{self, citizen::Citizen},
    auth::Reader,
    form::bad,
    present::StoredAt,
    problem::Fault,
    routes::erasures::took_part,
    search::{composition, list_of, refs_of},
};

/// Most rows of all lists together: opened, so many fill what a verifier reads. The rest of the bound is that of bytes; this one is for the time
/// that a plan takes, and for lists of which most is withheld.
pub const ROWS_MAX: usize = 500_000;
/// Why a member's list is not there.
const NO_MANDATE: &str = "adult-without-mandate";

/// Whose lists an export holds.
#[derive(Debug, Default)]
pub struct Plan {
    /// The lists, in the order in which they are written.
    pub lists: Vec<Planned>,
    /// The rules by which entries are opened, if it is for a citizen; else those of the reader's role.
    pub citizen: Option<Citizen>,
    /// Members whose lists are not opened.
    pub not_opened: Vec<NotOpened>,
    /// Rows in the lists.
    pub rows: usize,
}

/// A list, and when its items count.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Which.
    pub row: Row,
    /// When its person belonged to the household asked about; none: always.
    pub spells: Option<Vec<Spell>>,
}

impl Planned {
    /// Whether an entry counts: what happened while the person did not belong does not. A link tells who the person is, at any time; and
    /// a release counts when what it releases does.
    ///
    /// # Errors
    /// The store's own.
    pub fn counts(&self, view: &View, entry: &StoredAt, body: &Body) -> Result<bool, Fault> {
        let Some(spells) = &self.spells else {
            return Ok(true);
        };
        let time_ms = match (&body.content, entry.releases()) {
            (Content::Link(_), _) => return Ok(true),
            (_, Some(released)) => {
                let released = StoredAt::read(view, released.index)?;
                match released.as_ref().and_then(StoredAt::body) {
                    Some(body) => body.common.occurred_at_ms,
                    // When it was is gone, as of any erased entry.
                    None => return Ok(true),
                }
            }
            _ => body.common.occurred_at_ms,
        };
        Ok(spells.iter().any(|spell| spell.holds(time_ms)))
    }

    /// Whether the disclosure that puts an entry into the list is still there.
    pub fn is_named_by(&self, body: &Body) -> bool {
        match (self.row.kind, &body.content) {
            (RowKind::Household, Content::Household(household)) => {
                household.household.value == Some(self.row.of)
            }
            (RowKind::Household, _) => false,
            _ => persons(body).contains(&self.row.of),
        }
    }
}

/// Whether an order of erasure, which explains what is not shown, would tell of an entry that is still sealed to whom the export is for.
///
/// # Errors
/// The store's own.
pub fn tells_of_sealed(
    view: &View,
    reader: &Reader,
    audience: Audience,
    order: EntryIndex,
) -> Result<bool, Fault> {
    let entries = match erasure::order(view, order)?.map(|order| order.scope) {
        Some(Scope::Entries(entries) | Scope::Subject(entries, _)) => entries,
        Some(Scope::Before(..)) | None => return Ok(false),
    };
    for entry in entries.into_iter().map(EntryIndex) {
        if sealed::entry(view, entry)?.is_none() {
            continue;
        }
        let entry = StoredAt::read(view, entry)?;
        let sees = match (audience, &entry) {
            (Audience::Citizen, _) | (_, None) => false,
            (Audience::Reader, Some(entry)) => sees(view, reader, entry)?,
        };
        if !sees {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a reader may see an entry at all. Of an erased one the index tells who took part.
///
/// # Errors
/// The store's own.
pub fn sees(view: &View, reader: &Reader, entry: &StoredAt) -> Result<bool, Fault> {
    let mut signers = entry.signers(view)?;
    if entry.body().is_none() && took_part(view, reader.institution(), entry.index)? {
        signers.push(reader.institution().clone());
    }
    let entry_type = entry.stored.meta.entry_type;
    Ok(access::opening(reader, entry_type, entry.body(), &signers).is_some())
}

impl Plan {
    /// Plans an export as of a state root.
    ///
    /// # Errors
    /// As [`super::make`].
    pub fn of(
        folded: &Folded,
        lists: &Lists<'_>,
        reader: &Reader,
        ask: &Ask,
    ) -> Result<Plan, Fault> {
        let mut planning = Planning {
            view: folded.view(),
            lists,
            size: folded.state_root().size.0,
            reader,
            audience: ask.audience,
            plan: Plan::default(),
            notes: Vec::new(),
        };
        let wanted = match ask.about.kind {
            AboutKind::Subject => BTreeMap::from([(ask.about.of, None)]),
            AboutKind::Household => planning.household(ask)?,
        };
        planning.persons(wanted)?;
        Ok(planning.done(ask))
    }

    /// The persons whose lists are in it.
    pub fn refs(&self) -> Vec<Hash> {
        self.lists
            .iter()
            .filter(|list| list.row.kind == RowKind::Subject)
            .map(|list| list.row.of)
            .collect()
    }
}

struct Planning<'a> {
    view: &'a View,
    lists: &'a Lists<'a>,
    size: u64,
    reader: &'a Reader,
    audience: Audience,
    plan: Plan,
    /// Notes that may decide something for a citizen.
    notes: Vec<(Body, Findings, Vec<InstitutionId>)>,
}

impl Planning<'_> {
    /// The household's own list, and its members whose lists are opened.
    fn household(&mut self, ask: &Ask) -> Result<BTreeMap<Hash, Option<Vec<Spell>>>, Fault> {
        let list = Row {
            kind: RowKind::Household,
            of: ask.about.of,
        };
        let list = Planned {
            row: list,
            spells: None,
        };
        let mut compositions = Vec::new();
        let mut partial = false;
        self.lists
            .walk(&list.row, self.size, |entries| {
                for entry in entries {
                    // Who belonged cannot be told from a part of the compositions, nor what is gone of them without the orders.
                    let mut orders = entry.stored.erased.iter();
                    let told = orders.try_fold(false, |told, order| {
                        let tells =
                            || tells_of_sealed(self.view, self.reader, self.audience, *order);
                        Ok::<_, Fault>(told || tells()?)
                    })?;
                    if told || !self.sees(entry)? {
                        return Err(Fault::NotFound);
                    }
                    match entry.body().filter(|body| list.is_named_by(body)) {
                        Some(body) => {
                            partial |= lacks_members(body);
                            compositions.extend(composition(entry.index, body));
                        }
                        None => partial = true,
                    }
                }
                Ok(())
            })
            .map_err(|fault| self.not_there(fault))?;
        if compositions.is_empty() && !partial {
            return Err(self.not_there(Fault::NotFound));
        }
        self.plan.lists.push(list);
        let mut members: BTreeMap<Hash, Option<Vec<Spell>>> = BTreeMap::new();
        for spell in membership(&compositions) {
            let spells = members
                .entry(spell.person)
                .or_insert_with(|| (!partial).then(Vec::new));
            if let Some(spells) = spells {
                spells.push(spell);
            }
        }
        if self.audience == Audience::Citizen {
            let mut open: BTreeSet<Hash> = BTreeSet::new();
            for person in &ask.open {
                // The registry may know one person by two refs.
                let refs = refs_of(self.view, &person.of)?;
                if !refs.iter().any(|of| members.contains_key(of)) {
                    return Err(self.not_there(Fault::NotFound));
                }
                open.extend(refs);
            }
            let closed = members.keys().filter(|of| !open.contains(*of));
            self.plan.not_opened = closed
                .map(|of| NotOpened {
                    of: *of,
                    why: NO_MANDATE.to_owned(),
                })
                .collect();
            members.retain(|of, _| open.contains(of));
        }
        Ok(members)
    }

    /// These persons' lists, then those of refs that are joined to theirs, until no new one is met.
    fn persons(&mut self, mut wanted: BTreeMap<Hash, Option<Vec<Spell>>>) -> Result<(), Fault> {
        let mut done: BTreeSet<Hash> = BTreeSet::new();
        while !wanted.is_empty() {
            let mut joined = BTreeMap::new();
            done.extend(wanted.keys());
            for (of, spells) in wanted {
                let list = Planned {
                    row: list_of(&of),
                    spells,
                };
                for other in self.survey(&list)? {
                    if !done.contains(&other) {
                        joined.insert(other, list.spells.clone());
                    }
                }
                self.plan.lists.push(list);
            }
            wanted = joined;
        }
        Ok(())
    }

    /// Looks a list through: for refs that are joined to its own, and for notes.
    fn survey(&mut self, list: &Planned) -> Result<Vec<Hash>, Fault> {
        let mut joined = Vec::new();
        let mut rows = 0;
        let mut notes = Vec::new();
        self.lists.walk(&list.row, self.size, |entries| {
            rows += entries.len();
            if self.plan.rows + rows > ROWS_MAX {
                return Err(bad("subject", "lists of at most 500000 entries together"));
            }
            for entry in entries {
                match entry.body().map(|body| &body.content) {
                    Some(Content::Note(note)) if !note.opens.is_empty() => {
                        let signers = entry.signers(self.view)?;
                        let findings = entry.stored.meta.findings;
                        notes.extend(entry.body().cloned().map(|body| (body, findings, signers)));
                    }
                    Some(Content::Link(link)) if self.sees(entry)? => {
                        joined.extend([&link.old, &link.new].into_iter().filter_map(|of| of.value));
                    }
                    _ => {}
                }
            }
            Ok(())
        })?;
        self.plan.rows += rows;
        self.notes.append(&mut notes);
        Ok(joined)
    }

    /// Whether an entry of a list is opened at all. A citizen's own list is.
    fn sees(&self, entry: &StoredAt) -> Result<bool, Fault> {
        Ok(self.audience == Audience::Citizen || sees(self.view, self.reader, entry)?)
    }

    /// One answer for a household that is not there, that is not the reader's to see, and of which those named are no members: nothing
    /// was put on record, so it must not tell whether there is one.
    fn not_there(&self, fault: Fault) -> Fault {
        match (fault, self.audience) {
            (Fault::NotFound, Audience::Citizen) => bad("open", "members of the household"),
            (fault, _) => fault,
        }
    }

    fn done(self, ask: &Ask) -> Plan {
        let mut plan = self.plan;
        if self.audience == Audience::Citizen {
            let refs = plan.refs();
            let mut citizen = match ask.about.kind {
                AboutKind::Subject => Citizen::new(refs),
                AboutKind::Household => Citizen::of_household(ask.about.of, refs),
            };
            for (body, findings, signers) in &self.notes {
                citizen.hear(body, *findings, signers);
            }
            plan.citizen = Some(citizen);
        }
        plan
    }
}

/// Whether the disclosure of some member is gone from a composition.
fn lacks_members(body: &Body) -> bool {
    match &body.content {
        Content::Household(household) => {
            let mut members = household.members.iter();
            members.any(|member| member.value.is_none())
        }
        _ => false,
    }
}
