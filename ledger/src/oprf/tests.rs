// SPDX-License-Identifier: EUPL-1.2
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
//! RFC 9497, appendix A.1.2 (ristretto255-SHA512, VOPRF mode), and Visto's own use of it.

use alloc::string::ToString;

use proptest::prelude::*;

use super::*;

const SEED: [u8; 32] = [0xa3; 32];
const SECRET: &str = "e6f73f344b79b379f1a0dd37e07ff62e38d9f71345ce62ae3a9bc60b04ccd909";
const PUBLIC: &str = "c803e2cc6b05fc15064549b5920659ca4a77b2cca6f04f6b357009335476ad4e";
const BLINDS: [&str; 2] = [
    "64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706",
    "222a5e897cf59db8145db8d16e597e8facb80ae7d4e26d9881aa6f61d645fc0e",
];

struct Vector {
    inputs: &'static [&'static str],
    blinds: &'static [&'static str],
    blinded: &'static [&'static str],
    evaluated: &'static [&'static str],
    proof: &'static str,
    proof_random: &'static str,
    outputs: &'static [&'static str],
}

const VECTORS: [Vector; 3] = [
    Vector {
        inputs: &["00"],
        blinds: &[BLINDS[0]],
        blinded: &["863f330cc1a1259ed5a5998a23acfd37fb4351a793a5b3c090b642ddc439b945"],
        evaluated: &["aa8fa048764d5623868679402ff6108d2521884fa138cd7f9c7669a9a014267e"],
        proof: "ddef93772692e535d1a53903db24367355cc2cc78de93b3be5a8ffcc6985dd066d4346421d17bf5117a2a1ff0fcb2a759f58a539dfbe857a40bce4cf49ec600d",
        proof_random: BLINDS[1],
        outputs: &[
            "b58cfbe118e0cb94d79b5fd6a6dafb98764dff49c14e1770b566e42402da1a7da4d8527693914139caee5bd03903af43a491351d23b430948dd50cde10d32b3c",
        ],
    },
    Vector {
        inputs: &["5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"],
        blinds: &[BLINDS[0]],
        blinded: &["cc0b2a350101881d8a4cba4c80241d74fb7dcbfde4a61fde2f91443c2bf9ef0c"],
        evaluated: &["60a59a57208d48aca71e9e850d22674b611f752bed48b36f7a91b372bd7ad468"],
        proof: "401a0da6264f8cf45bb2f5264bc31e109155600babb3cd4e5af7d181a2c9dc0a67154fabf031fd936051dec80b0b6ae29c9503493dde7393b722eafdf5a50b02",
        proof_random: BLINDS[1],
        outputs: &[
            "8a9a2f3c7f085b65933594309041fc1898d42d0858e59f90814ae90571a6df60356f4610bf816f27afdd84f47719e480906d27ecd994985890e5f539e7ea74b6",
        ],
    },
    Vector {
        inputs: &["00", "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"],
        blinds: &BLINDS,
        blinded: &[
            "863f330cc1a1259ed5a5998a23acfd37fb4351a793a5b3c090b642ddc439b945",
            "90a0145ea9da29254c3a56be4fe185465ebb3bf2a1801f7124bbbadac751e654",
        ],
        evaluated: &[
            "aa8fa048764d5623868679402ff6108d2521884fa138cd7f9c7669a9a014267e",
            "cc5ac221950a49ceaa73c8db41b82c20372a4c8d63e5dded2db920b7eee36a2a",
        ],
        proof: "cc203910175d786927eeb44ea847328047892ddf8590e723c37205cb74600b0a5ab5337c8eb4ceae0494c2cf89529dcf94572ed267473d567aeed6ab873dee08",
        proof_random: "419c4f4f5052c53c45f3da494d2b67b220d02118e0857cdbcf037f9ea84bbe0c",
        outputs: &[
            "b58cfbe118e0cb94d79b5fd6a6dafb98764dff49c14e1770b566e42402da1a7da4d8527693914139caee5bd03903af43a491351d23b430948dd50cde10d32b3c",
            "8a9a2f3c7f085b65933594309041fc1898d42d0858e59f90814ae90571a6df60356f4610bf816f27afdd84f47719e480906d27ecd994985890e5f539e7ea74b6",
        ],
    },
];

#[test]
fn the_rfcs_vectors() {
    let secret = OprfSecretKey::derive_for(&SEED, b"test key").unwrap();
    assert_eq!(hex::encode(*secret.to_bytes()), SECRET);
    assert_eq!(hex::encode(secret.public().as_bytes()), PUBLIC);
    let again = OprfSecretKey::from_bytes(&array(SECRET)).unwrap();
    assert_eq!(again.public(), secret.public());
    for vector in &VECTORS {
        let inputs: Vec<_> = vector
            .inputs
            .iter()
            .map(|of| hex::decode(of).unwrap())
            .collect();
        let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
        let mut blinded = Vec::new();
        for ((input, scalar), expected) in inputs.iter().zip(vector.blinds).zip(vector.blinded) {
            let (kept, element) = blind(input, &mut Given(&array(scalar))).unwrap();
            assert_eq!(
                (hex::encode(*kept), hex::encode(element.0)),
                (scalar.to_string(), expected.to_string())
            );
            blinded.push(element);
        }
        let random = array(vector.proof_random);
        let answer = secret.evaluate_with(&blinded, &mut Given(&random)).unwrap();
        let evaluated: Vec<_> = answer
            .evaluated
            .iter()
            .map(|of| hex::encode(of.0))
            .collect();
        assert_eq!(evaluated, vector.evaluated);
        assert_eq!(hex::encode(answer.proof.0), vector.proof);
        let clients: Vec<_> = vector
            .blinds
            .iter()
            .zip(&blinded)
            .map(|(scalar, element)| client(&array(scalar), element).unwrap())
            .collect();
        let outputs = outputs(
            &clients,
            &inputs,
            &answer.evaluated,
            &answer.proof,
            &secret.public(),
        );
        let outputs: Vec<_> = outputs.unwrap().iter().map(hex::encode).collect();
        assert_eq!(outputs, vector.outputs);
        assert_eq!(
            secret
                .public()
                .verify(&blinded, &answer.evaluated, &answer.proof),
            Ok(())
        );
    }
}

/// Reproduced by the page in the browser, which has another implementation under it.
#[test]
fn a_binding_gives_the_ref_of_its_code_alone() {
    let secret = OprfSecretKey::derive(&[1; 32]).unwrap();
    let blinding = Blinding::new(CodeKind::Cf, " rssmra80a01m109x", &[2; 32]).unwrap();
    let answer = secret.evaluate(&[blinding.blinded()], &[3; 32]).unwrap();
    let binding = blinding.binding(&answer, &secret.public()).unwrap();
    let refs = finalize(&[blinding], &answer, &secret.public()).unwrap();
    assert_eq!(
        binding.reference("RSSMRA80A01M109X", &secret.public()),
        Ok(refs[0])
    );
    let public = secret.public();
    assert_eq!(
        binding.reference("RSSMRA80A01M109Y", &public),
        Err(OprfError::Proof)
    );
    let other = OprfSecretKey::derive(&[4; 32]).unwrap().public();
    assert_eq!(
        binding.reference("RSSMRA80A01M109X", &other),
        Err(OprfError::Proof)
    );
    let idanpr = Binding {
        kind: CodeKind::IdAnpr,
        ..binding
    };
    assert_eq!(
        idanpr.reference("RSSMRA80A01M109X", &public),
        Err(OprfError::Proof)
    );
    let text = [
        hex::encode(public.as_bytes()),
        hex::encode(binding.blind),
        hex::encode(binding.evaluated),
        hex::encode(binding.proof),
        hex::encode(refs[0].as_bytes()),
    ];
    assert_eq!(text.join("\n"), CROSS);
}

/// Public key, blind, evaluated element, proof, ref.
const CROSS: &str = "daab359f616ca12bb6a36a918851945e6749c42938afc224864cf831a5318d14
074bb1d165774961953b5b0bf46b0d8e04b019d8d33facbb9f55567da57bd804
8acc92ca721331f8d079ba0e23abf728f6308a08ed873b38eec70a435260957c
fbefcc73eb80fac4d80374c8520285d7b45b0ebd45509231675cb63d4969b00120af35fde35de74d480df99805d7564cff2e4c36b66ac1b4a6b5e3f308848501
79d1107c53682f993f42947c1d01f068b60d81a85485a08ab772892a26042df5";

#[test]
fn what_encodes_nothing_is_refused() {
    let identity = [0; 32];
    assert_eq!(Element::from_bytes(&identity), Err(OprfError::Element));
    assert_eq!(Element::from_bytes(&[0xff; 32]), Err(OprfError::Element));
    assert_eq!(
        OprfPublicKey::from_bytes(&identity),
        Err(OprfError::Element)
    );
    assert!(OprfSecretKey::from_bytes(&[0; 32]).is_err());
    assert!(OprfSecretKey::from_bytes(&[0xff; 32]).is_err());
    let secret = OprfSecretKey::derive(&[1; 32]).unwrap();
    assert_eq!(secret.evaluate(&[], &[0; 32]), Err(OprfError::Batch));
    for code in ["", "  ", "RSS MRA", "è", "RSS\nMRA", &"A".repeat(65)] {
        assert_eq!(
            Blinding::new(CodeKind::Cf, code, &[1; 32]).unwrap_err(),
            OprfError::Code,
            "{code}"
        );
    }
}

#[test]
fn a_link_shows_one_code_under_two_keys() {
    let [old, new] = [[1; 32], [2; 32]].map(|seed| OprfSecretKey::derive(&seed).unwrap());
    let keys = [old.public(), new.public()];
    let blinded = |code: &str, random: u8| {
        Blinding::new(CodeKind::Cf, code, &[random; 32])
            .unwrap()
            .blinded()
    };
    let evaluated = |key: &OprfSecretKey, blinded: Element| {
        let answer = key.evaluate(&[blinded], &[9; 32]).unwrap();
        Evaluated {
            blinded,
            evaluated: answer.evaluated[0],
            proof: answer.proof,
        }
    };
    let code = blinded("RSSMRA80A01M109X", 7);
    let epochs = LinkProof {
        old: evaluated(&old, code),
        new: evaluated(&new, code),
    };
    assert_eq!(
        LinkProof::parse(&epochs.to_text(), &keys),
        Ok(Linked::OneCode)
    );
    assert_eq!(
        LinkProof::parse(&epochs.to_text(), &keys[..1]),
        Err(OprfError::Proof)
    );
    let codes = LinkProof {
        old: evaluated(&new, code),
        new: evaluated(&new, blinded("STP0301234567890", 8)),
    };
    assert_eq!(codes.verify(&keys), Ok(Linked::TwoCodes));
    let backwards = LinkProof {
        old: epochs.new,
        new: epochs.old,
    };
    assert_eq!(backwards.verify(&keys), Err(OprfError::Proof));
    let same = LinkProof {
        old: epochs.new,
        new: epochs.new,
    };
    assert_eq!(same.verify(&keys), Err(OprfError::Proof));
    let bytes = epochs.encode();
    assert_eq!(LinkProof::decode(&bytes), Ok(epochs));
    for at in 0..bytes.len() {
        let mut changed = bytes;
        changed[at] ^= 1;
        assert!(
            LinkProof::decode(&changed)
                .and_then(|proof| proof.verify(&keys))
                .is_err(),
            "byte {at}"
        );
    }
    assert!(LinkProof::decode(&bytes[1..]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn blinds_hide_and_come_off(codes in proptest::collection::vec("[A-Z0-9]{1,20}", 1..5), seed: [u8; 32], other: [u8; 32], random: [u8; 32]) {
        let secret = OprfSecretKey::derive(&seed).unwrap();
        let blindings = |random: &[u8; 32]| -> Vec<Blinding> {
            codes.iter().enumerate().map(|(at, code)| {
                let mut own = *random;
                own[0] ^= at as u8;
                Blinding::new(CodeKind::Cf, code, &own).unwrap()
            }).collect()
        };
        let mut different = random;
        different[31] ^= 1;
        let runs = [random, different].map(|random| {
            let blindings = blindings(&random);
            let sent: Vec<_> = blindings.iter().map(Blinding::blinded).collect();
            let answer = secret.evaluate(&sent, &other).unwrap();
            (sent, finalize(&blindings, &answer, &secret.public()).unwrap())
        });
        prop_assert_ne!(&runs[0].0, &runs[1].0);
        prop_assert_eq!(&runs[0].1, &runs[1].1);
        let blindings = blindings(&random);
        let mut answer = secret.evaluate(&runs[0].0, &other).unwrap();
        answer.proof.0[usize::from(other[0]) % 64] ^= 1;
        prop_assert!(finalize(&blindings, &answer, &secret.public()).is_err());
        answer.evaluated.pop();
        prop_assert_eq!(finalize(&blindings, &answer, &secret.public()), Err(OprfError::Batch));
    }
}

fn array<const N: usize>(text: &str) -> [u8; N] {
    hex::decode(text).unwrap().try_into().unwrap()
}
