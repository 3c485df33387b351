// SPDX-License-Identifier: EUPL-1.2
// C2SP tlog-policy: which keys are trusted and how many must sign; and Visto's file of several such policies, chosen by tree size
// (`# visto: genesis …`, `# visto: from size N`).
import { equal, fromHex, fromUtf8, parseDecimal, utf8, type Bytes } from "./bytes";
import type { SignatureVerifier } from "./ed25519";
import { need, Refused, some } from "./fault";
import { COSIGNER, heldLines, LOG, parseCheckpoint, parseKey, parseNote, type Checkpoint, type NoteKey } from "./note";

const POLICY_BYTES_MAX = 256 * 1024;
const DEFINITIONS_MAX = 256;

interface Group {
  name: string;
  threshold: number;
  members: string[];
}

export interface Policy {
  logs: NoteKey[];
  witnesses: Map<string, NoteKey>;
  groups: Group[];
  /** Name of a witness or group; null where the file says `none`. */
  quorum: string | null;
}

export interface PolicySet {
  /** SHA-256 of the genesis entry's PAE. */
  genesis: Bytes | null;
  policies: { from: number; policy: Policy }[];
}

export interface Cosigner {
  name: string;
  /** Seconds since 1970. */
  time: number;
}

export interface BelievedCheckpoint extends Checkpoint {
  cosigners: Cosigner[];
  /** Witnesses that the policy lists. */
  listed: number;
}

export function parsePolicySet(text: string): PolicySet {
  need(utf8(text).length <= POLICY_BYTES_MAX, "policy-size");
  need(!/[\u0000-\u0008\u000b-\u001f\u007f]/.test(text), "policy-character");
  need(text.endsWith("\n"), "policy-unterminated");
  const lines = text.slice(0, -1).split("\n");
  let genesis: Bytes | null = null;
  const policies: PolicySet["policies"] = [];
  let from = 0;
  let start = 0;
  lines.forEach((line, at) => {
    const words = directive(line);
    if (words === null) return;
    const place = `line ${at + 1}`;
    if (words[0] === "genesis" && words.length === 2) {
      // In front of all, once: it is about the ledger, not about one policy.
      need(genesis === null && lines.slice(0, at).every(isComment), "policy-directive", place);
      genesis = some(words[1]!.length === 64 ? fromHex(words[1]!) : null, "policy-directive", place);
    } else if (words[0] === "from" && words[1] === "size" && words.length === 3) {
      const size = some(parseDecimal(words[2]!), "policy-directive", place);
      const part = lines.slice(start, at);
      if (policies.length > 0 || !part.every(isComment)) {
        policies.push({ from, policy: parsePolicy(part, start + 1) });
        need(size > from, "policy-directive", place);
      } else {
        need(start === 0, "policy-directive", place);
      }
      from = size;
      start = at + 1;
    } else {
      throw new Refused("policy-directive", place);
    }
  });
  policies.push({ from, policy: parsePolicy(lines.slice(start), start + 1) });
  return { genesis, policies };
}

/** The words after `# visto:`; null for any other line. */
function directive(line: string): string[] | null {
  const found = /^[ \t]*#[ \t]*visto:(.*)$/.exec(line);
  return found === null ? null : found[1]!.split(/[ \t]+/).filter((word) => word !== "");
}

function isComment(line: string): boolean {
  return /^[ \t]*(#.*)?$/.test(line);
}

function parsePolicy(lines: string[], firstLine: number): Policy {
  const policy: Policy = { logs: [], witnesses: new Map(), groups: [], quorum: null };
  const used = new Set<string>();
  let quorums = 0;
  lines.forEach((line, at) => {
    const words = line.split(/[ \t]+/).filter((word) => word !== "");
    if (words.length === 0 || words[0]!.startsWith("#")) return;
    try {
      quorums += takeLine(policy, used, words);
      need(quorums <= 1, "policy-quorum");
    } catch (cause) {
      if (!(cause instanceof Refused)) throw cause;
      throw new Refused(cause.reason, `line ${firstLine + at}`);
    }
  });
  need(quorums === 1, "policy-quorum");
  return policy;
}

/** Answers 1 for the quorum line. */
function takeLine(policy: Policy, used: Set<string>, words: string[]): number {
  const [kind, ...rest] = words;
  const defined = (name: string) => policy.witnesses.has(name) || policy.groups.some((group) => group.name === name);
  const newName = (name: string) => need(name !== "none" && !defined(name), "policy-name");
  const key = (text: string, type: number, others: Iterable<NoteKey>): NoteKey => {
    const parsed = parseKey(text);
    need(parsed.type === type, "vkey-type");
    for (const other of others) need(!equal(other.publicKey, parsed.publicKey), "policy-key-twice");
    return parsed;
  };
  if (kind === "log" && (rest.length === 1 || rest.length === 2)) {
    need(policy.logs.length < DEFINITIONS_MAX, "policy-size");
    policy.logs.push(key(rest[0]!, LOG, policy.logs));
  } else if (kind === "witness" && (rest.length === 2 || rest.length === 3)) {
    need(policy.witnesses.size < DEFINITIONS_MAX, "policy-size");
    const parsed = key(rest[1]!, COSIGNER, policy.witnesses.values());
    newName(rest[0]!);
    policy.witnesses.set(rest[0]!, parsed);
  } else if (kind === "group" && rest.length >= 3) {
    need(policy.groups.length < DEFINITIONS_MAX, "policy-size");
    const [name = "", k = "", ...members] = rest;
    newName(name);
    const threshold = k === "any" ? 1 : k === "all" ? members.length : parseDecimal(k);
    need(threshold !== null && threshold >= 1 && threshold <= members.length, "policy-threshold");
    for (const member of members) {
      need(defined(member) && !used.has(member), "policy-member");
      used.add(member);
    }
    policy.groups.push({ name, threshold, members });
  } else if (kind === "quorum" && rest.length === 1) {
    const name = rest[0]!;
    need(name === "none" || defined(name), "policy-member");
    policy.quorum = name === "none" ? null : name;
    return 1;
  } else {
    throw new Refused("policy-line");
  }
  return 0;
}

/** The policy that holds for a tree of this size. */
export function policyAt(set: PolicySet, size: number): Policy | null {
  return set.policies.findLast((part) => part.from <= size)?.policy ?? null;
}

/** The checkpoint, if the log signed it under its origin, no line of a known key fails, and the quorum cosigned. */
export async function believe(set: PolicySet, noteText: string, verifier: SignatureVerifier): Promise<BelievedCheckpoint> {
  const note = parseNote(noteText);
  const checkpoint = parseCheckpoint(note.text);
  const policy = some(policyAt(set, checkpoint.size), "no-policy");
  const held = await heldLines(note, [...policy.logs, ...policy.witnesses.values()], verifier);
  need(
    held.some((line) => line.key.type === LOG && line.key.name === checkpoint.origin),
    "not-by-log",
    checkpoint.origin,
  );
  const cosigned = new Map(held.filter((line) => line.time !== null).map((line) => [line.key, line.time!]));
  need(quorumHolds(policy, cosigned), "quorum", `${cosigned.size}/${policy.witnesses.size}`);
  return {
    ...checkpoint,
    cosigners: [...cosigned].map(([key, time]) => ({ name: key.name, time })),
    listed: policy.witnesses.size,
  };
}

function quorumHolds(policy: Policy, cosigned: Map<NoteKey, number>): boolean {
  const reached = new Set<string>();
  for (const [name, key] of policy.witnesses) if (cosigned.has(key)) reached.add(name);
  // Groups name what stands before them, so one pass in order settles all.
  for (const group of policy.groups) {
    if (group.members.filter((member) => reached.has(member)).length >= group.threshold) reached.add(group.name);
  }
  return policy.quorum === null || reached.has(policy.quorum);
}

export function policyText(bytes: Uint8Array): string {
  return some(fromUtf8(bytes), "utf-8");
}
