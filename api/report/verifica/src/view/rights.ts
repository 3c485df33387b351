// SPDX-License-Identifier: EUPL-1.2
// The eight items of Art. 15(1) GDPR: what the ledger knows of each, and whom to ask for the rest.
import type { Report } from "../core/report";
import { bullets, el, section } from "./dom";
import { exchanges } from "./exchanges";
import { removed } from "./removed";
import type { Words } from "./words";

export function rights(words: Words, report: Report): HTMLElement {
  const { t } = words;
  const r = t.rights;
  const accesses = exchanges(report).flatMap(({ access }) => access ?? []);
  const counted = (values: string[], said: (value: string) => string): HTMLElement => {
    const counts = new Map<string, number>();
    for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
    if (counts.size === 0) return el("p", {}, r.nothing);
    const lines = [...counts].sort((a, b) => b[1] - a[1]).map(([value, n]) => `${said(value)} ${r.times(words.number(n))}`);
    return bullets(lines);
  };
  const institution = (id: string) => words.institutionFull(id);
  const gone = removed(words, report);
  const storage = [el("p", {}, r.d.knows), gone === null ? null : el("p", {}, gone)];
  const items: [{ title: string; ask: string }, (HTMLElement | null)[]][] = [
    [r.a, [counted(accesses.map((access) => access.purpose), (code) => words.code("purpose", code))]],
    [r.b, [counted(accesses.flatMap((access) => access.dataCategories), (code) => words.code("dataCategory", code))]],
    [r.c, [counted(accesses.map((access) => access.consumer.institution), institution)]],
    [r.d, storage],
    [r.e, [el("p", {}, r.e.knows)]],
    [r.f, [el("p", {}, r.f.knows)]],
    [r.g, [counted(accesses.map((access) => access.provider.institution), institution)]],
    [r.h, [el("p", {}, r.h.knows)]],
  ];
  return section(
    "rights",
    r.heading,
    el("p", {}, r.intro),
    items.map(([{ title, ask }, knows]) =>
      el("div", { class: "item" }, el("h3", {}, title), el("div", { class: "columns" }, column(r.knows, knows), column(r.ask, [el("p", {}, ask)]))),
    ),
  );
}

function column(heading: string, content: (HTMLElement | null)[]): HTMLElement {
  return el("div", {}, el("p", { class: "small strong" }, heading), content);
}
