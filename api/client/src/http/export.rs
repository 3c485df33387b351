// SPDX-License-Identifier: BSD-3-Clause
//! Exports: they may be long, so they are written as they come. `export.json` comes compressed and is written as it was before.

use std::{
    io::{self, Write},
    time::Duration,
};

use flate2::write::GzDecoder;
use ledger::export::EXPORT_BYTES_MAX;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING};
use wire::export::{ExportOrder, ZIP};

use super::{Client, again, authorised, send};
use crate::error::Error;

/// How long one export may take from the first byte asked to the last one read.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(300);

/// In which form an export comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportForm {
    /// `export.json` alone.
    Json,
    /// The citizen's bundle.
    Zip,
}

impl Client {
    /// Makes an export and writes it as it comes. How many bytes that were; what was written before an error is not an export.
    ///
    /// Verify it before believing it: `ledger::export`, or `visto-verify`.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Setup`] where `out` does not take it.
    pub async fn export(
        &self,
        token: &str,
        order: &ExportOrder,
        form: ExportForm,
        out: &mut impl Write,
    ) -> Result<u64, Error> {
        let mut response = self
            .persist(false, async |url| {
                let request = authorised(self.http.post(format!("{url}/v1/exports")), Some(token))
                    .timeout(EXPORT_TIMEOUT)
                    .header(ACCEPT, form.media_type())
                    .header(ACCEPT_ENCODING, form.coding());
                send(request.json(order)).await
            })
            .await?;
        let coding = response.headers().get(CONTENT_ENCODING);
        let mut out = Unpacked::new(out, coding.is_some_and(|coding| coding == GZIP));
        loop {
            let chunk = response
                .chunk()
                .await
                .map_err(|error| again(&error).into_error(false))?;
            let written = match chunk {
                Some(chunk) => out.write_all(&chunk).map(|()| None),
                None => out.finish().map(Some),
            };
            let unwritten = |error| Error::Setup(format!("the export cannot be written: {error}"));
            if let Some(written) = written.map_err(unwritten)? {
                return Ok(written);
            }
        }
    }
}

/// What comes, written as it was before it was compressed.
enum Unpacked<'a, W: Write> {
    Plain(Counted<'a, W>),
    Gzip(Box<GzDecoder<Counted<'a, W>>>),
}

impl<'a, W: Write> Unpacked<'a, W> {
    fn new(out: &'a mut W, compressed: bool) -> Unpacked<'a, W> {
        let most = match compressed {
            // Little can unpack to very much; nothing beyond this would be verified.
            true => EXPORT_BYTES_MAX as u64,
            false => u64::MAX,
        };
        let counted = Counted {
            out,
            written: 0,
            most,
        };
        match compressed {
            true => Unpacked::Gzip(Box::new(GzDecoder::new(counted))),
            false => Unpacked::Plain(counted),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Unpacked::Plain(out) => out.write_all(bytes),
            Unpacked::Gzip(out) => out.write_all(bytes),
        }
    }

    /// How many bytes were written; an error where what was compressed is not whole.
    fn finish(&mut self) -> io::Result<u64> {
        match self {
            Unpacked::Plain(out) => Ok(out.written),
            Unpacked::Gzip(out) => {
                out.try_finish()?;
                Ok(out.get_ref().written)
            }
        }
    }
}

struct Counted<'a, W> {
    out: &'a mut W,
    written: u64,
    most: u64,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.written += written as u64;
        if self.written > self.most {
            return Err(io::Error::other("longer than any verifier reads"));
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

const GZIP: &str = "gzip";

impl ExportForm {
    fn coding(self) -> &'static str {
        match self {
            ExportForm::Json => GZIP,
            ExportForm::Zip => "identity",
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            ExportForm::Json => wire::JSON,
            ExportForm::Zip => ZIP,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut out = GzEncoder::new(Vec::new(), Compression::default());
        out.write_all(text).unwrap();
        out.finish().unwrap()
    }

    fn unpack(bytes: &[u8], most: u64) -> io::Result<(u64, Vec<u8>)> {
        let mut written = Vec::new();
        let mut out = Unpacked::new(&mut written, true);
        if let Unpacked::Gzip(out) = &mut out {
            out.get_mut().most = most;
        }
        bytes.chunks(7).try_for_each(|chunk| out.write_all(chunk))?;
        let count = out.finish()?;
        drop(out);
        Ok((count, written))
    }

    #[test]
    fn what_was_compressed_comes_whole_or_not_at_all() {
        let text = b"{\"export\":1}".repeat(500);
        let sent = gzip(&text);
        assert!(sent.len() < 200);
        let whole = text.len() as u64;
        assert_eq!(unpack(&sent, whole).unwrap(), (whole, text.clone()));
        assert!(unpack(&sent, whole - 1).is_err(), "too long");
        for end in [0, 5, 11, sent.len() - 9, sent.len() - 1] {
            assert!(unpack(&sent[..end], whole).is_err(), "{end}");
        }
        for place in [0, 12, sent.len() - 6] {
            let mut spoiled = sent.clone();
            spoiled[place] ^= 1;
            assert!(unpack(&spoiled, whole).is_err(), "{place}");
        }
    }
}
