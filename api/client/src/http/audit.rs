// SPDX-License-Identifier: BSD-3-Clause
//! What an authority asks for: the whole ledger, to be replayed, and whom one person touched.

use std::{io::Write, time::Duration};

use ledger::audit::Line;
use wire::scope::{ScopeEnd, ScopeQuery, Touched};

use super::{Attempt, Client, again, authorised, send};
use crate::error::Error;

/// Longest page of a replay, in bytes: nodes end one at 8 MiB, behind an entry and the checkpoints after it.
const PAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long the start of an audit may take from the first byte asked to the last one read: it is all of the state.
const START_TIMEOUT: Duration = Duration::from_secs(3_600);

impl Client {
    /// What an audit that begins at the newest state root is fed first, written as it comes: lines as [`ledger::audit::StartLine`] reads
    /// them, none longer than those. What was written before an error is no start.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Setup`] where `out` does not take it.
    pub async fn audit_start(&self, token: &str, out: &mut impl Write) -> Result<(), Error> {
        let mut response = self
            .persist(false, async |url| {
                let request = self.http.get(format!("{url}/v1/audit/start"));
                send(authorised(request, Some(token)).timeout(START_TIMEOUT)).await
            })
            .await?;
        let mut line = 0;
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| again(&error).into_error(false))?
        {
            line = match chunk.iter().rposition(|byte| *byte == b'\n') {
                Some(end) => chunk.len() - end,
                None => chunk.len().saturating_add(line),
            };
            if line > Line::BYTES_MAX {
                return Err(Error::Answer("a line of a start that does not end"));
            }
            out.write_all(&chunk)
                .map_err(|error| Error::Setup(format!("the start cannot be written: {error}")))?;
        }
        Ok(())
    }

    /// A page of what an auditor replays, from an index on: lines of entries and checkpoints, none at the end.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn audit_entries(&self, token: &str, from: u64) -> Result<String, Error> {
        self.persist(false, async |url| {
            let request = format!("{url}/v1/audit/entries?from={from}");
            let mut response = send(authorised(self.http.get(request), Some(token))).await?;
            let mut page = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(|error| again(&error))? {
                page.extend_from_slice(&chunk);
                if page.len() > PAGE_BYTES_MAX {
                    return Err(Attempt::Final(Error::Answer("a page that does not end")));
                }
            }
            String::from_utf8(page).map_err(|_| Attempt::Final(Error::Answer("a page of no text")))
        })
        .await
    }

    /// Every subject that one person of an institution touched, and the sums.
    ///
    /// # Errors
    /// [`Error`]; an answer without its last line was cut short.
    pub async fn scope(
        &self,
        token: &str,
        query: &ScopeQuery,
    ) -> Result<(Vec<Touched>, ScopeEnd), Error> {
        let text = self
            .persist(false, async |url| {
                let request = self.http.post(format!("{url}/v1/operators/subjects"));
                let response = send(authorised(request, Some(token)).json(query)).await?;
                response.text().await.map_err(|error| again(&error))
            })
            .await?;
        let cut_short = || Error::Answer("an answer that was cut short");
        let (lines, end) = text.trim_end().rsplit_once('\n').unwrap_or(("", &text));
        let end = serde_json::from_str(end).map_err(|_| cut_short())?;
        let touched = lines.lines().map(serde_json::from_str);
        let touched = touched.collect::<Result<_, _>>().map_err(|_| cut_short())?;
        Ok((touched, end))
    }
}
