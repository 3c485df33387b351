// SPDX-License-Identifier: EUPL-1.2
// An entry: from its envelope to the leaf, and to its place in a person's list. Nothing here is believed; everything is recomputed.
import { base64Url, compare, concat, fromBase64, fromBase64Url, readU16, readU32, readU64, u16, u32, u8, utf8, type Bytes } from "./bytes";
import { readBody, TYPE_NAMES, type Body, type TypeName } from "./body";
import { need, some } from "./fault";
import { hash, tag } from "./hash";
import { isObject, parseJson, type Json } from "./json";
import { inclusionRoot, leafHash } from "./merkle";
import { refuseDigests, type Disclosures } from "./schema";

const PAYLOAD_TYPE = "application/vnd.visto.entry.v1+json";
const BODY_BYTES_MAX = 16384;
const SIGS_MAX = 16;
const DISCLOSURES_MAX = 256;
const DISCLOSURE_CHARACTERS_MAX = 131072;
const BATCH_COUNT_MAX = 1024;
const META_BYTES = 47;

export const ALG_SINGLE = 1;
export const ALG_BATCH = 0x81;

const BODY = tag("visto/body/v1");
const META = tag("visto/meta/v1");
const META_SALT = tag("visto/meta-salt/v1");
const LEAF = tag("visto/leaf/v1");
const ITEM = tag("visto/item/v1");
const ITEM_SALT = tag("visto/item-salt/v1");
const HEAD = tag("visto/head/v1");
const BATCH = tag("visto/batch/v1");
const KEY = tag("visto/key/v1");

export const ZERO: Bytes = new Uint8Array(32);

export interface Meta {
  acceptedAt: number;
  type: TypeName;
  findings: number;
  rules: number;
  firstKey: Bytes;
}

export interface Signature {
  keyId: Bytes;
  alg: number;
  sig: Bytes;
}

/** An envelope whose form is right. */
export interface Envelope {
  payload: Bytes;
  pae: Bytes;
  signatures: Signature[];
}

export function keyId(publicKey: Uint8Array): Bytes {
  return hash(KEY, u8(ALG_SINGLE), publicKey);
}

export function pae(payload: Uint8Array): Bytes {
  return concat(utf8(`DSSEv1 ${PAYLOAD_TYPE.length} ${PAYLOAD_TYPE} ${payload.length} `), payload);
}

export function readEnvelope(value: Json): Envelope {
  need(isObject(value) && Object.keys(value).every((name) => ["payloadType", "payload", "signatures"].includes(name)), "members", "envelope");
  const { payloadType, payload, signatures } = value;
  need(typeof payloadType === "string" && typeof payload === "string" && Array.isArray(signatures), "members", "envelope");
  need(payloadType === PAYLOAD_TYPE, "payload-type");
  const bytes = some(fromBase64(payload), "base64");
  need(bytes.length <= BODY_BYTES_MAX, "size");
  const rows = signatures.map(readSignature);
  needSigs(rows);
  return { payload: bytes, pae: pae(bytes), signatures: rows };
}

function readSignature(value: Json): Signature {
  need(isObject(value) && Object.keys(value).every((name) => ["keyid", "sig", "alg"].includes(name)), "members", "signatures");
  const { keyid, sig, alg = ALG_SINGLE } = value;
  need(typeof keyid === "string" && typeof sig === "string" && typeof alg === "number", "members", "signatures");
  const id = some(fromBase64Url(keyid), "base64url");
  need(id.length === 32, "members");
  const bytes = some(fromBase64(sig), "base64");
  need(alg === ALG_SINGLE || alg === ALG_BATCH, "alg");
  return { keyId: id, alg, sig: bytes };
}

function needSigs(rows: Signature[]): void {
  need(rows.length >= 1 && rows.length <= SIGS_MAX, "sigs");
  for (let i = 1; i < rows.length; i++) need(compare(rows[i - 1]!.keyId, rows[i]!.keyId) < 0, "sigs");
}

/** `u8(n) ‖ n × (key_id ‖ u8(alg) ‖ u16(len) ‖ sig)`. */
export function encodeSigs(rows: Signature[]): Bytes {
  return concat(u8(rows.length), ...rows.flatMap((row) => [row.keyId, u8(row.alg), u16(row.sig.length), row.sig]));
}

/** What `encodeSigs` writes, and nothing else. */
export function decodeSigs(bytes: Bytes): Signature[] {
  const rows: Signature[] = [];
  let at = 1;
  for (let n = bytes[0] ?? 0; n > 0; n--) {
    need(bytes.length >= at + 35, "sigs");
    const length = readU16(bytes, at + 33);
    need(bytes.length >= at + 35 + length, "sigs");
    rows.push({ keyId: bytes.slice(at, at + 32), alg: bytes[at + 32]!, sig: bytes.slice(at + 35, at + 35 + length) });
    need(signedMessageForm(rows.at(-1)!), "sigs");
    at += 35 + length;
  }
  need(at === bytes.length, "sigs");
  needSigs(rows);
  return rows;
}

/** Whether a signature's bytes have the form that its algorithm asks for. */
function signedMessageForm(row: Signature): boolean {
  return row.alg === ALG_SINGLE ? row.sig.length === 64 : row.alg === ALG_BATCH && batchParts(row.sig) !== null;
}

function batchParts(sig: Bytes): { index: number; count: number; path: Bytes[] } | null {
  if (sig.length < 68 || (sig.length - 68) % 32 !== 0) return null;
  const index = readU16(sig, 64);
  const count = readU16(sig, 66);
  if (count > BATCH_COUNT_MAX || index >= count) return null;
  const path: Bytes[] = [];
  for (let at = 68; at < sig.length; at += 32) path.push(sig.slice(at, at + 32));
  // As many siblings as index and count ask for: a shorter or longer path leads nowhere.
  return inclusionRoot(index, count, ZERO, path) === null ? null : { index, count, path };
}

/** What was signed with Ed25519: the PAE, or the root of the batch that it stands in. */
export function signedMessage(row: Signature, entryPae: Bytes): { message: Bytes; ed25519: Bytes } {
  if (row.alg === ALG_SINGLE) {
    need(row.sig.length === 64, "signature");
    return { message: entryPae, ed25519: row.sig };
  }
  const { index, count, path } = some(batchParts(row.sig), "signature");
  const root = some(inclusionRoot(index, count, leafHash(entryPae), path), "signature");
  return { message: concat(BATCH, u16(count), root), ed25519: row.sig.slice(0, 64) };
}

export function decodeMeta(bytes: Bytes): Meta {
  need(bytes.length === META_BYTES, "meta");
  const type = some(TYPE_NAMES[bytes[8]! - 1], "meta");
  return { acceptedAt: readU64(bytes, 0), type, findings: readU32(bytes, 9), rules: readU16(bytes, 13), firstKey: bytes.slice(15) };
}

export function metaSalt(bodySalt: Bytes): Bytes {
  return hash(META_SALT, bodySalt);
}

export function metaCommit(salt: Bytes, meta: Bytes): Bytes {
  return hash(META, salt, meta);
}

export function bodyCommit(bodySalt: Bytes, entryPae: Bytes, sigs: Bytes): Bytes {
  return hash(BODY, bodySalt, u32(entryPae.length), entryPae, sigs);
}

/** 78 bytes that say nothing to whoever has not the salts. */
export function leafOf(salt: Bytes, meta: Bytes, commit: Bytes): Bytes {
  return concat(LEAF, metaCommit(salt, meta), commit);
}

/** The entry's place in the list of a ref: who has not the salt cannot tell whose it is. */
export function itemOf(salt: Bytes, ref: Bytes, leaf: Bytes): Bytes {
  return hash(ITEM, hash(ITEM_SALT, salt, ref), leaf);
}

export function nextHead(head: Bytes, item: Bytes): Bytes {
  return hash(HEAD, head, item);
}

export interface ListValue {
  count: number;
  head: Bytes;
  baseCount: number;
  baseHead: Bytes;
}

export function decodeListValue(bytes: Bytes): ListValue {
  need(bytes.length === 80, "list-value");
  return { count: readU64(bytes, 0), head: bytes.slice(8, 40), baseCount: readU64(bytes, 40), baseHead: bytes.slice(48) };
}

/** What a body says, with the values that came along; a digest whose value did not come is withheld. */
export interface OpenedBody {
  body: Body;
  withheld: number;
}

/** Reads body and disclosures. `partial`: values may be withheld. */
export function openBody(payload: Bytes, disclosures: string[], partial: boolean): OpenedBody {
  const parsed = parseJson(payload);
  need(disclosures.length <= DISCLOSURES_MAX, "size");
  need(disclosures.reduce((sum, text) => sum + text.length, 0) <= DISCLOSURE_CHARACTERS_MAX, "size");
  const known: Disclosures = { byDigest: new Map(), met: new Set() };
  const late: (() => void)[] = [];
  for (const disclosure of disclosures) {
    const digest = digestOf(disclosure);
    const decoded = fromBase64Url(disclosure);
    late.push(() => {
      need(decoded !== null, "base64url");
      need(known.met.has(digest), "disclosure-spare");
    });
    need(!known.byDigest.has(digest), "disclosure-spare");
    if (decoded !== null) known.byDigest.set(digest, valueOf(decoded));
  }
  const body = readBody(parsed, known);
  late.forEach((check) => check());
  const withheld = known.met.size - known.byDigest.size;
  need(partial || withheld === 0, "disclosure-missing");
  return { body, withheld };
}

function digestOf(disclosure: string): string {
  return base64Url(hash(utf8(disclosure)));
}

function valueOf(decoded: Bytes): Json {
  const parsed = parseJson(decoded);
  need(Array.isArray(parsed) && parsed.length === 2 && typeof parsed[0] === "string", "disclosure-form");
  const salt = fromBase64Url(parsed[0] as string);
  need(salt !== null && salt.length >= 16 && salt.length <= 32, "salt");
  refuseDigests(parsed[1]!);
  return parsed[1]!;
}
