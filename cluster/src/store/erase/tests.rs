// SPDX-License-Identifier: EUPL-1.2
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::path::Path;

use ledger::hash::Hash;

use super::super::db::Resources;
use super::files::tables;
use super::*;
use crate::error::ErrorKind;

/// What is written is flushed when it is said, and not before.
fn open(dir: &Path, background_bytes_per_s: Option<u64>) -> Db {
    let resources = Resources {
        cache_bytes: 1 << 20,
        write_buffer_bytes: 256 << 20,
        background_bytes_per_s,
    };
    Db::open_state(&dir.join("state"), resources).unwrap()
}

/// Nothing packs it.
fn noise(number: u64, bytes: usize) -> Vec<u8> {
    let part = |at: u64| Hash::of(&[&number.to_be_bytes(), &at.to_be_bytes()]).0;
    (0..).flat_map(part).take(bytes).collect()
}

/// A cut deletes the rows of millions of entries.
#[test]
fn of_many_rows_the_keys_are_not_kept() {
    let mut rows = Forgotten::default();
    let key = |number: u64| keys::row(RowKind::Operator.code(), &Hash::of(&[b"list"]), number);
    let max = ROWS_EACH_MAX as u64;
    (0..max).for_each(|number| rows.take(&key(number)));
    assert_eq!(rows.ranges(false).len(), ROWS_EACH_MAX);
    let by_kind = rows.ranges(true);
    (max..10 * max).for_each(|number| rows.take(&key(number)));
    assert_eq!(rows.0.len(), ROWS_EACH_MAX + 1);
    assert_eq!(rows.ranges(false), by_kind);
}

/// Held back, it would take a minute: a node that ends waits for nothing of the kind.
#[test]
fn a_compaction_is_given_up_when_the_node_ends() {
    const MIB: u64 = 1 << 20;
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path(), None);
    let family = db.cf(state_cf::BODIES).unwrap();
    for number in 0..4 * 48 {
        let mut batch = WriteBatch::default();
        batch.put_cf(family, keys::number(number), noise(number, 256 << 10));
        db.write(batch, false).unwrap();
    }
    db.flush().unwrap();
    drop(db);
    let db = open(dir.path(), Some(MIB));
    let before = tables(&db, state_cf::BODIES, None).unwrap();
    let halt = Halt::never();
    let compacted = std::thread::scope(|scope| {
        let compacting = scope.spawn(|| compact(&db, state_cf::BODIES, None, &halt));
        let running = "rocksdb.num-running-compactions";
        while db.property(state_cf::BODIES, running).unwrap() == 0 {
            assert!(!compacting.is_finished());
            std::thread::yield_now();
        }
        halt.ask();
        db.give_up();
        compacting.join().unwrap()
    });
    let compacted = compacted.map_err(|error| error.kind());
    assert_eq!(compacted, Err(ErrorKind::ShuttingDown));
    assert!(!before.is_empty() && before.iter().all(|table| table.exists()));
}
