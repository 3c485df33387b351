// SPDX-License-Identifier: EUPL-1.2
//! The README's transcript is run, line by line, and must print what it says.

use std::{fs, path::Path, process::Command};

use tests::{cluster::Cluster, node::binary, world};

#[tokio::test(flavor = "multi_thread")]
async fn the_transcript_prints_what_the_readme_says() {
    let cluster = Cluster::start().await;
    let folder = cluster.folder().join("reader");
    fs::create_dir(&folder).unwrap();
    fs::copy(cluster.policy_file(), folder.join("policy.txt")).unwrap();
    fs::write(
        folder.join("access.json"),
        world::access(&world::person("anna")).line() + "\n",
    )
    .unwrap();

    let programs = binary("visto").parent().unwrap().to_owned();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let steps = transcript();
    assert!(steps.len() >= 3, "the README has lost its transcript");
    for (command, expected) in steps {
        let run = Command::new("bash")
            .args(["-o", "pipefail", "-c", &command])
            .current_dir(&folder)
            .env("PATH", &path)
            .env("NODE", cluster.url(1, ""))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stdout).into_owned();
        let lines: Vec<&str> = said.lines().collect();
        let matches = lines.len() == expected.len()
            && lines
                .iter()
                .zip(&expected)
                .all(|(line, pattern)| fits(line, pattern));
        assert!(
            matches,
            "$ {command}\nprints\n{said}{}\nand the README says\n{}",
            String::from_utf8_lossy(&run.stderr),
            expected.join("\n")
        );
    }
    cluster.finish().await;
}

/// Commands and what each prints, from the block marked `console`.
fn transcript() -> Vec<(String, Vec<String>)> {
    let readme =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let block = readme
        .split("```console\n")
        .nth(1)
        .expect("a console block")
        .split("```")
        .next()
        .unwrap();
    let mut steps: Vec<(String, Vec<String>)> = Vec::new();
    for line in block.lines() {
        match line.strip_prefix("$ ") {
            Some(command) => steps.push((command.to_owned(), Vec::new())),
            None => steps
                .last_mut()
                .expect("a command first")
                .1
                .push(line.to_owned()),
        }
    }
    steps
}

/// Whether a line is the pattern, where each `…` stands for anything.
fn fits(line: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}
