// SPDX-License-Identifier: EUPL-1.2
//! The node's part in pseudonyms: the keys that it holds, whether it may evaluate with them, and who had how many codes evaluated.
//!
//! A node evaluates only with a key that the ledger names: with another one every answer would be caught by its asker, so it says so itself and
//! answers nothing. Whoever may ask can try codes one by one; that cannot be prevented, so it is slowed, counted, and told above a threshold.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use ledger::{
    id::InstitutionId,
    oprf::{Element, Evaluation, OprfPublicKey, OprfSecretKey},
};
use parking_lot::Mutex;
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    app::{blocking, now_ms},
    config::Limits,
    limits::Buckets,
    observe::Notes,
    problem::Fault,
};

/// Why this node does not evaluate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unserved {
    /// The ledger names no key: refs are not evaluated by its nodes.
    NotHere,
    /// The node was given no key.
    NoKey,
    /// The node was given another key than the ledger names.
    AnotherKey,
}

impl fmt::Display for Unserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unserved::NotHere => "this ledger names no key of pseudonyms",
            Unserved::NoKey => "this node was given no key of pseudonyms",
            Unserved::AnotherKey => {
                "this node holds another key of pseudonyms than the ledger names"
            }
        })
    }
}

/// The keys of this node, and what they were used for.
pub struct Pseudonyms {
    keys: Vec<Arc<OprfSecretKey>>,
    rate: Buckets<InstitutionId>,
    alarm_per_hour: u64,
    since_ms: u64,
    asked: Mutex<BTreeMap<InstitutionId, Asked>>,
    /// Evaluations under way.
    running: Arc<Semaphore>,
    /// How the node stood when it was last looked at: a change goes to the log.
    stood: Mutex<Option<Result<OprfPublicKey, Unserved>>>,
}

/// What one institution had evaluated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Since the start.
    pub total: u64,
    /// In the hour that runs.
    pub this_hour: u64,
    /// Hours above the threshold.
    pub alarms: u64,
    /// Which hour runs: hours since the epoch.
    hour: u64,
}

impl Pseudonyms {
    /// A node that holds these keys.
    pub fn new(keys: Vec<OprfSecretKey>, limits: &Limits) -> Pseudonyms {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Pseudonyms {
            keys: keys.into_iter().map(Arc::new).collect(),
            rate: Buckets::new(limits.pseudonyms_per_second, limits.pseudonyms_burst),
            alarm_per_hour: limits.pseudonyms_alarm_per_hour.into(),
            since_ms: now_ms(),
            asked: Mutex::default(),
            running: Arc::new(Semaphore::new(cores)),
            stood: Mutex::default(),
        }
    }

    /// The key in force if this node evaluates with it, given all that the ledger ever named. A change is logged.
    ///
    /// # Errors
    /// Why it does not.
    pub fn standing(&self, named: &[OprfPublicKey]) -> Result<OprfPublicKey, Unserved> {
        let standing = match named.last() {
            None => Err(Unserved::NotHere),
            Some(_) if self.keys.is_empty() => Err(Unserved::NoKey),
            Some(key) if self.held(key).is_none() => Err(Unserved::AnotherKey),
            Some(key) => Ok(*key),
        };
        let before = self.stood.lock().replace(standing);
        if before != Some(standing) {
            match standing {
                Ok(_) => tracing::info!("pseudonyms are evaluated with the key in force"),
                Err(Unserved::NotHere) => {}
                Err(cause) => tracing::error!(%cause, "no pseudonyms are evaluated"),
            }
        }
        standing
    }

    /// The key of an epoch if this node holds it.
    ///
    /// # Errors
    /// Why it may not be evaluated with.
    pub fn key(
        &self,
        named: &[OprfPublicKey],
        wanted: Option<&OprfPublicKey>,
    ) -> Result<Arc<OprfSecretKey>, Unserved> {
        let in_force = self.standing(named)?;
        let wanted = wanted.unwrap_or(&in_force);
        if !named.contains(wanted) {
            return Err(Unserved::AnotherKey);
        }
        self.held(wanted).cloned().ok_or(Unserved::AnotherKey)
    }

    fn held(&self, public: &OprfPublicKey) -> Option<&Arc<OprfSecretKey>> {
        self.keys.iter().find(|key| key.public() == *public)
    }

    /// Charges an institution for so many elements.
    ///
    /// # Errors
    /// It is too fast.
    pub fn charge(
        &self,
        institution: &InstitutionId,
        elements: usize,
        notes: &Notes,
    ) -> Result<(), Fault> {
        let cost = u32::try_from(elements).unwrap_or(u32::MAX);
        let taken = self.rate.take(institution.clone(), cost, Instant::now());
        match taken {
            Ok(quota) => {
                notes.quota(quota);
                Ok(())
            }
            Err(fast) => {
                notes.quota(fast.quota);
                Err(Fault::TooFast(fast))
            }
        }
    }

    /// Reads the elements and evaluates them off the async threads, no more questions at once than there are cores.
    ///
    /// # Errors
    /// Those of reading; `overloaded` if others are before it for too long.
    pub async fn evaluate(
        &self,
        key: Arc<OprfSecretKey>,
        patience: Duration,
        read: impl FnOnce() -> Result<Vec<Element>, Fault> + Send + 'static,
    ) -> Result<Evaluation, Fault> {
        let waiting = Arc::clone(&self.running).acquire_owned();
        let permit = timeout(patience, waiting)
            .await
            .map_err(|_| Fault::Overloaded)?
            .map_err(|_| Fault::ShuttingDown)?;
        blocking(move || {
            // Held by the work itself: whoever asked may be gone while it still runs.
            let _permit = permit;
            let mut random = [0; 32];
            getrandom::fill(&mut random).map_err(Fault::internal)?;
            key.evaluate(&read()?, &random).map_err(Fault::internal)
        })
        .await
    }

    /// Counts what an institution was given.
    pub fn count(&self, institution: &InstitutionId, elements: usize, at_ms: u64) {
        let elements = u64::try_from(elements).unwrap_or(u64::MAX);
        let mut asked = self.asked.lock();
        let alarmed = asked.entry(institution.clone()).or_default().add(
            elements,
            at_ms / HOUR_MS,
            self.alarm_per_hour,
        );
        drop(asked);
        if alarmed {
            tracing::warn!(
                institution = institution.as_str(),
                threshold = self.alarm_per_hour,
                "an institution had unusually many codes evaluated within an hour: are codes being tried?"
            );
        }
        let institution = institution.as_str().to_owned();
        metrics::counter!("visto_pseudonyms_evaluated_total", "institution" => institution)
            .increment(elements);
    }

    /// What each institution had evaluated, as of a time.
    pub fn asked(&self, at_ms: u64) -> BTreeMap<InstitutionId, Asked> {
        let mut asked = self.asked.lock().clone();
        for counts in asked.values_mut() {
            counts.turn(at_ms / HOUR_MS);
        }
        asked
    }

    /// Since when it counts, milliseconds since the epoch.
    pub fn since_ms(&self) -> u64 {
        self.since_ms
    }

    /// Most evaluations an hour that raise no alarm.
    pub fn alarm_per_hour(&self) -> u64 {
        self.alarm_per_hour
    }
}

impl Asked {
    /// Adds to the counts; whether this is what crossed the threshold.
    fn add(&mut self, elements: u64, hour: u64, threshold: u64) -> bool {
        self.turn(hour);
        let before = self.this_hour;
        self.total = self.total.saturating_add(elements);
        self.this_hour = before.saturating_add(elements);
        let alarmed = before <= threshold && self.this_hour > threshold;
        self.alarms += u64::from(alarmed);
        alarmed
    }

    /// A clock that goes back begins no new hour: that would forget what was counted.
    fn turn(&mut self, hour: u64) {
        if hour > self.hour {
            self.hour = hour;
            self.this_hour = 0;
        }
    }
}

const HOUR_MS: u64 = 3_600_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn key(seed: u8) -> OprfSecretKey {
        OprfSecretKey::derive(&[seed; 32]).unwrap()
    }

    #[test]
    fn only_keys_that_the_ledger_names_are_used() {
        let [old, new, foreign] = [1, 2, 3].map(|seed| key(seed).public());
        let holding = |seeds: &[u8]| {
            Pseudonyms::new(
                seeds.iter().map(|seed| key(*seed)).collect(),
                &Limits::default(),
            )
        };
        assert_eq!(holding(&[1]).standing(&[]), Err(Unserved::NotHere));
        assert_eq!(holding(&[]).standing(&[old]), Err(Unserved::NoKey));
        assert_eq!(holding(&[3]).standing(&[old]), Err(Unserved::AnotherKey));
        assert_eq!(holding(&[1]).standing(&[old]), Ok(old));
        // The epoch changed and the node was not given the new key: it stops evaluating with the old one too.
        let left_behind = holding(&[1]);
        assert_eq!(left_behind.standing(&[old, new]), Err(Unserved::AnotherKey));
        assert!(left_behind.key(&[old, new], Some(&old)).is_err());
        let both = holding(&[2, 1]);
        let public =
            |wanted: Option<&OprfPublicKey>| both.key(&[old, new], wanted).map(|key| key.public());
        assert_eq!(public(None), Ok(new));
        assert_eq!(public(Some(&old)), Ok(old));
        assert_eq!(public(Some(&foreign)), Err(Unserved::AnotherKey));
        // Held, but never named: not used.
        assert!(holding(&[1, 3]).key(&[old], Some(&foreign)).is_err());
    }

    #[test]
    fn the_alarm_is_raised_once_an_hour_and_counted() {
        let mut asked = Asked::default();
        assert!(!asked.add(10, 5, 10), "at the threshold");
        assert!(asked.add(1, 5, 10), "over it");
        assert!(!asked.add(100, 5, 10), "told already");
        assert!(!asked.add(10, 6, 10), "a new hour");
        assert!(!asked.add(0, 5, 10), "a clock that goes back");
        assert!(asked.add(1, 6, 10));
        let expected = (122, 11, 2);
        assert_eq!((asked.total, asked.this_hour, asked.alarms), expected);
    }
}
