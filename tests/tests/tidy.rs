// SPDX-License-Identifier: EUPL-1.2
//! The rules of the house, each as a test. They read the tree and cargo's own description of it; they build nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

/// Longest source file, in lines: what a reader still holds in the head.
const FILE_LINES_MAX: usize = 600;
/// Longest file of tests: a table of cases reads faster than what it tests.
const TEST_LINES_MAX: usize = 900;
/// Longest the offline verifier may be: whoever trusts it reads it.
const VERIFIER_LINES_MAX: usize = 150;

#[test]
fn every_source_file_says_its_licence_on_top() {
    complain(
        "no SPDX line among the first three (CONTRIBUTING.md says which licence)",
        sources().filter_map(|file| {
            let text = text(&file);
            let top: Vec<&str> = text.lines().take(3).collect();
            let expected = if file.starts_with("api/client") {
                "BSD-3-Clause"
            } else {
                "EUPL-1.2"
            };
            let found = top
                .iter()
                .find_map(|line| line.split("SPDX-License-Identifier: ").nth(1));
            (found.map(|f| f.trim_end_matches("-->").trim()) != Some(expected))
                .then(|| format!("{}: {expected}", file.display()))
        }),
    );
}

#[test]
fn no_source_file_is_too_long_to_read() {
    complain(
        "too long: split it by what it does",
        sources().filter_map(|file| {
            let lines = text(&file).lines().count();
            let max = if file == Path::new("ledger/verify/main.rs") {
                VERIFIER_LINES_MAX
            } else if is_test(&file) {
                TEST_LINES_MAX
            } else {
                FILE_LINES_MAX
            };
            (lines > max).then(|| format!("{}: {lines} lines, {max} allowed", file.display()))
        }),
    );
}

#[test]
fn nothing_points_up() {
    let graph = Graph::read();
    // Each room, and all that it may name of the others.
    let may_name: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("ledger", &[][..]),
        ("ledger-bench", &["ledger"]),
        ("cluster", &["ledger"]),
        ("wire", &["ledger"]),
        ("client", &["wire", "ledger"]),
        ("report", &[]),
        ("server", &["cluster", "wire", "client", "report", "ledger"]),
        ("demo", &["client", "wire", "ledger"]),
        ("tests", &["client", "wire", "report", "ledger"]),
        ("loader", &["cluster", "ledger"]),
    ]);
    for member in &graph.members {
        let allowed = may_name
            .get(member.as_str())
            .unwrap_or_else(|| panic!("{member} is a new room: say here what it may name"));
        for named in graph.direct(member).intersection(&graph.members) {
            assert!(
                allowed.contains(&named.as_str()),
                "{member} names {named}; it may name {allowed:?} only"
            );
        }
    }
}

#[test]
fn what_is_kept_out_of_each_room_stays_out() {
    let graph = Graph::read();
    // With everything that their dependencies bring along.
    for (room, absent) in [
        (
            "client",
            &[
                "rocksdb",
                "librocksdb-sys",
                "openraft",
                "axum",
                "cluster",
                "server",
            ][..],
        ),
        (
            "wire",
            &[
                "rocksdb",
                "librocksdb-sys",
                "openraft",
                "axum",
                "cluster",
                "server",
                "tokio",
            ],
        ),
        (
            "cluster",
            &["wire", "axum", "server", "client", "reqwest", "hyper"],
        ),
        (
            "ledger",
            &["tokio", "serde_json", "rand", "chrono", "cluster", "wire"],
        ),
    ] {
        let all = graph.reachable(room);
        for name in absent {
            assert!(
                !all.contains(*name),
                "{room} must not contain {name}; it comes with: {}",
                graph.way(room, name)
            );
        }
    }
}

#[test]
fn the_core_names_few_crates_and_no_std() {
    let graph = Graph::read();
    let direct = graph.direct("ledger");
    let expected = [
        "base64",
        "ed25519-dalek",
        "rand_core",
        "sha2",
        "voprf",
        "zeroize",
    ]
    .map(String::from);
    assert_eq!(
        direct,
        BTreeSet::from(expected),
        "what the offline verifier trusts is listed here on purpose: read a new crate before it enters"
    );
    assert!(
        text(Path::new("ledger/src/lib.rs"))
            .lines()
            .any(|line| line == "#![no_std]"),
        "ledger/src/lib.rs: #![no_std] is gone"
    );
    complain(
        "std in the core",
        rust_files()
            .filter(|f| f.starts_with("ledger/src") && !is_test(f))
            .flat_map(|file| {
                let text = text(&file);
                lines_of_code(&text)
                    .filter(|(_, line)| line.contains("std::") && !line.contains("no_std"))
                    .map(|(number, line)| format!("{}:{number}: {}", file.display(), line.trim()))
                    .collect::<Vec<_>>()
            }),
    );
}

#[test]
fn failures_become_status_codes_in_one_file() {
    // A success is the business of its route; everything else is chosen in problem.rs.
    let of_success = [
        "OK",
        "CREATED",
        "ACCEPTED",
        "NO_CONTENT",
        "NOT_MODIFIED",
        "PARTIAL_CONTENT",
        "PERMANENT_REDIRECT",
        "SEE_OTHER",
    ];
    complain(
        "a failure's status code is chosen in api/server/src/problem.rs only",
        rust_files()
            .filter(|f| {
                f.starts_with("api/server/src")
                    && !is_test(f)
                    && !f.ends_with("problem.rs")
                    && !f.starts_with("api/server/src/problem")
            })
            .flat_map(|file| {
                let text = text(&file);
                lines_of_code(&text)
                    .filter(|(_, line)| {
                        line.match_indices("StatusCode::").any(|(at, name)| {
                            let rest = &line[at + name.len()..];
                            let word: String = rest
                                .chars()
                                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                                .collect();
                            word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
                                && !of_success.contains(&word.as_str())
                        })
                    })
                    .map(|(number, line)| format!("{}:{number}: {}", file.display(), line.trim()))
                    .collect::<Vec<_>>()
            }),
    );
}

#[test]
fn what_is_signed_hashed_or_stored_is_laid_out_in_one_file() {
    complain(
        "a domain string outside ledger/src/bytes.rs",
        rust_files()
            .filter(|f| {
                !is_test(f)
                    && f != Path::new("ledger/src/bytes.rs")
                    && !f.starts_with("ledger/src/bytes")
            })
            .flat_map(|file| {
                let text = text(&file);
                lines_of_code(&text)
                    .filter(|(_, line)| line.contains("\"visto/") && line.contains("/v1"))
                    .map(|(number, line)| format!("{}:{number}: {}", file.display(), line.trim()))
                    .collect::<Vec<_>>()
            }),
    );
}

#[test]
fn only_cluster_names_the_replication_and_storage_libraries() {
    complain(
        "openraft or rocksdb named outside cluster",
        rust_files()
            .filter(|f| !f.starts_with("cluster") && !f.ends_with("tidy.rs"))
            .flat_map(|file| {
                let text = text(&file);
                lines_of_code(&text)
                    .filter(|(_, line)| line.contains("openraft::") || line.contains("rocksdb::"))
                    .map(|(number, line)| format!("{}:{number}: {}", file.display(), line.trim()))
                    .collect::<Vec<_>>()
            }),
    );
}

#[test]
fn tests_wait_for_conditions_not_for_time() {
    // The one place that pauses between two looks at a condition.
    let waiting = Path::new("tests/src/wait.rs");
    complain(
        "a sleep in a test: wait for a condition with a deadline (tests/src/wait.rs)",
        rust_files()
            .filter(|f| is_test(f) && f != waiting && !f.ends_with("tidy.rs"))
            .flat_map(|file| {
                let text = text(&file);
                lines_of_code(&text)
                    .filter(|(_, line)| line.contains("sleep("))
                    .map(|(number, line)| format!("{}:{number}: {}", file.display(), line.trim()))
                    .collect::<Vec<_>>()
            }),
    );
}

#[test]
fn no_test_is_switched_off() {
    complain(
        "a test that nobody runs",
        rust_files()
            .filter(|f| !f.ends_with("tidy.rs"))
            .flat_map(|file| {
                let text = text(&file);
                lines_of_code(&text)
                    .filter(|(_, line)| line.trim_start().starts_with("#[ignore"))
                    .map(|(number, _)| format!("{}:{number}", file.display()))
                    .collect::<Vec<_>>()
            }),
    );
}

#[test]
fn nothing_names_a_developers_machine_or_leaves_work_unsaid() {
    // Put together here so that this file does not hold what it looks for.
    let forbidden: Vec<String> = [
        ["/wo", "rk/"],
        ["/ro", "ot/"],
        ["/ho", "me/"],
        ["TO", "DO"],
        ["FIX", "ME"],
        ["XX", "X"],
        ["todo", "!("],
    ]
    .iter()
    .map(|parts| parts.concat())
    .collect();
    complain(
        "a path of somebody's machine, or a note to self (put it into an issue)",
        tracked()
            .filter(|f| {
                !f.ends_with("Cargo.lock")
                    && !f.ends_with("openapi.json")
                    && !f.starts_with("LICENSE")
            })
            .filter_map(|file| {
                fs::read_to_string(root().join(&file))
                    .ok()
                    .map(|text| (file, text))
            })
            .flat_map(|(file, text)| {
                text.lines()
                    .enumerate()
                    .filter(|(_, line)| forbidden.iter().any(|word| line.contains(word.as_str())))
                    .map(|(number, line)| {
                        format!("{}:{}: {}", file.display(), number + 1, line.trim())
                    })
                    .collect::<Vec<_>>()
            }),
    );
}

#[test]
fn scripts_run_and_parse() {
    for script in tracked().filter(|f| f.starts_with("scripts") || f.starts_with(".ci")) {
        let text = text(&script);
        let is_program = text.starts_with("#!");
        if !text.contains("shell=bash") && !is_program {
            continue;
        }
        let mode = fs::metadata(root().join(&script))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(
            mode & 0o111 != 0,
            is_program,
            "{}: executable if and only if it starts with #!",
            script.display()
        );
        let parse = Command::new("bash")
            .arg("-n")
            .arg(root().join(&script))
            .output()
            .unwrap();
        assert!(
            parse.status.success(),
            "{}: {}",
            script.display(),
            String::from_utf8_lossy(&parse.stderr)
        );
    }
    for entry in [
        "scripts/demo",
        "scripts/test",
        "scripts/release",
        "scripts/bench",
        "scripts/instructions",
        ".ci/run",
    ] {
        assert!(root().join(entry).is_file(), "{entry} is gone");
    }
}

#[test]
fn every_metric_is_told_of_where_operators_look() {
    let table = "api/server/src/monitoring.rs";
    let told = text(Path::new(table));
    let (_, told) = told.split_once("const METRICS").expect("the table");
    let literal = |text: &str| {
        Some(
            text.trim_start()
                .strip_prefix('"')?
                .split('"')
                .next()?
                .to_owned(),
        )
    };
    let told: BTreeSet<String> = told
        .split("Kind::")
        .filter_map(|row| literal(row.split_once(',')?.1))
        .collect();
    // A gate describes its own beside each number.
    let nodes = |file: &PathBuf| {
        (file.starts_with("cluster/src") || file.starts_with("api/server/src"))
            && !file.starts_with("api/server/src/cli")
            && !is_test(file)
    };
    let mut used = BTreeSet::new();
    for file in rust_files().filter(nodes) {
        let text = text(&file);
        let macros = ["counter!(", "gauge!(", "histogram!("];
        let names = macros.iter().flat_map(|name| text.split(name).skip(1));
        used.extend(names.filter_map(literal));
    }
    assert!(used.len() > 20, "{used:?}");
    assert_eq!(
        told, used,
        "the metrics in {table}, and those that the code records"
    );
}

#[test]
fn the_readme_names_files_that_exist() {
    // The map is prose and would rot; what stands in backticks and looks like a path of this tree must be one.
    let readme = text(Path::new("README.md"));
    let rooms = ["ledger/", "cluster/", "api/", "tests/", "scripts/", "demo/"];
    complain(
        "README.md names what is not there",
        readme
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|name| {
                rooms.iter().any(|room| name.starts_with(room))
                    && !name.contains([' ', '*', '{', '<', '…'])
            })
            .filter(|name| !root().join(name.trim_end_matches('/')).exists())
            .map(String::from),
    );
}

fn complain(rule: &str, found: impl Iterator<Item = String>) {
    let found: Vec<String> = found.collect();
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn text(file: &Path) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// Files that git knows, or would: paths from the root.
fn tracked() -> impl Iterator<Item = PathBuf> {
    let list = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        list.status.success(),
        "git ls-files: {}",
        String::from_utf8_lossy(&list.stderr)
    );
    let list = String::from_utf8(list.stdout).unwrap();
    list.lines()
        .map(PathBuf::from)
        .filter(|f| root().join(f).is_file())
        .collect::<Vec<_>>()
        .into_iter()
}

fn rust_files() -> impl Iterator<Item = PathBuf> {
    tracked().filter(|f| f.extension().is_some_and(|e| e == "rs"))
}

/// What a person writes and a machine reads: code, scripts, configuration. Not data, not prose.
fn sources() -> impl Iterator<Item = PathBuf> {
    tracked().filter(|f| {
        let extension = f.extension().and_then(|e| e.to_str()).unwrap_or_default();
        matches!(
            extension,
            "rs" | "toml" | "sh" | "py" | "yaml" | "yml" | "ts" | "js" | "css" | "svelte"
        ) || (extension.is_empty() && (f.starts_with("scripts") || f.starts_with(".ci")))
    })
}

fn is_test(file: &Path) -> bool {
    file.starts_with("tests")
        || file.components().any(|c| c.as_os_str() == "tests")
        || file.file_name().is_some_and(|n| n == "tests.rs")
}

/// Lines outside comments and before the file's own tests, with their numbers.
fn lines_of_code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(number, line)| (number + 1, line))
}

/// Who depends on whom in a build (normal and build dependencies, not dev), from `cargo metadata`.
struct Graph {
    members: BTreeSet<String>,
    names: BTreeMap<String, String>,
    edges: BTreeMap<String, Vec<String>>,
}

impl Graph {
    fn read() -> Graph {
        let output = Command::new(env!("CARGO"))
            .args([
                "metadata",
                "--format-version",
                "1",
                "--locked",
                "--offline",
                "--filter-platform",
                "x86_64-unknown-linux-gnu",
            ])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let list = |value: &serde_json::Value| value.as_array().cloned().unwrap();
        let string = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let names: BTreeMap<String, String> = list(&metadata["packages"])
            .iter()
            .map(|p| (string(&p["id"]), string(&p["name"])))
            .collect();
        let edges = list(&metadata["resolve"]["nodes"])
            .iter()
            .map(|node| {
                let built = list(&node["deps"])
                    .iter()
                    .filter(|d| list(&d["dep_kinds"]).iter().any(|k| k["kind"] != "dev"))
                    .map(|d| string(&d["pkg"]))
                    .collect();
                (string(&node["id"]), built)
            })
            .collect();
        let members = list(&metadata["workspace_members"])
            .iter()
            .map(|id| names[&string(id)].clone())
            .collect();
        Graph {
            members,
            names,
            edges,
        }
    }

    fn id(&self, name: &str) -> &str {
        self.names
            .iter()
            .find(|(_, n)| *n == name)
            .map(|(id, _)| id.as_str())
            .unwrap_or_else(|| panic!("no package {name}"))
    }

    fn direct(&self, name: &str) -> BTreeSet<String> {
        self.edges[self.id(name)]
            .iter()
            .map(|id| self.names[id].clone())
            .collect()
    }

    /// Names of all packages that building this one builds.
    fn reachable(&self, name: &str) -> BTreeSet<String> {
        self.parents(name)
            .keys()
            .map(|id| self.names[id].clone())
            .collect()
    }

    /// One way from a package to another, to show who brings it in.
    fn way(&self, from: &str, to: &str) -> String {
        let parents = self.parents(from);
        let mut way = vec![to.to_owned()];
        let mut at = parents.keys().find(|id| self.names[*id] == to);
        while let Some(parent) = at.and_then(|id| parents[id].as_ref()) {
            way.push(self.names[parent].clone());
            at = Some(parent);
        }
        way.reverse();
        way.join(" -> ")
    }

    fn parents(&self, name: &str) -> BTreeMap<String, Option<String>> {
        let start = self.id(name).to_owned();
        let mut parents = BTreeMap::from([(start.clone(), None)]);
        let mut queue = vec![start];
        while let Some(id) = queue.pop() {
            for next in &self.edges[&id] {
                if !parents.contains_key(next) {
                    parents.insert(next.clone(), Some(id.clone()));
                    queue.push(next.clone());
                }
            }
        }
        parents
    }
}
