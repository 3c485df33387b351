// SPDX-License-Identifier: EUPL-1.2
//! The sizes and times that bound a batch, a round and a queue: read from where `cluster` says them, so that the model follows the code.
//! (This package may not name `cluster`, which it tests from outside.)

use serde_json::{Value, json};

use crate::engine::{Time, ns};

const FACE: &str = include_str!("../../../../cluster/src/face.rs");
const PROPOSE: &str = include_str!("../../../../cluster/src/propose.rs");
const OPEN: &str = include_str!("../../../../cluster/src/node/open.rs");
const VERIFY: &str = include_str!("../../../../cluster/src/store/verify.rs");

/// What bounds the way of an entry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limits {
    /// Entries and bytes of one raft_entry.
    pub(crate) batch_entries_max: u32,
    pub(crate) batch_bytes_max: u64,
    /// raft_entries under way at once, when all but the last are full.
    pub(crate) in_flight_max: u32,
    /// Entries that wait or are under way at the leader.
    pub(crate) queue_entries_max: u64,
    /// raft_entries in one append to a follower.
    pub(crate) append_entries_max: usize,
    /// Entries verified in one go.
    pub(crate) verify_chunk: u32,
    /// From the start of one round of publishing to the next, at least.
    pub(crate) publish_interval: Time,
    /// So long at most a round waits for entries that are under way.
    pub(crate) publish_gather: Time,
    /// Seconds between two state roots, at least, however many ask for one.
    pub(crate) fold_pause: f64,
}

impl Limits {
    /// As the code has them.
    ///
    /// # Errors
    /// Which one the code does not say any more.
    pub(crate) fn of_the_code() -> Result<Limits, String> {
        let millis = |words| Ok::<_, String>(ns(number(FACE, words)? as f64 / 1000.0));
        Ok(Limits {
            batch_entries_max: number(FACE, "batch_entries_max: ")? as u32,
            batch_bytes_max: number(FACE, "batch_bytes_max: ")?,
            in_flight_max: number(PROPOSE, "const IN_FLIGHT_MAX: usize = ")? as u32,
            queue_entries_max: number(FACE, "queue_entries_max: ")?,
            append_entries_max: number(OPEN, "max_payload_entries: ")? as usize,
            verify_chunk: number(VERIFY, "const CHUNK: usize = ")? as u32,
            publish_interval: millis("publish_interval: Duration::from_millis(")?,
            publish_gather: millis("publish_gather: Duration::from_millis(")?,
            fold_pause: number(FACE, "fold_pause: Duration::from_secs(")? as f64,
        })
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "batch_entries_max": self.batch_entries_max,
            "batch_bytes_max": self.batch_bytes_max,
            "batches_in_flight_max": self.in_flight_max,
            "queue_entries_max": self.queue_entries_max,
            "append_raft_entries_max": self.append_entries_max,
            "verify_chunk": self.verify_chunk,
            "publish_interval_ms": self.publish_interval as f64 / 1e6,
            "publish_gather_ms": self.publish_gather as f64 / 1e6,
            "fold_pause_s": self.fold_pause,
        })
    }
}

/// The number that stands behind the first such words that a number follows; a product is multiplied out.
fn number(code: &str, words: &str) -> Result<u64, String> {
    code.match_indices(words)
        .find_map(|(at, _)| {
            let rest = &code[at + words.len()..];
            let end = rest.find([',', ';', ')', '\n'])?;
            rest[..end]
                .split('*')
                .map(|factor| factor.trim().replace('_', "").parse::<u64>().ok())
                .product::<Option<u64>>()
        })
        .filter(|number| *number > 0)
        .ok_or_else(|| {
            format!(
                "the code does not say “{words}” and a number any more: say in {} what bounds it now",
                file!()
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_stand_in_code() {
        let code = "pub size: usize,\n size: 256 * 1_024,\n time: from_millis(5),\n none: 0,";
        assert_eq!(number(code, "size: "), Ok(262_144));
        assert_eq!(number(code, "time: from_millis("), Ok(5));
        for missing in ["none: ", "absent: "] {
            assert!(number(code, missing).is_err(), "{missing}");
        }
    }

    #[test]
    fn the_code_says_all_of_them() {
        let limits = Limits::of_the_code().unwrap();
        assert!(limits.batch_entries_max >= 1 && limits.queue_entries_max >= 1_000);
        assert!(limits.publish_interval < ns(1.0));
    }
}
