// SPDX-License-Identifier: EUPL-1.2
//! `visto token`: bearer tokens for readers.

use super::{
    Connection,
    exit::{Exit, Failure},
    output::{self, Output},
};
use serde::Serialize;
use wire::token::LIFE_SECONDS_MAX;

/// Readers' tokens.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Print a token that is valid for five minutes: `curl -H "Authorization: Bearer $(visto token new …)"`.
    New(Connection),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    token: String,
    expires_in_s: u64,
}

pub(crate) fn run(command: Command, output: Output) -> Result<Exit, Failure> {
    let Command::New(connection) = command;
    let token = connection.resolve()?.token()?;
    output::one(
        output,
        &Made {
            token,
            expires_in_s: LIFE_SECONDS_MAX,
        },
        |made| made.token.clone(),
    )?;
    Ok(Exit::Ok)
}
