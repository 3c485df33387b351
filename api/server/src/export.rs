// SPDX-License-Identifier: EUPL-1.2
//! Exports: everything that names a person or a household, as of one state root, for whoever verifies it without this server.
//!
//! [`ask`] reads what is ordered, [`plan`] finds whose lists go in and when they count, [`write`] streams `export.json`, [`bundle`] makes the
//! citizen's zip of it. All is built into a file that has no name any more, so that its digest is on record before the first byte leaves.

use std::{
    fs::File,
    io::{self, BufWriter, Seek, Write},
};

use cluster::Folded;
use flate2::{Compression, write::GzEncoder};
use ledger::{hash::Hash, number::EntryIndex};
use sha2::{Digest, Sha256};

use crate::{auth::Reader, problem::Fault};

pub mod ask;
pub mod bundle;
pub mod lists;
pub mod places;
pub mod plan;
mod policy;
pub mod write;

use ask::Ask;
use lists::Lists;
use plan::Plan;

/// Longest export, in bytes: what a verifier reads.
const SPOOL_BYTES_MAX: u64 = ledger::export::EXPORT_BYTES_MAX as u64;

/// Bytes gathered before they are written to the file: an entry's JSON is some thousands.
const BUFFERED_BYTES: usize = 64 * 1024;

/// In which form an export is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `export.json` alone.
    Json,
    /// The same, compressed with gzip.
    JsonGzip,
    /// The citizen's bundle.
    Zip,
}

/// An export that is ready to leave, once it is on record.
pub struct Made {
    /// What is sent.
    pub file: File,
    /// How long that is.
    pub length: u64,
    /// SHA-256 of `export.json`, before any compression.
    pub digest: Hash,
    /// Entries that are opened in it.
    pub count: u64,
    /// Whose lists are in it.
    pub persons: Vec<Hash>,
    /// Whose data is in it besides: whom the entries of those lists show too, and members of the household whose lists are not opened.
    pub others: Vec<Hash>,
    /// Entries whose bodies are in it.
    pub rests_on: Vec<EntryIndex>,
    /// Rows that were looked at.
    pub rows: usize,
}

/// Builds an export as of a state root.
///
/// # Errors
/// `not-found` for a household that is not there or not the reader's to see, a complaint about the order, or the store's own.
pub fn make(folded: &Folded, reader: &Reader, ask: &Ask, form: Form) -> Result<Made, Fault> {
    let lists = Lists::new(folded.view());
    let plan = Plan::of(folded, &lists, reader, ask)?;
    let mut spool = Spool::new(form)?;
    let written = write::write(folded, &lists, reader, (ask, &plan), &mut spool)?;
    drop(lists);
    let (file, length, digest) = spool.close()?;
    let (file, length) = match form {
        Form::Json | Form::JsonGzip => (file, length),
        Form::Zip => bundle::zip(folded, file, &written)?,
    };
    let persons = plan.refs();
    let mut others = written.persons;
    others.extend(plan.not_opened.iter().map(|member| member.of));
    for of in &persons {
        others.remove(of);
    }
    Ok(Made {
        file,
        length,
        digest,
        count: written.opened.len() as u64,
        persons,
        others: others.into_iter().collect(),
        rests_on: written.shown.into_iter().collect(),
        rows: plan.rows,
    })
}

/// A file without a name: readable by this process alone, and gone with it.
pub struct Spool {
    out: Out,
    hasher: Sha256,
    length: u64,
}

/// As it is, or compressed on its way to the disk: nothing is written twice.
enum Out {
    Plain(BufWriter<File>),
    Gzip(Box<GzEncoder<BufWriter<File>>>),
}

impl Out {
    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Out::Plain(out) => out,
            Out::Gzip(out) => out,
        }
    }

    fn finish(self) -> io::Result<File> {
        let out = match self {
            Out::Plain(out) => out,
            Out::Gzip(out) => out.finish()?,
        };
        out.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

impl Spool {
    /// An empty one.
    ///
    /// # Errors
    /// The disk's own.
    pub fn new(form: Form) -> Result<Spool, Fault> {
        let file = tempfile::tempfile().map_err(Fault::internal)?;
        let file = BufWriter::with_capacity(BUFFERED_BYTES, file);
        let out = match form {
            Form::JsonGzip => Out::Gzip(Box::new(GzEncoder::new(file, Compression::default()))),
            // The bundle reads it again.
            Form::Json | Form::Zip => Out::Plain(file),
        };
        Ok(Spool {
            out,
            hasher: Sha256::new(),
            length: 0,
        })
    }

    /// Appends text.
    ///
    /// # Errors
    /// The disk's own, or it becomes longer than any verifier reads.
    pub fn put(&mut self, text: &str) -> Result<(), Fault> {
        self.length = self.length.saturating_add(text.len() as u64);
        if self.length > SPOOL_BYTES_MAX {
            return Err(crate::form::bad("subject", "less than 1 GiB of entries"));
        }
        self.hasher.update(text.as_bytes());
        let written = self.out.writer().write_all(text.as_bytes());
        written.map_err(Fault::internal)
    }

    /// The file, at its beginning; its length, and the SHA-256 of what was put.
    fn close(self) -> Result<(File, u64, Hash), Fault> {
        let mut file = self.out.finish().map_err(Fault::internal)?;
        let length = file.stream_position().map_err(Fault::internal)?;
        file.rewind().map_err(Fault::internal)?;
        Ok((file, length, Hash(self.hasher.finalize().into())))
    }
}
