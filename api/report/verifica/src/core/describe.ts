// SPDX-License-Identifier: EUPL-1.2
// From what was judged to what is shown: names of institutions, both sides of an access, the state of consents.
import type { Body, Content } from "./body";
import { equal } from "./bytes";
import type { Facts } from "./facts";
import type { Entry, Judge } from "./judge";
import { isOrdered, type JudgedList } from "./lists";
import type { Report, ShownConsentState, ShownEntry, ShownInstitution, ShownMember } from "./report";

type Described = Omit<Report, "policyFingerprint" | "genesis" | "asOf" | "signatures" | "hashes" | "verifiedBy" | "milliseconds">;

export function describe(state: Judge, facts: Facts, records: (Entry | undefined)[], lists: JudgedList[], members: ShownMember[]): Described {
  const { bundle, checkpoint } = state;
  const shown = new Map<number, ShownEntry>();
  const take = (entry: Entry, list?: string) => {
    const known = shown.get(entry.index) ?? shownEntry(state, facts, entry);
    shown.set(entry.index, known);
    known.faulty ||= entry.faulty;
    if (list !== undefined && !known.lists.includes(list)) known.lists.push(list);
    // One list may open what another withholds.
    if (known.body === undefined || entry.withheld < known.withheld) Object.assign(known, { body: entry.body, withheld: entry.withheld });
  };
  for (const { list, entries } of lists) for (const entry of entries) take(entry, list.ref);
  for (const entry of records) if (entry !== undefined) take(entry);
  const entries = [...shown.values()].sort((a, b) => a.index - b.index);
  pairUp(entries);
  noteReleases(entries);
  const governance = entries.filter((entry) => !entry.faulty).flatMap(({ body }) => (body?.type === "genesis" || body?.type === "rules" ? [body] : []));
  return {
    faults: state.faults,
    remarks: [...state.remarks],
    origin: bundle.origin,
    audience: bundle.audience,
    about: bundle.about,
    binding: bundle.binding,
    oprfKeys: governance.flatMap(({ content }) => content.oprfKey ?? []),
    test: entries.some(({ body }) => body?.type === "genesis" && body.content.test === true),
    checkpoint: checkpoint && { size: checkpoint.size, root: hexOf(checkpoint.root), cosigners: checkpoint.cosigners, listed: checkpoint.listed },
    entries,
    lists: lists.map((list) => list.shown),
    members,
    institutions: institutions(state, facts, entries),
    consents: consentStates(facts, entries),
    notOpened: bundle.notOpened,
    restricted: bundle.restricted,
  };
}

function shownEntry(state: Judge, facts: Facts, entry: Entry): ShownEntry {
  const { meta, erased } = entry;
  return {
    index: entry.index,
    type: meta.type,
    acceptedAt: meta.acceptedAt,
    findings: meta.findings,
    rules: meta.rules,
    body: entry.body,
    withheld: entry.withheld,
    lists: [],
    signer: entry.signer ?? signerOf(facts, entry),
    pair: "none",
    erased: erased && { by: erased.by, on: erased.on, ground: erased.ground, ordered: isOrdered(state, erased, meta) },
    faulty: entry.faulty,
  };
}

/** Also of an erased entry: `meta` names its first key. */
function signerOf(facts: Facts, entry: Entry): string | undefined {
  return facts.key(entry.meta.firstKey)?.institution;
}

function accessOf(entry: ShownEntry): Content<"access"> | undefined {
  return entry.body?.type === "access" ? entry.body.content : undefined;
}

/** One exchange has an entry a side, whichever comes first; several if it came in parts. */
function pairUp(entries: ShownEntry[]): void {
  const sides = new Map<string, ShownEntry[]>();
  for (const entry of entries) {
    const access = accessOf(entry);
    if (access === undefined) continue;
    const name = `${access.exchange} ${access.consumer.institution} ${access.provider.institution}`;
    sides.set(name, [...(sides.get(name) ?? []), entry]);
  }
  for (const entry of entries) {
    const access = accessOf(entry);
    if (access === undefined) continue;
    const name = `${access.exchange} ${access.consumer.institution} ${access.provider.institution}`;
    const others = sides.get(name)!.filter((other) => accessOf(other)!.side !== access.side);
    const twin = others.find((other) => sameStory(access, accessOf(other)!)) ?? others[0];
    entry.pair = twin === undefined ? "alone" : sameStory(access, accessOf(twin)!) ? "confirmed" : "differs";
    entry.twin = twin?.index;
  }
}

function sameStory(a: Content<"access">, b: Content<"access">): boolean {
  const targets = (access: Content<"access">) =>
    access.subjects.flatMap((subject) => (subject.value?.role === "target" ? [subject.value.ref] : []));
  const [mine, theirs] = [targets(a), targets(b)];
  return a.purpose === b.purpose && (mine.every((ref) => theirs.includes(ref)) || theirs.every((ref) => mine.includes(ref)));
}

function noteReleases(entries: ShownEntry[]): void {
  for (const release of entries) {
    if (release.body?.type !== "release") continue;
    const target = entries.find((entry) => entry.index === release.body?.refersTo?.index);
    if (target !== undefined) target.releasedBy = release.index;
  }
}

/** Every institution that the bundle names, with the newest name that a proven registration gives it. */
function institutions(state: Judge, facts: Facts, entries: ShownEntry[]): ShownInstitution[] {
  const named = new Map<string, { name: string; index: number; ended: boolean }>();
  const registered = (id: string, name: string, index: number, ended: boolean) => {
    const known = named.get(id);
    if (known === undefined || known.index < index) named.set(id, { name, index, ended });
  };
  const met = new Set<string>();
  for (const entry of entries) {
    const { body } = entry;
    if (entry.signer !== undefined) met.add(entry.signer);
    if (body === undefined || entry.faulty) continue;
    if (body.type === "genesis") for (const { institution, name } of body.content.institutions) registered(institution, name, entry.index, false);
    else if (body.type === "institution") registered(body.content.institution, body.content.name, entry.index, body.content.event === "ended");
    if (entry.lists.length > 0 || body.type === "access") for (const id of institutionsIn(body)) met.add(id);
  }
  const leaves = new Map(state.known().map((entry) => [entry.index, entry.leaf]));
  return [...met].sort().map((id) => {
    const at = facts.institution(id);
    const record = named.get(id);
    if (typeof at === "string") return { id, name: undefined, participates: at === "absent" ? "no" : "unproven" };
    const proven = record !== undefined && record.index === at.index && equal(leaves.get(at.index) ?? new Uint8Array(), at.leaf);
    return { id, name: proven ? record.name : undefined, participates: proven && record.ended ? "ended" : "yes" };
  });
}

function institutionsIn(body: Body): string[] {
  switch (body.type) {
    case "access":
      return [body.institution, body.content.consumer.institution, body.content.provider.institution];
    case "consent":
      return [body.institution, ...(body.content.recipients ?? []).filter((id) => /^(ipa|cf):/.test(id))];
    case "read":
    case "disclosure":
      return [body.content.institution];
    case "genesis":
      return [];
    default:
      return [body.institution];
  }
}

/** What the state root says of each consent record that is shown or that a shown access rests on. */
function consentStates(facts: Facts, entries: ShownEntry[]): ShownConsentState[] {
  const states = new Map<string, ShownConsentState>();
  for (const { body } of entries) {
    const records = body?.type === "consent" ? [body.content.record] : body?.type === "access" ? (body.content.consentRefs ?? []) : [];
    const refs = body?.type === "consent" ? [body.content.subject] : body?.type === "access" ? body.content.subjects : [];
    for (const record of records) {
      for (const ref of refs.flatMap((subject) => subject.value?.ref ?? [])) {
        const name = `${ref} ${record}`;
        if (states.has(name)) continue;
        const fact = facts.consent(ref, record);
        states.set(name, typeof fact === "string" ? { ref, record, event: fact } : { ref, record, event: fact.event, index: fact.index });
      }
    }
  }
  return [...states.values()];
}

function hexOf(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
