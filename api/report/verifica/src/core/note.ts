// SPDX-License-Identifier: EUPL-1.2
// C2SP signed-note, tlog-checkpoint and tlog-cosignature (v1): a text, and who signed it when.
import { base64, compare, concat, equal, fromBase64, fromUtf8, hex, parseDecimal, readU64, u8, utf8, type Bytes } from "./bytes";
import { isGoodKey, type SignatureVerifier } from "./ed25519";
import { need, some } from "./fault";
import { hash } from "./hash";

const NOTE_BYTES_MAX = 256 * 1024;
const SIGNATURES_MAX = 64;
const NAME_BYTES_MAX = 255;
const EMPTY_ROOT = hash(new Uint8Array(0));

export const LOG = 0x01;
export const COSIGNER = 0x04;

/** A public key under its name, as a *vkey* states it. */
export interface NoteKey {
  name: string;
  id: Bytes;
  type: number;
  publicKey: Bytes;
}

export interface SignatureLine {
  name: string;
  id: Bytes;
  signature: Bytes;
}

export interface Note {
  text: string;
  lines: SignatureLine[];
}

export interface Checkpoint {
  origin: string;
  size: number;
  root: Bytes;
}

/** A key whose line holds; the time, in seconds since 1970, of a cosigner's. */
export interface HeldLine {
  key: NoteKey;
  time: number | null;
}

export function noteKeyId(name: string, type: number, publicKey: Bytes): Bytes {
  return hash(utf8(name), u8(0x0a), u8(type), publicKey).slice(0, 4);
}

/** `<name>+<key ID>+<base64 of type and key>`. */
export function parseKey(text: string): NoteKey {
  const [, name = "", id = "", data = ""] = some(/^([^+]*)\+([^+]*)\+(.*)$/s.exec(text), "vkey");
  const bytes = some(data.length <= 64 ? fromBase64(data) : null, "vkey");
  const type = bytes[0];
  need(type === LOG || type === COSIGNER, "vkey-type");
  const publicKey = bytes.slice(1);
  need(isGoodKey(publicKey), "key-weak");
  needName(name);
  const computed = noteKeyId(name, type, publicKey);
  need(hex(computed) === id, "vkey-id");
  return { name, id: computed, type, publicKey };
}

export function parseNote(note: string): Note {
  need(utf8(note).length <= NOTE_BYTES_MAX, "note-size");
  // The last empty line: a text may hold empty lines of its own.
  const split = note.lastIndexOf("\n\n");
  need(split >= 0 && note.endsWith("\n"), "note-lines");
  const text = note.slice(0, split + 1);
  need(!/[\u0000-\u0009\u000b-\u001f]/.test(text), "note-text");
  const lines = note.slice(split + 2, -1).split("\n");
  need(lines.length <= SIGNATURES_MAX, "note-lines");
  return { text, lines: lines.map(parseLine) };
}

function parseLine(line: string): SignatureLine {
  const [, name = "", data = ""] = some(/^— ([^ ]*) (.*)$/s.exec(line), "note-line");
  needName(name);
  const bytes = some(fromBase64(data), "note-line");
  need(bytes.length > 4, "note-line");
  return { name, id: bytes.slice(0, 4), signature: bytes.slice(4) };
}

function needName(name: string): void {
  need(name !== "" && utf8(name).length <= NAME_BYTES_MAX && !/[\s+\u0000-\u001f\u0085]/.test(name), "key-name");
}

/** Origin, size and root: three lines and no more. */
export function parseCheckpoint(text: string): Checkpoint {
  const lines = text.split("\n");
  need(lines.length >= 4 && lines.at(-1) === "", "checkpoint");
  need(lines.length === 4, "checkpoint-extension");
  const [origin = "", sizeText = "", rootText = ""] = lines;
  needName(origin);
  const size = some(parseDecimal(sizeText), "checkpoint");
  const root = some(fromBase64(rootText), "checkpoint");
  need(root.length === 32 && (size > 0 || equal(root, EMPTY_ROOT)), "checkpoint");
  return { origin, size, root };
}

/** The lines of known keys, each of which must hold; lines of other keys are passed over. */
export async function heldLines(note: Note, keys: NoteKey[], verifier: SignatureVerifier): Promise<HeldLine[]> {
  const held: HeldLine[] = [];
  for (const line of note.lines) {
    const key = keys.find((candidate) => candidate.name === line.name && equal(candidate.id, line.id));
    if (key === undefined) continue;
    const time = key.type === COSIGNER ? cosignatureTime(line.signature) : null;
    const message = time === null ? note.text : `cosignature/v1\ntime ${time.text}\n${note.text}`;
    const signature = time === null ? line.signature : line.signature.slice(8);
    need(await verifier.verify(key.publicKey, utf8(message), signature), "note-signature", line.name);
    if (!held.some((earlier) => earlier.key === key)) held.push({ key, time: time?.seconds ?? null });
  }
  return held;
}

/** Seconds since 1970, at most 2^63 - 1, in front of the signature. */
function cosignatureTime(signature: Bytes): { text: string; seconds: number } {
  need(signature.length === 72 && signature[0]! < 0x80, "note-signature");
  const exact = BigInt("0x" + hex(signature.subarray(0, 8)));
  return { text: exact.toString(), seconds: readU64(signature, 0) };
}

/** The key as a *vkey*. */
export function formatKey(key: NoteKey): string {
  return `${key.name}+${hex(key.id)}+${base64(concat(u8(key.type), key.publicKey))}`;
}

/** For a receipt: its lines too are closed. A line that is a known key's but for name or key ID is damage. */
export function sameKeyButDamaged(line: SignatureLine, keys: NoteKey[]): boolean {
  return keys.some((key) => (key.name === line.name) !== (compare(key.id, line.id) === 0));
}

export function textOf(bytes: Uint8Array): string {
  return some(fromUtf8(bytes), "utf-8");
}
