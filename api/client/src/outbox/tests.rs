// SPDX-License-Identifier: BSD-3-Clause
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::*;

const SMALL: Bounds = Bounds {
    bytes_max: 4_000,
    segment_bytes: 500,
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
