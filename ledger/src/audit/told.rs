// SPDX-License-Identifier: EUPL-1.2
//! What an entry that is not whole any more may be said to have changed.

use alloc::{format, string::String, vec::Vec};

use super::{Audit, Evidence, Fed, Place, beyond::extend};
use crate::{
    admission::{Effects, RowKind},
    body::{Body, Content, EntryType},
    fold::Change,
    hash::Hash,
    number::EntryIndex,
    retention::{self, Terms},
    state::{StateKey, Writes, kind},
};

/// Kinds of which the values before decide what an entry writes to them: where these are gone, it is not computed.
const BY_WHAT_WAS: [u8; 3] = [kind::STREAM, kind::CEASED, kind::COMPOSITION];

impl Audit {
    /// Performs what a judged entry writes. Where what it is said to change is another, then only for what is gone, and as told; or where its
    /// leaf says otherwise for that.
    ///
    /// # Errors
    /// What the leaf says, or the change, does not follow.
    pub(super) fn settle(
        &mut self,
        fed: &Fed,
        mut effects: Effects,
        otherwise: Option<Evidence>,
    ) -> Result<Change, Evidence> {
        name_leaf(&mut effects, fed);
        let change = Change {
            leaf_hash: fed.leaf_hash(),
            ..Change::of(&effects)
        };
        let told = match (&fed.change, otherwise) {
            (None, Some(evidence)) => return Err(evidence),
            (Some(told), otherwise) if otherwise.is_some() || *told != change => told.clone(),
            _ => {
                self.state.write(&effects.writes);
                return Ok(change);
            }
        };
        let body = effects.entry.entry().body();
        let seal = told.lists != change.lists && self.may_be_sealed(body, &told);
        let lists = if seal {
            told.lists.clone()
        } else {
            change.lists.clone()
        };
        let writes = if self.report.retired.is_some() && may_write(&told, &change) {
            told.writes.clone()
        } else {
            change.writes.clone()
        };
        let as_told = Change {
            lists,
            writes,
            ..change.clone()
        };
        if as_told != told {
            return Err(Evidence {
                at: Place::Entry(fed.index),
                what: "what it changes under the state root",
                said: described(&told),
                computed: described(&change),
            });
        }
        self.count_unjudged(fed.index);
        let mut writes = effects.writes;
        writes.retain(|(key, _)| {
            let sealed = seal && key.kind == kind::SEALED_ENTRY;
            !sealed && !BY_WHAT_WAS.contains(&key.kind)
        });
        self.state.write(&writes);
        self.state.write(&told.writes);
        if seal {
            extend(&mut self.unsealed, fed.index.0);
        }
        Ok(told)
    }

    /// Whether a note or an order may be sealed otherwise than computed: it is about an entry of which that is not known. Then it stands in
    /// the list of one authority, or of all persons that it names.
    fn may_be_sealed(&self, body: &Body, told: &Change) -> bool {
        let lost = |index: u64| {
            let after = self.unsealed.partition_point(|(_, end)| *end <= index);
            self.unsealed
                .get(after)
                .is_some_and(|(start, _)| *start <= index)
        };
        let (about_lost, mut persons): (bool, Vec<Hash>) = match &body.content {
            Content::Note(note) => (
                body.common.refers_to.is_some_and(|of| lost(of.index.0)),
                note.subjects.iter().filter_map(|of| of.value).collect(),
            ),
            Content::Erasure(order) => (
                order.entries.iter().any(|index| lost(*index)),
                order.subject.iter().filter_map(|of| of.value).collect(),
            ),
            _ => return false,
        };
        persons.sort_unstable();
        persons.dedup();
        let sealed = matches!(told.lists.as_slice(), [(RowKind::Sealed, _)]);
        let open = persons.iter().map(|of| (RowKind::Subject, *of));
        let open = told.lists.iter().copied().eq(open);
        about_lost && !persons.is_empty() && (sealed || open)
    }

    /// Something of an entry is gone. A release takes persons off one that is sealed, and of one that is gone nobody knows which.
    pub(super) fn lose_seal(&mut self, fed: &Fed) {
        if fed.meta.entry_type == EntryType::Release {
            self.unsealed.clear();
            self.unsealed.push((0, fed.index.size().0));
        } else {
            extend(&mut self.unsealed, fed.index.0);
        }
    }

    fn count_unjudged(&mut self, index: EntryIndex) {
        self.report.unjudged += 1;
        self.report.unjudged_at.push(index.0);
    }

    /// Of a whole entry whose judgement differs: if it was judged by others that are erased, what it changed is taken as told.
    pub(super) fn unjudged(
        &mut self,
        fed: &Fed,
        effects: Option<Effects>,
        evidence: Evidence,
    ) -> Result<Change, Evidence> {
        if self.report.erased == 0 || fed.change.is_none() {
            return Err(evidence);
        }
        let change = self.told_change(fed, false)?;
        self.count_unjudged(fed.index);
        if let Some(mut effects) = effects {
            // What stands under no root; the rest is as told.
            name_leaf(&mut effects, fed);
            let mut local = effects.writes;
            local.retain(|(key, _)| !key.under_root());
            self.state.write(&local);
        }
        self.state.write(&change.writes);
        Ok(change)
    }

    /// What an entry is told to have changed, as far as its type allows.
    pub(super) fn told_change(&self, fed: &Fed, retired: bool) -> Result<Change, Evidence> {
        let lie = |what, said: String, computed: String| Evidence {
            at: Place::Entry(fed.index),
            what,
            said,
            computed,
        };
        let Some(change) = &fed.change else {
            let why = "told, as it cannot be computed";
            return Err(lie(
                "what an erased entry changes",
                "not told".into(),
                why.into(),
            ));
        };
        let own = (change.index, change.leaf_hash, change.meta_salt);
        let same_time = change.accepted_at_ms == fed.meta.accepted_at_ms;
        if own != (fed.index, fed.leaf_hash(), fed.meta_salt) || !same_time {
            return Err(lie(
                "what it changes under the state root",
                described(change),
                format!("of leaf {}", fed.leaf_hash()),
            ));
        }
        if let Some(why) = beyond_its_type(fed, change) {
            return Err(lie(
                "what an erased entry changes",
                described(change),
                why.into(),
            ));
        }
        if change.left > 0 && !retired {
            return Err(lie(
                "what an erased entry changes",
                "out of its lists, by a cut".into(),
                "there, and so in them".into(),
            ));
        }
        Ok(change.clone())
    }
}

/// Whether an entry can have written what it is told to, if what stood there before is gone: to a stream and to a household's composition
/// what is computed or nothing, and that something ceases to hold no earlier than it came. All else is computed.
fn may_write(told: &Change, computed: &Change) -> bool {
    let by_what_was = |(key, _): &&(StateKey, Option<Vec<u8>>)| BY_WHAT_WAS.contains(&key.kind);
    let others = |change: &Change| -> Writes {
        let writes = change.writes.iter();
        writes
            .filter(|write| !by_what_was(write))
            .cloned()
            .collect()
    };
    let ceases = |(key, value): &(StateKey, Option<Vec<u8>>)| {
        let of = key.name.as_slice().try_into().map(u64::from_be_bytes);
        key.kind == kind::CEASED
            && retention::holds_on(told.terms.entry_type)
            && of.is_ok_and(|of| of <= told.index.0)
            && value
                .as_deref()
                .and_then(retention::decode_ceased)
                .is_some_and(|at_ms| at_ms >= told.accepted_at_ms)
    };
    let mut written = told.writes.iter().filter(by_what_was);
    others(told) == others(computed)
        && written.all(|write| computed.writes.contains(write) || ceases(write))
}

/// Where findings are told otherwise, so is the leaf, by which values name the entry.
fn name_leaf(effects: &mut Effects, fed: &Fed) {
    let (computed, told) = (effects.entry.leaf_hash(), fed.leaf_hash());
    if computed == told {
        return;
    }
    let values = effects.writes.iter_mut().filter_map(|(_, of)| of.as_mut());
    for value in values {
        let mut windows = value.windows(computed.0.len());
        let named = windows.position(|part| part == computed.0);
        let named = named.and_then(|at| value.get_mut(at..)?.first_chunk_mut());
        if let Some(named) = named {
            *named = told.0;
        }
    }
}

fn described(change: &Change) -> String {
    let lists = change.lists.len();
    let (writes, digest) = (change.writes.len(), Hash::of(&[&change.encode()]));
    format!("{lists} lists and {writes} values (SHA-256 {digest})")
}

/// Why an entry of this type cannot have changed what it is said to have changed: a word that nobody can hold against a body must not
/// register a key, move a base or end another's consent before its time.
pub(super) fn beyond_its_type(fed: &Fed, told: &Change) -> Option<&'static str> {
    let entry_type = fed.meta.entry_type;
    if told.reach.is_some() && entry_type != EntryType::Erasure {
        return Some("no erasure, and so no cut");
    }
    let body = fed
        .body
        .as_ref()
        .and_then(|(_, submitted)| Body::parse(submitted.payload(), submitted.disclosures()).ok());
    let known = body.map(|body| Terms::of(&body));
    if told.terms.entry_type != entry_type || known.is_some_and(|known| known != told.terms) {
        return Some("of another type, controller or holder");
    }
    let ceases_later = |key: &StateKey, value: &Option<Vec<u8>>| {
        let at = value.as_deref().and_then(|value| value.try_into().ok());
        key.kind != kind::CEASED
            || at.is_some_and(|at| u64::from_be_bytes(at) >= told.accepted_at_ms)
    };
    let may = |(key, value): &(StateKey, Option<Vec<u8>>)| match (key.kind, entry_type) {
        (kind::STREAM, _) => true,
        (kind::CONSENT | kind::CEASED, EntryType::Consent)
        | (kind::CEASED | kind::COMPOSITION, EntryType::Household) => ceases_later(key, value),
        _ => false,
    };
    if told.writes.iter().all(may) {
        None
    } else {
        Some("of a type that writes no such thing")
    }
}
