// SPDX-License-Identifier: EUPL-1.2
//! Searches a node's files for texts, as somebody would who got hold of the disk: as the bytes lie there, and in whatever is packed with zstd.
//! LZ4 leaves a text that repeats nothing as it is; zstd packs each letter into fewer bits, and the shorthand of stored entries has bytes in its
//! place, so that `grep` finds it no more.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

use ledger::entry::StoredEntry;
use zstd::{Decoder, dict::DecoderDictionary, zstd_safe::find_frame_compressed_size};

use self::dictionary::{NEWEST, dictionary};

// The store's own; the tests of `cluster` load this file too.
#[allow(clippy::duplicate_mod)]
#[path = "../../cluster/src/store/packing/dictionary.rs"]
mod dictionary;

/// How each zstd frame begins (RFC 8878).
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The files below a folder that hold any of some texts. A file may vanish while it is searched: that it cannot be read then is not told.
pub fn holding(dir: &Path, needles: &[String]) -> Vec<PathBuf> {
    let found = Command::new("grep")
        .args(["-r", "-l", "-a", "-F", "-s"])
        .args(needles.iter().flat_map(|needle| ["-e", needle]))
        .arg(dir)
        .output()
        .unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    let mut found: Vec<PathBuf> = found.lines().map(PathBuf::from).collect();
    let words = DecoderDictionary::copy(&dictionary(NEWEST).unwrap());
    packed(dir, needles, &words, &mut found);
    found.sort();
    found.dedup();
    found
}

fn packed(dir: &Path, needles: &[String], words: &DecoderDictionary<'_>, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            packed(&path, needles, words, found);
        } else if holds_packed(&fs::read(&path).unwrap_or_default(), needles, words) {
            found.push(path);
        }
    }
}

fn holds_packed(bytes: &[u8], needles: &[String], words: &DecoderDictionary<'_>) -> bool {
    let starts = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&MAGIC));
    starts.into_iter().any(|at| {
        let frame = &bytes[at..];
        let mut unpacked = Vec::new();
        // What only looks like a frame, or was cut, tells as much as it can. One that was packed without a dictionary does not look into it.
        if let Ok(decoder) = Decoder::with_prepared_dictionary(frame, words) {
            let _ = decoder.single_frame().read_to_end(&mut unpacked);
        }
        let mut texts = vec![String::from_utf8_lossy(&unpacked).into_owned()];
        // The text of an entry, if the rest of it stands behind the frame.
        let rest = find_frame_compressed_size(frame).ok();
        let rest = rest.and_then(|end| frame.get(end..)).unwrap_or_default();
        if let Ok((entry, _)) = StoredEntry::decode_front(&unpacked, rest) {
            texts.extend(entry.disclosures.iter().map(|one| one.text().to_owned()));
            let body = entry.body.map(|body| body.payload).unwrap_or_default();
            texts.push(String::from_utf8_lossy(&body).into_owned());
        }
        let mut needles = needles.iter();
        needles.any(|needle| texts.iter().any(|text| text.contains(needle)))
    })
}
