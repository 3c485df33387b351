// SPDX-License-Identifier: EUPL-1.2
//! From submitted to verified: all that depends on bytes and public keys alone. No clock, no other state.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::{convert::Infallible, fmt};

use super::SubmittedEntry;
use crate::{
    body::{Body, Content, EntryType},
    disclosure::Opened,
    hash::Hash,
    id::KeyId,
    key::PublicKey,
    refusal::{Refusal, Refused},
    signature::{Signature, Signed},
};

/// Where public keys are found. A key id never changes its key, so answers may be kept.
pub trait KeySource {
    /// Why a key could not be looked up.
    type Error;

    /// The key of an id, in force or not; `None` if it was never registered.
    ///
    /// # Errors
    /// The source's own failures.
    fn public_key(&self, id: &KeyId) -> Result<Option<PublicKey>, Self::Error>;
}

/// Keys in memory.
impl KeySource for BTreeMap<KeyId, PublicKey> {
    type Error = Infallible;

    fn public_key(&self, id: &KeyId) -> Result<Option<PublicKey>, Infallible> {
        Ok(self.get(id).copied())
    }
}

impl<K: KeySource + ?Sized> KeySource for &K {
    type Error = K::Error;

    fn public_key(&self, id: &KeyId) -> Result<Option<PublicKey>, K::Error> {
        (**self).public_key(id)
    }
}

/// Why there is no verified entry.
#[derive(Debug)]
pub enum Stop<E> {
    /// The entry is at fault.
    Refused(Refused),
    /// The key source failed; nothing is known of the entry.
    Failed(E),
}

impl<E> From<Refused> for Stop<E> {
    fn from(refused: Refused) -> Self {
        Stop::Refused(refused)
    }
}

impl<E: fmt::Display> fmt::Display for Stop<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Refused(refused) => refused.fmt(f),
            Stop::Failed(failure) => failure.fmt(f),
        }
    }
}

/// An entry whose signatures, body and disclosures hold, for the ledger named. Whether it is admitted is judged against the state
/// ([`crate::admission`]): key uses and validity, roles, ids and times are not looked at here.
#[derive(Clone, PartialEq)]
pub struct VerifiedEntry {
    submitted: SubmittedEntry,
    body: Body,
    /// Of each disclosure, in their order.
    opened: Vec<Opened>,
}

/// Verifies one entry: the only way to a [`VerifiedEntry`], with [`Verifier::verify`] for many.
///
/// # Errors
/// [`Stop::Refused`] by the precedence of [`Refusal`]; [`Stop::Failed`] where a key could not be looked up.
pub fn verify<K: KeySource>(
    entry: SubmittedEntry,
    ledger: &str,
    keys: &K,
) -> Result<VerifiedEntry, Stop<K::Error>> {
    Verifier::new(ledger, keys).verify(entry)
}

/// Verifies many entries: keys are looked up once, and a signature over a batch is checked once for all its entries.
pub struct Verifier<'k, K> {
    ledger: &'k str,
    keys: &'k K,
    remembered: Remembered,
}

/// What a [`Verifier`] found out and need not again: whoever changes the source of its keys between entries carries it on.
#[derive(Clone, Debug, Default)]
pub struct Remembered {
    known: BTreeMap<KeyId, PublicKey>,
    /// Batch signatures that hold: `H(key id ‖ signature ‖ message)`.
    batches: BTreeSet<Hash>,
}

/// Most keys and batch signatures that a [`Verifier`] remembers.
const REMEMBERED_MAX: usize = 4096;

impl<'k, K: KeySource> Verifier<'k, K> {
    /// For one ledger, with keys from one source.
    pub fn new(ledger: &'k str, keys: &'k K) -> Self {
        Self::resume(ledger, keys, Remembered::default())
    }

    /// Goes on with what another remembered of the same ledger.
    pub fn resume(ledger: &'k str, keys: &'k K, remembered: Remembered) -> Self {
        Self {
            ledger,
            keys,
            remembered,
        }
    }

    /// What it found out.
    pub fn remember(self) -> Remembered {
        self.remembered
    }

    /// Verifies the next entry.
    ///
    /// # Errors
    /// As [`verify`].
    pub fn verify(&mut self, submitted: SubmittedEntry) -> Result<VerifiedEntry, Stop<K::Error>> {
        let (body, opened) = self.body_of(&submitted)?;
        Ok(VerifiedEntry {
            submitted,
            body,
            opened,
        })
    }

    /// As [`Verifier::verify`]. What is refused comes back whole, for whoever may know more keys in a moment.
    ///
    /// # Errors
    /// The key source's own.
    pub fn verify_or_return(
        &mut self,
        submitted: SubmittedEntry,
    ) -> Result<Result<VerifiedEntry, (Refused, SubmittedEntry)>, K::Error> {
        match self.body_of(&submitted) {
            Ok((body, opened)) => Ok(Ok(VerifiedEntry {
                submitted,
                body,
                opened,
            })),
            Err(Stop::Refused(refused)) => Ok(Err((refused, submitted))),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    fn body_of(
        &mut self,
        submitted: &SubmittedEntry,
    ) -> Result<(Body, Vec<Opened>), Stop<K::Error>> {
        self.verify_signatures(submitted)?;
        let (payload, disclosures) = (submitted.payload(), submitted.disclosures());
        Ok(Body::parse_for(self.ledger, payload, disclosures)?)
    }

    /// As [`Verifier::verify`], for whoever replays entries: the token in a `read` entry may still be closed. Nothing is judged by it.
    ///
    /// # Errors
    /// As [`verify`].
    pub fn verify_replayed(
        &mut self,
        submitted: SubmittedEntry,
    ) -> Result<VerifiedEntry, Stop<K::Error>> {
        self.verify_signatures(&submitted)?;
        let (payload, disclosures) = (submitted.payload(), submitted.disclosures());
        let (body, opened) = match Body::parse_for(self.ledger, payload, disclosures) {
            Err(missing) if missing.refusal == Refusal::DisclosureMissing => {
                let body = Body::parse_partial(payload, disclosures)?;
                if !lacks_its_token_alone(&body) {
                    return Err(missing.into());
                }
                let opened = disclosures.iter().map(|text| Opened::of(text));
                (body, opened.collect())
            }
            parsed => parsed?,
        };
        Ok(VerifiedEntry {
            submitted,
            body,
            opened,
        })
    }

    /// The signatures of the next entry alone; its body is not looked at.
    ///
    /// # Errors
    /// As [`verify`].
    pub fn verify_signatures(&mut self, submitted: &SubmittedEntry) -> Result<(), Stop<K::Error>> {
        let rows = submitted.sigs().rows();
        // All keys first: a signature is costly to check.
        let mut keys = Vec::with_capacity(rows.len());
        for (at, row) in rows.iter().enumerate() {
            let key = self.key(&row.key_id).map_err(Stop::Failed)?;
            keys.push(key.ok_or_else(|| in_signature(Refusal::KeyUnknown, at, "keyid"))?);
        }
        for (at, (row, key)) in rows.iter().zip(&keys).enumerate() {
            self.check(row, key, submitted.pae())
                .map_err(|refusal| in_signature(refusal, at, "sig"))?;
        }
        Ok(())
    }

    fn key(&mut self, id: &KeyId) -> Result<Option<PublicKey>, K::Error> {
        if let Some(key) = self.remembered.known.get(id) {
            return Ok(Some(*key));
        }
        let key = self.keys.public_key(id)?;
        if let Some(key) = key
            && self.remembered.known.len() < REMEMBERED_MAX
        {
            self.remembered.known.insert(*id, key);
        }
        Ok(key)
    }

    fn check(&mut self, row: &Signed, key: &PublicKey, pae: &[u8]) -> Result<(), Refusal> {
        let (signature, ed25519) = (&row.signature, row.signature.ed25519());
        let Signature::Batch { .. } = signature else {
            return key.verify(pae, ed25519);
        };
        let message = signature.batch_message(pae).ok_or(Refusal::Signature)?;
        let seen = Hash::of(&[row.key_id.0.as_bytes(), ed25519, &message]);
        if self.remembered.batches.contains(&seen) {
            return Ok(());
        }
        key.verify(&message, ed25519)?;
        if self.remembered.batches.len() < REMEMBERED_MAX {
            self.remembered.batches.insert(seen);
        }
        Ok(())
    }
}

fn lacks_its_token_alone(body: &Body) -> bool {
    let Content::Read(read) = &body.content else {
        return false;
    };
    read.reader.value.is_some()
        && read
            .case_ref
            .as_ref()
            .is_none_or(|case| case.value.is_some())
        && read.subjects.iter().all(|person| person.value.is_some())
}

fn in_signature(refusal: Refusal, at: usize, member: &str) -> Refused {
    let refused = Refused::from(refusal).at(member).at_index(at);
    refused.at("signatures").at("envelope")
}

/// The keys that a genesis brings along: what it is itself verified with.
///
/// # Errors
/// What is wrong with its body, or `genesis` where it is none.
pub fn genesis_keys(entry: &SubmittedEntry) -> Result<BTreeMap<KeyId, PublicKey>, Refused> {
    match Body::parse(entry.payload(), entry.disclosures())?.content {
        Content::Genesis(genesis) => Ok(genesis
            .keys
            .iter()
            .map(|key| (key.public_key.key_id(), key.public_key))
            .collect()),
        _ => Err(Refused::new(Refusal::Genesis, "/envelope/payload/type")),
    }
}

impl VerifiedEntry {
    /// The body, every disclosed value in it.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The entry as it was sent.
    pub fn submitted(&self) -> &SubmittedEntry {
        &self.submitted
    }

    /// What was signed.
    pub fn pae(&self) -> &[u8] {
        self.submitted.pae()
    }

    /// Ids of the keys that signed, ascending.
    pub fn signers(&self) -> impl Iterator<Item = KeyId> {
        self.submitted.sigs().rows().iter().map(|row| row.key_id)
    }

    /// Its type.
    pub fn entry_type(&self) -> EntryType {
        self.body.entry_type()
    }

    /// Its parts: the entry as it was sent, and what was computed of each disclosure.
    pub(super) fn into_parts(self) -> (SubmittedEntry, Vec<Opened>) {
        (self.submitted, self.opened)
    }

    /// The entry as it was sent, to be sent on.
    pub fn into_submitted(self) -> SubmittedEntry {
        self.submitted
    }
}

/// Prints type and sizes alone: the rest is personal data.
impl fmt::Debug for VerifiedEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "VerifiedEntry({}, {:?})",
            self.entry_type().as_str(),
            self.submitted
        )
    }
}
