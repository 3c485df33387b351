// SPDX-License-Identifier: EUPL-1.2
// Facts proven under the state root: keys and whose they are, institutions, consents, delegations.
import type { FactProof } from "./bundle";
import { base64Url, concat, equal, fromBase64Url, fromUtf8, hex, readU64, utf8, type Bytes } from "./bytes";
import { isGoodKey } from "./ed25519";
import { keyId } from "./entry";
import { KIND, pairName, proves, stateKey } from "./state-map";

export const USE = { entry: 1, token: 2, governance: 3, node: 4, cosign: 5, log: 6 } as const;

export interface KeyFact {
  publicKey: Bytes;
  use: number;
  first: number;
  /** First index at which it is no longer in force. */
  until: number;
  institution: string;
}

/** The entry last in force for a name. */
export interface At {
  index: number;
  leaf: Bytes;
}

export interface ConsentFact extends At {
  event: string;
}

/** What the map says of a name: its value, that it has none, or nothing proven. */
export type Proven = Bytes | "absent" | "unproven";

export class Facts {
  private readonly values = new Map<string, Bytes | null>();
  private readonly keys = new Map<string, KeyFact | null>();
  /** Proofs that lead elsewhere, or come twice: kind and name. */
  readonly broken: string[] = [];

  constructor(proofs: FactProof[], root: Bytes) {
    for (const { kind, name, value, proof } of proofs) {
      const key = `${kind}:${hex(name)}`;
      if (!this.values.has(key) && proves(root, stateKey(kind, name), value, proof)) this.values.set(key, value);
      else this.broken.push(`${kind}:${printable(name)}`);
    }
  }

  value(kind: number, name: Uint8Array): Proven {
    const value = this.values.get(`${kind}:${hex(name)}`);
    return value === undefined ? "unproven" : (value ?? "absent");
  }

  key(id: Bytes): KeyFact | null {
    const name = hex(id);
    let fact = this.keys.get(name);
    if (fact === undefined) {
      const value = this.value(KIND.key, id);
      fact = typeof value === "string" ? null : decodeKey(value, id);
      this.keys.set(name, fact);
    }
    return fact;
  }

  institution(id: string): At | "absent" | "unproven" {
    const value = this.value(KIND.institution, utf8(id));
    return typeof value === "string" ? value : (decodeAt(value) ?? "unproven");
  }

  delegation(controller: string, submitter: string): At | "absent" | "unproven" {
    const value = this.value(KIND.delegation, pairName(controller, submitter));
    return typeof value === "string" ? value : (decodeAt(value) ?? "unproven");
  }

  consent(ref: string, record: string): ConsentFact | "absent" | "unproven" {
    const value = this.value(KIND.consent, concat(fromBase64Url(ref) ?? new Uint8Array(), utf8(record)));
    if (typeof value === "string") return value;
    const at = decodeAt(value);
    const event = fromUtf8(value.subarray(40));
    return at === null || event === null ? "unproven" : { ...at, event };
  }
}

function decodeKey(value: Bytes, id: Bytes): KeyFact | null {
  const institution = fromUtf8(value.subarray(50));
  if (value.length < 51 || value[0] !== 1 || institution === null) return null;
  const publicKey = value.slice(1, 33);
  if (!equal(keyId(publicKey), id) || !isGoodKey(publicKey)) return null;
  return { publicKey, use: value[33]!, first: readU64(value, 34), until: readU64(value, 42), institution };
}

function decodeAt(value: Bytes): At | null {
  return value.length < 40 ? null : { index: readU64(value, 0), leaf: value.slice(8, 40) };
}

function printable(name: Bytes): string {
  const text = fromUtf8(name);
  return text !== null && /^[\x20-\x7e\n]*$/.test(text) ? text.replace("\n", " / ") : base64Url(name);
}
