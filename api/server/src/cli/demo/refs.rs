// SPDX-License-Identifier: EUPL-1.2
//! Refs of the demo: drawn with a key of the loader's own, since no cluster key evaluates codes yet. Without that key no code can be
//! confirmed by guessing; who holds it (this process alone) can.

use ledger::{
    bytes::{self, CodeKind},
    hash::Hash,
};

/// A keyed pseudo-random function over codes.
pub(super) struct Refs {
    key: [u8; 32],
}

impl Refs {
    /// The same refs for the same seed, so that a second run finds the same persons.
    pub(super) fn new(seed: u64) -> Refs {
        Refs {
            key: Hash::of(&[b"visto demo: key of refs", &seed.to_be_bytes()]).0,
        }
    }

    /// The ref of a code.
    pub(super) fn of(&self, kind: CodeKind, code: &str) -> Hash {
        let half = |number: u8| Hash::of(&[&self.key, &[number, kind as u8], code.as_bytes()]).0;
        let mut output = [0; 64];
        for (to, from) in output.iter_mut().zip(half(0).into_iter().chain(half(1))) {
            *to = from;
        }
        bytes::person_ref(kind, &output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refs_depend_on_key_kind_and_code() {
        let (one, other) = (Refs::new(1), Refs::new(2));
        let code = "RSSMRA85T10A562S";
        assert_eq!(
            one.of(CodeKind::Cf, code),
            Refs::new(1).of(CodeKind::Cf, code)
        );
        assert_ne!(one.of(CodeKind::Cf, code), other.of(CodeKind::Cf, code));
        assert_ne!(
            one.of(CodeKind::Cf, code),
            one.of(CodeKind::Anagrafica, code)
        );
        assert_ne!(
            one.of(CodeKind::Cf, code),
            one.of(CodeKind::Cf, "RSSMRA85T50A562W")
        );
    }
}
