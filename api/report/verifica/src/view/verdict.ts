// SPDX-License-Identifier: EUPL-1.2
// The answer in one look: green or red, complete as of when, and all that is wrong.
import type { Fault } from "../core/fault";
import type { Report } from "../core/report";
import { exchanges } from "./exchanges";
import { bullets, button, el } from "./dom";
import type { Words } from "./words";

const FAULTS_AT_ONCE = 20;

export function verdict(words: Words, report: Report, policyIsOwn: boolean): HTMLElement {
  const { t } = words;
  const good = report.faults.length === 0;
  const box = el(
    "div",
    { class: `verdict ${good ? "good" : "bad"}`, id: "verdict", "data-verdict": good ? "good" : "bad" },
    el("p", { class: "mark", "aria-hidden": "true" }, good ? "✓" : "✗"),
    el("h2", { id: "verdict-h", tabindex: -1 }, good ? t.verdict.good : t.verdict.bad),
  );
  if (!good) box.append(el("p", { class: "lead" }, t.verdict.badLine(report.faults.length)));
  if (good && report.asOf !== undefined) {
    box.append(el("p", { class: "lead" }, t.verdict.complete(words.number(report.asOf.size), words.exactTime(report.asOf.time))));
    box.append(el("p", {}, summary(words, report)));
    box.append(el("p", { class: "small" }, report.about.kind === "household" ? t.verdict.honestHousehold : t.verdict.honest));
  }
  if (report.test) box.append(el("p", { class: "test" }, t.verdict.test));
  if (!good) box.append(problems(words, report.faults), el("p", {}, t.verdict.whatToDo));
  box.append(el("p", { class: "small" }, how(words, report)));
  return el("section", { "aria-label": t.verdict.heading }, box, trust(words, report, policyIsOwn));
}

function summary(words: Words, report: Report): string {
  const { t } = words;
  const accesses = exchanges(report);
  if (accesses.length === 0 && report.lists.every((list) => list.count === 0)) return t.verdict.noEntries;
  const institutions = new Set(accesses.flatMap(({ access, main }) => access?.consumer.institution ?? main.signer ?? []));
  return t.verdict.summary(t.verdict.accesses(accesses.length, words.number(accesses.length)), t.verdict.institutions(institutions.size));
}

function how(words: Words, report: Report): string {
  const { t } = words;
  const seconds = new Intl.NumberFormat(t.locale, { maximumFractionDigits: 1, minimumFractionDigits: 1 }).format(report.milliseconds / 1000);
  return t.verdict.how(words.number(report.signatures), seconds, report.verifiedBy === "browser" ? t.verdict.byBrowser : t.verdict.byLibrary);
}

/** All of them can be read; the first are there at once. */
function problems(words: Words, faults: Fault[]): HTMLElement {
  const { t } = words;
  const line = (fault: Fault) => [
    el("span", { "data-fault": fault.code }, t.fault[fault.code](fault)),
    fault.list === undefined ? null : el("span", { class: "small" }, ` (${t.technical.ref.toLowerCase()} ${fault.list.slice(0, 12)}…)`),
  ];
  const list = bullets(faults.slice(0, FAULTS_AT_ONCE).map(line));
  const rest = faults.length - FAULTS_AT_ONCE;
  const box = el("div", { class: "problems" }, el("h3", {}, t.verdict.problems), list);
  if (rest > 0) {
    const more = button(t.verdict.moreProblems(rest), () => {
      list.append(...faults.slice(FAULTS_AT_ONCE).map((fault) => el("li", {}, line(fault))));
      more.remove();
    });
    box.append(more);
  }
  return box;
}

/** What all trust hangs on, and how not to hang it on this file. */
function trust(words: Words, report: Report, policyIsOwn: boolean): HTMLElement {
  const { t } = words;
  return el(
    "div",
    { class: "trust" },
    el("p", {}, policyIsOwn ? t.verdict.trustOwn : t.verdict.trustOther),
    fingerprint(t.verdict.policyPrint, report.policyFingerprint),
    report.genesis === undefined ? null : fingerprint(t.verdict.genesisPrint, report.genesis),
    el("p", { class: "small" }, t.verdict.compare),
  );
}

/** In groups of four, to be read aloud or compared by eye. */
function fingerprint(label: string, hex: string): HTMLElement {
  return el("p", { class: "print-of" }, el("span", {}, `${label}: `), el("code", {}, hex.replace(/(.{4})(?=.)/g, "$1 ")));
}
