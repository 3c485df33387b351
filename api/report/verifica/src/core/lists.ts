// SPDX-License-Identifier: EUPL-1.2
// Completeness: each list is folded anew from its items, and must come to the head that stands under the state root.
import { disclosedRefs } from "./body";
import type { ErasedItem, List } from "./bundle";
import { base64Url, equal, fromBase64Url, utf8, type Bytes } from "./bytes";
import { decodeListValue, itemOf, nextHead, ZERO, type ListValue } from "./entry";
import type { Fault } from "./fault";
import { hash, tag } from "./hash";
import type { Entry, Judge } from "./judge";
import type { ShownList } from "./report";
import { KIND, proves, stateKey } from "./state-map";

const SEALED = tag("visto/sealed/v1");
const EMPTY: ListValue = { count: 0, head: ZERO, baseCount: 0, baseHead: ZERO };

/** A list and its entries, in its order. */
export interface JudgedList {
  list: List;
  entries: Entry[];
  shown: ShownList;
}

export function judgeLists(state: Judge): JudgedList[] {
  const { bundle } = state;
  const judged = bundle.lists.map((list) => judgeList(state, list));
  const own = bundle.about.kind === "household" ? KIND.household : KIND.subject;
  if (!bundle.lists.some((list) => list.kind === own && list.ref === bundle.about.ref)) state.fault("list-absent", { list: bundle.about.ref });
  judgeLinks(state, judged);
  const names = bundle.lists.map((list) => `${list.kind}:${list.ref}`);
  names.forEach((name, at) => {
    if (names.indexOf(name) !== at) state.fault("list-spare", { list: bundle.lists[at]!.ref });
  });
  return judged;
}

function judgeList(state: Judge, list: List): JudgedList {
  const ref = fromBase64Url(list.ref)!;
  const where: Omit<Fault, "code"> = { list: list.ref };
  if (!proves(state.root, stateKey(list.kind, ref), list.value, list.proof)) state.fault("list-proof", where);
  const value = list.value === null ? EMPTY : (state.attempt("list-proof", where, () => decodeListValue(list.value!)) ?? EMPTY);
  const shown: ShownList = { kind: list.kind, ref: list.ref, count: value.count, deleted: value.baseCount, shown: 0, erased: 0, withheld: {} };
  const entries: Entry[] = [];
  let head = value.baseHead;
  let last = -1;
  let ordered = true;
  let whole = true;
  for (const item of list.items) {
    if (item.kind === "withheld") {
      shown.withheld[item.why] = (shown.withheld[item.why] ?? 0) + 1;
      head = nextHead(head, item.item);
      continue;
    }
    const entry = state.entry(item);
    if (entry === undefined) {
      whole = false;
      continue;
    }
    entries.push(entry);
    head = nextHead(head, itemOf(entry.metaSalt, ref, entry.leaf));
    whole &&= entry.included;
    ordered &&= entry.index > last;
    last = Math.max(last, entry.index);
    if (entry.index >= state.size) state.fault("list-late", { ...where, index: entry.index });
    if (item.kind === "erased") {
      shown.erased++;
      judgeErased(state, item, where);
    } else {
      shown.shown++;
      if (entry.body !== undefined && !names(entry, list.kind, list.ref, ref)) {
        entry.faulty = true;
        state.fault("list-foreign", { ...where, index: entry.index });
      }
    }
  }
  tellFold(state, where, list.items.length - (value.count - value.baseCount), ordered, whole, equal(head, value.head));
  return { list, entries, shown };
}

/** Says what is wrong with a fold in the words that fit best; a head that differs is never passed over. */
function tellFold(state: Judge, where: Omit<Fault, "code">, surplus: number, ordered: boolean, whole: boolean, same: boolean): void {
  if (surplus < 0) state.fault("list-missing", { ...where, detail: String(-surplus) });
  if (surplus > 0) state.fault("list-added", { ...where, detail: String(surplus) });
  if (!ordered) state.fault("list-order", where);
  if (!same && surplus === 0 && ordered) state.fault("list-head", { ...where, detail: whole ? "" : "changed" });
}

/** Whether the entry itself says that it belongs into this list. */
function names(entry: Entry, kind: number, text: string, ref: Bytes): boolean {
  const body = entry.body!;
  if (kind === KIND.subject || kind === KIND.household) return disclosedRefs(body, kind).includes(text);
  if (kind !== KIND.sealed) return false;
  const visibility = body.type === "access" && typeof body.content.visibility === "object" ? body.content.visibility : undefined;
  const authority = visibility?.authority ?? body.institution;
  // A note on a sealed entry is sealed with it; whose list that is, the entry that it is about says.
  return body.type !== "access" || equal(hash(SEALED, utf8(authority)), ref);
}

/** Whose body is gone: the order for it must be here. */
function judgeErased(state: Judge, item: ErasedItem, where: Omit<Fault, "code">): void {
  if (!isOrdered(state, item)) state.fault("erased-without-order", { ...where, index: item.index, detail: String(item.by) });
}

export function isOrdered(state: Judge, item: ErasedItem): boolean {
  const record = state.bundle.records.find((candidate) => candidate.kind === "opened" && candidate.index === item.by);
  const order = record?.kind === "opened" ? state.entry(record) : undefined;
  if (order?.body?.type !== "erasure" || !order.included) return false;
  const { entries, before } = order.body.content;
  return (entries ?? []).includes(item.index) || (before !== undefined && item.index < before);
}

/** A `link` says that two pseudonyms are one person: the other's list belongs here too. */
function judgeLinks(state: Judge, judged: JudgedList[]): void {
  const there = new Set(judged.filter(({ list }) => list.kind === KIND.subject).map(({ list }) => list.ref));
  for (const { entries } of judged) {
    for (const entry of entries) {
      if (entry.body?.type !== "link") continue;
      for (const ref of disclosedRefs(entry.body, 1)) if (!there.has(ref)) state.fault("list-absent", { list: ref, index: entry.index });
    }
  }
}

/** For tests and texts: a ref as it is written in exports. */
export function refText(ref: Bytes): string {
  return base64Url(ref);
}
