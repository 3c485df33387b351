// SPDX-License-Identifier: EUPL-1.2
//! What the machine says of itself and of the nodes: verification rate, CPU seconds by thread, memory, disk.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use tests::{cluster::Cluster, world};

/// Clock ticks a second in /proc (USER_HZ, the same on every Linux).
const TICKS_PER_S: f64 = 100.0;

/// CPU seconds by who spent them.
pub(crate) type Cpu = BTreeMap<String, f64>;

/// Strict Ed25519 verifications a second, on all cores at once, over messages of an entry's size.
pub(crate) fn verify_rate(duration: Duration) -> f64 {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let key = world::key(world::VOGHERA, "entry");
    let signed: Vec<(Vec<u8>, [u8; 64])> = (0..64)
        .map(|number| {
            let entry = world::access(&world::person(&number.to_string()));
            let signature = key.sign(&entry.pae);
            (entry.pae, signature)
        })
        .collect();
    let public = key.public();
    let start = Instant::now();
    let verified: u64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..cores)
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

/// CPU seconds so far: of the nodes by the names of their threads, and of this load generator.
pub(crate) fn cpu_seconds(cluster: &Cluster) -> Cpu {
    let mut cpu = Cpu::new();
    for pid in cluster.nodes.values().filter_map(tests::node::Node::pid) {
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
            continue;
        };
        for thread in threads.flatten() {
            if let Some((name, seconds)) = fs::read_to_string(thread.path().join("stat"))
                .ok()
                .and_then(|stat| parse_stat(&stat))
            {
                // Threads of one kind differ by a number at the end.
                let kind = name.trim_end_matches(|c: char| {
                    c.is_ascii_digit() || matches!(c, '-' | '_' | ':' | '#')
                });
                *cpu.entry(format!("node: {kind}")).or_default() += seconds;
            }
        }
    }
    if let Some((_, seconds)) = fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|stat| parse_stat(&stat))
    {
        cpu.insert("load generator".into(), seconds);
    }
    cpu
}

/// What was spent between two readings.
pub(crate) fn difference(before: &Cpu, after: &Cpu) -> Cpu {
    after
        .iter()
        .map(|(who, seconds)| {
            (
                who.clone(),
                seconds - before.get(who).copied().unwrap_or_default(),
            )
        })
        .collect()
}

/// Resident memory of a process, MiB.
pub(crate) fn resident_mib(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

/// Bytes that a folder takes on the disk: blocks, not lengths, so that preallocated files count for what they take.
pub(crate) fn bytes_on_disk(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_on_disk(&entry.path()),
            Ok(metadata) => metadata.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

/// Name and CPU seconds from a line of /proc/…/stat.
fn parse_stat(stat: &str) -> Option<(String, f64)> {
    let (head, rest) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // utime and stime are the 14th and 15th fields of the line, the 12th and 13th after the name.
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some((name, ticks / TICKS_PER_S))
}
