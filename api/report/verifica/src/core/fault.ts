// SPDX-License-Identifier: EUPL-1.2
// What is wrong with a bundle. The codes have their sentences in the page's languages (view/text.*.ts).

/** Why some bytes are not taken. Thrown by readers, caught by who knows which part of the bundle it was. */
export class Refused extends Error {
  constructor(
    readonly reason: string,
    readonly detail = "",
  ) {
    super(detail === "" ? reason : `${reason}: ${detail}`);
  }
}

/** Throws unless it holds. */
export function need(holds: boolean, reason: string, detail?: string): asserts holds {
  if (!holds) throw new Refused(reason, detail);
}

/** The value, unless it is null or undefined. */
export function some<T>(value: T | null | undefined, reason: string, detail?: string): T {
  if (value === null || value === undefined) throw new Refused(reason, detail);
  return value;
}

export type FaultCode =
  | "policy"
  | "policy-origin"
  | "genesis"
  | "checkpoint"
  | "checkpoint-signature"
  | "checkpoint-quorum"
  | "state-root"
  | "state-root-old"
  | "fact"
  | "consent-foreign"
  | "entry"
  | "entry-leaf"
  | "entry-body"
  | "entry-disclosure"
  | "entry-signature"
  | "entry-key"
  | "entry-institution"
  | "list-absent"
  | "list-proof"
  | "list-missing"
  | "list-added"
  | "list-order"
  | "list-head"
  | "list-foreign"
  | "list-late"
  | "list-spare"
  | "erased-without-order"
  | "member-missing"
  | "member-outside"
  | "member-stranger"
  | "hash";

export interface Fault {
  code: FaultCode;
  /** The entry concerned, by its number. */
  index?: number;
  /** The list concerned: a person's or a household's pseudonym. */
  list?: string;
  /** Numbers and words for the sentence. */
  detail?: string;
}
