// SPDX-License-Identifier: EUPL-1.2
//! The settings by name, each with its default and what it is.

/// One configurable value.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its path in the TOML file, such as `http.listen`; flag and environment variable follow from it.
    pub name: &'static str,
    /// What stands when nobody sets it, in words.
    pub default: Option<&'static str>,
    /// What it is, in one line.
    pub help: &'static str,
}

impl Key {
    /// `VISTO_HTTP_LISTEN` for `http.listen`.
    pub fn env(&self) -> String {
        env(self.name)
    }

    /// `http-listen` for `http.listen`; stands after `--`.
    pub fn flag(&self) -> String {
        flag(self.name)
    }
}

/// Environment variable of a setting.
pub(super) fn env(name: &str) -> String {
    let name = name.replace(['.', '-'], "_").to_ascii_uppercase();
    format!("VISTO_{name}")
}

/// Flag of a setting, without `--`.
pub(super) fn flag(name: &str) -> String {
    name.replace('.', "-")
}

const fn key(name: &'static str, default: Option<&'static str>, help: &'static str) -> Key {
    Key {
        name,
        default,
        help,
    }
}

/// Every key, in the order of the documentation. `peers.<number>` (addresses of the other nodes' peer listeners) stands in the file only.
pub const KEYS: &[Key] = &[
    key(
        "node",
        None,
        "Number of this node, as its node entry has it",
    ),
    key("data", None, "Folder of the node's database"),
    key(
        "genesis",
        None,
        "File with the genesis entry (one line of JSON), the same on every node",
    ),
    key(
        "http.listen",
        Some("127.0.0.1:8080"),
        "Address of the public listener",
    ),
    key(
        "http.tls-certificate",
        None,
        "PEM file with the certificate chain of the public listener; plain HTTP without",
    ),
    key(
        "http.tls-key",
        None,
        "PEM file with the key of that certificate",
    ),
    key(
        "peer.listen",
        Some("127.0.0.1:9080"),
        "Address of the listener for the other nodes",
    ),
    key(
        "peer.ca",
        None,
        "PEM file with the CA of the nodes' certificates",
    ),
    key(
        "peer.certificate",
        None,
        "PEM file with this node's certificate",
    ),
    key(
        "peer.key",
        None,
        "PEM file with the key of that certificate, mode 0600",
    ),
    key(
        "keys.node",
        None,
        "File with the node key (PEM, Ed25519, mode 0600)",
    ),
    key("keys.cosign", None, "File with the cosign key"),
    key(
        "keys.log",
        None,
        "File with the log key, the same on every node",
    ),
    key(
        "keys.log-next",
        None,
        "File with the log key to come, while it is rotated",
    ),
    key(
        "oprf.sealed",
        None,
        "File with the sealed key of the pseudonyms, the same on every node; none are evaluated without",
    ),
    key(
        "oprf.sealed-before",
        None,
        "File with the sealed key of the epoch before, while refs of both are joined",
    ),
    key(
        "oprf.identity",
        None,
        "File with the age identity that opens them (visto key identity), mode 0600",
    ),
    key(
        "limits.requests-per-second",
        Some("1000"),
        "Requests a second of one client address",
    ),
    key(
        "limits.requests-burst",
        Some("4000"),
        "Requests that one client address may make at once",
    ),
    key(
        "limits.entries-per-second",
        Some("10000"),
        "Entries and reads a second of one institution",
    ),
    key(
        "limits.entries-burst",
        Some("40000"),
        "Entries and reads that one institution may make at once",
    ),
    key(
        "limits.pseudonyms-per-second",
        Some("100"),
        "Codes a second that one institution may have evaluated",
    ),
    key(
        "limits.pseudonyms-burst",
        Some("10000"),
        "Codes that one institution may have evaluated at once",
    ),
    key(
        "limits.pseudonyms-alarm-per-hour",
        Some("50000"),
        "Codes an hour for one institution above which a warning is logged",
    ),
    key("limits.connections", Some("4096"), "Connections at a time"),
    key(
        "limits.body-memory-mib",
        Some("256"),
        "Memory for request bodies being read, MiB",
    ),
    key(
        "timeouts.head-ms",
        Some("10000"),
        "Longest time until a request head is complete",
    ),
    key(
        "timeouts.body-ms",
        Some("30000"),
        "Longest time until a request body is complete",
    ),
    key(
        "timeouts.idle-ms",
        Some("75000"),
        "Longest silence on a connection",
    ),
    key(
        "timeouts.submit-ms",
        Some("10000"),
        "Longest wait for a submitted entry to be committed",
    ),
    key(
        "timeouts.publish-ms",
        Some("3000"),
        "Longest wait for its receipt after that; then 202",
    ),
    key(
        "timeouts.drain-ms",
        Some("10000"),
        "How long open requests may go on after a stop was asked",
    ),
    key(
        "raft.snapshot-after",
        Some("20000"),
        "Raft entries between snapshots of the database",
    ),
    key(
        "raft.keep",
        Some("1000000"),
        "Raft entries kept behind a snapshot at most, for nodes that were away; fewer where they take over 1/32 of the state's bytes",
    ),
    key(
        "store.cache-mib",
        Some("256"),
        "Memory for blocks of the database that were read, up to 65535: 4 bytes an entry, and some for the blocks",
    ),
    key(
        "store.background-mb-per-second",
        Some("32"),
        "What flushes and compactions of the database write a second, up to 65535: 3 KB an entry",
    ),
    key("log.json", Some("true"), "Logs as JSON lines"),
    key(
        "log.level",
        Some("info,openraft=warn"),
        "Filter of the logs, such as info,cluster=debug",
    ),
];
