// SPDX-License-Identifier: EUPL-1.2
//! Why an entry is not accepted: one closed list.
//!
//! **The order is the precedence**: where several things are wrong with an entry, one is told, on all nodes the same, and the sender mends
//! one thing at a time. An entry is judged in stages, and the first stage with a fault speaks: the wire line, its envelope, the
//! signatures, the body, the disclosures, the state. The list stands in the order of the stages (codes of bytes, such as `json`, can come
//! from more than one) and, within a stage, in the order of its checks; within JSON the first fault of the text is told.

use alloc::{format, string::String};
use core::fmt;

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident $code:literal $remedy:literal)*) => {
        /// Why an entry is refused. A refused entry leaves nothing behind. The codes are stable: they stand in the API's problem types.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Refusal {
            $($(#[$doc])* $name,)*
        }

        impl Refusal {
            /// All of them, by precedence.
            pub const ALL: &[Refusal] = &[$(Refusal::$name),*];

            /// The stable code.
            pub fn code(self) -> &'static str {
                match self { $(Refusal::$name => $code),* }
            }

            /// What the sender should do.
            pub fn remedy(self) -> &'static str {
                match self { $(Refusal::$name => $remedy),* }
            }

            /// The refusal of a code.
            pub fn from_code(code: &str) -> Option<Refusal> {
                match code { $($code => Some(Refusal::$name),)* _ => None }
            }
        }
    };
}

refusals! {
    // What can be told from the bytes alone.
    /// A line, body, list or disclosure is longer than its bound.
    Size "size" "Send less: a body has at most 16384 bytes, an entry at most 256 disclosures of 131072 characters together."
    /// Not UTF-8.
    Utf8 "utf-8" "Send UTF-8."
    /// Begins with a byte order mark.
    Bom "bom" "Leave the byte order mark out."
    /// Not JSON, or not the object or list that belongs there.
    Json "json" "Send one well-formed JSON object, and nothing after it."
    /// A name stands twice in one object, be it by escape.
    DuplicateKey "duplicate-key" "Give each member once."
    /// A number that is no integer within ±(2^53−1), or −0.
    Number "number" "Send integers within ±(2^53−1), without fraction or exponent; send anything else as text."
    /// A lone surrogate or a noncharacter.
    CodePoint "code-point" "Send Unicode scalar values only, and no noncharacters."
    /// Objects and arrays nest deeper than 16.
    Depth "depth" "Nest objects and arrays at most 16 deep."
    /// A member is missing, unknown, of another type, or has a value that its type does not know.
    Members "members" "Send the members of the entry's type as specified; anything else belongs into `ext`."
    /// Another DSSE payload type.
    PayloadType "payload-type" "Sign and send `application/vnd.visto.entry.v1+json`."
    /// Not canonical base64.
    Base64 "base64" "Encode `payload` and `sig` as padded, canonical base64."
    /// Not canonical base64url.
    Base64Url "base64url" "Encode key ids, refs, digests and disclosures as canonical base64url without padding."
    /// A signature algorithm that is reserved or unknown.
    Alg "alg" "Sign with Ed25519 (alg 1), or Ed25519 over a batch root (alg 129)."
    /// None or more than 16 signatures, not strictly ascending by key id, or cut short.
    Sigs "sigs" "Send 1 to 16 signatures, ascending by key id, each key once."
    // What can be told with the public keys.
    /// The key was never registered here.
    KeyUnknown "key-unknown" "Have the key registered by the governance first."
    /// The signature does not hold, or has not the form that its algorithm asks.
    Signature "signature" "Sign the PAE of exactly the bytes sent, with the key named."
    // What can be told from the body and its disclosures.
    /// Meant for another ledger.
    Ledger "ledger" "Send the entry to the ledger that it names, or sign it for this one."
    /// Not a lower-case UUIDv7.
    IdForm "id-form" "Give a lower-case UUIDv7 as `id`."
    /// Not a time, or not real.
    Time "time" "Write times as YYYY-MM-DDTHH:MM:SS[.sss]Z, and real."
    /// Not a point of the curve, not canonical, or of small order.
    KeyWeak "key-weak" "Make a new key pair."
    /// `...` stands where no digest belongs.
    DigestPlace "digest-place" "Put digests only where the type says *disclosed*, and nowhere inside a disclosure or `ext`."
    /// Two digests of one entry are equal.
    DigestRepeated "digest-repeated" "Draw a fresh salt for each disclosure."
    /// A disclosure belongs to no digest of the body, or is sent twice.
    DisclosureSpare "disclosure-spare" "Send one disclosure for each digest, and no other."
    /// A disclosure is no array of salt and value.
    DisclosureForm "disclosure-form" "Make disclosures of base64url(JSON [salt, value])."
    /// A disclosure's salt is not 16 to 32 bytes.
    Salt "salt" "Draw 16 to 32 random bytes as salt, in canonical base64url."
    /// A digest has no disclosure.
    DisclosureMissing "disclosure-missing" "Send the disclosure of each digest."
    // What can be told from the ledger's state, at an index and a time.
    /// The time in the id is too old or too far ahead.
    IdOutOfWindow "id-out-of-window" "Sign anew with an id of today: the window is 35 days back, 5 minutes ahead."
    /// The institution used this id before, for other bytes.
    IdUsed "id-used" "Sign anew with a fresh id, unless you meant the entry that has it already."
    /// Dated more than five minutes ahead.
    Ahead "ahead" "Set your clock."
    /// Not yet, or no longer in force at this index.
    KeyNotInForce "key-not-in-force" "Sign with a key that is in force."
    /// The key is not for this use.
    KeyUse "key-use" "Sign with a key whose registered use is this: one key, one use."
    /// A key of a test genesis.
    TestKey "test-key" "Make a new key pair: keys of a test ledger are refused elsewhere."
    /// The institution is not registered, or ended.
    InstitutionUnknown "institution-unknown" "Have the institution registered by the governance first."
    /// The signer is neither the institution, nor allowed to submit for it, nor the side it speaks for.
    InstitutionMismatch "institution-mismatch" "Sign with a key of the institution that the body names, or have a delegation registered."
    /// The signer's institution or node may not write entries of this type.
    NotAuthorised "not-authorised" "Have the role granted by the governance, or let the institution in charge sign."
    /// `refersTo` names no entry here, or not its leaf, or one that this type cannot be about.
    RefersTo "refers-to" "Name index and leaf of an entry of this ledger that this type can be about."
    /// A genesis that is not entry 0, or an entry 0 that is not a genesis fit to begin with.
    Genesis "genesis" "A ledger has one genesis, its entry 0, complete in itself."
    /// Fewer than k signatures of distinct institutions.
    GovernanceThreshold "governance-threshold" "Collect k governance signatures of distinct institutions."
    /// Does not name the leaf of the governance entry before.
    GovernanceOrder "governance-order" "Put the leaf of the last governance entry into `refersTo` and have it signed again."
    /// The new key did not sign its own registration.
    Possession "possession" "Sign the possession message with the key to be registered."
    /// The registry does not allow this change: already there, not there, or never to be used again.
    Registry "registry" "Read the registry and send a change that it allows."
    /// A rule set that this ledger's nodes do not carry.
    RulesUnknown "rules-unknown" "Name a rule set that the nodes carry."
    /// The proof of a link is none, or was not made with keys of this ledger.
    LinkProof "link-proof" "Have both codes evaluated by this ledger, and send both evaluations with their proofs."
    /// The institution gave a cut less than 24 hours ago.
    CutAgain "cut-again" "Wait until 24 hours after the institution's last cut: nothing grows old faster."
    /// No element of the group that pseudonyms live in, or a key of an epoch that was there before.
    OprfKey "oprf-key" "Make a new key with `visto key oprf` and register its public half."
    /// A state root of another size, version, or previous root than is due.
    StateRoot "state-root" "None: nodes propose state roots, one after the other."
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A refusal and the place of what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What is wrong.
    pub refusal: Refusal,
    /// JSON pointer (RFC 6901) into the wire line, as if payload and disclosures stood there decoded: `/envelope/payload/consent/event`,
    /// `/disclosures/0/1/ref`. Empty where no member is to blame.
    pub pointer: String,
}

impl Refused {
    /// At a member whose pointer is known.
    pub fn new(refusal: Refusal, pointer: impl Into<String>) -> Self {
        Self {
            refusal,
            pointer: pointer.into(),
        }
    }

    /// The same refusal, seen from the object that holds `member`. A name longer than any type has is left out: the sender chose it.
    #[must_use]
    pub fn at(mut self, member: &str) -> Self {
        if member.len() <= 64 {
            let member = if member.contains(['~', '/']) {
                &member.replace('~', "~0").replace('/', "~1")
            } else {
                member
            };
            self.pointer = format!("/{member}{}", self.pointer);
        }
        self
    }

    /// As [`Refused::at`], for the place in a list.
    #[must_use]
    pub fn at_index(self, index: usize) -> Self {
        self.at(&format!("{index}"))
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            pointer: String::new(),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.refusal.code())?;
        if self.pointer.is_empty() {
            Ok(())
        } else {
            write!(f, " at {}", self.pointer)
        }
    }
}

impl core::error::Error for Refused {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_come_back() {
        for &refusal in Refusal::ALL {
            assert_eq!(Refusal::from_code(refusal.code()), Some(refusal));
            assert!(refusal.remedy().ends_with('.'));
        }
        assert!(Refusal::ALL.is_sorted());
    }

    #[test]
    fn pointers_are_escaped() {
        let refused = Refused::from(Refusal::Members)
            .at("a/b~c")
            .at_index(3)
            .at("d");
        assert_eq!(refused.pointer, "/d/3/a~1b~0c");
    }
}
