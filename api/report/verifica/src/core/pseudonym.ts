// SPDX-License-Identifier: EUPL-1.2
// From the code that a person types to the pseudonym of the export: VOPRF of RFC 9497 (mode 0x01, ristretto255-SHA512). The ledger's key
// evaluated the blinded code and proved with which key it did; we blind the typed code with the same scalar and check that proof.
import { ristretto255, ristretto255_hasher, ristretto255_oprf } from "@noble/curves/ed25519.js";

import { fromBase64Url, u8, utf8, type Bytes } from "./bytes";
import { hash, tag } from "./hash";
import { Refused, some } from "./fault";

const REF = tag("visto/ref/v1");
const HASH_TO_GROUP = utf8("HashToGroup-OPRFV1-\x01-ristretto255-SHA512");

/** Kinds of code, and their number in a ref. */
export const CODE_KINDS: Record<string, number> = { cf: 1, idANPR: 2, stp: 3, eni: 4, anagrafica: 5, isee: 6 };

export interface Binding {
  kind: string;
  blind: string;
  evaluated: string;
  proof: string;
}

export function refOf(kind: string, output: Bytes): Bytes {
  return hash(REF, u8(some(CODE_KINDS[kind], "code-kind", kind)), output);
}

/** The ref of a typed code. Throws `code` where the proof does not hold for this code: another code, or a changed binding. */
export function refOfCode(code: string, binding: Binding, publicKey: Bytes): Bytes {
  const input = utf8(`${binding.kind}\n${code.replace(/\s/g, "").toUpperCase()}`);
  const blind = some(fromBase64Url(binding.blind), "base64url");
  const evaluated = some(fromBase64Url(binding.evaluated), "base64url");
  const proof = some(fromBase64Url(binding.proof), "base64url");
  let output: Bytes;
  try {
    const scalar = ristretto255.Point.Fn.fromBytes(blind);
    const blinded = ristretto255_hasher.hashToCurve(input, { DST: HASH_TO_GROUP }).multiply(scalar).toBytes();
    output = ristretto255_oprf.voprf.finalize(input, blind, evaluated, blinded, publicKey, proof) as Bytes;
  } catch {
    throw new Refused("code");
  }
  return refOf(binding.kind, output);
}
