// SPDX-License-Identifier: BSD-3-Clause
//! Exports: they may be long, so they are written as they come.

use std::{io::Write, time::Duration};

use reqwest::header::ACCEPT;
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
                    .header(ACCEPT, form.media_type());
                send(request.json(order)).await
            })
            .await?;
        let mut written = 0;
        loop {
            let chunk = response
                .chunk()
                .await
                .map_err(|error| again(&error).into_error(false))?;
            let Some(chunk) = chunk else {
                return Ok(written);
            };
            out.write_all(&chunk)
                .map_err(|error| Error::Setup(format!("the export cannot be written: {error}")))?;
            written += chunk.len() as u64;
        }
    }
}

impl ExportForm {
    fn media_type(self) -> &'static str {
        match self {
            ExportForm::Json => wire::JSON,
            ExportForm::Zip => ZIP,
        }
    }
}
