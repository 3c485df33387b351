// SPDX-License-Identifier: EUPL-1.2
//! An audit put down and taken up again: all that was recomputed, as bytes that end in their own hash.

use alloc::{collections::BTreeMap, vec::Vec};
use core::fmt;

use super::{Audit, Beyond, Missing, Ranges, Report, Retired, Unproven};
use crate::{
    admission::LedgerInfo,
    body::EntryType,
    bytes::{AUDIT_HEAD, state::Writer, stored::Reader},
    entry::Remembered,
    finding::Finding,
    fold::{Change, MemoryFold},
    hash::Hash,
    id::InstitutionId,
    merkle::Frontier,
    number::{EntryIndex, TreeSize},
    policy::PolicySet,
    retention::Cuts,
    state::{MemoryState, StateKey, registry::LastStateRoot},
};

/// The bytes are not those of an audit of this ledger that was put down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the progress of the audit is damaged, or another version's or ledger's")
    }
}

impl core::error::Error for Damaged {}

impl Audit {
    /// All that was recomputed, to go on from later. Contains what the ledger holds in its state: refs, keys, consents.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.raw(AUDIT_HEAD);
        let (name, shard) = self
            .ledger
            .as_ref()
            .map_or(("", 0), |ledger| (ledger.name.as_str(), ledger.shard));
        out.text(name).u64(shard).hash(&self.genesis);
        out.u64(self.last_accepted_ms);
        put_report(&self.report, &mut out);
        out.u64(self.tree.size().0);
        self.tree.peaks().iter().for_each(|peak| {
            out.hash(peak);
        });
        let state: Vec<_> = self.state.iter().collect();
        out.u64(state.len() as u64);
        for (key, value) in state {
            out.bytes(&key.encode()).bytes(value);
        }
        let folded: Vec<_> = self.fold.iter().collect();
        out.u64(folded.len() as u64);
        for (key, value) in folded {
            out.hash(key).bytes(value);
        }
        let held: Vec<_> = self.fold.held().collect();
        out.u64(held.len() as u64);
        for (change, ceased_ms) in held {
            out.bytes(&change.encode());
            // No entry ceases at the end of time.
            out.u64(ceased_ms.unwrap_or(u64::MAX));
        }
        out.bytes(&self.fold.cuts().encode());
        out.u64(self.pending.len() as u64);
        for change in &self.pending {
            out.bytes(&change.encode());
        }
        out.u64(self.unordered.len() as u64);
        for (index, missing) in &self.unordered {
            let institution = missing.institution.as_ref().map_or("", |of| of.as_str());
            out.u64(*index).u8(missing.entry_type.code());
            out.u64(missing.accepted_at_ms).u8(u8::from(missing.whole));
            out.u8(u8::from(missing.named)).text(institution);
            out.u8(u8::from(missing.retired));
        }
        put_ranges(&self.unsealed, &mut out);
        put_beyond(self, &mut out);
        let mut data = out.done();
        let digest = Hash::of(&[&data]);
        data.extend_from_slice(digest.as_bytes());
        data
    }

    /// Takes an audit up again.
    ///
    /// # Errors
    /// [`Damaged`]
    pub fn decode(data: &[u8], policies: PolicySet) -> Result<Audit, Damaged> {
        let (told, digest) = data.split_last_chunk::<32>().ok_or(Damaged)?;
        if Hash::of(&[told]) != Hash(*digest) {
            return Err(Damaged);
        }
        let rest = told.strip_prefix(AUDIT_HEAD).ok_or(Damaged)?;
        Reader::all(rest, |from| {
            let mut audit = decode(from, policies)?;
            take_beyond(&mut audit, from)?;
            Some(audit)
        })
        .ok_or(Damaged)
    }
}

fn decode(from: &mut Reader<'_>, policies: PolicySet) -> Option<Audit> {
    let (name, shard, genesis) = (from.text()?, from.u64()?, from.hash()?);
    // Begun under another policy file: what was replayed is another ledger.
    let other = policies.genesis().is_some_and(|named| named != genesis);
    if other && !name.is_empty() {
        return None;
    }
    let last_accepted_ms = from.u64()?;
    let report = take_report(from)?;
    let size = TreeSize(from.u64()?);
    let peaks = (0..size.0.count_ones()).map(|_| from.hash());
    let tree = Frontier::of_peaks(size, peaks.collect::<Option<Vec<Hash>>>()?)?;
    let mut writes = Vec::new();
    for _ in 0..from.u64()? {
        let key = StateKey::decode(from.field(usize::MAX)?)?;
        writes.push((key, Some(from.field(usize::MAX)?.to_vec())));
    }
    let mut state = MemoryState::default();
    state.write(&writes);
    let mut values = BTreeMap::new();
    for _ in 0..from.u64()? {
        values.insert(from.hash()?, from.field(usize::MAX)?.to_vec());
    }
    let mut fold = MemoryFold::of_values(values);
    for _ in 0..from.u64()? {
        let change = Change::decode(from.field(usize::MAX)?).ok()?;
        let ceased_ms = Some(from.u64()?).filter(|ceased_ms| *ceased_ms != u64::MAX);
        fold.hold(&change);
        if let Some(ceased_ms) = ceased_ms {
            fold.cease(change.index, ceased_ms);
        }
    }
    let fold = fold.with_cuts(Cuts::decode(from.field(usize::MAX)?)?);
    let mut pending = Vec::new();
    for _ in 0..from.u64()? {
        pending.push(Change::decode(from.field(usize::MAX)?).ok()?);
    }
    let mut unordered = BTreeMap::new();
    for _ in 0..from.u64()? {
        let index = from.u64()?;
        let missing = Missing {
            entry_type: EntryType::from_code(from.u8()?)?,
            accepted_at_ms: from.u64()?,
            whole: from.u8()? != 0,
            named: from.u8()? != 0,
            institution: InstitutionId::parse(&from.text()?),
            retired: from.u8()? != 0,
        };
        unordered.insert(index, missing);
    }
    let unsealed = take_ranges(from)?;
    Some(Audit {
        policies,
        ledger: (!name.is_empty()).then_some(LedgerInfo { name, shard }),
        genesis,
        state,
        tree,
        fold,
        pending,
        last_accepted_ms,
        unordered,
        unsealed,
        remembered: Remembered::default(),
        beyond: None,
        report,
    })
}

/// Where it began, and what is not recomputed.
fn put_beyond(audit: &Audit, out: &mut Writer) {
    let report = &audit.report;
    match &audit.beyond {
        None => {
            out.u8(0);
        }
        Some(beyond) => {
            // No entry was accepted at the end of time.
            let first_ms = beyond.first_ms.unwrap_or(u64::MAX);
            out.u8(1).u64(beyond.size.0).u64(first_ms);
            out.u8(u8::from(beyond.told));
            out.bytes(&beyond.state_root.encode());
        }
    }
    out.u8(u8::from(report.retired.is_some()));
    if let Some(retired) = &report.retired {
        out.u64(retired.first.0).u64(retired.count);
        out.u64(retired.until_ms).u64(retired.state_roots);
    }
    out.u64(report.not_recomputed_count);
    out.u16(report.not_recomputed.len() as u16);
    for (table, ranges) in &report.not_recomputed {
        out.u8(*table as u8);
        put_ranges(ranges, out);
    }
}

fn take_beyond(audit: &mut Audit, from: &mut Reader<'_>) -> Option<()> {
    audit.beyond = match from.u8()? {
        0 => None,
        1 => {
            let (size, first_ms) = (TreeSize(from.u64()?), from.u64()?);
            let told = from.u8()? != 0;
            let root = LastStateRoot::decode(from.field(usize::MAX)?)?;
            let first_ms = Some(first_ms).filter(|first| *first != u64::MAX);
            let mut beyond = Beyond::new(size, root, first_ms, &audit.state);
            beyond.told = told;
            Some(beyond)
        }
        _ => return None,
    };
    audit.report.retired = match from.u8()? {
        0 => None,
        1 => Some(Retired {
            first: EntryIndex(from.u64()?),
            count: from.u64()?,
            until_ms: from.u64()?,
            state_roots: from.u64()?,
        }),
        _ => return None,
    };
    audit.report.not_recomputed_count = from.u64()?;
    for _ in 0..from.u16()? {
        let code = from.u8()?;
        let mut tables = Unproven::ALL.into_iter();
        let table = tables.find(|table| *table as u8 == code)?;
        audit
            .report
            .not_recomputed
            .insert(table, take_ranges(from)?);
    }
    Some(())
}

fn put_ranges(ranges: &Ranges, out: &mut Writer) {
    out.u64(ranges.len() as u64);
    for (start, end) in ranges {
        out.u64(*start).u64(*end);
    }
}

fn take_ranges(from: &mut Reader<'_>) -> Option<Ranges> {
    (0..from.u64()?)
        .map(|_| Some((from.u64()?, from.u64()?)))
        .collect()
}

fn put_report(report: &Report, out: &mut Writer) {
    for count in [
        report.signatures,
        report.erased,
        report.unjudged,
        report.untold,
        report.state_roots,
        report.checkpoints,
        report.published,
    ] {
        out.u64(count);
    }
    out.u64(report.unjudged_at.len() as u64);
    report.unjudged_at.iter().for_each(|index| {
        out.u64(*index);
    });
    out.u16(report.types.len() as u16);
    for (entry_type, count) in &report.types {
        out.u8(entry_type.code()).u64(*count);
    }
    out.u16(report.findings.len() as u16);
    for (finding, count) in &report.findings {
        out.u8(*finding as u8).u64(*count);
    }
}

fn take_report(from: &mut Reader<'_>) -> Option<Report> {
    let mut report = Report {
        signatures: from.u64()?,
        erased: from.u64()?,
        unjudged: from.u64()?,
        untold: from.u64()?,
        state_roots: from.u64()?,
        checkpoints: from.u64()?,
        published: from.u64()?,
        ..Report::default()
    };
    for _ in 0..from.u64()? {
        report.unjudged_at.push(from.u64()?);
    }
    for _ in 0..from.u16()? {
        let entry_type = EntryType::from_code(from.u8()?)?;
        report.types.insert(entry_type, from.u64()?);
    }
    for _ in 0..from.u16()? {
        let code = from.u8()?;
        let finding = Finding::ALL
            .into_iter()
            .find(|finding| *finding as u8 == code)?;
        report.findings.insert(finding, from.u64()?);
    }
    Some(report)
}
