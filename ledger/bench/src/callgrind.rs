// SPDX-License-Identifier: EUPL-1.2
//! Counting: this program runs itself under callgrind, which writes one file each time that [`measured`] returns.

use std::{env, fs, path::Path, process::Command};

use crate::baseline::{Baseline, Count, Machine};

/// The argument of the run that is counted.
pub(crate) const COUNTED: &str = "be-counted";
/// As callgrind names [`measured`].
const MEASURED: &str = "instructions::callgrind::measured";

/// What a run under callgrind does. Each function once before, so that tables and the processor's features are known when it counts.
pub(crate) fn be_counted() {
    println!("{}", features());
    for mut hot in ledger_bench::all() {
        hot.ready()();
        measured(hot.ready());
    }
}

/// Nothing outside of it is counted.
#[inline(never)]
fn measured(work: Box<dyn FnOnce()>) {
    work();
}

/// What code is chosen by at run time, as the counted run sees it: valgrind shows a processor of its own making, so this is the same on
/// all machines that can do what that one can.
fn features() -> String {
    let mut seen: Vec<&str> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        for (name, is) in [
            ("avx2", has!("avx2")),
            ("avx512ifma", has!("avx512ifma")),
            ("sha", has!("sha")),
        ] {
            if is {
                seen.push(name);
            }
        }
    }
    if seen.is_empty() {
        seen.push("none");
    }
    seen.join(" ")
}

/// Counts all, once.
///
/// # Panics
/// Without valgrind, or if it counts anything but what it was asked.
pub(crate) fn count() -> Baseline {
    let folder = env::temp_dir().join(format!("visto-instructions-{}", std::process::id()));
    fs::create_dir(&folder).expect("a folder");
    let run = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!(
            "--callgrind-out-file={}",
            folder.join("out").display()
        ))
        .args(["--compress-strings=no", "--compress-pos=no"])
        .args([
            format!("--toggle-collect={MEASURED}"),
            format!("--dump-after={MEASURED}"),
        ])
        .arg(env::current_exe().expect("this program"))
        .arg(COUNTED)
        .output()
        .expect("valgrind is to be run");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "valgrind failed:\n{said}");
    let counts = ledger_bench::all()
        .iter()
        .zip(1..)
        .map(|(hot, number)| {
            let file = folder.join(format!("out.{number}"));
            (hot.name.to_owned(), sum(&file))
        })
        .collect();
    fs::remove_dir_all(&folder).expect("the folder");
    Baseline {
        machine: Machine {
            rustc: env!("VISTO_RUSTC").to_owned(),
            target: env!("VISTO_TARGET").to_owned(),
            libc: libc(),
            features: String::from_utf8_lossy(&run.stdout).trim().to_owned(),
        },
        counts,
    }
}

/// `glibc 2.36`, where there is one to be asked.
fn libc() -> String {
    let said = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let said = said.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned());
    said.ok()
        .filter(|said| !said.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}

/// The sum of one of callgrind's files: after a line `fn=` stand that function's own costs, each a line of source and a number; what follows a
/// line `calls=` is the callee's, which has lines of its own.
fn sum(file: &Path) -> Count {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let (mut count, mut hashing) = (Count::default(), false);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(function) = line.strip_prefix("fn=") {
            hashing = function.starts_with("sha2::");
        } else if line.starts_with("calls=") {
            lines.next();
        } else if line.starts_with(|first: char| first.is_ascii_digit()) {
            let cost = line.rsplit(' ').next().and_then(|cost| cost.parse().ok());
            let cost: u64 = cost.unwrap_or_else(|| panic!("{}: {line}", file.display()));
            *(if hashing {
                &mut count.hashing
            } else {
                &mut count.code
            }) += cost;
        }
    }
    let total = count.code + count.hashing;
    let told = text.lines().find_map(|line| line.strip_prefix("totals: "));
    assert_eq!(told.and_then(|told| told.trim().parse().ok()), Some(total));
    count
}
