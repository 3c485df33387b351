// SPDX-License-Identifier: EUPL-1.2
//! What receipts say of the newest entries, kept from when they were written. Whoever submits waits for a receipt: without this, each entry was
//! read, unpacked and hashed again a moment after it was stored.

use std::collections::VecDeque;

use ledger::number::EntryIndex;
use parking_lot::{RwLock, RwLockReadGuard};

use super::receipts::Said;

/// So many are kept: of half a second, at more entries a second than a node takes.
const KEPT_MAX: usize = 4096;

/// What receipts say of the newest entries of one database. No order of erasure stands in it that is younger than one of them, so none has lost
/// its body, in whichever view.
#[derive(Default)]
pub(super) struct Fresh(RwLock<Kept>);

#[derive(Default)]
pub(super) struct Kept {
    /// Index of the first of them; the others follow it without a gap.
    first: u64,
    said: VecDeque<Said>,
}

impl Fresh {
    /// Entries are written, the first at this index. To be said by whoever applies, in the order of the ledger.
    pub(super) fn written(&self, first: EntryIndex, said: Vec<Said>) {
        let mut kept = self.0.write();
        if kept.first + kept.said.len() as u64 != first.0 {
            kept.first = first.0;
            kept.said.clear();
        }
        kept.said.extend(said);
        let spare = kept.said.len().saturating_sub(KEPT_MAX);
        kept.said.drain(..spare);
        kept.first += spare as u64;
    }

    /// An order of erasure is about to be written: to be said before anybody can read it. What it takes is not known here.
    pub(super) fn ordered(&self) {
        self.0.write().said.clear();
    }

    /// Those that are kept.
    pub(super) fn kept(&self) -> RwLockReadGuard<'_, Kept> {
        self.0.read()
    }
}

impl Kept {
    /// What the receipt of an entry says; none if it is not kept.
    pub(super) fn of(&self, index: EntryIndex) -> Option<Said> {
        let at = index.0.checked_sub(self.first)?;
        self.said.get(usize::try_from(at).ok()?).copied()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ledger::bytes::Meta;
    use ledger::hash::Hash;
    use ledger::id::KeyId;

    use super::*;

    fn said(index: u64) -> Said {
        Said {
            meta: Meta {
                accepted_at_ms: index,
                entry_type: ledger::body::EntryType::Access,
                findings: ledger::finding::Findings(0),
                rules: 1,
                first_key: KeyId(Hash([1; 32])),
            },
            body_salt: [index.to_be_bytes()[7]; 32],
        }
    }

    #[test]
    fn the_newest_are_kept_and_none_from_before_an_order() {
        let fresh = Fresh::default();
        let write =
            |from: u64, to: u64| fresh.written(EntryIndex(from), (from..to).map(said).collect());
        let kept = |index| fresh.kept().of(EntryIndex(index));
        write(5, 8);
        write(8, 9);
        for (index, is_kept) in [(4, false), (5, true), (7, true), (8, true), (9, false)] {
            assert_eq!(kept(index), is_kept.then(|| said(index)), "{index}");
        }
        let end = 9 + KEPT_MAX as u64;
        write(9, end);
        assert_eq!((kept(8), kept(9)), (None, Some(said(9))));
        assert_eq!(kept(end - 1), Some(said(end - 1)));
        fresh.ordered();
        assert_eq!((kept(9), kept(end - 1)), (None, None));
        // What was written with the order is not said.
        write(end + 2, end + 3);
        assert_eq!((kept(end - 1), kept(end)), (None, None));
        assert_eq!(kept(end + 2), Some(said(end + 2)));
    }
}
