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
            "visto.toml:1: node: expected a number of at least 1",
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
        "environment variable VISTO_NODE: node: expected a number of at least 1"
    );
    let error = load(FILE, &[], &[("limits.connections", "0")]).expect_err("zero");
    assert_eq!(
        error.to_string(),
        "flag --limits-connections: limits.connections: expected a number of at least 1"
    );
    for name in ["store.cache-mib", "store.background-mb-per-second"] {
        for value in ["0", "-1", "65536"] {
            let error = load(FILE, &[], &[(name, value)]).expect_err(value);
            assert!(
                error.to_string().ends_with("a number of at least 1"),
                "{error}"
            );
        }
    }
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
