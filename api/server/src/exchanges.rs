// SPDX-License-Identifier: EUPL-1.2
//! Exchanges and their two sides: finds the pairs that a reader asks for, and judges each from its entries ([`ledger::pair`]).
//!
//! What is unpaired or differs is found by the index that admission keeps of it, the rest by the entries of the reader's institution, so that
//! no query walks the ledger. Who sees what:
//!
//! - A pair is shown to whom its entries are shown ([`crate::access`]): both institutions took part in the call, so each sees both sides, also
//!   where one is sealed from the persons; a third institution sees neither, and nothing here says that there is one.
//! - A side that the reader may not see is to this reader as if it were not there.
//! - No ref stands in an answer, and the `read` entry of one names nobody: a sealed call stays sealed.
//! - A note of a side's own institution counts for everybody who may see that side: it is that institution's word on a call of both. Its text and
//!   persons stay in the note.

use std::collections::{BTreeSet, HashMap, HashSet, hash_map::Entry};

use cluster::View;
use ledger::{
    admission::Row,
    base64,
    body::{Content, EntryType, access::Side},
    bytes::sides::{FirstTold, Sides, Unsettled, era},
    hash::Hash,
    number::EntryIndex,
    pair::{self, Difference, Judged, Pair, PairState, Remark, SideTold, Told},
    state::{State, StateKey},
    time,
};
use wire::exchange::{Exchange, ExchangeDifference, ExchangeSide, ExchangeState};
use wire::token::Role;

use crate::{
    auth::Reader, present::Seen, problem::Fault, release::Recorded, routes::erasures::took_part,
    search::rows::Rows,
};

mod known;

use known::{ENTRIES_MAX, Known};

/// Most entries read for one page, up to the next multiple of [`GRID`] below: a page may be short and still have a next one.
const ENTRIES_PER_PAGE_MAX: usize = 4_000;
/// Where so many were read, the page ends at the next entry that the reader may see: a pair may take more than a thousand.
const ENTRIES_PER_PAGE_END: usize = 2 * ENTRIES_PER_PAGE_MAX;
/// A page that ends for its entries ends at a multiple of this, so that its cursor names no entry that the reader may not see.
const GRID: u64 = 1_024;
/// An exchange of so many entries is read for each pair anew: an honest one has two, or some parts of them.
const ENTRIES_FEW: usize = 16;
/// Rows of notes fetched at a time.
const NOTES_FETCHED: usize = 256;
/// Keys of the index fetched at a time.
const FETCHED: usize = 256;

/// Which exchanges are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// In this state; in any when absent.
    pub state: Option<ExchangeState>,
    /// Unpaired ones of which this side was told.
    pub side: Option<Side>,
    /// First entry accepted at or after.
    pub from_ms: u64,
    /// First entry accepted before.
    pub to_ms: u64,
    /// Most items on the page.
    pub limit: usize,
    /// The page begins below this index.
    pub before: u64,
}

/// A page, picked and not yet shown.
pub struct Selection {
    found: Vec<Found>,
    /// The next page begins below this index.
    pub next: Option<u64>,
    /// Entries, and keys of them, that were read.
    pub read: usize,
}

struct Found {
    pair: Pair,
    judged: Judged,
    /// An entry of it was erased.
    erased: bool,
}

impl Query {
    /// The page.
    ///
    /// # Errors
    /// The store's own.
    pub fn select(&self, view: &View, reader: &Reader) -> Result<Selection, Fault> {
        let mut walk = Walk {
            query: self,
            view,
            reader,
            at: 0,
            end: None,
            crowded: HashMap::new(),
            of_page: HashSet::new(),
            firsts: HashMap::new(),
            selection: Selection {
                found: Vec::new(),
                next: None,
                read: 0,
            },
        };
        match self.state {
            Some(ExchangeState::Unpaired | ExchangeState::Differing) => walk.unsettled()?,
            _ => walk.told()?,
        }
        Ok(walk.selection)
    }

    fn wants(&self, found: &Found) -> bool {
        let since = found.judged.since_ms().unwrap_or_default();
        let state = found.state();
        let side = match (&self.side, &found.judged.state) {
            (None, _) => true,
            (Some(side), PairState::Unpaired { told, .. }) => side == told,
            (Some(_), _) => false,
        };
        (self.from_ms..self.to_ms).contains(&since)
            && self.state.is_none_or(|wanted| wanted == state)
            && side
    }
}

impl Selection {
    /// How many exchanges are on it.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The entries whose bodies they are judged by.
    pub fn rests_on(&self) -> Vec<EntryIndex> {
        let judged = self.found.iter().map(|found| &found.judged);
        judged
            .flat_map(|judged| {
                let sides = [&judged.consumer, &judged.provider].into_iter().flatten();
                let told = sides.flat_map(|side| side.entries.iter().chain(&side.notes));
                told.chain(&judged.again).copied()
            })
            .collect()
    }

    /// The exchanges for their reader.
    pub fn show(&self, now_ms: u64, _recorded: &Recorded) -> Vec<Exchange> {
        self.found.iter().map(|found| found.show(now_ms)).collect()
    }
}

/// One query's way through the ledger, newest first.
struct Walk<'a> {
    query: &'a Query,
    view: &'a View,
    reader: &'a Reader,
    /// Where it stands.
    at: u64,
    /// Below this the page ends, enough was read.
    end: Option<u64>,
    /// Exchanges of many entries.
    crowded: HashMap<[u8; 16], Known>,
    of_page: HashSet<Pair>,
    /// Of pairs that were judged where they are not taken: their first entry, where they are.
    firsts: HashMap<Pair, Option<EntryIndex>>,
    selection: Selection,
}

impl Walk<'_> {
    /// By the index of what is unpaired or differs.
    fn unsettled(&mut self) -> Result<(), Fault> {
        let (first, last) = (
            self.view.index_at_time(self.query.from_ms)?,
            self.view.index_at_time(self.query.to_ms)?,
        );
        let mut before = self.query.before.min(self.view.size().0);
        loop {
            let keys = self.view.unsettled(before, FETCHED)?;
            for (index, why) in &keys {
                // A pair begins where it stands here, or before that where a note corrects a later entry.
                if *index < first || self.ends_at(*index) {
                    return Ok(());
                }
                let pair = match why {
                    Unsettled::Pair(sides, pair) => {
                        let wanted = *index < last && self.may_want(*sides, pair);
                        wanted.then(|| pair.clone())
                    }
                    Unsettled::Corrected => self.pair_at(*index)?,
                };
                let Some(pair) = pair else {
                    continue;
                };
                if self.is_spent_at(*index) {
                    return Ok(());
                }
                if *why == Unsettled::Corrected && self.is_elsewhere(&pair, *index)? {
                    continue;
                }
                if self.takes(*index, pair)? {
                    return Ok(());
                }
            }
            match keys.last() {
                Some((last, _)) if keys.len() == FETCHED => before = last.0,
                _ => return Ok(()),
            }
        }
    }

    /// By the accesses that were told.
    fn told(&mut self) -> Result<(), Fault> {
        let list = match self.reader.role() {
            Role::Authority => Row::entry_type(EntryType::Access),
            _ => Row::institution(self.reader.institution()),
        };
        let last = self.view.index_at_time(self.query.to_ms)?;
        let before = self.query.before.min(last.0);
        let view = self.view;
        let mut rows = Rows::new(view, vec![list], before);
        while let Some(index) = rows.take_newest()? {
            if self.ends_at(index) {
                return Ok(());
            }
            self.selection.read += 1;
            let Some(seen) = Seen::look(self.view, self.reader, index)? else {
                continue;
            };
            // Before the time asked for nothing follows that is wanted: times of acceptance fall with the index.
            if seen.accepted_at_ms() < self.query.from_ms {
                return Ok(());
            }
            let Some(pair) = pair_of(&seen) else {
                continue;
            };
            if self.is_spent_at(index) || self.takes(index, pair)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What the index itself says against a pair, before anything is read.
    fn may_want(&self, sides: Sides, pair: &Pair) -> bool {
        let own = self.reader.institution();
        let took_part = self.reader.role() == Role::Authority
            || [&pair.consumer, &pair.provider].contains(&own);
        let state = match sides {
            Sides::Only(told) => {
                self.query.state == Some(ExchangeState::Unpaired)
                    && self.query.side.is_none_or(|side| side == told)
            }
            Sides::Compare => true,
        };
        took_part && state
    }

    /// Whether the pair of an entry that a note corrects is not taken here: one that stands in the index itself is taken there, any other at
    /// the first of its entries that is corrected. What other pairs there are in the exchange is of no account.
    fn is_elsewhere(&mut self, pair: &Pair, index: EntryIndex) -> Result<bool, Fault> {
        let entries = self.entries_of(pair, index)?;
        let crowd = self.crowded.get(&pair.exchange);
        if crowd.is_some_and(|known| known.is_elsewhere(pair, index)) {
            return Ok(true);
        }
        for other in entries {
            self.selection.read += 1;
            let key = StateKey::unsettled(other);
            let elsewhere = match value(self.view, &key, Unsettled::decode)? {
                Some(Unsettled::Pair(_, of)) => of == *pair,
                Some(Unsettled::Corrected) => {
                    other < index && self.pair_at(other)?.as_ref() == Some(pair)
                }
                None => false,
            };
            if elsewhere {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn pair_at(&mut self, index: EntryIndex) -> Result<Option<Pair>, Fault> {
        self.selection.read += 1;
        let seen = Seen::look(self.view, self.reader, index)?;
        Ok(seen.as_ref().and_then(pair_of))
    }

    /// Judges a pair and takes it if it is wanted and this is its place. Says whether the page is full, and it was not taken for that.
    fn takes(&mut self, index: EntryIndex, pair: Pair) -> Result<bool, Fault> {
        let elsewhere = |first: &Option<EntryIndex>| *first != Some(index);
        if self.of_page.contains(&pair) || self.firsts.get(&pair).is_some_and(elsewhere) {
            return Ok(false);
        }
        let found = self.judge(pair, index)?;
        let sides = [&found.judged.consumer, &found.judged.provider];
        let first = sides
            .into_iter()
            .flatten()
            .filter_map(|side| side.entries.first())
            .min()
            .copied();
        // Walking by entries a pair is met at each of them, and taken at its first.
        let here = match self.query.state {
            Some(ExchangeState::Unpaired | ExchangeState::Differing) => true,
            _ => first == Some(index),
        };
        if !here {
            self.firsts.insert(found.pair.clone(), first);
        }
        if !here || !self.query.wants(&found) {
            return Ok(false);
        }
        if self.selection.found.len() == self.query.limit {
            self.selection.next = Some(index.0 + 1);
            return Ok(true);
        }
        self.of_page.insert(found.pair.clone());
        self.selection.found.push(found);
        Ok(false)
    }

    /// The pair that was met at an entry, as its reader may see it.
    fn judge(&mut self, pair: Pair, met: EntryIndex) -> Result<Found, Fault> {
        let mut seen = Vec::new();
        let mut erased = false;
        for index in self.entries_of(&pair, met)? {
            self.selection.read += 1;
            if let Some(entry) = Seen::look(self.view, self.reader, index)? {
                erased |= entry.body().is_none();
                if pair_of(&entry).as_ref() == Some(&pair) {
                    seen.push(entry);
                }
            }
        }
        let mut remarks = Vec::new();
        for entry in &seen {
            remarks.extend(self.remarks_on(&pair, entry)?);
        }
        let told: Vec<Told<'_>> = seen.iter().filter_map(told).collect();
        let judged = pair::compare(&told, &remarks);
        Ok(Found {
            judged,
            pair,
            erased,
        })
    }

    /// Entries that may be of a pair that was met at one of them, in the order of the ledger: what each side told first, by the table that
    /// admission keeps of pairs, and the first of the exchange. Whoever else writes into the exchange hides no side that is in the table.
    fn entries_of(&mut self, pair: &Pair, met: EntryIndex) -> Result<BTreeSet<EntryIndex>, Fault> {
        let few = self.rows(&Row::exchange(&pair.exchange), 0, ENTRIES_FEW + 1)?;
        if few.len() <= ENTRIES_FEW {
            return Ok(few.into_iter().collect());
        }
        let known = match self.crowded.entry(pair.exchange) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let known = Known::read(self.view, self.reader, &pair.exchange)?;
                self.selection.read += known.read;
                place.insert(known)
            }
        };
        let mut entries: BTreeSet<EntryIndex> = known.entries(pair).collect();
        if known.is_cut() {
            self.add_first_told(pair, met, &mut entries)?;
        }
        Ok(entries)
    }

    fn add_first_told(
        &mut self,
        pair: &Pair,
        met: EntryIndex,
        entries: &mut BTreeSet<EntryIndex>,
    ) -> Result<(), Fault> {
        entries.insert(met);
        let met = era(self.view.accepted_at(met)?.unwrap_or_default());
        for side in [Side::Consumer, Side::Provider] {
            for era in met.saturating_sub(1)..=met.saturating_add(1) {
                let told = |part| {
                    let key = StateKey::exchange(era, pair, side, part);
                    value(self.view, &key, FirstTold::decode)
                };
                let Some(first) = told(0)? else { continue };
                entries.insert(first.index);
                let parts = first.parts.min(ENTRIES_MAX as u64);
                for part in 1..=parts {
                    self.selection.read += 1;
                    entries.extend(told(part)?.map(|told| told.index));
                }
            }
        }
        Ok(())
    }

    fn rows(&self, row: &Row, from: u64, limit: usize) -> Result<Vec<EntryIndex>, Fault> {
        let range = from..self.view.size().0;
        let up = cluster::Direction::Up;
        Ok(self.view.rows(row.kind, &row.of, range, up, limit)?)
    }

    /// Notes of a side's own institution on its entry, which they name by its leaf too: no other changes what the side says, be there ever so
    /// many of them.
    fn remarks_on(&mut self, pair: &Pair, entry: &Seen) -> Result<Vec<Remark>, Fault> {
        let Some(Content::Access(access)) = entry.body().map(|body| &body.content) else {
            return Ok(Vec::new());
        };
        let speaker = pair.speaker(access.side);
        let row = Row::note_on(entry.index());
        let mut own = Vec::new();
        let mut from = entry.index().0;
        loop {
            let notes = self.rows(&row, from, NOTES_FETCHED)?;
            self.selection.read += notes.len();
            for note in &notes {
                if took_part(self.view, speaker, *note)? {
                    own.push(*note);
                }
            }
            match notes.last() {
                Some(last) if notes.len() == NOTES_FETCHED => from = last.0 + 1,
                _ => break,
            }
        }
        let mut remarks = Vec::new();
        for index in own {
            self.selection.read += 1;
            let Some(stored) = self.view.entry(index)? else {
                continue;
            };
            let Some(body) = stored.parse_body().map_err(Fault::internal)? else {
                continue;
            };
            let (Content::Note(note), Some(on)) = (&body.content, &body.common.refers_to) else {
                continue;
            };
            if on.leaf != entry.leaf_hash() || body.common.institution != *speaker {
                continue;
            }
            remarks.push(Remark {
                index,
                by: body.common.institution.clone(),
                findings: stored.meta.findings,
                kind: note.kind,
                on: on.index,
                subjects: note.subjects.iter().filter_map(|one| one.value).collect(),
            });
        }
        Ok(remarks)
    }

    /// Whether the page ends above this entry, which the reader may see, since far more than enough was read. Never above the first: each page
    /// gets on.
    fn is_spent_at(&mut self, index: EntryIndex) -> bool {
        let next = index.0.saturating_add(1);
        let spent = self.selection.read >= ENTRIES_PER_PAGE_END && next < self.query.before;
        if spent {
            self.selection.next = Some(next);
        }
        spent
    }

    /// Whether the page ends before this place, since enough was read.
    fn ends_at(&mut self, index: EntryIndex) -> bool {
        if self.selection.read >= ENTRIES_PER_PAGE_MAX {
            self.end.get_or_insert(self.at - self.at % GRID);
        }
        self.at = index.0;
        let ended = self.end.filter(|end| index.0 < *end);
        self.selection.next = self.selection.next.or(ended);
        ended.is_some()
    }
}

/// A value of the state; one that is none stops the query.
fn value<T>(
    state: &impl State<Error = cluster::Error>,
    key: &StateKey,
    decode: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<Option<T>, Fault> {
    let Some(value) = state.get(key)? else {
        return Ok(None);
    };
    let value = decode(&value).ok_or_else(|| Fault::internal("a value of the state is none"))?;
    Ok(Some(value))
}

fn pair_of(seen: &Seen) -> Option<Pair> {
    match &seen.body()?.content {
        Content::Access(access) => Some(Pair::of(access)),
        _ => None,
    }
}

fn told(seen: &Seen) -> Option<Told<'_>> {
    let body = seen.body()?;
    match &body.content {
        Content::Access(access) => Some(Told {
            index: seen.index(),
            accepted_at_ms: seen.accepted_at_ms(),
            occurred_at_ms: body.common.occurred_at_ms,
            findings: seen.findings(),
            access,
        }),
        _ => None,
    }
}

impl Found {
    fn state(&self) -> ExchangeState {
        match &self.judged.state {
            PairState::Unpaired { .. } if self.erased => ExchangeState::Erased,
            PairState::Unpaired { .. } => ExchangeState::Unpaired,
            PairState::Paired => ExchangeState::Paired,
            PairState::Differing(_) => ExchangeState::Differing,
        }
    }

    fn show(&self, now_ms: u64) -> Exchange {
        let since_ms = self.judged.since_ms().unwrap_or_default();
        let differences = match &self.judged.state {
            PairState::Differing(what) => what.iter().copied().map(difference).collect(),
            PairState::Unpaired { .. } | PairState::Paired => Vec::new(),
        };
        Exchange {
            exchange: base64::url_encode(&self.pair.exchange),
            consumer: self.pair.consumer.to_string(),
            provider: self.pair.provider.to_string(),
            state: self.state(),
            differences,
            since: time::format_timestamp(since_ms),
            age_seconds: now_ms.saturating_sub(since_ms) / 1000,
            consumer_side: self.judged.consumer.as_ref().map(side),
            provider_side: self.judged.provider.as_ref().map(side),
            again: numbers(&self.judged.again),
        }
    }
}

fn side(told: &SideTold) -> ExchangeSide {
    let count = |set: &std::collections::BTreeSet<Hash>| u64::try_from(set.len());
    ExchangeSide {
        entries: numbers(&told.entries),
        accepted_at: time::format_timestamp(told.since_ms),
        occurred_at: time::format_timestamp(told.occurred_ms.0),
        parts: (told.parts > 0).then_some(told.parts),
        targets: count(&told.targets).unwrap_or(u64::MAX),
        incidental: count(&told.incidental).unwrap_or(u64::MAX),
        notes: numbers(&told.notes),
    }
}

fn numbers(indexes: &[EntryIndex]) -> Vec<u64> {
    indexes.iter().map(|index| index.0).collect()
}

fn difference(difference: Difference) -> ExchangeDifference {
    match difference {
        Difference::Subjects => ExchangeDifference::Subjects,
        Difference::Purpose => ExchangeDifference::Purpose,
        Difference::Time => ExchangeDifference::Time,
        Difference::Outcome => ExchangeDifference::Outcome,
    }
}
