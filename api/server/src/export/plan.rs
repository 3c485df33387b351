// SPDX-License-Identifier: EUPL-1.2
//! Whose lists an export holds, and from when to when their items count. A verifier comes to the same from the export alone: from the
//! household's compositions to its members, and from a list's `link` entries to the other refs of its person.

use std::collections::{BTreeMap, BTreeSet};

use cluster::{Direction, Folded, View};
use ledger::{
    admission::{Row, RowKind},
    body::{Body, Content, EntryType},
    export::{AboutKind, Audience, NotOpened},
    finding::Findings,
    hash::Hash,
    household::{Spell, membership},
    id::InstitutionId,
    number::EntryIndex,
};

use super::ask::Ask;
use crate::{
    access::{self, citizen::Citizen},
    auth::Reader,
    form::bad,
    present::StoredAt,
    problem::Fault,
    search::{composition, list_of, refs_of},
};

/// Most rows of all lists together.
pub const ROWS_MAX: usize = 200_000;
/// Rows fetched at a time.
const FETCHED: usize = 1_024;
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
    /// Whether what happened at that time counts.
    pub fn holds(&self, time_ms: u64) -> bool {
        self.spells
            .as_ref()
            .is_none_or(|spells| spells.iter().any(|spell| spell.holds(time_ms)))
    }
}

impl Plan {
    /// Plans an export as of a state root.
    ///
    /// # Errors
    /// As [`super::make`].
    pub fn of(folded: &Folded, reader: &Reader, ask: &Ask) -> Result<Plan, Fault> {
        let mut planning = Planning {
            view: folded.view(),
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

/// The indexes of a list below a size, oldest first, fetched some at a time.
pub fn walk(
    view: &View,
    row: &Row,
    size: u64,
    mut each: impl FnMut(EntryIndex) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut from = 0;
    loop {
        let rows = view.rows(row.kind, &row.of, from..size, Direction::Up, FETCHED)?;
        for index in &rows {
            each(*index)?;
        }
        match rows.last() {
            Some(last) if rows.len() == FETCHED => from = last.0 + 1,
            _ => return Ok(()),
        }
    }
}

struct Planning<'a> {
    view: &'a View,
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
        self.plan.lists.push(Planned {
            row: list,
            spells: None,
        });
        let mut compositions = Vec::new();
        let mut partial = false;
        walk(self.view, &list, self.size, |index| {
            let Some(entry) = StoredAt::read(self.view, index)? else {
                return Ok(());
            };
            match entry.body() {
                // Who belonged cannot be told from a part of the compositions.
                Some(body) if !self.sees(&entry, body)? => return Err(Fault::NotFound),
                Some(body) => compositions.extend(composition(index, body)),
                None => partial = true,
            }
            Ok(())
        })?;
        if compositions.is_empty() && !partial {
            return Err(Fault::NotFound);
        }
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
                    return Err(bad("open", "members of the household"));
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
        walk(self.view, &list.row, self.size, |index| {
            rows += 1;
            if self.plan.rows + rows > ROWS_MAX {
                return Err(bad("subject", "lists of at most 200000 entries together"));
            }
            let Some(entry) = StoredAt::read(self.view, index)? else {
                return Ok(());
            };
            let Some(body) = entry.body() else {
                return Ok(());
            };
            match &body.content {
                Content::Note(note) if !note.opens.is_empty() => {
                    let signers = entry.signers(self.view)?;
                    notes.push((body.clone(), entry.stored.meta.findings, signers));
                }
                Content::Link(link)
                    if list.holds(body.common.occurred_at_ms) && self.sees(&entry, body)? =>
                {
                    joined.extend([&link.old, &link.new].into_iter().filter_map(|of| of.value));
                }
                _ => {}
            }
            Ok(())
        })?;
        self.plan.rows += rows;
        self.notes.append(&mut notes);
        Ok(joined)
    }

    /// Whether an entry of a list is opened at all. A citizen's own list is.
    fn sees(&self, entry: &StoredAt, body: &Body) -> Result<bool, Fault> {
        if self.audience == Audience::Citizen {
            return Ok(true);
        }
        let signers = entry.signers(self.view)?;
        let entry_type: EntryType = entry.stored.meta.entry_type;
        Ok(access::opening(self.reader, entry_type, Some(body), &signers).is_some())
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
