// SPDX-License-Identifier: EUPL-1.2
// The state map: a sparse Merkle map, and proofs that a key is in it with a value, or is not in it.
import { concat, equal, readU16, u8, utf8, type Bytes } from "./bytes";
import { hash, tag } from "./hash";

const KEY = tag("visto/state-key/v1");
const LEAF = utf8("JMT::LeafNode");
const INNER = utf8("JMT::IntrnalNode");
const EMPTY = utf8("SPARSE_MERKLE_PLACEHOLDER_HASH__");
const DEPTH_MAX = 256;

export const KIND = { subject: 1, household: 2, key: 3, institution: 4, role: 5, consent: 6, stream: 7, node: 8, rules: 9, sealed: 10, delegation: 11, policy: 12 } as const;

/** The place of a name in the map. */
export function stateKey(kind: number, name: Uint8Array): Bytes {
  return hash(KEY, u8(kind), name);
}

/** Whether the proof shows this value under the key; a value of null: that the key is not in the map. */
export function proves(root: Uint8Array, key: Bytes, value: Uint8Array | null, proof: Uint8Array): boolean {
  const shape = proof[0];
  if (proof.length < 3 || shape === undefined || shape > 2) return false;
  if ((shape === 1) !== (value !== null)) return false;
  const depth = readU16(proof, 1);
  let at = 3;
  let node: Bytes = EMPTY;
  if (value !== null) node = hash(LEAF, key, hash(value));
  if (shape === 2) {
    const other = proof.slice(3, 67);
    at = 67;
    if (other.length !== 64 || equal(other.subarray(0, 32), key) || !sharesBits(key, other, depth)) return false;
    node = hash(LEAF, other);
  }
  if (depth > DEPTH_MAX || proof.length !== at + 32 * depth) return false;
  for (let level = depth - 1; level >= 0; level--, at += 32) {
    const sibling = proof.subarray(at, at + 32);
    node = bit(key, level) === 1 ? hash(INNER, sibling, node) : hash(INNER, node, sibling);
  }
  return equal(node, root);
}

function bit(key: Uint8Array, place: number): number {
  return (key[place >> 3]! >> (7 - (place & 7))) & 1;
}

function sharesBits(a: Uint8Array, b: Uint8Array, count: number): boolean {
  for (let place = 0; place < Math.min(count, DEPTH_MAX); place++) if (bit(a, place) !== bit(b, place)) return false;
  return true;
}

/** Names of several parts, parted by a line feed. */
export function pairName(first: string, second: string): Bytes {
  return concat(utf8(first), u8(0x0a), utf8(second));
}
