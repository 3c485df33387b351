// SPDX-License-Identifier: EUPL-1.2
//! Values of the state with their proof, in the members of an export: whoever verifies exports verifies these.

use cluster::Folded;
use ledger::{
    export::{Fact, Opened},
    state::StateKey,
};
use serde_json::Value;
use wire::proof::StateProof;

use crate::{present::StoredAt, problem::Fault};

/// What stands under these keys, or that nothing does, as of a state root.
///
/// # Errors
/// The store's own.
pub fn state(folded: &Folded, keys: Vec<StateKey>) -> Result<StateProof, Fault> {
    let index = folded.state_root().index;
    let entry = StoredAt::read(folded.view(), index)?
        .ok_or_else(|| Fault::internal("the state-root entry is not there"))?;
    // Nothing in it is disclosed.
    let root = Opened::of(index, &entry.stored, |_| false, folded.inclusion(index)?)
        .ok_or_else(|| Fault::internal("the state-root entry was erased"))?;
    let facts = keys.into_iter().map(|key| {
        let (value, proof) = folded.prove(&key)?;
        json(&Fact { key, value, proof }.to_json())
    });
    Ok(StateProof {
        checkpoint: folded.published().note.to_string(),
        state_root: json(&root.to_json())?,
        facts: facts.collect::<Result<_, Fault>>()?,
    })
}

fn json(text: &str) -> Result<Value, Fault> {
    serde_json::from_str(text).map_err(Fault::internal)
}
