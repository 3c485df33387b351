// SPDX-License-Identifier: EUPL-1.2
//! Places for exports that are made or sent: few on a node, and fewer for one institution, so that nobody's citizens wait behind another's.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ledger::id::InstitutionId;
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::problem::Fault;

/// Most exports at a time on a node: each may have a file of a gigabyte on the disk until its last byte left.
const PLACES: usize = 8;
/// Most of one institution.
const PLACES_EACH: usize = 3;

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
}
