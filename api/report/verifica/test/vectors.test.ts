// SPDX-License-Identifier: EUPL-1.2
// The page's verifier against the ledger's golden vectors: made and checked by other programs, in other languages.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { base64Url, concat, equal, fromBase64, fromBase64Url, fromHex, hex, utf8, type Bytes } from "../src/core/bytes";
import { signatureVerifier, isGoodKey, type SignatureVerifier } from "../src/core/ed25519";
import {
  bodyCommit, decodeListValue, decodeMeta, decodeSigs, encodeSigs, itemOf, keyId, leafOf, metaCommit, metaSalt, nextHead, openBody, pae, readEnvelope, signedMessage, ZERO,
  type Envelope, type OpenedBody,
} from "../src/core/entry";
import { disclosedRefs, TYPE_NAMES } from "../src/core/body";
import { need, Refused, some } from "../src/core/fault";
import { agrees, hash } from "../src/core/hash";
import { isObject, parseJson, type Json } from "../src/core/json";
import { inclusionRoot, leafHash, ProvenTree } from "../src/core/merkle";
import { formatKey, parseCheckpoint, parseKey, parseNote, sameKeyButDamaged } from "../src/core/note";
import { believe, parsePolicySet, policyAt } from "../src/core/policy";
import { CODE_KINDS, refOf } from "../src/core/pseudonym";
import { proves, stateKey } from "../src/core/state-map";

type Case = Record<string, any>;
const vectors = JSON.parse(readFileSync(process.env["VISTO_VECTORS"]!, "utf8")) as Case;
const h = (text: string): Bytes => some(fromHex(text), "hex");
const same = (a: Uint8Array, b: string, what = "") => assert.equal(hex(a), b, what);
const throws = (act: () => unknown): string => {
  try {
    act();
    return "";
  } catch (cause) {
    if (cause instanceof Refused) return cause.reason;
    throw cause;
  }
};

const KEYS = new Map<string, Case>(vectors["keys"].map((key: Case) => [key["key_id"], key]));
const ENTRIES = new Map<string, Case>(vectors["entries"].map((entry: Case) => [entry["name"], entry]));
/** Both ways to verify, on all that is signed. */
const verifiers = await Promise.all([signatureVerifier(false), signatureVerifier(true)]);

test("this machine verifies with WebCrypto and with the library", async () => {
  assert.deepEqual(verifiers.map((verifier) => verifier.by), ["browser", "library"]);
  assert.ok(await agrees(utf8("some bytes")));
});

test("keys have their ids", () => {
  for (const key of vectors["keys"]) {
    same(keyId(h(key["public"])), key["key_id"]);
    assert.ok(isGoodKey(h(key["public"])));
  }
  for (const refused of vectors["refuse"].filter((row: Case) => row["kind"] === "key")) assert.ok(!isGoodKey(h(refused["input"])), refused["name"]);
});

test("weak keys sign nothing, whoever verifies", async () => {
  const weak = vectors["refuse"].filter((row: Case) => row["kind"] === "key");
  assert.equal(weak.length, 8);
  for (const row of weak) {
    for (const verifier of verifiers) assert.equal(await verifier.verify(h(row["input"]), h(row["pae"]), h(row["signature"])), false, row["name"]);
  }
});

test("pre-authentication encoding", () => {
  for (const row of vectors["pae"]) {
    same(pae(utf8(row["body"])), row["pae"]);
    same(hash(h(row["pae"])), row["sha256"]);
  }
});

async function holds(verifier: SignatureVerifier, envelope: Envelope): Promise<boolean> {
  for (const row of envelope.signatures) {
    const { message, ed25519 } = signedMessage(row, envelope.pae);
    if (!(await verifier.verify(h(KEYS.get(hex(row.keyId))!["public"]), message, ed25519))) return false;
  }
  return true;
}

test("lists of signatures", async () => {
  for (const row of vectors["sigs"]) {
    const rows = decodeSigs(h(row["sigs"]));
    same(encodeSigs(rows), row["sigs"]);
    assert.deepEqual(rows.map((r) => hex(r.keyId)), row["key_ids"]);
    const wire = parseJson(utf8(row["envelope"]));
    assert.ok(isObject(wire));
    const envelope = readEnvelope(wire["envelope"]!);
    assert.deepEqual(envelope.signatures, rows);
    for (const verifier of verifiers) assert.ok(await holds(verifier, envelope));
  }
  const refused = vectors["refuse"].filter((row: Case) => row["kind"] === "sigs");
  assert.equal(refused.length, 8);
  for (const row of refused) assert.equal(throws(() => decodeSigs(h(row["input"]))), "sigs", row["name"]);
});

test("batches: one signature, each entry on its own", async () => {
  for (const row of vectors["batches"]) {
    const publicKey = h(vectors["keys"].find((key: Case) => key["name"] === row["signer"])["public"]);
    for (const entry of row["entries"]) {
      const framed = pae(utf8(row["bodies"][entry["index"]]));
      const [signature] = decodeSigs(h(entry["sigs"]));
      const { message, ed25519 } = signedMessage(signature!, framed);
      same(message, row["message"]);
      for (const verifier of verifiers) assert.ok(await verifier.verify(publicKey, message, ed25519));
      assert.notEqual(hex(signedMessage(signature!, pae(utf8("another"))).message), row["message"]);
    }
  }
});

test("refs from outputs", () => {
  for (const row of vectors["refs"]) {
    assert.equal(CODE_KINDS[row["kind"]], vectors["codes"][row["kind"]]);
    same(refOf(row["kind"], h(row["voprf_output"])), row["ref"]);
  }
});

test("types have their numbers", () => {
  const numbers = Object.fromEntries(TYPE_NAMES.map((name, at) => [name, at + 1]));
  assert.deepEqual(numbers, vectors["types"]);
});

test("entries, from the wire to the leaf and the items", async () => {
  for (const row of vectors["entries"]) {
    const { envelope, opened } = readWire(row["wire"]);
    same(envelope.pae, row["pae"]);
    same(encodeSigs(envelope.signatures), row["sigs"]);
    for (const verifier of verifiers) assert.ok(await holds(verifier, envelope));
    const meta = decodeMeta(h(row["meta"]));
    assert.deepEqual([meta.acceptedAt, meta.findings, meta.rules], [row["accepted_at_ms"], row["findings"], row["rules"]]);
    assert.equal(meta.type, opened.body.type);
    const salt = metaSalt(h(row["body_salt"]));
    same(salt, row["meta_salt"]);
    same(metaCommit(salt, h(row["meta"])), row["meta_commit"]);
    const commit = bodyCommit(h(row["body_salt"]), envelope.pae, encodeSigs(envelope.signatures));
    same(commit, row["body_commit"]);
    const leaf = leafHash(leafOf(salt, h(row["meta"]), commit));
    same(leafOf(salt, h(row["meta"]), commit), row["leaf"]);
    same(leaf, row["leaf_hash"]);
    for (const fold of row["folds_into"]) {
      same(itemOf(salt, h(fold["ref"]), leaf), fold["item"]);
      if (fold["kind"] !== 10) assert.ok(disclosedRefs(opened.body, fold["kind"]).includes(base64Url(h(fold["ref"]))), row["name"]);
    }
    for (const disclosure of row["disclosures"]) {
      assert.equal(base64Url(hash(utf8(disclosure["disclosure"]))), disclosure["digest_b64u"]);
    }
    const nothing = openBody(envelope.payload, [], true);
    assert.equal(nothing.withheld, row["disclosures"].length);
  }
});

test("lists fold", () => {
  for (const row of vectors["lists"]) {
    same(stateKey(row["kind"], h(row["ref"])), row["state_key"]);
    let head = ZERO;
    row["exported"].forEach((item: Case, at: number) => {
      head = nextHead(head, h(item["item"]));
      same(head, row["heads"][at + 1]);
    });
    const value = decodeListValue(h(row["value"]));
    assert.equal(value.count, row["exported"].length);
    assert.ok(equal(value.head, head));
  }
});

test("names and values of the state map", () => {
  for (const row of vectors["state_values"]) {
    same(stateKey(row["kind"], h(row["name"])), row["key"]);
    same(hash(h(row["value"])), row["value_hash"]);
  }
});

test("map proofs", () => {
  for (const row of vectors["state_map"]) {
    for (const present of row["present"]) {
      const [kind, name = "", value = ""] = row["rows"][present["row"]].split(" ");
      const key = stateKey(Number(kind), h(name));
      assert.ok(proves(h(row["root"]), key, h(value), h(present["proof"])));
      assert.ok(!proves(h(row["root"]), key, null, h(present["proof"])));
    }
    for (const absent of row["absent"]) {
      const key = stateKey(absent["kind"], h(absent["name"]));
      same(key, absent["key"]);
      assert.ok(proves(h(row["root"]), key, null, h(absent["proof"])));
      assert.ok(!proves(h(row["root"]), key, h("00"), h(absent["proof"])));
    }
  }
  const deep = vectors["state_map_deep"];
  deep["keys"].forEach((key: string, at: number) => assert.ok(proves(h(deep["root"]), h(key), h(deep["values"][at]), h(deep["proofs"][at]))));
  assert.ok(proves(h(deep["root"]), h(deep["absent_key"]), null, h(deep["absent_proof"])));
  const refused = vectors["refuse"].filter((row: Case) => row["kind"] === "map-proof");
  assert.equal(refused.length, 16);
  for (const row of refused) {
    const value = row["value"] === null ? null : h(row["value"]);
    assert.ok(!proves(h(row["root"]), h(row["key"]), value, h(row["input"])), row["name"]);
  }
});

function policy(): string {
  const receipt = vectors["receipt"];
  const nodes = receipt["node_vkeys"].map((vkey: string, at: number) => `witness node-${at + 1} ${vkey}\n`).join("");
  return `# visto: genesis ${"ab".repeat(32)}\nlog ${receipt["log_vkey"]}\n${nodes}group nodes 2 node-1 node-2 node-3\nquorum nodes\n`;
}

test("receipts: checkpoint under the policy, and the leaf's way to its root", async () => {
  const set = parsePolicySet(policy());
  same(set.genesis!, "ab".repeat(32));
  assert.equal(formatKey(policyAt(set, 7)!.logs[0]!), vectors["receipt"]["log_vkey"]);
  for (const row of vectors["receipt"]["proofs"]) {
    for (const verifier of verifiers) await receiptHolds(row["tlog_proof"], ENTRIES.get(row["entry"])!, verifier);
  }
  const refused = vectors["refuse"].filter((row: Case) => row["kind"] === "receipt");
  assert.equal(refused.length, 15);
  for (const row of refused) {
    await assert.rejects(receiptHolds(row["input"], ENTRIES.get(row["entry"])!, verifiers[0]!), Refused, row["name"]);
  }
});

/** A `.tlog-proof` as the page never gets one alone; its parts are those of a bundle. */
async function receiptHolds(text: string, entry: Case, verifier: SignatureVerifier): Promise<void> {
  const split = text.indexOf("\n\n");
  need(split > 0, "receipt");
  const [first, extraLine = "", indexLine = "", ...path] = text.slice(0, split).split("\n");
  need(first === "c2sp.org/tlog-proof@v1", "receipt");
  const extra = some(fromBase64(some(/^extra (.*)$/.exec(extraLine), "receipt")[1]!), "receipt");
  const index = some(/^index (0|[1-9][0-9]*)$/.exec(indexLine), "receipt")[1]!;
  need(extra.length === 80 && extra[0] === 1, "receipt");
  const note = text.slice(split + 2);
  const set = parsePolicySet(policy());
  const known = policyAt(set, 7)!;
  for (const line of parseNote(note).lines) need(!sameKeyButDamaged(line, [...known.logs, ...known.witnesses.values()]), "receipt");
  const checkpoint = await believe(set, note, verifier);
  const meta = extra.slice(1, 48);
  const salt = extra.slice(48);
  const framed = h(entry["pae"]);
  const sigs = h(entry["sigs"]);
  need(equal(decodeMeta(meta).firstKey, decodeSigs(sigs)[0]!.keyId), "receipt");
  const leaf = leafHash(leafOf(metaSalt(salt), meta, bodyCommit(salt, framed, sigs)));
  const hashes = path.map((line) => some(fromBase64(line), "receipt"));
  const root = inclusionRoot(Number(index), checkpoint.size, leaf, hashes);
  const whole = root !== null && equal(root, checkpoint.root);
  const texts = hashes.map(base64Url);
  assert.equal(new ProvenTree(checkpoint.size, checkpoint.root).includes(Number(index), leaf, texts), whole);
  need(whole, "receipt");
}

test("a tree that paths have proven takes the same paths and no other", () => {
  for (const size of [1, 2, 3, 7, 8, 13, 64, 65]) {
    const leaves = Array.from({ length: size }, (_, at) => leafHash(utf8(`leaf ${at}`)));
    const root = inclusionRoot(0, size, leaves[0]!, pathOf(leaves, 0))!;
    const tree = new ProvenTree(size, root);
    for (let round = 0; round < 2; round++) {
      leaves.forEach((leaf, index) => {
        const path = pathOf(leaves, index).map(base64Url);
        assert.ok(tree.includes(index, leaf, path), `${index} of ${size}`);
        assert.ok(!tree.includes(index, leafHash(utf8("another")), path));
        assert.ok(!tree.includes(index, leaf, [...path, base64Url(root)]));
        assert.ok(!tree.includes(index + size, leaf, path));
        path.forEach((_, at) => {
          const changed = path.map((sibling, n) => (n === at ? base64Url(root) : sibling));
          assert.ok(!tree.includes(index, leaf, changed), "a sibling changed");
          assert.ok(!tree.includes(index, leaf, path.slice(0, at)), "cut short");
        });
      });
    }
  }
});

/** RFC 6962's audit path, by its own definition. */
function pathOf(leaves: Bytes[], index: number): Bytes[] {
  if (leaves.length === 1) return [];
  const k = 2 ** Math.floor(Math.log2(leaves.length - 1));
  const [left, right] = [leaves.slice(0, k), leaves.slice(k)];
  return index < k ? [...pathOf(left, index), treeRoot(right)] : [...pathOf(right, index - k), treeRoot(left)];
}

function treeRoot(leaves: Bytes[]): Bytes {
  if (leaves.length === 1) return leaves[0]!;
  const k = 2 ** Math.floor(Math.log2(leaves.length - 1));
  return hash(Uint8Array.of(1), treeRoot(leaves.slice(0, k)), treeRoot(leaves.slice(k)));
}

test("notes and trees of other implementations", async () => {
  const { interop } = vectors as { interop: Case };
  const keys = [parseKey(interop["log_vkey"]), parseKey(interop["witness_vkey"])];
  assert.equal(formatKey(keys[1]!), interop["witness_vkey"]);
  const checkpoint = parseCheckpoint(parseNote(interop["checkpoint"]).text);
  const path = interop["path_2_b64"].map((line: string) => fromBase64(line)!);
  assert.ok(equal(inclusionRoot(2, 7, leafHash(utf8("visto-leaf-2")), path)!, checkpoint.root));
  const text = `log ${interop["log_vkey"]}\nwitness w ${interop["witness_vkey"]}\nquorum w\n`;
  for (const verifier of verifiers) assert.equal((await believe(parsePolicySet(text), interop["checkpoint"], verifier)).cosigners[0]!.time, 1700000000);
  const root = leafOfMap("hello", "world");
  same(root, interop["jmt_hello_world_root"]);
});

function leafOfMap(key: string, value: string): Bytes {
  return hash(utf8("JMT::LeafNode"), hash(utf8(key)), hash(utf8(value)));
}

// --- wire lines ---

function readWire(line: string): { envelope: Envelope; opened: OpenedBody } {
  need(utf8(line).length <= 196608, "size");
  const wire: Json = parseJson(utf8(line));
  need(isObject(wire), "json");
  const names = Object.keys(wire).sort().join(" ");
  need(names === "disclosures envelope", "members");
  const envelope = readEnvelope(wire["envelope"]!);
  need(Array.isArray(wire["disclosures"]) && wire["disclosures"].every((text) => typeof text === "string"), "members");
  return { envelope, opened: openBody(envelope.payload, wire["disclosures"] as string[], false) };
}

/** As a node would judge the line, as far as bytes and keys tell. */
async function judgeWire(row: Case): Promise<string> {
  try {
    const { envelope, opened } = readWire(row["input"]);
    need(envelope.signatures.every((sig) => KEYS.has(hex(sig.keyId))), "key-unknown");
    need(await holds(verifiers[0]!, envelope), "signature");
    need(opened.body.ledger === vectors["ledger"], "ledger");
    need(opened.body.occurredAt <= row["accepted_at_ms"] + 300000, "ahead");
    needWindow(opened.body.id, row["accepted_at_ms"]);
    need(envelope.signatures.some((sig) => ["entry", "governance", "node"].includes(KEYS.get(hex(sig.keyId))!["use"])), "key-use");
    return "";
  } catch (cause) {
    if (cause instanceof Refused) return cause.reason;
    throw cause;
  }
}

function needWindow(id: string, acceptedAt: number): void {
  const ms = parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
  need(ms >= acceptedAt - 35 * 86400000 && ms <= acceptedAt + 300000, "id-out-of-window");
}

test("wire lines that must be accepted", async () => {
  for (const row of vectors["accept"]) assert.equal(await judgeWire(row), "", row["name"]);
});

test("wire lines that must be refused", async () => {
  const rows = vectors["refuse"].filter((row: Case) => row["kind"] === "wire");
  assert.equal(rows.length, 98);
  const otherwise: string[] = [];
  for (const row of rows) {
    const reason = await judgeWire(row);
    assert.notEqual(reason, "", row["name"]);
    if (reason !== row["reason"]) otherwise.push(`${row["name"]}: ${row["reason"]}, here ${reason}`);
  }
  // Which of several faults is told first is the ledger's rule, not the page's.
  console.log(`${rows.length} refused; for another reason first: ${otherwise.length}\n${otherwise.join("\n")}`);
});

test("a changed byte of a signed body is noticed", async () => {
  const row = vectors["accept"][0];
  const wire = parseJson(utf8(row["input"])) as Case;
  const envelope = readEnvelope(wire["envelope"]);
  for (let at = 0; at < envelope.pae.length; at += 7) {
    const changed = concat(envelope.pae);
    changed[at] = changed[at]! ^ 1;
    assert.equal(await holds(verifiers[0]!, { ...envelope, pae: changed }), false);
  }
  assert.equal(fromBase64Url("QQ")!.length, 1);
  assert.equal(fromBase64Url("QR"), null, "a second spelling");
});
