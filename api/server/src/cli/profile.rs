// SPDX-License-Identifier: EUPL-1.2
//! Settings of the commands that ask a ledger: profile file < environment < flags, each bad value named with its place.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use client::{
    http::Client,
    token::{self, Reader},
};
use ledger::id::InstitutionId;
use serde::Deserialize;
use wire::token::Role;

use super::{Connection, exit::Failure, key};

/// What a profile file may hold. Paths are relative to the file.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct File {
    urls: Option<Vec<String>>,
    ledger: Option<String>,
    policy: Option<PathBuf>,
    institution: Option<String>,
    person: Option<String>,
    role: Option<String>,
    purpose: Option<String>,
    case: Option<String>,
    token_key: Option<PathBuf>,
}

impl Connection {
    /// The settings with the profile's values where neither flag nor environment gave one.
    pub(crate) fn resolve(mut self) -> Result<Connection, Failure> {
        let Some(path) = &self.profile else {
            return Ok(self);
        };
        let text = fs::read_to_string(path)
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
        // The parser's message names line, column and member.
        let file: File = toml::from_str(&text)
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        let placed = |path: PathBuf| folder.join(path);
        if self.urls.is_empty() {
            self.urls = file.urls.unwrap_or_default();
        }
        self.ledger = self.ledger.or(file.ledger);
        self.policy = self.policy.or(file.policy.map(placed));
        self.reader.institution = self.reader.institution.or(file.institution);
        self.reader.person = self.reader.person.or(file.person);
        self.reader.role = self.reader.role.or(file.role);
        self.reader.purpose = self.reader.purpose.or(file.purpose);
        self.reader.case = self.reader.case.or(file.case);
        self.reader.token_key = self.reader.token_key.or(file.token_key.map(placed));
        Ok(self)
    }

    /// A client of the nodes given.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        if self.urls.is_empty() {
            return Err(missing("--url", "VISTO_URL", "urls"));
        }
        Client::new(&self.urls, Duration::from_secs(self.timeout_s)).map_err(Failure::usage)
    }

    /// A fresh token of the reader given.
    pub(crate) fn token(&self) -> Result<String, Failure> {
        let reader = self.reader()?;
        let ledger = self
            .ledger
            .as_ref()
            .ok_or_else(|| missing("--ledger", "VISTO_LEDGER", "ledger"))?;
        let file = self
            .reader
            .token_key
            .as_ref()
            .ok_or_else(|| missing("--token-key", "VISTO_TOKEN_KEY", "token_key"))?;
        token::make(&reader, ledger, &key::read(file)?, token::now_s()).map_err(Failure::failed)
    }

    /// The policy's text.
    pub(crate) fn policy_text(&self) -> Result<String, Failure> {
        let file = self
            .policy
            .as_ref()
            .ok_or_else(|| missing("--policy", "VISTO_POLICY", "policy"))?;
        fs::read_to_string(file)
            .map_err(|error| Failure::cannot_check(format!("{}: {error}", file.display())))
    }

    fn reader(&self) -> Result<Reader, Failure> {
        let flags = &self.reader;
        let institution = flags
            .institution
            .as_ref()
            .ok_or_else(|| missing("--institution", "VISTO_INSTITUTION", "institution"))?;
        let role = flags.role.as_deref().unwrap_or("institution");
        Ok(Reader {
            institution: InstitutionId::parse(institution).ok_or_else(|| {
                Failure::usage(format!(
                    "institution {institution:?}: not ipa:<code, lower case> or cf:<11 digits>"
                ))
            })?,
            person: flags
                .person
                .clone()
                .ok_or_else(|| missing("--person", "VISTO_PERSON", "person"))?,
            role: ROLES
                .into_iter()
                .find(|known| known.as_str() == role)
                .ok_or_else(|| {
                    Failure::usage(format!(
                        "role {role:?}: not institution, dpo, authority or operator"
                    ))
                })?,
            purpose: flags
                .purpose
                .clone()
                .ok_or_else(|| missing("--purpose", "VISTO_PURPOSE", "purpose"))?,
            case: flags.case.clone(),
        })
    }
}

fn missing(flag: &str, variable: &str, member: &str) -> Failure {
    Failure::usage(format!(
        "{flag} is missing (or {variable} in the environment, or `{member}` in the profile)"
    ))
}

/// All roles that a reader can have.
pub(crate) const ROLES: [Role; 4] = [
    Role::Institution,
    Role::Dpo,
    Role::Authority,
    Role::Operator,
];
