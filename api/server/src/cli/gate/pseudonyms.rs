// SPDX-License-Identifier: EUPL-1.2
//! Refs of codes for the table of routes: with the cluster's help, in the provider's name, and kept sealed in the gate's folder.

use std::{fs, time::Duration};

use client::{
    error::Error,
    keyfile,
    pseudonym::{self, Cache, Pseudonyms},
    token::{self, Reader, now_s},
};
use ledger::{base64, policy::PolicySet};
use wire::token::Role;

use super::{
    super::exit::Failure,
    client_of,
    config::{self, Config},
};

impl config::Pseudonyms {
    /// What makes refs, as the configuration says.
    pub(super) fn open(&self, config: &Config) -> Result<Pseudonyms, Failure> {
        let named = |file: &std::path::Path, error: String| {
            Failure::usage(format!("{}: {error}", file.display()))
        };
        let read =
            |file: &std::path::Path| fs::read(file).map_err(|error| named(file, error.to_string()));
        let policy = PolicySet::parse(&read(&config.policy)?)
            .map_err(|error| named(&config.policy, error.to_string()))?;
        let epoch = pseudonym::genesis_key(&read(&self.genesis)?, &policy)
            .map_err(|error| named(&self.genesis, error))?;
        let key = keyfile::read(&self.token_key).map_err(Failure::usage)?;
        let reader = Reader {
            institution: config.provider()?,
            person: self.person.clone(),
            role: Role::Institution,
            purpose: self.purpose.clone(),
            case: None,
        };
        let ledger = config.ledger.clone();
        let tokens = move || {
            token::make(&reader, &ledger, &key, now_s())
                .map_err(|error| Error::Setup(format!("the system gives no randomness: {error}")))
        };
        let secret = keyfile::read_private(&self.cache_key, 256).map_err(Failure::usage)?;
        let secret = std::str::from_utf8(&secret).unwrap_or_default();
        let secret = base64::url_decode_array(secret.trim())
            .ok_or_else(|| named(&self.cache_key, "not 32 bytes in base64url".to_owned()))?;
        fs::create_dir_all(&config.data).map_err(Failure::failed)?;
        let cache = Cache::open(&config.data.join("refs.sealed"), &secret, &epoch);
        let http = client_of(config, PATIENCE)?;
        Pseudonyms::new(http, epoch, Box::new(tokens))
            .with_cache(cache.map_err(Failure::failed)?)
            .map_err(Failure::failed)
    }
}

/// A caller waits for it.
const PATIENCE: Duration = Duration::from_secs(5);
