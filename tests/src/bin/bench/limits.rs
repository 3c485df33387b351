// SPDX-License-Identifier: EUPL-1.2
//! What no ledger on this machine can pass: how fast signatures are verified, and how fast the disk says that bytes are safe.

use std::{
    fs::OpenOptions,
    io::Write,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use ::tests::world;

use crate::stats::Latency;

/// Strict Ed25519 verifications a second on so many threads at once, over messages of an entry's size.
pub(crate) fn verify_rate(duration: Duration, threads: usize) -> f64 {
    let key = world::key(world::VOGHERA, "entry");
    let signed: Vec<(Vec<u8>, [u8; 64])> = (0..64_u8)
        .map(|number| {
            let message = vec![number; 1_000];
            let signature = key.sign(&message);
            (message, signature)
        })
        .collect();
    let public = key.public();
    let start = Instant::now();
    let verified: u64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut count = 0;
                    while start.elapsed() < duration {
                        for (message, signature) in &signed {
                            public.verify(message, signature).expect("a good signature");
                        }
                        count += signed.len() as u64;
                    }
                    count
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    verified as f64 / start.elapsed().as_secs_f64()
}

/// Appends so many bytes to a file again and again, each time with `fdatasync`: how often a second, and how long each took.
pub(crate) fn fdatasync(
    folder: &Path,
    bytes: usize,
    duration: Duration,
) -> std::io::Result<(f64, Latency)> {
    let path = folder.join(format!("fdatasync-{bytes}"));
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    let block = vec![0x5a; bytes];
    let (start, mut latencies) = (Instant::now(), Vec::new());
    while start.elapsed() < duration {
        let begin = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        latencies.push(begin.elapsed());
    }
    let per_s = latencies.len() as f64 / start.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok((per_s, Latency::of(latencies)))
}
