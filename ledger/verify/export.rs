// SPDX-License-Identifier: EUPL-1.2
//! An export: complete, or what is wrong with it by name.

use ledger::export::{self, EXPORT_BYTES_MAX, Export, Fault, Lie};
use ledger::policy::PolicySet;

use crate::{Asked, Stop, cannot_check, proven_false, read};

pub(crate) fn verify(file: &str, asked: &Asked, policies: &PolicySet) -> Result<(), Stop> {
    let since = asked.since.as_deref().map(open).transpose()?;
    let question = export::Asked {
        at_least: asked.at_least,
        since: since.as_ref(),
        code: asked.code.as_deref(),
    };
    let verified = export::verify(&open(file)?, policies, question).map_err(stop)?;
    verified.facts().iter().for_each(|fact| println!("{fact}"));
    Ok(())
}

fn open(file: &str) -> Result<Export, Stop> {
    let text = read(file, EXPORT_BYTES_MAX)?;
    Export::parse(&text).map_err(|refused| stop(refused.into()))
}

fn stop(fault: Fault) -> Stop {
    match fault.lie {
        Lie::NoPolicy => cannot_check(fault.to_string()),
        _ => proven_false(fault.to_string()),
    }
}
