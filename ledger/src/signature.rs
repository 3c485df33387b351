// SPDX-License-Identifier: EUPL-1.2
//! Signatures over entries: singly (alg 1), or one over the RFC 6962 root of a batch (alg 0x81), and the list that an entry carries.

use alloc::{vec, vec::Vec};

use crate::{
    bytes,
    hash::Hash,
    id::KeyId,
    key::{PublicKey, SigningKey},
    merkle,
    number::{EntryIndex, TreeSize},
    refusal::Refusal,
};

/// Algorithm number of [`Signature::Single`].
pub const ALG_SINGLE: u8 = 1;
/// Algorithm number of [`Signature::Batch`].
pub const ALG_BATCH: u8 = 0x81;
/// Most entries in a batch.
pub const BATCH_COUNT_MAX: u16 = 1024;
/// Most signatures of an entry.
pub const SIGS_MAX: usize = 16;

/// One signature over an entry's PAE. Its form is right; whether it holds, [`Signature::verify`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// Ed25519 over the PAE.
    Single([u8; 64]),
    /// Ed25519 over a batch root, and the PAE's way to it. One such signature serves a batch, each entry still stands alone.
    Batch {
        /// Over [`bytes::batch_message`].
        ed25519: [u8; 64],
        /// Place of this entry in the batch, below `count`.
        index: u16,
        /// Entries in the batch, 1 to 1024.
        count: u16,
        /// Siblings, the leaf's first; exactly as many as index and count ask.
        path: Vec<Hash>,
    },
}

impl Signature {
    /// From the bytes of `sig` on the wire and in `sigs`.
    ///
    /// # Errors
    /// [`Refusal::Alg`] for another algorithm, [`Refusal::Signature`] for another form.
    pub fn decode(alg: u8, data: &[u8]) -> Result<Self, Refusal> {
        match alg {
            ALG_SINGLE => data
                .try_into()
                .map(Signature::Single)
                .map_err(|_| Refusal::Signature),
            ALG_BATCH => Self::decode_batch(data).ok_or(Refusal::Signature),
            _ => Err(Refusal::Alg),
        }
    }

    fn decode_batch(data: &[u8]) -> Option<Self> {
        let (ed25519, rest) = data.split_first_chunk::<64>()?;
        let (&[i0, i1, c0, c1], rest) = rest.split_first_chunk::<4>()?;
        let (index, count) = (u16::from_be_bytes([i0, i1]), u16::from_be_bytes([c0, c1]));
        let (hashes, rest) = rest.as_chunks::<32>();
        if count > BATCH_COUNT_MAX
            || index >= count
            || !rest.is_empty()
            || hashes.len() != path_length(index, count)
        {
            return None;
        }
        Some(Signature::Batch {
            ed25519: *ed25519,
            index,
            count,
            path: hashes.iter().map(|&hash| Hash(hash)).collect(),
        })
    }

    /// The bytes of `sig`.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Signature::Single(ed25519) => ed25519.to_vec(),
            Signature::Batch {
                ed25519,
                index,
                count,
                path,
            } => {
                let mut out = Vec::with_capacity(68 + 32 * path.len());
                out.extend_from_slice(ed25519);
                out.extend_from_slice(&index.to_be_bytes());
                out.extend_from_slice(&count.to_be_bytes());
                path.iter()
                    .for_each(|hash| out.extend_from_slice(hash.as_bytes()));
                out
            }
        }
    }

    /// Number of the algorithm.
    pub fn alg(&self) -> u8 {
        match self {
            Signature::Single(_) => ALG_SINGLE,
            Signature::Batch { .. } => ALG_BATCH,
        }
    }

    /// The Ed25519 signature inside.
    pub fn ed25519(&self) -> &[u8; 64] {
        match self {
            Signature::Single(ed25519) | Signature::Batch { ed25519, .. } => ed25519,
        }
    }

    /// For a batch: the message that was signed, computed from the PAE and the path. The same for all entries of a batch. `None` for a
    /// single signature, and for a path that its index and count do not allow.
    pub fn batch_message(&self, pae: &[u8]) -> Option<[u8; bytes::BATCH_MESSAGE_BYTES]> {
        match self {
            Signature::Single(_) => None,
            Signature::Batch {
                index, count, path, ..
            } => {
                let (index, size) = (EntryIndex(u64::from(*index)), TreeSize(u64::from(*count)));
                let root =
                    merkle::verify_inclusion(index, size, merkle::leaf_hash(pae), path).ok()?;
                Some(bytes::batch_message(*count, &root))
            }
        }
    }

    /// Checks that the key signed this PAE, alone or in a batch.
    ///
    /// # Errors
    /// [`Refusal::Signature`] if not.
    pub fn verify(&self, key: &PublicKey, pae: &[u8]) -> Result<(), Refusal> {
        match self {
            Signature::Single(ed25519) => key.verify(pae, ed25519),
            Signature::Batch { ed25519, .. } => {
                key.verify(&self.batch_message(pae).ok_or(Refusal::Signature)?, ed25519)
            }
        }
    }
}

/// Signs one PAE.
pub fn sign_single(key: &SigningKey, pae: &[u8]) -> Signature {
    Signature::Single(key.sign(pae))
}

/// Signs 1 to 1024 PAEs at once; the signatures come in the order of the PAEs. None, or more than 1024, give no signature.
pub fn sign_batch(key: &SigningKey, paes: &[&[u8]]) -> Vec<Signature> {
    let Ok(count) = u16::try_from(paes.len()) else {
        return Vec::new();
    };
    if !(1..=BATCH_COUNT_MAX).contains(&count) {
        return Vec::new();
    }
    // Each level holds the hashes of the one below pair by pair; an odd last one moves up as it is, which is RFC 6962's tree.
    let mut levels = vec![
        paes.iter()
            .map(|pae| merkle::leaf_hash(pae))
            .collect::<Vec<_>>(),
    ];
    while let Some(level) = levels.last()
        && level.len() > 1
    {
        let up = level.chunks(2).filter_map(|pair| match pair {
            [left, right] => Some(merkle::node_hash(left, right)),
            [odd] => Some(*odd),
            _ => None,
        });
        let up = up.collect();
        levels.push(up);
    }
    let root = levels
        .last()
        .and_then(|level| level.first())
        .copied()
        .unwrap_or(Hash::ZERO);
    let ed25519 = key.sign(&bytes::batch_message(count, &root));
    (0..count)
        .map(|index| {
            let path = levels
                .iter()
                .enumerate()
                .filter_map(|(up, level)| level.get((usize::from(index) >> up) ^ 1).copied());
            Signature::Batch {
                ed25519,
                index,
                count,
                path: path.collect(),
            }
        })
        .collect()
}

/// Number of siblings on the way from leaf `index` to the root of `count` leaves.
fn path_length(index: u16, count: u16) -> usize {
    let (mut index, mut last, mut length) = (index, count.saturating_sub(1), 0);
    while last > 0 {
        length += usize::from(index & 1 == 1 || index < last);
        (index, last) = (index >> 1, last >> 1);
    }
    length
}

/// A signature and the key that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Whose.
    pub key_id: KeyId,
    /// The signature.
    pub signature: Signature,
}

/// The signatures of an entry: 1 to 16, strictly ascending by key id. The *first* is the lowest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sigs(Vec<Signed>);

impl Sigs {
    /// From rows that are in order already.
    ///
    /// # Errors
    /// [`Refusal::Sigs`] for none, more than 16, or rows not strictly ascending.
    pub fn new(rows: Vec<Signed>) -> Result<Self, Refusal> {
        let ascending = rows.array_windows().all(|[a, b]| a.key_id < b.key_id);
        if ascending && (1..=SIGS_MAX).contains(&rows.len()) {
            Ok(Self(rows))
        } else {
            Err(Refusal::Sigs)
        }
    }

    /// As [`Sigs::new`], putting the rows in order first.
    ///
    /// # Errors
    /// [`Refusal::Sigs`] for none, more than 16, or a key twice.
    pub fn sorted(mut rows: Vec<Signed>) -> Result<Self, Refusal> {
        rows.sort_by_key(|row| row.key_id);
        Self::new(rows)
    }

    /// One signature of one key.
    pub fn one(key_id: KeyId, signature: Signature) -> Self {
        Self(vec![Signed { key_id, signature }])
    }

    /// Signs a PAE with each of the keys.
    ///
    /// # Errors
    /// [`Refusal::Sigs`] for no key, more than 16, or a key twice.
    pub fn sign(keys: &[&SigningKey], pae: &[u8]) -> Result<Self, Refusal> {
        Self::sorted(
            keys.iter()
                .map(|key| Signed {
                    key_id: key.key_id(),
                    signature: sign_single(key, pae),
                })
                .collect(),
        )
    }

    /// The rows, ascending.
    pub fn rows(&self) -> &[Signed] {
        &self.0
    }

    /// Key of the first signature: the one that `meta` names.
    pub fn first(&self) -> KeyId {
        // There is always one.
        self.0.first().map_or(KeyId(Hash::ZERO), |row| row.key_id)
    }

    /// `u8(n) ‖ n × (key_id[32] ‖ u8(alg) ‖ u16(len) ‖ sig)`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1 + self.0.len() * 99);
        out.push(self.0.len() as u8);
        for row in &self.0 {
            let sig = row.signature.encode();
            out.extend_from_slice(row.key_id.0.as_bytes());
            out.push(row.signature.alg());
            out.extend_from_slice(&(sig.len() as u16).to_be_bytes());
            out.extend_from_slice(&sig);
        }
        out
    }

    /// Decodes what [`Sigs::encode`] writes and nothing else.
    ///
    /// # Errors
    /// [`Refusal::Sigs`].
    pub fn decode(data: &[u8]) -> Result<Self, Refusal> {
        let (&n, mut rest) = data.split_first().ok_or(Refusal::Sigs)?;
        let mut rows = Vec::with_capacity(usize::from(n).min(SIGS_MAX));
        for _ in 0..n {
            let (head, tail) = rest.split_first_chunk::<35>().ok_or(Refusal::Sigs)?;
            let &[ref key_id @ .., alg, high, low] = head;
            let (sig, tail) = tail
                .split_at_checked(usize::from(u16::from_be_bytes([high, low])))
                .ok_or(Refusal::Sigs)?;
            let key_id = KeyId(Hash::from_slice(key_id).ok_or(Refusal::Sigs)?);
            rows.push(Signed {
                key_id,
                signature: Signature::decode(alg, sig).map_err(|_| Refusal::Sigs)?,
            });
            rest = tail;
        }
        if rest.is_empty() {
            Self::new(rows)
        } else {
            Err(Refusal::Sigs)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use alloc::format;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_place_of_every_small_batch_holds_and_no_other() {
        let key = SigningKey::from_seed([1; 32]);
        for count in (1..=17).chain([64, 65, 1024]) {
            let paes: Vec<_> = (0..count)
                .map(|n| format!("entry {n}").into_bytes())
                .collect();
            let borrowed: Vec<&[u8]> = paes.iter().map(|pae| &pae[..]).collect();
            let signatures = sign_batch(&key, &borrowed);
            assert_eq!(signatures.len(), count);
            let message = signatures[0].batch_message(&paes[0]);
            for (signature, pae) in signatures.iter().zip(&paes) {
                // All of a batch lead to one message, so one strict verification serves it.
                assert_eq!(signature.batch_message(pae), message);
                assert_eq!(
                    Signature::decode(ALG_BATCH, &signature.encode()).as_ref(),
                    Ok(signature)
                );
                assert_ne!(signature.batch_message(b"another"), message);
            }
            signatures[count - 1]
                .verify(&key.public(), &paes[count - 1])
                .unwrap();
            assert_eq!(
                signatures[0].verify(&key.public(), b"another"),
                Err(Refusal::Signature)
            );
        }
        assert!(sign_batch(&key, &[]).is_empty());
        assert!(sign_batch(&key, &[&b""[..]; 1025]).is_empty());
    }

    #[test]
    fn rows_are_ascending_and_distinct() {
        let keys: Vec<_> = (0..17).map(|n| SigningKey::from_seed([n; 32])).collect();
        let borrowed: Vec<_> = keys.iter().collect();
        assert_eq!(Sigs::sign(&borrowed, b"pae"), Err(Refusal::Sigs));
        assert_eq!(
            Sigs::sign(&[&keys[0], &keys[0]], b"pae"),
            Err(Refusal::Sigs)
        );
        assert_eq!(Sigs::sign(&[], b"pae"), Err(Refusal::Sigs));
        let sigs = Sigs::sign(&borrowed[..16], b"pae").unwrap();
        assert_eq!(
            sigs.first(),
            sigs.rows().iter().map(|row| row.key_id).min().unwrap()
        );
        let mut rows = sigs.rows().to_vec();
        rows.swap(0, 1);
        assert_eq!(Sigs::new(rows), Err(Refusal::Sigs));
        assert_eq!(Sigs::decode(&sigs.encode()), Ok(sigs));
    }

    proptest! {
        #[test]
        fn decoding_is_strict(seeds in prop::collection::btree_set(any::<u8>(), 1..5), batch in any::<bool>(), cut in any::<prop::sample::Index>(), junk in any::<u8>()) {
            let rows = seeds.iter().map(|&seed| {
                let key = SigningKey::from_seed([seed; 32]);
                let signature = if batch { sign_batch(&key, &[b"a", b"b", b"c"]).remove(2) } else { sign_single(&key, b"a") };
                Signed { key_id: key.key_id(), signature }
            });
            let sigs = Sigs::sorted(rows.collect()).unwrap();
            let data = sigs.encode();
            prop_assert_eq!(Sigs::decode(&data), Ok(sigs));
            prop_assert_eq!(Sigs::decode(&data[..cut.index(data.len())]), Err(Refusal::Sigs));
            let longer = [&data[..], &[junk]].concat();
            prop_assert_eq!(Sigs::decode(&longer), Err(Refusal::Sigs));
        }

        #[test]
        fn never_panics(data in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Sigs::decode(&data);
            let _ = Signature::decode(ALG_BATCH, &data);
        }
    }
}
