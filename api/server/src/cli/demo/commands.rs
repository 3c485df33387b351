// SPDX-License-Identifier: EUPL-1.2
//! The lines that a person can type beside the demo, to see the same without it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{
    founders::{DPO, INSPECTOR, OPERATOR, Place},
    nodes::Nodes,
};
use crate::cli::exit::Failure;

/// What the lines need: this binary, a node, and the profiles of three readers.
pub(super) struct Commands {
    pub(super) visto: PathBuf,
    url: String,
    pub(super) dpo: PathBuf,
    pub(super) inspector: PathBuf,
    pub(super) operator: PathBuf,
}

impl Commands {
    pub(super) fn new(place: &Place, nodes: &Nodes) -> Result<Commands, Failure> {
        let urls = nodes.urls();
        Ok(Commands {
            visto: std::env::current_exe().map_err(Failure::failed)?,
            dpo: place.write_profile("dpo.toml", &urls, &DPO)?,
            inspector: place.write_profile("authority.toml", &urls, &INSPECTOR)?,
            operator: place.write_profile("operator.toml", &urls, &OPERATOR)?,
            url: urls.into_iter().next().unwrap_or_default(),
        })
    }

    /// What is open to everybody.
    pub(super) fn open(&self, path: &str) -> String {
        format!("    $ curl -s {}{path}", self.url)
    }

    /// What a reader may see.
    pub(super) fn read(&self, profile: &Path, path: &str) -> String {
        format!(
            "    $ curl -s {}{path} -H \"Authorization: Bearer $({})\"",
            self.url,
            self.token(profile)
        )
    }

    /// What a reader asks for; refs stand in the body, never in the URL.
    pub(super) fn search(&self, profile: &Path, path: &str, body: &Value) -> String {
        format!(
            "{} -H 'Content-Type: application/json' -d '{body}'",
            self.read(profile, path)
        )
    }

    /// An export, written to a file of another name than the demo's own.
    pub(super) fn export(&self, profile: &Path, of: &str, file: &Path) -> String {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let yours = file.with_file_name(format!("my-{name}"));
        format!(
            "    $ {} export --profile {} {of} --out {}",
            self.visto.display(),
            profile.display(),
            yours.display()
        )
    }

    /// A signed entry, sent again: known, and answered with the receipt it had.
    pub(super) fn send(&self, file: &Path) -> String {
        format!(
            "    $ curl -s {}/v1/entries -H 'Content-Type: application/json' --data-binary @{}",
            self.url,
            file.display()
        )
    }

    /// Prints a token of a reader.
    pub(super) fn token(&self, profile: &Path) -> String {
        format!(
            "{} token new --profile {}",
            self.visto.display(),
            profile.display()
        )
    }
}
