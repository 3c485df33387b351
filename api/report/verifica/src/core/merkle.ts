// SPDX-License-Identifier: EUPL-1.2
// RFC 6962's tree: from a leaf and its path to the root (RFC 9162, 2.1.3.2).
import { base64Url, equal, fromBase64Url, type Bytes } from "./bytes";
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

/** A node that was proven, and its sibling, proven with it. */
interface Proven {
  node: Bytes;
  sibling: string;
}

/**
 * The tree of one root, as far as paths have proven it. Paths share their upper parts: where a path meets a node that is proven, the rest
 * of it must be the siblings that are proven already, and nothing needs to be hashed again.
 */
export class ProvenTree {
  private readonly proven = new Map<number, Proven>();

  constructor(
    private readonly size: number,
    private readonly root: Bytes,
  ) {}

  /** Whether the path, in base64url, leads from the leaf at this index to the root. */
  includes(index: number, leaf: Bytes, path: string[]): boolean {
    if (index < 0 || index >= this.size) return false;
    const met: [number, Proven][] = [];
    let place = index;
    let last = this.size - 1;
    let node: Bytes | null = leaf;
    for (let level = 0, at = 0; last > 0; level++) {
      // An odd last node has no sibling and goes up as it is.
      if (place % 2 === 1 || place < last) {
        const text = path[at++];
        if (text === undefined) return false;
        const name = place * 64 + level;
        const known = this.proven.get(name);
        if (node === null || (known !== undefined && equal(known.node, node))) {
          if (known?.sibling !== text) return false;
          node = null;
        } else {
          const sibling = fromBase64Url(text);
          if (sibling?.length !== 32) return false;
          met.push([name, { node, sibling: text }], [(place ^ 1) * 64 + level, { node: sibling, sibling: base64Url(node) }]);
          node = place % 2 === 1 ? hash(INNER, sibling, node) : hash(INNER, node, sibling);
        }
      }
      place = Math.floor(place / 2);
      last = Math.floor(last / 2);
      if (last === 0 && at !== path.length) return false;
    }
    if (node !== null && !equal(node, this.root)) return false;
    if (this.size === 1 && path.length > 0) return false;
    for (const [name, proven] of met) this.proven.set(name, proven);
    return true;
  }
}
