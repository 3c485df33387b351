// SPDX-License-Identifier: EUPL-1.2
//! Names: institutions, entries, keys, nodes, the ledger itself.

use alloc::string::String;

use crate::hash::Hash;

/// `ipa:<code, lower case>` or `cf:<11 digits>`. Only [`InstitutionId::parse`] makes one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstitutionId(String);

/// UUIDv7, its 16 bytes. Only [`EntryId::parse`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId([u8; 16]);

/// `H("visto/key/v1\n" ‖ u8(alg) ‖ public key)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub Hash);

/// Number of a node, from 1; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeNumber(pub u64);
