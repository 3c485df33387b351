// SPDX-License-Identifier: EUPL-1.2
// Parts of the judgement that no vector covers: households, pseudonyms, policies, readers.
import assert from "node:assert/strict";
import { test } from "node:test";

import { ristretto255, ristretto255_hasher, ristretto255_oprf } from "@noble/curves/ed25519.js";

import { base64, base64Url, fromBase64, fromBase64Url, fromHex, hex, utf8, type Bytes } from "../src/core/bytes";
import { Refused, some } from "../src/core/fault";
import { belonged, membership } from "../src/core/household";
import { fits } from "../src/core/lists";
import { parseJsonText } from "../src/core/json";
import { parsePolicySet } from "../src/core/policy";
import { refOf, refOfCode } from "../src/core/pseudonym";
import { findingNames } from "../src/view/words";
import { en } from "../src/view/text.en";
import { it } from "../src/view/text.it";

const reason = (act: () => unknown): string => {
  try {
    act();
    return "";
  } catch (cause) {
    if (cause instanceof Refused) return cause.reason;
    throw cause;
  }
};

test("births, moves and separations become spells", () => {
  // 1 and 2 live together; 3 is born; 2 leaves with 3; 2 comes back alone.
  const compositions = [
    { index: 5, validFrom: 100, members: ["1", "2"] },
    { index: 9, validFrom: 200, members: ["1", "2", "3"] },
    { index: 12, validFrom: 300, members: ["1"] },
    { index: 20, validFrom: 400, members: ["1", "2"] },
  ];
  const spells = membership(compositions);
  assert.deepEqual(
    spells.map(({ person, from, until }) => [person, from, until]).sort(),
    [["1", 100, null], ["2", 100, 300], ["2", 400, null], ["3", 200, 300]],
  );
  assert.deepEqual(membership([...compositions].reverse()), spells);
  assert.ok(belonged(spells, "2", 299) && !belonged(spells, "2", 300) && belonged(spells, "2", 400));
});

test("an order takes only what it can", () => {
  const [young, old, at] = [1_000, 0, 730 * 86_400_000];
  const cut = { before: 9, ground: "retention-ended" as const };
  assert.ok(fits(cut, at, { type: "access", acceptedAt: old }));
  assert.ok(!fits(cut, at, { type: "access", acceptedAt: young }), "not old enough");
  assert.ok(fits(cut, at, { type: "consent", acceptedAt: old }), "it may hold no more");
  assert.ok(!fits(cut, at, { type: "consent", acceptedAt: young }), "not old enough");
  assert.ok(fits({ ...cut, types: ["read"] }, at, { type: "read", acceptedAt: old }));
  assert.ok(!fits({ ...cut, types: ["read"] }, at, { type: "access", acceptedAt: old }), "of another type");
  const named = { entries: [1], ground: "unlawful" as const };
  for (const type of ["access", "consent", "household", "note"] as const) assert.ok(fits(named, at, { type, acceptedAt: young }));
  for (const type of ["key", "rules", "link", "erasure"] as const) assert.ok(!fits(named, at, { type, acceptedAt: old }), type);
});

test("of one beginning the later entry wins", () => {
  const spells = membership([{ index: 7, validFrom: 100, members: ["1", "2"] }, { index: 3, validFrom: 100, members: ["1", "9"] }]);
  assert.deepEqual(spells.map((spell) => spell.person), ["1", "2"]);
});

test("the typed code gives the pseudonym, another code does not", () => {
  const { secretKey, publicKey } = ristretto255_oprf.voprf.generateKeyPair();
  const input = utf8("cf\nRSSMRA85T10A562S");
  const { blind, blinded } = ristretto255_oprf.voprf.blind(input);
  const { evaluated, proof } = ristretto255_oprf.voprf.blindEvaluate(secretKey, publicKey, blinded);
  const output = ristretto255_oprf.voprf.finalize(input, blind, evaluated, blinded, publicKey, proof) as Bytes;
  const binding = { kind: "cf", blind: base64Url(blind), evaluated: base64Url(evaluated), proof: base64Url(proof) };
  assert.equal(hex(refOfCode(" rssmra85t10a562s ", binding, publicKey as Bytes)), hex(refOf("cf", output)));
  assert.equal(reason(() => refOfCode("RSSMRA85T50A562W", binding, publicKey as Bytes)), "code");
  const other = ristretto255_oprf.voprf.generateKeyPair();
  assert.equal(reason(() => refOfCode("RSSMRA85T10A562S", binding, other.publicKey as Bytes)), "code");
});

test("a binding that the ledger's own implementation made gives the same ref", () => {
  const part = (text: string): string => base64Url(some(fromHex(text), "hex"));
  const binding = {
    kind: "cf",
    blind: part("074bb1d165774961953b5b0bf46b0d8e04b019d8d33facbb9f55567da57bd804"),
    evaluated: part("8acc92ca721331f8d079ba0e23abf728f6308a08ed873b38eec70a435260957c"),
    proof: part("fbefcc73eb80fac4d80374c8520285d7b45b0ebd45509231675cb63d4969b00120af35fde35de74d480df99805d7564cff2e4c36b66ac1b4a6b5e3f308848501"),
  };
  const key = some(fromHex("daab359f616ca12bb6a36a918851945e6749c42938afc224864cf831a5318d14"), "hex");
  const found = hex(refOfCode("rssmra80a01m109x", binding, key));
  assert.equal(found, "79d1107c53682f993f42947c1d01f068b60d81a85485a08ab772892a26042df5");
});

test("the pseudonym of RFC 9497's own vector", () => {
  // Appendix A.1.2 (ristretto255-SHA512, VOPRF), test vector 1: input 0x00, blinded with this scalar.
  const scalar = ristretto255.Point.Fn.fromBytes(Uint8Array.from(Buffer.from("64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706", "hex")));
  const point = ristretto255_hasher.hashToCurve(Uint8Array.of(0), { DST: utf8("HashToGroup-OPRFV1-\x01-ristretto255-SHA512") });
  assert.equal(hex(point.multiply(scalar).toBytes()), "863f330cc1a1259ed5a5998a23acfd37fb4351a793a5b3c090b642ddc439b945");
});

test("policies are read strictly", () => {
  const log = "log ledger.visto.example/log1+f6834349+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c\n";
  const witness = "witness w witness.visto.example/w1+b942ee63+BIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU\n";
  const set = parsePolicySet(`# a comment\n${log}${witness}group g all w\nquorum g\n# visto: from size 9\n${log}quorum none\n`);
  assert.deepEqual(set.policies.map(({ from }) => from), [0, 9]);
  for (const [text, wanted] of [
    [`${log}${witness}`, "policy-quorum"],
    [`${log}${log}quorum none\n`, "policy-key-twice"],
    [`${log}quorum w\n`, "policy-member"],
    [`${log}quorum none`, "policy-unterminated"],
    [`${log}${witness}group g 2 w\nquorum g\n`, "policy-threshold"],
    [`${log}# visto: genesis ${"0".repeat(64)}\nquorum none\n`, "policy-directive"],
    [`# visto: hello\n${log}quorum none\n`, "policy-directive"],
    [log.replace("f6834349", "f6834340") + "quorum none\n", "vkey-id"],
  ] as const) {
    assert.equal(reason(() => parsePolicySet(text)), wanted, text);
  }
});

test("base64 and JSON have one spelling", () => {
  for (let length = 0; length < 40; length++) {
    const bytes = Uint8Array.from({ length }, (_, at) => (at * 37 + length) & 255);
    assert.deepEqual(fromBase64(base64(bytes)), bytes);
    assert.deepEqual(fromBase64Url(base64Url(bytes)), bytes);
    assert.equal(base64(bytes), Buffer.from(bytes).toString("base64"));
  }
  for (const text of ["QQ=", "QR==", "QQ==\n", "Q", "Q-=="]) assert.equal(fromBase64(text), null, text);
  assert.equal(reason(() => parseJsonText('{"a":1,"\\u0061":2}')), "duplicate-key");
  assert.equal(reason(() => parseJsonText("[1.0]")), "number");
  assert.equal(reason(() => parseJsonText('["\\ud800"]')), "code-point");
  assert.equal(Object.keys(parseJsonText('{"__proto__":1}') as object)[0], "__proto__");
});

test("both languages say everything", () => {
  const shape = (value: unknown, at = ""): string[] =>
    typeof value === "object" && value !== null ? Object.entries(value).flatMap(([name, member]) => shape(member, `${at}.${name}`)) : [`${at} ${typeof value}`];
  assert.deepEqual(shape(it).sort(), shape(en).sort());
  assert.deepEqual(findingNames(8258), ["consent-withdrawn", "late", "no-case"]);
});
