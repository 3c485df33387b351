// SPDX-License-Identifier: EUPL-1.2
// How things are said in the language chosen: code lists, dates, numbers, and who is who.
import type { Report } from "../core/report";
import { en } from "./text.en";
import { it, type Texts } from "./text.it";

export type Language = "it" | "en";
export const LANGUAGES: Language[] = ["it", "en"];
export const TEXTS: Record<Language, Texts> = { it, en };

export interface CodeList {
  lists: Record<string, Record<string, string>>;
}

const FINDINGS = [
  "consent-missing", "consent-withdrawn", "consent-expired", "consent-out-of-scope", "legal-basis-invalid", "purpose-not-allowed", "late", "clock", "stream-gap",
  "stream-fork", "exchange-again", "emergency", "delegation-missing", "no-case",
];

/** Names of the findings in a bit set; bits that are not yet given a name show as their number. */
export function findingNames(bits: number): string[] {
  const names: string[] = [];
  for (let bit = 0; bit < 32; bit++) if ((bits / 2 ** bit) % 2 >= 1) names.push(FINDINGS[bit] ?? `bit ${bit}`);
  return names;
}

export class Words {
  readonly t: Texts;
  private readonly day: Intl.DateTimeFormat;
  private readonly moment: Intl.DateTimeFormat;
  private readonly exact: Intl.DateTimeFormat;
  private readonly plain: Intl.NumberFormat;
  private readonly names: Map<string, string>;
  private readonly places: Map<string, number>;

  constructor(
    readonly language: Language,
    private readonly codes: Partial<Record<Language, CodeList>>,
    readonly report: Report | undefined,
  ) {
    this.t = TEXTS[language];
    const zone = { timeZone: "Europe/Rome" } as const;
    this.day = new Intl.DateTimeFormat(this.t.locale, { ...zone, day: "numeric", month: "long", year: "numeric" });
    this.moment = new Intl.DateTimeFormat(this.t.locale, { ...zone, day: "numeric", month: "long", year: "numeric", hour: "2-digit", minute: "2-digit" });
    this.exact = new Intl.DateTimeFormat(this.t.locale, { ...zone, dateStyle: "long", timeStyle: "long" });
    this.plain = new Intl.NumberFormat(this.t.locale);
    this.names = new Map((report?.institutions ?? []).flatMap(({ id, name }) => (name === undefined ? [] : [[id, name] as const])));
    this.places = new Map((report?.members ?? []).map((member, at) => [member.ref, at + 1]));
  }

  /** The meaning of a code; the code itself where no list has it. */
  code(list: string, code: string): string {
    return this.codes[this.language]?.lists[list]?.[code] ?? code;
  }

  number(value: number): string {
    return this.plain.format(value);
  }

  date(ms: number): string {
    return this.day.format(ms);
  }

  dateTime(ms: number): string {
    return this.moment.format(ms);
  }

  /** To the second and with the zone. */
  exactTime(ms: number): string {
    return this.exact.format(ms);
  }

  institution(id: string): string {
    return this.names.get(id) ?? id;
  }

  /** Name and code. */
  institutionFull(id: string): string {
    const name = this.names.get(id);
    return name === undefined ? `${id} (${this.t.institutions.noName})` : `${name} (${id})`;
  }

  /** A person of the bundle: "you", a member by number, or somebody else. */
  person(ref: string): string {
    const place = this.places.get(ref);
    if (place !== undefined) return this.t.detail.person(place);
    const own = this.report?.about.kind === "subject" && this.report.lists.some((list) => list.ref === ref);
    return own ? this.t.detail.self : this.t.detail.another;
  }

  findings(bits: number): string[] {
    return findingNames(bits).map((name) => this.code("finding", name));
  }
}

export function sentenceCase(text: string): string {
  return text.charAt(0).toLocaleUpperCase() + text.slice(1);
}
