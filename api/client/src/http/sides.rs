// SPDX-License-Identifier: BSD-3-Clause
//! What the two sides of each call, the national platform's counts, and consent receipts are asked by.

use serde::Serialize;
use serde_json::Value;
use wire::{
    consent::ReceiptQuery,
    exchange::{ExchangePage, ExchangeSearch},
    tracing::Reconciliation,
};

use super::{CONTENT_TYPE, Client, authorised, read_json, send};
use crate::error::Error;

impl Client {
    /// A page of exchanges, with what their two sides come to.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn exchanges(
        &self,
        token: &str,
        search: &ExchangeSearch,
    ) -> Result<ExchangePage, Error> {
        let query = query(search)?;
        self.persist(false, async |url| {
            let request = self.http.get(format!("{url}/v1/exchanges?{query}"));
            read_json(send(authorised(request, Some(token))).await?).await
        })
        .await
    }

    /// A consent record and a receipt around it, JSON-LD by ISO/IEC TS 27560 and the Data Privacy Vocabulary.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn consent_receipt(&self, token: &str, query: &ReceiptQuery) -> Result<Value, Error> {
        self.post("/v1/consents/receipt", token, query).await
    }

    /// Holds a day's tracing file (PDND, CSV) against the ledger. `institution` is whose calls it counts, the reader's own when absent; `side` counts what
    /// it told as `consumer` or `provider` alone.
    ///
    /// # Errors
    /// [`Error`]; a file that cannot be read is refused with the line at fault.
    pub async fn reconcile_tracing(
        &self,
        token: &str,
        csv: &str,
        institution: Option<&str>,
        side: Option<&str>,
    ) -> Result<Reconciliation, Error> {
        let mut whose = serde_json::Map::new();
        whose.extend(institution.map(|id| ("institution".to_owned(), Value::from(id))));
        whose.extend(side.map(|side| ("side".to_owned(), Value::from(side))));
        let query = query(&whose)?;
        self.persist(false, async |url| {
            let request = self
                .http
                .post(format!("{url}/v1/tracing/reconciliations?{query}"))
                .header(CONTENT_TYPE, wire::CSV)
                .body(csv.to_owned());
            read_json(send(authorised(request, Some(token))).await?).await
        })
        .await
    }
}

/// Members as parameters of a URL; what is not of the unreserved characters of RFC 3986 is escaped.
fn query(members: &impl Serialize) -> Result<String, Error> {
    let members = serde_json::to_value(members).map_err(|error| Error::Setup(error.to_string()))?;
    let pairs = members.as_object().into_iter().flatten();
    let pairs = pairs.map(|(name, value)| {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), ToOwned::to_owned);
        format!("{name}={}", escape(&value))
    });
    // By name: whether serde_json keeps the order of members depends on what else is built.
    let mut pairs: Vec<String> = pairs.collect();
    pairs.sort();
    Ok(pairs.join("&"))
}

fn escape(text: &str) -> String {
    let escaped = text.bytes().map(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    });
    escaped.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn parameters_are_escaped_and_absent_ones_left_out() {
        let search = ExchangeSearch {
            state: Some("unpaired".into()),
            from: Some("2026-01-02T03:04:05Z".into()),
            older_than: Some(60),
            ..ExchangeSearch::default()
        };
        assert_eq!(
            query(&search).unwrap(),
            "from=2026-01-02T03%3A04%3A05Z&olderThan=60&state=unpaired"
        );
    }
}
