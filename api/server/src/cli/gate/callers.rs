// SPDX-License-Identifier: EUPL-1.2
//! Who calls: by voucher, by a header that a proxy in front sets, or by the entry's signature alone.

use std::{collections::BTreeMap, fs};

use client::{
    gate::{Answering, Caller, Callers, Reason},
    modi::{self, Checks, KeySet},
    token::now_s,
};
use http::{HeaderName, header::AUTHORIZATION, request::Parts};
use ledger::id::InstitutionId;

use super::{
    super::exit::Failure,
    config::{self, CallersBy},
};

/// How callers are told.
pub(super) struct Known {
    by: By,
    clients: BTreeMap<String, InstitutionId>,
}

enum By {
    Signature,
    Header(HeaderName),
    Voucher {
        keys: KeySet,
        issuer: Option<String>,
        audience: Option<String>,
    },
}

impl Known {
    /// As the configuration says.
    pub(super) fn new(config: &config::Callers) -> Result<Known, Failure> {
        let by = match config.by {
            CallersBy::Signature => By::Signature,
            CallersBy::Header => {
                let name = config.header.as_deref().unwrap_or_default();
                By::Header(name.parse().map_err(|_| {
                    Failure::usage("callers.header: name the header that says who calls")
                })?)
            }
            CallersBy::Voucher => {
                let file = config
                    .keys
                    .as_ref()
                    .ok_or_else(|| Failure::usage("callers.keys: name the file of PDND's keys"))?;
                let keys = fs::read(file)
                    .ok()
                    .and_then(|bytes| KeySet::parse(&bytes))
                    .ok_or_else(|| Failure::usage(format!("{}: no JWK set", file.display())))?;
                By::Voucher {
                    keys,
                    issuer: config.issuer.clone(),
                    audience: config.audience.clone(),
                }
            }
        };
        let clients = config.clients.iter().map(|(client, institution)| {
            let parsed = InstitutionId::parse(institution);
            parsed
                .map(|institution| (client.clone(), institution))
                .ok_or_else(|| {
                    Failure::usage(format!(
                        "callers.clients: {institution:?} is no institution"
                    ))
                })
        });
        Ok(Known {
            by,
            clients: clients.collect::<Result<_, _>>()?,
        })
    }

    fn tell(&self, head: &Parts) -> Option<Caller> {
        match &self.by {
            By::Signature => Some(Caller::default()),
            By::Header(name) => {
                // A second one would be the caller's own.
                let mut lines = head.headers.get_all(name).iter();
                let text = lines.next()?.to_str().ok()?;
                let institution = self.clients.get(text)?.clone();
                lines.next().is_none().then_some(Caller {
                    institution: Some(institution),
                    ..Caller::default()
                })
            }
            By::Voucher {
                keys,
                issuer,
                audience,
            } => {
                let text = head.headers.get(AUTHORIZATION)?.to_str().ok()?;
                let voucher = text
                    .strip_prefix("Bearer ")
                    .or_else(|| text.strip_prefix("bearer "))?;
                let checks = Checks {
                    now_s: now_s(),
                    leeway_s: LEEWAY_S,
                    audience: audience.clone(),
                    voucher_issuer: issuer.clone(),
                };
                let voucher = modi::open_voucher(voucher, keys, &checks).ok()?;
                let client_id = voucher.client_id?;
                Some(Caller {
                    institution: Some(self.clients.get(&client_id)?.clone()),
                    client_id: Some(client_id),
                    voucher_jti: Some(voucher.jti),
                })
            }
        }
    }
}

impl Callers for Known {
    fn caller<'a>(&'a self, head: &'a Parts) -> Answering<'a, Result<Caller, Reason>> {
        Box::pin(async move { self.tell(head).ok_or(Reason::CallerUnknown) })
    }
}

const LEEWAY_S: u64 = 10;
