// SPDX-License-Identifier: EUPL-1.2
// Who saw the data: every access in a line, with what can be said of it behind the line. Ten thousand of them stay usable: a hundred are
// on the page at first, and what stands behind a line is made when it is opened.
import type { Report } from "../core/report";
import { accessDetail } from "./access-detail";
import { el, button, lazyDetails, openNow, section } from "./dom";
import { exchanges, timeOf, type Exchange } from "./exchanges";
import type { Words } from "./words";

const PAGE = 100;

interface Filter {
  institution: string;
  only: "all" | "findings" | "alone";
  text: string;
}

export function accesses(words: Words, report: Report): HTMLElement {
  const { t } = words;
  const all = exchanges(report);
  const made = section("accesses", t.accesses.heading);
  if (all.length === 0) {
    made.append(el("p", {}, t.accesses.none));
    return made;
  }
  const list = el("ol", { class: "entries" });
  const status = el("p", { class: "small", role: "status" });
  const filter: Filter = { institution: "", only: "all", text: "" };
  let matching = all;
  let shown = 0;

  const more = button("", () => show(PAGE, true));
  const everything = button(t.accesses.everything, () => show(matching.length, true), { class: "quiet" });

  function show(count: number, focus: boolean): void {
    const next = matching.slice(shown, shown + count);
    const lines = next.map((exchange) => el("li", {}, line(words, report, exchange)));
    list.append(...lines);
    shown += next.length;
    status.textContent = t.accesses.count(words.number(shown), words.number(all.length));
    more.textContent = t.accesses.more(words.number(Math.min(PAGE, matching.length - shown)));
    more.hidden = everything.hidden = shown >= matching.length;
    // Whoever asked for more goes on reading at the first of them.
    if (focus) lines[0]?.querySelector("summary")?.focus();
  }

  function apply(): void {
    matching = all.filter((exchange) => passes(words, filter, exchange));
    list.replaceChildren();
    shown = 0;
    show(PAGE, false);
  }

  made.append(filters(words, all, filter, apply), status, list, el("p", { class: "more" }, more, " ", everything));
  apply();
  made.addEventListener("visto-print", () => {
    show(matching.length, false);
    list.querySelectorAll("details").forEach(openNow);
  });
  return made;
}

function filters(words: Words, all: Exchange[], filter: Filter, apply: () => void): HTMLElement {
  const { t } = words;
  const ids = new Set(all.flatMap(({ access }) => (access === undefined ? [] : [access.consumer.institution, access.provider.institution])));
  const institution = el(
    "select",
    { id: "f-institution" },
    el("option", { value: "" }, t.accesses.all),
    [...ids].sort((a, b) => words.institution(a).localeCompare(words.institution(b))).map((id) => el("option", { value: id }, words.institution(id))),
  );
  const only = el(
    "select",
    { id: "f-only" },
    el("option", { value: "all" }, t.accesses.all),
    el("option", { value: "findings" }, t.accesses.onlyFindings),
    el("option", { value: "alone" }, t.accesses.onlyAlone),
  );
  const text = el("input", { id: "f-text", type: "search", autocomplete: "off" });
  institution.addEventListener("change", () => {
    filter.institution = institution.value;
    apply();
  });
  only.addEventListener("change", () => {
    filter.only = only.value as Filter["only"];
    apply();
  });
  text.addEventListener("input", () => {
    filter.text = text.value.trim().toLocaleLowerCase();
    apply();
  });
  const field = (label: string, input: HTMLElement) => el("div", { class: "field" }, el("label", { for: input.id }, label), input);
  return el(
    "div",
    { class: "filters", role: "group", "aria-label": t.accesses.filter },
    field(t.accesses.institution, institution),
    field(t.accesses.show, only),
    field(t.accesses.search, text),
  );
}

function passes(words: Words, filter: Filter, exchange: Exchange): boolean {
  const { access, main, findings } = exchange;
  if (filter.only === "findings" && findings === 0) return false;
  if (filter.only === "alone" && main.pair !== "alone") return false;
  if (filter.institution !== "" && access?.consumer.institution !== filter.institution && access?.provider.institution !== filter.institution) return false;
  return filter.text === "" || textOf(words, exchange).toLocaleLowerCase().includes(filter.text);
}

function textOf(words: Words, exchange: Exchange): string {
  const { access, main } = exchange;
  if (access === undefined) return headline(words, exchange);
  const codes = [words.code("purpose", access.purpose), words.code("legalBasis", access.legalBasis), ...access.dataCategories.map((code) => words.code("dataCategory", code))];
  const said = [access.reason.value, access.eservice.name, access.userRole, access.legalReference, words.dateTime(timeOf(exchange)), `n. ${main.index}`, ...(access.consentRefs ?? [])];
  return [headline(words, exchange), ...codes, ...said].join(" ");
}

function headline(words: Words, { access, main }: Exchange): string {
  const { t } = words;
  if (access === undefined) return t.accesses.erasedLine(main.signer === undefined ? t.accesses.unnamed : words.institution(main.signer));
  const [consumer, provider] = [words.institution(access.consumer.institution), words.institution(access.provider.institution)];
  if (access.action === "disclose") return t.accesses.lineGiven(consumer, provider);
  return t.accesses.line(consumer, words.code("action", access.action), provider);
}

function line(words: Words, report: Report, exchange: Exchange): HTMLElement {
  const { access } = exchange;
  return lazyDetails(
    [
      el("time", { datetime: new Date(timeOf(exchange)).toISOString() }, words.dateTime(timeOf(exchange))),
      el("span", { class: "headline" }, headline(words, exchange)),
      access === undefined ? null : el("span", { class: "purpose" }, words.code("purpose", access.purpose)),
      el("span", { class: "badges" }, badges(words, exchange)),
    ],
    () => accessDetail(words, report, exchange),
    { class: exchange.main.faulty ? "entry faulty" : "entry", "data-index": exchange.main.index },
  );
}

function badges(words: Words, { main, access, entries, findings }: Exchange): HTMLElement[] {
  const { t } = words;
  const made: HTMLElement[] = [];
  const badge = (kind: string, label: string) => made.push(el("span", { class: `badge ${kind}` }, label));
  if (entries.some((entry) => entry.faulty)) badge("wrong", t.badge.faulty);
  if (main.erased !== undefined) badge("plain", t.badge.erased);
  if (main.pair === "confirmed") badge("ok", t.badge.confirmed);
  if (main.pair === "alone") badge("plain", t.badge.alone);
  if (main.pair === "differs") badge("warn", t.badge.differs);
  if (access?.emergency !== undefined) badge("warn", t.badge.emergency);
  const count = words.findings(findings).length;
  if (count > 0) badge("warn", t.badge.findings(count));
  return made;
}
