// SPDX-License-Identifier: EUPL-1.2
//! `visto key`: private keys in files, and what may be said of them in public.

use std::path::{Path, PathBuf};

use client::keyfile::{self, KeyFileError};
use ledger::{
    base64, bytes,
    id::InstitutionId,
    key::{KeyUse, SigningKey},
};
use serde::Serialize;

use super::{
    exit::{Exit, Failure},
    output::{self, Output},
};

pub(crate) mod sealed;

/// Private keys in files.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Draw a key and write it into a new file of mode 0600 (PEM, PKCS#8, Ed25519).
    New {
        /// File to write; never replaced if it is there.
        file: PathBuf,
    },
    /// Print the public half of a key.
    Show(Show),
    /// Draw an age identity and write it into a new file of mode 0600: a node opens the key of the pseudonyms with it.
    Identity {
        /// File to write; never replaced if it is there.
        file: PathBuf,
    },
    /// Draw a key of pseudonyms and write it sealed; print its public half, for the genesis or a new epoch.
    Oprf(sealed::Oprf),
}

/// Print the public half of a key.
#[derive(clap::Args)]
pub(crate) struct Show {
    /// File to read.
    file: PathBuf,
    /// Also prove possession of the key, for its registration in this ledger.
    #[arg(long, value_name = "NAME", requires_all = ["key_use", "institution"])]
    ledger: Option<String>,
    /// The use that it is to be registered for: entry, token, governance, node, cosign or log.
    #[arg(long = "use", id = "key_use", value_name = "USE", value_parser = parse_use)]
    key_use: Option<KeyUse>,
    /// The institution that it is to be registered for.
    #[arg(long, value_name = "ID", value_parser = parse_institution)]
    institution: Option<InstitutionId>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Public {
    file: PathBuf,
    key_id: String,
    public_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    possession: Option<String>,
}

pub(crate) fn run(command: Command, output: Output) -> Result<Exit, Failure> {
    let public = match command {
        Command::Identity { file } => return sealed::identity(file, output),
        Command::Oprf(oprf) => return sealed::oprf(oprf, output),
        Command::New { file } => {
            let key = keyfile::generate(&file).map_err(of_key_file)?;
            describe(file, &key)
        }
        Command::Show(show) => {
            let key = read(&show.file)?;
            let mut public = describe(show.file, &key);
            if let (Some(ledger), Some(key_use), Some(institution)) =
                (show.ledger, show.key_use, show.institution)
            {
                public.possession = Some(base64::url_encode(
                    &key.sign(&bytes::possession_message(&ledger, key_use, &institution)),
                ));
            }
            public
        }
    };
    output::one(output, &public, |public| {
        let mut text = format!(
            "file        {}\nkey id      {}\npublic key  {}",
            public.file.display(),
            public.key_id,
            public.public_key
        );
        if let Some(possession) = &public.possession {
            text = format!("{text}\npossession  {possession}");
        }
        text
    })?;
    Ok(Exit::Ok)
}

/// Reads a key file for any command.
pub(crate) fn read(file: &Path) -> Result<SigningKey, Failure> {
    keyfile::read(file).map_err(of_key_file)
}

pub(crate) fn parse_institution(text: &str) -> Result<InstitutionId, String> {
    InstitutionId::parse(text)
        .ok_or_else(|| "an institution is ipa:<code, lower case> or cf:<11 digits>".to_owned())
}

fn parse_use(text: &str) -> Result<KeyUse, String> {
    KeyUse::parse(text)
        .ok_or_else(|| "a use is entry, token, governance, node, cosign or log".to_owned())
}

fn describe(file: PathBuf, key: &SigningKey) -> Public {
    Public {
        file,
        key_id: key.key_id().to_string(),
        public_key: base64::url_encode(key.public().as_bytes()),
        possession: None,
    }
}

fn of_key_file(error: KeyFileError) -> Failure {
    match error {
        KeyFileError::Io { .. } => Failure::cannot_check(error),
        KeyFileError::Mode { .. } | KeyFileError::Form { .. } => Failure::failed(error),
    }
}
