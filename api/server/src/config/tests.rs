// SPDX-License-Identifier: EUPL-1.2
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

const FILE: &str = r#"
node = 2
data = "/var/lib/visto"
genesis = "genesis.json"

[http]
listen = "127.0.0.1:8081"

[peer]
ca = "ca.pem"
certificate = "peer.pem"
key = "peer.key"

[peers]
1 = "127.0.0.1:9001"

[keys]
node = "node.key"
cosign = "cosign.key"
log = "log.key"

[limits]
requests-per-second = 1_500
"#;

fn load(text: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<ServeConfig, Error> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("visto.toml");
    std::fs::write(&file, text).unwrap();
    let env = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let flags: Vec<_> = flags
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    ServeConfig::load(Some(&file), env, &flags)
}

#[test]
fn flags_beat_the_environment_beats_the_file_beats_the_defaults() {
    let config = load(FILE, &[], &[]).unwrap();
    assert_eq!(config.node, 2);
    assert_eq!(config.http.listen.port(), 8081);
    assert_eq!(config.peer.listen.port(), 9080);
    assert_eq!(config.limits.requests_per_second, 1_500);
    assert_eq!(
        config.peers.get(&1).map(String::as_str),
        Some("127.0.0.1:9001")
    );
    let env = [
        ("VISTO_HTTP_LISTEN", "127.0.0.1:8082"),
        ("VISTO_LIMITS_REQUESTS_PER_SECOND", "7"),
        ("VISTO_TEST_SEED", "3"),
    ];
    let config = load(FILE, &env, &[]).unwrap();
    assert_eq!(config.http.listen.port(), 8082);
    assert_eq!(config.limits.requests_per_second, 7);
    let config = load(FILE, &env, &[("http.listen", "127.0.0.1:8083")]).unwrap();
    assert_eq!(config.http.listen.port(), 8083);
}

#[test]
fn a_bad_value_is_named_with_its_place() {
    let table: &[(&str, &str)] = &[
        (
            "node = 0\n",
            "visto.toml:1: node: expected a number from 1 to 18446744073709551615",
        ),
        (
            "node = 1\n[http]\nlisten = \"here\"\n",
            "visto.toml:3: http.listen: expected an address such as 127.0.0.1:8080",
        ),
        (
            "[http]\nport = 1\n",
            "visto.toml:2: there is no setting \"http.port\"",
        ),
        (
            "node = [1]\n",
            "visto.toml:1: there is no setting \"node (array)\"",
        ),
        ("node =\n", "visto.toml:1: "),
        (
            "[peers]\nx = \"y\"\n",
            "visto.toml:2: peers: the key is a node's number",
        ),
        (
            "node = 1\ndata = \"x\"\n",
            "genesis is not set; set it in the file, as VISTO_GENESIS or with --genesis",
        ),
    ];
    for (text, expected) in table {
        // Only what the case is about may be wrong.
        let complete = match *text {
            "node = 0\n" | "node = 1\n[http]\nlisten = \"here\"\n" => format!(
                "{text}{}",
                "" // these fail before anything else is asked for
            ),
            other => other.to_owned(),
        };
        let flags: &[(&str, &str)] = if expected.contains("http.listen") {
            &[("data", "x"), ("genesis", "y")]
        } else {
            &[]
        };
        let error = load(&complete, &[], flags).expect_err(text).to_string();
        assert!(
            error.contains(expected),
            "{error:?} should say {expected:?}"
        );
    }
    let error = load(FILE, &[("VISTO_NODE", "two")], &[]).expect_err("no number");
    assert_eq!(
        error.to_string(),
        "environment variable VISTO_NODE: node: expected a number from 1 to 18446744073709551615"
    );
    let error = load(FILE, &[], &[("limits.connections", "0")]).expect_err("zero");
    assert_eq!(
        error.to_string(),
        "flag --limits-connections: limits.connections: expected a number from 1 to 4294967295"
    );
    let error = load(FILE, &[], &[("http.tls-key", "x")]).expect_err("half");
    assert!(error.to_string().contains("go together"));
}

#[test]
fn keys_are_distinct_and_complete() {
    let mut names: Vec<_> = KEYS.iter().map(Key::env).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), KEYS.len());
}

#[test]
fn a_number_and_nothing_else_is_one_of_its_range_to_both_ends() {
    for key in KEYS {
        let Some(max) = key.max else {
            // Nobody reads it as a number: what is none is taken, or refused for another reason.
            let told = load(FILE, &[], &[(key.name, "none")]).err();
            let told = told.map(|error| error.to_string()).unwrap_or_default();
            assert!(!told.contains("expected a number"), "{told}");
            continue;
        };
        let above = u128::from(max) + 1;
        for value in [1, max] {
            load(FILE, &[], &[(key.name, &value.to_string())]).expect(key.name);
        }
        for value in ["0", "-1", "x", "", &above.to_string()] {
            let error = load(FILE, &[], &[(key.name, value)]).expect_err(key.name);
            let expected = format!("{}: expected a number from 1 to {max}", key.name);
            assert!(error.to_string().ends_with(&expected), "{error}");
        }
    }
}

/// A configuration with whatever goes only together.
fn shown(flags: &[(&str, &str)]) -> String {
    let together = ["http.tls-certificate", "http.tls-key", "oprf.sealed"];
    let together = together.into_iter().chain(["oprf.identity"]);
    let all: Vec<_> = together.map(|name| (name, "together")).collect();
    format!("{:?}", load(FILE, &[], &[&all, flags].concat()).unwrap())
}

#[test]
fn every_setting_is_heeded_and_its_default_is_what_stands_without() {
    let without = shown(&[]);
    for key in KEYS {
        let other = match key.name {
            name if name.ends_with(".listen") => "127.0.0.1:7",
            "log.json" => "false",
            _ => "7",
        };
        assert_ne!(shown(&[(key.name, other)]), without, "{}", key.name);
        // The file sets some that have a default.
        if let Some(default) = key.default.filter(|_| {
            let set = ["http.listen", "limits.requests-per-second"];
            !set.contains(&key.name)
        }) {
            assert_eq!(shown(&[(key.name, default)]), without, "{}", key.name);
        }
    }
}

#[test]
fn what_is_set_of_raft_and_the_store_reaches_the_node_in_its_units() {
    let tuned = |name, value| load(FILE, &[], &[(name, value)]).unwrap().tuning;
    let shown = |tuning: &Tuning| format!("{tuning:?}");
    let standing = Tuning::default();
    assert_eq!(
        shown(&load(FILE, &[], &[]).unwrap().tuning),
        shown(&standing)
    );
    let mut expected = standing.clone();
    expected.raft_snapshot_after = 7;
    assert_eq!(shown(&tuned("raft.snapshot-after", "7")), shown(&expected));
    expected = standing.clone();
    expected.raft_keep = 7;
    assert_eq!(shown(&tuned("raft.keep", "7")), shown(&expected));
    expected = standing.clone();
    expected.cache_bytes = 7 * 1024 * 1024;
    assert_eq!(shown(&tuned("store.cache-mib", "7")), shown(&expected));
    expected = standing;
    expected.background_bytes_per_s = Some(7_000_000);
    let background = tuned("store.background-mb-per-second", "7");
    assert_eq!(shown(&background), shown(&expected));
}
