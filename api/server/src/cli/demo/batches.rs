// SPDX-License-Identifier: EUPL-1.2
//! Entries on their way to the loader: gathered by signer, one batch signature for each hundred.

use std::sync::Arc;

use client::build::{self, Draft};
use ledger::{entry::SubmittedEntry, key::SigningKey};

use super::load::Outlet;
use crate::cli::exit::Failure;

/// Batches of one signer, put out when full.
pub(super) struct Batches<'a> {
    open: Vec<(&'static str, Vec<Draft>)>,
    keys: Arc<Vec<(&'static str, SigningKey)>>,
    outlet: &'a Outlet,
}

impl<'a> Batches<'a> {
    pub(super) fn new(
        keys: Arc<Vec<(&'static str, SigningKey)>>,
        outlet: &'a Outlet,
    ) -> Batches<'a> {
        Batches {
            open: Vec::new(),
            keys,
            outlet,
        }
    }

    pub(super) fn put(&mut self, signer: &'static str, draft: Draft) -> Result<(), Failure> {
        let place = match self.open.iter().position(|(open, _)| *open == signer) {
            Some(place) => place,
            None => {
                self.open.push((signer, Vec::new()));
                self.open.len() - 1
            }
        };
        let Some((_, drafts)) = self.open.get_mut(place) else {
            return Ok(());
        };
        drafts.push(draft);
        if drafts.len() >= BATCH {
            let full = std::mem::take(drafts);
            self.send(signer, full)?;
        }
        Ok(())
    }

    pub(super) fn flush(mut self) -> Result<(), Failure> {
        for (signer, drafts) in std::mem::take(&mut self.open) {
            if !drafts.is_empty() {
                self.send(signer, drafts)?;
            }
        }
        Ok(())
    }

    fn send(&self, signer: &str, drafts: Vec<Draft>) -> Result<(), Failure> {
        let (_, key) = self
            .keys
            .iter()
            .find(|(id, _)| *id == signer)
            .ok_or_else(|| Failure::failed(format!("{signer} has no entry key")))?;
        let entries: Vec<SubmittedEntry> =
            build::sign_batch(drafts, key).map_err(Failure::failed)?;
        self.outlet.put(entries)
    }
}

/// Entries under one batch signature, and lines of one request.
const BATCH: usize = 100;
