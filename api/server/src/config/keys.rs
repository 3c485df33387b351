// SPDX-License-Identifier: EUPL-1.2
//! The settings by name, each with its default and what it is.

/// One configurable value.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its path in the TOML file, such as `http.listen`; flag and environment variable follow from it.
    pub name: &'static str,
    /// What stands when nobody sets it, in words.
    pub default: Option<&'static str>,
    /// The largest number that it may be, the least is 1; `None` where it is no number.
    pub max: Option<u64>,
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

/// The largest number that a setting may be.
pub(super) fn max(name: &str) -> u64 {
    let key = KEYS.iter().find(|key| key.name == name);
    key.and_then(|key| key.max).unwrap_or(u64::MAX)
}

const fn key(name: &'static str, default: Option<&'static str>, help: &'static str) -> Key {
    Key {
        name,
        default,
        max: None,
        help,
    }
}

const fn number(
    name: &'static str,
    max: u64,
    default: Option<&'static str>,
    help: &'static str,
) -> Key {
    Key {
        max: Some(max),
        ..key(name, default, help)
    }
}

const U16: u64 = u16::MAX as u64;
const U32: u64 = u32::MAX as u64;
const U64: u64 = u64::MAX;

/// Every key, in the order of the documentation. `peers.<number>` (addresses of the other nodes' peer listeners) stands in the file only.
pub const KEYS: &[Key] = &[
    number(
        "node",
        U64,
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
    number(
        "limits.requests-per-second",
        U32,
        Some("1000"),
        "Requests a second of one client address",
    ),
    number(
        "limits.requests-burst",
        U32,
        Some("4000"),
        "Requests that one client address may make at once",
    ),
    number(
        "limits.entries-per-second",
        U32,
        Some("10000"),
        "Entries and reads a second of one institution",
    ),
    number(
        "limits.entries-burst",
        U32,
        Some("40000"),
        "Entries and reads that one institution may make at once",
    ),
    number(
        "limits.pseudonyms-per-second",
        U32,
        Some("100"),
        "Codes a second that one institution may have evaluated",
    ),
    number(
        "limits.pseudonyms-burst",
        U32,
        Some("10000"),
        "Codes that one institution may have evaluated at once",
    ),
    number(
        "limits.pseudonyms-alarm-per-hour",
        U32,
        Some("50000"),
        "Codes an hour for one institution above which a warning is logged",
    ),
    number(
        "limits.connections",
        U32,
        Some("4096"),
        "Connections at a time",
    ),
    number(
        "limits.body-memory-mib",
        U32,
        Some("256"),
        "Memory for request bodies being read, MiB",
    ),
    number(
        "timeouts.head-ms",
        U64,
        Some("10000"),
        "Longest time until a request head is complete",
    ),
    number(
        "timeouts.body-ms",
        U64,
        Some("30000"),
        "Longest time until a request body is complete",
    ),
    number(
        "timeouts.idle-ms",
        U64,
        Some("75000"),
        "Longest silence on a connection",
    ),
    number(
        "timeouts.submit-ms",
        U64,
        Some("10000"),
        "Longest wait for a submitted entry to be committed",
    ),
    number(
        "timeouts.publish-ms",
        U64,
        Some("3000"),
        "Longest wait for its receipt after that; then 202",
    ),
    number(
        "timeouts.drain-ms",
        U64,
        Some("10000"),
        "How long open requests may go on after a stop was asked",
    ),
    number(
        "raft.snapshot-after",
        U64,
        Some("20000"),
        "Raft entries between snapshots of the database",
    ),
    number(
        "raft.keep",
        U64,
        Some("1000000"),
        "Raft entries kept behind a snapshot at most, for nodes that were away; fewer where they take over 1/32 of the state's bytes",
    ),
    number(
        "store.cache-mib",
        U16,
        Some("256"),
        "Memory for blocks of the database that were read: 4 bytes an entry, and some for the blocks",
    ),
    number(
        "store.background-mb-per-second",
        U16,
        Some("32"),
        "What flushes and compactions of the database write a second: 3 KB an entry",
    ),
    key("log.json", Some("true"), "Logs as JSON lines"),
    key(
        "log.level",
        Some("info,openraft=warn"),
        "Filter of the logs, such as info,cluster=debug",
    ),
];
