// SPDX-License-Identifier: EUPL-1.2
//! Configuration of `visto gate`: one TOML file; paths in it are relative to it. Nobody's default lets an uncovered call through.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use ledger::{
    finding::{Finding, Findings},
    id::InstitutionId,
};
use serde::Deserialize;

use super::{super::exit::Failure, facts::Table};

/// The file.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Config {
    /// Name of the ledger.
    pub(super) ledger: String,
    /// URLs of its nodes.
    pub(super) nodes: Vec<String>,
    /// Trust policy, as the founders handed it out.
    pub(super) policy: PathBuf,
    /// Whose e-service it is.
    pub(super) provider: String,
    /// The provider's registered entry key.
    pub(super) key: PathBuf,
    /// Folder of the outbox, the used exchanges and the copy of the registry's keys.
    pub(super) data: PathBuf,
    pub(super) http: Http,
    pub(super) upstream: Upstream,
    #[serde(default)]
    pub(super) rules: Rules,
    #[serde(default)]
    pub(super) limits: Limits,
    pub(super) callers: Callers,
    /// For routes that ask by code: how refs are made.
    pub(super) pseudonyms: Option<Pseudonyms>,
    pub(super) routes: Vec<Route>,
    #[serde(default)]
    pub(super) log: Log,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Http {
    /// Where consumers call.
    pub(super) listen: SocketAddr,
    pub(super) tls_certificate: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
    /// Where the operator asks for health and metrics; not for consumers.
    pub(super) admin: SocketAddr,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Upstream {
    /// The e-service: scheme, host and port.
    pub(super) url: String,
    /// CA of its certificate, beside the system's.
    pub(super) ca: Option<PathBuf>,
    /// How long until its answer begins, and between two pieces of it.
    #[serde(default = "thirty")]
    pub(super) timeout_s: u64,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Rules {
    pub(super) window_s: u64,
    pub(super) skew_s: u64,
    /// Findings that are let pass; none when absent.
    pub(super) allow_findings: Vec<String>,
    /// Emergencies are let through, if need be without receipt.
    pub(super) emergencies: bool,
    pub(super) keys_refresh_s: u64,
    pub(super) keys_max_age_s: u64,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            window_s: 300,
            skew_s: 10,
            allow_findings: Vec::new(),
            emergencies: false,
            keys_refresh_s: 300,
            keys_max_age_s: 86_400,
        }
    }
}

#[derive(Deserialize, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Limits {
    pub(super) connections: usize,
    /// Longest body of a covered request.
    pub(super) request_bytes: usize,
    /// Answers up to this length get a digest and a count; longer ones are passed on as they come.
    pub(super) answer_bytes: usize,
    pub(super) outbox_bytes: u64,
    /// How many days the receipts of our side are kept.
    pub(super) receipt_days: u64,
    /// Longest pause between two attempts to reach the ledger.
    pub(super) retry_s: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 1024,
            request_bytes: 1 << 20,
            answer_bytes: 1 << 20,
            outbox_bytes: 256 << 20,
            receipt_days: client::outbox::RECEIPT_DAYS,
            retry_s: 30,
        }
    }
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Callers {
    pub(super) by: CallersBy,
    /// For `header`: which one. Whoever stands in front sets it, and nobody else can reach the gate.
    pub(super) header: Option<String>,
    /// For `voucher`: PDND's public keys.
    pub(super) keys: Option<PathBuf>,
    /// For `voucher`: its issuer.
    pub(super) issuer: Option<String>,
    /// For `voucher`: its audience.
    pub(super) audience: Option<String>,
    /// Client id, or what the header says, to institution.
    #[serde(default)]
    pub(super) clients: BTreeMap<String, String>,
}

#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum CallersBy {
    /// The signature of the entry tells who calls: it is made for exactly this request, of now, and used once.
    Signature,
    /// A header that a proxy in front sets, from a client certificate for instance.
    Header,
    /// The voucher in `Authorization`.
    Voucher,
}

/// Refs are made of codes with the cluster's help, and kept sealed.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Pseudonyms {
    /// The genesis entry, which names the key of pseudonyms; the policy says which genesis it is.
    pub(super) genesis: PathBuf,
    /// The provider's registered token key: evaluations are asked for, and counted, in its name.
    pub(super) token_key: PathBuf,
    /// Who asks: the gate's name among the institution's own.
    #[serde(default = "gate")]
    pub(super) person: String,
    /// What for, a CURIE.
    #[serde(default = "identity")]
    pub(super) purpose: String,
    /// File of 32 random bytes in base64url that seals what was learnt.
    pub(super) cache_key: PathBuf,
}

#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Route {
    /// `/isee/{ref}`: a name in braces takes one segment.
    pub(super) path: String,
    /// All methods when absent.
    #[serde(default)]
    pub(super) methods: Vec<String>,
    /// Passes without entry: health, descriptions, nothing personal.
    #[serde(default)]
    pub(super) open: bool,
    /// The e-service's id in PDND's catalogue.
    pub(super) eservice: Option<String>,
    /// Purposes that it may be called for; any when absent.
    #[serde(default)]
    pub(super) purposes: Vec<String>,
    /// Where the persons stand. All places together say who is asked for.
    #[serde(default)]
    pub(super) subjects: Vec<Subject>,
    /// JSON pointer into the answer: a list, whose length counts, or a number.
    pub(super) result_count: Option<String>,
}

#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Subject {
    #[serde(rename = "in")]
    pub(super) place: PlaceIn,
    /// Name of the segment, parameter or header; JSON pointer for `json`, where `*` stands for every item of a list.
    pub(super) name: String,
    /// What stands there: a ref when absent, else a code of that kind (`cf`, `idANPR`, `stp`, `eni`).
    pub(super) code: Option<String>,
}

#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum PlaceIn {
    Path,
    Query,
    Json,
    Header,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Log {
    pub(super) json: bool,
    pub(super) level: String,
}

impl Default for Log {
    fn default() -> Log {
        Log {
            json: true,
            level: "info".to_owned(),
        }
    }
}

impl Config {
    /// Reads the file.
    pub(super) fn load(file: &Path) -> Result<Config, Failure> {
        let wrong = |what: String| Failure::usage(format!("{}: {what}", file.display()));
        let text = fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
        // The parser's message names line, column and member.
        let mut config: Config = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let folder = file.parent().map(Path::to_owned).unwrap_or_default();
        let paths = [
            Some(&mut config.policy),
            Some(&mut config.key),
            Some(&mut config.data),
            config.http.tls_certificate.as_mut(),
            config.http.tls_key.as_mut(),
            config.upstream.ca.as_mut(),
            config.callers.keys.as_mut(),
        ];
        let of_pseudonyms = config.pseudonyms.as_mut();
        let more = of_pseudonyms.map(|it| [&mut it.genesis, &mut it.token_key, &mut it.cache_key]);
        let paths = paths
            .into_iter()
            .chain(more.into_iter().flatten().map(Some));
        for path in paths.flatten() {
            *path = folder.join(&*path);
        }
        if config.http.tls_certificate.is_some() != config.http.tls_key.is_some() {
            return Err(wrong(
                "http.tls-certificate and http.tls-key go together".to_owned(),
            ));
        }
        Ok(config)
    }

    pub(super) fn provider(&self) -> Result<InstitutionId, Failure> {
        InstitutionId::parse(&self.provider).ok_or_else(|| {
            Failure::usage(format!("provider: {:?} is no institution", self.provider))
        })
    }

    pub(super) fn findings(&self) -> Result<Findings, Failure> {
        let names = self.rules.allow_findings.iter();
        names
            .map(|name| {
                Finding::parse(name).ok_or_else(|| {
                    Failure::usage(format!(
                        "rules.allow-findings: there is no finding {name:?}"
                    ))
                })
            })
            .collect()
    }

    pub(super) fn table(&self) -> Result<Table, Failure> {
        let table = Table::new(&self.routes).map_err(Failure::usage)?;
        if !table.asks_by_code() {
            return Ok(table);
        }
        let Some(pseudonyms) = &self.pseudonyms else {
            return Err(Failure::usage(
                "a route asks by code: say in [pseudonyms] how refs are made",
            ));
        };
        // Whoever is not known could have codes tried.
        if self.callers.by == CallersBy::Signature {
            return Err(Failure::usage(
                "callers.by: a route that asks by code needs `voucher` or `header`",
            ));
        }
        Ok(table.with_pseudonyms(pseudonyms.open(self)?))
    }
}

fn gate() -> String {
    "gate".to_owned()
}

fn identity() -> String {
    "dpv:IdentityVerification".to_owned()
}

fn thirty() -> u64 {
    30
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_example_is_a_configuration_and_slips_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gate.toml");
        let example = include_str!("example.toml");
        fs::write(&file, example).unwrap();
        let config = Config::load(&file).unwrap();
        assert_eq!(config.policy, folder.path().join("policy.txt"));
        assert!(config.table().is_ok() && config.provider().is_ok());
        assert!(config.findings().unwrap().is_covered());
        // What the example only tells is what holds where nothing is said, and can be said.
        let limits = example
            .lines()
            .skip_while(|line| *line != "[limits]")
            .skip(1)
            .take_while(|line| line.starts_with("# "))
            .map(|line| line.trim_start_matches("# "));
        let told: Limits = toml::from_str(&limits.collect::<Vec<_>>().join("\n")).unwrap();
        assert_eq!(told, Limits::default());
        for (from, to, told) in [
            ("[limits]", "[limit]", "limit"),
            ("emergencies = true", "emergency = true", "emergency"),
            ("tls-key = \"gate.key\"\n", "", "go together"),
            ("by = \"voucher\"", "by = \"nobody\"", "nobody"),
        ] {
            assert!(example.contains(from), "{from}");
            fs::write(&file, example.replacen(from, to, 1)).unwrap();
            let failure = Config::load(&file).unwrap_err();
            assert!(failure.text.contains(told), "{}", failure.text);
        }
    }
}
