// SPDX-License-Identifier: EUPL-1.2
// The smaller sections: household, what is not shown, institutions, technical details.
import type { Report, ShownInstitution } from "../core/report";
import { bullets, button, el, section, terms } from "./dom";
import { removed } from "./removed";
import { sentenceCase, type Words } from "./words";

export function household(words: Words, report: Report): HTMLElement | null {
  const { t } = words;
  if (report.about.kind !== "household") return null;
  const heads = Object.values(t.household.columns).map((name) => el("th", { scope: "col" }, name));
  const rows = report.members.map((member, at) => {
    const times = member.spells.map(({ from, until }) => (until === null ? t.household.from(words.date(from)) : t.household.range(words.date(from), words.date(until))));
    const why = report.notOpened.find((row) => row.ref === member.ref)?.why;
    return el(
      "tr",
      {},
      el("th", { scope: "row" }, t.household.member(at + 1)),
      el("td", {}, member.relation === undefined ? "–" : words.code("relation", member.relation)),
      el("td", {}, times.join("; ")),
      el("td", {}, member.opened ? t.household.opened : t.household.notOpened(words.code("notOpenedWhy", why ?? "?"))),
    );
  });
  const table = el("table", {}, el("thead", {}, el("tr", {}, heads)), el("tbody", {}, rows));
  return section("household", t.household.heading, el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": t.household.table }, table));
}

/** Nothing that the lists count is passed over in silence. */
export function hidden(words: Words, report: Report): HTMLElement {
  const { t } = words;
  const lines: string[] = [];
  const withheld = new Map<string, number>();
  for (const list of report.lists) for (const [why, n] of Object.entries(list.withheld)) withheld.set(why, (withheld.get(why) ?? 0) + n);
  for (const [why, n] of withheld) lines.push(t.hidden.withheld(words.number(n), words.code("withheldWhy", why)));
  for (const { ground, count } of report.restricted) lines.push(t.hidden.restricted(words.number(count), ground));
  const reasons = new Set(report.notOpened.map(({ why }) => why));
  for (const why of reasons) lines.push(t.hidden.notOpened(report.notOpened.filter((row) => row.why === why).length, words.code("notOpenedWhy", why)));
  const erased = report.entries.filter((entry) => entry.erased !== undefined).length;
  if (erased > 0) lines.push(t.hidden.erased(words.number(erased)));
  const gone = removed(words, report);
  if (gone !== null) lines.push(gone);
  for (const remark of report.remarks) lines.push(t.hidden.remarks[remark]);
  return section("hidden", t.hidden.heading, lines.length === 0 ? el("p", {}, t.hidden.none) : bullets(lines), el("p", { class: "small" }, t.hidden.deferred));
}

export function institutions(words: Words, report: Report): HTMLElement {
  const { t } = words;
  const of = (participates: ShownInstitution["participates"]) => report.institutions.filter((one) => one.participates === participates);
  const group = (heading: string, all: ShownInstitution[], note?: string) =>
    all.length === 0 ? [] : [el("h3", {}, heading), note === undefined ? null : el("p", {}, note), bullets(all.map(({ id }) => words.institutionFull(id)))];
  return section(
    "institutions",
    t.institutions.heading,
    group(t.institutions.yes, of("yes")),
    group(t.institutions.no, of("no"), t.institutions.noNote),
    group(t.institutions.ended, of("ended")),
    group(t.institutions.unproven, of("unproven"), t.institutions.unprovenNote),
    el("p", { class: "callout" }, t.institutions.rest),
  );
}

export function technical(words: Words, report: Report, again: () => void): HTMLElement {
  const { t } = words;
  const kind = (code: number) => (code === 1 ? t.technical.person : code === 2 ? t.technical.householdList : t.technical.sealed);
  const { checkpoint } = report;
  return section(
    "technical",
    t.technical.heading,
    terms([
      [t.technical.origin, report.origin],
      [sentenceCase(t.technical.ref), el("code", {}, report.about.ref)],
      [t.technical.stateRoot, report.asOf && `${words.number(report.asOf.size)}, ${words.exactTime(report.asOf.time)}`],
      [t.technical.checkpoint, checkpoint && [el("span", {}, t.technical.checkpointText(words.number(checkpoint.size), "")), el("code", {}, checkpoint.root)]],
      [
        t.technical.cosigners,
        checkpoint && [
          t.technical.cosignersText(checkpoint.cosigners.length, checkpoint.listed),
          bullets(checkpoint.cosigners.map(({ name, time }) => `${name}: ${words.exactTime(time * 1000)}`)),
        ],
      ],
      [t.technical.lists, bullets(report.lists.map((list) => t.technical.listText(kind(list.kind), `${list.ref.slice(0, 12)}…`, words.number(list.count))))],
    ]),
    el("p", { class: "small" }, t.technical.hash),
    el("p", {}, button(t.technical.again, again, { class: "quiet", id: "again" }), " ", el("span", { class: "small" }, t.technical.againNote)),
    el("p", { class: "small" }, t.technical.source),
  );
}
