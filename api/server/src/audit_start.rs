// SPDX-License-Identifier: EUPL-1.2
//! The start of an audit at the newest state root, line by line (`ledger::audit::start` has the format).

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufWriter, Seek, Write},
};

use cluster::{Direction, Folded, View};
use ledger::{
    admission::{Row, RowKind},
    audit::{Fed, GOVERNANCE, Head, LOCAL, StartLine},
    bytes::state::{StateKey, kind},
    fold::list_key,
    hash::Hash,
    merkle::{self, Frontier},
    note::Note,
    number::EntryIndex,
    retention::Cut,
};

use crate::{problem::Fault, release::Recorded};

/// What is read at a time.
const CHUNK: usize = 1_024;

/// A start, in a file that has no name: readable by this process alone, and gone with it.
pub struct Made {
    /// At its beginning.
    pub file: File,
    /// How long it is, in bytes.
    pub length: u64,
    /// How many lines it has.
    pub lines: u64,
}

/// Writes the start of an audit as of a state root that is the last in its view. It is written to the disk first and sent then: a moment of
/// the state that is held for as long as a client reads would keep RocksDB from dropping what is erased.
///
/// # Errors
/// The store's own, and the disk's.
pub fn make(folded: &Folded, _recorded: &Recorded) -> Result<Made, Fault> {
    let mut out = Out {
        file: BufWriter::new(tempfile::tempfile().map_err(Fault::internal)?),
        length: 0,
        lines: 0,
    };
    let view = folded.view();
    let (size, root) = (view.size(), folded.state_root());
    let note = Note::parse(folded.published().note.as_bytes()).map_err(Fault::internal)?;
    let peaks = Frontier::read(root.size, view)?.peaks().to_vec();
    out.put(&StartLine::Head(Head {
        size,
        folded: root.size,
        peaks,
        checkpoint: note,
    }))?;
    let mut cuts: Vec<Cut> = folded.cuts()?.iter().cloned().collect();
    cuts.sort_unstable_by_key(|cut| cut.index);
    for cut in cuts {
        out.put(&StartLine::Cut(cut))?;
    }
    let mut from = 0;
    loop {
        let held = view.standing(from..root.size.0, CHUNK)?;
        let Some(last) = held.last() else { break };
        from = last.index.0 + 1;
        for change in held {
            out.put(&StartLine::Held(Box::new(change)))?;
        }
    }
    // Names that entries after the state root wrote: some of them are gone from the state, and stand under the root all the same.
    let mut written = BTreeSet::new();
    let mut next = root.size.0;
    while next < size.0 {
        let end = size.0.min(next + CHUNK as u64);
        let indexes: Vec<EntryIndex> = (next..end).map(EntryIndex).collect();
        for change in view.changes(&indexes)? {
            let change = change.ok_or(Fault::NotFound)?;
            written.extend(change.writes.iter().map(|(key, _)| key.clone()));
            out.put(&StartLine::Change(Box::new(change)))?;
        }
        next = end;
    }
    records(folded, &mut out)?;
    for of_kind in kind::SUBJECT..=kind::POLICY {
        match RowKind::from_code(of_kind) {
            Some(kind) => lists(folded, kind, &mut out)?,
            None => values(folded, of_kind, &written, &mut out)?,
        }
    }
    for of_kind in LOCAL {
        each(view, of_kind, |key, value| {
            out.put(&StartLine::Value(key, value))
        })?;
    }
    let lines = out.lines;
    out.put(&StartLine::End(lines))?;
    out.close()
}

/// Every entry of governance, and the `state-root` entry, ascending.
fn records(folded: &Folded, out: &mut Out) -> Result<(), Fault> {
    let (view, root) = (folded.view(), folded.state_root());
    let mut indexes = BTreeSet::from([root.index]);
    for entry_type in GOVERNANCE {
        let of = Row::entry_type(entry_type).of;
        let mut from = 0;
        loop {
            let range = from..view.size().0;
            let rows = view.rows(RowKind::Type, &of, range, Direction::Up, CHUNK)?;
            let Some(last) = rows.last() else { break };
            from = last.0 + 1;
            indexes.extend(rows);
        }
    }
    for index in indexes {
        let stored = view.entry(index)?.ok_or(Fault::NotFound)?;
        let path = if root.size.holds(index) {
            merkle::prove_inclusion(index, root.size, view).map_err(|error| match error {
                merkle::ProveError::Read(error) => error.into(),
                merkle::ProveError::OutOfRange => Fault::NotFound,
            })?
        } else {
            Vec::new()
        };
        let fed = Fed::of(index, &stored, None);
        out.put(&StartLine::Record(Box::new(fed), path))?;
    }
    Ok(())
}

/// Lists as of the state root: those that have rows, if they stood then.
fn lists(folded: &Folded, kind: RowKind, out: &mut Out) -> Result<(), Fault> {
    let mut after: Option<Hash> = None;
    loop {
        let some = folded.view().lists(kind, after.as_ref(), CHUNK)?;
        let Some(last) = some.last() else {
            return Ok(());
        };
        after = Some(*last);
        for of in &some {
            folded_value(folded, list_key(kind, of), out)?;
        }
    }
}

/// Values of a kind as of the state root, by the names that stand in the state and those that were written since.
fn values(
    folded: &Folded,
    of_kind: u8,
    written: &BTreeSet<StateKey>,
    out: &mut Out,
) -> Result<(), Fault> {
    let of_this_kind = written.iter().filter(|key| key.kind == of_kind);
    let mut since = of_this_kind.peekable();
    each(folded.view(), of_kind, |key, _| {
        while let Some(earlier) = since.next_if(|since| **since <= key) {
            if *earlier != key {
                folded_value(folded, earlier.clone(), out)?;
            }
        }
        folded_value(folded, key, out)
    })?;
    since.try_for_each(|key| folded_value(folded, key.clone(), out))
}

fn folded_value(folded: &Folded, key: StateKey, out: &mut Out) -> Result<(), Fault> {
    match folded.value(&key)? {
        Some(value) => out.put(&StartLine::Value(key, value)),
        None => Ok(()),
    }
}

/// Every value of a kind in the state.
fn each(
    view: &View,
    of_kind: u8,
    mut take: impl FnMut(StateKey, Vec<u8>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut from = StateKey {
        kind: of_kind,
        name: Vec::new(),
    };
    loop {
        let some = view.values(&from, CHUNK)?;
        let full = some.len() == CHUNK;
        if let Some((last, _)) = some.last() {
            from = last.clone();
            // The next name there can be.
            from.name.push(0);
        }
        for (key, value) in some {
            take(key, value)?;
        }
        if !full {
            return Ok(());
        }
    }
}

struct Out {
    file: BufWriter<File>,
    length: u64,
    lines: u64,
}

impl Out {
    fn put(&mut self, line: &StartLine) -> Result<(), Fault> {
        let mut text = line.to_json();
        text.push('\n');
        self.length = self.length.saturating_add(text.len() as u64);
        self.lines += 1;
        let written = self.file.write_all(text.as_bytes());
        written.map_err(Fault::internal)
    }

    fn close(self) -> Result<Made, Fault> {
        let flushed = self.file.into_inner();
        let mut file = flushed.map_err(|error| Fault::internal(error.error()))?;
        file.rewind().map_err(Fault::internal)?;
        Ok(Made {
            file,
            length: self.length,
            lines: self.lines,
        })
    }
}
