// SPDX-License-Identifier: EUPL-1.2
//! How an entry lies under its index in the family of bodies, and back.
//!
//! ```text
//! value = u8(dictionary) ‖ zstd frame of the text ‖ bytes          text and bytes: `ledger::bytes::shorthand`
//! ```
//!
//! An entry alone repeats little, and all entries repeat each other: names of members, code lists, institutions. RocksDB packs each blob by
//! itself and knows no dictionary, so it is done here, and RocksDB is told to leave bodies as they are. A later build can add a dictionary and
//! read what was packed with this one. Digests, keys and salts stay out of the frame: nothing packs them.
//!
//! A value has no checksum of its own: RocksDB's guard it, and the leaf in the tree what comes out of it.

use std::cell::RefCell;
use std::sync::LazyLock;

use ledger::bytes::{BODY_BYTES_MAX, DISCLOSURES_BYTES_MAX};
use ledger::entry::StoredEntry;
use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};
use zstd::zstd_safe;

use self::dictionary::{NEWEST, dictionary};
use crate::error::{Error, ErrorKind};

mod dictionary;

/// Higher ones find two percent more, in twice the time.
const LEVEL: i32 = 3;

/// Shorthand makes no text longer, but for the mark at its end.
const TEXT_BYTES_MAX: usize = BODY_BYTES_MAX + DISCLOSURES_BYTES_MAX + 1024;

static ENCODER: LazyLock<EncoderDictionary<'static>> =
    LazyLock::new(|| EncoderDictionary::copy(&dictionary(NEWEST).unwrap_or_default(), LEVEL));
static DECODER: LazyLock<DecoderDictionary<'static>> =
    LazyLock::new(|| DecoderDictionary::copy(&dictionary(NEWEST).unwrap_or_default()));

/// Packs one entry after the other.
pub(super) struct Packer(Compressor<'static>);

impl Packer {
    pub(super) fn new() -> Result<Packer, Error> {
        let compressor = Compressor::with_prepared_dictionary(&ENCODER);
        compressor.map(Packer).map_err(failed)
    }

    /// The value of an entry.
    pub(super) fn pack(&mut self, entry: &StoredEntry) -> Result<Vec<u8>, Error> {
        let entry = entry.encode();
        let frame = self.0.compress(&entry.text).map_err(failed)?;
        Ok([&[NEWEST], &*frame, &entry.bytes].concat())
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::with_source(ErrorKind::Io, "pack an entry", error)
}

thread_local! {
    static UNPACKER: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// The entry of a value.
///
/// # Errors
/// Why it is none: it is damaged, or a later build packed it.
pub(super) fn unpack(value: &[u8]) -> Result<StoredEntry, String> {
    let (number, packed) = value.split_first().ok_or("nothing is there")?;
    if *number != NEWEST {
        return Err(format!(
            "it is packed with dictionary {number}, which this build does not have"
        ));
    }
    let told = |code| format!("zstd: {}", zstd_safe::get_error_name(code));
    let end = zstd_safe::find_frame_compressed_size(packed).map_err(told)?;
    let (frame, bytes) = packed.split_at_checked(end).ok_or("it is cut short")?;
    // Before room is made for it: a damaged number asks for no more memory than an entry can.
    let text_bytes = zstd_safe::get_frame_content_size(frame).ok().flatten();
    let text_bytes = text_bytes
        .and_then(|size| usize::try_from(size).ok())
        .filter(|size| *size <= TEXT_BYTES_MAX)
        .ok_or("its text is longer than one can be")?;
    let text = UNPACKER.with_borrow_mut(|unpacker| {
        let unpacker = match unpacker {
            Some(unpacker) => unpacker,
            None => unpacker.insert(Decompressor::with_prepared_dictionary(&DECODER)?),
        };
        unpacker.decompress(frame, text_bytes)
    });
    let text = text.map_err(|error| format!("zstd: {error}"))?;
    StoredEntry::decode(&text, bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
