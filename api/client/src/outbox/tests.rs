// SPDX-License-Identifier: BSD-3-Clause
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    fs,
    time::{Duration, UNIX_EPOCH},
};

use ledger::time::DAY_MS;

use super::*;

const SMALL: Bounds = Bounds {
    bytes_max: 4_000,
    segment_bytes: 500,
    receipt_days: 30,
};

async fn put(outbox: &Arc<Outbox>, line: &str) -> Result<(), NoRoom> {
    let room = outbox.reserve(line.len())?;
    Ok(room.put(line.to_owned(), Whose::Own, 1_000, 2_000).await?)
}

fn lines(outbox: &Outbox) -> Vec<String> {
    let all = outbox.oldest(0, usize::MAX).unwrap();
    all.into_iter().map(|(_, line)| line).collect()
}

fn receipt(n: usize) -> KeptReceipt {
    KeptReceipt {
        id: format!("id-{n}"),
        index: n as u64,
        accepted_at_ms: 0,
        receipt: "c2sp.org/tlog-proof@v1".to_owned(),
    }
}

#[tokio::test]
async fn what_is_not_settled_is_there_after_a_new_start() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(folder.path(), SMALL).unwrap();
    for n in 0..6 {
        put(&outbox, &format!("line {n}")).await.unwrap();
    }
    let waiting = outbox.oldest(0, usize::MAX).unwrap();
    outbox
        .settle(vec![(waiting[1].0, receipt(1))])
        .await
        .unwrap();
    let refused = RefusedEntry {
        id: "id-4".to_owned(),
        code: "key-not-in-force".to_owned(),
        at_ms: 5,
        line: waiting[4].1.clone(),
    };
    outbox.give_up(waiting[4].0, refused).await.unwrap();
    let expected = ["line 0", "line 2", "line 3", "line 5"];
    assert_eq!(lines(&outbox), expected);
    let standing = outbox.standing(2_001);
    assert_eq!((standing.waiting, standing.overdue), (4, 4));
    assert_eq!((standing.refused, standing.sent), (1, 1));
    assert_eq!(standing.oldest_ms, Some(1_000));
    drop(outbox);

    let (waiting, refused) = peek(folder.path()).unwrap();
    assert_eq!((waiting, refused[0].line.as_str()), (4, "line 4"));
    let outbox = Outbox::open(folder.path(), SMALL).unwrap();
    assert_eq!(lines(&outbox), expected);
    assert_eq!(outbox.standing(0).refused, 1);
    put(&outbox, "line 6").await.unwrap();
    assert_eq!(lines(&outbox).last().unwrap(), "line 6");
}

#[tokio::test]
async fn a_full_outbox_says_so_and_has_room_again_once_entries_are_settled() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(folder.path(), SMALL).unwrap();
    let line = "x".repeat(300);
    let mut taken = 0;
    while put(&outbox, &line).await.is_ok() {
        taken += 1;
    }
    assert!((5..=13).contains(&taken), "{taken}");
    assert!(matches!(outbox.reserve(300), Err(NoRoom::Full)));
    assert!(outbox.standing(0).bytes <= SMALL.bytes_max);
    let all = outbox.oldest(0, usize::MAX).unwrap();
    let settled = all.iter().take(8).enumerate();
    let settled = settled
        .map(|(n, (number, _))| (*number, receipt(n)))
        .collect();
    outbox.settle(settled).await.unwrap();
    // The next append comes after the removal in the journal's queue.
    outbox.settle(vec![(all[8].0, receipt(8))]).await.unwrap();
    put(&outbox, &line).await.unwrap();
    assert_eq!(lines(&outbox).len(), taken - 8);
    drop(outbox);
    assert_eq!(
        lines(&Outbox::open(folder.path(), SMALL).unwrap()).len(),
        taken - 8
    );
}

#[tokio::test]
async fn room_is_counted_while_it_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(folder.path(), SMALL).unwrap();
    let held = outbox.reserve(3_900).unwrap();
    assert!(matches!(outbox.reserve(100), Err(NoRoom::Full)));
    drop(held);
    outbox.reserve(100).unwrap();
}

/// Puts entries into an outbox and settles each with a receipt of this day.
async fn settle_on(outbox: &Arc<Outbox>, days: &[u64]) {
    for _ in days {
        put(outbox, "line").await.unwrap();
    }
    let waiting = outbox.oldest(0, usize::MAX).unwrap();
    let receipts = days.iter().map(|day| KeptReceipt {
        accepted_at_ms: day * DAY_MS + 5,
        ..receipt(*day as usize)
    });
    let settled = waiting.iter().map(|(number, _)| *number).zip(receipts);
    outbox.settle(settled.collect()).await.unwrap();
}

/// The receipts on disk, by their index, which [`settle_on`] makes the day.
fn kept(folder: &Path) -> Vec<u64> {
    let mut kept = Vec::new();
    receipts(folder, |it| kept.push(it.index)).unwrap();
    kept
}

fn names(folder: &Path) -> Vec<String> {
    let items = fs::read_dir(folder.join("receipts")).unwrap();
    let mut names: Vec<String> = items
        .map(|item| item.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn receipts_stand_by_day_and_old_days_go() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(folder.path(), SMALL).unwrap();
    // One round may hold receipts of several days.
    settle_on(&outbox, &[101, 100, 101]).await;
    assert_eq!(names(folder.path()), ["1970-04-11", "1970-04-12"]);
    assert_eq!(kept(folder.path()), [100, 101, 101]);
    settle_on(&outbox, &[130]).await;
    assert_eq!(kept(folder.path()), [100, 101, 101, 130], "30 days old");
    settle_on(&outbox, &[131]).await;
    assert_eq!(kept(folder.path()), [101, 101, 130, 131]);
    // An entry that was sent again has an old receipt: it is kept, and makes no day old.
    settle_on(&outbox, &[101]).await;
    assert_eq!(kept(folder.path()), [101, 101, 101, 130, 131]);
    settle_on(&outbox, &[131, 132]).await;
    assert_eq!(kept(folder.path()), [130, 131, 131, 132]);
    drop(outbox);

    // Fewer days from the next start on; what is not a day stays.
    fs::create_dir(folder.path().join("receipts/0001-01-01")).unwrap();
    let fewer = Bounds {
        receipt_days: 0,
        ..SMALL
    };
    let outbox = Outbox::open(folder.path(), fewer).unwrap();
    assert_eq!(kept(folder.path()), [132]);
    assert_eq!(names(folder.path()), ["0001-01-01", "1970-05-13"]);
    settle_on(&outbox, &[132]).await;
    assert_eq!(kept(folder.path()), [132, 132]);
}

#[tokio::test]
async fn receipts_of_builds_without_days_are_found_until_their_file_is_old() {
    let folder = tempfile::tempdir().unwrap();
    let flat = folder.path().join("receipts");
    let old = Journal::open(&flat, 1, |_, _| {}).unwrap();
    let record = br#"{"id":"id-7","index":7,"receipt":"c2sp.org/tlog-proof@v1"}"#;
    for _ in 0..2 {
        old.append(vec![record.to_vec()]).await.unwrap();
    }
    drop(old);
    let segment = |n: u64| flat.join(format!("{n:010}.journal"));
    let written = |n: u64, day: u64| {
        let file = fs::File::options().write(true).open(segment(n)).unwrap();
        let at = UNIX_EPOCH + Duration::from_millis(day * DAY_MS);
        file.set_modified(at).unwrap();
    };
    // The first segment was full with its head.
    written(1, 90);
    written(2, 100);
    written(3, 101);
    let outbox = Outbox::open(folder.path(), SMALL).unwrap();
    settle_on(&outbox, &[130]).await;
    assert_eq!(kept(folder.path()), [7, 7, 130]);
    settle_on(&outbox, &[131]).await;
    assert_eq!(kept(folder.path()), [7, 130, 131]);
    settle_on(&outbox, &[140]).await;
    assert_eq!(kept(folder.path()), [130, 131, 140]);
}

#[tokio::test]
async fn a_crash_between_two_days_or_in_a_removal_loses_no_receipt_that_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(folder.path(), SMALL).unwrap();
    settle_on(&outbox, &[100]).await;
    drop(outbox);
    let days = folder.path().join("receipts");
    // The next day's folder was made, and nothing in it; a day's removal got as far as its segment.
    fs::create_dir(days.join("1970-04-12")).unwrap();
    fs::create_dir(days.join("1970-03-01")).unwrap();
    fs::write(days.join("1970-03-01/lock"), "").unwrap();
    let outbox = Outbox::open(folder.path(), SMALL).unwrap();
    assert_eq!(names(folder.path()), ["1970-04-11", "1970-04-12"]);
    settle_on(&outbox, &[101, 102]).await;
    drop(outbox);
    assert_eq!(kept(folder.path()), [100, 101, 102]);

    // The newest day was torn: the round was not answered, and its entry is sent again.
    let newest = days.join("1970-04-13/0000000001.journal");
    let whole = fs::read(&newest).unwrap();
    fs::write(&newest, &whole[..whole.len() - 1]).unwrap();
    let outbox = Outbox::open(folder.path(), SMALL).unwrap();
    settle_on(&outbox, &[102]).await;
    assert_eq!(kept(folder.path()), [100, 101, 102]);
    drop(outbox);
    // Damage under what was acknowledged is no torn tail.
    settle_on(&Outbox::open(folder.path(), SMALL).unwrap(), &[102]).await;
    let mut spoiled = fs::read(&newest).unwrap();
    spoiled[40] ^= 1;
    fs::write(&newest, spoiled).unwrap();
    let opened = Outbox::open(folder.path(), SMALL);
    assert!(matches!(opened, Err(JournalError::Damaged { .. })));
}
