// SPDX-License-Identifier: EUPL-1.2
//! What a citizen gets beside `export.json`: `verifica.html`, one page that verifies the export in a browser without any network; the code
//! lists in Italian and English; and `LEGGIMI.txt`.
//!
//! The page's sources are `verifica/` (TypeScript) and share no code with the ledger: what they verify, they recompute from the formats.
//! `build.rs` bundles them; nothing built is kept in the tree.

use std::borrow::Cow;
use std::io::{self, Write};

/// The files of a bundle, in the order in which they stand in its zip. Receipts come beside them, one file each.
pub const FILES: [&str; 8] = [
    "LEGGIMI.txt",
    "verifica.html",
    "export.json",
    "policy.txt",
    "checkpoint.txt",
    "keys.json",
    "codes.it.json",
    "codes.en.json",
];

/// A language of the code lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Language {
    Italian,
    English,
}

/// What the codes in entries mean: purposes, legal bases, data categories, findings and all other words of bodies, as JSON.
pub fn code_list(language: Language) -> &'static str {
    match language {
        Language::Italian => include_str!("../codes/codes.it.json"),
        Language::English => include_str!("../codes/codes.en.json"),
    }
}

/// What to read first: what the files are and how to verify them, with the ledger's origin.
pub fn leggimi(origin: &str) -> String {
    include_str!("../codes/LEGGIMI.txt").replace("{origin}", origin)
}

/// What a page carries.
#[derive(Clone, Copy, Debug)]
pub struct Embedded<'a> {
    /// The text of `export.json`.
    pub export: &'a str,
    /// The text of `policy.txt`.
    pub policy: &'a str,
}

/// Writes `verifica.html` with an export inside: a double click verifies it.
///
/// # Errors
/// Those of the writer.
pub fn page(embedded: Embedded<'_>, out: &mut impl Write) -> io::Result<()> {
    out.write_all(page_start().as_bytes())?;
    out.write_all(&page_escape(embedded.export.as_bytes()))?;
    out.write_all(page_end(embedded.policy).as_bytes())
}

/// The page up to the place of `export.json`, for who streams: then come the export's bytes through [`page_escape`], in pieces of any size,
/// then [`page_end`].
pub fn page_start() -> &'static str {
    include_str!(concat!(env!("OUT_DIR"), "/start.html"))
}

/// A piece of JSON text as it may stand in the page's data block. `<` stands in JSON only inside of texts, where `\u003c` says the same;
/// without it nothing in an entry can end the block.
pub fn page_escape(json: &[u8]) -> Cow<'_, [u8]> {
    if !json.contains(&b'<') {
        return Cow::Borrowed(json);
    }
    let mut escaped = Vec::with_capacity(json.len() + 64);
    for &byte in json {
        match byte {
            b'<' => escaped.extend_from_slice(br"\u003c"),
            byte => escaped.push(byte),
        }
    }
    Cow::Owned(escaped)
}

/// The page after `export.json`.
pub fn page_end(policy: &str) -> String {
    const MIDDLE: &str = include_str!(concat!(env!("OUT_DIR"), "/middle.html"));
    const END: &str = include_str!(concat!(env!("OUT_DIR"), "/end.html"));
    [MIDDLE, &json_text(policy), END].concat()
}

/// A text as JSON, in ASCII and without `<`.
fn json_text(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 64);
    json.push('"');
    for unit in text.encode_utf16() {
        match u8::try_from(unit).ok().filter(u8::is_ascii) {
            Some(byte @ (b' '..=b'~')) if !matches!(byte, b'"' | b'\\' | b'<') => {
                json.push(char::from(byte));
            }
            _ => json.push_str(&format!("\\u{unit:04x}")),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests;
