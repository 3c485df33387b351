// SPDX-License-Identifier: EUPL-1.2
//! What admission keeps of exchanges: which side was told first, and which exchanges somebody should look at. Whether the sides say the same is
//! judged from the entries, by [`crate::pair`].

use alloc::vec::Vec;

use crate::{
    body::{
        Common,
        access::{Access, Side},
        system::{Note, NoteKind},
    },
    bytes::{
        sides::{FirstTold, Sides, Unsettled, era},
        state::StateKey,
    },
    entry::Stop,
    number::EntryIndex,
    pair::{Gist, Pair},
    state::{Draft, State, read},
};

/// The keys under which admission looks for what was told of an access before, by such sides.
pub(super) fn asked(access: &Access, accepted_at_ms: u64, by: &[Side]) -> Vec<StateKey> {
    let pair = Pair::of(access);
    let mut keys = Vec::with_capacity(6);
    for era in eras(accepted_at_ms) {
        for side in by {
            keys.push(StateKey::exchange(era, &pair, *side, 0));
        }
        if let Some(part) = access.part {
            keys.push(StateKey::exchange(era, &pair, access.side, part.k));
        }
    }
    keys
}

/// The same side told this exchange, or this part of it, before.
pub(super) fn is_again<S: State>(
    state: &Draft<'_, S>,
    access: &Access,
    accepted_at_ms: u64,
) -> Result<bool, Stop<S::Error>> {
    let pair = Pair::of(access);
    let (k, n) = access.part.map_or((0, 0), |part| (part.k, part.n));
    match told(state, &pair, access.side, 0, accepted_at_ms)? {
        None => Ok(false),
        // Told whole, or in another number of parts.
        Some(first) if first.parts == 0 || first.parts != n => Ok(true),
        Some(_) => Ok(told(state, &pair, access.side, k, accepted_at_ms)?.is_some()),
    }
}

/// The first that a side tells of an exchange stands, whole or in parts. An exchange is unsettled until both sides are there, whole, and agree.
pub(super) fn write_access<S: State>(
    draft: &mut Draft<'_, S>,
    access: &Access,
    common: &Common,
    index: EntryIndex,
    accepted_at_ms: u64,
) -> Result<(), Stop<S::Error>> {
    let pair = Pair::of(access);
    let (k, n) = access.part.map_or((0, 0), |part| (part.k, part.n));
    let this = FirstTold {
        index,
        parts: n,
        gist: Gist::of(access, common.occurred_at_ms),
    };
    let key = |part| StateKey::exchange(era(accepted_at_ms), &pair, access.side, part);
    let is_told = told(draft, &pair, access.side, 0, accepted_at_ms)?.is_some();
    if !is_told {
        draft.put(key(0), this.encode());
    }
    if k > 0 && told(draft, &pair, access.side, k, accepted_at_ms)?.is_none() {
        draft.put(key(k), this.encode());
    }
    if is_told {
        return Ok(());
    }
    match told(draft, &pair, other(access.side), 0, accepted_at_ms)? {
        None => draft.put(
            StateKey::unsettled(index),
            Unsettled::Pair(Sides::Only(access.side), pair).encode(),
        ),
        Some(first) => {
            let key = StateKey::unsettled(first.index);
            let agree = n == 0 && first.parts == 0 && this.gist.agrees(&first.gist);
            let corrected = matches!(
                read(draft, &key, Unsettled::decode)?,
                Some(Unsettled::Pair(Sides::Compare, _) | Unsettled::Corrected)
            );
            if agree && !corrected {
                draft.remove(key);
            } else {
                draft.put(key, Unsettled::Pair(Sides::Compare, pair).encode());
            }
        }
    }
    Ok(())
}

/// A correction may part two sides that agreed.
pub(super) fn write_note<S: State>(
    draft: &mut Draft<'_, S>,
    note: &Note,
    common: &Common,
) -> Result<(), Stop<S::Error>> {
    if note.kind != NoteKind::Correct || note.subjects.is_empty() {
        return Ok(());
    }
    if let Some(reference) = &common.refers_to {
        let key = StateKey::unsettled(reference.index);
        let corrected = match read(draft, &key, Unsettled::decode)? {
            Some(Unsettled::Pair(_, pair)) => Unsettled::Pair(Sides::Compare, pair),
            Some(Unsettled::Corrected) | None => Unsettled::Corrected,
        };
        draft.put(key, corrected.encode());
    }
    Ok(())
}

fn told<S: State>(
    state: &Draft<'_, S>,
    pair: &Pair,
    side: Side,
    part: u64,
    accepted_at_ms: u64,
) -> Result<Option<FirstTold>, Stop<S::Error>> {
    for era in eras(accepted_at_ms) {
        let key = StateKey::exchange(era, pair, side, part);
        if let Some(told) = read(state, &key, FirstTold::decode)? {
            return Ok(Some(told));
        }
    }
    Ok(None)
}

/// The eras that admission looks at, the newest first.
fn eras(accepted_at_ms: u64) -> [u32; 2] {
    let now = era(accepted_at_ms);
    [now, now.saturating_sub(1)]
}

fn other(side: Side) -> Side {
    match side {
        Side::Consumer => Side::Provider,
        Side::Provider => Side::Consumer,
    }
}
