// SPDX-License-Identifier: EUPL-1.2
//! Reading the leaves in the order of their keys, a part at a time.

use alloc::vec::Vec;

use super::{MapError, MapNode, MapPath, MapReader, read_expected};
use crate::hash::Hash;

/// At most `limit` leaves whose keys come after `after`, in the order of keys, each a key and its value's hash. Every node on the way is
/// checked against its parent: what this returns is what the root says.
///
/// # Errors
/// Those of the reader, and a damaged store.
pub fn leaves<R: MapReader>(
    after: Option<&Hash>,
    limit: usize,
    reader: &R,
) -> Result<Vec<(Hash, Hash)>, MapError<R::Error>> {
    let mut scan = Scan {
        reader,
        after,
        limit,
        found: Vec::new(),
    };
    let root = reader.node(&MapPath::ROOT)?;
    scan.below(MapPath::ROOT, root)?;
    Ok(scan.found)
}

struct Scan<'r, R> {
    reader: &'r R,
    after: Option<&'r Hash>,
    limit: usize,
    found: Vec<(Hash, Hash)>,
}

impl<R: MapReader> Scan<'_, R> {
    /// Recursion is as deep as keys are long at most.
    fn below(&mut self, path: MapPath, node: Option<MapNode>) -> Result<(), MapError<R::Error>> {
        match node {
            None => {}
            Some(MapNode::Leaf { key, value_hash }) => {
                let passed = self.after.is_some_and(|after| key <= *after);
                let room = self.limit.saturating_sub(self.found.len());
                let leaf = (!passed).then_some((key, value_hash));
                self.found.extend(leaf.into_iter().take(room));
            }
            Some(MapNode::Inner { left, right }) => {
                for (side, hash) in [(false, left), (true, right)] {
                    let child = path.child(side).ok_or(MapError::Damaged(path))?;
                    let passed = self.after.is_some_and(|after| child.is_before(after));
                    if !passed && self.found.len() < self.limit {
                        let node = read_expected(self.reader, &child, hash)?;
                        self.below(child, node)?;
                    }
                }
            }
        }
        Ok(())
    }
}
