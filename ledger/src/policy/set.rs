// SPDX-License-Identifier: EUPL-1.2
//! Several policies in one file, chosen by tree size.

use alloc::format;
use alloc::vec::Vec;

use super::{
    POLICY_BYTES_MAX, Policy, PolicyCause, PolicyError, VerifiedCheckpoint, VerifyError, lines_of,
};
use crate::checkpoint::Checkpoint;
use crate::hash::Hash;
use crate::note::Note;
use crate::number::{TreeSize, parse_decimal};

/// What a policy file says: which ledger (by its genesis), and which policy from which tree size on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySet {
    genesis: Option<Hash>,
    /// Ascending by size, at least one.
    policies: Vec<(TreeSize, Policy)>,
}

impl From<Policy> for PolicySet {
    fn from(policy: Policy) -> Self {
        Self {
            genesis: None,
            policies: alloc::vec![(TreeSize::EMPTY, policy)],
        }
    }
}

impl PolicySet {
    /// Parses a policy file.
    ///
    /// # Errors
    /// Malformed, with the line; sizes that do not ascend; a part without a quorum.
    pub fn parse(text: &[u8]) -> Result<Self, PolicyError> {
        if text.len() > POLICY_BYTES_MAX {
            return Err(PolicyError {
                line: 0,
                cause: PolicyCause::Size,
            });
        }
        let lines = lines_of(text)?;
        let mut genesis = None;
        let mut policies = Vec::new();
        let (mut from, mut start) = (TreeSize::EMPTY, 0);
        for (at, line) in lines.iter().enumerate() {
            let wrong = PolicyError {
                line: at + 1,
                cause: PolicyCause::Directive,
            };
            let Some(directive) = directive(line) else {
                continue;
            };
            match directive.ok_or(wrong)? {
                Directive::Genesis(hash) => {
                    // In front of all, once: it is about the ledger, not about one policy.
                    let first = lines
                        .get(..at)
                        .is_some_and(|before| before.iter().all(|line| is_comment(line)));
                    if !first || genesis.replace(hash).is_some() {
                        return Err(wrong);
                    }
                }
                Directive::From(size) => {
                    let part = lines.get(start..at).unwrap_or_default();
                    // Comments alone in front of the first size are no policy.
                    if !policies.is_empty() || !part.iter().all(|line| is_comment(line)) {
                        policies.push((from, Policy::parse_lines(part, start + 1)?));
                        if size <= from {
                            return Err(wrong);
                        }
                    } else if start > 0 {
                        return Err(wrong);
                    }
                    (from, start) = (size, at + 1);
                }
            }
        }
        policies.push((
            from,
            Policy::parse_lines(lines.get(start..).unwrap_or_default(), start + 1)?,
        ));
        Ok(Self { genesis, policies })
    }

    /// The file: [`PolicySet::parse`] gives the same set again.
    pub fn format(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(genesis) = self.genesis {
            out.extend_from_slice(format!("# visto: genesis {genesis}\n").as_bytes());
        }
        for (from, policy) in &self.policies {
            // The first policy needs no line unless it begins later.
            if *from != TreeSize::EMPTY {
                out.extend_from_slice(format!("# visto: from size {from}\n").as_bytes());
            }
            out.extend_from_slice(&policy.format());
        }
        out
    }

    /// The same set, saying which genesis entry the ledger has: SHA-256 of that entry's PAE.
    #[must_use]
    pub fn with_genesis(self, genesis: Hash) -> Self {
        Self {
            genesis: Some(genesis),
            ..self
        }
    }

    /// The same set with a further policy that holds from a larger size on; none if the size is not larger than the last one's.
    pub fn with_policy_from(mut self, size: TreeSize, policy: Policy) -> Option<Self> {
        let ascends = self.policies.last().is_none_or(|(last, _)| *last < size);
        self.policies.push((size, policy));
        ascends.then_some(self)
    }

    /// SHA-256 of the genesis entry's PAE, if the file names it.
    pub fn genesis(&self) -> Option<Hash> {
        self.genesis
    }

    /// The policy that holds for a tree of this size.
    pub fn at_size(&self, size: TreeSize) -> Option<&Policy> {
        self.policies
            .iter()
            .rev()
            .find(|(from, _)| *from <= size)
            .map(|(_, policy)| policy)
    }

    /// The policies and the sizes from which they hold, ascending.
    pub fn policies(&self) -> &[(TreeSize, Policy)] {
        &self.policies
    }

    /// Verifies a checkpoint under the policy that holds for its size.
    ///
    /// # Errors
    /// As [`Policy::verify`], and if there is no policy for the size.
    pub fn verify(&self, note: &Note) -> Result<VerifiedCheckpoint, VerifyError> {
        let size = Checkpoint::parse(note.text())
            .map_err(VerifyError::Checkpoint)?
            .size;
        self.at_size(size)
            .ok_or(VerifyError::NoPolicy)?
            .verify(note)
    }
}

enum Directive {
    Genesis(Hash),
    From(TreeSize),
}

/// None: not a line of ours. Inner none: one of ours, malformed.
fn directive(line: &[u8]) -> Option<Option<Directive>> {
    let rest = line
        .trim_ascii()
        .strip_prefix(b"#")?
        .trim_ascii_start()
        .strip_prefix(b"visto:")?;
    let words: Vec<&str> = core::str::from_utf8(rest)
        .map(|rest| rest.split_ascii_whitespace().collect())
        .unwrap_or_default();
    Some(match words.as_slice() {
        ["genesis", hash] => hash_from_hex(hash).map(Directive::Genesis),
        ["from", "size", size] => parse_decimal(size).map(|size| Directive::From(TreeSize(size))),
        _ => None,
    })
}

/// 64 lower-case hexadecimal digits.
fn hash_from_hex(text: &str) -> Option<Hash> {
    let lower = text.len() == 64
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !lower {
        return None;
    }
    let bytes: Option<Vec<u8>> = text
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    Hash::from_slice(&bytes?)
}

fn is_comment(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line.is_empty() || line.starts_with(b"#")
}
