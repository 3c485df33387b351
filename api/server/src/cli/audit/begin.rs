// SPDX-License-Identifier: EUPL-1.2
//! Beginning at the newest state root: what is fed first, from a node or from where an earlier audit kept it.

use std::{
    fs::{self, File},
    io::{BufReader, BufWriter, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use client::http::Client;
use indicatif::ProgressStyle;
use ledger::audit::{Beginning, Evidence, StartLine};

use super::{Connection, Failure, Replay, at, next_line};

/// Where a start is kept, within the folder of what is fed.
pub(super) const START: &str = "start.ndjson";
/// The first file of what is fed from genesis on.
const FIRST: &str = "entries-00000000000000000000.ndjson";

impl Replay {
    /// Begins with what a node tells, and keeps it.
    pub(super) async fn begin_from_node(
        &mut self,
        client: &Client,
        connection: &Connection,
    ) -> Result<Option<Evidence>, Failure> {
        let partly = self.keep.as_ref().map(|folder| folder.join("start.partly"));
        let mut file = match &partly {
            // Refs and consents stand in it: for nobody else's eyes.
            Some(file) => fs::OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(file)
                .map_err(|error| at(file, &error))?,
            None => tempfile::tempfile().map_err(|error| at(Path::new("a file"), &error))?,
        };
        let shown = partly.clone().unwrap_or_else(|| PathBuf::from(START));
        let failed = |error: std::io::Error| at(&shown, &error);
        let mut out = BufWriter::new(&mut file);
        let fed = client.audit_start(&connection.token()?, &mut out).await;
        fed.map_err(Failure::of_client)?;
        out.flush().map_err(failed)?;
        drop(out);
        file.rewind().map_err(failed)?;
        let lie = self.begin_with(&file, &shown)?;
        if let (Some(folder), Some(partly)) = (&self.keep, &partly) {
            file.sync_all().map_err(failed)?;
            // A crash before leaves a file that no replay reads.
            fs::rename(partly, folder.join(START)).map_err(failed)?;
        }
        Ok(lie)
    }

    /// Begins with what an earlier audit kept.
    pub(super) fn begin_from_folder(&mut self, folder: &Path) -> Result<Option<Evidence>, Failure> {
        let file = folder.join(START);
        let opened = File::open(&file).map_err(|error| at(&file, &error))?;
        self.begin_with(&opened, &file)
    }

    /// What was kept from a state root on cannot be replayed from genesis.
    pub(super) fn begins_there(&self, folder: &Path, files: &[PathBuf]) -> Result<(), Failure> {
        let whole = files.iter().any(|file| file.ends_with(FIRST));
        if self.audit.size().0 == 0 && !whole && folder.join(START).exists() {
            let why = "kept from a state root on: --begin-at state-root";
            return Err(at(folder, &why));
        }
        Ok(())
    }

    fn begin_with(&mut self, fed: impl Read, name: &Path) -> Result<Option<Evidence>, Failure> {
        let style = self.bar.style();
        if let Ok(spinner) = ProgressStyle::with_template("{spinner} {pos} lines of the start") {
            self.bar.set_style(spinner);
        }
        let mut beginning = Beginning::new(self.audit.policies().clone());
        let mut fed = BufReader::new(fed);
        while let Some(line) = next_line(&mut fed).map_err(|error| at(name, &error))? {
            let line = StartLine::parse(&line)
                .map_err(|why| at(name, &format!("a line that is none of a start: {why}")))?;
            if let Err(lie) = beginning.take(line) {
                return Ok(Some(lie));
            }
            self.bar.inc(1);
        }
        self.bar.set_style(style);
        match beginning.end() {
            Ok(audit) => self.audit = audit,
            Err(lie) => return Ok(Some(lie)),
        }
        self.save()?;
        Ok(None)
    }
}
