// SPDX-License-Identifier: EUPL-1.2
//! The key of the pseudonyms, sealed, and the identities of nodes that open it.

use std::{fs, io::Write, path::PathBuf};

use client::keyfile;
use ledger::{base64, oprf::OprfSecretKey};
use serde::Serialize;
use server::oprf_key::{self, Recipient};
use zeroize::Zeroizing;

use super::{
    super::{
        exit::{Exit, Failure},
        output::{self, Output},
    },
    of_key_file,
};

/// Draw a key of pseudonyms and write it sealed.
#[derive(clap::Args)]
pub(crate) struct Oprf {
    /// Recipient that can open it (`age1…`, as `visto key identity` printed it); give each node's.
    #[arg(long, value_name = "RECIPIENT", required = true, value_parser = parse_recipient)]
    pub(crate) seal_to: Vec<Recipient>,
    /// File to write, the same for all nodes; never replaced if it is there.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sealed {
    file: PathBuf,
    public_key: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    file: PathBuf,
    recipient: String,
}

pub(crate) fn oprf(oprf: Oprf, output: Output) -> Result<Exit, Failure> {
    let sealed = Sealed {
        public_key: make(&oprf)?,
        file: oprf.out,
    };
    output::one(output, &sealed, |sealed| {
        format!(
            "file        {}\npublic key  {}",
            sealed.file.display(),
            sealed.public_key
        )
    })?;
    Ok(Exit::Ok)
}

/// Draws a key and writes it sealed; its public half, base64url.
pub(crate) fn make(oprf: &Oprf) -> Result<String, Failure> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(Failure::failed)?;
    let key = OprfSecretKey::derive(&seed).map_err(Failure::failed)?;
    let sealed = oprf_key::seal(&key, &oprf.seal_to).map_err(Failure::failed)?;
    let written = fs::File::create_new(&oprf.out).and_then(|mut file| {
        file.write_all(&sealed)?;
        file.sync_all()
    });
    written.map_err(|error| Failure::failed(format!("{}: {error}", oprf.out.display())))?;
    Ok(base64::url_encode(key.public().as_bytes()))
}

pub(crate) fn identity(file: PathBuf, output: Output) -> Result<Exit, Failure> {
    let identity = Identity {
        recipient: make_identity(&file)?.to_string(),
        file,
    };
    output::one(output, &identity, |identity| {
        format!(
            "file       {}\nrecipient  {}",
            identity.file.display(),
            identity.recipient
        )
    })?;
    Ok(Exit::Ok)
}

/// Draws an identity and writes it into a new file of mode 0600; its recipient.
pub(crate) fn make_identity(file: &std::path::Path) -> Result<Recipient, Failure> {
    let (text, recipient) = oprf_key::new_identity();
    keyfile::write_private(file, text.as_bytes()).map_err(of_key_file)?;
    Ok(recipient)
}

fn parse_recipient(text: &str) -> Result<Recipient, String> {
    text.parse()
        .map_err(|_| "a recipient is age1… as `visto key identity` prints it".to_owned())
}
