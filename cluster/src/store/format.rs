// SPDX-License-Identifier: EUPL-1.2
//! Which layout a state folder has. Written before anything else, and carried along by snapshots.
//!
//! Builds whose entries change other things under the root, or keep other records of it, would fold another root than this one: a state of
//! theirs is not read at all.

use rocksdb::{IteratorMode, WriteBatch};

use super::db::{Db, encode};
use super::keys::{state_cf, state_meta};
use crate::error::{Error, ErrorKind};

/// Raised with every change of what is kept, and of what entries change. Builds before the first had none.
const FORMAT: u16 = 5;

/// Takes a state that is this format's, or nothing's yet.
///
/// # Errors
/// `Config` if another build kept it.
pub(crate) fn claim(db: &Db) -> Result<(), Error> {
    let found: Option<u16> = db.get_decoded(state_cf::META, state_meta::FORMAT)?;
    if found == Some(FORMAT) {
        return Ok(());
    }
    let meta = db.cf(state_cf::META)?;
    let mut records = db.raw().iterator_cf(meta, IteratorMode::Start);
    if found.is_none() && records.next().is_none() {
        // The first write to this folder: a crash before it leaves a folder with nothing in it, one after it an empty state.
        let mut batch = WriteBatch::default();
        batch.put_cf(meta, state_meta::FORMAT, encode(&FORMAT)?);
        return db.write(batch, false);
    }
    let found = found.map_or("no format".to_owned(), |found| format!("format {found}"));
    Err(Error::new(
        ErrorKind::Config,
        format!(
            "{} was kept by another build: it names {found}, and this build reads format {FORMAT} alone; a ledger kept by an earlier build is not carried over: begin anew, all nodes with empty data folders",
            db.path().display()
        ),
    ))
}
