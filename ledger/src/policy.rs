// SPDX-License-Identifier: EUPL-1.2
//! C2SP tlog-policy: which keys a verifier trusts, and how many. And Visto's policy *file*: which policy holds at which tree size.
//!
//! The quorum of a ledger is a majority of its nodes, and nodes come and go. So a [`PolicySet`] is a file of policies one after the
//! other, each a plain tlog-policy, divided by comment lines that other readers pass over:
//!
//! ```text
//! # visto: genesis 2f6b7e…
//! log ledger.visto.example/1+518a7960+AT7t…
//! witness node-1 ledger.visto.example/node/1+a4d4e89e+BP5x…
//! witness node-2 ledger.visto.example/node/2+8d44e624+BFsU…
//! witness node-3 ledger.visto.example/node/3+ae3efc1e+BMxl…
//! group nodes 2 node-1 node-2 node-3
//! quorum nodes
//! # visto: from size 120034
//! log …
//! ```
//!
//! `genesis` names the ledger's genesis entry by the SHA-256 of its PAE, 64 hexadecimal digits, once and in front of all policies: a
//! receipt of entry 0 must be that entry's. What follows `from size N` holds for checkpoints of size N and larger.
//!
//! The first policy holds from size 0. A file without such lines is one tlog-policy, and a file of one policy is read by any
//! implementation of tlog-policy. Other comments that begin with `# visto:` are refused, so that a slip of the pen is not passed over.

mod set;
#[cfg(test)]
mod tests;

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

pub use set::PolicySet;

use crate::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
use crate::id::NodeNumber;
use crate::note::{KeyName, Note, NoteError, SignatureType, VerifierKey};
use crate::number::parse_decimal;

/// Longest policy file that is read, in bytes.
pub const POLICY_BYTES_MAX: usize = 256 * 1024;
/// Most logs, witnesses and groups, each; the specification asks for 32 at least.
pub const DEFINITIONS_MAX: usize = 256;

/// Trust in a set of logs and in a quorum of witnesses.
///
/// Invariants, kept by the only two makers [`Policy::parse`] and [`Policy::majority`]: names are distinct; a group names members defined
/// before it; each member stands in one group at most; logs sign with type 0x01, witnesses with 0x04; no key is listed twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The logs' keys, then the witnesses' in the order of `witnesses`.
    keys: Vec<VerifierKey>,
    log_count: usize,
    log_urls: Vec<Option<Vec<u8>>>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    quorum: Option<Member>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Witness {
    name: Vec<u8>,
    url: Option<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    name: Vec<u8>,
    threshold: usize,
    members: Vec<Member>,
}

/// A witness or a group, by its place in the policy's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Witness(usize),
    Group(usize),
}

impl Policy {
    /// Parses one tlog-policy. Comments are passed over; non-ASCII bytes are taken as they are, as the specification asks.
    ///
    /// # Errors
    /// Anything that the specification does not allow, with the line, counted from 1.
    pub fn parse(text: &[u8]) -> Result<Self, PolicyError> {
        if text.len() > POLICY_BYTES_MAX {
            return Err(PolicyError {
                line: 0,
                cause: PolicyCause::Size,
            });
        }
        Self::parse_lines(&lines_of(text)?, 1)
    }

    fn parse_lines(lines: &[&[u8]], first_line: usize) -> Result<Self, PolicyError> {
        let mut draft = Draft::default();
        for (at, line) in lines.iter().enumerate() {
            draft.take(line).map_err(|cause| PolicyError {
                line: first_line + at,
                cause,
            })?;
        }
        let missing = PolicyError {
            line: first_line + lines.len(),
            cause: PolicyCause::QuorumMissing,
        };
        let quorum = draft.quorum.ok_or(missing)?;
        let log_count = draft.logs.len();
        let (mut keys, log_urls): (Vec<_>, Vec<_>) = draft.logs.into_iter().unzip();
        let (witness_keys, witnesses): (Vec<_>, Vec<_>) = draft.witnesses.into_iter().unzip();
        keys.extend(witness_keys);
        Ok(Self {
            keys,
            log_count,
            log_urls,
            witnesses,
            groups: draft.groups,
            quorum,
        })
    }

    /// The policy of a ledger: its log key, and a majority of its nodes' cosign keys.
    ///
    /// # Errors
    /// As in a file with these lines: no node, a node or key twice, a key of another type.
    pub fn majority(
        log: &VerifierKey,
        nodes: &[(NodeNumber, VerifierKey)],
    ) -> Result<Self, PolicyError> {
        let mut text = alloc::format!("log {log}\n");
        let mut names = alloc::string::String::new();
        for (NodeNumber(number), key) in nodes {
            text.push_str(&alloc::format!("witness node-{number} {key}\n"));
            names.push_str(&alloc::format!(" node-{number}"));
        }
        text.push_str(&alloc::format!(
            "group nodes {}{names}\nquorum nodes\n",
            nodes.len() / 2 + 1
        ));
        Self::parse(text.as_bytes())
    }

    /// The policy as a file: [`Policy::parse`] gives the same policy again.
    pub fn format(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut line = |words: &[&[u8]]| {
            out.extend_from_slice(&words.join(&b' '));
            out.push(b'\n');
        };
        for (key, url) in self.logs().iter().zip(&self.log_urls) {
            let key = alloc::format!("{key}");
            line(&with_url(vec![b"log", key.as_bytes()], url));
        }
        for (witness, key) in self.witnesses.iter().zip(self.witness_keys()) {
            let key = alloc::format!("{key}");
            line(&with_url(
                vec![b"witness", &witness.name, key.as_bytes()],
                &witness.url,
            ));
        }
        for group in &self.groups {
            let threshold = alloc::format!("{}", group.threshold);
            let mut words: Vec<&[u8]> = vec![b"group", &group.name, threshold.as_bytes()];
            words.extend(group.members.iter().map(|member| self.name_of(*member)));
            line(&words);
        }
        line(&[
            b"quorum",
            self.quorum.map_or(b"none", |member| self.name_of(member)),
        ]);
        out
    }

    /// The keys of the logs.
    pub fn logs(&self) -> &[VerifierKey] {
        self.keys.get(..self.log_count).unwrap_or_default()
    }

    /// The keys of the witnesses, a ledger's nodes among them.
    pub fn witness_keys(&self) -> &[VerifierKey] {
        self.keys.get(self.log_count..).unwrap_or_default()
    }

    /// All keys: the logs', then the witnesses'.
    pub fn keys(&self) -> &[VerifierKey] {
        &self.keys
    }

    /// Parses and verifies a checkpoint: one of the logs signed it under its origin, no line of a known key fails, and the quorum cosigned.
    ///
    /// # Errors
    /// Why it is not to be believed.
    pub fn verify(&self, note: &Note) -> Result<VerifiedCheckpoint, VerifyError> {
        let signed = SignedCheckpoint::open(note, &self.keys).map_err(VerifyError::Checkpoint)?;
        let checkpoint = signed.checkpoint();
        let cosigners: Vec<_> = signed.cosigners().collect();
        let present: Vec<bool> = self
            .witness_keys()
            .iter()
            .map(|key| cosigners.iter().any(|(cosigner, _)| *cosigner == key))
            .collect();
        if !self.quorum_holds(&present) {
            return Err(VerifyError::Quorum {
                cosigned: cosigners.len(),
            });
        }
        let cosignatures = cosigners
            .iter()
            .map(|(key, time_s)| Cosigned {
                name: key.name().clone(),
                time_s: *time_s,
            })
            .collect();
        Ok(VerifiedCheckpoint {
            checkpoint: checkpoint.clone(),
            cosignatures,
        })
    }

    /// Whether the witnesses present, by place, make the quorum.
    fn quorum_holds(&self, present: &[bool]) -> bool {
        let mut reached: Vec<bool> = Vec::with_capacity(self.groups.len());
        let holds = |member: &Member, reached: &[bool]| match member {
            Member::Witness(at) => present.get(*at).copied().unwrap_or(false),
            Member::Group(at) => reached.get(*at).copied().unwrap_or(false),
        };
        // Groups name what stands before them, so one pass in order settles all.
        for group in &self.groups {
            let count = group
                .members
                .iter()
                .filter(|member| holds(member, &reached))
                .count();
            reached.push(count >= group.threshold);
        }
        self.quorum.is_none_or(|member| holds(&member, &reached))
    }

    fn name_of(&self, member: Member) -> &[u8] {
        match member {
            Member::Witness(at) => self.witnesses.get(at).map_or(b"", |witness| &witness.name),
            Member::Group(at) => self.groups.get(at).map_or(b"", |group| &group.name),
        }
    }
}

fn with_url<'a>(mut words: Vec<&'a [u8]>, url: &'a Option<Vec<u8>>) -> Vec<&'a [u8]> {
    words.extend(url.as_deref());
    words
}

/// A policy while its lines are read.
#[derive(Default)]
struct Draft {
    logs: Vec<(VerifierKey, Option<Vec<u8>>)>,
    witnesses: Vec<(VerifierKey, Witness)>,
    groups: Vec<Group>,
    /// Outer: whether there was a quorum line. Inner: none if it said `none`.
    quorum: Option<Option<Member>>,
    used: Vec<Member>,
}

impl Draft {
    fn take(&mut self, line: &[u8]) -> Result<(), PolicyCause> {
        let words: Vec<&[u8]> = line
            .split(|byte| matches!(byte, b' ' | b'\t'))
            .filter(|word| !word.is_empty())
            .collect();
        match words.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", key, url @ ..] => {
                let key = verifier_key(key, SignatureType::Ed25519)?;
                if self.logs.len() == DEFINITIONS_MAX {
                    return Err(PolicyCause::TooMany);
                }
                if self
                    .logs
                    .iter()
                    .any(|(known, _)| known.public() == key.public())
                {
                    return Err(PolicyCause::KeyTwice);
                }
                self.logs.push((key, optional(url)?));
                Ok(())
            }
            [b"witness", name, key, url @ ..] => {
                let key = verifier_key(key, SignatureType::Cosignature)?;
                if self.witnesses.len() == DEFINITIONS_MAX {
                    return Err(PolicyCause::TooMany);
                }
                if self
                    .witnesses
                    .iter()
                    .any(|(known, _)| known.public() == key.public())
                {
                    return Err(PolicyCause::KeyTwice);
                }
                let witness = Witness {
                    name: self.new_name(name)?,
                    url: optional(url)?,
                };
                self.witnesses.push((key, witness));
                Ok(())
            }
            [b"group", name, threshold, members @ ..] if !members.is_empty() => {
                if self.groups.len() == DEFINITIONS_MAX {
                    return Err(PolicyCause::TooMany);
                }
                let name = self.new_name(name)?;
                let threshold = match *threshold {
                    b"any" => 1,
                    b"all" => members.len(),
                    number => decimal(number)
                        .filter(|k| (1..=members.len()).contains(k))
                        .ok_or(PolicyCause::Threshold)?,
                };
                let members = members
                    .iter()
                    .map(|member| self.use_member(member))
                    .collect::<Result<_, _>>()?;
                self.groups.push(Group {
                    name,
                    threshold,
                    members,
                });
                Ok(())
            }
            [b"quorum", name] => {
                let quorum = if *name == b"none" {
                    None
                } else {
                    Some(self.find(name).ok_or(PolicyCause::Unknown)?)
                };
                if self.quorum.replace(quorum).is_some() {
                    Err(PolicyCause::QuorumTwice)
                } else {
                    Ok(())
                }
            }
            _ => Err(PolicyCause::Line),
        }
    }

    fn find(&self, name: &[u8]) -> Option<Member> {
        let witness = self
            .witnesses
            .iter()
            .position(|(_, witness)| witness.name == name)
            .map(Member::Witness);
        witness.or_else(|| {
            self.groups
                .iter()
                .position(|group| group.name == name)
                .map(Member::Group)
        })
    }

    fn new_name(&self, name: &[u8]) -> Result<Vec<u8>, PolicyCause> {
        if name == b"none" || self.find(name).is_some() {
            Err(PolicyCause::NameTwice)
        } else {
            Ok(name.to_vec())
        }
    }

    fn use_member(&mut self, name: &[u8]) -> Result<Member, PolicyCause> {
        let member = self.find(name).ok_or(PolicyCause::Unknown)?;
        if self.used.contains(&member) {
            return Err(PolicyCause::MemberTwice);
        }
        self.used.push(member);
        Ok(member)
    }
}

fn verifier_key(text: &[u8], expected: SignatureType) -> Result<VerifierKey, PolicyCause> {
    let text = core::str::from_utf8(text).map_err(|_| PolicyCause::Key(NoteError::VerifierKey))?;
    let key = VerifierKey::parse(text).map_err(PolicyCause::Key)?;
    if key.signature_type() == expected {
        Ok(key)
    } else {
        Err(PolicyCause::Key(NoteError::Type))
    }
}

fn optional(url: &[&[u8]]) -> Result<Option<Vec<u8>>, PolicyCause> {
    match url {
        [] => Ok(None),
        [url] => Ok(Some(url.to_vec())),
        _ => Err(PolicyCause::Line),
    }
}

fn decimal(text: &[u8]) -> Option<usize> {
    parse_decimal(core::str::from_utf8(text).ok()?)?
        .try_into()
        .ok()
}

/// The lines of a file of allowed bytes, each of which ends in a line feed.
fn lines_of(text: &[u8]) -> Result<Vec<&[u8]>, PolicyError> {
    let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let allowed = |byte: &u8| matches!(byte, b'\t' | 0x20..=0x7e | 0x80..);
    if let Some(at) = lines.iter().position(|line| !line.iter().all(allowed)) {
        return Err(PolicyError {
            line: at + 1,
            cause: PolicyCause::Character,
        });
    }
    if lines.pop().is_some_and(|rest| !rest.is_empty()) {
        return Err(PolicyError {
            line: lines.len() + 1,
            cause: PolicyCause::Unterminated,
        });
    }
    Ok(lines)
}

/// A checkpoint that a policy lets one believe. Only [`Policy::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCheckpoint {
    checkpoint: Checkpoint,
    cosignatures: Vec<Cosigned>,
}

/// Who cosigned, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// Key name of the node or witness.
    pub name: KeyName,
    /// POSIX seconds.
    pub time_s: u64,
}

impl VerifiedCheckpoint {
    /// Origin, size and root.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The witnesses of the policy that cosigned, in the note's order.
    pub fn cosignatures(&self) -> &[Cosigned] {
        &self.cosignatures
    }
}

/// Why a checkpoint is not to be believed under a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyError {
    /// Malformed, or not the log's.
    Checkpoint(CheckpointError),
    /// Too few of the witnesses cosigned.
    Quorum {
        /// How many did.
        cosigned: usize,
    },
    /// The file has no policy for a tree of this size.
    NoPolicy,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VerifyError::Checkpoint(cause) => cause.fmt(f),
            VerifyError::Quorum { cosigned } => {
                write!(f, "{cosigned} cosignatures do not make the policy's quorum")
            }
            VerifyError::NoPolicy => {
                f.write_str("the policy file says nothing about a tree of this size")
            }
        }
    }
}

impl core::error::Error for VerifyError {}

/// Why a policy is not taken, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// Line of the file, from 1; 0 if it is about the whole.
    pub line: usize,
    /// Why.
    pub cause: PolicyCause,
}

/// Why a policy is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyCause {
    /// Larger than [`POLICY_BYTES_MAX`].
    Size,
    /// A control character.
    Character,
    /// The last line does not end in a line feed.
    Unterminated,
    /// Not a line of a policy.
    Line,
    /// A verifier key that is malformed, or of a type that does not fit.
    Key(NoteError),
    /// A key that a line before has.
    KeyTwice,
    /// A name that a line before has, or `none`.
    NameTwice,
    /// A name that no line before defines.
    Unknown,
    /// A member of a group that is in a group already.
    MemberTwice,
    /// A threshold that is not a decimal from 1 to the number of members.
    Threshold,
    /// More than [`DEFINITIONS_MAX`].
    TooMany,
    /// A second quorum.
    QuorumTwice,
    /// No quorum.
    QuorumMissing,
    /// A `# visto:` comment that is malformed or out of place.
    Directive,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        match self.cause {
            PolicyCause::Size => f.write_str("the policy is too large"),
            PolicyCause::Character => f.write_str("a control character"),
            PolicyCause::Unterminated => f.write_str("no line feed at the end"),
            PolicyCause::Line => f.write_str("not a line of a policy"),
            PolicyCause::Key(cause) => cause.fmt(f),
            PolicyCause::KeyTwice => f.write_str("a key that is listed already"),
            PolicyCause::NameTwice => f.write_str("a name that is taken"),
            PolicyCause::Unknown => f.write_str("a name that is not defined above"),
            PolicyCause::MemberTwice => f.write_str("a member that is in a group already"),
            PolicyCause::Threshold => {
                f.write_str("a threshold that is not between 1 and the number of members")
            }
            PolicyCause::TooMany => f.write_str("too many definitions"),
            PolicyCause::QuorumTwice => f.write_str("a second quorum"),
            PolicyCause::QuorumMissing => f.write_str("no quorum"),
            PolicyCause::Directive => {
                f.write_str("a `# visto:` line that is malformed or out of place")
            }
        }
    }
}

impl core::error::Error for PolicyError {}
