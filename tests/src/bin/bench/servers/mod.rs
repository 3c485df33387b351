// SPDX-License-Identifier: EUPL-1.2
//! The servers that are measured: the peers, each as its makers ship it with its own fsync on, and Visto.

pub(crate) mod etcd;
pub(crate) mod grpc;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod visto;

use std::sync::LazyLock;

/// Bytes of a value in etcd and of a row's payload in PostgreSQL.
pub(crate) const PAYLOAD_BYTES: usize = 1_000;

/// A payload of that number: random, so that nothing compresses it, and cut out of one pool, so that making it costs next to nothing.
pub(crate) fn payload(number: u64) -> [u8; PAYLOAD_BYTES] {
    static POOL: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut pool = vec![0; 1 << 20];
        getrandom::fill(&mut pool).expect("randomness");
        pool
    });
    let span = (POOL.len() - PAYLOAD_BYTES) as u64;
    let at = (number.wrapping_mul(2_654_435_761) % span) as usize;
    let mut payload = [0; PAYLOAD_BYTES];
    payload.copy_from_slice(&POOL[at..at + PAYLOAD_BYTES]);
    // No two are the same.
    payload[..8].copy_from_slice(&number.to_be_bytes());
    payload
}
