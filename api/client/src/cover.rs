// SPDX-License-Identifier: BSD-3-Clause
//! For consumers: puts an access on record, and shows that with the request.
//!
//! ```no_run
//! # async fn example(access: client::build::PlainAccess, key: ledger::key::SigningKey) -> Result<(), Box<dyn std::error::Error>> {
//! # let (nodes, us) = (vec![String::new()], ledger::id::InstitutionId::parse("ipa:c_m109").ok_or("id")?);
//! let consumer = client::cover::Consumer::new(&nodes, "ledger.visto.example", us, key)?;
//! let web = reqwest::Client::new();
//! let request = web.get("https://provider.example/isee/v1/households?subject=…").build()?;
//! let request = consumer.cover(request, access).await?;
//! let answer = web.execute(request).await?;
//! # Ok(())
//! # }
//! ```

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ledger::{bytes::request_digest, entry::SubmittedEntry, id::InstitutionId, key::SigningKey};
use reqwest::Request;

use crate::{
    build::{Draft, Head, Plain, PlainAccess, random},
    error::Error,
    gate::transport,
    http::{Client, Until},
};

/// An institution's system that asks others for data.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    ledger: String,
    institution: InstitutionId,
    key: SigningKey,
    patience: Duration,
}

impl Consumer {
    /// By the URLs of the ledger's nodes, the ledger's name, the institution and its registered entry key.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn new(
        nodes: &[String],
        ledger: &str,
        institution: InstitutionId,
        key: SigningKey,
    ) -> Result<Consumer, Error> {
        Consumer::with_patience(nodes, ledger, institution, key, PATIENCE)
    }

    /// The same, which waits so long for a receipt.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn with_patience(
        nodes: &[String],
        ledger: &str,
        institution: InstitutionId,
        key: SigningKey,
        patience: Duration,
    ) -> Result<Consumer, Error> {
        Ok(Consumer {
            client: Client::new(nodes, patience)?,
            ledger: ledger.to_owned(),
            institution,
            key,
            patience,
        })
    }

    /// Puts the access on record for exactly this request, and gives the request with `Visto-Entry` and `Visto-Receipt`. Side, consumer,
    /// exchange and `evidence.requestDigest` are filled in. Change nothing of the request afterwards but its headers, and send it at once and
    /// once.
    ///
    /// Where the access names an `emergency` and no node answers, the request goes without receipt: the provider's gate may let it through,
    /// and puts the entry on record.
    ///
    /// # Errors
    /// [`Error`]: without an entry on record there is no request. [`Error::Setup`] also for a streaming body and an entry of over 64 KiB.
    pub async fn cover(&self, request: Request, access: PlainAccess) -> Result<Request, Error> {
        let emergency = access.emergency.is_some();
        let entry = self.entry(&request, access)?;
        let wire = entry.to_wire();
        let receipt = match self.receipt(&wire).await {
            Ok(receipt) => Some(receipt),
            Err(Error::Unreachable(_) | Error::Unknown(_)) if emergency => None,
            // The ledger answers and cannot write: out of reach as well.
            Err(Error::Problem(problem)) if emergency && problem.status >= 500 => None,
            Err(error) => return Err(error),
        };
        attach(request, &wire, receipt.as_deref())
    }

    /// Signs the access for exactly this request, and submits nothing.
    ///
    /// # Errors
    /// [`Error::Setup`]
    pub fn entry(
        &self,
        request: &Request,
        mut access: PlainAccess,
    ) -> Result<SubmittedEntry, Error> {
        access.side = ledger::body::access::Side::Consumer;
        access.consumer = self.institution.clone();
        access.exchange = random()?;
        let evidence = access.evidence.get_or_insert_default();
        evidence.request_digest = Some(digest(request)?);
        let now_ms = now_ms();
        let head = Head::new(&self.ledger, &self.institution, now_ms);
        Draft::new(head, Plain::Access(Box::new(access)), now_ms)?.sign(&[&self.key])
    }

    /// Submits until there is a receipt; the same bytes are never written twice.
    async fn receipt(&self, wire: &str) -> Result<String, Error> {
        let deadline = Instant::now() + self.patience;
        loop {
            let accepted = self.client.submit(wire, Until::Published).await?;
            if let Some(receipt) = accepted.receipt {
                return Ok(receipt);
            }
            if Instant::now() >= deadline {
                return Err(Error::Unknown(
                    "committed, and not published yet".to_owned(),
                ));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Puts an entry and its receipt into the head of a request.
///
/// # Errors
/// [`Error::Setup`] where they are too long to travel so.
pub fn attach(mut request: Request, wire: &str, receipt: Option<&str>) -> Result<Request, Error> {
    transport::write(request.headers_mut(), wire, receipt).map_err(|_| {
        Error::Setup("the entry is too long to travel with a request: ask in parts".to_owned())
    })?;
    Ok(request)
}

/// What `evidence.requestDigest` holds for this request.
///
/// # Errors
/// [`Error::Setup`] for a body that is a stream: its bytes are not known before it is sent.
pub fn digest(request: &Request) -> Result<ledger::hash::Hash, Error> {
    let body = match request.body() {
        None => &[][..],
        Some(body) => body
            .as_bytes()
            .ok_or_else(|| Error::Setup("the body is a stream: give it as bytes".to_owned()))?,
    };
    let url = request.url();
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    Ok(request_digest(request.method().as_str(), &target, body))
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}

const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);
