// SPDX-License-Identifier: EUPL-1.2
//! What admission reads beyond the state root and the registry, in an audit that begins at a root: tables that the nodes hand over with the
//! start, and that nothing proves. An entry whose judgement rests on them is named with each of its reasons, and does not count as recomputed.

use alloc::{collections::BTreeMap, format, vec::Vec};

use super::{Evidence, Fed};
use crate::{
    body::{
        Body, Content,
        access::{Access, SubjectRole},
        consent::ConsentEvent,
    },
    bytes::{
        sides::{ERA_MS, era},
        state::{StateKey, kind},
    },
    hash::Hash,
    number::{EntryIndex, TreeSize},
    retention::CUT_AGAIN_MS,
    rules::{Needs, rule_set},
    state::{
        MemoryState, StateError,
        registry::{self, LastStateRoot},
    },
    time::AHEAD_MS_MAX,
};

/// A table of the start that nothing proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Unproven {
    /// The ids used before: whether the entry's was.
    Ids = 1,
    /// The exchanges told before: whether the entry's was.
    Exchanges = 2,
    /// Scope and times of a consent given before.
    Consents = 3,
    /// Which refs were joined before: whose consents count, and how many refs a further link joins.
    Links = 4,
    /// Entries sealed before: in whose list what refers to them stands, and who may release them.
    Sealed = 5,
    /// Orders to erase given before.
    Orders = 6,
    /// Whose the entries before are, how old and from whom kept: what decides which of them a cut takes out of their lists.
    Terms = 7,
    /// What the entries between the state root and the start changed: the next root tells what still stands of it, and not what was
    /// overwritten meanwhile.
    Changes = 8,
}

impl Unproven {
    /// Every table.
    pub const ALL: [Unproven; 8] = [
        Unproven::Ids,
        Unproven::Exchanges,
        Unproven::Consents,
        Unproven::Links,
        Unproven::Sealed,
        Unproven::Orders,
        Unproven::Terms,
        Unproven::Changes,
    ];

    /// Its name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Unproven::Ids => "ids",
            Unproven::Exchanges => "exchanges",
            Unproven::Consents => "consents",
            Unproven::Links => "links",
            Unproven::Sealed => "sealed",
            Unproven::Orders => "orders",
            Unproven::Terms => "terms",
            Unproven::Changes => "changes",
        }
    }

    /// What is not recomputed of an entry that rests on it.
    pub fn question(self) -> &'static str {
        match self {
            Unproven::Ids => "whether its id was used before the start",
            Unproven::Exchanges => "whether its side of the exchange was told before the start",
            Unproven::Consents => "what a consent given before the start allows",
            Unproven::Links => "which refs were joined before the start",
            Unproven::Sealed => "from whom an entry before the start is kept",
            Unproven::Orders => "what was ordered to be erased before the start",
            Unproven::Terms => "which entries before the start a cut may take out of their lists",
            Unproven::Changes => {
                "which consents, and which numbers of streams, the last entries before the start told of"
            }
        }
    }
}

/// Entries that are not recomputed: half-open ranges of indexes, ascending.
pub type Ranges = Vec<(u64, u64)>;

/// Adds the next index.
pub(super) fn extend(ranges: &mut Ranges, index: u64) {
    match ranges.last_mut() {
        Some((_, end)) if *end == index => *end = index.saturating_add(1),
        _ => ranges.push((index, index.saturating_add(1))),
    }
}

/// Where an audit began that did not begin at genesis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beyond {
    pub(super) size: TreeSize,
    pub(super) state_root: LastStateRoot,
    /// When the first entry that is replayed was accepted: everything before it was not later.
    pub(super) first_ms: Option<u64>,
    /// Entries behind the state root and before the start are told of, and no root was met that holds what they changed.
    pub(super) told: bool,
    /// Names of consent records, hashed, and whose: none where several refs have one of that name.
    records: BTreeMap<Hash, Option<Hash>>,
}

impl Beyond {
    pub(super) fn new(
        size: TreeSize,
        state_root: LastStateRoot,
        first_ms: Option<u64>,
        state: &MemoryState,
    ) -> Beyond {
        let mut beyond = Beyond {
            size,
            state_root,
            first_ms,
            told: false,
            records: BTreeMap::new(),
        };
        state.iter().for_each(|(key, _)| beyond.know(key));
        beyond
    }

    /// Entries before the first that is replayed.
    pub fn size(&self) -> TreeSize {
        self.size
    }

    /// The state root.
    pub fn state_root(&self) -> LastStateRoot {
        self.state_root
    }

    /// From when on no entry rests on a table any more, ms since the epoch; none if that does not end by itself, or nothing was replayed yet.
    pub fn until(&self, table: Unproven) -> Option<u64> {
        let first_ms = self.first_ms?;
        match table {
            // An id is a time, and at most so far ahead.
            Unproven::Ids => Some(
                first_ms
                    .saturating_add(AHEAD_MS_MAX)
                    .saturating_add(crate::id::WINDOW_MS),
            ),
            // Admission looks at an era and the one before.
            Unproven::Exchanges => Some(
                u64::from(era(first_ms))
                    .saturating_add(2)
                    .saturating_mul(ERA_MS),
            ),
            Unproven::Consents
            | Unproven::Links
            | Unproven::Sealed
            | Unproven::Orders
            | Unproven::Terms
            | Unproven::Changes => None,
        }
    }

    /// What the judgement of an entry rests on, asked before it is judged.
    pub(super) fn rests_on(
        &self,
        state: &MemoryState,
        body: &Body,
        fed: &Fed,
    ) -> Result<Vec<Unproven>, StateError> {
        let first_ms = self.first_ms.unwrap_or(fed.meta.accepted_at_ms);
        let mut on = Vec::new();
        // Accepted before, and ahead of that by so much at most.
        if body.common.id.time_ms() <= first_ms.saturating_add(AHEAD_MS_MAX) {
            on.push(Unproven::Ids);
        }
        if self.told && body.common.stream.is_some() {
            on.push(Unproven::Changes);
        }
        let before = |index: EntryIndex| self.size.holds(index);
        let refers_before = || body.common.refers_to.is_some_and(|of| before(of.index));
        match &body.content {
            Content::Access(access) => {
                if era(fed.meta.accepted_at_ms) <= era(first_ms).saturating_add(1) {
                    on.push(Unproven::Exchanges);
                }
                self.consents(state, access, fed, &mut on)?;
            }
            Content::Link(_) => on.push(Unproven::Links),
            Content::Note(note) if !note.subjects.is_empty() && refers_before() => {
                on.push(Unproven::Sealed);
            }
            Content::Release(_) if refers_before() => on.push(Unproven::Sealed),
            Content::Erasure(order)
                if order.subject.is_some()
                    && order.entries.iter().any(|&index| before(EntryIndex(index))) =>
            {
                on.push(Unproven::Sealed);
            }
            // Whether the institution gave a cut less than a day ago.
            Content::Erasure(order)
                if order.before.is_some()
                    && fed.meta.accepted_at_ms < first_ms.saturating_add(CUT_AGAIN_MS) =>
            {
                on.push(Unproven::Orders);
            }
            Content::Erased(erased) if before(EntryIndex(erased.erasure)) => {
                on.push(Unproven::Orders);
            }
            _ => {}
        }
        Ok(on)
    }

    /// That a consent is there, its last event and where it stands are proven by the root; its scope and times are not. A consent that was
    /// withdrawn or refused needs neither.
    fn consents(
        &self,
        state: &MemoryState,
        access: &Access,
        fed: &Fed,
        on: &mut Vec<Unproven>,
    ) -> Result<(), StateError> {
        let needs = rule_set(fed.meta.rules).and_then(|set| set.basis(access));
        if needs != Some(Needs::Consent) {
            return Ok(());
        }
        let (mut consents, mut links, mut changes) = (false, false, false);
        let targets = access.subjects.iter().filter_map(|one| one.value.as_ref());
        for target in targets.filter(|one| one.role == SubjectRole::Target) {
            let mut refs = registry::linked(state, &target.person)?;
            refs.push(target.person);
            for record in &access.consent_refs {
                // A link counts where another ref has a record of that name.
                let known = self.records.get(&Hash::of(&[record.as_bytes()]));
                links |= known.is_some_and(|of| *of != Some(target.person));
                for person in &refs {
                    let consent = registry::consent(state, person, record)?;
                    // That there is none may be untrue, too.
                    let before = |index| self.size.holds(index);
                    changes |= consent.as_ref().is_none_or(|consent| before(consent.index));
                    let Some(consent) = consent else {
                        continue;
                    };
                    let scope =
                        matches!(consent.event, ConsentEvent::Given | ConsentEvent::Renewed);
                    consents |= scope && self.size.holds(consent.index);
                }
            }
        }
        if consents {
            on.push(Unproven::Consents);
        }
        if links {
            on.push(Unproven::Links);
        }
        if self.told && changes && !on.contains(&Unproven::Changes) {
            on.push(Unproven::Changes);
        }
        Ok(())
    }

    /// Takes note of the next entry: when the first was accepted, and the consents that it tells of.
    pub(super) fn took(&mut self, accepted_at_ms: u64, writes: &[(StateKey, Option<Vec<u8>>)]) {
        self.first_ms.get_or_insert(accepted_at_ms);
        writes.iter().for_each(|(key, _)| self.know(key));
    }

    fn know(&mut self, key: &StateKey) {
        let Some((person, record)) = key.name.split_first_chunk::<32>() else {
            return;
        };
        if key.kind == kind::CONSENT {
            let person = Hash(*person);
            let of = self.records.entry(Hash::of(&[record]));
            let of = of.or_insert(Some(person));
            if *of != Some(person) {
                *of = None;
            }
        }
    }
}

/// The evidence, with what of the start it rests on.
pub(super) fn resting(lie: Evidence, on: &[Unproven]) -> Evidence {
    if on.is_empty() {
        return lie;
    }
    let tables: Vec<&str> = on.iter().map(|table| table.as_str()).collect();
    let (computed, tables) = (lie.computed, tables.join(", "));
    Evidence {
        computed: format!("{computed}, by what the start tells of: {tables}"),
        ..lie
    }
}
