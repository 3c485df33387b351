// SPDX-License-Identifier: EUPL-1.2
// All that can be said of one access: who, when, which data, why, on which basis, under which consent, and whether it is proven.
import type { Content } from "../core/body";
import type { Report, ShownEntry } from "../core/report";
import { bullets, el, terms } from "./dom";
import type { Exchange } from "./exchanges";
import { noteLine } from "./other";
import { sentenceCase, type Words } from "./words";

export function accessDetail(words: Words, report: Report, exchange: Exchange): HTMLElement[] {
  const { t } = words;
  const { main, access, entries, notes } = exchange;
  const rows: Parameters<typeof terms>[0] = [];
  if (access !== undefined) {
    rows.push(
      [t.detail.who, [words.institutionFull(access.consumer.institution), delegated(words, main)]],
      [t.detail.office, words.code("userRole", access.userRole)],
      [t.detail.clerk, access.userID.value ?? t.detail.clerkHidden],
      [t.detail.place, access.userLocation.value],
      [t.detail.from, words.institutionFull(access.provider.institution)],
      [t.detail.when, [words.exactTime(main.body!.occurredAt), el("span", { class: "small" }, ` (${t.detail.whenLogged(words.exactTime(main.acceptedAt))})`)]],
      [t.detail.what, bullets(access.dataCategories.map((code) => words.code("dataCategory", code)))],
      [t.detail.dataTypes, (access.personalDataTypes ?? []).map((code) => words.code("personalDataType", code)).join("; ") || undefined],
      [t.detail.why, access.reason.value ?? t.detail.reasonHidden],
      [t.detail.purpose, words.code("purpose", access.purpose)],
      [t.detail.basis, words.code("legalBasis", access.legalBasis)],
      [t.detail.reference, access.legalReference],
      [t.detail.consent, consent(words, report, access)],
      [t.detail.caseRef, caseRef(words, access)],
      [t.detail.service, [access.eservice.name ?? access.eservice.eserviceId, access.eservice.operation].filter(Boolean).join(", ")],
      [t.detail.action, happened(words, access)],
      [t.detail.about, about(words, access)],
    );
    if (access.emergency !== undefined) rows.push([t.badge.emergency, t.detail.emergency(access.emergency.reason, words.exactTime(access.emergency.until))]);
  }
  for (const entry of entries) {
    if (entry.erased !== undefined) rows.push([t.badge.erased, erasedText(words, entry)]);
    if (entry.releasedBy !== undefined) rows.push([t.detail.when, t.detail.released(entry.releasedBy)]);
  }
  const findings = words.findings(exchange.findings);
  rows.push([t.detail.findings, findings.length === 0 ? t.detail.covered : bullets(findings)]);
  if (main.pair === "confirmed" || main.pair === "differs") rows.push([t.detail.otherSide, t.detail.pair[main.pair](main.twin!)]);
  if (main.pair === "alone") rows.push([t.detail.otherSide, t.detail.pair.alone]);
  if (notes.length > 0) rows.push([t.detail.notes, bullets(notes.map((note) => noteLine(words, note)))]);
  rows.push([t.detail.proof, entries.map((entry) => el("p", {}, proofText(words, entry)))]);
  if (main.withheld > 0) rows.push([t.detail.withheldTerm, t.detail.withheld(main.withheld)]);
  return [terms(rows)];
}

/** What is proven of an entry, and what cannot be any more. */
export function proofText({ t }: Words, entry: ShownEntry): string {
  if (entry.faulty) return t.detail.proofBad(entry.index);
  return entry.erased === undefined ? t.detail.proofGood(entry.index) : t.detail.proofErased(entry.index);
}

export function erasedText(words: Words, entry: ShownEntry): string {
  const { on, by, ground } = entry.erased!;
  const day = on === undefined ? undefined : words.date(Date.parse(on));
  return words.t.detail.erased(day, by, ground === undefined ? undefined : words.code("erasureGround", ground));
}

function delegated(words: Words, entry: ShownEntry): HTMLElement | null {
  const controller = entry.body!.institution;
  if (entry.signer === undefined || entry.signer === controller) return null;
  return el("p", { class: "small" }, words.t.detail.delegated(words.institutionFull(entry.signer), words.institutionFull(controller)));
}

function consent(words: Words, report: Report, access: Content<"access">): HTMLElement | string {
  const records = access.consentRefs ?? [];
  if (records.length === 0) return words.t.detail.consentNone;
  const states = report.consents.filter((state) => records.includes(state.record));
  const told = records.map((record) => {
    const known = states.filter((state) => state.record === record);
    const events = [...new Set(known.map((state) => words.code("consentEvent", state.event)))];
    return words.t.detail.consentState(record, events.join(", ") || words.code("consentEvent", "unproven"));
  });
  return bullets(told);
}

function caseRef(words: Words, access: Content<"access">): string | undefined {
  if (access.caseRef === undefined) return undefined;
  const { value } = access.caseRef;
  if (value === undefined) return words.t.detail.caseHidden;
  return [value.protocollo, value.prestazione, value.stato].filter(Boolean).join(", ");
}

function happened(words: Words, access: Content<"access">): string {
  const { t } = words;
  const results = access.resultCount === undefined ? [] : [t.detail.results(access.resultCount)];
  return [sentenceCase(words.code("action", access.action)), t.detail.outcome(words.code("outcome", access.outcome)), ...results].join("; ");
}

function about(words: Words, access: Content<"access">): HTMLElement {
  const known = access.subjects.flatMap((subject) => subject.value ?? []);
  const lines = known.map((subject) => {
    const relation = subject.relation === undefined ? "" : ` (${words.code("relation", subject.relation)})`;
    return `${sentenceCase(words.person(subject.ref))}${relation}: ${words.code("subjectRole", subject.role)}`;
  });
  const hidden = access.subjects.length - known.length;
  if (hidden > 0) lines.push(sentenceCase(words.t.detail.others(hidden)));
  return bullets(lines);
}
