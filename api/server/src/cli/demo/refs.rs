// SPDX-License-Identifier: EUPL-1.2
//! Refs of the demo, as an institution makes them: codes blinded here, evaluated by the nodes a thousand a request, each answer checked against the
//! key in genesis.

use std::{collections::HashMap, time::Duration};

use client::{
    http::Client,
    pseudonym::{Code, Pseudonyms},
};
use futures::future::try_join_all;
use ledger::hash::Hash;

use super::founders::{Place, REGISTRY};
use crate::cli::exit::Failure;

/// Refs that were learnt, and those who are asked for more.
pub(super) struct Refs {
    /// Each begins with another node: any node evaluates.
    lanes: Vec<Pseudonyms>,
    known: HashMap<Code, Hash>,
}

impl Refs {
    pub(super) fn new(place: &Place, urls: &[String]) -> Result<Refs, Failure> {
        let key = place.oprf_key()?;
        let lane = |first: usize| {
            let mut urls = urls.to_vec();
            urls.rotate_left(first);
            let client = Client::new(&urls, PATIENCE).map_err(Failure::failed)?;
            let place = place.clone();
            let tokens = move || {
                let failed = |failure: Failure| client::error::Error::Setup(failure.text);
                place.token(&REGISTRY).map_err(failed)
            };
            Ok(Pseudonyms::new(client, key, Box::new(tokens)))
        };
        Ok(Refs {
            lanes: (0..urls.len()).map(lane).collect::<Result<_, Failure>>()?,
            known: HashMap::new(),
        })
    }

    /// Learns the refs of the codes that are not known yet; how many those were.
    pub(super) async fn learn(
        &mut self,
        codes: impl Iterator<Item = Code>,
    ) -> Result<usize, Failure> {
        let missing: Vec<Code> = codes
            .filter(|code| !self.known.contains_key(code))
            .collect();
        let count = missing.len();
        let share = count.div_ceil(self.lanes.len().max(1)).max(1);
        let lanes = self.lanes.iter().zip(missing.chunks(share));
        let asked = lanes.map(|(lane, codes)| lane.refs(codes));
        let learnt = try_join_all(asked).await.map_err(Failure::failed)?;
        self.known
            .extend(missing.into_iter().zip(learnt.into_iter().flatten()));
        Ok(count)
    }

    /// The ref of a code that was learnt.
    pub(super) fn of(&self, code: &Code) -> Result<Hash, Failure> {
        let known = self.known.get(code).copied();
        known.ok_or_else(|| Failure::failed("a code is met whose ref was not asked for"))
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
