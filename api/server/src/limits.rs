// SPDX-License-Identifier: EUPL-1.2
//! How fast one client may go: a token bucket per client address and one per institution.
//!
//! Buckets live in memory and per node: a client that spreads its calls over three nodes gets three times the rate. That is fine, the
//! point is that nobody starves the others on a node.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// Most buckets kept; clients beyond share one, so that a flood of addresses costs neither memory nor the known clients' share.
const BUCKETS_MAX: usize = 65_536;

/// What a client may still do; goes into the `X-RateLimit-*` headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Requests (or entries) that a full bucket holds.
    pub limit: u32,
    /// Left now.
    pub remaining: u32,
    /// Seconds until the bucket is full again.
    pub reset_seconds: u32,
}

/// Too fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFast {
    /// As it stands.
    pub quota: Quota,
    /// Seconds after which the same call would pass.
    pub retry_after_seconds: u32,
}

/// Token buckets by key.
pub struct Buckets<K> {
    per_second: u32,
    burst: u32,
    buckets: Mutex<HashMap<Option<K>, Bucket>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    /// Millionths of a token.
    micro: u64,
    filled_at: Instant,
}

const MICRO: u64 = 1_000_000;

impl<K: Hash + Eq + Clone> Buckets<K> {
    /// Buckets that hold `burst` tokens and fill with `per_second`; both at least 1.
    pub fn new(per_second: u32, burst: u32) -> Buckets<K> {
        Buckets {
            per_second: per_second.max(1),
            burst: burst.max(1),
            buckets: Mutex::new(HashMap::new()),
        }
    }

    /// Takes `cost` tokens out of the client's bucket. A cost above the burst is taken as the burst: a batch that no bucket could ever hold
    /// passes when the bucket is full.
    ///
    /// # Errors
    /// The bucket holds fewer; nothing was taken. The client waits `retry_after_seconds`.
    pub fn take(&self, key: K, cost: u32, now: Instant) -> Result<Quota, TooFast> {
        let cost = u64::from(cost.min(self.burst)) * MICRO;
        self.with_bucket(key, now, |bucket| {
            if bucket.micro >= cost {
                bucket.micro -= cost;
                return Ok(self.quota(bucket.micro));
            }
            let missing = cost - bucket.micro;
            Err(TooFast {
                quota: self.quota(bucket.micro),
                retry_after_seconds: self.seconds_for(missing).max(1),
            })
        })
    }

    /// Takes up to `cost` tokens, as many as there are: for work that showed only afterwards how much it was.
    pub fn drain(&self, key: K, cost: u32, now: Instant) -> Quota {
        let cost = u64::from(cost) * MICRO;
        self.with_bucket(key, now, |bucket| {
            bucket.micro = bucket.micro.saturating_sub(cost);
            self.quota(bucket.micro)
        })
    }

    /// Gives back `cost` tokens that [`Buckets::take`] took for work that was not done.
    pub fn give_back(&self, key: K, cost: u32, now: Instant) {
        let cost = u64::from(cost.min(self.burst)) * MICRO;
        self.with_bucket(key, now, |bucket| {
            bucket.micro = bucket.micro.saturating_add(cost).min(self.full());
        });
    }

    fn with_bucket<T>(&self, key: K, now: Instant, work: impl FnOnce(&mut Bucket) -> T) -> T {
        let full = self.full();
        let mut buckets = self.buckets.lock();
        let mut key = Some(key);
        if buckets.len() >= BUCKETS_MAX && !buckets.contains_key(&key) {
            // A bucket that would be full by now is the same as none.
            buckets.retain(|_, bucket| self.filled(bucket, now) < full);
            if buckets.len() >= BUCKETS_MAX {
                key = None;
            }
        }
        let bucket = buckets.entry(key).or_insert(Bucket {
            micro: full,
            filled_at: now,
        });
        bucket.micro = self.filled(bucket, now);
        // Callers take their time before the lock, so it may be older than what the one before noted.
        bucket.filled_at = bucket.filled_at.max(now);
        work(bucket)
    }

    fn full(&self) -> u64 {
        u64::from(self.burst) * MICRO
    }

    fn filled(&self, bucket: &Bucket, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(bucket.filled_at);
        let gained = micros(elapsed).saturating_mul(u64::from(self.per_second));
        bucket.micro.saturating_add(gained).min(self.full())
    }

    fn quota(&self, micro: u64) -> Quota {
        let full = self.full();
        Quota {
            limit: self.burst,
            remaining: u32::try_from(micro / MICRO).unwrap_or(u32::MAX),
            reset_seconds: self.seconds_for(full - micro.min(full)),
        }
    }

    fn seconds_for(&self, micro: u64) -> u32 {
        let per_second = u64::from(self.per_second) * MICRO;
        u32::try_from(micro.div_ceil(per_second)).unwrap_or(u32::MAX)
    }
}

/// The part of a client's address that is limited: an IPv4 address, or the /64 of an IPv6 one, since whoever has one address of a /64 has all.
pub fn client_prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_bucket_empties_refuses_and_fills_again() {
        let buckets = Buckets::new(2, 4);
        let start = Instant::now();
        for remaining in [3, 2, 1, 0] {
            assert_eq!(
                buckets.take("a", 1, start).map(|quota| quota.remaining),
                Ok(remaining)
            );
        }
        let refused = buckets.take("a", 1, start).expect_err("empty");
        assert_eq!(
            refused.quota,
            Quota {
                limit: 4,
                remaining: 0,
                reset_seconds: 2
            }
        );
        assert_eq!(refused.retry_after_seconds, 1);
        assert!(
            buckets.take("b", 1, start).is_ok(),
            "another client has its own"
        );
        let later = start + Duration::from_millis(500);
        assert!(
            buckets.take("a", 1, later).is_ok(),
            "half a second brings one"
        );
        assert!(buckets.take("a", 1, later).is_err());
        let full = start + Duration::from_secs(60);
        assert_eq!(
            buckets.take("a", 1, full).map(|quota| quota.remaining),
            Ok(3)
        );
    }

    #[test]
    fn a_cost_beyond_the_burst_waits_for_a_full_bucket() {
        let buckets = Buckets::new(10, 100);
        let start = Instant::now();
        assert!(buckets.take("a", 1_000, start).is_ok());
        let refused = buckets.take("a", 1_000, start).expect_err("empty");
        assert_eq!(refused.retry_after_seconds, 10);
        assert!(
            buckets
                .take("a", 1_000, start + Duration::from_secs(10))
                .is_ok()
        );
    }

    #[test]
    fn what_a_call_cost_is_taken_afterwards_and_what_it_did_not_is_given_back() {
        let buckets = Buckets::new(1, 10);
        let start = Instant::now();
        assert_eq!(buckets.drain("a", 4, start).remaining, 6);
        assert_eq!(buckets.drain("a", 100, start).remaining, 0);
        assert!(buckets.take("a", 1, start).is_err());
        buckets.give_back("a", 3, start);
        assert!(buckets.take("a", 3, start).is_ok());
        buckets.give_back("a", 1_000, start);
        assert_eq!(
            buckets.take("a", 1, start).map(|quota| quota.remaining),
            Ok(9),
            "never more than full"
        );
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_gives_nothing() {
        let buckets = Buckets::new(1, 1);
        let start = Instant::now() + Duration::from_secs(5);
        assert!(buckets.take("a", 1, start).is_ok());
        assert!(
            buckets
                .take("a", 1, start - Duration::from_secs(2))
                .is_err()
        );
    }

    #[test]
    fn a_flood_of_clients_shares_one_bucket() {
        let buckets = Buckets::new(1, 2);
        let start = Instant::now();
        for client in 0..BUCKETS_MAX {
            assert!(buckets.take(client, 1, start).is_ok());
        }
        assert!(buckets.take(BUCKETS_MAX, 1, start).is_ok());
        assert!(buckets.take(BUCKETS_MAX + 1, 1, start).is_ok());
        assert!(
            buckets.take(BUCKETS_MAX + 2, 1, start).is_err(),
            "the shared bucket is empty"
        );
        assert!(
            buckets.take(7, 1, start).is_ok(),
            "a known client keeps its own"
        );
        assert!(buckets.buckets.lock().len() <= BUCKETS_MAX + 1);
    }

    #[test]
    fn addresses_of_one_site_are_one_client() {
        let a: IpAddr = "2001:db8:1:2:3:4:5:6".parse().unwrap();
        let b: IpAddr = "2001:db8:1:2::9".parse().unwrap();
        assert_eq!(client_prefix(a), client_prefix(b));
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(
            client_prefix(mapped),
            "192.0.2.1".parse::<IpAddr>().unwrap()
        );
    }
}
