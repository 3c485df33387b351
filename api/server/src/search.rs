// SPDX-License-Identifier: EUPL-1.2
//! Who saw whose data: reads a query, walks the rows of the index from the newest on, and picks what the reader may see.
//!
//! A household is asserted, not indexed: its answer is its spells of membership, as the household entries that the reader may see say, and
//! each member's list cut to the spells by the time when an access occurred. Where an erased one may have held, nobody counts as a member. A person is asked for by any ref that `link` entries join. A
//! sealed access stands in no person's list; once released it is found where its release stands.

use std::{collections::BTreeSet, ops::Range};

use cluster::View;
use ledger::{
    admission::{Row, RowKind},
    body::{Body, Content, EntryType},
    export::persons,
    finding::{Finding, Findings},
    hash::Hash,
    household::{Composition, Spell, membership},
    id::InstitutionId,
    number::EntryIndex,
    retention,
    state::registry,
    time::AHEAD_MS_MAX,
};
use wire::{PAGE_ITEMS_MAX, search::AccessSearch};

use self::rows::{Entries, Rows};
use crate::{
    access,
    auth::Reader,
    cursor,
    form::{Form, bad},
    present::Seen,
    problem::{Fault, RequestFault},
    release::READ_SUBJECTS_MAX,
};

pub mod rows;

/// Items on a page when the query does not say.
pub const PAGE_ITEMS_DEFAULT: u32 = 50;
/// Most rows looked at for one page, up to the next multiple of [`GRID`] below: a page may be short and still have a next one.
pub const ROWS_PER_PAGE_MAX: usize = 4_000;
/// A page that ends for its rows ends at a multiple of this, so that its cursor names no entry that the reader may not see.
pub const GRID: u64 = 1_024;
/// Stored bytes of the entries on one page: what a page costs in memory is a few times this.
const PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Most entries about one household that are read to know its members.
pub const COMPOSITIONS_MAX: usize = 2_000;

/// Whose list is searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The members of a household, while they were.
    Household(Hash),
    /// A person.
    Subject(Hash),
    /// What an institution signed or took part in.
    Institution(InstitutionId),
    /// What one person of an institution caused.
    Operator(InstitutionId, String),
}

/// Which findings an entry must carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingFilter {
    /// At least one.
    Any,
    /// None: covered.
    Covered,
    /// This one.
    One(Finding),
}

/// A query for accesses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    target: Target,
    from_ms: Option<u64>,
    to_ms: Option<u64>,
    purpose: Option<String>,
    finding: Option<FindingFilter>,
    types: Vec<EntryType>,
    /// Most items on the page.
    pub limit: u32,
    /// What is asked, without page and limit.
    pub question: Hash,
    before: Option<u64>,
}

impl Query {
    /// Reads a query from the body of a request.
    ///
    /// # Errors
    /// A member does not fit, the cursor belongs to another query, or the reader may not ask this.
    pub fn parse(body: &[u8], reader: &Reader) -> Result<Query, Fault> {
        access::demand_reader_of_entries(reader)?;
        let mut form = Form::parse(body)?;
        let household = form.hash("household")?;
        let subject = form.hash("subject")?;
        let institution = form.text("institution")?;
        let operator = form.text("operator")?;
        let (from_ms, to_ms) = (form.time("from")?, form.time("to")?);
        let (purpose, finding) = (form.text("purpose")?, form.text("finding")?);
        let types = form.texts("types")?;
        let cursor = form.text("cursor")?;
        let limit = form
            .number("limit", 1..=PAGE_ITEMS_MAX, "a number from 1 to 100")?
            .unwrap_or(PAGE_ITEMS_DEFAULT);
        form.end()?;
        let asked = AccessSearch {
            household: household.as_ref().map(crate::present::hash_text),
            subject: subject.as_ref().map(crate::present::hash_text),
            institution: institution.clone(),
            operator: operator.clone(),
            from: from_ms.map(ledger::time::format_timestamp),
            to: to_ms.map(ledger::time::format_timestamp),
            purpose: purpose.clone(),
            finding: finding.clone(),
            types: types.clone(),
            cursor: None,
            limit: None,
        };
        let question = Hash::of(&[&serde_json::to_vec(&asked).map_err(Fault::internal)?]);
        let target = match (household, subject, institution, operator) {
            (Some(household), None, None, None) => Target::Household(household),
            (None, Some(subject), None, None) => Target::Subject(subject),
            (None, None, Some(institution), operator) => {
                let institution = InstitutionId::parse(&institution)
                    .ok_or_else(|| bad("institution", "ipa:<code> or cf:<11 digits>"))?;
                match operator {
                    Some(operator) => {
                        access::demand_reader_of_operator(reader, &institution)?;
                        Target::Operator(institution, operator)
                    }
                    None => Target::Institution(institution),
                }
            }
            _ => {
                return Err(RequestFault::Member(
                    String::new(),
                    "exactly one of household, subject, institution; operator beside institution",
                )
                .into());
            }
        };
        Ok(Query {
            target,
            from_ms,
            to_ms,
            purpose,
            finding: finding.as_deref().map(parse_finding).transpose()?,
            types: parse_types(types)?,
            limit,
            before: cursor
                .map(|cursor| cursor::parse(&cursor, &question, reader))
                .transpose()?,
            question,
        })
    }

    /// What this page asks: the question and where it goes on.
    pub fn page_question(&self) -> Hash {
        let position = self.before.unwrap_or(u64::MAX).to_be_bytes();
        Hash::of(&[self.question.as_bytes(), &position])
    }

    /// The page, picked and not yet shown.
    ///
    /// # Errors
    /// `not-found` for a household that is not there or not the reader's to see; else the store's own.
    pub fn select(&self, view: &View, reader: &Reader) -> Result<Selection, Fault> {
        let before = self.before.unwrap_or(u64::MAX).min(view.size().0);
        let (spells, unknown, said_by) = match &self.target {
            Target::Household(household) => {
                let members = members_of(view, reader, household)?;
                (Some(members.spells), members.unknown, members.said_by)
            }
            _ => (None, Vec::new(), Vec::new()),
        };
        let cuts = match &spells {
            Some(spells) => Some(with_linked(view, spells)?),
            None => None,
        };
        let mut named: BTreeSet<Hash> = match &self.target {
            Target::Subject(person) => refs_of(view, person)?.into_iter().collect(),
            Target::Household(_) => cuts.iter().flatten().map(|spell| spell.person).collect(),
            Target::Institution(_) | Target::Operator(..) => BTreeSet::new(),
        };
        let lists = match &self.target {
            Target::Household(_) | Target::Subject(_) => named.iter().map(list_of).collect(),
            Target::Institution(institution) => vec![Row::institution(institution)],
            Target::Operator(institution, operator) => vec![Row::operator(institution, operator)],
        };
        let named_max = named.len().max(READ_SUBJECTS_MAX);
        let mut selection = Selection {
            seen: Vec::new(),
            next: None,
            spells,
            said_by,
            unknown,
            subjects: Vec::new(),
            rows: 0,
        };
        // In a person's list a release stands for the access that it releases, unless releases themselves are asked for.
        let through = matches!(self.target, Target::Household(_) | Target::Subject(_))
            && !self.types.contains(&EntryType::Release);
        let wanted = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let mut entries = Entries::new(view, lists, before);
        let mut bytes = 0;
        let mut end = None;
        // With the one that tells that there is a next page.
        let missing = |seen: &[Seen]| wanted.saturating_add(1).saturating_sub(seen.len());
        while let Some((index, entry)) = entries.take_newest(missing(&selection.seen))? {
            if end.is_some_and(|end| index.0 < end) {
                selection.next = end;
                break;
            }
            selection.rows += 1;
            if selection.rows == ROWS_PER_PAGE_MAX {
                end = Some(index.0 - index.0 % GRID);
            }
            let Some(entry) = entry else {
                continue;
            };
            if self.too_old(entry.accepted_at_ms()) {
                break;
            }
            let seen = match entry.releases().filter(|_| through) {
                Some(released) => Seen::look(view, reader, released.index)?,
                None => entry.look(view, reader)?,
            };
            let Some(seen) = seen else {
                continue;
            };
            let again = |other: &Seen| other.index() == seen.index();
            if !self.wants(&seen, cuts.as_deref()) || selection.seen.iter().any(again) {
                continue;
            }
            bytes += seen.bytes();
            let shown = seen.persons_to_name();
            let new = shown.iter().filter(|person| !named.contains(*person));
            let new = new.count();
            let full = selection.seen.len() == wanted
                || bytes > PAGE_BYTES_MAX
                || (new > 0 && named.len() + new > named_max);
            // Below an entry that the reader may see: where the list goes on for others, the cursor does not tell.
            if full && !selection.seen.is_empty() {
                selection.next = Some(index.0 + 1);
                break;
            }
            named.extend(shown);
            selection.seen.push(seen);
        }
        selection.subjects = named.into_iter().collect();
        Ok(selection)
    }

    fn too_old(&self, accepted_at_ms: u64) -> bool {
        let from_ms = self.from_ms;
        from_ms.is_some_and(|from_ms| is_before(accepted_at_ms, from_ms))
    }

    fn wants(&self, seen: &Seen, spells: Option<&[Spell]>) -> bool {
        if !self.types.contains(&seen.entry_type()) || !self.wants_findings(seen.findings()) {
            return false;
        }
        // Of an erased entry only the time of acceptance is left, and whose list it stands in.
        let time = seen
            .body()
            .map_or(seen.accepted_at_ms(), |body| body.common.occurred_at_ms);
        if self.from_ms.is_some_and(|from| time < from) || self.to_ms.is_some_and(|to| time >= to) {
            return false;
        }
        let Some(body) = seen.body() else {
            return self.purpose.is_none() && spells.is_none();
        };
        let purpose = match &body.content {
            Content::Access(access) => Some(&access.purpose),
            Content::Read(read) => Some(&read.purpose),
            _ => None,
        };
        if self.purpose.is_some() && self.purpose.as_ref() != purpose {
            return false;
        }
        spells.is_none_or(|spells| {
            let persons = persons(body);
            spells
                .iter()
                .any(|spell| spell.holds(time) && persons.contains(&spell.person))
        })
    }

    fn wants_findings(&self, findings: Findings) -> bool {
        match self.finding {
            None => true,
            Some(FindingFilter::Any) => !findings.is_covered(),
            Some(FindingFilter::Covered) => findings.is_covered(),
            Some(FindingFilter::One(finding)) => findings.contains(finding),
        }
    }
}

/// Whether all that happened from a time on stands above a row that was accepted then. Times of acceptance fall with the index, and nothing is
/// accepted that is dated more than five minutes ahead of it: from here on all is older. What is released here was accepted before.
pub fn is_before(accepted_at_ms: u64, from_ms: u64) -> bool {
    accepted_at_ms.saturating_add(AHEAD_MS_MAX) < from_ms
}

/// A page, picked and not yet shown.
pub struct Selection {
    /// The entries, newest first.
    pub seen: Vec<Seen>,
    /// The next page begins below this index.
    pub next: Option<u64>,
    /// For a household: who was a member when.
    pub spells: Option<Vec<Spell>>,
    /// The entries that say so.
    said_by: Vec<EntryIndex>,
    /// For a household: when it is not known who was a member.
    pub unknown: Vec<Range<u64>>,
    /// Whose data was asked for or is on the page, each once.
    pub subjects: Vec<Hash>,
    /// Rows that were looked at.
    pub rows: usize,
}

impl Selection {
    /// The entries whose bodies the page tells of.
    pub fn rests_on(&self) -> Vec<EntryIndex> {
        let seen = self.seen.iter().map(Seen::index);
        self.said_by.iter().copied().chain(seen).collect()
    }
}

/// What is known of who belonged to a household.
pub struct Compositions {
    /// Those that the reader may see, each with the body that says it, in the order of the ledger.
    pub said: Vec<Seen>,
    /// When those may have held whose bodies are gone, ms since the epoch: nobody can tell who belonged then.
    pub unknown: Vec<Range<u64>>,
}

/// A household's compositions.
///
/// # Errors
/// `not-found` if the reader may see none, `request-member` if there are too many; else the store's own.
pub fn compositions(view: &View, reader: &Reader, household: &Hash) -> Result<Compositions, Fault> {
    let list = Row {
        kind: RowKind::Household,
        of: *household,
    };
    let last = retention::last_composition(view, household)?;
    let mut rows = Rows::new(view, vec![list], view.size().0);
    let (mut said, mut unknown) = (Vec::new(), Vec::new());
    let mut looked_at = 0;
    while let Some(index) = rows.take_newest()? {
        if looked_at == COMPOSITIONS_MAX {
            const { assert!(COMPOSITIONS_MAX == 2_000) };
            // Who belonged cannot be told from a part of them.
            return Err(bad("household", "a household of at most 2000 compositions"));
        }
        looked_at += 1;
        let seen = Seen::look(view, reader, index)?;
        let Some(seen) = seen.filter(|seen| seen.entry_type() == EntryType::Household) else {
            continue;
        };
        if seen.body().is_some() {
            said.push(seen);
            continue;
        }
        let began = last.filter(|(last, _)| *last == index);
        let ceased = retention::ceased(view, index, EntryType::Household)?;
        unknown.push(began.map_or(0, |(_, began_ms)| began_ms)..ceased.unwrap_or(u64::MAX));
    }
    if said.is_empty() && unknown.is_empty() {
        return Err(Fault::NotFound);
    }
    said.reverse();
    Ok(Compositions {
        said,
        unknown: joined(unknown),
    })
}

/// Who belonged to a household when.
struct Members {
    spells: Vec<Spell>,
    /// When that is not known, ms since the epoch: of then nothing is shown, since some of them may have left.
    unknown: Vec<Range<u64>>,
    /// The entries that say so.
    said_by: Vec<EntryIndex>,
}

/// Spans of time in their order, those that touch as one.
fn joined(mut spans: Vec<Range<u64>>) -> Vec<Range<u64>> {
    spans.sort_by_key(|span| span.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for span in spans.into_iter().filter(|span| !span.is_empty()) {
        match joined.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => joined.push(span),
        }
    }
    joined
}

/// As its compositions say.
fn members_of(view: &View, reader: &Reader, household: &Hash) -> Result<Members, Fault> {
    let Compositions { said, unknown } = compositions(view, reader, household)?;
    let compositions: Vec<Composition> = said
        .iter()
        .filter_map(|seen| composition(seen.index(), seen.body()?))
        .collect();
    let spells = membership(&compositions);
    let known = spells.iter().flat_map(|spell| without(spell, &unknown));
    Ok(Members {
        spells: known.collect(),
        unknown,
        said_by: said.iter().map(Seen::index).collect(),
    })
}

/// What is left of a spell outside of some times, which come in their order.
fn without(spell: &Spell, times: &[Range<u64>]) -> Vec<Spell> {
    let mut left = Vec::new();
    let mut from_ms = spell.from_ms;
    let ends = spell.until_ms.unwrap_or(u64::MAX);
    for time in times {
        if time.start >= ends || time.end <= from_ms {
            continue;
        }
        if from_ms < time.start {
            left.push(Spell {
                from_ms,
                until_ms: Some(time.start),
                ..*spell
            });
        }
        from_ms = time.end;
    }
    if from_ms < ends {
        left.push(Spell { from_ms, ..*spell });
    }
    left
}

/// All refs of a person: the one asked for, and those that `link` entries join to it.
///
/// # Errors
/// The store's own.
pub fn refs_of(view: &View, person: &Hash) -> Result<Vec<Hash>, Fault> {
    let mut refs = registry::linked(view, person)?;
    refs.push(*person);
    Ok(refs)
}

/// Spells of membership under every ref of each member.
fn with_linked(view: &View, spells: &[Spell]) -> Result<Vec<Spell>, Fault> {
    let mut cuts = Vec::with_capacity(spells.len());
    for spell in spells {
        let refs = refs_of(view, &spell.person)?;
        cuts.extend(refs.into_iter().map(|person| Spell { person, ..*spell }));
    }
    Ok(cuts)
}

/// The list of a person under one ref.
pub fn list_of(person: &Hash) -> Row {
    Row {
        kind: RowKind::Subject,
        of: *person,
    }
}

/// What a household entry says, for `ledger`'s fold.
pub fn composition(index: EntryIndex, body: &Body) -> Option<Composition> {
    match &body.content {
        Content::Household(household) => Some(Composition {
            index,
            valid_from_ms: household.valid_from_ms,
            members: household
                .members
                .iter()
                .filter_map(|member| member.value.as_ref().map(|member| member.person))
                .collect(),
        }),
        _ => None,
    }
}

fn parse_finding(name: &str) -> Result<FindingFilter, Fault> {
    match name {
        "any" => Ok(FindingFilter::Any),
        "none" => Ok(FindingFilter::Covered),
        name => Finding::parse(name)
            .map(FindingFilter::One)
            .ok_or_else(|| bad("finding", "the name of a finding, any or none")),
    }
}

fn parse_types(names: Option<Vec<String>>) -> Result<Vec<EntryType>, Fault> {
    let Some(names) = names else {
        return Ok(vec![EntryType::Access]);
    };
    names
        .iter()
        .map(|name| EntryType::parse(name).ok_or_else(|| bad("types", "names of types of entries")))
        .collect()
}

#[cfg(test)]
mod tests;
