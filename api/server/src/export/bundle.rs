// SPDX-License-Identifier: EUPL-1.2
//! The citizen's bundle: one zip with the export, the page that verifies it, receipts, policy, checkpoint, keys and code lists.

use std::{
    fs::File,
    io::{Read, Seek, Write},
};

use cluster::{Folded, View};
use ledger::{base64, number::EntryIndex, state::registry};
use report::Language;
use serde_json::json;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::{lists::READ_AT_ONCE, write::Written};
use crate::{present::key_text, problem::Fault};

/// Bytes copied at a time.
const CHUNK: usize = 64 * 1024;

/// The bundle around a written `export.json`, and how long it is.
///
/// # Errors
/// The store's or the disk's own.
pub fn zip(folded: &Folded, export: File, written: &Written) -> Result<(File, u64), Fault> {
    let file = tempfile::tempfile().map_err(Fault::internal)?;
    let mut bundle = Bundle {
        zip: ZipWriter::new(file),
        export,
    };
    let view = folded.view();
    let policy = policy_text(view)?;
    let checkpoint = &folded.published().note;
    let origin = checkpoint.lines().next().unwrap_or_default();
    for name in report::FILES {
        bundle.begin(name)?;
        match name {
            "LEGGIMI.txt" => bundle.put(report::leggimi(origin).as_bytes())?,
            "verifica.html" => bundle.page(&policy)?,
            "export.json" => bundle.export(|json| json.into())?,
            "policy.txt" => bundle.put(policy.as_bytes())?,
            "checkpoint.txt" => bundle.put(checkpoint.as_bytes())?,
            "keys.json" => bundle.put(keys(view, written)?.as_bytes())?,
            "codes.it.json" => bundle.put(report::code_list(Language::Italian).as_bytes())?,
            "codes.en.json" => bundle.put(report::code_list(Language::English).as_bytes())?,
            other => return Err(Fault::internal(format_args!("what is {other}?"))),
        }
    }
    let opened: Vec<EntryIndex> = written.opened.iter().copied().collect();
    for some in opened.chunks(READ_AT_ONCE) {
        for (index, receipt) in some.iter().zip(view.receipts(some)?) {
            if let Some(receipt) = receipt {
                bundle.begin(&format!("receipts/{index}.tlog-proof"))?;
                bundle.put(receipt.to_string().as_bytes())?;
            }
        }
    }
    let mut file = bundle.zip.finish().map_err(Fault::internal)?;
    let length = file.stream_position().map_err(Fault::internal)?;
    file.rewind().map_err(Fault::internal)?;
    Ok((file, length))
}

struct Bundle {
    zip: ZipWriter<File>,
    export: File,
}

impl Bundle {
    fn begin(&mut self, name: &str) -> Result<(), Fault> {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        self.zip.start_file(name, options).map_err(Fault::internal)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.zip.write_all(bytes).map_err(Fault::internal)
    }

    fn page(&mut self, policy: &str) -> Result<(), Fault> {
        self.put(report::page_start().as_bytes())?;
        self.export(report::page_escape)?;
        self.put(report::page_end(policy).as_bytes())
    }

    /// The export's bytes, each piece through `through`.
    fn export(
        &mut self,
        through: impl Fn(&[u8]) -> std::borrow::Cow<'_, [u8]>,
    ) -> Result<(), Fault> {
        self.export.rewind().map_err(Fault::internal)?;
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = self.export.read(&mut chunk).map_err(Fault::internal)?;
            let Some(piece) = chunk.get(..read).filter(|piece| !piece.is_empty()) else {
                return Ok(());
            };
            let piece = through(piece);
            self.zip.write_all(&piece).map_err(Fault::internal)?;
        }
    }
}

/// The trust policy that the governance set; else the one that follows from the genesis. Whoever verifies compares it with a copy from
/// elsewhere: a policy that only this server vouches for proves nothing.
fn policy_text(view: &View) -> Result<String, Fault> {
    match registry::policy(view)? {
        Some((_, text)) => Ok(text),
        None => super::policy::founders(view),
    }
}

/// The keys that signed what is shown: whose they are, for which use, and from and until which index.
fn keys(view: &View, written: &Written) -> Result<String, Fault> {
    let mut keys = Vec::with_capacity(written.keys.len());
    for id in &written.keys {
        let Some(key) = registry::key(view, id)? else {
            continue;
        };
        keys.push(json!({
            "keyId": key_text(id),
            "publicKey": base64::url_encode(key.public_key.as_bytes()),
            "use": key.key_use.as_str(),
            "institution": key.institution.as_str(),
            "from": key.first,
            "until": Some(key.until).filter(|until| *until != u64::MAX),
        }));
    }
    serde_json::to_string_pretty(&json!({ "keys": keys })).map_err(Fault::internal)
}
