// SPDX-License-Identifier: EUPL-1.2
//! Places for exports, and other answers in files, that are made or sent: few on a node, and fewer for one institution, so that nobody's citizens wait behind another's.

use std::{collections::HashMap, fs::File, future::ready, io, sync::Arc, time::Duration};

use axum::body::Body;
use futures::{StreamExt, stream};
use ledger::id::InstitutionId;
use parking_lot::Mutex;
use tokio::{
    io::AsyncRead,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::io::ReaderStream;

use crate::problem::Fault;

/// Most exports at a time on a node: each may have a file of a gigabyte on the disk until its last byte left.
const PLACES: usize = 8;
/// Most of one institution.
const PLACES_EACH: usize = 3;
/// Bytes of a file that are read and sent at a time. Each read is handed to a thread that may wait for the disk and back, which costs more than
/// to read a few kilobytes.
const CHUNK_BYTES: usize = 256 * 1024;

/// The places of a node.
pub struct Places {
    all: Arc<Semaphore>,
    each: Arc<Mutex<HashMap<InstitutionId, usize>>>,
    patience: Duration,
}

/// A place that is taken, until this is dropped.
pub struct Place {
    _permit: OwnedSemaphorePermit,
    each: Arc<Mutex<HashMap<InstitutionId, usize>>>,
    institution: InstitutionId,
}

impl Places {
    /// Free places; who comes when all are taken waits so long.
    pub fn new(patience: Duration) -> Places {
        Places {
            all: Arc::new(Semaphore::new(PLACES)),
            each: Arc::default(),
            patience,
        }
    }

    /// Takes a place for an institution.
    ///
    /// # Errors
    /// `overloaded` if the institution has all of its own, or others are before it for too long.
    pub async fn take(&self, institution: &InstitutionId) -> Result<Place, Fault> {
        let waiting = Arc::clone(&self.all).acquire_owned();
        let permit = timeout(self.patience, waiting)
            .await
            .map_err(|_| Fault::Overloaded)?
            .map_err(|_| Fault::ShuttingDown)?;
        let mut each = self.each.lock();
        let taken = each.entry(institution.clone()).or_default();
        if *taken >= PLACES_EACH {
            return Err(Fault::Overloaded);
        }
        *taken += 1;
        Ok(Place {
            _permit: permit,
            each: Arc::clone(&self.each),
            institution: institution.clone(),
        })
    }
}

impl Place {
    /// A file of this length as a body; the place is taken until the last byte left. A file that ends before, or cannot be read, ends the
    /// body with an error: the listener then breaks the answer off, and nobody takes what came for the whole.
    pub fn send(self, file: File, length: u64) -> Body {
        self.send_from(tokio::fs::File::from_std(file), length)
    }

    fn send_from(self, file: impl AsyncRead + Send + 'static, length: u64) -> Body {
        let mut left = length;
        let chunks = ReaderStream::with_capacity(file, CHUNK_BYTES).map(Some);
        let to_the_end = chunks.chain(stream::iter([None]));
        Body::from_stream(to_the_end.filter_map(move |chunk| {
            let _place = &self;
            if let Some(Ok(bytes)) = &chunk {
                left = left.saturating_sub(bytes.len() as u64);
            }
            let early = || Err(io::ErrorKind::UnexpectedEof.into());
            ready(chunk.or_else(|| (left > 0).then(early)))
        }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut each = self.each.lock();
        if let Some(taken) = each.get_mut(&self.institution) {
            *taken = taken.saturating_sub(1);
            if *taken == 0 {
                each.remove(&self.institution);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{Seek, Write};

    use axum::body::Bytes;
    use http_body_util::BodyExt;
    use tokio_util::io::StreamReader;

    use super::*;

    #[tokio::test]
    async fn one_institution_does_not_take_all_places() {
        let places = Places::new(Duration::ZERO);
        let institution = |id: &str| InstitutionId::parse(id).unwrap();
        let mut taken = Vec::new();
        for _ in 0..PLACES_EACH {
            taken.push(places.take(&institution("ipa:a")).await.unwrap());
        }
        let more = places.take(&institution("ipa:a")).await;
        assert_eq!(more.err(), Some(Fault::Overloaded));
        for other in ["ipa:b", "ipa:b", "ipa:b", "ipa:c", "ipa:c"] {
            taken.push(places.take(&institution(other)).await.unwrap());
        }
        let full = places.take(&institution("ipa:d")).await;
        assert_eq!(full.err(), Some(Fault::Overloaded));
        taken.remove(0);
        assert!(places.take(&institution("ipa:a")).await.is_ok());
        drop(taken);
        assert!(places.each.lock().is_empty());
    }

    #[tokio::test]
    async fn a_file_is_sent_in_few_pieces_and_holds_its_place_meanwhile() {
        let places = Places::new(Duration::ZERO);
        let institution = InstitutionId::parse("ipa:a").unwrap();
        let bytes: Vec<u8> = (0..3 * CHUNK_BYTES + 7).map(|at| at as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        file.rewind().unwrap();
        let mut body = places
            .take(&institution)
            .await
            .unwrap()
            .send(file, bytes.len() as u64);
        let (mut sent, mut pieces) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            assert_eq!(places.each.lock().get(&institution), Some(&1));
            sent.extend(frame.unwrap().into_data().unwrap());
            pieces += 1;
        }
        drop(body);
        assert!(places.each.lock().is_empty());
        assert!(sent == bytes);
        assert!(pieces <= 4 + 1, "{pieces} pieces");
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_sent_whole_ends_with_an_error() {
        let places = Places::new(Duration::ZERO);
        let institution = InstitutionId::parse("ipa:a").unwrap();
        let piece = || Ok(Bytes::from(vec![7; CHUNK_BYTES]));
        let broken = || Err(io::Error::other("the disk is broken"));
        for (case, (pieces, whole)) in [
            (vec![piece(), piece()], true),
            (vec![piece()], false),
            (vec![], false),
            (vec![piece(), broken()], false),
            (vec![piece(), broken(), piece()], false),
        ]
        .into_iter()
        .enumerate()
        {
            let file = StreamReader::new(stream::iter(pieces));
            let place = places.take(&institution).await.unwrap();
            let body = place.send_from(file, 2 * CHUNK_BYTES as u64);
            assert_eq!(body.collect().await.is_ok(), whole, "case {case}");
            assert!(places.each.lock().is_empty());
        }
    }
}
