// SPDX-License-Identifier: EUPL-1.2
//! Request bodies: media type, length, deadline and memory are bounded here, before a byte is parsed.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::problem::{Fault, RequestFault};

/// Longest wire line of one entry: a body of 16 KiB in base64, 128 KiB of disclosures, 16 signatures, and white space to spare.
pub const ENTRY_BYTES_MAX: usize = 192 * 1024;
/// Longest batch.
pub const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest query.
pub const QUERY_BYTES_MAX: usize = 16 * 1024;

/// Memory and time for bodies that are being read.
#[derive(Clone)]
pub struct Budget {
    /// KiB that bodies under way may hold together.
    memory: Arc<Semaphore>,
    deadline: Duration,
}

/// A body that was read whole; its share of the memory is given back when it is dropped.
pub struct Read {
    /// The bytes.
    pub bytes: Bytes,
    _share: OwnedSemaphorePermit,
}

impl Budget {
    /// `memory_mib` for all bodies together, `deadline` for each.
    pub fn new(memory_mib: u32, deadline: Duration) -> Budget {
        let kib = usize::try_from(memory_mib).unwrap_or(usize::MAX / 2048) * 1024;
        Budget {
            memory: Arc::new(Semaphore::new(kib.min(Semaphore::MAX_PERMITS))),
            deadline,
        }
    }

    /// Reads a body of at most `bytes_max`.
    ///
    /// # Errors
    /// `too-large` (by its announced length at once), `body-incomplete`, or `overloaded` when the memory for bodies is taken.
    pub async fn read(&self, body: Body, bytes_max: usize) -> Result<Read, Fault> {
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if announced > bytes_max {
            return Err(RequestFault::TooLarge.into());
        }
        timeout(self.deadline, self.collect(body, bytes_max))
            .await
            .map_err(|_| RequestFault::Body)?
    }

    /// Memory is taken as the bytes come, not as they are announced: who sends nothing holds nothing.
    async fn collect(&self, mut body: Body, bytes_max: usize) -> Result<Read, Fault> {
        let mut share = self.take(1)?;
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| RequestFault::Body)?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let length = bytes.len().saturating_add(data.len());
            if length > bytes_max {
                return Err(RequestFault::TooLarge.into());
            }
            let kib = length / 1024 + 1;
            if let Some(missing) = kib
                .checked_sub(share.num_permits())
                .filter(|more| *more > 0)
            {
                share.merge(self.take(missing)?);
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Read {
            bytes: bytes.freeze(),
            _share: share,
        })
    }

    fn take(&self, kib: usize) -> Result<OwnedSemaphorePermit, Fault> {
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        Arc::clone(&self.memory)
            .try_acquire_many_owned(kib)
            .map_err(|_| Fault::Overloaded)
    }
}

/// The media type of a request without its parameters, in lower case; parameters are ignored, except that a charset must be UTF-8.
///
/// # Errors
/// `media-type` if there is none, or one that is no text in UTF-8.
pub fn media_type(headers: &HeaderMap) -> Result<String, Fault> {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .ok_or(RequestFault::MediaType)?
        .to_ascii_lowercase();
    let mut parts = value.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_owned();
    for parameter in parts {
        if let Some(charset) = parameter.strip_prefix("charset=")
            && charset.trim_matches('"') != "utf-8"
        {
            return Err(RequestFault::MediaType.into());
        }
    }
    Ok(essence)
}

/// Demands `application/json`.
///
/// # Errors
/// `media-type`.
pub fn demand_json(headers: &HeaderMap) -> Result<(), Fault> {
    if media_type(headers)? == wire::JSON {
        Ok(())
    } else {
        Err(RequestFault::MediaType.into())
    }
}

/// The first of these media types that `Accept` names; the first of all where it names none of them.
pub fn accepts_first<'a>(headers: &HeaderMap, known: &[&'a str]) -> &'a str {
    let values = headers.get_all(header::ACCEPT).iter();
    let named = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .map(str::trim);
    let mut asked = named.filter_map(|range| {
        let same = |media_type: &&&str| media_type.eq_ignore_ascii_case(range);
        known.iter().find(same).copied()
    });
    asked
        .next()
        .or_else(|| known.first().copied())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use axum::http::HeaderValue;
    use futures::stream;

    use super::*;

    fn budget(kib: usize) -> Budget {
        Budget {
            memory: Arc::new(Semaphore::new(kib)),
            deadline: Duration::from_millis(20),
        }
    }

    #[tokio::test]
    async fn bodies_are_bounded() {
        let budget = budget(8);
        let fits = budget.read(Body::from(vec![0; 1000]), 1000).await;
        assert_eq!(fits.map(|read| read.bytes.len()).unwrap(), 1000);
        let announced = budget.read(Body::from(vec![0; 1001]), 1000).await;
        assert_eq!(announced.err(), Some(RequestFault::TooLarge.into()));
        let chunks =
            stream::iter((0..5).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![0; 300]))));
        let streamed = budget.read(Body::from_stream(chunks), 1000).await;
        assert_eq!(streamed.err(), Some(RequestFault::TooLarge.into()));
        let broken = stream::iter([Err::<Bytes, _>(std::io::Error::other("gone"))]);
        let broken = budget.read(Body::from_stream(broken), 1000).await;
        assert_eq!(broken.err(), Some(RequestFault::Body.into()));
        let silent = stream::pending::<Result<Bytes, std::io::Error>>();
        let silent = budget.read(Body::from_stream(silent), 1000).await;
        assert_eq!(silent.err(), Some(RequestFault::Body.into()));
    }

    #[tokio::test]
    async fn bodies_share_the_memory() {
        let budget = budget(3);
        let first = budget.read(Body::from(vec![0; 2000]), 4000).await.unwrap();
        let second = budget.read(Body::from(vec![0; 2000]), 4000).await;
        assert_eq!(second.err(), Some(Fault::Overloaded));
        drop(first);
        assert!(budget.read(Body::from(vec![0; 2000]), 4000).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_holds_next_to_nothing() {
        let budget = Budget {
            deadline: Duration::from_secs(60),
            ..budget(3)
        };
        let silent = stream::pending::<Result<Bytes, std::io::Error>>();
        let mut silent = Box::pin(budget.read(Body::from_stream(silent), BATCH_BYTES_MAX));
        assert!(futures::poll!(silent.as_mut()).is_pending());
        assert!(budget.read(Body::from(vec![0; 2000]), 4000).await.is_ok());
    }

    #[test]
    fn media_types() {
        let table = [
            (Some("application/json"), true),
            (Some("Application/JSON; charset=UTF-8"), true),
            (Some("application/json; charset=latin1"), false),
            (Some("text/json"), false),
            (Some("application/jsonx"), false),
            (None, false),
        ];
        for (value, taken) in table {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
            }
            assert_eq!(demand_json(&headers).is_ok(), taken, "{value:?}");
        }
    }
}
