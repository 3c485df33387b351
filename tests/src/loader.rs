// SPDX-License-Identifier: EUPL-1.2
//! Fills the folders of nodes that were not started yet with a ledger of any size: `visto-load`, fed with signed entries.

use std::{
    fmt::Write as _,
    io::Write as _,
    process::{Command, Stdio},
};

use crate::{cluster::Cluster, node::binary, world};

/// Fills the folders of all nodes of genesis, which must not have run. Returns the number of entries, the genesis and what the nodes wrote
/// themselves among them. Blocks.
///
/// # Panics
/// If an entry is refused or the folders cannot be written.
pub fn fill(cluster: &Cluster, lines: impl Iterator<Item = String>) -> u64 {
    let seed = |institution: &str, label: &str| hex(&world::seed(institution, label));
    let mut command = Command::new(binary("visto-load"));
    command
        .args(["--ledger", world::LEDGER, "--genesis"])
        .arg(cluster.genesis_file())
        .arg("--build")
        .arg(cluster.folder().join("build"))
        .args(["--log", &seed(world::INPS, "log")]);
    for (number, node) in &cluster.nodes {
        let operator = world::operator_of(*number);
        command
            .args(["--node", &number.to_string()])
            .arg(seed(operator, &format!("node {number}")))
            .arg(seed(operator, &format!("cosign {number}")))
            .arg(node.data());
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("visto-load");
    let mut stdin = child.stdin.take().expect("its stdin");
    for line in lines {
        if writeln!(stdin, "{line}").is_err() {
            // It says why on stderr.
            break;
        }
    }
    drop(stdin);
    let output = child.wait_with_output().expect("its end");
    assert!(output.status.success(), "visto-load: {}", output.status);
    let told = String::from_utf8_lossy(&output.stdout);
    told.trim().parse().expect("the number of entries")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
