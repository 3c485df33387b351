// SPDX-License-Identifier: EUPL-1.2
// Consents, readings of the ledger itself, households, notes: all that is in the lists beside accesses.
import type { Content } from "../core/body";
import type { Report, ShownEntry } from "../core/report";
import { erasedText, proofText } from "./access-detail";
import { bullets, el, lazyDetails, section, terms } from "./dom";
import { sentenceCase, type Words } from "./words";

export function consents(words: Words, report: Report): HTMLElement {
  const { t } = words;
  const entries = report.entries.filter((entry) => entry.type === "consent" && entry.lists.length > 0).reverse();
  if (entries.length === 0) return section("consents", t.consents.heading, el("p", {}, t.consents.none));
  return section(
    "consents",
    t.consents.heading,
    el("p", {}, t.consents.withdraw),
    el("ol", { class: "entries" }, entries.map((entry) => el("li", {}, consentLine(words, report, entry)))),
  );
}

function consentLine(words: Words, report: Report, entry: ShownEntry): HTMLElement {
  const { t } = words;
  const { body } = entry;
  if (body?.type !== "consent") return entryLine(words, entry, t.other.erased(words.code("type", entry.type), who(words, entry)), () => []);
  const { content } = body;
  return entryLine(words, entry, t.consents.line(words.code("consentEvent", content.event), words.institution(body.institution)), () => [
    terms([
      [t.consents.record, content.record],
      [t.consents.by, `${sentenceCase(words.code("consentEntity", content.entity ?? "self"))}${content.subject.value === undefined ? "" : ` (${words.person(content.subject.value.ref)})`}`],
      [t.consents.purposes, content.purposes && bullets(content.purposes.map((code) => words.code("purpose", code)))],
      [t.consents.recipients, content.recipients && bullets(content.recipients.map((id) => words.institutionFull(id)))],
      [t.consents.data, content.dataCategories && bullets(content.dataCategories.map((code) => words.code("dataCategory", code)))],
      [t.consents.valid, validity(words, content)],
      [t.consents.notice, content.notice && t.consents.noticeText(content.notice.uri, content.notice.version)],
      [t.consents.now, stateOf(words, report, content)],
      [t.detail.findings, entry.findings === 0 ? undefined : bullets(words.findings(entry.findings))],
      [t.detail.proof, proofText(words, entry)],
    ]),
  ]);
}

function validity(words: Words, { validFrom, validUntil }: Content<"consent">): string | undefined {
  if (validFrom === undefined) return undefined;
  const { validFrom: open, validRange } = words.t.consents;
  return validUntil === undefined ? open(words.date(validFrom)) : validRange(words.date(validFrom), words.date(validUntil));
}

function stateOf(words: Words, report: Report, content: Content<"consent">): string | undefined {
  const state = report.consents.find(({ record, ref }) => record === content.record && ref === content.subject.value?.ref);
  return state && words.code("consentEvent", state.event);
}

/** Readings of the ledger, and all that has no section of its own. */
export function others(words: Words, report: Report): HTMLElement {
  const { t } = words;
  const listed = report.entries.filter((entry) => entry.lists.length > 0).reverse();
  const reads = listed.filter((entry) => entry.type === "read");
  const rest = listed.filter((entry) => !["access", "consent", "read"].includes(entry.type));
  const list = (entries: ShownEntry[]) =>
    entries.length === 0
      ? el("p", {}, t.other.none)
      : el("ol", { class: "entries" }, entries.map((entry) => el("li", {}, otherLine(words, entry))));
  return section("other", t.other.heading, el("h3", {}, t.other.reads), list(reads), el("h3", {}, t.other.heading), list(rest));
}

function otherLine(words: Words, entry: ShownEntry): HTMLElement {
  const { t } = words;
  return entryLine(words, entry, headline(words, entry), () => [
    terms([
      [t.detail.when, [words.exactTime(entry.body?.occurredAt ?? entry.acceptedAt)]],
      [t.detail.why, readReason(words, entry)],
      [t.badge.erased, entry.erased && erasedText(words, entry)],
      [t.detail.findings, entry.findings === 0 ? undefined : bullets(words.findings(entry.findings))],
      [t.detail.proof, proofText(words, entry)],
      [t.detail.withheldTerm, entry.withheld > 0 ? t.detail.withheld(entry.withheld) : undefined],
    ]),
  ]);
}

function headline(words: Words, entry: ShownEntry): string {
  const { t } = words;
  const { body } = entry;
  if (body === undefined) return t.other.erased(words.code("type", entry.type), who(words, entry));
  switch (body.type) {
    case "read":
      return t.other.read(words.institution(body.content.institution), words.code("purpose", body.content.purpose));
    case "household":
      return t.other.household(sentenceCase(words.code("householdKind", body.content.kind)), words.date(body.content.validFrom), body.content.members.length);
    case "disclosure":
      return t.other.disclosure(words.institution(body.content.institution), groundText(words, body.content.ground));
    case "note":
      return noteText(words, entry);
    case "link":
      return t.other.link;
    case "release":
      return t.other.release(body.refersTo?.index);
    default:
      return t.other.generic(words.code("type", body.type), words.institution(body.institution));
  }
}

function readReason(words: Words, entry: ShownEntry): string | undefined {
  if (entry.body?.type !== "read") return undefined;
  const { content } = entry.body;
  const reader = content.reader.value === undefined ? undefined : words.code("userRole", content.reader.value.role);
  return [words.code("purpose", content.purpose), content.caseRef?.value, reader, words.t.other.readRoute(words.number(content.released.count))].filter(Boolean).join("; ");
}

/** `<CURIE>`, and for a citizen as what the one who asked got whose lists: `<CURIE> as self, minor 2`. */
function groundText(words: Words, ground: string): string {
  const [code = "", standings] = ground.split(" as ");
  const said = (standings?.split(", ") ?? []).map((standing) => {
    const [word = "", count] = standing.split(" ");
    return words.code("standing", word) + (count === undefined ? "" : ` (${count})`);
  });
  return [words.code("ground", code), ...said].join(", ");
}

export function noteLine(words: Words, entry: ShownEntry): string {
  return `${words.date(entry.body?.occurredAt ?? entry.acceptedAt)}: ${noteText(words, entry)}`;
}

function noteText(words: Words, entry: ShownEntry): string {
  const { body } = entry;
  if (body?.type !== "note") return words.t.other.erased(words.code("type", entry.type), who(words, entry));
  const { content } = body;
  const said = words.t.other.note(words.institution(body.institution), words.code("noteKind", content.kind), body.refersTo?.index);
  const opens = (content.opens ?? []).map((what) => words.t.other.noteOpens(words.code("noteOpens", what)));
  return [said, ...opens].join(", ") + (content.text?.value === undefined ? "" : `: ${content.text.value}`);
}

function who(words: Words, entry: ShownEntry): string {
  return entry.signer === undefined ? words.t.accesses.unnamed : words.institution(entry.signer);
}

function entryLine(words: Words, entry: ShownEntry, line: string, body: () => HTMLElement[]): HTMLElement {
  const time = entry.body?.occurredAt ?? entry.acceptedAt;
  const badges = [
    entry.faulty ? el("span", { class: "badge wrong" }, words.t.badge.faulty) : null,
    entry.erased === undefined ? null : el("span", { class: "badge plain" }, words.t.badge.erased),
    entry.findings === 0 ? null : el("span", { class: "badge warn" }, words.t.badge.findings(words.findings(entry.findings).length)),
  ];
  return lazyDetails(
    [el("time", { datetime: new Date(time).toISOString() }, words.dateTime(time)), el("span", { class: "headline" }, line), el("span", { class: "badges" }, badges)],
    body,
    { class: entry.faulty ? "entry faulty" : "entry", "data-index": entry.index },
  );
}
