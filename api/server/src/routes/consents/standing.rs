// SPDX-License-Identifier: EUPL-1.2
//! Where a consent record stands at a time, also where bodies of its events are gone, and however many events there are.
//!
//! Of each ref the state keeps the last event, which admission judges by: that decides where a record stands now. Where it stood before, its
//! events tell, newest first. What an erased event said nobody knows any more, unless it is the state's last: where such a one would decide,
//! or none of very many does, the status is unknown, and no scope is taken from beyond.

use cluster::View;
use ledger::{
    admission::Row,
    body::{
        Content,
        consent::{Consent, ConsentEvent as ConsentWord},
    },
    consent::{ConsentState, counts, fold},
    number::EntryIndex,
};

use crate::{problem::Fault, search::rows::Rows};

/// Most events that are looked at for one that decides, or for the scope of what was withdrawn.
const EVENTS_MAX: usize = 4_000;

/// What the events of a record come to.
#[derive(Default)]
pub(super) struct Standing {
    /// None where no event that counts is known to be the last.
    pub(super) state: Option<ConsentState>,
    /// The event that decided.
    pub(super) decided: Option<EntryIndex>,
    /// The event whose body tells the scope.
    pub(super) scope: Option<EntryIndex>,
}

impl Standing {
    /// By the events below an index. `states`: what the state says of the record, one for each ref; `lists`: the record's events. Also how many
    /// events were looked at.
    ///
    /// # Errors
    /// The store's own.
    pub(super) fn below(
        end: u64,
        view: &View,
        lists: &[Row],
        states: &[ConsentState],
    ) -> Result<(Standing, usize), Fault> {
        let known = states.iter().filter(|state| state.index.0 < end);
        let known = known.max_by_key(|state| state.index);
        // What the state does not name after its last event does not count, whatever it is.
        let is_last = states.iter().all(|state| state.index.0 < end);
        let from = match known {
            _ if !is_last => end,
            Some(state) => state.index.0.saturating_add(1),
            None => 0,
        };
        let mut events = Events {
            view,
            rows: Rows::new(view, lists.to_vec(), from),
            ahead: None,
            known,
            looked_at: 0,
        };
        let standing = match events.next_older()? {
            None | Some((_, Said::Gone)) => Standing::default(),
            Some((index, said)) => decided(index, said, &mut events)?,
        };
        Ok((standing, events.looked_at))
    }

    /// The events that it rests on.
    pub(super) fn rests_on(&self) -> impl Iterator<Item = EntryIndex> {
        self.decided.into_iter().chain(self.scope)
    }
}

fn decided(index: EntryIndex, said: Said, events: &mut Events<'_>) -> Result<Standing, Fault> {
    let (scope, before) = match &said {
        Said::Event(consent, _) if gives(consent.event) => (Some(index), None),
        Said::State(state) if gives(state.event) => (None, None),
        // What was withdrawn: that which was given or renewed last.
        _ => match events.older_scope()? {
            Some((scope, state)) => (Some(scope), Some(state)),
            None => (None, None),
        },
    };
    let state = match said {
        Said::Event(consent, accepted_at_ms) => Some(fold(before, &consent, index, accepted_at_ms)),
        Said::State(state) => Some(match before {
            Some(before) => ConsentState {
                event: state.event,
                index,
                accepted_at_ms: state.accepted_at_ms,
                entity: state.entity,
                ..before
            },
            None => state,
        }),
        Said::Nothing | Said::Gone => None,
    };
    Ok(Standing {
        state,
        decided: Some(index),
        scope,
    })
}

fn gives(event: ConsentWord) -> bool {
    matches!(event, ConsentWord::Given | ConsentWord::Renewed)
}

/// What is known of an event.
enum Said {
    /// Its body is there, and it counts; when it was accepted.
    Event(Box<Consent>, u64),
    /// Its body is gone, and it is the state's last.
    State(ConsentState),
    /// Its body is gone: nobody can tell what it said, nor whether it counted.
    Gone,
    /// It does not count.
    Nothing,
}

/// The events of a record that may count, newest first.
struct Events<'v> {
    view: &'v View,
    rows: Rows<'v, View>,
    /// A row that is older than the state's last event.
    ahead: Option<EntryIndex>,
    /// The state's last event, until its turn comes. A cut may have taken its row.
    known: Option<&'v ConsentState>,
    looked_at: usize,
}

impl Events<'_> {
    /// The next older event; none at the end, or after so many.
    fn next_older(&mut self) -> Result<Option<(EntryIndex, Said)>, Fault> {
        while self.looked_at < EVENTS_MAX
            && let Some((index, known)) = self.next_index()?
        {
            self.looked_at += 1;
            match self.said(index, known)? {
                Said::Nothing => {}
                said => return Ok(Some((index, said))),
            }
        }
        Ok(None)
    }

    /// The next older event whose body gives or renews; none where an erased one may have done that since.
    fn older_scope(&mut self) -> Result<Option<(EntryIndex, ConsentState)>, Fault> {
        while let Some((index, said)) = self.next_older()? {
            match said {
                Said::Event(consent, accepted_at_ms) if gives(consent.event) => {
                    return Ok(Some((index, fold(None, &consent, index, accepted_at_ms))));
                }
                Said::Event(..) | Said::Nothing => {}
                Said::State(_) | Said::Gone => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The next index, and the state's word of it.
    fn next_index(&mut self) -> Result<Option<(EntryIndex, Option<ConsentState>)>, Fault> {
        let row = match self.ahead.take() {
            Some(row) => Some(row),
            None => self.rows.take_newest()?,
        };
        let known = self
            .known
            .filter(|known| row.is_none_or(|row| row <= known.index));
        let Some(known) = known else {
            return Ok(row.map(|row| (row, None)));
        };
        self.known = None;
        self.ahead = row.filter(|row| *row != known.index);
        Ok(Some((known.index, Some(known.clone()))))
    }

    fn said(&self, index: EntryIndex, known: Option<ConsentState>) -> Result<Said, Fault> {
        let Some(stored) = self.view.entry(index)? else {
            return Ok(Said::Nothing);
        };
        let Some(body) = stored.parse_body().map_err(Fault::internal)? else {
            return Ok(known.map_or(Said::Gone, Said::State));
        };
        match body.content {
            Content::Consent(consent) if counts(consent.event, stored.meta.findings) => {
                Ok(Said::Event(consent, stored.meta.accepted_at_ms))
            }
            _ => Ok(Said::Nothing),
        }
    }
}
