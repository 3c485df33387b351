// SPDX-License-Identifier: EUPL-1.2
// A household's answer: its whole list of compositions, and of each member the list cut to the time of membership.
import { belonged, membership, type Composition } from "./household";
import type { Judge } from "./judge";
import type { ShownMember } from "./report";
import { KIND } from "./state-map";

export function judgeHousehold(state: Judge): ShownMember[] {
  const { bundle } = state;
  const own = bundle.lists.find((list) => list.kind === KIND.household && list.ref === bundle.about.ref);
  if (own === undefined) return [];
  const compositions: Composition[] = [];
  const relations = new Map<string, string | undefined>();
  for (const item of own.items) {
    // Who belongs must be readable whole: a composition that is withheld or erased could hide a member.
    const entry = item.kind === "opened" ? state.entry(item) : undefined;
    const body = entry?.body;
    if (body?.type !== "household" || body.content.members.some((member) => member.value === undefined)) {
      state.fault("member-missing", { list: own.ref, index: entry?.index });
      continue;
    }
    const members = body.content.members.map((member) => member.value!);
    for (const member of members) relations.set(member.ref, member.relation ?? relations.get(member.ref));
    compositions.push({ index: entry!.index, validFrom: body.content.validFrom, members: members.map((member) => member.ref) });
  }
  const spells = membership(compositions);
  const refs = [...new Set(spells.map((spell) => spell.person))];
  const opened = new Set(bundle.lists.filter((list) => list.kind === KIND.subject).map((list) => list.ref));
  for (const ref of refs) {
    const told = opened.has(ref) || bundle.notOpened.some((member) => member.ref === ref);
    if (!told) state.fault("member-missing", { list: ref });
  }
  for (const list of bundle.lists) {
    if (list.kind !== KIND.subject || !refs.includes(list.ref)) continue;
    for (const item of list.items) {
      const body = item.kind === "opened" ? state.entry(item)?.body : undefined;
      if (item.kind !== "opened" || body === undefined || body.type !== "access") continue;
      if (!belonged(spells, list.ref, body.occurredAt)) state.fault("member-outside", { list: list.ref, index: item.index });
    }
  }
  return refs.map((ref) => ({
    ref,
    relation: relations.get(ref),
    spells: spells.filter((spell) => spell.person === ref).map(({ from, until }) => ({ from, until })),
    opened: opened.has(ref),
  }));
}
