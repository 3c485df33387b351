// SPDX-License-Identifier: EUPL-1.2
// The whole judgement of a bundle, from the policy down: checkpoint, state root, facts, entries, lists, household. Goes on after a fault,
// so that everything that is wrong is named and nothing that came along is hidden.
import type { Body } from "./body";
import { readBundle, type Bundle, type ErasedItem, type Item, type OpenedItem } from "./bundle";
import { base64Url, equal, fromBase64Url, hex, utf8, type Bytes } from "./bytes";
import { signatureVerifier, type SignatureVerifier } from "./ed25519";
import { ALG_BATCH, bodyCommit, decodeMeta, encodeSigs, leafOf, metaSalt, openBody, readEnvelope, signedMessage, type Envelope, type Meta } from "./entry";
import { Facts, USE } from "./facts";
import { Refused, type Fault, type FaultCode } from "./fault";
import { agrees, hash } from "./hash";
import { judgeHousehold } from "./judge-household";
import { judgeLists, judgeWhose } from "./lists";
import { leafHash, ProvenTree } from "./merkle";
import { believe, parsePolicySet, type BelievedCheckpoint, type PolicySet } from "./policy";
import type { Remark, Report } from "./report";
import { describe } from "./describe";

/** An entry of the bundle, recomputed. What could not be is undefined, and a fault says so. */
export interface Entry {
  index: number;
  meta: Meta;
  metaSalt: Bytes;
  leaf: Bytes;
  /** Its leaf is in the checkpoint's tree at its index. */
  included: boolean;
  body?: Body;
  withheld: number;
  erased?: ErasedItem;
  envelope?: Envelope;
  signer?: string;
  faulty: boolean;
}

export interface Options {
  /** Leave the browser's Ed25519 alone. */
  libraryOnly?: boolean;
  /** Told now and then how far it is, from 0 to 1. */
  progress?: (done: number) => void;
}

interface SignatureJob {
  entry: Entry;
  publicKey: Bytes;
  message: Bytes;
  signature: Bytes;
  /** Signed with others of its batch. */
  shared: boolean;
  /** Under way already: the browser computes on other threads while the entries that follow are recomputed. */
  result?: Promise<boolean>;
}

/** State of one judgement. */
export class Judge {
  readonly faults: Fault[] = [];
  readonly jobs: SignatureJob[] = [];
  readonly remarks = new Set<Remark>();
  /** Undefined until the state root is known: no key is proven before. */
  facts?: Facts;
  checkpoint?: BelievedCheckpoint;
  /** The checkpoint's; undefined where that is not to be believed. */
  tree?: ProvenTree;
  /** A state root was found: facts can be proven. */
  grounded = false;
  /** Size that the state root covers; nothing in a list may lie at or above it. */
  size = 0;
  root: Bytes = new Uint8Array(32);
  private readonly entries = new Map<Item, Entry>();
  private readonly batches = new Map<string, Promise<boolean>>();

  constructor(
    readonly bundle: Bundle,
    readonly ledger: string,
    private readonly verifier: SignatureVerifier,
  ) {}

  fault(code: FaultCode, where: Omit<Fault, "code"> = {}): void {
    this.faults.push({ code, ...where });
  }

  /** Runs a reader; what it refuses becomes a fault. */
  attempt<T>(code: FaultCode, where: Omit<Fault, "code">, read: () => T): T | undefined {
    try {
      return read();
    } catch (cause) {
      if (!(cause instanceof Refused)) throw cause;
      this.fault(code, { ...where, detail: cause.message });
      return undefined;
    }
  }

  /** Recomputes an entry once, wherever it stands. */
  entry(item: OpenedItem | ErasedItem): Entry | undefined {
    const known = this.entries.get(item);
    if (known !== undefined) return known;
    const entry = this.attempt("entry", { index: item.index }, () => (item.kind === "opened" ? this.opened(item) : this.erased(item)));
    if (entry === undefined) return undefined;
    entry.included = this.included(item, entry.leaf);
    if (!entry.included) {
      entry.faulty = true;
      // Without a checkpoint nothing is included; that one fault says it all.
      if (this.tree !== undefined) this.fault("entry-leaf", { index: entry.index });
    }
    this.entries.set(item, entry);
    if (this.facts !== undefined) this.queueSignatures(entry, this.facts);
    return entry;
  }

  private erased(item: ErasedItem): Entry {
    const meta = decodeMeta(item.meta);
    const leaf = leafHash(leafOf(item.metaSalt, item.meta, item.bodyCommit));
    return { index: item.index, meta, metaSalt: item.metaSalt, leaf, included: false, withheld: 0, erased: item, faulty: false };
  }

  private opened(item: OpenedItem): Entry {
    const meta = decodeMeta(item.meta);
    const envelope = readEnvelope(item.envelope);
    const salt = metaSalt(item.bodySalt);
    const commit = bodyCommit(item.bodySalt, envelope.pae, encodeSigs(envelope.signatures));
    const entry: Entry = {
      index: item.index, meta, metaSalt: salt, leaf: leafHash(leafOf(salt, item.meta, commit)), included: false, withheld: 0, envelope, faulty: false,
    };
    const where = { index: item.index };
    const readable = this.attempt("entry-disclosure", where, () => openBody(envelope.payload, item.disclosures, true));
    // A value that was changed must not hide what was signed: shown without the values, with the fault beside it.
    const opened = readable ?? this.attempt("entry-body", where, () => openBody(envelope.payload, [], true));
    if (opened !== undefined) {
      entry.body = opened.body;
      entry.withheld = opened.withheld;
      if (opened.body.type !== meta.type || opened.body.ledger !== this.ledger) this.fault("entry-body", { ...where, detail: opened.body.ledger });
    }
    entry.faulty = readable === undefined;
    return entry;
  }

  private included(item: OpenedItem | ErasedItem, leaf: Bytes): boolean {
    return this.tree !== undefined && this.tree.includes(item.index, leaf, item.path);
  }

  /** Whose keys signed, and whether they might; the signatures themselves are queued. */
  queueSignatures(entry: Entry, facts: Facts): void {
    const { envelope, body } = entry;
    if (envelope === undefined) return;
    envelope.signatures.forEach((row, place) => {
      const key = facts.key(row.keyId);
      const where = { index: entry.index, detail: base64Url(row.keyId) };
      if (key === null || entry.index < key.first || entry.index >= key.until || !mayUse(key.use, entry.meta.type)) {
        entry.faulty = true;
        // Without a state root no key is proven; that one fault says it all.
        return this.grounded ? this.fault("entry-key", where) : undefined;
      }
      if (place === 0) {
        entry.signer = key.institution;
        if (!equal(row.keyId, entry.meta.firstKey)) this.fault("entry-key", where);
        if (body !== undefined && key.use === USE.entry) this.checkInstitution(facts, entry, body.institution, key.institution);
      }
      const signed = this.attempt("entry-signature", where, () => signedMessage(row, envelope.pae));
      if (signed === undefined) return;
      const job: SignatureJob = { entry, publicKey: key.publicKey, message: signed.message, signature: signed.ed25519, shared: row.alg === ALG_BATCH };
      if (this.verifier.by === "browser") job.result = this.start(job);
      this.jobs.push(job);
    });
  }

  /** Who signs for another needs a delegation; without one the entry's finding must say so. */
  private checkInstitution(facts: Facts, entry: Entry, controller: string, signer: string): void {
    if (controller === signer) return;
    const delegated = facts.delegation(controller, signer);
    if (delegated === "unproven" && this.grounded) this.fault("entry-institution", { index: entry.index, detail: `${signer} / ${controller}` });
  }

  /** A whole batch shares one message and signature, which is verified once. */
  private start({ publicKey, message, signature, shared }: SignatureJob): Promise<boolean> {
    if (!shared) return this.verifier.verify(publicKey, message, signature);
    const name = hex(signature) + hex(message) + hex(publicKey);
    const known = this.batches.get(name) ?? this.verifier.verify(publicKey, message, signature);
    this.batches.set(name, known);
    return known;
  }

  async verifySignatures(progress: (done: number) => void): Promise<void> {
    const CHUNK = 200;
    for (let at = 0; at < this.jobs.length; at += CHUNK) {
      const chunk = this.jobs.slice(at, at + CHUNK);
      const held = await Promise.all(chunk.map((job) => job.result ?? this.start(job)));
      chunk.forEach((job, n) => {
        if (held[n]) return;
        job.entry.faulty = true;
        this.fault("entry-signature", { index: job.entry.index });
      });
      progress(at / this.jobs.length);
    }
  }

  /** Every entry that was recomputed, once by index. */
  known(): Entry[] {
    return [...this.entries.values()];
  }
}

function mayUse(use: number, type: Meta["type"]): boolean {
  switch (type) {
    case "access":
    case "consent":
    case "household":
    case "note":
    case "link":
    case "erasure":
      return use === USE.entry;
    case "read":
    case "disclosure":
    case "erased":
    case "state-root":
      return use === USE.node;
    case "release":
      return use === USE.entry || use === USE.node;
    default:
      // Governance; and a key that rotates or revokes itself, whatever its use.
      return use === USE.governance || type === "key";
  }
}

/** Verifies the text of export.json under a policy. */
export async function judge(exportText: string, policyText: string, options: Options = {}): Promise<Report> {
  const started = performance.now();
  const verifier = await signatureVerifier(options.libraryOnly);
  const bundle = readBundle(exportText);
  const ledger = bundle.origin.replace(/\/[0-9]+$/, "");
  const state = new Judge(bundle, ledger, verifier);
  const policyBytes = utf8(policyText);
  if (!(await agrees(policyBytes))) state.fault("hash");
  const policy = state.attempt("policy", {}, () => parsePolicySet(policyText));
  if (policy !== undefined) await judgeCheckpoint(state, policy, verifier);
  const rootEntry = judgeStateRoot(state);
  const facts = (state.facts = new Facts(bundle.facts, state.root));
  if (state.grounded) for (const name of facts.broken) state.fault("fact", { detail: name });
  if (rootEntry !== undefined) state.queueSignatures(rootEntry, facts);

  const records = bundle.records.map((item) => (item.kind === "withheld" ? undefined : state.entry(item)));
  const lists = judgeLists(state);
  const members = bundle.about.kind === "household" ? judgeHousehold(state, lists) : [];
  if (bundle.about.kind === "subject") judgeWhose(state, lists, [bundle.about.ref]);
  if (policy !== undefined) judgeGenesis(state, policy);
  await state.verifySignatures(options.progress ?? (() => {}));

  const report = describe(state, facts, records, lists, members);
  return {
    ...report,
    policyFingerprint: hex(hash(policyBytes)),
    genesis: policy?.genesis ? hex(policy.genesis) : undefined,
    asOf: rootEntry === undefined ? undefined : { size: state.size, time: rootEntry.meta.acceptedAt },
    signatures: state.jobs.length,
    hashes: "library",
    verifiedBy: verifier.by,
    milliseconds: performance.now() - started,
  };
}

async function judgeCheckpoint(state: Judge, policy: PolicySet, verifier: SignatureVerifier): Promise<void> {
  const { bundle } = state;
  try {
    const believed = await believe(policy, bundle.checkpoint, verifier);
    if (believed.origin !== bundle.origin) state.fault("policy-origin", { detail: `${bundle.origin} / ${believed.origin}` });
    state.checkpoint = believed;
    state.tree = new ProvenTree(believed.size, believed.root);
  } catch (cause) {
    if (!(cause instanceof Refused)) throw cause;
    const codes: Record<string, FaultCode> = { quorum: "checkpoint-quorum", "not-by-log": "checkpoint-signature", "note-signature": "checkpoint-signature" };
    state.fault(codes[cause.reason] ?? "checkpoint", { detail: cause.message });
  }
}

/** Longer than any honest exporter takes from the summary to the checkpoint over it. */
const OLD_MS = 3_600_000;

/** The `state-root` entry under the checkpoint; it stands behind all that it covers. */
function judgeStateRoot(state: Judge): Entry | undefined {
  const entry = state.entry(state.bundle.stateRoot);
  if (entry?.body?.type !== "state-root") {
    state.fault("state-root");
    return undefined;
  }
  const { size, root } = entry.body.content;
  state.grounded = true;
  state.size = size;
  state.root = fromBase64Url(root)!;
  if (!entry.included || entry.index < size) state.fault("state-root", { index: entry.index });
  const { checkpoint } = state;
  const after = checkpoint === undefined ? 0 : checkpoint.size - entry.index - 1;
  const newest = Math.max(0, ...(checkpoint?.cosigners ?? []).map(({ time }) => time * 1000));
  if (after > 0 && newest - entry.meta.acceptedAt > OLD_MS) state.fault("state-root-old", { index: entry.index, detail: String(after) });
  return entry;
}

/** The policy names the ledger by its genesis entry; where that came along, it must be this one. */
function judgeGenesis(state: Judge, policy: PolicySet): void {
  const first = state.known().find((entry) => entry.index === 0 && entry.body?.type === "genesis");
  if (first?.envelope === undefined || policy.genesis === null) return;
  if (!equal(hash(first.envelope.pae), policy.genesis)) state.fault("genesis", { index: 0 });
}
