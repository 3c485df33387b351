// SPDX-License-Identifier: EUPL-1.2
// SHA-256. The library's, not WebCrypto's: a bundle asks for hundreds of thousands of hashes of a few dozen bytes, and each call into
// WebCrypto costs a hop to another thread, which is several times the hash. `agrees` compares the two before anything is judged.
import { sha256 } from "@noble/hashes/sha2.js";

import { equal, utf8, type Bytes } from "./bytes";

/** A hasher that has taken nothing, and the one that works: making one anew for each hash costs as much as a short hash. */
const fresh = sha256.create();
const working = sha256.create();

export function hash(...parts: Uint8Array[]): Bytes {
  fresh._cloneInto(working);
  for (const part of parts) working.update(part);
  const out = new Uint8Array(32);
  working.digestInto(out);
  return out;
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
