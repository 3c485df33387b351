// SPDX-License-Identifier: EUPL-1.2
// Strict I-JSON, as bodies and disclosures are written: what two parsers could read in two ways is refused. `JSON.parse` takes the last
// of two members with one name, fractions and lone surrogates; what was signed must have one meaning.
import { fromUtf8 } from "./bytes";
import { need, Refused, some } from "./fault";

export type Json = null | boolean | number | string | Json[] | JsonObject;
export interface JsonObject {
  [name: string]: Json;
}

export const DEPTH_MAX = 16;

export function parseJson(bytes: Uint8Array): Json {
  need(!(bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf), "bom");
  return parseJsonText(some(fromUtf8(bytes), "utf-8"));
}

export function parseJsonText(text: string): Json {
  const parser = new Parser(text);
  const value = parser.document();
  return value;
}

export function isObject(value: Json): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const SPACE = /[ \t\n\r]*/y;
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const INTEGER = /-?(?:0|[1-9][0-9]*)/y;
const ESCAPES: Record<string, string> = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };

class Parser {
  private at = 0;
  private depth = 0;
  /** Few texts hold characters that can be wrong; the others are spared the look. */
  private readonly suspicious: boolean;

  constructor(private readonly text: string) {
    this.suspicious = /[\ud800-\udfff\ufdd0-\uffff]|\\u/.test(text);
  }

  document(): Json {
    this.skipSpace();
    const value = this.value();
    this.skipSpace();
    need(this.at === this.text.length, "json");
    return value;
  }

  private value(): Json {
    switch (this.text[this.at]) {
      case "{":
        return this.nested(() => this.object());
      case "[":
        return this.nested(() => this.list());
      case '"':
        this.at++;
        return this.string();
      case "t":
        return this.word("true", true);
      case "f":
        return this.word("false", false);
      case "n":
        return this.word("null", null);
      default:
        return this.integer();
    }
  }

  private nested<T>(read: () => T): T {
    need(++this.depth <= DEPTH_MAX, "depth");
    this.at++;
    this.skipSpace();
    const value = read();
    this.depth--;
    return value;
  }

  private object(): JsonObject {
    // Without a prototype: a member may be named `__proto__` and means nothing more.
    const members = Object.create(null) as JsonObject;
    let repeated = false;
    if (this.take("}")) return members;
    for (;;) {
      need(this.take('"'), "json");
      const name = this.string();
      this.skipSpace();
      need(this.take(":"), "json");
      this.skipSpace();
      const value = this.value();
      repeated ||= name in members;
      members[name] = value;
      this.skipSpace();
      if (this.take("}")) break;
      need(this.take(","), "json");
      this.skipSpace();
    }
    need(!repeated, "duplicate-key");
    return members;
  }

  private list(): Json[] {
    const values: Json[] = [];
    if (this.take("]")) return values;
    for (;;) {
      values.push(this.value());
      this.skipSpace();
      if (this.take("]")) return values;
      need(this.take(","), "json");
      this.skipSpace();
    }
  }

  private string(): string {
    let built = "";
    for (;;) {
      built += this.match(PLAIN) ?? "";
      if (this.take('"')) break;
      need(this.take("\\"), "json");
      built += this.escape();
    }
    if (this.suspicious) needCharacters(built);
    return built;
  }

  private escape(): string {
    const letter = some(this.text[this.at++], "json");
    if (letter !== "u") return some(ESCAPES[letter], "json");
    const unit = this.hex4();
    if (unit < 0xd800 || unit > 0xdfff) return String.fromCharCode(unit);
    need(unit < 0xdc00 && this.take("\\") && this.take("u"), "code-point");
    const low = this.hex4();
    need(low >= 0xdc00 && low <= 0xdfff, "code-point");
    return String.fromCharCode(unit, low);
  }

  private hex4(): number {
    const digits = this.text.slice(this.at, this.at + 4);
    need(/^[0-9a-fA-F]{4}$/.test(digits), "json");
    this.at += 4;
    return parseInt(digits, 16);
  }

  private integer(): number {
    const digits = some(this.match(INTEGER), "json");
    need(!/[0-9]/.test(this.text[this.at] ?? ""), "json");
    need(!/[.eE]/.test(this.text[this.at] ?? ""), "number");
    const value = Number(digits);
    need(digits !== "-0" && Number.isSafeInteger(value), "number");
    return value;
  }

  private word<T extends Json>(word: string, value: T): T {
    need(this.text.startsWith(word, this.at), "json");
    this.at += word.length;
    return value;
  }

  private match(pattern: RegExp): string | null {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found === null) return null;
    this.at += found[0].length;
    return found[0];
  }

  private take(character: string): boolean {
    if (this.text[this.at] !== character) return false;
    this.at++;
    return true;
  }

  private skipSpace(): void {
    // Mostly there is none.
    if (this.text.charCodeAt(this.at) > 0x20) return;
    SPACE.lastIndex = this.at;
    SPACE.exec(this.text);
    this.at = SPACE.lastIndex;
  }
}

/** No lone surrogate, no noncharacter. */
function needCharacters(text: string): void {
  for (const character of text) {
    const point = character.codePointAt(0)!;
    const lone = point >= 0xd800 && point <= 0xdfff;
    const none = (point >= 0xfdd0 && point <= 0xfdef) || (point & 0xfffe) === 0xfffe;
    if (lone || none) throw new Refused("code-point");
  }
}
