// SPDX-License-Identifier: EUPL-1.2
//! How often each of many persons was touched, and between when and when, in bounded memory: persons beyond that go to files that have no name,
//! each in the order of refs, which are merged.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, Write},
};

use ledger::hash::Hash;

use crate::{form::bad, problem::Fault};

/// Most persons in memory: some 12 MB.
const HELD_MAX: usize = 128 * 1024;
/// Most files: when there are so many, they become one.
const RUNS_MAX: usize = 16;
/// Most persons in an answer: some 600 MB.
const PERSONS_MAX: u64 = 4_000_000;

/// How often, and between when and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) count: u64,
    pub(super) first_ms: u64,
    pub(super) last_ms: u64,
}

impl Times {
    fn once(at_ms: u64) -> Times {
        Times {
            count: 1,
            first_ms: at_ms,
            last_ms: at_ms,
        }
    }

    fn and(self, other: Times) -> Times {
        Times {
            count: self.count.saturating_add(other.count),
            first_ms: self.first_ms.min(other.first_ms),
            last_ms: self.last_ms.max(other.last_ms),
        }
    }
}

/// Persons and their times.
pub(super) struct Tally {
    held: BTreeMap<Hash, Times>,
    runs: Vec<Run>,
    held_max: usize,
    persons_max: u64,
}

impl Tally {
    pub(super) fn new() -> Tally {
        Tally::bounded(HELD_MAX, PERSONS_MAX)
    }

    fn bounded(held_max: usize, persons_max: u64) -> Tally {
        Tally {
            held: BTreeMap::new(),
            runs: Vec::new(),
            held_max,
            persons_max,
        }
    }

    /// Counts a person once more.
    ///
    /// # Errors
    /// The disk's own, or a complaint that there are too many persons.
    pub(super) fn count(&mut self, of: Hash, at_ms: u64) -> Result<(), Fault> {
        let once = Times::once(at_ms);
        self.held
            .entry(of)
            .and_modify(|times| *times = times.and(once))
            .or_insert(once);
        if self.held.len() >= self.held_max {
            self.spill()?;
        }
        Ok(())
    }

    /// Gives out each person once, in the order of refs; how many there are.
    ///
    /// # Errors
    /// As [`Tally::count`], and those of `take`.
    pub(super) fn each(
        self,
        take: impl FnMut(&Hash, Times) -> Result<(), Fault>,
    ) -> Result<u64, Fault> {
        let mut sources: Vec<Source> = self.runs.into_iter().map(Run::read).collect();
        sources.push(Box::new(self.held.into_iter().map(Ok)));
        merge(sources, self.persons_max, take)
    }

    fn spill(&mut self) -> Result<(), Fault> {
        let held = std::mem::take(&mut self.held);
        let held: Source = Box::new(held.into_iter().map(Ok));
        self.runs.push(Run::of(vec![held], self.persons_max)?);
        if self.runs.len() >= RUNS_MAX {
            let all = self.runs.drain(..).map(Run::read).collect();
            self.runs.push(Run::of(all, self.persons_max)?);
        }
        Ok(())
    }
}

/// Persons in the order of refs, each once.
type Source = Box<dyn Iterator<Item = io::Result<(Hash, Times)>>>;

/// A file of them, at its beginning.
struct Run {
    file: File,
    persons: u64,
}

impl Run {
    fn of(sources: Vec<Source>, persons_max: u64) -> Result<Run, Fault> {
        let mut out = BufWriter::new(tempfile::tempfile().map_err(Fault::internal)?);
        let persons = merge(sources, persons_max, |of, times| {
            let numbers = [times.count, times.first_ms, times.last_ms];
            let numbers = numbers.map(u64::to_be_bytes);
            let mut parts = [of.as_bytes().as_slice()]
                .into_iter()
                .chain(numbers.iter().map(<[u8; 8]>::as_slice));
            parts
                .try_for_each(|part| out.write_all(part))
                .map_err(Fault::internal)
        })?;
        let file = out.into_inner().map_err(io::IntoInnerError::into_error);
        let mut file = file.map_err(Fault::internal)?;
        file.rewind().map_err(Fault::internal)?;
        Ok(Run { file, persons })
    }

    fn read(self) -> Source {
        let mut file = BufReader::new(self.file);
        Box::new((0..self.persons).map(move |_| {
            let mut of = [0; 32];
            file.read_exact(&mut of)?;
            let mut number = || {
                let mut number = [0; 8];
                file.read_exact(&mut number)?;
                io::Result::Ok(u64::from_be_bytes(number))
            };
            let times = Times {
                count: number()?,
                first_ms: number()?,
                last_ms: number()?,
            };
            Ok((Hash(of), times))
        }))
    }
}

/// Gives out the persons of all sources in the order of refs, each once; how many there are.
fn merge(
    sources: Vec<Source>,
    persons_max: u64,
    mut take: impl FnMut(&Hash, Times) -> Result<(), Fault>,
) -> Result<u64, Fault> {
    type Heads = BTreeMap<(Hash, usize), (Times, Source)>;
    let advance = |heads: &mut Heads, number, mut source: Source| -> Result<(), Fault> {
        if let Some(next) = source.next() {
            let (of, times) = next.map_err(Fault::internal)?;
            heads.insert((of, number), (times, source));
        }
        Ok(())
    };
    let mut heads = Heads::new();
    for (number, source) in sources.into_iter().enumerate() {
        advance(&mut heads, number, source)?;
    }
    let mut persons = 0;
    while let Some(((of, number), (mut times, source))) = heads.pop_first() {
        advance(&mut heads, number, source)?;
        while let Some(same) = heads.first_entry().filter(|next| next.key().0 == of) {
            let ((_, number), (more, source)) = same.remove_entry();
            times = times.and(more);
            advance(&mut heads, number, source)?;
        }
        persons += 1;
        if persons > persons_max {
            return Err(bad("operator", "one who touched at most 4000000 persons"));
        }
        take(&of, times)?;
    }
    Ok(persons)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Some person, again and again, in no order.
    fn person(n: u64) -> Hash {
        Hash::of(&[&(n * n % 97).to_be_bytes()])
    }

    #[test]
    fn what_is_not_held_is_in_files_and_adds_up() {
        let mut tally = Tally::bounded(4, 1_000);
        let mut expected: BTreeMap<Hash, Times> = BTreeMap::new();
        let mut files = 0;
        for n in 0..1_000 {
            tally.count(person(n), n).unwrap();
            assert!(tally.held.len() < 4 && tally.runs.len() < RUNS_MAX);
            files = files.max(tally.runs.len());
            let times = expected.entry(person(n)).or_insert(Times {
                count: 0,
                first_ms: n,
                last_ms: n,
            });
            (times.count, times.last_ms) = (times.count + 1, n);
        }
        assert_eq!(files, RUNS_MAX - 1, "they were merged");
        let mut told = Vec::new();
        let persons = tally.each(|of, times| {
            told.push((*of, times));
            Ok(())
        });
        assert_eq!(persons, Ok(expected.len() as u64));
        assert_eq!(told, Vec::from_iter(expected));
    }

    #[test]
    fn too_many_persons_are_refused() {
        let all = |persons_max| {
            let mut tally = Tally::bounded(4, persons_max);
            (0..97).try_for_each(|n| tally.count(person(n), n))?;
            tally.each(|_, _| Ok(()))
        };
        let persons = all(u64::MAX).unwrap();
        assert_eq!(all(persons), Ok(persons));
        let refused = all(persons - 1).err().map(|fault| fault.code());
        assert_eq!(refused, Some("request-member"));
        assert!(Tally::bounded(4, 0).each(|_, _| Ok(())).is_ok());
    }
}
