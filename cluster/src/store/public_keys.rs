// SPDX-License-Identifier: EUPL-1.2
//! Public keys that were looked up before. To read one is to find a point of the curve again, a tenth of what a signature costs.

use std::collections::HashMap;

use ledger::entry::KeySource;
use ledger::id::KeyId;
use ledger::key::PublicKey;
use ledger::state::registry::RegisteredKeys;
use parking_lot::RwLock;

use super::view::DbState;
use crate::error::Error;

/// Keys that are kept; when there are more, all are forgotten and looked up again.
const KEYS_MAX: usize = 10_000;

/// Keys by id. An id never changes its key, and what is registered stays so, by whichever state it was read; what is unknown is not kept.
#[derive(Default)]
pub(super) struct PublicKeys(RwLock<HashMap<KeyId, PublicKey>>);

impl PublicKeys {
    /// As this state has them, which is read for those that are not kept.
    pub(super) fn over<'a>(&'a self, state: &'a DbState<'a>) -> impl KeySource<Error = Error> + 'a {
        Kept { keys: self, state }
    }
}

struct Kept<'a> {
    keys: &'a PublicKeys,
    state: &'a DbState<'a>,
}

impl KeySource for Kept<'_> {
    type Error = Error;

    fn public_key(&self, id: &KeyId) -> Result<Option<PublicKey>, Error> {
        if let Some(key) = self.keys.0.read().get(id) {
            return Ok(Some(*key));
        }
        let found = RegisteredKeys(self.state).public_key(id)?;
        if let Some(key) = found {
            let mut keys = self.keys.0.write();
            if keys.len() >= KEYS_MAX {
                keys.clear();
            }
            keys.insert(*id, key);
        }
        Ok(found)
    }
}
