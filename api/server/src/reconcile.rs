// SPDX-License-Identifier: EUPL-1.2
//! Tracing files of the national platform (PDND): one a day, `date,purpose_id,status,token_id,requests_count`, counted by the institution's own
//! gateways. Held against what the institution told the ledger, they show calls that nobody logged.
//!
//! The day is Italy's, so twice a year it has 23 or 25 hours. Calls are counted by [`Key`]; an entry counts for the day on which its signer says
//! that it occurred, and an exchange once, however many parts or tellings it has.

use std::collections::{BTreeMap, HashSet};

use jiff::{
    civil::{Date, Time},
    tz::TimeZone,
};
use ledger::{
    body::Body,
    body::access::{Access, Side},
    id::InstitutionId,
    number::EntryIndex,
    pair::Pair,
    time,
};
use wire::tracing::{COLUMNS, Reconciliation, TracingDifference, TracingKind};

/// Longest file, in bytes.
pub const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most rows of a file.
pub const ROWS_MAX: usize = 50_000;
/// Longest purpose or token, in bytes.
const ID_BYTES_MAX: usize = 128;
/// Entries named with a difference.
const ENTRIES_NAMED_MAX: usize = 10;

/// What calls are counted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// PDND's purpose, lower case.
    pub purpose_id: String,
    /// HTTP status of the answers.
    pub status: u16,
    /// `jti` of the voucher.
    pub token_id: String,
}

/// A tracing file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its one day.
    pub date: Date,
    /// Calls by key, with the line that says so.
    pub counts: BTreeMap<Key, (u64, u64)>,
}

/// Why a file is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFile {
    /// Line, from 1.
    pub line: u64,
    /// Column, where one is at fault.
    pub column: Option<&'static str>,
    /// What is demanded there.
    pub expected: &'static str,
}

/// Milliseconds since the epoch at which the day of Italy begins and ends.
pub fn day_in_italy(date: Date) -> Option<(u64, u64)> {
    static ROME: TimeZone = jiff::tz::get!("Europe/Rome");
    let start = |date: Date| {
        let midnight = ROME.to_timestamp(date.to_datetime(Time::midnight())).ok()?;
        u64::try_from(midnight.as_millisecond()).ok()
    };
    Some((start(date)?, start(date.tomorrow().ok()?)?))
}

/// Reads a file, all of it or nothing.
///
/// # Errors
/// The first thing in it that is not as specified.
pub fn parse(bytes: &[u8]) -> Result<File, BadFile> {
    // The reader passes over blank lines and would then name the wrong one.
    if let Some(line) = blank_line(bytes) {
        return Err(BadFile {
            line,
            column: None,
            expected: "no blank line",
        });
    }
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(bytes);
    let mut record = csv::StringRecord::new();
    let mut date = None;
    let mut counts = BTreeMap::new();
    let mut rows = 0;
    loop {
        let line = reader.position().line();
        let bad = |column, expected| BadFile {
            line,
            column,
            expected,
        };
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(_) => return Err(bad(None, "UTF-8")),
        }
        rows += 1;
        if rows == 1 {
            if !record.iter().eq(COLUMNS) {
                return Err(bad(None, "date,purpose_id,status,token_id,requests_count"));
            }
            continue;
        }
        if rows > ROWS_MAX + 1 {
            return Err(bad(None, "at most 50000 rows"));
        }
        let (day, key, count) = row(&record).map_err(|(column, expected)| bad(column, expected))?;
        if *date.get_or_insert(day) != day {
            return Err(bad(Some("date"), "one day a file"));
        }
        if counts.insert(key, (count, line)).is_some() {
            return Err(bad(None, "each purpose, status and token once"));
        }
    }
    match date {
        Some(date) => Ok(File { date, counts }),
        None => Err(BadFile {
            line: 1,
            column: None,
            expected: "a heading and at least one row",
        }),
    }
}

/// The first line without anything in it, but for those at the end.
fn blank_line(bytes: &[u8]) -> Option<u64> {
    let is_blank = |line: &[u8]| line.is_empty() || line == b"\r";
    let mut blank = None;
    for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
        match blank {
            None if is_blank(line) => blank = Some(number),
            Some(_) if !is_blank(line) => return blank,
            _ => {}
        }
    }
    None
}

type BadColumn = (Option<&'static str>, &'static str);

fn row(record: &csv::StringRecord) -> Result<(Date, Key, u64), BadColumn> {
    let mut columns = record.iter();
    let (Some(date), Some(purpose), Some(status), Some(token), Some(count), None) = (
        columns.next(),
        columns.next(),
        columns.next(),
        columns.next(),
        columns.next(),
        columns.next(),
    ) else {
        return Err((None, "five columns"));
    };
    let date = time::parse_date(date)
        .and_then(|_| date.parse::<Date>().ok())
        .filter(|date| day_in_italy(*date).is_some())
        .ok_or((Some("date"), "a day as YYYY-MM-DD"))?;
    let key = Key {
        purpose_id: id(purpose)
            .ok_or((Some("purpose_id"), "1 to 128 letters, digits, - . _ : / +"))?
            .to_ascii_lowercase(),
        status: number(status)
            .and_then(|status| u16::try_from(status).ok())
            .filter(|status| status_is_http(*status))
            .ok_or((Some("status"), "a status code from 100 to 599"))?,
        token_id: id(token)
            .ok_or((Some("token_id"), "1 to 128 letters, digits, - . _ : / +"))?
            .to_owned(),
    };
    let count = number(count)
        .filter(|count| *count > 0)
        .ok_or((Some("requests_count"), "a number from 1 to 2^53 - 1"))?;
    Ok((date, key, count))
}

fn status_is_http(status: u16) -> bool {
    (100..=599).contains(&status)
}

fn id(text: &str) -> Option<&str> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/+".contains(&byte);
    ((1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(good)).then_some(text)
}

/// A decimal without sign, blank or leading zero.
fn number(text: &str) -> Option<u64> {
    ledger::number::parse_decimal(text).filter(|number| *number < 1 << 53)
}

/// What an institution told of one day.
#[derive(Debug)]
pub struct Day<'a> {
    institution: &'a InstitutionId,
    side: Option<Side>,
    /// Milliseconds since the epoch, the end excluded.
    from_ms: u64,
    to_ms: u64,
    counts: BTreeMap<Key, (u64, Vec<u64>)>,
    told: HashSet<(Side, Pair)>,
    requests: u64,
    not_comparable: Vec<u64>,
}

impl<'a> Day<'a> {
    /// A day of an institution's calls; of one side of them, or both.
    pub fn new(
        institution: &'a InstitutionId,
        side: Option<Side>,
        (from_ms, to_ms): (u64, u64),
    ) -> Day<'a> {
        Day {
            institution,
            side,
            from_ms,
            to_ms,
            counts: BTreeMap::new(),
            told: HashSet::new(),
            requests: 0,
            not_comparable: Vec::new(),
        }
    }

    /// Counts an entry, if it is one of the institution's own of that day. They come in the order of the ledger.
    pub fn add(&mut self, index: EntryIndex, body: &Body, access: &Access) {
        let occurred_at_ms = body.common.occurred_at_ms;
        let own = body.common.institution == *self.institution
            && self.side.is_none_or(|side| side == access.side)
            && (self.from_ms..self.to_ms).contains(&occurred_at_ms);
        // One call, however often it is told and in how many parts.
        if !own || !self.told.insert((access.side, Pair::of(access))) {
            return;
        }
        self.requests += 1;
        match key(access) {
            Some(key) => {
                let (count, entries) = self.counts.entry(key).or_default();
                *count += 1;
                if entries.len() < ENTRIES_NAMED_MAX {
                    entries.push(index.0);
                }
            }
            None => self.not_comparable.push(index.0),
        }
    }

    /// Notes an entry of which the body is gone: nobody can tell whether it was of that day.
    pub fn add_erased(&mut self, index: EntryIndex) {
        self.not_comparable.push(index.0);
    }

    /// Holds a file of that day against it.
    pub fn reconcile(self, file: &File, tree_size: u64) -> Reconciliation {
        let mut differences = Vec::new();
        let mut ledger = self.counts;
        for (key, (in_file, line)) in &file.counts {
            let (in_ledger, entries) = ledger.remove(key).unwrap_or_default();
            let kind = match in_ledger {
                0 => TracingKind::MissingInLedger,
                count if count == *in_file => continue,
                _ => TracingKind::OtherCount,
            };
            differences.push(difference(
                kind,
                key,
                *in_file,
                in_ledger,
                Some(*line),
                entries,
            ));
        }
        for (key, (in_ledger, entries)) in ledger {
            let kind = TracingKind::MissingInFile;
            differences.push(difference(kind, &key, 0, in_ledger, None, entries));
        }
        differences.sort();
        Reconciliation {
            institution: self.institution.to_string(),
            date: file.date.to_string(),
            from: time::format_timestamp(self.from_ms),
            to: time::format_timestamp(self.to_ms),
            agrees: differences.is_empty() && self.not_comparable.is_empty(),
            rows: u64::try_from(file.counts.len()).unwrap_or(u64::MAX),
            requests_in_file: file.counts.values().map(|(count, _)| count).sum(),
            requests_in_ledger: self.requests,
            differences,
            not_comparable: self.not_comparable,
            tree_size,
        }
    }
}

fn key(access: &Access) -> Option<Key> {
    let status = u16::try_from(access.status_code?).ok()?;
    Some(Key {
        purpose_id: access.purpose_id.as_ref()?.to_ascii_lowercase(),
        status: Some(status).filter(|status| status_is_http(*status))?,
        token_id: access.evidence.as_ref()?.voucher_jti.clone()?,
    })
}

fn difference(
    kind: TracingKind,
    key: &Key,
    in_file: u64,
    in_ledger: u64,
    line: Option<u64>,
    entries: Vec<u64>,
) -> TracingDifference {
    TracingDifference {
        kind,
        purpose_id: key.purpose_id.clone(),
        status: key.status,
        token_id: key.token_id.clone(),
        in_file,
        in_ledger,
        line,
        entries,
    }
}

#[cfg(test)]
mod tests;
