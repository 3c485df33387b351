// SPDX-License-Identifier: EUPL-1.2
//! Configuration of a node: a TOML file, overridden by the environment (`VISTO_…`), overridden by flags. A bad value is answered with the place
//! that it came from.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use cluster::Tuning;
use toml::de::{DeTable, DeValue};

use crate::listener::{self, Timers};

pub mod keys;

pub use keys::{KEYS, Key};

/// Configuration of a node.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// Number of this node.
    pub node: u64,
    /// Folder of its database.
    pub data: PathBuf,
    /// File with the genesis entry, one line of JSON.
    pub genesis: PathBuf,
    /// Public listener.
    pub http: Http,
    /// Listener for the other nodes.
    pub peer: Peer,
    /// Key files.
    pub keys: Keys,
    /// Addresses of the other nodes' peer listeners that override those of their node entries.
    pub peers: BTreeMap<u64, String>,
    /// Keys of the pseudonyms, if this node evaluates them.
    pub oprf: Option<Oprf>,
    /// Limits.
    pub limits: Limits,
    /// Timeouts.
    pub timeouts: Timeouts,
    /// What of the node's sizes can be set, `raft.` and `store.`; all else as it stands. For this crate alone, so that the compiler tells when
    /// nobody hands it to the node.
    pub(crate) tuning: Tuning,
    /// Logs as JSON lines.
    pub log_json: bool,
    /// Filter of the logs.
    pub log_level: String,
}

/// Public listener.
#[derive(Clone, Debug)]
pub struct Http {
    /// Address.
    pub listen: SocketAddr,
    /// Certificate chain and key; plain HTTP without.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// Listener for the other nodes.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Peer {
    pub listen: SocketAddr,
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Key files.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Keys {
    pub node: PathBuf,
    pub cosign: PathBuf,
    pub log: PathBuf,
    pub log_next: Option<PathBuf>,
}

/// Sealed keys of the pseudonyms, and what opens them.
#[derive(Clone, Debug)]
pub struct Oprf {
    /// The key in force.
    pub sealed: PathBuf,
    /// That of the epoch before, as long as refs of both are being joined.
    pub sealed_before: Option<PathBuf>,
    /// The age identity that opens them.
    pub identity: PathBuf,
}

/// Limits, all at least 1.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Limits {
    pub requests_per_second: u32,
    pub requests_burst: u32,
    pub entries_per_second: u32,
    pub entries_burst: u32,
    pub pseudonyms_per_second: u32,
    pub pseudonyms_burst: u32,
    pub pseudonyms_alarm_per_hour: u32,
    pub connections: u32,
    pub body_memory_mib: u32,
}

/// Timeouts.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Timeouts {
    pub head: Duration,
    pub body: Duration,
    pub idle: Duration,
    pub submit: Duration,
    pub publish: Duration,
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            requests_per_second: 1_000,
            requests_burst: 4_000,
            entries_per_second: 10_000,
            entries_burst: 40_000,
            pseudonyms_per_second: 100,
            pseudonyms_burst: 10_000,
            pseudonyms_alarm_per_hour: 50_000,
            connections: 4_096,
            body_memory_mib: 256,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            head: Duration::from_secs(10),
            body: Duration::from_secs(30),
            idle: Duration::from_secs(75),
            submit: Duration::from_secs(10),
            publish: Duration::from_secs(3),
            drain: Duration::from_secs(10),
        }
    }
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Line of a file, from 1.
    File(PathBuf, usize),
    /// Environment variable.
    Env(String),
    /// Flag, without `--`.
    Flag(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(file, line) => write!(f, "{}:{line}", file.display()),
            Place::Env(name) => write!(f, "environment variable {name}"),
            Place::Flag(name) => write!(f, "flag --{name}"),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{}: {cause}", file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The file is no TOML.
    #[error("{}:{line}: {message}", file.display())]
    Toml {
        /// Which file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// Nobody has heard of the key.
    #[error("{place}: there is no setting {name:?}")]
    Unknown {
        /// As it stands.
        name: String,
        /// Where.
        place: Place,
    },
    /// The value does not fit.
    #[error("{place}: {name}: {message}")]
    Bad {
        /// Key.
        name: &'static str,
        /// Where.
        place: Place,
        /// What was expected.
        message: String,
    },
    /// A required value is set nowhere.
    #[error("{name} is not set; set it in the file, as {env} or with --{flag}")]
    Missing {
        /// Key.
        name: &'static str,
        /// Its environment variable.
        env: String,
        /// Its flag.
        flag: String,
    },
    /// Two values do not go together.
    #[error("{0}")]
    Together(&'static str),
}

impl ServeConfig {
    /// Loads the file if there is one, then the environment, then the flags (key name such as `http.listen`, value).
    ///
    /// # Errors
    /// A key is unknown, a required one is missing, a value does not fit; the place is named.
    pub fn load(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
        flags: &[(&str, String)],
    ) -> Result<ServeConfig, Error> {
        let mut values = Values::default();
        let mut peers = BTreeMap::new();
        if let Some(file) = file {
            let text = std::fs::read_to_string(file).map_err(|cause| Error::Read {
                file: file.to_owned(),
                cause,
            })?;
            values.add_file(file, &text, &mut peers)?;
        }
        values.add_env(env);
        for (name, value) in flags {
            let Some(key) = KEYS.iter().find(|key| key.name == *name) else {
                let place = Place::Flag((*name).to_owned());
                return Err(Error::Unknown {
                    name: (*name).to_owned(),
                    place,
                });
            };
            values.set(key.name, value.clone(), Place::Flag(key.flag()));
        }
        values.build(peers)
    }

    /// Caps and timers of the public listener.
    pub fn timers(&self) -> Timers {
        Timers {
            connections_max: usize::try_from(self.limits.connections).unwrap_or(usize::MAX),
            head: self.timeouts.head,
            idle: self.timeouts.idle,
            drain: self.timeouts.drain,
            head_bytes: listener::HEAD_BYTES,
        }
    }
}

/// The values as text, each with its place; a later layer replaces an earlier one.
#[derive(Default)]
struct Values(BTreeMap<&'static str, (String, Place)>);

impl Values {
    fn set(&mut self, name: &'static str, value: String, place: Place) {
        self.0.insert(name, (value, place));
    }

    /// Variables that begin with `VISTO_` and are no key are left alone: the demo and the tests have some of their own.
    fn add_env(&mut self, env: impl Iterator<Item = (String, String)>) {
        for (name, value) in env {
            if let Some(key) = KEYS.iter().find(|key| key.env() == name) {
                self.set(key.name, value, Place::Env(name));
            }
        }
    }

    fn add_file(
        &mut self,
        file: &Path,
        text: &str,
        peers: &mut BTreeMap<u64, String>,
    ) -> Result<(), Error> {
        let table = DeTable::parse(text).map_err(|error| Error::Toml {
            file: file.to_owned(),
            line: line_of(text, error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        })?;
        let mut open = vec![(String::new(), table.get_ref())];
        while let Some((prefix, table)) = open.pop() {
            for (name, value) in table {
                let name = format!("{prefix}{}", name.get_ref());
                let place = Place::File(file.to_owned(), line_of(text, value.span().start));
                let text = match value.get_ref() {
                    DeValue::Table(inner) => {
                        open.push((format!("{name}."), inner));
                        continue;
                    }
                    DeValue::String(text) => text.clone().into_owned(),
                    DeValue::Integer(number) if number.radix() == 10 => {
                        number.as_str().replace('_', "")
                    }
                    DeValue::Boolean(yes) => yes.to_string(),
                    other => {
                        let name = format!("{name} ({})", other.type_str());
                        return Err(Error::Unknown { name, place });
                    }
                };
                if let Some(number) = name.strip_prefix("peers.") {
                    let number = number.parse().map_err(|_| Error::Bad {
                        name: "peers",
                        place,
                        message: "the key is a node's number".to_owned(),
                    })?;
                    peers.insert(number, text);
                    continue;
                }
                let Some(key) = KEYS.iter().find(|key| key.name == name) else {
                    return Err(Error::Unknown { name, place });
                };
                self.set(key.name, text, place);
            }
        }
        Ok(())
    }

    fn build(&self, peers: BTreeMap<u64, String>) -> Result<ServeConfig, Error> {
        let limits = Limits::default();
        let timeouts = Timeouts::default();
        let certificate = self.optional("http.tls-certificate", "a file name")?;
        let key = self.optional("http.tls-key", "a file name")?;
        let tls = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                return Err(Error::Together(
                    "http.tls-certificate and http.tls-key go together: set both or neither",
                ));
            }
        };
        Ok(ServeConfig {
            node: self.number("node", None)?,
            data: self.required("data", "a folder")?,
            genesis: self.required("genesis", "a file name")?,
            http: Http {
                listen: self.address("http.listen", 8080)?,
                tls,
            },
            peer: Peer {
                listen: self.address("peer.listen", 9080)?,
                ca: self.required("peer.ca", "a file name")?,
                certificate: self.required("peer.certificate", "a file name")?,
                key: self.required("peer.key", "a file name")?,
            },
            keys: Keys {
                node: self.required("keys.node", "a file name")?,
                cosign: self.required("keys.cosign", "a file name")?,
                log: self.required("keys.log", "a file name")?,
                log_next: self.optional("keys.log-next", "a file name")?,
            },
            peers,
            oprf: self.oprf()?,
            limits: Limits {
                requests_per_second: self.number(
                    "limits.requests-per-second",
                    Some(limits.requests_per_second),
                )?,
                requests_burst: self
                    .number("limits.requests-burst", Some(limits.requests_burst))?,
                entries_per_second: self
                    .number("limits.entries-per-second", Some(limits.entries_per_second))?,
                entries_burst: self.number("limits.entries-burst", Some(limits.entries_burst))?,
                pseudonyms_per_second: self.number(
                    "limits.pseudonyms-per-second",
                    Some(limits.pseudonyms_per_second),
                )?,
                pseudonyms_burst: self
                    .number("limits.pseudonyms-burst", Some(limits.pseudonyms_burst))?,
                pseudonyms_alarm_per_hour: self.number(
                    "limits.pseudonyms-alarm-per-hour",
                    Some(limits.pseudonyms_alarm_per_hour),
                )?,
                connections: self.number("limits.connections", Some(limits.connections))?,
                body_memory_mib: self
                    .number("limits.body-memory-mib", Some(limits.body_memory_mib))?,
            },
            timeouts: Timeouts {
                head: self.millis("timeouts.head-ms", timeouts.head)?,
                body: self.millis("timeouts.body-ms", timeouts.body)?,
                idle: self.millis("timeouts.idle-ms", timeouts.idle)?,
                submit: self.millis("timeouts.submit-ms", timeouts.submit)?,
                publish: self.millis("timeouts.publish-ms", timeouts.publish)?,
                drain: self.millis("timeouts.drain-ms", timeouts.drain)?,
            },
            tuning: self.tuning()?,
            log_json: self.optional("log.json", "true or false")?.unwrap_or(true),
            log_level: self
                .optional("log.level", "a filter")?
                .unwrap_or_else(|| "info,openraft=warn".to_owned()),
        })
    }

    fn tuning(&self) -> Result<Tuning, Error> {
        let tuning = Tuning::default();
        let written = tuning.background_bytes_per_s.map(|bytes| bytes / MB);
        Ok(Tuning {
            raft_snapshot_after: self
                .number("raft.snapshot-after", Some(tuning.raft_snapshot_after))?,
            raft_keep: self.number("raft.keep", Some(tuning.raft_keep))?,
            cache_bytes: self.number("store.cache-mib", Some(tuning.cache_bytes / MIB))? * MIB,
            background_bytes_per_s: Some(
                self.number("store.background-mb-per-second", written)? * MB,
            ),
            ..tuning
        })
    }

    fn oprf(&self) -> Result<Option<Oprf>, Error> {
        let sealed = self.optional("oprf.sealed", "a file name")?;
        let sealed_before = self.optional("oprf.sealed-before", "a file name")?;
        let identity = self.optional("oprf.identity", "a file name")?;
        match (sealed, sealed_before, identity) {
            (Some(sealed), sealed_before, Some(identity)) => Ok(Some(Oprf {
                sealed,
                sealed_before,
                identity,
            })),
            (None, None, None) => Ok(None),
            _ => Err(Error::Together(
                "oprf.sealed and oprf.identity go together, and oprf.sealed-before only with both",
            )),
        }
    }

    fn optional<T: FromStr>(&self, name: &'static str, expected: &str) -> Result<Option<T>, Error> {
        let Some((text, place)) = self.0.get(name) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| Error::Bad {
            name,
            place: place.clone(),
            message: format!("expected {expected}"),
        })
    }

    fn required<T: FromStr>(&self, name: &'static str, expected: &str) -> Result<T, Error> {
        self.optional(name, expected)?.ok_or_else(|| missing(name))
    }

    fn address(&self, name: &'static str, port: u16) -> Result<SocketAddr, Error> {
        let address = self.optional(name, "an address such as 127.0.0.1:8080")?;
        Ok(address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], port))))
    }

    /// From 1 to what [`KEYS`] says.
    fn number<T: TryFrom<u64>>(&self, name: &'static str, default: Option<T>) -> Result<T, Error> {
        let Some((text, place)) = self.0.get(name) else {
            return default.ok_or_else(|| missing(name));
        };
        let max = keys::max(name);
        let number = text.parse().ok();
        let number = number.filter(|number| (1..=max).contains(number));
        number
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| Error::Bad {
                name,
                place: place.clone(),
                message: format!("expected a number from 1 to {max}"),
            })
    }

    fn millis(&self, name: &'static str, default: Duration) -> Result<Duration, Error> {
        let default = u64::try_from(default.as_millis()).ok();
        Ok(Duration::from_millis(self.number(name, default)?))
    }
}

fn missing(name: &'static str) -> Error {
    Error::Missing {
        name,
        env: keys::env(name),
        flag: keys::flag(name),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.get(..offset).unwrap_or(text);
    before.bytes().filter(|byte| *byte == b'\n').count() + 1
}

const MB: u64 = 1_000_000;
const MIB: usize = 1 << 20;

#[cfg(test)]
mod tests;
