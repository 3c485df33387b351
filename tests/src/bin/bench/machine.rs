// SPDX-License-Identifier: EUPL-1.2
//! What the machine says of itself and of the processes: CPU seconds, memory, disk, and what kind of machine it is.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use ::tests::{cluster::Cluster, figures, wait};
use serde_json::{Value, json};

/// Clock ticks a second in /proc (USER_HZ, the same on every Linux).
const TICKS_PER_S: f64 = 100.0;

/// CPU seconds by who spent them.
pub(crate) type Cpu = BTreeMap<String, f64>;

/// CPU seconds so far: of the nodes by the names of their threads, and of this load generator.
pub(crate) fn cpu_seconds(cluster: &Cluster) -> Cpu {
    let mut cpu = Cpu::new();
    for pid in cluster.nodes.values().filter_map(::tests::node::Node::pid) {
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
    cpu.insert("load generator".into(), own_cpu_seconds());
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

/// Cores that this program may use.
pub(crate) fn cores() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |cores| usize::from(cores) as f64)
}

/// CPU seconds of this load generator so far.
pub(crate) fn own_cpu_seconds() -> f64 {
    process_cpu_seconds("self")
}

/// CPU seconds of a process so far.
pub(crate) fn process_cpu_seconds(process: &str) -> f64 {
    fs::read_to_string(format!("/proc/{process}/stat"))
        .ok()
        .and_then(|stat| parse_stat(&stat))
        .map_or(0.0, |(_, seconds)| seconds)
}

/// Waits until the servers do next to nothing, so that what one does after its load is not taken from the next. Not longer than `patience`:
/// some always have something to tidy up.
pub(crate) async fn quiet(pids: &[u32], patience: Duration) {
    const LOOK: Duration = Duration::from_millis(250);
    let spent = || -> f64 {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        processes
            .filter_map(|process| {
                let stat = fs::read_to_string(process.path().join("stat")).ok()?;
                let (_, rest) = stat.rsplit_once(')')?;
                let parent: u32 = rest.split_whitespace().nth(1)?.parse().ok()?;
                let pid: u32 = process.file_name().to_str()?.parse().ok()?;
                // PostgreSQL is a family of processes.
                let counts = pids.contains(&pid) || pids.contains(&parent);
                counts.then(|| parse_stat(&stat))?
            })
            .map(|(_, seconds)| seconds)
            .sum()
    };
    let deadline = Instant::now() + patience;
    let mut before = spent();
    while Instant::now() < deadline {
        wait::at(Instant::now() + LOOK).await;
        let now = spent();
        // A tenth of a core; a process that ended takes its seconds with it.
        if now - before < 0.1 * LOOK.as_secs_f64() {
            return;
        }
        before = now;
    }
}

/// What a figure is worth nothing without.
pub(crate) fn facts(folder: &Path) -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let memory_kib: Option<f64> = field(&read("/proc/meminfo"), "MemTotal")
        .and_then(|value| value.split_whitespace().next()?.parse().ok());
    json!({
        "cpu": processor(&read("/proc/cpuinfo")),
        "cores": cores(),
        "memory_gib": memory_kib.map(|kib| (kib / 1_048_576.0).round()),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "file_system": file_system(&read("/proc/self/mounts"), folder),
    })
}

/// The first value of a name in what the kernel tells line by line, as `name : value`.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    let found = fields.find(|(field, _)| field.trim() == name);
    found.map(|(_, value)| value.trim())
}

/// What the processor calls itself, and what tells generations apart that share a name: signatures are verified faster by half where AVX-512
/// IFMA is there.
pub(crate) fn processor(cpuinfo: &str) -> Option<String> {
    let of = |name| field(cpuinfo, name);
    let flags = of("flags").unwrap_or_default();
    let has_ifma = flags.split(' ').any(|flag| flag == "avx512ifma");
    let number = |name| of(name).unwrap_or("?");
    Some(format!(
        "{} (family {}, model {}, {} AVX-512 IFMA)",
        of("model name")?,
        number("cpu family"),
        number("model"),
        if has_ifma { "with" } else { "without" }
    ))
}

/// Type of the file system that holds a folder.
pub(crate) fn file_system(mounts: &str, folder: &Path) -> Option<String> {
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (_, place, kind) = (fields.next()?, fields.next()?, fields.next()?);
            folder
                .starts_with(place)
                .then(|| (place.len(), kind.to_owned()))
        })
        .max_by_key(|(length, _)| *length)
        .map(|(_, kind)| kind)
}

/// The commit of this tree, and whether files differ from it.
pub(crate) fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(figures::tree())
            .output()
            .ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changed.is_empty() {
        commit
    } else {
        format!("{commit} and changes")
    })
}

/// Resident memory of a process, MiB.
pub(crate) fn resident_mib(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

/// Bytes that a process had written to disks so far, whether they are there yet or not.
pub(crate) fn written_bytes(pid: u32) -> Option<u64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes:"))?;
    line.trim().parse().ok()
}

/// Bytes that a folder takes on the disk, as `du` counts them: blocks, not lengths, so that preallocated files count for what they take, and a
/// file with several names once (a raft_snapshot shares its files with the state).
pub(crate) fn bytes_on_disk(folder: &Path) -> u64 {
    fn walk(folder: &Path, blocks: &mut BTreeMap<(u64, u64), u64>) {
        let Ok(entries) = fs::read_dir(folder) else {
            return;
        };
        for entry in entries.flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => walk(&entry.path(), blocks),
                Ok(metadata) => {
                    blocks.insert((metadata.dev(), metadata.ino()), metadata.blocks());
                }
                Err(_) => {}
            }
        }
    }
    let mut blocks = BTreeMap::new();
    walk(folder, &mut blocks);
    blocks.values().sum::<u64>() * 512
}

/// Bytes that are free on the disk of a folder.
pub(crate) fn free_bytes(folder: &Path) -> Result<u64, String> {
    let output = Command::new("df")
        .args(["--output=avail", "--block-size=1"])
        .arg(folder)
        .output()
        .map_err(|error| format!("df: {error}"))?;
    let told = String::from_utf8_lossy(&output.stdout);
    let free = told
        .lines()
        .nth(1)
        .and_then(|line| line.trim().parse().ok());
    free.ok_or_else(|| format!("df does not tell how much of {} is free", folder.display()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_on_the_file_system_mounted_nearest_above_it() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmp/disk xfs rw 0 0\n";
        let kind = |folder: &str| file_system(mounts, Path::new(folder)).unwrap();
        assert_eq!(kind("/var/tmp/x"), "ext4");
        assert_eq!(kind("/tmp/x"), "tmpfs");
        assert_eq!(kind("/tmp/disk/x"), "xfs");
        assert_eq!(kind("/tmp/disks"), "tmpfs");
    }

    #[test]
    fn a_processor_is_told_from_its_elder_of_the_same_name() {
        let told = |model: u8, flags: &str| {
            let text = format!(
                "processor\t: 0\ncpu family\t: 25\nmodel\t\t: {model}\nmodel name\t: AMD EPYC\nflags\t\t: fpu {flags} sha_ni\n\nprocessor\t: 1\nmodel\t: 9\n"
            );
            processor(&text).unwrap()
        };
        let (elder, younger) = (told(1, "avx2"), told(17, "avx512ifma"));
        assert_eq!(elder, "AMD EPYC (family 25, model 1, without AVX-512 IFMA)");
        assert_eq!(younger, "AMD EPYC (family 25, model 17, with AVX-512 IFMA)");
        assert_eq!(processor(""), None);
    }

    #[test]
    fn cpu_seconds_are_the_two_counts_of_the_line() {
        let line = "42 (a (b) c) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 4 0";
        assert_eq!(parse_stat(line), Some(("a (b) c".into(), 2.0)));
        assert!(own_cpu_seconds() >= 0.0);
    }
}
