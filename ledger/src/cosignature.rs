// SPDX-License-Identifier: EUPL-1.2
//! C2SP tlog-cosignature v1 (type 0x04): a witness or node says when it saw a checkpoint to be consistent with all it saw before.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::key::{PublicKey, SigningKey};
use crate::note::{KeyName, NoteError, SignatureLine, SignatureType, VerifierKey};

/// Bytes of a cosignature: `u64(POSIX seconds) ‖ Ed25519 signature`.
pub const COSIGNATURE_BYTES: usize = 72;
/// Latest time that can be stated, in POSIX seconds.
pub const TIME_MAX: u64 = i64::MAX as u64;

/// Cosigns a checkpoint's text at a time in POSIX seconds (at most [`TIME_MAX`]; later ones are cut to it). The name is not signed:
/// one key, one cosigner.
pub fn cosign(name: &KeyName, key: &SigningKey, text: &str, time_s: u64) -> SignatureLine {
    let time_s = time_s.min(TIME_MAX);
    let verifier = VerifierKey::new(name.clone(), SignatureType::Cosignature, key.public());
    let mut signature = Vec::with_capacity(COSIGNATURE_BYTES);
    signature.extend_from_slice(&time_s.to_be_bytes());
    signature.extend_from_slice(&key.sign(message(text, time_s).as_bytes()));
    SignatureLine {
        name: name.clone(),
        key_id: verifier.key_id(),
        signature,
    }
}

/// Checks a cosignature over a checkpoint's text; answers with its time.
pub(crate) fn verify(public: &PublicKey, text: &str, signature: &[u8]) -> Result<u64, NoteError> {
    let (time_s, signature) = signature
        .split_first_chunk::<8>()
        .ok_or(NoteError::Signature)?;
    let time_s = u64::from_be_bytes(*time_s);
    let signature: &[u8; 64] = signature.try_into().map_err(|_| NoteError::Signature)?;
    if time_s > TIME_MAX {
        return Err(NoteError::Signature);
    }
    let message = message(text, time_s);
    public
        .verify(message.as_bytes(), signature)
        .map_err(|_| NoteError::Signature)?;
    Ok(time_s)
}

fn message(text: &str, time_s: u64) -> String {
    format!("cosignature/v1\ntime {time_s}\n{text}")
}
