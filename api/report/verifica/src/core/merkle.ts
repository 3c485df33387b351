// SPDX-License-Identifier: EUPL-1.2
// RFC 6962's tree: from a leaf and its path to the root (RFC 9162, 2.1.3.2).
import type { Bytes } from "./bytes";
import { hash } from "./hash";

const LEAF = Uint8Array.of(0);
const INNER = Uint8Array.of(1);

export function leafHash(leaf: Uint8Array): Bytes {
  return hash(LEAF, leaf);
}

/** The root to which the path leads; null where it has not exactly the length that index and size ask for. */
export function inclusionRoot(index: number, size: number, leaf: Bytes, path: Bytes[]): Bytes | null {
  if (index < 0 || index >= size) return null;
  let place = index;
  let last = size - 1;
  let node = leaf;
  for (const sibling of path) {
    if (last === 0) return null;
    if (place % 2 === 1 || place === last) {
      node = hash(INNER, sibling, node);
      while (place % 2 === 0 && place !== 0) {
        place = Math.floor(place / 2);
        last = Math.floor(last / 2);
      }
    } else {
      node = hash(INNER, node, sibling);
    }
    place = Math.floor(place / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 ? node : null;
}
