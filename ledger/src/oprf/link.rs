// SPDX-License-Identifier: EUPL-1.2
//! The proof in a `link` entry: that the ledger's keys evaluated two blinded codes, and whether both are one code under two keys.
//!
//! Two refs of one person come from one code under the keys of two epochs, or from two codes (an STP and then a tax code). In the first
//! case both evaluations are of one blinded element, and everybody sees that the same hidden code gave both. In the second nobody can see
//! that two codes are one person's: the institution that holds them signs for it.
//!
//! What neither shows to those who do not know code and blind: that the refs named in the entry are the outputs of these evaluations. The
//! institution signs for that too, and with the code it can be checked. The blind is not in here, or the code could be tried out.

use alloc::string::String;

use super::{Element, OprfError, OprfPublicKey, Proof};
use crate::base64;

/// `u8(1) ‖ old ‖ new`, each `blinded[32] ‖ evaluated[32] ‖ proof[64]`, as b64u in the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkProof {
    /// What gave the old ref.
    pub old: Evaluated,
    /// What gave the new ref.
    pub new: Evaluated,
}

/// One blinded code and its evaluation, alone in its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evaluated {
    /// The code, blinded.
    pub blinded: Element,
    /// That, evaluated.
    pub evaluated: Element,
    /// By which key.
    pub proof: Proof,
}

/// What a proof shows to those who know no code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linked {
    /// One hidden code under the keys of two epochs.
    OneCode,
    /// Two evaluations by the ledger; that their codes are one person's is the institution's word.
    TwoCodes,
}

/// Bytes of an encoded [`LinkProof`].
const LINK_PROOF_BYTES: usize = 1 + 2 * EVALUATED_BYTES;
const EVALUATED_BYTES: usize = 32 + 32 + 64;
const VERSION: u8 = 1;

impl LinkProof {
    /// As it stands in the entry.
    pub fn to_text(&self) -> String {
        base64::url_encode(&self.encode())
    }

    /// Takes the text of an entry and checks it under the ledger's keys, all epochs'.
    ///
    /// # Errors
    /// [`OprfError::Proof`], [`OprfError::Element`]
    pub fn parse(text: &str, keys: &[OprfPublicKey]) -> Result<Linked, OprfError> {
        let bytes = base64::url_decode(text).ok_or(OprfError::Proof)?;
        LinkProof::decode(&bytes)?.verify(keys)
    }

    /// Its bytes.
    pub fn encode(&self) -> [u8; LINK_PROOF_BYTES] {
        let head: &[u8] = &[VERSION];
        let [a, b, c] = self.old.parts();
        let [d, e, f] = self.new.parts();
        let bytes = [head, a, b, c, d, e, f];
        let mut out = [0; LINK_PROOF_BYTES];
        out.iter_mut()
            .zip(bytes.into_iter().flatten())
            .for_each(|(to, from)| *to = *from);
        out
    }

    /// What [`LinkProof::encode`] wrote, and nothing else.
    ///
    /// # Errors
    /// [`OprfError::Element`], [`OprfError::Proof`]
    pub fn decode(bytes: &[u8]) -> Result<LinkProof, OprfError> {
        let (version, rest) = bytes.split_first().ok_or(OprfError::Proof)?;
        let (old, rest) = Evaluated::take(rest)?;
        let (new, rest) = Evaluated::take(rest)?;
        if *version != VERSION || !rest.is_empty() {
            return Err(OprfError::Proof);
        }
        Ok(LinkProof { old, new })
    }

    /// Checks both evaluations under the keys of all epochs, the oldest first.
    ///
    /// # Errors
    /// [`OprfError::Proof`]: one was made with no key of these, or one code not under an older key first.
    pub fn verify(&self, keys: &[OprfPublicKey]) -> Result<Linked, OprfError> {
        let (old, new) = (self.old.epoch(keys)?, self.new.epoch(keys)?);
        match (self.old.blinded == self.new.blinded, old < new) {
            (true, true) => Ok(Linked::OneCode),
            (true, false) => Err(OprfError::Proof),
            (false, _) => Ok(Linked::TwoCodes),
        }
    }
}

impl Evaluated {
    fn parts(&self) -> [&[u8]; 3] {
        [
            self.blinded.as_bytes(),
            self.evaluated.as_bytes(),
            &self.proof.0,
        ]
    }

    fn take(bytes: &[u8]) -> Result<(Evaluated, &[u8]), OprfError> {
        let (blinded, rest) = element(bytes)?;
        let (evaluated, rest) = element(rest)?;
        let (proof, rest) = rest.split_first_chunk::<64>().ok_or(OprfError::Proof)?;
        let evaluated = Evaluated {
            blinded,
            evaluated,
            proof: Proof(*proof),
        };
        Ok((evaluated, rest))
    }

    /// The place of the key that evaluated it.
    fn epoch(&self, keys: &[OprfPublicKey]) -> Result<usize, OprfError> {
        let (blinded, evaluated) = (
            core::slice::from_ref(&self.blinded),
            core::slice::from_ref(&self.evaluated),
        );
        keys.iter()
            .position(|key| key.verify(blinded, evaluated, &self.proof).is_ok())
            .ok_or(OprfError::Proof)
    }
}

fn element(bytes: &[u8]) -> Result<(Element, &[u8]), OprfError> {
    let (element, rest) = bytes.split_first_chunk::<32>().ok_or(OprfError::Proof)?;
    Ok((Element::from_bytes(element)?, rest))
}
