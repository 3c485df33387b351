// SPDX-License-Identifier: BSD-3-Clause
//! Receipts that were verified: a journal for each day on which the ledger accepted, so that old ones go a day at a time.
//!
//! `receipts/2026-11-29/` is the journal of a UTC day. Days are the ledger's, which a majority cosigned, and what is old is told by the newest of
//! them: a clock of this machine that leaps removes nothing. Segments that stand in `receipts/` itself are of builds that kept one journal for
//! all days; they are read like the others, and go by when they were last written.
//!
//! A crash leaves behind: after a day's folder is made and before its first record, an empty journal; while old days are removed, some that
//! come back, or a part of one, which go when the outbox is opened next or the next day begins.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::UNIX_EPOCH,
};

use ledger::time::{DAY_MS, day_of, format_date, parse_date};
use tokio::sync::Mutex;

use super::{KeptReceipt, json};
use crate::journal::{self, Journal, JournalError};

/// The receipts of one outbox.
#[derive(Debug)]
pub(super) struct Receipts {
    folder: PathBuf,
    segment_bytes: u64,
    days_kept: u64,
    broken: AtomicBool,
    open: Mutex<Option<Open>>,
}

/// The day that was written to last.
#[derive(Debug)]
struct Open {
    day: u64,
    journal: Journal,
}

impl Receipts {
    /// Opens the newest day of a folder, so that damage shows at once; removes what is older than `days_kept` days before it.
    pub(super) fn open(
        folder: PathBuf,
        segment_bytes: u64,
        days_kept: u64,
    ) -> Result<Receipts, JournalError> {
        let newest = days(&folder)?.into_iter().next_back();
        let mut receipts = Receipts {
            folder,
            segment_bytes,
            days_kept,
            broken: AtomicBool::new(false),
            open: Mutex::default(),
        };
        if let Some(day) = newest {
            let journal = open_day(&receipts.folder, day, segment_bytes)?;
            *receipts.open.get_mut() = Some(Open { day, journal });
            remove_before(&receipts.folder, day.saturating_sub(days_kept));
        }
        Ok(receipts)
    }

    /// Keeps receipts, each under its day; when this is answered they are on disk.
    pub(super) async fn keep(&self, kept: &[KeptReceipt]) -> Result<(), JournalError> {
        let mut by_day: BTreeMap<u64, Vec<Vec<u8>>> = BTreeMap::new();
        for receipt in kept {
            let day = by_day.entry(day_of(receipt.accepted_at_ms)).or_default();
            day.extend(json(receipt));
        }
        let mut open = self.open.lock().await;
        for (day, records) in by_day {
            let journal = match open.take() {
                Some(it) if it.day == day => it.journal,
                before => self.turn_to(day, before).await?,
            };
            let kept = journal.append(records).await;
            *open = Some(Open { day, journal });
            kept?;
        }
        Ok(())
    }

    /// Closes the day before and opens this one; what is older than it keeps goes.
    async fn turn_to(&self, day: u64, before: Option<Open>) -> Result<Journal, JournalError> {
        let (folder, segment_bytes) = (self.folder.clone(), self.segment_bytes);
        let keep_from = day.saturating_sub(self.days_kept);
        let turning = move || {
            drop(before);
            let journal = open_day(&folder, day, segment_bytes)?;
            remove_before(&folder, keep_from);
            Ok(journal)
        };
        let turned = tokio::task::spawn_blocking(turning).await;
        let turned = turned.map_err(|_| JournalError::Broken(self.folder.clone()));
        let turned = turned.and_then(|turned| turned);
        if turned.is_err() {
            self.broken.store(true, Ordering::Relaxed);
        }
        turned
    }

    /// Whether the disk failed.
    pub(super) fn is_broken(&self) -> bool {
        // Whoever holds it is writing right now, and says itself how that ended.
        let failed = |open: &Option<Open>| open.as_ref().is_some_and(|it| it.journal.is_broken());
        self.broken.load(Ordering::Relaxed) || self.open.try_lock().is_ok_and(|open| failed(&open))
    }
}

/// Hands every receipt to `each`, those of builds without days first, then day by day; also while a process uses the outbox.
pub(super) fn peek(folder: &Path, mut each: impl FnMut(KeptReceipt)) -> Result<(), JournalError> {
    let mut read = |folder: &Path| {
        let peeked = journal::peek(folder, |_, record| {
            if let Ok(receipt) = serde_json::from_slice(record) {
                each(receipt);
            }
        });
        match peeked {
            // Never made, or removed since it was listed.
            Err(JournalError::Io { .. }) if !folder.exists() => Ok(()),
            peeked => peeked,
        }
    };
    read(folder)?;
    for day in days(folder)? {
        read(&day_folder(folder, day))?;
    }
    Ok(())
}

fn open_day(folder: &Path, day: u64, segment_bytes: u64) -> Result<Journal, JournalError> {
    Journal::open(&day_folder(folder, day), segment_bytes, |_, _| {})
}

fn day_folder(folder: &Path, day: u64) -> PathBuf {
    folder.join(format_date(day.saturating_mul(DAY_MS)))
}

/// Days that have a folder, ascending.
fn days(folder: &Path) -> Result<Vec<u64>, JournalError> {
    let io = |cause: io::Error| JournalError::Io {
        path: folder.to_owned(),
        cause: cause.to_string(),
    };
    let items = match fs::read_dir(folder) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        items => items.map_err(io)?,
    };
    let mut days = Vec::new();
    for item in items {
        let name = item.map_err(io)?.file_name();
        let day = name.to_str().and_then(parse_date).map(day_of);
        // Other folders are not ours.
        days.extend(day.filter(|day| day_folder(folder, *day).ends_with(&name)));
    }
    days.sort_unstable();
    Ok(days)
}

/// Removes what is older than a day. What cannot be removed is told, and tried again another day: nobody waits for it.
fn remove_before(folder: &Path, first_kept: u64) {
    let removed = days(folder).map(|days| {
        let old = days.into_iter().filter(|day| *day < first_kept);
        for day in old {
            told(
                &day_folder(folder, day),
                fs::remove_dir_all(day_folder(folder, day)),
            );
        }
    });
    if let Err(error) = removed {
        tracing::warn!(%error, "old receipts cannot be listed");
    }
    let segments = fs::read_dir(folder).into_iter().flatten().flatten();
    for path in segments.map(|item| item.path()) {
        let is_old = || {
            let written = fs::metadata(&path).ok()?.modified().ok()?;
            let since = written.duration_since(UNIX_EPOCH).ok()?;
            Some(day_of(u64::try_from(since.as_millis()).ok()?) < first_kept)
        };
        if path.extension().is_some_and(|it| it == "journal") && is_old() == Some(true) {
            told(&path, fs::remove_file(&path));
        }
    }
}

fn told(path: &Path, removed: io::Result<()>) {
    if let Err(error) = removed {
        tracing::warn!(path = %path.display(), %error, "old receipts cannot be removed");
    }
}
