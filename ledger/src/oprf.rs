// SPDX-License-Identifier: EUPL-1.2
//! Pseudonyms (byte specification, *Refs*): a verifiable oblivious pseudorandom function, RFC 9497 mode 0x01 over ristretto255-SHA512.
//!
//! An institution blinds a person's code, the cluster evaluates what it cannot read and proves with which key, the institution checks that
//! and unblinds. No node sees a code, nobody without the key can try codes, and a node with another key is caught by its first answer.
//!
//! This is the one module that names the crate behind it. As all of `ledger` it draws nothing: whoever calls hands in 32 random bytes,
//! from which all that is secret is expanded; the same bytes give the same blind, so they are used once.

use alloc::{string::String, vec::Vec};
use core::{convert::Infallible, fmt};

use sha2::{Digest, Sha512};
use voprf::{
    BlindedElement, EvaluationElement, Group, Proof as DleqProof, Ristretto255 as Suite,
    VoprfClient, VoprfServer,
};
use voprf_rand_core::{TryCryptoRng, TryRngCore};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    bytes::{self, CodeKind},
    export::Binding,
    hash::Hash,
};

mod link;
#[cfg(test)]
mod tests;

pub use link::{Evaluated, LinkProof, Linked};

/// Most codes in one batch: one proof serves all of them.
pub const BATCH_MAX: usize = 1000;
/// Longest code, in bytes: household codes are the longest in use.
pub const CODE_BYTES_MAX: usize = 64;

/// Why an evaluation is not believed, or cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OprfError {
    /// The code is empty, too long, or not printable ASCII.
    Code,
    /// No canonical encoding of an element of the group, or the identity.
    Element,
    /// No canonical encoding of a scalar, or zero.
    Scalar,
    /// None or too many elements, or not as many answers as questions.
    Batch,
    /// The proof does not hold: evaluated with another key, or changed on the way.
    Proof,
}

impl fmt::Display for OprfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OprfError::Code => "the code is empty, too long or not printable ASCII",
            OprfError::Element => "this encodes no element of the group, or the identity",
            OprfError::Scalar => "this encodes no scalar, or zero",
            OprfError::Batch => "a batch holds 1 to 1000 elements, and as many answers",
            OprfError::Proof => {
                "the proof does not hold: another key evaluated, or the answer was changed"
            }
        })
    }
}

impl core::error::Error for OprfError {}

/// An element of the group, in its canonical encoding; never the identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Element([u8; 32]);

impl Element {
    /// Takes 32 bytes that encode an element.
    ///
    /// # Errors
    /// [`OprfError::Element`]
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Element, OprfError> {
        Suite::deserialize_elem(bytes).map_err(|_| OprfError::Element)?;
        Ok(Element(*bytes))
    }

    /// Its encoding.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// That a batch was evaluated with the key of an [`OprfPublicKey`]: challenge and response of a DLEQ proof, 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof(pub [u8; 64]);

/// The key that a genesis names, or that a later entry registers for an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OprfPublicKey([u8; 32]);

impl OprfPublicKey {
    /// Takes the 32 bytes of `oprfKey`.
    ///
    /// # Errors
    /// [`OprfError::Element`]
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<OprfPublicKey, OprfError> {
        Element::from_bytes(bytes).map(|element| OprfPublicKey(element.0))
    }

    /// Its encoding.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Checks that with this key `evaluated` was made of `blinded`, one by one, without knowing what was blinded.
    ///
    /// # Errors
    /// [`OprfError::Proof`], and those of bytes that encode nothing.
    pub fn verify(
        &self,
        blinded: &[Element],
        evaluated: &[Element],
        proof: &Proof,
    ) -> Result<(), OprfError> {
        // The proof is over elements alone. Any blind serves to ask for it; what comes out is not looked at.
        let mut blind = [0; 32];
        if let Some(first) = blind.first_mut() {
            *first = 1;
        }
        let clients = blinded.iter().map(|element| client(&blind, element));
        let clients: Vec<_> = clients.collect::<Result<_, _>>()?;
        let codes: Vec<&[u8]> = blinded.iter().map(|_| b"any".as_slice()).collect();
        outputs(&clients, &codes, evaluated, proof, self).map(drop)
    }
}

/// A batch evaluated: an element for each, and one proof for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// In the order of the question.
    pub evaluated: Vec<Element>,
    /// For the whole batch.
    pub proof: Proof,
}

/// The cluster's key: whoever holds it can try codes. Kept sealed, never printed.
pub struct OprfSecretKey(VoprfServer<Suite>);

impl OprfSecretKey {
    /// Derives a key from 32 random bytes (RFC 9497, DeriveKeyPair).
    ///
    /// # Errors
    /// [`OprfError::Scalar`]: practically never.
    pub fn derive(seed: &[u8; 32]) -> Result<OprfSecretKey, OprfError> {
        OprfSecretKey::derive_for(seed, bytes::OPRF_KEY_INFO)
    }

    fn derive_for(seed: &[u8; 32], info: &[u8]) -> Result<OprfSecretKey, OprfError> {
        VoprfServer::new_from_seed(seed, info)
            .map(OprfSecretKey)
            .map_err(|_| OprfError::Scalar)
    }

    /// The key of a scalar's encoding.
    ///
    /// # Errors
    /// [`OprfError::Scalar`]
    pub fn from_bytes(scalar: &[u8; 32]) -> Result<OprfSecretKey, OprfError> {
        VoprfServer::new_with_key(scalar)
            .map(OprfSecretKey)
            .map_err(|_| OprfError::Scalar)
    }

    /// The scalar's encoding, to be sealed.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        // The scalar comes first in what the crate writes, the public key after it.
        let mut both = self.0.serialize();
        let scalar = fixed(both.as_slice());
        both.as_mut_slice().zeroize();
        Zeroizing::new(scalar)
    }

    /// The key for everybody.
    pub fn public(&self) -> OprfPublicKey {
        OprfPublicKey(fixed(
            Suite::serialize_elem(self.0.get_public_key()).as_slice(),
        ))
    }

    /// Evaluates blinded elements and proves it.
    ///
    /// The proof's nonce is drawn from key, question and `random` together: were `random` ever the same twice, the key would still not be
    /// given away.
    ///
    /// # Errors
    /// [`OprfError::Batch`]
    pub fn evaluate(
        &self,
        blinded: &[Element],
        random: &[u8; 32],
    ) -> Result<Evaluation, OprfError> {
        let scalar = self.to_bytes();
        let mut parts: Vec<&[u8]> = Vec::with_capacity(blinded.len() + 3);
        parts.extend([bytes::OPRF_NONCE, &*scalar, random]);
        parts.extend(blinded.iter().map(|element| element.0.as_slice()));
        self.evaluate_with(blinded, &mut Expanded::new(&parts))
    }

    fn evaluate_with<R: TryRngCore + TryCryptoRng>(
        &self,
        blinded: &[Element],
        rng: &mut R,
    ) -> Result<Evaluation, OprfError> {
        if !(1..=BATCH_MAX).contains(&blinded.len()) {
            return Err(OprfError::Batch);
        }
        let elements = blinded
            .iter()
            .map(|element| BlindedElement::<Suite>::deserialize(&element.0));
        let elements: Vec<_> = elements
            .collect::<Result<_, _>>()
            .map_err(|_| OprfError::Element)?;
        let answer = self
            .0
            .batch_blind_evaluate(rng, &elements)
            .map_err(|_| OprfError::Batch)?;
        let evaluated = answer.messages.iter();
        Ok(Evaluation {
            evaluated: evaluated
                .map(|message| Element(fixed(message.serialize().as_ref())))
                .collect(),
            proof: Proof(fixed(answer.proof.serialize().as_ref())),
        })
    }
}

/// Prints the public half.
impl fmt::Debug for OprfSecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OprfSecretKey(of {:?})", self.public())
    }
}

/// A code that waits for its evaluation: what the institution keeps, and what it sends.
pub struct Blinding {
    kind: CodeKind,
    input: Zeroizing<String>,
    blind: Zeroizing<[u8; 32]>,
    blinded: Element,
}

impl Blinding {
    /// Blinds a code with 32 random bytes, used once. The code is taken as it stands, but for case and outer white space: an omocode is not
    /// undone.
    ///
    /// # Errors
    /// [`OprfError::Code`]
    pub fn new(kind: CodeKind, code: &str, random: &[u8; 32]) -> Result<Blinding, OprfError> {
        let input = input(kind, code)?;
        let (blind, blinded) = blind(
            input.as_bytes(),
            &mut Expanded::new(&[bytes::OPRF_BLIND, random]),
        )?;
        Ok(Blinding {
            kind,
            input,
            blind,
            blinded,
        })
    }

    /// Blinds again with a known blind.
    fn with(kind: CodeKind, code: &str, scalar: &[u8; 32]) -> Result<Blinding, OprfError> {
        Suite::deserialize_scalar(scalar).map_err(|_| OprfError::Scalar)?;
        let input = input(kind, code)?;
        let (blind, blinded) = blind(input.as_bytes(), &mut Given(scalar))?;
        Ok(Blinding {
            kind,
            input,
            blind,
            blinded,
        })
    }

    /// What is sent.
    pub fn blinded(&self) -> Element {
        self.blinded
    }

    /// What an export carries, so that whoever knows the code finds the ref; of a batch of one alone.
    ///
    /// # Errors
    /// [`OprfError::Batch`], [`OprfError::Proof`]
    pub fn binding(&self, answer: &Evaluation, key: &OprfPublicKey) -> Result<Binding, OprfError> {
        finalize(core::slice::from_ref(self), answer, key)?;
        let evaluated = answer.evaluated.first().ok_or(OprfError::Batch)?;
        Ok(Binding {
            kind: self.kind,
            blind: *self.blind,
            evaluated: evaluated.0,
            proof: answer.proof.0,
        })
    }
}

/// Says which kind, never which code.
impl fmt::Debug for Blinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blinding({:?})", self.kind)
    }
}

/// Checks the proof, unblinds, and gives the refs, in order.
///
/// # Errors
/// [`OprfError::Batch`], [`OprfError::Proof`]; then no ref is believed.
pub fn finalize(
    blindings: &[Blinding],
    answer: &Evaluation,
    key: &OprfPublicKey,
) -> Result<Vec<Hash>, OprfError> {
    let clients = blindings
        .iter()
        .map(|blinding| client(&blinding.blind, &blinding.blinded));
    let clients: Vec<_> = clients.collect::<Result<_, _>>()?;
    let inputs: Vec<&[u8]> = blindings
        .iter()
        .map(|blinding| blinding.input.as_bytes())
        .collect();
    let outputs = outputs(&clients, &inputs, &answer.evaluated, &answer.proof, key)?;
    Ok(blindings
        .iter()
        .zip(&outputs)
        .map(|(blinding, output)| bytes::person_ref(blinding.kind, output))
        .collect())
}

impl Binding {
    /// The ref of a code, as this binding shows it under the ledger's key.
    ///
    /// # Errors
    /// [`OprfError::Proof`] for another code than the one it was made for, or another key; bytes that encode nothing.
    pub fn reference(&self, code: &str, key: &OprfPublicKey) -> Result<Hash, OprfError> {
        let blinding = Blinding::with(self.kind, code, &self.blind)?;
        let answer = Evaluation {
            evaluated: Vec::from([Element::from_bytes(&self.evaluated)?]),
            proof: Proof(self.proof),
        };
        let refs = finalize(core::slice::from_ref(&blinding), &answer, key)?;
        refs.first().copied().ok_or(OprfError::Batch)
    }
}

/// `ASCII(kind) ‖ 0x0A ‖ upper-case code`.
fn input(kind: CodeKind, code: &str) -> Result<Zeroizing<String>, OprfError> {
    let code = code.trim_ascii();
    let printable = code.bytes().all(|byte| byte.is_ascii_graphic());
    if code.is_empty() || code.len() > CODE_BYTES_MAX || !printable {
        return Err(OprfError::Code);
    }
    let mut input = Zeroizing::new(String::with_capacity(16 + code.len()));
    input.push_str(kind.as_str());
    input.push('\n');
    code.chars()
        .for_each(|letter| input.push(letter.to_ascii_uppercase()));
    Ok(input)
}

fn blind<R: TryRngCore + TryCryptoRng>(
    input: &[u8],
    rng: &mut R,
) -> Result<(Zeroizing<[u8; 32]>, Element), OprfError> {
    let result = VoprfClient::<Suite>::blind(input, rng).map_err(|_| OprfError::Code)?;
    let mut both = result.state.serialize();
    let scalar = Zeroizing::new(fixed(both.as_slice()));
    both.as_mut_slice().zeroize();
    Ok((scalar, Element(fixed(result.message.serialize().as_ref()))))
}

/// A client's state as the crate reads it: blind, then blinded element.
fn client(blind: &[u8; 32], blinded: &Element) -> Result<VoprfClient<Suite>, OprfError> {
    let mut both = Zeroizing::new([0; 64]);
    let parts = blind.iter().chain(&blinded.0);
    both.iter_mut()
        .zip(parts)
        .for_each(|(to, from)| *to = *from);
    VoprfClient::deserialize(both.as_slice()).map_err(|_| OprfError::Element)
}

// The crate iterates over references to sized collections.
#[allow(clippy::ptr_arg)]
fn outputs(
    clients: &Vec<VoprfClient<Suite>>,
    inputs: &Vec<&[u8]>,
    evaluated: &[Element],
    proof: &Proof,
    key: &OprfPublicKey,
) -> Result<Vec<[u8; 64]>, OprfError> {
    if !(1..=BATCH_MAX).contains(&clients.len()) || clients.len() != evaluated.len() {
        return Err(OprfError::Batch);
    }
    let messages = evaluated
        .iter()
        .map(|element| EvaluationElement::<Suite>::deserialize(&element.0));
    let messages: Vec<_> = messages
        .collect::<Result<_, _>>()
        .map_err(|_| OprfError::Element)?;
    let proof = DleqProof::<Suite>::deserialize(&proof.0).map_err(|_| OprfError::Proof)?;
    let key = Suite::deserialize_elem(&key.0).map_err(|_| OprfError::Element)?;
    let outputs = VoprfClient::batch_finalize(inputs, clients, &messages, &proof, key)
        .map_err(|_| OprfError::Proof)?;
    outputs
        .map(|output| output.map(|output| fixed(&output)))
        .collect::<Result<_, _>>()
        .map_err(|_| OprfError::Code)
}

/// The first `N` bytes; what the crate gives is never shorter.
fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    out
}

/// Randomness expanded from a seed, `SHA-512(tag ‖ …)` of what it comes from: `SHA-512(seed ‖ u64(block))`, block after block.
struct Expanded {
    seed: Zeroizing<[u8; 64]>,
    block: u64,
}

impl Expanded {
    fn new(parts: &[&[u8]]) -> Expanded {
        let mut hash = Sha512::new();
        parts.iter().for_each(|part| hash.update(part));
        Expanded {
            seed: Zeroizing::new(hash.finalize().into()),
            block: 0,
        }
    }
}

impl TryRngCore for Expanded {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for chunk in out.chunks_mut(64) {
            let mut hash = Sha512::new();
            hash.update(self.seed.as_slice());
            hash.update(self.block.to_be_bytes());
            let mut block: Zeroizing<[u8; 64]> = Zeroizing::new(hash.finalize().into());
            chunk
                .iter_mut()
                .zip(block.iter())
                .for_each(|(to, from)| *to = *from);
            block.zeroize();
            self.block = self.block.wrapping_add(1);
        }
        Ok(())
    }
}

impl TryCryptoRng for Expanded {}

/// Gives the bytes that it was given, again and again: only for a scalar that was checked before, or the crate would ask for ever.
struct Given<'a>(&'a [u8; 32]);

impl TryRngCore for Given<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_be_bytes(fixed(self.0)))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_be_bytes(fixed(self.0)))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        out.iter_mut()
            .zip(self.0.iter().cycle())
            .for_each(|(to, from)| *to = *from);
        Ok(())
    }
}

impl TryCryptoRng for Given<'_> {}
