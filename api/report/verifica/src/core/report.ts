// SPDX-License-Identifier: EUPL-1.2
// What the verification of a bundle comes to: plain data, so that a worker can hand it to the page.
import type { Body, TypeName } from "./body";
import type { Fault } from "./fault";
import type { Binding } from "./pseudonym";

/** Whether the other side of an access says the same. */
export type Pair = "confirmed" | "differs" | "alone" | "none";

export interface ShownEntry {
  index: number;
  type: TypeName;
  /** Milliseconds since 1970. */
  acceptedAt: number;
  findings: number;
  rules: number;
  /** Undefined where the body was erased. */
  body?: Body;
  /** Values that the body names and that did not come along. */
  withheld: number;
  /** Pseudonyms whose lists show it; empty for records outside of the lists. */
  lists: string[];
  /** Institution whose key signed first, as proven. */
  signer?: string;
  pair: Pair;
  /** Index of the other side's entry. */
  twin?: number;
  erased?: { by: number; on?: string; ground?: string; ordered: boolean };
  /** Another entry, said afterwards: a `release` that lets this one be shown. */
  releasedBy?: number;
  /** Something is wrong with this entry itself. */
  faulty: boolean;
}

export interface ShownList {
  kind: number;
  ref: string;
  /** Entries that the state root counts for it. */
  count: number;
  /** Of these, entries that were deleted at the end of their time. */
  deleted: number;
  shown: number;
  erased: number;
  /** Withheld items by the exporter's reason. */
  withheld: Record<string, number>;
}

export interface ShownInstitution {
  id: string;
  /** As its newest proven registration says; undefined where none came along. */
  name?: string;
  /** yes: registered, proven; ended: was; no: proven not to be; unproven: nothing came along that says so. */
  participates: "yes" | "ended" | "no" | "unproven";
}

export interface ShownMember {
  ref: string;
  relation?: string;
  spells: { from: number; until: number | null }[];
  opened: boolean;
}

export interface ShownConsentState {
  ref: string;
  record: string;
  /** What the state root says of the record: the last event, or that it is not known. */
  event: string;
  index?: number;
}

/** What a bundle leaves open though it holds. */
export type Remark = "membership-partial" | "link-not-shown";

export interface Report {
  faults: Fault[];
  remarks: Remark[];
  origin: string;
  audience: string;
  about: { kind: "subject" | "household"; ref: string };
  binding: Binding | null;
  /** The ledger's keys for pseudonyms, one an epoch, as proven entries name them; base64url. */
  oprfKeys: string[];
  /** A ledger for tests. */
  test: boolean;
  /** What all of it is complete as of. */
  asOf?: { size: number; time: number };
  checkpoint?: { size: number; root: string; cosigners: { name: string; time: number }[]; listed: number };
  /** SHA-256 of the policy's text, hexadecimal. */
  policyFingerprint: string;
  /** The ledger's genesis, as the policy names it; hexadecimal. */
  genesis?: string;
  /** In the order of the ledger. */
  entries: ShownEntry[];
  lists: ShownList[];
  members: ShownMember[];
  institutions: ShownInstitution[];
  consents: ShownConsentState[];
  notOpened: { ref: string; why: string }[];
  restricted: { ground: string; count: number }[];
  signatures: number;
  hashes: "browser" | "library";
  verifiedBy: "browser" | "library";
  milliseconds: number;
}
