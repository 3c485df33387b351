// SPDX-License-Identifier: EUPL-1.2
//! Tells the program which compiler made it: counts of another one say nothing.

use std::{env, process::Command};

fn main() {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let said = Command::new(rustc).arg("--version").output();
    let version = said
        .ok()
        .and_then(|said| String::from_utf8(said.stdout).ok())
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=VISTO_RUSTC={}", version.trim());
    let target = env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=VISTO_TARGET={target}");
    println!("cargo::rerun-if-changed=build.rs");
}
