// SPDX-License-Identifier: EUPL-1.2
// The bodies of all types, member by member. What a type does not know belongs into `ext`.
import { need, some } from "./fault";
import { isObject, type Json } from "./json";
import {
  count, date, digest, disclosed, disclosedList, either, fixed, free, institution, list, number, object, onlyTrue, optional, small, text, time, word,
  type Disclosures, type Read,
} from "./schema";

const person = object({ ref: digest });

const access = object({
  side: word("consumer", "provider"),
  exchange: fixed(16),
  consumer: object({ institution, clientId: optional(text) }),
  provider: object({ institution }),
  eservice: object({ eserviceId: text, descriptorId: optional(text), name: optional(text), version: optional(text), operation: optional(text) }),
  userID: disclosed(text),
  userRole: text,
  userLocation: disclosed(text),
  loa: optional(text),
  purposeId: optional(text),
  purpose: text,
  legalBasis: text,
  legalReference: optional(text),
  reason: disclosed(text),
  caseRef: optional(disclosed(object({ protocollo: text, prestazione: optional(text), stato: optional(text) }))),
  consentRefs: optional(list(text)),
  action: word("read", "query", "disclose", "export", "update"),
  outcome: text,
  statusCode: optional(count),
  dataCategories: list(text),
  personalDataTypes: optional(list(text)),
  subjects: disclosedList(object({ ref: digest, role: word("target", "incidental"), relation: optional(text) })),
  part: optional(object({ k: count, n: count })),
  resultCount: optional(count),
  emergency: optional(object({ reason: text, until: time })),
  visibility: optional(
    either(
      (value) => typeof value === "string",
      word("visible"),
      either(
        (value) => isObject(value) && "hidden" in value,
        object({ hidden: onlyTrue, legalReference: text, authority: institution }),
        object({ deferred: date, legalReference: text, authority: optional(institution) }),
      ),
    ),
  ),
  evidence: optional(
    object({
      trackingEvidenceDigest: optional(digest),
      voucherJti: optional(text),
      requestDigest: optional(digest),
      responseDigest: optional(digest),
      correlationId: optional(text),
      traceparent: optional(text),
      jws: optional(disclosed(text)),
      jwkThumbprint: optional(digest),
    }),
  ),
});

const consent = object({
  record: text,
  subject: disclosed(person),
  event: word("given", "refused", "withdrawn", "renewed"),
  entity: optional(word("self", "parent", "guardian", "delegate")),
  purposes: optional(list(text)),
  recipients: optional(list(text)),
  dataCategories: optional(list(text)),
  validFrom: optional(time),
  validUntil: optional(time),
  notice: optional(object({ uri: text, version: text, sha256: digest, language: text })),
  loa: optional(text),
  indication: optional(text),
});

const household = object({
  household: disclosed(person),
  kind: word("anagrafica", "isee"),
  members: disclosedList(object({ ref: digest, relation: optional(text) })),
  validFrom: time,
});

const newKey = { publicKey: digest, use: word("entry", "token", "governance", "node", "cosign", "log"), institution, possession: fixed(64), from: optional(count) };
const newNode = { node: number, institution, nodeKey: digest, cosignKey: digest, peer: text };

const genesis = object({
  shard: number,
  k: number,
  rules: small,
  institutions: list(object({ institution, name: text })),
  keys: list(object(newKey)),
  nodes: list(object(newNode)),
  roles: list(object({ institution, role: text })),
  oprfKey: optional(digest),
  test: optional(onlyTrue),
  previous: optional(text),
});

const registration = object({ institution, name: text, event: word("registered", "changed", "ended"), successor: optional(institution) });

const key = either(
  (value) => isObject(value) && value["event"] === "revoked",
  object({ event: word("revoked"), keyId: digest, until: optional(count), reason: text }),
  either(
    (value) => isObject(value) && value["event"] === "rotated",
    object({ event: word("rotated"), ...newKey, replaces: digest }),
    object({ event: word("registered"), ...newKey }),
  ),
);

const granted = word("granted", "revoked");
const role = object({ institution, role: text, event: granted });
const delegation = object({ controller: institution, submitter: institution, event: granted });
const node = object({ ...newNode, event: word("added", "removed"), logKey: optional(digest) });
const policy = object({ text });
const rules = object({ rules: small, oprfKey: optional(digest) });
const note = object({
  kind: word("correct", "complete", "decide", "dispute"),
  text: optional(disclosed(text)),
  subjects: optional(disclosedList(person)),
  opens: optional(list(word("userID", "userLocation", "restriction"))),
});

const read = object({
  institution,
  reader: disclosed(object({ person: text, role: text })),
  token: optional(disclosed(text)),
  purpose: text,
  caseRef: optional(disclosed(text)),
  released: object({ route: text, count, treeSize: count }),
  subjects: optional(disclosedList(person)),
  exportDigest: optional(digest),
});

const disclosure = object({ institution, exportDigest: digest, subjects: disclosedList(person), ground: text });
const erasure = object({
  entries: optional(list(count)),
  subject: optional(disclosed(person)),
  before: optional(count),
  types: optional(list(text)),
  ground: word("retention-ended", "not-necessary", "consent-withdrawn", "objection", "unlawful", "legal-obligation", "child"),
});
const erased = object({ node: number, erasure: count, through: count, done: count, spared: count });
const release = object({ subjects: disclosedList(person) });
const link = object({ old: disclosed(person), new: disclosed(person), proof: text });
const stateRoot = object({ size: count, version: count, root: digest, previous: digest });

const TYPES = {
  genesis, access, consent, household, institution: registration, key, role, delegation, node, policy, rules, note, read, disclosure, erasure, erased, release, link,
  "state-root": stateRoot,
};

export type TypeName = keyof typeof TYPES;
/** By number, as `meta` has it: from 1. */
export const TYPE_NAMES = Object.keys(TYPES) as TypeName[];

export type Content<T extends TypeName> = Read<(typeof TYPES)[T]>;

const reference = object({ index: count, leaf: digest });
const stream = object({ name: text, n: number, prev: digest });

export interface Common {
  ledger: string;
  id: string;
  institution: string;
  occurredAt: number;
  refersTo?: Read<typeof reference>;
  stream?: Read<typeof stream>;
}
export type Body = { [T in TypeName]: Common & { type: T; content: Content<T> } }[TypeName];

const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
/** Types that mean nothing without the entry that they are about. */
const REFERRING: TypeName[] = ["note", "release"];

/** Reads a parsed body; disclosures that are met are noted in `disclosures`. */
export function readBody(value: Json, disclosures: Disclosures): Body {
  need(isObject(value), "json");
  need(value["v"] === 1, "members", "v");
  const ledger = text(some(value["ledger"], "members", "ledger"), disclosures);
  const id = some(value["id"], "members", "id");
  need(typeof id === "string" && ID.test(id), "id-form");
  const by = institution(some(value["institution"], "members", "institution"), disclosures);
  const type = value["type"] as TypeName;
  need(TYPE_NAMES.includes(type), "members", "type");
  const occurredAt = time(some(value["occurredAt"], "members", "occurredAt"), disclosures);
  const refersTo = value["refersTo"] === undefined ? undefined : reference(value["refersTo"], disclosures);
  const place = value["stream"] === undefined ? undefined : stream(value["stream"], disclosures);
  const member = type === "institution" ? "registration" : type;
  const content = TYPES[type](some(value[member], "members", member), disclosures);
  needWhole(type, content);
  if (value["ext"] !== undefined) free(value["ext"], disclosures);
  need(!REFERRING.includes(type) || refersTo !== undefined, "members", "refersTo");
  const known = ["v", "ledger", "id", "institution", "type", "occurredAt", "refersTo", "stream", "ext", member];
  const unknown = Object.keys(value).filter((name) => !known.includes(name));
  need(unknown.length === 0, unknown.includes("...") ? "digest-place" : "members", unknown.join(" "));
  return { ledger, id, institution: by, type, occurredAt, refersTo, stream: place, content } as Body;
}

/** What a type asks for beyond its members one by one. */
function needWhole(type: TypeName, content: unknown): void {
  if (type === "consent") {
    const { event, purposes, recipients, dataCategories, validFrom } = content as Content<"consent">;
    const given = event === "given" || event === "renewed";
    need(!given || [purposes, recipients, dataCategories, validFrom].every((member) => member !== undefined), "members", "consent");
  }
  if (type === "erasure") {
    const { entries = [], subject, before, types = [] } = content as Content<"erasure">;
    const named = entries.length > 0 && types.length === 0;
    const cut = entries.length === 0 && subject === undefined;
    need(before === undefined ? named : cut, "members", "erasure");
  }
  if (type === "note") {
    const { kind, text: said, subjects = [], opens = [] } = content as Content<"note">;
    need(opens.length === 0 || (kind === "decide" && said !== undefined && subjects.length > 0), "members", "opens");
  }
}

/** Refs of the list of this kind that an entry is shown in: a household's (2), or persons' (1). */
export function disclosedRefs(body: Body, kind: 1 | 2): string[] {
  const refs = (values: { value: { ref: string } | undefined }[] | undefined) => (values ?? []).flatMap((value) => value.value?.ref ?? []);
  if (kind === 2) return body.type === "household" ? refs([body.content.household]) : [];
  switch (body.type) {
    case "access":
    case "note":
    case "read":
    case "disclosure":
    case "release":
      return refs(body.content.subjects);
    case "consent":
      return refs([body.content.subject]);
    case "household":
      return refs(body.content.members);
    case "link":
      return refs([body.content.old, body.content.new]);
    case "erasure":
      return refs(body.content.subject && [body.content.subject]);
    default:
      return [];
  }
}
