// SPDX-License-Identifier: EUPL-1.2
// Readers of JSON values: closed objects, so that nothing is shown that nobody specified. A reader answers with a typed value or throws.
import { fromBase64Url, type Bytes } from "./bytes";
import { need, Refused } from "./fault";
import { isObject, type Json, type JsonObject } from "./json";

/** The values that travel outside the body, by their digest in base64url. */
export interface Disclosures {
  byDigest: Map<string, Json>;
  met: Set<string>;
}

/** A value that the body names by digest: undefined where it is withheld. */
export interface Disclosed<T> {
  digest: string;
  value: T | undefined;
}

export type Reader<T> = (value: Json, disclosures: Disclosures) => T;
export type Read<R> = R extends Reader<infer T> ? T : never;

interface Optional<T> {
  optional: Reader<T>;
}
type Field = Reader<unknown> | Optional<unknown>;
type ReadField<F> = F extends Optional<infer T> ? T | undefined : F extends Reader<infer T> ? T : never;

export function optional<T>(reader: Reader<T>): Optional<T> {
  return { optional: reader };
}

export function object<F extends Record<string, Field>>(fields: F): Reader<{ [K in keyof F]: ReadField<F[K]> }> {
  const entries = Object.entries(fields);
  return (value, disclosures) => {
    need(isObject(value), "members");
    const out: Record<string, unknown> = {};
    let met = 0;
    for (const [name, field] of entries) {
      const member = value[name];
      if (member === undefined) {
        need("optional" in field, "members", name);
        continue;
      }
      met++;
      out[name] = at(name, () => ("optional" in field ? field.optional : field)(member, disclosures));
    }
    if (met !== Object.keys(value).length) closed(value, fields);
    return out as { [K in keyof F]: ReadField<F[K]> };
  };
}

function closed(value: JsonObject, fields: object): never {
  const unknown = Object.keys(value).filter((name) => !(name in fields));
  throw new Refused(unknown.includes("...") ? "digest-place" : "members", unknown.join(" "));
}

function at<T>(name: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (!(cause instanceof Refused)) throw cause;
    throw new Refused(cause.reason, cause.detail === "" ? name : `${name}.${cause.detail}`);
  }
}

export const text: Reader<string> = (value) => {
  need(typeof value === "string", "members");
  return value;
};

export function word<W extends string>(...words: W[]): Reader<W> {
  return (value) => {
    need((words as Json[]).includes(value), "members");
    return value as W;
  };
}

export const count: Reader<number> = (value) => {
  need(typeof value === "number" && value >= 0, "members");
  return value;
};

export const number: Reader<number> = (value) => {
  need(typeof value === "number" && value > 0, "members");
  return value;
};

export const small: Reader<number> = (value) => {
  need(typeof value === "number" && value >= 0 && value <= 0xffff, "members");
  return value;
};

export const onlyTrue: Reader<true> = (value) => {
  need(value === true, "members");
  return true;
};

/** Exactly so many bytes, kept in their base64url. */
export function fixed(length: number): Reader<string> {
  return (value) => {
    need(typeof value === "string", "members");
    const bytes = fromBase64Url(value);
    need(bytes !== null, "base64url");
    need(bytes.length === length, "members");
    return value;
  };
}

export const digest = fixed(32);

export const institution: Reader<string> = (value) => {
  need(typeof value === "string" && /^(ipa:[a-z0-9_-]{1,64}|cf:[0-9]{11})$/.test(value), "members");
  return value;
};

/** A real time, in milliseconds since 1970. */
export const time: Reader<number> = (value) => {
  const found = typeof value === "string" ? /^(\d{4}-\d{2}-\d{2})T(\d{2}):(\d{2}):(\d{2})(\.\d{3})?Z$/.exec(value) : null;
  need(found !== null && isDate(found[1]!), "time");
  need(Number(found[2]) < 24 && Number(found[3]) < 60 && Number(found[4]) < 60, "time");
  const ms = Date.parse(value as string);
  need(ms >= 0, "time");
  return ms;
};

export const date: Reader<string> = (value) => {
  need(typeof value === "string", "members");
  need(/^\d{4}-\d{2}-\d{2}$/.test(value) && isDate(value), "time");
  return value;
};

function isDate(day: string): boolean {
  const ms = Date.parse(day + "T00:00:00Z");
  return !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(day);
}

export function list<T>(reader: Reader<T>): Reader<T[]> {
  return (value, disclosures) => {
    need(Array.isArray(value), "members");
    return value.map((item, place) => at(String(place), () => reader(item, disclosures)));
  };
}

/** An array of one digest. */
export function disclosed<T>(reader: Reader<T>): Reader<Disclosed<T>> {
  return (value, disclosures) => {
    need(Array.isArray(value) && value.length === 1, "members");
    return disclose(value[0]!, reader, disclosures);
  };
}

const DISCLOSED_MAX = 200;

/** An array of 1 to 200 digests. */
export function disclosedList<T>(reader: Reader<T>): Reader<Disclosed<T>[]> {
  return (value, disclosures) => {
    need(Array.isArray(value) && value.length >= 1 && value.length <= DISCLOSED_MAX, "members");
    return value.map((item) => disclose(item, reader, disclosures));
  };
}

function disclose<T>(value: Json, reader: Reader<T>, disclosures: Disclosures): Disclosed<T> {
  need(isObject(value) && Object.keys(value).length === 1 && "..." in value, "members");
  const named = digest(value["..."]!, disclosures);
  need(!disclosures.met.has(named), "digest-repeated");
  disclosures.met.add(named);
  const opened = disclosures.byDigest.get(named);
  return { digest: named, value: opened === undefined ? undefined : reader(opened, disclosures) };
}

export function either<A, B>(choose: (value: Json) => boolean, first: Reader<A>, second: Reader<B>): Reader<A | B> {
  return (value, disclosures) => (choose(value) ? first(value, disclosures) : second(value, disclosures));
}

/** An object of the signer's own; digests stand nowhere in it. */
export const free: Reader<JsonObject> = (value) => {
  need(isObject(value), "members");
  refuseDigests(value);
  return value;
};

export function refuseDigests(value: Json): void {
  if (Array.isArray(value)) value.forEach(refuseDigests);
  else if (isObject(value)) {
    need(!("..." in value), "digest-place");
    Object.values(value).forEach(refuseDigests);
  }
}

export type { Bytes };
