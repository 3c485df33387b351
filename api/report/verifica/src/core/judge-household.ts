// SPDX-License-Identifier: EUPL-1.2
// A household's answer: its whole list of compositions, and of each member the list cut to the time of membership.
import type { Body } from "./body";
import { base64Url } from "./bytes";
import { belonged, membership, type Composition, type Spell } from "./household";
import type { Entry, Judge } from "./judge";
import { judgeWhose, type JudgedList } from "./lists";
import type { ShownMember } from "./report";
import { KIND } from "./state-map";

export function judgeHousehold(state: Judge, judged: JudgedList[]): ShownMember[] {
  const { about, notOpened } = state.bundle;
  const own = judged.find(({ list }) => list.kind === KIND.household && list.ref === about.ref);
  if (own === undefined) {
    state.fault("list-absent", { list: about.ref });
    return [];
  }
  const relations = new Map<string, string | undefined>();
  const spells = membership(compositions(state, own, relations));
  const refs = [...new Set(spells.map((spell) => spell.person))];
  const closed = notOpened.map(({ ref }) => ref);
  closed.forEach((ref, at) => {
    if (!refs.includes(ref) || closed.indexOf(ref) !== at) state.fault("member-stranger", { list: ref });
  });
  const there = new Set(judged.filter(({ list }) => list.kind === KIND.subject).map(({ list }) => list.ref));
  for (const ref of refs) if (!there.has(ref) && !closed.includes(ref)) state.fault("member-missing", { list: ref });
  judgeWhose(state, judged, refs.filter((ref) => there.has(ref)));
  // Where compositions are gone, what is known of the time of membership is not all.
  if (!state.remarks.has("membership-partial")) judgeTimes(state, judged, spells);
  return refs.map((ref) => ({
    ref,
    relation: relations.get(ref),
    spells: spells.filter((spell) => spell.person === ref).map(({ from, until }) => ({ from, until })),
    opened: there.has(ref),
  }));
}

function compositions(state: Judge, { list, shown, entries }: JudgedList, relations: Map<string, string | undefined>): Composition[] {
  // A composition that is withheld could hide a member.
  if (Object.keys(shown.withheld).length > 0) state.fault("member-missing", { list: list.ref });
  if (shown.erased > 0 || shown.deleted > 0) state.remarks.add("membership-partial");
  const told: Composition[] = [];
  for (const { body, index, erased } of entries) {
    if (erased !== undefined) continue;
    const members = body?.type === "household" ? body.content.members.flatMap((member) => member.value ?? []) : [];
    const missing = body?.type === "household" ? body.content.members.length - members.length : 0;
    if (body?.type !== "household" || missing > membersErased(state, index)) {
      state.fault("member-missing", { list: list.ref, index });
      continue;
    }
    if (missing > 0) state.remarks.add("membership-partial");
    for (const member of members) relations.set(member.ref, member.relation ?? relations.get(member.ref));
    told.push({ index, validFrom: body.content.validFrom, members: members.map((member) => member.ref) });
  }
  return told;
}

/** How many members' disclosures in a composition orders among the records took: each takes one person's. */
function membersErased(state: Judge, composition: number): number {
  const orders = records(state).filter(({ body, index, included }) => {
    if (body?.type !== "erasure" || !included || index <= composition) return false;
    return body.content.subject !== undefined && (body.content.entries ?? []).includes(composition);
  });
  return orders.length;
}

function records(state: Judge): Entry[] {
  return state.bundle.records.flatMap((item) => (item.kind === "withheld" ? [] : (state.entry(item) ?? [])));
}

/**
 * When that happened which the membership is held against. A link tells who the person is, at any time. A release counts when what it
 * releases does; where that is not shown, nobody can tell.
 */
function happenedAt(state: Judge, body: Body): number | undefined {
  if (body.type === "link") return undefined;
  if (body.type !== "release") return body.occurredAt;
  const of = body.refersTo;
  return records(state).find(({ index, leaf }) => of !== undefined && index === of.index && base64Url(leaf) === of.leaf)?.body?.occurredAt;
}

/** What happened while a person did not belong must not be opened. */
function judgeTimes(state: Judge, judged: JudgedList[], spells: Spell[]): void {
  const known = new Set(spells.map((spell) => spell.person));
  for (const { list, entries } of judged) {
    if (list.kind !== KIND.subject || !known.has(list.ref)) continue;
    for (const { body, index } of entries) {
      const at = body === undefined ? undefined : happenedAt(state, body);
      if (at !== undefined && !belonged(spells, list.ref, at)) state.fault("member-outside", { list: list.ref, index });
    }
  }
}
