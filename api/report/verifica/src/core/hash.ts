// SPDX-License-Identifier: EUPL-1.2
// SHA-256. The library's, not WebCrypto's: a bundle asks for hundreds of thousands of hashes of a few dozen bytes, and each call into
// WebCrypto costs a hop to another thread, which is several times the hash. `agrees` compares the two before anything is judged.
import { sha256 } from "@noble/hashes/sha2.js";

import { concat, equal, utf8, type Bytes } from "./bytes";

export function hash(...parts: Uint8Array[]): Bytes {
  return sha256(parts.length === 1 ? parts[0]! : concat(...parts)) as Bytes;
}

/** A tag such as `visto/item/v1` with its line feed, as bytes. */
export function tag(name: string): Bytes {
  return utf8(name + "\n");
}

/** Whether library and browser compute the same hash of some bytes; true where the browser computes none. */
export async function agrees(bytes: Bytes): Promise<boolean> {
  const subtle = globalThis.crypto?.subtle;
  if (subtle === undefined) return true;
  return equal(new Uint8Array(await subtle.digest("SHA-256", bytes)), hash(bytes));
}
