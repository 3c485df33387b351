// SPDX-License-Identifier: EUPL-1.2
//! `visto pseudonym`: refs of codes. Codes come from stdin or a file, never from arguments: those stand in the list of processes.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use client::{
    keyfile,
    pseudonym::{self, Bound, Cache, Code, Pseudonyms},
};
use ledger::{base64, bytes::CodeKind, oprf::OprfPublicKey, policy::PolicySet};
use serde::Serialize;
use wire::{export::ExportBinding, token::Role};
use zeroize::Zeroizing;

use super::{
    Connection, ReaderFlags,
    exit::{Exit, Failure},
    output::{self, Output},
};

/// Refs of codes, evaluated by the cluster without showing it the codes.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Print the refs of codes, in their order.
    Refs(Refs),
    /// Print the ref of one code, and the binding that an export carries for the citizen. Whoever has the binding can try codes.
    Bind(Asked),
}

/// Print the refs of codes, in their order.
#[derive(clap::Args)]
pub(crate) struct Refs {
    #[command(flatten)]
    asked: Asked,
    /// File that keeps what was learnt, sealed.
    #[arg(long, value_name = "FILE", requires = "cache_key")]
    cache: Option<PathBuf>,
    /// File with the key of the cache: 32 bytes in base64url, mode 0600.
    #[arg(long, value_name = "FILE", requires = "cache")]
    cache_key: Option<PathBuf>,
}

/// Which codes, and under which key.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("believed").required(true).args(["genesis", "oprf_key"])))]
pub(crate) struct Asked {
    #[command(flatten)]
    connection: Connection,
    /// File with one code a line; stdin when absent or -.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Kind of the codes: cf, idANPR, stp, eni, anagrafica or isee.
    #[arg(long, value_name = "KIND", default_value = "cf", value_parser = parse_kind)]
    kind: CodeKind,
    #[command(flatten)]
    key: Key,
}

/// Which key is believed: one at most.
#[derive(clap::Args)]
#[group(id = "Key", multiple = false)]
pub(crate) struct Key {
    /// Believe the key in this genesis entry, if the policy names it.
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// Believe this key, base64url: after a change of keys.
    #[arg(long, value_name = "KEY", value_parser = parse_key)]
    oprf_key: Option<OprfPublicKey>,
}

impl Key {
    /// Whether one is named.
    pub(crate) fn is_given(&self) -> bool {
        self.genesis.is_some() || self.oprf_key.is_some()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    #[serde(rename = "ref")]
    reference: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    binding: Option<ExportBinding>,
}

pub(crate) async fn run(command: Command, output: Output) -> Result<Exit, Failure> {
    let (asked, cache) = match command {
        Command::Refs(refs) => (refs.asked, refs.cache.zip(refs.cache_key)),
        Command::Bind(asked) => {
            let codes = read_codes(asked.from.as_deref(), asked.kind)?;
            let bound = bind(asked.connection.resolve()?, &asked.key, &codes).await?;
            let found = Found {
                reference: base64::url_encode(bound.reference.as_bytes()),
                binding: Some(ExportBinding::from(&bound.binding)),
            };
            output::one(output, &found, |found| {
                let binding = serde_json::to_string(&found.binding).unwrap_or_default();
                format!("ref      {}\nbinding  {binding}", found.reference)
            })?;
            return Ok(Exit::Ok);
        }
    };
    let (pseudonyms, codes) = asked.prepare(cache)?;
    let refs = pseudonyms.refs(&codes).await.map_err(of_pseudonym)?;
    let found: Vec<Found> = refs
        .iter()
        .map(|reference| Found {
            reference: base64::url_encode(reference.as_bytes()),
            binding: None,
        })
        .collect();
    output::many(output, &found, |found| {
        let refs: Vec<&str> = found.iter().map(|found| found.reference.as_str()).collect();
        refs.join("\n")
    })?;
    Ok(Exit::Ok)
}

impl Asked {
    fn prepare(
        self,
        cache: Option<(PathBuf, PathBuf)>,
    ) -> Result<(Pseudonyms, Vec<Code>), Failure> {
        let codes = read_codes(self.from.as_deref(), self.kind)?;
        let (pseudonyms, key) = asking(self.connection.resolve()?, &self.key)?;
        let pseudonyms = match cache {
            None => pseudonyms,
            Some((file, secret)) => {
                let secret = cache_key(&secret)?;
                Cache::open(&file, &secret, &key)
                    .and_then(|cache| pseudonyms.with_cache(cache))
                    .map_err(Failure::failed)?
            }
        };
        Ok((pseudonyms, codes))
    }
}

/// The ref of the one code, and what binds an export to it.
pub(crate) async fn bind(
    connection: Connection,
    key: &Key,
    codes: &[Code],
) -> Result<Bound, Failure> {
    let [code] = codes else {
        return Err(Failure::usage("give exactly one code to bind"));
    };
    let (pseudonyms, _) = asking(connection, key)?;
    pseudonyms.bind(code).await.map_err(of_pseudonym)
}

/// What asks the ledger for evaluations, and under which key it believes them. They are an institution's to ask for, whoever acts for it.
fn asking(connection: Connection, key: &Key) -> Result<(Pseudonyms, OprfPublicKey), Failure> {
    let connection = Connection {
        reader: ReaderFlags {
            role: Some(Role::Institution.as_str().to_owned()),
            ..connection.reader
        },
        ..connection
    };
    let key = match (&key.genesis, key.oprf_key) {
        (_, Some(key)) => key,
        (Some(file), None) => genesis_key(file, &connection)?,
        (None, None) => return Err(Failure::usage("give --genesis or --oprf-key")),
    };
    let client = connection.client()?;
    // Fails here, not in the middle, if no token can be made.
    connection.token()?;
    let tokens = move || {
        let failed = |failure: Failure| client::error::Error::Setup(failure.text);
        connection.token().map_err(failed)
    };
    Ok((Pseudonyms::new(client, key, Box::new(tokens)), key))
}

/// The text of a file, or of stdin where there is none or it is called -; it is wiped after use.
pub(super) fn read_secret(from: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::new());
    match from.filter(|file| *file != Path::new("-")) {
        Some(file) => {
            let failed = |error| Failure::cannot_check(format!("{}: {error}", file.display()));
            *text = std::fs::read_to_string(file).map_err(failed)?;
        }
        None => {
            io::stdin()
                .read_to_string(&mut text)
                .map_err(Failure::cannot_check)?;
        }
    }
    Ok(text)
}

/// The codes of a file, or of stdin, one a line; told of a wrong one is its line's number alone.
pub(crate) fn read_codes(from: Option<&Path>, kind: CodeKind) -> Result<Vec<Code>, Failure> {
    let text = read_secret(from)?;
    let lines = (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty());
    let codes: Vec<Code> = lines
        .map(|(number, line)| {
            Code::parse(kind, line)
                .map_err(|error| Failure::failed(format!("line {number}: {error}")))
        })
        .collect::<Result<_, _>>()?;
    match codes.is_empty() {
        true => Err(Failure::usage("no code is given; give one a line")),
        false => Ok(codes),
    }
}

fn genesis_key(file: &Path, connection: &Connection) -> Result<OprfPublicKey, Failure> {
    let policy = PolicySet::parse(connection.policy_text()?.as_bytes())
        .map_err(|error| Failure::usage(format!("policy: {error}")))?;
    let genesis = std::fs::read(file)
        .map_err(|error| Failure::cannot_check(format!("{}: {error}", file.display())))?;
    pseudonym::genesis_key(&genesis, &policy)
        .map_err(|error| Failure::failed(format!("{}: {error}", file.display())))
}

fn cache_key(file: &Path) -> Result<Zeroizing<[u8; 32]>, Failure> {
    let text = keyfile::read_private(file, 256).map_err(Failure::failed)?;
    let text = std::str::from_utf8(&text).unwrap_or_default();
    base64::url_decode_array(text.trim())
        .map(Zeroizing::new)
        .ok_or_else(|| Failure::failed(format!("{}: not 32 bytes in base64url", file.display())))
}

fn of_pseudonym(error: pseudonym::Error) -> Failure {
    match error {
        pseudonym::Error::Http(error) => Failure::of_client(error),
        error => Failure::failed(error),
    }
}

pub(crate) fn parse_kind(text: &str) -> Result<CodeKind, String> {
    CodeKind::parse(text)
        .ok_or_else(|| "a kind is cf, idANPR, stp, eni, anagrafica or isee".to_owned())
}

pub(crate) fn parse_key(text: &str) -> Result<OprfPublicKey, String> {
    base64::url_decode_array(text)
        .and_then(|bytes| OprfPublicKey::from_bytes(&bytes).ok())
        .ok_or_else(|| "a key is what `visto key oprf` prints".to_owned())
}
