// SPDX-License-Identifier: EUPL-1.2
//! What an erasure does to the files of a large store.

use std::path::PathBuf;

use ledger::body::Content;
use ledger::body::system::{Erasure, Ground};
use ledger::erasure;
use rocksdb::WriteBatch;

use super::folds::later;
use super::*;
use crate::store::db::Db;
use crate::store::erase;
use crate::store::keys::{self, state_cf};
use crate::store::view::read_entry;
use crate::tasks::Halt;
use crate::testbed::sign;

fn batch(index: u64, entries: &[SubmittedEntry]) -> RaftEntry {
    let items = entries
        .iter()
        .map(|entry| BatchItem::new(entry.encode().into(), [index as u8; 32], None));
    let stamp_ms = Clock::system().now_ms();
    later(index, Batch::new(stamp_ms, items.collect()))
}

fn order(entries: &[u64], number: u64) -> SubmittedEntry {
    let erasure = Erasure {
        entries: entries.to_vec(),
        subject: None,
        before: None,
        types: vec![],
        ground: Ground::NotNecessary,
    };
    let now_ms = Clock::system().now_ms();
    sign(now_ms, number, Content::Erasure(erasure), vec![])
}

/// The files that hold bodies.
fn blobs(db: &Db) -> Vec<PathBuf> {
    let files = std::fs::read_dir(db.path()).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|kind| kind == "blob"));
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_entry_is_erased_without_touching_those_far_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, mut machine) = open_in(dir.path()).unwrap();
    let founded = genesis(&[(1, "127.0.0.1:1".parse().unwrap())].into());
    let entries: Vec<SubmittedEntry> = (1..=8).map(consent).collect();
    let ordered = [order(&[3], 90), order(&[3, 5], 91)];
    let told = [&[founded], entries.as_slice(), &ordered];
    let told = (0..).zip(told).map(|(index, told)| batch(index, told));
    fill(&mut log, &mut machine, told.collect()).await;
    let db = machine.state();
    let orders = [0, 1].map(|place| {
        let view = machine.view().unwrap();
        erasure::order_at(&view, place).unwrap()
    });
    // As of a large ledger: bodies that rest in files, and one that was just applied.
    let put = |index: u64| {
        let mut batch = WriteBatch::default();
        let family = db.cf(state_cf::BODIES).unwrap();
        batch.put_cf(family, keys::number(index), [7; 4096]);
        db.write(batch, false).unwrap();
    };
    db.flush().unwrap();
    let near = blobs(&db);
    put(2_000_000);
    db.flush().unwrap();
    let mut far = blobs(&db);
    far.retain(|file| !near.contains(file));
    assert!(!near.is_empty() && !far.is_empty());
    put(3_000_000);

    let done = erase::Progress { orders: 2 };
    assert!(erase::carry_out(&db, &orders, done, &Halt::never()).unwrap());
    assert!(near.iter().all(|file| !file.exists()), "{near:?}");
    assert!(far.iter().all(|file| file.exists()), "{far:?}");
    // Of two orders the older one took it.
    let entry = |index| read_entry(&db, EntryIndex(index)).unwrap().unwrap();
    assert_eq!(entry(3).erased, [orders[0].index]);
    assert_eq!(entry(5).erased, [orders[1].index]);
    for index in [3, 5] {
        assert!(entry(index).body.is_none() && entry(index).disclosures.is_empty());
    }
    assert!(entry(4).body.is_some());
    let tally = |order| {
        let tally = erase::tally(&db, order, &Halt::never()).unwrap();
        (tally.done, tally.spared)
    };
    assert_eq!(orders.each_ref().map(tally), [(1, 0), (2, 0)]);
}
