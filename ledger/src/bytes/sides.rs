// SPDX-License-Identifier: EUPL-1.2
//! The local tables of exchanges: what each side told first, and which exchanges are not settled. Under no root.

use alloc::vec::Vec;

use super::{
    state::{StateKey, Writer, kind},
    stored::Reader,
};
use crate::{
    body::access::Side,
    id::{InstitutionId, WINDOW_MS},
    number::EntryIndex,
    pair::{Gist, Pair},
};

/// What was told of exchanges is kept by the era of acceptance, and admission looks at this era and the one before: it remembers for 70 to 140
/// days. An id is good for 35 days, so no honest side comes later than that after the other; and what lies further back is one range of keys
/// that any node may delete when it likes, since no answer changes by it.
pub const ERA_MS: u64 = 2 * WINDOW_MS;

/// The era of a time of acceptance.
pub fn era(accepted_at_ms: u64) -> u32 {
    u32::try_from(accepted_at_ms / ERA_MS).unwrap_or(u32::MAX)
}

impl StateKey {
    /// 0x81: `u32(era) ‖ exchange ‖ u8(side) ‖ u64(part, 0 = the first told) ‖ consumer ‖ 0x0A ‖ provider`.
    pub fn exchange(era: u32, pair: &Pair, side: Side, part: u64) -> StateKey {
        let [consumer, between, provider] = parties(pair);
        StateKey {
            kind: kind::EXCHANGE,
            name: [
                &era.to_be_bytes()[..],
                &pair.exchange,
                &[side as u8],
                &part.to_be_bytes(),
                consumer,
                between,
                provider,
            ]
            .concat(),
        }
    }

    /// Where [`kind::EXCHANGE`] keys begin.
    pub fn exchanges_start() -> StateKey {
        StateKey {
            kind: kind::EXCHANGE,
            name: Vec::new(),
        }
    }

    /// The end of the exchanges that no entry accepted at this time or later is held against: every [`kind::EXCHANGE`] key below may be deleted.
    pub fn exchanges_end(accepted_at_ms: u64) -> StateKey {
        StateKey {
            kind: kind::EXCHANGE,
            name: era(accepted_at_ms).saturating_sub(1).to_be_bytes().to_vec(),
        }
    }

    /// 0x8A: `u64(index)`, so that a range of indexes is a range of keys.
    pub fn unsettled(index: EntryIndex) -> StateKey {
        StateKey {
            kind: kind::UNSETTLED,
            name: index.0.to_be_bytes().to_vec(),
        }
    }

    /// The index in a [`kind::UNSETTLED`] key.
    pub fn unsettled_index(&self) -> Option<EntryIndex> {
        let index = self.name.as_slice().try_into().ok()?;
        (self.kind == kind::UNSETTLED).then_some(EntryIndex(u64::from_be_bytes(index)))
    }
}

/// Value under [`kind::EXCHANGE`]: what one side told first. `u64(index) ‖ u64(number of parts, 0 if whole) ‖ gist`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstTold {
    /// The entry.
    pub index: EntryIndex,
    /// Number of parts; 0 if whole.
    pub parts: u64,
    /// What it said.
    pub gist: Gist,
}

impl FirstTold {
    /// The value.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u64(self.index.0).u64(self.parts);
        self.gist.encode(&mut out);
        out.done()
    }

    /// What [`FirstTold::encode`] laid out.
    pub fn decode(value: &[u8]) -> Option<FirstTold> {
        Reader::all(value, |from| {
            Some(FirstTold {
                index: EntryIndex(from.u64()?),
                parts: from.u64()?,
                gist: Gist::decode(from)?,
            })
        })
    }
}

/// Value under [`kind::UNSETTLED`]: why the entry is looked at again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsettled {
    /// The first entry of a pair: `u8(consumer alone 1, provider alone 2, both to be compared 3) ‖ exchange ‖ consumer ‖ 0x0A ‖ provider`.
    Pair(Sides, Pair),
    /// A note of its institution corrects whose data it was about: `u8(0)`.
    Corrected,
}

/// Which sides of a pair were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sides {
    /// One alone.
    Only(Side),
    /// Both, and they differ or parts must be counted; or one, and a note corrects it: only the entries tell.
    Compare,
}

impl Unsettled {
    /// The value.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Unsettled::Corrected => Vec::from([0]),
            Unsettled::Pair(sides, pair) => {
                let sides = match sides {
                    Sides::Only(Side::Consumer) => 1,
                    Sides::Only(Side::Provider) => 2,
                    Sides::Compare => 3,
                };
                let [consumer, between, provider] = parties(pair);
                [&[sides][..], &pair.exchange, consumer, between, provider].concat()
            }
        }
    }

    /// What [`Unsettled::encode`] laid out.
    pub fn decode(value: &[u8]) -> Option<Unsettled> {
        let (sides, rest) = value.split_first()?;
        let sides = match sides {
            0 => return rest.is_empty().then_some(Unsettled::Corrected),
            1 => Sides::Only(Side::Consumer),
            2 => Sides::Only(Side::Provider),
            3 => Sides::Compare,
            _ => return None,
        };
        let (exchange, between) = rest.split_first_chunk::<16>()?;
        let (consumer, provider) = core::str::from_utf8(between).ok()?.split_once('\n')?;
        let pair = Pair {
            exchange: *exchange,
            consumer: InstitutionId::parse(consumer)?,
            provider: InstitutionId::parse(provider)?,
        };
        Some(Unsettled::Pair(sides, pair))
    }
}

/// `consumer ‖ 0x0A ‖ provider`, in parts: keys of exchanges are made for each access, several times.
fn parties(pair: &Pair) -> [&[u8]; 3] {
    [pair.consumer.as_bytes(), b"\n", pair.provider.as_bytes()]
}
