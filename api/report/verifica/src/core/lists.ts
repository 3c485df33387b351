// SPDX-License-Identifier: EUPL-1.2
// Completeness: each list is folded anew from its items, and must come to the head that stands under the state root.
import { disclosedRefs, type Content, type TypeName } from "./body";
import type { ErasedItem, List } from "./bundle";
import { base64Url, equal, fromBase64Url, utf8, type Bytes } from "./bytes";
import { decodeListValue, itemOf, nextHead, ZERO, type ListValue, type Meta } from "./entry";
import type { Fault } from "./fault";
import { hash, tag } from "./hash";
import type { Entry, Judge } from "./judge";
import type { ShownList } from "./report";
import { KIND, proves, stateKey } from "./state-map";

const SEALED = tag("visto/sealed/v1");
/** What can be erased by its index: what the ledger itself rests on stays. */
const ERASABLE: TypeName[] = ["access", "consent", "household", "note", "read", "disclosure", "release"];
/** How old an entry is when a cut takes it; a consent or a composition, which holds until something newer is said, is older still. */
export const RETENTION_MS = 730 * 86_400_000;
const EMPTY: ListValue = { count: 0, head: ZERO, baseCount: 0, baseHead: ZERO };

/** A list and its entries, in its order. */
export interface JudgedList {
  list: List;
  entries: Entry[];
  shown: ShownList;
}

export function judgeLists(state: Judge): JudgedList[] {
  const judged = state.bundle.lists.map((list) => judgeList(state, list));
  const names = state.bundle.lists.map(({ kind, ref }) => `${kind}:${ref}`);
  names.forEach((name, at) => {
    if (names.indexOf(name) !== at) state.fault("list-spare", { list: state.bundle.lists[at]!.ref });
  });
  return judged;
}

/**
 * Whose lists belong here: those of the persons asked about, and of the pseudonyms that links join to theirs. Each of them must be here,
 * and no other.
 */
export function judgeWhose(state: Judge, judged: JudgedList[], persons: string[]): void {
  const wanted = new Set(persons);
  for (const ref of wanted) {
    const own = judged.filter(({ list }) => list.kind === KIND.subject && list.ref === ref);
    if (own.length === 0) state.fault("list-absent", { list: ref });
    for (const entry of own.flatMap(({ entries }) => entries)) {
      if (entry.body?.type !== "link") continue;
      const joined = disclosedRefs(entry.body, 1);
      if (joined.length < 2) state.remarks.add("link-not-shown");
      // Grows while it is walked through.
      for (const other of joined) wanted.add(other);
    }
  }
  const household = (list: List) => state.bundle.about.kind === "household" && list.kind === KIND.household && list.ref === state.bundle.about.ref;
  for (const { list } of judged) {
    if (!household(list) && !(list.kind === KIND.subject && wanted.has(list.ref))) state.fault("list-spare", { list: list.ref });
  }
  for (const { kind, name } of state.bundle.facts) {
    if (kind === KIND.consent && !wanted.has(base64Url(name.subarray(0, 32)))) state.fault("consent-foreign");
  }
}

function judgeList(state: Judge, list: List): JudgedList {
  const ref = fromBase64Url(list.ref)!;
  const where: Omit<Fault, "code"> = { list: list.ref };
  if (state.grounded && !proves(state.root, stateKey(list.kind, ref), list.value, list.proof)) state.fault("list-proof", where);
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
      judgeErased(state, item, entry.meta, where);
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
function judgeErased(state: Judge, item: ErasedItem, meta: Meta, where: Omit<Fault, "code">): void {
  if (!isOrdered(state, item, meta)) state.fault("erased-without-order", { ...where, index: item.index, detail: String(item.by) });
}

export function isOrdered(state: Judge, item: ErasedItem, meta: Meta): boolean {
  const record = state.bundle.records.find((candidate) => candidate.kind === "opened" && candidate.index === item.by);
  const order = record?.kind === "opened" ? state.entry(record) : undefined;
  if (order?.body?.type !== "erasure" || !order.included) return false;
  const { entries, before, ground } = order.body.content;
  if (item.by <= item.index || (item.ground !== undefined && item.ground !== ground)) return false;
  const named = (entries ?? []).includes(item.index) || (before !== undefined && item.index < before);
  return named && fits(order.body.content, order.meta.acceptedAt, meta);
}

/** Whether an order takes entries like this one, which it names: by its type and, in a cut, by its age when the order was accepted. */
export function fits(order: Content<"erasure">, orderedAt: number, { type, acceptedAt }: Pick<Meta, "type" | "acceptedAt">): boolean {
  const { entries = [], types = [] } = order;
  if (entries.length > 0) return ERASABLE.includes(type);
  return ERASABLE.includes(type) && (types.length === 0 || types.includes(type)) && acceptedAt + RETENTION_MS <= orderedAt;
}
