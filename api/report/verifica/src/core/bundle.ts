// SPDX-License-Identifier: EUPL-1.2
// The shape of export.json. Only the shape is read here; what it says is judged by judge.ts and lists.ts.
import { fromBase64Url, type Bytes } from "./bytes";
import { need, Refused, some } from "./fault";
import { isObject, type Json, type JsonObject } from "./json";
import type { Binding } from "./pseudonym";

export interface OpenedItem {
  kind: "opened";
  index: number;
  meta: Bytes;
  bodySalt: Bytes;
  /** In base64url; judged with the tree. */
  path: string[];
  envelope: Json;
  disclosures: string[];
}

export interface ErasedItem {
  kind: "erased";
  index: number;
  meta: Bytes;
  metaSalt: Bytes;
  bodyCommit: Bytes;
  /** In base64url; judged with the tree. */
  path: string[];
  by: number;
  on?: string;
  ground?: string;
}

export interface WithheldItem {
  kind: "withheld";
  item: Bytes;
  why: string;
}

export type Item = OpenedItem | ErasedItem | WithheldItem;

export interface List {
  kind: number;
  ref: string;
  value: Bytes | null;
  proof: Bytes;
  items: Item[];
}

export interface FactProof {
  kind: number;
  name: Bytes;
  value: Bytes | null;
  proof: Bytes;
}

export interface Bundle {
  origin: string;
  audience: string;
  about: { kind: "subject" | "household"; ref: string };
  binding: Binding | null;
  checkpoint: string;
  stateRoot: OpenedItem;
  lists: List[];
  facts: FactProof[];
  records: Item[];
  notOpened: { ref: string; why: string }[];
  restricted: { ground: string; count: number }[];
}

const AUDIENCES = ["citizen", "reader"];
const REASONS = ["outside-membership", "restricted", "another"];

/** Reads the text of export.json. */
export function readBundle(text: string): Bundle {
  let parsed: Json;
  try {
    parsed = JSON.parse(text) as Json;
  } catch {
    throw new Refused("not-json");
  }
  const top = asObject(parsed, "export.json", [
    "export", "origin", "audience", "about", "binding", "checkpoint", "stateRoot", "lists", "facts", "records", "notOpened", "restricted",
  ]);
  need(top["export"] === 1, "version", String(top["export"]));
  const about = asObject(top["about"], "about", ["kind", "ref"]);
  const kind = asText(about["kind"], "about.kind");
  need(kind === "subject" || kind === "household", "about.kind", kind);
  return {
    origin: asText(top["origin"], "origin"),
    audience: asWord(top["audience"], AUDIENCES, "audience"),
    about: { kind, ref: asRef(about["ref"], "about.ref") },
    binding: top["binding"] === undefined || top["binding"] === null ? null : readBinding(top["binding"]),
    checkpoint: asText(top["checkpoint"], "checkpoint"),
    stateRoot: readOpened(top["stateRoot"], "stateRoot"),
    lists: asList(top["lists"], "lists").map((list, n) => readList(list, `lists[${n}]`)),
    facts: asList(top["facts"], "facts").map((fact, n) => readFact(fact, `facts[${n}]`)),
    records: asList(top["records"], "records").map((item, n) => readItem(item, `records[${n}]`)),
    notOpened: asList(top["notOpened"], "notOpened").map((row) => {
      const member = asObject(row, "notOpened", ["ref", "why"]);
      return { ref: asRef(member["ref"], "notOpened.ref"), why: asText(member["why"], "notOpened.why") };
    }),
    restricted: asList(top["restricted"], "restricted").map((row) => {
      const member = asObject(row, "restricted", ["ground", "count"]);
      return { ground: asText(member["ground"], "restricted.ground"), count: asCount(member["count"], "restricted.count") };
    }),
  };
}

function readBinding(value: Json): Binding {
  const binding = asObject(value, "binding", ["kind", "blind", "evaluated", "proof"]);
  const member = (name: string) => asText(binding[name], `binding.${name}`);
  return { kind: member("kind"), blind: member("blind"), evaluated: member("evaluated"), proof: member("proof") };
}

function readList(value: Json, at: string): List {
  const list = asObject(value, at, ["kind", "ref", "value", "proof", "items"]);
  return {
    kind: asCount(list["kind"], `${at}.kind`),
    ref: asRef(list["ref"], `${at}.ref`),
    value: list["value"] === null ? null : asBytes(list["value"], `${at}.value`),
    proof: asBytes(list["proof"], `${at}.proof`),
    items: asList(list["items"], `${at}.items`).map((item, n) => readItem(item, `${at}.items[${n}]`)),
  };
}

function readFact(value: Json, at: string): FactProof {
  const fact = asObject(value, at, ["kind", "name", "value", "proof"]);
  return {
    kind: asCount(fact["kind"], `${at}.kind`),
    name: asBytes(fact["name"], `${at}.name`),
    value: fact["value"] === null ? null : asBytes(fact["value"], `${at}.value`),
    proof: asBytes(fact["proof"], `${at}.proof`),
  };
}

function readItem(value: Json, at: string): Item {
  need(isObject(value), "missing", at);
  if ("erased" in value) return readErased(value, at);
  return "item" in value ? readWithheld(value, at) : readOpened(value, at);
}

function readWithheld(value: Json, at: string): WithheldItem {
  const item = asObject(value, at, ["item", "why"]);
  const why = item["why"] === undefined ? "another" : asWord(item["why"], REASONS, `${at}.why`);
  return { kind: "withheld", item: asHash(item["item"], `${at}.item`), why };
}

function readOpened(value: Json | undefined, at: string): OpenedItem {
  const item = asObject(value, at, ["index", "meta", "bodySalt", "path", "envelope", "disclosures"]);
  return {
    kind: "opened",
    index: asCount(item["index"], `${at}.index`),
    meta: asBytes(item["meta"], `${at}.meta`),
    bodySalt: asHash(item["bodySalt"], `${at}.bodySalt`),
    path: readPath(item["path"], at),
    envelope: some(item["envelope"], "missing", `${at}.envelope`),
    disclosures: asList(item["disclosures"], `${at}.disclosures`).map((text) => asText(text, `${at}.disclosures`)),
  };
}

function readErased(value: Json, at: string): ErasedItem {
  const item = asObject(value, at, ["index", "meta", "metaSalt", "bodyCommit", "path", "erased"]);
  const erased = asObject(item["erased"], `${at}.erased`, ["by", "on", "ground"]);
  const said = (name: string) => (erased[name] === undefined || erased[name] === null ? undefined : asText(erased[name], `${at}.erased.${name}`));
  return {
    kind: "erased",
    index: asCount(item["index"], `${at}.index`),
    meta: asBytes(item["meta"], `${at}.meta`),
    metaSalt: asHash(item["metaSalt"], `${at}.metaSalt`),
    bodyCommit: asHash(item["bodyCommit"], `${at}.bodyCommit`),
    path: readPath(item["path"], at),
    by: asCount(erased["by"], `${at}.erased.by`),
    on: said("on"),
    ground: said("ground"),
  };
}

function readPath(value: Json | undefined, at: string): string[] {
  return asList(value, `${at}.path`).map((sibling) => asText(sibling, `${at}.path`));
}

/** An object with these members and no other. */
function asObject(value: Json | undefined, at: string, members: string[]): JsonObject {
  need(value !== undefined && isObject(value), "missing", at);
  const unknown = Object.keys(value).find((name) => !members.includes(name));
  need(unknown === undefined, "unknown", `${at}.${unknown}`);
  return value;
}

function asWord(value: Json | undefined, words: string[], at: string): string {
  const word = asText(value, at);
  need(words.includes(word), "unknown", `${at}: ${word}`);
  return word;
}

function asList(value: Json | undefined, at: string): Json[] {
  need(Array.isArray(value), "missing", at);
  return value;
}

function asText(value: Json | undefined, at: string): string {
  need(typeof value === "string", "missing", at);
  return value;
}

function asCount(value: Json | undefined, at: string): number {
  need(typeof value === "number" && Number.isSafeInteger(value) && value >= 0, "missing", at);
  return value;
}

function asBytes(value: Json | undefined, at: string): Bytes {
  return some(fromBase64Url(asText(value, at)), "base64url", at);
}

function asHash(value: Json | undefined, at: string): Bytes {
  const bytes = asBytes(value, at);
  need(bytes.length === 32, "base64url", at);
  return bytes;
}

function asRef(value: Json | undefined, at: string): string {
  asHash(value, at);
  return value as string;
}
