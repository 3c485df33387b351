// SPDX-License-Identifier: EUPL-1.2
//! Searches a node's files for texts, as somebody would who got hold of the disk: as the bytes lie there, and in whatever is packed with zstd.
//! LZ4 leaves a text that repeats nothing as it is; zstd packs each letter into fewer bits, and `grep` finds it no more.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

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
    packed(dir, needles, &mut found);
    found.sort();
    found.dedup();
    found
}

fn packed(dir: &Path, needles: &[String], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            packed(&path, needles, found);
        } else if holds_packed(&fs::read(&path).unwrap_or_default(), needles) {
            found.push(path);
        }
    }
}

fn holds_packed(bytes: &[u8], needles: &[String]) -> bool {
    let starts = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&MAGIC));
    starts.into_iter().any(|at| {
        let mut unpacked = Vec::new();
        // What only looks like a frame, or was cut, tells as much as it can.
        if let Ok(decoder) = zstd::Decoder::new(&bytes[at..]) {
            let _ = decoder.single_frame().read_to_end(&mut unpacked);
        }
        let text = String::from_utf8_lossy(&unpacked);
        needles.iter().any(|needle| text.contains(needle))
    })
}
