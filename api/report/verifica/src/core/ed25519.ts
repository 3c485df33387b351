// SPDX-License-Identifier: EUPL-1.2
// Ed25519 as the ledger checks it (RFC 8032 without cofactor; S < L; no second spelling; neither key nor R of small order).
//
// Browsers differ in corners that only a malicious key holder can reach. What we check by ourselves, whoever verifies: that the key is a
// point, canonical and not of small order; that R is not of small order; that S < L. The rest is the verifier's: Chromium's is without
// cofactor and compares R byte by byte, which with the former is exactly the ledger's rule; another browser may accept a signature with a
// cofactor, which needs R or key to carry a part of small order. The library's path computes R as the ledger does.
import { ed25519 } from "@noble/curves/ed25519.js";
import { sha512 } from "@noble/hashes/sha2.js";

import { concat, equal, fromHex, hex, type Bytes } from "./bytes";

export interface SignatureVerifier {
  /** Who computes: the browser, or the library in this page. */
  by: "browser" | "library";
  verify(publicKey: Bytes, message: Bytes, signature: Bytes): Promise<boolean>;
}

/** The browser's Ed25519 if it has one that answers right, else the library's. */
export async function signatureVerifier(libraryOnly = false): Promise<SignatureVerifier> {
  if (!libraryOnly && (await browserAnswers())) return strict("browser", new BrowserKeys());
  return strict("library", { holds: libraryHolds });
}

/** A point of the curve in its one spelling, and not of small order. */
export function isGoodKey(publicKey: Bytes): boolean {
  const known = judged.get(hex(publicKey));
  if (known !== undefined) return known;
  let good = false;
  try {
    good = publicKey.length === 32 && !ed25519.Point.fromBytes(publicKey).isSmallOrder();
  } catch {
    good = false;
  }
  judged.set(hex(publicKey), good);
  return good;
}

const judged = new Map<string, boolean>();

interface Computes {
  holds(publicKey: Bytes, message: Bytes, signature: Bytes): Promise<boolean>;
}

function strict(by: "browser" | "library", computes: Computes): SignatureVerifier {
  return {
    by,
    async verify(publicKey, message, signature) {
      const formed = signature.length === 64 && !isSmallOrder(signature.subarray(0, 32)) && belowOrder(signature.subarray(32));
      return formed && isGoodKey(publicKey) && (await computes.holds(publicKey, message, signature));
    },
  };
}

class BrowserKeys implements Computes {
  private readonly imported = new Map<string, Promise<CryptoKey>>();

  async holds(publicKey: Bytes, message: Bytes, signature: Bytes): Promise<boolean> {
    const name = hex(publicKey);
    let key = this.imported.get(name);
    if (key === undefined) {
      key = crypto.subtle.importKey("raw", publicKey, "Ed25519", false, ["verify"]);
      this.imported.set(name, key);
    }
    return crypto.subtle.verify("Ed25519", await key, signature, message);
  }
}

async function libraryHolds(publicKey: Bytes, message: Bytes, signature: Bytes): Promise<boolean> {
  const { Point } = ed25519;
  const R = signature.subarray(0, 32);
  const A = Point.fromBytes(publicKey);
  const k = Point.Fn.create(littleEndian(sha512(concat(R, publicKey, message))));
  const S = littleEndian(signature.subarray(32));
  const computed = (S === 0n ? Point.ZERO : Point.BASE.multiplyUnsafe(S)).subtract(A.multiplyUnsafe(k));
  return equal(computed.toBytes(), R);
}

const P = 2n ** 255n - 19n;
/** y of the eight points of small order; the last two are of order 8. */
const SMALL_ORDER_Y = new Set([
  0n,
  1n,
  P - 1n,
  littleEndian(fromHex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")!),
  littleEndian(fromHex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")!),
]);

function isSmallOrder(point: Uint8Array): boolean {
  return SMALL_ORDER_Y.has((littleEndian(point) & (2n ** 255n - 1n)) % P);
}

function belowOrder(scalar: Uint8Array): boolean {
  return littleEndian(scalar) < ed25519.Point.Fn.ORDER;
}

function littleEndian(bytes: Uint8Array): bigint {
  return BigInt("0x" + hex(bytes.slice().reverse()));
}

/** RFC 8032, section 7.1, test 2; and the same with one bit changed. */
async function browserAnswers(): Promise<boolean> {
  const key = fromHex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")!;
  const signature = fromHex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
  )!;
  try {
    const keys = new BrowserKeys();
    const right = await keys.holds(key, Uint8Array.of(0x72), signature);
    const wrong = await keys.holds(key, Uint8Array.of(0x73), signature);
    return right && !wrong;
  } catch {
    return false;
  }
}
